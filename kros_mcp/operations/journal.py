"""The journal: a durable row for every act, written before anything is sent.

`Journal` is the protocol that every backend keeps. A change is one transaction: the row is read,
a pure move of `moves.py` returns the next row, and that is stored; a move that raises stores nothing.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kros_mcp.errors import JournalError, OperationError, OutcomeUnknownError
from kros_mcp.krosai import Asked, Window
from kros_mcp.numbering import spoken
from kros_mcp.operations import status
from kros_mcp.operations.events import SERVER, By, Event
from kros_mcp.operations.kept import Kept, Listing, Sight
from kros_mcp.operations.model import Action, Channel, Operation, State
from kros_mcp.operations.notices import Listener, OutboxCounts, Taken
from kros_mcp.operations.policy import Books
from kros_mcp.operations.pruning import Pruning
from kros_mcp.settings import Environment

if TYPE_CHECKING:
    from kros_mcp.operations.expenditure import Acts, Grouping, SpendingGroup, SpentPart

Move = Callable[[Operation, float], Operation]
Claim = Callable[[Operation, float, Books], tuple[Operation, tuple[Operation, ...]]]
"""Answers an operation, and of a batch the claimed operations of its numbers; none where it was refused."""


@dataclass(frozen=True)
class Identity:
    """What makes two proposals the same: account, principal, action and number."""

    account: str
    principal: str
    action: Action


@dataclass(frozen=True)
class Filter:
    """Which operations to list; what is None or empty filters nothing.

    `asked` narrows the state `proposed` to what these are asked: an approver, the person's screen, the conversation.
    `since` and `until` bound `created_at`, in Unix seconds, the first included and the second not; with `by_sent` they
    bound `sent_at`, and what was never sent is left out. `country` is a code in capitals; empty is what KrosAI stated
    none of. A state is what a reader would see now: what waited too long counts as expired, though no row says so yet.
    A batch that was agreed to is never listed: its numbers are, each naming it.
    """

    account: str | None = None
    principal: str | None = None
    states: tuple[State, ...] = ()
    since: float | None = None
    until: float | None = None
    asked: frozenset[status.Asked] = frozenset()
    country: str | None = None
    actions: tuple[Action, ...] = ()
    by_sent: bool = False

    @property
    def asked_since(self) -> float | None:
        """When what it lets through was asked for at the earliest; None is without a bound."""
        if self.since is None or not self.by_sent:
            return self.since
        return self.since - _LONGEST_WAIT_SECONDS


@dataclass(frozen=True)
class Total:
    """How many operations of one action stand in one state, asked in one channel, and what they took or may have.

    `unknown` is of how many purchases it is not known whether they were charged. `currencies` are what the prices of
    all that was, or may have been, charged are stated in, empty where none is: amounts in several cannot be added.
    """

    state: State
    channel: Channel | None
    action: Action
    count: int
    charged_cents: int
    unknown_cents: int
    unknown: int = 0
    currencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OpenCounts:
    """How much of an account waits and how much is unknown, and when the oldest of each was asked for or sent."""

    waiting: int = 0
    waiting_since: float | None = None
    unknown: int = 0
    unknown_since: float | None = None


@dataclass(frozen=True)
class NamedOrganization:
    """An organization that callers have named, by its account in this journal.

    `issuer` vouched for the callers, and `key` is the name of the API key with which they were served.
    """

    account: str
    organization: str
    issuer: str
    key: str


EVERYTHING = Filter()
_PAGE = 1000
_LONGEST_WAIT_SECONDS = 31 * 86_400.0  # an approver may take 30 days, then it is sent within seconds


class Journal(Protocol):
    """Where operations stand. Every method raises `JournalError` if the journal cannot be used."""

    secret: bytes
    """Random bytes of this journal, from which codes and account names are derived."""
    only_reads: bool
    """Whether it was opened without the right to write: whatever would write raises `JournalError`."""

    async def now(self) -> float:
        """Return the journal's time, in Unix seconds; a clock that steps neither hurries it nor turns it back."""
        ...

    async def waited(self, operation: Operation) -> float:
        """Return how many seconds have certainly passed since an operation was sent; 0 if it was not.

        What an earlier boot of the machine sent counts from this process's first look at the journal.
        """
        ...

    async def propose(self, draft: Operation, *, by: By = SERVER) -> Operation:
        """Store a draft, or answer the open operation that is the same.

        One that waits with other settings is cancelled in its favour.

        Args:
            draft: The operation.
            by: Who asks for it; it stands in the event that is stored with every move.

        Raises:
            OperationError: `NUMBER_BUSY`, the number is being acted on; `ASKED_TOO_OFTEN`, three prompts
                for it were turned down within ten minutes.
        """
        ...

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        """Run one move in a transaction, and store its event with it.

        Args:
            operation_id: The operation.
            move: Answers the next row.
            by: Who makes the move.

        Raises:
            OperationError: There is no such operation, or the move is not allowed.
        """
        ...

    async def claim(
        self, operation_id: str, move: Claim, *, committed_since: float, by: By = SERVER
    ) -> tuple[Operation, tuple[Operation, ...]]:
        """Run a move that also needs the books, in one transaction with the sums it sees.

        A number that another operation of the account is acting on fails this one with `NUMBER_BUSY`. Claims of one
        journal happen one after the other, whichever their accounts: some sums are of all together.

        Of a batch all numbers are taken, or none. Their operations are stored as claimed, in their order. What waits
        for a yes of the same principal to the same act on one of them is cancelled, as it has just been given.

        Args:
            operation_id: The operation to claim, or the batch.
            move: Answers the claimed operation, or the failed one; of a batch also the operations of its numbers.
            committed_since: Purchases settled after this time count as committed.
            by: Who has just said yes; the server, where that was said before.

        Returns:
            The operation; and of a batch those of its numbers.
        """
        ...

    async def events(self, operation_id: str) -> tuple[Event, ...]:
        """Read what happened to an operation, in its order; nothing of one that has not moved since events are kept."""
        ...

    async def acknowledge(self, operation_id: str, *, by: By, words: str) -> None:
        """Store an event that somebody knows of what was found about an operation; its row stays as it is.

        Args:
            operation_id: The operation.
            by: Who knows.
            words: What was found, and why it may stay so.

        Raises:
            OperationError: There is no such operation.
        """
        ...

    async def get(self, operation_id: str) -> Operation | None:
        """Read one operation, expired if its time has come."""
        ...

    async def items(self, batch_id: str) -> tuple[Operation, ...]:
        """Read the operations of a batch, in the order of its numbers; none before its yes."""
        ...

    async def batches(self, identity: Identity) -> tuple[Operation, ...]:
        """List the latest batches of that identity, newest first."""
        ...

    async def find(
        self, identity: Identity, *, e164: str = "", inventory_id: str = "", number_id: str = ""
    ) -> Operation | None:
        """Find the newest operation of that identity for a number, by any of its names."""
        ...

    async def due(self, account: str) -> tuple[Operation, ...]:
        """List what needs attention: confirmed, sending, unknown, settings pending, or settled and to be looked at."""
        ...

    async def books(self, account: str, principal: str, *, committed_since: float) -> Books:
        """Sum what is spent and committed, by everybody and by one principal, and spent by all accounts together."""
        ...

    async def open_counts(self, account: str) -> OpenCounts:
        """Count what waits for a yes or for its sending, and what is unknown, and tell since when."""
        ...

    async def times_asked(self, operations: Sequence[Operation]) -> dict[str, int]:
        """Count, for operations that wait, how often the same was asked for in the last 24 hours, by their ids.

        The same is the same act on the same number, for the same principal. Of an operation that has waited for longer
        every call counts.
        """
        ...

    async def expire(self) -> int:
        """Write down what has waited too long, of every account, and give how many operations that has ended."""
        ...

    async def buyers(self, account: str, e164s: Sequence[str]) -> dict[str, str]:
        """Return the principal who last bought each number; one that was bought elsewhere is left out."""
        ...

    async def refused(self, account: str, codes: Sequence[str], *, since: float) -> Operation | None:
        """Return the newest purchase that failed with one of these codes; None if there is none, or one was done since.

        Args:
            account: The account.
            codes: With which KrosAI refused it.
            since: When it was asked for at the earliest, on the journal's clock.
        """
        ...

    async def sent_since(self, account: str, e164: str, since: float) -> tuple[Operation, ...]:
        """List the operations on a number that were sent after a time, on the journal's clock."""
        ...

    async def routing_changed(self, account: str, e164: str, names: tuple[str, ...], *, by: By = SERVER) -> None:
        """Drop settings that a purchase still wanted to set: somebody has chosen them anew."""
        ...

    async def kept(self, account: str) -> Kept:
        """Read what is kept of an account's numbers."""
        ...

    async def keep(self, account: str, sights: Sequence[Sight], listing: Listing | None = None) -> None:
        """Write down what was seen of an account's numbers, as far as nothing newer is known.

        An act that is settled drops what is kept of its number, in the same transaction.

        Args:
            account: The account.
            sights: Records as KrosAI showed them.
            listing: A whole reading of the list.
        """
        ...

    async def number_changed(self, account: str, e164: str) -> None:
        """Drop what is kept of a number that was changed without an operation."""
        ...

    async def take_turn(self, account: str, reader: str, *, seconds: float, refresh: bool = False) -> bool:
        """Take the turn to read an account's prices for all processes; false if it is another's.

        Args:
            account: The account.
            reader: Names the process; who has the turn may take it again.
            seconds: How long nobody else is to read.
            refresh: Whether it is for a price that is good still, so that the next one is read later.
        """
        ...

    async def accounts(self) -> dict[str, int]:
        """Count the operations of each account, whoever it is."""
        ...

    async def note_organization(self, named: NamedOrganization) -> None:
        """Write down that a caller of an organization has come, so that its operations are looked after without one."""
        ...

    async def organizations(self) -> tuple[NamedOrganization, ...]:
        """List the organizations whose callers have come."""
        ...

    async def restless_organizations(self) -> tuple[NamedOrganization, ...]:
        """List those of them with something to be carried out, recovered or looked at now."""
        ...

    async def adopt(self, former: str, account: str, *, environment: Environment, by: By, words: str) -> int:
        """Hand all operations of one account to another, in one transaction, each with an event.

        What is only proposed under both is cancelled under one.

        Args:
            former: The account whose operations they are.
            account: Whose they become.
            environment: Of that account.
            by: Who hands them over.
            words: Why.

        Returns:
            How many operations were handed over.

        Raises:
            OperationError: Nothing was handed over: `NOTHING_TO_ADOPT`, `OTHER_ENVIRONMENT`, or `NUMBER_BUSY` where
                a number is being acted on under both.
        """
        ...

    async def list_operations(
        self,
        wanted: Filter = EVERYTHING,
        *,
        limit: int = 50,
        after: str = "",
        oldest_first: bool = False,
        offset: int = 0,
    ) -> tuple[Operation, ...]:
        """List operations as they stand now, newest first unless told otherwise.

        Args:
            wanted: Which.
            limit: How many at most.
            after: The last operation of the page before; its id.
            oldest_first: Turn the order round.
            offset: How many are left out first.

        Raises:
            OperationError: `PRUNED_MEANWHILE`, the last operation of the page before was deleted since.
        """
        ...

    async def totals(self, wanted: Filter) -> tuple[Total, ...]:
        """Count and sum operations, by the same filter."""
        ...

    async def spending(self, wanted: Filter, grouping: "Grouping") -> "tuple[SpendingGroup, ...]":
        """Sum what operations took and what they changed of the cost of a month, by the same filter.

        Days and months are those of the sending where the filter is `by_sent`, else of the asking. Groups of nothing
        are left out. Several accounts should be asked for one by one: their money may not be of one kind.
        """
        ...

    async def spending_parts(self, wanted: Filter) -> "tuple[SpentPart, ...]":
        """Sum the same by day, principal and country at once, for whoever tells it in several ways."""
        ...

    async def acts_on_numbers(self, wanted: Filter) -> "list[Acts]":
        """Read when each number was bought and given up last, by the same filter; one may come several times."""
        ...

    async def asked(self, account: str, principal: str | None = None) -> tuple[int | None, ...]:
        """Return what each purchase of an account that waits, for a yes or its turn, would take; None if unstated.

        Args:
            account: The account.
            principal: Who has asked for it. Defaults to anybody.
        """
        ...

    async def count(self, wanted: Filter = EVERYTHING) -> int:
        """Count operations, by the same filter."""
        ...

    async def check_writable(self) -> None:
        """Raise `JournalError` unless a row could be written now."""
        ...

    async def mark_restored(self, *, copied_at: float | None = None, by: By = SERVER) -> int:
        """Write down that the journal was put back from a copy; nothing is spent until `enter`.

        Args:
            copied_at: When the copy's operations moved last, on the clock of then. Defaults to what it says itself.
            by: Who has put it back.

        Returns:
            How many operations that has ended: what waited is expired, and what was being sent unknown.
        """
        ...

    async def lacks_since(self, account: str) -> float | None:
        """Return after which time an account's purchases may be missing since a restore; None if none are."""
        ...

    async def enter(self, account: str, bought: Sequence[Operation], *, by: By = SERVER) -> bool:
        """Enter what an account has bought since the copy that was restored was taken; false if nothing is missing."""
        ...

    async def rows(self, *, after: str = "", limit: int = 1000) -> tuple[Operation, ...]:
        """Read operations as they are stored, agreed batches too, by their ids.

        Args:
            after: The id of the last one of the page before.
            limit: How many at most.
        """
        ...

    async def prune(
        self, ids: Sequence[str], accounts: Collection[str], *, before: float, run: Pruning
    ) -> tuple[Operation, ...]:
        """Delete operations and their events, and write that down, in one short transaction.

        Args:
            ids: The operations; a few hundred at most, since nobody else writes meanwhile.
            accounts: Those that they are of.
            before: When they must have rested by, on the journal's clock.
            run: Who deletes them, and when.

        Returns:
            What was deleted; nothing if any of them does not rest any more.
        """
        ...

    async def prunings(self) -> tuple[Pruning, ...]:
        """Read what was deleted, oldest run first."""
        ...

    async def still_to_tell(self) -> frozenset[str]:
        """Return the operations of which a notice is not delivered."""
        ...

    async def add_requests(self, key: str, counts: Mapping[Asked, int], *, patient: bool = False) -> Window:
        """Count requests that KrosAI was sent as those of this hour, and return those of the last 24 hours.

        Args:
            key: Names the API key; see `Settings.request_key`.
            counts: How many of each kind and purpose; at least one.
            patient: Whether to wait for a journal that another process is writing.
        """
        ...

    async def requests(self, key: str) -> Window:
        """Return the requests of the last 24 hours, as far as they are written down."""
        ...

    async def listen(self, account: str, listeners: Sequence[Listener]) -> None:
        """Store an account's notices for these destinations from now on, whichever process makes them.

        Those of this process are stored even where this raises.
        """
        ...

    async def take_notices(self, destination: str, limit: int) -> tuple[Taken, ...]:
        """Take notices that are to be delivered to a destination now, so that no other process does for a while."""
        ...

    async def note_delivery(self, delivered: Collection[Taken], failed: Collection[Taken]) -> None:
        """Write down which of the notices that were taken have been delivered; the others are tried again."""
        ...

    async def watch_budget(self, account: str, budget_cents: int, environment: Environment) -> None:
        """Store a notice when most of a day's budget is spent, once until less is."""
        ...

    async def tidy_outbox(self) -> None:
        """Drop notices that are delivered, or too old or too many to be told of."""
        ...

    async def outbox_counts(self, *, account: str | None = None, destination: str | None = None) -> OutboxCounts:
        """Count the notices that wait, and those that could not be delivered, all or some."""
        ...

    async def acknowledge_undelivered(self) -> int:
        """Drop the notices that could not be delivered, and give how many there were."""
        ...


