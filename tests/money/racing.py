"""Servers that race on one journal and are killed and started again; run as a program by the race tests.

    python racing.py '{"base_url": …, "journal_url": …}'   # the fields of `Course`

The program is a nursery: it imports once and forks the racers, so that one starts in milliseconds. Racers tell
each step on one pipe; at steps that chance chooses, the nursery kills a racer by SIGKILL, whatever that one is
doing then, and starts its next life. It prints one JSON object: how often each thing was told.
"""

import json
import os
import random
import signal
import ssl
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NoReturn

import anyio
import httpx
from bench import KEY, YES, settings_for
from bench import open_journal as open_on

from kros_mcp.errors import JournalError, KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import Inventory, open_client
from kros_mcp.operations import execution, recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.base import Act, Wish
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.several import SEVERAL_PURCHASE
from kros_mcp.operations.execution import execute
from kros_mcp.operations.model import Operation, Request

Tell = Callable[[str], None]

# What is imported and read before the fork, no life of a racer has to import and read again.
for _name in ("anyio._backends._asyncio", "httpcore"):
    import_module(_name)
CERTIFICATES = ssl.create_default_context()


@dataclass(frozen=True)
class Course:
    """One race. `numbers` are pairs of E.164 and type; so many seconds is the journal's clock `ahead`."""

    base_url: str
    journal_url: str
    numbers: list[tuple[str, str]]
    settings: dict[str, Any]
    seed: int = 0
    racers: int = 16
    principals: int = 4
    each: int = 2
    """How many numbers every life of a racer tries to buy."""
    kills: int = 0
    steps_to_a_kill: int = 15
    ahead: float = 0.0
    batches: bool = False
    """Whether every second racer buys its numbers under one yes."""
    unchecked: bool = False
    """Claim without looking at any cap: the guard's absence, which the test must see."""


class Stepping:
    """A journal that tells each step of its use."""

    def __init__(self, journal: Any, tell: Tell) -> None:
        self._journal, self._tell = journal, tell
        self.secret, self.only_reads = journal.secret, journal.only_reads

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)

        async def told(*arguments: Any, **named: Any) -> Any:
            self._tell("step")
            result = await method(*arguments, **named)
            self._tell("step")
            return result

        return told


class Wire(httpx.AsyncBaseTransport):
    """The real network, which tells each step likewise."""

    def __init__(self, tell: Tell) -> None:
        self._way, self._tell = httpx.AsyncHTTPTransport(verify=CERTIFICATES), tell

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._tell("step")
        response = await self._way.handle_async_request(request)
        self._tell("step")
        return response

    async def aclose(self) -> None:
        await self._way.aclose()


@asynccontextmanager
async def open_account(course: Course, tell: Tell) -> AsyncIterator[Account]:
    settings = settings_for(course.base_url, journal_url=course.journal_url, **course.settings)
    async with AsyncExitStack() as stack:
        opened = open_on(course.journal_url, lambda: time.time() + course.ahead)
        journal = await stack.enter_async_context(opened if course.ahead else open_journal(course.journal_url))
        client = await stack.enter_async_context(
            open_client(base_url=course.base_url, api_key=KEY, transport=Wire(tell))
        )
        account = settings.account(journal.secret)
        yield Account(settings, Stepping(journal, tell), client, Inventory(client), account)  # type: ignore[arg-type]


async def race(course: Course, slot: int, chance: random.Random, tell: Tell, gate: int) -> None:
    """Recover as a server does that starts; propose some numbers; once all racers have, carry them out."""
    async with open_account(course, tell) as account:
        await recovery.recover(account)
        proposed = []
        sample = chance.sample(course.numbers, course.each)
        wishes = [Wish(Request(country="NG", type=kind), e164) for e164, kind in sample]
        together = course.batches and slot % 2 == 1
        for some in [wishes] if together else [[wish] for wish in wishes]:
            try:
                proposed.append(await _proposed(account, f"p{slot % course.principals}", some))
            except KrosError as exc:
                tell(exc.code)
        tell("ready")
        await anyio.wait_readable(gate)
        for operation in proposed:
            try:
                ended = await execute(account, operation.id, YES)
                tell(ended.error_code or ended.state)
            except KrosError as exc:
                tell(exc.code)
                if isinstance(exc, JournalError):
                    print(exc.message, getattr(exc, "__notes__", ""), file=sys.stderr, flush=True)


