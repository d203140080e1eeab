"""One HTTP exchange with KrosAI, and what a failed one says about the request.

Foreign errors end here: they become ours, without a word of theirs and without a link to them, because httpx
can quote a header (so the API key) and a proxy's address. Only the name of the class is kept, as a note.

httpx is imported at first use, as it costs 65 ms: hence the imports inside functions.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from kros_mcp import telemetry
from kros_mcp.errors import (
    ConnectionLostError,
    KrosaiError,
    OutcomeUnknownError,
    ProtocolError,
    TooSlowError,
)
from kros_mcp.krosai.obstacles import not_sent

if TYPE_CHECKING:
    import httpx

    from kros_mcp.krosai.proxy import Proxy

Gate = Callable[[], None]

_LONGEST_BODY: Final = 4 * 1024 * 1024  # bytes; a page of 100 numbers is far below 100 KiB


class TooLargeError(Exception):
    """An answer's body is longer than any that KrosAI has reason to send."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of KrosAI, read to its end. `body` is the parsed JSON if `form` is "json", else None."""

    status: int
    headers: Mapping[str, str]
    form: Literal["json", "empty", "other"]
    body: object = field(repr=False)


class Flight:
    """Follows one write, to know for certain whether any of it can have left.

    A real connection tells of itself through httpx's `trace` extension; `left` then turns true at the last
    moment before the first byte of the request, with connection and TLS standing. The gate is asked then, and again
    before the body. What opens a tunnel through a proxy, the CONNECT or the words of SOCKS, is not the request. A
    transport without a trace (in-process) tells nothing.

    Args:
        gate: Asked last before the request leaves, and again before its body.
        has_body: Whether the request has one.
        proxy: What the request goes through.
    """

    def __init__(self, gate: Gate | None, *, has_body: bool = False, proxy: Proxy | None = None) -> None:
        self._gate = gate
        self._has_body = has_body
        self._proxy = proxy
        self._traced = False
        self._left = False
        self._refusal: Exception | None = None

    def ask(self) -> None:
        """Ask the gate; what it raises goes through unchanged, and the request does not leave."""
        if self._gate is None:
            return
        try:
            self._gate()
        except Exception as refusal:
            self._refusal = refusal
            raise

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear from httpcore how far the request is."""
        self._traced = True
        part = event.rpartition(".send_request_")[2]
        if part not in {"headers.started", "body.started"} or info["request"].method == b"CONNECT":
            return
        # A process may be frozen between the two parts. Without its body KrosAI cannot act on a request; one that has
        # none has left whole with its head.
        if part == "headers.started" or self._has_body:
            self.ask()
        self._left = True

    def refused(self, failure: Exception) -> bool:
        """Tell whether a failure is what the gate raised."""
        return failure is self._refusal

    def judge(self, failure: Exception | None) -> KrosaiError:
        """Say what a write without an answer means; None stands for our own time limit."""
        never_left = not self._left if self._traced else isinstance(failure, _never_sent_errors())
        error: KrosaiError = not_sent(failure, self._proxy) if never_left else outcome_unknown()
        return _noted(error, failure)


def outcome_unknown() -> OutcomeUnknownError:
    """Make the error for a write that left and has no usable answer."""
    return OutcomeUnknownError("KrosAI gave no usable answer; whether it acted is not known yet.")


def judge_reading(failure: Exception, proxy: Proxy | None = None) -> KrosaiError:
    """Say what a read without an answer means; a read never orders anything. `proxy` is what it went through."""
    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    error: KrosaiError
    if isinstance(failure, _never_sent_errors()):
        error = not_sent(failure, proxy)
    elif isinstance(failure, httpx.TimeoutException):
        error = too_slow()
    elif isinstance(failure, httpx.TransportError):
        error = ConnectionLostError("The connection to KrosAI broke while reading; nothing was ordered.")
    else:
        error = ProtocolError("KrosAI's answer could not be read.")
    return _noted(error, failure)


def too_slow() -> TooSlowError:
    """Make the error for a read that outlasted its time."""
    return TooSlowError("KrosAI did not answer in time; nothing was ordered.")


def reading_errors() -> tuple[type[Exception], ...]:
    """List every class of error with which an exchange can fail, ours not among them."""
    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    return (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, TooLargeError)


async def exchange(client: httpx.AsyncClient, request: httpx.Request, route: str) -> Reply:
    """Send one request and read the whole answer; fails with foreign errors. `route` is its path without ids."""
    with telemetry.Upstream(request.method, route, request.url.host, request.url.port) as watched:
        response = await client.send(request, stream=True, follow_redirects=False)
        watched.answered(response.status_code)
        return await _read_whole(response)


async def _read_whole(response: httpx.Response) -> Reply:
    content = bytearray()
    try:
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_bytes())) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > _LONGEST_BODY:
                    raise TooLargeError
    finally:
        await response.aclose()
    form, body = _parse(bytes(content))
    return Reply(response.status_code, response.headers, form, body)


def _parse(content: bytes) -> tuple[Literal["json", "empty", "other"], object]:
    if not content.strip():
        return "empty", None
    try:
        return "json", json.loads(content)
    except (ValueError, RecursionError):  # not JSON, not text, or nested to break the parser
        return "other", None


def _never_sent_errors() -> tuple[type[Exception], ...]:
    """List the errors that prove by themselves that no request left."""
    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    return (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
    )


def _noted(error: KrosaiError, failure: Exception | None) -> KrosaiError:
    error.add_note(f"Cause: {type(failure).__name__}" if failure is not None else "Cause: our time limit")
    return error
