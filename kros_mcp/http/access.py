"""Who may call, and what they may spend: callers of the tokens file, of an OAuth issuer, or of both."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp.server.auth.provider import TokenVerifier

from kros_mcp.errors import SettingsError
from kros_mcp.http.tokens import TokensFile
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.tools.caller import CallerToken, principal_of
from kros_mcp.tools.specs import Scope

if TYPE_CHECKING:
    import httpx

    from kros_mcp.http.oauth import TrustedIssuer

_PARTS_OF_A_JWT = 3


@dataclass(frozen=True)
class Access:
    """How callers are known.

    `verifier` answers a `CallerToken` or None, and never raises. `resource` identifies this service to
    authorization servers, and `issuers` are those whose tokens it takes; None and empty without OAuth.
    `trouble` says in a sentence why good tokens may be refused at present; None while there is no reason.
    `own_scopes` gives the scopes of a principal of the tokens file as it stands now: none for one that it does not
    name, and None while it cannot be read or there is none.
    `still_has` says whether a principal that signed in with a token of that mark may still have a scope.
    These three take an organization beside the principal, by its name, where it is not the service's own.
    `knows` says whether a caller may come who names an organization, for which those issuers vouched before.
    """

    verifier: TokenVerifier
    own_limits: Callable[..., Limits | None]
    resource: str | None = None
    issuers: tuple[str, ...] = ()
    trouble: Callable[[], str | None] = lambda: None
    own_scopes: Callable[..., frozenset[Scope] | None] | None = None
    still_has: Callable[..., bool] = lambda *_, **__: True
    knows: Callable[[str, Collection[str]], bool] = lambda _organization, _issuers: False


def build_access(
    settings: Settings,
    *,
    transport: "httpx.AsyncBaseTransport | None" = None,
    clock: Callable[[], float] = time.monotonic,
) -> Access:
    """Build the access that the settings ask for.

    Args:
        settings: Name a tokens file, an issuer, or both.
        transport: The way to the issuer's keys. Defaults to the network.
        clock: Seconds that only go forward.

    Raises:
        SettingsError: The settings name neither, or one that cannot be used.
    """
    if settings.tokens_file is None and settings.oauth_issuer is None:
        raise SettingsError(
            "Nobody is known to this service: it has neither KROS_TOKENS_FILE nor KROS_OAUTH_ISSUER.",
            next_step="Make a token with kros-mcp token, or try it on this machine alone with --no-auth.",
        )
    if settings.oauth_organization_claim and settings.organization_id is None:
        raise SettingsError(
            "KROS_OAUTH_ORGANIZATION_CLAIM lets tokens name their organization, so KROS_ORGANIZATION_ID has to name "
            "the service's own: callers without one would else act for whichever KrosAI takes for the first."
        )
    default_limits = Limits(
        daily_budget_cents=settings.principal_daily_budget_cents,
        monthly_commitment_cents=settings.principal_monthly_commitment_cents,
    )
    issuer = _trusted_issuer(settings, transport, clock)
    own = settings.organization_id
    tokens = TokensFile(settings.tokens_file, default_limits, clock, own) if settings.tokens_file else None
    verifier = _TokensAndIssuer(tokens, issuer, default_limits)
    return Access(
        verifier=verifier,
        own_limits=verifier.limits_of,
        resource=f"{settings.public_url}/mcp" if issuer else None,
        issuers=(issuer.issuer,) if issuer else (),
        trouble=verifier.trouble,
        own_scopes=verifier.scopes_of,
        still_has=verifier.still_has,
        knows=verifier.knows,
    )


@dataclass(frozen=True)
class _TokensAndIssuer:
    """Asks the tokens file about a token first, and then the issuer if the token looks like a JWT."""

    tokens: TokensFile | None
    issuer: "TrustedIssuer | None"
    default_limits: Limits

    async def verify_token(self, token: str) -> CallerToken | None:
        caller = await self.tokens.verify_token(token) if self.tokens else None
        if caller is None and self.issuer and token.count(".") == _PARTS_OF_A_JWT - 1:
            caller = await self.issuer.verify_token(token)
        return caller

    def limits_of(self, principal: str, organization: str = "") -> Limits | None:
        if self._is_of_issuer(principal):
            return self.default_limits
        return self.tokens.limits_of(principal, organization) if self.tokens else None

    def scopes_of(self, principal: str, organization: str = "") -> frozenset[Scope] | None:
        return self.tokens.scopes_of(principal, organization) if self.tokens else None

    def still_has(self, principal: str, mark: str, scope: Scope, organization: str = "") -> bool:
        if self._is_of_issuer(principal):
            return True  # only its next token can tell
        return self.tokens is not None and self.tokens.still_has(principal, mark, scope, organization)

    def knows(self, organization: str, issuers: Collection[str]) -> bool:
        if self.tokens is not None and self.tokens.names(organization):
            return True
        return self.issuer is not None and bool(self.issuer.organization_claim) and self.issuer.issuer in issuers

    def trouble(self) -> str | None:
        return (self.tokens.trouble() if self.tokens else None) or (self.issuer.keys.trouble() if self.issuer else None)

    def _is_of_issuer(self, principal: str) -> bool:
        return self.issuer is not None and principal.startswith(principal_of(self.issuer.issuer, ""))


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
    from kros_mcp.http.oauth import IssuerKeys, TrustedIssuer  # noqa: PLC0415 - a tokens file needs no httpx or PyJWT

    keys = IssuerKeys(settings.oauth_jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json", transport, clock)
    return TrustedIssuer(
        issuer,
        audience,
        settings.oauth_algorithms,
        settings.oauth_scope_claim,
        keys,
        settings.oauth_organization_claim,
        settings.organization_id,
    )
