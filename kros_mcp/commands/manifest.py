"""What Claude Desktop is told of the bundle: how it starts, what it offers, and the form that a person fills in.

The form is MCPB manifest 0.4, https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md.
"""

from typing import Any

from mcp.types import Prompt, PromptMessage, TextContent

from kros_mcp import __version__
from kros_mcp.commands.setting_fields import Described, described
from kros_mcp.server import KrosServer

PYTHON = ">=3.11"
STARTS = "main.py"
ICON = "icon.png"

FORM = {
    "api_key": "KrosAI API key",
    "organization_id": "Organization",
    "currency": "Currency label",
    "max_purchase_cents": "Most for one number (cents)",
    "daily_budget_cents": "Most in 24 hours (cents)",
    "monthly_commitment_cents": "Most a month for all numbers (cents)",
    "confirmation": "How you say yes",
    "approval_above_cents": "Approver needed above (cents)",
    "allowed_countries": "Countries to buy in",
    "protected_numbers": "Protected numbers",
    "read_only": "Read only",
    "allow_unpriced": "Allow numbers without a price",
    "allow_permanent_delete": "Allow permanent deletion",
    "base_url": "KrosAI address",
}
"""Titles of the settings that a person at Claude Desktop may want to change, in the order of the form."""

LEFT_OUT = frozenset(
    {
        "auth_header",
        "journal_url",
        "principal",
        "principal_daily_budget_cents",
        "principal_monthly_commitment_cents",
        "approval_hours",
        "answer_within_seconds",
        "settle_seconds",
    }
)
"""Settings of the stdio server for those who run several of it, or another KrosAI; `kros-mcp install` takes them."""

_HINTS = {
    "api_key": " From the KrosAI dashboard, with the scopes numbers:read, numbers:write and endpoints:read.",
    "confirmation": (
        " Claude Desktop's chat shows no prompts, so prompt refuses every purchase there; approver needs kros-mcp in a "
        "terminal."
    ),
    "read_only": " Nothing is bought, changed or released.",
}
_LONG = (
    "Find, buy, route and release KrosAI phone numbers in conversation. Every purchase and release is written to a "
    "durable journal first, needs a yes, is sent once, and stays within the caps that you set here.\n\n"
    "Keep the approval of `buy_phone_number` and `release_phone_number` on: do not choose *Always allow*."
)


async def manifest(server: KrosServer, description: str) -> dict[str, Any]:
    """Describe the bundle.

    Args:
        server: Whose tools and prompts are told of.
        description: One sentence on what the package is.
    """
    form = {name: described()[name] for name in FORM}
    return {
        "manifest_version": "0.4",
        "name": "kros-mcp",
        "display_name": server.title or server.name,
        "version": __version__,
        "description": description,
        "long_description": _LONG,
        "author": {"name": "The kros-mcp authors"},
        "icon": ICON,
        "server": {
            "type": "uv",
            "entry_point": STARTS,
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", STARTS],
                "env": {field.variable: f"${{user_config.{name}}}" for name, field in form.items()},
            },
        },
        "tools": [{"name": tool.name, "description": tool.description or ""} for tool in await server.list_tools()],
        "prompts": [await _prompt(server, prompt) for prompt in await server.list_prompts()],
        "keywords": ["krosai", "phone numbers", "telephony", "voice agents"],
        "license": "MIT",
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": PYTHON}},
        "user_config": {name: _asked(field) for name, field in form.items()},
    }


def _asked(field: Described) -> dict[str, Any]:
    """Describe one line of the form; what is left out here is unset, and then the settings' own default holds."""
    asked: dict[str, Any] = {
        "type": field.kind,
        "title": FORM[field.name],
        "description": field.description + _HINTS.get(field.name, ""),
        "required": field.required,
    }
    if field.secret:
        asked["sensitive"] = True
    if field.default is not None:
        asked["default"] = field.default
    if field.least is not None:
        asked["min"] = field.least
    return asked


async def _prompt(server: KrosServer, prompt: Prompt) -> dict[str, Any]:
    """Describe one prompt, its text as it is while every argument is left empty; all of them may be."""
    given = await server.get_prompt(prompt.name, {})
    return {
        "name": prompt.name,
        "description": prompt.description or "",
        "arguments": [argument.name for argument in prompt.arguments or []],
        "text": "\n\n".join(_text(message) for message in getattr(given, "messages", [])),
    }


def _text(message: PromptMessage) -> str:
    return message.content.text if isinstance(message.content, TextContent) else ""
