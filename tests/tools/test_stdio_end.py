"""How a connection over stdio ends: what was asked is answered first, within a bound."""

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from kros_mcp.simulator import InventoryItem, Simulator, open_server
from tests.support.pipe import INITIALIZED, MODERN, call, initialize, open_pipe, open_program, request
from tests.support.screen import ScriptedScreen
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio


@pytest.fixture
async def krosai(reference: Simulator) -> AsyncIterator[dict[str, str]]:
    """The settings of a server in front of this simulator."""
    async with open_server(reference) as base_url:
        yield {
            "KROS_API_KEY": reference.api_key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_BASE_URL": base_url,
            "KROS_JOURNAL_URL": "sqlite://:memory:",
            "KROS_ANSWER_WITHIN_SECONDS": "20",
        }


def buying(item: InventoryItem, **arguments: str) -> dict[str, Any]:
    return call("buy", "buy_phone_number", e164=item.e164, country=item.country, type=item.type, **arguments)


def told(answer: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = answer["result"]["structuredContent"]
    return data


async def test_what_was_asked_before_stdin_ends_is_answered(reference: Simulator) -> None:
    pings = [request(number, "ping") for number in range(10)]
    async with open_pipe(reference) as pipe:
        await pipe.send(initialize(), INITIALIZED, *pings, call("list", "list_phone_numbers"))
        pipe.close()
        heard = {one["id"]: one for one in await pipe.rest()}
    assert set(heard) == {"init", "list", *range(10)}
    assert all("result" in one for one in heard.values())


async def test_the_last_line_needs_no_end(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize())
        os.write(pipe.sends, b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
        pipe.close()
        assert [one["id"] for one in await pipe.rest()] == [1]


async def test_a_purchase_that_was_confirmed_is_told_though_stdin_has_ended(reference: Simulator) -> None:
    item = item_of(reference)
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize())
        await pipe.send(INITIALIZED)
        asked = told(await pipe.answer(buying(item)))
        reference.faults.switch_on("hold", on=["purchase"])
        await pipe.send(buying(item, confirmation_code=asked["confirmation_code"]))
        pipe.close()
        await reference.faults.held()
        reference.faults.let_go()
        [bought] = await pipe.rest()
    assert (bought["id"], told(bought)["status"], told(bought)["charged"]) == ("buy", "done", "yes")
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_a_prompt_that_nobody_can_answer_any_more_holds_nothing_up(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize(prompts=True))
        await pipe.send(INITIALIZED, buying(item_of(reference)))
        assert (await pipe.hear())["method"] == "elicitation/create"
        pipe.close()
        [answer] = await pipe.rest()
    assert (told(answer)["code"], told(answer)["charged"]) == ("PROMPT_UNANSWERED", "no")


async def test_a_prompt_after_the_end_is_not_shown(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize(prompts=True))
        await pipe.send(INITIALIZED, buying(item_of(reference)))
        pipe.close()
        heard = await pipe.rest()
    assert told(heard[-1])["code"] == "PROMPT_UNANSWERED"
    assert [one["id"] for one in heard if "method" not in one] == ["buy"]


async def test_neither_a_stream_nor_a_cancelled_call_holds_the_end_up(reference: Simulator) -> None:
    listening = request("listen", "subscriptions/listen", **MODERN, notifications={})
    async with open_pipe(reference) as pipe:
        reference.faults.switch_on("hold", on=["list_owned"])
        await pipe.send(listening, request("call", "tools/call", name="list_phone_numbers", arguments={}, **MODERN))
        assert (await pipe.hear())["method"].startswith("notifications/subscriptions")
        await pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "call"}})
        pipe.close()
        with anyio.fail_after(5):
            heard = await pipe.rest()
    assert "call" not in [one["id"] for one in heard]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["TERM", "HUP", "INT"])
async def test_a_signal_ends_the_server_once_what_was_asked_is_answered(
    reference: Simulator, krosai: dict[str, str], number: int
) -> None:
    item = item_of(reference)
    async with open_program(**krosai) as program:
        await program.answer(initialize())
        await program.send(INITIALIZED)
        asked = told(await program.answer(buying(item)))
        reference.faults.switch_on("hold", on=["purchase"])
        await program.send(buying(item, confirmation_code=asked["confirmation_code"]))
        await reference.faults.held()
        program.process.send_signal(number)
        reference.faults.let_go()
        [bought] = await program.rest()
        assert await program.ended() == 0
        assert program.said() == ""
    assert told(bought)["status"] == "done"


async def test_a_second_signal_waits_for_no_answers(reference: Simulator, krosai: dict[str, str]) -> None:
    async with open_program(**krosai) as program:
        await program.answer(initialize())
        reference.faults.switch_on("hold", on=["list_owned"])
        await program.send(INITIALIZED, call("list", "list_phone_numbers"))
        await reference.faults.held()
        program.close()
        heard: list[Any] = []

        async def hear() -> None:
            heard.extend(await program.rest())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                # The first may come before the server has seen that stdin is closed, and then is no second one.
                while program.process.returncode is None:
                    program.process.send_signal(signal.SIGTERM)
                    with anyio.move_on_after(0.2):
                        await program.process.wait()
            assert await program.ended() == 0
        reference.faults.let_go()
    assert [one["id"] for one in heard] == ["list"]


async def test_a_client_that_hears_no_more_ends_the_server_in_order(
    reference: Simulator, krosai: dict[str, str]
) -> None:
    """A purchase that it has confirmed is still seen through."""
    item = item_of(reference)
    async with open_program(**krosai) as program:
        await program.answer(initialize())
        await program.send(INITIALIZED)
        asked = told(await program.answer(buying(item)))
        reference.faults.switch_on("hold", on=["purchase"])
        await program.send(buying(item, confirmation_code=asked["confirmation_code"]))
        await reference.faults.held()
        program.hear_no_more()
        await program.send(request("ping", "ping"))
        reference.faults.let_go()
        assert await program.ended() == 0
        assert program.said() == "stdout is closed, so the server stops\n"
    await reference.settled()
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_a_question_on_the_screen_ends_with_the_connection(reference: Simulator) -> None:
    screen = ScriptedScreen()
    async with open_pipe(reference, screen) as pipe:
        await pipe.answer(initialize())
        await pipe.send(INITIALIZED, buying(item_of(reference)))
        await screen.fetched.wait()
        pipe.close()
        [answer] = await pipe.rest()
    assert told(answer)["status"] == "cancelled"
    assert "The server that asked on the screen has ended" in told(answer)["summary"]
    assert wrote(reference) == []
