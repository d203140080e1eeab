"""How fast one caller may ask, by a bucket filled at a steady rate, and how much at once."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BURST_SECONDS = 2.0
MOST_AT_ONCE = 100
"""Requests of one caller that may be in course here: open prompts, and calls that KrosAI keeps waiting."""
_MOST_KEPT = 10_000


class Pace:
    """Counts requests of each caller at this replica.

    Args:
        per_second: How many requests a second each may make in the long run; 0 for any number.
        clock: Seconds that only go forward.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._in_course: Counter[str] = Counter()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, caller: str) -> int:
        """Take one request into account; 0 if it may go ahead, else after how many whole seconds to try again."""
        if not self._per_second:
            return 0
        now, most = self._clock(), max(1.0, self._per_second * BURST_SECONDS)
        left, since = self._buckets.pop(caller, (most, now))
        left = min(most, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MOST_KEPT:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / self._per_second)

    @contextmanager
    def in_course(self, caller: str) -> Iterator[bool]:
        """Hold a place for one request as long as it lasts; false if the caller has none left."""
        if self._in_course[caller] >= MOST_AT_ONCE:
            yield False
            return
        self._in_course[caller] += 1
        try:
            yield True
        finally:
            self._in_course[caller] -= 1
            if not self._in_course[caller]:
                del self._in_course[caller]
