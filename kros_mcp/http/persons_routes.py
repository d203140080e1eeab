"""The routes of all pages that people sign in to."""

import time
from collections.abc import Callable

from starlette.routing import BaseRoute, Route

from kros_mcp.http.access import Access
from kros_mcp.http.approvals.routes import ApprovalsPage
from kros_mcp.http.rate_limit import SignInLimiter
from kros_mcp.http.sign_in.page_sessions import PageSessions
from kros_mcp.http.sign_in.persons_pages import APPROVALS, SPENDING
from kros_mcp.http.sign_in.sign_in import SignIn
from kros_mcp.http.spending_page.spending_routes import SpendingPage
from kros_mcp.pages.guard import SecurityHeadersMiddleware
from kros_mcp.server import state_keys
from kros_mcp.settings import Settings
from kros_mcp.tools.call import Runtime


def persons_routes(
    runtime: Runtime,
    access: Access,
    *,
    loopback: bool,
    clock: Callable[[], float] = time.time,
    limiter_clock: Callable[[], float] = time.monotonic,
) -> list[BaseRoute]:
    """Build the routes of the pages.

    Args:
        runtime: The open service.
        access: Who may sign in.
        loopback: Whether the service listens on this machine alone.
        clock: Unix seconds, for sessions.
        limiter_clock: Seconds that only go forward, for failed sign-ins.
    """
    account, settings = runtime.account, runtime.settings
    secure, limiter = is_secure(settings, loopback=loopback), SignInLimiter(limiter_clock)
    sessions = PageSessions(state_keys(settings), account.id, clock, secure=secure)
    approvals, spending = (SignIn(runtime, access, sessions, limiter, page) for page in (APPROVALS, SPENDING))
    routes: list[BaseRoute] = []
    for page, router in ((APPROVALS, ApprovalsPage(approvals).router()), (SPENDING, SpendingPage(spending).router())):
        guarded = SecurityHeadersMiddleware(router)
        routes += [Route(page.path, guarded), Route(f"{page.path}/{{rest:path}}", guarded)]
    return routes


def is_secure(settings: Settings, *, loopback: bool) -> bool:
    """Whether browsers reach the pages by https, as they must unless it is on their own machine."""
    if settings.public_url:
        return settings.public_url.startswith("https:")
    return not loopback
