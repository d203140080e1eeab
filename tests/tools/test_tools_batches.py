"""Several numbers in one call: one question that shows each, one yes, and what became of every one."""

import json
import re
from dataclasses import replace
from typing import Any

import anyio
import pytest

from kros_mcp.errors import JournalError
from kros_mcp.journals.sql import StoredJournal
from kros_mcp.numbering import last_four, spoken
from kros_mcp.operations.confirmation import picked, yes_to
from kros_mcp.operations.model import Action, Item, Operation, Quote, Request, new_operation_id
from kros_mcp.simulator import InventoryItem, SimNumber, Simulator
from tests.support.person import DECLINE, Person, accept
from tests.support.talk import Talk, Told, open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio


def offers(sim: Simulator, count: int = 3, country: str = "NG") -> list[InventoryItem]:
    return [item_of(sim, country, nth=nth) for nth in range(count)]


def named(numbers: list[Any], between: str = ",", by: str = "e164") -> str:
    return between.join(getattr(one, by) for one in numbers)


async def seen(talk: Talk, country: str = "NG") -> None:
    """Search, as an agent does before it can name several by their E.164."""
    await talk.call("search_phone_numbers", country=country, type="local", limit=100)


async def buy(talk: Talk, numbers: list[InventoryItem], **arguments: Any) -> Told:
    return await talk.call("buy_phone_number", inventory_id=named(numbers, by="id"), **arguments)


async def owned(talk: Talk, count: int) -> list[SimNumber]:
    """Let the account own more numbers, as if they had been bought elsewhere."""
    for item in offers(talk.sim, count - 1):
        asked = await talk.buy(item)
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
    return [number for number in talk.sim.owned.values() if number.status == "active"]


async def test_one_yes_by_code_buys_all_of_them_in_any_order(sim: Simulator, era: str) -> None:
    three = offers(sim)
    async with open_talk(sim, era) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        assert asked.outcome == "confirmation_required"
        ids = [one.id for one in three]
        for written in (ids, json.dumps(ids), " ".join(ids)):  # as clients and models write a list
            same = await talk.call("buy_phone_number", inventory_id=written)
            assert same["operation_id"] == asked["operation_id"]
        for said in ("3 numbers in Nigeria", "Shall I buy all 3?", *(spoken(one.e164) for one in three)):
            assert said in asked["summary"]
        assert asked["quote"]["e164"] is None
        assert asked["quote"]["due_now_cents"] == sum(item["due_now_cents"] for item in asked["items"])
        assert [item["e164"] for item in asked["items"]] == [one.e164 for one in three]
        assert wrote(sim) == []
        code = asked["confirmation_code"]
        done = await talk.call(
            "buy_phone_number", e164=named(three[::-1], between="; "), country="NG", confirmation_code=code
        )
        again = await buy(talk, three, confirmation_code=code)
        told = await talk.call("get_operation", operation_id=done["operation_id"])
        one = await talk.call("get_operation", operation_id=done["items"][1]["operation_id"])
        late = await talk.call("cancel_operation", operation_id=done["operation_id"])
    assert (done.outcome, done["charged"], done["changed"]) == ("done", "yes", "yes")
    assert done["summary"].startswith("All 3 numbers are bought for ")
    assert [item["status"] for item in done["items"]] == ["done"] * 3
    assert all(item["number_id"] in sim.owned for item in done["items"])
    assert [charge.e164 for charge in sim.charges] == [one.e164 for one in three]
    assert again["operation_id"] == told["operation_id"] == done["operation_id"]
    assert told["items"] == done["items"]
    assert (one["quote"]["e164"], one["items"], done["operation_id"] in one["next_step"]) == (three[1].e164, None, True)
    assert (late.outcome, late["charged"]) == ("TOO_LATE", "yes")


