"""Replicas are one service: what one begins another ends, and one that dies takes nothing along."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
from mcp import MCPError

from kros_mcp.operations.model import Operation, State
from kros_mcp.simulator import InventoryItem, Simulator
from tests.support.callers import Era, open_client
from tests.support.person import Person, accept
from tests.support.replicas import Service
from tests.support.talk import Talk
from tests.support.upstream import item_of

from .conftest import PRINCIPALS, Stage

pytestmark = [pytest.mark.anyio, pytest.mark.processes]

ASKER, STRANGER = PRINCIPALS


def wish_for(sim: Simulator) -> dict[str, Any]:
    """What an agent says that wants the next number for sale."""
    item = item_of(sim)
    return {"e164": item.e164, "country": item.country, "type": item.type}


async def buy_once(stage: Stage, item: InventoryItem, era: Era, person: Person | None) -> None:
    """Buy a number through the proxy, by prompt or by code."""
    wish = {"e164": item.e164, "country": item.country, "type": item.type}
    async with open_client(stage.fleet.url, ASKER, era, person.answer if person else None) as client:
        talk = Talk(client, stage.sim)
        told = await talk.call("buy_phone_number", **wish)
        if person is None:
            assert told.outcome == "confirmation_required"
            told = await talk.call("buy_phone_number", **wish, confirmation_code=told["confirmation_code"])
    assert told.outcome == "done"
    assert len(stage.charges(told["operation_id"])) == 1


@pytest.mark.parametrize("how", ["prompt", "code"])
async def test_a_confirmation_begun_on_one_replica_ends_on_another(stage: Stage, how: str) -> None:
    """Also while keys are rotated: each replica begins once, and each opens what another has sealed."""
    begun_and_ended = set()
    for _ in range(3):
        stage.fleet.proxy.served.clear()
        await buy_once(stage, item_of(stage.sim), "auto", Person(accept("buy")) if how == "prompt" else None)
        *_, begun, ended = stage.fleet.proxy.served
        begun_and_ended.add((begun, ended))
    assert begun_and_ended == {(0, 1), (1, 2), (2, 0)}


@pytest.mark.parametrize("how", ["prompt", "code"])
async def test_a_legacy_client_keeps_to_the_replica_of_its_session(stage: Stage, how: str) -> None:
    stage.fleet.proxy.served.clear()
    await buy_once(stage, item_of(stage.sim), "legacy", Person(accept("buy")) if how == "prompt" else None)
    assert len(set(stage.fleet.proxy.served)) == 1


async def test_a_code_replayed_at_all_replicas_at_once_buys_once(stage: Stage) -> None:
    wish, outcomes, ids = wish_for(stage.sim), [], set()
    async with open_client(stage.fleet.url, ASKER) as client:
        asked = await Talk(client, stage.sim).call("buy_phone_number", **wish)

    async def confirm(place: int) -> None:
        async with open_client(stage.fleet[place % 3].url, ASKER) as client:
            code = asked["confirmation_code"]
            told = await Talk(client, stage.sim).call("buy_phone_number", **wish, confirmation_code=code)
            outcomes.append(told.outcome)
            ids.add(told["operation_id"])

    async with anyio.create_task_group() as tasks:
        for place in range(6):
            tasks.start_soon(confirm, place)
    assert set(outcomes) <= {"done", "pending"}
    assert "done" in outcomes
    assert ids == {asked["operation_id"]}
    assert len(stage.charges(asked["operation_id"])) == 1
    assert len([each for each in stage.sim.owned.values() if each.e164 == wish["e164"]]) == 1


async def test_another_principal_learns_and_spends_nothing_at_any_replica(stage: Stage) -> None:
    wish = wish_for(stage.sim)
    async with open_client(stage.fleet.url, ASKER) as client:
        asked = await Talk(client, stage.sim).call("buy_phone_number", **wish)
    operation_id, code = asked["operation_id"], asked["confirmation_code"]
    for place in range(3):
        async with open_client(stage.fleet[place].url, STRANGER) as client:
            talk = Talk(client, stage.sim)
            for tool in ("get_operation", "cancel_operation"):
                assert (await talk.call(tool, operation_id=operation_id)).outcome == "OPERATION_NOT_FOUND"
            refused = await talk.call("buy_phone_number", **wish, confirmation_code=code)
            assert refused.failed
            assert operation_id not in refused.text
            spending = await talk.call("get_spending")
            assert operation_id not in spending.text
    assert stage.charges(operation_id) == []
    stored = await stage.stored(operation_id)
    assert (stored.state, stored.wrong_codes) == (State.PROPOSED, 0)
    async with open_client(stage.fleet.url, ASKER) as client:
        told = await Talk(client, stage.sim).call("buy_phone_number", **wish, confirmation_code=code)
    assert told.outcome == "done"


async def test_a_prompt_outlives_the_replica_that_asked_and_one_that_is_restarted(stage: Stage) -> None:
    """On the modern protocol: while the person thinks, one replica is killed and another told to stop."""
    person, fleet = Person(accept("buy")), stage.fleet
    person.thinking = anyio.Event()
    fleet.proxy.served.clear()
    async with open_client(fleet.url, ASKER, "auto", person.answer) as client, anyio.create_task_group() as tasks:
        talk = Talk(client, stage.sim)

        async def buy() -> None:
            await talk.call("buy_phone_number", **wish_for(stage.sim))

        tasks.start_soon(buy)
        await person.asked.wait()
        asked_by = fleet.proxy.served[-1]
        killed, stopped = fleet[asked_by], fleet[(asked_by + 1) % 3]
        killed.signal(signal.SIGKILL)
        stopped.signal(signal.SIGTERM)
        await killed.ended.wait()
        await stopped.ended.wait()
        person.thinking.set()
    [told] = talk.results
    assert told.outcome == "done"
    assert len(stage.charges(told["operation_id"])) == 1
    assert stopped.process.returncode == 0


@pytest.mark.parametrize("can_ask", [True, False])
async def test_a_legacy_prompt_ends_with_its_replica_and_spends_nothing(stage: Stage, *, can_ask: bool) -> None:
    person, wish, fleet = Person(accept("buy")), wish_for(stage.sim), stage.fleet
    person.thinking = anyio.Event()
    failures: list[MCPError] = []
    async with open_client(fleet.url, ASKER, "legacy", person.answer) as client, anyio.create_task_group() as tasks:

        async def buy() -> None:
            with pytest.raises(MCPError) as caught:
                await client.call_tool("buy_phone_number", wish)
            failures.append(caught.value)

        tasks.start_soon(buy)
        await person.asked.wait()
        service = fleet[fleet.proxy.served[-1]]
        service.signal(signal.SIGKILL)
        await service.ended.wait()
        person.thinking.set()
    assert len(failures) == 1
    [left] = [each for each in await stage.journal.list_operations() if each.e164 == wish["e164"]]
    assert (left.state, stage.charges(left.id)) == (State.PROPOSED, [])
    again = Person(accept("buy"))
    async with open_client(fleet.url, ASKER, "legacy", again.answer if can_ask else None) as client:
        talk = Talk(client, stage.sim)
        told = await talk.call("buy_phone_number", **wish)
        told = await talk.call("buy_phone_number", **wish, confirmation_code=told["confirmation_code"])
        # It was shown and nobody answered, so it is not shown again; a client that can say so is given the code.
        assert (talk.results[0].outcome, again.prompts) == ("confirmation_required", [])
    assert told.outcome == "done"
    assert len(stage.charges(told["operation_id"])) == 1
    assert len([each for each in stage.sim.owned.values() if each.e164 == wish["e164"]]) == 1


def lease_is_over(operation: Operation, now: float) -> Operation:
    """Let the lease of a process that has died run out at once."""
    return replace(operation, lease_until=now - 1)


async def test_a_purchase_whose_replica_dies_after_sending_is_settled_by_another(stage: Stage) -> None:
    fleet = stage.fleet
    async with begun(stage, after=True) as (operation_id, service, _):
        service.signal(signal.SIGKILL)
        await service.ended.wait()
    sent = await stage.stored(operation_id)
    assert (sent.state, sent.sent_at is not None) == (State.SENDING, True)
    await stage.journal.change(sent.id, lease_is_over)
    async with open_client(fleet.url, ASKER) as client:
        told = await Talk(client, stage.sim).call("get_operation", operation_id=sent.id)
        while told.outcome in {"pending", "unknown"}:  # until the attendant of a replica has seen it
            told = await Talk(client, stage.sim).call("get_operation", operation_id=sent.id)
    assert (told.outcome, told["charged"]) == ("done", "yes")
    assert len(stage.charges(sent.id)) == 1


@pytest.mark.parametrize("long", [False, True], ids=["in time", "longer than requests may go on"])
async def test_a_replica_told_to_stop_settles_what_it_is_sending(stage: Stage, *, long: bool) -> None:
    async with begun(stage) as (operation_id, service, answered):
        service.signal(signal.SIGTERM)
        await service.refuses()
        if long:
            await answered.wait()  # its connection has ended; the act has not
        async with open_client(stage.fleet.url, ASKER) as client:
            told = await Talk(client, stage.sim).call("get_operation", operation_id=operation_id)
            assert (told.outcome, told["charged"]) == ("pending", "unknown")
        stage.sim.faults.let_go()
        await service.ended.wait()
        assert service.process.returncode == 0
        settled = await stage.stored(operation_id)
        assert (settled.state, settled.token) == (State.DONE, 1)
    async with open_client(stage.fleet.url, ASKER) as client:
        told = await Talk(client, stage.sim).call("get_operation", operation_id=operation_id)
    assert (told.outcome, len(stage.charges(operation_id))) == ("done", 1)


@asynccontextmanager
async def begun(stage: Stage, *, after: bool = False) -> AsyncIterator[tuple[str, Service, anyio.Event]]:
    """Buy a number through the proxy, held at KrosAI.

    Yields the operation, the process that is sending it, and an event that is set when the client's call has ended.
    """
    answered, wish = anyio.Event(), wish_for(stage.sim)
    stage.sim.faults.switch_on("hold", on=["purchase"], after=after)
    async with open_client(stage.fleet.url, ASKER) as client, anyio.create_task_group() as tasks:
        asked = await Talk(client, stage.sim).call("buy_phone_number", **wish)

        async def confirm() -> None:
            with suppress(MCPError):  # its replica may go away under it
                await client.call_tool("buy_phone_number", {**wish, "confirmation_code": asked["confirmation_code"]})
            answered.set()

        tasks.start_soon(confirm)
        await stage.sim.faults.held()
        yield asked["operation_id"], stage.fleet[stage.fleet.proxy.served[-1]], answered
        stage.sim.faults.let_go()
