"""Signing in to one of the pages for people, and out of all; without JavaScript."""

import hmac
import logging
import re
from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from kros_mcp import telemetry
from kros_mcp.http.access import Access
from kros_mcp.http.bearer_auth import LONGEST_TOKEN
from kros_mcp.http.rate_limit import SignInLimiter
from kros_mcp.http.request_body import ClientGoneError, read_body
from kros_mcp.http.sign_in.page_sessions import PageSession, PageSessions
from kros_mcp.http.sign_in.persons_pages import PersonsPage
from kros_mcp.krosai import clean
from kros_mcp.pages.guard import is_same_origin
from kros_mcp.pages.rendering import style
from kros_mcp.tools.call import Runtime, held_open
from kros_mcp.tools.caller import CallerToken

logger = logging.getLogger(__name__)

FOREIGN = "That form did not come from this page, so nothing was done. Try again from here."
NOT_SIGNED_IN = "You are not signed in, or no longer. Nothing was decided."
_MOST_FORM_BYTES = 64 * 1024
"""Anybody may send a form, so it holds the longest credential and little more."""
_MOST_FIELDS = 10
_SEE_OTHER = 303
_NO_COOKIE = "Your browser kept no session. Away from this machine it does so over https only."
_SIGNED_OUT = "You are signed out."
_WITHIN_THE_PAGE = re.compile(r"(/op_[a-z2-7]{16})?(\?[A-Za-z0-9=&%+._~-]{1,1000})?")


class SignIn:
    """Knows who is signed in to a page, and answers the requests that sign in and out.

    Args:
        runtime: The open service.
        access: Who may sign in.
        sessions: Of all pages.
        limiter: Of failed sign-ins, at all pages together.
        page: The page.
    """

    def __init__(
        self, runtime: Runtime, access: Access, sessions: PageSessions, limiter: SignInLimiter, page: PersonsPage
    ) -> None:
        self.page = page
        self._runtime = runtime
        self._public_url = runtime.settings.public_url
        self._access = access
        self._sessions = sessions
        self._limiter = limiter

    def routes(self) -> list[BaseRoute]:
        """Return the routes that sign in and out, and that of the style sheet, which anybody may read."""
        path = self.page.path
        return [
            Route(path, self.sign_in, methods=["POST"]),
            Route(f"{path}/sign-out", self.sign_out, methods=["POST"]),
            Route(f"{path}/style.css", self.style, methods=["GET"]),
        ]

    def session(self, request: Request) -> PageSession | None:
        """Return the session of somebody whom the page is still open to, as far as that can be known."""
        session = self._sessions.read(request, self.page)
        if session is None:
            return None
        elsewhere = {"organization": session.organization} if session.organization else {}
        if not self._access.still_has(session.principal, session.mark, session.scope, **elsewhere):
            return None
        telemetry.note_caller(session.principal, session.organization)
        return session

    def held(self, session: PageSession) -> AbstractAsyncContextManager[Runtime]:
        """Keep what is open of somebody's organization, and of no other, open while the block lasts.

        Raises:
            KrosError: It cannot be opened now.
        """
        return held_open(self._runtime, session.caller)

    def ask(self, request: Request, *, status: int = 200, notice: str = "") -> Response:
        """Show the form to sign in, which leads to where the request wanted to go."""
        notices = {"signed-in": _NO_COOKIE, "signed-out": _SIGNED_OUT}
        query = request.url.query
        to = request.url.path.removeprefix(self.page.path) + (f"?{query}" if query and query not in notices else "")
        return self._form(to, status=status, notice=notice or notices.get(query, ""))

    def is_from_page(self, request: Request, session: PageSession, form: dict[str, str]) -> bool:
        """Whether a form was sent from a page of this session."""
        given = form.get("form_token", "").encode()
        return is_same_origin(request, self._public_url) and hmac.compare_digest(given, session.form_token.encode())

    async def style(self, _: Request) -> Response:
        """Return the style sheet, to anybody."""
        return style()

    async def sign_in(self, request: Request) -> Response:
        """Begin a session with a credential; whatever is wrong with one, the answer is the same."""
        form = await read_form(request)
        to = form.get("to", "")
        if not is_same_origin(request, self._public_url):
            telemetry.note_refusal("foreign_form")
            return self._form(to, status=403, notice=FOREIGN)
        address = request.client.host if request.client else "unknown"
        seconds = self._limiter.begin(address)
        if seconds:
            telemetry.note_refusal("too_many_sign_ins")
            notice = f"Too many sign-ins failed from your address. Try again in {seconds} seconds."
            refused = self._form(to, status=429, notice=notice)
            refused.headers["retry-after"] = str(seconds)
            return refused
        token = await self._token(form.get("credential", "").strip())
        if token is None:
            logger.warning("%s page: a sign-in from %s was refused", self.page.name.lower(), clean(address))
            telemetry.note_refusal("wrong_credential")
            return self._form(to, status=403, notice=self.page.refusal)
        self._limiter.succeeded(address)
        telemetry.note_caller(token.caller.principal, token.caller.organization)
        response = see_other(self.page.path + (_kept(to) or "?signed-in"))
        self._sessions.begin(response, token)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Let the browser forget the session."""
        session, form = self.session(request), await read_form(request)
        if session is not None and not self.is_from_page(request, session, form):
            telemetry.note_refusal("foreign_form")
            return self.page.render("trouble", session=session, status=403, sentence=FOREIGN)
        response = see_other(f"{self.page.path}?signed-out")
        self._sessions.end(response)
        return response

    def _form(self, to: str, *, status: int, notice: str) -> Response:
        return self.page.render("sign_in", session=None, status=status, to=_kept(to), notice=notice)

    async def _token(self, credential: str) -> CallerToken | None:
        """Return whose credential it is, if it has one scope, and that opens the page."""
        if not credential or len(credential) > LONGEST_TOKEN or not credential.isascii():
            return None
        token = await self._access.verifier.verify_token(credential)
        if not isinstance(token, CallerToken) or len(token.caller.scopes) != 1:
            return None
        return token if token.caller.scopes <= self.page.scopes else None


async def read_form(request: Request) -> dict[str, str]:
    """Read a form; empty if the body is none.

    Raises:
        BodyTooLongError: It is longer than the form's fields can be.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        body = await read_body(request.scope, request.receive, _MOST_FORM_BYTES)
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=_MOST_FIELDS))
    except (ValueError, ClientGoneError):
        return {}


def see_other(path: str) -> Response:
    """Send a browser on, after a form, to a path of this service."""
    return RedirectResponse(path, status_code=_SEE_OTHER)


def _kept(to: str) -> str:
    """Return where somebody wanted to go, behind the page's own path; empty for its beginning and all that is none."""
    return to if _WITHIN_THE_PAGE.fullmatch(to) else ""
