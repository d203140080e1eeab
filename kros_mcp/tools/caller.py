"""Who is calling, what they may do, and what they may spend by themselves."""

from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken

from kros_mcp.tools.specs import TOOL_SPECS, Scope

_SEPARATOR = "|"


@dataclass(frozen=True)
class Caller:
    """An authenticated caller; operations, codes and budgets belong to the principal, in its organization.

    `organization` is empty where it is the service's own.
    """

    principal: str
    scopes: frozenset[Scope]
    organization: str = ""

    @property
    def issuer(self) -> str:
        """Who vouches for it."""
        return self.principal.partition(_SEPARATOR)[0]

    @property
    def whole_name(self) -> str:
        """What no other caller is called: a principal of two organizations is two callers."""
        return f"{self.organization}{_SEPARATOR}{self.principal}"

    def may_use(self, tool: str) -> bool:
        """Whether a tool is theirs to call; one that does not exist is nobody's secret."""
        return tool not in TOOL_SPECS or bool(TOOL_SPECS[tool].scopes & self.scopes)


class CallerToken(AccessToken):
    """What the HTTP service makes of a valid bearer token, for the SDK and for us; the token itself is not in it."""

    caller: Caller
    mark: str = ""
    """Tells this token of its holder from earlier and later ones, and is no secret; empty where nothing does."""


def caller_token(
    issuer: str,
    subject: str,
    scopes: frozenset[Scope],
    *,
    client_id: str | None = None,
    expires_at: int | None = None,
    mark: str = "",
    organization: str = "",
) -> CallerToken:
    """Return who bears a valid token.

    Args:
        issuer: Who vouches for the caller.
        subject: What the issuer calls them; with the issuer, it is the principal.
        scopes: What they may do.
        client_id: The program that acts for them; the SDK keeps the sessions of two apart. Defaults to the subject.
        expires_at: Unix time in seconds; None if the token does not expire by itself.
        mark: Tells this token from the holder's earlier and later ones.
        organization: Whose numbers and books they work with; empty for the service's own.
    """
    return CallerToken(
        token="",  # nothing here needs it, and what is not kept can be neither logged nor passed on
        client_id=client_id or subject,
        scopes=sorted(scopes),
        expires_at=expires_at,
        subject=subject,
        # By it the SDK tells whose a session and an answer to a prompt is; an issuer has no |.
        claims={"iss": f"{issuer}{_SEPARATOR}{organization}" if organization else issuer},
        caller=Caller(principal_of(issuer, subject), scopes, organization),
        mark=mark,
    )


def authenticated() -> Caller | None:
    """Who sent the request that is being handled; None on stdio, and over HTTP with `--no-auth`.

    Raises:
        RuntimeError: The request bears a token that is not ours; it is nobody's, rather than anybody's.
    """
    token = get_access_token()
    if token is None:
        return None
    if not isinstance(token, CallerToken):
        raise RuntimeError("a token of an unknown kind")  # noqa: TRY004 - it would be our own mistake, not the caller's
    return token.caller


def may_use(tool: str) -> bool:
    """Whether a tool is for whoever sent the request that is being handled; without tokens every tool is."""
    caller = authenticated()
    return caller is None or caller.may_use(tool)


def principal_of(issuer: str, subject: str) -> str:
    """Return a principal by who vouches for it and whom that calls so; an issuer without | keeps all pairs apart."""
    return f"{issuer}{_SEPARATOR}{subject}"
