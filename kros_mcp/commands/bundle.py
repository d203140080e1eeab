"""`kros-mcp bundle`: one file that Claude Desktop installs by a double click, and no key in it.

It holds the package as it runs here, its README and licence, and a pyproject.toml made of the installed package's own
metadata, so that a wheel and a clone give the same. Nothing else that lies about comes along.

Its manifest says how Claude Desktop starts it, what it offers, and which form a person fills in: MCPB manifest 0.4,
https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md.
"""

import importlib.metadata
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import click
from mcp.types import Prompt, PromptMessage, TextContent

import kros_mcp
from kros_mcp import __version__
from kros_mcp.commands import bundle_form
from kros_mcp.commands.atomic_file import write_whole
from kros_mcp.commands.setting_fields import described
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.server import KrosServer, build_server
from kros_mcp.settings import Confirmation, Settings

_HELP = """\
Write a bundle that Claude Desktop installs by a double click.

Claude Desktop brings Python and all that is needed by itself, asks for the key and the limits in a form, and keeps the
key as a secret. No key and no setting of this terminal is in FILE (kros.mcpb), so that it can be given away.
"""
_EPILOG = """\
\b
examples:
  kros-mcp bundle                     writes kros.mcpb here
  kros-mcp bundle ~/Desktop/kros.mcpb --force

\b
exit codes:
  0 written   1 the file is there already   2 usage, or it cannot be written
"""
PYTHON = ">=3.11"
STARTS = "main.py"
ICON = "icon.png"
PRIVACY = "PRIVACY.md"

FORM = {
    "api_key": "KrosAI API key",
    "simulator": bundle_form.SIMULATOR.title,
    "organization_id": "Organization",
    "currency": "Currency label",
    "max_purchase": bundle_form.AMOUNTS["max_purchase"].title,
    "daily_budget": bundle_form.AMOUNTS["daily_budget"].title,
    "monthly_commitment": bundle_form.AMOUNTS["monthly_commitment"].title,
    "confirmation": bundle_form.WORDS["confirmation"].title,
    "approval_above": bundle_form.AMOUNTS["approval_above"].title,
    "allowed_countries": "Countries to buy in",
    "protected_numbers": "Protected numbers",
    "read_only": "Read only",
    "allow_unpriced": "Allow numbers without a price",
    "allow_permanent_delete": "Allow permanent deletion",
    "base_url": "KrosAI address",
}
"""The lines that a person at Claude Desktop may want to fill in, by their titles, in the order of the form."""

LEFT_OUT = frozenset(
    {
        "auth_header",
        "journal_url",
        "principal",
        "principal_daily_budget_cents",
        "principal_monthly_commitment_cents",
        "approval_hours",
        "answer_within_seconds",  # set, see `manifest`
        "requests_per_day",
        "settle_seconds",
        "total_daily_budget_cents",
        "webhook_url",
        "webhook_secret",
        "notify_urls",
    }
)
"""Settings of the stdio server for those who run several of it, or another KrosAI; `kros-mcp install` takes them."""

