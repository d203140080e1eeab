"""Giving a number up, and changing where its calls go."""

from typing import Any

import pytest
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.clock import Clock
from tests.support.person import DECLINE, Person, Reply, accept
from tests.support.talk import open_talk
from tests.support.upstream import item_of, state_of, wrote

pytestmark = pytest.mark.anyio


def owned(sim: Simulator, nth: int = 0) -> SimNumber:
    return list(sim.owned.values())[nth]


def gone(sim: Simulator, number_id: str) -> bool:
    return number_id not in sim.owned or sim.owned[number_id].status == "inactive"


@pytest.mark.parametrize("name", ["id", "e164"])
async def test_a_release_by_code_says_what_is_lost(sim: Simulator, era: str, name: str) -> None:
    number = owned(sim)
    named = getattr(number, name)
    async with open_talk(sim, era) as talk:
        asked = await talk.call("release_phone_number", number_id=named)
        assert asked.outcome == "confirmation_required"
        for said in ("will stop", 'go to "Support agent"', "cannot be undone", "refunded", "stops billing"):
            assert said in asked["summary"]
        assert str(number.endpoint_id)[-4:] not in asked["summary"]
        assert wrote(sim) == []
        done = await talk.call("release_phone_number", number_id=named, confirmation_code=asked["confirmation_code"])
        again = await talk.call("release_phone_number", number_id=named, confirmation_code=asked["confirmation_code"])
    assert (done.outcome, done["changed"], done["charged"]) == ("done", "yes", "no")
    assert again["operation_id"] == done["operation_id"]
    assert gone(sim, number.id)
    assert wrote(sim) == ["DELETE"]


async def test_a_release_wants_the_last_four_digits(reference: Simulator, era: str) -> None:
    number, person = owned(reference), Person(accept("release", "0199"))
    async with open_talk(reference, era, person) as talk:
        done = await talk.call("release_phone_number", number_id=number.id)
    assert done.outcome == "done"
    [prompt], [form] = person.prompts, person.forms
    assert set(form) == {"type", "properties", "required"}
    assert number.e164 in prompt
    assert "last four digits" in prompt
    assert f'"Support agent" (id …{str(number.endpoint_id)[-4:]})' in prompt
    assert form["properties"]["decision"]["enum"] == ["keep", "release"]
    assert gone(reference, number.id)


@pytest.mark.parametrize("typed", ["0198", "", "9", "019", "00199", "2348035550199", None])
async def test_wrong_digits_three_times_keep_the_number(reference: Simulator, era: str, typed: str | None) -> None:
    number, person = owned(reference), Person(*[accept("release", typed)] * 3)
    async with open_talk(reference, era, person) as talk:
        result = await talk.call("release_phone_number", number_id=number.e164)
    assert (result.outcome, result["changed"]) == ("declined", "no")
    assert len(set(person.prompts)) == len(person.prompts) == 3
    assert wrote(reference) == []


async def test_the_right_digits_on_the_third_try_release(reference: Simulator, era: str) -> None:
    number = owned(reference)
    person = Person(accept("release", "0198"), accept("release", "0000"), accept("release", " 01 99 "))
    async with open_talk(reference, era, person) as talk:
        result = await talk.call("release_phone_number", number_id=number.e164)
    assert result.outcome == "done"
    assert "Try 3 of 3" in person.prompts[2]
    assert wrote(reference) == ["DELETE"]


@pytest.mark.parametrize("digits", ["0199", "0198", ""])
async def test_keep_keeps_whatever_was_typed(reference: Simulator, era: str, digits: str) -> None:
    number, person = owned(reference), Person(accept("keep", digits))
    async with open_talk(reference, era, person) as talk:
        result = await talk.call("release_phone_number", number_id=number.e164)
    assert result.outcome == "declined"
    assert wrote(reference) == []


async def test_keep_after_wrong_digits_ends_it(reference: Simulator, era: str) -> None:
    number, person = owned(reference), Person(accept("release", "1111"), accept("keep", "0199"))
    async with open_talk(reference, era, person) as talk:
        result = await talk.call("release_phone_number", number_id=number.e164)
    assert result.outcome == "declined"
    assert len(person.prompts) == 2
    assert wrote(reference) == []


