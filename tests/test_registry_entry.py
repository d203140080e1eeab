"""`server.json`, which the MCP registry takes, says what the settings say."""

import json
import os
import re
from pathlib import Path

import pytest

import kros_mcp
from kros_mcp.errors import SettingsError
from kros_mcp.settings import load_settings
from tests.support.environment import forget_settings
from tests.support.registry_entry import entry

FILE = Path(__file__).parent.parent / "server.json"


def test_it_says_what_the_settings_say() -> None:
    """Renew it with `RENEW_SNAPSHOTS=1 pytest tests/test_registry_entry.py`."""
    if os.environ.get("RENEW_SNAPSHOTS"):
        FILE.write_text(json.dumps(entry(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(FILE.read_text(encoding="utf-8")) == entry()


def test_its_defaults_are_what_holds_when_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)
    unset = load_settings()

    for variable in entry()["packages"][0]["environmentVariables"]:
        if "default" in variable:
            monkeypatch.setenv(variable["name"], variable["default"])

    assert load_settings() == unset
    monkeypatch.setenv("KROS_JOURNAL_URL", "postgresql://db.example.com/kros")
    with pytest.raises(SettingsError, match="KROS_PRINCIPAL is missing"):
        load_settings().require_principal()


def test_the_key_is_required_and_what_may_hold_a_password_is_secret() -> None:
    variables = entry()["packages"][0]["environmentVariables"]

    assert [one["name"] for one in variables if one.get("isRequired")] == ["KROS_API_KEY"]
    assert [one["name"] for one in variables if one.get("isSecret")] == [
        "KROS_API_KEY",
        "KROS_JOURNAL_URL",
        "KROS_WEBHOOK_URL",
        "KROS_WEBHOOK_SECRET",
        "KROS_NOTIFY_URLS",
    ]


def test_it_keeps_to_the_registrys_bounds_and_claims_nobodys_name() -> None:
    """https://github.com/modelcontextprotocol/registry says them; CI checks the whole form."""
    told = entry()

    assert re.fullmatch(r"com\.example/[a-zA-Z0-9._-]+", told["name"])
    assert len(told["description"]) <= 100
    assert told["version"] == told["packages"][0]["version"] == kros_mcp.__version__


def test_no_document_names_a_wheel_of_another_version() -> None:
    root = FILE.parent
    named = {
        version
        for document in (*root.glob("*.md"), *root.glob("docs/**/*.md"))
        for version in re.findall(r"kros_mcp-(.+?)-py3-none-any\.whl", document.read_text(encoding="utf-8"))
    }

    assert named <= {kros_mcp.__version__}
