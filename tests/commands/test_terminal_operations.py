import builtins
import sys
import time
from pathlib import Path

import pytest
from commands_doubles import Command, an_operation, put, read, settled

from kros_mcp.operations.model import Channel, State


@pytest.mark.parametrize(
    ("word", "state", "charged"),
    [("approve", State.CONFIRMED, "no"), ("deny", State.DECLINED, "no")],
)
def test_a_person_decides_without_an_api_key(
    command: Command, journal_url: str, word: str, state: State, charged: str
) -> None:
    waiting = put(journal_url, an_operation())

    ran = command(word, waiting.id, "--yes", "--reason", "agreed by phone")

    assert ran.code == 0
    decided = read(journal_url, waiting.id)
    assert (decided.state, decided.charged, decided.sent_at) == (state, charged, None)
    assert decided.reason == "agreed by phone"


@pytest.mark.parametrize(("outcome", "charged"), [("done", "yes"), ("failed", "no")])
def test_a_person_settles_an_unknown_outcome_without_an_api_key(
    command: Command, journal_url: str, outcome: str, charged: str
) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=3_600))

    ran = command("settle", lost.id, outcome, "--yes", "--reason", "seen in the dashboard")

    assert ran.code == 0
    assert "If KrosAI then shows otherwise, a running server writes that down as a correction." in ran.out
    ended = read(journal_url, lost.id)
    assert (ended.state, ended.charged) == (outcome, charged)
    assert "seen in the dashboard" in ended.note


def test_before_deciding_the_person_sees_number_price_asker_and_deadline(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation(principal="night shift"))

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    for part in (
        "+234 201 555 0100",
        "5.00 now, first month included, then 5.00 a month",
        "night shift",
        "Open until",
    ):
        assert part in shown


def test_what_is_approved_once_is_not_approved_again(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation())
    command("approve", waiting.id, "--yes", "--reason=x")
    before = read(journal_url, waiting.id)

    ran = command("approve", waiting.id, "--yes", "--reason=x")

    assert ran.code == 1
    assert "already confirmed" in ran.err
    assert read(journal_url, waiting.id) == before


def test_what_waited_too_long_cannot_be_approved(command: Command, journal_url: str) -> None:
    late = put(journal_url, an_operation(expires_at=time.time() - 1))

    ran = command("approve", late.id, "--yes", "--reason=x")

    assert ran.code == 1
    assert "already expired" in ran.err
    assert read(journal_url, late.id).state is State.EXPIRED


@pytest.mark.parametrize("channel", [Channel.PROMPT, Channel.CODE, None])
def test_what_was_put_to_the_person_in_the_conversation_is_not_for_an_approver(
    command: Command, journal_url: str, channel: Channel | None
) -> None:
    asked = put(journal_url, an_operation(channel=channel))

    ran = command("approve", asked.id, "--yes", "--reason=x")

    assert ran.code == 1
    assert read(journal_url, asked.id).state is State.PROPOSED


def test_without_a_terminal_nothing_is_decided_unasked(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation())

    ran = command("approve", waiting.id)

    assert ran.code == 1
    assert "--yes" in ran.err
    assert read(journal_url, waiting.id).state is State.PROPOSED


@pytest.mark.parametrize(
    ("typed", "code", "state"), [("approve", 0, State.CONFIRMED), ("yes", 1, State.PROPOSED), ("", 1, State.PROPOSED)]
)
def test_at_a_terminal_only_the_word_itself_approves(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, state: State
) -> None:
    waiting = put(journal_url, an_operation())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", lambda _: typed)

    assert command("approve", waiting.id, "--reason", "agreed").code == code
    assert read(journal_url, waiting.id).state is state


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_only_an_unknown_outcome_can_be_settled(command: Command, journal_url: str, outcome: str) -> None:
    waiting = put(journal_url, an_operation())

    ran = command("settle", waiting.id, outcome, "--yes", "--reason", "a guess")

    assert ran.code == 1
    assert read(journal_url, waiting.id).state is State.PROPOSED


@pytest.mark.parametrize(
    "words",
    [
        ("approve", "op_none", "--yes", "--reason=x"),
        ("deny", "op_none", "--yes", "--reason=x"),
        ("settle", "op_none", "done", "--reason=x"),
    ],
)
def test_an_operation_that_is_not_there_is_said_to_be_missing(command: Command, words: tuple[str, ...]) -> None:
    ran = command(*words)

    assert ran.code == 1
    assert "no operation of that id" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("operations",),
        ("export",),
        ("approve", "op_1", "--yes", "--reason=x"),
        ("settle", "op_1", "done", "--reason=x"),
    ],
)
def test_a_journal_that_cannot_be_used_ends_with_three(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("This is no database, and it is long enough to be read as one." * 20)
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{other}")

    ran = command(*words)

    assert ran.code == 3
    assert "Traceback" not in ran.err
    assert other.read_text().startswith("This is no database")
