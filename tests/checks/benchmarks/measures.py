"""What is measured, each against the bare server in the same minute: A, B, A again, in short rounds.

This machine's other work comes and goes; whatever lasts longer than a round strikes both. What the two halves of A
differ by is what the machine alone makes of equal things, and is told beside each figure.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

from .servers import Upstream
from .wire import Caller, Message

WARM_UP_CALLS = 100


@dataclass(frozen=True)
class Reading:
    """One read: the call of our tool, and the bare call that sends KrosAI the same requests."""

    tool: str
    arguments: Message
    paths: tuple[str, ...]

    async def ours(self, caller: Caller) -> None:
        await caller.call(self.tool, self.arguments)

    async def bare(self, caller: Caller) -> None:
        await caller.call("read", {"paths": list(self.paths)})


def readings(upstream: Upstream) -> list[Reading]:
    one = f"/phone-numbers/{upstream.number_id}"
    return [
        Reading("list_phone_numbers", {}, ("/phone-numbers?action=assigned&limit=100&offset=0",)),
        Reading(
            "search_phone_numbers",
            {"country": "NG"},
            ("/phone-numbers?action=available&country=NG&limit=10&offset=0",),
        ),
        Reading("get_phone_number", {"number_id": upstream.number_id}, (one,)),
        Reading(
            "get_phone_number",
            {"number_id": upstream.e164},
            ("/phone-numbers?action=assigned&limit=100&offset=0", one),
        ),
    ]


@dataclass
class Compared:
    """Seconds of each call, round by round; `again` is the bare server a second time."""

    bare: list[list[float]] = field(default_factory=list)
    ours: list[list[float]] = field(default_factory=list)
    again: list[list[float]] = field(default_factory=list)

    @property
    def added(self) -> float:
        """Milliseconds that ours takes longer, the median of all rounds."""
        return self._difference(statistics.median)

    @property
    def added_p99(self) -> float:
        """Milliseconds between the 99th percentiles of all calls."""
        every = [second for each in (*self.bare, *self.again) for second in each]
        return 1000 * (p99([second for each in self.ours for second in each]) - p99(every))

    @property
    def ratio(self) -> float:
        pairs = zip(self.ours, self.bare, self.again, strict=True)
        return statistics.median(
            statistics.median(ours) / statistics.median(bare + again) for ours, bare, again in pairs
        )

    @property
    def noise(self) -> float:
        """Milliseconds by which half of all rounds of the bare server differ from itself, this way or that."""
        pairs = zip(self.bare, self.again, strict=True)
        low, _, high = statistics.quantiles(
            (statistics.median(two) - statistics.median(one) for one, two in pairs), n=4
        )
        return 1000 * (high - low) / 2

    def _difference(self, middle: Callable[[list[float]], float]) -> float:
        rounds = zip(self.ours, self.bare, self.again, strict=True)
        return 1000 * statistics.median(middle(ours) - middle(bare + again) for ours, bare, again in rounds)


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def compare(reading: Reading, ours: Caller, bare: Caller, *, rounds: int, calls: int) -> Compared:
    """Time single calls, one after the other."""
    for _ in range(WARM_UP_CALLS):
        await reading.ours(ours)
        await reading.bare(bare)
    compared = Compared()
    for _ in range(rounds):
        compared.bare.append([await timed(reading.bare, bare) for _ in range(calls // 2)])
        compared.ours.append([await timed(reading.ours, ours) for _ in range(calls)])
        compared.again.append([await timed(reading.bare, bare) for _ in range(calls // 2)])
    return compared


async def timed(call: Callable[[Caller], object], caller: Caller) -> float:
    begun = time.perf_counter()
    await call(caller)  # type: ignore[misc]
    return time.perf_counter() - begun


async def upstream_requests(upstream: Upstream, reading: Reading, ours: Caller, bare: Caller) -> tuple[int, int]:
    """How many requests one call makes KrosAI answer, ours and bare."""
    before = len(await upstream.requests())
    await reading.ours(ours)
    between = len(await upstream.requests())
    await reading.bare(bare)
    return between - before, len(await upstream.requests()) - between


@dataclass
class Throughput:
    """Calls a second of each round."""

    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        rounds = zip(self.ours, self.bare, self.again, strict=True)
        return statistics.median(2 * ours / (bare + again) for ours, bare, again in rounds)

    @property
    def noise(self) -> float:
        """By what part the bare server differs from itself, the median of all rounds."""
        return statistics.median(abs(again / bare - 1) for bare, again in zip(self.bare, self.again, strict=True))


async def compare_throughput(
    every: list[Reading], ours: list[Caller], bare: list[Caller], *, rounds: int, seconds: float
) -> Throughput:
    """Let all connections call at once, one call after the other on each, every reading in turn."""
    await rate(every, bare, Reading.bare, seconds / 2)
    await rate(every, ours, Reading.ours, seconds / 2)
    found = Throughput()
    for _ in range(rounds):
        found.bare.append(await rate(every, bare, Reading.bare, seconds / 2))
        found.ours.append(await rate(every, ours, Reading.ours, seconds))
        found.again.append(await rate(every, bare, Reading.bare, seconds / 2))
    return found


async def rate(
    every: list[Reading], callers: list[Caller], call: Callable[[Reading, Caller], object], seconds: float
) -> float:
    begun, count = time.perf_counter(), 0

    async def go_on(caller: Caller, at: int) -> None:
        nonlocal count
        for reading in cycle(every[at % len(every) :] + every[: at % len(every)]):
            await call(reading, caller)  # type: ignore[misc]
            count += 1
            if time.perf_counter() - begun > seconds:
                return

    async with asyncio.TaskGroup() as tasks:
        for at, caller in enumerate(callers):
            tasks.create_task(go_on(caller, at))
    return count / (time.perf_counter() - begun)


async def keep_calling(every: list[Reading], callers: list[Caller], calls: int) -> None:
    """Make so many calls of ours in all, on all connections at once."""
    left = calls

    async def go_on(caller: Caller, at: int) -> None:
        nonlocal left
        for reading in cycle(every[at % len(every) :] + every[: at % len(every)]):
            if left <= 0:
                return
            left -= 1
            await reading.ours(caller)

    async with asyncio.TaskGroup() as tasks:
        for at, caller in enumerate(callers):
            tasks.create_task(go_on(caller, at))
