"""Logs: every line is JSON, names what it belongs to, and quotes nothing that was said in confidence."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.server.auth.provider import AccessToken
from seeing_bench import json_log, open_here, serving

from kros_mcp.errors import JournalError
from kros_mcp.http.access import Access
from kros_mcp.http.logs import JsonFormatter
from kros_mcp.operations.execution import Yes
from kros_mcp.operations.model import Channel
from kros_mcp.simulator import Simulator
from kros_mcp.tools.caller import Caller, CallerToken
from kros_mcp.tools.specs import Scope
from tests.support.web import ACCEPT, opening

SECRET = "canary" + "0" * 12
PRIVATE = "7f3a91-said-in-confidence"
"""No pattern of the suite's, as the client of this test logs its own requests."""


class OneToken:
    """Knows one token, whose holder may read."""

    async def verify_token(self, token: str) -> AccessToken | None:
        if token != SECRET:
            return None
        caller = Caller("support-agent", frozenset({Scope.READ}))
        return CallerToken(token=token, client_id="support-agent", scopes=[Scope.READ], caller=caller)


def formatted(message: str, *arguments: object, name: str = "kros_mcp.x", failed: bool = False) -> dict[str, Any]:
    exc_info = sys.exc_info() if failed else None
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, exc_info)
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert line.isascii()
    told: dict[str, Any] = json.loads(line)
    return told


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_served_conversation_is_logged_in_json_without_its_secrets(mode: str) -> None:
    with serving("--log-level", "debug") as served:
        async with Client(f"{served.url}/mcp", mode=mode) as client:
            found = await client.call_tool("search_phone_numbers", {"country": "NG", "type": "local"})
            number = found.structured_content["numbers"][0]["e164"]
            wanted = {"e164": number, "country": "NG", "type": "local"}
            asked = (await client.call_tool("buy_phone_number", wanted)).structured_content
            code, operation_id = asked["confirmation_code"], asked["operation_id"]
            done = await client.call_tool("buy_phone_number", {**wanted, "confirmation_code": code})
            assert done.structured_content["status"] == "done"
        async with httpx.AsyncClient(base_url=served.url) as http:
            headers = {"authorization": f"Bearer {PRIVATE}", "cookie": PRIVATE, "x-request-id": "one.sane_id-1"}
            sane = await http.get(f"/nothing%0A%1B[2J?token={PRIVATE}", headers=headers)
            odd = await http.get("/healthz", headers={"x-request-id": 'a b"{}' * 30})
            foreign = await http.get("/mcp", headers={"host": "evil.example"})
            begun = await http.post("/mcp", json=opening(PRIVATE), headers=ACCEPT)
    session = begun.headers["mcp-session-id"]
    written = "".join(served.log)
    assert [word for word in (PRIVATE, code, number, session) if word in written] == []
    by_id = {line["request_id"]: line for line in served.lines if line["logger"] == "kros_mcp.access"}
    assert by_id["one.sane_id-1"]["path"] == "/nothing\n\x1b[2J"
    assert sane.headers["x-request-id"] == "one.sane_id-1"
    assert by_id[odd.headers["x-request-id"]]["status"] == 200
    assert (foreign.status_code, by_id[foreign.headers["x-request-id"]]["status"]) == (421, 421)
    calls = [(line.get("tool"), line.get("outcome"), line["operation_id"]) for line in by_id.values() if "tool" in line]
    assert calls == [
        ("search_phone_numbers", "answered", None),
        ("buy_phone_number", "confirmation_required", operation_id),
        ("buy_phone_number", "done", operation_id),
    ]
    assert all(line["duration_ms"] >= 0 for line in by_id.values())
    assert all({"time", "level", "logger", "message", "request_id", "principal"} <= set(line) for line in served.lines)


@pytest.mark.anyio
async def test_who_called_is_logged_also_of_a_call_that_is_refused() -> None:
    access = Access(OneToken(), lambda _: None)
    with json_log() as lines:
        async with open_here(Simulator(), access) as here:
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "buy_phone_number"}}
            refused = await here.http.post("/mcp", json=call, headers={"authorization": f"Bearer {SECRET}"})
            stranger = await here.http.post("/mcp", json=call, headers={"authorization": "Bearer wrong"})
    by_id = {line["request_id"]: (line["status"], line["principal"]) for line in lines if "status" in line}
    assert by_id[refused.headers["x-request-id"]] == (403, "support-agent")
    assert by_id[stranger.headers["x-request-id"]] == (401, None)


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "buy_phone_number"}}
BEARING = {"authorization": f"Bearer {SECRET}"}
REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no_token": (401, "/mcp", {"json": CALL}),
    "invalid_token": (401, "/mcp", {"json": CALL, "headers": {"authorization": f"Bearer {PRIVATE}"}}),
    "insufficient_scope": (403, "/mcp", {"json": CALL, "headers": BEARING}),
    "malformed_body": (400, "/mcp", {"content": PRIVATE, "headers": BEARING}),
    "body_too_large": (413, "/mcp", {"content": b" " * (256 * 1024 + 1), "headers": BEARING}),
    "foreign_host": (421, "/mcp", {"headers": {"host": PRIVATE}}),
    "foreign_origin": (403, "/mcp", {"headers": {"origin": f"https://{PRIVATE}"}}),
    "foreign_form": (403, "/approvals", {"data": {"credential": PRIVATE}}),
    "wrong_credential": (
        403,
        "/approvals",
        {"data": {"credential": PRIVATE}, "headers": {"sec-fetch-site": "same-origin"}},
    ),
    "not_signed_in": (403, "/approvals/op_abcdefghijklmnop", {"data": {"decision": "approve"}}),
}


