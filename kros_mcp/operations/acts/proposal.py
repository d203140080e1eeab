"""From a wish to a stored proposal: what every act checks, reads and writes down before a person is asked."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from kros_mcp.errors import InvalidArgumentError, KrosError, NotFoundError, OperationError, RefusedError
from kros_mcp.krosai import (
    ACCOUNT_REFUSED,
    NOT_STATED,
    UNROUTED,
    CallEndpoint,
    EndpointList,
    PhoneNumber,
    find_owned,
    is_id,
    plain_name,
    quoted,
    quoted_id,
    read_each,
    read_owned_once,
    same_name,
)
from kros_mcp.numbering import spoken
from kros_mcp.operations import dangling, endpoint_names, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import routing
from kros_mcp.operations.acts.base import Act, Offered, Wish
from kros_mcp.operations.batch import joined
from kros_mcp.operations.events import By
from kros_mcp.operations.kept import KeptNumber, price_of, with_price
from kros_mcp.operations.model import (
    DONE_ANSWERED_SECONDS,
    OPEN,
    Action,
    Channel,
    Item,
    Limits,
    Operation,
    Quote,
    Request,
    State,
    new_operation_id,
)
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.run_rate import read_run_rate

E = TypeVar("E", bound=KrosError)
_REFUSAL_REMEMBERED_SECONDS: Final = 30 * 86_400.0
_NAMING_SECONDS: Final = 1.0
"""How long a proposal waits for the name of the endpoint that calls go to now."""
_NAMED: Final = 5


async def require_endpoint(account: Account, wanted: str, listed: EndpointList | None = None) -> CallEndpoint | None:
    """Read the endpoint that a call names, by its id or else by its name; None if it names none.

    Args:
        account: The account's resources.
        wanted: As the call names it.
        listed: The list of endpoints, if it was read just now.

    Raises:
        InvalidArgumentError: KrosAI has no such endpoint, or several of that name.
    """
    if wanted in {"", UNROUTED}:
        return None
    if listed is None and _may_be_id(wanted):
        with suppress(NotFoundError):
            return await account.client.get_endpoint(wanted)
    endpoints = listed or await account.endpoints.read(account.client)
    if wanted in endpoints.found:
        return endpoints.found[wanted]
    called = endpoint_names.called(wanted, endpoints.found.values())
    if len(called) > 1:
        raise _several(called)
    if called and endpoints.whole:
        return called[0]
    if not endpoints.whole:
        raise InvalidArgumentError(
            "KrosAI's list of endpoints was not read whole, so it is not certain which one is meant; nothing was "
            "charged or changed.",
            code="ENDPOINT_NOT_CERTAIN",
            next_step="Give the endpoint's id, as list_endpoints shows it.",
        )
    raise no_such_endpoint()


def no_such_endpoint() -> InvalidArgumentError:
    """Return the error that a call names an endpoint that is none of the account's; what it named is not repeated."""
    return InvalidArgumentError(
        "That endpoint does not exist in this account.",
        code="ENDPOINT_NOT_FOUND",
        next_step="Call list_endpoints and use an id or a name from there as endpoint_id; unrouted means none.",
    )


async def require_endpoints(account: Account, wanted: Iterable[str]) -> dict[str, CallEndpoint | None]:
    """Read endpoints that must exist, each once; None if none is asked for.

    Raises:
        InvalidArgumentError: KrosAI has no such endpoint, or several of that name.
    """
    named = dict.fromkeys(wanted)
    by_name = [each for each in named if each not in {"", UNROUTED} and not _may_be_id(each)]
    listed = await account.endpoints.read(account.client) if len(by_name) > 1 else None
    return {each: await require_endpoint(account, each, listed if each in by_name else None) for each in named}


def _may_be_id(text: str) -> bool:
    """Whether to ask for an endpoint by this as its id; what has no digit is a name first."""
    return is_id(text) and any(each.isdigit() for each in text)


