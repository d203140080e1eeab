"""What people read: whole lines without a terminal, folded ones on a terminal, and no word of it read as markup."""

import io
import sys
from collections.abc import Callable, Sequence

import pytest

from kros_mcp.commands import console
from kros_mcp.commands.console import Column

COLUMNS = (
    Column("id"),
    Column("cents", right=True),
    Column("who", least=6, leaves=True, below="for "),
    Column("reason", least=10, leaves=True),
)
ROWS = (("op_1", "5.00", "night desk", "it was agreed by phone"), ("op_2", "1,250.00", "day", ""))

Drawn = Callable[[Sequence[Column], Sequence[Sequence[str]], int | None], list[str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Drawn:
    def draw(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
        monkeypatch.setattr(console, "terminal_width", lambda: room)
        console.show_table(columns, rows)
        return capsys.readouterr().out.splitlines()

    return draw


def test_without_a_terminal_each_row_is_one_line_and_amounts_end_in_one_column(drawn: Drawn) -> None:
    assert drawn(COLUMNS, ROWS, None) == [
        "id       cents  who         reason",
        "op_1      5.00  night desk  it was agreed by phone",
        "op_2  1,250.00  day",
    ]


def test_what_is_too_long_is_folded_from_the_right(drawn: Drawn) -> None:
    assert drawn(COLUMNS, ROWS, 40)[1:4] == [
        "op_1      5.00  night desk  it was",
        "                            agreed by",
        "                            phone",
    ]


@pytest.mark.parametrize("room", [14, 20, 25, 30])
def test_what_does_not_fit_goes_below_its_row_and_not_away(drawn: Drawn, room: int) -> None:
    lines = drawn(COLUMNS, ROWS, room)

    assert max(map(len, lines)) <= room
    assert any(line.startswith("    ") for line in lines)
    assert "op_2  1,250.00" in "\n".join(lines)
    assert "it was agreed by phone" in " ".join("\n".join(lines).split())


@pytest.mark.parametrize("room", [5, 9])
def test_what_is_narrower_than_any_table_loses_no_character(drawn: Drawn, room: int) -> None:
    lines = drawn(COLUMNS[:2], [row[:2] for row in ROWS], room)

    assert max(map(len, lines)) <= room
    assert set("".join(lines)) >= set("op_1op_21,250.005.00")


def test_a_column_without_a_word_takes_no_room(drawn: Drawn) -> None:
    assert drawn(COLUMNS, [("op_1", "5.00", "", "")], None) == ["id    cents", "op_1   5.00"]


@pytest.mark.parametrize("room", [None, 20])
def test_ideographs_count_twice_and_marks_nothing(drawn: Drawn, room: int | None) -> None:
    rows = [("夜間", "1"), ("day", "2"), ("e\u0301te\u0301", "3")]

    assert drawn((Column("who"), Column("x")), rows, room)[1:] == ["夜間  1", "day   2", "e\u0301te\u0301   3"]


@pytest.mark.parametrize("room", [None, 60])
@pytest.mark.parametrize("text", ["[red]paid[/red] [/] [link=https://x]y[/link]", ":smile: 5.00 'x' https://y True"])
def test_no_text_is_read_as_markup(
    drawn: Drawn, capsys: pytest.CaptureFixture[str], text: str, room: int | None
) -> None:
    assert drawn((Column("id"), Column("x")), [("op_1", text)], room)[1] == f"op_1  {text}"
    console.say(text)
    console.say_labelled("[b]", text, columns=6)
    assert capsys.readouterr().out == f"{text}\n[b]   {text}\n"


def test_a_paragraph_is_one_line_without_a_terminal_and_folded_between_words_on_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "sed ut perspiciatis unde omnis iste natus"
    console.say_labelled("warn", words, columns=6)
    monkeypatch.setattr(console, "terminal_width", lambda: 30)
    console.say_labelled("warn", words, columns=6)

    assert capsys.readouterr().out.splitlines() == [
        f"warn  {words}",
        "warn  sed ut perspiciatis unde",
        "      omnis iste natus",
    ]


def test_what_is_piped_is_plain_whatever_the_environment_forces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TERM", "xterm-256color")

    console.say_labelled("FAIL", "a sentence", columns=6, label_style="red", style="bold")
    console.show_table((Column("state", colours={"done": "green"}),), [("done",)])

    assert capsys.readouterr().out == "FAIL  a sentence\nstate\ndone\n"


@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_dumb_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch, term: str, *, coloured: bool) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)

    console.say("yes", "green")

    assert ("\x1b" in terminal.getvalue()) == coloured


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "spins"), [("xterm", True), ("dumb", False)])
def test_a_spinner_turns_on_standard_error_and_leaves_no_trace_in_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], term: str, *, spins: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "__stderr__", terminal)

    with console.working("reading") as say_so:
        console.say("found")
        say_so("still reading")

    assert capsys.readouterr().out == "found\n"
    assert ("reading" in terminal.getvalue()) == spins
    assert terminal.getvalue().count("\x1b[?25h") >= spins  # the cursor is shown again


def test_without_a_terminal_nothing_spins(capsys: pytest.CaptureFixture[str]) -> None:
    with console.working("reading") as say_so:
        say_so("still reading")

    assert capsys.readouterr() == ("", "")
