"""What an approver decides: the moves, and which operations they may be made on; pure.

The terminal and the approvals page both decide through these.
"""

from dataclasses import replace

from kros_mcp.errors import OperationError
from kros_mcp.krosai import clean
from kros_mcp.operations import model, moves
from kros_mcp.operations.events import PERSON, By
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Channel, Operation, State

_SIGNATURES = {
    " at a terminal": "terminal",
    " by a command without a terminal": "command",
    " on the approvals page": "page",
}
"""How a name ends in `confirmed_by`, and the channel that it means."""
LONGEST_REASON = 200
"""Characters of a reason; what goes beyond is cut off."""


def decided(operation: Operation) -> By | None:
    """Say who said yes or no to an operation last, and through which channel; None where nobody has, or none can tell.

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
    """Give the move of a yes; a running server executes what it confirms.

    Args:
        by: Who decides, and where.
        reason: As `kept` made it; empty for none.
    """
    return lambda operation, now: moves.confirm(operation, now, by=by, reason=reason)


def denial(by: str, reason: str) -> Move:
    """Give the move of a no, which is told to whoever asked; the reason of an earlier yes is kept beside it."""

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
        raise OperationError(
            "This operation was put to the person in the conversation, not to an approver.",
            code="NOT_FOR_APPROVER",
            next_step="Answer it there, or deny it here.",
        )