WAYS = {
    Confirmation.AUTO: "by Claude Desktop's own question if it shows one, else on a page that opens in your browser, "
    "else in the chat",
    Confirmation.PERSON: "the same without the chat, so that the model cannot say yes for you; where neither can be "
    "shown, nothing is bought",
    Confirmation.BROWSER: "always on the page in your browser",
    Confirmation.PROMPT: "by Claude Desktop's own question alone; its chat shows none today, so nothing can be bought "
    "there",
    Confirmation.CONVERSATION: "in the chat; a model that does not wait for you could say yes by itself",
    Confirmation.APPROVER: "another person says yes, with kros-mcp in a terminal",
}
"""What each way of saying yes means, in the form, whose lines cannot be lists to choose from."""
_IN_UNITS = " In whole units of your currency, not cents: 50 for fifty. No point and no comma."
_SIMULATOR = (
    "Numbers and prices are made up, nothing is charged, and every quote says that it is the simulator. It needs no "
    "key and forgets everything when Claude Desktop ends. Switch it off to use your account."
)
_HINTS = {
    "api_key": (
        " From the KrosAI dashboard, with the scopes numbers:read, numbers:write and endpoints:read. Not needed with "
        "the simulator."
    ),
    "read_only": " Nothing is bought, changed or released.",
}
_LONG = (
    "Find, buy, route and release KrosAI phone numbers in conversation. Every purchase and release is written to a "
    "durable journal first, needs a yes, is sent once, and stays within the caps that you set here.\n\n"
    "Keep the approval of `buy_phone_number` and `release_phone_number` on: do not choose *Always allow*.\n\n"
    f"What is kept on your computer, what KrosAI is sent, and how to delete it stands in `{PRIVACY}` inside the "
    "extension. Nothing is sent to those who made it."
)
_ANSWER_WITHIN = "45"
"""Seconds: Claude Desktop waits for a minute, so that a person's yes on the page can be answered in the same call."""
_NAME = "kros-mcp"
_SUFFIX = ".mcpb"
_PACKAGE = Path(kros_mcp.__file__).parent
_SHIPPED = frozenset({".py", ".typed", ".css", ".html", ".png"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: the same input gives the same bytes
_MAIN = '''\
"""What Claude Desktop starts: it reads the form that a person filled in, then runs the server."""

import os
import sys

from kros_mcp import cli
from kros_mcp.commands import bundle_form
from kros_mcp.errors import SettingsError

try:
    words = bundle_form.read(os.environ)
except SettingsError as exc:  # nothing is started
    print(f"kros-mcp: {exc.message} {exc.next_step}", file=sys.stderr)
    sys.exit(exc.exit_code)
cli.main(words)
'''
_NEXT = """\
To install it, double-click it; or in Claude Desktop: Settings, Extensions, Advanced settings, Install Extension.
Claude Desktop asks for your KrosAI key and your limits there, and needs the network at the first start.
Keep the approval of buy_phone_number and release_phone_number on: do not choose "Always allow".
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("file", default="kros.mcpb")
@click.option("--force", is_flag=True, help="replace the file if it is there")
@click.option(
    "--privacy-policy",
    "privacy_policies",
    metavar="URL",
    multiple=True,
    help="of yours as the publisher, and KrosAI's own; directories want both (may be repeated)",
)
def bundle(file: str, privacy_policies: tuple[str, ...], *, force: bool) -> int:
    """Write the bundle, and say what to do with it.

    Raises:
        KrosError: The file is there already, or cannot be written.
    """
    path = Path(file)
    if path.suffix != _SUFFIX:
        raise InvalidArgumentError(f"Claude Desktop opens files that end in {_SUFFIX}, not {path.name}.", next_step="")
    if path.exists() and not force:
        raise KrosError(
            f"{path} is there already and was left as it is.",
            code="FILE_EXISTS",
            next_step="Add --force to replace it.",
        )
    for url in privacy_policies:
        if not re.fullmatch(r"https://[^\s/@]+\.[^\s/@]+(/\S*)?", url):
            raise InvalidArgumentError("A privacy policy is named by its https URL.", next_step="")
    files = contents(privacy_policies)
    data = packed(files)
    try:
        write_whole(path.resolve(), data, mode=0o644)
    except OSError:
        raise InvalidArgumentError(f"{path} cannot be written.", next_step="Name another file.") from None
    print(
        f"Written: {path}, {_NAME} {kros_mcp.__version__}, {len(files)} files, {len(data) // 1024} KiB; no key in it."
    )
    print(_NEXT, end="")
    return 0


def contents(privacy_policies: Sequence[str] = ()) -> dict[str, bytes]:
    """Return every file of the bundle, by its name inside it.

    Args:
        privacy_policies: The https URLs that its manifest names.

    Raises:
        KrosError: This kros-mcp is not installed, so that nothing tells what it needs.
    """
    try:
        installed = importlib.metadata.distribution(_NAME)
    except importlib.metadata.PackageNotFoundError:
        raise KrosError(
            "This kros-mcp runs without being installed, so that it cannot tell what a bundle needs.",
            next_step="Install it, then run this again: uv tool install . in a clone, or the wheel.",
        ) from None
    description = installed.metadata["Summary"]
    # Nothing of this terminal's environment shall show in the bundle, so no settings are read.
    server = build_server(Settings.model_construct())
    document = anyio.run(manifest, server, description, privacy_policies)
    return {
        "manifest.json": (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(),
        "pyproject.toml": _project(installed, description).encode(),
        STARTS: _MAIN.encode(),
        ICON: (Path(__file__).parent / ICON).read_bytes(),
        **_documents(installed),
        **{f"{_PACKAGE.name}/{name}": path.read_bytes() for name, path in _sources().items()},
    }


def packed(files: Mapping[str, bytes]) -> bytes:
    """Pack files, so that the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on every machine, so that the mode counts
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _sources() -> dict[str, Path]:
    """The package's own files; caches, journals and whatever else lies beside them are none."""
    found = {path.relative_to(_PACKAGE): path for path in sorted(_PACKAGE.rglob("*"))}
    return {
        name.as_posix(): path
        for name, path in found.items()
        if path.suffix in _SHIPPED
        and path.is_file()
        and not path.is_symlink()
        and not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }


def _project(installed: importlib.metadata.Distribution, description: str) -> str:
    """Return a pyproject.toml that names what uv has to install: what the package needs without its extras.

    It is no package there (it runs from where it lies), so that nothing has to be built on the person's machine.
    """
    needed = sorted(one for one in installed.requires or [] if "extra ==" not in one)
    return "\n".join(
        (
            "[project]",
            f'name = "{_NAME}"',
            f'version = "{kros_mcp.__version__}"',
            f"description = {json.dumps(description)}",
            f'requires-python = "{PYTHON}"',
            f"dependencies = {json.dumps(needed, indent=2)}",
            "",
            "[tool.uv]",
            "package = false",
            "",
        )
    )


def _documents(installed: importlib.metadata.Distribution) -> dict[str, bytes]:
    """README, privacy and licence: a clone's own, which may be newer than what was installed of it, else those."""
    clone = _PACKAGE.parent
    project = clone / "pyproject.toml"
    if project.is_file() and f'name = "{_NAME}"' in project.read_text(encoding="utf-8"):
        found = {"README.md": "README.md", PRIVACY: "docs/privacy.md", "LICENSE": "LICENSE"}
        return {name: (clone / path).read_bytes() for name, path in found.items()}
    return {
        "README.md": installed.metadata["Description"].encode(),
        PRIVACY: (_PACKAGE / "privacy.md").read_bytes(),  # put there by pyproject.toml
        "LICENSE": (installed.read_text("licenses/LICENSE") or "").encode(),
    }


async def manifest(server: KrosServer, description: str, privacy_policies: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the bundle.

    Args:
        server: Whose tools and prompts it tells of.
        description: One sentence on what the package is.
        privacy_policies: The https URLs of the policies of whoever handles data.
    """
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
                "env": {
                    **{_variable(name): f"${{user_config.{name}}}" for name in FORM},
                    "KROS_ANSWER_WITHIN_SECONDS": _ANSWER_WITHIN,
                },
            },
        },
        "tools": [{"name": tool.name, "description": tool.description or ""} for tool in await server.list_tools()],
        "prompts": [await _prompt(server, prompt) for prompt in await server.list_prompts()],
        "keywords": ["krosai", "phone numbers", "telephony", "voice agents"],
        "license": "MIT",
        **({"privacy_policies": list(privacy_policies)} if privacy_policies else {}),
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": PYTHON}},
        "user_config": {name: _asked(name) for name in FORM},
    }


def _variable(name: str) -> str:
    """Return the variable that a line of the form comes in: a setting, or one that `bundle_form` reads."""
    return described()[name].variable if _is_setting(name) else bundle_form.variable(name)


def _is_setting(name: str) -> bool:
    return name in described() and name not in bundle_form.WORDS


def _asked(name: str) -> dict[str, Any]:
    """Describe one line of the form; what is left out here is unset, and then the settings' own default holds."""
    if name == "simulator":
        return {"type": "boolean", "title": FORM[name], "description": _SIMULATOR, "required": False, "default": False}
    if name in bundle_form.AMOUNTS:
        return _amount(name)
    field = described()[name]
    asked: dict[str, Any] = {
        "type": field.kind,
        "title": FORM[name],
        "description": _ways() if name == "confirmation" else field.description + _HINTS.get(name, ""),
        "required": False,  # without a key the server starts all the same, and says what is missing
    }
    if field.secret:
        asked["sensitive"] = True
    if field.default is not None:
        asked["default"] = field.default
    if field.least is not None:
        asked["min"] = field.least
    return asked


def _amount(name: str) -> dict[str, Any]:
    field = described()[bundle_form.AMOUNTS[name].setting]
    asked: dict[str, Any] = {
        "type": "number",
        "title": FORM[name],
        "description": field.description.removesuffix(field.unit) + _IN_UNITS,
        "required": False,
        "min": 0,
    }
    if field.default is not None:
        asked["default"] = int(field.default) // bundle_form.HUNDREDTHS
    return asked


def _ways() -> str:
    """Describe the ways of saying yes."""
    return "Write one of these words. " + " ".join(f"{way}: {meaning}." for way, meaning in WAYS.items())


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
