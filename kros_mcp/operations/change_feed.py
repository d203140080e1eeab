"""What has changed, for whoever in this process wants to look again.

A change is a hint, never the news itself: it carries no amount, no number and no state. Acts of this process are told
as they happen. Of other processes that share the journal, only the operations that somebody watches are looked after.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation, State

logger = logging.getLogger(__name__)

_COUNTED = frozenset({State.SENDING, State.UNKNOWN, State.DONE, State.FAILED})
"""States in which an amount has been set aside, spent or given back."""


@dataclass(frozen=True)
class Change:
    """Something that its readers may want to read again."""

    operation_id: str = ""
    principal: str = ""
    """Whose operation it is; nobody else is to hear of that."""
    numbers: bool = False
    spending: bool = False


Hear = Callable[[Change], None]


class ChangeFeed:
    """Tells hearers of changes, each operation's as often as it differs from what was told last."""

    def __init__(self) -> None:
        self._hearers: dict[object, Hear] = {}
        self._watched: Counter[str] = Counter()
        self._told: dict[str, object] = {}
        self._told_of_items: dict[str, object] = {}
        """By operation of a batch's number, what was told of it to whoever watches the batch."""

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told of changes."""
        return bool(self._hearers)

    @contextmanager
    def heard_by(self, hear: Hear) -> Iterator[None]:
        """Tell a hearer of every change; it must neither wait nor raise."""
        key = object()
        self._hearers[key] = hear
        try:
            yield
        finally:
            del self._hearers[key]

    @contextmanager
    def watching(self, operations: Sequence[Operation]) -> Iterator[None]:
        """Look after these operations, whichever process carries them out.

        Args:
            operations: As they were just read; whose they are was looked at before.
        """
        watched = Counter({operation.id for operation in operations})
        for operation in operations:
            self._told.setdefault(operation.id, _shown(operation))
        self._watched += watched
        try:
            yield
        finally:
            self._watched -= watched
            for operation_id in watched:
                if operation_id not in self._watched:
                    self._told.pop(operation_id, None)
            if not self._watched:
                self._told_of_items.clear()

    async def look_round(self, journal: Journal) -> None:
        """Read the operations that are watched, and tell which have changed since they were looked at last.

        Raises:
            JournalError: The journal cannot be used.
        """
        for operation_id in list(self._watched):
            operation = await journal.get(operation_id)
            if operation is not None and operation_id in self._watched:
                self.of(operation)
            if operation is not None and operation.action.is_several and operation.state is State.DONE:
                for item in await journal.items(operation_id):
                    self._of_batch(item)

    def of(self, operation: Operation) -> None:
        """Tell of an operation as it stands now, and of its batch; never raises, since money may just have moved."""
        self._of_batch(operation)
        if operation.id in self._watched:
            if self._told.get(operation.id) == _shown(operation):
                return
            self._told[operation.id] = _shown(operation)
        self._tell(
            Change(
                operation_id=operation.id,
                principal=operation.principal,
                numbers=operation.state is State.DONE,
                spending=operation.state in _COUNTED,
            )
        )

    def _of_batch(self, item: Operation) -> None:
        """Tell of the batch of an operation, where somebody watches that: a batch is what its numbers are."""
        if item.batch not in self._watched or self._told_of_items.get(item.id) == _shown(item):
            return
        self._told_of_items[item.id] = _shown(item)
        self._tell(Change(operation_id=item.batch, principal=item.principal))

    def of_numbers(self) -> None:
        """Tell that an owned number has changed, or may have; never raises."""
        self._tell(Change(numbers=True))

    def _tell(self, change: Change) -> None:
        for hear in list(self._hearers.values()):
            try:
                hear(change)
            except Exception:
                logger.exception("a change could not be told")


def _shown(operation: Operation) -> object:
    """What a reader sees of an operation that can change."""
    return (operation.state, operation.changed, operation.charged, operation.number, operation.not_applied)
