"""The approver's session: an encrypted cookie that every replica opens, and that no one else can make or read.

Nothing is stored. A session ends by itself 30 minutes after signing in, and with the token that it began with;
signing out makes the browser forget it.
"""

import base64
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.requests import Request
from starlette.responses import Response

from kros_mcp.tools.caller import Caller, CallerToken
from kros_mcp.tools.specs import Scope

SESSION_SECONDS = 1800
PATH = "/approvals"
_PURPOSE = b"kros-mcp approvals page, session, 1: "
_LONGEST_COOKIE = 4096


@dataclass(frozen=True)
class ApproverSession:
    """A signed-in approver; the form token stands in every form, so that no other page can post one."""

    principal: str
    until: float
    form_token: str
    mark: str
    """The mark of the token that it began with."""
    organization: str = ""
    """Whose operations are shown and decided; empty for the service's own."""

    @property
    def caller(self) -> Caller:
        """The approver as a caller."""
        return Caller(self.principal, frozenset({Scope.APPROVE}), self.organization)


class ApproverSessions:
    """Encrypts sessions into cookies and reads them.

    Args:
        keys: Secrets that replicas share; the first encrypts, all decrypt.
        account: The service's own; a cookie of another account's page is worth nothing.
        clock: Unix seconds, of one clock for all replicas or nearly so.
        secure: Whether browsers keep the cookie from connections without https.
    """

    def __init__(self, keys: Sequence[str], account: str, clock: Callable[[], float], *, secure: bool) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key, account)) for key in keys])
        self._clock = clock
        self._secure = secure
        self.cookie = "__Secure-kros-approvals" if secure else "kros-approvals"
        """Its name; `__Host-` would need a path that sends it to the tools as well."""

    def begin(self, response: Response, token: CallerToken) -> None:
        """Start a session with a valid token; the browser keeps it."""
        now = self._clock()
        until = now + SESSION_SECONDS
        if token.expires_at is not None:
            until = min(until, token.expires_at)
        caller = token.caller
        session = ApproverSession(caller.principal, until, secrets.token_urlsafe(24), token.mark, caller.organization)
        encrypted = self._fernet.encrypt_at_time(json.dumps(asdict(session)).encode(), int(now))
        self._set(response, encrypted.decode(), max(0, int(until - now)))

    def end(self, response: Response) -> None:
        """Let the browser forget the session."""
        self._set(response, "", 0)

    def read(self, request: Request) -> ApproverSession | None:
        """Return the session that a request brings; None if it brings none, or one that is over or not ours."""
        encrypted = request.cookies.get(self.cookie, "")
        if not encrypted or len(encrypted) > _LONGEST_COOKIE or not encrypted.isascii():
            return None
        try:
            session = ApproverSession(**json.loads(self._fernet.decrypt(encrypted)))
        except (InvalidToken, TypeError):  # the latter, encrypted by a version with other fields
            return None
        return session if self._clock() < session.until else None

    def _set(self, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            self.cookie, value, max_age=seconds, path=PATH, secure=self._secure, httponly=True, samesite="strict"
        )


def _derived(key: str, account: str) -> bytes:
    secret = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE + account.encode()).derive(key.encode())
    return base64.urlsafe_b64encode(secret)
