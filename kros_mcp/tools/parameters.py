"""The arguments of the tools: how they are described, read and refused.

Clients differ in what they send for "not given": an empty string, null, the words "null" and "none", or nothing. All
are the same here. What some clients put into every call by themselves is left out before anything is read. Every
refusal is one sentence that names what is allowed.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from pydantic import BeforeValidator, Field

from kros_mcp import numbering
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.krosai import UNROUTED, is_id
from kros_mcp.operations import status
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE

_TYPES = ("local", "mobile", "toll_free")
_DAY_SECONDS = 86_400.0
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?")
_FIRST_YEAR = 2000
_UNITS = {"h": 3_600.0, "d": _DAY_SECONDS}
_NOT_GIVEN = frozenset({"", "null", "none"})
_BETWEEN = re.compile(r"[,;\n]+|\s+(?=\+)")
_BETWEEN_NAMES = re.compile(r"[,;\n]+")
_LONGEST_ENDPOINT = 200
_MOST_NAMED = 3
"""Unknown arguments that a refusal names; there may be thousands."""
CLIENTS_OWN = frozenset({"action", "chatInput", "sessionId", "task_progress", "toolCallId"})
"""Arguments that no model chose: n8n and Cline put them into every call, and call again and again where refused."""


async def without_clients_own(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Handle a message without the arguments that its client put in by itself.

    This comes before a prompt's answer is opened: that holds only for the arguments that were asked about.
    """
    arguments = (ctx.params or {}).get("arguments") if ctx.method == "tools/call" else None
    if not isinstance(arguments, dict) or arguments.keys().isdisjoint(CLIENTS_OWN):
        return await call_next(ctx)
    kept = {name: value for name, value in arguments.items() if name not in CLIENTS_OWN}
    return await call_next(replace(ctx, params={**(ctx.params or {}), "arguments": kept}))


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    return "" if text.lower() in _NOT_GIVEN else text


def _read(parse: Callable[[str], str]) -> BeforeValidator:
    """Read a text that may be left out."""

    def read(value: object) -> object:
        text = _text(value)
        return parse(text) if isinstance(text, str) and text else text

    return BeforeValidator(read)


def listed(text: str, most: int, read: Callable[[str], str] = str, *, once: bool = True) -> list[str]:
    """Return what a text names, in its order, with commas, semicolons, blanks or new lines between.

    A phone number that begins with its plus sign may have blanks within.

    Args:
        text: As a model wrote it.
        most: How many it may name.
        read: Reads each of them.
        once: Whether none may be named twice.

    Raises:
        ValueError: A sentence that says what is wrong with it.
    """
    parts = [part.strip() for part in _BETWEEN.split(text) if part.strip()]
    named = [read(word) for part in parts for word in ([part] if part.startswith("+") else part.split())]
    if not named:
        raise ValueError("must name something")
    if len(named) > most:
        raise ValueError(f"names {len(named)}, and one call takes at most {most}; make several calls")
    twice = next((word for place, word in enumerate(named) if once and word in named[:place]), None)
    if twice is not None:
        raise ValueError(f"names {numbering.spoken(twice) if twice.startswith('+') else repr(twice[:60])} twice")
    return named


