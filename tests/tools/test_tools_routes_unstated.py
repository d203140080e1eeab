"""Numbers of which KrosAI does not state where their calls go: that is not known, and nowhere is something else."""

from typing import Any

import pytest

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator, answers
from tests.support.talk import open_talk
from tests.support.unstated import leave_out_routes
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["left out", "an object", "not an id"])
def unstated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"left out": None, "an object": {"id": "ep_1"}, "not an id": "Support agent"}
    leave_out_routes(monkeypatch, odd=odd[request.param])


def living_of(sim: Simulator) -> Any:
    return next(number for number in sim.owned.values() if number.status == "active")


@pytest.mark.usefixtures("unstated")
async def test_a_list_and_a_number_say_that_it_is_not_stated(sim: Simulator, era: str) -> None:
    number = living_of(sim)
    async with open_talk(sim, era) as talk:
        listed = await talk.call("list_phone_numbers")
        shown = await talk.call("get_phone_number", number_id=number.e164)
    for told in (listed, shown):
        assert "nowhere" not in told.text
        assert "unrouted" not in str(told)
    assert "\nWhere calls go is not stated:\n" in listed.text
    assert {one["endpoint_id"] for one in listed["numbers"]} == {None}
    assert f"{shown['spoken']} is active, where its calls go is not stated, and it costs " in shown["summary"]
    assert "\nEndpoint: not stated by KrosAI.\n" in shown.text


@pytest.mark.usefixtures("unstated")
async def test_those_are_not_counted_as_going_nowhere_and_it_is_said_how_many_they_are(sim: Simulator) -> None:
    living = sum(number.status != "inactive" for number in sim.owned.values())
    async with open_talk(sim) as talk:
        for asked, goes in (("unrouted", "nowhere"), (next(iter(sim.endpoints)), 'to "Support agent"')):
            told = await talk.call("list_phone_numbers", endpoint_id=asked)
            numbers = "number" if living == 1 else "numbers"
            said = f"The account has no number that goes {goes}. Where calls to {living} {numbers} go is not stated."
            assert told["summary"] == said
            assert (told["numbers"], told["total"]) == ([], 0)


