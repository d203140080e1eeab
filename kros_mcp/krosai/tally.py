"""How many requests KrosAI was sent, of which kind and for what purpose, and what is left of a day's requests.

A request is counted as it leaves, in memory alone. Somebody else adds the counts up over processes and days, and tells
the tally what all of them have sent; see `Tally.learned`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kros_mcp import telemetry
from kros_mcp.errors import RequestsUsedUpError
from kros_mcp.times import spoken_duration

_HOUR_SECONDS: Final = 3_600.0
_DAY_SECONDS: Final = 86_400.0
_TENTHS: Final = 10
_SPARING_FROM: Final = 8
"""From how many tenths of the day's requests on the background rests."""
_NO_READING_FROM: Final = 9


class Kind(StrEnum):
    """What a request asks of KrosAI."""

    OWNED = "owned"
    AVAILABLE = "available"
    NUMBER = "number"
    ENDPOINTS = "endpoints"
    ORDER = "order"
    CHANGE = "change"
    RELEASE = "release"


class Purpose(StrEnum):
    """What a request is for: to keep up, to answer a question, or to bring an act about and see what it came to."""

    BACKGROUND = "background"
    READ = "read"
    ACT = "act"


Asked = tuple[Kind, Purpose]
_WRITES: Final = frozenset({Kind.ORDER, Kind.CHANGE, Kind.RELEASE})


_reason: ContextVar[tuple[Purpose, bool]] = ContextVar("_reason", default=(Purpose.READ, False))
"""What requests are for, and whether they are sent however little is left of the day's."""


@contextmanager
def asked_for(purpose: Purpose, *, must: bool = False) -> Iterator[None]:
    """Say what the block's requests are for, also in tasks that it starts; what nobody says is for reading.

    Args:
        purpose: What they are for.
        must: Whether background work is done however little is left of the day's requests.
    """
    token = _reason.set((purpose, must))
    try:
        yield
    finally:
        _reason.reset(token)


def purpose() -> Purpose:
    """Return what the running task's requests are for."""
    return _reason.get()[0]


@dataclass(frozen=True)
class HourCount:
    """Requests of one hour; `hour` counts hours since 1970, and the names may be those of another version."""

    hour: int
    kind: str
    purpose: str
    requests: int


@dataclass(frozen=True)
class Window:
    """The requests of the last 24 hours, by the hour: those of the hour in which they begin count whole.

    Args:
        now: The journal's time.
        counts: In no order.
    """

    now: float
    counts: tuple[HourCount, ...] = ()

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(count.requests for count in self.counts)

    def seconds_until(self, least: int, more: int = 0) -> float:
        """Return in how many seconds fewer than `least` are left in the window, if none is sent meanwhile.

        Args:
            least: How many are too many.
            more: Requests of this hour that are not in the window yet.
        """
        left = self.total + more
        for count in sorted(self.counts, key=lambda count: count.hour):
            if left < least:
                break
            left -= count.requests
            if left < least:
                return max(0.0, (count.hour + 1) * _HOUR_SECONDS + _DAY_SECONDS - self.now)
        return 0.0 if left < least else _DAY_SECONDS + _HOUR_SECONDS


def first_hour(now: float) -> int:
    """Return the hour in which the last 24 hours begin."""
    return hour_of(now - _DAY_SECONDS)


def hour_of(moment: float) -> int:
    """Return the hour of a time, counted since 1970."""
    return int(moment // _HOUR_SECONDS)


class Tally:
    """Counts requests as they leave, and refuses those that a day has no room for.

    Args:
        per_day: How many KrosAI is to be sent in 24 hours by all who use this key; None is any number.
    """

    def __init__(self, per_day: int | None = None) -> None:
        self.per_day = per_day
        self._counted: Counter[Asked] = Counter()
        self._under_way = 0
        self._window = Window(0.0)

    @contextmanager
    def leaving(self, kind: Kind, never_left: Callable[[BaseException], bool] = lambda _: False) -> Iterator[None]:
        """Count the request that the block sends; its exceptions pass through.

        Args:
            kind: What it asks.
            never_left: Whether what it failed with, or was cancelled by, means that it has not left: it is not counted.

        Raises:
            RequestsUsedUpError: What is left of the day's requests is kept for something else. Never for a write.
        """
        purpose, must = _reason.get()
        if kind not in _WRITES and not must:
            self._admit(purpose)
        left = True
        self._under_way += 1
        try:
            yield
        except BaseException as exc:
            left = not never_left(exc)
            raise
        finally:
            self._under_way -= 1
            if left:
                self._counted[kind, purpose] += 1
                telemetry.requested(kind, purpose)

    def counted(self) -> dict[Asked, int]:
        """Return what was counted and not handed over yet."""
        return dict(self._counted)

    def learned(self, handed_over: Mapping[Asked, int], window: Window) -> None:
        """Take over what all processes have sent.

        Args:
            handed_over: What is in the window of what this tally has counted.
            window: The last 24 hours.
        """
        self._counted.subtract(handed_over)
        self._counted = +self._counted
        self._window = window

    @property
    def used(self) -> int:
        """How many requests the last 24 hours had, as far as is known here."""
        return self._window.total + self._counted.total() + self._under_way

    @property
    def left(self) -> int | None:
        """How many are left; None where any number is allowed."""
        return None if self.per_day is None else max(0, self.per_day - self.used)

    @property
    def is_sparing(self) -> bool:
        """Whether so few are left that the background rests."""
        return self._has_come_to(_SPARING_FROM)

    @property
    def refuses_reading(self) -> bool:
        """Whether what is left is for acts alone."""
        return self._has_come_to(_NO_READING_FROM)

    def require_room(self) -> None:
        """Raise where no new act is to be begun.

        Raises:
            RequestsUsedUpError: The day's requests are used up.
        """
        if self._has_come_to(_TENTHS):
            raise self._used_up(_TENTHS, "are used up: no purchase, change or release is begun")

    def _admit(self, purpose: Purpose) -> None:
        if purpose is Purpose.READ and self.refuses_reading:
            raise self._used_up(_NO_READING_FROM, "are nearly used up, and the rest is kept for acts: nothing is read")
        if purpose is Purpose.BACKGROUND and self.is_sparing:
            raise self._used_up(_SPARING_FROM, "are mostly used up: nothing is read unasked")

    def _has_come_to(self, tenths: int) -> bool:
        return self.per_day is not None and self.used * _TENTHS >= self.per_day * tenths

    def _used_up(self, tenths: int, what: str) -> RequestsUsedUpError:
        per_day = self.per_day or 0
        least = -(-per_day * tenths // _TENTHS)
        wait = self._window.seconds_until(least, self.used - self._window.total)
        return RequestsUsedUpError(
            f"The {per_day:,} requests that KrosAI may be sent in 24 hours {what} for about {spoken_duration(wait)}. "
            "Nothing was charged or changed."
        )
