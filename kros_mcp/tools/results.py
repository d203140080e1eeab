"""What the tools answer: strict shapes, and the same told as plain text.

The names here are a contract with clients. Amounts in cents, null where KrosAI does not
say. `render` writes the text from the same fields, so that either of the two alone tells everything.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, WithJsonSchema

from kros_mcp.errors import Known, KrosError
from kros_mcp.krosai import UNROUTED, quoted, wire
from kros_mcp.numbering import spoken
from kros_mcp.operations.model import Action, Operation, Quote, StoredNumber
from kros_mcp.operations.status import Status, WaitsFor
from kros_mcp.tools.item_lines import item_lines

_SENTENCE_ENDS = re.compile(r"(?<=\.) ")
_SAID_IN_SENTENCES = ("expires_at",)
_PARTS = {
    "quote": ("e164", "due_now_cents", "monthly_cents", "endpoint_id"),
    "number": ("number_id", "e164", "status", "endpoint_id"),
}
"""The fields of an act's quote and of its number that stand in the text beside the sentences."""
_WRITTEN_BY_OTHERS = frozenset({"name", "endpoint_name"})
_SAYS_NOTHING: tuple[object, ...] = (None, "", [], {})

Waiting = Annotated[WaitsFor | None, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})]
"""Published without its words: an enum may hold texts alone."""
Rows = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""Published without their fields, which need no tokens."""
Changed = Annotated[Known, WithJsonSchema({"type": "string"})]
"""Published without its words, which are those of `charged` beside it."""


_OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""Published without its fields."""


