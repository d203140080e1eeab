"""What a client reads, and what it asks in the wrong way: each is answered, in its own form and in plain words."""

import json
import signal
from typing import Any

import anyio
import httpx
import pytest
from seeing_bench import serving

from kros_mcp.simulator import Simulator
from tests.support.upstream import item_of, wrote
from tests.support.web import MODERN, access_for, asking_opening, modern, open_session, open_web, opening

pytestmark = pytest.mark.anyio
JSON, EVENTS = "application/json", "text/event-stream"
LISTING = {"jsonrpc": "2.0", "id": "x", "method": "tools/list"}


def read(answer: httpx.Response) -> Any:
    """The message of an answer, in either form."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith(JSON):
        return answer.json()
    [line] = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("era", ["legacy", "modern", "stateless"])
@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ([JSON], JSON),
        (["application/json; charset=utf-8"], JSON),
        ([EVENTS], EVENTS),
        ([], JSON),
        ([f"{JSON}, {EVENTS};q=0"], JSON),
        ([JSON, EVENTS], None),
        (["*/*"], None),
        ([f"{JSON}, text/plain, */*"], None),
    ],
)
async def test_a_client_is_answered_in_a_form_that_it_reads(era: str, accept: list[str], form: str | None) -> None:
    lines = [("accept", line) for line in accept]
    async with (
        open_web(Simulator("reference"), access_for("a"), stateless=era == "stateless") as web,
        httpx.AsyncClient(base_url=web.url, headers={"authorization": "Bearer a"}) as http,
    ):
        del http.headers["accept"]
        if era == "modern":
            request = modern("tools/list")
            headers = [(name, value) for name, value in request["headers"].items() if name != "accept"]
            answers = [await http.post("/mcp", headers=[*headers, *lines], content=request["content"])]
        else:
            begun = await http.post("/mcp", headers=lines, json=opening())
            assert read(begun)["result"]["protocolVersion"] == "2025-11-25"
            session = [(name, value) for name, value in begun.headers.items() if name == "mcp-session-id"]
            answers = [begun, await http.post("/mcp", headers=[*session, *lines], json=LISTING)]
    assert len(read(answers[-1])["result"]["tools"]) == 11
    if form is not None:
        assert {answer.headers["content-type"].partition(";")[0] for answer in answers} == {form}


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", f"{JSON};q=0"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_client_that_reads_neither_form_is_told_so(era: str, accept: str) -> None:
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        request = modern("tools/list", accept=accept)
        if era == "legacy":
            request = {"headers": {"accept": accept}, "json": opening()}
        answer = await http.post("/mcp", **request)
        assert answer.status_code == 406
        assert "application/json or text/event-stream" in answer.json()["error"]["message"]
        assert answer.json()["id"] == 1


async def test_changes_are_listened_to_on_a_stream_alone() -> None:
    listen = modern("subscriptions/listen", {"notifications": {}}, accept=JSON)
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", **listen)
    assert answer.status_code == 406
    assert EVENTS in answer.json()["error"]["message"]


async def test_a_client_that_reads_json_alone_confirms_by_code_and_hears_no_progress() -> None:
    sim = Simulator("reference")
    item = item_of(sim)
    wanted = {"e164": item.e164, "country": item.country, "type": item.type}
    async with (
        open_web(sim, access_for("a")) as web,
        web.client(authorization="Bearer a", accept=JSON) as http,
    ):
        session = {"mcp-session-id": (await http.post("/mcp", json=asking_opening())).headers["mcp-session-id"]}

        async def buy(**arguments: str) -> dict[str, Any]:
            params = {"name": "buy_phone_number", "arguments": wanted | arguments, "_meta": {"progressToken": "p"}}
            body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
            answer = read(await http.post("/mcp", headers=session, json=body))
            assert answer["id"] == 7
            result: dict[str, Any] = answer["result"]["structuredContent"]
            return result

        asked = await buy()
        assert (asked["status"], wrote(sim)) == ("confirmation_required", [])
        assert (await buy(confirmation_code=asked["confirmation_code"]))["status"] == "done"
    assert len(sim.charges) == 1


async def test_a_session_may_change_what_it_reads_from_request_to_request() -> None:
    sim = Simulator("reference")
    async with (
        open_web(sim, access_for("agent")) as web,
        web.client(authorization="Bearer agent") as plain,
        open_session(web) as session,
    ):
        answer = await plain.post("/mcp", headers=session.headers | {"accept": JSON}, json=LISTING)
        assert len(answer.json()["result"]["tools"]) == 11
        async with session.buying(item_of(sim)) as stream:
            assert (await stream.message())["method"] == "elicitation/create"


async def test_a_client_that_reads_json_alone_is_told_when_its_session_ends_before_the_answer() -> None:
    sim = Simulator("reference")
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
    async with (
        open_web(sim, access_for("a")) as web,
        web.client(authorization="Bearer a", accept=JSON) as http,
        anyio.create_task_group() as tasks,
    ):
        session = {"mcp-session-id": (await http.post("/mcp", json=opening())).headers["mcp-session-id"]}
        sim.faults.switch_on("hold", on=["list_owned"])
        answers = []

        async def reads() -> None:
            params = {"name": "list_phone_numbers", "arguments": {}}
            answers.append(await http.post("/mcp", headers=session, json=call | {"params": params}))

        tasks.start_soon(reads)
        await sim.faults.held()
        assert (await http.delete("/mcp", headers=session)).status_code == 200
        sim.faults.let_go()
    [answer] = answers
    assert (answer.status_code, "error" in answer.json()) == (503, True)


@pytest.mark.parametrize("given", [None, 1.0, True, [1], {}])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_request_whose_id_is_none_is_refused_and_not_passed_over(era: str, given: Any) -> None:
    request = modern("tools/list")
    body = json.loads(request["content"]) | {"id": given}
    headers = request["headers"] if era == "modern" else {"accept": f"{JSON}, {EVENTS}"}
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", headers=headers, json=body)
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (400, None, -32600)
    assert "whole number" in answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["", "tools/list", "../../../etc/passwd"])
async def test_a_request_without_an_id_is_told_that_it_needs_one(method: str) -> None:
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", json={"jsonrpc": "2.0", "method": method})
        notified = await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
    assert "needs an id" in answer.json()["error"]["message"]
    assert "needs an id" not in notified.text


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ({"jsonrpc": "2.0", "id": 7}, 7),
        ({"id": "seven", "method": "ping"}, "seven"),
        ([{"id": 1}], 1),
        ([{"id": 1}, {"id": 2}], None),
    ],
)
async def test_a_malformed_message_is_refused_with_its_id_where_that_can_be_read(body: Any, given: Any) -> None:
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", json=body)
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (400, given, -32600)
    assert ("batch" in answer.text) is isinstance(body, list)


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_of_very_many_unknown_arguments_a_few_are_named(era: str) -> None:
    unknown = {f"a{nth}": 0 for nth in range(18_000)}
    async with (
        open_web(Simulator("reference"), access_for("a")) as web,
        web.talk("a", era.replace("modern", "auto")) as talk,
    ):
        shown = await talk.call("get_spending", **unknown)
    assert shown["summary"] == "'a0', 'a1', 'a2' and 17,997 more are not arguments of this tool; it takes none."


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_body_in_another_encoding_than_plain_utf_8_cannot_be_read(era: str, encoding: str) -> None:
    request = modern("tools/list", **{"content-type": f"{JSON}; charset={encoding}"})
    if era == "legacy":
        request = {"headers": {"accept": f"{JSON}, {EVENTS}"}, "content": json.dumps(opening())}
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", headers=request["headers"], content=request["content"].encode(encoding))
    given = 1 if encoding == "utf-8-sig" else None
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (400, given, -32700)
    assert "in UTF-8, without a byte order mark" in answer.json()["error"]["message"]


@pytest.mark.parametrize("version", ["1999-01-01", "2027-01-01", "latest", "x" * 4000])
async def test_an_unknown_revision_is_told_which_there_are(version: str) -> None:
    headers = {"accept": f"{JSON}, {EVENTS}", "mcp-protocol-version": version}
    async with open_web(Simulator("reference"), access_for("a")) as web, web.client(authorization="Bearer a") as http:
        answer = await http.post("/mcp", headers=headers, json=LISTING)
    told = answer.json()
    assert (answer.status_code, told["id"], told["error"]["code"]) == (400, "x", -32022)
    assert told["error"]["data"]["supported"] == [MODERN]
    assert told["error"]["data"]["requested"] == version[:40]
    assert told["error"]["message"].endswith(f"2025-11-25, {MODERN}.")


@pytest.mark.parametrize(
    ("stateless", "version", "allowed"),
    [(False, "2025-11-25", "POST, DELETE"), (True, "2025-11-25", "POST"), (False, MODERN, "POST")],
)
async def test_a_wrong_method_is_told_the_right_ones(stateless: bool, version: str, allowed: str) -> None:
    async with (
        open_web(Simulator("reference"), access_for("a"), stateless=stateless) as web,
        web.client(authorization="Bearer a", **{"mcp-protocol-version": version}) as http,
    ):
        for method in {"GET", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
            answer = await http.request(method, "/mcp")
            assert (answer.status_code, answer.headers.get("allow")) == (405, allowed), method


@pytest.mark.promise(7)
async def test_a_stop_ends_the_stream_of_an_open_prompt_with_an_answer() -> None:
    with serving("--log-level", "info") as served:
        async with httpx.AsyncClient(base_url=served.url, headers={"accept": f"{JSON}, {EVENTS}"}, timeout=20) as http:
            begun = await http.post("/mcp", json=asking_opening())
            http.headers["mcp-session-id"] = begun.headers["mcp-session-id"]
            call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
            found = read(
                await http.post(
                    "/mcp", json=call | {"params": {"name": "search_phone_numbers", "arguments": {"country": "NG"}}}
                )
            )
            number = found["result"]["structuredContent"]["numbers"][0]
            buying = {"name": "buy_phone_number", "arguments": {"inventory_id": number["inventory_id"]}}
            said = []
            async with http.stream("POST", "/mcp", json=call | {"params": buying}) as answer:
                async for line in answer.aiter_lines():
                    if not line.startswith("data: "):
                        continue
                    said.append(json.loads(line.removeprefix("data: ")))
                    if said[-1].get("method") == "elicitation/create":
                        served.process.send_signal(signal.SIGTERM)
            told = said[-1]["result"]["structuredContent"]
        with anyio.fail_after(20):
            assert await anyio.to_thread.run_sync(served.process.wait) == 0
    assert (told["code"], told["charged"], told["changed"]) == ("PROMPT_UNANSWERED", "no", "no")
    assert "stopping" in told["message"]
