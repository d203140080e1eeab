"""What of an entry is secret: how it is shown without, and how a client asks for it instead of keeping it in a file."""

from collections.abc import Mapping
from typing import Any

from kros_mcp.commands.setting_fields import described
from kros_mcp.journals.backends import place
from kros_mcp.settings import PREFIX

API_KEY = "KROS_API_KEY"
JOURNAL = "KROS_JOURNAL_URL"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
KEY_PLACEHOLDER = "put your KrosAI API key here"  # the settings know it for a placeholder


def key_wanted(env: Mapping[str, str]) -> dict[str, str]:
    """Return the key's place in an environment, empty; none where the key stands in a file, since both are refused."""
    return {} if f"{API_KEY}_FILE" in env else {API_KEY: ""}


def masked(variable: str, value: str) -> str:
    """Return what a person puts a value in place of; the value itself if it holds no secret."""
    if variable == API_KEY:
        return KEY_PLACEHOLDER
    if is_secret(variable):
        return "put its value here"
    is_database = variable == JOURNAL and not value.startswith("sqlite:")
    seen = place(value) if is_database else without_login(variable, value)
    return value if seen == value else f"put the address of {seen} here"


def shown(variable: str, value: str) -> str:
    """Return a value as a person may read it."""
    if is_secret(variable):
        return "***"
    return place(value) if variable == JOURNAL else without_login(variable, value)


def is_secret(variable: str) -> bool:
    """Whether a setting of ours, beside the key and the journal, is never shown."""
    return variable != JOURNAL and any(field.secret for field in described().values() if field.variable == variable)


def without_login(variable: str, value: str) -> str:
    """Return a variable's value without the login of a proxy, if it is a proxy's address and holds one."""
    scheme, separator, rest = value.rpartition("://")
    _, has_login, address = rest.rpartition("@")
    return f"{scheme}{separator}***@{address}" if has_login and variable.upper() in PROXIES else value


def asked_for(name: str, env: dict[str, str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return an environment with a question in place of each secret, and the questions, as VS Code writes them.

    Args:
        name: The server's name, so that two servers are asked for each by itself.
        env: The environment with its secrets.
    """
    secrets = [variable for variable, value in env.items() if masked(variable, value) != value]
    ids = {variable: f"{name}-{variable.removeprefix(PREFIX).lower().replace('_', '-')}" for variable in secrets}
    questions = [
        {"type": "promptString", "id": asked, "description": f"{variable} for {name}", "password": True}
        for variable, asked in ids.items()
    ]
    return env | {variable: f"${{input:{asked}}}" for variable, asked in ids.items()}, questions
