"""The organization of whoever calls: open while its request is handled."""

from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp import telemetry
from kros_mcp.errors import KrosError
from kros_mcp.http.request_body import json_rpc_error
from kros_mcp.tools.call import Runtime, held_open
from kros_mcp.tools.caller import authenticated

_RETRY_SECONDS = 5


class CallersOrganization:
    """Opens the organization of an authenticated caller, or answers 503 if it cannot be opened now.

    Args:
        app: What is called meanwhile.
        runtime: What is open of the service's own, and of others.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(held_open(self._runtime, authenticated()))
            except KrosError as exc:
                telemetry.note_refusal("organization_unavailable")
                await json_rpc_error(503, exc.message, {"retry-after": str(_RETRY_SECONDS)})(scope, receive, send)
                return
            await self._app(scope, receive, send)
