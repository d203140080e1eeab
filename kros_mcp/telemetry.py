"""What is counted, timed and traced, through OpenTelemetry's API alone: without an SDK nothing is recorded.

Attributes come from closed lists: tools, codes, actions, environments, routes; and gauges name the account by the
beginning of its hash. No principal, number, id, argument or text of KrosAI's is among them. Names are those of the
semantic conventions where there is one.
"""

import functools
import logging
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from kros_mcp import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter

OTHER: Final = "_OTHER"
"""Stands for what is on no list, as in the semantic conventions."""
_SCOPE: Final = "kros-mcp"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
_MOST_CODES: Final = 100
_OUTCOME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,40}|[a-z_]{1,24}")
_HTTP_FAILURE: Final = 400
_CHANNELS: Final = frozenset({"prompt", "screen", "code", "tool", "page", "terminal", "command"})
_METHODS: Final = frozenset(
    {
        "initialize",
        "notifications/cancelled",
        "notifications/initialized",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/call",
        "tools/list",
    }
)

Reason = Literal[
    "body_too_large",
    "foreign_form",
    "foreign_host",
    "foreign_origin",
    "insufficient_scope",
    "invalid_token",
    "late_answer",
    "malformed_body",
    "method_not_allowed",
    "no_token",
    "not_acceptable",
    "not_signed_in",
    "organization_unavailable",
    "own_request",
    "too_many_requests",
    "too_many_sessions",
    "too_many_sign_ins",
    "tokens_unavailable",
    "unknown_version",
    "wrong_credential",
]
"""Why the HTTP service refused a request; nothing of it is the client's own words."""

_outcomes: set[str] = set()
logger = logging.getLogger(__name__)


@dataclass
class LoggedRequest:
    """What the log line of the HTTP request in course will say; filled in as it becomes known."""

    request_id: str
    principal: str = ""
    organization: str = ""
    tool: str = ""
    outcome: str = ""
    operation_id: str = ""
    reason: Reason | None = None


current_request: ContextVar[LoggedRequest | None] = ContextVar("current_request", default=None)
current_operation: ContextVar[str] = ContextVar("current_operation", default="")
"""The operation that the running task carries out or attends to; empty if it does neither."""


def note_caller(principal: str, organization: str = "") -> None:
    """Note who sent the request in course, and for which organization if it is not the service's own."""
    request = current_request.get()
    if request is not None:
        request.principal, request.organization = principal, organization


def note_operation(operation_id: str, outcome: str) -> None:
    """Note which operation the request in course has decided on, and with what outcome."""
    request = current_request.get()
    if request is not None:
        request.operation_id, request.outcome = operation_id, outcome


def note_refusal(reason: Reason) -> None:
    """Note why the request in course is refused."""
    request = current_request.get()
    if request is not None:
        request.reason = reason


class ToolCall:
    """Counts and times one call of a tool; if the block is left without an outcome, the call was abandoned or failed.

    Args:
        tool: Its name; None for one that does not exist, whose name is the client's own words.
    """

    __slots__ = ("_outcome", "_since", "_tool")

    def __init__(self, tool: str | None) -> None:
        self._tool = tool or OTHER
        self._outcome = ""
        self._since = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._since = time.perf_counter()
        return self

    def ended(self, outcome: str, operation_id: str = "") -> None:
        """Note the outcome: a status, or the code of a failure."""
        self._outcome = _known(outcome)
        request = current_request.get()
        if request is not None:
            request.tool, request.outcome = self._tool, self._outcome
            request.operation_id = operation_id or request.operation_id

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _: TracebackType | None) -> None:
        """End, and count."""
        if kind is not None:
            self.ended("INTERNAL" if issubclass(kind, Exception) else "abandoned")
        attributes = {"gen_ai.tool.name": self._tool, "kros_mcp.outcome": self._outcome}
        _record(lambda to: to.calls.add(1, attributes))
        _record(lambda to: to.call_seconds.record(time.perf_counter() - self._since, attributes))


