"""Every tool answers in time, and a price that moved stops the purchase."""

import time
from typing import Any

import anyio
import pytest
from mcp.types import ElicitResult

from kros_mcp.krosai.text import clean
from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.person import CANCEL, DECLINE, EMPTY, Person, accept
from tests.support.talk import open_talk, settings_for
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

IN_TIME = 0.5
AT_MOST = 10.0  # a busy machine; KrosAI would take 30 seconds, or for ever
READS = ["search", "list_owned", "get", "list_endpoints", "get_endpoint"]


@pytest.mark.parametrize("fault", ["hold", "slow"])
async def test_every_tool_answers_in_time_when_krosai_does_not(reference: Simulator, era: str, fault: str) -> None:
    number, endpoint_id = next(iter(reference.owned.values())), next(iter(reference.endpoints))
    item = item_of(reference)
    calls = {
        "list_phone_numbers": {},
        "get_phone_number": {"number_id": number.id},
        "search_phone_numbers": {"country": "NG"},
        "list_endpoints": {},
        "get_spending": {},
        "buy_phone_number": {"e164": item.e164, "country": "NG", "type": "local"},
        "configure_phone_number": {"number_id": number.id, "endpoint_id": endpoint_id, "allow_outbound": True},
        "release_phone_number": {"number_id": number.e164},
        "get_operation": {"operation_id": "op_none"},
        "cancel_operation": {"operation_id": "op_none"},
    }
    parameters = {"seconds": 30.0} if fault == "slow" else {}
    reference.faults.switch_on(fault, times=None, on=READS, **parameters)
    async with open_talk(reference, era, answer_within_seconds=IN_TIME) as talk, anyio.create_task_group() as tasks:

        async def in_time(name: str, arguments: dict[str, object]) -> None:
            began = time.monotonic()
            result = await talk.call(name, **arguments)
            assert time.monotonic() - began < AT_MOST
            asks_krosai = not name.endswith("_operation")
            if name == "get_spending":  # the journal's sums need no KrosAI
                assert (result.failed, result["run_rate_complete"], result["spent_24h_cents"]) == (False, False, 0)
                assert "could not be read from KrosAI" in result["summary"]
                return
            assert result.outcome == ("TOO_SLOW" if asks_krosai else "OPERATION_NOT_FOUND"), name
            assert result["charged"] == "no"

        for name, arguments in calls.items():
            tasks.start_soon(in_time, name, arguments)
    reference.faults.clear()
    assert wrote(reference) == []


@pytest.mark.parametrize("channel", ["prompt", "code"])
@pytest.mark.parametrize("after", [False, True], ids=["before charging", "after charging"])
async def test_a_held_purchase_answers_pending_and_goes_on(
    reference: Simulator, era: str, channel: str, after: bool
) -> None:
    item, person = item_of(reference), Person(accept("buy")) if channel == "prompt" else None
    reference.faults.switch_on("hold", on=["purchase"], after=after)
    async with open_talk(reference, era, person, answer_within_seconds=IN_TIME) as talk:
        code = "" if person else (await talk.buy(item))["confirmation_code"]
        began = time.monotonic()
        pending = await talk.buy(item, confirmation_code=code)
        assert time.monotonic() - began < AT_MOST
        assert (pending.outcome, pending["charged"], pending["changed"]) == ("pending", "unknown", "unknown")
        assert pending["confirmation_code"] is None
        again = await talk.buy(item)
        looked = await talk.call("get_operation", operation_id=pending["operation_id"])
        late = await talk.call("cancel_operation", operation_id=pending["operation_id"])
        assert (again.outcome, looked.outcome, late.outcome) == ("pending", "pending", "TOO_LATE")
        reference.faults.let_go()
        await reference.settled()
        done = await talk.call("get_operation", operation_id=pending["operation_id"])
    assert (done.outcome, done["charged"]) == ("done", "yes")
    assert len(reference.charges) == 1


async def test_a_held_change_answers_pending_and_goes_on(reference: Simulator, era: str) -> None:
    number = next(iter(reference.owned.values()))
    reference.faults.switch_on("hold", on=["update"])
    async with open_talk(reference, era, answer_within_seconds=IN_TIME) as talk:
        pending = await talk.call("configure_phone_number", number_id=number.id, allow_outbound=True)
        assert (pending.outcome, pending["changed"], pending["after"]) == ("pending", "unknown", None)
        reference.faults.let_go()
        await reference.settled()
        shown = await talk.call("get_phone_number", number_id=number.id)
    assert shown["allow_outbound"] is True


async def test_a_lost_reply_is_unknown_and_then_found_out(reference: Simulator, era: str) -> None:
    item = item_of(reference)
    reference.faults.switch_on("lost_reply", on=["purchase"])
    async with open_talk(reference, era) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        found = await talk.buy(item, confirmation_code=code)
        again = await talk.buy(item, confirmation_code=code)
    assert (found.outcome, found["charged"]) == ("done", "yes")
    assert again["operation_id"] == found["operation_id"]
    assert len(reference.charges) == 1


