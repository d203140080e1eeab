"""Which tokens are taken, and what their holders may spend."""

from collections.abc import Callable
from dataclasses import dataclass

from mcp.server.auth.provider import TokenVerifier

from kros_mcp.operations.model import Limits


@dataclass(frozen=True)
class Access:
    """How callers are known.

    `verifier` answers a `CallerToken` or None, and never raises. `resource` identifies this service to
    authorization servers, and `issuers` are those whose tokens it takes; None and empty without OAuth.
    """

    verifier: TokenVerifier
    own_limits: Callable[[str], Limits | None]
    resource: str | None = None
    issuers: tuple[str, ...] = ()
    still_approves: Callable[[str], bool] | None = None
    """Whether a principal that signed in as an approver is one still; None where only its token could tell."""
