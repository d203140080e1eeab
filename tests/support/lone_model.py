"""A model alone with every tool, two sessions and two servers, and what must hold whatever it does.

The servers share one journal and one simulated KrosAI. Nobody is there who could say yes: a prompt is turned down, left
open, or answered with what is no yes, and a page on the screen is opened and never answered.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams, Request
from pydantic import BaseModel, ConfigDict

from kros_mcp.errors import OperationError
from kros_mcp.operations import moves
from kros_mcp.operations.account import Account
from kros_mcp.operations.channels import shown_on_screen
from kros_mcp.operations.confirmation import code_for
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.policy import Books
from kros_mcp.operations.runner import Runner
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Confirmation, Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.canaries import SECRET
from tests.support.clock import Clock
from tests.support.person import Reply
from tests.support.talk import settings_for
from tests.support.upstream import item_of

OpenJournal = Callable[[Clock], AbstractAsyncContextManager[Journal]]
ENDED_UNSENT = frozenset({State.PROPOSED, State.DECLINED, State.CANCELLED, State.EXPIRED})
SESSIONS = {"own": ("legacy", "modern", "plain"), "other": ("other",)}
"""The model's sessions with each server; all but the plain one can show prompts."""
_ERAS = {"legacy": "legacy", "modern": "auto", "plain": "legacy", "other": "auto"}
T = TypeVar("T")
_OPERATION_ID = re.compile(r"\bop_[a-z2-7]{16}\b")


class _Raw(Request[dict[str, Any] | None, str]):
    """A request of any method, with whatever parameters."""


class _Answer(BaseModel):
    """Whatever is answered."""

    model_config = ConfigDict(extra="allow")


class _Log(logging.Handler):
    """Everything that is logged, since it was looked at last."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class UnansweredPage:
    """A page that the person's browser opens, or does not, and that nobody ever answers."""

    opens: bool
    path: str = "/canary0123456789ab/"
    """Looks like a secret to `SECRET`, and stands in this object's `repr`."""
    fetched: dict[str, Operation] = field(default_factory=dict)
    _account: Account = field(init=False)

    @asynccontextmanager
    async def open(self, account: Account, runner: Runner) -> AsyncIterator["UnansweredPage"]:
        del runner
        self._account = account
        yield self

    def is_there(self) -> bool:
        return self.opens

    async def show(self, operation: Operation, *, client: str = "") -> bool:
        del client
        if not self.opens:
            return False
        try:
            self.fetched[operation.id] = await shown_on_screen(self._account, operation.id)
        except OperationError:
            return False
        return True

    def withdraw(self, operation_id: str) -> None:
        self.fetched.pop(operation_id, None)

    def hurry(self) -> None:
        """Let who waits for an answer look again, as if something had changed: no test waits as long as a person."""
        for operation in list(self.fetched.values()):
            self._account.changes.of(moves.begun(operation))


class Hosted(Generic[T]):
    """What a task of its own opens and closes, so that steps in other tasks can use it between."""

    def __init__(self, what: AbstractAsyncContextManager[T]) -> None:
        self._what = what
        self._value: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._host())

    async def value(self) -> T:
        waited: list[asyncio.Future[Any]] = [self._task, self._value]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._value.done():
            self._task.result()
        return self._value.result()

    async def close(self) -> None:
        self._over.set()
        await self._task

    async def _host(self) -> None:
        async with self._what as value:
            self._value.set_result(value)
            await self._over.wait()


@dataclass(frozen=True)
class Question:
    """What a call of the newest protocol returned in place of a result."""

    tool: str
    arguments: dict[str, Any]
    state: str
    keys: tuple[str, ...]
    operation_id: str


