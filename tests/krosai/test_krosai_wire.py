import copy
import dataclasses
import json
import pickle
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kros_mcp.errors import ApiError, OutcomeUnknownError, ProtocolError
from kros_mcp.krosai import FIELDS, clean
from kros_mcp.krosai.envelope import read_list, read_object
from kros_mcp.krosai.exchange import Reply
from kros_mcp.krosai.paging import Page
from kros_mcp.krosai.refusals import judge_answer
from kros_mcp.krosai.wire import (
    NOT_STATED,
    CallEndpoint,
    NumberForSale,
    PhoneNumber,
    has_ended,
    is_pending,
    read_available,
    read_endpoint,
    read_phone_number,
)

LISTS = ["phone_numbers", "numbers", "available", "inventory", "data", "items", "results", "list"]
E164 = "+2348035550123"

# Hypothesis builds its table of characters during the first example of a fresh checkout.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ignored = st.dictionaries(st.sampled_from(["foo", "organization_id", "meta"]), json_values)


@st.composite
def owned_spellings(draw: st.DrawFn) -> dict[str, Any]:
    """One and the same number, in any mixture of the known spellings."""
    pick = draw
    record: dict[str, Any] = dict(draw(ignored))
    record["id"] = pick(st.sampled_from(["7", 7]))
    record[pick(st.sampled_from(["e164", "number", "phone_number", "phoneNumber"]))] = pick(
        st.sampled_from([E164, "+234 803 555 0123", "+234-(803)-555-0123"])
    )
    record["type"] = pick(st.sampled_from(["toll_free", "toll-free", "TOLL FREE"]))
    record["country"] = pick(st.sampled_from(["NG", "ng"]))
    record[pick(st.sampled_from(["allow_inbound", "allowInbound"]))] = True
    record[pick(st.sampled_from(["allow_outbound", "allowOutbound"]))] = False
    record[pick(st.sampled_from(["monthly_cost_cents", "monthlyCostCents"]))] = 500
    record |= pick(
        st.sampled_from([{"endpoint_id": "ep"}, {"endpointId": "ep"}, {"endpoint": {"id": "ep", "name": "n"}}])
    )
    return record


@unhurried
@given(owned_spellings(), st.sampled_from(["", "data", "phone_number", "number"]), st.booleans())
def test_every_spelling_and_wrapper_of_a_number_reads_the_same(
    record: dict[str, Any], wrapper: str, deeper: bool
) -> None:
    body: Any = {wrapper: record} if wrapper else record
    body = {"data": body, "success": True} if deeper else body
    number = read_phone_number(read_object(body, "number"))
    assert (number.id, number.e164, number.country, number.type) == ("7", E164, "NG", "toll_free")
    assert (number.allow_inbound, number.allow_outbound, number.endpoint_id) == (True, False, "ep")
    assert (number.monthly_cents, number.setup_cents, number.status, number.sip) == (500, None, None, None)


@unhurried
@given(
    st.lists(owned_spellings(), max_size=3),
    st.sampled_from(["", *LISTS]),
    st.booleans(),
    st.sampled_from(["total", "totalCount", "total_count"]),
)
def test_every_wrapper_of_a_list_reads_the_same(
    records: list[dict[str, Any]], name: str, deeper: bool, total: str
) -> None:
    body: Any = {name: records, total: 40} if name else records
    body = {"data": body} if deeper else body
    found, stated = read_list(body, "owned")
    assert found == records
    assert stated == (40 if name else None)


@pytest.mark.parametrize("beside", ["meta", "pagination"])
@pytest.mark.parametrize("name", ["total", "totalCount", "total_count"])
def test_a_total_beside_the_list_is_read(beside: str, name: str) -> None:
    assert read_list({"data": [], beside: {name: 7}}, "owned") == ([], 7)
    assert read_list({"data": {"items": [], beside: {name: 7}}}, "owned") == ([], 7)
    assert read_list({"data": {"items": [], name: 8}, beside: {name: 7}}, "owned") == ([], 8)