def _several(called: list[CallEndpoint]) -> InvalidArgumentError:
    name = plain_name(called[0].name)
    which = [f"{endpoint_names.kind_of(each) or 'one'} with the id {each.id}" for each in called[:_NAMED]]
    more = f", or one of {len(called) - _NAMED} more" if len(called) > _NAMED else ""
    have = f"have the name {quoted(name)}" if name else "have that name"
    return InvalidArgumentError(
        f"{len(called)} endpoints {have}, so it is not certain which one is meant; nothing was charged or changed.",
        code="ENDPOINT_AMBIGUOUS",
        next_step=f"Ask the person which: {', or '.join(which)}{more}. Then call again with that id.",
    )


def as_asked(request: Request, shown: Operation | Item) -> Request:
    """Return a wish with the id of its endpoint, if a person was asked about it under the name that is given."""
    if not same_name(request.endpoint_id, shown.quote.endpoint_name):
        return request
    return replace(request, endpoint_id=shown.request.endpoint_id)


def as_stored(request: Request, shown: Operation | Item) -> Request:
    """Return a wish as it would be stored, to be compared; a number that is bought unrouted is one without endpoint."""
    if request.endpoint_id == UNROUTED and shown.request.inventory_id:
        return replace(request, endpoint_id="")
    return as_asked(request, shown)


async def with_ids(account: Account, wishes: Sequence[Wish]) -> list[Wish]:
    """Return what a call says beside a code, with the ids of the endpoints that it names, as far as there are such.

    Raises:
        KrosaiError: KrosAI could not be read.
    """
    found = []
    for wish in wishes:
        endpoint = None
        with suppress(InvalidArgumentError):
            endpoint = await require_endpoint(account, wish.request.endpoint_id)
        found.append(replace(wish, request=replace(wish.request, endpoint_id=endpoint.id)) if endpoint else wish)
    return found


async def require_owned(account: Account, number_id: str, e164: str) -> PhoneNumber:
    """Read an owned number by its id or its E.164.

    Raises:
        OperationError: `NUMBER_NOT_OWNED`; `NUMBER_NOT_FOUND` or `NOT_LISTED_YET` where that is not certain.
    """
    reading = await find_owned(account.client, number_id="" if e164 else number_id, e164=e164)
    if reading.number is not None:
        return reading.number
    if e164 and await _was_just_bought(account, e164):
        raise OperationError(
            f"{spoken(e164)} was bought through this server, and KrosAI does not list it yet; nothing was changed.",
            code="NOT_LISTED_YET",
            next_step="Look again in a few minutes, twice at most: list_phone_numbers shows it once KrosAI does.",
        )
    if not reading.complete or reading.unreadable:
        raise OperationError(
            f"{_called(e164)} was not found in what KrosAI shows of this account's numbers; nothing was changed.",
            code="NUMBER_NOT_FOUND",
            next_step=f"Give the number's id, as list_phone_numbers shows it, instead of {e164 or number_id}.",
        )
    plus = " If it is a phone number, write it with its plus sign and country code." if number_id.isdigit() else ""
    raise OperationError(
        f"{_called(e164)} is not among the numbers of this account; nothing was changed.{plus}",
        code="NUMBER_NOT_OWNED",
        next_step=f"Call list_phone_numbers and use an id or an E.164 that stands there, instead of "
        f"{e164 or number_id}.",
    )


def _called(e164: str) -> str:
    """Return what was asked for as it can be said: an id cannot."""
    return spoken(e164) if e164 else "That id"


async def _was_just_bought(account: Account, e164: str) -> bool:
    """Whether this journal has a purchase of the number that KrosAI's list may not show yet."""
    since = await account.journal.now() - policy.LISTING_LAG_SECONDS
    return e164 in (await account.journal.books(account.id, "", committed_since=since)).bought


async def read_again(account: Account, operation: Operation) -> PhoneNumber:
    """Read the owned number of an operation again, just before something is sent.

    Raises:
        OperationError: `NUMBER_CHANGED`, its record is of another number by now.
    """
    number = await account.client.get_number(operation.request.number_id)
    if (number.id, number.e164) != (operation.request.number_id, operation.e164):
        raise OperationError(
            f"KrosAI's record is no longer {spoken(operation.e164)}; nothing was changed.",
            code="NUMBER_CHANGED",
            next_step="List the phone numbers again before going on.",
        )
    return number


