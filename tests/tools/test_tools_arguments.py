"""Bad arguments get a sentence that names the argument and what is allowed, and reach nobody."""

from typing import Any

import pytest
from mcp.types import InputRequiredResult

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator
from tests.support.person import Person, accept
from tests.support.talk import open_talk, told
from tests.support.upstream import item_of, state_of, wrote

pytestmark = pytest.mark.anyio

BUY = {"e164": "+2342015550100", "country": "NG", "type": "local"}
BAD: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("search_phone_numbers", {"country": "XX"}, ("country", "two-letter")),
    ("search_phone_numbers", {"country": "Congo"}, ("country", "name of one country")),
    ("search_phone_numbers", {"area_code": "201"}, ("area code", "in one country")),
    ("search_phone_numbers", {"contains": "777"}, ("digits", "in one country")),
    ("search_phone_numbers", {"country": "NG", "contains": "LAGOS"}, ("contains", "digits of a number", "*7957")),
    ("search_phone_numbers", {"country": "NG", "contains": "08*77"}, ("contains", "digits of a number")),
    ("search_phone_numbers", {"country": "NG", "max_monthly_cents": -1}, ("max_monthly_cents", "whole number")),
    ("search_phone_numbers", {"country": "NG", "max_monthly_cents": "cheap"}, ("max_monthly_cents", "whole number")),
    ("search_phone_numbers", {"country": 7}, ("country", "two-letter")),
    ("search_phone_numbers", {"country": True}, ("country", "text")),
    ("search_phone_numbers", {"country": ["NG"]}, ("country", "text")),
    ("search_phone_numbers", {"country": "NG", "type": "satellite"}, ("type", "local, mobile, toll_free")),
    ("search_phone_numbers", {"country": "NG", "area_code": "lagos"}, ("area_code", "201")),
    ("search_phone_numbers", {"country": "NG", "limit": 0}, ("limit", "1 to 100")),
    ("search_phone_numbers", {"country": "NG", "limit": 1_000}, ("limit", "1 to 100")),
    ("search_phone_numbers", {"country": "NG", "limit": "abc"}, ("limit", "1 to 100")),
    ("search_phone_numbers", {"country": "NG", "limit": 1.5}, ("limit", "1 to 100")),
    ("search_phone_numbers", {"country": "NG", "offset": -1}, ("offset", "0 to 1,000,000")),
    ("search_phone_numbers", {"country": "NG", "limits": 3}, ("'limits'", "limit, offset")),
    ("list_phone_numbers", {"limit": 0}, ("limit", "1 to 100")),
    ("list_phone_numbers", {"status": "is it on?"}, ("status", "active")),
    ("list_endpoints", {"limit": 101}, ("limit", "1 to 100")),
    ("get_phone_number", {"number_id": "+0123"}, ("number_id", "E.164")),
    ("get_phone_number", {"number_id": "2348035550000"}, ("containing 2348035550000", "No number")),
    ("release_phone_number", {"number_id": "2348035550199"}, ("2348035550199", "not among", "plus sign")),
    ("release_phone_number", {"number_id": "08035550199"}, ("08035550199", "not among", "plus sign")),
    ("get_phone_number", {"number_id": "two words"}, ("number_id", "earlier result")),
    ("get_phone_number", {}, ("number_id is required",)),
    ("get_spending", {"currency": "USD"}, ("'currency'", "none")),
    ("buy_phone_number", {**BUY, "e164": "2342015550100"}, ("e164", "plus sign")),
    ("buy_phone_number", {**BUY, "e164": "+234"}, ("e164", "7 to 15 digits")),
    ("buy_phone_number", {**BUY, "e164": "+44 (0) 20 7946 0958"}, ("e164", "E.164")),
    ("buy_phone_number", {**BUY, "inventory_id": "inv_1"}, ("inventory_id", "e164", "not both")),
    ("buy_phone_number", {}, ("inventory_id", "e164", "country", "type")),
    ("buy_phone_number", {"country": "NG", "type": "local"}, ("inventory_id", "e164")),
    ("buy_phone_number", {**BUY, "type": ""}, ("type",)),
    ("buy_phone_number", {**BUY, "country": ""}, ("country", "NG")),
    ("buy_phone_number", {"inventory_id": "inv_never_seen"}, ("country",)),
    ("buy_phone_number", {**BUY, "allow_inbound": "perhaps"}, ("allow_inbound", "true or false")),
    ("buy_phone_number", {**BUY, "endpoint_id": "ep_none"}, ("endpoint_id", "does not exist")),
    ("buy_phone_number", {**BUY, "endpoint_id": "../endpoints"}, ("endpoint_id", "does not exist")),
    ("buy_phone_number", {**BUY, "endpoint_id": "Support agents"}, ("endpoint_id", "does not exist")),
    ("buy_phone_number", {**BUY, "confirm": True}, ("'confirm'", "confirmation_code")),
    ("buy_phone_number", {**BUY, "found": {}, "answer": {}}, ("'found'", "'answer'")),
    ("buy_phone_number", {**BUY, "decision": "buy"}, ("'decision'",)),
    ("buy_phone_number", {**BUY, "confirmation_code": ["x"]}, ("confirmation_code", "text")),
    ("buy_phone_number", {**BUY, "confirmation_code": "0000-0000"}, ("confirmation code",)),
    ("configure_phone_number", {"number_id": "+2348035550199"}, ("endpoint_id", "allow_inbound")),
    (
        "configure_phone_number",
        {"number_id": "+2348035550199", "endpoint_id": "ep_none"},
        ("endpoint_id", "does not exist"),
    ),
    ("configure_phone_number", {"number_id": "+2348035550199", "allow_inbound": "maybe"}, ("keep, on, off",)),
    ("configure_phone_number", {"allow_inbound": "on"}, ("number_id is required",)),
    ("release_phone_number", {}, ("number_id is required",)),
    ("release_phone_number", {"number_id": None}, ("number_id is required",)),
    ("release_phone_number", {"number_id": "+2348035550199", "permanent": "rather"}, ("permanent", "true or false")),
    ("release_phone_number", {"number_id": "+2348035550199", "permanent": True}, ("KROS_ALLOW_PERMANENT_DELETE",)),
    ("release_phone_number", {"number_id": "+2348035550000"}, ("+2348035550000", "not among")),
    ("release_phone_number", {"number_id": "pn_none"}, ("pn_none", "not among")),
    ("get_operation", {}, ("operation_id is required",)),
    ("get_operation", {"operation_id": "op_none"}, ("'op_none'",)),
    ("cancel_operation", {"operation_id": "op_none"}, ("'op_none'",)),
    ("buy_everything", {}, ("'buy_everything'",)),
]


