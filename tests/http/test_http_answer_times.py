"""On a live call nobody waits for a slow KrosAI: every tool answers in time, and the outcome comes later."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client

from kros_mcp.simulator import InventoryItem, Simulator
from tests.support.web import open_web

pytestmark = pytest.mark.anyio

IN_TIME = 0.5
AT_MOST = IN_TIME + 1.5  # a busy machine; KrosAI answers only when it is let go, as if it took any number of seconds
READS = ["search", "list_owned", "get", "list_endpoints", "get_endpoint"]


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    """The two protocol eras."""
    return str(request.param)


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


@asynccontextmanager
async def open_caller(sim: Simulator, era: str, **settings: Any) -> AsyncIterator[Client]:
    async with open_web(sim, **settings) as web, web.talk(era=era) as talk:
        try:
            yield talk.client
        finally:
            sim.faults.clear()


async def call(client: Client, name: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    result = await client.call_tool(name, dict(arguments))
    assert result.structured_content is not None
    return dict(result.structured_content)


def purchase_of(item: InventoryItem) -> dict[str, object]:
    return {"e164": item.e164, "country": item.country, "type": item.type}


async def test_every_tool_answers_a_caller_in_time_while_krosai_does_not(sim: Simulator, era: str) -> None:
    number, item = next(iter(sim.owned.values())), next(iter(sim.inventory.values()))
    calls: dict[str, dict[str, object]] = {
        "list_phone_numbers": {},
        "get_phone_number": {"number_id": number.id},
        "search_phone_numbers": {"country": "NG"},
        "list_endpoints": {},
        "get_spending": {},
        "list_operations": {},
        "buy_phone_number": purchase_of(item),
        "configure_phone_number": {"number_id": number.id, "allow_outbound": "on"},
        "release_phone_number": {"number_id": number.e164},
        "get_operation": {"operation_id": "op_none"},
        "cancel_operation": {"operation_id": "op_none"},
    }
    sim.faults.switch_on("hold", times=None, on=READS)
    async with open_caller(sim, era, answer_within_seconds=IN_TIME) as client, anyio.create_task_group() as tasks:
        assert {tool.name for tool in (await client.list_tools()).tools} == set(calls)

        async def in_time(name: str, arguments: Mapping[str, object]) -> None:
            began = time.monotonic()
            result = await call(client, name, arguments)
            assert time.monotonic() - began < AT_MOST, name
            if name == "get_spending":  # what the journal knows needs no KrosAI
                assert (result["run_rate_complete"], result["spent_24h_cents"]) == (False, 0)
                return
            if name == "list_operations":
                assert result["operations"] == []
                return
            asks_krosai = not name.endswith("_operation")
            assert result["code"] == ("TOO_SLOW" if asks_krosai else "OPERATION_NOT_FOUND"), name
            assert result["charged"] == "no"

        for name, arguments in calls.items():
            tasks.start_soon(in_time, name, arguments)
    assert [seen for seen in sim.requests if seen.method != "GET"] == []


@pytest.mark.parametrize("slow", ["search", "purchase"])
async def test_a_purchase_at_a_slow_krosai_is_pending_in_time_and_told_later(
    sim: Simulator, era: str, slow: str
) -> None:
    item = next(iter(sim.inventory.values()))
    async with open_caller(sim, era, answer_within_seconds=IN_TIME) as client:
        asked = await call(client, "buy_phone_number", purchase_of(item))
        sim.faults.switch_on("hold", times=None, on=[slow])
        began = time.monotonic()
        confirmed = purchase_of(item) | {"confirmation_code": asked["confirmation_code"]}
        pending = await call(client, "buy_phone_number", confirmed)
        assert time.monotonic() - began < AT_MOST
        assert (pending["status"], pending["charged"]) == ("pending", "unknown")
        assert sim.charges == []
        sim.faults.switch_off("hold")
        outcome = {"operation_id": pending["operation_id"]}
        with anyio.fail_after(10):
            while (told := await call(client, "get_operation", outcome))["status"] == "pending":
                pass
        assert (told["status"], told["charged"]) == ("done", "yes")
        again = await call(client, "buy_phone_number", confirmed)
    assert again["operation_id"] == pending["operation_id"]
    assert [charge.e164 for charge in sim.charges] == [item.e164]


@pytest.mark.parametrize("hears", [True, False], ids=["asked for progress", "asked for none"])
async def test_a_caller_hears_how_far_a_purchase_is_while_it_waits(sim: Simulator, era: str, *, hears: bool) -> None:
    item = next(iter(sim.inventory.values()))
    heard: list[tuple[float, float | None, str | None]] = []
    sent = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))
        if len(heard) == 3:
            sent.set()

    async with open_caller(sim, era, answer_within_seconds=20) as client, anyio.create_task_group() as tasks:
        asked = await client.call_tool("buy_phone_number", purchase_of(item), progress_callback=hear)
        assert asked.structured_content is not None
        assert heard == []  # nothing has begun
        sim.faults.switch_on("hold", on=["purchase"])
        code = {"confirmation_code": asked.structured_content["confirmation_code"]}

        async def buy() -> None:
            done = await client.call_tool(
                "buy_phone_number", purchase_of(item) | code, progress_callback=hear if hears else None
            )
            assert done.structured_content is not None
            assert done.structured_content["status"] == "done"
            assert [progress for progress, _, _ in heard] == ([1, 2, 3, 4] if hears else [])

        tasks.start_soon(buy)
        with anyio.fail_after(10):
            await sim.faults.held()
            if hears:
                await sent.wait()  # although KrosAI has not answered yet
        sim.faults.let_go()
    assert {total for _, total, _ in heard} == ({4} if hears else set())
    assert all(message and item.e164 not in message for _, _, message in heard)
    assert len(sim.charges) == 1
