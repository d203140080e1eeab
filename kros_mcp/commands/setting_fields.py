"""The settings of the stdio server as a form or a registry describes them.

Names, descriptions, types, bounds, defaults and secrecy are read from `Settings`, so that each is written once.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo

from kros_mcp.service_settings import ServiceSettings
from kros_mcp.settings import PREFIX, Settings

Kind = Literal["string", "number", "boolean"]
_REQUIRED = "api_key"
_NOT_OF_THE_ENVIRONMENT = "simulator"
_KINDS: dict[str, Kind] = {"integer": "number", "number": "number", "boolean": "boolean"}
_UNITS = {"_cents": " In whole cents: 5000 for 50.00.", "_hours": " In hours.", "_seconds": " In seconds."}


@dataclass(frozen=True)
class Described:
    """One setting: what it is called, what it means, and what it may be."""

    name: str
    description: str
    kind: Kind
    default: str | float | bool | None
    choices: tuple[str, ...]
    least: float | None
    secret: bool
    required: bool
    unit: str = ""
    """The end of the description that tells the unit; empty where there is none."""

    @property
    def variable(self) -> str:
        """The environment variable that it is read from."""
        return PREFIX + self.name.upper()


def described() -> dict[str, Described]:
    """Return the description of every setting that the stdio server reads, in the order of `Settings`."""
    schema = Settings.model_json_schema()
    return {
        name: _described(name, field, _plain(schema, name))
        for name, field in Settings.model_fields.items()
        if name not in ServiceSettings.model_fields and name != _NOT_OF_THE_ENVIRONMENT
    }


def _plain(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema of a property with its reference followed, and without null."""
    found: dict[str, Any] = schema["properties"][name]
    either = [one for one in found.get("anyOf", []) if one.get("type") != "null"]
    inner = schema["$defs"][found["$ref"].rsplit("/", 1)[1]] if "$ref" in found else next(iter(either), {})
    return {**inner, **found}


def _described(name: str, field: FieldInfo, schema: dict[str, Any]) -> Described:
    kind = _KINDS.get(schema.get("type", "string"), "string")
    return Described(
        name=name,
        description=_sentence(name, schema),
        kind=kind,
        default=None if schema.get("default") in (None, "", []) else schema["default"],
        choices=tuple(schema.get("enum", ())),
        least=schema.get("minimum"),
        secret=schema.get("format") == "password" or not field.repr,
        required=name == _REQUIRED,
        unit=_unit(name),
    )


def _sentence(name: str, schema: dict[str, Any]) -> str:
    """Return the description of a setting as a sentence, with its choices and its unit."""
    text: str = schema["description"]
    if schema.get("enum"):
        *others, last = schema["enum"]
        text += f": {', '.join(others)} or {last}"
    first = text.split()[0]
    capital = text[0] if {"_", ":"} & set(first) else text[0].upper()  # kros_live_… and sqlite:// are written so
    return f"{capital}{text[1:]}.{_unit(name)}"


def _unit(name: str) -> str:
    return next((words for ending, words in _UNITS.items() if name.endswith(ending)), "")
