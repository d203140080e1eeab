"""What kros-mcp adds to a call, against a one-tool server on the bare SDK that reads the same KrosAI with plain httpx.

Run it as `python -m tests.checks.benchmarks.calls [--part latency --part throughput …] [--quick]`. It prints ratios and
added milliseconds, and how far the bare server differed from itself meanwhile; it ends with 1 if a target is missed.
Absolute times say nothing on a machine that does other things as well, and only figures of one run compare.
"""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .acts import measure_buying, measure_http_start, measure_start, open_sdk_client
from .measures import Reading, compare, compare_throughput, keep_calling, readings, upstream_requests
from .servers import (
    HERE,
    Upstream,
    bare_command,
    open_bare,
    open_ours,
    open_upstream,
    our_command,
    our_open_command,
    our_token,
)
from .wire import Caller, Door, open_connection, open_pipes

ERAS = ("legacy", "auto")
PARTS = ("latency", "throughput", "buying", "start", "memory")
CONNECTIONS = 32
MOST_ADDED_MS = 1.0
LEAST_THROUGHPUT = 0.80
MOST_START = 1.20
MOST_GROWTH = 0.05
WARM_UP = 5_000


@dataclass
class Bench:
    """The run: what it is asked to do, what it needs, and which targets it has missed."""

    arguments: argparse.Namespace
    upstream: Upstream
    folder: Path
    missed: list[str] = field(default_factory=list)

    @property
    def token(self) -> bool:
        """Whether our HTTP service asks who is calling."""
        return not self.arguments.no_auth

    def new_journal(self) -> Path:
        return self.folder / f"{secrets.token_hex(4)}.sqlite3"

    def hold(self, what: str, *, kept: bool) -> str:
        """Note a target that was missed; the mark for the table."""
        if not kept:
            self.missed.append(what)
        return "" if kept else "  MISSED"


async def latency(bench: Bench) -> None:
    print("\nOne read at a time: what is added to the bare server's call (target: median at most +1.00 ms)")
    print(f"{'':46}{'ratio':>6}{'median':>11}{'p99':>11}{'noise':>11}   KrosAI is asked")
    for transport in ("stdio", "http"):
        for era in ERAS:
            async with open_pair(bench, transport, era) as (ours, bare):
                for reading in readings(bench.upstream):
                    await tell_latency(bench, f"{transport:5} {era:6} ", reading, ours, bare)


async def tell_latency(bench: Bench, where: str, reading: Reading, ours: Caller, bare: Caller) -> None:
    asked, asked_by_bare = await upstream_requests(bench.upstream, reading, ours, bare)
    rounds, calls = (20, 10) if bench.arguments.quick else (100, 10)
    found = await compare(reading, ours, bare, rounds=rounds, calls=calls)
    by = " by E.164" if len(reading.paths) > 1 else ""
    name = f"{where}{reading.tool}{by}"
    missed = bench.hold(f"{name}: +{found.added:.2f} ms", kept=found.added <= MOST_ADDED_MS)
    print(
        f"{name:46}{found.ratio:6.2f}{found.added:+8.2f} ms{found.added_p99:+8.2f} ms  ±{found.noise:5.2f} ms   "
        f"{asked}x, bare {asked_by_bare}x{missed}",
        flush=True,
    )


async def throughput(bench: Bench) -> None:
    print(f"\nCalls a second at {CONNECTIONS} connections over HTTP, all reads in turn (target: at least 0.80 of bare)")
    for era in ERAS:
        async with open_pair_of_doors(bench) as (our_door, bare_door), AsyncExitStack() as stack:
            ours = [await stack.enter_async_context(open_connection(our_door, era)) for _ in range(CONNECTIONS)]
            bare = [await stack.enter_async_context(open_connection(bare_door, era)) for _ in range(CONNECTIONS)]
            rounds, seconds = (3, 1.0) if bench.arguments.quick else (10, 2.0)
            found = await compare_throughput(readings(bench.upstream), ours, bare, rounds=rounds, seconds=seconds)
            name = f"http  {era:6} throughput"
            missed = bench.hold(f"{name}: {found.ratio:.2f} of bare", kept=found.ratio >= LEAST_THROUGHPUT)
            print(f"{name:46}{found.ratio:6.2f} of bare's, noise {found.noise:.0%}{missed}", flush=True)


