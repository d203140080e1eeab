"""What the tests of Claude Desktop's configuration share; its fixtures stand in conftest.py."""

import json
from pathlib import Path
from typing import Any

INSTALL = ("install", "claude-desktop")
KEY = "kros_test_of_the_desktop"
OTHERS = """\
{
    "globalShortcut": "Alt+Space",
    "mcpServers": {
        "zeitgeist": {"command": "/opt/zeitgeist", "args": ["--größe", "1"], "env": {"Z": "1"}, "later": [1.5, null]},
        "files": {"command": "npx"}
    },
    "preferences": {"menuBarEnabled": true}
}"""


def servers(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))["mcpServers"]
    return found


def backups(config: Path) -> list[Path]:
    return [path for path in config.parent.iterdir() if path != config]