@pytest.mark.anyio
@pytest.mark.parametrize("reason", REFUSED)
async def test_why_a_request_was_refused_is_logged_in_a_word_of_ours(reason: str) -> None:
    status, path, sent = REFUSED[reason]
    with json_log() as lines:
        async with open_here(Simulator(), Access(OneToken(), lambda _: None)) as here:
            refused = await here.http.post(path, **sent)
            await here.http.get("/approvals")
    told = [(line["status"], line.get("reason")) for line in lines if line["logger"] == "kros_mcp.access"]
    assert (refused.status_code, told) == (status, [(status, reason), (200, None)])
    assert PRIVATE not in json.dumps(lines)


@pytest.mark.anyio
async def test_who_asks_too_much_is_told_apart_in_the_log() -> None:
    with json_log() as lines:
        async with open_here(Simulator(), Access(OneToken(), lambda _: None), requests_per_second=0.001) as here:
            while (await here.http.post("/mcp", json=CALL, headers=BEARING)).status_code != 429:
                pass
    [last] = [line for line in lines if line.get("status") == 429]
    assert (last["reason"], last["principal"]) == ("too_many_requests", "support-agent")


@pytest.mark.parametrize("workers", [(), ("--workers=2", "--stateless")])
def test_a_stop_is_logged_once_and_in_our_words_alone(workers: tuple[str, ...], tmp_path: Path) -> None:
    key = {"KROS_API_KEY": "kros_test_" + SECRET, "KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/journal.sqlite3"}
    with serving(*workers, simulated=not workers, **(key if workers else {})) as served:
        pass
    assert served.process.returncode == 0
    assert [line["message"] for line in served.lines if line["level"] == "info"] == [
        f"kros-mcp: serving {served.url}/mcp",
        "kros-mcp: stopping; what is being sent is settled first",
        "kros-mcp: stopped",
    ]


@pytest.mark.anyio
async def test_what_an_act_logs_names_its_operation_also_outside_of_a_request() -> None:
    with json_log() as lines:
        async with open_here(Simulator()) as here:
            run = here.runtime.runner.start("op_abcdefghijklmnop", Yes(Channel.PROMPT))
            await run.ended.wait()
            await here.http.get("/nothing")
    told = {line["logger"]: (line["level"], line["operation_id"]) for line in lines}
    assert told["kros_mcp.operations.runner"] == ("warning", "op_abcdefghijklmnop")
    assert told["kros_mcp.access"] == ("info", None)


def test_no_session_is_named_whole() -> None:
    session = "0123456789abcdef" * 2
    told = formatted("Rejecting request for session %s", session, name="mcp.server.streamable_http_manager")
    assert told["message"].startswith("Rejecting request for session")
    assert session not in json.dumps(told)


def test_of_a_foreign_exception_kind_and_place_are_told_and_never_its_words() -> None:
    try:
        try:
            int(SECRET)  # its ValueError quotes it
        except ValueError as exc:
            raise JournalError("The journal is damaged.") from exc
    except JournalError:
        told = formatted("it failed", failed=True)
    ours, foreign = told["exception"]
    assert (ours["type"], ours["code"], ours["message"]) == (
        "JournalError",
        "JOURNAL_UNUSABLE",
        "The journal is damaged.",
    )
    assert foreign["type"] == "ValueError"
    assert "test_of_a_foreign_exception" in foreign["at"][0]
    assert SECRET not in json.dumps(told)


def test_what_came_from_outside_forges_no_line_and_moves_no_cursor() -> None:
    evil = 'x\n{"level": "error"}\r\x1b[2J\u202e\u2028'
    assert formatted("dropped %s", evil)["message"] == f"dropped {evil}"


def test_a_line_whose_arguments_do_not_fit_is_written_all_the_same() -> None:
    assert formatted("%d of %d", "many")["message"] == "%d of %d"


def test_what_a_forgotten_task_raised_is_not_quoted() -> None:
    async def fail() -> None:
        raise RuntimeError(SECRET)

    async def forget() -> str:
        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])
        return f"Task exception was never retrieved\nfuture: {task!r}{task.exception()!r}"

    said = asyncio.run(forget())
    assert SECRET in said
    assert formatted("%s", said, name="asyncio")["message"] == "Task exception was never retrieved"