async def test_a_protected_number_is_never_released(reference: Simulator, era: str) -> None:
    number, person = owned(reference), Person()
    async with open_talk(reference, era, person, protected_numbers=number.e164) as talk:
        for name in (number.id, number.e164):
            refused = await talk.call("release_phone_number", number_id=name)
            assert (refused.outcome, refused["changed"]) == ("PROTECTED_NUMBER", "no")
    assert person.prompts == []
    assert wrote(reference) == []


async def test_a_permanent_release_needs_the_operator_s_leave(reference: Simulator) -> None:
    number = owned(reference)
    async with open_talk(reference) as talk:
        refused = await talk.call("release_phone_number", number_id=number.id, permanent=True)
    assert refused.outcome == "PERMANENT_DELETE_OFF"
    async with open_talk(reference, allow_permanent_delete=True) as talk:
        asked = await talk.call("release_phone_number", number_id=number.id, permanent=True)
        assert "record is deleted" in asked["summary"]
        code = asked["confirmation_code"]
        soft = await talk.call("release_phone_number", number_id=number.id, confirmation_code=code)
        assert soft.outcome == "SETTINGS_DIFFER"
        done = await talk.call("release_phone_number", number_id=number.id, permanent=True, confirmation_code=code)
    assert done.outcome == "done"
    assert number.id not in reference.owned


async def test_a_number_released_before_is_said_to_be(reference: Simulator, era: str) -> None:
    number = owned(reference, 1)
    assert number.status == "inactive"
    async with open_talk(reference, era) as talk:
        for name in (number.id, number.e164):
            result = await talk.call("release_phone_number", number_id=name)
            assert (result.outcome, result["changed"]) == ("ALREADY_RELEASED", "no")
    assert wrote(reference) == []


@pytest.mark.promise(9)
async def test_a_release_acts_on_the_number_that_was_shown(reference: Simulator) -> None:
    number = owned(reference)
    async with open_talk(reference) as talk:
        asked = await talk.call("release_phone_number", number_id=number.id)
        number.e164 = "+2348035550142"
        result = await talk.call(
            "release_phone_number", number_id=number.id, confirmation_code=asked["confirmation_code"]
        )
    assert (result.outcome, result["changed"]) == ("NUMBER_CHANGED", "no")
    assert wrote(reference) == []


SWITCHES = [
    ({"allow_inbound": "off"}, (False, False)),
    ({"allow_inbound": False}, (False, False)),
    ({"allow_outbound": "on"}, (True, True)),
    ({"allow_outbound": True}, (True, True)),
    ({"allow_inbound": "keep", "allow_outbound": "ON"}, (True, True)),
    ({"allow_inbound": "false", "allow_outbound": "true"}, (False, True)),
]


