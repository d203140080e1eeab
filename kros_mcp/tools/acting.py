"""Tools that spend money, change a number or give it up.

Each guarded tool has two resolvers that run before its body: one finds or stores the operation, the
next puts the question to the person where the client can show one. On the modern protocol both run
again when the answer comes back, and find the same operation.
"""

from typing import Annotated, Any, TypeVar

from mcp.server.elicitation import AcceptedElicitation, DeclinedElicitation, ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import CallToolResult

from kros_mcp.errors import InvalidArgumentError
from kros_mcp.krosai.patience import within
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations import configuring, model
from kros_mcp.operations.asking import (
    Conclusion,
    Standing,
    TurnedDown,
    choose_channel,
    conclude,
    confirmed_by_code,
    require_channel,
    requote,
)
from kros_mcp.operations.confirmation import (
    MAX_TRIES,
    Answer,
    ConfigureAnswer,
    PurchaseAnswer,
    ReleaseAnswer,
    question,
)
from kros_mcp.operations.journal import missing
from kros_mcp.operations.model import Action, Operation, Request, State
from kros_mcp.operations.proposal import propose_configuration, propose_purchase, propose_release
from kros_mcp.tools import outcomes, results
from kros_mcp.tools.call import (
    ToolContext,
    can_ask,
    current_call,
    is_answering,
    is_modern,
    principal,
    runtime,
)
from kros_mcp.tools.parameters import (
    E164,
    ConfirmationCode,
    Country,
    EndpointId,
    InventoryId,
    NumberId,
    NumberType,
    OnByDefault,
    OperationId,
    Permanent,
    Switch,
)

T = TypeVar("T", PurchaseAnswer, ReleaseAnswer, ConfigureAnswer)


async def purchase_proposal(
    ctx: ToolContext,
    inventory_id: str,
    e164: str,
    country: str,
    type: str,  # noqa: A002 - KrosAI's own name
    endpoint_id: str,
    allow_inbound: bool,
    allow_outbound: bool,
    confirmation_code: str,
) -> Standing:
    """Find or store the purchase that is asked for."""
    if inventory_id and e164:
        raise InvalidArgumentError("Give either inventory_id or e164, not both.")
    desk = runtime(ctx).desk
    seen = bool(e164) and desk.inventory.seen(e164=e164) is not None
    if not inventory_id and not (e164 and (type or seen or confirmation_code)):
        raise InvalidArgumentError("Give inventory_id from a search; or else e164 together with country and type.")
    request = Request(
        inventory_id=inventory_id,
        country=country,
        type=type,
        endpoint_id=endpoint_id,
        allow_inbound=allow_inbound,
        allow_outbound=allow_outbound,
    )
    require_channel(desk, can_ask=can_ask(ctx), code=confirmation_code)
    with within(current_call.get().seconds_left):
        if confirmation_code:
            identity = desk.identity(principal(ctx), Action.BUY)
            found = await desk.journal.find(identity, e164=e164, inventory_id=inventory_id)
            return await confirmed_by_code(desk, found, request, confirmation_code)
        operation = await propose_purchase(desk, principal(ctx), request, e164)
    return await _put(ctx, operation)


async def release_proposal(ctx: ToolContext, number_id: str, permanent: bool, confirmation_code: str) -> Standing:
    """Find or store the release that is asked for."""
    desk = runtime(ctx).desk
    e164, opaque_id = _names(number_id)
    request = Request(number_id=opaque_id, permanent=permanent)
    require_channel(desk, can_ask=can_ask(ctx), code=confirmation_code)
    with within(current_call.get().seconds_left):
        if confirmation_code:
            identity = desk.identity(principal(ctx), Action.RELEASE)
            found = await desk.journal.find(identity, e164=e164, number_id=opaque_id)
            return await confirmed_by_code(desk, found, request, confirmation_code)
        operation = await propose_release(desk, principal(ctx), request, e164)
    return await _put(ctx, operation)


