"""What a request's body is, read once before the SDK reads it: JSON, JSON-RPC, and what it asks for.

The SDK answers a malformed body with its validator's own words, which quote what was sent, and takes a request whose
id is null, true or 1.0 for a notification, which it answers with nothing. Here both are told in our words.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from mcp_types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from kros_mcp import telemetry
from kros_mcp.http.challenge import refusal

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass(frozen=True)
class Envelope:
    """A body that was looked into; `refusal` answers a malformed one.

    `id` is that of a request, None of anything else. `tool` is the one that it calls, empty if none. `answers` is
    the id of what it answers, as text: a prompt of the server's, for nothing else is asked; None if it answers nothing.
    """

    receive: Receive = _nothing
    method: str = ""
    id: str | int | None = None
    tool: str = ""
    answers: str | None = None
    refusal: Response | None = None


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

    return replace(_read(message.get("body", b"")), receive=replay)


def _read(raw: bytes) -> Envelope:
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return _malformed(PARSE_ERROR, "The body is not JSON in UTF-8.")
    given = _id(body)
    try:
        jsonrpc_message_adapter.validate_python(body, by_name=False)
    except (ValidationError, RecursionError):
        return _malformed(INVALID_REQUEST, _no_message(body), given)
    if "method" not in body:
        return Envelope(answers=str(body.get("id")))
    if "id" in body and given is None:
        return _malformed(INVALID_REQUEST, "The id of a request is a text or a whole number.")
    method, params = body["method"], body.get("params")
    name = params.get("name") if method == "tools/call" and isinstance(params, dict) else ""
    return Envelope(method=method, id=given, tool=name if isinstance(name, str) else "")


def _id(body: Any) -> str | int | None:  # noqa: ANN401 - JSON
    """Read the id of a message; None if it has none that a request could have."""
    given = body.get("id") if isinstance(body, dict) else None
    if isinstance(given, str):
        return None if _SURROGATE.search(given) else given  # which could not be said back
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _no_message(body: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(body, list):
        return "The body is a batch; send each JSON-RPC message by a request of its own."
    return "The body is not one JSON-RPC 2.0 message."


def _malformed(code: int, sentence: str, given: str | int | None = None) -> Envelope:
    telemetry.refused("malformed_body")
    return Envelope(refusal=refusal(400, sentence, {}, code=code, request_id=given))
