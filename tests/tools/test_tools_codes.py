"""Confirming by a code in conversation, for clients that cannot show a prompt."""

import json

import pytest

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.talk import open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio
WRONG = "AAAA-AAAA"


async def test_a_code_buys_once_and_a_spent_code_returns_the_outcome(sim: Simulator, era: str) -> None:
    item = item_of(sim)
    async with open_talk(sim, era) as talk:
        asked = await talk.buy(item)
        assert asked.outcome == "confirmation_required"
        assert (asked["charged"], wrote(sim)) == ("no", [])
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        again = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        once_more = await talk.buy(item)
    assert (done.outcome, done["charged"], done["number"]["e164"]) == ("done", "yes", item.e164)
    assert again["operation_id"] == once_more["operation_id"] == done["operation_id"]
    assert (again.outcome, once_more.outcome) == ("done", "done")
    assert [charge.e164 for charge in sim.charges] == [item.e164]
    assert [charge.idempotency_key for charge in sim.charges] == [done["operation_id"]]


@pytest.mark.parametrize("spelling", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code} "])
async def test_a_code_is_taken_however_it_is_spelled(reference: Simulator, spelling: object) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        done = await talk.buy(item, confirmation_code=spelling(code))  # type: ignore[operator]
    assert done.outcome == "done"


