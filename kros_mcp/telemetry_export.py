"""Sends traces and metrics by OTLP over HTTP, if one of OpenTelemetry's own variables asks for it.

All of it happens in threads of the SDK. A collector that cannot be reached costs what was to be sent there, a line in
the log once a minute, and at the end a bounded wait. The SDK's own set-up from the environment is private, starts
logging too, and waits for the collector without a bound; where `opentelemetry-instrument` has set it up, that stays.
"""

import importlib.util
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from kros_mcp import __version__
from kros_mcp.errors import GET_EXTRAS, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 3.0
LOG_EVERY_SECONDS: Final = 60.0
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def exporting(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Export while the block lasts, as the variables say; without them no SDK is loaded.

    Raises:
        SettingsError: They ask for what is not installed, or for a protocol that is not spoken.
    """
    signals = [signal for signal in ("TRACES", "METRICS") if asks_for(signal, environ)]
    if not signals or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield
        return
    for signal in signals:
        _require_http(signal, environ)
    stops = _begin(signals, environ)
    try:
        yield
    finally:
        _stop(stops)


@contextmanager
def exporting_if_installed() -> Iterator[None]:
    """Export while a command runs, as the variables say; without the extra `otel`, the command runs all the same.

    Raises:
        SettingsError: They ask for a protocol that is not spoken.
    """
    is_installed = importlib.util.find_spec("opentelemetry.sdk") is not None
    with exporting() if is_installed else nullcontext():
        yield


def asks_for(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether the variables ask for `TRACES` or `METRICS` to be sent by OTLP."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if exporters:
        return "otlp" in [one.strip() for one in exporters.split(",")]
    return any(environ.get(name, "").strip() for name in (_ENDPOINT, f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


def _require_http(signal: str, environ: Mapping[str, str]) -> None:
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    name = next((name for name in names if environ.get(name, "").strip()), None)
    if name is not None and environ[name].strip().lower() != "http/protobuf":
        raise SettingsError(
            f"{name} asks for a protocol that kros-mcp does not speak.",
            next_step="Set it to http/protobuf, which collectors take at port 4318.",
        )


def _begin(signals: list[str], environ: Mapping[str, str]) -> list[Callable[[], object]]:
    try:
        from opentelemetry.sdk.resources import Resource as _Resource  # noqa: PLC0415 - heavy, and an extra
    except ImportError:
        raise SettingsError(
            "An OTEL_* variable asks for traces or metrics, for which the extra kros-mcp[otel] is not installed.",
            next_step=f"{GET_EXTRAS} Or set OTEL_SDK_DISABLED=true.",
        ) from None
    _replace_sdk_logs()
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or "kros-mcp"
    # Each worker and each command counts by itself; without an id of their own their series would be taken for one.
    attributes = {"service.name": name, "service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    resource = _Resource.create(attributes)
    begin = {"TRACES": _begin_traces, "METRICS": _begin_metrics}
    return [begin[signal](resource) for signal in signals]


def _begin_traces(resource: "Resource") -> Callable[[], object]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _begin_metrics(resource: "Resource") -> Callable[[], object]:
    from opentelemetry import metrics  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _stop(stops: list[Callable[[], object]]) -> None:
    """Send what is left, all signals at once; after a bounded time the rest is given up."""
    threads = [threading.Thread(target=stop, name="kros-mcp telemetry", daemon=True) for stop in stops]
    give_up_at = time.monotonic() + FLUSH_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, give_up_at - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        logger.warning("the last traces or metrics could not be sent within %s seconds", FLUSH_SECONDS)


def _replace_sdk_logs() -> None:
    """Log one line of ours instead of the SDK's: those repeat themselves, and may quote an address with a key."""
    sdk_logger = logging.getLogger("opentelemetry")
    sdk_logger.propagate = False
    sdk_logger.handlers = [_SdkLogHandler(logging.WARNING)]
    logging.getLogger("urllib3").setLevel(logging.ERROR)


class _SdkLogHandler(logging.Handler):
    _next_at = 0.0

    def emit(self, _record: logging.LogRecord) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + LOG_EVERY_SECONDS
            logger.warning("traces or metrics could not be sent; check OTEL_EXPORTER_OTLP_ENDPOINT and its collector")
