"""What a conversation leaves in metrics and spans, and how it is sent away."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from seeing_bench import collecting, serving

from kros_mcp.errors import SettingsError
from kros_mcp.telemetry_export import FLUSH_SECONDS, asks_for, exporting

HERE = Path(__file__).parent
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """All that is seen of one conversation; what it logged stands beside it."""
    return conversation()


def conversation(*arguments: str) -> Seen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KROS_", "OTEL_"))}
    environment["PYTHONPATH"] = str(HERE.parent.parent)
    command = [sys.executable, str(HERE / "seeing_run.py"), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: Seen = json.loads(run.stdout) | {"log": run.stderr}
    return found


def points(seen: Seen, name: str) -> list[dict[str, Any]]:
    [metric] = [metric for metric in seen["metrics"] if metric["name"] == name]
    found: list[dict[str, Any]] = metric["points"]
    return found


def test_calls_are_counted_and_timed_by_tool_and_outcome(seen: Seen) -> None:
    counted = {
        (point["attributes"]["gen_ai.tool.name"], point["attributes"]["kros_mcp.outcome"]): point["value"]
        for point in points(seen, "kros_mcp.tool.calls")
    }
    told = counted.pop(("get_operation", "done"), 0), counted.pop(("get_operation", "unknown"), 0)
    bought = counted.pop(("buy_phone_number", "done")), counted.pop(("buy_phone_number", "unknown"), 0)
    assert counted == {
        ("list_phone_numbers", "answered"): 1,
        ("buy_phone_number", "confirmation_required"): 4,
        ("buy_phone_number", "WRONG_CODE"): 1,
        ("cancel_operation", "cancelled"): 1,
        ("get_phone_number", "answered"): 1,
        ("_OTHER", "UNKNOWN_TOOL"): 1,
        ("list_endpoints", "INTERNAL"): 1,
    }
    assert sum(bought) == 2  # the second reply was lost: its outcome is known with the call, or asked for after it
    assert told[0] == bought[1]
    timed = points(seen, "kros_mcp.tool.duration")
    assert sum(point["count"] for point in timed) == sum(counted.values()) + sum(told) + sum(bought)
    assert all(0 < point["sum"] < 20 for point in timed)


def test_cents_are_counted_once_when_reserved_and_once_when_charged(seen: Seen) -> None:
    assert seen["charged_cents"] > 0
    for name in ("kros_mcp.money.reserved", "kros_mcp.money.charged"):
        [point] = points(seen, name)
        assert (point["attributes"], point["value"]) == ({"kros_mcp.environment": "test"}, seen["charged_cents"])
    states = {
        (point["attributes"]["kros_mcp.action"], point["attributes"]["kros_mcp.state"]): point["value"]
        for point in points(seen, "kros_mcp.operations")
    }
    assert states == {("buy", "done"): 2, ("buy", "unknown"): 1, ("buy", "cancelled"): 1}


def test_decisions_are_counted_by_their_channel(seen: Seen) -> None:
    counted = {
        (point["attributes"]["kros_mcp.decision"], point["attributes"]["kros_mcp.channel"]): point["value"]
        for point in points(seen, "kros_mcp.decisions")
    }
    assert counted == {("confirmed", "code"): 2, ("cancelled", "tool"): 1}


def test_what_waits_what_is_unknown_and_what_is_left_are_gauges(seen: Seen) -> None:
    shown = {}
    for name in (
        "operations.waiting",
        "operations.waiting.oldest",
        "operations.unknown",
        "budget.left",
        "upstream.requests.left",
    ):
        [point] = points(seen, f"kros_mcp.{name}")
        assert set(point["attributes"]) == {"kros_mcp.account", "kros_mcp.environment"}
        assert len(point["attributes"]["kros_mcp.account"]) == 8
        shown[name] = point["value"]
    assert (shown["operations.waiting"], shown["operations.unknown"]) == (1, 0)
    assert 0 <= shown["operations.waiting.oldest"] < 60
    assert shown["budget.left"] == 20_000 - seen["charged_cents"]
    assert 5_000 - sum(sent(seen).values()) <= shown["upstream.requests.left"] < 5_000


def sent(seen: Seen) -> dict[tuple[str, str], int]:
    names = ("kros_mcp.request.kind", "kros_mcp.request.purpose")
    return {
        (point["attributes"][names[0]], point["attributes"][names[1]]): point["value"]
        for point in points(seen, "kros_mcp.upstream.requests")
    }


def test_requests_to_krosai_are_counted_by_what_they_ask_and_what_they_are_for(seen: Seen) -> None:
    timed = sum(point["count"] for point in points(seen, "http.client.request.duration"))
    assert sum(sent(seen).values()) == timed
    assert sent(seen)["order", "act"] == 2
    assert sent(seen)["owned", "read"] >= 1


def test_every_metric_stands_in_the_table_with_its_unit(seen: Seen) -> None:
    written = (HERE.parent.parent / "docs" / "service.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \|", written, re.MULTILINE))
    ours = {metric["name"]: metric["unit"] for metric in seen["metrics"] if metric["name"] in rows}
    assert ours.items() <= rows.items()
    assert {metric["name"] for metric in seen["metrics"] if metric["name"].startswith("kros_mcp.")} == {
        name for name in rows if name.startswith("kros_mcp.")
    }


def test_requests_to_krosai_are_timed_by_route_and_retries_counted(seen: Seen) -> None:
    found = {
        tuple(point["attributes"].get(name) for name in ("http.request.method", "url.template", "error.type")): point
        for point in points(seen, "http.client.request.duration")
    }
    assert found["GET", "/phone-numbers", "503"]["count"] == 1
    assert found["POST", "/phone-numbers", "RemoteProtocolError"]["count"] == 1
    assert found["POST", "/phone-numbers", None]["count"] == 1
    assert found["GET", "/phone-numbers/{id}", None]["sum"] > 0
    assert {route for _, route, _ in found} == {"/phone-numbers", "/phone-numbers/{id}", "/endpoints"}
    [retries] = points(seen, "kros_mcp.upstream.retries")
    assert (retries["attributes"], retries["value"]) == ({"error.type": "ServerError"}, 1)


def test_a_request_to_krosai_is_a_span_under_the_call_that_made_it(seen: Seen) -> None:
    by_id = {span["id"]: span for span in seen["spans"]}
    first = next(span for span in seen["spans"] if span["name"] == "GET /phone-numbers")
    assert first["kind"] == "CLIENT"
    assert first["attributes"]["http.response.status_code"] == 503
    assert first["status"][0] == "ERROR"
    assert by_id[first["parent"]]["name"] == "tools/call list_phone_numbers"
    purchases = [span for span in seen["spans"] if span["name"] == "POST /phone-numbers"]
    assert [by_id[span["parent"]]["name"] for span in purchases] == ["tools/call buy_phone_number"] * 2


def test_nothing_private_stands_in_metrics_spans_or_log(seen: Seen) -> None:
    exported = json.dumps([seen["metrics"], seen["spans"]])
    assert len(set(seen["private"])) > 8
    assert [word for word in seen["private"] if word in exported] == []
    # The log names operations, and nothing else of them that is private.
    assert [word for word in seen["private"] if word in seen["log"] and not word.startswith("op_")] == []
    assert [span["events"] for span in seen["spans"] if span["events"]] == []
    assert {span["status"][1] for span in seen["spans"]} == {None, "Internal server error", "Refused"}
    assert seen["log"].count("RuntimeError") >= 2, "the failures themselves are logged"


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({ENDPOINT: "http://c:4318"}, True, True),
        ({ENDPOINT: " "}, False, False),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "True"}, False, False),
        ({ENDPOINT: "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/t"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/m"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "console, otlp"}, False, True),
    ],
)
def test_what_the_variables_ask_for_is_sent_and_nothing_else(
    environ: dict[str, str], traces: bool, metrics: bool
) -> None:
    assert (asks_for("TRACES", environ), asks_for("METRICS", environ)) == (traces, metrics)


def test_a_protocol_that_is_not_spoken_stops_the_start() -> None:
    environ = {ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL"), exporting(environ):
        pytest.fail("it began")


def test_what_opentelemetry_instrument_has_set_up_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    handlers = logging.getLogger("opentelemetry").handlers
    with exporting({ENDPOINT: "http://127.0.0.1:9"}):
        assert logging.getLogger("opentelemetry").handlers is handlers, "the SDK logs as it was set up to"


def test_without_the_extra_the_start_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk.resources'] = None; from kros_mcp.cli import main; "
        "main(['http', '--simulator', '--no-auth', '--port', '0'])"
    )
    environment = {"PATH": os.environ["PATH"], ENDPOINT: "http://127.0.0.1:9"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "uv tool install '.[all]'" in run.stderr


@pytest.mark.anyio
async def test_traces_and_metrics_arrive_at_a_collector_by_the_end() -> None:
    with collecting() as collector:
        with serving(**{ENDPOINT: collector.url, "OTEL_SERVICE_NAME": "numbers"}) as served:
            async with Client(f"{served.url}/mcp", mode="auto") as client:
                await client.call_tool("list_phone_numbers", {})
        traces, metrics = ExportTraceServiceRequest(), ExportMetricsServiceRequest()
        for path, body in collector.posted:
            {"/v1/traces": traces, "/v1/metrics": metrics}[path].MergeFromString(body)
    spans = [span.name for one in traces.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert {"tools/call list_phone_numbers", "GET /phone-numbers"} <= set(spans)
    assert not [name for name in spans if "v1/" in name], "the sending itself is not traced"
    names = [metric.name for one in metrics.resource_metrics for scope in one.scope_metrics for metric in scope.metrics]
    assert {"kros_mcp.tool.calls", "http.client.request.duration"} <= set(names)
    services = {
        label.value.string_value
        for one in (*traces.resource_spans, *metrics.resource_metrics)
        for label in one.resource.attributes
        if label.key == "service.name"
    }
    assert services == {"numbers"}


@pytest.mark.anyio
async def test_a_collector_that_never_answers_holds_up_neither_calls_nor_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sooner = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        with serving(**{ENDPOINT: endpoint}, **sooner) as served:
            async with Client(f"{served.url}/mcp", mode="auto") as client:
                begun = time.monotonic()
                for _ in range(20):
                    assert not (await client.call_tool("list_phone_numbers", {})).is_error
                assert time.monotonic() - begun < 5
            begun = time.monotonic()
            served.stop()
            assert time.monotonic() - begun < FLUSH_SECONDS + 5
    assert served.process.returncode == 0
    complaints = [line for line in served.lines if line["logger"] == "kros_mcp.telemetry_export"]
    assert 1 <= len(complaints) <= 2


@pytest.fixture(scope="module")
def raw() -> Seen:
    """All that is seen of a client that puts its own words wherever it may."""
    return conversation("raw")


def test_words_of_a_client_are_in_no_span(raw: Seen) -> None:
    """A name or an id that a client made up would be in every trace, however long it is."""
    exported = json.dumps([raw["metrics"], raw["spans"]])
    assert [word for word in raw["private"] if word in exported] == []
    assert [span["name"] for span in raw["spans"] if span["kind"] == "SERVER"] == [
        *["tools/call"] * 2,
        *["tools/call list_endpoints"] * 2,
        "prompts/get",
        "_OTHER",
        *["tools/call get_spending"] * 2,
    ]
    refused = [json.loads(answer) for answer in raw["answers"][:6]]
    assert all("error" in answer or answer["result"]["isError"] for answer in refused)


def test_a_client_neither_chooses_its_trace_nor_switches_it_off(raw: Seen) -> None:
    spent = [span for span in raw["spans"] if span["name"] == "tools/call get_spending"]
    assert [span["parent"] for span in spent] == [None, None]
    assert spent[0]["trace"] != spent[1]["trace"]
