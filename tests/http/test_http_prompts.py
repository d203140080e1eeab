"""A prompt on the stream of a 2025-11-25 call: it lasts as long as its stream, and blocks nobody after that."""

import anyio
import pytest
from seeing_bench import json_log

from kros_mcp.simulator import Simulator
from tests.support.upstream import item_of, wrote
from tests.support.web import Web, access_for, open_session, open_web

pytestmark = pytest.mark.anyio


async def is_free(web: Web) -> None:
    """Wait until no prompt is open any more."""
    with anyio.fail_after(5):
        while web.service.runtime.asking:
            await anyio.lowlevel.checkpoint()


@pytest.mark.promise(7)
async def test_a_prompt_whose_stream_is_gone_gives_way_to_the_code_at_the_next_identical_call() -> None:
    sim = Simulator("reference")
    item = item_of(sim)
    async with (
        open_web(sim, access_for("agent")) as web,
        open_session(web) as left,
        open_session(web) as other,
    ):
        async with left.buying(item) as stream:
            assert (await stream.message())["method"] == "elicitation/create"
        await is_free(web)
        asked = await other.buy(item)
        assert (asked["status"], asked["charged"]) == ("confirmation_required", "no")
        assert asked["confirmation_code"]
        assert wrote(sim) == []
        done = await other.buy(item, confirmation_code=asked["confirmation_code"])
        assert (done["status"], done["operation_id"]) == ("done", asked["operation_id"])
    assert len(sim.charges) == 1


async def test_where_only_prompts_count_one_whose_stream_is_gone_is_shown_again() -> None:
    sim = Simulator("reference")
    item = item_of(sim)
    async with open_web(sim, access_for("agent"), confirmation="prompt") as web, open_session(web) as session:
        async with session.buying(item) as stream:
            first = await stream.message()
        await is_free(web)
        async with session.buying(item) as stream:
            second = await stream.message()
            assert second["method"] == "elicitation/create"
            assert second["id"] != first["id"]
            assert (await session.answer(second)).status_code == 202
            assert (await stream.message())["result"]["structuredContent"]["status"] == "done"
    assert len(sim.charges) == 1


@pytest.mark.promise(7)
async def test_a_late_answer_by_another_request_is_refused_and_logged_and_spends_nothing() -> None:
    sim = Simulator("reference")
    with json_log() as log:
        async with open_web(sim, access_for("agent")) as web, open_session(web) as session:
            async with session.buying(item_of(sim)) as stream:
                prompt = await stream.message()
            await is_free(web)
            late = await session.answer(prompt)
            assert late.status_code == 400
            assert "nothing was charged or changed" in late.json()["error"]["message"]
            again = await session.answer(prompt)
            assert again.status_code == 400
            # The session goes on.
            async with session.calling("get_spending", {}) as stream:
                assert "result" in await stream.message()
            assert wrote(sim) == []
    assert [line["reason"] for line in log if line.get("status") == 400] == ["late_answer"] * 2


async def test_a_prompt_is_answered_once() -> None:
    sim = Simulator("reference")
    async with (
        open_web(sim, access_for("agent")) as web,
        open_session(web) as session,
        session.buying(item_of(sim)) as stream,
    ):
        prompt = await stream.message()
        assert [(await session.answer(prompt)).status_code for _ in range(2)] == [202, 400]
        assert (await stream.message())["result"]["structuredContent"]["status"] == "done"
    assert len(sim.charges) == 1


async def test_an_answer_in_a_service_without_sessions_has_no_prompt_to_answer() -> None:
    sim = Simulator("reference")
    async with (
        open_web(sim, access_for("agent"), stateless=True) as web,
        web.client(authorization="Bearer agent", accept="application/json, text/event-stream") as http,
    ):
        body = {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"decision": "buy"}}}
        answer = await http.post("/mcp", json=body)
    assert answer.status_code == 400


async def test_a_caller_that_leaves_before_it_is_asked_blocks_nobody() -> None:
    sim = Simulator("reference")
    item = item_of(sim)
    async with open_web(sim, access_for("agent")) as web, open_session(web) as session:
        sim.faults.switch_on("hold", on=["search"])
        async with session.buying(item):
            await sim.faults.held()
        sim.faults.let_go()
        journal = web.service.runtime.account.journal
        with anyio.fail_after(5):
            while not (found := await journal.list_operations(limit=9)) or found[0].asked_at is None:
                await anyio.lowlevel.checkpoint()
        await is_free(web)
        assert (await session.buy(item))["confirmation_code"]


async def test_prompts_that_are_left_keep_nothing_behind() -> None:
    sim = Simulator("reference")
    async with (
        open_web(sim, access_for("agent"), confirmation="prompt", requests_per_second=0) as web,
        open_session(web) as session,
    ):
        async with session.buying(item_of(sim)) as stream:
            await stream.message()
        await is_free(web)
        before = len(anyio.get_running_tasks())
        for _ in range(20):
            async with session.buying(item_of(sim)) as stream:
                assert (await stream.message())["method"] == "elicitation/create"
            await is_free(web)
        with anyio.fail_after(5):
            while len(anyio.get_running_tasks()) > before:
                await anyio.lowlevel.checkpoint()
