"""Probes: they tell the truth, tell strangers nothing, and cost the journal and KrosAI next to nothing."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from seeing_bench import Here, json_log, open_here

from kros_mcp.errors import KrosError
from kros_mcp.http.health import FRESH_SECONDS, Health
from kros_mcp.krosai.retry import within
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.clock import Clock
from tests.support.web import access_for, open_web

pytestmark = pytest.mark.anyio


class Unplugged(httpx.AsyncBaseTransport):
    """Refuse every connection while `out`; else pass requests on."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.out = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.out:
            raise httpx.ConnectError("no route", request=request)
        return await self.inner.handle_async_request(request)


@asynccontextmanager
async def opened(journal: Path, way: httpx.AsyncBaseTransport) -> AsyncIterator[Runtime]:
    settings = Settings(
        api_key="kros_test_key", base_url="https://simulator.invalid/v1", journal_url=f"sqlite:///{journal}"
    )
    async with open_runtime(settings, transport=way) as runtime:
        yield runtime


async def test_both_probes_answer_without_a_token_and_tell_strangers_nothing() -> None:
    sim = Simulator()
    async with open_here(sim) as here:
        await here.runtime.runner.looked_round.wait()
        alive, ready = await here.http.get("/healthz"), await here.http.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (
        200,
        {
            "status": "ready",
            "journal": "writable",
            "recovery": "done",
            "callers": "known",
            "krosai": {"state": "unknown", "since": None, "seen_at": None},
        },
    )
    assert ready.headers["cache-control"] == "no-store"
    assert sim.requests == [], "a probe asks KrosAI nothing"


@pytest.mark.parametrize("head", ["Host: 10.244.3.17:8000", "Host: evil.example", "Host: 127.0.0.1", ""])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_is_answered_whatever_host_it_names_and_told_the_state_alone(head: str, path: str) -> None:
    async with open_web(Simulator("reference"), access_for("agent"), loopback=False) as web:
        await web.service.runtime.runner.looked_round.wait()
        async with await anyio.connect_tcp("127.0.0.1", urlsplit(web.url).port or 0) as stream:
            version = "1.1" if head else "1.0"  # which needs no Host, and some balancers send none
            lines = [f"GET {path} HTTP/{version}", *([head] if head else []), "Connection: close", "", ""]
            await stream.send("\r\n".join(lines).encode())
            answer = b"".join([piece async for piece in stream])
    told, _, body = answer.partition(b"\r\n\r\n")
    assert told.split()[1] == b"200", answer
    assert json.loads(body) == {"status": "alive" if path == "/healthz" else "ready"}


async def test_a_caller_with_a_token_is_told_why_a_service_is_ready_or_not() -> None:
    async with open_web(Simulator("reference"), access_for("agent")) as web:
        await web.service.runtime.runner.looked_round.wait()
        async with web.client() as http:
            strangers = [await http.get("/readyz", headers=given) for given in ({}, {"authorization": "Bearer other"})]
            known = await http.get("/readyz", headers={"authorization": "Bearer agent", "host": "10.0.0.5"})
    assert [answer.json() for answer in strangers] == [{"status": "ready"}] * 2
    assert (known.json()["journal"], known.json()["krosai"]["state"]) == ("writable", "unknown")


async def test_where_everybody_is_let_in_a_foreign_name_is_a_strangers() -> None:
    async with open_here(Simulator()) as here:
        told = await here.http.get("/readyz", headers={"host": "evil.example"})
    assert set(told.json()) == {"status"}


async def test_a_change_of_the_state_is_logged_once_with_its_reason() -> None:
    with json_log() as log:
        async with open_here(Simulator()) as here:
            await here.runtime.runner.looked_round.wait()
            for _ in range(3):
                await here.http.get("/readyz")
    assert [line["message"] for line in log if "the service is" in line["message"]] == [
        "the service is ready; its journal: writable"
    ]


