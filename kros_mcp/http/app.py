"""The ASGI app: log and Host and Origin around everything; inside them the tools, health and the pages for people."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from kros_mcp.http.access import Access
from kros_mcp.http.bearer_auth import BearerAuth
from kros_mcp.http.callers_organization import CallersOrganization
from kros_mcp.http.challenge import metadata_routes
from kros_mcp.http.health import Health
from kros_mcp.http.host_origin import PROBES, HostOriginMiddleware, ToolsCORSMiddleware, allowed_names
from kros_mcp.http.logs import AccessLog
from kros_mcp.http.mcp_endpoint import McpEndpoint
from kros_mcp.http.persons_routes import persons_routes
from kros_mcp.http.rate_limit import RateLimiter
from kros_mcp.http.sessions import BoundedSessionManager
from kros_mcp.jsonrpc import LONGEST_MESSAGE_BYTES
from kros_mcp.operations.journal import Journal
from kros_mcp.organizations import open_organizations
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Settings
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.subscriptions import Listening

if TYPE_CHECKING:
    import httpx

TOOLS = ("/mcp", "/mcp/")
STREAM_SECONDS = 300.0
"""How long a caller may listen for changes by one request; a token that is taken away stops the next."""


@dataclass(frozen=True)
class Service:
    """An open service: its ASGI app, and what the lifespan opened for it."""

    app: ASGIApp
    runtime: Runtime
    listening: Listening
    sessions: BoundedSessionManager

    def stop(self) -> None:
        """End what would last for as long as somebody likes: streams of changes, and prompts."""
        self.listening.end()
        self.runtime.end_prompts()


@asynccontextmanager
async def open_service(
    settings: Settings,
    access: Access | None,
    *,
    loopback: bool = True,
    stateless: bool = False,
    transport: "httpx.AsyncBaseTransport | None" = None,
    journal: Journal | None = None,
) -> AsyncIterator[Service]:
    """Open journal, runner and app; on leaving, what is being sent is settled first, within a bound.

    Args:
        settings: What the environment decides.
        access: Who may call; None lets everybody in as the principal of the settings.
        loopback: Whether the service listens on this machine alone.
        stateless: Keep no session for legacy clients, so that any replica answers any request of theirs.
        transport: The way to KrosAI. Defaults to what the settings say.
        journal: An open journal, which stays open. Defaults to the one that the settings name.

    Raises:
        KrosError: Something cannot be opened; it says what.
    """
    opened: list[Runtime] = []

    @asynccontextmanager
    async def lifespan(settings: Settings) -> AsyncIterator[Runtime]:
        async with _opened(settings, access, transport, journal) as runtime:
            opened.append(runtime)
            yield runtime

    listening = Listening(STREAM_SECONDS, has_session=False)
    server = build_server(settings, lifespan, listening)
    sessions = BoundedSessionManager(
        server._lowlevel_server,  # noqa: SLF001 - the SDK composes an app of its own, or leaves it to this class
        settings,
        stateless=stateless,
        max_request_body_size=LONGEST_MESSAGE_BYTES,
        resource=access.resource if access else None,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sessions.run())
        sdk = CallersOrganization(StreamableHTTPASGIApp(sessions), opened[0])
        routes = _routes(settings, access, sdk, has_sessions=not stateless)
        if access:
            routes += persons_routes(opened[0], access, loopback=loopback)
        routes += Health(opened[0], access).routes()
        inner = Starlette(routes=routes)
        inner.router.redirect_slashes = False  # behind a proxy that ends TLS it would redirect to plain http
        with_cors = ToolsCORSMiddleware(inner, TOOLS, settings.allowed_origins)
        guarded = HostOriginMiddleware(with_cors, allowed_names(settings, loopback=loopback))
        yield Service(AccessLog(guarded, PROBES), opened[0], listening, sessions)


@asynccontextmanager
async def _opened(
    settings: Settings,
    access: Access | None,
    transport: "httpx.AsyncBaseTransport | None",
    journal: Journal | None,
) -> AsyncIterator[Runtime]:
    """Open the service's own organization, and if callers may name others, what opens those."""
    own_limits, own_scopes = (access.own_limits, access.own_scopes) if access else (None, None)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(
            open_runtime(settings, transport=transport, journal=journal, own_limits=own_limits, own_scopes=own_scopes)
        )
        if access is not None and settings.organization_id is not None:

            def open_one(theirs: Settings, is_known: Callable[[], bool]) -> AbstractAsyncContextManager[Runtime]:
                named = theirs.organization_id
                return open_runtime(
                    theirs,
                    transport=transport,
                    journal=own.account.journal,
                    own_limits=partial(access.own_limits, organization=named),
                    own_scopes=partial(own_scopes, organization=named) if own_scopes else None,
                    is_known=is_known,
                    limits=own.account.client.limits,
                )

            own.others = await stack.enter_async_context(open_organizations(own, open_one, access.knows))
        yield own


def _routes(settings: Settings, access: Access | None, sdk: ASGIApp, *, has_sessions: bool) -> list[BaseRoute]:
    limiter = RateLimiter(settings.requests_per_second, time.monotonic)
    endpoint = McpEndpoint(sdk, access.resource if access else None, limiter, has_sessions=has_sessions)
    tools = BearerAuth(endpoint, access) if access else endpoint
    routes: list[BaseRoute] = [Route(path, tools) for path in TOOLS]
    if access and access.resource and access.issuers:
        routes += metadata_routes(access.resource, access.issuers)
    return routes