def test_everything_that_is_read_of_a_record_has_its_names_in_one_table() -> None:
    """The report of a first contact tells by that table what is read."""
    for kind, record, beside in (
        ("owned", PhoneNumber, {"sip"}),
        ("available", NumberForSale, {"due_now_cents"}),
        ("endpoint", CallEndpoint, set()),
    ):
        kept = {field.name for field in dataclasses.fields(record)}
        assert set(FIELDS[kind]) | beside == kept | ({"total_cents"} & set(FIELDS[kind]))


@unhurried
@given(json_values)
def test_anything_else_is_a_protocol_error_and_never_an_empty_list(body: Any) -> None:
    for kind in ("owned", "available", "endpoints"):
        try:
            found, _ = read_list(body, kind)
        except ProtocolError:
            continue
        inner = body.get("data") if isinstance(body, dict) else None
        places = [body, *(place.values() for place in (body, inner) if isinstance(place, dict))]
        assert any(found is place or found in list(place) for place in places)


@unhurried
@given(json_values)
def test_no_record_whatever_raises_anything_but_a_protocol_error(raw: Any) -> None:
    for read in (read_phone_number, read_available, read_endpoint):
        for record in (raw, {"id": "x", "e164": E164, **raw} if isinstance(raw, dict) else raw):
            try:
                read(record)
            except ProtocolError:
                continue


@unhurried
@given(json_values, st.sampled_from(["POST", "PATCH", "DELETE"]), st.sampled_from([200, 202, 400, 409, 500]))
def test_an_answer_to_a_write_whatever_it_holds_is_written_refused_or_unknown(
    body: Any, method: str, status: int
) -> None:
    names = ("status", "code", "errors", "error", "data", "success", "id", "statusCode")
    for answer in (body, dict.fromkeys(names, body), *({name: body} for name in names)):
        try:
            assert judge_answer(Reply(status, {}, "json", answer), method).status == status < 300
        except (ApiError, OutcomeUnknownError):
            continue


def test_an_answer_wrapped_without_end_breaks_nothing() -> None:
    body: Any = {"status": "failed"}
    for _ in range(900):
        body = {"data": body, "items": [body]}
    assert judge_answer(Reply(200, {}, "json", body), "POST").number is None


@pytest.mark.parametrize("body", [{}, {"phone_numbers": None}, {"data": {}}, {"endpoints": []}, None, "[]", 0])
def test_a_list_of_numbers_without_a_list_is_a_protocol_error(body: object) -> None:
    with pytest.raises(ProtocolError):
        read_list(body, "owned")


@pytest.mark.parametrize(
    ("stated", "endpoint_id"),
    [
        ({"endpoint_id": None}, None),
        ({"endpointId": ""}, None),
        ({"endpoint": None}, None),
        ({"endpoint": {"id": None}}, None),
        ({"endpoint_id": None, "endpoint": None}, None),
        ({}, NOT_STATED),
        ({"endpoint_id": {"id": "ep_1"}}, NOT_STATED),
        ({"endpoint_id": "Support agent"}, NOT_STATED),
        ({"endpoint_id": False}, NOT_STATED),
        ({"endpoint": {}}, NOT_STATED),
        ({"endpoint": {"name": "Support agent"}}, NOT_STATED),
        ({"endpoint": "Support agent"}, NOT_STATED),
        ({"endpoint_id": None, "endpoint": {"name": "Support agent"}}, NOT_STATED),
        ({"endpoint_id": None, "endpoint": {"id": "ep_1"}}, "ep_1"),
        ({"endpoint_id": "", "endpointId": "ep_1"}, "ep_1"),
    ],
)
def test_calls_go_nowhere_only_where_the_record_states_that(stated: dict[str, Any], endpoint_id: str | None) -> None:
    assert read_phone_number({"id": "pn_1", "e164": E164, **stated}).endpoint_id == endpoint_id


def test_a_number_with_its_endpoint_inside_is_the_number() -> None:
    body = {"id": "pn_1", "number": E164, "endpoint": {"id": "ep_1", "name": "x"}, "data": {"id": "no"}}
    assert read_phone_number(read_object(body, "number")).endpoint_id == "ep_1"
    assert read_endpoint(read_object({"data": {"endpoint": {"id": "ep_1"}}}, "endpoint")).id == "ep_1"