class Shape(BaseModel):
    """Frozen, and nothing beyond its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(Shape):
    """Every result begins with a sentence that can be spoken."""

    summary: str


class OwnedNumber(Shape):
    """A number of this account; `endpoint_id` is "unrouted" if its calls go nowhere, null if KrosAI does not say."""

    number_id: str
    e164: str
    spoken: str
    country: str | None
    type: str | None
    status: str | None
    endpoint_id: str | None
    endpoint_name: str | None
    allow_inbound: bool | None
    allow_outbound: bool | None
    setup_cents: int | None
    monthly_cents: int | None


class AvailableNumber(Shape):
    """A number for sale."""

    inventory_id: str
    e164: str
    spoken: str
    country: str | None
    type: str | None
    area_code: str | None
    capabilities: list[str] | None
    setup_cents: int | None
    monthly_cents: int | None
    due_now_cents: int | None


class Endpoint(Shape):
    """A place where calls can be routed; its name is upstream text, cleaned."""

    endpoint_id: str
    name: str | None
    type: str | None
    status: str | None


class OwnedNumbers(Result):
    """A page of owned numbers, and what all that were asked for cost together.

    `complete` says whether every number of the account was read: if not, `total` is null, and the sums are of those
    read. `monthly_total_cents` adds up what is known, and is null where nothing is; `unpriced` counts the others.
    `unreadable` counts the records that state no number yet, `hidden` those that fit and have ended. `prices_as_of` is
    when the oldest of the prices was read, here and below in UTC. `warnings` name the numbers whose calls may go
    nowhere, and the endpoints whose name cannot be read aloud.
    """

    numbers: Annotated[list[OwnedNumber], Rows]
    total: int | None
    next_offset: int | None
    complete: bool
    monthly_total_cents: int | None
    unpriced: int
    hidden: int
    unreadable: int
    prices_as_of: str | None
    warnings: list[str]


class AreaOnSale(Shape):
    """An area code among the numbers read, with how many have it; its city where the numbering plan knows it."""

    area_code: str
    city: str | None
    count: int


class CountryOnSale(Shape):
    """What is for sale in a country, by the first of its numbers; null where it was not read.

    `monthly_cents` is the lowest that was read, with that number's `setup_cents`.
    """

    country: str
    name: str
    allowed: bool
    types: list[str] | None
    monthly_cents: int | None
    setup_cents: int | None
    read: int | None
    total: int | None
    complete: bool


class AvailableNumbers(Result):
    """A page of numbers for sale, cheapest first among the `read`; or `countries`, where none was named.

    `complete` says whether everything that is for sale was read. `total` counts what is asked for, by KrosAI's word or
    because all was read.
    """

    numbers: list[AvailableNumber]
    total: int | None
    next_offset: int | None
    read: int
    complete: bool
    area_codes: Annotated[list[AreaOnSale], _OBJECTS]
    countries: Annotated[list[CountryOnSale], _OBJECTS]


class NumberDetails(Result, OwnedNumber):
    """One owned number; `sip_fields` names the SIP credentials that exist, never their values."""

    sip_fields: list[str]
    prices_as_of: str | None
    warnings: list[str]


class Endpoints(Result):
    """Where calls can be routed."""

    endpoints: Annotated[list[Endpoint], Rows]
    total: int | None
    next_offset: int | None


class OwnSpending(Shape):
    """What the caller alone may spend, and has; null limits nothing."""

    daily_budget_cents: int | None
    spent_24h_cents: int
    monthly_commitment_cents: int | None
    monthly_run_rate_cents: int | None


class Spending(Result):
    """Limits in force and what is left of them; `asked_cents` is what the purchases that wait would take of it.

    `confirmation_way` is where this client's person would be asked now: prompt, screen, code or approver; null where
    nobody could be.
    """

    environment: str
    currency: str
    read_only: bool
    max_purchase_cents: int
    daily_budget_cents: int
    spent_24h_cents: int
    daily_room_cents: int
    asked_cents: int
    unknown_operations: int
    monthly_commitment_cents: int | None
    monthly_run_rate_cents: int | None
    unpriced_numbers: int | None
    run_rate_complete: bool
    prices_as_of: str | None
    allowed_countries: list[str]
    confirmation: str
    confirmation_way: str | None
    approval_above_cents: int | None
    own: OwnSpending | None


class ShownQuote(Shape):
    """What was shown; of a batch the totals, and no number, as `items` name them."""

    e164: str | None
    country: str | None
    setup_cents: int | None
    due_now_cents: int | None
    monthly_cents: int | None
    endpoint_id: str | None
    endpoint_name: str | None
    environment: Annotated[Literal["live", "test", "simulator"], WithJsonSchema({"type": "string"})]


Shown = OwnedNumber | None
"""A number as the list shows it; published without its fields, which five tools would repeat."""


class ShownRouting(Shape):
    """How a number is routed; `endpoint_id` as that of an owned number."""

    endpoint_id: str | None
    endpoint_name: str | None
    allow_inbound: bool | None
    allow_outbound: bool | None


class ActedItem(Shape):
    """One number of a batch; before the yes it has no operation of its own.

    `before` is how a number that is changed was routed when that was asked for; null for other acts.
    """

    e164: str
    country: str | None
    operation_id: str | None
    status: Status
    charged: Known
    changed: Known
    due_now_cents: int | None
    monthly_cents: int | None
    number_id: str | None
    before: ShownRouting | None
    not_applied: list[str]
    code: str | None
    message: str | None


ActedItems = Annotated[
    list[ActedItem] | None,
    WithJsonSchema({"anyOf": [{"type": "array"}, {"type": "null"}]}),
]
"""Null for an act on one number; published without its fields."""


class Acted(Result):
    """Where an operation stands; of a batch, `items` tells each number."""

    status: Status
    waits_for: Waiting
    operation_id: str
    quote: ShownQuote
    expires_at: str | None
    confirmation_code: str | None
    charged: Known
    changed: Changed
    number: Shown
    not_applied: list[str]
    decided_through: str | None
    """Where the person, or an approver, said yes or no; null before that, and where nobody had to."""
    items: ActedItems
    warnings: list[str]
    next_step: str


class ChangedItem(Shape):
    """One of several numbers that were changed; `after` is null where that failed (`message`) or is under way."""

    number_id: str
    e164: str
    before: ShownRouting
    after: ShownRouting | None
    not_applied: list[str]
    changed: Known
    code: str | None
    message: str | None


ConfiguredItems = Annotated[
    list[ActedItem] | list[ChangedItem] | None, WithJsonSchema({"anyOf": [{"type": "array"}, {"type": "null"}]})
]
"""Under a yes those of its batch; null for a change of one number."""


class Configured(Result):
    """A change of settings; the operation's fields are null unless the number is protected.

    Of several numbers that are not, `items` tells each, and the fields of one number are null.
    """

    status: Status
    waits_for: Waiting
    before: ShownRouting | None
    after: ShownRouting | None
    not_applied: list[str]
    operation_id: str | None
    quote: ShownQuote | None
    expires_at: str | None
    confirmation_code: str | None
    charged: Known
    changed: Changed
    number: Shown
    decided_through: str | None
    items: ConfiguredItems
    warnings: list[str]
    next_step: str


class ListedOperation(Shape):
    """An operation in a list; `what` is buy, release or configure, `decided_through` where the yes or no came from."""

    operation_id: str
    what: str
    e164: str
    country: str | None
    status: Status
    asked_at: str
    due_now_cents: int | None
    monthly_cents: int | None
    decided_by: str | None
    decided_through: str | None
    batch: str | None


class Operations(Result):
    """A page of the caller's operations; the sums and counts are of all that match, not of the page."""

    operations: Annotated[list[ListedOperation], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
    total: int
    next_offset: int | None
    since: str | None
    charged_cents: int
    unknown_cents: int
    by_status: dict[str, int]


class Failure(Result):
    """Why something was not done, what happened to the money, and what to do next.

    `operation_id` is left out where there is none: no output schema says that it may be null. So are `items`, which
    only a batch has.
    """

    code: str
    message: str
    charged: Known
    changed: Changed
    next_step: str
    operation_id: str = ""
    items: list[ActedItem] = []


def owned(number: wire.PhoneNumber, endpoint_name: str | None = None) -> OwnedNumber:
    """Show an owned number; one that has ended costs nothing any more, whatever its record states.

    Args:
        number: As KrosAI shows it.
        endpoint_name: The name of its endpoint, if that was read.
    """
    ended = number.has_ended
    return OwnedNumber(
        number_id=number.id,
        e164=number.e164,
        spoken=spoken(number.e164),
        country=number.country,
        type=number.type,
        status=number.status,
        endpoint_id=UNROUTED if number.endpoint_id is None and not ended else number.endpoint_id or None,
        endpoint_name=endpoint_name,
        allow_inbound=number.allow_inbound,
        allow_outbound=number.allow_outbound,
        setup_cents=None if ended else number.setup_cents,
        monthly_cents=None if ended else number.monthly_cents,
    )


def routed_before(operation: Operation) -> ShownRouting | None:
    """How a number was routed when a change of it was asked for, so that it can be put back; None for other acts."""
    if operation.action is not Action.CONFIGURE:
        return None
    asked = operation.request
    return ShownRouting(
        endpoint_id=UNROUTED if asked.routed_endpoint_id == "" else asked.routed_endpoint_id,
        endpoint_name=None,
        allow_inbound=asked.inbound_before,
        allow_outbound=asked.outbound_before,
    )


def stored(number: StoredNumber | None, quote: Quote) -> OwnedNumber | None:
    """Show a number as the journal keeps it; its endpoint by the name that was shown, if it is the wanted one."""
    if number is None:
        return None
    name = quote.endpoint_name if number.endpoint_id == quote.endpoint_id else ""
    return owned(wire.PhoneNumber(**asdict(number)), name or None)


def available(number: wire.NumberForSale) -> AvailableNumber:
    """Show a number for sale."""
    capabilities = number.capabilities
    return AvailableNumber(
        inventory_id=number.inventory_id,
        e164=number.e164,
        spoken=spoken(number.e164),
        country=number.country,
        type=number.type,
        area_code=number.area_code,
        capabilities=None if capabilities is None else [name for name, has in capabilities.items() if has],
        setup_cents=number.setup_cents,
        monthly_cents=number.monthly_cents,
        due_now_cents=number.due_now_cents,
    )


def answer(result: Result, text: str | None = None) -> CallToolResult:
    """Return a result as text and as structured content.

    Args:
        result: What the tool found or did.
        text: The same for clients that show text alone, beginning with the summary. By default `render` writes it.
    """
    data = result.model_dump(mode="json")
    return CallToolResult(content=[TextContent(type="text", text=text or render(data))], structured_content=data)


def failure(exc: KrosError, items: Sequence[ActedItem] = ()) -> CallToolResult:
    """Return a failure that a model can read and a person can hear; of a batch, `items` tell each number."""
    result = Failure(
        summary=exc.message,
        code=exc.code,
        message=exc.message,
        charged=exc.charged,
        changed=exc.changed,
        next_step=exc.next_step,
        operation_id=exc.operation_id or "",
        items=list(items),
    )
    absent = {name for name in ("operation_id", "items") if not getattr(result, name)}
    data = result.model_dump(mode="json", exclude=absent)
    return CallToolResult(
        content=[TextContent(type="text", text=render(data, leave_out=("message",)))],
        structured_content=data,
        is_error=True,
    )


def without_steps(result: CallToolResult, tools: Collection[str]) -> CallToolResult:
    """Leave out of what comes next each sentence that names one of these tools, which the caller may not use."""
    data = result.structured_content or {}
    step = data.get("next_step") or ""
    kept = " ".join(said for said in _SENTENCE_ENDS.split(step) if not any(tool in said for tool in tools))
    if kept == step:
        return result
    texts = [part.text.replace(step, kept) for part in result.content if isinstance(part, TextContent)]
    content = [TextContent(type="text", text=text.removesuffix("\nnext_step: ").rstrip()) for text in texts]
    return result.model_copy(update={"content": content, "structured_content": {**data, "next_step": kept}})


def render(data: dict[str, Any], *, leave_out: tuple[str, ...] = ()) -> str:
    """Write a result's data as text: the spoken sentence, then one line for each field that says something.

    What is null or empty is left out, here as in rows; so is what the sentences say already.
    """
    left_out = {"summary", *leave_out, *_SAID_IN_SENTENCES, *(["quote"] if data.get("number") else [])}
    lines = [data["summary"]]
    for name, value in data.items():
        if name in left_out or value in _SAYS_NOTHING:
            continue
        if name == "items":
            lines.extend(item_lines(value))
            continue
        if name == "warnings":
            lines.append(f"{name}: {' '.join(value)}")
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{name}:")
            lines.extend(f"{place}. {_flat(item)}" for place, item in enumerate(value, start=1))
        elif told := _flat(_part(name, value)):
            lines.append(f"{name}: {told}")
    return "\n".join(lines)


def _part(field: str, value: object) -> object:
    """Return of a number or a quote what its sentence does not tell."""
    if not isinstance(value, dict) or field not in _PARTS:
        return value
    goes_nowhere = wire.has_ended(value.get("status")) or value.get("endpoint_id") == UNROUTED
    return {name: value.get(name) for name in _PARTS[field] if name != "endpoint_id" or not goes_nowhere} | {
        name: on for name, on in value.items() if name.startswith("allow_") and on is False
    }


def _flat(value: object) -> str:
    if isinstance(value, dict):
        said = ((name, item) for name, item in value.items() if item not in _SAYS_NOTHING)
        return "; ".join(f"{name} {_flat(_shown(name, item))}" for name, item in said)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _shown(field: str, value: object) -> object:
    """Quote what others wrote, so that it cannot pass for a further field or row; all else has a form of its own."""
    return quoted(value) if field in _WRITTEN_BY_OTHERS and isinstance(value, str) else value
