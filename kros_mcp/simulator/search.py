"""Searches: which numbers are for sale, under which ids and at which prices they are shown."""

from collections.abc import Mapping, Sequence

from kros_mcp.simulator import answers
from kros_mcp.simulator.agenda import or_for_ever
from kros_mcp.simulator.answers import Json, empty_with_errors, with_faults
from kros_mcp.simulator.calls import Answer, ApiCall, RefusalError, fits
from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.offers import Relisted
from kros_mcp.simulator.records import SimNumber
from kros_mcp.simulator.state import LIVING, SimulatedAccount, missing, written_time

SEARCH_LIMIT = 20
_OLD = ("released", "deleted", "cancelled", "ported_out", "failed", "expired")
_YEAR_SECONDS = 365 * 86_400


def search(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    """List numbers for sale.

    Raises:
        RefusalError: KrosAI answers with an error.
    """
    limit, offset = account.page(call, SEARCH_LIMIT)
    if not call.query.get("country"):
        raise RefusalError(400, "country is required when action=available")
    if faults.strikes("not_served", call.operation):
        raise missing()
    if faults.strikes("errors_in_list", call.operation):
        return empty_with_errors(account, "available")
    wanted = {"country": call.query["country"], "type": call.query.get("type")}
    if account.shapes is not None and account.shapes.ignores(call.operation, "type"):
        del wanted["type"]
    if account.profile.filters_by_area_code:
        wanted["area_code"] = call.query.get("area_code")
    items = _relisting(account, faults, call, wanted, offset)
    if moved := faults.strike("price_moves", call.operation, at="search"):
        for item in items:
            item.monthly_cost_cents += moved["cents"]
    shown = list(account.offers.shown(items))
    page = shown[offset : offset + limit]
    single = [item for item in page if not account.offers.is_offered_twice(item)]
    if single and (twice := faults.strike("twice_for_sale", call.operation)):
        for item in single[: twice["numbers"]]:
            account.offers.offer_twice(item, account.ids.make("inv"), twice["cents"])
        page = list(account.offers.shown(items))[offset : offset + limit]
    _leave_old_records(account, faults, call, page)
    body = answers.list_body(account, "available", _bodies(account, faults, call, page), {})
    return Answer(200, body, total=len(shown))


def _relisting(
    account: SimulatedAccount, faults: Faults, call: ApiCall, wanted: Mapping[str, str | None], offset: int
) -> list[InventoryItem]:
    """Return the items that fit, after a fault has offered owned numbers at the position where this search begins."""
    items = [item for item in account.inventory.values() if fits(item, wanted) and account.may_buy(item)]
    relisted = {each.number_id for each in account.offers.relisted.values()}
    owned = [each for each in account.listed() if each.status == "active" and fits(each, wanted)]
    owned = [each for each in owned if each.id not in relisted]
    if not owned or not (struck := faults.strike("owned_for_sale", call.operation)):
        return items
    stock = list(account.inventory.values())
    place = stock.index(items[offset]) if offset < len(items) else len(stock)
    for number in owned[: struck["numbers"]]:
        item = account.offer_again(number)
        until = account.now() + or_for_ever(struck["seconds"])
        account.offers.relisted[item.id] = Relisted(account.owned, number.id, until, charges=struck["charges"])
        stock.insert(place, item)
    account.inventory.clear()
    account.inventory.update({item.id: item for item in stock})
    return [item for item in stock if fits(item, wanted) and account.may_buy(item)]


def _leave_old_records(account: SimulatedAccount, faults: Faults, call: ApiCall, page: Sequence[InventoryItem]) -> None:
    known = {number.e164 for number in account.owned.values()}
    shown = {item.e164: item for item in page if item.e164 not in known}
    new = {e164: item for e164, item in shown.items() if e164 not in account.offers.seen}
    for wanted, only_new in ((shown, False), (new, True)):
        if wanted and (struck := faults.strike("old_records", call.operation, only_new=only_new)):
            for item in tuple(wanted.values())[: struck["numbers"]]:
                ended = sum(number.status not in LIVING for number in account.owned.values())
                leave_record(account, item, struck["status"] or _OLD[ended % len(_OLD)])
    account.offers.seen.update(shown)


def leave_record(account: SimulatedAccount, item: InventoryItem, status: str) -> SimNumber:
    """Keep an ended record, a year old, of a number that is for sale."""
    number = account.own(item, status)
    number.created_at = number.updated_at = written_time(account.now() - _YEAR_SECONDS)
    return number


def _bodies(account: SimulatedAccount, faults: Faults, call: ApiCall, page: Sequence[InventoryItem]) -> list[Json]:
    """Return a page as it is shown, with the ids and prices that faults give it."""
    bodies = [answers.item_body(account, item) for item in page]
    if digits := faults.strike("digit_ids", call.operation):
        for item, body in zip(page, bodies, strict=True):
            alias = account.offers.digits.get(item.id) or account.ids.digits(integer=digits["integers"])
            account.offers.digits[item.id] = account.offers.alias(item.id, alias)
            body["id"] = account.ids.shown(alias)
    if faults.strikes("changing_ids", call.operation):
        for item, body in zip(page, bodies, strict=True):
            body["id"] = account.offers.alias(item.id, account.ids.make("inv"))
    if faults.strikes("missing_prices", call.operation):
        bodies = [_without_prices(body) for body in bodies]
    if total := faults.strike("total_only", call.operation):
        bodies = [_without_prices(body) | {"total_cost_cents": total["cents"]} for body in bodies]
    return with_faults(faults, call.operation, bodies)


def _without_prices(body: Json) -> Json:
    return {name: value for name, value in body.items() if name not in answers.PRICES}
