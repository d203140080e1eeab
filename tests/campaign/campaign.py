"""One campaign from its first server to the comparison of the books."""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from kros_mcp.errors import KrosError
from kros_mcp.operations.backends import open_journal
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.simulator import open_server
from kros_mcp.simulator.profiles import ProfileName

from .approver import Approver
from .books import Books, Limits, holdings_of, writes_of
from .chaos import Chaos, Pace
from .clients import KINDS, Connection
from .compare import compare
from .deeds import COUNTRIES, Agent, Town
from .events import Events
from .people import Book, Person
from .reach import Reach, open_stdio
from .shelf import Difference
from .watched import KEY, WatchedKrosai
from .weather import Weather

LONGEST_WAIT_SECONDS = 150.0
MOST_OPERATIONS = 1_000_000
OPEN = frozenset({State.CONFIRMED, State.SENDING, State.UNKNOWN})


@dataclass(frozen=True)
class Plan:
    """What is to be done; times in seconds."""

    seconds: float
    seed: int
    folder: Path
    """Takes the diary, the servers' stderr, and the journal unless another is named."""
    profile: ProfileName | Literal["by seed"] = "by seed"
    journal_url: str = ""
    agents: int = 3
    """How many share one client."""
    pace: Pace = field(default_factory=Pace)
    faults: bool = True
    reach: Reach = open_stdio
    limits: tuple[int, int] = (6_000, 50_000_000)
    """KROS_MAX_PURCHASE_CENTS and KROS_DAILY_BUDGET_CENTS."""

    @property
    def profile_name(self) -> ProfileName:
        named: tuple[ProfileName, ProfileName] = ("guide", "reference")
        return named[self.seed % 2] if self.profile == "by seed" else self.profile

    @property
    def url(self) -> str:
        return self.journal_url or f"sqlite:///{self.folder.absolute()}/journal.sqlite3"


