"""A person's decision written down, and said only as the journal has it, also when its answer is lost.

A transaction may be committed although its answer never comes. A server that runs would act on such a decision
while the person believes that nothing happened.
"""

from kros_mcp.errors import JournalError
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Journal, Move
from kros_mcp.operations.model import Operation, State


async def decide(journal: Journal, operation_id: str, move: Move, *, by: By) -> Operation:
    """Run the move that decides; after an error the operation is read again.

    Args:
        journal: Where the operation stands.
        operation_id: Which.
        move: The decision.
        by: Who decides, and where.

    Returns:
        The operation as decided; where the answer was lost, as it stands now.

    Raises:
        JournalError: It was not decided, or that is not known, which the message then says.
        OperationError: There is no such operation, or it is past that decision.
    """
    tried: list[Operation] = []

    def deciding(operation: Operation, now: float) -> Operation:
        tried.append(move(operation, now))
        return tried[-1]

    try:
        return await journal.change(operation_id, deciding, by=by)
    except JournalError:
        # Before the move has run, nothing of it can be stored.
        found = await _found(journal, operation_id, tried[-1]) if tried else None
        if found is None:
            raise
        return found


async def _found(journal: Journal, operation_id: str, decided: Operation) -> Operation | None:
    """Look for a decision whose answer was lost; None if it certainly was not made."""
    try:
        found = await journal.get(operation_id)
        if not _shows(found, decided):
            found = await _after_it(journal, operation_id)
    except JournalError:
        raise JournalError(
            f"The journal gave no usable answer. Whether {operation_id} was decided is not known; see kros-mcp "
            "operations.",
            code="DECISION_UNKNOWN",
            operation_id=operation_id,
        ) from None
    return found if _shows(found, decided) else None


async def _after_it(journal: Journal, operation_id: str) -> Operation:
    """Read an operation when no transaction holds it any more: one that nobody hears of may still commit."""
    seen: list[Operation] = []

    def look(operation: Operation, _: float) -> Operation:
        seen.append(operation)
        return operation

    try:
        return await journal.change(operation_id, look)
    except JournalError:
        if not seen:
            raise
        return seen[-1]


def _shows(found: Operation | None, decided: Operation) -> bool:
    """Tell whether an operation bears this very decision, whatever a server has made of it since."""
    if found is None:
        return False
    if decided.state is State.CONFIRMED:
        return (found.confirmed_at, found.confirmed_by) == (decided.confirmed_at, decided.confirmed_by)
    return (found.state, found.settled_at) == (decided.state, decided.settled_at)
