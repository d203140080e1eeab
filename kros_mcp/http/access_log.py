"""Around everything: gives every request an id, and writes one line of how it went."""

import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.host_origin import PROBES

logger = logging.getLogger("kros_mcp.access")

_HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH: Final = 200


class AccessLog:
    """Answers with `X-Request-Id`, the caller's own if it is sane, and logs the request once it has ended.

    Never the query, a header or a body: method, path, status, time, why it was refused if it was, and the tool and
    outcome if one was called.
    Probes that went well are told at DEBUG.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = telemetry.Request(_request_id(scope))
        begun = time.perf_counter()
        status: int | None = None  # stays so if the client has gone before it was answered
        method, path = scope["method"], scope["path"][:_LONGEST_PATH]

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (_HEADER, request.request_id.encode())]}
            await send(message)

        before = telemetry.current_request.set(request)
        try:
            await self._app(scope, receive, sending)
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
            level = logging.DEBUG if path in PROBES and status == HTTPStatus.OK else logging.INFO
            logger.log(level, "%s %s %s", method, path, status or "abandoned", extra=fields)
            telemetry.current_request.reset(before)


def _request_id(scope: Scope) -> str:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
    return given[0] if len(given) == 1 and _SANE.fullmatch(given[0]) else uuid.uuid4().hex