async def _proposed(account: Account, principal: str, wishes: Sequence[Wish]) -> Operation:
    if len(wishes) > 1:
        return await SEVERAL_PURCHASE.propose(account, principal, wishes)
    return await PURCHASE.propose(account, principal, wishes[0].request, wishes[0].e164)


@dataclass
class Nursery:
    """The racers that live, and what they told."""

    course: Course
    told: Counter[str] = field(default_factory=Counter)
    living: dict[int, int] = field(default_factory=dict)
    """The process of each slot."""
    lives: Counter[int] = field(default_factory=Counter)

    def run(self) -> Counter[str]:
        self._steps, self._telling = os.pipe()
        self._gate, opening = os.pipe()
        self._opening: int | None = opening
        ready: set[int] = set()
        chance = random.Random(self.course.seed)  # noqa: S311 - must repeat
        for slot in range(self.course.racers):
            self._start(slot)
        for slot, word in self._words():
            self.told[word] += 1
            if word == "ready":
                ready.add(slot)
                if len(ready) == self.course.racers and self._opening is not None:
                    os.close(self._opening)
                    self._opening = None
            elif word in {"ended", "failed"}:
                os.waitpid(self.living.pop(slot), 0)
                if not self.living:
                    break
            elif self._may_kill() and chance.randrange(self.course.steps_to_a_kill) == 0:
                self._kill(chance.choice(sorted(self.living)))
        return self.told

    def _words(self) -> AsyncIterator[tuple[int, str]] | Any:
        rest = b""
        while True:
            *lines, rest = (rest + os.read(self._steps, 65_536)).split(b"\n")
            for line in lines:
                slot, life, word = line.decode().split()
                if int(slot) in self.living and int(life) == self.lives[int(slot)]:  # the dead tell nothing
                    yield int(slot), word

    def _may_kill(self) -> bool:
        """Kill from the moment on when all have proposed, where there is money to lose."""
        return self._opening is None and self.told["killed"] < self.course.kills

    def _kill(self, slot: int) -> None:
        os.kill(self.living[slot], signal.SIGKILL)
        os.waitpid(self.living.pop(slot), 0)
        self.told["killed"] += 1
        self._start(slot)

    def _start(self, slot: int) -> None:
        self.lives[slot] += 1
        process = os.fork()
        if process:
            self.living[slot] = process
        else:
            self._live(slot)

    def _live(self, slot: int) -> NoReturn:
        if self._opening is not None:
            os.close(self._opening)
        life = self.lives[slot]

        def tell(word: str) -> None:
            os.write(self._telling, f"{slot} {life} {word}\n".encode())

        chance = random.Random(f"{self.course.seed}/{slot}/{life}")  # noqa: S311 - must repeat
        try:
            anyio.run(race, self.course, slot, chance, tell, self._gate)
            tell("ended")
        except BaseException:  # noqa: BLE001 - a fork must not go on as the nursery
            traceback.print_exc()
            tell("failed")
        finally:
            sys.stderr.flush()
            os._exit(0)


def unguarded() -> None:
    """Take the caps out of the claim; they are still looked at when something is proposed."""

    def unchecked(operation: Operation) -> Act:
        act = copy(act_of(operation))
        act.check = lambda *_: None  # type: ignore[method-assign]
        return act

    execution.act_of = unchecked


if __name__ == "__main__":
    chosen = Course(**json.loads(sys.argv[1]))
    if chosen.unchecked:
        unguarded()
    print(json.dumps(Nursery(chosen).run()))
