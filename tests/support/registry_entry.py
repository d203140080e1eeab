r"""What the MCP registry is told of this server: the text of `server.json`, from the settings themselves.

Renew the file with `RENEW_SNAPSHOTS=1 uv run pytest tests/test_registry_entry.py`. Its form is checked by

    uvx --from 'skillsaw>=0.22,<0.23' \
        skillsaw lint --strict --no-plugins --rule mcp-registry-server-json-valid server.json

which brings the registry's own schema with it, and needs the network to be installed.
"""

from typing import Any

from kros_mcp import __version__
from kros_mcp.commands.setting_fields import Described, described

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
NAMESPACE = "com.example"
"""Nobody's: whoever publishes puts their own in its place, and `mcp-name: NAMESPACE/kros-mcp` into README."""

_NOT_HANDED_OVER = frozenset({"principal"})
"""Settings whose default must not come from outside: who shares a journal has to say who they are."""


def entry() -> dict[str, Any]:
    """Describe the server and the package that brings it, which `uvx` starts on stdio once it is published."""
    return {
        "$schema": SCHEMA,
        "name": f"{NAMESPACE}/kros-mcp",
        "title": "KrosAI phone numbers",
        "description": "Find, buy, configure and release KrosAI phone numbers, with a guard on spending.",
        "version": __version__,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "kros-mcp",
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [_variable(field) for field in described().values()],
            }
        ],
    }


def _variable(field: Described) -> dict[str, Any]:
    told: dict[str, Any] = {"name": field.variable, "description": field.description, "format": field.kind}
    if field.required:
        told["isRequired"] = True
    if field.secret:
        told["isSecret"] = True
    if field.default is not None and field.name not in _NOT_HANDED_OVER:
        told["default"] = str(field.default).lower() if field.kind == "boolean" else str(field.default)
    return told | ({"choices": list(field.choices)} if field.choices else {})