class UpstreamRequest:
    """Times one request to KrosAI, with a span for it; neither holds its URL or the message of a failure.

    Args:
        method: Of HTTP.
        route: The path, with a placeholder for every id.
        host: KrosAI's.
        port: KrosAI's; None is the one of https.
    """

    __slots__ = ("_attributes", "_since", "_span", "_status")

    def __init__(self, method: str, route: str, host: str, port: int | None) -> None:
        self._attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.template": route,
            "server.address": host,
            "server.port": port or 443,
        }
        self._status = 0

    def __enter__(self) -> Self:
        """Begin."""
        name = f"{self._attributes['http.request.method']} {self._attributes['url.template']}"
        self._span = _tracer().start_span(name, kind=SpanKind.CLIENT, attributes=self._attributes)
        self._since = time.perf_counter()
        return self

    def answered(self, status: int) -> None:
        """Note the status of the answer."""
        self._status = status

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _: TracebackType | None) -> None:
        """End, and count."""
        taken = time.perf_counter() - self._since
        if self._status:
            self._attributes["http.response.status_code"] = self._status
        failed = kind.__name__ if kind is not None else str(self._status) if self._status >= _HTTP_FAILURE else ""
        if failed:
            self._attributes["error.type"] = failed
        if self._span.is_recording():
            self._span.set_attributes(self._attributes)
            if failed:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()
        _record(lambda to: to.upstream_seconds.record(taken, self._attributes))


def retried(failure: Exception) -> None:
    """Count a request to KrosAI that is sent once more, by the failure of the one before."""
    _record(lambda to: to.retries.add(1, {"error.type": type(failure).__name__}))


def requested(kind: str, purpose: str) -> None:
    """Count a request that KrosAI was sent, by what it asks and what it is for."""
    attributes = {"kros_mcp.request.kind": kind, "kros_mcp.request.purpose": purpose}
    _record(lambda to: to.requests.add(1, attributes))


def reserved(cents: int, environment: str) -> None:
    """Count the cents that a purchase which was just claimed may cost at most."""
    _record(lambda to: to.reserved.add(cents, {"kros_mcp.environment": environment}))


def charged(cents: int, environment: str) -> None:
    """Count the cents that a purchase has cost which has just turned out done."""
    _record(lambda to: to.charged.add(cents, {"kros_mcp.environment": environment}))


def reached(action: str, state: str, environment: str) -> None:
    """Count an operation that has just reached a final state, or `unknown`."""
    attributes = {"kros_mcp.action": action, "kros_mcp.state": state, "kros_mcp.environment": environment}
    _record(lambda to: to.operations.add(1, attributes))


def decided(action: str, decision: str, channel: str, environment: str) -> None:
    """Count a yes or a no, by the channel through which it came."""
    attributes = {
        "kros_mcp.action": action,
        "kros_mcp.decision": decision,
        "kros_mcp.channel": channel if channel in _CHANNELS else OTHER,
        "kros_mcp.environment": environment,
    }
    _record(lambda to: to.decisions.add(1, attributes))


def set_gauges(values: "GaugeValues") -> None:
    """Set the gauges of what waits, what is unknown and what is left, if anybody has configured metrics."""
    _record(lambda to: to.set_gauges(values))


@dataclass(frozen=True)
class GaugeValues:
    """What the gauges show of one account; ages in seconds, 0 where there is nothing.

    `requests_left` is None where KrosAI may be sent any number of requests.
    """

    account: str
    environment: str
    waiting: int
    waiting_oldest_seconds: float
    unknown: int
    unknown_oldest_seconds: float
    budget_left_cents: int
    requests_left: int | None = None
    notices_waiting: int = 0
    notices_undelivered: int = 0


