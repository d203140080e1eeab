"""`python -m tests.checks.benchmarks.told`: what a receiver of notices that is ill adds to a purchase.

Servers over stdio, alike but for whom they tell: nobody, a receiver that is well, one that never answers, one that
answers 500, and an address where nobody listens. They buy in turn, so that the machine's other work strikes all alike;
a purchase counts from the call with its code to the answer. Ends with 1 if an ill receiver adds more than 50 ms.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from kros_mcp.simulator import InventoryItem, Simulator, open_server
from tests.support.pipe import INITIALIZED, Program, call, initialize, open_program
from tests.support.receiver import SECRET, open_receiver

MOST_ADDED_MS = 50.0
NOBODY, WELL = "nobody is told", "well"
STATUSES = {WELL: 200, "never answers": None, "answers 500": 500}
DOWN = "not there"


@asynccontextmanager
async def _open_buyers(base_url: str, api_key: str, folder: Path) -> AsyncIterator[dict[str, Program]]:
    """Start a server for each receiver, by what that is like."""
    async with AsyncExitStack() as stack:
        urls = {NOBODY: ""}
        for name, status in STATUSES.items():
            urls[name] = (await stack.enter_async_context(open_receiver(status=status))).url
        async with open_receiver() as gone:
            urls[DOWN] = gone.url
        buyers = {}
        for place, (name, url) in enumerate(urls.items()):
            told: dict[str, Any] = {"KROS_WEBHOOK_URL": url, "KROS_WEBHOOK_SECRET": SECRET} if url else {}
            program = open_program(
                KROS_API_KEY=api_key,
                KROS_BASE_URL=base_url,
                KROS_JOURNAL_URL=f"sqlite:///{folder}/{place}.sqlite3",
                KROS_DAILY_BUDGET_CENTS="100000000",
                **told,
            )
            buyers[name] = await stack.enter_async_context(program)
            await buyers[name].answer(initialize())
            await buyers[name].send(INITIALIZED)
        yield buyers


async def _bought(program: Program, item: InventoryItem) -> float:
    """Buy a number; milliseconds from the yes to the answer."""
    wanted = {"e164": item.e164, "country": item.country, "type": item.type}
    asked = _told(await program.answer(call(f"ask {item.id}", "buy_phone_number", **wanted)))
    code, began = asked["confirmation_code"], time.perf_counter()
    answer = await program.answer(call(f"buy {item.id}", "buy_phone_number", **wanted, confirmation_code=code))
    took = time.perf_counter() - began
    if _told(answer).get("status") != "done":
        raise RuntimeError(f"not bought: {answer}")
    return 1000 * took


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = answer["result"]["structuredContent"]
    return told


async def run(rounds: int) -> int:
    sim = Simulator(balance_cents=1_000_000_000, extra_inventory={"NG": 5 * (rounds + 1)}, stock_per_range=100)
    items = iter([each for each in sim.inventory.values() if each.country == "NG"])
    with tempfile.TemporaryDirectory(prefix="kros-told-") as folder:
        async with open_server(sim) as base_url, _open_buyers(base_url, sim.api_key, Path(folder)) as buyers:
            for program in buyers.values():  # the first purchase of a process reads more
                await _bought(program, next(items))
            took: dict[str, list[float]] = {name: [] for name in buyers}
            for _ in range(rounds):
                for name, program in buyers.items():
                    took[name].append(await _bought(program, next(items)))
    added = {}
    for name, each in took.items():
        added[name] = statistics.median(ill - well for ill, well in zip(each, took[WELL], strict=True))
        print(f"  {name:<16} {statistics.median(each):7.1f} ms, {added[name]:+6.1f} beside a receiver that is well")
    return int(max(added.values()) > MOST_ADDED_MS)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.checks.benchmarks.told", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how many purchases of each (default 40)")
    return anyio.run(run, parser.parse_args().rounds)


if __name__ == "__main__":
    sys.exit(main())
