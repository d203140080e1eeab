"""How many requests KrosAI was sent, by the hour: what is written into the journal and read from it."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from collections.abc import Mapping
from typing import Final

from kros_mcp.journals.rows import Work, marks
from kros_mcp.krosai import Asked, HourCount, Window, first_hour, hour_of

KEPT_HOURS: Final = 8 * 24
_COLUMNS: Final = ("hour", "key", "kind", "purpose", "requests")


def add(table: str, key: str, counts: Mapping[Asked, int], now: float) -> Work[Window]:
    """Add to the requests of this hour, delete those of eight days ago, and return those of the last 24 hours."""
    hour = hour_of(now)
    rows = [(hour, key, str(kind), str(purpose), counts[kind, purpose]) for kind, purpose in sorted(counts)]
    values = ", ".join([f"({marks(_COLUMNS)})"] * len(rows))
    more = "ON CONFLICT (hour, key, kind, purpose) DO UPDATE SET requests = known.requests + excluded.requests"
    yield (
        f"INSERT INTO {table} AS known ({', '.join(_COLUMNS)}) VALUES {values} {more}",
        [each for row in rows for each in row],
    )
    yield f"DELETE FROM {table} WHERE hour < ?", (hour - KEPT_HOURS,)
    return (yield from read(table, key, now))


def read(table: str, key: str, now: float) -> Work[Window]:
    """Return the requests of the last 24 hours."""
    wanted = "hour >= ? AND key = ? ORDER BY hour, kind, purpose"
    rows = yield f"SELECT hour, kind, purpose, requests FROM {table} WHERE {wanted}", (first_hour(now), key)
    return Window(now, tuple(HourCount(int(hour), kind, purpose, int(some)) for hour, kind, purpose, some in rows))
