"""From a wish to a stored proposal: re-read, check, and write down exactly what will be shown."""

from contextlib import suppress
from dataclasses import replace

from kros_mcp.errors import InvalidArgumentError, NotFoundError, OperationError, RefusedError
from kros_mcp.krosai import CallEndpoint, PhoneNumber, Sighting, find_owned, is_pending, quoted_id
from kros_mcp.numbering import own_country
from kros_mcp.operations import policy
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.events import By
from kros_mcp.operations.model import (
    DONE_ANSWERED_SECONDS,
    OPEN,
    Action,
    Channel,
    Limits,
    Operation,
    Quote,
    Request,
    State,
    new_operation_id,
)
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.spending import read_run_rate


async def propose_purchase(desk: Desk, principal: str, request: Request, e164: str) -> Operation:
    """Propose to buy a number, or answer the operation that already stands for it.

    Args:
        desk: The account's resources.
        principal: Who asks.
        request: `inventory_id`, or `country` and `type` beside `e164`; and the settings wanted.
        e164: The number, if the purchase names it so; else empty.

    Raises:
        InvalidArgumentError: The country or the endpoint is missing or wrong.
        OperationError: `NOT_SEEN`, `ALREADY_OWNED` or `NUMBER_BUSY`.
        RefusedError: The policy forbids it.
        KrosaiError: KrosAI could not be read.
    """
    check_may_write(desk)
    seen = desk.inventory.seen(inventory_id=request.inventory_id, e164=e164)
    number = e164 or (seen.e164 if seen else "")
    identity = desk.identity(principal, Action.BUY)
    standing = await desk.journal.find(identity, e164=number, inventory_id="" if number else request.inventory_id)
    if standing is not None and await _stands(desk, standing, request):
        return standing
    country = request.country or (seen.country if seen else "")
    if not country:
        raise InvalidArgumentError(
            "This number was not seen in a search lately, so country is needed beside it, a two-letter code such as "
            "NG; nothing was charged.",
            code="NOT_SEEN",
            next_step="Give country as well; or search again and use an inventory_id from that result.",
        )
    endpoint = await require_endpoint(desk, request.endpoint_id)
    sought = Sighting(
        inventory_id=request.inventory_id,
        e164=number,
        country=country,
        type=request.type or (seen.type if seen else ""),
        area_code=seen.area_code if seen else "",
        position=seen.position if seen else None,
        price=seen.price if seen else None,
    )
    if number:
        await _require_not_owned(desk, number)
    found = await desk.inventory.find(sought)
    if found.item is None:
        raise await _not_for_sale(desk, "" if number or standing is None else standing.e164)
    item = found.item
    if not number:
        await _require_not_owned(desk, item.e164)
    quote = Quote(
        e164=item.e164,
        country=own_country(item.country, item.e164),
        environment=desk.settings.environment,
        setup_cents=item.setup_cents,
        monthly_cents=item.monthly_cents,
        due_now_cents=item.due_now_cents,
        currency=item.currency or "",
        endpoint_id=endpoint.id if endpoint else "",
        endpoint_type=_kind(endpoint),
        endpoint_trouble=_trouble(endpoint),
    )
    place = Request(
        inventory_id=item.inventory_id,
        country=country,
        type=sought.type,
        area_code=sought.area_code,
        position=found.position,
        endpoint_id=request.endpoint_id,
        allow_inbound=request.allow_inbound,
        allow_outbound=request.allow_outbound,
    )
    return await _propose(desk, await _draft(desk, principal, Action.BUY, place, quote))


async def propose_release(desk: Desk, principal: str, request: Request, e164: str) -> Operation:
    """Propose to release an owned number, or answer the operation that already stands for it.

    Args:
        desk: The account's resources.
        principal: Who asks.
        request: `number_id` (or empty beside an E.164) and `permanent`.
        e164: The number, if it is named so; else empty.

    Raises:
        OperationError: `NUMBER_NOT_OWNED`, `NUMBER_NOT_READY`, `ALREADY_RELEASED` or `NUMBER_BUSY`.
        RefusedError: The policy forbids it.
        KrosaiError: KrosAI could not be read.
    """
    check_may_write(desk)
    identity = desk.identity(principal, Action.RELEASE)
    standing = await desk.journal.find(identity, e164=e164, number_id=request.number_id)
    if standing is not None and await _stands(desk, standing, request):
        return standing
    number = await require_owned(desk, request.number_id, e164)
    if number.has_ended and not request.permanent:
        raise OperationError(
            f"{number.e164} is already released; nothing was changed.",
            code="ALREADY_RELEASED",
            next_step="Tell the person that it is released already.",
        )
    require_ready(number)
    return await _propose_for_owned(desk, principal, Action.RELEASE, request, number)


