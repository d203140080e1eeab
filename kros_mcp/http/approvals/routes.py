"""The routes of the approvals page: sign in, look, decide, sign out. All of it works without JavaScript."""

import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, Router

from kros_mcp import telemetry
from kros_mcp.errors import InvalidArgumentError, JournalError, KrosError, RefusedError
from kros_mcp.http.access import Access
from kros_mcp.http.approvals.decision import decide
from kros_mcp.http.approvals.session import PATH, ApproverSession, ApproverSessions
from kros_mcp.http.approvals.views import ApprovalViews, page
from kros_mcp.http.bearer_auth import LONGEST_TOKEN
from kros_mcp.http.rate_limit import SignInLimiter
from kros_mcp.http.request_body import ClientGoneError, read_body
from kros_mcp.krosai import clean
from kros_mcp.operations import decisions
from kros_mcp.operations.model import is_operation_id
from kros_mcp.pages.guard import SecurityHeadersMiddleware, is_same_origin
from kros_mcp.pages.rendering import style
from kros_mcp.server import state_keys
from kros_mcp.settings import Settings
from kros_mcp.tools.call import Runtime, held_open
from kros_mcp.tools.caller import CallerToken
from kros_mcp.tools.specs import Scope

logger = logging.getLogger(__name__)

_MOST_FORM_BYTES = 64 * 1024
"""Anybody may send a form, so it holds the longest credential and little more."""
_MOST_FIELDS = 10
_SEE_OTHER = 303
_NOT_SIGNED_IN = "You are not signed in, or no longer. Nothing was decided."
_WRONG = "That credential does not let anybody approve here."
_FOREIGN = "That form did not come from this page, so nothing was done. Try again from here."
_NO_COOKIE = "Your browser kept no session. Away from this machine it does so over https only."
_SIGNED_OUT = "You are signed out."


def approval_routes(
    runtime: Runtime,
    access: Access,
    *,
    loopback: bool,
    clock: Callable[[], float] = time.time,
    limiter_clock: Callable[[], float] = time.monotonic,
) -> list[BaseRoute]:
    """Build the routes of the page.

    Args:
        runtime: The open service.
        access: Who may sign in.
        loopback: Whether the service listens on this machine alone.
        clock: Unix seconds, for sessions.
        limiter_clock: Seconds that only go forward, for failed sign-ins.
    """
    account, settings = runtime.account, runtime.settings
    secure = is_secure(settings, loopback=loopback)
    sessions = ApproverSessions(state_keys(settings), account.id, clock, secure=secure)
    approvals = ApprovalsPage(runtime, access, sessions, SignInLimiter(limiter_clock))
    guarded = SecurityHeadersMiddleware(approvals.router())
    return [Route(PATH, guarded), Route(f"{PATH}/{{rest:path}}", guarded)]


def is_secure(settings: Settings, *, loopback: bool) -> bool:
    """Whether browsers reach the page by https, as they must unless it is on their own machine."""
    if settings.public_url:
        return settings.public_url.startswith("https:")
    return not loopback


