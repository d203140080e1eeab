"""JSON logs on standard error: one object to a line, with the ids that belong to it.

What came from outside stands in JSON strings in ASCII, so that it can neither forge a line nor move a terminal's
cursor. Of an exception its kind and where it was raised are told, and its words only if they are ours: others'
can quote a secret. Foreign loggers that tell session ids, bodies or URLs are kept to warnings.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from kros_mcp import telemetry
from kros_mcp.errors import KrosError

LEVELS: Final = ("error", "warning", "info", "debug")
_FIELDS: Final = (
    *("method", "path", "status", "reason", "duration_ms", "tool", "outcome"),
    *("action", "move", "by", "through", "decided_by", "decided_through", "state", "cents", "charged", "code"),
)
_SESSION_ID = re.compile("[0-9a-f]{32}")
_LONGEST_MESSAGE: Final = 2_000
_MOST_FRAMES: Final = 20
_MOST_CAUSES: Final = 5


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
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) not in {None, ""}}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = [_told(exc) for exc in _causes(record.exc_info[1])]
        return json.dumps(line, default=lambda value: type(value).__name__)


def configure(level: str) -> None:
    """Send all logs to standard error as JSON.

    Args:
        level: One of `LEVELS`, for our own lines; others' are shown from warnings on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for standing in root.handlers[:]:
        root.removeHandler(standing)
    root.addHandler(handler)
    root.setLevel(max(wanted, logging.WARNING))
    # By name, as a level that is set on one of them stands above the root's.
    for name in (
        "mcp",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "uvicorn",  # of a start and a stop we tell ourselves
        "uvicorn.access",
        "asyncio",
        "jinja2",
        "opentelemetry",
    ):
        logging.getLogger(name).setLevel(max(wanted, logging.WARNING))
    logging.getLogger("kros_mcp").setLevel(wanted)
    logging.raiseExceptions = False  # what cannot be written is not shown with its arguments instead
    logging.captureWarnings(capture=True)


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
    """Give an exception, and what it came from."""
    waiting: list[BaseException | None] = [exc]
    given: list[int] = []
    while waiting and len(given) < _MOST_CAUSES:
        this = waiting.pop(0)
        if this is None or id(this) in given:
            continue
        given.append(id(this))
        yield this
        if isinstance(this, BaseExceptionGroup):
            waiting += this.exceptions
        waiting.append(this.__cause__ or (None if this.__suppress_context__ else this.__context__))


def _told(exc: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(exc.__traceback__)[-_MOST_FRAMES:]
    told: dict[str, Any] = {
        "type": type(exc).__name__,
        "at": [f"{'/'.join(PurePath(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(exc, KrosError):
        told |= {"code": exc.code, "message": exc.message}
    return told
