"""What a client reads: JSON, a stream of events, or both, whatever the SDK would answer it with.

The SDK wants both to be named on one line. Clients that read one alone are common, so the SDK is told both, and its
answer is put into the other form where the client did not name its own. Without a stream no prompt can be shown, and
the code channel takes its place; what else comes on a stream before the answer (progress) is left out.
"""

import json
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Scope, Send

from kros_mcp import telemetry
from kros_mcp.http.request_body import ClientMessage, json_rpc_error

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_ANY_JSON: Final = frozenset({_JSON, "application/*", "*/*"})
_ANY_EVENTS: Final = frozenset({_EVENTS, "text/*", "*/*"})
_ONLY_STREAMED: Final = "subscriptions/listen"
"""Of all methods the only one that is answered by a stream and nothing else."""


@dataclass(frozen=True)
class AcceptedTypes:
    """Which of the two forms a client reads; neither, if it named others alone."""

    json: bool
    events: bool

    def adapt(self, scope: Scope, send: Send) -> tuple[Scope, Send]:
        """Tell the SDK that both forms are read, and send its answers in one that is."""
        headers = MutableHeaders(scope=dict(scope) | {"headers": list(scope["headers"])})
        headers["accept"] = f"{_JSON}, {_EVENTS}"
        scope = {**scope, "headers": headers.raw}
        if not self.events:
            return scope, _EventsAsJson(scope, send).send
        return scope, send if self.json else _JsonAsEvents(send).send


def accepted_types(headers: Headers) -> AcceptedTypes:
    """Read what a client accepts from all its lines.

    Naming nothing, it accepts anything by HTTP; it is given what every client can read. Of `*/*` the SDK chooses.
    """
    named = [kind.strip().lower() for line in headers.getlist("accept") for kind in line.split(",") if kind.strip()]
    kinds = {kind.partition(";")[0].strip() for kind in named if not _has_weight_zero(kind)}
    return AcceptedTypes(json=not named or bool(kinds & _ANY_JSON), events=bool(kinds & _ANY_EVENTS))


def not_acceptable(types: AcceptedTypes, message: ClientMessage) -> Response | None:
    """Refuse a client that would read none of the forms in which it could be answered."""
    if not message.method or types.events or (types.json and message.method != _ONLY_STREAMED):
        return None
    telemetry.note_refusal("not_acceptable")
    forms = "as text/event-stream" if message.method == _ONLY_STREAMED else "as application/json or text/event-stream"
    return json_rpc_error(406, f"This is answered {forms} alone; name it in Accept.", {}, request_id=message.id)


def _has_weight_zero(kind: str) -> bool:
    """Whether a media type is named in order to say that it is not read."""
    return any(part.strip() in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for part in kind.split(";")[1:])


class _EventsAsJson:
    """Sends a stream of events as the one JSON answer that it ends with."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._rest = b""
        self._answer = b""

    async def send(self, message: Message) -> None:
        """Pass on what is no stream; keep of a stream what answers the request."""
        if message["type"] == "http.response.start" and _has_type(message, _EVENTS):
            self._start = message
        elif message["type"] != "http.response.body" or self._start is None:
            await self._send(message)
        else:
            *frames, self._rest = (self._rest + message.get("body", b"")).split(b"\r\n\r\n")
            for frame in frames:
                self._read(frame)
            if not message.get("more_body", False):
                await self._end(self._start)

    def _read(self, frame: bytes) -> None:
        for line in frame.split(b"\r\n"):
            if line.startswith(b"data: ") and "method" not in json.loads(line[6:]):
                self._answer = line[6:]

    async def _end(self, start: Message) -> None:
        if not self._answer:
            ended = json_rpc_error(503, "The session was ended before this was answered.", {"retry-after": "1"})
            await ended(self._scope, _disconnected, self._send)
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"], headers["content-length"] = _JSON, str(len(self._answer))
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": self._answer})


class _JsonAsEvents:
    """Sends the JSON that answers a request as a stream of one event; a refusal stays as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        """Pass on what is no answer in JSON; keep of an answer its whole body."""
        if message["type"] == "http.response.start" and message["status"] == 200 and _has_type(message, _JSON):  # noqa: PLR2004
            self._start = message
        elif message["type"] != "http.response.body" or self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._end(self._start)

    async def _end(self, start: Message) -> None:
        event = b"event: message\r\ndata: " + self._body + b"\r\n\r\n" if self._body else b""
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"], headers["content-length"] = _EVENTS, str(len(event))
        headers["cache-control"] = "no-cache, no-transform"
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": event})


async def _disconnected() -> Message:
    return {"type": "http.disconnect"}


def _has_type(start: Message, kind: str) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").partition(";")[0].strip() == kind
