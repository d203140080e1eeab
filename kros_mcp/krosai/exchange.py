"""One HTTP exchange with KrosAI, and what a failed one means: whether the request left, and what stands in its way.

httpx's errors are translated here and nowhere else, without their text and without a link to them, because httpx can
quote a header (so the API key) and a proxy's address. Only the name of the class is kept, as a note.

httpx is imported at first use, as it takes 65 ms: hence the imports inside functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from kros_mcp import telemetry
from kros_mcp.errors import (
    ConnectionLostError,
    KrosaiError,
    NotSentError,
    OutcomeUnknownError,
    PathError,
    ProtocolError,
    TooSlowError,
)
from kros_mcp.krosai.text import Mask

if TYPE_CHECKING:
    import httpx

    from kros_mcp.krosai.transport import Proxy

BeforeSending = Callable[[], None]
"""Called just before a write leaves; if it raises, the write is not sent."""

_LONGEST_BODY: Final = 4 * 1024 * 1024  # bytes; a page of 100 numbers is far below 100 KiB
_UNSENT: Final = "nothing was sent"
_NAME_THE_AUTHORITY: Final = (
    "Nothing was ordered. Tell the operator: a company's proxy may stand in between; name its certificate authority in "
    "SSL_CERT_FILE where this server runs."
)
_CHECK_THE_CLOCK: Final = (
    "Nothing was ordered. Tell the operator: check the date of the machine where this server runs; if it is right, the "
    "certificate has to be renewed by those who answer there."
)
_CHECK_THE_NAME: Final = (
    "Nothing was ordered. Tell the operator: check KROS_BASE_URL, and whether a proxy or a login page answers in its "
    "place."
)
# By OpenSSL's X509_V_ERR_... numbers: what is said after "certificate", and what to do.
_CERTIFICATES: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21), ("is not trusted here (unknown issuer)", _NAME_THE_AUTHORITY)),
    9: ("is not valid yet, by this machine's clock", _CHECK_THE_CLOCK),
    10: ("has expired, by this machine's clock", _CHECK_THE_CLOCK),
    **dict.fromkeys((62, 64), ("is for another name than the one in KROS_BASE_URL", _CHECK_THE_NAME)),
}
_OTHER_CERTIFICATE: Final = ("is not accepted here", _NAME_THE_AUTHORITY)
_STATUS: Final = re.compile(r"(\d{3})\b")
_LOGIN_STATUS: Final = 407
_TEMPORARY: Final = frozenset({408, 425, 429})
_FIRST_SERVER_ERROR: Final = 500
# How httpcore's messages begin for a SOCKS proxy that wants another login, or forbids the address.
_SOCKS_LOGIN: Final = ("Requested ", "Invalid username/password")
_SOCKS_FORBIDS: Final = "Proxy Server could not connect: Connection not allowed"


class TooLargeError(Exception):
    """An answer's body is longer than any that KrosAI has reason to send."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of KrosAI, read to its end. `body` is the parsed JSON if `form` is "json", else None."""

    status: int
    headers: Mapping[str, str]
    form: Literal["json", "empty", "other"]
    body: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it came, with the id that its request bore."""

    request_id: str
    reply: Reply


_listeners: ContextVar[tuple[list[Heard], ...]] = ContextVar("_listeners", default=())


@contextmanager
def overheard() -> Iterator[list[Heard]]:
    """Collect the answers that come while the block runs, refusals too, with headers and body."""
    heard: list[Heard] = []
    token = _listeners.set((*_listeners.get(), heard))
    try:
        yield heard
    finally:
        _listeners.reset(token)


class Flight:
    """One request on its way, of which it is known for certain whether any of it can have left.

    A network connection reports its steps through httpx's `trace` extension. The request counts as sent from the last
    moment before its first byte, when the connection and TLS are up. `before_sending` is called at that moment, and
    again before the body. What opens a tunnel through a proxy (CONNECT, or the handshake of SOCKS) is not the request.
    A transport in this process reports nothing.

    Args:
        before_sending: Called before the request's head, and again before its body.
        has_body: Whether the request has one.
        proxy: The proxy that the request goes through.
    """

    def __init__(
        self, before_sending: BeforeSending | None, *, has_body: bool = False, proxy: Proxy | None = None
    ) -> None:
        self._before_sending = before_sending
        self._has_body = has_body
        self._proxy = proxy
        self._traced = False
        self._left = False
        self._stopped_by: Exception | None = None

    def check(self) -> None:
        """Call `before_sending`; what it raises is passed on unchanged, and the request is not sent."""
        if self._before_sending is None:
            return
        try:
            self._before_sending()
        except Exception as failure:
            self._stopped_by = failure
            raise

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a step that httpcore reports."""
        self._traced = True
        part = event.rpartition(".send_request_")[2]
        if part not in {"headers.started", "body.started"} or info["request"].method == b"CONNECT":
            return
        # A process may be frozen between the two parts. Without its body KrosAI cannot act on a request; one that has
        # none has left whole with its head.
        if part == "headers.started" or self._has_body:
            self.check()
        self._left = True

    def was_stopped_by(self, failure: Exception) -> bool:
        """Whether a failure is what `before_sending` raised."""
        return failure is self._stopped_by

    def never_left(self, failure: BaseException | None) -> bool:
        """Whether nothing of a request that failed can have left; None stands for our own time limit."""
        return not self._left if self._traced else isinstance(failure, _never_sent_errors())

    def judge(self, failure: Exception | None) -> KrosaiError:
        """Return the error that a failed write means; None stands for our own time limit."""
        error: KrosaiError = _not_sent(failure, self._proxy) if self.never_left(failure) else outcome_unknown()
        return _noted(error, failure)


