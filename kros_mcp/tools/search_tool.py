"""The tool that searches numbers for sale."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from mcp.types import CallToolResult

from kros_mcp import numbering
from kros_mcp.cities import city_of
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.krosai import CheapestFirst, Market, NumberForSale, within
from kros_mcp.money import label_of
from kros_mcp.operations import policy
from kros_mcp.operations.model import Limits
from kros_mcp.tools import offers_text, results
from kros_mcp.tools.call import ToolContext, current_call, principal, runtime
from kros_mcp.tools.offers_text import Looked
from kros_mcp.tools.parameters import (
    AnyNumberType,
    AreaCode,
    Contains,
    CountryOrAll,
    Limit10,
    MostMonthly,
    PlaceInSearch,
)

_FOR_READING = 0.95
"""The part of a call's time in which KrosAI is read."""
_MOST_COUNTRIES = 12
_MOST_AREAS = 50


async def search_phone_numbers(
    ctx: ToolContext,
    country: CountryOrAll = "",
    type: AnyNumberType = "",  # noqa: A002 - KrosAI's own name
    area_code: AreaCode = "",
    contains: Contains = "",
    max_monthly_cents: MostMonthly = 0,
    limit: Limit10 = 10,
    offset: PlaceInSearch = 0,
) -> Annotated[CallToolResult, results.AvailableNumbers]:
    """Search numbers for sale, cheapest first. Costs nothing."""
    part = numbering.parse_contains(contains)
    looked = Looked(country, type, area_code, part, max_monthly_cents)
    with within(current_call.get().seconds_left):
        if country:
            return await _search_one(ctx, looked, limit, offset)
        if area_code or part:
            raise InvalidArgumentError(
                "Numbers can be searched by area code or by digits in one country alone; nothing was charged.",
                next_step="Give country as well; or search without all three, to see what is on sale where.",
            )
        return await _search_all(ctx, looked)


async def _search_one(ctx: ToolContext, looked: Looked, limit: int, offset: int) -> CallToolResult:
    """Search in one country."""
    account = runtime(ctx).account
    unpriced: set[str] = set()

    def fits(item: NumberForSale) -> bool:
        if looked.part is not None and not looked.part.is_in(item.e164):
            return False
        if looked.most_monthly_cents and item.monthly_cents is None:
            unpriced.add(item.inventory_id)
        return not looked.most_monthly_cents or looked.affords(item.monthly_cents)

    page = await account.inventory.cheapest(
        country=looked.country,
        type=looked.type,
        area_code=looked.area_code,
        fits=fits if looked.chooses else None,
        limit=limit,
        offset=offset,
        seconds=current_call.get().seconds_left * _FOR_READING,
    )
    summary = offers_text.first_sentences(
        looked,
        page,
        account.settings.currency,
        allowed=_is_allowed(ctx, looked.country),
        elsewhere=[] if page.fitting else _on_sale(account.inventory.markets.known(looked.type), looked),
    )
    result = results.AvailableNumbers(
        summary=summary,
        numbers=[results.available(number) for number in page.items],
        total=_total(page, looked),
        next_offset=page.next_offset,
        read=page.received,
        complete=page.complete,
        area_codes=_areas(page.fitting, looked.country),
        countries=[],
    )
    return results.answer(
        result, offers_text.page_text(result, page, looked, account.settings.currency, unpriced=len(unpriced))
    )


async def _search_all(ctx: ToolContext, looked: Looked) -> CallToolResult:
    """Tell what is for sale in the countries that KrosAI names, and in those where the caller may buy."""
    account = runtime(ctx).account
    allowed = _allowed(ctx)
    countries = numbering.SERVED if allowed is None else allowed
    countries = tuple(sorted(countries, key=lambda country: country not in numbering.SERVED))[:_MOST_COUNTRIES]
    seconds = current_call.get().seconds_left * _FOR_READING
    markets = await account.inventory.markets.look(countries, looked.type, seconds=seconds) if countries else {}
    shown = sorted(
        (_country(country, market) for country, market in markets.items()),
        key=lambda one: (one.monthly_cents is None, one.monthly_cents or 0, one.setup_cents or 0),
    )
    others = [country for country in numbering.SERVED if allowed is not None and country not in allowed]
    labels = {country: _label(market, account.settings.currency) for country, market in markets.items()}
    result = results.AvailableNumbers(
        summary=offers_text.countries_sentences(looked, shown, labels),
        numbers=[],
        total=None,
        next_offset=None,
        read=sum(one.read or 0 for one in shown),
        complete=bool(shown) and all(one.complete for one in shown),
        area_codes=[],
        countries=shown + [_country(country, None, allowed=False) for country in others],
    )
    return results.answer(
        result, offers_text.countries_text(result, labels, left_out=len(allowed or ()) - len(countries))
    )


def _allowed(ctx: ToolContext) -> tuple[str, ...] | None:
    """Return where the caller may buy; None for anywhere."""
    account = runtime(ctx).account
    return policy.allowed_countries(account.settings, account.limits_of(principal(ctx)) or Limits())


def _is_allowed(ctx: ToolContext, country: str) -> bool:
    allowed = _allowed(ctx)
    return allowed is None or country in allowed


def _on_sale(markets: Iterable[Market], looked: Looked) -> list[str]:
    return [market.country for market in markets if market.read and market.country != looked.country]


def _total(page: CheapestFirst, looked: Looked) -> int | None:
    """Return how many numbers are for sale that fit; None where that is not known."""
    if page.complete:
        return len(page.fitting)
    return None if looked.chooses else page.total


def _areas(numbers: Iterable[NumberForSale], country: str) -> list[results.AreaOnSale]:
    """Count the area codes that numbers state, most first; a city is named where the number has that code, too."""
    cities: dict[str, str | None] = {}
    counts: Counter[str] = Counter()
    for number in numbers:
        if number.area_code is not None:
            counts[number.area_code] += 1
            if number.area_code not in cities:
                agrees = numbering.matches_area_code(number.e164, country, number.area_code)
                cities[number.area_code] = city_of(number.e164) if agrees else None
    return [
        results.AreaOnSale(area_code=code, city=cities[code], count=count)
        for code, count in counts.most_common(_MOST_AREAS)
    ]


def _label(market: Market | None, currency: str) -> str:
    stated = market.cheapest.currency if market is not None and market.cheapest is not None else None
    return label_of(stated or "", currency)


def _country(country: str, market: Market | None, *, allowed: bool = True) -> results.CountryOnSale:
    cheapest = market.cheapest if market else None
    return results.CountryOnSale(
        country=country,
        name=numbering.country_name(country),
        allowed=allowed,
        types=list(market.types) if market else None,
        monthly_cents=cheapest.monthly_cents if cheapest else None,
        setup_cents=cheapest.setup_cents if cheapest else None,
        read=market.read if market else None,
        total=market.total if market else None,
        complete=market.complete if market else False,
    )
