"""How often an address may fail to sign in: five times a minute."""

import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Callable

MOST_FAILURES = 5
WINDOW_SECONDS = 60.0
_MOST_KEPT = 10_000
_SUBSCRIBER_BITS = 64
"""Of an IPv6 address; one subscriber has as many addresses below it as they like."""


class Attempts:
    """Counts failed sign-ins of each address at this replica; those under way count until they succeed.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, address: str) -> int:
        """Count an attempt as failed; 0 if it may be made, else after how many whole seconds to try again."""
        now, place = self._clock(), _place(address)
        failures = self._failures.pop(place, deque())
        while failures and now - failures[0] >= WINDOW_SECONDS:
            failures.popleft()
        refused = len(failures) >= MOST_FAILURES
        if not refused:
            failures.append(now)
        self._failures[place] = failures
        if len(self._failures) > _MOST_KEPT:
            self._failures.popitem(last=False)
        return math.ceil(failures[0] + WINDOW_SECONDS - now) if refused else 0

    def succeeded(self, address: str) -> None:
        """Take back the last attempt that was counted."""
        failures = self._failures.get(_place(address))
        if failures:
            failures.pop()


def _place(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:  # noqa: PLR2004 - of the Internet Protocol
        return str(found)
    return str(ipaddress.ip_network((found, _SUBSCRIBER_BITS), strict=False))
