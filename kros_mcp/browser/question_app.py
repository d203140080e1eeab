"""What the browser page answers: it opens a question once, shows it, takes the answer, and tells the outcome.

All of it works without JavaScript. Nothing but a question's one-use path and, from then on, its cookie and its form's
token leads to it; there is no page that lists questions.
"""

import hmac
import logging
import math
import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from kros_mcp.browser.question import ALIVE_SECONDS, ASKING, DEAD_SECONDS, REFRESH_SECONDS, Question, Questions
from kros_mcp.browser.visitor import OF_PAGES, OPENING, POLICY, is_opened_by_person, not_opened, refusal_of
from kros_mcp.errors import KrosError, OperationError
from kros_mcp.krosai import clean
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.channels import TurnedDown, answer_on_screen, shown_on_screen
from kros_mcp.operations.confirmation import MAX_TRIES, Answer, yes_to
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.operations.runner import Runner
from kros_mcp.pages import rendering
from kros_mcp.pages.guard import HEADERS, SecurityHeadersMiddleware, is_same_origin
from kros_mcp.pages.operation_view import OperationViews, digest_of
from kros_mcp.times import span

logger = logging.getLogger(__name__)

COOKIE = "kros-question"
_STATE = re.compile(rf"{ASKING}[^/]+/state")
_PACKAGE = "kros_mcp.browser"
_MOST_FORM_BYTES = 4096
_MOST_FIELDS = 10
_RATE_SECONDS = 0.3
"""How long a page waits for what all numbers cost a month; it is read before the page is opened."""
_OUTCOME_SECONDS = 2.0
"""How long the answer to a yes waits for its outcome, before a page says that it is under way."""
MOST_NAMED = 2
"""How many of the questions that wait a page names; it counts all."""
_LONGEST_CLIENT = 60
_SEE_OTHER = 303
_OF_STATES = {
    **HEADERS,
    "content-security-policy": f"{POLICY}; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
_HEADINGS = {
    "confirmation_required": "Under way",
    "awaiting_approval": "Under way",
    "pending": "Under way",
    "done": "Done",
    "partly_done": "Partly done",
    "failed": "Not done",
    "unknown": "Outcome not known yet",
    "declined": "Turned down",
    "cancelled": "Cancelled",
    "expired": "Too late",
}
_FOREIGN = "That did not come from this page, so nothing was decided."
_STALE = "This form is an older one, so nothing was decided. Read it again, and answer here."
_CHANGED = "What is asked has changed since this page was shown, so nothing was decided. Read it again."
_TOO_SOON = "That was quicker than anybody reads, so nothing was decided. Take your time, then press again."
_NEITHER = "That was neither a yes nor a no, so nothing was decided."
_NOT_BEGUN = "Your yes could not be carried out, and nothing was charged or changed."
_NO_COUNT = "Type the last four digits, and how many numbers these are, first. Nothing was decided."
_NO_DIGITS = "Type the number's last four digits first. Nothing was decided."


class QuestionApp:
    """The page of one process, as an ASGI app.

    Args:
        account: The account's resources.
        runner: Carries acts out.
        views: Puts operations into words.
        questions: What is asked.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        account: Account,
        runner: Runner,
        views: OperationViews,
        questions: Questions,
        clock: Callable[[], float],
    ) -> None:
        self.port = 0
        """Where it is served; set before anybody is sent there."""
        self._account = account
        self._runner = runner
        self._views = views
        self._questions = questions
        self._clock = clock
        pages = Router(
            redirect_slashes=False,
            routes=[
                Route("/style.css", _style, methods=["GET"]),
                Route(OPENING + "{path}", self._open, methods=["GET"]),
                Route(ASKING + "{key}", self._show, methods=["GET"]),
                Route(ASKING + "{key}", self._answer, methods=["POST"]),
                Route("/{rest:path}", _nothing, methods=["GET"]),
            ],
        )
        states = Router(redirect_slashes=False, routes=[Route(ASKING + "{key}/state", self._state, methods=["GET"])])
        self._pages = SecurityHeadersMiddleware(pages, OF_PAGES)
        self._states = SecurityHeadersMiddleware(states, _OF_STATES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, on a connection that carries no other one."""
        scope["headers"] = [*scope["headers"], (b"connection", b"close")]
        request = Request(scope, receive)
        if (refusal := refusal_of(request, self.port)) is not None:
            await SecurityHeadersMiddleware(refusal, OF_PAGES)(scope, receive, send)
            return
        await (self._states if _STATE.fullmatch(request.url.path) else self._pages)(scope, receive, send)

    async def _open(self, request: Request) -> Response:
        """Swap a one-use path for the cookie of its question; a second use of it ends the question."""
        if not is_opened_by_person(request):
            return not_opened()
        path = request.path_params["path"]
        question = self._questions.with_path(path)
        if question is None:
            return page("nothing", status=404)
        if not question.open(path):
            await self._end_opened_twice(question)
            return page("gone", question, status=410)
        response = RedirectResponse(question.address, _SEE_OTHER)
        response.set_cookie(self._cookie, question.cookie, path=question.address, httponly=True, samesite="strict")
        return response

    async def _show(self, request: Request) -> Response:
        """Show a question to the tab that opened it, or what has become of it."""
        question = self._opened(request)
        if question is None or not is_opened_by_person(request):
            return page("nothing", status=404)
        return await self._page(question)

    async def _state(self, request: Request) -> Response:
        """Show in a frame of the question's page how long it still waits, and what waits beside it."""
        question = self._opened(request)
        site, to = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-dest")
        if question is None or site not in {None, "same-origin"} or to not in {None, "iframe", "frame"}:
            return page("nothing", status=404)
        question.seen_at = self._clock()
        try:
            await self._reread(question)
            beside = await self._tell_waiting(question) if question.waits else []
        except KrosError:
            return page("state", question, left="", beside=[])
        left = span(question.operation.expires_at - await self._account.journal.now()) if question.waits else ""
        return page("state", question, left=left, beside=beside)

    async def _answer(self, request: Request) -> Response:
        """Take a yes or a no, each from the newest form of the tab that opened the question."""
        question = self._opened(request)
        if question is None or not is_same_origin(request, None):  # whose body is not waited for
            return page("nothing", status=403, notice=_FOREIGN)
        form = await _form(request)
        given = form.get("form_token", "").encode()
        if not hmac.compare_digest(given, question.form_token.encode()):
            return await self._page(question, status=403, notice=_STALE)
        async with question.answering:
            try:
                return await self._decide(question, form)
            except KrosError as exc:
                return await self._page(question, status=503, notice=exc.message)

    async def _decide(self, question: Question, form: dict[str, str]) -> Response:
        try:
            # Whatever the page showed: an answer counts only while this is to be asked here, and as it stands now.
            operation = await self._shown(question) if question.waits else question.operation
        except OperationError:
            return await self._page(question)
        if question.waits:
            decision = form.get("decision", "")
            if decision == "yes" and (refusal := self._refused(question, operation, form)):
                return await self._page(question, status=409, notice=refusal)
            if decision not in {"yes", "no"}:
                return await self._page(question, status=400, notice=_NEITHER)
            await self._settle(question, State.DECLINED if decision == "no" else _yes(operation, form))
        return RedirectResponse(question.address, _SEE_OTHER)

    def _refused(self, question: Question, operation: Operation, form: dict[str, str]) -> str:
        """Return why a yes is none, and the question is asked again; empty if it is one, or the last of its tries."""
        if not hmac.compare_digest(form.get("digest", "").encode(), digest_of(operation).encode()):
            return _CHANGED
        if self._clock() - question.served_at < DEAD_SECONDS:
            return _TOO_SOON
        if not _yes(operation, form).is_slip(operation):
            return ""
        if missing := _missing(operation, form):
            return missing
        question.tries += 1
        if question.tries > MAX_TRIES:
            return ""
        return f"{act_of(operation).wording.slip} Try {question.tries} of {MAX_TRIES}."

    async def _settle(self, question: Question, answer: Answer | TurnedDown) -> None:
        """Do what was chosen; what stopped a yes before it began is told on the page, which asks again."""
        question.is_answered, question.trouble = True, ""
        try:
            question.operation = await answer_on_screen(self._account, self._runner, question.operation, answer)
        except KrosError:
            question.is_answered = False  # a no that is not written down yet, which the page then tells
            raise
        if question.operation.state is State.PROPOSED:
            try:
                question.operation = await self._runner.wait(question.operation.id, _OUTCOME_SECONDS)
            except KrosError as exc:
                question.trouble = exc.message

    async def _end_opened_twice(self, question: Question) -> None:
        """End a question whose path somebody else has seen, whoever of them was first."""
        async with question.answering:
            if not question.waits:
                return
            question.gone = "twice"
            logger.warning("operation %s: its page was opened twice, so it was cancelled", question.operation.id)
            question.operation = await answer_on_screen(
                self._account, self._runner, question.operation, State.CANCELLED
            )

    async def _page(self, question: Question, *, status: int = 200, notice: str = "") -> Response:
        """Show how a question stands now."""
        now = self._clock()
        question.seen_at = now
        try:
            if question.waits:
                await self._shown(question)
            else:
                await self._reread(question)
        except OperationError:
            await self._reread(question)
            if question.waits:  # put to somebody else meanwhile, or a code was given out
                question.gone = "withdrawn"
        except KrosError as exc:
            return page("trouble", question, status=503, sentence=exc.message, refresh=REFRESH_SECONDS)
        if question.waits:
            shown = await self._question(question, status=status, notice=notice or question.trouble)
            question.served_at = self._clock()
            question.shown.set()
            return shown
        return await self._end_of(question, status=status, notice=notice)

    async def _question(self, question: Question, *, status: int, notice: str) -> Response:
        rate = None
        if question.operation.action.charges:
            with anyio.move_on_after(_RATE_SECONDS):
                rate = await self._views.rate()
        view = await self._views.view(question.operation, "", rate)
        return page(
            "question",
            question,
            status=status,
            operation=view,
            heading=act_of(question.operation).wording.heading,
            notice=notice,
            client=clean(question.client, _LONGEST_CLIENT),
            needs_digits=question.operation.action.one is Action.RELEASE,
        )

    async def _end_of(self, question: Question, *, status: int, notice: str) -> Response:
        """Show what has become of a question, and the way to the next one that waits."""
        view = await self._views.view(question.operation, "", None)
        is_known = question.gone or not view.is_open
        follow = ""
        if is_known and (beside := await self._tell_waiting(question)):
            follow = OPENING + beside[0].path_to_follow()
        elif is_known:
            question.last_page_at = min(question.last_page_at, self._clock())
            question.seen_at = -math.inf  # this page asks for nothing more
        if question.gone == "twice" or (question.gone and question.operation.state is State.PROPOSED):
            return page("gone", question, status=status, notice=notice, follow=follow)
        return page(
            "outcome",
            question,
            status=status,
            notice=notice,
            operation=view,
            heading=_heading(question.operation, view.status),
            is_known=is_known,
            refresh=0 if is_known else REFRESH_SECONDS,
            follow=follow,
        )

    async def _tell_waiting(self, question: Question) -> list[Question]:
        """Return the other questions that wait and have no tab of their own: by this, they are on the screen."""
        told: list[Question] = []
        for other in self._questions.waiting_beside(question):
            if self._clock() - other.seen_at < ALIVE_SECONDS:
                continue
            try:
                if not other.shown.is_set():
                    await self._shown(other)
                elif len(told) < MOST_NAMED:
                    await self._reread(other)
            except OperationError:
                continue
            if other.waits:
                other.told_at = self._clock()
                other.shown.set()
                told.append(other)
        return told

    async def _shown(self, question: Question) -> Operation:
        """Write down that a question is fetched, and return its operation as it stands."""
        question.operation = await shown_on_screen(self._account, question.operation.id)
        return question.operation

    async def _reread(self, question: Question) -> None:
        question.operation = await self._account.journal.get(question.operation.id) or question.operation
        is_begun = self._runner.is_under_way(question.operation.id)
        if question.is_answered and question.operation.state is State.PROPOSED and not is_begun:
            question.is_answered = False  # it can be said again
            question.trouble = f"{_NOT_BEGUN} {question.trouble}".strip()

    def _opened(self, request: Request) -> Question | None:
        """Return the question of an address if the request comes from the tab that opened it."""
        question = self._questions.at(ASKING + request.path_params["key"])
        return question if question and question.is_open_to(self._cookies(request)) else None

    def _cookies(self, request: Request) -> list[str]:
        """Return all cookies of the page's name: another port of this machine may have set some for each path."""
        pairs = (pair.strip().partition("=") for sent in request.headers.getlist("cookie") for pair in sent.split(";"))
        return [value for name, _, value in pairs if name == self._cookie]

    @property
    def _cookie(self) -> str:
        """The name of the cookies; browsers share them between all ports of a machine."""
        return f"{COOKIE}-{self.port}"


def page(name: str, question: Question | None = None, *, status: int = 200, **shown: object) -> HTMLResponse:
    """Render a template; whatever it shows is escaped."""
    words = (
        {}
        if question is None
        else {"what": _in_words(question.operation), "in_words": _in_words, "most_named": MOST_NAMED}
    )
    common = {"question": question, "notice": "", "refresh": 0, "follow": "", **words}
    return rendering.page(_PACKAGE, name, status=status, **{**common, **shown})


def _yes(operation: Operation, form: dict[str, str]) -> Answer:
    """Return the yes that a form is, with what was typed."""
    return yes_to(operation.action, form.get("digits", ""), form.get("count", ""))


def _missing(operation: Operation, form: dict[str, str]) -> str:
    """Return what is to be typed before a yes is one; empty if it was."""
    if operation.action.is_several:
        return "" if form.get("digits", "").strip() and form.get("count", "").strip() else _NO_COUNT
    return "" if form.get("digits", "").strip() else _NO_DIGITS


def _in_words(operation: Operation) -> str:
    wording = act_of(operation).wording
    return f"{wording.verb} {wording.named(operation)}"


def _heading(operation: Operation, status: str) -> str:
    if operation.state is State.DECLINED and operation.decided_through == "screen":
        return "You said no"
    return _HEADINGS[status]


async def _form(request: Request) -> dict[str, str]:
    """Read a form; empty if the body is none, or too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _MOST_FORM_BYTES:
                return {}
    except ClientDisconnect:
        return {}
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


async def _style(_: Request) -> Response:
    return rendering.style()


async def _nothing(_: Request) -> Response:
    return page("nothing", status=404)
