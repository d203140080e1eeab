"""The same over stdio, as clients start the server: one process, KrosAI over TCP."""

from collections.abc import AsyncIterator

import anyio
import pytest
from mcp import MCPError

from kros_mcp.simulator import Simulator, open_server
from tests.support.person import CANCEL, DECLINE, EMPTY, ERROR, MALFORMED, Person, Reply, accept
from tests.support.talk import open_stdio_talk, open_talk, told
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

YES, NO = accept("buy"), accept("do not buy")


@pytest.fixture
async def krosai(reference: Simulator) -> AsyncIterator[str]:
    async with open_server(reference) as base_url:
        yield base_url


@pytest.mark.promise(7)
async def test_each_answer_to_a_prompt_spends_what_it_says(reference: Simulator, krosai: str, era: str) -> None:
    """One process for all answers, each for a number of its own: starting one takes the longest."""
    answers: dict[str, Reply] = {
        "declined": DECLINE,
        "cancelled": CANCEL,
        "no": NO,
        "error": ERROR,
        "malformed": MALFORMED,
        "empty": EMPTY,
        "yes": YES,
    }
    items = {name: item_of(reference, nth=nth) for nth, name in enumerate(answers)}
    person = Person(*answers.values())
    outcomes: dict[str, str] = {}
    async with open_stdio_talk(reference, krosai, era, person) as talk:
        for name, item in items.items():
            try:
                outcomes[name] = (await talk.buy(item)).outcome
            except MCPError as exc:
                assert era == "auto"  # in this era the client answers its caller with its own error
                outcomes[name] = exc.error.message
            charged = [charge.e164 for charge in reference.charges]
            assert charged == ([item.e164] if name == "yes" else [])
        for name in ("error", "malformed", "empty"):
            asked = await talk.buy(items[name])
            assert (asked.outcome, bool(asked["confirmation_code"])) == ("confirmation_required", True)
        assert len(reference.charges) == 1
        done = await talk.buy(items["empty"], confirmation_code=asked["confirmation_code"])
    assert outcomes == {
        "declined": "declined",
        "cancelled": "cancelled",
        "no": "declined",
        "error": "PROMPT_UNANSWERED" if era == "legacy" else ERROR.message,
        "malformed": "PROMPT_UNANSWERED",
        "empty": "PROMPT_UNANSWERED",
        "yes": "done",
    }
    assert done.outcome == "done"
    assert len(person.prompts) == len(answers)
    assert [charge.e164 for charge in reference.charges] == [items["yes"].e164, items["empty"].e164]


async def test_a_client_without_prompts_buys_by_code(reference: Simulator, krosai: str, era: str) -> None:
    item = item_of(reference)
    async with open_stdio_talk(reference, krosai, era) as talk:
        asked = await talk.buy(item)
        assert asked.outcome == "confirmation_required"
        assert wrote(reference) == []
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert len(reference.charges) == 1


async def test_where_only_prompts_count_such_a_client_is_refused(reference: Simulator, krosai: str, era: str) -> None:
    async with open_stdio_talk(reference, krosai, era, KROS_CONFIRMATION="prompt") as talk:
        refused = await talk.buy(item_of(reference))
        with_code = await talk.buy(item_of(reference), confirmation_code="AAAA-AAAA")
    assert (refused.outcome, with_code.outcome) == ("PROMPT_UNAVAILABLE", "CODE_NOT_USED")
    assert reference.requests == []


@pytest.mark.promise(8)
@pytest.mark.parametrize("before", [False, True], ids=["held after charging", "held before charging"])
async def test_a_cancelled_call_does_not_stop_a_purchase_that_was_begun(
    reference: Simulator, krosai: str, era: str, before: bool
) -> None:
    item = item_of(reference)
    async with open_stdio_talk(reference, krosai, era) as talk:
        asked = await talk.buy(item)
        reference.faults.switch_on("hold", on=["purchase"], after=not before)
        async with anyio.create_task_group() as tasks:

            async def buy() -> None:
                await talk.buy(item, confirmation_code=asked["confirmation_code"])

            tasks.start_soon(buy)
            await reference.faults.held()
            tasks.cancel_scope.cancel()
        under_way = await talk.call("get_operation", operation_id=asked["operation_id"])
        assert (under_way.outcome, under_way["charged"]) == ("pending", "unknown")
        reference.faults.let_go()
        await reference.settled()
        again = await talk.buy(item)
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (looked.outcome, looked["charged"]) == ("done", "yes")
    assert again["operation_id"] == asked["operation_id"]
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_a_client_that_times_out_finds_the_outcome_later(reference: Simulator, krosai: str, era: str) -> None:
    item = item_of(reference)
    async with open_stdio_talk(reference, krosai, era) as talk:
        asked = await talk.buy(item)
        reference.faults.switch_on("hold", on=["purchase"])
        arguments = {"e164": item.e164, "country": item.country, "type": item.type}
        with pytest.raises(MCPError):
            await talk.client.call_tool(
                "buy_phone_number",
                arguments | {"confirmation_code": asked["confirmation_code"]},
                read_timeout_seconds=1,
            )
        with anyio.fail_after(10):
            await reference.faults.held()
        reference.faults.let_go()
        await reference.settled()
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert looked.outcome == "done"
    assert [charge.e164 for charge in reference.charges] == [item.e164]


@pytest.mark.promise(8)
async def test_a_call_that_is_cancelled_before_the_yes_spends_nothing(
    reference: Simulator, krosai: str, era: str
) -> None:
    item, person = item_of(reference), Person(YES)
    person.thinking = anyio.Event()
    async with open_stdio_talk(reference, krosai, era, person) as talk:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.buy, item)
            await person.asked.wait()
            tasks.cancel_scope.cancel()
        asked = await talk.buy(item)
        assert asked.outcome == "confirmation_required"
        assert wrote(reference) == []


async def test_in_this_process_a_cancelled_call_does_not_stop_a_purchase_either(reference: Simulator, era: str) -> None:
    item = item_of(reference)
    async with open_talk(reference, era) as talk:
        asked = await talk.buy(item)
        reference.faults.switch_on("hold", on=["purchase"])
        async with anyio.create_task_group() as tasks:

            async def buy() -> None:
                await talk.buy(item, confirmation_code=asked["confirmation_code"])

            tasks.start_soon(buy)
            await reference.faults.held()
            tasks.cancel_scope.cancel()
        reference.faults.let_go()
        await reference.settled()
        done = await talk.buy(item)
    assert done.outcome == "done"
    assert len(reference.charges) == 1


async def test_a_failure_is_a_result_and_never_a_protocol_error(reference: Simulator, krosai: str, era: str) -> None:
    reference.faults.switch_on("html_page", times=None)
    async with open_stdio_talk(reference, krosai, era) as talk:
        for name, arguments in (
            ("nothing_of_the_kind", {}),
            ("buy_phone_number", {"limit": 3}),
            ("list_phone_numbers", {}),
            ("list_endpoints", {}),
            ("release_phone_number", {"number_id": "pn_1"}),
        ):
            result = told(name, await talk.client.call_tool(name, arguments))
            assert (result.failed, result["charged"], result["changed"]) == (True, "no", "no")
