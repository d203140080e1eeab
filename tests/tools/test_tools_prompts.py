"""Confirming by the client's own prompt, in both eras, and what follows when nobody answers."""

import re
from collections.abc import AsyncIterator

import anyio
import pytest
from mcp import MCPError
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult, InputRequiredResult

from kros_mcp.errors import JournalError
from kros_mcp.operations import channels
from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import InventoryItem, Simulator
from tests.support.clock import Clock
from tests.support.person import CANCEL, DECLINE, EMPTY, ERROR, MALFORMED, Person, Reply, accept
from tests.support.screen import ScriptedScreen
from tests.support.talk import Talk, open_talk, told
from tests.support.upstream import item_of, state_of, wrote

pytestmark = pytest.mark.anyio

LEGACY = "2025-11-25"
YES = accept("buy")
NO = accept("do not buy")
UNANSWERED: dict[str, Reply] = {"error": ERROR, "malformed": MALFORMED, "no content": EMPTY}


async def buy_unanswered(talk: Talk, item: InventoryItem, answer: Reply) -> None:
    """Buy with a prompt that brings no usable answer.

    In the newest era a client that answers with an error tells its own caller, and the server hears nothing.
    """
    heard_by_server = talk.client.session.protocol_version == LEGACY or answer is not ERROR
    if not heard_by_server:
        with pytest.raises(MCPError, match=ERROR.message):
            await talk.buy(item)
    else:
        result = await talk.buy(item)
        assert (result.outcome, result["charged"], result["changed"]) == ("PROMPT_UNANSWERED", "no", "no")
        assert result["operation_id"]


async def test_a_yes_in_the_prompt_buys_once(sim: Simulator, era: str) -> None:
    item, person = item_of(sim), Person(YES)
    async with open_talk(sim, era, person) as talk:
        done = await talk.buy(item)
        again = await talk.buy(item)
    assert (done.outcome, done["charged"], done["confirmation_code"]) == ("done", "yes", None)
    assert again["operation_id"] == done["operation_id"]
    assert len(person.prompts) == 1
    assert [(charge.e164, charge.cents) for charge in sim.charges] == [(item.e164, 500)]


async def test_the_prompt_says_what_is_bought_and_offers_no_default(reference: Simulator, era: str) -> None:
    item, person = item_of(reference, "RW", "mobile"), Person(YES)
    endpoint_id = next(iter(reference.endpoints))
    async with open_talk(reference, era, person, currency="USD") as talk:
        done = await talk.buy(item, endpoint_id=endpoint_id, allow_inbound=False)
    [prompt], [form] = person.prompts, person.forms
    for said in (item.e164, "Rwanda", "14.00 USD", "setup: 5.00", "9.00 USD", "test key", done["operation_id"]):
        assert said in prompt
    assert f'calls go to "Support agent" (id …{endpoint_id[-4:]})' in prompt
    assert "inbound calls off" in prompt
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", prompt)
    assert form["required"] == ["decision"]
    assert form["properties"]["decision"]["enum"] == ["do not buy", "buy"]
    assert "default" not in form["properties"]["decision"]


@pytest.mark.parametrize(
    ("answer", "outcome"), [(NO, "declined"), (DECLINE, "declined"), (CANCEL, "cancelled")], ids=["no", "decline", "x"]
)
async def test_a_no_in_the_prompt_spends_nothing_and_never_falls_back_to_a_code(
    reference: Simulator, era: str, answer: ElicitResult, outcome: str
) -> None:
    item, person = item_of(reference), Person(answer, YES)
    async with open_talk(reference, era, person) as talk:
        result = await talk.buy(item)
        assert (result.outcome, result["charged"], result["confirmation_code"]) == (outcome, "no", None)
        assert wrote(reference) == []
        guess = await talk.buy(item, confirmation_code="AAAA-AAAA")
        assert guess.outcome == "NO_CODE_ISSUED"
        again = await talk.buy(item)
    assert again.outcome == "done"
    assert again["operation_id"] != result["operation_id"]
    assert len(person.prompts) == 2
    assert len(reference.charges) == 1


