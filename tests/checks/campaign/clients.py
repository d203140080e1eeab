"""A client with a server of its own, which comes back whenever that server is gone.

Every answer about an operation is kept, with when the call began, so that it can be held against the truth.
"""

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp import Client, MCPError
from mcp.types import CallToolResult

from .books import Answer
from .events import Events
from .people import BROKEN_FORM, Person
from .reach import Reach, Reached

CALL_SECONDS = 8.0
"""How long a client waits for an answer; longer than a server may take, shorter than one is frozen."""
_CONNECTION_CLOSED, _TIMED_OUT = -32000, -32001
_SESSION_LOST = {"Session terminated", "Session not found"}
_BAD_STATUS = "Server returned an error response"
"""What a client is told of a session that died with its server, and of a bad status; a fleet looks at statuses."""


@dataclass(frozen=True)
class Kind:
    """What a client is: its protocol era, whether it shows prompts, or its server pages, who acts, and settings."""

    name: str
    era: Literal["legacy", "auto"]
    prompts: bool
    page: bool
    principal: str
    settings: Mapping[str, str]


def _kind(principal: str, era: Literal["legacy", "auto"], how: str, **settings: str) -> Kind:
    spelt = {"legacy": "legacy", "auto": "modern"}[era]
    every = {"KROS_PRINCIPAL": principal, **settings}
    prompts, page = how in {"prompt", "only"}, how in {"browser", "person", "auto"}
    return Kind(f"{principal}-{spelt}-{how}", era, prompts, page, principal, every)


KINDS = (
    _kind("ada", "legacy", "prompt"),
    _kind("ada", "auto", "code"),
    _kind("bola", "auto", "prompt", KROS_ANSWER_WITHIN_SECONDS="2"),
    _kind("bola", "legacy", "code", KROS_ANSWER_WITHIN_SECONDS="1"),
    _kind("chidi", "auto", "only", KROS_CONFIRMATION="prompt"),
    _kind("chidi", "legacy", "only", KROS_CONFIRMATION="prompt", KROS_ANSWER_WITHIN_SECONDS="1"),
    _kind("dayo", "legacy", "approver", KROS_CONFIRMATION="approver"),
    _kind("dayo", "auto", "approver", KROS_CONFIRMATION="approver"),
    _kind("efua", "legacy", "browser", KROS_CONFIRMATION="browser"),
    _kind("efua", "auto", "person", KROS_CONFIRMATION="person", KROS_ANSWER_WITHIN_SECONDS="2"),
    _kind("efua", "legacy", "auto", KROS_CONFIRMATION="auto", KROS_ANSWER_WITHIN_SECONDS="2"),
)
"""Both eras, with prompts, with codes, with prompts alone, with an approver, with pages; some servers a principal."""


class Connection:
    """One client, connected again and again."""

    def __init__(
        self,
        kind: Kind,
        reach: Reach,
        settings: Mapping[str, str],
        person: Person,
        *,
        chance: random.Random,
        events: Events,
        log: Path,
    ) -> None:
        self.kind, self.person, self.answers = kind, person, list[Answer]()
        self.server: Reached | None = None
        self._client: Client | None = None
        self._up = anyio.Event()
        self._reach, self._settings, self._log = reach, {**settings, **kind.settings}, log
        self._chance, self._events = chance, events

    @property
    def name(self) -> str:
        return self.kind.name

    async def live(self) -> None:
        """Start a server and stay with it; start another when it has ended. Until cancelled."""
        while True:
            try:
                await self._one_life()
            except Exception as exc:  # noqa: BLE001 - a server that is killed while it starts fails in many ways
                self._events.note("connection failed", by=self.name, error=type(exc).__name__)
            await anyio.sleep(self._chance.uniform(0, 0.5))

    async def _one_life(self) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            async with self._reach(self.name, self._settings, log) as server:
                self.server = server
                self._events.note("start", by=self.name, pid=server.pid)
                answers = self.person.answer if self.kind.prompts else None
                try:
                    async with Client(server.way, mode=self.kind.era, elicitation_callback=answers) as client:
                        self._client = client
                        self._up.set()
                        await server.ended()
                finally:
                    self._client, self.server = None, None
                    if self._up.is_set():  # else those who wait go on waiting for the next life
                        self._up = anyio.Event()
                    self._events.note("end", by=self.name, pid=server.pid, code=server.returncode)

    async def up(self) -> None:
        """Wait until it is connected."""
        while self._client is None:
            await self._up.wait()

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """Call a tool; None if no answer came: the server was killed, frozen or too slow."""
        answer: CallToolResult | None = None
        await self.up()
        with anyio.move_on_after(CALL_SECONDS):
            client, asked_at = self._client, time.time()
            assert client is not None
            try:
                answer = await client.call_tool(tool, arguments)
            except MCPError as exc:
                self._mind(tool, exc)
            except Exception as exc:  # noqa: BLE001 - the connection broke in the middle
                self._events.note("no answer", by=self.name, tool=tool, error=type(exc).__name__)
        if answer is None:
            self._events.note("call without an answer", by=self.name, tool=tool)
            return None
        return self._kept(tool, answer, asked_at)

    def _kept(self, tool: str, answer: CallToolResult, asked_at: float) -> dict[str, Any] | None:
        data = answer.structured_content
        if data is None:
            self._events.trouble("A tool answered without structured content.", by=self.name, tool=tool)
            return None
        if data.get("confirmation_code") and self.person.has_read(str(data["operation_id"]), asked_at):
            about = data["operation_id"]
            self._events.trouble("A code was given out although its page had been read.", by=self.name, about=about)
        outcome = str(data.get("code") or data.get("status") or "read")
        told = {name: data.get(name) or "" for name in ("operation_id", "charged", "changed")}
        self._events.note(
            "answer", by=self.name, tool=tool, outcome=outcome, failed=bool(answer.is_error), asked_at=asked_at, **told
        )
        if told["operation_id"]:
            failed = bool(answer.is_error)
            kept = Answer(**told, tool=tool, outcome=outcome, failed=failed, asked_at=asked_at, answered_at=time.time(), by=self.name)  # fmt: skip  # noqa: E501
            self.answers.append(kept)
            self._keep_each(kept, data.get("items") or [])
        return {**data, "outcome": outcome}

    def _keep_each(self, batch: Answer, items: Sequence[Mapping[str, Any]]) -> None:
        """Keep what was told of each number of a batch; before the yes there is nothing to tell."""
        for item in items:
            if item.get("operation_id"):
                failed = item["status"] == "failed"
                kept = replace(
                    batch,
                    operation_id=item["operation_id"],
                    outcome=item["code"] if failed else item["status"],
                    failed=failed,
                    charged=item["charged"],
                    changed=item["changed"],
                )
                self.answers.append(kept)

    def _mind(self, tool: str, exc: MCPError) -> None:
        """A failure is a result and never a protocol error, but for connections that end and broken forms."""
        code, message = exc.error.code, exc.error.message
        ours = message in {BROKEN_FORM, _BAD_STATUS, *_SESSION_LOST}
        if message in _SESSION_LOST and self.server is not None:
            self.server.session_lost()
        if code in {_CONNECTION_CLOSED, _TIMED_OUT} or ours:
            self._events.note("no answer", by=self.name, tool=tool, error=message)
        else:
            self._events.trouble("A call was answered by a protocol error.", by=self.name, tool=tool, error=message)

    async def stop(self) -> None:
        """End the server as a client does at the end of its day; `live` starts another."""
        if self.server is not None:
            with suppress(ProcessLookupError):
                self.server.terminate()