class ApprovalsPage:
    """Answers the requests of the page."""

    def __init__(self, runtime: Runtime, access: Access, sessions: ApproverSessions, sign_ins: SignInLimiter) -> None:
        self._runtime = runtime
        self._public_url = runtime.settings.public_url
        self._access = access
        self._sessions = sessions
        self._sign_ins = sign_ins

    def router(self) -> Router:
        """Return the router of the page's paths."""
        return Router(
            redirect_slashes=False,
            routes=[
                Route(PATH, self.show_all, methods=["GET"]),
                Route(f"{PATH}/", self.show_all, methods=["GET"]),
                Route(PATH, self.sign_in, methods=["POST"]),
                Route(f"{PATH}/style.css", self.style, methods=["GET"]),
                Route(f"{PATH}/sign-out", self.sign_out, methods=["POST"]),
                Route(f"{PATH}/{{operation_id}}", self.show_one, methods=["GET"]),
                Route(f"{PATH}/{{operation_id}}", self.decide, methods=["POST"]),
            ],
        )

    async def style(self, _: Request) -> Response:
        """Return the style sheet, to anybody."""
        return style()

    async def show_all(self, request: Request) -> Response:
        """Show what waits, or the form to sign in."""
        session = self._session(request)
        if session is None:
            notices = {"signed-in": _NO_COOKIE, "signed-out": _SIGNED_OUT}
            return page("sign_in", None, to="", notice=notices.get(request.url.query, ""))
        try:
            async with self._views(session) as views:
                overview = await views.overview(session.principal)
        except KrosError as exc:
            return page("trouble", session, status=503, sentence=exc.message)
        return page("list", session, overview=overview, refreshes=request.url.query != "still")

    async def show_one(self, request: Request) -> Response:
        """Show one operation, with the form to decide on it if it waits."""
        operation_id = request.path_params["operation_id"]
        session = self._session(request)
        if session is None:
            return page("sign_in", None, to=operation_id if is_operation_id(operation_id) else "")
        return await self._one(session, operation_id)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session with a credential; whatever is wrong with one, the answer is the same."""
        form = await _form(request)
        to = form.get("to", "") if is_operation_id(form.get("to", "")) else ""
        if not is_same_origin(request, self._public_url):
            telemetry.note_refusal("foreign_form")
            return page("sign_in", None, status=403, to=to, notice=_FOREIGN)
        address = request.client.host if request.client else "unknown"
        seconds = self._sign_ins.begin(address)
        if seconds:
            telemetry.note_refusal("too_many_sign_ins")
            notice = f"Too many sign-ins failed from your address. Try again in {seconds} seconds."
            refused = page("sign_in", None, status=429, to=to, notice=notice)
            refused.headers["retry-after"] = str(seconds)
            return refused
        approver = await self._approver(form.get("credential", "").strip())
        if approver is None:
            logger.warning("approvals page: a sign-in from %s was refused", clean(address))
            telemetry.note_refusal("wrong_credential")
            return page("sign_in", None, status=403, to=to, notice=_WRONG)
        self._sign_ins.succeeded(address)
        telemetry.note_caller(approver.caller.principal, approver.caller.organization)
        response = _see_other(f"{PATH}/{to}" if to else f"{PATH}?signed-in")
        self._sessions.begin(response, approver)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Let the browser forget the session."""
        session, form = self._session(request), await _form(request)
        if session is not None and not self._is_from_page(request, session, form):
            telemetry.note_refusal("foreign_form")
            return page("trouble", session, status=403, sentence=_FOREIGN)
        response = _see_other(f"{PATH}?signed-out")
        self._sessions.end(response)
        return response

    async def decide(self, request: Request) -> Response:
        """Record a decision, and show what became of the operation."""
        operation_id = request.path_params["operation_id"]
        session, form = self._session(request), await _form(request)
        if session is None:
            telemetry.note_refusal("not_signed_in")
            to = operation_id if is_operation_id(operation_id) else ""
            return page("sign_in", None, status=403, to=to, notice=_NOT_SIGNED_IN)
        if not self._is_from_page(request, session, form):
            telemetry.note_refusal("foreign_form")
            return await self._one(session, operation_id, status=403, notice=_FOREIGN)
        reason = decisions.kept(form.get("reason", ""))
        try:
            async with held_open(self._runtime, session.caller) as here:
                decided = await decide(
                    here.account,
                    operation_id,
                    approver=session.principal,
                    digest=form.get("digest", ""),
                    approving=_is_yes(form, reason),
                    reason=reason,
                )
        except KrosError as exc:
            telemetry.note_operation(operation_id if is_operation_id(operation_id) else "", exc.code)
            if exc.code == "OWN_REQUEST":
                telemetry.note_refusal("own_request")
            notice = f"{exc.message} {exc.next_step if exc.code == 'QUOTE_CHANGED' else ''}".strip()
            return await self._one(session, operation_id, status=_status(exc), notice=notice, reason=reason)
        telemetry.note_operation(decided.id, decided.state)
        return _see_other(f"{PATH}/{operation_id}")

    async def _one(
        self, session: ApproverSession, operation_id: str, *, status: int = 200, notice: str = "", reason: str = ""
    ) -> Response:
        try:
            async with self._views(session) as views:
                view = await views.one(operation_id, session.principal) if is_operation_id(operation_id) else None
        except KrosError as exc:
            return page("trouble", session, status=503, sentence=notice or exc.message)
        if view is None:
            return page("trouble", session, status=404, sentence="Nothing of that name was put to approvers here.")
        return page("operation", session, status=status, operation=view, notice=notice, reason=reason)

    @asynccontextmanager
    async def _views(self, session: ApproverSession) -> AsyncIterator[ApprovalViews]:
        """Open what an approver may see: that of their organization alone."""
        async with held_open(self._runtime, session.caller) as here:
            yield ApprovalViews(here.account, here.rates)

    def _session(self, request: Request) -> ApproverSession | None:
        """Return the session of somebody who may still approve, as far as that can be known."""
        session = self._sessions.read(request)
        if session is None:
            return None
        elsewhere = {"organization": session.organization} if session.organization else {}
        if not self._access.still_approves(session.principal, session.mark, **elsewhere):
            return None
        telemetry.note_caller(session.principal, session.organization)
        return session

    def _is_from_page(self, request: Request, session: ApproverSession, form: dict[str, str]) -> bool:
        given = form.get("form_token", "").encode()
        return is_same_origin(request, self._public_url) and hmac.compare_digest(given, session.form_token.encode())

    async def _approver(self, credential: str) -> CallerToken | None:
        """Return whose credential it is, if it permits to approve and nothing else."""
        if not credential or len(credential) > LONGEST_TOKEN or not credential.isascii():
            return None
        token = await self._access.verifier.verify_token(credential)
        if not isinstance(token, CallerToken) or token.caller.scopes != {Scope.APPROVE}:
            return None
        return token


async def _form(request: Request) -> dict[str, str]:
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


def _is_yes(form: dict[str, str], reason: str) -> bool:
    decision = form.get("decision")
    if decision not in {"approve", "deny"}:
        raise InvalidArgumentError("Choose to approve or to deny; nothing was decided.")
    if decision == "deny" and not reason:
        raise InvalidArgumentError("Say why you deny it; the reason is told to whoever asked. Nothing was decided.")
    return decision == "approve"


def _status(exc: KrosError) -> int:
    match exc:
        case InvalidArgumentError():
            return 400
        case RefusedError():
            return 403
        case JournalError():
            return 503
        case _:
            return 404 if exc.code == "OPERATION_NOT_FOUND" else 409


def _see_other(path: str) -> Response:
    return RedirectResponse(path, status_code=_SEE_OTHER)
