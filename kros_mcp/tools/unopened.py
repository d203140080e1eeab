"""Answers to prompts that this server cannot open: sealed by another with other keys, expired or tampered with."""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from kros_mcp.errors import ConfirmationError
from kros_mcp.tools import results


async def tell_unopened(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Handle a message; an answer that cannot be opened becomes a result, which the model sees."""
    try:
        return await call_next(ctx)
    except MCPError as exc:
        data = exc.error.data
        if ctx.method != "tools/call" or not isinstance(data, dict) or data.get("reason") != "invalid_request_state":
            raise
    return results.failure(
        ConfirmationError(
            "The answer to the prompt could not be opened here, so by it nothing was charged or changed.",
            code="ANSWER_UNREADABLE",
            next_step="Call again with the same arguments to ask once more. If it happens again, tell the operator: "
            "all replicas of this service need the same KROS_STATE_KEYS.",
        )
    )
