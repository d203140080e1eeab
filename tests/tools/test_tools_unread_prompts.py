"""Clients that turn every prompt down by themselves: nobody has read it, so that it was no person's no."""

import pytest
from mcp.types import ElicitResult

from kros_mcp.operations import channels
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.person import CANCEL, DECLINE, Person
from tests.support.talk import open_talk
from tests.support.upstream import item_of, wrote

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("answer", [DECLINE, CANCEL], ids=["decline", "cancel"])]


@pytest.fixture(autouse=True)
def _people_read(_people_answer_at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "READING_SECONDS", 2.0)


async def test_such_a_client_is_told_so_and_buys_by_code(
    reference: Simulator, era: str, journal: Journal, answer: ElicitResult
) -> None:
    item, person = item_of(reference), Person(answer)
    async with open_talk(reference, era, person, journal=journal) as talk:
        asked = await talk.buy(item)
        assert (asked.outcome, bool(asked["confirmation_code"])) == ("confirmation_required", True)
        assert "turned its prompt down faster than anyone can read" in asked["next_step"]
        assert "Shall I buy" in asked["summary"]
        assert wrote(reference) == []
        again = await talk.buy(item)
        assert again["operation_id"] == asked["operation_id"]
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert len(person.prompts) == 1
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_such_a_client_releases_by_code(
    reference: Simulator, era: str, journal: Journal, answer: ElicitResult
) -> None:
    owned = next(iter(reference.owned.values()))
    async with open_talk(reference, era, Person(answer), journal=journal) as talk:
        asked = await talk.call("release_phone_number", number_id=owned.e164)
        assert asked.outcome == "confirmation_required"
        done = await talk.call(
            "release_phone_number", number_id=owned.e164, confirmation_code=asked["confirmation_code"]
        )
    assert done.outcome == "done"


async def test_where_only_prompts_count_such_a_client_is_refused_and_told_why(
    reference: Simulator, era: str, journal: Journal, answer: ElicitResult
) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, Person(answer), journal=journal, confirmation="prompt") as talk:
        refused = await talk.buy(item)
    assert (refused.outcome, refused["charged"]) == ("PROMPT_UNAVAILABLE", "no")
    assert "before anyone could read it" in refused["message"]
    [operation] = await journal.list_operations()
    assert (operation.state, wrote(reference)) == (State.CANCELLED, [])
    assert [event.who for event in await journal.events(operation.id)][-1] == "client"


async def test_what_a_person_turned_down_after_reading_never_falls_back_to_a_code(
    reference: Simulator, era: str, journal: Journal, clock: Clock, answer: ElicitResult
) -> None:
    item, person = item_of(reference), Person(answer)

    async def read(context: object, params: object) -> ElicitResult:
        clock.now += 2.1
        return await Person.answer(person, context, params)  # type: ignore[arg-type, return-value]

    person.answer = read  # type: ignore[method-assign, assignment]
    async with open_talk(reference, era, person, journal=journal) as talk:
        result = await talk.buy(item)
    assert result.outcome == {"decline": "declined", "cancel": "cancelled"}[answer.action]
    assert result["confirmation_code"] is None