@pytest.mark.promise(7)
@pytest.mark.parametrize("answer", [NO, DECLINE, CANCEL], ids=["no", "decline", "cancel"])
async def test_a_no_that_the_journal_cannot_take_counts_all_the_same(
    reference: Simulator, era: str, answer: ElicitResult, journal: Journal
) -> None:
    """Before it is written down, and after."""

    async def unusable(*_: object, **__: object) -> None:
        raise JournalError("The journal cannot be used; nothing can be spent.")

    class Failing(Person):
        async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:
            for name in ("change", "now"):
                broken.setattr(journal, name, unusable)
            return await super().answer(context, params)

    item = item_of(reference)
    async with open_talk(reference, era, Failing(answer), journal=journal) as talk:
        with pytest.MonkeyPatch.context() as broken:
            result = await talk.buy(item)
            assert (result.outcome, result["charged"]) == ("JOURNAL_UNUSABLE", "no")
            assert "was turned down" in result["summary"]
            assert "Do not ask again" in result["next_step"]
            assert (await talk.buy(item)).outcome == "JOURNAL_UNUSABLE"
        again = await talk.buy(item)
        assert again["operation_id"] == result["operation_id"]
        assert again.outcome == ("cancelled" if answer is CANCEL else "declined")
        assert again["confirmation_code"] is None
    [operation] = await journal.list_operations()
    assert (operation.decided_by, operation.decided_through) == ("person", "prompt")
    assert wrote(reference) == []


@pytest.mark.parametrize("answer", UNANSWERED.values(), ids=UNANSWERED.keys())
async def test_after_an_unanswered_prompt_the_next_call_uses_the_code(
    reference: Simulator, era: str, answer: Reply
) -> None:
    item, person = item_of(reference), Person(answer)
    async with open_talk(reference, era, person) as talk:
        await buy_unanswered(talk, item, answer)
        assert wrote(reference) == []
        asked = await talk.buy(item)
        assert asked.outcome == "confirmation_required"
        assert wrote(reference) == []
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert len(person.prompts) == 1
    assert len(reference.charges) == 1


@pytest.mark.parametrize("answer", UNANSWERED.values(), ids=UNANSWERED.keys())
async def test_where_only_prompts_count_an_unanswered_one_is_shown_again(
    reference: Simulator, era: str, answer: Reply
) -> None:
    item, person = item_of(reference), Person(answer, YES)
    async with open_talk(reference, era, person, confirmation="prompt") as talk:
        await buy_unanswered(talk, item, answer)
        assert wrote(reference) == []
        done = await talk.buy(item)
    assert (done.outcome, done["confirmation_code"]) == ("done", None)
    assert len(person.prompts) == 2


async def test_a_client_that_shows_prompts_is_not_told_to_show_some_where_no_page_opens(
    reference: Simulator, era: str
) -> None:
    item, person, screen = item_of(reference), Person(MALFORMED), ScriptedScreen(fetches=False)
    async with open_talk(reference, era, person, screen=screen, confirmation="person") as talk:
        await buy_unanswered(talk, item, MALFORMED)
        refused = await talk.buy(item)
    assert (refused.outcome, refused["charged"]) == ("SCREEN_UNAVAILABLE", "no")
    assert "they need to answer the client's prompt while it stands, or a browser" in refused["next_step"]
    assert wrote(reference) == []


@pytest.mark.parametrize("mode", ["conversation", "prompt"])
@pytest.mark.parametrize("answer", [NO, DECLINE, CANCEL], ids=["no", "decline", "cancel"])
async def test_after_three_prompts_turned_down_the_fourth_is_refused(
    reference: Simulator, era: str, mode: str, answer: ElicitResult
) -> None:
    item, other, person = item_of(reference), item_of(reference, nth=1), Person(answer, answer, answer, YES)
    async with open_talk(reference, era, person, confirmation=mode) as talk:
        for _ in range(3):
            await talk.buy(item)
        fourth = await talk.buy(item)
        assert (fourth.outcome, fourth["charged"]) == ("ASKED_TOO_OFTEN", "no")
        with_other_settings = await talk.buy(item, allow_outbound=False)
        assert with_other_settings.outcome == "ASKED_TOO_OFTEN"
        assert len(person.prompts) == 3
        assert (await talk.buy(other)).outcome == "done"
    assert [charge.e164 for charge in reference.charges] == [other.e164]


async def test_a_client_that_cannot_prompt_is_refused_and_nothing_is_stored(
    reference: Simulator, era: str, journal: Journal
) -> None:
    owned = next(iter(reference.owned.values()))
    settings = {"confirmation": "prompt", "protected_numbers": list(reference.owned.values())[1].e164}
    protected = list(reference.owned.values())[1].e164
    async with open_talk(reference, era, journal=journal, **settings) as talk:
        for result in (
            await talk.buy(item_of(reference)),
            await talk.call("release_phone_number", number_id=owned.e164),
            await talk.call("configure_phone_number", number_id=protected, allow_inbound="off"),
        ):
            assert result.outcome == "PROMPT_UNAVAILABLE"
            assert "KROS_" not in result["message"]
            assert "KROS_CONFIRMATION=prompt now" in result["next_step"]
    assert await journal.list_operations() == ()
    assert wrote(reference) == []


