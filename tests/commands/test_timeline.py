"""`kros-mcp operations ID`: one operation, move by move."""

import json
import os
import pwd
from functools import partial

import pytest
from commands_doubles import Command, an_operation, put, settled

from kros_mcp.journals.sql import StoredJournal
from kros_mcp.operations import moves
from kros_mcp.operations.model import State

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


def test_a_story_says_when_what_by_whom_through_what_and_why(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation())
    command("approve", waiting.id, "--yes", "--reason", "opens in May")
    command("deny", waiting.id, "--yes", "--reason", "not after all")

    told = command("operations", waiting.id)

    assert told.code == 0
    lines = [line.split() for line in told.out.splitlines()]
    assert lines[0][:3] == [f"{waiting.id}:", "buy", "+2342015550100,"]
    assert lines[2] == ["when", "(UTC)", "what", "by", "through", "words"]
    assert [line[2:5] for line in lines[3:]] == [
        ["proposed", "server"],
        ["confirmed", ME, "command"],
        ["declined", ME, "command"],
    ]
    assert "opens in May" in told.out
    assert f"Denied by {ME} by a command without a terminal: not after all" in told.out


def test_a_story_is_given_as_data_under_stable_names(command: Command, journal_url: str) -> None:
    no_answer = settled(State.UNKNOWN, ago=3_600, message="No answer came.", error_code="LOST")
    lost = put(journal_url, an_operation(), *no_answer)
    command("settle", lost.id, "done", "--yes", "--reason", "invoice of 3 May")

    told = json.loads(command("operations", lost.id, "--json").out)

    assert set(told) == {"operation", "events"}
    assert (told["operation"]["operation_id"], told["operation"]["state"]) == (lost.id, "done")
    assert {tuple(event) for event in told["events"]} == {("at", "move", "by", "through", "words", "changes")}
    assert [event["move"] for event in told["events"]] == [
        "proposed",
        "claimed",
        "sent",
        "unknown",
        "sent",  # as the test ages it
        "settled_by_hand",
    ]
    last = told["events"][-1]
    assert (last["by"], last["through"], last["words"]) == (ME, "command", f"Settled by {ME}: invoice of 3 May")
    assert (last["changes"]["state"], last["changes"]["charged"]) == ("done", "yes")
    assert "No answer came." in [event["words"] for event in told["events"]]


def test_text_of_others_cannot_deceive_the_terminal(command: Command, journal_url: str) -> None:
    hostile = "ana\x1b[2J\u202egnp\n2026-01-01 00:00:00  done"
    waiting = put(journal_url, an_operation(principal=hostile), partial(moves.confirm, by="x", reason=hostile))

    for words in ((), ("--json",)):
        told = command("operations", waiting.id, *words).out
        assert not {"\x1b", "\u202e"} & set(told)
    assert len([line for line in command("operations", waiting.id).out.splitlines() if line.startswith("20")]) == 2


def test_an_operation_that_is_not_there_and_filters_beside_an_id_are_refused(
    command: Command, journal_url: str
) -> None:
    waiting = put(journal_url, an_operation())

    assert command("operations", "op_none").code == 1
    for words in (("--state", "done"), ("--principal", "x"), ("--all-accounts",), ("--day", "2026-05-03")):
        assert command("operations", waiting.id, *words).code == 2


def test_an_operation_of_a_journal_without_events_is_shown_as_it_was_carried_over(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(StoredJournal, "_tell", lambda *_: iter(()))
        done = put(journal_url, an_operation(), *settled(State.DONE))

    told = json.loads(command("operations", done.id, "--json").out)

    assert [event["move"] for event in told["events"]] == ["carried_over"]
    assert told["events"][0]["changes"]["state"] == "done"