async def propose_configuration(desk: Desk, principal: str, request: Request, number: PhoneNumber) -> Operation:
    """Propose to change a protected number, or answer the operation that already stands for it.

    Args:
        desk: The account's resources.
        principal: Who asks.
        request: The settings wanted; its endpoint exists.
        number: The number as it stands now.
    """
    return await _propose_for_owned(desk, principal, Action.CONFIGURE, request, number)


def check_may_write(desk: Desk) -> None:
    """Raise if this server only reads."""
    if desk.settings.read_only:
        raise RefusedError("This server is read-only (KROS_READ_ONLY); nothing was changed.", code="READ_ONLY")


async def require_endpoint(desk: Desk, endpoint_id: str) -> CallEndpoint | None:
    """Read an endpoint that must exist; None if none is asked for.

    Raises:
        InvalidArgumentError: KrosAI has no such endpoint.
    """
    if not endpoint_id:
        return None
    with suppress(NotFoundError):
        return await desk.client.get_endpoint(endpoint_id)
    raise InvalidArgumentError(
        f"endpoint_id {endpoint_id!r} does not exist in this account.",
        code="ENDPOINT_NOT_FOUND",
        next_step="Call list_endpoints and use an id that stands there.",
    )


async def require_owned(desk: Desk, number_id: str, e164: str) -> PhoneNumber:
    """Read an owned number by its id or its E.164.

    Raises:
        OperationError: `NUMBER_NOT_OWNED`; `NUMBER_NOT_FOUND` or `NOT_LISTED_YET` where that is not certain.
    """
    reading = await find_owned(desk.client, number_id="" if e164 else number_id, e164=e164)
    if reading.number is not None:
        return reading.number
    if e164 and await _was_just_bought(desk, e164):
        raise OperationError(
            f"{e164} was bought through this server, and KrosAI does not list it yet; nothing was changed.",
            code="NOT_LISTED_YET",
            next_step="Try again in a few minutes; list_phone_numbers shows it once KrosAI does.",
        )
    if not reading.complete or reading.unreadable:
        raise OperationError(
            f"{e164 or number_id} was not found in what KrosAI shows of this account's numbers; nothing was changed.",
            code="NUMBER_NOT_FOUND",
            next_step="Give the number's id instead, as list_phone_numbers shows it.",
        )
    plus = " If it is a phone number, write it with its plus sign and country code." if number_id.isdigit() else ""
    raise OperationError(
        f"{e164 or number_id} is not among the numbers of this account; nothing was changed.{plus}",
        code="NUMBER_NOT_OWNED",
        next_step="Call list_phone_numbers and use an id or an E.164 that stands there.",
    )


async def _was_just_bought(desk: Desk, e164: str) -> bool:
    """Whether this journal has a purchase of the number that KrosAI's list may not show yet."""
    since = await desk.journal.now() - policy.LISTING_LAG_SECONDS
    return e164 in (await desk.journal.books(desk.account, "", committed_since=since)).bought


async def _propose_for_owned(
    desk: Desk, principal: str, action: Action, request: Request, number: PhoneNumber
) -> Operation:
    wanted = await require_endpoint(desk, request.endpoint_id)
    current = None
    if number.endpoint_id:
        with suppress(NotFoundError):
            current = await desk.client.get_endpoint(number.endpoint_id)
    routed_to = f"endpoint {quoted_id(number.endpoint_id)}" if number.endpoint_id else "no endpoint"
    quote = Quote(
        e164=number.e164,
        country=number.country,
        environment=desk.settings.environment,
        monthly_cents=number.monthly_cents,
        endpoint_id=request.endpoint_id,
        endpoint_type=_kind(wanted),
        endpoint_trouble=_trouble(wanted),
        routed_to=f"{routed_to} ({_kind(current)})" if _kind(current) else routed_to,
    )
    place = Request(
        number_id=number.id,
        endpoint_id=request.endpoint_id,
        allow_inbound=request.allow_inbound,
        allow_outbound=request.allow_outbound,
        permanent=request.permanent,
        status=number.status or "",
        routed_endpoint_id=number.endpoint_id or "",
    )
    return await _propose(desk, await _draft(desk, principal, action, place, quote))


