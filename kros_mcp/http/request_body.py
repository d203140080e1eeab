"""A request's body, read whole within a bound, and the JSON-RPC message in it, read once before the SDK reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcp_types import INVALID_REQUEST, JSONRPCNotification, JSONRPCRequest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

from kros_mcp import telemetry
from kros_mcp.jsonrpc import MalformedError, read_message

CLIENT_MESSAGE: Final = "kros_mcp.client_message"
"""Key in the scope of a request: the `ClientMessage` of its body."""
_NO_ID: Final = "A request needs an id; without one it is a notification, whose method begins with notifications/."


class BodyTooLongError(HTTPException):
    """The body is longer than this request's may be; the routes of Starlette answer 413 by themselves."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(413, f"The body is longer than {most_bytes // 1024} KiB.")


class ClientGoneError(Exception):
    """The client went away, or its body took too long, before the body was whole: nobody waits for an answer."""


@dataclass(frozen=True)
class ClientMessage:
    """What the body of a request holds; `refusal` answers a malformed one.

    `id` is that of a request, None of anything else. `tool` is the one that it calls, empty if none. `answers` is
    the id of what it answers, as text: a prompt of the server's, for nothing else is asked; None if it answers nothing.
    """

    method: str = ""
    id: str | int | None = None
    tool: str = ""
    answers: str | None = None
    refusal: Response | None = None


async def read_body(scope: Scope, receive: Receive, most_bytes: int) -> bytes:
    """Read a whole body.

    Args:
        scope: Of the request.
        receive: Gives its body.
        most_bytes: How long it may be. A longer one is refused before it is read if it says how long it is.

    Raises:
        BodyTooLongError: It is longer.
        ClientGoneError: It will not come.
    """
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if any(value.isdigit() and int(value) > most_bytes for value in lengths):
        raise _too_long(most_bytes)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise _too_long(most_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read to another reader, and after it what else comes."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def read_client_message(body: bytes) -> ClientMessage:
    """Read the message in the body of a POST."""
    try:
        message = read_message(body)
    except MalformedError as exc:
        return _malformed(exc.code, exc.sentence, exc.ids[0] if len(exc.ids) == 1 else None)
    match message:
        case JSONRPCRequest():
            name = (message.params or {}).get("name") if message.method == "tools/call" else ""
            return ClientMessage(message.method, message.id, tool=name if isinstance(name, str) else "")
        case JSONRPCNotification() if not message.method.startswith("notifications/"):
            # JSON-RPC has no answer to it; over HTTP there is one, and a client that forgot the id would wait.
            return _malformed(INVALID_REQUEST, _NO_ID)
        case JSONRPCNotification():
            return ClientMessage(message.method)
        case _:
            return ClientMessage(answers=str(message.id))


def json_rpc_error(
    status: int,
    sentence: str,
    headers: Mapping[str, str],
    *,
    code: int = INVALID_REQUEST,
    request_id: str | int | None = None,
    data: object = None,
) -> Response:
    """Refuse a request as a JSON-RPC error: clients of the SDK tell that sentence, and nothing of any other body.

    Args:
        status: Of HTTP.
        sentence: What is wrong.
        headers: To send beside it.
        code: Of JSON-RPC.
        request_id: The id of the request, where it was read.
        data: What the protocol wants beside the sentence; None for nothing.
    """
    error = {"code": code, "message": sentence} | ({} if data is None else {"data": data})
    body = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return JSONResponse(body, status_code=status, headers=headers)


def _too_long(most_bytes: int) -> BodyTooLongError:
    telemetry.note_refusal("body_too_large")
    return BodyTooLongError(most_bytes)


def _malformed(code: int, sentence: str, request_id: str | int | None = None) -> ClientMessage:
    telemetry.note_refusal("malformed_body")
    return ClientMessage(refusal=json_rpc_error(400, sentence, {}, code=code, request_id=request_id))
