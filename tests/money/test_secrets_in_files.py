"""Secrets that are mounted as files: KROS_API_KEY_FILE and its like."""

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from kros_mcp.commands.install_entry import settings_to_keep
from kros_mcp.errors import SettingsError
from kros_mcp.settings import MEMORY, load_settings
from tests.support.environment import forget_settings

SECRET = "stands-in-a-file-0123456789"  # noqa: S105 - made up
KEY = "kros_test_of-a-file"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)


@pytest.mark.parametrize(
    ("setting", "text", "field", "value"),
    [
        ("KROS_API_KEY", f"{KEY}\n", "api_key", SecretStr(KEY)),
        ("KROS_API_KEY", f"\ufeff{KEY}\r\n", "api_key", SecretStr(KEY)),
        ("KROS_JOURNAL_URL", "postgresql://u:p@h/db\n", "journal_url", "postgresql://u:p@h/db"),
        ("KROS_STATE_KEYS", f"{'a' * 32}, {'b' * 32}\n", "state_keys", (SecretStr("a" * 32), SecretStr("b" * 32))),
        ("KROS_STATE_KEYS", f"{'a' * 32}\n{'b' * 32}\n", "state_keys", (SecretStr("a" * 32), SecretStr("b" * 32))),
        ("KROS_NOTIFY_URLS", "ntfy://a\nntfy://b\n", "notify_urls", (SecretStr("ntfy://a"), SecretStr("ntfy://b"))),
    ],
)
def test_a_secret_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, text: str, field: str, value: object
) -> None:
    (tmp_path / "secret").write_bytes(text.encode())
    monkeypatch.setenv(f"{setting}_FILE", str(tmp_path / "secret"))
    assert getattr(load_settings(), field) == value


def test_a_webhook_has_both_parts_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = {"WEBHOOK_URL": f"https://hooks.example.com/{SECRET}", "WEBHOOK_SECRET": "whsec_" + "Z" * 32}
    for name, text in parts.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(f"KROS_{name}_FILE", str(tmp_path / name))
    settings = load_settings()
    assert (settings.webhook_url, settings.webhook_secret) == tuple(map(SecretStr, parts.values()))


def test_a_secret_in_both_places_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    monkeypatch.setenv("KROS_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("KROS_API_KEY", KEY)
    with pytest.raises(SettingsError, match="KROS_API_KEY and KROS_API_KEY_FILE are both set"):
        load_settings()
    monkeypatch.setenv("KROS_API_KEY", "")
    assert load_settings().api_key == SecretStr(SECRET)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), (b" \n", "it is empty"), (b"\xff\xfe", "it is not in UTF-8")],
)
def test_a_file_that_holds_no_secret_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / SECRET  # as if the key itself had been put in place of the file's name
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("KROS_STATE_KEYS_FILE", str(path))
    with pytest.raises(SettingsError, match=f"KROS_STATE_KEYS_FILE names a file that cannot be used: {reason}") as no:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(no.value))


def test_what_a_file_holds_is_not_shown_when_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"mysql://u:{SECRET}@h/db")
    monkeypatch.setenv("KROS_JOURNAL_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(SettingsError, match="KROS_JOURNAL_URL is not usable") as refused:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_a_setting_that_is_no_secret_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_DAILY_BUDGET_CENTS_FILE", "/run/secrets/budget")
    with pytest.raises(SettingsError, match="KROS_DAILY_BUDGET_CENTS_FILE is not a setting of kros-mcp"):
        load_settings()


def test_the_simulator_reads_no_file_of_what_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_API_KEY_FILE", "/nowhere/key")
    monkeypatch.setenv("KROS_JOURNAL_URL_FILE", "/nowhere/url")
    settings = load_settings(simulator=True)
    assert (settings.environment, settings.journal_url) == ("simulator", MEMORY)


def test_a_client_that_is_set_up_reads_the_same_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"KROS_API_KEY_FILE": "key", "KROS_JOURNAL_URL_FILE": "/etc/url", "XDG_STATE_HOME": "/elsewhere"}
    kept = settings_to_keep(given, simulator=False)
    assert kept["KROS_API_KEY_FILE"] == str(tmp_path / "key")
    assert kept["KROS_JOURNAL_URL_FILE"] == "/etc/url"
    assert "KROS_JOURNAL_URL" not in kept, "two journals would be two budgets"
    assert not {"KROS_API_KEY_FILE", "KROS_JOURNAL_URL_FILE"} & set(settings_to_keep(given, simulator=True))


def test_doctor_does_not_show_what_stands_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"kros_test_{SECRET}")
    done = subprocess.run(
        [sys.executable, "-m", "kros_mcp", "doctor"],
        env={
            "PATH": os.environ["PATH"],
            "KROS_API_KEY_FILE": str(tmp_path / "key"),
            "KROS_BASE_URL": "http://127.0.0.1:1/v1",
            "KROS_JOURNAL_URL": f"sqlite:///{tmp_path}/j.sqlite3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "KROS_API_KEY is a test key" in done.stdout
    assert SECRET not in done.stdout + done.stderr
