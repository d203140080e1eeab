"""JSON logs on standard error: one object a line, with the ids that belong to it, and one line for each request.

What came from outside stands in JSON strings in ASCII, so that it can neither forge a line nor move a terminal's
cursor. Of an exception its type and where it was raised are written, and its message only if it is ours: others'
can quote a secret. Foreign loggers that write session ids, bodies or URLs are kept to warnings.
"""

import json
import logging
import re
import sys
import time
import traceback
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import PurePath
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.errors import KrosError

access_logger = logging.getLogger("kros_mcp.access")

LEVELS: Final = ("error", "warning", "info", "debug")
_FIELDS: Final = (
    *("method", "path", "status", "reason", "duration_ms", "tool", "outcome"),
    *("action", "move", "by", "through", "decided_by", "decided_through", "state", "cents", "charged", "code"),
)
_SESSION_ID = re.compile("[0-9a-f]{32}")
_LONGEST_MESSAGE: Final = 2_000
_MOST_FRAMES: Final = 20
_MOST_CAUSES: Final = 5
_REQUEST_ID_HEADER: Final = b"x-request-id"
_USABLE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH: Final = 200


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; never fails, whatever it is given."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, without its end."""
        request = telemetry.current_request.get()
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "request_id": request.request_id if request else None,
            "principal": getattr(record, "principal", None) or (request.principal if request else "") or None,
            "operation_id": getattr(record, "operation_id", None)
            or telemetry.current_operation.get()
            or (request.operation_id if request else "")
            or None,
        }
        if request and request.organization:
            line["organization"] = request.organization
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) not in {None, ""}}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = [_described(exc) for exc in _causes(record.exc_info[1])]
        return json.dumps(line, default=lambda value: type(value).__name__)


def configure(level: str) -> None:
    """Send all logs to standard error as JSON.

    Args:
        level: One of `LEVELS`, for our own lines; others' are written from warnings on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(wanted, logging.WARNING))
    # By name, as a level that is set on one of them stands above the root's.
    for name in (
        "mcp",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "uvicorn",  # we log the start and the stop ourselves
        "uvicorn.access",
        "asyncio",
        "jinja2",
        "opentelemetry",
    ):
        logging.getLogger(name).setLevel(max(wanted, logging.WARNING))
    logging.getLogger("kros_mcp").setLevel(wanted)
    logging.raiseExceptions = False  # what cannot be written is not shown with its arguments instead
    logging.captureWarnings(capture=True)


class AccessLog:
    """Gives every request an id, answers with it in `X-Request-Id`, and logs the request once it has ended.

    The id is the caller's own if that is usable. The line has method, path, status, duration, why the request was
    refused if it was, and the tool and its outcome if one was called; never the query, a header or a body.

    Args:
        app: What is called.
        probes: Paths whose requests are logged at DEBUG if they went well.
    """

    def __init__(self, app: ASGIApp, probes: Iterable[str] = ()) -> None:
        self._app = app
        self._probes = frozenset(probes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = telemetry.LoggedRequest(_request_id(scope))
        begun = time.perf_counter()
        status: int | None = None  # stays so if the client has gone before it was answered
        method, path = scope["method"], scope["path"][:_LONGEST_PATH]

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message["headers"], (_REQUEST_ID_HEADER, request.request_id.encode())],
                }
            await send(message)

        before = telemetry.current_request.set(request)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            fields: dict[str, Any] = {
                "method": method,
                "path": path,
                "status": status,
                "reason": request.reason,
                "duration_ms": round((time.perf_counter() - begun) * 1000, 1),
                "tool": request.tool,
                "outcome": request.outcome,
            }
            level = logging.DEBUG if path in self._probes and status == HTTPStatus.OK else logging.INFO
            access_logger.log(level, "%s %s %s", method, path, status or "abandoned", extra=fields)
            telemetry.current_request.reset(before)


def _request_id(scope: Scope) -> str:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == _REQUEST_ID_HEADER]
    return given[0] if len(given) == 1 and _USABLE_REQUEST_ID.fullmatch(given[0]) else uuid.uuid4().hex


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - whatever its arguments raise, the line is written
        message = str(record.msg)
    if record.name.startswith("mcp."):  # the SDK names whole sessions
        message = _SESSION_ID.sub("…", message)
    if record.name == "asyncio":  # after its first line it quotes what a task raised
        message = message.partition("\n")[0]
    return message[:_LONGEST_MESSAGE]


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and those that it came from."""
    queue: list[BaseException | None] = [exc]
    seen: list[int] = []
    while queue and len(seen) < _MOST_CAUSES:
        current = queue.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.append(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            queue += current.exceptions
        queue.append(current.__cause__ or (None if current.__suppress_context__ else current.__context__))


def _described(exc: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(exc.__traceback__)[-_MOST_FRAMES:]
    described: dict[str, Any] = {
        "type": type(exc).__name__,
        "at": [f"{'/'.join(PurePath(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(exc, KrosError):
        described |= {"code": exc.code, "message": exc.message}
    return described
