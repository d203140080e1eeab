"""The journal's rules, once for every backend that speaks SQL: what each transaction reads and writes.

A transaction is a generator: it yields a statement, receives the rows, and returns its result. A backend
drives it, in a thread or in the event loop, and stores all of it or nothing.
"""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from kros_mcp.errors import OperationError
from kros_mcp.journals import (
    amounts,
    completeness,
    generation,
    known_organizations,
    pruned,
    request_counts,
)
from kros_mcp.journals.clock import Progress, Timekeeper
from kros_mcp.journals.filters import OPEN_AS_INDEXED, WAITING_STATES, condition, is_of_open
from kros_mcp.journals.kept_numbers import KeptTables
from kros_mcp.journals.outbox import OutboxTables
from kros_mcp.journals.rows import (
    COLUMNS,
    EVENT_COLUMNS,
    Work,
    decode,
    decode_event,
    encode,
    encode_event,
    happened,
    marks,
)
from kros_mcp.krosai import Asked, Window
from kros_mcp.numbering import spoken
from kros_mcp.operations import adoption, audit_log, events, moves, notices, pruning, restoration
from kros_mcp.operations.events import SERVER, SUPERSEDED, By, Event
from kros_mcp.operations.journal import (
    EVERYTHING,
    Claim,
    Filter,
    Identity,
    Move,
    NamedOrganization,
    OpenCounts,
    Total,
    asked_already,
    busy,
    missing,
    pruned_meanwhile,
)
from kros_mcp.operations.kept import Kept, Listing, Sight
from kros_mcp.operations.model import IN_FLIGHT, OPEN, WAITING, Operation, State
from kros_mcp.operations.notices import Listener, OutboxCounts, Taken
from kros_mcp.operations.policy import DAY_SECONDS, Books
from kros_mcp.operations.pruning import Pruning
from kros_mcp.settings import Environment

if TYPE_CHECKING:
    from kros_mcp.operations.expenditure import Acts, Grouping, SpendingGroup, SpentPart, Tallied

T = TypeVar("T")
ASKING_WINDOW_SECONDS = 600.0
MAX_PROMPTS_TURNED_DOWN = 3
ROWS_AT_ONCE = 20_000
"""How many rows are summed by one statement: meanwhile nobody writes to a file."""
_MANY = 500
_LATEST_BATCHES = 20
_NEWEST_FIRST = "created_at DESC, rowid DESC"
_EVENT = ("operation_id", "number", *EVENT_COLUMNS)
_DUE = "state IN ('confirmed', 'sending', 'unknown') OR settings_pending = 1"
_TO_LOOK_AT = "look_at <= ? AND state IN ('done', 'failed') AND settings_pending = 0"
_OPEN = ", ".join(f"'{state}'" for state in sorted(OPEN))


