"""One conversation with OpenTelemetry configured in memory; prints all that was seen of it, as JSON.

With the argument `raw` the client puts its own words wherever it may.
A process of its own, since a process can be given its providers once.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from mcp import Client, MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from seeing_bench import open_here

from kros_mcp.http import logs
from kros_mcp.operations.gauges import Gauges
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.web import modern

SECRET = "canary" + "0" * 12


class FailWith(httpx.AsyncBaseTransport):
    """Raise something that nobody foresaw and that quotes a secret, if told to; else pass requests on."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.failing = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.failing:
            raise RuntimeError(f"{request.url} {SECRET} {dict(request.headers)}")
        return await self.inner.handle_async_request(request)


async def list_nothing(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    if ctx.method == "prompts/list":
        raise RuntimeError(SECRET)
    return await call_next(ctx)


async def converse() -> dict[str, Any]:
    sim = Simulator("reference")
    way = FailWith(transport(sim))
    settings = Settings(
        api_key=sim.api_key,
        base_url="https://simulator.invalid/v1",
        journal_url="sqlite://:memory:",
        answer_within_seconds=20,
        requests_per_day=5_000,
    )
    opened: list[Runtime] = []

    @asynccontextmanager
    async def noted(given: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(given, transport=way) as runtime:
            opened.append(runtime)
            yield runtime

    server = build_server(settings, noted)
    server.middleware.append(list_nothing)
    first, second, third = [item for item in sim.inventory.values() if (item.country, item.type) == ("NG", "local")][:3]
    private = [sim.api_key, SECRET, first.e164, second.e164, third.e164]
    async with Client(server, mode="auto") as client:

        async def call(name: str, **arguments: Any) -> dict[str, Any]:
            told = (await client.call_tool(name, arguments)).structured_content
            assert told is not None
            private.extend(str(told[name]) for name in ("operation_id", "confirmation_code") if told.get(name))
            return told

        async def buy(item: Any, **arguments: Any) -> dict[str, Any]:
            return await call("buy_phone_number", e164=item.e164, country="NG", type="local", **arguments)

        sim.faults.switch_on("refuse", status=503, on={"list_owned"})
        await call("list_phone_numbers")
        asked = await buy(first)
        assert (await buy(first, confirmation_code="AAAA-AAAA"))["code"] == "WRONG_CODE"
        bought = await buy(first, confirmation_code=asked["confirmation_code"])
        assert bought["status"] == "done", bought
        asked = await buy(second)
        sim.faults.switch_on("lost_reply", on={"purchase"})
        told = await buy(second, confirmation_code=asked["confirmation_code"])
        with anyio.fail_after(20):
            while told["status"] != "done":
                told = await call("get_operation", operation_id=asked["operation_id"])
        asked = await buy(third)
        await call("cancel_operation", operation_id=asked["operation_id"])
        number_id = bought["number"]["number_id"]
        private.append(number_id)
        await call("get_phone_number", number_id=number_id)
        assert (await call(SECRET))["code"] == "UNKNOWN_TOOL"
        for refused in (
            client.read_resource(f"kros://operations/{SECRET}"),
            client.get_prompt(SECRET),
            client.get_prompt("set_up_number", {SECRET: ""}),
        ):
            try:
                await refused
            except MCPError as exc:
                assert SECRET in str(exc)  # noqa: PT017 - no pytest here
        try:
            await client.list_prompts()
        except MCPError as exc:
            assert SECRET not in str(exc)  # noqa: PT017 - no pytest here
        waits = await buy(third)
        assert waits["status"] == "confirmation_required"
        private.append(opened[0].account.id)
        await Gauges(opened[0].account).look()  # as the attendant does every ten seconds
        way.failing = True
        assert (await call("list_endpoints"))["code"] == "INTERNAL"
    return {"private": private, "charged_cents": sum(charge.cents for charge in sim.charges)}


async def converse_raw() -> dict[str, Any]:
    """Send requests that no client of the SDK sends: words of the client's own, and a trace that it has chosen."""
    sim = Simulator("reference")
    trace_id = "ca" * 16
    baggage = {"tracestate": f"vendor={SECRET}", "baggage": f"word={SECRET}"}
    requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("tools/call", {"name": SECRET, "arguments": SECRET}, {}),
        ("tools/call", {"name": SECRET, "arguments": {}, "requestState": SECRET}, {}),
        ("tools/call", {"name": "list_endpoints", "arguments": {}, "requestState": SECRET}, {}),
        ("tools/call", {"name": "list_endpoints", "arguments": SECRET}, {}),
        ("prompts/get", {"name": SECRET}, {}),
        (SECRET, {"name": SECRET}, {}),
        ("tools/call", {"name": "get_spending", "arguments": {}}, {"traceparent": f"00-{trace_id}-{'b' * 16}-00"}),
        ("tools/call", {"name": "get_spending", "arguments": {}}, {"traceparent": f"00-{trace_id}-{'b' * 16}-01"}),
    ]
    answers = []
    async with open_here(sim) as here:
        for number, (method, params, context) in enumerate(requests):
            sent = modern(method, params, meta=baggage | context, id=f"{SECRET}-{number}")
            answers.append((await here.http.post("/mcp", **sent)).text)
    return {"private": [SECRET, trace_id], "answers": answers}


def span_shown(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "id": span.context.span_id if span.context else None,
        "trace": f"{span.context.trace_id:032x} {span.context.trace_state.to_header()}" if span.context else None,
        "parent": span.parent.span_id if span.parent else None,
        "attributes": dict(span.attributes or {}),
        "events": [[event.name, dict(event.attributes or {})] for event in span.events],
        "status": [span.status.status_code.name, span.status.description],
    }


def main() -> None:
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.set_meter_provider(MeterProvider([reader]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    logs.configure("debug")
    seen = anyio.run(converse_raw if "raw" in sys.argv else converse)
    data = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr] # something was measured
    seen["metrics"] = [
        {"name": metric["name"], "unit": metric["unit"], "points": metric["data"]["data_points"]}
        for scope in data["resource_metrics"][0]["scope_metrics"]
        for metric in scope["metrics"]
    ]
    seen["spans"] = [span_shown(span) for span in spans.get_finished_spans()]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
