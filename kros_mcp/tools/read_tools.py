"""Tools that only read."""

from typing import Annotated

from mcp.types import CallToolResult

from kros_mcp.krosai import within
from kros_mcp.money import label_of
from kros_mcp.numbering import parse_contains
from kros_mcp.operations import dangling, owned_page, policy, pruning, status, wording
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import Limits, State
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.run_rate import with_purchases
from kros_mcp.times import utc
from kros_mcp.tools import outcomes, own_acts, owned_results, owned_texts, results, spending
from kros_mcp.tools.call import (
    ToolContext,
    batch_of,
    current_call,
    journal_time,
    own_operation,
    principal,
    runtime,
    ways_of,
)
from kros_mcp.tools.parameters import (
    Contains,
    Country,
    Limit20,
    Offset,
    OperationId,
    RouteFilter,
    Since,
    SoughtNumber,
    States,
    Status,
    begins,
)

_STILL_SENDING_SECONDS = 1.0
_RATE_OLDEST_SECONDS = 10.0
_ONLY_READS = "Nothing can be bought, changed or released: this server only reads."
_FOR_LIST = 0.8
"""The part of a call's time in which the list of owned numbers is read, if it was not within the last minute."""
_FOR_PRICES = 0.4
"""The part of what is left of a call's time in which prices, and then endpoints, are read."""


async def list_phone_numbers(
    ctx: ToolContext,
    status: Status = "",
    country: Country = "",
    contains: Contains = "",
    endpoint_id: RouteFilter = "",
    limit: Limit20 = 20,
    offset: Offset = 0,
) -> Annotated[CallToolResult, results.OwnedNumbers]:
    """List the account's phone numbers."""
    account, call = runtime(ctx).account, current_call.get()
    with within(call.seconds_left):
        view = await owned_page.look(account)
        filtered = bool(country or contains or endpoint_id) or status not in {"", owned_page.ANY}
        owned, listed_at = await view.listed(seconds=call.seconds_left * _FOR_LIST, shown=None if filtered else offset)
        wanted = owned_page.Wanted(status, country, parse_contains(contains))
        wanted = await owned_page.going_to(account, wanted, endpoint_id, owned, seconds=call.seconds_left * _FOR_PRICES)
        selected = await view.select(owned, listed_at, wanted, limit=limit, offset=offset)
        priced = await view.priced(selected, seconds=call.seconds_left * _FOR_PRICES)
    ids = dangling.routed(selected.page).keys() | (wanted.endpoint_ids or frozenset())
    endpoints = await account.endpoints.seen(
        account.client,
        ids,
        seconds=call.seconds_left * _FOR_PRICES,
        working_seconds=dangling.IN_LISTS_SECONDS,
    )
    page, asked = owned_results.page(account, wanted, selected, priced, endpoints)
    return results.answer(page, owned_texts.listed(page, asked))


async def get_phone_number(
    ctx: ToolContext, number_id: SoughtNumber
) -> Annotated[CallToolResult, results.NumberDetails]:
    """Show one owned number: routing, status, monthly price. SIP secrets are never included."""
    account, call = runtime(ctx).account, current_call.get()
    with within(call.seconds_left):
        view = await owned_page.look(account)
        number, taken = await owned_page.find(account, view, number_id, seconds=call.seconds_left)
    ids = dangling.routed([number]).keys()
    endpoints = await account.endpoints.seen(account.client, ids, seconds=call.seconds_left * _FOR_PRICES)
    label = label_of(number.currency or "", account.settings.currency)
    result = owned_results.details(number, endpoints, label, read_at=view.now, taken=taken)
    return results.answer(result, owned_texts.details(result))


async def list_endpoints(
    ctx: ToolContext, limit: Limit20 = 20, offset: Offset = 0
) -> Annotated[CallToolResult, results.Endpoints]:
    """List where calls can be routed, to find the endpoint_id of, say, the support agent."""
    with within(current_call.get().seconds_left):
        page = await runtime(ctx).account.client.list_endpoints(limit=limit, offset=offset)
    # The reference documents no paging for endpoints: a list longer than asked for is the whole of it.
    items = page.items[:limit] if page.received <= limit else page.items[offset : offset + limit]
    total = page.received if page.received > limit else page.total
    following = offset + len(items)
    more = following < total if total is not None else page.received >= limit
    endpoints = [
        results.Endpoint(endpoint_id=item.id, name=item.name, type=item.type, status=item.status) for item in items
    ]
    result = results.Endpoints(
        summary=owned_texts.endpoints_summary(endpoints, total, offset),
        endpoints=endpoints,
        total=total,
        next_offset=following if more and items else None,
    )
    return results.answer(result, owned_texts.endpoints_listed(result))