class StoredJournal(ABC):
    """A journal in a table; a backend says where the table is, what the time is, and how to run a transaction."""

    secret: bytes
    only_reads = False
    _table = "operations"
    _events = "operation_events"
    _meta = "meta"
    _progress = "progress"
    _requests = "request_counts"
    _kept = KeptTables("owned_numbers", "owned_lists", "operations")
    _organizations = "organizations"
    _outbox = OutboxTables("outbox", "listeners")
    _for_update = ""
    """What locks the rows that are read until the transaction ends, where the transaction itself does not."""

    def __init__(self, keeper: Timekeeper) -> None:
        self._keeper = keeper
        self._watch = generation.Watch()
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        """By account, where this process delivers its notices."""

    @abstractmethod
    async def _transact(self, work: Callable[[], Work[T]]) -> T:
        """Run a transaction that writes; anybody who cancels it waits until it has ended."""

    async def _transact_long(self, work: Callable[[], Work[T]]) -> T:
        """Run a transaction that may take minutes."""
        return await self._transact(work)

    async def _transact_if_free(self, work: Callable[[], Work[T]]) -> T:
        """Run a transaction that can be run later as well, and do not wait for other processes, where that is known."""
        return await self._transact(work)

    @abstractmethod
    async def _look(self, work: Callable[[], Work[T]]) -> T:
        """Run statements that only read."""

    @abstractmethod
    def _time(self) -> Work[float]:
        """Return the journal's time."""

    def _timed(self, work: Callable[[float], Work[T]]) -> Callable[[], Work[T]]:
        """Return a transaction that reads the journal's time and does the work with it."""

        def timed() -> Work[T]:
            return (yield from work((yield from self._time())))

        return timed

    @abstractmethod
    def _alone(self, account: str) -> Work[None]:
        """Let no other transaction of this account propose or claim until this one ends."""

    @abstractmethod
    def _claims_alone(self) -> Work[None]:
        """Let no other transaction claim until this one ends, whichever its account; taken before an account's."""

    @abstractmethod
    def _text_in(self, column: str, name: str) -> str:
        """Write how a text is read out of a column of JSON."""

    @abstractmethod
    def _cents_in(self, column: str, name: str) -> str:
        """Write how an integer is read out of a column of JSON."""

    @abstractmethod
    def _day_of(self, column: str) -> str:
        """Write which day in UTC a time is of, as a number of days since 1970."""

    def _country(self) -> str:
        """Write which country a row is about; empty where KrosAI stated none."""
        return f"upper(coalesce({self._text_in('quote', 'country')}, ''))"

    def _reported_or_shown(self, name: str) -> str:
        """Write how a value of a price is read out of a row: as KrosAI reported it, else as it was shown."""
        return f"coalesce({self._text_in('number', name)}, {self._text_in('quote', name)})"

    def _amounts(self, *, of: str = "", where: str = "") -> str:
        return amounts.columns(self._text_in, self._cents_in, of=of, where=where)

    async def now(self) -> float:
        """Return the journal's time, in Unix seconds."""
        return await self._look(self._time)

    async def waited(self, operation: Operation) -> float:
        """Return how many seconds have certainly passed since an operation was sent; 0 if it was not."""
        if operation.sent_at is None:
            return 0.0
        now = await self.now()
        return max(0.0, self._keeper.waited(operation.sent_at, now))

    async def propose(self, draft: Operation, *, by: By = SERVER) -> Operation:
        """Store a draft, or answer the open operation that is the same."""
        return await self._transact(lambda: self._propose(draft, by))

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        """Run one move in a transaction, and store its event with it."""
        return await self._transact(lambda: self._change(operation_id, move, by))

    async def claim(
        self, operation_id: str, move: Claim, *, committed_since: float, by: By = SERVER
    ) -> tuple[Operation, tuple[Operation, ...]]:
        """Run a move that also needs the books, in one transaction with the sums it sees; of a batch all or none."""
        return await self._transact(lambda: self._claim(operation_id, move, committed_since, by))

    async def events(self, operation_id: str) -> tuple[Event, ...]:
        """Read what happened to an operation, in its order; nothing of one that has not moved since events are kept."""
        sql = f"SELECT {', '.join(EVENT_COLUMNS)} FROM {self._events} WHERE operation_id = ? ORDER BY number"

        def work() -> Work[tuple[Event, ...]]:
            rows = yield sql, (operation_id,)
            return tuple(decode_event(row) for row in rows)

        return await self._look(work)

    async def acknowledge(self, operation_id: str, *, by: By, words: str) -> None:
        """Store an event that somebody knows of what was found about an operation; its row stays as it is."""

        def work() -> Work[None]:
            stored, _, now = yield from self._taken(operation_id)
            event = events.acknowledged(now, by, words)
            yield from self._tell_of(stored, event)
            yield happened(stored, event)

        await self._transact(work)

    async def get(self, operation_id: str) -> Operation | None:
        """Read one operation, expired if its time has come."""
        return await self._first("id = ?", operation_id)

    async def items(self, batch_id: str) -> tuple[Operation, ...]:
        """Read the operations of a batch, in the order of its numbers; none before its yes."""
        where = "batch = ? AND batch <> '' ORDER BY rowid"
        return await self._look(lambda: self._select(where, batch_id, index="of_batch"))

    async def batches(self, identity: Identity) -> tuple[Operation, ...]:
        """List the latest batches of that identity, newest first."""
        where = f"account = ? AND principal = ? AND action = ? AND items <> '[]' ORDER BY {_NEWEST_FIRST} LIMIT ?"
        values = (identity.account, identity.principal, str(identity.action), _LATEST_BATCHES)

        def work() -> Work[tuple[Operation, ...]]:
            now = yield from self._time()
            rows = yield from self._select(where, *values, index="batches")
            return tuple(moves.expire(row, now) for row in rows)

        return await self._look(work)

    async def find(
        self, identity: Identity, *, e164: str = "", inventory_id: str = "", number_id: str = ""
    ) -> Operation | None:
        """Find the newest operation of that identity for a number, by any of its names."""
        names = {
            "e164": e164,
            self._text_in("request", "inventory_id"): inventory_id,
            self._text_in("request", "number_id"): number_id,
        }
        mine = f"principal = ? AND action = ? ORDER BY {_NEWEST_FIRST} LIMIT 1"
        for column, value in names.items():
            if value:
                where = f"account = ? AND {column} = ? AND {mine}"
                found = await self._first(where, identity.account, value, identity.principal, str(identity.action))
                if found is not None:
                    return found
        return None

    async def due(self, account: str) -> tuple[Operation, ...]:
        """List what needs attention: confirmed, sending, unknown, settings pending, or settled and to be looked at."""
        open_now, watched = f"account = ? AND ({_DUE})", f"account = ? AND {_TO_LOOK_AT}"

        def work() -> Work[tuple[Operation, ...]]:
            now = yield from self._time()
            first = yield from self._select(f"{open_now} ORDER BY created_at", account, index="due")
            then = yield from self._select(f"{watched} ORDER BY look_at", account, now, index="watched")
            return first + then

        return await self._look(work)

    async def books(self, account: str, principal: str, *, committed_since: float) -> Books:
        """Sum what is spent and committed, by everybody and by one principal."""
        return await self._look(self._timed(lambda now: self._books(account, principal, now, committed_since)))

    async def open_counts(self, account: str) -> OpenCounts:
        """Count what waits for a yes or for its sending, and what is unknown, and tell since when."""
        since = "coalesce(sent_at, created_at)"
        table = f"{self._table}{self._by('one_open')}"
        sql = f"SELECT state, count(*), min({since}) FROM {table} WHERE account = ? AND {OPEN_AS_INDEXED} "

        def work() -> Work[OpenCounts]:
            now = yield from self._time()
            still = f"AND (state NOT IN ({WAITING_STATES}) OR expires_at > ?) GROUP BY state"
            found = {state: (int(count), oldest) for state, count, oldest in (yield sql + still, (account, now))}
            waiting = [found[state] for state in WAITING if state in found]
            unknown, unknown_since = found.get(State.UNKNOWN, (0, None))
            return OpenCounts(
                waiting=sum(count for count, _ in waiting),
                waiting_since=min((oldest for _, oldest in waiting), default=None),
                unknown=unknown,
                unknown_since=unknown_since,
            )

        return await self._look(work)

    async def times_asked(self, operations: Sequence[Operation]) -> dict[str, int]:
        """Count how often the same as each operation was asked for in the last 24 hours."""
        counts = "SELECT e164, principal, action, sum(1 + asked_again) FROM"
        sql = f"{counts} {self._table}{self._by('by_number')} WHERE account = ? AND created_at > ? AND e164"

        def work() -> Work[dict[str, int]]:
            since = (yield from self._time()) - DAY_SECONDS
            found: dict[tuple[str, ...], int] = {}
            for account in sorted({operation.account for operation in operations}):
                e164s = sorted({operation.e164 for operation in operations if operation.account == account})
                for at in range(0, len(e164s), _MANY):
                    some = e164s[at : at + _MANY]
                    values = (account, since, *some)
                    for *names, count in (yield f"{sql} IN ({marks(some)}) GROUP BY e164, principal, action", values):
                        found[(account, *names)] = int(count)
            times = {}
            for each in operations:
                counted = found.get((each.account, each.e164, each.principal, str(each.action)), 0)
                times[each.id] = counted + (1 + each.asked_again if each.created_at <= since else 0)
            return times

        return await self._look(work)

    async def expire(self) -> int:
        """Write down what has waited too long, of every account, and give how many operations that has ended."""
        late = f"{OPEN_AS_INDEXED} AND state IN ({WAITING_STATES}) AND expires_at <= ?"

        def look() -> Work[bool]:
            now = yield from self._time()
            table = f"{self._table}{self._by('one_open')}"
            return bool((yield f"SELECT 1 FROM {table} WHERE {late} LIMIT 1", (now,)))

        def work() -> Work[int]:
            now = yield from self._time()
            found = yield from self._select(f"{late}{self._for_update}", now, index="one_open")
            for operation in found:
                yield from self._stored(operation, moves.expire(operation, now), now, SERVER)
            return len(found)

        return await self._transact(work) if await self._look(look) else 0

    async def buyers(self, account: str, e164s: Sequence[str]) -> dict[str, str]:
        """Return the principal who last bought each number; one that was bought elsewhere is left out."""

        def work() -> Work[dict[str, str]]:
            found: dict[str, str] = {}
            for at in range(0, len(e164s), _MANY):
                some = e164s[at : at + _MANY]
                where = f"account = ? AND action = 'buy' AND state = 'done' AND e164 IN ({marks(some)})"
                table = f"{self._table}{self._by('bought')}"
                sql = f"SELECT e164, principal FROM {table} WHERE {where} ORDER BY settled_at, rowid"
                rows = yield sql, (account, *some)
                found.update((e164, principal) for e164, principal in rows)
            return found

        return await self._look(work)

    async def refused(self, account: str, codes: Sequence[str], *, since: float) -> Operation | None:
        """Return the newest purchase that failed with one of these codes, if none was done since."""
        failed = "account = ? AND created_at >= ? AND action = 'buy' AND state = 'failed'"
        newest = f"{failed} AND error_code IN ({marks(codes)}) ORDER BY created_at DESC LIMIT 1"
        done = "account = ? AND settled_at >= ? AND action = 'buy' AND state = 'done'"
        since_then = f"SELECT 1 FROM {self._table}{self._by('settled')} WHERE {done} LIMIT 1"

        def work() -> Work[Operation | None]:
            found = yield from self._select(newest, account, since, *codes, index="by_account")
            if not found or (yield since_then, (account, found[0].settled_at)):
                return None
            return found[0]

        return await self._look(work)

    async def sent_since(self, account: str, e164: str, since: float) -> tuple[Operation, ...]:
        """List the operations on a number that were sent after a time, on the journal's clock."""
        where = "account = ? AND e164 = ? AND sent_at > ?"
        return await self._look(lambda: self._select(where, account, e164, since, index="by_number"))

    async def routing_changed(self, account: str, e164: str, names: tuple[str, ...], *, by: By = SERVER) -> None:
        """Drop settings that a purchase still wanted to set: somebody has chosen them anew."""
        where = (
            "account = ? AND e164 = ? AND action = 'buy' AND (settings_pending = 1 OR state IN ('sending', 'unknown'))"
        )

        def supersede() -> Work[None]:
            yield from self._alone(account)
            now = yield from self._time()
            for operation in (yield from self._select(where + self._for_update, account, e164)):
                chosen = tuple(sorted({*operation.settings_superseded, *names}))
                yield from self._stored(operation, replace(operation, settings_superseded=chosen), now, by)

        await self._transact(supersede)

    async def kept(self, account: str) -> Kept:
        """Read what is kept of an account's numbers."""
        return await self._look(lambda: self._kept.read(account))

    async def keep(self, account: str, sights: Sequence[Sight], listing: Listing | None = None) -> None:
        """Write down what was seen of an account's numbers, as far as nothing newer is known."""
        await self._transact_if_free(lambda: self._kept.add(account, sights, listing))

    async def number_changed(self, account: str, e164: str) -> None:
        """Drop what is kept of a number that was changed without an operation."""
        await self._transact(self._timed(lambda now: self._kept.drop(account, e164, now, price=True)))

    async def take_turn(self, account: str, reader: str, *, seconds: float, refresh: bool = False) -> bool:
        """Take the turn to read an account's prices for all processes; false if it is another's."""
        return await self._transact_if_free(
            self._timed(lambda now: self._kept.take_turn(account, reader, now, seconds, refresh=refresh))
        )

    async def accounts(self) -> dict[str, int]:
        """Count the operations of each account, whoever it is."""

        def work() -> Work[dict[str, int]]:
            rows = yield f"SELECT account, count(*) FROM {self._table} GROUP BY account ORDER BY account", ()
            return {account: int(count) for account, count in rows}

        return await self._look(work)

    async def note_organization(self, named: NamedOrganization) -> None:
        """Write down that a caller of an organization has come."""
        await self._transact(lambda: known_organizations.note(self._organizations, named))

    async def organizations(self) -> tuple[NamedOrganization, ...]:
        """List the organizations whose callers have come."""
        return await self._look(lambda: known_organizations.every(self._organizations))

    async def restless_organizations(self) -> tuple[NamedOrganization, ...]:
        """List those of them with something to be carried out, recovered or looked at now."""
        accounts = f"SELECT account FROM {self._table}"
        open_now = f"{accounts}{self._by('due')} WHERE {_DUE}"
        watched = f"{accounts}{self._by('watched')} WHERE {_TO_LOOK_AT}"
        return await self._look(
            self._timed(lambda now: known_organizations.restless(self._organizations, open_now, watched, now))
        )

    async def adopt(self, former: str, account: str, *, environment: Environment, by: By, words: str) -> int:
        """Hand all operations of one account to another, in one transaction, each with an event."""

        def work() -> Work[int]:
            for name in sorted((former, account)):
                yield from self._alone(name)
            now = yield from self._time()
            open_now = f"account IN (?, ?) AND state IN ({_OPEN}) ORDER BY id{self._for_update}"
            still_open = yield from self._select(open_now, former, account)
            for before, after in adoption.make_room(still_open, former, now):
                yield from self._stored(before, after, now, by)
            event, count, last = events.adopted(account, now, by, words), 0, ""
            page = f"account = ? AND id > ? ORDER BY id LIMIT {_MANY}{self._for_update}"
            while rows := (yield from self._select(page, former, last)):
                adoption.require_environment(rows, environment)
                yield from self._tell_all(rows, event)
                for row in rows:
                    yield happened(replace(row, account=account), event)
                count, last = count + len(rows), rows[-1].id
            if not count:
                raise adoption.nothing_to_adopt()
            yield f"UPDATE {self._table} SET account = ? WHERE account = ?", (account, former)
            yield from self._outbox.hand_over(former, account)
            yield from pruned.hand_over(self._meta, former, account)
            for each in (former, account):  # what they own is read again, under the name that stays
                yield from self._kept.forget(each)
            return count

        return await self._transact_long(work)

    async def list_operations(
        self,
        wanted: Filter = EVERYTHING,
        *,
        limit: int = 50,
        after: str = "",
        oldest_first: bool = False,
        offset: int = 0,
    ) -> tuple[Operation, ...]:
        """List operations as they stand now, newest first unless told otherwise."""
        beyond, order = (">", "ASC") if oldest_first else ("<", "DESC")

        def work() -> Work[tuple[Operation, ...]]:
            now = yield from self._time()
            where, values = condition(wanted, now, self._country())
            if after:
                place = yield f"SELECT created_at, rowid FROM {self._table} WHERE id = ?", (after,)
                if not place:
                    raise pruned_meanwhile()
                where += f" AND (created_at, rowid) {beyond} (?, ?)"
                values.extend(place[0])
            where += f" ORDER BY created_at {order}, rowid {order} LIMIT ? OFFSET ?"
            index = "one_open" if is_of_open(wanted) else ""
            rows = yield from self._select(where, *values, limit, offset, index=index)
            return tuple(moves.expire(row, now) for row in rows)

        return await self._look(work)

    async def count(self, wanted: Filter = EVERYTHING) -> int:
        """Count operations, by the same filter."""

        def work() -> Work[int]:
            now = yield from self._time()
            where, values = condition(wanted, now, self._country())
            rows = yield f"SELECT count(*) FROM {self._table_of(wanted)} WHERE {where}", values
            return int(rows[0][0])

        return await self._look(work)

    async def totals(self, wanted: Filter) -> tuple[Total, ...]:
        """Count and sum operations, by the same filter."""
        columns, currency = self._amounts(where="charged = 'yes'"), self._reported_or_shown("currency")

        def work(where: str, values: list[object], now: float) -> Work[tuple[Total, ...]]:
            return (yield from amounts.totals(self._table_of(wanted), where, values, now, columns, currency))

        return amounts.together(await self._in_slices(wanted, work))

    async def spending(self, wanted: Filter, grouping: "Grouping") -> "tuple[SpendingGroup, ...]":
        """Sum what operations took and what they changed of the cost of a month, by the same filter."""
        from kros_mcp.operations.expenditure import Grouping, grouped  # noqa: PLC0415 - no server needs it to start

        keys = {Grouping.PRINCIPAL: "principal", Grouping.COUNTRY: self._country()}
        return grouped(await self._spent(wanted, keys.get(grouping, self._spending_day(wanted))), grouping)

    async def spending_parts(self, wanted: Filter) -> "tuple[SpentPart, ...]":
        """Sum the same by day, principal and country at once."""
        from kros_mcp.operations.expenditure import PARTED, parts_of  # noqa: PLC0415 - no server needs it to start

        day = f"CAST({self._spending_day(wanted)} AS TEXT)"
        return parts_of(await self._spent(wanted, f" || '{PARTED}' || ".join((day, self._country(), "principal"))))

    async def acts_on_numbers(self, wanted: Filter) -> "list[Acts]":
        """Read when each number was bought and given up last, by the same filter."""
        from kros_mcp.journals import spending_sums  # noqa: PLC0415 - no server needs it to start

        row = {"monthly": amounts.monthly(self._text_in, self._cents_in), "former_status": self._former_status()}

        def work(where: str, values: list[object], _now: float) -> "Work[list[Acts]]":
            return (yield from spending_sums.of_numbers(self._table, where, values, **row))

        return list(chain.from_iterable(await self._in_slices(wanted, work)))

    def _former_status(self) -> str:
        """Write how a row tells what a record said before it was deleted; NULL where it was not."""
        deletes = f"CAST({self._text_in('request', 'permanent')} AS TEXT) IN ('1', 'true')"
        return f"CASE WHEN {deletes} THEN {self._text_in('request', 'status')} END"

    def _spending_day(self, wanted: Filter) -> str:
        return self._day_of("sent_at" if wanted.by_sent else "created_at")

    async def _spent(self, wanted: Filter, key: str) -> "Iterable[Tallied]":
        """Sum what operations took, by what `key` reads out of a row."""
        from kros_mcp.journals import spending_sums  # noqa: PLC0415 - no server needs it to start

        row = {
            "key": key,
            "amounts": self._amounts(),
            "amounts_of_bought": self._amounts(of="bought"),
            "currency": self._reported_or_shown("currency"),
            "former_status": self._former_status(),
        }

        def work(where: str, values: list[object], _now: float) -> "Work[tuple[Tallied, ...]]":
            return (yield from spending_sums.of(self._table, where, values, **row))

        return chain.from_iterable(await self._in_slices(wanted, work))

    async def _in_slices(self, wanted: Filter, work: Callable[[str, list[object], float], Work[T]]) -> list[T]:
        """Read what may be many rows some at a time, so that nobody who writes waits for long.

        Args:
            wanted: Which rows.
            work: Reads those of a condition, with the values for its marks, at a time.

        Returns:
            What was read of each slice; every row is in one.
        """
        found: list[T] = []
        since: float | None = None

        def slice_from(first: float | None) -> Work[tuple[T, float | None]]:
            now = yield from self._time()
            where, values = condition(wanted, now, self._country())
            until = None if is_of_open(wanted) else (yield from self._slices_end(wanted, first))
            for bound, at in (("created_at >= ?", first), ("created_at < ?", until)):
                if at is not None:
                    where, values = f"{where} AND {bound}", [*values, at]
            return (yield from work(where, values, now)), until

        while True:
            read, since = await self._look(partial(slice_from, since))
            found.append(read)
            if since is None:
                return found

    def _slices_end(self, wanted: Filter, first: float | None) -> Work[float | None]:
        """Return the time at which a slice ends that begins at another; None if it is the last."""
        begin = wanted.asked_since if first is None else first
        bounds = (("account = ?", wanted.account), ("created_at >= ?", begin), ("created_at < ?", wanted.until))
        parts = {sql: value for sql, value in bounds if value is not None}
        where = " AND ".join(parts) or "TRUE"
        sql = f"SELECT created_at FROM {self._table} WHERE {where} ORDER BY created_at LIMIT 1 OFFSET {ROWS_AT_ONCE}"
        rows = yield sql, list(parts.values())
        end = float(rows[0][0]) if rows else None
        return None if end == begin else end

    async def asked(self, account: str, principal: str | None = None) -> tuple[int | None, ...]:
        """Return what each purchase of an account that waits, for a yes or its turn, would take; None if unstated."""
        due_now = self._text_in("quote", "due_now_cents")
        return await self._look(self._timed(lambda now: amounts.asked(self._table, due_now, account, principal, now)))

    async def check_writable(self) -> None:
        """Raise `JournalError` unless a row could be written now."""
        sql = f"INSERT INTO {self._meta} VALUES ('writable', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

        def work() -> Work[None]:
            yield sql, (secrets.token_bytes(8),)

        await self._transact(work)

    async def mark_restored(self, *, copied_at: float | None = None, by: By = SERVER) -> int:
        """Write down that the journal was put back from a copy, and give how many operations that has ended."""

        def work() -> Work[int]:
            since = copied_at
            if since is None:
                since = yield from completeness.last_written(self._table, self._progress)
            now = yield from self._time()
            restless = f"state IN ('proposed', 'confirmed', 'sending'){self._for_update}"
            found = yield from self._select(restless)
            for operation in found:
                yield from self._stored(operation, restoration.ended(operation, now), now, by)
            yield from completeness.begin_anew(self._progress, self._meta, since)
            yield from self._kept.forget()
            return len(found)

        return await self._transact_long(work)

    async def lacks_since(self, account: str) -> float | None:
        """Return after which time an account's purchases may be missing since a restore; None if none are."""
        return await self._look(lambda: completeness.lacking_since(self._progress, self._meta, account))

    async def enter(self, account: str, bought: Sequence[Operation], *, by: By = SERVER) -> bool:
        """Enter what an account has bought since the copy that was restored was taken; false if nothing is missing."""

        def work() -> Work[bool]:
            yield from self._alone(account)
            now = yield from self._time()
            if (yield from completeness.lacking_since(self._progress, self._meta, account)) is None:
                return False
            for operation in bought:
                yield from self._insert(operation)
                event = events.entered(operation, now, by)
                yield from self._tell(operation.id, event)
                yield happened(operation, event)
            yield from completeness.complete(self._meta, account)
            return True

        return await self._transact(work)

    async def rows(self, *, after: str = "", limit: int = 1000) -> tuple[Operation, ...]:
        """Read operations as they are stored, agreed batches too, by their ids."""
        where = "id > ? ORDER BY id LIMIT ?"
        return await self._look(lambda: self._select(where, after, limit))

    async def prune(
        self, ids: Sequence[str], accounts: Collection[str], *, before: float, run: Pruning
    ) -> tuple[Operation, ...]:
        """Delete operations that rest, all or none, and write that down."""

        def work() -> Work[tuple[Operation, ...]]:
            for account in sorted(accounts):
                yield from self._alone(account)
            found = yield from self._select(f"id IN ({marks(ids)}){self._for_update}", *ids)
            as_planned = len(found) == len(ids) and {operation.account for operation in found} <= set(accounts)
            if not as_planned or not all(pruning.rests(operation, before) for operation in found):
                return ()
            yield from pruned.delete(self._table, self._events, self._meta, found, run)
            return found

        return await self._transact(work)

    async def prunings(self) -> tuple[Pruning, ...]:
        """Read what was deleted, oldest run first."""
        return await self._look(lambda: pruned.every(self._meta))

    async def still_to_tell(self) -> frozenset[str]:
        """Return the operations of which a notice is not delivered."""
        return await self._look(self._outbox.still_to_tell)

    async def add_requests(self, key: str, counts: Mapping[Asked, int], *, patient: bool = False) -> Window:
        """Count requests that KrosAI was sent as those of this hour, and return those of the last 24 hours."""
        transact = self._transact if patient else self._transact_if_free
        return await transact(self._timed(lambda now: request_counts.add(self._requests, key, counts, now)))

    async def requests(self, key: str) -> Window:
        """Return the requests of the last 24 hours, as far as they are written down."""
        return await self._look(self._timed(lambda now: request_counts.read(self._requests, key, now)))

    async def listen(self, account: str, listeners: Sequence[Listener]) -> None:
        """Store an account's notices for these destinations from now on, whichever process makes them."""
        self._listeners[account] = tuple(listeners)
        await self._transact_if_free(self._timed(lambda now: self._outbox.listen(listeners, now)))

    async def take_notices(self, destination: str, limit: int) -> tuple[Taken, ...]:
        """Take notices that are to be delivered to a destination now, so that no other process does for a while."""
        if not await self._look(self._timed(lambda now: self._outbox.is_due(destination, now))):
            return ()
        return await self._transact_if_free(self._timed(lambda now: self._outbox.take(destination, now, limit)))

    async def note_delivery(self, delivered: Collection[Taken], failed: Collection[Taken]) -> None:
        """Write down which of the notices that were taken have been delivered; the others are tried again."""
        await self._transact_if_free(self._timed(lambda now: self._outbox.note(delivered, failed, now)))

    async def watch_budget(self, account: str, budget_cents: int, environment: Environment) -> None:
        """Store a notice when most of a day's budget is spent, once until less is."""
        name = f"budget_low:{account}:{budget_cents}"

        def look() -> Work[tuple[int, bool, bool]]:
            now = yield from self._time()
            table = f"{self._table}{self._by('spent')}"
            spent = yield from amounts.spent(table, now - DAY_SECONDS, account=account)
            is_told = bool((yield f"SELECT 1 FROM {self._meta} WHERE name = ?", (name,)))
            return spent, notices.is_low(spent, budget_cents), is_told

        def work() -> Work[None]:
            spent, is_low, is_told = yield from look()
            if is_low and not is_told:
                told = f"INSERT INTO {self._meta} VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING 1"
                if (yield told, (name, b"\1")):
                    now = yield from self._time()
                    notice = notices.budget_low(account, now, environment, spent_cents=spent, budget_cents=budget_cents)
                    yield from self._outbox.put(notice, self._listeners.get(account, ()), now)
            elif is_told and not is_low:
                yield f"DELETE FROM {self._meta} WHERE name = ?", (name,)

        _, is_low, is_told = await self._look(look)
        if is_low is not is_told:
            await self._transact_if_free(work)

    async def tidy_outbox(self) -> None:
        """Drop notices that are delivered, or too old or too many to be told of."""
        await self._transact_if_free(self._timed(self._outbox.tidy))

    async def outbox_counts(self, *, account: str | None = None, destination: str | None = None) -> OutboxCounts:
        """Count the notices that wait, and those that could not be delivered, all or some."""
        return await self._look(
            self._timed(lambda now: self._outbox.counts(now, account=account, destination=destination))
        )

    async def acknowledge_undelivered(self) -> int:
        """Drop the notices that could not be delivered, and give how many there were."""
        return await self._transact(self._timed(self._outbox.acknowledge))

    async def _first(self, where: str, *values: object) -> Operation | None:
        def work() -> Work[tuple[tuple[Operation, ...], float]]:
            found = yield from self._select(where, *values)
            if not found:  # which an earlier journal in place of this one would say of everything new
                yield from self._same()
            return found, (yield from self._time())

        found, now = await self._look(work)
        if found and moves.expire(found[0], now) != found[0] and not self.only_reads:
            return await self.change(found[0].id, moves.expire)
        return moves.expire(found[0], now) if found else None

    def _guarded(self, work: Work[T]) -> Work[tuple[T, int, generation.Happened]]:
        """Run a transaction that writes, if this is still the journal that was opened, and note how far it has come.

        Returns:
            The result, how far the journal has come with it, and what happened.
        """
        come_so_far = yield from self._same()
        self._keeper.adopt(come_so_far)
        result, wrote, noted = yield from generation.observed(work)
        if wrote:
            yield from generation.advance(self._progress, self._keeper.moment())
        return result, come_so_far.moves + wrote, noted

    def _committed(self, moves: int, noted: generation.Happened) -> None:
        """Remember how far a transaction has brought the journal, and tell what happened in it."""
        self._watch.reached(moves)
        for operation, event in noted:
            audit_log.tell(operation, event)

    def _same(self) -> Work[Progress]:
        """Read how far the journal has come, and raise unless it is still the one that was opened."""
        seen = self._watch.moves
        come_so_far = yield from generation.read(self._progress)
        self._watch.require(come_so_far, seen)
        return come_so_far

    def _propose(self, draft: Operation, by: By) -> Work[Operation]:
        yield from self._alone(draft.account)
        yield from completeness.require_complete(self._progress, self._meta, draft.account)
        now = yield from self._time()
        mine = "account = ? AND e164 = ? AND principal = ? AND action = ?"
        identity = (draft.account, draft.e164, draft.principal, str(draft.action))
        for earlier in (yield from self._select(f"{mine} AND state IN ({_OPEN}){self._for_update}", *identity)):
            current = moves.expire(earlier, now)
            if current.state in OPEN and (current.state is not State.PROPOSED or current.asks_the_same(draft)):
                return current
            if current.state is State.PROPOSED:
                reason = "Replaced by one with other settings or at another price."
                current = moves.end(current, now, State.CANCELLED, reason=reason, code=SUPERSEDED)
            yield from self._stored(earlier, current, now, by)
        if taken := (yield from self._in_flight(draft)):
            raise busy(taken)
        if draft.action.is_several:
            yield from self._require_not_asked(draft, now)
        yield from self._require_not_turned_down(draft, now)
        yield from self._insert(draft)
        event = events.proposed(draft, now, by)
        yield from self._tell(draft.id, event)
        yield happened(draft, event)
        return draft

    def _require_not_asked(self, draft: Operation, now: float) -> Work[None]:
        """Raise where its principal has another operation open on one of a batch's numbers.

        Raises:
            OperationError: `NUMBER_BUSY`.
        """
        mine = f"account = ? AND principal = ? AND {OPEN_AS_INDEXED}"
        for other in (yield from self._select(mine, draft.account, draft.principal, index="one_open")):
            if moves.expire(other, now).state in OPEN:
                asked = {part.e164 for part in other.parts}
                for part in draft.parts:
                    if part.e164 in asked:
                        raise asked_already(part.e164, other.id)

    def _require_not_turned_down(self, draft: Operation, now: float) -> Work[None]:
        """Raise where a person has turned a number down three times within ten minutes, alone or in a batch.

        Raises:
            OperationError: `ASKED_TOO_OFTEN`.
        """
        turned_down = (
            "account = ? AND principal = ? AND action IN (?, ?) "
            "AND (channel = 'prompt' OR channel = 'screen' AND decided_by <> '') "
            "AND state IN ('declined', 'cancelled') AND error_code <> ? AND created_at > ?"
        )
        action, since = draft.action, now - ASKING_WINDOW_SECONDS
        whose = (draft.account, draft.principal, str(action.one), str(action.several))
        found = yield from self._select(turned_down, *whose, SUPERSEDED, since)
        times = Counter(part.e164 for row in found for part in row.parts)
        for part in draft.parts:
            if times[part.e164] >= MAX_PROMPTS_TURNED_DOWN:
                raise OperationError(
                    f"The person has turned {spoken(part.e164)} down three times within ten minutes; nothing was done.",
                    code="ASKED_TOO_OFTEN",
                    next_step="Do not ask again now; go on with something else.",
                )

    def _change(self, operation_id: str, move: Move, by: By) -> Work[Operation]:
        stored, current, now = yield from self._taken(operation_id)
        if current.state is not State.EXPIRED:
            current = move(current, now)
        if current.state in OPEN and stored.state not in OPEN:
            reason = f"How operation {current.id} on this number ended is not certain any more."
            yield from self._make_room(current, reason, now, by)
        return (yield from self._stored(stored, current, now, by))

    def _make_room(self, reopened: Operation, reason: str, now: float, by: By) -> Work[None]:
        """End what waits for a yes beside an operation that is open now and was not before.

        Raises:
            OperationError: `NUMBER_BUSY`, something is under way on the number.
        """
        others = f"account = ? AND e164 = ? AND id <> ? AND state IN ({_OPEN}){self._for_update}"
        for stored in (yield from self._select(others, reopened.account, reopened.e164, reopened.id)):
            if stored.state in IN_FLIGHT:
                raise busy(reopened.e164)
            current = moves.expire(stored, now)
            if current.state in WAITING and (current.principal, current.action) == (
                reopened.principal,
                reopened.action,
            ):
                current = moves.end(current, now, State.CANCELLED, reason=reason, code=SUPERSEDED)
            yield from self._stored(stored, current, now, by)

    def _claim(
        self, operation_id: str, move: Claim, committed_since: float, by: By
    ) -> Work[tuple[Operation, tuple[Operation, ...]]]:
        found = yield from self._select("id = ?", operation_id)
        if found:  # before its row is locked, as a proposal locks its account first too
            yield from self._claims_alone()
            yield from self._alone(found[0].account)
            yield from completeness.require_complete(self._progress, self._meta, found[0].account)
        stored, current, now = yield from self._taken(operation_id)
        yield from self._kept.require(current.account, [part.e164 for part in current.parts])
        yield from self._outbox.require(current.account, self._listeners.get(current.account, ()), now)
        items: tuple[Operation, ...] = ()
        if current.state is not State.EXPIRED:
            if taken := (yield from self._in_flight(current)):
                current = moves.refuse(current, now, busy(taken))
            else:
                books = yield from self._books(current.account, current.principal, now, committed_since)
                current, items = move(current, now, books)
        claimed = yield from self._stored(stored, current, now, by)
        items = tuple(
            replace(item, decided_by=claimed.decided_by, decided_through=claimed.decided_through) for item in items
        )
        if items:
            yield from self._begin(items, now, by)
        return claimed, items

    def _begin(self, items: Sequence[Operation], now: float, by: By) -> Work[None]:
        """Store the operations of a batch's numbers, as they were claimed under its yes.

        In few statements: the database may be far away, and all of them have the time of one transaction.
        """
        told: list[tuple[Operation, int, Event]] = []
        e164s = [item.e164 for item in items]
        open_too = f"account = ? AND e164 IN ({marks(e164s)}) AND state IN ({_OPEN})"
        asked = {other.e164 for other in (yield from self._select(open_too, items[0].account, *e164s))}
        for item in items:
            if item.e164 in asked:
                yield from self._make_room(item, f"It was agreed to under {item.batch}.", now, SERVER)
            yield from self._insert(item)
            told += [(item, number, event) for number, event in enumerate(events.agreed(item, now, by), 1)]
        yield from self._insert_events([(item.id, number, *encode_event(event)) for item, number, event in told])
        for item, _, event in told:
            yield happened(item, event)

    def _taken(self, operation_id: str) -> Work[tuple[Operation, Operation, float]]:
        """Read a row that is about to change: as it is stored, as it stands now, and the time."""
        found = yield from self._select(f"id = ?{self._for_update}", operation_id)
        if not found:
            raise missing(operation_id)
        now = yield from self._time()
        return found[0], moves.expire(found[0], now), now

    def _in_flight(self, operation: Operation) -> Work[str]:
        """Return a number of an operation that another one is acting on; empty if there is none."""
        e164s = [part.e164 for part in operation.parts]
        in_flight = "account = ? AND id <> ? AND state IN ('sending', 'unknown')"
        where = f"{in_flight} AND e164 IN ({marks(e164s)}) LIMIT 1"
        found = yield from self._select(where, operation.account, operation.id, *e164s)
        return found[0].e164 if found else ""

    def _books(self, account: str, principal: str, now: float, committed_since: float) -> Work[Books]:
        """Sum what was spent in the last 24 hours, and list what is committed, under way or not shown by KrosAI yet."""
        # What is under way is read before what is done: an operation that settles in between is then in one or both.
        prices = ", ".join(self._text_in(column, "monthly_cents") for column in ("number", "quote"))
        currency = f"coalesce({self._reported_or_shown('currency')}, '')"
        monthly = f"SELECT e164, principal, {currency}, {prices} FROM {self._table} AS bought"
        sending = "account = ? AND state IN ('sending', 'unknown') AND action = 'buy'"
        under_way = yield f"{monthly}{self._by('one_in_flight')} WHERE {sending}", (account,)
        # The release of another record, one that had ended before, gives nothing of a purchase up.
        number_of_purchase = self._text_in("bought.number", "id")
        number_of_release = self._text_in("later.request", "number_id")
        released_since = (
            f"SELECT 1 FROM {self._table} AS later WHERE later.account = bought.account AND later.e164 = bought.e164 "
            "AND later.action = 'release' AND later.state = 'done' AND later.settled_at >= bought.settled_at "
            f"AND coalesce({number_of_purchase} = {number_of_release}, TRUE)"
        )
        newer = (
            f"account = ? AND settled_at >= ? AND action = 'buy' AND state = 'done' AND NOT EXISTS ({released_since})"
        )
        recent = yield f"{monthly}{self._by('settled')} WHERE {newer}", (account, committed_since)
        unseen = (
            "account = ? AND look_at IS NOT NULL AND action = 'buy' AND state = 'done' "
            f"AND NOT EXISTS ({released_since})"
        )
        bought = [*recent, *(yield f"{monthly}{self._by('watched')} WHERE {unseen}", (account,))]
        sums = "coalesce(sum(reserved_cents), 0), coalesce(sum(CASE WHEN principal = ? THEN reserved_cents END), 0)"
        sql = f"SELECT {sums} FROM {self._table}{self._by('spent')} WHERE account = ? AND {amounts.SPENT}"
        [(spent, own_spent)] = yield sql, (principal, account, now - DAY_SECONDS)
        total = yield from amounts.spent(f"{self._table}{self._by('spent_by_all')}", now - DAY_SECONDS)
        stated = [*under_way, *bought]
        committed = {
            e164: max((int(cents) for cents in each if cents is not None), default=None) for e164, _, _, *each in stated
        }
        return Books(
            spent_cents=int(spent),
            own_spent_cents=int(own_spent),
            total_spent_cents=total,
            bought=frozenset(e164 for e164, *_ in bought),
            committed=committed,
            currencies=frozenset(currency for _, _, currency, *_ in stated),
            own=frozenset(e164 for e164, buyer, *_ in stated if buyer == principal),
        )

    def _by(self, index: str) -> str:
        """Return the index to use, where the backend has to be told."""
        del index
        return ""

    def _table_of(self, wanted: Filter) -> str:
        """Return the table with the index that a filter is for, where the backend has to be told."""
        return f"{self._table}{self._by('one_open') if is_of_open(wanted) else ''}"

    def _select(self, where: str, *values: object, alias: str = "one", index: str = "") -> Work[tuple[Operation, ...]]:
        table = f"{self._table} AS {alias}{self._by(index) if index else ''}"
        rows = yield f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE {where}", values
        return tuple(decode(row) for row in rows)

    def _stored(self, before: Operation, after: Operation, now: float, by: By) -> Work[Operation]:
        after = events.signed(before, after, by)
        if after != before:
            assignments = ", ".join(f"{name} = ?" for name in COLUMNS)
            yield f"UPDATE {self._table} SET {assignments} WHERE id = ?", (*encode(after), after.id)
        for event in events.between(before, after, now, by):
            number = yield from self._tell_of(before, event)
            notice = notices.notice_of(after, event, number)
            if notice is not None:
                yield from self._outbox.put(notice, self._listeners.get(notice.account, ()), now)
            yield happened(after, event)
        yield from self._kept.after(before, after, now)
        return after

    def _tell_of(self, before: Operation, event: Event) -> Work[int]:
        """Store an event of an operation, and before its first one how it stood until then; answer which it is."""
        number = yield from self._tell(before.id, event)
        if number == 1:  # its row is older than its events
            yield from self._insert_events([(before.id, 0, *encode_event(events.carried_over(before, event.at)))])
        return number

    def _tell(self, operation_id: str, event: Event) -> Work[int]:
        """Store an event behind the others of its operation, whose row is locked; answer which it is."""
        place = f"(SELECT coalesce(max(number), 0) + 1 FROM {self._events} WHERE operation_id = ?)"
        values = f"?, {place}, {marks(EVENT_COLUMNS)}"
        sql = f"INSERT INTO {self._events} ({', '.join(_EVENT)}) VALUES ({values}) RETURNING number"
        [(number,)] = yield sql, (operation_id, operation_id, *encode_event(event))
        return int(number)

    def _tell_all(self, operations: Sequence[Operation], event: Event) -> Work[None]:
        """Store an event that many operations have in common."""
        ids = [operation.id for operation in operations]
        sql = f"SELECT operation_id, max(number) FROM {self._events} WHERE operation_id IN ({marks(ids)}) GROUP BY 1"
        last: dict[str, int] = dict((yield sql, ids))
        told = encode_event(event)
        rows = [(id_, last.get(id_, 0) + 1, *told) for id_ in ids]
        carried = [operation for operation in operations if operation.id not in last]
        rows += [(row.id, 0, *encode_event(events.carried_over(row, event.at))) for row in carried]
        yield from self._insert_events(rows)

    def _insert_events(self, rows: Sequence[tuple[object, ...]]) -> Work[None]:
        values = ", ".join([f"({marks(_EVENT)})"] * len(rows))
        yield (
            f"INSERT INTO {self._events} ({', '.join(_EVENT)}) VALUES {values}",
            [each for row in rows for each in row],
        )

    def _insert(self, operation: Operation) -> Work[None]:
        yield f"INSERT INTO {self._table} ({', '.join(COLUMNS)}) VALUES ({marks(COLUMNS)})", encode(operation)
