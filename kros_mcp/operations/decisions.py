"""What an approver decides: the moves, and which operations they may be made on.

The terminal and the approvals page both decide through these. A transaction may be committed although its answer
never comes, so that `decide` says what the journal has: a server that runs would act on a decision of which the person
believes that nothing came.
"""

from dataclasses import replace

from kros_mcp.errors import JournalError, OperationError, RefusedError
from kros_mcp.krosai import clean
from kros_mcp.operations import model, moves
from kros_mcp.operations.events import PERSON, By
from kros_mcp.operations.journal import Journal, Move
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.operations.policy import Right

_SIGNATURES = {
    " at a terminal": "terminal",
    " by a command without a terminal": "command",
    " on the approvals page": "page",
}
"""How a name ends in `confirmed_by`, and the channel that it means."""
LONGEST_REASON = 200
"""Characters of a reason; what goes beyond is cut off."""


def not_permitted(operation: Operation, right: Right) -> RefusedError:
    """Return the error that no yes is taken to what its principal may not do any more."""
    return RefusedError(
        f"Whoever asked for this {right.problem(operation)}, so it would not be carried out; nothing was decided.",
        code="NOT_PERMITTED",
    )


def decided(operation: Operation) -> By | None:
    """Return who said yes or no to an operation last, and where; None where nobody has, or none can tell.

    What was decided before rows named it is told from what the row says of the yes.
    """
    if operation.decided_by or operation.decided_through:
        return By(operation.decided_by, operation.decided_through)
    if operation.confirmed_at is None:
        return None
    if operation.channel is Channel.PROMPT:
        return PERSON
    if operation.channel is Channel.CODE:
        return By(operation.principal, "code")
    return next(
        (
            By(operation.confirmed_by.removesuffix(ending), channel)
            for ending, channel in _SIGNATURES.items()
            if operation.confirmed_by.endswith(ending)
        ),
        By(operation.confirmed_by, ""),
    )


def kept(reason: str) -> str:
    """Make a reason fit for the journal."""
    return clean(reason, LONGEST_REASON)


def approval(by: str, reason: str) -> Move:
    """Return the move of a yes; a running server executes what it confirms.

    Args:
        by: Who decides, and where.
        reason: As `kept` made it; empty for none.
    """
    return lambda operation, now: moves.confirm(operation, now, by=by, reason=reason)


def denial(by: str, reason: str) -> Move:
    """Return the move of a no, which is told to whoever asked; the reason of an earlier yes is kept beside it."""

    def deny(operation: Operation, now: float) -> Operation:
        told = f"Denied by {by}: {reason}"
        denied = moves.end(operation, now, State.DECLINED, reason=told)
        both = f"{operation.reason}; denied: {reason}" if operation.reason else reason
        return replace(denied, reason=both)

    return deny


def require_decidable(operation: Operation, *, approving: bool) -> None:
    """Raise unless an approver's yes or no can still be given.

    Raises:
        OperationError: It is past that, or `NOT_FOR_APPROVER`.
    """
    if operation.state not in ({State.PROPOSED} if approving else model.WAITING):
        raise model.past(operation)
    if approving and operation.channel is not Channel.APPROVER:
        where = "on the screen" if operation.channel is Channel.SCREEN else "in the conversation"
        raise OperationError(
            f"This operation was put to the person {where}, not to an approver.",
            code="NOT_FOR_APPROVER",
            next_step="Answer it there, or deny it here.",
        )


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
    """Whether an operation bears this very decision, whatever a server has made of it since."""
    if found is None:
        return False
    if decided.state is State.CONFIRMED:
        return (found.confirmed_at, found.confirmed_by) == (decided.confirmed_at, decided.confirmed_by)
    return (found.state, found.settled_at) == (decided.state, decided.settled_at)
