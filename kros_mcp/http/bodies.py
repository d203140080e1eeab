"""A request's body, read whole within a bound by whoever has decided that it is worth keeping."""

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from kros_mcp import telemetry


class BodyTooLongError(HTTPException):
    """The body is longer than this request's may be; the routes of Starlette answer 413 by themselves."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(413, f"The body is longer than {most_bytes // 1024} KiB.")


class ClientGoneError(Exception):
    """The client went away, or its body took too long, before the body was whole: nobody waits for an answer."""


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
    told = [value for name, value in scope["headers"] if name == b"content-length"]
    if any(value.isdigit() and int(value) > most_bytes for value in told):
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


def once_more(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read to another reader, and after it what else comes."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _too_long(most_bytes: int) -> BodyTooLongError:
    telemetry.refused("body_too_large")
    return BodyTooLongError(most_bytes)
