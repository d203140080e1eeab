"""The tools as published: names, annotations, flat input schemas, short output schemas."""

import inspect
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations

from kros_mcp.tools import guarded_tools, read_tools
from kros_mcp.tools.caller import TOOL_SCOPES

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
SPENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
WITHDRAWS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

_TOOLS: tuple[tuple[Callable[..., Any], str, ToolAnnotations], ...] = (
    (read_tools.list_phone_numbers, "List phone numbers", READS),
    (read_tools.get_phone_number, "Show a phone number", READS),
    (read_tools.search_phone_numbers, "Search numbers for sale", READS),
    (read_tools.list_endpoints, "List endpoints", READS),
    (read_tools.get_spending, "Show spending", READS),
    (guarded_tools.buy_phone_number, "Buy a phone number", SPENDS),
    (guarded_tools.configure_phone_number, "Configure a phone number", WRITES),
    (guarded_tools.release_phone_number, "Release a phone number", DESTROYS),
    (read_tools.get_operation, "Show an operation", READS),
    (guarded_tools.cancel_operation, "Cancel an operation", WITHDRAWS),
)
GUARDED = frozenset({"buy_phone_number", "configure_phone_number", "release_phone_number"})


def build_tools() -> list[Tool]:
    """Build every tool, and make sure that no guard has fallen off.

    Raises:
        RuntimeError: A guarded tool lost its resolvers, so that a model could fill in a person's answer.
    """
    tools = [_build(function, title, annotations) for function, title, annotations in _TOOLS]
    for tool in tools:
        guarded = set(tool.resolved_params) >= {"standing"} and len(tool.resolved_params) > 1
        if (tool.name in GUARDED) is not guarded or "standing" in tool.parameters["properties"]:
            raise RuntimeError(f"the guard of {tool.name} is missing")
        if tool.name not in TOOL_SCOPES:
            raise RuntimeError(f"no scope is named for {tool.name}")
    return tools


def _build(function: Callable[..., Any], title: str, annotations: ToolAnnotations) -> Tool:
    description = " ".join((inspect.getdoc(function) or "").split())
    tool = Tool.from_function(function, title=title, description=description, annotations=annotations)
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_config["coerce_numbers_to_str"] = True
    arguments.model_rebuild(force=True)
    tool.parameters = flat(tool.parameters) | {"additionalProperties": False}
    if tool.fn_metadata.output_schema is not None:
        tool.fn_metadata.output_schema = short(tool.fn_metadata.output_schema)
    return tool


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """Inline every reference, and leave out titles and other words that no model needs."""
    definitions: dict[str, Any] = schema.get("$defs", {})

    def inline(node: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(definitions[node["$ref"].rsplit("/", 1)[1]])
        if "anyOf" in node:
            return _or_null(*(inline(one) for one in node["anyOf"] if one.get("type") != "null"))
        kept = {name: value for name, value in node.items() if name not in _LEFT_OUT}
        if "properties" in kept:
            kept["properties"] = {name: inline(value) for name, value in kept["properties"].items()}
            kept["type"] = "object"
        return {name: value if name == "properties" else inline(value) for name, value in kept.items()}

    flattened: dict[str, Any] = inline(schema)
    return flattened


def _or_null(value: dict[str, Any]) -> dict[str, Any]:
    """Write "this or null" by a word that limits the values of one type alone, so that null passes.

    It takes few tokens, and checkers of schemas warn of a field with no word at all, and of a list of types.
    For a boolean there is no such word; and an enum is left to texts, as Gemini refuses any other.
    """
    if value["type"] == "array":
        return {"items": value["items"]}
    return _OR_NULL[value["type"]]


def short(schema: dict[str, Any]) -> dict[str, Any]:
    """Flatten an output schema and keep what every result of the tool fulfils, a failure's too.

    Some clients check failures against it as well, so that `summary` alone is required. What the models
    hold beyond that needs no tokens.
    """
    flattened = flat(schema)

    def shorten(node: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(node, list):
            return [shorten(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            name: {key: shorten(one) for key, one in value.items()} if name == "properties" else shorten(value)
            for name, value in node.items()
            if name not in {"additionalProperties", "description", "required"}
        }

    return {**shorten(flattened), "required": ["summary"]}


_LEFT_OUT = frozenset({"$defs", "title", "minLength"})
# True of all that the results hold: no text there is empty, and cents and counts are 0 or more.
_OR_NULL: dict[str, dict[str, Any]] = {
    "string": {"pattern": "."},
    "integer": {"minimum": 0},
    "boolean": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    "object": {"minProperties": 1},
}
