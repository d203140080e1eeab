"""Every decision and every outcome is one line of the log, and is counted, whoever brought it about."""

import os
import sys
from collections.abc import Iterable
from html import unescape
from typing import Any

import anyio
import pytest
from approvals_bench import NIGHT, NIGHT_DESK, SUPPORT, open_bench
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from seeing_bench import collecting, json_log, open_here

from kros_mcp.http.logs import AccessLog
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request, State, new_operation_id
from kros_mcp.simulator import Simulator
from tests.support.hostile import deceiving, texts

pytestmark = pytest.mark.anyio
Line = dict[str, Any]
FIELDS = ("move", "by", "through", "state", "cents", "charged", "decided_by", "decided_through")


def acts(lines: Iterable[Line], operation_id: str) -> list[tuple[Any, ...]]:
    """What the log tells of one operation at INFO, in its order."""
    told = [line for line in lines if line["logger"] == "kros_mcp.operations.audit_log" and line["level"] == "info"]
    assert {line["principal"] for line in told if line["operation_id"] == operation_id} <= {SUPPORT, "local"}
    return [tuple(line.get(name) for name in FIELDS) for line in told if line["operation_id"] == operation_id]


async def test_an_approved_purchase_leaves_its_decision_and_its_outcome() -> None:
    with json_log() as lines:
        async with open_bench() as bench:
            waiting, browser = await bench.purchase(), await bench.signed_in(NIGHT)
            await browser.decide(waiting, "approve", "opens in May")
            await bench.until(waiting, State.DONE)
    cents = waiting.quote.due_now_cents
    assert acts(lines, waiting.id) == [
        ("confirmed", NIGHT_DESK, "page", "confirmed", cents, "no", NIGHT_DESK, "page"),
        ("done", "server", None, "done", cents, "yes", NIGHT_DESK, "page"),
    ]
    assert "opens in May" not in str(lines)


async def test_a_denial_names_who_denied() -> None:
    with json_log() as lines:
        async with open_bench() as bench:
            waiting, browser = await bench.release(), await bench.signed_in(NIGHT)
            await browser.decide(waiting, "deny", "still in use")
            denied = await bench.stored(waiting)
    assert (denied.decided_by, denied.decided_through) == (NIGHT_DESK, "page")
    assert acts(lines, waiting.id) == [("declined", NIGHT_DESK, "page", "declined", 0, "no", NIGHT_DESK, "page")]


async def test_the_line_of_the_request_that_decides_names_who_and_what() -> None:
    with json_log() as lines:
        async with open_bench() as bench:
            bench.app.add_middleware(AccessLog)
            waiting, browser = await bench.purchase(), await bench.signed_in(NIGHT)
            await browser.decide(waiting, "deny", "too dear")
            await browser.decide(waiting, "deny", "too dear")
    posts = [line for line in lines if line.get("path") == f"/approvals/{waiting.id}" and line.get("method") == "POST"]
    assert [(line["principal"], line["operation_id"], line["outcome"]) for line in posts] == [
        (NIGHT_DESK, waiting.id, "declined"),
        (NIGHT_DESK, waiting.id, "TOO_LATE"),
    ]


async def test_a_yes_by_code_and_a_withdrawal_are_told_with_their_channel() -> None:
    sim = Simulator()
    first, second = [item for item in sim.inventory.values() if (item.country, item.type) == ("NG", "local")][:2]
    with json_log() as lines:
        async with open_here(sim) as here, here.client() as client:

            async def buy(item: Any, **more: Any) -> dict[str, Any]:
                wanted = {"e164": item.e164, "country": "NG", "type": "local", **more}
                return (await client.call_tool("buy_phone_number", wanted)).structured_content or {}

            asked = await buy(first)
            done = await buy(first, confirmation_code=asked["confirmation_code"])
            other = await buy(second)
            await client.call_tool("cancel_operation", {"operation_id": other["operation_id"]})
    assert done["status"] == "done"
    assert [told[:4] for told in acts(lines, asked["operation_id"])] == [
        ("confirmed", "local", "code", "confirmed"),
        ("done", "server", None, "done"),
    ]
    assert [told[:4] for told in acts(lines, other["operation_id"])] == [("cancelled", "local", "tool", "cancelled")]


async def test_what_expires_while_nobody_looks_is_told_by_the_background() -> None:
    with json_log() as lines:
        async with open_bench() as bench:
            waiting = await bench.purchase()
            bench.clock.now = waiting.expires_at + 1
            assert await bench.runtime.account.journal.expire() == 1
    assert [told[:4] for told in acts(lines, waiting.id)] == [("expired", "server", None, "expired")]


def a_waiting_one(**changes: Any) -> Operation:
    given: dict[str, Any] = {
        "id": new_operation_id(),
        "account": "some account",
        "principal": "local",
        "action": Action.BUY,
        "e164": "+2342015550100",
        "request": Request(inventory_id="inv_1", country="NG", type="local"),
        "quote": Quote("+2342015550100", "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500),
        "created_at": 1_000_000_000.0,
        "expires_at": 9_999_999_999.0,
        "channel": Channel.APPROVER,
    }
    return Operation(**(given | changes))


async def test_what_a_terminal_decides_is_counted_too(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        waiting = await journal.propose(a_waiting_one())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KROS_", "OTEL_"))}
    with collecting() as collector:
        own = {"KROS_JOURNAL_URL": journal_url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-m", "kros_mcp", "deny", waiting.id, "--yes", "--reason", "too dear"]
        await anyio.run_process(command, env=inherited | own)
        received = ExportMetricsServiceRequest()
        for path, body in collector.posted:
            if path == "/v1/metrics":
                received.MergeFromString(body)
    points = {
        metric.name: {label.key: label.value.string_value for label in point.attributes}
        for one in received.resource_metrics
        for scope in one.scope_metrics
        for metric in scope.metrics
        for point in metric.sum.data_points
    }
    assert points["kros_mcp.decisions"]["kros_mcp.channel"] == "command"
    assert points["kros_mcp.operations"]["kros_mcp.state"] == "declined"


@pytest.mark.parametrize("text", texts(7, 5), ids=range(5))
async def test_no_deceiving_character_stands_on_the_page_or_in_the_log(text: str) -> None:
    with json_log() as lines:
        async with open_bench() as bench:
            account = bench.runtime.account
            quote = Quote("+2342015550100", text, "test", due_now_cents=500, monthly_cents=500, routed_to=text)
            written = {"account": account.id, "principal": f"agent {text}", "quote": quote, "message": text}
            waiting = await account.journal.propose(a_waiting_one(**written))
            browser = await bench.signed_in(NIGHT)
            pages = [await browser.get(), await browser.get(f"/approvals/{waiting.id}")]
            pages.append(await browser.decide(waiting, "deny", f"because {text}"))
    for page in pages:
        assert deceiving(unescape(page.text)) == set()
    assert any(line.get("move") == "declined" for line in lines)
    assert deceiving(str([line["message"] for line in lines])) == set()
