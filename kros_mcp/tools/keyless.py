"""What a server on stdio does without an API key: it starts, and every tool says what is missing.

A server that does not start shows in most clients as "Connection closed", which tells the person nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    ReadResourceRequestParams,
    RequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
)

from kros_mcp.errors import SettingsError
from kros_mcp.settings import Settings
from kros_mcp.tools import results

_NEED_THE_KEY: tuple[tuple[str, type[RequestParams]], ...] = (
    ("resources/read", ReadResourceRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("subscriptions/listen", SubscriptionsListenRequestParams),
    ("completion/complete", CompleteRequestParams),
)


def missing_key() -> SettingsError:
    """Return the error that there is no key, and where a client takes it from."""
    return SettingsError(
        "This server has no KrosAI API key yet, so it can do nothing; nothing was charged or changed.",
        code="API_KEY_MISSING",
        next_step="Tell the person that KROS_API_KEY is not set, or still holds a placeholder: it belongs in the env "
        "of this server's entry in the client's configuration (in Claude Desktop under Settings, Developer, Edit "
        "Config, or in the settings of the extension), never in the chat; then restart the client. Do not call again "
        "before that.",
    )


def serve_keyless(server: Server[Any]) -> None:
    """Let every tool tell of the missing key, and let nothing else ask for what was not opened."""
    missing = missing_key()

    async def tell(_ctx: ServerRequestContext[Any, Any], _params: CallToolRequestParams) -> CallToolResult:
        return results.failure(missing)

    async def refuse(_ctx: ServerRequestContext[Any, Any], _params: RequestParams) -> None:
        raise MCPError(INTERNAL_ERROR, missing.message)

    server.add_request_handler("tools/call", CallToolRequestParams, tell)
    for method, params in _NEED_THE_KEY:
        server.add_request_handler(method, params, refuse)


@asynccontextmanager
async def open_nothing(_settings: Settings) -> AsyncIterator[Any]:
    """Open nothing: without a key there is no account, and so neither books nor anything to look after."""
    yield None
