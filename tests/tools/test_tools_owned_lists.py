"""What a list of owned numbers answers: which there are, where they go, what they cost together; in few words."""

from dataclasses import replace

import pytest

from kros_mcp.numbering import spoken
from kros_mcp.simulator import Simulator
from kros_mcp.simulator.records import SimNumber
from tests.support.talk import UNSPEAKABLE, open_talk

pytestmark = pytest.mark.anyio

MOST_OF_TEXT = 2_600


def owning(sim: Simulator, count: int) -> list[SimNumber]:
    """Let the account own so many living numbers, of which each fifth goes nowhere."""
    first = next(iter(sim.owned.values()))
    sim.owned.clear()
    endpoints = list(sim.endpoints)
    for nth in range(count):
        number = replace(
            first,
            id=sim.ids.make("pn"),
            e164=f"+23481{30_000_000 + nth * 7919}",
            endpoint_id=endpoints[nth % 3] if nth % 5 else None,
            monthly_cost_cents=500 + 100 * (nth % 7),
        )
        sim.owned[number.id] = number
    return list(sim.owned.values())


async def test_those_that_go_nowhere_are_counted_and_their_cost_is_told(sim: Simulator, era: str) -> None:
    owning(sim, 7)
    async with open_talk(sim, era) as talk:
        await talk.call("get_spending")
        told = await talk.call("list_phone_numbers", endpoint_id="unrouted")
    assert told["summary"] == "2 numbers go nowhere; together they cost 15.00 a month in the account currency."
    assert (told["total"], told["monthly_total_cents"], told["unpriced"]) == (2, 1500, 0)
    assert {number["endpoint_id"] for number in told["numbers"]} == {"unrouted"}


async def test_the_sum_is_of_all_that_fit_and_not_of_the_page(sim: Simulator) -> None:
    numbers = owning(sim, 5)
    numbers[3].status = "inactive"
    async with open_talk(sim, currency="USD") as talk:
        page = await talk.call("list_phone_numbers", limit=2)
        rest = await talk.call("list_phone_numbers", limit=2, offset=page["next_offset"])
        everything = await talk.call("list_phone_numbers", status="any")
        ended = await talk.call("list_phone_numbers", status="inactive")
    cost = sum(number.monthly_cost_cents for number in numbers if number.status == "active")
    assert (page["total"], page["hidden"], page["monthly_total_cents"]) == (4, 1, cost)
    assert "2 shown, 2 more: next_offset 2." in page.text
    assert "1 that has ended is not shown" in page.text
    assert [one["e164"] for one in [*page["numbers"], *rest["numbers"]]] == [
        number.e164 for number in numbers if number.status == "active"
    ]
    assert rest["next_offset"] is None
    assert (everything["total"], everything["hidden"], everything["monthly_total_cents"]) == (5, 0, cost)
    assert (ended["total"], ended["monthly_total_cents"], ended["numbers"][0]["monthly_cents"]) == (1, None, None)
    assert "7.00" not in ended.text
    assert "No longer owned, once routed to " in ended.text


async def test_another_word_of_krosais_is_shown(sim: Simulator) -> None:
    numbers = owning(sim, 3)
    numbers[1].status = "under_review"
    async with open_talk(sim) as talk:
        told = await talk.call("list_phone_numbers")
        only = await talk.call("list_phone_numbers", status="under_review")
        shown = await talk.call("get_phone_number", number_id=numbers[1].e164)
    assert told["total"] == 3
    assert [one["e164"] for one in only["numbers"]] == [numbers[1].e164]
    assert f'{shown["spoken"]} is "under review", its calls go to ' in shown["summary"]


@pytest.mark.parametrize(
    ("contains", "found"),
    [("*7919", [1]), ("777", []), ("0813000", [0, 1]), ("0813000*", [0, 1]), ("+234 813 001", [2])],
)
async def test_some_digits_find_their_numbers(sim: Simulator, contains: str, found: list[int]) -> None:
    numbers = owning(sim, 5)
    async with open_talk(sim) as talk:
        told = await talk.call("list_phone_numbers", contains=contains)
    assert [one["e164"] for one in told["numbers"]] == [numbers[nth].e164 for nth in found]
    if len(found) == 1:
        assert told["numbers"][0]["spoken"] in told["summary"]
    if not found:
        assert told["summary"] == "The account has no number containing 777."


