"""JSON-RPC messages as clients send them, and the errors that answer what is not one.

The SDK drops a malformed message silently, or answers in its validator's words, which quote it; and it takes a request
whose `id` is null, a fraction or a boolean for a notification, so the client waits in vain. Here everything that looks
like a request is answered.
"""

import re
from collections.abc import Iterator, Sequence

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import ValidationError
from pydantic_core import from_json

LONGEST_MESSAGE_BYTES = 256 * 1024
"""Longer messages are refused; the longest argument of a tool has some hundred characters."""

_UNREADABLE = (
    "This message cannot be read as JSON: it must be complete (over stdio in one line), in UTF-8, without a byte order "
    "mark or halves of surrogate pairs, and at most 200 levels deep. Nothing was done."
)
_NO_MESSAGE = (
    'This message is no JSON-RPC 2.0 request: it needs "jsonrpc": "2.0", a "method", an "id" that is a text or a whole '
    'number, and "params" that are an object. Nothing was done.'
)
_BATCH = "This server takes one message at a time: batches are no part of MCP any more. Send each by itself."
_TOO_LONG = f"A message may have {LONGEST_MESSAGE_BYTES:,} bytes at most. Nothing was done."
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A string, whole or cut off by the end of the line, or a run of brackets; what lies between does not matter.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{\[]++|[}\]]++', re.DOTALL)
_ID_VALUE = re.compile(rb'\s*+:\s*+("(?:[^"\\]++|\\.)*+"|-?[0-9]++)\s*+[,}]', re.DOTALL)


class MalformedError(Exception):
    """What was received is not a JSON-RPC message.

    Args:
        code: The error code of JSON-RPC.
        sentence: What is wrong.
        ids: The ids of the requests in it, as far as they can be read.
    """

    def __init__(self, code: int, sentence: str, ids: list[RequestId]) -> None:
        super().__init__("not a JSON-RPC message")
        self.code, self.sentence, self.ids = code, sentence, ids

    def answers(self) -> Iterator[JSONRPCError]:
        """Yield the errors to answer with: one for each request in it, or one without an id if no id can be read."""
        to: Sequence[RequestId | None] = self.ids or [None]
        for request_id in to:
            yield _error(self.code, self.sentence, request_id)


def read_message(line: bytes) -> JSONRPCMessage:
    """Read a message from a line or a body.

    Args:
        line: The line without its end; not blank. A byte order mark before it makes it unreadable.

    Returns:
        The message. A client's answer that cannot be read is returned as an error answer to the same question.

    Raises:
        MalformedError: It is not a message.
    """
    try:
        data = from_json(line, allow_inf_nan=False)
    except ValueError:
        raise MalformedError(PARSE_ERROR, _UNREADABLE, _ids_within(line)) from None
    if isinstance(data, list):
        requests = [one for one in data if isinstance(one, dict) and not _is_answer(one)]
        raise MalformedError(INVALID_REQUEST, _BATCH, [one for request in requests for one in _ids_of(request)])
    if not isinstance(data, dict):
        raise MalformedError(INVALID_REQUEST, _NO_MESSAGE, [])
    try:
        if _is_answer(data):
            kind: type[JSONRPCResponse | JSONRPCError] = JSONRPCResponse if "result" in data else JSONRPCError
            return kind.model_validate(data, by_name=False)
        return (JSONRPCRequest if "id" in data else JSONRPCNotification).model_validate(data, by_name=False)
    except ValidationError:
        if not _is_answer(data):
            raise MalformedError(INVALID_REQUEST, _NO_MESSAGE, _ids_of(data)) from None
    # An error sent back would have an id of ours, which may be that of another request of the client.
    return _error(INVALID_REQUEST, "The client's answer could not be read.", next(iter(_ids_of(data)), None))


def too_long(beginning: bytes) -> MalformedError:
    """Return the error for a message that is too long, of which only the beginning was kept."""
    return MalformedError(INVALID_REQUEST, _TOO_LONG, _ids_within(beginning))


def _error(code: int, message: str, request_id: RequestId | None) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))


def _is_answer(data: dict[str, object]) -> bool:
    return "method" not in data and ("result" in data or "error" in data)


def _ids_of(data: dict[str, object]) -> list[RequestId]:
    """Return the id of a message as a list of one; an empty list if it has none that MCP allows."""
    value = data.get("id")
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else []


def _ids_within(line: bytes) -> list[RequestId]:
    """Return the id of a message, or those of a batch, from a line that is not JSON; each id must be complete."""
    found: list[RequestId] = []
    depth, depth_of_members = 0, 2 if line.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[") else 1
    for token in _TOKEN.finditer(line):
        match token[0][:1]:
            case b"{" | b"[":
                depth += len(token[0])
            case b"}" | b"]":
                depth -= len(token[0])
            case _ if depth == depth_of_members and token[0] == b'"id"':
                if value := _ID_VALUE.match(line, token.end()):
                    found += _ids_of({"id": _value(value[1])})
    return found if depth_of_members > 1 else found[:1]


def _value(text: bytes) -> object:
    try:
        value: object = from_json(text)
    except ValueError:
        return None
    return value
