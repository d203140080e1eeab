"""No command gives a terminal a character that commands, hides or turns, whoever wrote it and wherever it stood."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from commands_doubles import E164, Command, an_operation, put, settled

from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.simulator import Simulator, open_server
from tests.support.hostile import TERMINAL, deceiving, texts

TEXTS = texts(5, 4)[1:]


@pytest.fixture(params=TEXTS, ids=range(3))
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deceived(text: str, environment: pytest.MonkeyPatch, journal_url: str) -> tuple[Operation, Operation, Operation]:
    """A journal in which every text deceives, as if somebody had written into it: of all three kinds."""
    environment.setenv("KROS_API_KEY", "kros_test_books")

    def written(operation: Operation, _: float) -> Operation:
        number = {"id": text, "e164": E164, "status": text}
        words: dict[str, Any] = dict.fromkeys(
            ("confirmed_by", "reason", "message", "next_step", "note", "error_code", "decided_by"), text
        )
        return replace(operation, **words, confirmed_at=1.0, number=number, not_applied=(text,))

    named = {"principal": f"support {text}"}
    quote = replace(an_operation().quote, endpoint_type=text, endpoint_trouble=text, routed_to=text, country=text)
    done = put(journal_url, an_operation(**named, quote=quote), *settled(State.DONE), written, own=True)
    lost = put(
        journal_url,
        an_operation(**named, e164="+2342015550101"),
        *settled(State.UNKNOWN, ago=86_400 * 3),
        written,
        own=True,
    )
    waiting = put(
        journal_url, an_operation(**named, quote=quote, e164="+2342015550102", action=Action.RELEASE), written, own=True
    )
    return done, lost, waiting


def test_the_books_and_every_decision_show_no_deceiving_character(
    command: Command, deceived: tuple[Operation, Operation, Operation], text: str, tmp_path: Path
) -> None:
    done, lost, waiting = deceived
    yes = ("--yes", "--reason", f"because {text}")
    for words in (
        ("operations",),
        ("operations", "--json"),
        ("operations", "--principal", text),
        ("operations", "--state", text),
        ("operations", "--day", text),
        ("operations", text),
        ("operations", done.id),
        ("operations", done.id, "--json"),
        ("operations", waiting.id),
        ("export", "--output", str(tmp_path / "all.csv")),
        ("export", "--since", text),
        ("adopt", text, *yes),
        ("settle", lost.id, "done", *yes),
        ("approve", text, *yes),
        ("deny", waiting.id, *yes),
        ("approve", waiting.id, *yes),
        ("reconcile", "--known", text, "--reason", text),
        ("sip", text),
        ("token", text, "--scopes", text, "--file", str(tmp_path / "tokens.toml")),
        ("token", "--revoke", text, "--file", str(tmp_path / "tokens.toml")),
        (text,),
    ):
        ran = command(*words)
        assert deceiving(ran.out + ran.err) == set(), words
    exported = (tmp_path / "all.csv").read_text(encoding="utf-8")
    assert deceiving(exported) <= {"U+000D"}
    assert len(list(csv.DictReader(io.StringIO(exported)))) == 3


def test_a_document_of_json_stays_one(command: Command, deceived: tuple[Operation, ...]) -> None:
    listed = json.loads(command("operations", "--json").out)
    assert len(listed["operations"]) == len(deceived)
    assert (
        json.loads(command("operations", deceived[0].id, "--json").out)["operation"]["operation_id"] == deceived[0].id
    )


@pytest.mark.parametrize("text", ["".join(TERMINAL), f"a\n{TEXTS[0]}"], ids=["commands", "lines"])
def test_sip_credentials_that_command_a_terminal_are_shown_as_escapes(text: str, tmp_path: Path) -> None:
    """Over a real terminal, where colours are set, too."""
    sim = Simulator(sip_password=f"pass{text}word")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_server(sim)) as base_url:
        settings = {"KROS_BASE_URL": base_url, "KROS_API_KEY": sim.api_key, "NO_PROXY": "127.0.0.1"}
        settings["KROS_JOURNAL_URL"] = f"sqlite:///{tmp_path / 'journal.sqlite3'}"
        shown = at_a_terminal("sip", next(iter(sim.owned.values())).id, **settings)
    assert "pass" in shown
    assert deceiving(shown.replace("\r\n", "\n")) == set()
    assert "password: pass" in shown


def test_colours_of_ours_reach_a_terminal_and_commands_of_others_do_not(journal_url: str) -> None:
    put(journal_url, an_operation(principal="\x1b]52;c;ZXZpbA==\x07night", reason="\x1b[2J"), *settled(State.DONE))
    shown = at_a_terminal("operations", KROS_JOURNAL_URL=journal_url, TERM="xterm")
    assert "\x1b[32mdone\x1b[0m" in shown
    assert shown.replace("\x1b[32m", "").replace("\x1b[0m", "").count("\x1b") == 0
    assert deceiving(shown.replace("\r\n", "\n").replace("\x1b[32m", "").replace("\x1b[0m", "")) == set()


def at_a_terminal(*words: str, **settings: str) -> str:
    """Run a command whose standard output and error are a terminal, and give all that it was sent."""
    reading, writing = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KROS_", "NO_COLOR"))}
    with subprocess.Popen(
        [sys.executable, "-m", "kros_mcp", *words], stdout=writing, stderr=writing, env={**inherited, **settings}
    ):
        os.close(writing)
        shown = b""
        with suppress(OSError):  # Linux says so when the other side has closed
            while chunk := os.read(reading, 65_536):
                shown += chunk
    os.close(reading)
    return shown.decode()