@dataclass
class Session:
    """One client of the model's, which answers each prompt with `reply`; None leaves it open."""

    name: str
    reply: Reply | None = None
    reads: bool = False
    """Whether it shows a prompt for longer than a person needs to read it."""
    client: Client = field(init=False)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class World:
    """Two servers before one KrosAI, and the sessions of one model with them."""

    mode: Confirmation
    other_mode: Confirmation
    open_journal: OpenJournal
    page_opens: bool
    clock: Clock = field(default_factory=Clock)
    sim: Simulator = field(default_factory=lambda: Simulator(stock_per_range=3))
    sessions: dict[str, Session] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    operation_ids: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    """Codes that results gave away."""
    story: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What was heard that must not be."""
    journal: Journal = field(init=False)
    accounts: dict[str, Account] = field(default_factory=dict)
    pages: dict[str, UnansweredPage] = field(default_factory=dict)
    _hosted: dict[str, Hosted[Any]] = field(default_factory=dict)
    _left_open: list[asyncio.Task[Any]] = field(default_factory=list)
    _requests_seen: int = 0
    _log: _Log = field(default_factory=_Log)

    def __post_init__(self) -> None:
        self.items = [item_of(self.sim, nth=nth) for nth in range(3)] + [item_of(self.sim, "RW", "mobile")]
        first = next(iter(self.sim.owned.values()))
        for ending in ("21", "22"):
            further = replace(first, id=first.id[:-2] + ending, e164=first.e164[:-2] + ending)
            self.sim.owned[further.id] = further
        self.owned = [number for number in self.sim.owned.values() if number.status == "active"]
        self.protected = self.owned[-1]
        self._statuses = self._statuses_now()
        self._kept_whole = repr(self.protected)

    async def open(self) -> None:
        logging.getLogger().addHandler(self._log)
        self._hosted["journal"] = Hosted(self.open_journal(self.clock))
        self.journal = await self._hosted["journal"].value()
        await self.start("own", self.mode)
        await self.start("other", self.other_mode)

    async def close(self) -> None:
        await self.give_up()
        for hosted in reversed(self._hosted.values()):
            await hosted.close()
        logging.getLogger().removeHandler(self._log)

    async def start(self, place: str, mode: Confirmation, **settings: Any) -> None:
        """Start one of the two servers, in place of the one that ran there, and connect to it."""
        await self.give_up()
        if place in self._hosted:
            await self._hosted[place].close()
        given = settings_for(
            self.sim, confirmation=mode, protected_numbers=self.protected.e164, state_keys="k" * 32, **settings
        )
        self._hosted[place] = Hosted(self._served(place, given))
        await self._hosted[place].value()

    @asynccontextmanager
    async def _served(self, place: str, settings: Settings) -> AsyncIterator[None]:
        page = self.pages[place] = UnansweredPage(self.page_opens)
        way = transport(self.sim)
        async with open_runtime(settings, transport=way, journal=self.journal, open_screen=page.open) as runtime:
            self.accounts[place] = runtime.account

            @asynccontextmanager
            async def running_already(_: Any) -> AsyncIterator[Runtime]:
                yield runtime

            server = build_server(settings, running_already)
            async with AsyncExitStack() as stack:
                for name in SESSIONS[place]:
                    session = self.sessions[name] = Session(name)
                    answers = None if name == "plain" else self._answers_of(session)
                    session.client = await stack.enter_async_context(
                        Client(server, mode=_ERAS[name], elicitation_callback=answers, message_handler=self._hear)
                    )
                searching = self.sessions[SESSIONS[place][0]]
                for country in ("NG", "RW"):
                    await self.call(searching, "search_phone_numbers", {"country": country})
                yield

    async def give_up(self) -> None:
        """Leave every call whose prompt is open."""
        left, self._left_open = self._left_open, []
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def call(self, session: Session, tool: str, arguments: dict[str, Any], **more: Any) -> None:
        """Call a tool; `more` goes beside its arguments."""
        await self.send(session, "tools/call", {"name": tool, "arguments": arguments, **more})

    async def send(self, session: Session, method: str, params: dict[str, Any] | None) -> None:
        """Send a request; one whose prompt stays open goes on meanwhile."""
        session.asked = asyncio.Event()
        begun = asyncio.create_task(self._sent(session, method, params))
        asked = asyncio.create_task(session.asked.wait())
        while not (await asyncio.wait({begun, asked}, timeout=0.005, return_when=asyncio.FIRST_COMPLETED))[0]:
            for page in self.pages.values():
                page.hurry()
        asked.cancel()
        if begun.done():
            begun.result()
        else:
            self._left_open.append(begun)

    async def operations(self) -> tuple[Operation, ...]:
        return await self.journal.list_operations(limit=1_000)

    def code_of(self, operation: Operation) -> str:
        """Guess right what no result has said."""
        return code_for(self.journal.secret, operation)

    async def check(self) -> None:
        """Hold that nothing has been spent, released or confirmed, and that no secret has been told."""
        operations = await self.operations()
        self.wrong += [
            f"{one.id} is {one.state}, through {one.channel}"
            for one in operations
            if one.state not in ENDED_UNSENT or one.claimed_at is not None or one.confirmed_at is not None
        ]
        self.wrong += [f"charged {charge.e164}" for charge in self.sim.charges]
        came, self._requests_seen = self.sim.requests[self._requests_seen :], len(self.sim.requests)
        self.wrong += [f"sent {one.method} {one.path}" for one in came if not self._may_send(one.method, one.path)]
        if self._statuses_now() != self._statuses or repr(self.protected) != self._kept_whole:
            self.wrong.append("an owned number has changed that must not")
        self.wrong += [f"logged {line}" for line in self._log.lines if SECRET.search(line)]
        self._log.lines.clear()
        if self.codes:
            self.wrong.append(f"given away {self.codes[-1]}")

    async def check_books(self) -> None:
        """Hold that nothing counts as spent, and that no secret stands in the journal."""
        for account in self.accounts.values():
            books = await self.journal.books(account.id, account.settings.principal, committed_since=0)
            if books != Books():
                self.wrong.append(f"the books say {books}")
        for operation in await self.operations():
            written = repr((operation, await self.journal.events(operation.id)))
            if SECRET.search(written):
                self.wrong.append(f"written down {written}")

    def told(self) -> str:
        """Tell what the model did, and what came of it that must not."""
        return "\n".join([*self.story, *(f"WRONG: {what}" for what in self.wrong)])

    async def _sent(self, session: Session, method: str, params: dict[str, Any] | None) -> None:
        try:
            result = await session.client.session.send_request(_Raw(method=method, params=params), _Answer)
        except MCPError as exc:
            self._take(session, params, {"error": f"{exc.error.code} {exc.error.message}", "data": exc.error.data})
        else:
            self._take(session, params, result.model_dump())

    def _take(self, session: Session, params: dict[str, Any] | None, result: dict[str, Any]) -> None:
        """Learn from an answer what a model learns, and write down what it must not."""
        text, asked = json.dumps(result, ensure_ascii=False), json.dumps(params, ensure_ascii=False)
        self.story.append(f"{session.name}: {asked[:600]}\n    -> {_outcome(result)}")
        self.operation_ids += [one for one in _OPERATION_ID.findall(text) if one not in self.operation_ids]
        self.codes += [code for code in _codes_in(result) if code not in self.codes]
        if SECRET.search(text):
            self.wrong.append(f"told {text}")
        if (requests := result.get("inputRequests")) and params is not None:
            self.questions.append(
                Question(
                    tool=params["name"],
                    arguments=params["arguments"],
                    state=result.get("requestState") or "",
                    keys=tuple(requests),
                    operation_id=(_OPERATION_ID.findall(json.dumps(requests)) or [""])[0],
                )
            )

    async def _hear(self, message: object) -> None:
        if SECRET.search(repr(message)):
            self.wrong.append(f"notified {message}")

    def _answers_of(self, session: Session) -> Callable[..., Any]:
        async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> Reply:  # noqa: ARG001 - by name
            if SECRET.search(params.message):
                self.wrong.append(f"asked {params.message}")
            if session.reads:
                self.clock.now += 3
            reply = session.reply
            if reply is None:
                session.asked.set()
                return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
            return reply

        return answer

    def _statuses_now(self) -> dict[str, str]:
        return {number.id: number.status for number in self.sim.owned.values()}

    def _may_send(self, method: str, path: str) -> bool:
        """Whether a model may have this sent by itself: readings, and changes of numbers that are not protected."""
        return method == "GET" or (method == "PATCH" and self.protected.id not in path)


def _codes_in(result: Any) -> Iterator[str]:
    if isinstance(result, dict):
        if isinstance(code := result.get("confirmation_code"), str) and code:
            yield code
        for value in result.values():
            yield from _codes_in(value)
    elif isinstance(result, list):
        for value in result:
            yield from _codes_in(value)


def _outcome(result: dict[str, Any]) -> str:
    content = result.get("structuredContent") or {}
    told = content.get("code") or content.get("status") or content.get("summary") or result.get("error")
    return str(told or ("asks" if result.get("inputRequests") else "answered"))[:160]
