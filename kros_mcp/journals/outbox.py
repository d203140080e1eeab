"""The notices that wait to be delivered: what is written of them into the journal and read from it.

A row is one notice for one destination. Destinations are known here by a keyed hash of their address alone.
"""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kros_mcp.journals.rows import Work, marks
from kros_mcp.operations import notices
from kros_mcp.operations.notices import Listener, Notice, OutboxCounts, Taken

_COLUMNS: Final = (
    "id",
    "destination",
    "account",
    "organization",
    "operation_id",
    "number",
    "type",
    "at",
    "data",
    "tries",
    "next_at",
)
_LISTENER: Final = ("destination", "account", "organization", "seen_at")
_FURTHEST_SECONDS: Final = notices.LONGEST_PAUSE_SECONDS + notices.LEASE_SECONDS
"""How far ahead a next try can be; one that is further was set by a clock that was set back since."""


@dataclass(frozen=True)
class OutboxTables:
    """The tables of one journal.

    Args:
        rows: Of the notices.
        listeners: Of the destinations, each with the accounts whose notices go there.
        lock: What keeps the rows that are taken from others that take some.
    """

    rows: str
    listeners: str
    lock: str = ""

    def listen(self, listeners: Sequence[Listener], now: float) -> Work[None]:
        """Write down that a server is here which delivers to those destinations."""
        again = "ON CONFLICT (destination, account) DO UPDATE SET organization = excluded.organization, seen_at = "
        yield from self._insert_listeners(listeners, now, f"{again}excluded.seen_at")

    def put(self, notice: Notice, listeners: Sequence[Listener], now: float) -> Work[None]:
        """Store a notice for every destination that somebody delivers to.

        Args:
            notice: What is told.
            listeners: Those of this process, which count though they could not be written down before.
            now: The journal's time.
        """
        own = [each for each in listeners if each.account == notice.account]
        if own:
            yield from self._insert_listeners(own, now, "ON CONFLICT DO NOTHING")
        told = (notice.id, notice.account, notice.operation_id, notice.number, notice.type, notice.at)
        values = (*told, notices.encoded(notice.data), 0, now)
        columns = "id, account, operation_id, number, type, at, data, tries, next_at, destination, organization"
        listening = f"SELECT {marks(values)}, destination, organization FROM {self.listeners}"
        since = now - notices.LISTENING_SECONDS
        sql = f"INSERT INTO {self.rows} ({columns}) {listening} WHERE account = ? AND seen_at > ?"
        yield sql, (*values, notice.account, since)

    def require(self, account: str, listeners: Sequence[Listener], now: float) -> Work[None]:
        """Fail if nothing can be stored here: before an act is claimed, not after it has moved money.

        Only a row that is really written shows that, so one is, and is taken out again.
        """
        notice = notices.trial(account, now, None)
        yield from self.put(notice, listeners, now)
        yield f"DELETE FROM {self.rows} WHERE id = ?", (notice.id,)

    def is_due(self, destination: str, now: float) -> Work[bool]:
        """Whether something is to be delivered there now."""
        where, values = self._due(destination, now)
        return bool((yield f"SELECT 1 FROM {self.rows} AS one WHERE {where} LIMIT 1", values))

    def take(self, destination: str, now: float, limit: int) -> Work[tuple[Taken, ...]]:
        """Take what is to be delivered there now, what has waited longest first, so that nobody else does for a while.

        Of one operation only the first; see `IN_ORDER_TRIES`.
        """
        where, values = self._due(destination, now)
        order = f"ORDER BY one.next_at, one.number LIMIT {limit}{self.lock}"
        rows = yield f"SELECT {', '.join(_COLUMNS)} FROM {self.rows} AS one WHERE {where} {order}", values
        taken = tuple(_decoded(row) for row in rows)
        if taken:
            ids = [each.notice.id for each in taken]
            yield (
                f"UPDATE {self.rows} SET next_at = ?, tries = tries + 1 WHERE destination = ? AND id IN ({marks(ids)})",
                (now + notices.LEASE_SECONDS, destination, *ids),
            )
        return taken

    def note(self, delivered: Collection[Taken], failed: Collection[Taken], now: float) -> Work[None]:
        """Write down what was delivered, and when to try again what was not.

        Where something came through, what waits for its next try is due: only what somebody may be delivering is not.
        """
        for each in delivered:
            key = (each.notice.id, each.destination)
            yield f"UPDATE {self.rows} SET delivered_at = ? WHERE id = ? AND destination = ?", (now, *key)
        for destination, account in sorted({(each.destination, each.notice.account) for each in delivered}):
            last = f"UPDATE {self.listeners} SET delivered_at = ? WHERE destination = ? AND account = ?"
            yield last, (now, destination, account)
        for destination in sorted({each.destination for each in delivered}):
            waits = "destination = ? AND delivered_at IS NULL AND next_at > ?"
            yield f"UPDATE {self.rows} SET next_at = at WHERE {waits}", (destination, now + notices.LEASE_SECONDS)
        for each in failed:
            again = now + notices.pause_after(each.tries + 1)
            yield (
                f"UPDATE {self.rows} SET next_at = ? WHERE id = ? AND destination = ? AND tries = ?",
                (again, each.notice.id, each.destination, each.tries + 1),
            )

    def tidy(self, now: float) -> Work[None]:
        """Drop what was delivered, what nobody will ask for any more, and the oldest of what is too much."""
        yield f"UPDATE {self.rows} SET next_at = ? WHERE next_at > ?", (now, now + _FURTHEST_SECONDS)
        yield f"DELETE FROM {self.rows} WHERE delivered_at < ?", (now - notices.KEPT_DELIVERED_SECONDS,)
        yield f"DELETE FROM {self.rows} WHERE at < ?", (now - notices.KEPT_SECONDS,)
        yield f"DELETE FROM {self.listeners} WHERE seen_at < ?", (now - 2 * notices.LISTENING_SECONDS,)
        most = f"GROUP BY destination HAVING count(*) > {notices.MOST_KEPT}"
        for (destination,) in (yield f"SELECT destination FROM {self.rows} {most}", ()):
            newest = f"SELECT id FROM {self.rows} WHERE destination = ? ORDER BY at DESC LIMIT {notices.MOST_KEPT}"
            yield (
                f"DELETE FROM {self.rows} WHERE destination = ? AND id NOT IN ({newest})",
                (destination, destination),
            )

    def hand_over(self, former: str, account: str) -> Work[None]:
        """Let what waits of one account, and whoever is told of it, be another's."""
        yield f"UPDATE {self.rows} SET account = ? WHERE account = ?", (account, former)
        kept, names = "destination, organization, seen_at, delivered_at", "destination, account"
        both = f"SELECT {kept}, ? FROM {self.listeners} WHERE account = ? ON CONFLICT ({names}) DO NOTHING"
        yield f"INSERT INTO {self.listeners} ({kept}, account) {both}", (account, former)
        yield f"DELETE FROM {self.listeners} WHERE account = ?", (former,)

    def counts(self, now: float, *, account: str | None, destination: str | None) -> Work[OutboxCounts]:
        """Count what waits and what could not be delivered, and tell when the last was."""
        chosen = {name: value for name, value in (("account", account), ("destination", destination)) if value}
        where = "".join(f" AND {name} = ?" for name in chosen)
        stale = now - notices.GOOD_SECONDS
        sql = f"SELECT count(*), min(at) FROM {self.rows} WHERE delivered_at IS NULL"
        [(waiting, _)] = yield f"{sql} AND at > ?{where}", (stale, *chosen.values())
        [(undelivered, since)] = yield f"{sql} AND at <= ?{where}", (stale, *chosen.values())
        last = f"SELECT max(delivered_at) FROM {self.listeners} WHERE 1 = 1{where}"
        [(delivered_at,)] = yield last, tuple(chosen.values())
        return OutboxCounts(int(waiting), int(undelivered), since, delivered_at)

    def still_to_tell(self) -> Work[frozenset[str]]:
        """Return the operations of which something is not delivered, however old."""
        rows = yield f"SELECT DISTINCT operation_id FROM {self.rows} WHERE delivered_at IS NULL", ()
        return frozenset(operation_id for (operation_id,) in rows)

    def acknowledge(self, now: float) -> Work[int]:
        """Drop what could not be delivered, and give how many there were; its destination too, if no server has it.

        A server that has it says so every few hours: one that has not for a day runs no more, or with another address.
        """
        stale = now - notices.GOOD_SECONDS
        where = "delivered_at IS NULL AND at <= ?"
        rows = yield f"DELETE FROM {self.rows} WHERE {where} RETURNING destination", (stale,)
        for destination in sorted({destination for (destination,) in rows}):
            yield f"DELETE FROM {self.listeners} WHERE destination = ? AND seen_at <= ?", (destination, stale)
            if not (yield f"SELECT 1 FROM {self.listeners} WHERE destination = ? LIMIT 1", (destination,)):
                yield f"DELETE FROM {self.rows} WHERE destination = ?", (destination,)
        return len(rows)

    def _due(self, destination: str, now: float) -> tuple[str, tuple[object, ...]]:
        news = now - notices.GOOD_SECONDS
        before = (
            f"SELECT 1 FROM {self.rows} AS earlier WHERE earlier.destination = one.destination "
            "AND earlier.operation_id = one.operation_id AND earlier.number < one.number "
            "AND earlier.delivered_at IS NULL AND earlier.at > ? AND earlier.tries < ?"
        )
        where = (
            f"one.destination = ? AND one.delivered_at IS NULL AND one.next_at <= ? AND one.at > ? "
            f"AND NOT EXISTS ({before})"
        )
        return where, (destination, now, news, news, notices.IN_ORDER_TRIES)

    def _insert_listeners(self, listeners: Iterable[Listener], now: float, conflict: str) -> Work[None]:
        rows = [(each.destination, each.account, each.organization, now) for each in listeners]
        values = ", ".join([f"({marks(_LISTENER)})"] * len(rows))
        sql = f"INSERT INTO {self.listeners} ({', '.join(_LISTENER)}) VALUES {values} {conflict}"
        yield sql, [value for row in rows for value in row]


def _decoded(row: Sequence[Any]) -> Taken:
    named = dict(zip(_COLUMNS, row, strict=True))
    notice = Notice(
        id=named["id"],
        type=named["type"],
        at=named["at"],
        account=named["account"],
        data=json.loads(named["data"]),
        operation_id=named["operation_id"],
        number=int(named["number"]),
    )
    return Taken(notice, named["destination"], named["organization"], int(named["tries"]))
