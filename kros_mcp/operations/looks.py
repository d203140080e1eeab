"""What KrosAI shows of an act that was sent."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kros_mcp.krosai import OwnedReading, find_owned
from kros_mcp.operations import evidence, routing
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.finishing import bought, configured, released, soft_released
from kros_mcp.operations.model import Action, Operation


@dataclass(frozen=True)
class Look:
    """What KrosAI shows of an act that was sent.

    Args:
        outcome: What settles it as done, in the fields of `moves.settle`; None if nothing proves it done.
        conclusive: Whether what was not seen is not there.
        reading: What was read.
    """

    outcome: dict[str, Any] | None
    conclusive: bool
    reading: OwnedReading


async def look(desk: Desk, operation: Operation, *, late: bool = False) -> Look:
    """Read from KrosAI what proves that an act was carried out.

    Args:
        desk: The account's resources.
        operation: As it was sent.
        late: Whether a change that shows by half will not come about any more.

    Raises:
        KrosaiError: KrosAI could not be read.
    """
    return await _LOOKS[operation.action](desk, operation, late)


async def _purchase(desk: Desk, operation: Operation, _late: bool) -> Look:
    reading = await find_owned(desk.client, e164=operation.e164)
    record = evidence.bought(operation, reading)
    done = None if record is None else bought(desk.settings, operation, record, seen=True)
    return Look(done, evidence.is_conclusive(operation, reading), reading)


async def _release(desk: Desk, operation: Operation, _late: bool) -> Look:
    reading = await find_owned(desk.client, number_id=operation.request.number_id)
    if reading.number is None and not await _is_gone_from_the_list(desk, operation):
        return Look(None, conclusive=False, reading=reading)
    done = soft_released(operation, reading.number) if released(operation, reading.number) else None
    return Look(done, reading.complete, reading)


async def _is_gone_from_the_list(desk: Desk, operation: Operation) -> bool:
    """Whether the list, too, shows a number no more that is not found by its id: a 404 alone may be of any making."""
    listed = await find_owned(desk.client, e164=operation.e164)
    still = any(record.id == operation.request.number_id for record in listed.records if not record.has_ended)
    return listed.complete and operation.request.number_id not in listed.unreadable and not still


async def _configuration(desk: Desk, operation: Operation, late: bool) -> Look:
    reading = await find_owned(desk.client, number_id=operation.request.number_id)
    number = reading.number
    if number is None or number.e164 != operation.e164:
        return Look(None, conclusive=False, reading=reading)
    target = routing.wanted(operation.request)
    lacking = routing.names(routing.missing(number, target))
    by_half = late and evidence.has_changed(operation, lacking)
    done = configured(operation, routing.Applied(number, lacking)) if not lacking or by_half else None
    return Look(done, reading.complete, reading)


_LOOKS: Mapping[Action, Callable[[Desk, Operation, bool], Awaitable[Look]]] = {
    Action.BUY: _purchase,
    Action.RELEASE: _release,
    Action.CONFIGURE: _configuration,
}
