"""The routes of the approvals page: look, and decide. All of it works without JavaScript."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from kros_mcp import telemetry
from kros_mcp.errors import InvalidArgumentError, JournalError, KrosError, RefusedError
from kros_mcp.http.approvals.decision import decide
from kros_mcp.http.approvals.views import ApprovalViews
from kros_mcp.http.sign_in.page_sessions import PageSession
from kros_mcp.http.sign_in.persons_pages import APPROVALS
from kros_mcp.http.sign_in.sign_in import FOREIGN, NOT_SIGNED_IN, SignIn, read_form, see_other
from kros_mcp.operations import decisions
from kros_mcp.operations.model import is_operation_id


class ApprovalsPage:
    """Answers the requests of the page.

    Args:
        sign_in: Who is signed in to it.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def router(self) -> Router:
        """Return the router of the page's paths."""
        path = APPROVALS.path
        return Router(
            redirect_slashes=False,
            routes=[
                *self._sign_in.routes(),
                Route(path, self.show_all, methods=["GET"]),
                Route(f"{path}/", self.show_all, methods=["GET"]),
                Route(f"{path}/{{operation_id}}", self.show_one, methods=["GET"]),
                Route(f"{path}/{{operation_id}}", self.decide, methods=["POST"]),
            ],
        )

    async def show_all(self, request: Request) -> Response:
        """Show what waits, or the form to sign in."""
        session = self._sign_in.session(request)
        if session is None:
            return self._sign_in.ask(request)
        try:
            async with self._views(session) as views:
                overview = await views.overview(session.principal)
        except KrosError as exc:
            return APPROVALS.render("trouble", session=session, status=503, sentence=exc.message)
        return APPROVALS.render("list", session=session, overview=overview, refreshes=request.url.query != "still")

    async def show_one(self, request: Request) -> Response:
        """Show one operation, with the form to decide on it if it waits."""
        session = self._sign_in.session(request)
        if session is None:
            return self._sign_in.ask(request)
        return await self._one(session, request.path_params["operation_id"])

    async def decide(self, request: Request) -> Response:
        """Record a decision, and show what became of the operation."""
        operation_id = request.path_params["operation_id"]
        session, form = self._sign_in.session(request), await read_form(request)
        if session is None:
            telemetry.note_refusal("not_signed_in")
            return self._sign_in.ask(request, status=403, notice=NOT_SIGNED_IN)
        if not self._sign_in.is_from_page(request, session, form):
            telemetry.note_refusal("foreign_form")
            return await self._one(session, operation_id, status=403, notice=FOREIGN)
        reason = decisions.kept(form.get("reason", ""))
        try:
            async with self._sign_in.held(session) as here:
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
        return see_other(f"{APPROVALS.path}/{operation_id}")

    async def _one(
        self, session: PageSession, operation_id: str, *, status: int = 200, notice: str = "", reason: str = ""
    ) -> Response:
        try:
            async with self._views(session) as views:
                view = await views.one(operation_id, session.principal) if is_operation_id(operation_id) else None
        except KrosError as exc:
            return APPROVALS.render("trouble", session=session, status=503, sentence=notice or exc.message)
        if view is None:
            return APPROVALS.render(
                "trouble", session=session, status=404, sentence="Nothing of that name was put to approvers here."
            )
        shown = {"operation": view, "notice": notice, "reason": reason, "longest_reason": decisions.LONGEST_REASON}
        return APPROVALS.render("operation", session=session, status=status, **shown)

    @asynccontextmanager
    async def _views(self, session: PageSession) -> AsyncIterator[ApprovalViews]:
        """Open what an approver may see: that of their organization alone."""
        async with self._sign_in.held(session) as here:
            yield ApprovalViews(here.account, here.rates)


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