@pytest.mark.parametrize(("given", "expected"), SWITCHES)
@pytest.mark.parametrize("name", ["id", "e164"])
async def test_switches_are_words_or_booleans(
    reference: Simulator, name: str, given: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    number = owned(reference)
    async with open_talk(reference) as talk:
        result = await talk.call("configure_phone_number", number_id=getattr(number, name), **given)
    assert (result.outcome, result["charged"], result["changed"]) == ("done", "no", "yes")
    assert (number.allow_inbound, number.allow_outbound) == expected
    assert (result["before"]["allow_inbound"], result["before"]["allow_outbound"]) == (True, False)
    assert (result["after"]["allow_inbound"], result["after"]["allow_outbound"]) == expected
    assert result["after"]["endpoint_id"] == number.endpoint_id


async def test_what_stands_already_is_not_written_again(sim: Simulator) -> None:
    number = owned(sim)
    async with open_talk(sim) as talk:
        result = await talk.call(
            "configure_phone_number", number_id=number.id, endpoint_id=number.endpoint_id, allow_inbound="on"
        )
    assert (result.outcome, result["changed"], result["not_applied"]) == ("done", "no", [])
    assert wrote(sim) == []


@pytest.mark.parametrize("ignored", ["ignore_snake_case", "ignore_camel_case"])
async def test_a_spelling_that_krosai_ignores_is_made_up_for(sim: Simulator, ignored: str) -> None:
    number, endpoint_id = owned(sim), list(sim.endpoints)[1]
    sim.faults.switch_on(ignored, times=None)
    async with open_talk(sim) as talk:
        result = await talk.call("configure_phone_number", number_id=number.id, endpoint_id=endpoint_id)
    assert (result.outcome, result["not_applied"]) == ("done", [])
    assert number.endpoint_id == endpoint_id


async def test_what_krosai_does_not_apply_is_told(sim: Simulator) -> None:
    number, endpoint_id = owned(sim), list(sim.endpoints)[1]
    for ignored in ("ignore_snake_case", "ignore_camel_case"):
        sim.faults.switch_on(ignored, times=None)
    before = number.endpoint_id
    async with open_talk(sim) as talk:
        result = await talk.call("configure_phone_number", number_id=number.id, endpoint_id=endpoint_id)
    assert (result.outcome, result["changed"], result["not_applied"]) == ("done", "no", ["endpoint_id"])
    assert "KrosAI did not apply the endpoint" in result["summary"]
    assert result["after"]["endpoint_id"] == before


async def test_a_purchase_tells_settings_that_krosai_does_not_apply(sim: Simulator) -> None:
    item, endpoint_id = item_of(sim), list(sim.endpoints)[1]
    for ignored in ("ignore_snake_case", "ignore_camel_case"):
        sim.faults.switch_on(ignored, times=None)
    async with open_talk(sim) as talk:
        asked = await talk.buy(item, endpoint_id=endpoint_id)
        done = await talk.buy(item, endpoint_id=endpoint_id, confirmation_code=asked["confirmation_code"])
    assert (done.outcome, done["charged"]) == ("done", "yes")
    assert "endpoint_id" in done["not_applied"]
    assert "KrosAI did not apply the endpoint" in done["summary"]
    assert "endpoint_id" not in done["summary"]
    assert len(sim.charges) == 1


@pytest.mark.parametrize("channel", ["prompt", "code"])
async def test_a_protected_number_is_changed_only_after_a_yes(reference: Simulator, era: str, channel: str) -> None:
    number = owned(reference)
    person = Person(accept("change")) if channel == "prompt" else None
    async with open_talk(reference, era, person, protected_numbers=number.e164) as talk:
        result = await talk.call("configure_phone_number", number_id=number.id, allow_inbound="off")
        if channel == "code":
            assert result.outcome == "confirmation_required"
            assert number.allow_inbound is True
            assert "protected" in result["summary"]
            result = await talk.call(
                "configure_phone_number",
                number_id=number.id,
                allow_inbound="off",
                confirmation_code=result["confirmation_code"],
            )
    assert (result.outcome, result["changed"], result["charged"]) == ("done", "yes", "no")
    assert (result["after"]["allow_inbound"], number.allow_inbound) == (False, False)


@pytest.mark.promise(7)
async def test_a_no_to_the_change_of_a_protected_number_counts_while_krosai_cannot_be_read(
    reference: Simulator, era: str
) -> None:
    class Late(Person):
        async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:
            reference.faults.switch_on("refuse", times=None)
            return await super().answer(context, params)

    number = owned(reference)
    async with open_talk(reference, era, Late(DECLINE), protected_numbers=number.e164) as talk:
        result = await talk.call("configure_phone_number", number_id=number.e164, allow_inbound="off")
        assert result.outcome == "declined"
    assert wrote(reference) == []


async def test_a_protected_number_stays_as_it_is_after_a_no(reference: Simulator, era: str) -> None:
    number, person = owned(reference), Person(accept("do not change"))
    before = state_of(reference)
    async with open_talk(reference, era, person, protected_numbers=number.e164) as talk:
        result = await talk.call("configure_phone_number", number_id=number.e164, allow_inbound="off")
    assert (result.outcome, result["changed"]) == ("declined", "no")
    assert number.e164 in person.prompts[0]
    assert state_of(reference) == before


async def test_a_released_number_can_be_bought_again_and_released_again(
    guide: Simulator, clock: Clock, journal: Journal
) -> None:
    """On this profile a released number is for sale again; a code of before is worth nothing then."""
    item = item_of(guide)
    async with open_talk(guide, journal=journal) as talk:
        codes = []
        for _ in range(2):
            clock.now += 1
            asked = await talk.buy(item)
            codes.append(asked["confirmation_code"])
            assert (await talk.buy(item, confirmation_code=codes[-1])).outcome == "done"
            clock.now += 1
            release = await talk.call("release_phone_number", number_id=item.e164)
            code = release["confirmation_code"]
            assert code
            done = await talk.call("release_phone_number", number_id=item.e164, confirmation_code=code)
            assert done.outcome == "done"
    assert codes[0] != codes[1]
    assert len(guide.charges) == 2