async def configuration_proposal(
    ctx: ToolContext,
    number_id: str,
    endpoint_id: str,
    allow_inbound: str,
    allow_outbound: str,
    confirmation_code: str,
) -> Standing | PhoneNumber:
    """Find or store the change of a protected number; any other number is answered as it stands now."""
    desk = runtime(ctx).desk
    e164, opaque_id = _names(number_id)
    request = Request(
        number_id=opaque_id,
        endpoint_id=endpoint_id,
        allow_inbound=_flag(allow_inbound),
        allow_outbound=_flag(allow_outbound),
    )
    with within(current_call.get().seconds_left):
        number = await configuring.require_changeable(desk, request, e164)
        if number.e164 not in desk.settings.protected_numbers:
            return number
        require_channel(desk, can_ask=can_ask(ctx), code=confirmation_code)
        if confirmation_code:
            identity = desk.identity(principal(ctx), Action.CONFIGURE)
            found = await desk.journal.find(identity, e164=number.e164)
            return await confirmed_by_code(desk, found, request, confirmation_code)
        operation = await propose_configuration(desk, principal(ctx), request, number)
    return await _put(ctx, operation)


def ask_purchase(
    ctx: ToolContext, standing: Annotated[Standing, Resolve(purchase_proposal)]
) -> Elicit[PurchaseAnswer] | None:
    """Put the purchase to the person."""
    return _ask(ctx, standing, PurchaseAnswer)


def ask_configuration(
    ctx: ToolContext, standing: Annotated[Standing | PhoneNumber, Resolve(configuration_proposal)]
) -> Elicit[ConfigureAnswer] | None:
    """Put the change of a protected number to the person."""
    return _ask(ctx, standing, ConfigureAnswer) if isinstance(standing, Standing) else None


def ask_release(
    ctx: ToolContext, standing: Annotated[Standing, Resolve(release_proposal)]
) -> Elicit[ReleaseAnswer] | None:
    """Put the release to the person."""
    return _ask(ctx, standing, ReleaseAnswer)


def ask_release_again(
    ctx: ToolContext,
    standing: Annotated[Standing, Resolve(release_proposal)],
    first: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release)],
) -> Elicit[ReleaseAnswer] | None:
    """Ask once more after wrong digits."""
    return _ask(ctx, standing, ReleaseAnswer, attempt=2) if _slipped(standing, first) else None


def ask_release_a_last_time(
    ctx: ToolContext,
    standing: Annotated[Standing, Resolve(release_proposal)],
    second: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_again)],
) -> Elicit[ReleaseAnswer] | None:
    """Ask a third and last time after wrong digits."""
    return _ask(ctx, standing, ReleaseAnswer, attempt=MAX_TRIES) if _slipped(standing, second) else None


async def buy_phone_number(
    ctx: ToolContext,
    standing: Annotated[Standing, Resolve(purchase_proposal)],
    answer: Annotated[ElicitationResult[PurchaseAnswer], Resolve(ask_purchase)],
    inventory_id: InventoryId = "",
    e164: E164 = "",
    country: Country = "",
    type: NumberType = "",  # noqa: A002 - KrosAI's own name
    endpoint_id: EndpointId = "",
    allow_inbound: OnByDefault = True,
    allow_outbound: OnByDefault = True,
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Acted]:
    """Buy one number: charges the account now and every month. Give inventory_id, or e164 with country and type.

    Nothing is bought before the person says yes: the first call asks, or tells you what to ask.
    """
    del inventory_id, e164, country, type, endpoint_id, allow_inbound, allow_outbound, confirmation_code
    here = runtime(ctx)
    conclusion = await _conclude(ctx, standing, answer)
    if conclusion.operation.error_code == "PRICE_CHANGED":
        conclusion = await requote(here.desk, conclusion.operation, seconds=current_call.get().seconds_left)
    return results.answer(outcomes.concluded(conclusion, here.settings))


async def release_phone_number(
    ctx: ToolContext,
    standing: Annotated[Standing, Resolve(release_proposal)],
    first: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release)],
    second: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_again)],
    third: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_a_last_time)],
    number_id: NumberId,
    permanent: Permanent = False,
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Acted]:
    """Release an owned number: calls to it stop, and it cannot be undone.

    Nothing is released before the person says yes: the first call asks, or tells you what to ask.
    """
    del number_id, permanent, confirmation_code
    last = second if _slipped(standing, first) else first
    last = third if _slipped(standing, second) else last
    conclusion = await _conclude(ctx, standing, last)
    return results.answer(outcomes.concluded(conclusion, runtime(ctx).settings))


