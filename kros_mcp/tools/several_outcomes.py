"""The result of a tool that acts on several numbers, made of its batch."""

from kros_mcp.errors import KrosError
from kros_mcp.operations.acts.routing import still_lacking
from kros_mcp.operations.acts.several import several_of
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.model import Operation, State, effects
from kros_mcp.operations.status import Status, status
from kros_mcp.tools import results


def words(
    batch: Batch, currency: str, *, code: str = "", told: bool = False, page: bool = False, now: float | None = None
) -> tuple[str, str]:
    """Return where a batch stands in a sentence, and what the agent is to do next; as `Wording.summary` does."""
    wording = several_of(batch.operation).wording
    if batch.items:
        return wording.outcome(batch, currency, now)
    return wording.summary(batch.operation, currency, code=code, told=told, page=page, now=now)


def items(batch: Batch) -> list[results.ActedItem]:
    """Show each number of a batch: as it was asked about, or what has become of it since the yes."""
    if batch.items:
        return [_item(one, status(one), one.id) for one in batch.items]
    return [_item(part, batch.status, None) for part in batch.operation.parts]


def as_error(batch: Batch, currency: str) -> KrosError:
    """Return the error that nothing of a batch was done, which `items` explain."""
    codes = {one.error_code for one in batch.items if one.error_code}
    message, next_step = words(batch, currency)
    return KrosError(
        message,
        code=codes.pop() if len(codes) == 1 else "FAILED",
        next_step=next_step,
        operation_id=batch.operation.id,
    )


def _item(one: Operation, stands: Status, operation_id: str | None) -> results.ActedItem:
    charged, changed = effects(one, "unknown") if one.state is State.SENDING else (one.charged, one.changed)
    failed = one.state in {State.FAILED, State.UNKNOWN}
    return results.ActedItem(
        e164=one.e164,
        country=one.quote.country,
        operation_id=operation_id,
        status=stands,
        charged=charged,
        changed=changed,
        due_now_cents=one.quote.due_now_cents,
        monthly_cents=one.quote.monthly_cents,
        number_id=(one.number.id if one.number else one.request.number_id) or None,
        before=results.routed_before(one),
        not_applied=list(one.not_applied or still_lacking(one)),
        code=(one.error_code or None) if failed and operation_id else None,
        message=(one.message or None) if failed and operation_id else None,
    )