@pytest.mark.parametrize(("tool", "arguments", "named"), BAD)
async def test_a_bad_argument_is_named_and_reaches_nobody(
    reference: Simulator, journal: Journal, tool: str, arguments: dict[str, Any], named: tuple[str, ...]
) -> None:
    async with open_talk(reference, journal=journal) as talk:
        result = await talk.call(tool, **arguments)
    assert result.failed
    for words in named:
        assert words in f"{result['message']} {result['next_step']}"
    assert (result["charged"], result["changed"], result["operation_id"]) == ("no", "no", None)
    assert result["next_step"]
    assert "pydantic" not in result.text
    assert "Error executing" not in result.text
    assert "\n\n" not in result.text
    assert await journal.list_operations() == ()
    assert wrote(reference) == []


EMPTY_ARGUMENTS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("list_phone_numbers", {}, ("status", "country", "limit", "offset")),
    (
        "search_phone_numbers",
        {"country": "NG"},
        ("type", "area_code", "contains", "max_monthly_cents", "limit", "offset"),
    ),
    ("list_endpoints", {}, ("limit", "offset")),
    ("buy_phone_number", BUY, ("inventory_id", "endpoint_id", "allow_inbound", "allow_outbound", "confirmation_code")),
    ("release_phone_number", {"number_id": "+2348035550199"}, ("permanent", "confirmation_code")),
    (
        "configure_phone_number",
        {"number_id": "+2348035550199", "allow_inbound": "on"},
        ("endpoint_id", "allow_outbound", "confirmation_code"),
    ),
]