async def test_a_service_that_has_not_looked_round_or_is_closing_is_not_ready(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal", transport(Simulator())) as runtime:
        health = Health(runtime)
        before = await health.check()
        await runtime.runner.looked_round.wait()
        between = await health.check()
    after = await health.check()
    assert [found["status"] for found in (before, between, after)] == ["not_ready", "ready", "not_ready"]
    assert (before["recovery"], before["journal"]) == ("not_done", "not looked at")


async def test_a_journal_that_cannot_be_written_is_told_and_so_is_its_return(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "journal"
    async with opened(path, transport(Simulator())) as runtime:
        await runtime.runner.looked_round.wait()
        health, other = Health(runtime, clock=clock), sqlite3.connect(path, isolation_level=None)
        other.execute("ALTER TABLE meta RENAME TO hidden")
        broken = await health.check()
        other.execute("ALTER TABLE hidden RENAME TO meta")
        remembered = await health.check()
        clock.now += FRESH_SECONDS
        mended = await health.check()
        other.close()
    assert (broken["status"], broken["journal"]) == ("not_ready", "JOURNAL_UNUSABLE")
    assert remembered == broken, "it was not looked at again so soon"
    assert (mended["status"], mended["journal"]) == ("ready", "writable")


async def test_a_journal_whose_file_was_exchanged_makes_the_service_unready_for_good(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "journal"
    async with opened(path, transport(Simulator())) as runtime:
        await runtime.runner.looked_round.wait()
        health = Health(runtime, clock=clock)
        kept = path.rename(tmp_path / "kept")
        moved = await health.check()
        clock.now += FRESH_SECONDS
        kept.rename(path)
        back = await health.check()
    for found in (moved, back):
        assert (found["status"], found["journal"]) == ("not_ready", "JOURNAL_REPLACED")


async def test_a_locked_journal_is_waited_for_by_one_probe_alone(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "journal"
    async with opened(path, transport(Simulator())) as runtime:
        await runtime.runner.looked_round.wait()
        health, other = Health(runtime, clock=clock), sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked = await health.check()
        clock.now += FRESH_SECONDS
        with anyio.fail_after(0.5):
            again = await health.check()
        other.execute("ROLLBACK")
        other.close()
        await runtime.runner.drain(10)
        clock.now += FRESH_SECONDS
        free = await health.check()
    assert [found["journal"] for found in (locked, again, free)] == ["JOURNAL_SLOW", "JOURNAL_SLOW", "writable"]


async def test_krosai_down_is_told_and_does_not_make_the_service_unready(tmp_path: Path) -> None:
    way = Unplugged(transport(sim := Simulator()))
    async with opened(tmp_path / "journal", way) as runtime:
        await runtime.runner.looked_round.wait()
        health = Health(runtime)
        with pytest.raises(KrosError), within(0.05):
            await runtime.account.client.list_endpoints()
        down = await health.check()
        way.out = False
        with pytest.raises(KrosError):
            await runtime.account.client.list_endpoints()  # a key that is not taken is an answer too
        up = await health.check()
    assert (down["status"], down["krosai"]["state"]) == ("ready", "unreachable")
    assert (up["status"], up["krosai"]["state"]) == ("ready", "reachable")
    assert down["krosai"]["since"]
    assert len(sim.requests) == 1


async def test_a_flood_of_probes_writes_to_the_journal_once(tmp_path: Path) -> None:
    async with open_here(Simulator(), journal_url=f"sqlite:///{tmp_path}/journal") as here:
        await here.runtime.runner.looked_round.wait()
        before = await written(here)
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(here.http.get, "/readyz")
        after = await written(here)
    assert after - before == 2, "a row of its own, and how far the journal has come"


async def written(here: Here) -> int:
    """How many rows this connection to the journal has changed."""
    journal = here.runtime.account.journal
    connection = getattr(journal, "_connection")  # noqa: B009 - SQLite alone counts what a connection changed
    return int(connection.total_changes)
