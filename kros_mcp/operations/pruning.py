"""Which operations a journal may forget, and what it remembers of those that it has forgotten; pure.

Who reads operations that ended long ago, and what each needs of them (`docs/operating.md` has this for operators):

    caps, budgets (`journals/sql.py: _books`)        the last 24 hours, and purchases that are still looked after
    a monthly cap of a principal (`buyers`)          the purchases of numbers that are owned
    recovery, approvals (`due`, `expire`)            what is open, pending or still looked after
    reconcile (`commands/history.py`)                all that was sent for a number that is owned, or not known to be
                                                     given up; corrections of a week, and charges of a month
                                                     that were not as shown
    a purchase (`refused`, `find`, `batches`)        refusals of 30 days; acts that were done within a day
    a batch (`operations/batch.py`)                  all of its numbers, or none
    restore (`completeness.py`, `unknown_to`)        the newest operations of all: they date a copy
    notices (`outbox.py`)                            operations of which one is not delivered yet

`rests` is what an operation tells by itself; what the others of its number tell is `commands/prune_plan.py`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

from kros_mcp.operations.model import OPEN, Operation, random_id

YOUNGEST_DAYS: Final = 40
"""What is younger is never forgotten: a refusal counts for 30 days, what was sent is looked at for two, and what was
corrected is told of for seven."""
DATES_A_COPY_SECONDS: Final = 3_600.0
"""What moved within so long of the newest move of all stays: `restoration.unknown_to` holds records against it."""


@dataclass(frozen=True)
class Pruning:
    """What was deleted of one account by one run of `kros-mcp prune`.

    Args:
        run: Names the run.
        account: Whose operations they were.
        before: They had ended before this time.
        at: When the run began; both in Unix seconds on the journal's clock.
        by: Who ran it.
        operations: How many were deleted.
        charged_cents: What they took together, as `Operation.charged_cents` counts.
        first_at: When the first of them was asked for.
        last_at: When the last of them was.
    """

    run: str
    account: str
    before: float
    at: float
    by: str
    operations: int = 0
    charged_cents: int = 0
    first_at: float | None = None
    last_at: float | None = None

    def of(self, account: str, deleted: Sequence[Operation]) -> "Pruning":
        """Return what the same run has deleted of an account."""
        times = [operation.created_at for operation in deleted]
        return replace(
            self,
            account=account,
            operations=len(deleted),
            charged_cents=sum(operation.charged_cents or 0 for operation in deleted),
            first_at=min(times),
            last_at=max(times),
        )

    def __add__(self, other: "Pruning") -> "Pruning":
        """Add what was deleted later, or of another account that became this one."""
        first = [at for at in (self.first_at, other.first_at) if at is not None]
        last = [at for at in (self.last_at, other.last_at) if at is not None]
        return replace(
            self,
            operations=self.operations + other.operations,
            charged_cents=self.charged_cents + other.charged_cents,
            first_at=min(first, default=None),
            last_at=max(last, default=None),
        )

    def encoded(self) -> bytes:
        """Return it as it is stored."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, stored: bytes) -> "Pruning":
        """Return what `encoded` gave, here or in a later version."""
        row = json.loads(stored)
        return cls(**{field.name: row[field.name] for field in fields(cls) if field.name in row})


def of_account(prunings: Iterable[Pruning], account: str | None, *, since: float | None = None) -> list[Pruning]:
    """Return what was deleted of an account, or of all, that a list of what was asked for since a time would have."""
    return [
        each
        for each in prunings
        if account in {None, each.account} and (since is None or (each.last_at is not None and since <= each.last_at))
    ]


def deleted_before(prunings: Iterable[Pruning], account: str, *, since: float | None) -> float | None:
    """Return before when operations had ended that such a list lacks; None if it lacks none."""
    return max((each.before for each in of_account(prunings, account, since=since)), default=None)


def new_run() -> str:
    """Return a name for a run."""
    return random_id("prune_")


def dates_a_copy(operation: Operation) -> float:
    """Return what an operation tells of how far its journal had come; as `completeness.last_move` reads it."""
    times = (operation.confirmed_at, operation.claimed_at, operation.sent_at, operation.settled_at)
    return max((at for at in times if at is not None), default=operation.created_at)


def last_moved_at(operation: Operation) -> float:
    """Return when anything was written of an operation last, as its row tells."""
    beside = (
        operation.asked_at,
        operation.shown_at,
        operation.checked_at,
        operation.seen_unsold_at,
        operation.corrected_at,
    )
    return max(dates_a_copy(operation), *(at for at in beside if at is not None), operation.created_at)


def has_ended(operation: Operation) -> bool:
    """Whether nothing is to come of an operation: it is not open, and nobody looks after it any more."""
    return operation.state not in OPEN and operation.look_at is None and not operation.settings_pending


def rests(operation: Operation, before: float) -> bool:
    """Whether an operation has ended, and nothing was written of it since a time."""
    return has_ended(operation) and last_moved_at(operation) < before
