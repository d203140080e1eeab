"""OAuth 2.1: JWTs of one issuer, made out to this service and signed with a key that the issuer publishes.

The keys are those of the issuer's JWKS (RFC 7517), fetched here and not by PyJWT's client, which blocks the event loop,
bounds no answer, and keeps no keys while the issuer cannot be reached.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from kros_mcp.characters import visible
from kros_mcp.errors import SettingsError
from kros_mcp.krosai.transport import certificates, find_proxy, network
from kros_mcp.operations.model import LONGEST_NAME_SHOWN
from kros_mcp.settings import organization_named
from kros_mcp.tools.caller import CallerToken, caller_token, principal_of
from kros_mcp.tools.specs import Scope, in_company

logger = logging.getLogger(__name__)

LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""
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
_KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
_LONGEST_SUBJECT = 255
LONGEST_PRINCIPAL = LONGEST_NAME_SHOWN - 50
"""Of issuer and subject together; shown, the name of an approver has some words behind it."""
MISSING = object()
"""What a claim states that a token does not have."""
_LATEST_END = 253_402_300_799
"""The last second of the year 9999; what ends later is more than a clock can tell."""


class _UnusableError(Exception):
    """The token is valid for its issuer, and not for us."""


@dataclass(frozen=True)
class TrustedIssuer:
    """Verifies the JWTs of one issuer.

    Every claim is checked anew for each request, so that a token ends when it says, also in the middle of a session.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    scope_claim: str
    keys: "IssuerKeys"
    organization_claim: str | None = None
    own_organization: str | None = None

    async def verify_token(self, token: str) -> CallerToken | None:
        """Return who bears a JWT; None if it is not valid for this service, or cannot be checked."""
        try:
            return await self._verified(token)
        except Exception as exc:  # noqa: BLE001 - whoever wrote the token may have made anything fail; nobody gets in
            logger.info("a JWT is refused: %s", type(exc).__name__)
            return None

    async def _verified(self, token: str) -> CallerToken | None:
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.algorithms:
            raise jwt.InvalidAlgorithmError
        key = await self.keys.key(kid, algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
        )
        scopes = scopes_in(claims, self.scope_claim)
        if in_company(scopes) is not None:
            raise _UnusableError
        client = claims.get("client_id", claims.get("azp"))
        return caller_token(
            self.issuer,
            self._subject(claims["sub"]),
            scopes,
            client_id=client if isinstance(client, str) else None,
            expires_at=min(int(claims["exp"]), _LATEST_END),
            organization=self._organization(claims),
        )

    def _organization(self, claims: Mapping[str, Any]) -> str:
        """Return the organization that a token names, empty for the service's own; refuse what names none."""
        if self.organization_claim is None:
            return ""
        stated = stated_in(claims, self.organization_claim)
        return "" if stated is MISSING else organization_named(stated, self.own_organization)

    def _subject(self, subject: str) -> str:
        """Refuse a subject with invisible characters, or one too long to be shown whole."""
        too_long = len(subject) > _LONGEST_SUBJECT or len(principal_of(self.issuer, subject)) > LONGEST_PRINCIPAL
        if not subject or too_long or visible(subject) != subject:
            raise _UnusableError
        return subject


class IssuerKeys:
    """Fetches the public keys of an issuer, one request at a time, and never from an address that a token names.

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
        self._parsed: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    def trouble(self) -> str | None:
        """Return why no token can be checked at present; None while there are keys, or none was needed yet."""
        if not self._failed or self._is_younger_than(KEPT_SECONDS):
            return None
        return f"The keys at {self._url} cannot be had."

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, if it is one for this algorithm; None if there is none.

        Args:
            kid: The name of the key; None is enough where the issuer has one key alone.
            algorithm: One that the settings allow.
        """
        if not (self._is_younger_than(FRESH_SECONDS) and self._named(kid)):
            await self._refresh(_PATIENCE_SECONDS if self._named(kid) else _FETCH_SECONDS)
        for found in self._named(kid):
            if _is_for(found, algorithm):
                name = (kid, algorithm)
                if name not in self._parsed:
                    self._parsed[name] = jwt.PyJWK(found, algorithm)
                return self._parsed[name]
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
        """Fetch the keys unless that was tried just now; whoever calls meanwhile waits for the same answer."""
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
            self._parsed.clear()
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
        transport = self._transport or network(find_proxy(self._url), certificates(), httpx.Limits())
        async with (
            httpx.AsyncClient(transport=transport, headers=headers, timeout=_FETCH_SECONDS) as client,
            client.stream("GET", self._url, follow_redirects=False) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError("not what was asked for")
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _LONGEST_ANSWER:
                    raise ValueError("too long")
        return body


def stated_in(claims: Mapping[str, Any], name: str) -> object:
    """Return what a claim states; `MISSING` where the token does not have it, None where it states two things.

    Args:
        claims: What the token says.
        name: The claim; dots lead to a claim inside another.

    Raises:
        ValueError: What should hold the claim is something else.
    """
    if name not in claims:
        return _inside(claims, name.split("."))
    with suppress(ValueError):
        if _inside(claims, name.split(".")) not in (MISSING, claims[name]):
            return None
    return claims[name]


def _inside(claims: Mapping[str, Any], steps: Sequence[str]) -> object:
    value: object = claims
    for step in steps:
        if not isinstance(value, Mapping):
            raise ValueError("not an object")  # noqa: TRY004 - it is a wrong token, not a wrong call
        if step not in value:
            return MISSING
        value = value[step]
    return value


def scopes_in(claims: Mapping[str, Any], name: str) -> frozenset[Scope]:
    """Return those scopes in a token's claims that are ours.

    Args:
        claims: What the token says.
        name: The claim that holds them; dots lead to a claim inside another. Instead of `scope`, some have `scp`.
    """
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    if value is None and name == "scope":
        value = claims.get("scp")
    given = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(scope for scope in Scope if scope in given)


def _keys_in(answer: bytes) -> list[dict[str, Any]]:
    document = json.loads(answer)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JWKS")  # noqa: TRY004 - it is a wrong answer, not a wrong call
    types = {key_type for key_type, _ in _KEY_TYPES.values()}
    return [key for key in document["keys"] if isinstance(key, dict) and key.get("kty") in types]


def _is_for(key: dict[str, Any], algorithm: str) -> bool:
    key_type, curve = _KEY_TYPES[algorithm]
    return (
        key.get("kty") == key_type
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and "verify" in key.get("key_ops", ["verify"])
    )
