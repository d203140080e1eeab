"""A rehearsal at a simulator in memory, with a clock that its waiting turns, and a process that can be killed."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.lowlevel
import httpx

from kros_mcp.commands.contact_report import ContactReport
from kros_mcp.commands.rehearsal_record import open_record
from kros_mcp.commands.rehearsal_sender import Waits
from kros_mcp.commands.rehearse import RehearsalOptions, RehearsalRun
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.simulator.profiles import ProfileName
from kros_mcp.simulator.state import LIVING
from tests.support.clock import Clock

CANARY = "canary0a1b2c3d4e5f"
KEY = f"kros_test_{CANARY}"
SCOPES = ("numbers:read", "numbers:write", "endpoints:read")
WRITES = frozenset({"POST", "PATCH", "DELETE"})


class KilledError(BaseException):
    """The process has ended here; nothing that comes after it in the code happens."""


@dataclass
class Way(httpx.AsyncBaseTransport):
    """The way to a simulator.

    Args:
        inner: The simulator's transport.
        kill_at: The write, counted from 1, at which the process is killed; nothing leaves after that.
        delivered: Whether that write still arrives.
        on_write: Called with each write before it leaves.
        on_answer: Called with each answer, which it may replace.
    """

    inner: httpx.AsyncBaseTransport
    kill_at: int = 0
    delivered: bool = False
    on_write: Callable[[httpx.Request], Awaitable[None]] | None = None
    on_answer: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]] | None = None
    writes: int = 0
    dead: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            raise KilledError
        if request.method in WRITES:
            self.writes += 1
            if self.on_write is not None:
                await self.on_write(request)
            if self.writes == self.kill_at:
                self.dead = True
                if self.delivered:
                    await self.inner.handle_async_request(request)
                raise KilledError
        response = await self.inner.handle_async_request(request)
        return response if self.on_answer is None else await self.on_answer(request, response)


@dataclass
class Bench:
    """A simulator, the record of the rehearsals at it, and what the next run is to meet."""

    folder: Path
    profile: ProfileName = "reference"
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    answers: list[bool] = field(default_factory=list)
    """What the person says, one after the other; yes after that."""
    asked: int = 0
    on_write: Callable[[httpx.Request], Awaitable[None]] | None = None
    on_answer: Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]] | None = None
    on_question: Callable[[], None] = lambda: None
    listens: bool = False

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.sim = Simulator(
            self.profile,
            extra_keys={KEY: SCOPES},
            sip_password=f"sip-{CANARY}",
            now=self.clock,
            **{"balance_cents": 100_000} | self.options,
        )
        self.before = {number.id: number.status for number in self.sim.owned.values()}
        self.record = self.folder / "record.jsonl"

    @property
    def in_force(self) -> Settings:
        chosen = {"api_key": KEY, "base_url": "https://simulator.invalid/v1", "journal_url": "sqlite://:memory:"}
        return Settings(**chosen | self.settings)

    def run(self, *, kill_at: int = 0, delivered: bool = False, **options: Any) -> ContactReport | None:
        """Play one run from its beginning to its end, or to the write at which it is killed."""
        ways: list[Way] = []

        def made() -> Way:
            one = Way(transport(self.sim), kill_at, delivered, self.on_write, self.on_answer)
            if ways:  # a process has one count of writes
                one.writes = ways[-1].writes
            ways.append(one)
            return one

        with open_record(self.record) as record:
            run = RehearsalRun(
                self.in_force, record, made, self._agrees, Waits(self._sleep, self.clock), listens=self.listens
            )
            return run.start(RehearsalOptions(**{"country": "NG", "at_most_cents": 2_000} | options))

    def rehearse(self, **options: Any) -> ContactReport:
        made = self.run(**options)
        assert made is not None
        return made

    def killed(self, at: int, *, delivered: bool, **options: Any) -> bool:
        """Play a run that is killed at a write; false if it had fewer."""
        try:
            self.run(kill_at=at, delivered=delivered, **options)
        except KilledError:
            return True
        return False

    async def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        await anyio.lowlevel.checkpoint()

    def _agrees(self) -> bool:
        self.asked += 1
        self.on_question()
        return self.answers.pop(0) if self.answers else True

    def recorded(self, event: str) -> int:
        """Return how many lines of the record are of this kind."""
        return sum(json.loads(line)["event"] == event for line in self.record.read_text().splitlines())

    @property
    def writes(self) -> list[str]:
        """The writes that arrived, by method."""
        return [seen.method for seen in self.sim.requests if seen.method in WRITES]

    @property
    def charged(self) -> int:
        return sum(charge.cents for charge in self.sim.charges)

    @property
    def left(self) -> list[str]:
        """The numbers that are owned now, and were not before."""
        self.sim.catch_up()
        return [
            number.e164
            for number in self.sim.owned.values()
            if number.status in LIVING and self.before.get(number.id) not in LIVING
        ]

    def require_rest_untouched(self) -> None:
        """Raise unless everything that the account had before is as it was."""
        now = {number.id: number.status for number in self.sim.owned.values() if number.id in self.before}
        assert now == self.before
        touched = {seen.path.rpartition("/")[2] for seen in self.sim.requests if seen.method in {"PATCH", "DELETE"}}
        assert not touched & {number_id for number_id, status in self.before.items() if status in LIVING}


def seen_of(made: ContactReport) -> dict[str, tuple[str, str]]:
    """Return the verdict and what was seen, by topic."""
    return {one.topic: (one.verdict, one.seen) for one in made.comparisons}