async def test_a_prompt_that_is_open_is_not_shown_twice(reference: Simulator) -> None:
    item, person = item_of(reference), Person(YES)
    person.thinking = anyio.Event()
    async with open_talk(reference, "legacy", person) as talk:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.buy, item)
            await person.asked.wait()
            meanwhile = await talk.buy(item)
            assert (meanwhile.outcome, meanwhile["confirmation_code"]) == ("confirmation_required", None)
            person.thinking.set()
        assert (await talk.buy(item)).outcome == "done"
    assert len(person.prompts) == 1
    assert len(reference.charges) == 1


async def test_calls_side_by_side_show_one_prompt_and_buy_once(reference: Simulator) -> None:
    item, person = item_of(reference), Person(YES)
    async with open_talk(reference, "legacy", person) as talk, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(talk.buy, item)
    assert len(person.prompts) == 1
    assert len(reference.charges) == 1
    assert len({result["operation_id"] for result in talk.results}) == 1


@pytest.mark.promise(2)
async def test_a_call_beside_a_prompt_that_was_just_shown_is_given_no_code(
    reference: Simulator, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the newest era a server does not hear whether a prompt is open, so that the call shows it, too."""
    monkeypatch.setattr(channels, "READING_SECONDS", 2.0)
    item, person = item_of(reference), Person(YES, YES)
    person.thinking = anyio.Event()
    async with open_talk(reference, era, person) as talk, anyio.create_task_group() as tasks:
        tasks.start_soon(talk.buy, item)
        await person.asked.wait()
        person.asked = anyio.Event()
        tasks.start_soon(talk.buy, item)
        if era != "legacy":
            with anyio.fail_after(5):
                await person.asked.wait()
        person.thinking.set()
    assert [told["confirmation_code"] for told in talk.results] == [None, None]
    assert len(reference.charges) == 1


async def test_a_person_s_thinking_is_not_the_server_s_delay(reference: Simulator, era: str) -> None:
    """A person who thinks for longer than the server may take still gets the outcome."""
    item, person = item_of(reference), Person(YES)
    reference.faults.switch_on("slow", on=["purchase"], seconds=0.2)
    person.thinking = anyio.Event()
    async with (
        open_talk(reference, era, person, answer_within_seconds=0.5) as talk,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(talk.buy, item)
        await person.asked.wait()
        with anyio.move_on_after(0.6):  # the server's own time is what passes here, so the test waits it out
            await anyio.sleep_forever()
        person.thinking.set()
    assert [result.outcome for result in talk.results] == ["done"]


async def test_an_operation_that_ended_while_the_person_thought_is_not_carried_out(
    reference: Simulator, era: str, journal: Journal
) -> None:
    item, person = item_of(reference), Person(YES)
    person.thinking = anyio.Event()
    async with open_talk(reference, era, person, journal=journal) as talk, anyio.create_task_group() as tasks:
        tasks.start_soon(talk.buy, item)
        await person.asked.wait()
        [operation] = await journal.list_operations()
        await talk.call("cancel_operation", operation_id=operation.id)
        person.answers = [YES, NO]
        person.thinking.set()
    assert wrote(reference) == []
    assert talk.results[-1]["charged"] == "no"


async def test_a_yes_that_comes_second_is_answered_with_the_outcome_of_the_first(
    reference: Simulator, era: str, journal: Journal
) -> None:
    """The same person in two clients: a prompt is open in one while the purchase goes through in the other."""
    item, person = item_of(reference), Person(YES)
    person.thinking = anyio.Event()
    async with (
        open_talk(reference, era, person, journal=journal) as talk,
        open_talk(reference, journal=journal) as other,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.buy, item)
            await person.asked.wait()
            code = (await other.buy(item))["confirmation_code"]
            done = await other.buy(item, confirmation_code=code)
            person.thinking.set()
        [second] = talk.results
    assert (done.outcome, second.outcome) == ("done", "done")
    assert second["operation_id"] == done["operation_id"]
    assert len(reference.charges) == 1


async def test_a_yes_after_ten_minutes_is_too_late(
    reference: Simulator, era: str, journal: Journal, clock: Clock
) -> None:
    item, person = item_of(reference), Person(YES)
    person.thinking = anyio.Event()
    async with open_talk(reference, era, person, journal=journal) as talk, anyio.create_task_group() as tasks:
        tasks.start_soon(talk.buy, item)
        await person.asked.wait()
        clock.now += 600
        person.answers.append(NO)  # the newest era asks anew
        person.thinking.set()
    assert talk.results[0].outcome == ("expired" if era == "legacy" else "declined")
    assert wrote(reference) == []


@pytest.fixture
async def asked(reference: Simulator) -> AsyncIterator[tuple[Talk, InventoryItem, InputRequiredResult]]:
    """A question of the newest era that the test itself answers."""
    item = item_of(reference)
    async with open_talk(reference, "auto", Person()) as talk:
        yield talk, item, await ask(talk, item)


def arguments(item: InventoryItem) -> dict[str, str]:
    return {"e164": item.e164, "country": item.country, "type": item.type}


async def ask(talk: Talk, item: InventoryItem) -> InputRequiredResult:
    question = await talk.client.session.call_tool("buy_phone_number", arguments(item), allow_input_required=True)
    assert isinstance(question, InputRequiredResult)
    return question


async def reply(talk: Talk, item: InventoryItem, question: InputRequiredResult, answer: ElicitResult) -> str:
    result = await talk.client.session.call_tool(
        "buy_phone_number",
        arguments(item),
        input_responses=dict.fromkeys(question.input_requests or {}, answer),
        request_state=question.request_state,
        allow_input_required=True,
    )
    if isinstance(result, InputRequiredResult):
        return "asked again"
    talk.results.append(told("buy_phone_number", result))
    return talk.results[-1].outcome


@pytest.mark.promise(4)
async def test_an_accepted_answer_replayed_ten_times_charges_once(
    asked: tuple[Talk, InventoryItem, InputRequiredResult],
) -> None:
    talk, item, question = asked
    other = item_of(talk.sim, nth=1)
    await ask(talk, other)  # a second operation at the same price is open
    outcomes: list[str] = []

    async def replay() -> None:
        outcomes.append(await reply(talk, item, question, YES))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(replay)
    outcomes.append(await reply(talk, item, question, YES))
    assert outcomes == ["done"] * 11
    assert len({result["operation_id"] for result in talk.results}) == 1
    assert [charge.e164 for charge in talk.sim.charges] == [item.e164]
    assert wrote(talk.sim) == ["POST", "PATCH"]  # the purchase, and its settings, which this profile ignored


async def test_an_accepted_answer_confirms_no_other_number(
    asked: tuple[Talk, InventoryItem, InputRequiredResult],
) -> None:
    talk, _, question = asked
    other = item_of(talk.sim, nth=1)
    await ask(talk, other)
    # The SDK finds that the state was not made for these arguments.
    assert await reply(talk, other, question, YES) == "ANSWER_UNREADABLE"
    assert wrote(talk.sim) == []


@pytest.mark.parametrize(("answer", "outcome"), [(YES, "done"), (DECLINE, "declined"), (CANCEL, "cancelled")])
async def test_a_prompt_s_answer_counts_even_after_another_call_was_given_a_code(
    asked: tuple[Talk, InventoryItem, InputRequiredResult], answer: ElicitResult, outcome: str
) -> None:
    talk, item, question = asked
    meanwhile = await talk.buy(item)
    assert meanwhile["confirmation_code"]
    assert await reply(talk, item, question, answer) == outcome
    late = await talk.buy(item, confirmation_code=meanwhile["confirmation_code"])
    assert late.outcome == "NO_CODE_ISSUED"
    assert len(talk.sim.charges) == (1 if outcome == "done" else 0)


async def test_an_answer_without_its_question_is_no_yes(
    asked: tuple[Talk, InventoryItem, InputRequiredResult],
) -> None:
    talk, item, question = asked
    bare = question.model_copy(update={"request_state": None})
    assert await reply(talk, item, bare, YES) == "asked again"
    assert wrote(talk.sim) == []


async def test_a_yes_replayed_after_the_number_was_released_buys_nothing(
    asked: tuple[Talk, InventoryItem, InputRequiredResult],
) -> None:
    talk, item, question = asked
    assert await reply(talk, item, question, YES) == "done"
    [number] = [number for number in talk.sim.owned.values() if number.e164 == item.e164]
    del talk.sim.owned[number.id]
    talk.sim.inventory[item.id] = item
    assert await reply(talk, item, question, YES) == "ALREADY_OWNED"
    assert len(talk.sim.charges) == 1


async def test_a_no_replayed_as_a_yes_buys_nothing(asked: tuple[Talk, InventoryItem, InputRequiredResult]) -> None:
    talk, item, question = asked
    assert await reply(talk, item, question, NO) == "declined"
    assert await reply(talk, item, question, YES) == "asked again"
    assert state_of(talk.sim) == state_of(Simulator())