async def _draft(desk: Desk, principal: str, action: Action, request: Request, quote: Quote) -> Operation:
    now, limits = await desk.journal.now(), desk.limits_of(principal)
    if limits is None and desk.own_limits is not None:
        raise RefusedError(
            "The caller is not known to this service any more, nor what it may spend; nothing was charged or changed.",
            code="NOT_PERMITTED",
        )
    draft = Operation(
        id=new_operation_id(),
        account=desk.account,
        principal=principal,
        action=action,
        e164=quote.e164,
        request=request,
        quote=quote,
        created_at=now,
        expires_at=now + policy.waiting_seconds(desk.settings, approver=False),
        limits=limits or Limits(),
    )
    if not policy.needs_approver(desk.settings, draft):
        return draft
    until = now + policy.waiting_seconds(desk.settings, approver=True)
    return replace(draft, expires_at=until, channel=Channel.APPROVER)


async def _propose(desk: Desk, draft: Operation) -> Operation:
    run_rate: RunRate | None = None
    if draft.action is Action.BUY and policy.needs_run_rate(desk.settings, draft.limits):
        run_rate = await read_run_rate(desk)
    since = (run_rate.read_at if run_rate else draft.created_at) - policy.LISTING_LAG_SECONDS
    books = await desk.journal.books(desk.account, draft.principal, committed_since=since)
    policy.check(desk.settings, draft, books, run_rate)
    return await desk.journal.propose(draft, by=By(draft.principal, "tool"))


async def _stands(desk: Desk, standing: Operation, request: Request) -> bool:
    """Tell whether an earlier operation answers this wish: it is open, or done and still visible."""
    if standing.state is State.PROPOSED:
        other_offer = request.inventory_id and request.inventory_id != standing.request.inventory_id
        return standing.request.settings == request.settings and not other_offer
    if standing.state in OPEN:
        return True
    if standing.state is not State.DONE or standing.request.settings != request.settings:
        return False
    if await desk.journal.now() - (standing.settled_at or 0) > DONE_ANSWERED_SECONDS:
        return False
    reading = await find_owned(desk.client, e164=standing.e164)
    owned = reading.living is not None
    if standing.action is Action.BUY:
        return owned or standing.look_at is not None  # KrosAI named it as bought, and may list it late
    return not owned and reading.complete


def require_ready(number: PhoneNumber) -> None:
    """Raise where a number that is to be released is still an order, which may come to nothing by itself."""
    if is_pending(number.status):
        raise OperationError(
            f"KrosAI has not finished setting up {number.e164} yet, so it cannot be released; nothing was changed.",
            code="NUMBER_NOT_READY",
            next_step="Try again once list_phone_numbers shows it as active.",
        )


def already_owned(e164: str) -> OperationError:
    """Say that the account owns a number that is asked for."""
    return OperationError(
        f"{e164} is already owned by this account; nothing was charged now.",
        code="ALREADY_OWNED",
        next_step="Use configure_phone_number to change how it is routed.",
    )


async def _require_not_owned(desk: Desk, e164: str) -> None:
    if (await find_owned(desk.client, e164=e164, readings=1)).living is not None:
        raise already_owned(e164)


async def _not_for_sale(desk: Desk, e164: str) -> OperationError:
    if e164:
        await _require_not_owned(desk, e164)
    return OperationError(
        "This number was not seen among the numbers for sale just now; nothing was charged.",
        code="NOT_SEEN",
        next_step="Search again and offer a number from the new result.",
    )


def _trouble(endpoint: CallEndpoint | None) -> str:
    """Name a status in which an endpoint takes no calls; only in words of ours."""
    status = endpoint.status if endpoint else None
    return {"error": "reports an error", "inactive": "is inactive"}.get(status or "", "")


def _kind(endpoint: CallEndpoint | None) -> str:
    kind = endpoint.type if endpoint else None
    return kind if kind and kind.replace("_", "").isalnum() and kind.isascii() else ""