async def test_the_code_of_a_batch_confirms_nothing_else(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        code = asked["confirmation_code"]
        fewer = await buy(talk, three[:2], confirmation_code=code)
        one = await buy(talk, three[:1], confirmation_code=code)
        other = await buy(talk, three, allow_outbound=False, confirmation_code=code)
        declined = await talk.call("cancel_operation", operation_id=asked["operation_id"])
        late = await buy(talk, three, confirmation_code=code)
    assert (fewer.outcome, one.outcome, other.outcome) == ("NO_CODE_ISSUED", "NO_CODE_ISSUED", "SETTINGS_DIFFER")
    assert (declined.outcome, len(declined["items"]), late.outcome) == ("cancelled", 3, "CODE_EXPIRED")
    assert wrote(reference) == []


async def test_the_prompt_has_a_line_for_each_number_and_the_totals(reference: Simulator, era: str) -> None:
    numbers = [*offers(reference, 2), item_of(reference, "KE")]
    person = Person(accept("buy"))
    async with open_talk(reference, era, person) as talk:
        await seen(talk)
        await seen(talk, "KE")
        done = await buy(talk, numbers)
    assert done.outcome == "done"
    [prompt] = person.prompts
    lines = prompt.split("\n")
    assert lines[0] == "Buy 3 numbers?"
    for at, (number, country) in enumerate(zip(numbers, ("Nigeria", "Nigeria", "Kenya"), strict=True), 1):
        assert lines[at].startswith(f"{at}. {spoken(number.e164)} ({number.e164}, {country}): ")
        assert re.search(r"[0-9]\.[0-9]{2} now, [0-9.]+ every month", lines[at])
    total = sum(charge.cents for charge in reference.charges)
    assert f"All 3 now, first month included: {total / 100:.2f}" in prompt
    assert len(reference.charges) == 3


async def test_a_prompt_turned_down_buys_nothing(reference: Simulator, era: str) -> None:
    async with open_talk(reference, era, Person(DECLINE)) as talk:
        await seen(talk)
        told = await buy(talk, offers(reference))
    assert (told.outcome, {item["status"] for item in told["items"]}) == ("declined", {"declined"})
    assert wrote(reference) == []


def typed(prompt: str) -> str:
    """What a person types who reads the prompt."""
    found = re.search(r"last four digits of (\+[0-9 ]+),", prompt)
    assert found is not None
    return last_four(found[1].replace(" ", ""))


async def test_a_release_of_several_wants_the_digits_of_one_and_the_count(reference: Simulator, era: str) -> None:
    person = Person()
    async with open_talk(reference, "legacy") as talk:
        numbers = await owned(talk, 3)
    before = len(wrote(reference))

    async def read(_: Any, params: Any) -> Any:
        person.prompts.append(params.message)
        person.forms.append(params.model_dump(mode="json", by_alias=True)["requestedSchema"])
        digits, tries = typed(params.message), len(person.prompts)
        return accept("release", digits if tries > 1 else "0000", "3" if tries != 2 else "2")

    person.answer = read  # type: ignore[method-assign,assignment]
    async with open_talk(reference, era, person) as talk:
        done = await talk.call("release_phone_number", number_id=named(numbers, by="id"))
    assert done.outcome == "done"
    assert [item["changed"] for item in done["items"]] == ["yes"] * 3
    assert set(person.forms[0]["properties"]) == {"decision", "last_four_digits", "how_many"}
    for number in numbers:
        assert all(number.e164 in prompt for prompt in person.prompts)
    assert [re.findall("Try . of 3", prompt) for prompt in person.prompts] == [[], ["Try 2 of 3"], ["Try 3 of 3"]]
    assert wrote(reference)[before:] == ["DELETE"] * 3


@pytest.mark.parametrize(
    ("digits", "count"), [("right", ""), ("right", None), ("right", "2"), ("", "3"), (None, "3"), ("", "")]
)
async def test_digits_without_the_count_or_the_count_alone_release_nothing(
    reference: Simulator, digits: str | None, count: str | None
) -> None:
    async with open_talk(reference, "legacy") as talk:
        numbers = await owned(talk, 3)
    before, person = len(wrote(reference)), Person()

    async def read(_: Any, params: Any) -> Any:
        person.prompts.append(params.message)
        return accept("release", typed(params.message) if digits == "right" else digits, count)

    person.answer = read  # type: ignore[method-assign,assignment]
    async with open_talk(reference, "legacy", person) as talk:
        told = await talk.call("release_phone_number", number_id=named(numbers))
    assert (told.outcome, len(person.prompts)) == ("declined", 3)
    assert wrote(reference)[before:] == []


def test_whose_digits_are_asked_for_depends_on_the_operation() -> None:
    quote = Quote("+2342015550100", "NG", "simulator")
    items = tuple(Item(e164, Request(), replace(quote, e164=e164)) for e164 in ("+1000000", "+1000001", "+1000002"))
    batch = Operation("", "acc", "local", Action.RELEASE_SEVERAL, "", Request(), quote, 0.0, 600.0, items=items)
    asked = {picked(replace(batch, id=new_operation_id())) for _ in range(64)}
    assert asked == {item.e164 for item in items}
    assert not yes_to(Action.RELEASE, last_four(picked(batch))).is_yes(batch)  # a form that asks for no count
    twins = replace(batch, items=(*items[:1], Item("+9990000", Request(), quote), *items[1:2]))
    assert picked(twins) == items[1].e164


async def test_one_that_fails_is_told_beside_those_that_are_done(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.inventory[three[1].id].monthly_cost_cents += 100
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
    assert (told.failed, told.outcome, told["charged"], told["changed"]) == (False, "partly_done", "yes", "yes")
    first = told["summary"].split(".", 1)[0]
    assert first.startswith("2 of 3 numbers are bought for ")
    assert f"Not bought: {spoken(three[1].e164)}, whose price has changed." in told["summary"]
    moved = told["items"][1]
    assert (moved["status"], moved["charged"], moved["code"]) == ("failed", "no", "PRICE_CHANGED")
    assert re.findall(r"[56]\.00 now", moved["message"]) == ["5.00 now", "6.00 now"]
    assert "same arguments" not in told["next_step"]
    assert "ask again for those alone" in told["next_step"]
    assert [charge.e164 for charge in reference.charges] == [three[0].e164, three[2].e164]


@pytest.mark.promise(3)
async def test_a_price_that_is_another_after_all_is_told_and_the_rest_left(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.faults.switch_on("price_moves", cents=1_000)
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
    assert told["summary"].startswith("1 of 3 numbers is bought for 15.00 now")
    assert f"Of {spoken(three[0].e164)}: KrosAI now reports 15.00" in told["summary"]
    assert "not the 5.00" in told["summary"]
    assert "KrosAI charged more than was shown" in told["items"][1]["message"]
    assert [charge.e164 for charge in reference.charges] == [three[0].e164]


async def test_where_one_number_is_why_none_was_bought_both_is_told(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        alone = await talk.buy(three[1])
        await talk.buy(three[1], confirmation_code=alone["confirmation_code"])
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
    assert (told.outcome, told["charged"]) == ("ALREADY_OWNED", "no")
    assert told["summary"].startswith(f"{spoken(three[1].e164)} was bought for this account")
    assert told["summary"].endswith("None of the 3 numbers was bought.")
    assert [charge.e164 for charge in reference.charges] == [three[1].e164]


async def test_where_none_is_done_it_is_a_failure_that_tells_each(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.balance_cents = 0
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (told.failed, told["charged"], told["changed"]) == (True, "no", "no")
    assert told["summary"].startswith("None of the 3 numbers was bought; nothing was charged or changed.")
    assert "for lack of credit." in told["summary"]
    assert [item["status"] for item in told["items"]] == ["failed"] * 3
    assert (looked.failed, looked["status"]) == (False, "failed")
    assert reference.charges == []


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_protected_number_among_several_has_all_of_them_asked_about(
    reference: Simulator, era: str, *, backwards: bool
) -> None:
    async with open_talk(reference, "legacy") as talk:
        numbers = (await owned(talk, 3))[:: -1 if backwards else 1]
    before = len(wrote(reference))
    endpoints = list(reference.endpoints)[:2]
    wanted = f"{endpoints[0]}, {endpoints[1]}, {endpoints[0]}"
    async with open_talk(reference, era, protected_numbers=numbers[1].e164) as talk:
        arguments = {"number_id": named(numbers), "endpoint_id": wanted}
        asked = await talk.call("configure_phone_number", **arguments)
        assert asked.outcome == "confirmation_required"
        for number in numbers:
            assert spoken(number.e164) in asked["summary"]
        assert wrote(reference)[before:] == []
        code = asked["confirmation_code"]
        swapped = {**arguments, "endpoint_id": f"{endpoints[1]},{endpoints[0]},{endpoints[0]}"}
        other = await talk.call("configure_phone_number", **swapped, confirmation_code=code)
        done = await talk.call("configure_phone_number", **arguments, confirmation_code=code)
        assert "\nquote: \n" not in asked.text
    assert other.outcome == "SETTINGS_DIFFER"
    assert (done.outcome, done["charged"]) == ("done", "no")
    first, second, third = (spoken(number.e164) for number in numbers)
    wanted = f'{first} and {third}: calls go to "Support agent"; {second}: calls go to "Order line".'
    assert wanted in asked["summary"]
    assert " As for calls to them, " in asked["summary"]
    assert done["summary"] == f"All 3 numbers are changed: {wanted}"
    assert [reference.owned[number.id].endpoint_id for number in numbers] == [endpoints[0], endpoints[1], endpoints[0]]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_protected_number_can_be_put_back_from_what_its_change_tells(reference: Simulator, count: int) -> None:
    support, order = list(reference.endpoints)[:2]
    async with open_talk(reference) as talk:
        numbers = await owned(talk, count)
    async with open_talk(reference, protected_numbers=numbers[0].e164) as talk:

        async def agreed(**wanted: str) -> Told:
            arguments = {"number_id": named(numbers), **wanted}
            asked = await talk.call("configure_phone_number", **arguments)
            return await talk.call("configure_phone_number", **arguments, confirmation_code=asked["confirmation_code"])

        await agreed(endpoint_id=support, allow_inbound="off")
        away = await agreed(endpoint_id=order, allow_inbound="on")
        stood = [away["before"]] if count == 1 else [item["before"] for item in away["items"]]
        assert [(each["endpoint_id"], each["allow_inbound"]) for each in stood] == [(support, False)] * count
        assert f"endpoint_id {support}" in away.text.split("before", 1)[1]
        back = await agreed(endpoint_id=stood[0]["endpoint_id"], allow_inbound="off")
    assert back.outcome == "done"
    for number in numbers:
        assert (reference.owned[number.id].endpoint_id, reference.owned[number.id].allow_inbound) == (support, False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"number_id": "a,b,a", "endpoint_id": "x"}, "number_id is not usable: names 'a' twice"),
        ({"number_id": "a,b,c", "endpoint_id": "x,y"}, "endpoint_id names 2 for 3 numbers"),
        ({"number_id": ",".join(map(str, range(21))), "endpoint_id": "x"}, "names 21, and one call takes at most 20"),
    ],
)
async def test_lists_that_do_not_fit_are_refused_in_a_sentence(
    reference: Simulator, arguments: dict[str, str], told: str
) -> None:
    async with open_talk(reference) as talk:
        refused = await talk.call("configure_phone_number", **arguments)
    assert (refused.failed, refused.outcome) == (True, "INVALID_ARGUMENT")
    assert told in refused["summary"]


async def test_a_list_of_one_is_the_act_on_one(reference: Simulator) -> None:
    [one] = offers(reference, 1)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await talk.call("buy_phone_number", inventory_id=f" {one.id}, ")
    assert (asked["items"], asked["quote"]["e164"]) == (None, one.e164)


async def test_a_batch_of_twenty_answers_in_time_and_is_told_whole_later(reference: Simulator) -> None:
    twenty = offers(reference, 20)
    async with open_talk(reference, answer_within_seconds=1, daily_budget_cents=1_000_000) as talk:
        await seen(talk)
        asked = await buy(talk, twenty)
        reference.faults.switch_on("hold", on={"purchase"})
        told = await buy(talk, twenty, confirmation_code=asked["confirmation_code"])
        assert (told.outcome, told["charged"], len(told["items"])) == ("pending", "unknown", 20)
        assert told["summary"] == "Buying 20 numbers is under way: no outcome is known yet."
        reference.faults.let_go()
        with anyio.fail_after(30):
            while told.outcome == "pending":
                told = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (told.outcome, {item["charged"] for item in told["items"]}) == ("done", {"yes"})
    assert len(reference.charges) == 20


async def test_those_whose_turn_has_not_come_are_withdrawn(reference: Simulator, era: str) -> None:
    three = offers(reference)
    second, third = (spoken(one.e164) for one in three[1:])
    async with open_talk(reference, era, answer_within_seconds=1) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.faults.switch_on("hold", on={"purchase"})
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
        assert told.outcome == "pending"
        told = await talk.call("cancel_operation", operation_id=asked["operation_id"])
        assert (told.outcome, told["charged"]) == ("pending", "unknown")
        assert told["summary"].endswith(f" no outcome is known yet. Not bought: {second} and {third}, not begun.")
        assert [item["status"] for item in told["items"]] == ["pending", "failed", "failed"]
        reference.faults.let_go()
        with anyio.fail_after(30):
            while told.outcome == "pending":
                told = await talk.call("get_operation", operation_id=asked["operation_id"])
        freed = await buy(talk, three[1:])
    assert told.outcome == "partly_done"
    assert [item["charged"] for item in told["items"]] == ["yes", "no", "no"]
    assert "it was withdrawn before its turn came" in told["items"][2]["message"]
    assert freed.outcome == "confirmation_required"
    assert len(reference.charges) == 1


async def test_a_lost_answer_leaves_the_rest_and_is_found_out_when_asked(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference, settle_seconds=1) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.faults.switch_on("lost_reply", on={"purchase"}, times=1)
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
        assert told["items"][2]["code"] in {"NOT_BEGUN", None}
        assert "None of" not in told["summary"]  # one of them may be bought
        with anyio.fail_after(20):
            while told.outcome in {"pending", "unknown"}:
                told = await talk.call("get_operation", operation_id=asked["operation_id"])
    bought = [charge.e164 for charge in reference.charges]
    assert bought == [item["e164"] for item in told["items"] if item["charged"] == "yes"]


async def test_one_that_may_be_bought_is_not_among_none(reference: Simulator) -> None:
    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        reference.faults.switch_on("error_before", on={"purchase"}, times=1)
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
    assert (told.outcome, told["charged"]) == ("unknown", "unknown")
    assert told["summary"].startswith(
        f"Buying 3 numbers was stopped. No usable answer to buying {spoken(three[0].e164)}"
    )
    assert "5.00 in the account currency may have been charged." in told["summary"]
    assert told["summary"].endswith(f"Not bought: {' and '.join(spoken(one.e164) for one in three[1:])}, not begun.")


async def test_where_calls_go_is_said_of_those_that_are_bought(reference: Simulator) -> None:
    four = offers(reference, 4)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, four[:2], endpoint_id="Support agent")
        both = await buy(talk, four[:2], endpoint_id="Support agent", confirmation_code=asked["confirmation_code"])
        asked = await buy(talk, four[2:])
        reference.faults.switch_on("stolen_number")
        one = await buy(talk, four[2:], confirmation_code=asked["confirmation_code"])
    assert both["summary"].endswith('; their calls go to "Support agent".')
    assert "; its calls go nowhere yet. Not bought: " in one["summary"]
    assert one["summary"].endswith(", no longer for sale.")
    assert "ask again for those" not in one["next_step"]


async def test_numbers_that_cannot_be_read_after_the_yes_are_never_told_as_unspent(
    reference: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: StoredJournal, __: str) -> tuple[Operation, ...]:
        raise JournalError("The journal is locked.")

    three = offers(reference)
    async with open_talk(reference) as talk:
        await seen(talk)
        asked = await buy(talk, three)
        monkeypatch.setattr(StoredJournal, "items", fail)
        told = await buy(talk, three, confirmation_code=asked["confirmation_code"])
    assert (told.failed, told["charged"], told["operation_id"]) == (True, "unknown", asked["operation_id"])
    assert len(reference.charges) == 3


async def test_texts_of_batches_are_short(reference: Simulator) -> None:
    ten = offers(reference, 10)
    async with open_talk(reference, daily_budget_cents=1_000_000) as talk:
        await seen(talk)
        few = await buy(talk, ten[:3])
        assert f"buy {named(ten[:3])}: " in (await talk.call("list_operations")).text
        await talk.call("cancel_operation", operation_id=few["operation_id"])
        asked = await buy(talk, ten)
        done = await buy(talk, ten, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert len(done.text) <= 1_000
    assert len(asked.text) <= 1_500
