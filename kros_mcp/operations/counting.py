"""What an operation took, and how those who wait for it hear that it has moved on.

Counters and log lines are made where a transaction is committed, in `telling`.
"""

from typing import TYPE_CHECKING

from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Action, Operation, State

if TYPE_CHECKING:
    from kros_mcp.operations.desk import Desk


async def change_counted(desk: "Desk", operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
    """Run a move in a transaction, and tell those who watch the operation if its state has changed.

    Raises:
        OperationError: There is no such operation, or the move is not allowed.
    """
    before: list[State] = []

    def noted(current: Operation, now: float) -> Operation:
        before.append(current.state)
        return move(current, now)

    operation = await desk.journal.change(operation_id, noted, by=by)
    if before and before[-1] is not operation.state:
        desk.changes.of(operation)
    return operation


def charged_cents(operation: Operation) -> int | None:
    """Say what a purchase took: 0 if nothing, None if it is not known whether it was charged.

    It is what was quoted, or what KrosAI reported afterwards where that differs; no invoice has been seen. Of
    a purchase that was charged an amount that KrosAI never stated whole, it is `reserved_cents`, which is what
    the guard counted, so that the sum of a day leaves no purchase out.
    """
    if operation.action is not Action.BUY or operation.charged == "no":
        return 0
    if operation.charged == "unknown":
        return None
    quote, reported = operation.quote, operation.number or {}
    setup, monthly = (
        shown if (told := reported.get(name)) is None else int(told)
        for name, shown in (("setup_cents", quote.setup_cents), ("monthly_cents", quote.monthly_cents))
    )
    if (setup, monthly) == (quote.setup_cents, quote.monthly_cents):
        return (quote.due_now_cents or 0) if quote.is_priced else operation.reserved_cents
    return operation.reserved_cents if setup is None or monthly is None else setup + monthly