@dataclass
class World:
    """What a campaign works on, open."""

    plan: Plan
    sim: WatchedKrosai
    journal: Journal
    events: Events
    book: Book
    connections: tuple[Connection, ...]
    struck: Counter[str] = field(default_factory=Counter)

    async def books(self) -> Books:
        """Close the books: everything as it stands now."""
        return Books(
            limits=_limits(self.plan, self.sim),
            confirmations=list(self.book.confirmations),
            operations=list(await self.journal.list_operations(limit=MOST_OPERATIONS)),
            charges=list(self.sim.charges),
            acts=list(self.sim.acts),
            price_moves=list(self.sim.price_moves),
            writes=writes_of(self.sim.requests),
            answers=[answer for each in self.connections for answer in each.answers],
            holdings=holdings_of(self.sim),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a campaign."""

    world: World
    books: Books
    differences: list[Difference]
    waited_seconds: float


Tampering = Callable[[World], Awaitable[None]]


async def run(plan: Plan, tamper: Tampering | None = None) -> Outcome:
    """Carry a campaign out, and compare the books.

    Args:
        plan: What is to be done.
        tamper: Called before the books are closed, to prove that a difference is seen.
    """
    async with open_world(plan) as world:
        async with anyio.create_task_group() as lives:
            for connection in world.connections:
                lives.start_soon(connection.live)
            for connection in world.connections:
                await connection.up()
            await _stir(world)
            waited = await _settle(world)
            lives.cancel_scope.cancel()
        await world.sim.settled()
        if tamper is not None:
            await tamper(world)
        books = await world.books()
        troubles = [Difference("trouble", "", says) for says in world.events.troubles]
        return Outcome(world, books, [*compare(books), *troubles], waited)


@asynccontextmanager
async def open_world(plan: Plan) -> AsyncIterator[World]:
    """Open simulator, journal and diary; servers are started by their connections."""
    chance = random.Random(plan.seed)  # noqa: S311 - must repeat, guards nothing
    sim = WatchedKrosai(plan.profile_name, plan.seed)
    events = Events(plan.folder / "events.jsonl")
    try:
        async with open_server(sim) as base_url, open_journal(plan.url) as journal:
            book, settings = Book(events), _settings(plan, sim, base_url)
            connections = tuple(
                Connection(
                    kind,
                    plan.reach,
                    settings,
                    Person(kind.name, chance, book, events),
                    chance=chance,
                    events=events,
                    log=plan.folder / f"{kind.name}.stderr",
                )
                for kind in KINDS
            )
            yield World(plan, sim, journal, events, book, connections)
    finally:
        events.close()


async def _stir(world: World) -> None:
    """Let agents, approver, faults and chaos loose for as long as the plan says."""
    plan, sim, events = world.plan, world.sim, world.events
    chance = random.Random(f"{plan.seed}/stir")  # noqa: S311 - the same
    town = Town(chance, world.book, world.connections, sim.protected)
    with anyio.move_on_after(plan.seconds):
        async with anyio.create_task_group() as tasks:
            for connection in world.connections:
                for _ in range(plan.agents):
                    tasks.start_soon(Agent(town, connection).live)
            tasks.start_soon(Approver(world.journal, chance, world.book, events).live)
            await _let_loose(world, chance, tasks)
    events.note("over")


async def _let_loose(world: World, chance: random.Random, tasks: TaskGroup) -> None:
    plan, sim, events = world.plan, world.sim, world.events
    chaos = Chaos(world.connections, plan.pace, plan.seconds, chance=chance, events=events, tasks=tasks)
    world.struck = chaos.counts
    chaos.attach(world.book)
    sim.on_hold = chaos.write_held
    tasks.start_soon(chaos.strike)
    if plan.faults:
        weather = Weather(sim, chance, events)
        tasks.start_soon(weather.blow)
        tasks.start_soon(weather.let_go)


async def _settle(world: World) -> float:
    """Calm everything, and wait until nothing is open; tells how long that took."""
    world.sim.faults.clear()
    world.book.on_yes = lambda _operation_id, _by: None
    world.sim.on_hold = lambda _: None
    for place, connection in enumerate(world.connections):
        if connection.server is not None:
            connection.server.thaw()
        if place % 2:  # one of the two servers of each principal begins anew, the other goes on as it is
            await connection.stop()
    began = time.monotonic()
    with anyio.move_on_after(LONGEST_WAIT_SECONDS):
        while open_now := await _still_open(world):
            world.events.note("waiting", operations=[(each.id, each.state) for each in open_now])
            async with anyio.create_task_group() as tasks:
                for operation in open_now[:8]:
                    tasks.start_soon(_look_up, world, operation)
            await anyio.sleep(1)
    return time.monotonic() - began


async def _still_open(world: World) -> list[Operation]:
    try:
        operations = await world.journal.list_operations(limit=MOST_OPERATIONS)
    except KrosError as exc:
        world.events.note("journal not read", code=exc.code)
        return await _still_open(world)
    given_up = {act.e164 for act in world.sim.acts if act.kind == "release"}
    return [each for each in operations if each.state in OPEN or (each.settings_pending and each.e164 not in given_up)]


async def _look_up(world: World, operation: Operation) -> None:
    """Ask as its own client would; asking makes a server ask KrosAI at once."""
    mine = [each for each in world.connections if each.kind.principal == operation.principal]
    await mine[0].call("get_operation", operation_id=operation.id)


def _limits(plan: Plan, sim: WatchedKrosai) -> Limits:
    most, day = plan.limits
    return Limits(most, day, frozenset(COUNTRIES[:-1]), frozenset(sim.protected))


def _settings(plan: Plan, sim: WatchedKrosai, base_url: str) -> dict[str, str]:
    limits = _limits(plan, sim)
    return {
        "KROS_API_KEY": KEY,
        "KROS_BASE_URL": base_url,
        "KROS_JOURNAL_URL": plan.url,
        "KROS_SETTLE_SECONDS": "2",
        "KROS_MAX_PURCHASE_CENTS": str(limits.max_purchase_cents),
        "KROS_DAILY_BUDGET_CENTS": str(limits.daily_budget_cents),
        "KROS_ALLOWED_COUNTRIES": ",".join(sorted(limits.countries)),
        "KROS_PROTECTED_NUMBERS": ",".join(sorted(limits.protected)),
        "KROS_ALLOW_PERMANENT_DELETE": "true",
    }