def outcome_unknown() -> OutcomeUnknownError:
    """Return the error for a write that left and has no usable answer."""
    return OutcomeUnknownError("KrosAI gave no usable answer; whether it acted is not known yet.")


def judge_reading(failure: Exception, proxy: Proxy | None = None) -> KrosaiError:
    """Return the error that a failed read means; a read never orders anything. `proxy` is what it went through."""
    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    error: KrosaiError
    if isinstance(failure, _never_sent_errors()):
        error = _not_sent(failure, proxy)
    elif isinstance(failure, httpx.TimeoutException):
        error = too_slow()
    elif isinstance(failure, httpx.TransportError):
        error = ConnectionLostError("The connection to KrosAI broke while reading; nothing was ordered.")
    else:
        error = ProtocolError("KrosAI's answer could not be read.")
    return _noted(error, failure)


def too_slow() -> TooSlowError:
    """Return the error for a read that did not end in time."""
    return TooSlowError("KrosAI did not answer in time; nothing was ordered.")


def reading_errors() -> tuple[type[Exception], ...]:
    """Return every foreign class of error with which an exchange can fail."""
    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    return (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, TooLargeError)


async def exchange(client: httpx.AsyncClient, request: httpx.Request, route: str, mask: Mask) -> Reply:
    """Send one request and read the whole answer, without the API key; raises foreign errors.

    Args:
        client: Sends it.
        request: The request.
        route: Its path without ids.
        mask: Takes the API key out of the answer.
    """
    with telemetry.UpstreamRequest(request.method, route, request.url.host, request.url.port) as watched:
        response = await client.send(request, stream=True, follow_redirects=False)
        watched.answered(response.status_code)
        reply = await _read_whole(response, mask)
        for heard in _listeners.get():
            heard.append(Heard(request.headers.get("x-request-id", ""), reply))
        return reply


async def _read_whole(response: httpx.Response, mask: Mask) -> Reply:
    content = bytearray()
    try:
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_bytes())) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > _LONGEST_BODY:
                    raise TooLargeError
    finally:
        await response.aclose()
    form, body = _parse(bytes(content), mask)
    return Reply(response.status_code, response.headers, form, body)


def _parse(content: bytes, mask: Mask) -> tuple[Literal["json", "empty", "other"], object]:
    if not content.strip():
        return "empty", None
    try:
        return "json", mask.over(content, json.loads(content))
    except (ValueError, RecursionError):  # not JSON, not text, or nested to break the parser
        return "other", None


def _never_sent_errors() -> tuple[type[Exception], ...]:
    """Return the errors that prove by themselves that no request left."""
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


def _not_sent(failure: Exception | None, proxy: Proxy | None) -> NotSentError:
    """Return the error for a request that never left.

    Args:
        failure: What it failed with; None stands for our own time limit.
        proxy: The proxy that it had to go through.

    Returns:
        A PathError if the same obstacle would stop the next request as well.
    """
    import ssl  # noqa: PLC0415  # the same

    import httpx  # noqa: PLC0415  # 65 ms, see the module's docstring

    for cause in _causes(failure):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate_refused(cause.verify_code, proxy)
    if proxy is None:
        return NotSentError(f"KrosAI could not be reached; {_UNSENT}.")
    refusal = _proxy_refused(str(failure), proxy) if isinstance(failure, httpx.ProxyError) else None
    return refusal or NotSentError(
        f"KrosAI could not be reached through the proxy in {proxy.source}; {_UNSENT}.",
        next_step="Nothing was ordered. Try again in a moment; if it stays so, tell the operator to check that proxy.",
    )


def _certificate_refused(verify_code: int, proxy: Proxy | None) -> PathError:
    fault, next_step = _CERTIFICATES.get(verify_code, _OTHER_CERTIFICATE)
    whose = "KrosAI's certificate"
    if proxy is not None and proxy.is_reached_by_tls:
        whose = f"The certificate of KrosAI, or of the proxy in {proxy.source},"
    return PathError(f"{whose} {fault}; {_UNSENT}.", code="CERTIFICATE_REFUSED", next_step=next_step)


def _proxy_refused(answer: str, proxy: Proxy) -> PathError | None:
    """Return the error for what a proxy refuses for good; None if it may be temporary.

    Args:
        answer: What httpcore says of it, beginning with the HTTP status of a proxy that speaks HTTP.
        proxy: The proxy.
    """
    found = _STATUS.match(answer)
    status = int(found[1]) if found else None
    if status == _LOGIN_STATUS or answer.startswith(_SOCKS_LOGIN):
        does = "does not accept the login that stands there" if proxy.has_login else "wants a login"
        to_do = f"put the proxy's user and password into {proxy.source}, as in user:password@host:port."
    elif answer.startswith(_SOCKS_FORBIDS) or (
        status is not None and status < _FIRST_SERVER_ERROR and status not in _TEMPORARY
    ):
        does = "does not let requests through to KrosAI"
        to_do = "have the address in KROS_BASE_URL allowed there, or exempt it in NO_PROXY where it can be reached."
    else:
        return None
    number = "" if status is None else f" ({status})"
    return PathError(
        f"The proxy in {proxy.source} {does}{number}; {_UNSENT}.",
        code="PROXY_REFUSED",
        next_step=f"Nothing was ordered. Tell the operator: {to_do}",
    )


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__  # httpcore cuts the former
