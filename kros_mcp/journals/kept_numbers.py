"""What is kept of owned numbers, as rows: one a number, and one an account for its list as a whole.

A transaction takes the account's row first, so that two that change many numbers wait for each other.
"""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

import json
from collections.abc import Iterable, Sequence
from typing import Any

from kros_mcp.journals.rows import Work, marks
from kros_mcp.krosai import PhoneNumber
from kros_mcp.operations.kept import Kept, KeptNumber, Listing, Sight, fold
from kros_mcp.operations.model import Operation

_RECORD = (
    "e164",
    "country",
    "type",
    "status",
    "endpoint_id",
    "allow_inbound",
    "allow_outbound",
    "setup_cents",
    "monthly_cents",
    "created_at",
    "updated_at",
    "currency",
)
_FLAGS = frozenset({"allow_inbound", "allow_outbound"})
_COLUMNS = ("account", "number_id", *_RECORD, "place", "priced_at", "dropped_at")
_ACCOUNT = ("listed_at", "complete", "unreadable", "acted_at", "refreshed_at")
_AT_ONCE = 50
"""Rows in one statement, below a thousand values: an SQLite may be built to take no more."""
_LONGEST_TURN_SECONDS = 120.0
"""A turn that lasts longer was given by a clock that was set back since."""


