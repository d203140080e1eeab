"""Pages of origins that the settings name call the tools from a browser; no other page reads an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from test_approvals_browser import chromium, open_browser

from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.simulator import Simulator
from tests.support.web import access_for, modern, open_listening, open_web

__all__ = ["chromium"]  # a fixture
pytestmark = pytest.mark.anyio

APP = "https://app.example"
ASKED = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "accept,authorization,content-type,last-event-id,mcp-method,mcp-name,"
    "mcp-protocol-version,mcp-session-id",
}
TALK = """async ([url, token]) => {
  const call = async (session, body, method = 'POST') => {
    const headers = {Authorization: `Bearer ${token}`, Accept: 'application/json, text/event-stream',
      'Content-Type': 'application/json', 'MCP-Protocol-Version': '2025-11-25'};
    if (session) headers['Mcp-Session-Id'] = session;
    return fetch(`${url}/mcp`, {method, headers, body: body && JSON.stringify({jsonrpc: '2.0', ...body})});
  };
  const params = {protocolVersion: '2025-11-25', capabilities: {}, clientInfo: {name: 'page', version: '1'}};
  const opened = await call('', {id: 1, method: 'initialize', params});
  if (opened.status !== 200) return [opened.status, opened.headers.get('WWW-Authenticate')];
  const session = opened.headers.get('Mcp-Session-Id');
  const listed = await (await call(session, {id: 2, method: 'tools/list'})).text();
  const stream = await call(session, null, 'GET');
  const ended = await call(session, null, 'DELETE');
  return [session.length, listed.includes('buy_phone_number'), stream.status, ended.status];
}"""
NEWEST = """async ([url, request]) => {
  const answer = await fetch(`${url}/mcp`, {method: 'POST', headers: request.headers, body: request.content});
  return (await answer.json()).result.tools.length;
}"""


@asynccontextmanager
async def open_app() -> AsyncIterator[str]:
    """Serve a page of another origin."""

    async def page(_request: object) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>An app</title>")

    async with open_listening(Starlette(routes=[Route("/", page)])) as url:
        yield url


@pytest.mark.browser
async def test_a_page_of_an_allowed_origin_speaks_both_revisions_and_another_page_none(chromium: str) -> None:
    async with (
        open_app() as app,
        open_app() as other,
        open_web(Simulator("reference"), access_for("agent"), loopback=False, allowed_origins=app) as web,
        open_browser(chromium) as browser,
    ):
        page = await browser.new_page()
        await page.goto(app)
        assert await page.evaluate(TALK, [web.url, "agent"]) == [32, True, 405, 200]
        status, challenge = await page.evaluate(TALK, [web.url, "wrong"])
        assert (status, challenge.startswith("Bearer ")) == (401, True)
        request = modern("tools/list", authorization="Bearer agent")
        assert await page.evaluate(NEWEST, [web.url, request]) == 11
        stranger = await browser.new_page()
        await stranger.goto(other)
        for script, given in ((TALK, "agent"), (NEWEST, request)):
            told = await stranger.evaluate(f"given => ({script})(given).catch(String)", [web.url, given])
            assert "Failed to fetch" in told


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_a_browser_is_told_beforehand_what_an_allowed_page_may_send(path: str) -> None:
    async with open_web(Simulator("reference"), access_for("agent"), allowed_origins=APP) as web, web.client() as http:
        asked = await http.options(path, headers={"origin": APP, **ASKED})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, APP)
        assert {"POST", "DELETE"} <= set(asked.headers["access-control-allow-methods"].split(", "))
        assert "access-control-allow-credentials" not in asked.headers
        refused = await http.options(path, headers={"origin": "http://localhost:3000", **ASKED})
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)


async def test_an_allowed_page_reads_every_refusal_too() -> None:
    async with (
        open_web(Simulator("reference"), access_for("agent"), allowed_origins=APP, requests_per_second=1) as web,
        web.client(origin=APP) as http,
    ):
        answers = [
            await http.post("/mcp", content=b"{}"),
            await http.post(
                "/mcp", content=b" " * (LONGEST_MESSAGE_BYTES + 1), headers={"authorization": "Bearer agent"}
            ),
            *[await http.post("/mcp", **modern("tools/list", authorization="Bearer agent")) for _ in range(3)],
        ]
        elsewhere = await http.get("/healthz")
    assert {answer.status_code for answer in answers} == {401, 413, 200, 429}
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == APP
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"Mcp-Session-Id", "WWW-Authenticate", "Retry-After"} <= exposed
    assert "access-control-allow-origin" not in elsewhere.headers


async def test_without_allowed_origins_no_page_is_promised_anything() -> None:
    async with open_web(Simulator("reference"), access_for("agent")) as web, web.client() as http:
        asked = await http.options("/mcp", headers={"origin": "http://localhost:3000", **ASKED})
    assert asked.status_code == 401
    assert not [name for name in asked.headers if name.startswith("access-control")]
