"""What a request's body is, read once before the SDK reads it: JSON, JSON-RPC, and which tool it calls.

The SDK answers a malformed body with its validator's own words, which quote what was sent. Here it is told in ours.
"""

import json
from dataclasses import dataclass
from typing import Any

from mcp_types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

from kros_mcp import telemetry


@dataclass(frozen=True)
class Envelope:
    """A body that was looked into; `tool` is the one it calls, empty if none, and `refusal` answers a malformed one.

    `answers` tells that it answers what the server asked: a prompt, for nothing else is asked.
    """

    receive: Receive
    tool: str = ""
    refusal: Response | None = None
    answers: bool = False


async def open_envelope(scope: Scope, receive: Receive) -> Envelope:
    """Read the body of a POST, and give back a way to read it again; anything else is left unread.

    Args:
        scope: Of the request.
        receive: Gives the body in one piece, as the limit on bodies hands it on.
    """
    if scope["method"] != "POST":
        return Envelope(receive)
    message = await receive()
    pending = [message]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    try:
        body: Any = json.loads(message.get("body", b""))
    except (ValueError, RecursionError):
        return Envelope(replay, refusal=_error(PARSE_ERROR, "The body is not JSON in UTF-8."))
    try:
        jsonrpc_message_adapter.validate_python(body, by_name=False)
    except (ValidationError, RecursionError):
        return Envelope(replay, refusal=_error(INVALID_REQUEST, "The body is not one JSON-RPC 2.0 message."))
    if "method" not in body:
        return Envelope(replay, answers=True)
    if body.get("method") != "tools/call" or not isinstance(body.get("params"), dict):
        return Envelope(replay)
    name = body["params"].get("name")
    return Envelope(replay, tool=name if isinstance(name, str) else "")


def _error(code: int, sentence: str) -> Response:
    telemetry.refused("malformed_body")
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": sentence}}
    return JSONResponse(body, status_code=400)
