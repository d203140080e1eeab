"""What runs before a guarded tool: one resolver finds or stores the operation, the next asks the person.

On the modern protocol both run again when the answer comes back, and find the same operation.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from mcp.server.elicitation import AcceptedElicitation, DeclinedElicitation, ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve

from kros_mcp.errors import ConfirmationError, InvalidArgumentError
from kros_mcp.krosai import within
from kros_mcp.operations import agent_words, direct_change
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE, Several
from kros_mcp.operations.channels import (
    FoundOperation,
    TurnedDown,
    choose_channel,
    confirmed_by_code,
    count_repeat,
    differs,
    is_unread,
    require_channel,
)
from kros_mcp.operations.confirmation import (
    MAX_TRIES,
    Answer,
    ConfigurationAnswer,
    PurchaseAnswer,
    ReleaseAnswer,
    SeveralReleaseAnswer,
)
from kros_mcp.operations.direct_change import Plan
from kros_mcp.operations.journal import of_earlier
from kros_mcp.operations.model import OPEN, Channel, Operation, Request, State
from kros_mcp.tools.call import (
    Call,
    ToolContext,
    can_ask,
    current_call,
    is_answering,
    is_modern,
    principal,
    runtime,
    ways_of,
)
from kros_mcp.tools.parameters import e164_or_id, one_each
from kros_mcp.tools.stream import current_stream

PROMPT_UNANSWERED = "PROMPT_UNANSWERED"
T = TypeVar("T", PurchaseAnswer, ReleaseAnswer, ConfigurationAnswer)


async def purchase_proposal(
    ctx: ToolContext,
    inventory_id: str,
    e164: str,
    country: str,
    type: str,  # noqa: A002 - KrosAI's own name
    endpoint_id: str,
    allow_inbound: bool,
    allow_outbound: bool,
    reason: str,
    confirmation_code: str,
) -> FoundOperation:
    """Find or store the purchase that is asked for."""
    if inventory_id and e164:
        raise InvalidArgumentError("Give either inventory_id or e164, not both.")
    account = runtime(ctx).account
    e164s = e164.split(",") if e164 else []
    seen = all(account.inventory.seen(e164=each) is not None for each in e164s)
    if not inventory_id and not (e164s and (type or seen or confirmation_code)):
        raise InvalidArgumentError("Give inventory_id from a search; or else e164 together with country and type.")
    request = Request(
        inventory_id=inventory_id,
        country=country,
        type=type,
        endpoint_id=endpoint_id,
        allow_inbound=allow_inbound,
        allow_outbound=allow_outbound,
        reason=agent_words.kept(reason),
    )
    require_channel(account, principal(ctx), ways_of(ctx), code=confirmation_code, charges=True)
    if "," in inventory_id or len(e164s) > 1:
        wishes = [_offer(account, replace(request, inventory_id=each)) for each in inventory_id.split(",") if each]
        wishes += [_offer(account, request, each) for each in e164s]
        return await _about_several(ctx, SEVERAL_PURCHASE, wishes, confirmation_code)
    with within(current_call.get().seconds_left):
        if confirmation_code:
            identity = account.identity(principal(ctx), PURCHASE.action)
            with of_earlier():
                found = await account.journal.find(identity, e164=e164, inventory_id=inventory_id)
                if found is None and (sighting := account.inventory.seen(inventory_id=inventory_id)) is not None:
                    # KrosAI may have given the number another id since, under which it was proposed.
                    found = await account.journal.find(identity, e164=sighting.e164)
                return await confirmed_by_code(account, found, [Wish(request, e164)], confirmation_code)
        operation = await PURCHASE.propose(account, principal(ctx), request, e164)
    return await _put(ctx, operation)


async def release_proposal(
    ctx: ToolContext, number_id: str, permanent: bool, reason: str, confirmation_code: str
) -> FoundOperation:
    """Find or store the release that is asked for."""
    account = runtime(ctx).account
    request = Request(permanent=permanent, reason=agent_words.kept(reason))
    first, *others = wishes = [_owned(request, each) for each in number_id.split(",")]
    require_channel(account, principal(ctx), ways_of(ctx), code=confirmation_code)
    if others:
        return await _about_several(ctx, SEVERAL_RELEASE, wishes, confirmation_code)
    e164, request = first.e164, first.request
    with within(current_call.get().seconds_left):
        if confirmation_code:
            identity = account.identity(principal(ctx), RELEASE.action)
            with of_earlier():
                found = await account.journal.find(identity, e164=e164, number_id=request.number_id)
                return await confirmed_by_code(account, found, [first], confirmation_code)
        operation = await RELEASE.propose(account, principal(ctx), request, e164)
    return await _put(ctx, operation)


async def configuration_proposal(
    ctx: ToolContext,
    number_id: str,
    endpoint_id: str,
    allow_inbound: str,
    allow_outbound: str,
    confirmation_code: str,
) -> FoundOperation | Plan:
    """Find or store the change of protected numbers; changes of others are answered as they may be carried out."""
    account = runtime(ctx).account
    wishes = _changes(number_id, endpoint_id, flag(allow_inbound), flag(allow_outbound))
    if len(wishes) > 1:
        return await _changes_of_several(ctx, wishes, confirmation_code)
    e164, request = wishes[0].e164, wishes[0].request
    identity = account.identity(principal(ctx), CONFIGURATION.action)
    if is_answering(ctx):  # a person's answer counts, whether or not KrosAI can be read now
        asked = await account.journal.find(identity, e164=e164, number_id=request.number_id)
        same = asked is not None and proposal.as_asked(request, asked).terms == asked.request.terms
        if asked is not None and asked.state is State.PROPOSED and same:
            return await _put(ctx, asked)
    elif not confirmation_code:
        account.client.tally.require_room()
    with within(current_call.get().seconds_left):
        plan = await direct_change.plan(account, wishes)
        [only] = plan.changes
        if not plan.is_protected:
            if confirmation_code:  # nobody has agreed to anything: it is no code of ours
                account.client.tally.require_room()
            return plan
        require_channel(account, principal(ctx), ways_of(ctx), code=confirmation_code)
        if confirmation_code:
            with of_earlier():
                found = await account.journal.find(identity, e164=only.number.e164)
                return await confirmed_by_code(account, found, [Wish(request, e164)], confirmation_code)
        operation = await CONFIGURATION.propose(account, principal(ctx), only.request, only.number)
    return await _put(ctx, operation)


def ask_purchase(
    ctx: ToolContext, found: Annotated[FoundOperation, Resolve(purchase_proposal)]
) -> Elicit[PurchaseAnswer] | None:
    """Put the purchase to the person."""
    return _ask(ctx, found, PurchaseAnswer)


def ask_configuration(
    ctx: ToolContext, found: Annotated[FoundOperation | Plan, Resolve(configuration_proposal)]
) -> Elicit[ConfigurationAnswer] | None:
    """Put the change of a protected number to the person."""
    return _ask(ctx, found, ConfigurationAnswer) if isinstance(found, FoundOperation) else None


def ask_release(
    ctx: ToolContext, found: Annotated[FoundOperation, Resolve(release_proposal)]
) -> Elicit[ReleaseAnswer] | None:
    """Put the release to the person."""
    return _ask(ctx, found, _release_form(found))


def ask_release_again(
    ctx: ToolContext,
    found: Annotated[FoundOperation, Resolve(release_proposal)],
    first: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release)],
) -> Elicit[ReleaseAnswer] | None:
    """Ask once more after wrong digits."""
    return _ask(ctx, found, _release_form(found), attempt=2) if slipped(found, first) else None


def ask_release_a_last_time(
    ctx: ToolContext,
    found: Annotated[FoundOperation, Resolve(release_proposal)],
    second: Annotated[ElicitationResult[ReleaseAnswer], Resolve(ask_release_again)],
) -> Elicit[ReleaseAnswer] | None:
    """Ask a third and last time after wrong digits."""
    return _ask(ctx, found, _release_form(found), attempt=MAX_TRIES) if slipped(found, second) else None


async def _about_several(ctx: ToolContext, act: Several, wishes: Sequence[Wish], code: str) -> FoundOperation:
    """Find or store the batch that is asked for."""
    account = runtime(ctx).account
    if (asked := await _answered(ctx, act, wishes)) is not None:
        return asked
    with within(current_call.get().seconds_left):
        if code:
            with of_earlier():
                found = await act.find(account, principal(ctx), wishes)
                return await confirmed_by_code(account, found, wishes, code)
        operation = await act.propose(account, principal(ctx), wishes)
    return await _put(ctx, operation)


async def _answered(ctx: ToolContext, act: Several, wishes: Sequence[Wish]) -> FoundOperation | None:
    """Return the batch that a call answers to: a person's answer counts, whether or not KrosAI can be read now."""
    if not is_answering(ctx):
        return None
    asked = await act.find(runtime(ctx).account, principal(ctx), wishes)
    if asked is None or asked.state not in {State.DONE, *OPEN} or differs(asked, wishes):
        return None
    return await _put(ctx, asked)