async def test_the_code_stands_in_the_asking_result_alone(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        asked = await talk.buy(item)
        code = asked["confirmation_code"]
        assert code not in asked["summary"]
        assert code not in asked["next_step"]
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
        wrong = await talk.buy(item, confirmation_code=WRONG)
        done = await talk.buy(item, confirmation_code=code)
        looked_later = await talk.call("get_operation", operation_id=asked["operation_id"])
    for result in (looked, wrong, done, looked_later):
        assert code not in result.text
        assert code not in json.dumps(result.data)


async def test_five_wrong_codes_decline_the_operation_for_good(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        asked = await talk.buy(item)
        for _ in range(4):
            wrong = await talk.buy(item, confirmation_code=WRONG)
            assert (wrong.outcome, wrong["charged"]) == ("WRONG_CODE", "no")
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
        assert looked.outcome == "confirmation_required"
        fifth = await talk.buy(item, confirmation_code=WRONG)
        assert "declined" in fifth["message"]
        late = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (late.outcome, looked.outcome) == ("CODE_EXPIRED", "declined")
    assert wrote(reference) == []


async def test_the_fourth_wrong_code_leaves_the_right_one_good(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        for _ in range(4):
            await talk.buy(item, confirmation_code=WRONG)
        assert (await talk.buy(item, confirmation_code=code)).outcome == "done"


async def test_the_code_of_another_number_is_worth_nothing(reference: Simulator) -> None:
    one, other = item_of(reference), item_of(reference, nth=1)
    async with open_talk(reference) as talk:
        code = (await talk.buy(one))["confirmation_code"]
        before = await talk.buy(other, confirmation_code=code)
        assert before.outcome == "NO_CODE_ISSUED"
        await talk.buy(other)
        after = await talk.buy(other, confirmation_code=code)
        assert after.outcome == "WRONG_CODE"
        release = await talk.call("release_phone_number", number_id=one.e164, confirmation_code=code)
        assert release.outcome == "NO_CODE_ISSUED"
    assert wrote(reference) == []


async def test_the_code_of_a_purchase_never_releases(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        done = await talk.buy(item, confirmation_code=code)
        await talk.call("release_phone_number", number_id=item.e164)
        release = await talk.call("release_phone_number", number_id=item.e164, confirmation_code=code)
    assert release.outcome == "WRONG_CODE"
    assert reference.owned[done["number"]["number_id"]].status == "active"


async def test_a_code_lasts_ten_minutes(reference: Simulator, clock: Clock, journal: Journal) -> None:
    one, other = item_of(reference), item_of(reference, nth=1)
    async with open_talk(reference, journal=journal) as talk:
        codes = [(await talk.buy(item))["confirmation_code"] for item in (one, other)]
        clock.now += 599
        assert (await talk.buy(one, confirmation_code=codes[0])).outcome == "done"
        clock.now += 1
        late = await talk.buy(other, confirmation_code=codes[1])
        assert late.outcome == "CODE_EXPIRED"
        anew = await talk.buy(other)
    assert anew["confirmation_code"] not in codes
    assert [charge.e164 for charge in reference.charges] == [one.e164]


@pytest.mark.parametrize(
    "other", [{"allow_outbound": False}, {"allow_inbound": False}, {"endpoint_id": "that of the night desk"}]
)
async def test_a_code_confirms_only_the_settings_that_were_asked_about(
    reference: Simulator, other: dict[str, object]
) -> None:
    item = item_of(reference)
    endpoint_id = list(reference.endpoints)[2]
    other = {name: endpoint_id if name == "endpoint_id" else value for name, value in other.items()}
    async with open_talk(reference) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        differs = await talk.buy(item, confirmation_code=code, **other)
        assert differs.outcome == "SETTINGS_DIFFER"
        assert wrote(reference) == []
        assert (await talk.buy(item, confirmation_code=code)).outcome == "done"


async def test_the_sentence_says_what_is_agreed_to(reference: Simulator, era: str) -> None:
    item, endpoint_id = item_of(reference, "EG", "mobile"), next(iter(reference.endpoints))
    async with open_talk(reference, era, currency="USD") as talk:
        plain = await talk.buy(item)
        routed = await talk.buy(item, endpoint_id=endpoint_id, allow_outbound=False)
    for said in ("With a test key, ", "+20 ", " in Egypt", "16.00 USD now: 5.00 setup", "then 11.00 a month"):
        assert said in plain["summary"]
        assert said in routed["summary"]
    assert "Then" not in plain["summary"]
    assert 'calls go to "Support agent", outbound calls off' in routed["summary"]
    assert "inbound calls on" not in routed["summary"]


async def test_a_proposal_with_other_settings_takes_the_place_of_the_first(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        first = await talk.buy(item)
        second = await talk.buy(item, allow_outbound=False)
        assert first["operation_id"] != second["operation_id"]
        late = await talk.buy(item, confirmation_code=first["confirmation_code"])
        assert late.outcome == "WRONG_CODE"
        looked = await talk.call("get_operation", operation_id=first["operation_id"])
        assert looked.outcome == "cancelled"
        done = await talk.buy(item, allow_outbound=False, confirmation_code=second["confirmation_code"])
    assert done["number"]["allow_outbound"] is False
    assert len(reference.charges) == 1


async def test_a_code_is_worth_nothing_to_another_principal(reference: Simulator, journal: Journal) -> None:
    item = item_of(reference)
    async with open_talk(reference, journal=journal, principal="ada") as ada:
        asked = await ada.buy(item)
        async with open_talk(reference, journal=journal, principal="bob") as bob:
            stolen = await bob.buy(item, confirmation_code=asked["confirmation_code"])
            never_asked = await bob.buy(item_of(reference, nth=1), confirmation_code=asked["confirmation_code"])
        assert stolen.data == never_asked.data
        assert (stolen.outcome, stolen["operation_id"]) == ("NO_CODE_ISSUED", None)
        assert wrote(reference) == []
        assert (await ada.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "done"


async def test_a_code_after_cancelling_buys_nothing(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        asked = await talk.buy(item)
        cancelled = await talk.call("cancel_operation", operation_id=asked["operation_id"])
        assert (cancelled.outcome, cancelled["charged"]) == ("cancelled", "no")
        assert (await talk.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "CODE_EXPIRED"
        assert (await talk.call("cancel_operation", operation_id=asked["operation_id"])).outcome == "cancelled"
    assert wrote(reference) == []


async def test_an_operation_that_was_carried_out_cannot_be_cancelled(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference) as talk:
        asked = await talk.buy(item)
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        late = await talk.call("cancel_operation", operation_id=asked["operation_id"])
    assert (late.outcome, late["charged"]) == ("TOO_LATE", "yes")
    assert len(reference.charges) == 1


async def test_a_number_seen_in_a_search_is_bought_by_its_inventory_id_alone(sim: Simulator, era: str) -> None:
    async with open_talk(sim, era) as talk:
        found = await talk.call("search_phone_numbers", country="KE", type="mobile", limit=3)
        wanted = found["numbers"][1]
        asked = await talk.call("buy_phone_number", inventory_id=wanted["inventory_id"])
        assert asked["quote"]["e164"] == wanted["e164"]
        assert (asked["quote"]["due_now_cents"], asked["quote"]["monthly_cents"]) == (800, 800)
        done = await talk.call(
            "buy_phone_number",
            inventory_id=wanted["inventory_id"],
            confirmation_code=asked["confirmation_code"],
        )
    assert done.outcome == "done"
    assert [(charge.e164, charge.cents) for charge in sim.charges] == [(wanted["e164"], 800)]
