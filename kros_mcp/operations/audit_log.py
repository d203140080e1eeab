"""What is logged and counted of operations: one line for every decision and every outcome.

The journal calls `tell` for each event once the transaction that stored it is committed, whichever command, server or
background task made it; so each is told once, by the process that brought it about. A transaction whose commit was
lost sight of is not told; the journal is what is true.
"""

import logging
from typing import Any, Final

from kros_mcp import telemetry
from kros_mcp.krosai import clean
from kros_mcp.operations.events import Event, MoveName
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, WAITING, Operation, State

logger = logging.getLogger(__name__)

_DECISIONS: Final = frozenset(
    {
        MoveName.CONFIRMED,
        MoveName.DECLINED,
        MoveName.CANCELLED,
        MoveName.SETTLED_BY_HAND,
        MoveName.ADOPTED,
        MoveName.ACKNOWLEDGED,
        MoveName.ENTERED,
    }
)
_OUTCOMES: Final = frozenset(
    {
        MoveName.DONE,
        MoveName.FAILED,
        MoveName.UNKNOWN,
        MoveName.EXPIRED,
        MoveName.SUPERSEDED,
        MoveName.CORRECTED,
    }
)
_CONCERNS: Final = {"no": "not charged", "yes": "charged", "unknown": "perhaps charged"}


def tell(operation: Operation, event: Event) -> None:
    """Log and count one event; never raises, since money may just have moved.

    Decisions and outcomes are logged at INFO, all other moves at DEBUG.

    Args:
        operation: As it is stored with the event.
        event: What happened to it.
    """
    try:
        state = _state(operation, event)
        _log(operation, event, state)
        _count(operation, event, state)
    except Exception:
        logger.exception("operation %s: it could not be told what happened", operation.id)


def cents_of(operation: Operation) -> int | None:
    """Return the cents that an operation is about: what it took, or may take; None where KrosAI does not say."""
    if not operation.action.charges:
        return 0
    if operation.charged == "yes":
        return operation.charged_cents
    return operation.reserved_cents or operation.quote.due_now_cents


def _state(operation: Operation, event: Event) -> State:
    """Return in which state an event left its operation; a yes and its claim are two events of one transaction."""
    if event.move == MoveName.CONFIRMED:
        return State.CONFIRMED
    return State(event.changes.get("state", operation.state))


def _log(operation: Operation, event: Event, state: State) -> None:
    level = logging.INFO if event.move in _DECISIONS | _OUTCOMES else logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    cents = cents_of(operation)
    fields: dict[str, Any] = {
        "operation_id": operation.id,
        "principal": clean(operation.principal, LONGEST_NAME_SHOWN),
        "action": str(operation.action),
        "move": str(event.move),
        "by": clean(event.who, LONGEST_NAME_SHOWN),
        "through": event.channel,
        "decided_by": clean(operation.decided_by, LONGEST_NAME_SHOWN),
        "decided_through": operation.decided_through,
        "state": str(state),
        "cents": cents,
        "charged": operation.charged,
        "code": operation.error_code,
    }
    what = str(event.move).replace("_", " ")
    through = f" through {event.channel}" if event.channel else ""
    asked = f"asked for by {fields['principal']}"
    if event.move in _OUTCOMES and operation.decided_by:
        asked += f", decided by {fields['decided_by']} through {operation.decided_through}"
    amount = f", {'?' if cents is None else cents} cents {_CONCERNS[operation.charged]}" if cents != 0 else ""
    words = ("%s %s: %s by %s%s, %s%s", operation.id, operation.action, what, fields["by"], through, asked, amount)
    logger.log(level, *words, extra=fields)


def _count(operation: Operation, event: Event, state: State) -> None:
    """Count money set aside, and a state that an operation has just come to where it stays, or `unknown`."""
    environment = operation.quote.environment
    if event.move == MoveName.CLAIMED and operation.action.charges:
        telemetry.reserved(operation.reserved_cents, environment)
    decided = event.move in {MoveName.CONFIRMED, MoveName.DECLINED, MoveName.CANCELLED, MoveName.SETTLED_BY_HAND}
    under_batch = bool(operation.batch) and event.move == MoveName.CONFIRMED  # that yes was one, and is counted there
    if decided and not under_batch:
        telemetry.decided(operation.action, event.move, event.channel, environment)
    if "state" not in event.changes or state in WAITING or state is State.SENDING or event.move == MoveName.BEGUN:
        return
    telemetry.reached(operation.action, state, environment)
    if state is State.DONE:
        telemetry.charged(operation.charged_cents or 0, environment)