async def every(journal: Journal, wanted: Filter) -> AsyncIterator[Operation]:
    """Read operations page by page, oldest first, so that a long journal never stands in memory.

    Raises:
        OperationError: `PRUNED_MEANWHILE`, some were deleted while they were read, so that a part tells of the whole.
    """
    after, deleted = "", await _deleted(journal)
    while True:
        page = await journal.list_operations(wanted, limit=_PAGE, after=after, oldest_first=True)
        if after and await _deleted(journal) != deleted:  # the first page alone is of one moment
            raise pruned_meanwhile()
        for operation in page:
            yield operation
        if len(page) < _PAGE:
            return
        after = page[-1].id


async def _deleted(journal: Journal) -> int:
    return sum(pruning.operations for pruning in await journal.prunings())


@contextmanager
def of_earlier(operation_id: str | None = None) -> Iterator[None]:
    """Say of an act begun before, where the journal fails, that its outcome is not known: "unspent" would be a guess.

    Raises:
        OutcomeUnknownError: In place of a `JournalError`.
    """
    try:
        yield
    except JournalError as exc:
        raise OutcomeUnknownError(
            "The journal cannot be used now, so how this operation ended is not known.", operation_id=operation_id
        ) from exc


def missing(operation_id: str) -> OperationError:
    """Return the error that there is no such operation; another principal's looks the same."""
    return OperationError(
        "There is no operation of that id.",
        code="OPERATION_NOT_FOUND",
        next_step=f"Use the operation_id that an earlier answer gave; {operation_id[:60]!r} is none.",
    )


def pruned_meanwhile() -> OperationError:
    """Return the error that operations were deleted while they were read, so that what follows cannot be told."""
    return OperationError(
        "Old operations were pruned from the journal while it was being read; nothing was charged or changed.",
        code="PRUNED_MEANWHILE",
        next_step="Run it again once kros-mcp prune has ended.",
    )


def busy(e164: str) -> OperationError:
    """Return the error that a number is being acted on."""
    return OperationError(
        f"Another operation on {spoken(e164)} is under way or its outcome is not known yet; nothing was charged or "
        "changed.",
        code="NUMBER_BUSY",
        next_step="Wait until that one has ended, then ask again.",
    )


def asked_already(e164: str, operation_id: str) -> OperationError:
    """Return the error that a number of a batch is among those of another open operation."""
    return OperationError(
        f"Another operation on {spoken(e164)} waits for a yes or is under way; this call charged and changed nothing.",
        code="NUMBER_BUSY",
        next_step=f"Look at {operation_id} with get_operation: cancel it if it waits and is not wanted, or leave this "
        "number out.",
    )
