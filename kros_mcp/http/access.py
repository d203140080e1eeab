"""Which tokens are taken, and what their holders may spend."""

from collections.abc import Callable
from dataclasses import dataclass

from mcp.server.auth.provider import TokenVerifier

from kros_mcp.operations.model import Limits


def _no_trouble() -> str | None:
    return None


def _as_far_as_is_known(principal: str, mark: str) -> bool:
    del principal, mark
    return True


@dataclass(frozen=True)
class Access:
    """How callers are known.

    `verifier` answers a `CallerToken` or None, and never raises. `resource` identifies this service to
    authorization servers, and `issuers` are those whose tokens it takes; None and empty without OAuth.
    `trouble` says in a sentence why good tokens may be refused at present; None while there is no reason.
    `names_callers` says whether a tokens file says who is known, and can be read now.
    `still_approves` says whether a principal that signed in with a token of that mark may be an approver still.
    """

    verifier: TokenVerifier
    own_limits: Callable[[str], Limits | None]
    resource: str | None = None
    issuers: tuple[str, ...] = ()
    trouble: Callable[[], str | None] = _no_trouble
    names_callers: Callable[[], bool] = lambda: False
    still_approves: Callable[[str, str], bool] = _as_far_as_is_known
