"""Tells clients that a resource has changed: on a stream that they open, or in their legacy session on stdio.

What is told is a URI alone. Streams are bounded in number and, over HTTP, in time, so that idle ones hold no service
up and none outlives the token that opened it for long.
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY, ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from kros_mcp.operations.change_feed import Change, ChangeFeed
from kros_mcp.operations.model import Operation
from kros_mcp.tools.call import Runtime, calling_principal, calling_runtime, find_own
from kros_mcp.tools.resources import NUMBERS, SPENDING, is_readable, operation_of, operation_uri

MOST_STREAMS = 200
MOST_STREAMS_OF_ONE = 20
MOST_URIS = 10
"""Resources that one stream, or one legacy session, may wait for: each operation is looked at every second."""

Ctx = ServerRequestContext[Runtime, Any]


class Listening:
    """Everybody who listens to one server.

    Args:
        longest_seconds: How long a stream may last; its client opens the next. Defaults to as long as the client likes.
        has_session: Whether a legacy client can be told at any time, which it can on stdio alone.
    """

    def __init__(self, longest_seconds: float = math.inf, *, has_session: bool = True) -> None:
        self.has_session = has_session
        self._longest_seconds = longest_seconds
        self._streams: dict[anyio.CancelScope, tuple[str, str]] = {}
        self._session = _Session()

    async def listen(self, ctx: Ctx, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve `subscriptions/listen`: one call is one stream.

        Raises:
            MCPError: The stream waits for too much, or too many are open.
        """
        here = calling_runtime(ctx.lifespan_context)
        principal = calling_principal(here)
        caller = (here.account.id, principal)
        uris = _readable(params.notifications.resource_subscriptions or [])
        if list(self._streams.values()).count(caller) >= MOST_STREAMS_OF_ONE or len(self._streams) >= MOST_STREAMS:
            raise MCPError(INVALID_REQUEST, "Too many streams are open; end one, or read the resource again instead.")
        changes = here.account.changes
        # Nothing else here ever changes, so nothing else is acknowledged.
        honored = params.model_copy(update={"notifications": SubscriptionFilter(resource_subscriptions=uris or None)})
        with anyio.move_on_after(self._seconds()) as scope:
            self._streams[scope] = caller
            try:
                with changes.watching(await _own(here, uris)):
                    return await ListenHandler(_Bus(changes, principal))(ctx, honored)
            finally:
                del self._streams[scope]
        return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})

    def end(self) -> None:
        """End every stream, as a server does that stops."""
        for scope in list(self._streams):
            scope.cancel()

    async def subscribe(self, ctx: Ctx, params: SubscribeRequestParams) -> EmptyResult:
        """Serve `resources/subscribe` of the legacy protocol.

        Raises:
            MCPError: There is no such resource, or the session waits for too much.
        """
        if not _readable([str(params.uri)]):
            raise MCPError(INVALID_PARAMS, f"There is no resource {str(params.uri)[:100]!r} to subscribe to.")
        await self._session.add(ctx, str(params.uri))
        return EmptyResult()

    async def unsubscribe(self, _ctx: Ctx, params: UnsubscribeRequestParams) -> EmptyResult:
        """Serve `resources/unsubscribe` of the legacy protocol; what is not subscribed to stays so."""
        self._session.remove(str(params.uri))
        return EmptyResult()

    def _seconds(self) -> float:
        token = get_access_token()
        left = math.inf if token is None or token.expires_at is None else token.expires_at - time.time()
        return max(0.0, min(self._longest_seconds, left))


class _Bus:
    """The changes that one principal may hear of, as the SDK's streams take them."""

    def __init__(self, changes: ChangeFeed, principal: str) -> None:
        self._changes = changes
        self._principal = principal

    async def publish(self, event: ServerEvent) -> None:
        """Refuse: what changes is told by the journal's own side."""
        raise NotImplementedError

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Tell a listener from now on; the answer ends that."""

        def hear(change: Change) -> None:
            for uri in _uris(change, self._principal):
                listener(ResourceUpdated(uri=uri))

        stack = ExitStack()
        stack.enter_context(self._changes.heard_by(hear))
        return stack.close


class _Session:
    """What the one legacy session of a server on stdio has subscribed to."""

    def __init__(self) -> None:
        self._uris: dict[str, ExitStack] = {}
        self._waiting: set[str] = set()
        self._came = anyio.Event()
        self._serving = False

    async def add(self, ctx: Ctx, uri: str) -> None:
        here = calling_runtime(ctx.lifespan_context)
        own = await _own(here, [uri])
        if uri in self._uris:
            return
        if len(self._uris) >= MOST_URIS:
            raise MCPError(INVALID_REQUEST, f"A session may subscribe to {MOST_URIS} resources; unsubscribe from one.")
        changes, principal = here.account.changes, calling_principal(here)

        def hear(change: Change) -> None:
            if uri in _uris(change, principal):
                self._waiting.add(uri)
                self._came.set()

        stack = self._uris[uri] = ExitStack()
        stack.enter_context(changes.watching(own))
        stack.enter_context(changes.heard_by(hear))
        if not self._serving:
            self._serving = True
            here.runner.beside(lambda: self._tell(ctx.session))

    def remove(self, uri: str) -> None:
        if (stack := self._uris.pop(uri, None)) is not None:
            stack.close()

    async def _tell(self, session: ServerSession) -> None:
        """Tell what has changed, once however often it did meanwhile, until the server ends."""
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            waiting, self._waiting = self._waiting, set()
            for uri in waiting:
                if uri in self._uris:
                    await session.send_resource_updated(uri)


def _readable(uris: list[str]) -> list[str]:
    if len(uris) > MOST_URIS:
        raise MCPError(INVALID_PARAMS, f"At most {MOST_URIS} resources can be listened to at once.")
    return [uri for uri in dict.fromkeys(uris) if is_readable(uri)]


async def _own(here: Runtime, uris: list[str]) -> list[Operation]:
    """Read those operations among the resources that are the caller's; nobody watches another's, or one that is not."""
    ids = [operation_id for uri in uris if (operation_id := operation_of(uri))]
    return [own for operation_id in ids if (own := await find_own(here, operation_id)) is not None]


def _uris(change: Change, principal: str) -> list[str]:
    """Return the resources that a change is about, as far as this principal may know of it."""
    uris = [NUMBERS] * change.numbers + [SPENDING] * change.spending
    if change.operation_id and change.principal == principal:
        uris.append(operation_uri(change.operation_id))
    return uris
