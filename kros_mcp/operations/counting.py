"""Counts operations and their money, and tells of them, where a transaction that changes their state is stored.

Each state is counted by the process whose transaction brought it about, so that a fleet counts each once. A
transaction whose commit was lost sight of is not counted; the journal is what is true.
"""

from kros_mcp import telemetry
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import WAITING, Action, Operation, State


async def change_counted(desk: Desk, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
    """Run a move in a transaction, and count the state that it has led to.

    Raises:
        OperationError: There is no such operation, or the move is not allowed.
    """
    before: list[State] = []

    def noted(current: Operation, now: float) -> Operation:
        before.append(current.state)
        return move(current, now)

    operation = await desk.journal.change(operation_id, noted, by=by)
    if before and before[-1] is not operation.state:
        count_reached(desk, operation)
        desk.changes.of(operation)
    return operation


def count_claim(desk: Desk, operation: Operation) -> None:
    """Count what a claim has just led to: money set aside, or a failure."""
    if operation.state is State.SENDING and operation.action is Action.BUY:
        telemetry.reserved(operation.reserved_cents, desk.settings.environment)
    if operation.state is State.FAILED:
        count_reached(desk, operation)
    desk.changes.of(operation)


def count_reached(desk: Desk, operation: Operation) -> None:
    """Count a state that an operation has just come to, and what it cost if it is a purchase that is done."""
    if operation.state in WAITING or operation.state is State.SENDING:
        return
    telemetry.reached(operation.action, operation.state, desk.settings.environment)
    if operation.state is State.DONE:
        telemetry.charged(charged_cents(operation) or 0, desk.settings.environment)


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