@pytest.mark.parametrize(("tool", "given", "left_out"), EMPTY_ARGUMENTS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
async def test_null_and_empty_mean_not_given(
    reference: Simulator, era: str, nothing: object, tool: str, given: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    async with open_talk(reference, era) as talk:
        plain = await talk.call(tool, **given)
        filled = await talk.call(tool, **given, **dict.fromkeys(left_out, nothing))
    assert not plain.failed
    assert filled.data == plain.data


async def test_numbers_and_booleans_may_come_as_text(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        found = await talk.call("search_phone_numbers", country="ng", limit="3", offset="2", type="Toll-Free")
        assert len(found["numbers"]) == 3
        assert found["next_offset"] == 5
        area = await talk.call("search_phone_numbers", country="NG", area_code=201, limit=1)
        assert area["numbers"][0]["area_code"] == "201"
        anything = await talk.call("search_phone_numbers", country="NG", type="any", max_monthly_cents="800", limit=1)
        assert len(anything["numbers"]) == 1
        assert (await talk.call("list_operations", state="any"))["total"] == 0
        asked = await talk.buy(item, allow_inbound="false", allow_outbound="true")
        done = await talk.buy(
            item, allow_inbound=False, allow_outbound=True, confirmation_code=asked["confirmation_code"]
        )
    assert (done["number"]["allow_inbound"], done["number"]["allow_outbound"]) == (False, True)


async def test_an_amount_with_a_decimal_point_is_not_taken_for_cents(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        told = await talk.call("search_phone_numbers", country="NG", max_monthly_cents="8.00")
    assert told["summary"] == "max_monthly_cents is not usable: must be whole cents, as in 1000 for 10.00."


async def test_a_number_may_be_written_with_blanks_and_dashes(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        shown = await talk.call("get_phone_number", number_id="+234 803-555 (0199)")
    assert shown["e164"] == "+2348035550199"


async def test_reading_changes_nothing(sim: Simulator, era: str) -> None:
    before = state_of(sim)
    async with open_talk(sim, era) as talk:
        listed = await talk.call("list_phone_numbers")
        for number in listed["numbers"]:
            for name in (number["number_id"], number["e164"]):
                shown = await talk.call("get_phone_number", number_id=name)
                assert shown["e164"] == number["e164"]
        await talk.call("search_phone_numbers", country="KE")
        await talk.call("list_endpoints")
        await talk.call("get_spending")
    assert state_of(sim) == before
    assert wrote(sim) == []


async def test_a_number_that_another_server_found_is_bought_once_its_country_is_given(
    reference: Simulator, era: str
) -> None:
    async with open_talk(reference, era) as talk:
        found = (await talk.call("search_phone_numbers", country="NG", limit=1))["numbers"][0]
    async with open_talk(reference, era) as talk:  # as for a client that starts a server for each call
        refused = await talk.call("buy_phone_number", inventory_id=found["inventory_id"])
        assert (refused["code"], refused["charged"]) == ("NOT_SEEN", "no")
        assert refused["next_step"].startswith("Give country as well")
        asked = await talk.call("buy_phone_number", inventory_id=found["inventory_id"], country="NG")
        assert (asked["status"], asked["quote"]["e164"]) == ("confirmation_required", found["e164"])


NOT_GIVEN: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("list_phone_numbers", {}, ("status", "country", "limit", "offset")),
    (
        "search_phone_numbers",
        {"country": "NG"},
        ("type", "area_code", "contains", "max_monthly_cents", "limit", "offset"),
    ),
    ("list_endpoints", {}, ("limit", "offset")),
    (
        "buy_phone_number",
        BUY,
        ("inventory_id", "endpoint_id", "allow_inbound", "allow_outbound", "confirmation_code"),
    ),
    (
        "configure_phone_number",
        {"number_id": "+2348035550199", "allow_inbound": "on"},
        ("endpoint_id", "allow_outbound"),
    ),
]


@pytest.mark.parametrize("word", [None, "", " ", "null", "None", "NULL"])
@pytest.mark.parametrize(("tool", "arguments", "left_out"), NOT_GIVEN, ids=[tool for tool, *_ in NOT_GIVEN])
async def test_null_and_the_words_for_it_are_as_if_not_given(
    reference: Simulator, tool: str, arguments: dict[str, Any], left_out: tuple[str, ...], word: str | None
) -> None:
    async with open_talk(reference) as talk:
        without = await talk.call(tool, **arguments)
        with_words = await talk.call(tool, **arguments, **dict.fromkeys(left_out, word))
    assert not without.failed
    assert with_words.data == without.data


async def test_what_is_required_is_not_given_by_the_word_null(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        for tool, name in (
            ("get_phone_number", "number_id"),
            ("get_operation", "operation_id"),
        ):
            refused = await talk.call(tool, **{name: "null"})
            assert (refused.outcome, f"{name} is required" in refused["message"]) == ("INVALID_ARGUMENT", True)


CLIENTS_OWN = {
    "toolCallId": "call_1",
    "sessionId": "s",
    "chatInput": "Buy it.",
    "action": "sendMessage",
    "task_progress": "- [x] search",
}


async def test_what_clients_put_into_every_call_is_left_out(reference: Simulator, era: str) -> None:
    item = item_of(reference)
    owned = next(iter(reference.owned.values()))
    async with open_talk(reference, era) as talk:
        for tool, arguments in (
            ("list_phone_numbers", {}),
            ("get_phone_number", {"number_id": owned.e164}),
            ("search_phone_numbers", {"country": "NG"}),
            ("list_endpoints", {}),
            ("get_spending", {}),
            ("configure_phone_number", {"number_id": owned.e164, "allow_inbound": True}),
        ):
            assert not (await talk.call(tool, **arguments, **CLIENTS_OWN)).failed, tool
        asked = await talk.buy(item, **CLIENTS_OWN)
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"], **CLIENTS_OWN)
        assert not (await talk.call("get_operation", operation_id=done["operation_id"], **CLIENTS_OWN)).failed
        release = await talk.call("release_phone_number", number_id=owned.e164, **CLIENTS_OWN)
        withdrawn = await talk.call("cancel_operation", operation_id=release["operation_id"], **CLIENTS_OWN)
    assert (done.outcome, withdrawn.outcome) == ("done", "cancelled")


async def test_what_a_client_puts_in_may_differ_when_the_prompt_is_answered(reference: Simulator) -> None:
    """In the newest era the answer to a prompt counts for the very arguments that were asked about."""
    item = item_of(reference)
    async with open_talk(reference, "auto", Person(accept("buy"))) as talk:
        arguments = {"inventory_id": item.id, "country": item.country}
        session = talk.client.session
        asked = await session.call_tool("buy_phone_number", arguments | {"toolCallId": "1"}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        bought = await session.call_tool(
            "buy_phone_number",
            arguments | {"toolCallId": "2"},
            input_responses=dict.fromkeys(asked.input_requests or {}, accept("buy")),
            request_state=asked.request_state,
        )
        assert told("buy_phone_number", bought).outcome == "done"
