"""The public keys of an identity provider, as its JWKS has them (RFC 7517)."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt

from kros_mcp.errors import SettingsError
from kros_mcp.krosai.transport import certificates, find_proxy, network

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0
"""How long keys are used without asking again; a key that the issuer takes back is refused after that."""
KEPT_SECONDS = 3600.0
"""How long keys are used on while the issuer cannot be reached."""
PAUSE_SECONDS = 30.0
"""Between two requests to the issuer, however many unknown keys tokens name."""
_PAUSE_WITHOUT_KEYS_SECONDS = 5.0
_PATIENCE_SECONDS = 1.0
"""How long a call waits for newer keys when older ones would do."""
_FETCH_SECONDS = 5.0
_LONGEST_ANSWER = 256 * 1024
_KINDS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}


class IssuerKeys:
    """Fetches keys when they are needed, one request at a time, and never because a token says where from.

    Args:
        url: Where the issuer publishes its keys.
        transport: The way there. Defaults to the network.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._transport = transport
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._ready: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    def trouble(self) -> str | None:
        """Say why no token can be checked at present; None while there are keys, or nobody has needed any."""
        if not self._failed or self._is_younger_than(KEPT_SECONDS):
            return None
        return f"The keys at {self._url} cannot be had."

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Find the key that a token names, if it is one for this algorithm; None if there is none.

        Args:
            kid: The name of the key; None will do where the issuer has one alone.
            algorithm: One that the settings allow.
        """
        if not (self._is_younger_than(FRESH_SECONDS) and self._named(kid)):
            await self._refresh(_PATIENCE_SECONDS if self._named(kid) else _FETCH_SECONDS)
        for found in self._named(kid):
            if _is_for(found, algorithm):
                name = (kid, algorithm)
                if name not in self._ready:
                    self._ready[name] = jwt.PyJWK(found, algorithm)
                return self._ready[name]
        return None

    def _named(self, kid: str | None) -> list[dict[str, Any]]:
        if not self._is_younger_than(KEPT_SECONDS):
            return []
        if kid is None:
            return self._keys if len(self._keys) == 1 else []
        return [key for key in self._keys if key.get("kid") == kid]

    def _is_younger_than(self, seconds: float) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < seconds

    async def _refresh(self, patience_seconds: float) -> None:
        """Ask the issuer unless it was asked just now; whoever calls meanwhile waits for the same answer."""
        if self._fetching is None:
            pause = PAUSE_SECONDS if self._fetched_at is not None else _PAUSE_WITHOUT_KEYS_SECONDS
            if self._tried_at is not None and self._clock() - self._tried_at < pause:
                return
            self._fetching = asyncio.create_task(self._fetch())
        # Unlike wait_for, it leaves the request running when the caller gives up.
        await asyncio.wait({self._fetching}, timeout=patience_seconds)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = _keys_in(await self._answer())
            self._ready.clear()
            self._fetched_at, self._failed = self._clock(), False
            if not self._keys:
                logger.warning("%s holds no public key, so no token of this issuer is taken", self._url)
        except SettingsError as exc:  # of a proxy's or of certificates, which says what to correct
            self._failed = True
            logger.warning("the keys at %s cannot be had: %s", self._url, exc)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the keys there are have to do
            self._failed = True
            logger.warning("the keys at %s cannot be had: %s", self._url, type(exc).__name__)
        finally:
            self._tried_at = self._clock()
            self._fetching = None

    async def _answer(self) -> bytes:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        body = b""
        way = self._transport or network(find_proxy(self._url), certificates(), httpx.Limits())
        async with (
            httpx.AsyncClient(transport=way, headers=headers, timeout=_FETCH_SECONDS) as client,
            client.stream("GET", self._url, follow_redirects=False) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError("not what was asked for")
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _LONGEST_ANSWER:
                    raise ValueError("too long")
        return body


def _keys_in(answer: bytes) -> list[dict[str, Any]]:
    document = json.loads(answer)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JWKS")  # noqa: TRY004 - it is a wrong answer, not a wrong call
    kinds = {kind for kind, _ in _KINDS.values()}
    return [key for key in document["keys"] if isinstance(key, dict) and key.get("kty") in kinds]


def _is_for(key: dict[str, Any], algorithm: str) -> bool:
    kind, curve = _KINDS[algorithm]
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and "verify" in key.get("key_ops", ["verify"])
    )
