"""The result of a tool that acts, made of its operation; the sentences come from `operations/wording.py`."""

from kros_mcp.errors import KrosError
from kros_mcp.operations import endpoint_names, wording
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.acts.routing import still_lacking
from kros_mcp.operations.batch import Batch, known
from kros_mcp.operations.channels import Conclusion
from kros_mcp.operations.model import Operation, Quote, State
from kros_mcp.operations.status import status, waits_for
from kros_mcp.settings import Settings
from kros_mcp.times import utc
from kros_mcp.tools import results, several_outcomes


def acted(
    operation: Operation,
    settings: Settings,
    batch: Batch | None = None,
    *,
    code: str = "",
    before: str = "",
    note: str = "",
    now: float | None = None,
) -> results.Acted:
    """Show an operation.

    Args:
        operation: As it stands.
        settings: For the currency's label, and how approvers come to know.
        batch: The same with the operations of its numbers, if it is about several.
        code: The confirmation code, only where the agent is to ask and call again.
        before: What to say first.
        note: What the agent is to know of how the person is asked.
        now: The journal's time. Defaults to when the operation was asked about.
    """
    waiting = operation.state is State.PROPOSED
    told, page = settings.tells_people, settings.public_url is not None
    if batch is None:
        wording = act_of(operation).wording
        summary, next_step = wording.summary(operation, settings.currency, code=code, told=told, page=page, now=now)
    else:
        summary, next_step = several_outcomes.words(batch, settings.currency, code=code, told=told, page=page, now=now)
    if operation.batch:
        next_step = f"{next_step} It is one of several: get_operation with {operation.batch} tells of all."
    return results.Acted(
        summary=f"{before} {summary}".strip(),
        status=batch.status if batch else status(operation),
        waits_for=waits_for(operation),
        operation_id=operation.id,
        quote=quote(operation),
        expires_at=utc(operation.expires_at) if waiting else None,
        confirmation_code=code or None,
        charged=batch.charged if batch else known(operation, operation.charged) if operation.action.charges else "no",
        changed=batch.changed if batch else known(operation, operation.changed),
        number=results.stored(operation.number, operation.quote),
        not_applied=list(operation.not_applied or still_lacking(operation)),
        decided_through=operation.decided_through or None,
        items=several_outcomes.items(batch) if batch else None,
        warnings=list(dict.fromkeys(each for part in operation.parts for each in warnings(part.quote))),
        next_step=f"{note} {next_step}".strip(),
    )


def concluded(
    conclusion: Conclusion, settings: Settings, batch: Batch | None = None, now: float | None = None
) -> results.Acted:
    """Show where a call leaves an operation, or raise what stopped it.

    Args:
        conclusion: Where it leaves the operation.
        settings: As in `acted`, like `batch` and `now`.
        batch: A batch with its numbers, if it is one.
        now: The journal's time.

    Raises:
        KrosError: The operation failed; nothing was charged or changed.
    """
    operation = conclusion.operation
    if operation.state is State.FAILED:
        raise as_error(operation)
    before = conclusion.ended.message if conclusion.ended else ""
    notes = [wording.UNREAD] * conclusion.unread
    if conclusion.unopened:
        notes.append(wording.UNOPENED if conclusion.code else wording.UNOPENED_AGAIN)
    return acted(operation, settings, batch, code=conclusion.code, before=before, note=" ".join(notes), now=now)


def configured(
    conclusion: Conclusion, settings: Settings, batch: Batch | None = None, now: float | None = None
) -> results.Configured:
    """Show where a call leaves the change of a protected number, or of several numbers of which one is."""
    shown = concluded(conclusion, settings, batch, now)
    after = shown.number
    before = results.routed_before(conclusion.operation)
    return results.Configured(**shown.model_dump(), before=before, after=routing(after) if after else None)


def routing(number: results.OwnedNumber) -> results.ShownRouting:
    """The settings of a number."""
    return results.ShownRouting(
        endpoint_id=number.endpoint_id,
        endpoint_name=number.endpoint_name,
        allow_inbound=number.allow_inbound,
        allow_outbound=number.allow_outbound,
    )


def quote(operation: Operation) -> results.ShownQuote:
    """What was shown to the person."""
    shown = operation.quote
    return results.ShownQuote(
        e164=None if operation.items else shown.e164,
        country=shown.country,
        setup_cents=shown.setup_cents,
        due_now_cents=shown.due_now_cents,
        monthly_cents=shown.monthly_cents,
        endpoint_id=shown.endpoint_id or None,
        endpoint_name=shown.endpoint_name or None,
        environment=shown.environment,
    )


def warnings(quote: Quote) -> list[str]:
    """Warn of the endpoint that was asked for, as it was when that was shown."""
    if not quote.endpoint_id:
        return []
    where = endpoint_names.told(quote.endpoint_id, quote.endpoint_name, quote.endpoint_type)
    trouble = quote.endpoint_trouble
    found = [f"Of {where}, KrosAI says that it {trouble}: calls may go nowhere."] if trouble else []
    return found + ([] if quote.endpoint_name else [endpoint_names.unplain(quote.endpoint_id, quote.endpoint_type)])


def as_error(operation: Operation) -> KrosError:
    """A failed operation as the error it is, naming the number and saying that nothing happened to it."""
    message, next_step = act_of(operation).wording.summary(operation, "")
    return KrosError(
        message,
        code=operation.error_code or "FAILED",
        next_step=next_step,
        operation_id=operation.id,
    )
