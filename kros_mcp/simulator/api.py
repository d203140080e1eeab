"""The API operations: each reads the call, asks the faults, changes the account and returns the answer.

Undocumented and therefore INVENTED: malformed parameters get a 400 without a code, a purchase's stated
costs are ignored, and a release by any other `action` than `release`, or of a pending number, is refused.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kros_mcp.simulator import answers
from kros_mcp.simulator.answers import empty_with_errors, with_faults
from kros_mcp.simulator.calls import Answer, ApiCall, RefusalError, fits, read_fields, read_settings
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.records import SimNumber
from kros_mcp.simulator.sales import purchase
from kros_mcp.simulator.search import search
from kros_mcp.simulator.state import LIVING, SimulatedAccount, missing

ENDPOINTS_LIMIT = 50
_LISTS = frozenset({"list_owned", "list_endpoints"})


def perform(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    """Carry out a call and return the answer.

    Raises:
        RefusalError: KrosAI answers with an error; nothing was done.
    """
    account.catch_up()
    operation = _OPERATIONS[call.operation]
    if faults.strikes("other_organization", call.operation):
        answering = account.other or account if call.operation in _LISTS else account
        answer = operation(answering, faults, call)
        other = account.other.organization_id if account.other else account.ids.uuid()
        answer = Answer(answer.status, answers.stating_organization(answer.body, other))
    else:
        answer = operation(account, faults, call)
    return answer if account.shapes is None else account.shapes.written(call.operation, answer)


def _list_owned(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    limit, offset = account.page(call, account.profile.owned_limit)
    if faults.strikes("errors_in_list", call.operation):
        return empty_with_errors(account, "phone_numbers")
    ignored = account.shapes is not None and account.shapes.ignores(call.operation, "country")
    wanted = {} if ignored else {"country": call.query.get("country")}
    listed = [number for number in account.listed() if fits(number, wanted)]
    if account.profile.filters_by_status:
        listed = [each for each in listed if call.query.get("status") in {None, account.status_word(each)}]
    found = [answers.number_body(account, number) for number in listed]
    if 0 < offset < len(found) and faults.strikes("shifting_pages", call.operation):
        del found[offset - 1]
    if account.owned and faults.strikes("unready_record", call.operation):
        found.append(answers.unready_body(account, next(iter(account.owned.values())), account.unready_id))
    totals = {"total": len(found), "limit": limit, "offset": offset}
    page = with_faults(faults, call.operation, found[offset : offset + limit])
    return Answer(200, answers.list_body(account, "phone_numbers", page, totals), total=len(found))


def _get(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    number = account.number(call.id)
    priced = not faults.strikes("missing_prices", call.operation)
    named = account.profile.shows_endpoint_of_number and number.endpoint_id is not None
    hostile = named and faults.strikes("hostile_names", call.operation)
    body = answers.number_details(account, number, priced=priced, hostile=hostile)
    active = (each for each in account.owned.values() if each.status == "active" and each is not number)
    others = filter(account.is_shown, active)
    if (other := next(others, None)) and faults.strikes("other_record", call.operation):
        body["id"] = account.ids.shown(other.id)
    return Answer(200, with_faults(faults, call.operation, [body])[0])


def _update(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    number = account.number(call.id)
    settings = read_settings(faults, call, read_fields(call))
    account.require_endpoint(settings.get("endpoint_id"))
    account.agenda.hurry(number.id)
    if late := faults.strike("late_change", call.operation):
        account.agenda.add(late["seconds"], partial(_change_late, account, number, settings), about=number.id)
    else:
        account.change(number, settings)
    return Answer(200, answers.written_body(account, number))


def _change_late(account: SimulatedAccount, number: SimNumber, settings: Mapping[str, Any]) -> None:
    if account.owned.get(number.id) is number and number.status in LIVING:
        account.change(number, settings)


def _release(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    number = account.number(call.id)
    action = call.query.get("action")
    if action not in {None, "release"}:
        raise RefusalError(400, "action must be release")
    if number.status == "pending":
        raise RefusalError(409, "The number is not active yet")
    if word := faults.strike("ended_word", call.operation):
        account.release(number, word["status"] if number.status in LIVING else number.status)
        if account.profile.returns_to_pool:
            account.offer_again(number)
        return Answer(200, answers.number_body(account, number))
    if account.profile.returns_to_pool:
        account.delete(number)
        return Answer(200, {"success": True})
    if action is None:
        account.delete(number)
        return Answer(204)
    account.release(number)
    return Answer(200, answers.number_body(account, number))


def _list_endpoints(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    if faults.strikes("errors_in_list", call.operation):
        return empty_with_errors(account, "endpoints")
    hostile = faults.strikes("hostile_names", call.operation)
    found = [answers.endpoint_body(account, each, hostile=hostile) for each in account.endpoints.values()]
    if not account.profile.filters_endpoints:
        return Answer(200, found, total=len(found))
    limit, offset = account.page(call, ENDPOINTS_LIMIT)
    wanted = {name: call.query.get(name) for name in ("type", "status")}
    found = [each for each in found if all(value in {None, each[name]} for name, value in wanted.items())]
    totals = {"total": len(found)}
    page = found[offset : offset + limit]
    return Answer(200, answers.list_body(account, "endpoints", page, totals), total=len(found))


def _get_endpoint(account: SimulatedAccount, faults: Faults, call: ApiCall) -> Answer:
    endpoint = account.endpoint(call.id)
    if faults.strikes("no_single_endpoint", call.operation):
        raise missing()
    hostile = faults.strikes("hostile_names", call.operation)
    return Answer(200, answers.endpoint_body(account, endpoint, hostile=hostile))


_OPERATIONS: Mapping[str, Callable[[SimulatedAccount, Faults, ApiCall], Answer]] = {
    "list_owned": _list_owned,
    "search": search,
    "get": _get,
    "purchase": purchase,
    "update": _update,
    "release": _release,
    "list_endpoints": _list_endpoints,
    "get_endpoint": _get_endpoint,
}
