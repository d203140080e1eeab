"""Claude Desktop's configuration file: read, changed in one place, written whole, and put back.

It holds other servers and settings too, so that whatever is not ours stays as it is and in its order, and a file that
cannot be understood is not touched.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kros_mcp.commands.atomic_file import write_whole
from kros_mcp.errors import KrosError, SettingsError

_FILE = Path("Claude") / "claude_desktop_config.json"
SERVERS = "mcpServers"
_OWNERS_ALONE = 0o600
_INDENT = re.compile(r"\{\r?\n([ \t]+)\"")
_ELSEWHERE = "Name another file with --config."


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as it was read."""

    path: Path
    """The file itself, not a link to it."""
    text: str | None
    """What stands in it; None if it is not there."""
    content: dict[str, Any]

    @property
    def servers(self) -> dict[str, Any]:
        """The servers that it names."""
        found: dict[str, Any] = self.content.get(SERVERS, {})
        return found

    def backup(self, name: str) -> Path:
        """Where the file is kept as it was before the server `name` came in; empty where there was none."""
        return self.path.with_name(f"{self.path.name}.before-{name}")


def config_path(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    """Return the file that Claude Desktop reads.

    Args:
        platform: As in `sys.platform`.
        home: The person's home folder.
        environment: Their environment variables.
    """
    if platform == "darwin":
        return home / "Library" / "Application Support" / _FILE
    if platform == "win32":
        return _on_windows(home, environment)
    named = environment.get("XDG_CONFIG_HOME", "")
    return (Path(named) if Path(named).is_absolute() else home / ".config") / _FILE


def _on_windows(home: Path, environment: Mapping[str, str]) -> Path:
    """Return the file of the packaged program, which Windows gives an AppData of its own, or of the older one.

    The packaged program reads its own file, and where that is not there the one in the common place. So a file that
    is there goes first: one written beside it would hide the servers that it names.
    """
    common = Path(environment.get("APPDATA") or home / "AppData" / "Roaming") / _FILE
    local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    packaged = [package / "LocalCache" / "Roaming" / _FILE for package in sorted((local / "Packages").glob("Claude_*"))]
    there = [path for path in (*packaged, common) if path.is_file()]
    return next(iter((*there, *packaged, common)))


def read(path: Path) -> ConfigFile:
    """Read a configuration file; one that is not there or empty names nothing.

    Raises:
        SettingsError: It is not what Claude Desktop reads, or cannot be read.
    """
    real = Path(os.path.realpath(path))
    try:
        text = real.read_bytes().decode("utf-8-sig") if real.exists() else None  # its line ends as they are
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read, so it was left as it is.", next_step=_ELSEWHERE) from None
    content = _parsed(text, path) if text and text.strip() else {}
    if not isinstance(content, dict) or not isinstance(content.get(SERVERS, {}), dict):
        raise SettingsError(f"{path} does not hold servers by name, so it was left as it is.", next_step=_ELSEWHERE)
    return ConfigFile(real, text, content)


def put_in(config: ConfigFile, name: str, entry: dict[str, Any], *, keep_backup: bool) -> None:
    """Write the server `name` into the file, and keep the file as it was.

    Args:
        config: As it was read.
        name: The server's name.
        entry: How Claude Desktop starts it.
        keep_backup: The backup that is there, if there is one, is of before we came, and stays.

    Raises:
        SettingsError: The file or its backup cannot be written; the file is as it was.
    """
    content = {**config.content, SERVERS: {**config.servers, name: entry}}
    backup = config.backup(name)
    try:
        data = _written(content, config.text)
        config.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (keep_backup and backup.exists()):
            backup.unlink(missing_ok=True)  # so that the new one is its owner's alone, whatever the old one was
            write_whole(backup, b"" if config.text is None else config.path.read_bytes(), mode=_OWNERS_ALONE)
        write_whole(config.path, data, mode=_OWNERS_ALONE)
    except (OSError, ValueError):
        raise _unwritable(config.path) from None


def take_out(config: ConfigFile, name: str) -> str:
    """Take the server `name` out of the file, and put back what stood in its place; the backup goes.

    Returns:
        What was done, as a sentence.

    Raises:
        SettingsError: The file cannot be written, or its backup is damaged; the file is as it was.
    """
    backup = config.backup(name)
    before = read(backup) if backup.is_file() else None
    content = _without(config, name, before)
    try:
        if not content and not (before and before.text):
            config.path.unlink()
            done = f"{config.path} held nothing else and is gone."
        elif before and content == before.content:
            write_whole(config.path, backup.read_bytes(), mode=_OWNERS_ALONE)
            done = f"{config.path} is again as it was."
        else:
            write_whole(config.path, _written(content, config.text), mode=_OWNERS_ALONE)
            done = f"{name} is out of {config.path}; what else stands there stayed."
        backup.unlink(missing_ok=True)
    except (OSError, ValueError):
        raise _unwritable(config.path) from None
    if before and name in before.servers:
        done += f" The {name} that stood there before is back; run this again to take it out too."
    return done


def _without(config: ConfigFile, name: str, before: ConfigFile | None) -> dict[str, Any]:
    servers = {other: entry for other, entry in config.servers.items() if other != name}
    if before is not None and name in before.servers:
        servers = {other: before.servers[name] if other == name else entry for other, entry in config.servers.items()}
    content = {**config.content, SERVERS: servers}
    if not servers and (before is None or SERVERS not in before.content):
        del content[SERVERS]
    return content


def _parsed(text: str, path: Path) -> Any:  # noqa: ANN401 - JSON
    where = ""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        where = f" (line {exc.lineno}, column {exc.colno})"
    except (ValueError, RecursionError):
        pass
    # Raised out here, since the decoder's own error holds the whole text, keys included.
    raise SettingsError(
        f"{path} is not valid JSON{where}, so it was left as it is.", next_step=f"Mend it first. {_ELSEWHERE}"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: written again, one of the two would be lost."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice")
    return content


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _written(content: dict[str, Any], like: str | None) -> bytes:
    """Write JSON, indented and ended as what stood there before."""
    indented = _INDENT.search(like or "")
    text = json.dumps(content, indent=indented[1] if indented else 2, ensure_ascii=False, allow_nan=False)
    if like is None or like.endswith("\n"):
        text += "\n"
    return (text.replace("\n", "\r\n") if "\r\n" in (like or "") else text).encode()


def _unwritable(path: Path) -> KrosError:
    return SettingsError(f"{path} cannot be written; it is as it was.", next_step=_ELSEWHERE)
