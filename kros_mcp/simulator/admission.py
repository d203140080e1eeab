"""Who may call, and how often: keys, scopes, organization and rate limit.

The codes are those of docs/krosai.md section 5; that KEY_EXPIRED comes with 401, and that an unknown
organization gets a 403 without a code, is INVENTED.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kros_mcp.simulator.calls import RefusalError

FREE_PLAN_PER_SECOND = 10
"""What X-RateLimit-Limit says when no limit is enforced: the Free plan's."""

_SCOPES: Mapping[str, str] = {
    "list_owned": "numbers:read",
    "search": "numbers:read",
    "get": "numbers:read",
    "purchase": "numbers:write",
    "update": "numbers:write",
    "release": "numbers:write",
    "list_endpoints": "endpoints:read",
    "get_endpoint": "endpoints:read",
}
READ_SCOPES = frozenset({"numbers:read", "endpoints:read"})
ALL_SCOPES = READ_SCOPES | {"numbers:write"}


class TooManyRequestsError(RefusalError):
    """A 429, with its Retry-After in seconds as KrosAI would write it."""

    def __init__(self, retry_after: str) -> None:
        super().__init__(429, "Rate limit exceeded", "RATE_LIMIT_EXCEEDED")
        self.headers["Retry-After"] = retry_after
        self.fields["retry_after"] = number_or_text(retry_after)


def number_or_text(retry_after: str) -> float | str:
    """Return a Retry-After as a body states it: seconds as a number, a date as text."""
    try:
        return float(retry_after)
    except ValueError:
        return retry_after


@dataclass
class Admission:
    """The checks that every API request has to pass.

    Args:
        keys: Scopes by key, JWTs of the dashboard among them.
        expired: Keys that once were good.
        organizations: What there is by organization id.
        per_second: How many requests a second are admitted; None for all.
        now: Returns the time in Unix seconds.
    """

    keys: Mapping[str, frozenset[str]]
    expired: frozenset[str]
    organizations: Mapping[str, object]
    per_second: int | None
    now: Callable[[], float]
    _recent: deque[float] = field(default_factory=deque)

    def admit(self, operation: str, headers: Mapping[str, str]) -> None:
        """Check the key, the organization, the rate and the scope, in this order.

        Raises:
            RefusalError: The request goes no further.
        """
        scopes = self._scopes_of(_key_in(headers))
        if headers.get("x-organization-id", next(iter(self.organizations))) not in self.organizations:
            raise RefusalError(403, "No access to this organization")
        self._count()
        if _SCOPES[operation] not in scopes:
            raise RefusalError(403, f"The key lacks the scope {_SCOPES[operation]}", "INSUFFICIENT_SCOPE")

    def headers(self) -> dict[str, str]:
        """Return the X-RateLimit headers as they are now."""
        limit = self.per_second or FREE_PLAN_PER_SECOND
        self._forget()
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - len(self._recent), 0)),
            "X-RateLimit-Reset": str(math.ceil(self.now() + 1)),
        }

    def _scopes_of(self, key: str | None) -> frozenset[str]:
        if not key:
            raise RefusalError(401, "An API key is required", "MISSING_API_KEY")
        if key in self.expired:
            raise RefusalError(401, "The API key has expired", "KEY_EXPIRED")
        if key not in self.keys:
            raise RefusalError(401, "The API key is not valid", "INVALID_API_KEY")
        return self.keys[key]

    def _count(self) -> None:
        self._forget()
        if self.per_second is not None and len(self._recent) >= self.per_second:
            wait = self._recent[0] + 1 - self.now()
            raise TooManyRequestsError(f"{math.ceil(wait * 100) / 100:.2f}")
        self._recent.append(self.now())

    def _forget(self) -> None:
        while self._recent and self._recent[0] <= self.now() - 1:
            self._recent.popleft()


def _key_in(headers: Mapping[str, str]) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else headers.get("x-api-key")
