"""What the tests of the money side work on: a desk at a simulator, and a clock that they turn."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from kros_mcp.journals.postgres import open_postgres
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.krosai import Inventory, open_client
from kros_mcp.operations import recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Operation, Request
from kros_mcp.settings import Settings, is_postgres
from kros_mcp.simulator import SimNumber, Simulator, transport
from kros_mcp.simulator.profiles import ProfileName
from tests.support.clock import Clock

CANARY = "canary0a1b2c3d4e5f"
KEY = f"kros_test_{CANARY}"
SCOPES = ("numbers:read", "numbers:write", "endpoints:read")
SIMULATED = "https://simulator.invalid/v1"
MEMORY = "sqlite://:memory:"
standard_journal_url = MEMORY
"""Where a bench keeps its journal unless told otherwise; a fixture turns it from backend to backend."""
YES = Yes(Channel.PROMPT)
LATE = 121.0
"""Seconds, just beyond the settle time (`KROS_SETTLE_SECONDS`)."""
OTHER_MOBILES = [f"+2348035550{end}" for end in range(101, 120)]


def simulator(profile: ProfileName = "reference", **options: Any) -> Simulator:
    return Simulator(profile, extra_keys={KEY: SCOPES}, sip_password=f"sip-{CANARY}", **options)


def settings_for(base_url: str = SIMULATED, **chosen: Any) -> Settings:
    return Settings(api_key=KEY, base_url=base_url, **{"journal_url": MEMORY, **chosen})


@dataclass
class Bench:
    """One server's resources at one simulator; acts run in the test's own task."""

    sim: Simulator
    account: Account
    clock: Clock

    async def propose(self, e164: str = "", principal: str = "local", **wanted: Any) -> Operation:
        """Search, and propose the first Nigerian mobile or the one that is named."""
        if not e164:
            page = await self.account.inventory.search(country="NG", type="mobile")
            e164 = page.items[0].e164
        request = Request(country="NG", type="mobile", **wanted)
        return await PURCHASE.propose(self.account, principal, request, e164)

    async def propose_release(self, number: SimNumber, **wanted: Any) -> Operation:
        return await RELEASE.propose(self.account, "local", Request(number_id=number.id, **wanted), "")

    async def execute(self, operation: Operation) -> Operation:
        return await execute(self.account, operation.id, YES)

    async def buy(self, e164: str = "", **wanted: Any) -> Operation:
        return await self.execute(await self.propose(e164, **wanted))

    async def stored(self, operation: Operation) -> Operation:
        found = await self.account.journal.get(operation.id)
        assert found is not None
        return found

    @property
    def active(self) -> SimNumber:
        return next(iter(self.sim.owned.values()))

    @property
    def inactive(self) -> SimNumber:
        return next(number for number in self.sim.owned.values() if number.status == "inactive")

    def posts(self) -> list[Any]:
        return [seen for seen in self.sim.requests if seen.method == "POST"]


async def ask_often(bench: Bench, operation: Operation, times: int = 5) -> Operation:
    """Ask KrosAI again and again how an operation ended, each time long after the settle time."""
    for _ in range(times):
        bench.clock.now += LATE
        operation = await recovery.reconcile(bench.account, await bench.stored(operation))
    return operation


def open_journal(url: str, clock: Callable[[], float]) -> AbstractAsyncContextManager[Journal]:
    """Open a journal of either backend whose time a test turns."""
    return open_postgres(url, clock=clock) if is_postgres(url) else open_sqlite(url, clock=clock)


@asynccontextmanager
async def open_bench(
    sim: Simulator,
    *,
    clock: Clock | None = None,
    way: httpx.AsyncBaseTransport | None = None,
    base_url: str = SIMULATED,
    journal_url: str = "",
    **chosen: Any,
) -> AsyncIterator[Bench]:
    """Open a desk; over TCP where `base_url` is a served simulator's."""
    clock = clock or Clock()
    journal_url = journal_url or standard_journal_url
    settings = settings_for(base_url, journal_url=journal_url, **chosen)
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(open_journal(journal_url, clock))
        client = await stack.enter_async_context(
            open_client(
                base_url=base_url,
                api_key=KEY,
                organization_id=settings.organization_id,
                transport=way or (transport(sim) if base_url == SIMULATED else None),
            )
        )
        account = Account(
            settings=settings,
            journal=journal,
            client=client,
            inventory=Inventory(client),
            id=settings.account(journal.secret),
        )
        yield Bench(sim, account, clock)