async def test_an_endpoint_is_named_by_id_or_name(sim: Simulator) -> None:
    numbers = owning(sim, 9)
    wanted = list(sim.endpoints.values())[1]
    async with open_talk(sim) as talk:
        by_id = await talk.call("list_phone_numbers", endpoint_id=wanted.id)
        by_name = await talk.call("list_phone_numbers", endpoint_id="order line")
        unknown = await talk.call("list_phone_numbers", endpoint_id="no such line")
        here = await talk.call("list_phone_numbers", endpoint_id=wanted.id, country="KE")
    assert [one["e164"] for one in by_id["numbers"]] == [n.e164 for n in numbers if n.endpoint_id == wanted.id]
    assert by_id["numbers"] == by_name["numbers"]
    assert by_name["summary"].startswith('3 numbers go to "Order line"; ')
    assert unknown.outcome == "ENDPOINT_NOT_FOUND"
    assert here["summary"] == 'The account has no number in Kenya that goes to "Order line".'


async def test_a_page_is_short_and_names_each_endpoint_once(sim: Simulator, era: str) -> None:
    owning(sim, 182)
    for number, status in zip(sim.owned.values(), ["suspended", "porting", "pending"], strict=False):
        number.status, number.type, number.allow_outbound = status, "toll_free", not number.allow_outbound
    async with open_talk(sim, era) as talk:
        told = await talk.call("list_phone_numbers")
    assert len(told["numbers"]) == 20
    assert len(told.text) <= MOST_OF_TEXT
    assert told["summary"].startswith("The account has 182 numbers; together they cost at least ")
    assert "20 shown, 162 more: next_offset 20." in told.text
    for endpoint in sim.endpoints.values():
        assert told.text.count(endpoint.id) == 1
    for number in told["numbers"]:
        assert number["number_id"] not in told.text


async def test_two_records_of_one_number_are_told_apart(sim: Simulator) -> None:
    numbers = owning(sim, 2)
    numbers[1].e164, numbers[1].status = numbers[0].e164, "released"
    async with open_talk(sim) as talk:
        told = await talk.call("list_phone_numbers", status="any")
    assert all(number.id in told.text for number in numbers)


async def test_prices_that_are_not_known_yet_are_counted_and_promised(reference: Simulator) -> None:
    owning(reference, 30)
    async with open_talk(reference) as talk:
        reference.faults.switch_on("hold", times=None, on=["get"])
        told = await talk.call("list_phone_numbers", limit=3)
        reference.faults.clear()
    assert (told["monthly_total_cents"], told["unpriced"]) == (None, 30)
    assert "their prices are not known yet" in told["summary"]
    assert "Prices of 0 of 30 are known. Ask again in about " in told.text


async def test_in_several_currencies_there_is_no_sum(reference: Simulator) -> None:
    numbers = owning(reference, 2)
    reference.faults.switch_on("states_currency", times=1, on=["get"], currency="NGN")
    async with open_talk(reference, currency="USD") as talk:
        told = await talk.call("list_phone_numbers")
        spending = await talk.call("get_spending")
    assert (told["monthly_total_cents"], spending["monthly_run_rate_cents"]) == (None, None)
    assert "in several currencies" in told["summary"]
    assert "has no sum, as their prices are in several currencies" in spending["summary"]
    in_naira, in_dollars = told["warnings"]
    assert {in_naira[:21], in_dollars[:21]} == {"In NGN: the price of ", "In USD: the price of "}
    assert {spoken(number.e164) for number in numbers} == {in_naira[21:-1], in_dollars[21:-1]}