async def test_an_outcome_that_cannot_be_found_out_yet_is_unknown(
    reference: Simulator, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, buying = item_of(reference), reference.buy

    def buy_and_list_nothing_more(*order: Any, **how: Any) -> SimNumber:
        reference.faults.switch_on("error_before", times=None, on=["list_owned"])
        return buying(*order, **how)

    monkeypatch.setattr(reference, "buy", buy_and_list_nothing_more)
    async with open_talk(reference, era, answer_within_seconds=IN_TIME) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        reference.faults.switch_on("lost_reply", on=["purchase"])
        unknown = await talk.buy(item, confirmation_code=code)
        assert (unknown.outcome, unknown["charged"], unknown["changed"]) == ("unknown", "unknown", "unknown")
        assert ", when the server looks at KrosAI again, and tell" in unknown["next_step"]
        repeated = await talk.buy(item, confirmation_code=code)
        assert repeated["operation_id"] == unknown["operation_id"]
        other_settings = await talk.buy(item, allow_outbound=False)
        assert other_settings["operation_id"] == unknown["operation_id"]
        assert len(reference.charges) == 1
        spending = reference.charges[0].cents
        reference.faults.clear()
        books = await talk.call("get_spending")
        assert books["spent_24h_cents"] == spending


async def test_a_price_that_moved_stops_the_purchase_and_is_asked_about_anew(sim: Simulator, era: str) -> None:
    item = item_of(sim)
    async with open_talk(sim, era, currency="USD") as talk:
        first = await talk.buy(item)
        item.monthly_cost_cents += 150
        moved = await talk.buy(item, confirmation_code=first["confirmation_code"])
        assert (moved.outcome, moved["charged"]) == ("confirmation_required", "no")
        assert "5.00 USD" in moved["summary"]
        assert "6.50 USD" in moved["summary"]
        assert moved["operation_id"] != first["operation_id"]
        assert moved["confirmation_code"] not in {None, first["confirmation_code"]}
        assert moved["quote"]["due_now_cents"] == 650
        assert wrote(sim) == []
        old = await talk.buy(item, confirmation_code=first["confirmation_code"])
        assert old.outcome == "WRONG_CODE"
        ended = await talk.call("get_operation", operation_id=first["operation_id"])
        assert (ended.outcome, ended["charged"]) == ("failed", "no")
        done = await talk.buy(item, confirmation_code=moved["confirmation_code"])
    assert done.outcome == "done"
    assert [charge.cents for charge in sim.charges] == [650]


async def test_a_price_that_moved_under_a_prompt_is_asked_about_by_a_prompt(reference: Simulator, era: str) -> None:
    item, person = item_of(reference), Person(accept("buy"), accept("buy"))
    person.thinking = anyio.Event()
    async with open_talk(reference, era, person) as talk:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.buy, item)
            await person.asked.wait()
            item.monthly_cost_cents += 150
            person.thinking.set()
        [moved] = talk.results
        assert (moved.outcome, moved["confirmation_code"]) == ("confirmation_required", None)
        assert "6.50" in moved["summary"]
        assert wrote(reference) == []
        done = await talk.buy(item)
    assert done.outcome == "done"
    assert "6.50" in person.prompts[1]
    assert [charge.cents for charge in reference.charges] == [650]


async def test_where_only_prompts_count_a_price_that_moved_is_a_failure(reference: Simulator, era: str) -> None:
    item, person = item_of(reference), Person(accept("buy"))
    person.thinking = anyio.Event()
    async with open_talk(reference, era, person, confirmation="prompt") as talk, anyio.create_task_group() as tasks:
        tasks.start_soon(talk.buy, item)
        await person.asked.wait()
        item.monthly_cost_cents += 150
        person.thinking.set()
    [moved] = talk.results
    assert (moved.outcome, moved["charged"], moved.failed) == ("PRICE_CHANGED", "no", True)
    assert "5.00" in moved["message"]
    assert "6.50" in moved["message"]
    assert wrote(reference) == []


async def test_a_price_that_moved_beyond_the_limit_is_told_and_not_asked_about(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_talk(reference, max_purchase_cents=600) as talk:
        first = await talk.buy(item)
        item.monthly_cost_cents += 150
        moved = await talk.buy(item, confirmation_code=first["confirmation_code"])
    assert (moved.outcome, moved["charged"]) == ("PRICE_CHANGED", "no")
    assert "6.50" in moved["message"]
    assert wrote(reference) == []


@pytest.mark.promise(6)
async def test_another_principal_s_operation_looks_like_none_at_all(
    reference: Simulator, era: str, journal: Journal
) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, journal=journal, principal="ada") as ada:
        asked = await ada.buy(item)
        theirs, none = asked["operation_id"], "op_aaaaaaaaaaaaaaaa"
        async with open_talk(reference, era, journal=journal, principal="bob") as bob:
            for tool in ("get_operation", "cancel_operation"):
                real = await bob.call(tool, operation_id=theirs)
                invented = await bob.call(tool, operation_id=none)
                assert real.outcome == "OPERATION_NOT_FOUND"
                assert real.text.replace(theirs, none) == invented.text
                assert str(real.data).replace(theirs, none) == str(invented.data)
        assert (await ada.call("get_operation", operation_id=theirs)).outcome == "confirmation_required"