async def _changes_of_several(ctx: ToolContext, wishes: Sequence[Wish], code: str) -> FoundOperation | Plan:
    """Find or store the change of several numbers if any is protected; else it may be carried out."""
    account = runtime(ctx).account
    if (asked := await _answered(ctx, SEVERAL_CHANGE, wishes)) is not None:
        return asked
    if not (code or is_answering(ctx)):
        account.client.tally.require_room()
    with within(current_call.get().seconds_left):
        plan = await direct_change.plan(account, wishes)
    if not plan.is_protected:
        if code:  # nobody has agreed to anything: it is no code of ours
            account.client.tally.require_room()
        return plan
    require_channel(account, principal(ctx), ways_of(ctx), code=code)
    return await _about_several(ctx, SEVERAL_CHANGE, wishes, code)


def _changes(number_ids: str, endpoint_ids: str, inbound: bool | None, outbound: bool | None) -> list[Wish]:
    """Return the change that is wanted of each number: one endpoint goes for all, several are one each.

    Raises:
        InvalidArgumentError: They are neither one nor as many as the numbers.
    """
    names = number_ids.split(",")
    each = one_each(endpoint_ids, len(names))
    switches = Request(allow_inbound=inbound, allow_outbound=outbound)
    pairs = zip(names, each, strict=True)
    return [_owned(replace(switches, endpoint_id=endpoint), name) for name, endpoint in pairs]