@pytest.mark.parametrize("label", ["usd", "USD", ""])
async def test_prices_in_the_currency_of_the_label_have_a_sum_whatever_its_case(sim: Simulator, label: str) -> None:
    owning(sim, 2)
    sim.faults.switch_on("states_currency", times=None, currency="USD")
    async with open_talk(sim, currency=label) as talk:
        told = await talk.call("list_phone_numbers")
        spending = await talk.call("get_spending")
    assert told["monthly_total_cents"] == spending["monthly_run_rate_cents"] == 1100
    assert f"together they cost 11.00 {label or 'USD'} a month" in told["summary"]
    assert told["warnings"] == []


async def test_what_is_in_another_currency_than_the_label_is_called_by_its_own(reference: Simulator) -> None:
    numbers = owning(reference, 2)
    reference.faults.switch_on("states_currency", times=None, currency="USD")
    async with open_talk(reference, currency="NGN") as talk:
        one = await talk.call("get_phone_number", number_id=numbers[1].e164)
        told = await talk.call("list_phone_numbers")
        spending = await talk.call("get_spending")
        found = await talk.call("search_phone_numbers", country="KE", limit=1)
        everywhere = await talk.call("search_phone_numbers")
    assert "it costs 6.00 USD a month" in one["summary"]
    assert "together they cost 11.00 USD a month" in told["summary"]
    assert "Owned numbers cost 11.00 USD a month." in spending["summary"]
    assert (spending["currency"], spending["monthly_run_rate_cents"]) == ("NGN", None)
    for each in (one, told, found, everywhere):
        assert "NGN" not in each.text
    assert "6.00 USD now" in found["summary"]
    assert "from 5.00 USD a month" in everywhere["summary"]


async def test_a_list_that_shows_less_than_krosai_states_is_not_told_as_whole(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    owning(sim, 3)
    monkeypatch.setattr("kros_mcp.krosai.envelope.find_total", lambda _: ("total", 50))
    async with open_talk(sim) as talk:
        told = await talk.call("list_phone_numbers", limit=2)
        rest = await talk.call("list_phone_numbers", limit=2, offset=told["next_offset"])
        spending = await talk.call("get_spending")
    assert told["summary"].startswith("The account has 3 numbers among the 3 that KrosAI shows, of 50 that it states;")
    assert (told["complete"], told["total"], rest["next_offset"]) == (False, None, None)
    assert "2 shown, 1 more: next_offset 2." in told.text
    assert "Perhaps not complete: KrosAI states 50 records in all and shows 3; the sums are of those." in rest.text
    assert spending["run_rate_complete"] is False
    assert "cost at least" in spending["summary"]


async def test_a_list_too_long_to_be_read_in_time_says_how_far_it_came(reference: Simulator) -> None:
    numbers = owning(reference, 450)
    async with open_talk(reference, answer_within_seconds=2) as talk:
        reference.faults.switch_on("slow", times=None, on=["list_owned"], seconds=0.45)
        told = await talk.call("list_phone_numbers", contains="*" + numbers[1].e164[-4:])
        assert (told["complete"], told["total"]) == (False, None)
        assert told["numbers"][0]["e164"] == numbers[1].e164
        read = told["next_offset"]
        assert read % 100 == 0
        assert 0 < read < 450
        assert f"among the first {read}" in told["summary"]
        reference.faults.clear()
        further = await talk.call("list_phone_numbers", offset=read, limit=5)
    assert [one["e164"] for one in further["numbers"]] == [number.e164 for number in numbers[read : read + 5]]


async def test_a_number_is_found_by_digits_that_no_other_has(sim: Simulator, era: str) -> None:
    numbers = owning(sim, 6)
    tail = numbers[3].e164[-4:]
    async with open_talk(sim, era) as talk:
        for text in (tail, numbers[3].e164[1:], f"0{numbers[3].e164[4:7]} {numbers[3].e164[7:]}"):
            told = await talk.call("get_phone_number", number_id=text)
            assert told["number_id"] == numbers[3].id
            assert told["summary"].startswith("One owned number has the digits ")
            assert told["spoken"] in told["summary"]
        several = await talk.call("get_phone_number", number_id="8130")
        none = await talk.call("get_phone_number", number_id="777777")
    assert (several.outcome, none.outcome) == ("PARTIAL_NUMBER", "NUMBER_NOT_OWNED")
    assert "contains 8130" in several["next_step"]
    assert spoken(numbers[0].e164) in several["summary"]
    assert not UNSPEAKABLE.search(several["summary"])


async def test_ended_numbers_among_all_are_not_counted_as_numbers_of_the_account_alone(sim: Simulator) -> None:
    numbers = owning(sim, 3)
    numbers[0].status = "inactive"
    async with open_talk(sim) as talk:
        everything = await talk.call("list_phone_numbers", status="any")
        alone = await talk.call("list_phone_numbers", status="any", contains=numbers[0].e164)
        released = await talk.call("list_phone_numbers", status="released")
    assert everything["summary"].startswith("The account has 3 numbers, 1 of which has ended; together they cost ")
    assert "1 number containing" in alone["summary"]
    assert ", which has ended: " in alone["summary"]
    assert released["summary"] == "The account has no released number. Ended numbers may have other statuses."


async def test_an_act_takes_no_number_by_some_of_its_digits(sim: Simulator) -> None:
    number = owning(sim, 1)[0]
    async with open_talk(sim) as talk:
        released = await talk.call("release_phone_number", number_id=number.e164[-4:])
        changed = await talk.call("configure_phone_number", number_id=number.e164[-4:], allow_inbound="off")
    assert (released.outcome, changed.outcome) == ("NUMBER_NOT_OWNED", "NUMBER_NOT_OWNED")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("inactive", "is released"),
        ("expired", "has expired"),
        ("rejected", "was never obtained"),
        ("released", "is released"),
    ],
)
async def test_a_number_that_has_ended_is_called_so_and_costs_nothing(sim: Simulator, status: str, said: str) -> None:
    number = owning(sim, 2)[1]
    number.status = status
    async with open_talk(sim) as talk:
        told = await talk.call("get_phone_number", number_id=number.id)
    assert f"{told['spoken']} {said}" in told["summary"]
    assert (told["monthly_cents"], told["status"]) == (None, status)
    assert "6.00" not in told.text