@pytest.mark.promise(2)
@pytest.mark.parametrize("mode", ["prompt", "approver"])
@pytest.mark.parametrize("no", [None, DECLINE, CANCEL, EMPTY], ids=["no prompts", "decline", "cancel", "empty"])
async def test_no_sequence_of_calls_alone_spends_where_a_person_must_agree(
    reference: Simulator, era: str, mode: str, no: ElicitResult | None, journal: Journal
) -> None:
    """Codes are tried too: invented ones, and those of operations from before the stricter setting."""
    number, protected = reference.owned.values()
    items = [item_of(reference, nth=nth) for nth in range(2)]
    async with open_talk(reference, era, journal=journal) as lax:
        codes = [(await lax.buy(item))["confirmation_code"] for item in items]
        release = await lax.call("release_phone_number", number_id=number.id)
        codes += [release["confirmation_code"], "AAAA-AAAA", ""]
    endpoint_id = next(iter(reference.endpoints))
    before = repr(reference.owned), repr(reference.charges)
    person = Person(*[no] * 100) if no else None
    settings = {"confirmation": mode, "protected_numbers": f"{protected.e164},{number.e164}"}
    async with open_talk(reference, era, person, journal=journal, **settings) as talk:
        for code in codes:
            for item in items:
                for more in ({}, {"allow_inbound": False}, {"endpoint_id": endpoint_id}):
                    await talk.buy(item, confirmation_code=code, **more)
            for name in (number.id, number.e164, protected.id):
                await talk.call("release_phone_number", number_id=name, confirmation_code=code)
                for more in ({"allow_inbound": "off"}, {"endpoint_id": endpoint_id, "allow_outbound": "on"}):
                    await talk.call("configure_phone_number", number_id=name, confirmation_code=code, **more)
        for operation in await journal.list_operations():
            looked = await talk.call("get_operation", operation_id=operation.id)
            assert looked.outcome not in {"done", "pending", "unknown"}
        assert all(result.data.get("confirmation_code") is None for result in talk.results)
    assert (repr(reference.owned), repr(reference.charges)) == before
    assert wrote(reference) == []


async def test_an_approver_is_waited_for(reference: Simulator, era: str) -> None:
    person = Person(accept("buy"))
    async with open_talk(reference, era, person, confirmation="approver") as talk:
        waiting = await talk.buy(item_of(reference))
        assert (waiting.outcome, waiting["confirmation_code"]) == ("awaiting_approval", None)
        looked = await talk.call("get_operation", operation_id=waiting["operation_id"])
        assert looked.outcome == "awaiting_approval"
        cancelled = await talk.call("cancel_operation", operation_id=waiting["operation_id"])
    assert cancelled.outcome == "cancelled"
    assert person.prompts == []
    assert wrote(reference) == []


async def test_hostile_names_are_cleaned_and_stay_out_of_summary_and_prompt(sim: Simulator, era: str) -> None:
    sim.faults.switch_on("hostile_names", times=None)
    item, endpoint_id, number = item_of(sim), next(iter(sim.endpoints)), next(iter(sim.owned.values()))
    person = Person(accept("buy"), accept("keep"))
    async with open_talk(sim, era, person) as talk:
        listed = await talk.call("list_endpoints")
        await talk.call("get_phone_number", number_id=number.id)
        await talk.call("buy_phone_number", e164=item.e164, country="NG", type="local", endpoint_id=endpoint_id)
        await talk.call("release_phone_number", number_id=number.id)
        await talk.call("configure_phone_number", number_id=number.id, endpoint_id=endpoint_id, allow_outbound=True)
    assert len(person.prompts) == 2
    for name in (endpoint["name"] for endpoint in listed["endpoints"]):
        assert name == clean(name)
        assert 0 < len(name) <= 60
        assert name.isprintable()
    for said in (*person.prompts, *(result["summary"] for result in talk.results)):
        assert "Ignore" not in said
        assert "untrusted" not in said
    for result in talk.results:
        assert not set(result.text) & set("\x1b\x00\r\u202e\u2066\u2069\u202c\u200b")


async def test_only_the_test_key_is_not_live(reference: Simulator) -> None:
    assert settings_for(reference).environment == "test"
    async with open_talk(reference) as talk:
        asked = await talk.buy(item_of(reference))
    assert asked["quote"]["environment"] == "test"
    assert asked["summary"].startswith("With a test key, ")