def _offer(account: Account, request: Request, e164: str = "") -> Wish:
    """Return the wish for one of several numbers that are for sale: each is of the country where a search saw it."""
    seen = account.inventory.seen(inventory_id=request.inventory_id, e164=e164)
    return Wish(replace(request, country="", type="") if seen else request, e164)


def _owned(request: Request, number_id: str) -> Wish:
    """Return the wish about an owned number, named by its id or its E.164."""
    e164, opaque_id = e164_or_id(number_id)
    return Wish(replace(request, number_id=opaque_id), e164)


def _release_form(found: FoundOperation) -> type[ReleaseAnswer]:
    return SeveralReleaseAnswer if found.operation.action.is_several else ReleaseAnswer


async def _put(ctx: ToolContext, operation: Operation) -> FoundOperation:
    """Decide where the person is asked, unless the prompt is open already."""
    here, call = runtime(ctx), current_call.get()
    if operation.asked_at is not None and not is_answering(ctx):
        operation = await count_repeat(here.account, operation)
    if operation.id in here.asking or here.runner.is_under_way(operation.id):
        return FoundOperation(operation)
    if can_ask(ctx) and not is_modern(ctx):
        here.asking[operation.id] = call
        call.holds = operation.id
        if here.is_stopping:
            call.take_prompt_back("stopping")
        if (stream := current_stream.get()) is not None:
            stream.when_over(lambda: call.take_prompt_back("left"))
    answering = is_answering(ctx)
    if is_modern(ctx) and operation.channel is Channel.PROMPT and await is_unread(here.account, operation):
        # Nobody tells whether it is open still: of calls side by side none is given a code, each shows it.
        answering = True
    return await choose_channel(here.account, operation, ways_of(ctx), answering=answering)


def _ask(ctx: ToolContext, found: FoundOperation, form: type[T], *, attempt: int = 1) -> Elicit[T] | None:
    if not found.ask:
        return None
    here, call = runtime(ctx), current_call.get()
    call.asked = found.operation.id
    if call.taken_back:
        raise unanswered(call)
    wording = act_of(found.operation).wording
    return Elicit(wording.question(found.operation, here.settings.currency, attempt=attempt), form)


def unanswered(call: Call) -> ConfirmationError:
    """Return the error that nobody answered a call's prompt; under `conversation` the next such call uses a code."""
    message, next_step = "The prompt could not be answered in the client", "Call again with the same arguments."
    if call.taken_back == "stopping":
        message = "This server is stopping and took its prompt back"
        next_step = "Call again with the same arguments in a few seconds."
    return ConfirmationError(
        f"{message}, so nothing was charged or changed.",
        code=PROMPT_UNANSWERED,
        next_step=next_step,
        operation_id=call.asked,
    )


def chosen(result: ElicitationResult[Any]) -> Answer | TurnedDown | None:
    """Read what the person chose; None if nobody was asked."""
    if isinstance(result, AcceptedElicitation):
        answer: Answer | None = result.data
        return answer
    return State.DECLINED if isinstance(result, DeclinedElicitation) else State.CANCELLED


def slipped(found: FoundOperation, result: ElicitationResult[ReleaseAnswer]) -> bool:
    """Whether the digits were wrong, which deserves another try."""
    answer = chosen(result)
    return isinstance(answer, ReleaseAnswer) and answer.is_slip(found.operation)


def flag(switch: str) -> bool | None:
    """Read `on` and `off`; None keeps what is."""
    return {"on": True, "off": False}.get(switch)
