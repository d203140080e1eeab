"""What each API operation does: reads the call, asks the faults, moves the account, writes the answer.

Undocumented and therefore INVENTED: malformed parameters get a 400 without a code, a purchase's stated
costs go unheeded, and a release by any other `action` than `release` is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kros_mcp.simulator import rendering
from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.records import OwnedNumber
from kros_mcp.simulator.state import Account, RefusalError

MAX_LIMIT = 100
SEARCH_LIMIT = 20
ENDPOINTS_LIMIT = 50

_CAMEL_CASE = {
    "endpoint_id": "endpointId",
    "allow_inbound": "allowInbound",
    "allow_outbound": "allowOutbound",
}


@dataclass(frozen=True)
class Call:
    """One API request, free of HTTP: `body` is decoded JSON, or whatever text was sent instead."""

    operation: str
    id: str
    query: Mapping[str, str]
    body: object
    idempotency_key: str | None


@dataclass(frozen=True)
class Answer:
    """What KrosAI means to say; no `body` is an empty one."""

    status: int
    body: object = None


def perform(account: Account, faults: Faults, call: Call) -> Answer:
    """Do what the call asks.

    Raises:
        RefusalError: KrosAI answers with an error; nothing was done.
    """
    return _ACTS[call.operation](account, faults, call)


def _list_owned(account: Account, _faults: Faults, call: Call) -> Answer:
    limit, offset = _page(call, account.profile.owned_limit)
    wanted = {"country": call.query.get("country")}
    if account.profile.filters_by_status:
        wanted["status"] = call.query.get("status")
    found = [number for number in account.owned.values() if _fits(number, wanted)]
    page = [rendering.number_body(account, number) for number in found[offset : offset + limit]]
    totals = {"total": len(found), "limit": limit, "offset": offset}
    return Answer(200, rendering.list_body(account, "phone_numbers", page, totals))


def _search(account: Account, faults: Faults, call: Call) -> Answer:
    limit, offset = _page(call, SEARCH_LIMIT)
    if not call.query.get("country"):
        raise RefusalError(400, "country is required when action=available")
    wanted = {"country": call.query["country"], "type": call.query.get("type")}
    if account.profile.filters_by_area_code:
        wanted["area_code"] = call.query.get("area_code")
    found = [item for item in account.inventory.values() if _fits(item, wanted)]
    if moved := faults.strike("price_moves", call.operation, at="search"):
        for item in found:
            item.monthly_cost_cents += moved["cents"]
    priced = not faults.strikes("missing_prices", call.operation)
    page = [rendering.item_body(account, item, priced=priced) for item in found[offset : offset + limit]]
    return Answer(200, rendering.list_body(account, "available", page, {}))


def _get(account: Account, faults: Faults, call: Call) -> Answer:
    number = account.number(call.id)
    priced = not faults.strikes("missing_prices", call.operation)
    named = account.profile.shows_endpoint_of_number and number.endpoint_id is not None
    hostile = named and faults.strikes("hostile_names", call.operation)
    return Answer(200, rendering.number_details(account, number, priced=priced, hostile=hostile))


def _purchase(account: Account, faults: Faults, call: Call) -> Answer:
    fields = _fields(call)
    _require_selection(account, fields)
    settings = _settings(faults, call, fields)
    account.require_endpoint(settings.get("endpoint_id"))
    account.require_kyc()
    item = _selected(account, fields)
    if item is None:
        raise account.not_available()
    if faults.strikes("stolen_number", call.operation):
        del account.inventory[item.id]
        raise account.not_available()
    if moved := faults.strike("price_moves", call.operation, at="purchase"):
        item.monthly_cost_cents += moved["cents"]
    number = account.buy(item, call.idempotency_key)
    if not account.profile.takes_flags_at_purchase:
        settings = {name: value for name, value in settings.items() if name == "endpoint_id"}
    account.change(number, settings)
    return Answer(201, rendering.written_body(account, number))


def _update(account: Account, faults: Faults, call: Call) -> Answer:
    number = account.number(call.id)
    settings = _settings(faults, call, _fields(call))
    account.require_endpoint(settings.get("endpoint_id"))
    account.change(number, settings)
    return Answer(200, rendering.written_body(account, number))


def _release(account: Account, _faults: Faults, call: Call) -> Answer:
    number = account.number(call.id)
    action = call.query.get("action")
    if action not in {None, "release"}:
        raise RefusalError(400, "action must be release")
    if account.profile.returns_to_pool:
        account.delete(number)
        return Answer(200, {"success": True})
    if action is None:
        account.delete(number)
        return Answer(204)
    account.release(number)
    return Answer(200, rendering.number_body(account, number))


def _list_endpoints(account: Account, faults: Faults, call: Call) -> Answer:
    hostile = faults.strikes("hostile_names", call.operation)
    found = [rendering.endpoint_body(account, each, hostile=hostile) for each in account.endpoints.values()]
    if not account.profile.filters_endpoints:
        return Answer(200, found)
    limit, offset = _page(call, ENDPOINTS_LIMIT)
    wanted = {name: call.query.get(name) for name in ("type", "status")}
    found = [each for each in found if all(value in {None, each[name]} for name, value in wanted.items())]
    totals = {"total": len(found)}
    return Answer(200, rendering.list_body(account, "endpoints", found[offset : offset + limit], totals))


def _get_endpoint(account: Account, faults: Faults, call: Call) -> Answer:
    endpoint = account.endpoint(call.id)
    hostile = faults.strikes("hostile_names", call.operation)
    return Answer(200, rendering.endpoint_body(account, endpoint, hostile=hostile))


_ACTS: Mapping[str, Callable[[Account, Faults, Call], Answer]] = {
    "list_owned": _list_owned,
    "search": _search,
    "get": _get,
    "purchase": _purchase,
    "update": _update,
    "release": _release,
    "list_endpoints": _list_endpoints,
    "get_endpoint": _get_endpoint,
}


def _page(call: Call, default_limit: int) -> tuple[int, int]:
    try:
        limit, offset = int(call.query.get("limit", default_limit)), int(call.query.get("offset", 0))
    except ValueError:
        raise RefusalError(400, "limit and offset must be integers") from None
    if not 1 <= limit <= MAX_LIMIT or offset < 0:
        raise RefusalError(400, f"limit must be 1 to {MAX_LIMIT}, offset 0 or more")
    return limit, offset


def _fits(thing: OwnedNumber | InventoryItem, wanted: Mapping[str, str | None]) -> bool:
    return all(value in {None, getattr(thing, name)} for name, value in wanted.items())


def _fields(call: Call) -> dict[str, Any]:
    if not isinstance(call.body, dict):
        raise RefusalError(400, "The request body must be a JSON object")
    return call.body


def _require_selection(account: Account, fields: Mapping[str, Any]) -> None:
    if fields.get("inventory_id"):
        return
    if account.profile.sells_by_e164 and all(fields.get(name) for name in ("e164", "country", "type")):
        return
    raise RefusalError(400, "Required fields are missing", "MISSING_FIELDS")


def _selected(account: Account, fields: Mapping[str, Any]) -> InventoryItem | None:
    if inventory_id := fields.get("inventory_id"):
        return account.inventory.get(str(inventory_id))
    wanted = {name: str(fields[name]) for name in ("e164", "country", "type")}
    return next((item for item in account.inventory.values() if _fits(item, wanted)), None)


def _settings(faults: Faults, call: Call, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read endpoint and flags in either spelling, without those that a fault leaves unheeded."""
    snake = {name: fields[name] for name in _CAMEL_CASE if name in fields}
    camel = {name: fields[other] for name, other in _CAMEL_CASE.items() if other in fields}
    if snake and faults.strikes("ignore_snake_case", call.operation):
        snake = {}
    if camel and faults.strikes("ignore_camel_case", call.operation):
        camel = {}
    settings = camel | snake
    for name, value in settings.items():
        if not isinstance(value, str | None if name == "endpoint_id" else bool):
            raise RefusalError(400, f"{name} is malformed")
    return settings
