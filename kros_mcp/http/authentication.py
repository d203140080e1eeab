"""Which ways of authentication the settings ask for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access
from kros_mcp.http.tokens import TokensFile
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.tools.caller import CallerToken, principal_of

if TYPE_CHECKING:
    import httpx

    from kros_mcp.http.oauth import TrustedIssuer

_PARTS_OF_A_JWT = 3


def build_access(
    settings: Settings,
    *,
    transport: "httpx.AsyncBaseTransport | None" = None,
    clock: Callable[[], float] = time.monotonic,
) -> Access:
    """Build what knows the callers.

    Args:
        settings: Name a tokens file, an issuer, or both.
        transport: The way to the issuer's keys. Defaults to the network.
        clock: Seconds that only go forward.

    Raises:
        SettingsError: The settings name no way to know them, or one that cannot be used.
    """
    if settings.tokens_file is None and settings.oauth_issuer is None:
        raise SettingsError(
            "Nobody is known to this service: it has neither KROS_TOKENS_FILE nor KROS_OAUTH_ISSUER.",
            next_step="Make a token with kros-mcp token, or try it on this machine alone with --no-auth.",
        )
    common = Limits(
        daily_budget_cents=settings.principal_daily_budget_cents,
        monthly_commitment_cents=settings.principal_monthly_commitment_cents,
    )
    issuer = _trusted_issuer(settings, transport, clock)
    tokens = TokensFile(settings.tokens_file, common, clock) if settings.tokens_file else None
    ways = _Ways(tokens, issuer, common)
    return Access(
        verifier=ways,
        own_limits=ways.limits_of,
        resource=f"{settings.public_url}/mcp" if issuer else None,
        issuers=(issuer.issuer,) if issuer else (),
        trouble=ways.trouble,
        names_callers=ways.names_callers,
        still_approves=ways.still_approves,
    )


@dataclass(frozen=True)
class _Ways:
    """Both ways at once: the tokens file is asked first, and a JWT's issuer after it."""

    tokens: TokensFile | None
    issuer: "TrustedIssuer | None"
    common: Limits

    async def verify_token(self, token: str) -> CallerToken | None:
        caller = await self.tokens.verify_token(token) if self.tokens else None
        if caller is None and self.issuer and token.count(".") == _PARTS_OF_A_JWT - 1:
            caller = await self.issuer.verify_token(token)
        return caller

    def limits_of(self, principal: str) -> Limits | None:
        if self._is_the_issuers(principal):
            return self.common
        return self.tokens.limits_of(principal) if self.tokens else None

    def names_callers(self) -> bool:
        return self.tokens is not None and self.tokens.trouble() is None

    def still_approves(self, principal: str, mark: str) -> bool:
        if self._is_the_issuers(principal):
            return True  # only its next token can tell
        return self.tokens is not None and self.tokens.still_approves(principal, mark)

    def _is_the_issuers(self, principal: str) -> bool:
        return self.issuer is not None and principal.startswith(principal_of(self.issuer.issuer, ""))

    def trouble(self) -> str | None:
        return (self.tokens.trouble() if self.tokens else None) or (self.issuer.keys.trouble() if self.issuer else None)


def _trusted_issuer(
    settings: Settings, transport: "httpx.AsyncBaseTransport | None", clock: Callable[[], float]
) -> "TrustedIssuer | None":
    issuer = settings.oauth_issuer
    if issuer is None:
        return None
    if "|" in issuer:
        raise SettingsError("KROS_OAUTH_ISSUER is not usable: it holds a |, which parts issuer and subject here.")
    if settings.public_url is None:
        raise SettingsError(
            "KROS_OAUTH_ISSUER needs KROS_PUBLIC_URL, such as https://numbers.example.com: clients are told for which "
            "URL to ask the issuer for a token, and only tokens made out to this service are taken."
        )
    audience = settings.oauth_audience or f"{settings.public_url}/mcp"
    from kros_mcp.http.issuer_keys import IssuerKeys  # noqa: PLC0415 - httpx and PyJWT, which a tokens file needs not
    from kros_mcp.http.oauth import TrustedIssuer  # noqa: PLC0415

    keys = IssuerKeys(settings.oauth_jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json", transport, clock)
    return TrustedIssuer(issuer, audience, settings.oauth_algorithms, settings.oauth_scope_claim, keys)
