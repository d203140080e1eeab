"""The session of a person: an encrypted cookie that every replica opens, and that no one else can make or read.

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

from kros_mcp.http.sign_in.persons_pages import PAGES, PersonsPage
from kros_mcp.tools.caller import Caller, CallerToken
from kros_mcp.tools.specs import Scope

SESSION_SECONDS = 1800
_PURPOSE = b"kros-mcp pages, session, 2: "
_LONGEST_COOKIE = 4096


@dataclass(frozen=True)
class PageSession:
    """Somebody who is signed in; the form token stands in every form, so that no other page can post one."""

    principal: str
    until: float
    form_token: str
    mark: str
    """The mark of the token that it began with."""
    scope: Scope
    """The one scope of that token."""
    organization: str
    """Whose operations are shown and decided; empty for the service's own."""

    @property
    def caller(self) -> Caller:
        """The person as a caller."""
        return Caller(self.principal, frozenset({self.scope}), self.organization)

    @property
    def pages(self) -> tuple[PersonsPage, ...]:
        """The pages that are open to them."""
        return tuple(page for page in PAGES if self.scope in page.scopes)


class PageSessions:
    """Encrypts sessions into cookies and reads them.

    Args:
        keys: Secrets that replicas share; the first encrypts, all decrypt.
        account: The service's own; a cookie of another account's service is worth nothing.
        clock: Unix seconds, of one clock for all replicas or nearly so.
        secure: Whether browsers keep the cookie from connections without https.
    """

    def __init__(self, keys: Sequence[str], account: str, clock: Callable[[], float], *, secure: bool) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key, account)) for key in keys])
        self._clock = clock
        self._secure = secure

    def begin(self, response: Response, token: CallerToken) -> None:
        """Start a session with a valid token of one scope; the browser keeps it, for each page that is open to it."""
        now = self._clock()
        until = now + SESSION_SECONDS
        if token.expires_at is not None:
            until = min(until, token.expires_at)
        caller = token.caller
        [scope] = caller.scopes
        form_token = secrets.token_urlsafe(24)
        session = PageSession(caller.principal, until, form_token, token.mark, scope, caller.organization)
        encrypted = self._fernet.encrypt_at_time(json.dumps(asdict(session)).encode(), int(now))
        self._set(response, session.pages, encrypted.decode(), max(0, int(until - now)))

    def end(self, response: Response) -> None:
        """Let the browser forget the session, at every page."""
        self._set(response, PAGES, "", 0)

    def read(self, request: Request, page: PersonsPage) -> PageSession | None:
        """Return the session that a request to a page brings; None if it brings none that is ours, valid and for it."""
        encrypted = request.cookies.get(self._cookie(page), "")
        if not encrypted or len(encrypted) > _LONGEST_COOKIE or not encrypted.isascii():
            return None
        try:
            fields = json.loads(self._fernet.decrypt(encrypted))
            session = PageSession(**{**fields, "scope": Scope(fields["scope"])})
        except (InvalidToken, TypeError, KeyError, ValueError):  # the last three, encrypted by another version
            return None
        return session if self._clock() < session.until and session.scope in page.scopes else None

    def _cookie(self, page: PersonsPage) -> str:
        """Return a cookie's name; `__Host-` would need a path that sends it to the tools as well."""
        return f"{'__Secure-' if self._secure else ''}kros-{page.path.removeprefix('/')}"

    def _set(self, response: Response, pages: Sequence[PersonsPage], value: str, seconds: int) -> None:
        for page in pages:
            response.set_cookie(
                self._cookie(page),
                value,
                max_age=seconds,
                path=page.path,
                secure=self._secure,
                httponly=True,
                samesite="strict",
            )


def _derived(key: str, account: str) -> bytes:
    secret = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE + account.encode()).derive(key.encode())
    return base64.urlsafe_b64encode(secret)