async def propose_for_owned(
    account: Account, act: Act, principal: str, request: Request, number: PhoneNumber
) -> Operation:
    """Write down what will be shown of an act on an owned number.

    Args:
        account: The account's resources.
        act: What is to be done.
        principal: Who asks.
        request: What is wanted.
        number: The number as it stands now.
    """
    items = await items_for_owned(account, [request], [number])
    return await propose(account, act, principal, Offered(items))


async def read_owned(account: Account, wishes: Sequence[Wish]) -> tuple[PhoneNumber, ...]:
    """Read the owned numbers that are wished for; several from one reading of the list, as far as it has them.

    Of which the list does not state where calls go, those are read by themselves.

    Raises:
        OperationError: As `require_owned`.
    """
    listed: tuple[PhoneNumber, ...] = ()
    if len(wishes) > 1:
        now, owned = await account.journal.now(), await read_owned_once(account.client)
        if owned.complete:
            account.kept.saw_list(owned, now)
        kept = account.kept.over(await account.journal.kept(account.id)).numbers
        listed = tuple(_priced(number, kept.get(number.id), now) for number in owned.numbers)
    numbers = []
    for wish in wishes:
        try:
            number = _listed(listed, wish)
            numbers.append(number or await require_owned(account, wish.request.number_id, wish.e164))
        except OperationError as exc:
            raise of_one(exc, wish.e164 or quoted_id(wish.request.number_id), wishes) from None
    if len(wishes) == 1 and not wishes[0].e164:  # that was a reading by itself
        return tuple(numbers)
    unstated = dict.fromkeys(number.id for number in numbers if number.endpoint_id == NOT_STATED)
    alone = await read_each(account.client, unstated)
    return tuple(_same(number, alone.get(number.id)) for number in numbers)


async def items_for_owned(
    account: Account, requests: Sequence[Request], numbers: Sequence[PhoneNumber]
) -> tuple[Item, ...]:
    """Return what will be shown of an act on owned numbers, each as it stands now; each endpoint is read once."""
    wanted = await require_endpoints(account, [request.endpoint_id for request in requests])
    routed = await _routed(account, numbers)
    items = []
    for request, number in zip(requests, numbers, strict=True):
        endpoint = wanted[request.endpoint_id]
        quote = Quote(
            e164=number.e164,
            country=number.country,
            environment=account.settings.environment,
            monthly_cents=number.monthly_cents,
            endpoint_id=endpoint.id if endpoint else "",
            endpoint_name=plain_name(endpoint.name if endpoint else None),
            endpoint_type=endpoint_names.kind_of(endpoint),
            endpoint_trouble=dangling.trouble(endpoint),
            routed_to=routed[number.endpoint_id or ""],
        )
        place = replace(
            request,
            number_id=number.id,
            endpoint_id=endpoint.id if endpoint else request.endpoint_id,
            status=number.status or "",
            routed_endpoint_id=routing.asked_about(number),
            inbound_before=number.allow_inbound,
            outbound_before=number.allow_outbound,
        )
        items.append(Item(number.e164, place, quote))
    return tuple(items)


async def _routed(account: Account, numbers: Sequence[PhoneNumber]) -> dict[str, str]:
    """Tell where calls to numbers go now, for whoever decides about them, by the endpoint's id."""
    ids = {number.endpoint_id for number in numbers if number.endpoint_id}
    endpoints = await account.endpoints.seen(account.client, ids, seconds=_NAMING_SECONDS)
    wrong = dangling.troubles(endpoints, ids)
    told = {"": ""}
    for one in ids:
        where = endpoint_names.of(one, endpoints.found.get(one))
        told[one] = f"{where}, which {wrong[one]}" if one in wrong else where
    return told


