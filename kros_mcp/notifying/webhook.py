"""A webhook: JSON by POST, signed by the rules of Standard Webhooks (www.standardwebhooks.com).

No redirect is followed, nothing of the answer but its status is read, and httpx's client is not used, which would log
the whole address.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from kros_mcp import __version__
from kros_mcp.errors import SettingsError
from kros_mcp.notifying.message import Message, NotDeliveredError
from kros_mcp.operations.notices import encoded

if TYPE_CHECKING:
    import httpx

SEND_SECONDS: Final = 10.0
_AT_ONCE: Final = 8
_GOOD: Final = range(200, 300)
_TO_DO: Final = {
    **dict.fromkeys(
        (301, 302, 303, 307, 308), "No redirect is followed: set KROS_WEBHOOK_URL to the address that answers itself."
    ),
    **dict.fromkeys((401, 403), "See that the receiver has the secret of KROS_WEBHOOK_SECRET, and its clock is right."),
    **dict.fromkeys((404, 405, 410), "Correct KROS_WEBHOOK_URL: nothing takes a POST there."),
}
"""What to do about an answer, where it tells."""


class Webhook:
    """One receiver.

    Args:
        url: Where it takes messages.
        key: Signs them; see `settings.webhook_key`.
    """

    at_once = _AT_ONCE

    def __init__(self, url: str, key: bytes) -> None:
        parts = urlsplit(url)
        self.name = f"webhook {parts.scheme}://{parts.hostname}"
        self.address = url
        self._host = parts.hostname or ""
        self._key = key
        self._transport: httpx.AsyncBaseTransport | None = None
        self._goes_directly = True
        self._one_lookup = anyio.Lock()

    async def warm_up(self) -> None:
        """Read proxy and certificates, which takes tens of milliseconds, in a thread."""
        if self._transport is None:
            self._transport = await anyio.to_thread.run_sync(self._network)

    async def send(self, message: Message) -> None:
        """Deliver a message; any answer but a success, or none within ten seconds, is a failure.

        Raises:
            NotDeliveredError: It did not come through, as far as can be told.
        """
        status, next_step = 0, None
        try:
            with anyio.fail_after(SEND_SECONDS):
                status = await self._post(message)
        except TimeoutError:
            problem = f"did not answer within {SEND_SECONDS:g} seconds"
        except SettingsError as exc:  # proxy and certificates are read when the first message is sent
            problem, next_step = f"cannot be reached: {exc.message.rstrip('.')}", exc.next_step
        except Exception as exc:  # noqa: BLE001 - httpx, httpcore, ssl and sockets fail in many ways
            problem, next_step = _obstacle(exc)
        else:
            problem, next_step = f"answered {status}", _TO_DO.get(status)
        if status not in _GOOD:
            raise NotDeliveredError(f"The {self.name} {problem}.", next_step=next_step)

    async def aclose(self) -> None:
        """Close what is open."""
        if self._transport is not None:
            await self._transport.aclose()

    async def _post(self, message: Message) -> int:
        import httpx  # noqa: PLC0415 - heavy, and not needed before something is sent

        await self.warm_up()
        assert self._transport is not None  # noqa: S101 - as it was just made
        if self._goes_directly:
            async with self._one_lookup:
                await _looked_up(self._host)
        body, at = encoded(message.body).encode(), int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": f"kros-mcp/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._key, message.id, at, body),
        }
        timeout = httpx.Timeout(SEND_SECONDS).as_dict()
        request = httpx.Request("POST", self.address, headers=headers, content=body, extensions={"timeout": timeout})
        response = await self._transport.handle_async_request(request)
        await response.aclose()
        return response.status_code

    def _network(self) -> httpx.AsyncBaseTransport:
        import httpx  # noqa: PLC0415 - see above

        from kros_mcp.krosai.transport import certificates, find_proxy, network  # noqa: PLC0415 - the same

        limits, proxy = httpx.Limits(max_keepalive_connections=0), find_proxy(self.address)
        self._goes_directly = proxy is None
        return network(proxy, certificates(), limits)


def _obstacle(failure: BaseException) -> tuple[str, str | None]:
    """Tell what was in the way, and what to do where that is known; never in the words of a library."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            to_do = (
                "Renew it; if a company's authority has issued it, name that in SSL_CERT_FILE where this server runs."
            )
            return "shows a certificate that is not accepted here", to_do
        if isinstance(cause, socket.gaierror):
            return (
                "has a host that is not found",
                "Correct the host in KROS_WEBHOOK_URL, or look at this machine's DNS.",
            )
        cause = cause.__cause__ or cause.__context__
    return f"could not be reached ({type(failure).__name__})", None


async def _looked_up(host: str) -> None:
    """Wait until the system has looked a host up, whatever it has found, in a thread that nothing else needs.

    Where nobody answers that takes half a minute, and a client of the loop does it in one of a few threads, in which
    KrosAI's name is looked up as well: a purchase would wait for them.
    """
    ended, loop = anyio.Event(), asyncio.get_running_loop()

    def look() -> None:
        with suppress(Exception):  # what is wrong with it is told by the connection
            socket.getaddrinfo(host, None)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=look, name="kros-mcp lookup", daemon=True).start()
    await ended.wait()


def signature(key: bytes, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of a message, as its header carries it."""
    signed = f"{message_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
