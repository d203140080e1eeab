"""Purchases: what is asked for, and what is sold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kros_mcp.simulator import answers
from kros_mcp.simulator.agenda import FOR_EVER, or_for_ever
from kros_mcp.simulator.calls import Answer, ApiCall, RefusalError, fits, read_fields, read_settings
from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.faults import Faults, Params
from kros_mcp.simulator.offers import Relisted
from kros_mcp.simulator.records import SimNumber
from kros_mcp.simulator.state import LIVING, SimulatedAccount


def purchase(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    """Sell what is asked for: charge it, and keep a record of it.

    Raises:
        RefusalError: KrosAI answers with an error; nothing was done.
    """
    fields = read_fields(call)
    _require_selection(account, fields)
    settings = read_settings(faults, call, fields)
    account.require_endpoint(settings.get("endpoint_id"))
    account.require_kyc()
    item = selected(account, fields)
    if item is None or not account.may_buy(item):
        raise account.not_available()
    if faults.strikes("stolen_number", call.operation):
        del account.inventory[item.id]
        raise account.not_available()
    if ended := faults.strike("ended_in_answer", call.operation, commits=False):
        return Answer(201, answers.written_body(account, account.record(item, ended["status"])))
    if moved := faults.strike("price_moves", call.operation, at="purchase"):
        item.monthly_cost_cents += moved["cents"]
    if again := account.offers.relisted.get(item.id):
        if again.charges:
            account.charge(item, call.idempotency_key)
        return Answer(201, answers.written_body(account, account.owned[again.number_id]))
    if not account.profile.takes_flags_at_purchase:
        settings = {name: value for name, value in settings.items() if name == "endpoint_id"}
    if pending := faults.strike("pending_order", call.operation):
        number = _order(account, item, call.idempotency_key, pending)
        account.change(number, settings)
        return Answer(pending["status_code"], answers.written_body(account, number))
    number = _buy(account, faults, call, item)
    account.change(number, settings)
    written = number
    if ended := faults.strike("ended_in_answer", call.operation, commits=True):
        written = replace(number, status=ended["status"])
    return Answer(201, answers.written_body(account, written))


def selected(account: SimulatedAccount, fields: Mapping[str, Any]) -> InventoryItem | None:
    """Return the item for sale that a purchase names; None if there is none."""
    if inventory_id := fields.get("inventory_id"):
        return account.offers.find(account.inventory, str(inventory_id))
    wanted = {name: str(fields.get(name)) for name in ("e164", "country", "type")}
    return next((item for item in account.inventory.values() if fits(item, wanted)), None)


def _require_selection(account: SimulatedAccount, fields: Mapping[str, Any]) -> None:
    if fields.get("inventory_id"):
        return
    if account.profile.sells_by_e164 and all(fields.get(name) for name in ("e164", "country", "type")):
        return
    raise RefusalError(400, "Required fields are missing", "MISSING_FIELDS")


def _buy(account: SimulatedAccount, faults: Faults, call: ApiCall, item: InventoryItem) -> SimNumber:
    stock = dict(account.inventory)
    number = account.buy(item, call.idempotency_key, number_id=_record_id(account, faults, call, item))
    if hidden := faults.strike("never_listed", call.operation):
        account.hidden_until[number.id] = account.now() + or_for_ever(hidden["seconds"])
    if stays := faults.strike("stays_for_sale", call.operation):
        account.inventory.clear()
        account.inventory.update(stock)
        until = account.now() + or_for_ever(stays["seconds"])
        account.offers.relisted[item.id] = Relisted(account.owned, number.id, until, charges=stays["charges"])
    return number


def _record_id(account: SimulatedAccount, faults: Faults, call: ApiCall, item: InventoryItem) -> str:
    """Return the id of the record: an old one, one of digits, or empty for a new one of the usual kind."""
    old = [each for each in account.owned.values() if each.e164 == item.e164 and each.status not in LIVING]
    if old and faults.strikes("old_id_again", call.operation):
        return old[-1].id
    if digits := faults.strike("digit_ids", call.operation):
        return account.ids.digits(integer=digits["integers"])
    return ""


def _order(account: SimulatedAccount, item: InventoryItem, key: str | None, pending: Params) -> SimNumber:
    """Take an item off sale for a pending record, which is charged when it becomes active."""
    account.require_credit(item.due_now_cents)
    sold = account.inventory.pop(item.id)
    number = account.own(item, "pending")
    never = pending["ends"] == "never"
    if not pending["listed"]:
        account.hidden_until[number.id] = FOR_EVER if never else account.now() + pending["seconds"]

    def end() -> None:
        number.status, number.updated_at = pending["ends"], account.timestamp()
        if number.status == "active" and account.balance_cents >= item.due_now_cents:
            account.charge(item, key)
            return
        if number.status == "active":
            number.status = "failed"
        account.inventory[item.id] = sold
        if not pending["listed"]:
            del account.owned[number.id]

    if not never:
        account.agenda.add(pending["seconds"], end)
    return number