async def buying(bench: Bench) -> None:
    print("\nA purchase over HTTP, from the first call to its result, beside one bare read by the same client")
    times = 6 if bench.arguments.quick else 30
    for era in ERAS:
        for channel in ("prompt", "code"):
            journal = bench.new_journal()
            async with (
                open_ours(bench.upstream, journal, token=bench.token) as our_server,
                open_bare(bench.upstream) as bare_server,
                open_sdk_client(our_server.door, era, prompts=channel == "prompt") as ours,
                open_sdk_client(bare_server.door, era, prompts=False) as bare,
            ):
                found = await measure_buying(bench.upstream, ours, bare, journal, times=times)
            asked = f"KrosAI is asked {found.reads}x and sent {found.writes}x, {found.commits} commits"
            name = f"http  {era:6} buy by {channel}"
            print(f"{name:46}{found.ratio:6.1f} bare reads, {found.milliseconds:.0f} ms here; {asked}", flush=True)


async def start(bench: Bench) -> None:
    print("\nFrom spawn to the answer to initialize (target: at most 1.20 of bare)")
    runs = 4 if bench.arguments.quick else 15
    setting, headers = our_token(bench.folder) if bench.token else ({}, ())
    environment = bench.upstream.for_ours(bench.new_journal(), **setting) | bench.upstream.for_bare()
    bare = [sys.executable, str(HERE / "bare_server.py")]
    pairs = {
        "stdio": await asyncio.to_thread(
            measure_start, [sys.executable, "-m", "kros_mcp"], bare, environment, runs=runs
        ),
        "http": await measure_http_start(
            our_command if bench.token else our_open_command, bare_command, environment, headers, runs=runs
        ),
    }
    for transport, found in pairs.items():
        missed = bench.hold(f"{transport} start: {found.ratio:.2f}", kept=found.ratio <= MOST_START)
        print(f"{f'{transport:5} start':46}{found.ratio:6.2f} of bare's, noise {found.noise:.0%}{missed}", flush=True)


async def memory(bench: Bench) -> None:
    calls = bench.arguments.calls
    print(
        f"\nMemory that our HTTP service holds after {calls:,} calls (target: at most 5 % more than after {WARM_UP:,})"
    )
    for era in ERAS:
        async with (
            open_ours(bench.upstream, bench.new_journal(), token=bench.token) as server,
            AsyncExitStack() as stack,
        ):
            callers = [await stack.enter_async_context(open_connection(server.door, era)) for _ in range(CONNECTIONS)]
            every = readings(bench.upstream)
            await keep_calling(every, callers, WARM_UP)
            before = server.resident_bytes()
            await keep_calling(every, callers, calls)
            growth = server.resident_bytes() / before - 1
            name = f"http  {era:6} memory"
            missed = bench.hold(f"{name}: {growth:+.1%}", kept=growth <= MOST_GROWTH)
            print(f"{name:46}{growth:+7.1%} of {before / 2**20:.0f} MiB{missed}", flush=True)


@asynccontextmanager
async def open_pair(bench: Bench, transport: str, era: str) -> AsyncIterator[tuple[Caller, Caller]]:
    """Open ours and the bare server, and speak with each over one connection."""
    if transport == "stdio":
        ours = open_pipes(["-m", "kros_mcp"], bench.upstream.for_ours(bench.new_journal()), era)
        bare = open_pipes([str(HERE / "bare_reader.py"), "stdio"], bench.upstream.for_bare(), era)
        async with ours as our_caller, bare as bare_caller:
            yield our_caller, bare_caller
        return
    async with (
        open_pair_of_doors(bench) as (our_door, bare_door),
        open_connection(our_door, era) as our_caller,
        open_connection(bare_door, era) as bare_caller,
    ):
        yield our_caller, bare_caller


@asynccontextmanager
async def open_pair_of_doors(bench: Bench) -> AsyncIterator[tuple[Door, Door]]:
    ours = open_ours(bench.upstream, bench.new_journal(), token=bench.token)
    async with ours as our_server, open_bare(bench.upstream) as bare_server:
        yield our_server.door, bare_server.door


async def run(arguments: argparse.Namespace) -> int:
    parts = {
        "latency": latency,
        "throughput": throughput,
        "buying": buying,
        "start": start,
        "memory": memory,
    }
    with tempfile.TemporaryDirectory() as folder:
        async with open_upstream() as upstream:
            bench = Bench(arguments, upstream, Path(folder))
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before this run")
            for name in arguments.part or PARTS:
                await parts[name](bench)
            print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    for missed in bench.missed:
        print(f"missed  {missed}")
    return 1 if bench.missed else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this alone; may be given repeatedly")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--no-auth", action="store_true", help="measure our HTTP service without tokens")
    parser.add_argument("--calls", type=int, default=100_000, help="calls after which memory is read again")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
