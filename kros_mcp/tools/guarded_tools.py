"""Tools that spend money, change a number or give it up.

Each guarded tool has resolvers that run before its body, in `elicitation.py`: they find or store the
operation and put the question to the person. The body does what the answer says.
"""

from collections.abc import Callable
from typing import Annotated, Any

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Resolve
from mcp.types import CallToolResult

from kros_mcp.operations import direct_change, moves
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.channels import (
    Conclusion,
    FoundOperation,
    conclude,
    requote,
)
from kros_mcp.operations.confirmation import (
    ConfigurationAnswer,
    PurchaseAnswer,
    ReleaseAnswer,
)
from kros_mcp.operations.direct_change import Plan
from kros_mcp.operations.events import By
from kros_mcp.operations.execution import withdraw_unsent
from kros_mcp.operations.journal import of_earlier
from kros_mcp.operations.model import Operation, State, past
from kros_mcp.settings import Settings
from kros_mcp.tools import direct_outcomes, outcomes, owned_texts, results, several_outcomes
from kros_mcp.tools.call import (
    ToolContext,
    batch_of,
    current_call,
    journal_time,
    own_operation,
    principal,
    progress,
    runtime,
    ways_of,
)
from kros_mcp.tools.elicitation import (
    ask_configuration,
    ask_purchase,
    ask_release,
    ask_release_a_last_time,
    ask_release_again,
    chosen,
    configuration_proposal,
    purchase_proposal,
    release_proposal,
    slipped,
)
from kros_mcp.tools.parameters import (
    ChangedNumbers,
    ConfirmationCode,
    Country,
    E164s,
    EndpointId,
    EndpointIds,
    InventoryIds,
    NumberType,
    OnByDefault,
    OperationId,
    Permanent,
    Reason,
    ReleasedNumbers,
    Switch,
)


async def buy_phone_number(
    ctx: ToolContext,
    found: Annotated[FoundOperation, Resolve(purchase_proposal)],
    answer: Annotated[ElicitationResult[PurchaseAnswer], Resolve(ask_purchase)],
    inventory_id: InventoryIds = "",
    e164: E164s = "",
    country: Country = "",
    type: NumberType = "",  # noqa: A002 - KrosAI's own name
    endpoint_id: EndpointId = "",
    allow_inbound: OnByDefault = True,
    allow_outbound: OnByDefault = True,
    reason: Reason = "",
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Acted]:
    """Buy a number: charges the account now and every month. Give inventory_id, or e164 with country and type.

    Nothing is bought before the person's yes: the call asks them, or tells you what to ask.
    """
    # `purchase_proposal` has read them: the SDK calls it with the arguments of the same names.
    del inventory_id, e164, country, type, endpoint_id, allow_inbound, allow_outbound, reason, confirmation_code
    here = runtime(ctx)
    conclusion = await _conclude(ctx, found, answer)
    if conclusion.operation.error_code == "PRICE_CHANGED" and not conclusion.operation.action.is_several:
        seconds, tell = current_call.get().seconds_left, progress(ctx)
        conclusion = await requote(
            here.account, here.runner, conclusion.operation, ways_of(ctx), seconds=seconds, tell=tell
        )
    return await _answer(ctx, conclusion)


async def release_phone_number(
    ctx: ToolContext,
    found: Annotated[FoundOperation, Resolve(release_proposal)],
    first: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release)],
    second: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_again)],
    third: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_a_last_time)],
    number_id: ReleasedNumbers,
    permanent: Permanent = False,
    reason: Reason = "",
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Acted]:
    """Release an owned number: calls to it stop, and it cannot be undone.

    Nothing is released before the person's yes: the call asks them, or tells you what to ask.
    """
    del number_id, permanent, reason, confirmation_code
    last = second if slipped(found, first) else first
    last = third if slipped(found, second) else last
    return await _answer(ctx, await _conclude(ctx, found, last))


async def configure_phone_number(
    ctx: ToolContext,
    found: Annotated[FoundOperation | Plan, Resolve(configuration_proposal)],
    answer: Annotated[ElicitationResult[ConfigurationAnswer], Resolve(ask_configuration)],
    number_id: ChangedNumbers,
    endpoint_id: EndpointIds = "",
    allow_inbound: Switch = "keep",
    allow_outbound: Switch = "keep",
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Configured]:
    """Change where an owned number's calls go, and whether it takes and makes calls. Costs nothing.

    Only a protected number needs the person's yes first.
    """
    del number_id, endpoint_id, allow_inbound, allow_outbound, confirmation_code
    here, call = runtime(ctx), current_call.get()
    if isinstance(found, FoundOperation):
        return await _answer(ctx, await _conclude(ctx, found, answer), outcomes.configured)
    changes = await direct_change.configure(
        here.account, here.runner, found.changes, seconds=call.seconds_left, by=By(principal(ctx), "tool")
    )
    wanted = direct_outcomes.endpoints_of(changes)
    seen = await here.account.endpoints.seen(here.account.client, wanted, seconds=call.seconds_left)
    result = direct_outcomes.changed(changes, seen.plus(planned.endpoint for planned in found.changes))
    return results.answer(result, owned_texts.changed(result))


async def cancel_operation(ctx: ToolContext, operation_id: OperationId) -> Annotated[CallToolResult, results.Acted]:
    """Withdraw what has not been sent yet."""
    here = runtime(ctx)
    operation = await own_operation(ctx, operation_id)
    batch = await batch_of(here, operation)
    if batch is not None and batch.items:
        with of_earlier(operation_id):
            withdrawn = await withdraw_unsent(here.account, batch.items, by=By(operation.principal, "tool"))
        batch = await batch_of(here, operation) or batch
        if not withdrawn:
            error = past(operation)
            error.charged, error.changed = batch.charged, batch.changed
            raise error
        return results.answer(outcomes.acted(operation, here.settings, batch, now=await journal_time(ctx)))
    if operation.state is not State.CANCELLED:
        with of_earlier(operation_id):
            operation = await here.account.change(operation_id, _withdraw, by=By(operation.principal, "tool"))
        if here.questions is not None:
            here.questions.withdraw(operation_id)
    return results.answer(outcomes.acted(operation, here.settings, await batch_of(here, operation)))


def _withdraw(operation: Operation, now: float) -> Operation:
    return moves.end(operation, now, State.CANCELLED, reason="It was withdrawn in the conversation.")


async def _answer(
    ctx: ToolContext,
    conclusion: Conclusion,
    show: Callable[
        [Conclusion, Settings, Batch | None, float | None], results.Acted | results.Configured
    ] = outcomes.concluded,
) -> CallToolResult:
    """Return where a call leaves an operation, or a batch with each of its numbers.

    Raises:
        KrosError: The operation failed.
    """
    here = runtime(ctx)
    batch = await batch_of(here, conclusion.operation)
    if batch is not None and batch.items and batch.status == "failed":
        return results.failure(several_outcomes.as_error(batch, here.settings.currency), several_outcomes.items(batch))
    return results.answer(show(conclusion, here.settings, batch, await journal_time(ctx)))


async def _conclude(ctx: ToolContext, found: FoundOperation, result: ElicitationResult[Any]) -> Conclusion:
    here, call = runtime(ctx), current_call.get()
    call.about = found.operation.id
    if found.ask:
        call.person_answered()
    seconds, tell = call.seconds_left, progress(ctx)
    return await conclude(here.account, here.runner, found, chosen(result), ways_of(ctx), seconds=seconds, tell=tell)
