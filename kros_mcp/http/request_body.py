"""What a request's body asks for, read once before the SDK reads it."""

from dataclasses import dataclass, replace
from typing import Final

from mcp_types import INVALID_REQUEST, JSONRPCNotification, JSONRPCRequest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from kros_mcp import telemetry
from kros_mcp.http.challenge import refusal
from kros_mcp.jsonrpc import MalformedError, read_message

_NO_ID: Final = "A request needs an id; without one it is a notification, whose method begins with notifications/."


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
        message = read_message(raw)
    except MalformedError as exc:
        return _malformed(exc.code, exc.sentence, exc.ids[0] if len(exc.ids) == 1 else None)
    match message:
        case JSONRPCRequest():
            name = (message.params or {}).get("name") if message.method == "tools/call" else ""
            return Envelope(method=message.method, id=message.id, tool=name if isinstance(name, str) else "")
        case JSONRPCNotification() if not message.method.startswith("notifications/"):
            # JSON-RPC has no answer to it; over HTTP there is one, and a client that forgot the id would wait.
            return _malformed(INVALID_REQUEST, _NO_ID)
        case JSONRPCNotification():
            return Envelope(method=message.method)
        case _:
            return Envelope(answers=str(message.id))


def _malformed(code: int, sentence: str, given: str | int | None = None) -> Envelope:
    telemetry.refused("malformed_body")
    return Envelope(refusal=refusal(400, sentence, {}, code=code, request_id=given))