def _unlisted(value: object) -> object:
    """Return a list of texts, be it written as JSON, as one text with commas between; anything else as it is."""
    found = value
    if isinstance(value, str) and value.strip().startswith("["):
        with suppress(ValueError, RecursionError):
            found = json.loads(value)
    return ",".join(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else value


def _several(read: Callable[[str], str], most: int, *, once: bool = True) -> BeforeValidator:
    """Read a text that may name several, or be left out; a list of texts is taken for one, as JSON too."""

    def read_all(value: object) -> object:
        text = _text(_unlisted(value))
        return ",".join(listed(text, most, read, once=once)) if isinstance(text, str) and text else text

    return BeforeValidator(read_all)


def _identifier(text: str) -> str:
    if not is_id(text):
        raise ValueError("must be an id exactly as an earlier result showed it")
    return text


def _endpoint(text: str) -> str:
    """Read an endpoint's id, its name, or the word for none; a model may have kept the quotation marks of a name."""
    bare = text.strip('"\u201c\u201d ') or text
    if bare.lower() == UNROUTED:
        return UNROUTED
    if len(bare) > _LONGEST_ENDPOINT:
        raise ValueError("must be the id or the name of one endpoint from list_endpoints, or unrouted")
    return bare


def one_each(text: str, count: int) -> list[str]:
    """Return which endpoint each of so many numbers is to have: one for all of them, or one each in their order.

    Raises:
        InvalidArgumentError: It names another number of endpoints.
    """
    if count == 1 or not text:
        return [_endpoint(text) if text else ""] * count
    parts = [_endpoint(part) for part in _BETWEEN_NAMES.split(text) if part.strip()]
    if len(parts) not in {1, count}:
        raise InvalidArgumentError(
            f"endpoint_id names {len(parts)} for {count} numbers: give one for all, or one each in their order. "
            "Nothing was changed."
        )
    return parts * count if len(parts) == 1 else parts


def _endpoints(value: object) -> object:
    """Read what names endpoints, whole: a name may hold a comma where a call is about one number."""
    return _text(_unlisted(value))


def _number_or_id(text: str) -> str:
    return numbering.parse_e164(text) if text.startswith("+") else _identifier(text)


def _sought(text: str) -> str:
    """Read a number that is only to be shown; some digits of one are asked back, or found if no other has them."""
    try:
        return _number_or_id(text)
    except ValueError:
        if text.startswith("+") or not any(each.isdigit() for each in text):
            raise
    numbering.parse_contains(text)
    return text


def _type(text: str) -> str:
    name = re.sub(r"[\s-]+", "_", text.lower())
    name = {"tollfree": "toll_free", "any": ""}.get(name, name)
    if not name:
        return name
    if name not in _TYPES:
        raise ValueError(f"must be one of {', '.join(_TYPES)}, or empty for any")
    return name


def _area_code(text: str) -> str:
    if not re.fullmatch(r"0?[0-9]{1,6}", text):
        raise ValueError("must be the digits of an area code, such as 201")
    return text


def _contains(text: str) -> str:
    return text if numbering.parse_contains(text) else ""


def _status(text: str) -> str:
    name = text.lower()
    if not re.fullmatch(r"[a-z_]{1,30}", name):
        raise ValueError("must be a status such as active, inactive, suspended or pending")
    return name


def _states(text: str) -> str:
    if text.lower() == "any":
        return ""
    try:
        status.read(text.split(","))
    except ValueError:
        raise ValueError("must be a status such as done, unknown, pending or failed, or empty for any") from None
    return text


def _since(text: str) -> str:
    word = text.lower()
    if word == "today" or re.fullmatch(r"[1-9][0-9]{0,3}[hd]", word):
        return word
    try:
        usable = bool(_DATE.fullmatch(text)) and datetime.fromisoformat(text).year >= _FIRST_YEAR
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be today, 24h, 7d, or a date or time such as 2026-05-03")
    return text


def begins(since: str, now: float) -> float | None:
    """Return from when on operations are wanted, in Unix seconds; None for all. Days and times are those of UTC.

    Args:
        since: As `Since` reads it.
        now: The journal's time.
    """
    if not since:
        return None
    if since == "today":
        return now - now % _DAY_SECONDS
    if since[-1] in _UNITS:
        return now - int(since[:-1]) * _UNITS[since[-1]]
    at = datetime.fromisoformat(since)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = _text(value)
    if isinstance(text, str):
        return {"": "keep", "true": "on", "false": "off"}.get(text.lower(), text.lower())
    return text


def _words(value: object) -> str:
    """Read what is only to be shown; nothing that stands there is a reason to refuse a call."""
    return str(_text(value))


def _whole_cents(value: object) -> object:
    """Refuse an amount with a decimal point, which would be read as so many cents."""
    if isinstance(value, str) and ("." in value or "," in value):
        raise ValueError("must be whole cents, as in 1000 for 10.00")
    return value


def _or(default: Any) -> BeforeValidator:  # noqa: ANN401 - the default of any argument
    return BeforeValidator(lambda value: default if _text(value) == "" else value)


_COUNTRY = "ISO code, e.g. NG, KE, GB"
Country = Annotated[str, Field(description=_COUNTRY), _read(numbering.find_country)]
CountryOrAll = Annotated[
    str, Field(description="code or name; empty: what is on sale where"), _read(numbering.find_country)
]
E164 = Annotated[str, Field(description="E.164, e.g. +2342015550100"), _read(numbering.parse_e164)]
SoughtNumber = Annotated[str, Field(min_length=1, description="id or E.164 of an owned number"), _read(_sought)]
MOST_BOUGHT, MOST_RELEASED, MOST_CHANGED = (act.most for act in (SEVERAL_PURCHASE, SEVERAL_RELEASE, SEVERAL_CHANGE))
E164s = Annotated[str, Field(description="E.164, e.g. +2342015550100"), _several(numbering.parse_e164, MOST_BOUGHT)]
InventoryIds = Annotated[
    str,
    Field(description=f"from search_phone_numbers; up to {MOST_BOUGHT} with commas, under one yes"),
    _several(_identifier, MOST_BOUGHT),
]
ReleasedNumbers = Annotated[
    str,
    Field(min_length=1, description=f"id or E.164 of an owned number; up to {MOST_RELEASED} with commas"),
    _several(_number_or_id, MOST_RELEASED),
]
ChangedNumbers = Annotated[
    str,
    Field(min_length=1, description=f"id or E.164 of an owned number; up to {MOST_CHANGED} with commas"),
    _several(_number_or_id, MOST_CHANGED),
]
"""What names several numbers arrives as each of them, read, with a comma between."""
ExactEndpointId = Annotated[str, _read(_identifier)]
EndpointId = Annotated[
    str, Field(description="id or name of list_endpoints"), _read(_endpoint), BeforeValidator(_unlisted)
]
EndpointIds = Annotated[
    str,
    Field(description="id, name or unrouted; one for all, or one each, in their order"),
    BeforeValidator(_endpoints),
]
OperationId = Annotated[str, Field(min_length=1, description="op_… from an earlier result"), _read(_identifier)]
NumberType = Annotated[str, Field(description="local, mobile or toll_free"), _read(_type)]
AnyNumberType = Annotated[str, Field(description="local, mobile or toll_free; empty for any"), _read(_type)]
AreaCode = Annotated[str, Field(description="digits, e.g. 201"), _read(_area_code)]
Contains = Annotated[str, Field(description="digits: 777, 0803* at the start, *7957 at the end"), _read(_contains)]
MostMonthly = Annotated[int, Field(ge=0, description="at most; 0 for any"), _or(0), BeforeValidator(_whole_cents)]
Status = Annotated[str, Field(description="e.g. suspended; any: ended ones too"), _read(_status)]
RouteFilter = Annotated[str, Field(description="id, name or unrouted"), _read(_endpoint), BeforeValidator(_unlisted)]
States = Annotated[
    str, Field(description="e.g. done or unknown; empty for any"), _read(_states), BeforeValidator(_unlisted)
]
Since = Annotated[str, Field(description="today, 24h, 7d or a date (UTC)"), _read(_since)]
Limit20 = Annotated[int, Field(ge=1, le=100, description="1 to 100"), _or(20)]
Limit10 = Annotated[int, Field(ge=1, le=100, description="1 to 100"), _or(10)]
Offset = Annotated[int, Field(ge=0, le=1_000_000, description="from next_offset"), _or(0)]
PlaceInSearch = Annotated[int, Field(ge=0, le=10**15, description="from next_offset"), _or(0)]
OnByDefault = Annotated[bool, _or(True)]  # noqa: FBT003 - the default
Permanent = Annotated[
    bool,
    Field(description="true also deletes the record"),
    _or(False),  # noqa: FBT003 - the default
]
Switch = Annotated[Literal["keep", "on", "off"], BeforeValidator(_switch)]
Reason = Annotated[str, Field(description="why; shown as yours to whoever decides"), BeforeValidator(_words)]
ConfirmationCode = Annotated[
    str,
    Field(
        description="empty at first; then from this tool's result, after the person's yes. "
        "Never say it or ask for it: they say yes or no"
    ),
    BeforeValidator(_text),
]


def e164_or_id(number_id: str) -> tuple[str, str]:
    """Tell an E.164 from an id: one of the two is empty."""
    return (number_id, "") if number_id.startswith("+") else ("", number_id)


def refusal(errors: list[Any], schema: dict[str, Any]) -> str:
    """Turn pydantic's findings into plain sentences.

    Args:
        errors: As `ValidationError.errors()` gives them.
        schema: The tool's published input schema, which knows what is allowed.
    """
    properties: dict[str, Any] = schema.get("properties", {})
    unknown = [str(error["loc"][0])[:60] for error in errors if error["type"] == "extra_forbidden"]
    sentences = [_sentence(error, properties) for error in errors if error["type"] != "extra_forbidden"]
    if unknown:
        sentences.append(_unknown(unknown, properties))
    return " ".join(dict.fromkeys(sentences))


def _unknown(names: list[str], properties: dict[str, Any]) -> str:
    shown = [repr(name) for name in names[:_MOST_NAMED]]
    if len(names) > _MOST_NAMED:
        shown.append(f"{len(names) - _MOST_NAMED:,} more")
    told = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    are_none = "are not arguments" if len(names) > 1 else "is not an argument"
    return f"{told} {are_none} of this tool; it takes {', '.join(properties) or 'none'}."


def _sentence(error: dict[str, Any], properties: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    allowed = properties.get(name, {})
    if error["type"] in {"missing", "string_too_short"}:
        return f"{name} is required: {allowed.get('description', 'see the tool')}."
    if error["type"] == "value_error":
        reason = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
        return f"{name} is not usable: {reason[0].lower() + reason[1:] if reason[:2] == 'A ' else reason}."
    return f"{name} must be {_kind(allowed)}."


def _kind(allowed: dict[str, Any]) -> str:
    if "enum" in allowed:
        return "one of " + ", ".join(allowed["enum"])
    if "minimum" in allowed and "maximum" in allowed:
        return f"a whole number from {allowed['minimum']} to {allowed['maximum']:,}"
    return {"boolean": "true or false", "integer": "a whole number", "string": "a text"}.get(
        allowed.get("type", ""), "valid"
    )