async def get_spending(ctx: ToolContext) -> Annotated[CallToolResult, results.Spending]:
    """Show spending limits (for one number, for 24 hours), what was spent and is being asked, the monthly cost."""
    here, account = runtime(ctx), runtime(ctx).account
    settings, journal = account.settings, runtime(ctx).account.journal
    read = await here.rates.now(seconds=current_call.get().seconds_left, oldest_seconds=_RATE_OLDEST_SECONDS)
    rate = read or RunRate(prices=(), complete=False, read_at=await journal.now())
    books = await journal.books(account.id, principal(ctx), committed_since=rate.read_at)
    rate = with_purchases(rate, books, principal(ctx))
    asked = sum(policy.counted_cents(settings, cents) for cents in await journal.asked(account.id))
    unknown = await journal.totals(Filter(account=account.id, states=(State.UNKNOWN,)))
    unknown_operations = sum(each.count for each in unknown)
    counted = spending.unknown(unknown_operations, sum(each.count for each in unknown if each.action.charges))
    limits = account.limits_of(principal(ctx)) or Limits()
    mode = account.confirmation_for(principal(ctx))
    way = ways_of(ctx).expected(mode)
    room = max(0, settings.daily_budget_cents - books.spent_cents)
    remaining = room - asked
    if limits.daily_budget_cents is not None:
        own_room = max(0, limits.daily_budget_cents - books.own_spent_cents)
        own = await journal.asked(account.id, principal(ctx))
        remaining = min(remaining, own_room - sum(policy.counted_cents(settings, cents) for cents in own))
        room = min(room, own_room)
    most = _least(settings.max_purchase_cents, limits.max_purchase_cents)
    is_read = bool(rate.prices) or rate.complete
    return results.answer(
        results.Spending(
            summary=f"{spending.spent(books, limits, settings, room, remaining)}{counted} "
            f"{spending.monthly(rate, settings)}{'' if settings.read_only else spending.at_most(most)}"
            f"{spending.requests(account.client.tally)} "
            f"{_ONLY_READS if settings.read_only else wording.where_agreed(way, takes_codes=mode.takes_codes)}",
            environment=settings.environment,
            currency=settings.currency or "account currency",
            read_only=settings.read_only,
            max_purchase_cents=most,
            daily_budget_cents=settings.daily_budget_cents,
            spent_24h_cents=books.spent_cents,
            daily_room_cents=room,
            asked_cents=asked,
            unknown_operations=unknown_operations,
            monthly_commitment_cents=settings.monthly_commitment_cents,
            monthly_run_rate_cents=rate.capped_cents(settings) if spending.is_known(rate) else None,
            unpriced_numbers=rate.unpriced if is_read else None,
            run_rate_complete=rate.complete,
            prices_as_of=_utc(rate.prices_as_of),
            allowed_countries=_countries(settings.allowed_countries, limits.allowed_countries),
            confirmation=mode,
            confirmation_way=way,
            approval_above_cents=policy.approval_above_cents(settings, limits),
            own=results.OwnSpending(
                daily_budget_cents=limits.daily_budget_cents,
                spent_24h_cents=books.own_spent_cents,
                monthly_commitment_cents=limits.monthly_commitment_cents,
                monthly_run_rate_cents=rate.of(principal(ctx)).capped_cents(settings) if is_read else None,
            )
            if limits != Limits()
            else None,
        )
    )


async def list_operations(
    ctx: ToolContext, state: States = "", since: Since = "", limit: Limit20 = 20, offset: Offset = 0
) -> Annotated[CallToolResult, results.Operations]:
    """List your own acts, newest first: cost, outcome, who said yes."""
    account = runtime(ctx).account
    now = await account.journal.now()
    first = begins(since, now)
    states, asked = status.read(state.split(",")) if state else ((), frozenset[status.Asked]())
    wanted = Filter(account=account.id, principal=principal(ctx), states=states, since=first, asked=asked)
    totals = await account.journal.totals(wanted)
    page = await account.journal.list_operations(wanted, limit=limit, offset=offset)
    pruned = pruning.deleted_before(await account.journal.prunings(), account.id, since=first)
    currency = account.settings.currency
    told = own_acts.told(totals, page, first=first, word=since, offset=offset, currency=currency, pruned_before=pruned)
    return results.answer(told, own_acts.text(told, page, now, currency))


async def get_operation(ctx: ToolContext, operation_id: OperationId) -> Annotated[CallToolResult, results.Acted]:
    """Tell how an earlier buy, release or protected change ended; asks KrosAI if it was unknown."""
    here = runtime(ctx)
    operation = await own_operation(ctx, operation_id)
    call = current_call.get()
    if operation.state is State.SENDING or here.runner.is_under_way(operation.id):
        seconds = min(call.seconds_left, _STILL_SENDING_SECONDS)
        operation = await here.runner.wait(operation.id, seconds, known=operation)
    operation = await here.runner.ask(operation, within_seconds=call.seconds_left)
    batch = await batch_of(here, operation)
    return results.answer(outcomes.acted(operation, here.settings, batch, now=await journal_time(ctx)))


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else utc(seconds)


def _least(everybodys: int, own: int | None) -> int:
    return everybodys if own is None else min(everybodys, own)


def _countries(everybodys: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
    """Name where the caller may buy: where everybody may, and by its own limits too."""
    if not everybodys or not own:
        return list(everybodys or own) or ["any"]
    return [country for country in everybodys if country in own] or ["none"]


def _count(number: int, noun: str) -> str:
    return f"{number or 'No'} {noun}{'' if number == 1 else 's'}"
