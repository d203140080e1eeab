"""How fast a caller may ask, how much at once, and how often an address may fail to sign in.

All of it is counted at one replica, in memory.
"""

import ipaddress
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BURST_SECONDS = 2.0
MOST_AT_ONCE = 100
"""Requests of one caller that may be in course here: open prompts, and calls that KrosAI keeps waiting."""
MOST_FAILURES = 5
WINDOW_SECONDS = 60.0
_MOST_KEPT = 10_000
_SUBSCRIBER_BITS = 64
"""Of an IPv6 address; one subscriber has as many addresses below it as they like."""


class RateLimiter:
    """Limits the requests of each caller: how many a second, by a token bucket, and how many at once.

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
        """Count one request; return 0 if it may go ahead, else after how many whole seconds to try again."""
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
        """Count a request as in course while the block lasts; false if the caller has too many already."""
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


class SignInLimiter:
    """Limits the failed sign-ins of each address; those under way count until they succeed.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, address: str) -> int:
        """Count an attempt as failed; return 0 if it may be made, else after how many whole seconds to try again."""
        now, subscriber = self._clock(), _subscriber(address)
        failures = self._failures.pop(subscriber, deque())
        while failures and now - failures[0] >= WINDOW_SECONDS:
            failures.popleft()
        refused = len(failures) >= MOST_FAILURES
        if not refused:
            failures.append(now)
        self._failures[subscriber] = failures
        if len(self._failures) > _MOST_KEPT:
            self._failures.popitem(last=False)
        return math.ceil(failures[0] + WINDOW_SECONDS - now) if refused else 0

    def succeeded(self, address: str) -> None:
        """Take back the last attempt that was counted."""
        failures = self._failures.get(_subscriber(address))
        if failures:
            failures.pop()


def _subscriber(address: str) -> str:
    """Return what stands for an address's subscriber: an IPv4 address, or the first half of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:  # noqa: PLR2004 - of the Internet Protocol
        return str(found)
    return str(ipaddress.ip_network((found, _SUBSCRIBER_BITS), strict=False))
