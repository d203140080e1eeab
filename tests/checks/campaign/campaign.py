"""One campaign from its first server to the comparison of the books."""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup
from pydantic import SecretStr

from kros_mcp.errors import KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Journal
from kros_mcp.settings import Settings, for_organization
from kros_mcp.simulator import open_server
from tests.support.receiver import SECRET, Receiver, open_receiver

from .approver import Approver
from .books import Books, together
from .chaos import Chaos
from .clients import Connection
from .compare import compare
from .deeds import Agent, Town
from .desks import Desk
from .events import Events
from .fault_plans import FaultSchedule
from .notices import all_delivered, be_well, compare_notices, have_moods, to_be_told
from .people import Book, Person
from .reach import ORGANIZATIONS
from .settling import settle
from .shelf import Difference
from .watched import KEY, WatchedKrosai, WatchedOrganization
from .world import Plan, World, limits_of

MOST_OPERATIONS = 1_000_000
LOOK_EVERY_SECONDS = 0.1
MOST_AT_A_DESK = 2
"""How many agents share a client whose person reads one page after the other; more would only wait."""


@dataclass(frozen=True)
class Outcome:
    """What came of a campaign."""

    world: World
    each: list[Books]
    """The books of each organization."""
    differences: list[Difference]
    waited_seconds: float

    @property
    def books(self) -> Books:
        """The books of all organizations in one."""
        return together(self.each)


Tampering = Callable[[World], Awaitable[None]]
Enough = Callable[[World], Awaitable[bool]]


async def run(plan: Plan, tamper: Tampering | None = None, enough: Enough | None = None) -> Outcome:
    """Carry a campaign out, and compare the books.

    Args:
        plan: What is to be done.
        tamper: Called before the books are closed, to prove that a difference is seen.
        enough: Ends the campaign before its time once it answers True; asked again and again.
    """
    async with open_world(plan) as world:
        async with anyio.create_task_group() as lives:
            for connection in world.connections:
                lives.start_soon(connection.live)
            for connection in world.connections:
                await connection.up()
            await _stir(world, enough)
            be_well(world.receiver)
            waited = await settle(world)
            await all_delivered(world.journal)
            lives.cancel_scope.cancel()
        await world.sim.settled()
        if tamper is not None:
            await tamper(world)
        books = await world.books()
        troubles = [Difference("trouble", "", says) for says in world.events.troubles]
        differences = [difference for each in books for difference in compare(each)]
        events = await to_be_told(world.journal, [each for one in books for each in one.operations])
        differences += compare_notices(events, world.receiver.arrived)
        return Outcome(world, books, [*differences, *troubles], waited)


@asynccontextmanager
async def _open_journal(url: str) -> AsyncIterator[Journal]:
    """Open the journal; what fails later, in the campaign itself, is a fault of another kind."""
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(open_journal(url))
        except KrosError as exc:
            raise ValueError(exc.message) from exc
        yield journal


@asynccontextmanager
async def open_world(plan: Plan) -> AsyncIterator[World]:
    """Open simulator, journal and diary; servers are started by their connections.

    Raises:
        ValueError: The journal cannot be opened, or holds operations already.
    """
    chance = random.Random(plan.seed)  # noqa: S311 - must repeat, guards nothing
    sim = WatchedKrosai(plan.profile_name, plan.seed, plan.organizations)
    events = Events(plan.folder / "events.jsonl")
    try:
        async with AsyncExitStack() as stack:
            base_url = await stack.enter_async_context(open_server(sim))
            journal = await stack.enter_async_context(_open_journal(plan.url))
            if await journal.count():
                raise ValueError("The journal must be empty, since all that stands in it is compared.")
            receiver = await stack.enter_async_context(open_receiver())
            book, settings = Book(events), _settings(plan, sim, base_url, receiver)
            reach = await stack.enter_async_context(plan.transport(settings, plan.folder, events))
            people = [Person(kind.name, chance, book, events) for kind in plan.kinds]
            desks = {
                each.name: Desk(plan.folder / f"{each.name}.pages", each, events)
                for kind, each in zip(plan.kinds, people, strict=True)
                if kind.page
            }
            connections = tuple(
                Connection(
                    kind,
                    reach,
                    {**settings, **(desks[kind.name].settings if kind.page else {})},
                    person,
                    chance=chance,
                    events=events,
                    log=plan.folder / f"{kind.name}.stderr",
                )
                for kind, person in zip(plan.kinds, people, strict=True)
            )
            accounts = _accounts(plan, sim, settings, journal)
            yield World(plan, sim, journal, events, book, connections, receiver, accounts, tuple(desks.values()))
    finally:
        events.close()