@pytest.mark.parametrize(
    "bad", [None, "", "a b", " a", "x\n", "\u202ex", "\u00e9", "\ud800", "x" * 201, True, 1.5, 10**200, {}, []]
)
def test_an_id_that_cannot_be_one_makes_the_record_unreadable(bad: object) -> None:
    with pytest.raises(ProtocolError):
        read_phone_number({"id": bad, "e164": E164})
    with pytest.raises(ProtocolError):
        read_endpoint({"id": bad})


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ("1293384261075731499", "1293384261075731499"),
        (1293384261075731499, "1293384261075731499"),
        (2**53 + 1, "9007199254740993"),
        (10**199, "1" + "0" * 199),
        (0, "0"),
        ("x" * 200, "x" * 200),
        ("a,b/%2F?#<>&~!\"'", "a,b/%2F?#<>&~!\"'"),
    ],
)
def test_an_id_is_taken_exactly_as_it_is(stated: object, taken: str) -> None:
    body = json.loads(json.dumps({"id": stated, "e164": E164, "endpoint_id": stated}))
    number = read_phone_number(body)
    assert (number.id, number.endpoint_id) == (taken, taken)
    assert read_available(body).inventory_id == taken
    assert read_endpoint(body).id == taken


@pytest.mark.parametrize(
    "status",
    [
        "portedOut",
        "Ported Out",
        "PORTED-OUT",
        "ported_out",
        "CANCELLED",
        "canceled",
        "Released",
        "INACTIVE",
        " Failed ",
    ],
)
def test_an_ended_status_is_ended_in_any_spelling(status: str) -> None:
    assert has_ended(status)
    assert read_phone_number({"id": "x", "e164": E164, "status": status}).has_ended
    assert not is_pending(status)


@pytest.mark.parametrize("status", ["active", "suspended", "porting", "portingOut", "out", "", None, "failing"])
def test_every_other_word_is_living(status: str | None) -> None:
    assert not has_ended(status)
    assert not is_pending(status)


@pytest.mark.parametrize("status", ["pending", "inProgress", "IN PROGRESS", "in-progress", "Ordered", "queued"])
def test_an_order_that_is_not_decided_is_pending_in_any_spelling(status: str) -> None:
    assert is_pending(status)
    assert not has_ended(status)


@pytest.mark.parametrize(
    ("raw", "currency"),
    [
        ({"currency": "ngn"}, "NGN"),
        ({"currency_code": "USD"}, "USD"),
        ({"currencyCode": "Eur"}, "EUR"),
        ({"currency": "naira", "currency_code": "NGN"}, "NGN"),
        ({"currency": "\u20a6\u20a6\u20a6"}, None),
        ({"currency": 566}, None),
        ({"currency": " NGN\n"}, "NGN"),
        ({"currency": "USD", "currencyCode": "usd"}, "USD"),
        ({"currency": "USD", "currencyCode": "NGN"}, "NGN/USD"),
        ({"currency": "US$"}, None),
        ({}, None),
    ],
)
def test_a_currency_is_three_letters_or_is_not_stated(raw: dict[str, object], currency: str | None) -> None:
    record = {"id": "i", "e164": E164} | raw
    assert read_phone_number(record).currency == read_available(record).currency == currency


@pytest.mark.parametrize(("stated", "country"), [("UK", "GB"), ("uk", "GB"), ("EU", None), ("XK", None), ("KE", "KE")])
def test_a_country_that_is_no_iso_code_says_nothing(stated: str, country: str | None) -> None:
    assert read_available({"id": "i", "e164": E164, "country": stated}).country == country


def test_an_unreadable_record_is_named_and_hides_no_other() -> None:
    raw = [{"id": "a", "e164": E164}, {"id": 7, "e164": None}, None, {"id": "x y", "e164": E164}]
    page = Page.read(raw, read_phone_number, total=24, offset=20)
    assert ([number.id for number in page.items], page.positions) == (["a"], (20,))
    assert [(one.name, one.position, one.id) for one in page.unreadable] == [
        ("7", 21, "7"),
        ("entry 23", 22, None),
        ("entry 24", 23, None),
    ]
    assert (page.total, page.received) == (24, 4)
    assert page.where(lambda _: False).unreadable == page.unreadable


