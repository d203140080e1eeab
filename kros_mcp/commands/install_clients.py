"""The clients that `kros-mcp install` knows: where the file of each is, how it is written, and what comes next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kros_mcp.commands.json_text import JsonText
from kros_mcp.commands.toml_text import TomlText
from kros_mcp.settings import Confirmation

Find = Callable[[str, Path, Mapping[str, str]], Path]
_LONGEST_QUESTION_SECONDS = 660
"""A question stands for ten minutes, and so does the call that waits for its answer in a client's prompt."""


@dataclass(frozen=True)
class InstallClient:
    """One client: its file, the form of an entry in it, and what its person does next."""

    called: str
    find: Find
    """Returns the file that it reads, from the platform (`sys.platform`), the home folder and the environment."""
    text: JsonText | TomlText
    servers: str
    """The member of the file that holds the servers by name."""
    restart: str
    """What makes it read the file again, as a sentence."""
    check: str
    """Where its person sees that it worked, as a sentence; `{name}` is the server's."""
    shows_prompts: bool = True
    """Whether it shows the server's own prompts, by its documents."""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """What an entry holds besides command, arguments and environment."""
    inputs: str | None = None
    """The member of the file that lists what it asks its person for, if it does: then no secret is written."""

    def asks(self, confirmation: Confirmation, *, pages_open: bool) -> str:
        """Return how a person is asked there before anything is bought or released, as a sentence.

        Args:
            confirmation: The way of saying yes in force.
            pages_open: Whether a browser opens from where the server runs.
        """
        if confirmation is Confirmation.APPROVER:
            return "Before it buys or releases, an approver says yes: kros-mcp approve ID."
        possible = {
            "in a prompt of its own": self.shows_prompts and confirmation.shows_prompts,
            "on a page in your browser": pages_open and confirmation.opens_pages,
            "in the chat, by a code that its model could use without asking you": confirmation.takes_codes,
        }
        ways = [way for way, is_possible in possible.items() if is_possible]
        if not ways:
            return "It buys and releases nothing: it shows none of this server's prompts, and no page that asks opens."
        if not confirmation.takes_codes:
            ways.append("nothing is bought or released")
        return f"It asks you before it buys or releases: {'; where that cannot be, '.join(ways)}."


def _claude_desktop(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    """Return the file of Claude Desktop; on Windows its packaged program has an AppData of its own.

    The packaged program reads its own file, and where that is not there the one in the common place. So a file that
    is there goes first: one written beside it would hide the servers that it names.
    """
    file = Path("Claude") / "claude_desktop_config.json"
    common = _configurations(platform, home, environment) / file
    if platform != "win32":
        return common
    local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    packaged = [package / "LocalCache" / "Roaming" / file for package in sorted((local / "Packages").glob("Claude_*"))]
    there = [path for path in (*packaged, common) if path.is_file()]
    return next(iter((*there, *packaged, common)))


def _claude_code(_platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    return Path(environment.get("CLAUDE_CONFIG_DIR") or home) / ".claude.json"


def _cursor(_platform: str, home: Path, _environment: Mapping[str, str]) -> Path:
    return home / ".cursor" / "mcp.json"


def _vscode(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    return _configurations(platform, home, environment) / "Code" / "User" / "mcp.json"


def _codex(_platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    return Path(environment.get("CODEX_HOME") or home / ".codex") / "config.toml"


def _configurations(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    """Return the folder in which programs of a desktop keep what their person has set."""
    if platform == "darwin":
        return home / "Library" / "Application Support"
    if platform == "win32":
        return Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    named = environment.get("XDG_CONFIG_HOME", "")
    return Path(named) if Path(named).is_absolute() else home / ".config"


CLIENTS = {
    "claude-desktop": InstallClient(
        called="Claude Desktop",
        find=_claude_desktop,
        text=JsonText(),
        servers="mcpServers",
        restart="Quit Claude Desktop by its tray or menu bar (closing the window is not enough) and start it again.",
        check="One that runs meanwhile may write the file anew without the entry: if it is gone, quit first, then run "
        "this again.",
        shows_prompts=False,
    ),
    "claude-code": InstallClient(
        called="Claude Code",
        find=_claude_code,
        text=JsonText(),
        servers="mcpServers",
        restart="End Claude Code, and start it again.",
        check="claude mcp get {name} tells whether it starts the server; so does /mcp in a session.",
        beside={"type": "stdio"},
    ),
    "cursor": InstallClient(
        called="Cursor",
        find=_cursor,
        text=JsonText(comments=True),
        servers="mcpServers",
        restart="Quit Cursor, and start it again.",
        check="{name} and its tools stand in Cursor's settings, under MCP.",
        beside={"type": "stdio"},
    ),
    "vscode": InstallClient(
        called="VS Code",
        find=_vscode,
        text=JsonText(comments=True),
        servers="servers",
        restart="In VS Code run the command MCP: List Servers, choose the server and (re)start it.",
        check="VS Code asks whether you trust {name}; MCP: List Servers, Show Output has its log.",
        beside={"type": "stdio"},
        inputs="inputs",
    ),
    "codex": InstallClient(
        called="Codex",
        find=_codex,
        text=TomlText(),
        servers="mcp_servers",
        restart="End Codex, and start it again.",
        check="codex mcp get {name} shows the entry; /mcp in a session tells whether the server runs.",
        beside={"startup_timeout_sec": 30, "tool_timeout_sec": _LONGEST_QUESTION_SECONDS},
    ),
}
