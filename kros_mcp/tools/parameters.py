"""The arguments of the tools: how they are described, read and refused.

Clients differ in what they send for "not given": an empty string, null, or nothing. All are the same
here. Every refusal is one sentence that names what is allowed.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kros_mcp import numbering

_ID = re.compile(r"[!-~]{1,200}")
_TYPES = ("local", "mobile", "toll_free")


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else value


def _read(parse: Callable[[str], str]) -> BeforeValidator:
    """Read a text that may be left out."""

    def read(value: object) -> object:
        text = _text(value)
        return parse(text) if isinstance(text, str) and text else text

    return BeforeValidator(read)


def _identifier(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("must be an id exactly as an earlier result showed it")
    return text


def _number_or_id(text: str) -> str:
    if text.startswith("+"):
        return numbering.parse_e164(text)
    if text.lstrip("0").isdigit() and len(text) >= 7:  # noqa: PLR2004 - the shortest E.164
        raise ValueError("must be an id from list_phone_numbers, or an E.164 number with its plus sign")
    return _identifier(text)


def _type(text: str) -> str:
    name = re.sub(r"[\s-]+", "_", text.lower())
    name = {"tollfree": "toll_free"}.get(name, name)
    if name not in _TYPES:
        raise ValueError(f"must be one of {', '.join(_TYPES)}, or empty for any")
    return name


def _area_code(text: str) -> str:
    if not re.fullmatch(r"0?[0-9]{1,6}", text):
        raise ValueError("must be the digits of an area code, such as 201")
    return text


def _status(text: str) -> str:
    name = text.lower()
    if not re.fullmatch(r"[a-z_]{1,30}", name):
        raise ValueError("must be a status such as active, inactive, suspended or pending")
    return name


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = _text(value)
    if isinstance(text, str):
        return {"": "keep", "true": "on", "false": "off"}.get(text.lower(), text.lower())
    return text


def _or(default: Any) -> BeforeValidator:  # noqa: ANN401 - the default of any argument
    return BeforeValidator(lambda value: default if value is None or value == "" else value)


Country = Annotated[str, _read(numbering.parse_country), Field(description="ISO 3166-1 alpha-2, e.g. NG")]
E164 = Annotated[str, _read(numbering.parse_e164), Field(description="E.164, e.g. +2342015550100")]
InventoryId = Annotated[str, _read(_identifier), Field(description="from search_phone_numbers")]
NumberId = Annotated[
    str, _read(_number_or_id), Field(min_length=1, description="id or E.164 of an owned number")
]
EndpointId = Annotated[str, _read(_identifier), Field(description="from list_endpoints")]
OperationId = Annotated[str, _read(_identifier), Field(min_length=1)]
NumberType = Annotated[str, _read(_type), Field(description="local, mobile or toll_free; empty: any")]
AreaCode = Annotated[str, _read(_area_code), Field(description="digits, e.g. 201")]
Status = Annotated[str, _read(_status), Field(description="e.g. active; empty: any")]
Limit20 = Annotated[int, _or(20), Field(ge=1, le=100, description="1 to 100")]
Limit10 = Annotated[int, _or(10), Field(ge=1, le=100, description="1 to 100")]
Offset = Annotated[int, _or(0), Field(ge=0, le=1_000_000, description="next_offset of the page before")]
OnByDefault = Annotated[bool, _or(True)]  # noqa: FBT003 - the default
OffByDefault = Annotated[
    bool, _or(False), Field(description="also deletes the record; default is a soft release")
]  # noqa: FBT003
Switch = Annotated[Literal["keep", "on", "off"], BeforeValidator(_switch)]
ConfirmationCode = Annotated[
    str,
    BeforeValidator(_text),
    Field(
        description="only from this tool's own result, after the person said yes. Never say it or ask for it"
    ),
]


def refusal(errors: list[Any], schema: dict[str, Any]) -> str:
    """Turn pydantic's findings into plain sentences.

    Args:
        errors: As `ValidationError.errors()` gives them.
        schema: The tool's published input schema, which knows what is allowed.
    """
    properties: dict[str, Any] = schema["properties"]
    return " ".join(dict.fromkeys(_sentence(error, properties) for error in errors))


def _sentence(error: dict[str, Any], properties: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"{name[:60]!r} is not an argument of this tool; it takes {', '.join(properties) or 'none'}."
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
