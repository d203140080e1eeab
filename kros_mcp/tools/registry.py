"""The tools as published: names, annotations, flat input schemas, short output schemas."""

import inspect
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver.tools import Tool

from kros_mcp.tools import guarded_tools, read_tools, search_tool
from kros_mcp.tools.specs import TOOL_SPECS, ToolSpec

_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    read_tools.list_phone_numbers,
    read_tools.get_phone_number,
    search_tool.search_phone_numbers,
    read_tools.list_endpoints,
    read_tools.get_spending,
    guarded_tools.buy_phone_number,
    guarded_tools.configure_phone_number,
    guarded_tools.release_phone_number,
    read_tools.list_operations,
    read_tools.get_operation,
    guarded_tools.cancel_operation,
)


def build_tools() -> list[Tool]:
    """Build every tool, and make sure that no guard has fallen off.

    Raises:
        RuntimeError: A guarded tool lost its resolvers, so that a model could fill in a person's answer.
    """
    tools = [_build(function, TOOL_SPECS[function.__name__]) for function in _FUNCTIONS]
    for tool in tools:
        guarded = set(tool.resolved_params) >= {"found"} and len(tool.resolved_params) > 1
        if TOOL_SPECS[tool.name].is_guarded is not guarded or "found" in tool.parameters["properties"]:
            raise RuntimeError(f"the guard of {tool.name} is missing")
    return tools


def _build(function: Callable[..., Any], spec: ToolSpec) -> Tool:
    description = " ".join((inspect.getdoc(function) or "").split())
    tool = Tool.from_function(function, title=spec.title, description=description, annotations=spec.annotations)
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
    if "items" in value:
        return {"items": value["items"]}
    return _OR_NULL[value["type"]]


def short(schema: dict[str, Any]) -> dict[str, Any]:
    """Flatten an output schema and keep what every result of the tool fulfils, a failure's too.

    Some clients check failures against it as well, so that `summary` alone is required. What the models hold beyond
    that needs no tokens: objects inside are published without their fields.
    """
    flattened = flat(schema)

    def shorten(node: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(node, dict):
            return node
        return {name: shorten(value) for name, value in node.items() if name not in _NOT_PUBLISHED}

    fields = {name: shorten(field) for name, field in flattened["properties"].items()}
    return {"type": "object", "properties": fields, "required": ["summary"]}


_NOT_PUBLISHED = frozenset({"additionalProperties", "description", "properties", "required"})
_LEFT_OUT = frozenset({"$defs", "title", "minLength"})
# True of all that the results hold: no text or list of rows there is empty, and cents and counts are 0 or more.
_OR_NULL: dict[str, dict[str, Any]] = {
    "string": {"pattern": "."},
    "integer": {"minimum": 0},
    "boolean": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    "object": {"minProperties": 1},
    "array": {"minItems": 1},
}
