"""What to make of an operation whose end nobody saw.

Recovery needs no network: an expired lease without `sent_at` is failed, with it unknown. Reconciling
asks KrosAI, and calls an act done or failed only on evidence; without evidence it stays unknown.
"""

from dataclasses import replace
from typing import Any

from kros_mcp.krosai.owned import find_owned
from kros_mcp.operations import moves, routing
from kros_mcp.operations.counting import change_counted
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.finishing import bought, configured, released, soft_released
from kros_mcp.operations.model import Action, Operation, State

RECONCILE_EVERY_SECONDS = 2.0
SECOND_READING_SECONDS = 10.0

Verdict = dict[str, Any] | None


async def recover(desk: Desk) -> tuple[Operation, ...]:
    """Take over what a stopped or frozen process of this account left in flight.

    Returns:
        What needs attention then; what was just found failed needs none any more.
    """
    now = await desk.journal.now()
    due = await desk.journal.due(desk.account)
    for operation in due:
        if moves.is_abandoned(operation, now):
            await change_counted(desk, operation.id, moves.recover)
    abandoned = any(moves.is_abandoned(operation, now) for operation in due)
    return await desk.journal.due(desk.account) if abandoned else due


async def reconcile(desk: Desk, operation: Operation) -> Operation:
    """Ask KrosAI how an unknown operation ended; at most once per two seconds and operation.

    Returns:
        The operation as it stands then: done, failed, or still unknown.

    Raises:
        KrosaiError: KrosAI could not be read; the operation stays unknown.
    """
    if operation.state is not State.UNKNOWN:
        return operation
    claimed = await _take_turn(desk, operation)
    if claimed is None:
        return operation
    verdict = await _VERDICTS[claimed.action](desk, claimed)
    if verdict is None:
        return await desk.journal.get(claimed.id) or claimed

    def settle(current: Operation, now: float) -> Operation:
        if current.state is not State.UNKNOWN:
            return current
        return moves.settle(current, now, token=claimed.token, **verdict)

    return await change_counted(desk, claimed.id, settle)


async def _take_turn(desk: Desk, operation: Operation) -> Operation | None:
    """Note that KrosAI is being asked now; None if it was asked less than two seconds ago."""
    taken = False

    def note(current: Operation, now: float) -> Operation:
        nonlocal taken
        recently = current.checked_at is not None and 0 <= now - current.checked_at < RECONCILE_EVERY_SECONDS
        taken = current.state is State.UNKNOWN and not recently
        return replace(current, checked_at=now) if taken else current

    current = await desk.journal.change(operation.id, note)
    return current if taken else None


async def _purchase(desk: Desk, operation: Operation) -> Verdict:
    late = await _late_enough(desk, operation)
    begun = await desk.journal.now()
    reading = await find_owned(desk.client, e164=operation.e164)
    if reading.living is not None:
        return bought(operation, reading.living, desk.settings.currency)
    if not reading.complete or not late or operation.accepted:
        return None
    found = await desk.find_for_sale(operation)
    return await _note_unsold(desk, operation, begun, seen=found.item is not None)


async def _note_unsold(desk: Desk, operation: Operation, begun: float, *, seen: bool) -> Verdict:
    """Keep the first reading that shows the number for sale; the second, ten seconds later, is evidence.

    From the end of the first reading to the beginning (`begun`) of the second.
    """
    first = operation.seen_unsold_at
    if seen and first is not None:
        if begun - first < SECOND_READING_SECONDS:
            return None
        return _failed("KrosAI does not list the number as owned and offers it for sale, so it was not bought.")
    if seen or first is not None:
        await desk.journal.change(
            operation.id, lambda current, now: replace(current, seen_unsold_at=now if seen else None)
        )
    return None


async def _release(desk: Desk, operation: Operation) -> Verdict:
    late = await _late_enough(desk, operation)
    reading = await find_owned(desk.client, number_id=operation.request.number_id)
    if released(operation, reading.number):
        return soft_released(operation, reading.number)
    number = reading.number
    unchanged = number is not None and (number.e164, number.status or "") == (operation.e164, operation.request.status)
    if not late or not unchanged or operation.accepted:
        return None
    return _failed("KrosAI still shows the number as it was, so it was not released.")


async def _configuration(desk: Desk, operation: Operation) -> Verdict:
    late = await _late_enough(desk, operation)
    reading = await find_owned(desk.client, number_id=operation.request.number_id)
    if reading.number is None:
        return None
    target = routing.wanted(operation.request)
    lacking = routing.names(routing.missing(reading.number, target))
    if not lacking or (late and len(lacking) < len(routing.names(target))):
        return configured(operation, routing.Applied(reading.number, lacking))
    if not late or operation.accepted:
        return None
    return _failed("KrosAI does not show the settings that were asked for, so they were not changed.")


async def _late_enough(desk: Desk, operation: Operation) -> bool:
    sent_at = operation.sent_at
    return sent_at is not None and await desk.journal.now() > sent_at + desk.settings.settle_seconds


def _failed(message: str) -> Verdict:
    return {
        "state": State.FAILED,
        "error_code": "NOT_DONE",
        "message": message,
        "next_step": "Ask the person whether to try again; it would be a new operation.",
    }


_VERDICTS = {Action.BUY: _purchase, Action.RELEASE: _release, Action.CONFIGURE: _configuration}
