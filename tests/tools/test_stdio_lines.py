"""What a client may write on stdin: each request is answered, whatever is wrong with its line."""

import json
from typing import Any

import anyio
import pytest

from kros_mcp import stdio
from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.simulator import Simulator
from tests.support.pipe import INITIALIZED, MODERN, Pipe, call, initialize, open_pipe, request
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

UNREADABLE, INVALID = -32700, -32600
DEEP = "[" * 300 + "]" * 300
PING = json.dumps(request("after", "ping")).encode()

# A line, and the codes and ids with which it is answered.
MALFORMED: dict[str, tuple[bytes, list[tuple[int, object]]]] = {
    "no jsonrpc": (b'{"id": 1, "method": "ping"}', [(INVALID, 1)]),
    "another jsonrpc": (b'{"jsonrpc": "1.0", "id": 2, "method": "ping"}', [(INVALID, 2)]),
    "half of a surrogate pair": (
        rb'{"jsonrpc": "2.0", "id": "s", "method": "tools/call", "params": {"name": "\ud800"}}',
        [(UNREADABLE, "s")],
    ),
    "300 levels": (f'{{"jsonrpc": "2.0", "id": 3, "method": "ping", "params": {DEEP}}}'.encode(), [(UNREADABLE, 3)]),
    "300 levels, id last": (
        f'{{"jsonrpc": "2.0", "method": "ping", "params": {{"id": {DEEP}}}, "id": 4}}'.encode(),
        [(UNREADABLE, 4)],
    ),
    "an id that is null": (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', [(INVALID, None)]),
    "an id that is a fraction": (b'{"jsonrpc": "2.0", "id": 1.0, "method": "ping"}', [(INVALID, None)]),
    "an id that is true": (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', [(INVALID, None)]),
    "an id that is an object": (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', [(INVALID, None)]),
    "an id without end": (b'{"jsonrpc": "2.0", "method": "ping", "id": ' + b"1" * 5_000 + b"}", [(UNREADABLE, None)]),
    "a batch": (
        b'[{"jsonrpc": "2.0", "id": 5, "method": "ping"}, {"jsonrpc": "2.0", "id": "6", "method": "ping"}]',
        [(INVALID, 5), (INVALID, "6")],
    ),
    "a batch that cannot be read": (
        rb'[{"jsonrpc": "2.0", "id": 15, "method": "\ud800"}, {"jsonrpc": "2.0", "id": "16", "method": "ping"',
        [(UNREADABLE, 15), (UNREADABLE, "16")],
    ),
    "an empty batch": (b"[]", [(INVALID, None)]),
    "a batch of notifications": (b'[{"jsonrpc": "2.0", "method": "x"}]', [(INVALID, None)]),
    "a bare text": (b'"ping"', [(INVALID, None)]),
    "no JSON": (b"GET / HTTP/1.1", [(UNREADABLE, None)]),
    "cut off": (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "li', [(UNREADABLE, 7)]),
    "cut off in its id": (b'{"jsonrpc": "2.0", "method": "ping", "id": 7', [(UNREADABLE, None)]),
    "another's id within": (b'{"jsonrpc": "2.0", "params": {"id": 8}, "method": "ping"', [(UNREADABLE, None)]),
    "Latin-1": ('{"jsonrpc": "2.0", "id": 9, "method": "é"}'.encode("latin-1"), [(UNREADABLE, 9)]),
    "UTF-16": ('{"jsonrpc": "2.0", "id": 1, "method": "ping"}'.encode("utf-16-le"), [(UNREADABLE, None)]),
    "parameters in a list": (b'{"jsonrpc": "2.0", "id": 10, "method": "ping", "params": []}', [(INVALID, 10)]),
    "no method": (b'{"jsonrpc": "2.0", "id": 11}', [(INVALID, 11)]),
    "a number that is none": (b'{"jsonrpc": "2.0", "id": 12, "method": "x", "params": {"a": NaN}}', [(UNREADABLE, 12)]),
    "too long": (
        b'{"jsonrpc": "2.0", "id": 13, "method": "x", "params": {"a": "' + b"x" * 3 * LONGEST_MESSAGE_BYTES + b'"}}',
        [(INVALID, 13)],
    ),
    "a batch that is too long, behind a byte order mark": (
        b'\xef\xbb\xbf[{"jsonrpc": "2.0", "id": 17, "method": "ping"}, "' + b"x" * LONGEST_MESSAGE_BYTES + b'"]',
        [(INVALID, 17)],
    ),
    "just too long": (
        b'{"jsonrpc": "2.0", "id": 14, "method": "ping"}' + b" " * LONGEST_MESSAGE_BYTES,
        [(INVALID, 14)],
    ),
}


async def open_server(pipe: Pipe) -> dict[str, Any]:
    answer = await pipe.answer(initialize())
    await pipe.send(INITIALIZED)
    return answer


async def test_a_line_that_is_no_message_is_answered_in_a_sentence_and_the_next_is_served(
    reference: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pipe(reference) as pipe:
        await open_server(pipe)
        for name, (line, answers) in MALFORMED.items():
            await pipe.send(line, PING)
            heard = [await pipe.hear() for _ in [*answers, "after"]]
            errors = [(one["error"]["code"], one["id"]) for one in heard if one["id"] != "after"]
            assert sorted(errors, key=str) == sorted(answers, key=str), name
            for one in heard:
                assert one["id"] == "after" or one["error"]["message"].endswith("."), name
        pipe.close()
        assert await pipe.rest() == []
    # A flood of such lines must not fill a stderr that nobody reads.
    assert 1 <= len(caplog.messages) < 10


async def test_a_byte_order_mark_and_blank_lines_are_skipped(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.send(b"\xef\xbb\xbf" + json.dumps(initialize()).encode() + b"\r", b"", b" \r", INITIALIZED)
        assert "serverInfo" in (await pipe.hear())["result"]
        assert (await pipe.answer(request(1, "ping")))["result"] == {}


async def test_an_answer_that_cannot_be_read_leaves_its_prompt_unanswered(
    reference: Simulator,
) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize(prompts=True))
        await pipe.send(INITIALIZED, call("buy", "buy_phone_number", inventory_id=await an_item(pipe)))
        prompt = await pipe.hear()
        assert prompt["method"] == "elicitation/create"
        await pipe.send({"jsonrpc": "2.0", "id": prompt["id"], "result": "yes"})
        answer = await pipe.hear()
    assert (answer["id"], answer["result"]["structuredContent"]["code"]) == ("buy", "PROMPT_UNANSWERED")


async def an_item(pipe: Pipe) -> str:
    found = await pipe.answer(call("search", "search_phone_numbers", country="NG"))
    return str(found["result"]["structuredContent"]["numbers"][0]["inventory_id"])


@pytest.mark.parametrize("times", [1, 3])
async def test_after_a_discover_the_client_may_initialize(reference: Simulator, times: int) -> None:
    async with open_pipe(reference) as pipe:
        discovers = [request(f"discover-{one}", "server/discover", **MODERN) for one in range(times)]
        await pipe.send(*discovers, initialize(), INITIALIZED, call("list", "list_phone_numbers"))
        found = await pipe.answers([*(one["id"] for one in discovers), "init", "list"])
    for one in discovers:
        assert {"2026-07-28", "2025-11-25"} <= set(found[one["id"]]["result"]["supportedVersions"])
    assert found["init"]["result"]["protocolVersion"] == "2025-11-25"
    assert found["list"]["result"]["structuredContent"]["numbers"]


async def test_after_a_discover_the_client_may_go_on_with_the_newest_revision(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        discovered = await pipe.answer(request("discover", "server/discover", **MODERN))
        again = await pipe.answer(request("again", "server/discover", **MODERN))
        listed = await pipe.answer(request("list", "tools/list", **MODERN))
    assert discovered["result"] == again["result"]
    assert listed["result"]["tools"]


@pytest.mark.parametrize(("bound", "value"), [("MOST_AT_ONCE", 2), ("MOST_BYTES_AT_ONCE", 2_300)])
async def test_requests_beyond_the_bound_are_refused_and_the_others_answered(
    reference: Simulator, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """Prompts that nobody answers are what can be heaped up: every other request ends by itself."""
    monkeypatch.setattr(stdio, bound, value)
    monkeypatch.setattr(stdio, "LONGEST_WAIT_SECONDS", 0.01)
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize(prompts=True))
        items = [item_of(reference, nth=nth) for nth in range(3)]
        calls = [call(item.id, "buy_phone_number", inventory_id=item.id, country=item.country) for item in items]
        await pipe.send(INITIALIZED, *(json.dumps(one).encode().ljust(1_000) for one in calls))
        heard = [await pipe.hear() for _ in items]
        [refused] = [one for one in heard if "error" in one]
        assert (refused["id"], refused["error"]["code"]) == (items[2].id, INVALID)
        assert "Too many requests" in refused["error"]["message"]
        # A request that its client has cancelled makes room.
        await pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": items[0].id}})
        with anyio.fail_after(10):
            while "error" in await pipe.answer(request("after", "ping")):
                pass
    assert wrote(reference) == []


async def test_of_very_many_unknown_arguments_a_few_are_named(reference: Simulator) -> None:
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize())
        unknown = {f"a{nth}": 0 for nth in range(18_000)}
        answer = await pipe.answer(INITIALIZED, call("many", "get_spending", **unknown))
        summary = answer["result"]["structuredContent"]["summary"]
    assert summary == "'a0', 'a1', 'a2' and 17,997 more are not arguments of this tool; it takes none."


async def test_a_burst_waits_for_room_and_is_answered_whole(reference: Simulator) -> None:
    numbers = range(2 * stdio.MOST_AT_ONCE)
    async with open_pipe(reference) as pipe:
        await pipe.answer(initialize())
        await pipe.send(INITIALIZED, *(call(number, "list_endpoints") for number in numbers))
        pipe.close()
        heard = {one["id"]: one for one in await pipe.rest()}
    assert set(heard) == set(numbers)
    assert not [one for one in heard.values() if "error" in one]