async def test_those_that_certainly_go_nowhere_are_listed_beside_them(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers.number_body

    def only_null(account: Any, number: Any) -> dict[str, Any]:
        body = whole(account, number)
        return {name: value for name, value in body.items() if name != "endpoint_id" or value is None}

    monkeypatch.setattr(answers, "number_body", only_null)
    async with open_talk(sim) as talk:
        await talk.buy(item_of(sim), confirmation_code=(await talk.buy(item_of(sim)))["confirmation_code"])
        told = await talk.call("list_phone_numbers", endpoint_id="unrouted")
    nowhere = {one.e164 for one in sim.owned.values() if one.endpoint_id is None and one.status != "inactive"}
    assert {one["e164"] for one in told["numbers"]} == nowhere
    assert {one["endpoint_id"] for one in told["numbers"]} == {"unrouted"}
    assert told["summary"].endswith(" Where calls to 1 other number go is not stated.")


@pytest.mark.usefixtures("unstated")
async def test_a_number_is_detached_by_a_request_though_it_shows_no_endpoint(sim: Simulator) -> None:
    number = living_of(sim)
    assert number.endpoint_id is not None
    async with open_talk(sim) as talk:
        told = await talk.call("configure_phone_number", number_id=number.e164, endpoint_id="unrouted")
    assert number.endpoint_id is None
    assert (told.outcome, told["changed"], told["not_applied"]) == ("done", "unknown", ["endpoint_id"])
    said = f"{told['number']['spoken']} may have been changed: KrosAI does not state where its calls go."
    assert told["summary"] == said
    assert (told["before"]["endpoint_id"], told["after"]["endpoint_id"]) == (None, None)


@pytest.mark.usefixtures("unstated")
async def test_what_krosai_surely_did_not_apply_is_told_beside_it(sim: Simulator, journal: Journal) -> None:
    number = living_of(sim)
    sim.faults.switch_on("ignore_snake_case", times=None)
    sim.faults.switch_on("ignore_camel_case", times=None)
    wish = {"number_id": number.e164, "endpoint_id": "unrouted", "allow_inbound": "off"}
    async with open_talk(sim, journal=journal) as talk:
        told = await talk.call("configure_phone_number", **wish)
    assert (told["changed"], told["not_applied"]) == ("unknown", ["endpoint_id", "allow_inbound"])
    assert told["summary"].endswith(
        " is not changed as asked: KrosAI did not apply inbound calls, and does not state where its calls go."
    )
    async with open_talk(sim, journal=journal, protected_numbers=number.e164) as talk:
        asked = await talk.call("configure_phone_number", **wish)
        done = await talk.call("configure_phone_number", **wish, confirmation_code=asked["confirmation_code"])
    assert (done["changed"], done["not_applied"]) == ("unknown", ["endpoint_id", "allow_inbound"])
    assert " KrosAI did not apply inbound calls. KrosAI does not state where its calls go, so " in done["summary"]


@pytest.mark.usefixtures("unstated")
async def test_of_several_it_is_said_that_they_may_have_been_changed(sim: Simulator) -> None:
    first, *_ = numbers = [living_of(sim)]
    bought = item_of(sim)
    async with open_talk(sim) as talk:
        done = await talk.buy(bought, confirmation_code=(await talk.buy(bought))["confirmation_code"])
        assert done["summary"].endswith(" Where its calls go is not stated.")
        assert done["number"]["endpoint_id"] is None
        assert "Offer to route its calls" in done["next_step"]
        numbers.append(list(sim.owned.values())[-1])
        wish = {"number_id": ",".join(one.e164 for one in numbers), "endpoint_id": "unrouted"}
        told = await talk.call("configure_phone_number", **wish)
    assert first.endpoint_id is None
    assert told["changed"] == "unknown"
    assert told["summary"].startswith("2 may have been changed: ")
    assert told.text.count("; KrosAI does not state endpoint_id") == 2


@pytest.mark.usefixtures("unstated")
async def test_a_person_is_asked_without_being_told_where_calls_go(sim: Simulator, journal: Journal) -> None:
    number = living_of(sim)
    async with open_talk(sim, journal=journal) as talk:
        asked = await talk.call("release_phone_number", number_id=number.e164)
        assert "means that calls to it will stop; where they go now is not stated. " in asked["summary"]
        code = asked["confirmation_code"]
        done = await talk.call("release_phone_number", number_id=number.e164, confirmation_code=code)
    assert done.outcome == "done"
    assert wrote(sim) == ["DELETE"]


@pytest.mark.usefixtures("unstated")
async def test_a_protected_number_is_detached_and_what_it_shows_is_told(sim: Simulator, journal: Journal) -> None:
    number = living_of(sim)
    wish = {"number_id": number.e164, "endpoint_id": "unrouted"}
    async with open_talk(sim, journal=journal, protected_numbers=number.e164) as talk:
        asked = await talk.call("configure_phone_number", **wish)
        assert "is a protected number, and where its calls go is not stated; " in asked["summary"]
        assert asked["before"]["endpoint_id"] is None
        done = await talk.call("configure_phone_number", **wish, confirmation_code=asked["confirmation_code"])
    assert number.endpoint_id is None
    assert (done.outcome, done["changed"], done["not_applied"]) == ("done", "unknown", ["endpoint_id"])
    assert " may have been changed. KrosAI does not state where its calls go, so " in done["summary"]


async def test_a_list_that_leaves_it_out_is_completed_by_reading_a_number_alone(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, bought = living_of(sim), item_of(sim)
    leave_out_routes(monkeypatch, alone=False)
    async with open_talk(sim) as talk:
        await talk.buy(bought, confirmation_code=(await talk.buy(bought))["confirmation_code"])
        wish = {"number_id": f"{number.e164},{bought.e164}"}
        asked = await talk.call("release_phone_number", **wish)
        assert 'now go to "Support agent"; those to ' in asked["summary"]
        assert asked["summary"].count("now go nowhere") == 1
        done = await talk.call("release_phone_number", **wish, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"


async def test_a_release_is_asked_again_once_krosai_states_where_calls_go(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = living_of(sim)
    async with open_talk(sim) as talk:
        with monkeypatch.context() as meanwhile:
            leave_out_routes(meanwhile)
            asked = await talk.call("release_phone_number", number_id=number.e164)
        code = asked["confirmation_code"]
        refused = await talk.call("release_phone_number", number_id=number.e164, confirmation_code=code)
    assert (refused.outcome, wrote(sim)) == ("NUMBER_CHANGED", [])
    assert "What KrosAI states of where calls to " in refused["message"]


async def test_an_endpoint_is_set_though_the_answer_to_the_order_stated_none(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, endpoint_id = item_of(sim), next(iter(sim.endpoints))
    sim.faults.switch_on("ignore_snake_case", on=["purchase"])
    leave_out_routes(monkeypatch, alone=False)
    async with open_talk(sim) as talk:
        asked = await talk.buy(item, endpoint_id=endpoint_id)
        done = await talk.buy(item, endpoint_id=endpoint_id, confirmation_code=asked["confirmation_code"])
    assert (done.outcome, done["not_applied"]) == ("done", [])
    assert list(sim.owned.values())[-1].endpoint_id == endpoint_id


@pytest.mark.usefixtures("unstated")
async def test_it_is_not_called_ignored_that_a_bought_number_shows_no_endpoint(sim: Simulator) -> None:
    item, endpoint_id = item_of(sim), next(iter(sim.endpoints))
    async with open_talk(sim) as talk:
        asked = await talk.buy(item, endpoint_id=endpoint_id)
        done = await talk.buy(item, endpoint_id=endpoint_id, confirmation_code=asked["confirmation_code"])
    assert (done.outcome, done["not_applied"]) == ("done", ["endpoint_id"])
    assert "did not apply" not in done.text
    assert " KrosAI does not state where its calls go, so whether " in done["summary"]
