"""What is told of an act between a person's yes and the moment it is on its way, and of prompts left behind."""

import pytest
from mcp.client.context import ClientRequestContext
from mcp.types import ElicitRequestParams

from kros_mcp import telemetry
from kros_mcp.errors import JournalError
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Simulator
from tests.support.person import ERROR, Person, Reply, accept
from tests.support.talk import ERAS, Talk, open_talk

pytestmark = pytest.mark.anyio


async def settled(talk: Talk, operation_id: str) -> dict[str, object]:
    while True:
        told = await talk.call("get_operation", operation_id=operation_id)
        if told["status"] != "pending":
            return told.data


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("by_prompt", [False, True], ids=["code", "prompt"])
async def test_after_the_yes_nobody_is_told_that_nothing_was_charged(
    reference: Simulator, era: str, by_prompt: bool
) -> None:
    """Even while the caps are still being looked up, before the claim."""
    item = next(iter(reference.inventory.values()))

    def hold_up() -> None:
        reference.faults.switch_on("hold", times=None, on=["list_owned"])

    class Agreeing(Person):
        async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:
            hold_up()
            return await super().answer(context, params)

    person = Agreeing(accept("buy")) if by_prompt else None
    async with open_talk(reference, era, person, monthly_commitment_cents=90_000, answer_within_seconds=0.5) as talk:
        code = "" if by_prompt else (await talk.buy(item))["confirmation_code"]
        if not by_prompt:
            hold_up()
        begun = await talk.buy(item, confirmation_code=code)
        assert (begun["status"], begun["charged"], begun["changed"]) == ("pending", "unknown", "unknown")
        for told in (await talk.call("get_operation", operation_id=begun["operation_id"]), await talk.buy(item)):
            assert (told["status"], told["charged"]) in {("pending", "unknown"), ("done", "yes")}
        reference.faults.clear()
        reference.faults.let_go()
        assert (await settled(talk, begun["operation_id"]))["status"] == "done"
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_a_prompt_left_behind_tells_what_came_another_way(reference: Simulator, journal: Journal) -> None:
    """One window shows the prompt, the person agrees in another, and then the first prompt fails."""
    item = next(iter(reference.inventory.values()))
    outcomes: list[str] = []

    class Elsewhere(Person):
        async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:
            async with open_talk(reference, "legacy", journal=journal) as other:
                code = (await other.buy(item))["confirmation_code"]
                outcomes.append((await other.buy(item, confirmation_code=code))["status"])
            return await super().answer(context, params)

    async with open_talk(reference, "legacy", Elsewhere(ERROR), journal=journal) as talk:
        told = await talk.buy(item)
    assert outcomes == ["done"]
    assert (told["status"], told["charged"]) == ("done", "yes")
    assert len(reference.charges) == 1


async def test_an_outcome_that_cannot_be_read_is_not_called_unspent(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = next(iter(reference.inventory.values()))
    async with open_talk(reference, "legacy", journal=journal) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        assert (await talk.buy(item, confirmation_code=code))["status"] == "done"

        async def unreadable(operation_id: str) -> Operation | None:
            raise JournalError(f"{operation_id} cannot be read.")

        monkeypatch.setattr(journal, "get", unreadable)
        told = await talk.buy(item, confirmation_code=code)
    assert told.failed
    assert told["charged"] == "unknown"


async def test_a_prompt_left_behind_with_no_journal_to_look_in_is_a_typed_failure(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(operation_id: str) -> Operation | None:
        raise JournalError(f"{operation_id} cannot be read.")

    class Failing(Person):
        async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> Reply:
            monkeypatch.setattr(journal, "get", unreadable)
            return await super().answer(context, params)

    async with open_talk(reference, "legacy", Failing(ERROR), journal=journal) as talk:
        told = await talk.buy(next(iter(reference.inventory.values())))
    assert (told.failed, told["code"], told["charged"]) == (True, "OUTCOME_UNKNOWN", "unknown")
    assert reference.charges == []


async def test_metrics_that_fail_neither_stop_a_purchase_nor_hide_its_outcome(
    reference: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError

    monkeypatch.setattr(telemetry, "is_counting", lambda: True)
    monkeypatch.setattr(telemetry, "_instruments", broken)
    item = next(iter(reference.inventory.values()))
    async with open_talk(reference) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        done = await talk.buy(item, confirmation_code=code)
    assert (done.outcome, done["charged"]) == ("done", "yes")
