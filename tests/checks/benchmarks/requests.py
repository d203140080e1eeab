"""How many requests KrosAI gets: counted by the simulator, for accounts of several sizes; no time is waited for.

Run as `python -m tests.checks.benchmarks.requests`, with `--markdown` for a table to publish.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import pytest
from mcp import Client

from kros_mcp.krosai import Inventory
from kros_mcp.krosai.paging import LastReading
from kros_mcp.operations import runner
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Operation, Request, State
from kros_mcp.operations.progress import Step, Steps
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.simulator.profiles import ProfileName
from kros_mcp.tools.call import Runtime
from tests.support.leaping import leaping, open_leaping_journal, seconds, unix_time

SIZES = (0, 182, 1_000)
PROFILES: tuple[ProfileName, ...] = ("reference", "guide")
YES = Yes(Channel.PROMPT)
HOUR, DAY = 3_600.0, 86_400.0
SETTLED_SECONDS = 600.0
"""After so long nothing is left to be read of what an account costs, at 10 requests a second."""


@dataclass
class Desk:
    """A server, a client of its tools, and the account that it works for, at a simulated KrosAI."""

    sim: Simulator
    client: Client
    runtime: Runtime

    @property
    def account(self) -> Account:
        return self.runtime.account

    async def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        answer = await self.client.call_tool(name, arguments)
        assert not answer.is_error, answer.structured_content
        assert answer.structured_content is not None
        return dict(answer.structured_content)

    async def propose(self) -> Operation:
        item = next(each for each in self.sim.inventory.values() if (each.country, each.type) == ("NG", "mobile"))
        wish = Request(country="NG", type="mobile", allow_inbound=True, allow_outbound=True)
        return await PURCHASE.propose(self.account, "local", wish, item.e164)

    async def propose_surely(self) -> Operation:
        """Propose, as often as it takes until the prices that a cap needs are known."""
        while True:
            try:
                return await self.propose()
            except Exception as exc:
                if getattr(exc, "code", "") != "COMMITMENT_UNKNOWN":
                    raise
            await anyio.sleep(60)  # as long as it says, or longer

    async def buy(self) -> Operation:
        done = await execute(self.account, (await self.propose_surely()).id, YES)
        assert done.state is State.DONE, done
        return done

    async def release(self, number_id: str) -> Operation:
        operation = await RELEASE.propose(self.account, "local", Request(number_id=number_id), "")
        done = await execute(self.account, operation.id, YES)
        assert done.state is State.DONE, done
        return done

    async def count(self, work: Callable[[], Awaitable[object]]) -> int:
        before = len(self.sim.requests)
        await work()
        return len(self.sim.requests) - before


def owning(sim: Simulator, count: int) -> Simulator:
    """Let an account own so many numbers, whose prices no list tells."""
    first = next(iter(sim.owned.values()))
    sim.owned.clear()
    for nth in range(count):
        number = replace(first, id=sim.ids.make("pn"), e164=f"+23480355{nth:05}", monthly_cost_cents=300)
        sim.owned[number.id] = number
    return sim


def simulated(profile: ProfileName, count: int, **options: Any) -> Simulator:
    given: dict[str, Any] = {"stock_per_range": 100, "balance_cents": 10**9, "now": unix_time}
    return owning(Simulator(profile, **(given | options)), count)


@asynccontextmanager
async def open_desk(
    sim: Simulator, *, journal: Journal | None = None, attend_every: float = 60.0, **settings: Any
) -> AsyncIterator[Desk]:
    """Open a server, and a client of it; its clocks are the loop's.

    Args:
        sim: KrosAI.
        journal: Where it keeps what it does. Defaults to an empty one of its own.
        attend_every: How often the server looks after its operations, in seconds.
        settings: Beside those that every desk has.
    """
    opened: list[Runtime] = []
    chosen: dict[str, Any] = {
        "api_key": sim.api_key,
        "base_url": "https://simulator.invalid/v1",
        "monthly_commitment_cents": 10**9,
        "daily_budget_cents": 10**9,
    }
    async with AsyncExitStack() as stack:
        kept_in = journal or await stack.enter_async_context(open_leaping_journal())

        @asynccontextmanager
        async def lifespan(given: Settings) -> AsyncIterator[Runtime]:
            async with open_runtime(given, transport=transport(sim), journal=kept_in) as here:
                client = here.account.client
                client.last_owned = LastReading(seconds)
                object.__setattr__(here.account, "inventory", Inventory(client, now=seconds))
                here.rates = RunRates(here.account, seconds)
                opened.append(here)
                yield here

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "ATTEND_EVERY_SECONDS", attend_every)
            async with Client(build_server(Settings(**(chosen | settings)), lifespan)) as client:
                yield Desk(sim, client, opened[0])


async def claimed(desk: Desk, operation: Operation) -> tuple[int, int, Operation]:
    """Carry a purchase out, and count what its claim takes, and what the rest of it does."""
    begun, at_claim = len(desk.sim.requests), 0

    class Noting(Steps):
        def reach(self, step: Step) -> None:
            nonlocal at_claim
            if step is Step.CLAIMED:
                at_claim = len(desk.sim.requests)

    done = await execute(desk.account, operation.id, YES, Noting())
    assert done.state is State.DONE, done
    return at_claim - begun, len(desk.sim.requests) - begun, done


READS: dict[str, tuple[str, dict[str, str]]] = {
    "get_spending": ("get_spending", {}),
    "list_phone_numbers": ("list_phone_numbers", {}),
    "search_phone_numbers": ("search_phone_numbers", {"country": "NG", "type": "mobile"}),
}


async def measure(profile: ProfileName, count: int) -> dict[str, str]:
    """Count what each thing takes, with an empty journal and again with one that knows what there is to know."""
    sim = simulated(profile, count)
    cold: dict[str, int] = {}
    for name, (tool, arguments) in list(READS.items())[1:]:
        async with open_desk(sim) as desk:
            cold[name] = await desk.count(partial(desk.tool, tool, **arguments))
    async with open_desk(sim) as desk:
        begun = len(sim.requests)
        cold["get_spending"] = await desk.count(partial(desk.tool, "get_spending"))
        await anyio.sleep(SETTLED_SECONDS)
        start = len(sim.requests) - begun
        found = {
            name: f"{cold[name]} / {await desk.count(partial(desk.tool, tool, **arguments))}"
            for name, (tool, arguments) in READS.items()
        }
        fresh = await desk.count(partial(anyio.sleep, HOUR))
        unknown = await unknown_day(desk)
    async with open_desk(simulated(profile, count)) as desk:
        found |= await measure_acts(desk)
        await anyio.sleep(5 * DAY)
        await desk.tool("get_spending")
        await anyio.sleep(HOUR)
        idle = await desk.count(partial(anyio.sleep, HOUR))
    found["cold start, all of it"] = str(start)
    found["idle hour (fresh / after 5 days)"] = f"{fresh} / {idle}"
    found["unknown purchase's first day"] = str(unknown)
    return found


async def measure_acts(desk: Desk) -> dict[str, str]:
    begun = len(desk.sim.requests)
    refused = False
    try:
        operation = await desk.propose()
    except Exception as exc:
        if getattr(exc, "code", "") != "COMMITMENT_UNKNOWN":
            raise
        refused = True
    cold = len(desk.sim.requests) - begun
    operation = await desk.propose_surely()
    claim, rest, _ = await claimed(desk, operation)
    await anyio.sleep(SETTLED_SECONDS)
    begun = len(desk.sim.requests)
    operation = await desk.propose()
    proposal = len(desk.sim.requests) - begun
    warm_claim, warm_rest, done = await claimed(desk, operation)
    assert done.number is not None
    await anyio.sleep(2 * HOUR)
    released = await desk.count(partial(desk.release, done.number.id))
    told = f"{cold}{' (refused)' if refused else ''}"
    return {
        "proposal": f"{told} / {proposal}",
        "claim": f"{claim} / {warm_claim}",
        "purchase whole": f"{cold + rest} / {proposal + warm_rest}",
        "release whole": f"- / {released}",
    }


async def unknown_day(desk: Desk) -> int:
    """Count what a day costs in which nobody can find out how a purchase ended."""
    operation = await desk.propose()
    desk.sim.faults.switch_on("error_before", on=["purchase"])
    left = await execute(desk.account, operation.id, YES)
    assert left.state is State.UNKNOWN
    item = next(each for each in desk.sim.inventory.values() if each.e164 == operation.e164)
    del desk.sim.inventory[item.id]
    return await desk.count(partial(anyio.sleep, DAY))


async def a_day(profile: ProfileName, count: int = 182) -> int:
    """Count a day of 20 purchases, 100 lists and 200 searches, in which the journal is lost once."""
    sim = simulated(profile, count)
    for _ in range(2):
        async with open_desk(sim, attend_every=600.0) as desk:
            for nth in range(160):
                if nth % 16 == 8:
                    await desk.buy()
                if nth % 16 < 10:
                    await desk.tool("search_phone_numbers", country="NG", type="mobile")
                if nth % 16 >= 11:
                    await desk.tool("list_phone_numbers")
                await anyio.sleep(DAY / 320)
    methods = [seen.method for seen in sim.requests]
    assert methods.count("POST") == 20
    return len(methods)


def main() -> None:
    """Print the table."""
    days = {profile: leaping(partial(a_day, profile)) for profile in PROFILES}
    columns = {(profile, count): leaping(partial(measure, profile, count)) for profile in PROFILES for count in SIZES}
    names = list(next(iter(columns.values())))
    heads = ["requests, cold / warm", *(f"{profile} {count:,}" for profile, count in columns)]
    rows = [[name, *(column[name] for column in columns.values())] for name in names]
    rows.append(["a day (182 numbers)", *("" if count != 182 else str(days[profile]) for profile, count in columns)])
    if "--markdown" in sys.argv:
        print("\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows]))
        return
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