class KeptTables:
    """Reads and writes the two tables of one journal.

    Args:
        numbers: The name of the numbers' table.
        accounts: The name of the accounts' table.
        operations: The name of the operations' table.
    """

    def __init__(self, numbers: str, accounts: str, operations: str) -> None:
        self._numbers, self._accounts, self._operations = numbers, accounts, operations

    def read(self, account: str) -> Work[Kept]:
        """Read what is kept of an account."""
        in_flight = "account = ? AND state IN ('sending', 'unknown')"
        busy = yield f"SELECT 1 FROM {self._operations} WHERE {in_flight} LIMIT 1", (account,)
        return (yield from self._read(account, in_flight=bool(busy)))

    def add(self, account: str, sights: Sequence[Sight], listing: Listing | None) -> Work[None]:
        """Write down what was seen since, as far as nothing newer stands there."""
        ids = None if listing is not None else [sight.number.id for sight in sights]
        before = yield from self._read(account, ids=ids)
        if fold(before, sights, listing) == before:
            return
        yield from self._take(account)
        before = yield from self._read(account, ids=ids)
        yield from self._write(account, before, fold(before, sights, listing))

    def drop(self, account: str, e164: str, now: float, *, price: bool) -> Work[None]:
        """Note that an act of ours on a number was settled: no list read before is shown again.

        Args:
            account: The account.
            e164: The number.
            now: The journal's time.
            price: Whether its price counts no more, either.
        """
        yield from self._take(account)
        yield f"UPDATE {self._accounts} SET acted_at = ? WHERE account = ? AND acted_at < ?", (now, account, now)
        if price:
            dropped = "setup_cents = NULL, monthly_cents = NULL, priced_at = NULL, dropped_at = ?"
            yield f"UPDATE {self._numbers} SET {dropped} WHERE account = ? AND e164 = ?", (now, account, e164)

    def require(self, account: str, e164s: Sequence[str]) -> Work[None]:
        """Change nothing, as `drop` would have to: it fails where that could not settle what is to be sent."""
        yield from self._take(account)
        unchanged = f"UPDATE {self._numbers} SET dropped_at = dropped_at WHERE account = ? AND e164 IN ({marks(e164s)})"
        yield unchanged, (account, *e164s)

    def after(self, before: Operation, now_is: Operation, now: float) -> Work[None]:
        """Drop what an operation that has just changed makes untrue.

        Args:
            before: The operation as it stood.
            now_is: As it is stored now.
            now: The journal's time.
        """
        if now_is.sent_at is None or before.sent_at is None:  # its being sent changes nothing yet
            return
        if now_is.state is not before.state:
            yield from self.drop(now_is.account, now_is.e164, now, price=True)
        elif now_is.number != before.number or now_is.settings_pending != before.settings_pending:
            yield from self.drop(now_is.account, now_is.e164, now, price=False)

    def take_turn(self, account: str, reader: str, now: float, seconds: float, *, refresh: bool) -> Work[bool]:
        """Let one process at a time read prices for all; false if it is another's turn.

        Args:
            account: The account.
            reader: Names the process.
            now: The journal's time.
            seconds: How long nobody else is to read.
            refresh: Whether it reads what would be too old soon, so that the next does so later.
        """
        yield from self._take(account)
        refreshed = ", refreshed_at = ?" if refresh else ""
        free = "(reader = ? OR reader_until <= ? OR reader_until > ?)"
        taken = f"UPDATE {self._accounts} SET reader = ?, reader_until = ?{refreshed} WHERE account = ? AND {free}"
        values = [reader, now + seconds, *([now] if refresh else []), account, reader, now, now + _LONGEST_TURN_SECONDS]
        rows = yield f"{taken} RETURNING 1", values
        return bool(rows)

    def forget(self, account: str | None = None) -> Work[None]:
        """Drop all that is kept of an account, or of all."""
        for table in (self._accounts, self._numbers):
            where, values = ("", ()) if account is None else (" WHERE account = ?", (account,))
            yield f"DELETE FROM {table}{where}", values

    def _take(self, account: str) -> Work[None]:
        """Lock the account's row, made if there is none."""
        again = "ON CONFLICT (account) DO UPDATE SET account = excluded.account"
        yield f"INSERT INTO {self._accounts} (account) VALUES (?) {again}", (account,)

    def _read(self, account: str, *, in_flight: bool = False, ids: Sequence[str] | None = None) -> Work[Kept]:
        rows = yield f"SELECT {', '.join(_ACCOUNT)} FROM {self._accounts} WHERE account = ?", (account,)
        listed_at, complete, unreadable, acted_at, refreshed_at = rows[0] if rows else (None, 0, "[]", 0.0, 0.0)
        sql = f"SELECT {', '.join(_COLUMNS[1:])} FROM {self._numbers} WHERE account = ?"
        found: list[tuple[Any, ...]] = []
        if ids is None:
            found = yield sql, (account,)
        for some in _batches(ids or ()):
            found += yield f"{sql} AND number_id IN ({marks(some)})", (account, *some)
        return Kept(
            numbers={row[0]: _decode(row) for row in found},
            listed_at=listed_at,
            complete=bool(complete),
            unreadable=tuple(json.loads(unreadable)),
            acted_at=acted_at,
            refreshed_at=refreshed_at,
            in_flight=in_flight,
        )

    def _write(self, account: str, before: Kept, after: Kept) -> Work[None]:
        changed = [kept for id_, kept in after.numbers.items() if before.numbers.get(id_) != kept]
        gone = [id_ for id_ in before.numbers if id_ not in after.numbers]
        updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[2:])
        for some in _batches(changed):
            values = ", ".join([f"({marks(_COLUMNS)})"] * len(some))
            inserted = f"INSERT INTO {self._numbers} ({', '.join(_COLUMNS)}) VALUES {values}"
            row = [value for kept in some for value in (account, *_encode(kept))]
            yield f"{inserted} ON CONFLICT (account, number_id) DO UPDATE SET {updates}", row
        for ids in _batches(gone):
            yield f"DELETE FROM {self._numbers} WHERE account = ? AND number_id IN ({marks(ids)})", (account, *ids)
        if after.listed_at != before.listed_at:
            yield (
                f"UPDATE {self._accounts} SET listed_at = ?, complete = ?, unreadable = ? WHERE account = ?",
                (after.listed_at, int(after.complete), json.dumps(after.unreadable), account),
            )


def _encode(kept: KeptNumber) -> Iterable[object]:
    values = (getattr(kept.number, name) for name in _RECORD)
    plain = (int(value) if isinstance(value, bool) else value for value in values)
    return (kept.number.id, *plain, kept.place, kept.priced_at, kept.dropped_at)


def _decode(row: Sequence[Any]) -> KeptNumber:
    number_id, *record, place, priced_at, dropped_at = row
    named = dict(zip(_RECORD, record, strict=True))
    flags = {name: None if named[name] is None else bool(named[name]) for name in _FLAGS}
    return KeptNumber(PhoneNumber(id=number_id, **{**named, **flags}), place, priced_at, dropped_at)


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))
