"""What can be read without calling a tool: the same answers, as JSON, for clients that show and keep them.

A resource is its tool's result, so that neither can say what the other does not.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import CallToolResult, Resource, ResourceTemplate

from kros_mcp.errors import KrosError
from kros_mcp.operations.model import is_operation_id
from kros_mcp.tools import read_tools
from kros_mcp.tools.call import ToolContext
from kros_mcp.tools.caller import may_use

NUMBERS: Final = "kros://numbers"
SPENDING: Final = "kros://spending"
OPERATION: Final = "kros://operations/{operation_id}"
_BEFORE_ID: Final = OPERATION.partition("{")[0]
JSON: Final = "application/json"
_MOST_NUMBERS: Final = 100
_Read = Callable[[ToolContext], Awaitable[CallToolResult]]

_RESOURCES = (
    Resource(
        uri=NUMBERS,
        name="numbers",
        title="Phone numbers",
        description="The account's phone numbers, the first hundred; list_phone_numbers reads on.",
        mime_type=JSON,
    ),
    Resource(
        uri=SPENDING,
        name="spending",
        title="Spending",
        description="Limits in force, spent in 24 hours, room left, and what owned numbers cost a month; in cents.",
        mime_type=JSON,
    ),
)
_TEMPLATES = (
    ResourceTemplate(
        uri_template=OPERATION,
        name="operation",
        title="Operation",
        description="How a buy, a release or a protected change of yours stands, or has ended.",
        mime_type=JSON,
    ),
)


def listed() -> list[Resource]:
    """List what the caller may read."""
    return [resource for resource in _RESOURCES if is_readable(resource.uri)]


def templates() -> list[ResourceTemplate]:
    """List the patterns of what the caller may read."""
    return [template for template in _TEMPLATES if may_use("get_operation")]


def operation_uri(operation_id: str) -> str:
    """Return the resource of one operation."""
    return _BEFORE_ID + operation_id


def operation_of(uri: str) -> str:
    """Tell which operation's resource this is, by its id; empty if it is none's."""
    operation_id = uri.removeprefix(_BEFORE_ID)
    return operation_id if uri.startswith(_BEFORE_ID) and is_operation_id(operation_id) else ""


def is_readable(uri: str) -> bool:
    """Whether the caller may read such a resource; of an operation, whether there could be one."""
    return (found := _found(uri)) is not None and may_use(found[0])


async def read(uri: str, ctx: ToolContext) -> str:
    """Read one as JSON text.

    Raises:
        ResourceNotFoundError: There is none of that name, or it is another principal's.
        ResourceError: It could not be read now; a sentence says why.
    """
    missing = ResourceNotFoundError(f"There is no resource {uri[:100]!r}.")
    found = _found(uri)
    if found is None or not may_use(found[0]):
        raise missing
    try:
        result = await found[1](ctx)
    except KrosError as exc:
        if exc.code == "OPERATION_NOT_FOUND":
            raise missing from exc
        raise ResourceError(f"{exc.message} {exc.next_step}") from exc
    return json.dumps(result.structured_content, ensure_ascii=False, indent=1)


def _found(uri: str) -> tuple[str, _Read] | None:
    """Find the tool whose result a resource is, and how it is asked."""
    if uri == NUMBERS:
        return "list_phone_numbers", lambda ctx: read_tools.list_phone_numbers(ctx, limit=_MOST_NUMBERS)
    if uri == SPENDING:
        return "get_spending", read_tools.get_spending
    if operation_id := operation_of(uri):
        return "get_operation", lambda ctx: read_tools.get_operation(ctx, operation_id)
    return None