async def configure_phone_number(
    ctx: ToolContext,
    standing: Annotated[Standing | PhoneNumber, Resolve(configuration_proposal)],
    answer: Annotated[ElicitationResult[ConfigureAnswer], Resolve(ask_configuration)],
    number_id: NumberId,
    endpoint_id: EndpointId = "",
    allow_inbound: Switch = "keep",
    allow_outbound: Switch = "keep",
    confirmation_code: ConfirmationCode = "",
) -> Annotated[CallToolResult, results.Configured]:
    """Change where an owned number's calls go, and whether it takes and makes calls. Costs nothing.

    confirmation_code is asked for protected numbers only.
    """
    del number_id, confirmation_code
    here = runtime(ctx)
    if isinstance(standing, Standing):
        return results.answer(outcomes.configured(await _conclude(ctx, standing, answer), here.settings))
    request = Request(
        endpoint_id=endpoint_id,
        allow_inbound=_flag(allow_inbound),
        allow_outbound=_flag(allow_outbound),
    )
    change = await configuring.configure(
        here.desk, here.runner, standing, request, seconds=current_call.get().seconds_left
    )
    return results.answer(outcomes.changed(change))


async def cancel_operation(ctx: ToolContext, operation_id: OperationId) -> Annotated[CallToolResult, results.Acted]:
    """Withdraw an operation that has not been sent yet."""
    here = runtime(ctx)
    operation = await here.desk.journal.get(operation_id)
    if operation is None or (operation.account, operation.principal) != (here.desk.account, principal(ctx)):
        raise missing(operation_id)
    if operation.state is not State.CANCELLED:
        operation = await here.desk.journal.change(operation_id, _withdraw)
    return results.answer(outcomes.acted(operation, here.settings))


def _withdraw(operation: Operation, now: float) -> Operation:
    return model.end(operation, now, State.CANCELLED, reason="It was withdrawn in the conversation.")


async def _put(ctx: ToolContext, operation: Operation) -> Standing:
    """Decide where the person is asked, unless the prompt is open already."""
    here, call = runtime(ctx), current_call.get()
    if operation.id in here.asking:
        return Standing(operation)
    if can_ask(ctx) and not is_modern(ctx):
        here.asking.add(operation.id)
        call.holds = operation.id
    return await choose_channel(here.desk, operation, can_ask=can_ask(ctx), answering=is_answering(ctx))


def _ask(ctx: ToolContext, standing: Standing, form: type[T], *, attempt: int = 1) -> Elicit[T] | None:
    if not standing.ask:
        return None
    here, call = runtime(ctx), current_call.get()
    call.asked = standing.operation.id
    return Elicit(question(standing.operation, here.settings.currency, attempt=attempt), form)


async def _conclude(ctx: ToolContext, standing: Standing, result: ElicitationResult[Any]) -> Conclusion:
    here, call = runtime(ctx), current_call.get()
    call.about = standing.operation.id
    if standing.ask:
        call.person_answered()
    return await conclude(here.desk, here.runner, standing, _answer(result), seconds=call.seconds_left)


def _answer(result: ElicitationResult[Any]) -> Answer | TurnedDown | None:
    if isinstance(result, AcceptedElicitation):
        answer: Answer | None = result.data
        return answer
    return State.DECLINED if isinstance(result, DeclinedElicitation) else State.CANCELLED


def _slipped(standing: Standing, result: ElicitationResult[ReleaseAnswer]) -> bool:
    answer = _answer(result)
    return isinstance(answer, ReleaseAnswer) and answer.is_slip(standing.operation)


def _names(number_id: str) -> tuple[str, str]:
    """Tell an E.164 from an id."""
    return (number_id, "") if number_id.startswith("+") else ("", number_id)


def _flag(switch: str) -> bool | None:
    return {"on": True, "off": False}.get(switch)