class _Instruments:
    def __init__(self) -> None:
        from opentelemetry import metrics  # noqa: PLC0415 - see is_counting

        meter = metrics.get_meter(_SCOPE, __version__)

        def counter(name: str, unit: str, what: str) -> "Counter":
            return meter.create_counter(name, unit, what)

        self.calls = counter("kros_mcp.tool.calls", "{call}", "Tool calls by outcome.")
        self.call_seconds = meter.create_histogram(
            "kros_mcp.tool.duration", "s", "Time of a tool call.", explicit_bucket_boundaries_advisory=_BUCKETS
        )
        self.reserved = counter("kros_mcp.money.reserved", "{cent}", "Cents reserved when purchases were claimed.")
        self.charged = counter("kros_mcp.money.charged", "{cent}", "Cents of purchases that turned out done.")
        self.operations = counter("kros_mcp.operations", "{operation}", "Operations by how they ended.")
        self.decisions = counter("kros_mcp.decisions", "{decision}", "A yes or a no of a person or a caller.")
        self.waiting = meter.create_gauge("kros_mcp.operations.waiting", "{operation}", "Waiting for a yes, or to go.")
        self.waiting_oldest = meter.create_gauge("kros_mcp.operations.waiting.oldest", "s", "Age of the oldest.")
        self.unknown = meter.create_gauge("kros_mcp.operations.unknown", "{operation}", "Whose outcome is unknown.")
        self.unknown_oldest = meter.create_gauge("kros_mcp.operations.unknown.oldest", "s", "Age of the oldest.")
        self.budget_left = meter.create_gauge("kros_mcp.budget.left", "{cent}", "Left of the budget of 24 hours.")
        self.retries = counter("kros_mcp.upstream.retries", "{retry}", "Requests to KrosAI that were sent once more.")
        self.requests = counter("kros_mcp.upstream.requests", "{request}", "Requests that KrosAI was sent.")
        self.requests_left = meter.create_gauge(
            "kros_mcp.upstream.requests.left", "{request}", "Left of the requests of 24 hours."
        )
        self.notices_waiting = meter.create_gauge("kros_mcp.notices.waiting", "{notice}", "To be delivered to people.")
        self.notices_undelivered = meter.create_gauge(
            "kros_mcp.notices.undelivered", "{notice}", "That could not be delivered within a day."
        )
        self.upstream_seconds = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Time of a request to KrosAI.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def set_gauges(self, now: GaugeValues) -> None:
        """Set every gauge."""
        attributes = {"kros_mcp.account": now.account, "kros_mcp.environment": now.environment}
        self.waiting.set(now.waiting, attributes)
        self.waiting_oldest.set(now.waiting_oldest_seconds, attributes)
        self.unknown.set(now.unknown, attributes)
        self.unknown_oldest.set(now.unknown_oldest_seconds, attributes)
        self.budget_left.set(now.budget_left_cents, attributes)
        self.notices_waiting.set(now.notices_waiting, attributes)
        self.notices_undelivered.set(now.notices_undelivered, attributes)
        if now.requests_left is not None:
            self.requests_left.set(now.requests_left, attributes)


def _record(record: "Callable[[_Instruments], None]") -> None:
    """Record something if anybody has configured metrics; whatever fails in that never stops an act."""
    if not is_counting():
        return
    try:
        record(_instruments())
    except Exception as exc:  # noqa: BLE001 - whatever a foreign provider fails with
        logger.debug("a metric could not be counted: %s", type(exc).__name__)


def is_counting() -> bool:
    """Whether anybody can have configured metrics; importing the API of metrics costs the start milliseconds."""
    return "opentelemetry.metrics" in sys.modules


@functools.cache
def _instruments() -> _Instruments:
    return _Instruments()


@functools.cache
def _tracer() -> trace.Tracer:
    return trace.get_tracer(_SCOPE, __version__)


def _known(outcome: str) -> str:
    """Return an outcome if it looks like one, else the word for all others."""
    if outcome not in _outcomes:
        if len(_outcomes) >= _MOST_CODES or not _OUTCOME.fullmatch(outcome):
            return OTHER
        _outcomes.add(outcome)
    return outcome


def known_method(method: str) -> str:
    """Return a method of MCP as it is; any other is a client's own word, and the word for all others stands for it."""
    return method if method in _METHODS else OTHER