@pytest.mark.parametrize(
    ("raw", "due"),
    [
        ({"setup_cost_cents": 0, "monthly_cost_cents": 500}, 500),
        ({"monthly_cost_cents": 500}, None),
        ({"monthly_cost_cents": 500, "totalCostCents": 700}, 700),
        ({"setup_cost_cents": 100, "monthly_cost_cents": 500, "totalCostCents": 700}, None),
        ({"setup_cost_cents": 0, "monthly_cost_cents": 500, "monthlyCostCents": 900}, None),
        ({"setup_cost_cents": 0, "monthly_cost_cents": "500"}, None),
        ({"setup_cost_cents": 0, "monthly_cost_cents": 500.0}, None),
        ({"setup_cost_cents": 0, "monthly_cost_cents": -5}, None),
        ({"setup_cost_cents": False, "monthly_cost_cents": 5}, None),
        ({"setup_cost": 0, "monthly_cost": 5}, None),
    ],
)
def test_a_price_is_known_only_if_it_is_stated_without_contradiction(raw: dict[str, object], due: int | None) -> None:
    assert read_available({"id": "i", "e164": E164} | raw).due_now_cents == due


def test_an_inventory_id_has_its_own_names_first() -> None:
    raw = {
        "id": "other",
        "inventoryId": "inv",
        "number": E164,
        "capabilities": {"voice": True, "SMS": False, "x": 1},
    }
    found = read_available(raw)
    assert found.inventory_id == "inv"
    assert found.capabilities == {"voice": True, "sms": False}
    assert read_available({"id": "i", "e164": E164, "capabilities": ["voice"]}).capabilities == {"voice": True}


def test_sip_secrets_are_named_and_never_shown() -> None:
    raw = {
        "id": "pn_1",
        "e164": E164,
        "sip_credentials": {"username": "u", "password": "CANARY"},
        "sip_uri": "sip:CANARY@x",
    }
    number = read_phone_number(raw)
    assert number.sip is not None
    assert number.sip.fields == ("username", "password", "sip_uri")
    assert "CANARY" in number.sip.reveal().values()
    shown = [repr(number), str(number.sip), repr(dataclasses.asdict(number)), f"{number.sip!s:>9}"]
    shown.append(json.dumps(dataclasses.asdict(copy.deepcopy(number)), default=str))
    assert "CANARY" not in " ".join(shown)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(number)
    assert "CANARY" not in str(caught.value)
    assert number == read_phone_number(raw)


def test_an_endpoints_secret_is_not_read() -> None:
    raw = {"id": "ep", "secret": "whsec_CANARY", "url": "https://CANARY", "provider_config": {"k": "CANARY"}}
    assert "CANARY" not in repr(read_endpoint(raw))


def test_a_total_below_what_was_received_is_no_total() -> None:
    assert Page.read("abc", str, total=2, offset=0).total is None
    assert Page.read("abc", str, total=3, offset=0).total == 3
    assert Page.read("", str, total=3, offset=9).total == 3


@unhurried
@given(st.text())
def test_clean_text_is_short_visible_and_on_one_line(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= 60
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(character).startswith("C") for character in cleaned)


def test_clean_text_keeps_what_people_write() -> None:
    assert clean("  Büro\u202e \n\x00Lagos\u200b ") == "Büro Lagos"


@pytest.mark.parametrize(
    ("stated", "country"),
    [("ng", "NG"), ("Nigeria, free of charge", None), ("NGA", None), ("N1", None), ("\u00e9\u00e9", None), (7, None)],
)
def test_a_country_is_a_code_of_two_letters_or_it_is_not_known(stated: object, country: str | None) -> None:
    record = {"id": "x", "e164": "+2348035550123", "country": stated}
    assert read_available(record).country == read_phone_number(record).country == country
