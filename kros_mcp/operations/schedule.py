"""When KrosAI is looked at again for an operation that was sent; pure.

While an outcome is unknown it is looked for ever more rarely, so that a day costs no more than `MOST_REQUESTS`. What
was sent and is settled is looked at a few times more within a day, since what KrosAI said may not be what happened.
"""

from typing import Final

from kros_mcp.operations.model import Operation, State

WATCHED_SECONDS: Final = 86_400.0
"""How long an outcome that was told is looked at again."""
MOST_REQUESTS: Final = 60
"""What finding out the outcome of one operation may cost KrosAI in its first day."""
FOUND_OUT_FACTOR: Final = 5.0
"""How long after sending a server may still find an outcome out by itself, in units of KROS_SETTLE_SECONDS."""
ACCEPTED_FACTOR: Final = 690.0
"""How long an order that KrosAI accepted may still be carried out, in units of KROS_SETTLE_SECONDS: nearly a day."""
SECOND_READING_SECONDS: Final = 10.0
"""How far apart two readings are that show a number for sale, before that is believed."""
_SOONEST_SECONDS: Final = 2.0
_FOR_ASKERS: Final = MOST_REQUESTS // 2
"""What of that may be spent because somebody asks, so that the rest lasts for the day."""
_ASKED_AGAIN_SECONDS: Final = 3_600.0
"""How far apart looks are that somebody asks for after the first day."""
_AFTER_FAILURE_SECONDS: Final = 3_600.0
_SPARING_SECONDS: Final = 3_600.0
"""How far apart looks at one operation are at least while few of a day's requests are left."""
_WATCHES: Final = (0.5, 2.5, 15.0, 90.0, ACCEPTED_FACTOR)
"""When to look again at what is settled: this many times KROS_SETTLE_SECONDS after sending."""


def watch_after(settle_seconds: float, age: float) -> float | None:
    """Return in how many seconds to look again at what is settled; None if it was looked at for long enough.

    Args:
        settle_seconds: KROS_SETTLE_SECONDS.
        age: Seconds since it was sent.
    """
    times = (min(each * max(settle_seconds, 1.0), WATCHED_SECONDS) for each in _WATCHES)
    return next((at - age for at in times if at > age), None)


def after_a_failed_look(again: float | None, age: float) -> float | None:
    """Return in how many seconds to look again where KrosAI could not be read; an hour later after the last look.

    Args:
        again: As `watch_after` says.
        age: Seconds since it was sent.
    """
    return _AFTER_FAILURE_SECONDS if again is None and age < 2 * WATCHED_SECONDS else again


def is_too_soon(operation: Operation, now: float) -> bool:
    """Whether a look has to wait where few of a day's requests are left: an hour after the last one, or after its time.

    The first look for an outcome that is unknown does not wait. Later ones do, and are never given up.

    Args:
        operation: The operation, as it was sent.
        now: The journal's time.
    """
    since = operation.checked_at if operation.state is State.UNKNOWN else operation.look_at
    return since is not None and now - since < _SPARING_SECONDS


def may_look(operation: Operation, now: float) -> bool:
    """Whether to look for an outcome that is unknown: when it is time, or sooner for somebody who asks.

    Args:
        operation: The operation, with the requests that were spent on it.
        now: The journal's time.
    """
    if operation.look_at is None or now >= operation.look_at:
        return True
    if now - (operation.sent_at or 0.0) >= WATCHED_SECONDS:
        return now - (operation.checked_at or 0.0) >= _ASKED_AGAIN_SECONDS
    return operation.looks < _FOR_ASKERS


def look_after_unknown(operation: Operation, age: float, cost: int) -> float:
    """Return in how many seconds to look again for an outcome that is unknown.

    Half of its age later at least; later still where a look costs much, so that what is left of `MOST_REQUESTS`
    lasts for the day. After the first day each wait is as long as the operation is old, and a day at most.

    Args:
        operation: The operation, with the requests that were spent on it before this look.
        age: Seconds since it was sent.
        cost: How many requests this look took.
    """
    rest, age = WATCHED_SECONDS - age, max(age, _SOONEST_SECONDS)
    if rest <= 0:
        return min(age, WATCHED_SECONDS)
    left = (MOST_REQUESTS - operation.looks - cost) // max(cost, 1)
    if left < 1:
        return rest
    if operation.seen_unsold_at is not None:
        return SECOND_READING_SECONDS
    return max(_SOONEST_SECONDS, age / 2, age * (float((WATCHED_SECONDS / age) ** (1 / left)) - 1))