async def _stir(world: World, enough: Enough | None) -> None:
    """Let agents, approver, faults and chaos loose for as long as the plan says, or until it is enough."""
    plan, sim, events = world.plan, world.sim, world.events
    chance = random.Random(f"{plan.seed}/stir")  # noqa: S311 - the same
    towns = [
        Town(
            chance,
            world.book,
            tuple(each for each in world.connections if plan.place_of(each.kind) == place),
            organization.protected,
            once_owned=organization.once_owned,
        )
        for place, organization in enumerate(sim.all)
    ]
    for town in towns:
        town.strangers = [each for each in towns if each is not town]
        town.offers = towns[0].offers  # what one talks about the other tries to buy
    with anyio.move_on_after(plan.seconds):
        async with anyio.create_task_group() as tasks:
            for connection in world.connections:
                for _ in range(min(plan.agents, MOST_AT_A_DESK) if connection.kind.page else plan.agents):
                    tasks.start_soon(Agent(towns[plan.place_of(connection.kind)], connection).live)
            for desk in world.desks:
                tasks.start_soon(desk.live)
            tasks.start_soon(Approver(world.journal, chance, world.book, events).live)
            await _let_loose(world, chance, tasks)
            while enough is not None:
                if await enough(world):
                    tasks.cancel_scope.cancel()
                    break
                await anyio.sleep(LOOK_EVERY_SECONDS)
    events.note("over")


async def _let_loose(world: World, chance: random.Random, tasks: TaskGroup) -> None:
    plan, sim, events = world.plan, world.sim, world.events
    chaos = Chaos(world.connections, plan.pace, plan.seconds, chance=chance, events=events, tasks=tasks)
    world.struck = chaos.counts
    chaos.attach(world.book)
    sim.on_hold = chaos.write_held
    tasks.start_soon(chaos.strike)
    tasks.start_soon(have_moods, world.receiver, chance, events.note)
    if plan.faults:
        faults = FaultSchedule(sim, chance, events, without=plan.without)
        tasks.start_soon(faults.run)
        tasks.start_soon(faults.let_go)


def _accounts(
    plan: Plan, sim: WatchedKrosai, settings: Mapping[str, str], journal: Journal
) -> dict[str, WatchedOrganization]:
    """Return by account in the journal which organization it is."""
    if plan.organizations == 1:
        return {}
    own = Settings(api_key=SecretStr(settings["KROS_API_KEY"]), base_url=settings["KROS_BASE_URL"])
    return {for_organization(own, each.organization_id).account(journal.secret): each for each in sim.all}


def _settings(plan: Plan, sim: WatchedKrosai, base_url: str, receiver: Receiver) -> dict[str, str]:
    limits = limits_of(plan, sim)
    several = {}
    if plan.organizations > 1:
        named = {kind.principal.rpartition("|")[2]: sim.all[plan.place_of(kind)].organization_id for kind in plan.kinds}
        several = {
            "KROS_ORGANIZATION_ID": sim.organization_id,
            "KROS_TOTAL_DAILY_BUDGET_CENTS": str(limits.daily_budget_cents),
            ORGANIZATIONS: json.dumps(named),
        }
    return several | {
        "KROS_API_KEY": KEY,
        "KROS_CONFIRMATION": "conversation",
        "KROS_BASE_URL": base_url,
        "KROS_JOURNAL_URL": plan.url,
        "KROS_WEBHOOK_URL": receiver.url,
        "KROS_WEBHOOK_SECRET": SECRET,
        "KROS_SETTLE_SECONDS": "2",
        "KROS_MAX_PURCHASE_CENTS": str(limits.max_purchase_cents),
        "KROS_DAILY_BUDGET_CENTS": str(limits.daily_budget_cents),
        "KROS_ALLOWED_COUNTRIES": ",".join(sorted(limits.countries)),
        "KROS_PROTECTED_NUMBERS": ",".join(sorted(limits.protected)),
        "KROS_ALLOW_PERMANENT_DELETE": "true",
    }
