"""An API request, its answer or refusal, independent of HTTP, and how a request is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.records import SimNumber

MAX_LIMIT = 100

_CAMEL_CASE = {
    "endpoint_id": "endpointId",
    "allow_inbound": "allowInbound",
    "allow_outbound": "allowOutbound",
}


class RefusalError(Exception):
    """KrosAI answers with an error; nothing was done. Further `headers` and `fields` of the body may be added."""

    def __init__(self, status: int, error: str, code: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.headers: dict[str, str] = {}
        self.fields: dict[str, object] = {"error": error, "code": code} if code is not None else {"error": error}


@dataclass(frozen=True)
class ApiCall:
    """One API request, independent of HTTP; `body` is decoded JSON, or the text that was sent instead."""

    operation: str
    id: str
    query: Mapping[str, str]
    body: object
    idempotency_key: str | None


@dataclass(frozen=True)
class Answer:
    """An answer before faults spoil it; None as `body` is an empty body.

    `total` is how many records a list has in all, where it may have to be told.
    """

    status: int
    body: object = None
    total: int | None = None


def read_page(call: ApiCall, default_limit: int) -> tuple[int, int]:
    """Read `limit` and `offset`.

    Raises:
        RefusalError: They are malformed or out of bounds.
    """
    try:
        limit, offset = int(call.query.get("limit", default_limit)), int(call.query.get("offset", 0))
    except ValueError:
        raise RefusalError(400, "limit and offset must be integers") from None
    if not 1 <= limit <= MAX_LIMIT or offset < 0:
        raise RefusalError(400, f"limit must be 1 to {MAX_LIMIT}, offset 0 or more")
    return limit, offset


def fits(thing: SimNumber | InventoryItem, wanted: Mapping[str, str | None]) -> bool:
    """Whether a number has every property that is asked for."""
    return all(value in {None, getattr(thing, name)} for name, value in wanted.items())


def read_fields(call: ApiCall) -> dict[str, Any]:
    """Read the fields of a request's body.

    Raises:
        RefusalError: The body is not a JSON object.
    """
    if not isinstance(call.body, dict):
        raise RefusalError(400, "The request body must be a JSON object")
    return call.body


def read_settings(faults: Faults, call: ApiCall, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read endpoint and flags in either spelling, without those that a fault ignores.

    Raises:
        RefusalError: One is malformed.
    """
    snake = {name: fields[name] for name in _CAMEL_CASE if name in fields}
    camel = {name: fields[other] for name, other in _CAMEL_CASE.items() if other in fields}
    if snake and faults.strikes("ignore_snake_case", call.operation):
        snake = {}
    if camel and faults.strikes("ignore_camel_case", call.operation):
        camel = {}
    settings = camel | snake
    if settings.get("endpoint_id", "") is None and faults.strikes("keeps_endpoint", call.operation):
        del settings["endpoint_id"]
    for name, value in settings.items():
        if not isinstance(value, str | None if name == "endpoint_id" else bool):
            raise RefusalError(400, f"{name} is malformed")
    return settings
