"""The words below the table of operations, and how a row says yes and no."""

from functools import partial

import pytest
from commands_doubles import Command, an_operation, put, settled

from kros_mcp.commands import console
from kros_mcp.operations import moves
from kros_mcp.operations.model import Channel, State

OTHER = "+2342015550101"


def test_only_what_the_chosen_principal_asked_for_is_said_to_wait(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(principal="night-desk"))
    put(journal_url, an_operation(principal="day-desk", e164=OTHER))

    assert "1 waits for a person" in command("operations", "--principal", "night-desk").out
    assert "for a person" not in command("operations", "--principal", "nobody").out
    assert "2 wait for a person" in command("operations").out


def test_what_was_filtered_is_said_in_one_correct_sentence(command: Command, journal_url: str) -> None:
    none = command("operations", "--state", "unknown", "--principal", "ana").out
    put(journal_url, an_operation(), *settled(State.UNKNOWN))
    one = command("operations", "--state", "unknown").out
    put(journal_url, an_operation(e164=OTHER), *settled(State.UNKNOWN))
    two = command("operations", "--state", "unknown").out

    assert none.startswith("No operations that are unknown, asked for by ana, of all accounts")
    assert "1 operation that is unknown, of" in one
    assert "2 operations that are unknown, of" in two


def test_a_state_may_be_typed_in_any_case(command: Command, journal_url: str) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN))

    for word in ("UNKNOWN", "Unknown"):
        assert lost.id in command("operations", "--state", word).out
    assert lost.id not in command("operations", "--state", "DONE").out


@pytest.mark.parametrize("channel", [Channel.APPROVER, Channel.PROMPT, Channel.CODE])
def test_a_row_of_a_declined_act_says_no_and_how(command: Command, journal_url: str, channel: Channel) -> None:
    end = partial(moves.end, state=State.DECLINED, reason="The person said no.")
    put(journal_url, an_operation(channel=channel), end)

    out = command("operations").out

    assert f"  no ({channel})  " in out
    assert "asked by" not in out


@pytest.fixture(params=[60, 80])
def width(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> int:
    """Columns of a terminal that is too narrow for some lines."""
    columns: int = request.param
    environment.setenv("COLUMNS", str(columns))
    environment.setenv("KROS_API_KEY", "kros_test_another")
    environment.setattr(console, "terminal_width", lambda: columns)
    return columns


def test_at_a_terminal_the_lines_below_the_table_break_between_words(
    command: Command, journal_url: str, width: int
) -> None:
    for e164 in ("+2342015550100", OTHER):
        put(journal_url, an_operation(e164=e164))

    below = command("operations", "--limit", "1", "--all-accounts").out.split("\n\n")[1]

    assert max(map(len, below.splitlines())) <= width
    assert "add --limit 2, or write all to a file with kros-mcp export --csv." in " ".join(below.split())


def test_at_a_terminal_the_question_breaks_between_words(command: Command, journal_url: str, width: int) -> None:
    waiting = put(journal_url, an_operation())

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert max(map(len, shown.splitlines())) <= width
    assert "not the account of this terminal's KROS_API_KEY" in " ".join(shown.split())
    assert "\n              " in shown


def test_without_a_terminal_each_line_below_the_table_stays_whole(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("COLUMNS", "60")
    put(journal_url, an_operation())

    assert "1 waits for a person: kros-mcp approve ID, or kros-mcp deny ID." in command("operations").out.splitlines()
