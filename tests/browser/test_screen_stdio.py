"""The page from a client to a charge: a real server over stdio, a client without prompts, and a scripted hand."""

import json
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from chromium import new_window, open_chromium
from playwright.async_api import expect

from kros_mcp.operations.model import State
from kros_mcp.simulator import InventoryItem, Simulator, open_server
from tests.support.hand import as_browser
from tests.support.pipe import INITIALIZED, Program, call, initialize, open_program
from tests.support.upstream import item_of

pytestmark = [pytest.mark.anyio, pytest.mark.processes]


@asynccontextmanager
async def open_client(sim: Simulator, does: str, **environment: str) -> AsyncIterator[Program]:
    """Start a server whose browser is a hand, and a client that shows no prompts."""
    async with (
        open_server(sim) as base_url,
        open_program(
            KROS_API_KEY=sim.api_key,
            KROS_BASE_URL=base_url,
            KROS_ANSWER_WITHIN_SECONDS="20",
            BROWSER=as_browser(),
            HAND=does,
            **{"KROS_CONFIRMATION": "person", "KROS_JOURNAL_URL": "sqlite://:memory:", **environment},
        ) as program,
    ):
        await program.answer(initialize())
        await program.send(INITIALIZED)
        yield program


async def buy(program: Program, item: InventoryItem, request_id: object = "buy", **arguments: Any) -> dict[str, Any]:
    wanted = {"e164": item.e164, "country": item.country, "type": item.type, **arguments}
    answer = await program.answer(call(request_id, "buy_phone_number", **wanted))
    result: dict[str, Any] = answer["result"]["structuredContent"]
    return result


async def test_one_process_buys_and_releases_by_the_page_and_its_path_stands_nowhere() -> None:
    sim = Simulator()
    async with open_client(sim, "yes") as program:
        bought = await buy(program, item_of(sim))
        number = bought["number"]["number_id"]
        released = await program.answer(call("release", "release_phone_number", number_id=number))
        said = program.said()
    assert (bought["status"], bought["charged"]) == ("done", "yes")
    assert released["result"]["structuredContent"]["status"] == "done"
    assert len(sim.charges) == 1
    everything = said + json.dumps(program.heard)
    assert "/open/" not in everything
    assert "127.0.0.1" not in json.dumps(program.heard)


async def test_a_no_on_the_page_ends_it_and_a_page_that_nobody_opens_is_refused_under_person() -> None:
    sim = Simulator()
    async with open_client(sim, "no") as program:
        assert (await buy(program, item_of(sim)))["status"] == "declined"
    async with open_client(sim, "ignore") as program:
        refused = await buy(program, item_of(sim))
    assert refused.get("code")
    assert not refused.get("confirmation_code")
    assert sim.charges == []


@pytest.mark.parametrize("how", ["the client closes stdin", "SIGTERM"])
async def test_the_end_of_the_process_cancels_what_waits_and_is_not_late(how: str, tmp_path: Path) -> None:
    sim, url = Simulator(), f"sqlite:///{tmp_path}/journal.sqlite3"
    async with open_client(sim, "close", KROS_JOURNAL_URL=url) as program:
        item = item_of(sim)
        wanted = {"e164": item.e164, "country": item.country, "type": item.type}
        await program.send(call("buy", "buy_phone_number", **wanted))
        with anyio.fail_after(20):
            while not any(row["shown_at"] for row in await _rows(url)):
                pass
        begun = time.monotonic()
        if how == "SIGTERM":
            program.process.send_signal(signal.SIGTERM)
        else:
            program.close()
        rest = await program.rest()
        assert await program.ended() == 0
        took = time.monotonic() - begun
    assert took < 8
    assert [found["state"] for found in await _rows(url)] == [State.CANCELLED]
    statuses = [one["result"]["structuredContent"].get("status") for one in rest if one.get("id") == "buy"]
    assert statuses in ([], ["cancelled"])
    assert sim.charges == []


@pytest.mark.browser
async def test_a_person_in_chromium_buys_and_a_killed_server_charges_nothing(tmp_path: Path) -> None:
    sim, told = Simulator(), tmp_path / "told"
    told.touch()
    async with (
        open_chromium() as browser,
        open_client(sim, "tell", HAND_FILE=str(told), KROS_CONFIRMATION="auto") as program,
        anyio.create_task_group() as tasks,
    ):
        window, results = await new_window(browser), {}

        async def ask(nth: int) -> None:
            results[nth] = await buy(program, item_of(sim, nth=nth), nth)

        tasks.start_soon(ask, 0)
        page = await window.new_page()
        await page.goto(await anyio.to_thread.run_sync(_address, told, 1))
        await expect(page.get_by_text("calls itself “pipe”")).to_be_visible()
        await page.get_by_role("button", name="Buy it").click()
        await expect(page.get_by_role("heading", name="Done")).to_be_visible()
        with anyio.fail_after(20):
            while 0 not in results:
                await anyio.lowlevel.checkpoint()
        assert (results[0]["status"], len(sim.charges)) == ("done", 1)

        item = item_of(sim, nth=1)
        await program.send(call("second", "buy_phone_number", e164=item.e164, country=item.country, type=item.type))
        await page.goto(await anyio.to_thread.run_sync(_address, told, 2))
        program.process.kill()
        await program.ended()
        await page.get_by_role("button", name="Buy it").click()
        await expect(page.get_by_text("kros-mcp has ended")).not_to_be_visible()  # the browser's own words
        assert len(sim.charges) == 1


def _address(told: Path, nth: int) -> str:
    """Wait for the nth address that the server has opened."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        addresses = told.read_text(encoding="ascii").splitlines()
        if len(addresses) >= nth:
            return addresses[nth - 1]
        time.sleep(0.02)
    raise TimeoutError


async def _rows(url: str) -> list[dict[str, Any]]:
    """Look into the journal of another process."""
    return await anyio.to_thread.run_sync(_read, Path(url.removeprefix("sqlite:///")))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        journal.row_factory = sqlite3.Row
        return [dict(row) for row in journal.execute("SELECT * FROM operations")]
