"""A page that asks nothing, by which `kros-mcp doctor` tries whether a browser opens here."""

import secrets

import anyio
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from kros_mcp.browser.browser_screen import FETCH_SECONDS
from kros_mcp.browser.launch import forget, launch
from kros_mcp.browser.loopback import HOST, open_loopback
from kros_mcp.browser.visitor import OF_PAGES, OPENING, is_opened_by_person, not_opened, refusal_of
from kros_mcp.pages import rendering
from kros_mcp.pages.guard import SecurityHeadersMiddleware

_STYLED_SECONDS = 2.0
"""How long the page is served on once it was fetched, so that its style is fetched too."""


class _TrialPage:
    """Answers one path, and the style sheet."""

    def __init__(self) -> None:
        self.port = 0
        self.path = OPENING + secrets.token_urlsafe(32)
        self.fetched, self.styled = anyio.Event(), anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        answer = refusal_of(request, self.port)
        if answer is None and request.url.path == "/style.css":
            answer = rendering.style()
            self.styled.set()
        elif answer is None and request.url.path == self.path:
            answer = rendering.page("kros_mcp.browser", "test", follow="", refresh=0)
            if is_opened_by_person(request):
                self.fetched.set()
            else:
                answer = not_opened()
        elif answer is None:
            answer = rendering.page("kros_mcp.browser", "nothing", status=404, follow="", refresh=0, notice="")
        answer.headers["connection"] = "close"
        await SecurityHeadersMiddleware(answer, OF_PAGES)(scope, receive, send)


async def is_page_fetched() -> bool:
    """Open a test page in the person's browser, and return whether it was fetched within five seconds.

    Raises:
        OSError: It cannot be served.
    """
    page = _TrialPage()
    async with open_loopback(page) as port:
        page.port = port
        process = await anyio.to_thread.run_sync(launch, f"http://{HOST}:{port}{page.path}")
        if process is None:
            return False
        try:
            with anyio.move_on_after(FETCH_SECONDS):
                await page.fetched.wait()
            with anyio.move_on_after(_STYLED_SECONDS if page.fetched.is_set() else 0):
                await page.styled.wait()
        finally:
            forget(process)
        return page.fetched.is_set()
