"""Times for people and models, always in UTC, from Unix seconds; and a clock that nobody can set."""

import math
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Final

from kros_mcp.characters import how_many
from kros_mcp.errors import InvalidArgumentError

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def utc(seconds: float) -> str:
    """Return a time as ISO 8601, to the second."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def minute(seconds: float) -> str:
    """Return a time for a table, to the minute."""
    return utc(seconds)[:16].replace("T", " ")


def spoken_date(seconds: float) -> str:
    """Return the day of a time as it is said, as in "3 May"."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at.day} {_MONTHS[at.month - 1]}"


def day_of(seconds: float) -> str:
    """Return the day of a time, as in "2026-05-03"."""
    return utc(seconds)[:10]


def bounds(day: str) -> tuple[float, float]:
    """Return the first second of a day and the first second of the next one.

    Raises:
        InvalidArgumentError: The text is not a day such as 2026-05-03.
    """
    try:
        begins = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
        return begins.timestamp(), (begins + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{day[:20]!r} is not a day; write it as 2026-05-03.", next_step="Days are those of UTC."
        ) from None


def span(seconds: float) -> str:
    """Return how long something lasts, rounded down to its largest unit: "3 hours", "1 minute"."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count >= (2 if unit == "day" else 1):
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def spoken_duration(seconds: float) -> str:
    """Return how long to wait, rounded up so that nobody is too early: "3 seconds", "2 minutes", "an hour", "a day"."""
    whole = max(1, math.ceil(seconds))
    if whole < 90:  # noqa: PLR2004 - shorter than this, people count in seconds
        return how_many(whole, "second")
    minutes = math.ceil(whole / 60)
    if minutes != 60 and minutes < 90:  # noqa: PLR2004 - the same for minutes
        return how_many(minutes, "minute")
    hours = math.ceil(minutes / 60)
    if hours == 1:
        return "an hour"
    if hours != 24 and hours < 48:  # noqa: PLR2004 - and for hours
        return how_many(hours, "hour")
    days = math.ceil(hours / 24)
    return "a day" if days == 1 else how_many(days, "day")


def boot_clock() -> float:
    """Return seconds on a clock that runs on while the machine sleeps, and that setting the time does not move."""
    if sys.platform == "win32":
        return time.monotonic()
    # Time asleep is counted by CLOCK_BOOTTIME on Linux, CLOCK_MONOTONIC on macOS (not time.monotonic).
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
