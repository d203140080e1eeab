"""Where Claude Desktop keeps its configuration, on each system."""

from collections.abc import Mapping
from pathlib import Path

_FILE = Path("Claude") / "claude_desktop_config.json"


def config_path(platform: str, home: Path, environment: Mapping[str, str]) -> Path:
    """Say which file Claude Desktop reads.

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
    """Find the file of the packaged program, which Windows gives an AppData of its own, or of the older one.

    The packaged program reads its own file, and where that is not there the one in the common place. So a file that
    is there goes first: one written beside it would hide the servers that it names.
    """
    common = Path(environment.get("APPDATA") or home / "AppData" / "Roaming") / _FILE
    local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    packaged = [package / "LocalCache" / "Roaming" / _FILE for package in sorted((local / "Packages").glob("Claude_*"))]
    there = [path for path in (*packaged, common) if path.is_file()]
    return next(iter((*there, *packaged, common)))
