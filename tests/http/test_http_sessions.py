"""Sessions of the 2025-11-25 protocol: how many a caller may have, which gives way, and which is never kept."""

import json
from typing import Any

import anyio
import httpx
import pytest
from seeing_bench import json_log

from kros_mcp.simulator import Simulator
from tests.support.upstream import item_of
from tests.support.web import ACCEPT, Web, access_for, open_session, open_web, opening

pytestmark = pytest.mark.anyio
LISTING = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


async def opened(http: httpx.AsyncClient) -> dict[str, str]:
    answer = await http.post("/mcp", json=opening())
    assert answer.status_code == 200, answer.text
    return {"mcp-session-id": answer.headers["mcp-session-id"]}


async def lists(http: httpx.AsyncClient, session: dict[str, str]) -> int:
    return (await http.post("/mcp", json=LISTING, headers=session)).status_code


async def test_the_session_that_has_been_idle_longest_gives_way_to_a_new_one_of_its_caller() -> None:
    async with (
        open_web(Simulator("reference"), access_for("a", "b"), max_sessions_per_caller=3) as web,
        web.client(authorization="Bearer a", **ACCEPT) as a,
        web.client(authorization="Bearer b", **ACCEPT) as b,
    ):
        theirs = await opened(b)
        first, second, third = [await opened(a) for _ in range(3)]
        assert await lists(a, first) == 200  # the second has now been idle longest
        fourth = await opened(a)
        assert [await lists(a, session) for session in (first, second, third, fourth)] == [200, 404, 200, 200]
        assert await lists(b, theirs) == 200


async def test_a_caller_with_abandoned_sessions_is_never_locked_out() -> None:
    async with (
        open_web(Simulator("reference"), access_for("a"), max_sessions_per_caller=5, requests_per_second=0) as web,
        web.client(authorization="Bearer a", **ACCEPT) as a,
    ):
        for _ in range(20):
            last = await opened(a)
        assert await lists(a, last) == 200


@pytest.mark.parametrize("spoiled", [{"clientInfo": None}, {"protocolVersion": None}, {"capabilities": "none"}])
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "application/json"])
async def test_a_refused_initialize_keeps_no_session(spoiled: dict[str, Any], accept: str) -> None:
    async with (
        open_web(Simulator("reference"), access_for("a"), max_sessions_per_caller=2) as web,
        web.client(authorization="Bearer a", accept=accept) as a,
    ):
        kept = await opened(a)
        request = opening()
        request["params"] = {name: value for name, value in (request["params"] | spoiled).items() if value is not None}
        for _ in range(5):
            refused = await a.post("/mcp", json=request)
            assert '"error"' in refused.text
            assert await lists(a, {"mcp-session-id": refused.headers["mcp-session-id"]}) == 404
        assert await lists(a, kept) == 200, "none of them took its place"


async def test_where_all_sessions_are_in_use_the_bound_is_told_truly_and_when_to_try_again() -> None:
    sim = Simulator("reference")
    with json_log() as log:
        async with (
            open_web(sim, access_for("agent", "b"), max_sessions=2, max_sessions_per_caller=1) as web,
            open_session(web) as session,
            session.buying(item_of(sim)) as stream,
            web.client(authorization="Bearer b", **ACCEPT) as b,
        ):
            prompt = await stream.message()
            refused = await session.http.post("/mcp", json=opening())
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert "the 1 that one caller may have here" in refused.json()["error"]["message"]
            others = await opened(b)
            assert await lists(b, others) == 200
            assert (await session.answer(prompt, "do not buy")).status_code == 202
            await stream.message()
    assert [line["reason"] for line in log if line.get("status") == 503] == ["too_many_sessions"]
    assert any("the 1 that one caller may have here are all in use" in line["message"] for line in log)


async def test_at_the_bound_for_all_whoever_has_most_idle_sessions_gives_one_up() -> None:
    async with (
        open_web(Simulator("reference"), access_for("a", "b"), max_sessions=3) as web,
        web.client(authorization="Bearer a", **ACCEPT) as a,
        web.client(authorization="Bearer b", **ACCEPT) as b,
    ):
        theirs = await opened(b)
        oldest, younger = await opened(a), await opened(a)
        new = await opened(b)
        assert [await lists(a, oldest), await lists(a, younger)] == [404, 200]
        assert [await lists(b, theirs), await lists(b, new)] == [200, 200]


async def test_a_session_ends_after_the_idle_time_that_was_set() -> None:
    async with (
        open_web(Simulator("reference"), access_for("a"), session_idle_seconds=1) as web,
        web.client(authorization="Bearer a", **ACCEPT) as a,
    ):
        session = await opened(a)
        assert await lists(a, session) == 200
        with anyio.fail_after(5):
            while web.service.sessions.count:
                await anyio.lowlevel.checkpoint()
        assert await lists(a, session) == 404


async def test_a_request_takes_no_id_from_one_that_is_still_open() -> None:
    sim = Simulator("reference")
    async with (
        open_web(sim, access_for("agent")) as web,
        open_session(web) as session,
        session.buying(item_of(sim)) as stream,
    ):
        prompt = await stream.message()
        for given in (session.calls, str(session.calls)):
            answer = await session.http.post("/mcp", headers=session.headers, json=LISTING | {"id": given})
            assert (answer.status_code, answer.json()["id"]) == (400, given)
        assert (await session.answer(prompt)).status_code == 202
        assert (await stream.message())["result"]["structuredContent"]["status"] == "done"
        again = await session.http.post("/mcp", headers=session.headers, json=LISTING | {"id": session.calls})
        assert again.status_code == 200


async def test_a_client_that_leaves_at_any_moment_leaves_nothing_of_its_request() -> None:
    sim = Simulator("reference")
    async with open_web(sim, access_for("agent"), requests_per_second=0) as web, open_session(web) as session:
        for moments in range(40):
            listing = LISTING | {"id": f"left after {moments}"}
            await left_after(moments, web, {**ACCEPT, **session.headers}, listing)
            again = await session.http.post("/mcp", headers=session.headers, json=listing)
            assert again.status_code == 200, again.text


async def left_after(moments: int, web: Web, headers: dict[str, str], body: dict[str, Any]) -> None:
    """Send a request and leave after so many turns of the event loop, which no connection can be told to do."""
    given = {**headers, "host": "localhost", "authorization": "Bearer agent", "content-type": "application/json"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    coming = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        for _ in range(moments):
            await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        await anyio.lowlevel.checkpoint()

    await web.service.app(scope, receive, send)