async def propose(account: Account, act: Act, principal: str, offered: Offered) -> Operation:
    """Store a proposal that the policy allows, or answer the open operation that is the same.

    Args:
        account: The account's resources.
        act: What is to be done.
        principal: Who asks.
        offered: What will be shown to a person, and then asked of KrosAI; of a batch, all of its numbers.

    Raises:
        RefusedError: The policy forbids it.
        OperationError: `NUMBER_BUSY` or `ASKED_TOO_OFTEN`.
    """
    draft = await _draft(account, act.action, principal, offered.items)
    run_rate: RunRate | None = None
    if draft.action.charges and policy.needs_run_rate(account.settings, draft.limits):
        run_rate = await read_run_rate(account, offered.owned)
    since = (run_rate.read_at if run_rate else draft.created_at) - policy.LISTING_LAG_SECONDS
    books = await account.journal.books(account.id, draft.principal, committed_since=since)
    act.check(account.settings, draft, books, run_rate, None)
    return await account.journal.propose(draft, by=By(draft.principal, "tool"))


def of_one(error: E, name: str, wishes: Sequence[Wish]) -> E:
    """Name the number in what an error says, where several are asked for."""
    called = spoken(name) if name.startswith("+") else name
    if len(wishes) > 1 and called not in error.message:
        error.message = f"{called}: {error.message}"
    return error


async def covers(account: Account, act: Act, earlier: Operation, request: Request) -> bool:
    """Whether an earlier operation answers a wish: it is open, or done and still visible.

    Args:
        account: The account's resources.
        act: What is wished for.
        earlier: The newest operation of that act on the number.
        request: The wish.
    """
    if earlier.state is State.PROPOSED:
        other_offer = request.inventory_id and request.inventory_id != earlier.request.inventory_id
        return earlier.request.terms == request.terms and not other_offer
    if earlier.state in OPEN:
        return True
    if earlier.state is not State.DONE or earlier.request.terms != request.terms:
        return False
    if await account.journal.now() - (earlier.settled_at or 0) > DONE_ANSWERED_SECONDS:
        return False
    return act.still_stands(earlier, await find_owned(account.client, e164=earlier.e164))


async def _with_last_refusal(account: Account, quote: Quote, now: float) -> Quote:
    """Note that KrosAI refused the account's last purchase for want of credit or verification; it may again."""
    refused = await account.journal.refused(account.id, ACCOUNT_REFUSED, since=now - _REFUSAL_REMEMBERED_SECONDS)
    if refused is None:
        return quote
    return replace(quote, refused_code=refused.error_code, refused_at=refused.settled_at)


def _listed(listed: Sequence[PhoneNumber], wish: Wish) -> PhoneNumber | None:
    """Return the record that a wish is about, the living one of a number; None if the list does not show it."""
    by_id = not wish.e164
    records = [each for each in listed if (each.id == wish.request.number_id if by_id else each.e164 == wish.e164)]
    return next((record for record in records if not record.has_ended), next(iter(records), None))


def _same(listed: PhoneNumber, alone: PhoneNumber | None) -> PhoneNumber:
    """Return a number as it was read by itself; as the list shows it where that is of another one."""
    return alone if alone is not None and (alone.id, alone.e164) == (listed.id, listed.e164) else listed


def _priced(number: PhoneNumber, kept: KeptNumber | None, now: float) -> PhoneNumber:
    """Return a listed number with the price that is kept of it, as a list leaves that out."""
    price = price_of(number, kept, listed_at=now, now=now)
    return with_price(number, kept.number.setup_cents if kept else None, price)


async def _draft(account: Account, action: Action, principal: str, items: tuple[Item, ...]) -> Operation:
    whole = joined(items) if action.is_several else items[0]
    now, limits = await account.journal.now(), account.limits_of(principal)
    if limits is None and account.own_limits is not None:
        raise RefusedError(
            "The caller is not known to this service any more, nor what it may spend; nothing was charged or changed.",
            code="NOT_PERMITTED",
        )
    quote = await _with_last_refusal(account, whole.quote, now) if action.charges else whole.quote
    draft = Operation(
        id=new_operation_id(),
        account=account.id,
        principal=principal,
        action=action,
        e164=whole.e164,
        request=whole.request,
        quote=quote,
        created_at=now,
        expires_at=now + policy.waiting_seconds(account.settings, approver=False),
        limits=limits or Limits(),
        items=items if action.is_several else (),
    )
    if not policy.needs_approver(account.settings, draft):
        return draft
    until = now + policy.waiting_seconds(account.settings, approver=True)
    return replace(draft, expires_at=until, channel=Channel.APPROVER)