async def test_names_are_read_once_a_minute_however_many_numbers_are_shown(sim: Simulator) -> None:
    numbers = owning(sim, 6)
    async with open_talk(sim) as talk:
        for number in numbers:
            await talk.call("get_phone_number", number_id=number.id)
        listed = await talk.call("list_phone_numbers")
    assert sum("endpoints" in seen.path for seen in sim.requests) == 1
    names = {one["endpoint_id"]: one["endpoint_name"] for one in listed["numbers"]}
    assert names == {"unrouted": None} | {each.id: each.name for each in sim.endpoints.values()}


async def test_a_name_that_could_not_be_read_is_null(sim: Simulator) -> None:
    number = owning(sim, 2)[1]
    sim.faults.switch_on("refuse", times=None, on=["list_endpoints", "get_endpoint"], status=403)
    async with open_talk(sim) as talk:
        told = await talk.call("get_phone_number", number_id=number.id)
    assert (told["endpoint_id"], told["endpoint_name"]) == (number.endpoint_id, None)
    assert "its calls go to an endpoint, and" in told["summary"]
    assert str(number.endpoint_id) in told.text


async def test_endpoints_are_named_and_their_trouble_is_told_in_words(sim: Simulator) -> None:
    async with open_talk(sim) as talk:
        told = await talk.call("list_endpoints")
        past = await talk.call("list_endpoints", limit=1, offset=3)
        page = await talk.call("list_endpoints", limit=1)
    assert told["summary"] == '3 endpoints: "Support agent", "Order line" and "Night desk", which reports an error.'
    assert len(told.text) < 450
    assert all(endpoint.id in told.text for endpoint in sim.endpoints.values())
    assert page["next_offset"] == 1
    assert "1 shown, 2 more: next_offset 1." in page.text
    assert past["summary"] == "No more endpoints follow; there are 3 in all."
