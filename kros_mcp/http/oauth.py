"""OAuth 2.1: JWTs of one issuer, made out to this service and signed with a key that the issuer publishes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from kros_mcp.http.issuer_keys import IssuerKeys
from kros_mcp.tools.caller import CallerToken, Scope, caller_token

logger = logging.getLogger(__name__)

LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""
_LONGEST_SUBJECT = 255


class _UnusableError(Exception):
    """A token that is valid for its issuer, and not for us."""


@dataclass(frozen=True)
class TrustedIssuer:
    """Knows callers by the JWTs of one issuer.

    Every claim is checked anew for each request, so that a token ends when it says, also in the middle of a session.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    scope_claim: str
    keys: IssuerKeys

    async def verify_token(self, token: str) -> CallerToken | None:
        """Say who bears a JWT; None if it is not valid for this service, or cannot be checked."""
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
        if Scope.APPROVE in scopes and len(scopes) > 1:
            raise _UnusableError
        client = claims.get("client_id", claims.get("azp"))
        return caller_token(
            self.issuer,
            _subject(claims["sub"]),
            scopes,
            client_id=client if isinstance(client, str) else None,
            expires_at=int(claims["exp"]),
        )


def scopes_in(claims: Mapping[str, Any], name: str) -> frozenset[Scope]:
    """Read our scopes from a token's claims, and leave out those of others.

    Args:
        claims: What the token says.
        name: A claim, or where dots go deeper, one inside others. Without `scope`, `scp` is read as some have it.
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


def _subject(subject: str) -> str:
    if not subject.strip() or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        raise _UnusableError
    return subject
