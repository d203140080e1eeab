"""What people read on a terminal: paragraphs, tables and spinners, drawn by rich.

On a terminal lines are folded to its width, and coloured unless NO_COLOR is set or TERM is dumb. Elsewhere a paragraph
or a row of a table is one line, whole and in plain text, for programs to search. No text is read as markup, whoever
wrote it; what could command a terminal is escaped by the streams themselves (`characters.EscapingStream`).
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TextIO

from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.status import Status
from rich.text import Text

WIDEST_PROSE = 100
"""How wide a paragraph may be, on however wide a terminal."""
NARROWEST_PROSE = 50
_GAP = 2
_INDENT = 4
_DUMB = {"dumb", "unknown"}
_spinner: Status | None = None
"""The spinner that turns at present; it rests while something is printed."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        title: Stands above it.
        least: How narrow it may be folded, in columns of the terminal; 0 is not at all.
        leaves: Whether it may move below the row, the last such column first; it goes where it is empty, too.
        below: What to call its cells there.
        right: Whether its cells are set to the right, as amounts are.
        colours: The colour of a cell by its text.
        runs: The colour of runs of a character, as bars are drawn of.
    """

    title: str
    least: int = 0
    leaves: bool = False
    below: str = ""
    right: bool = False
    colours: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)


def terminal_width() -> int | None:
    """Return how many columns the terminal has; None without a terminal."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else None


def prose_width() -> int:
    """Return how wide a paragraph is that is folded without a terminal, too."""
    room = terminal_width() or shutil.get_terminal_size((WIDEST_PROSE, 24)).columns
    return max(NARROWEST_PROSE, min(WIDEST_PROSE, room))


def say(text: str, style: str = "", *, always_folds: bool = False) -> None:
    """Print a paragraph.

    Args:
        text: The paragraph.
        style: Such as "red", or "bold".
        always_folds: Fold it without a terminal, too.
    """
    say_labelled("", text, style=style, always_folds=always_folds)


def say_labelled(
    label: str,
    text: str | Text,
    *,
    columns: int = 0,
    label_style: str = "",
    style: str = "",
    always_folds: bool = False,
) -> None:
    """Print a paragraph to the right of its label.

    Args:
        label: Stands before the first line.
        text: The paragraph.
        columns: How wide the label is with the blanks behind it.
        label_style: Such as "red", or "bold".
        style: The same of the paragraph.
        always_folds: Fold it without a terminal, too.
    """
    shown = text if isinstance(text, Text) else _styled(text, style)
    room = terminal_width()
    if room is None and not always_folds:
        _print(Group(Text.assemble((label.ljust(columns), label_style), shown)), None)
        return
    grid = rich_table.Table.grid(
        rich_table.Column(width=columns, no_wrap=True), rich_table.Column(overflow="fold"), padding=0
    )
    grid.add_row(_styled(label, label_style), shown)
    _print(grid if columns else shown, prose_width() if always_folds else min(WIDEST_PROSE, room or WIDEST_PROSE))


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: what does not fit a terminal is folded, or moves to an indented line below its row."""
    widths = [max([cell_len(column.title), *(cell_len(row[at]) for row in rows)]) for at, column in enumerate(columns)]
    beside = [at for at, column in enumerate(columns) if not column.leaves or any(row[at] for row in rows)]
    room = terminal_width()
    if room is not None:
        widths, beside = _fitted(columns, widths, beside, room)
    below = [at for at, column in enumerate(columns) if at not in beside and column.leaves]
    lines: list[RenderableType] = []
    for row in ([column.title for column in columns], *rows):
        is_title = not lines
        cells = [_styled(row[at], "") if is_title else _coloured(row[at], columns[at]) for at in beside]
        if room is None:
            _pad(cells, [columns[at] for at in beside], [widths[at] for at in beside])
            lines.append(Text("  ").join(cells))
        else:
            lines.append(_grid(cells, [columns[at] for at in beside], [widths[at] for at in beside]))
        details = ", ".join(f"{columns[at].below}{row[at]}" for at in below if row[at] and not is_title)
        if details:
            lines.append(Padding(Text(details, overflow="fold"), (0, 0, 0, _INDENT)))
    _print(Group(*lines), room)


def _styled(text: str, style: str) -> Text:
    """Return a text with a style, which the blanks around it do not have."""
    return Text.assemble((text, style))


def _coloured(cell: str, column: Column) -> Text:
    shown = _styled(cell, column.colours.get(cell, ""))
    for character, style in column.runs.items():
        shown.highlight_regex(f"{re.escape(character)}+", style)
    return shown


def _fitted(columns: Sequence[Column], widths: list[int], beside: list[int], room: int) -> tuple[list[int], list[int]]:
    """Return widths with which a table fits, and which columns stay beside each other."""
    beside = list(beside)
    while True:
        narrowed, excess = list(widths), sum(widths[at] for at in beside) + _GAP * (len(beside) - 1) - room
        for at in reversed(beside):
            if columns[at].least:
                spare = max(0, min(excess, narrowed[at] - max(columns[at].least, cell_len(columns[at].title))))
                narrowed[at] -= spare
                excess -= spare
        leaving = [at for at in beside if columns[at].leaves]
        if excess <= 0 or not leaving:
            return narrowed, beside  # if it still does not fit, rich folds every column
        beside.remove(leaving[-1])


def _grid(cells: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> rich_table.Table:
    """Return one row; as all have the same widths, they stand in columns."""
    grid = rich_table.Table.grid(padding=0)
    parts: list[Text] = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        if parts:
            grid.add_column(width=_GAP)
            parts.append(Text())
        grid.add_column(width=width, justify="right" if column.right else "left", overflow="fold")
        parts.append(cell)
    grid.add_row(*parts)
    return grid


def _pad(cells: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> None:
    for cell, column, width in zip(cells, columns, widths, strict=True):
        blanks = width - cell_len(cell.plain)
        if column.right:
            cell.pad_left(blanks)
        else:
            cell.pad_right(blanks)


@contextmanager
def working(words: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner on standard error while something takes time, if that is a terminal.

    Args:
        words: What takes time, in our own words: the spinner commands the terminal, so that nothing is escaped there.

    Yields:
        A function that changes the words.
    """
    global _spinner  # noqa: PLW0603 - a process has one terminal
    stream = sys.__stderr__
    if stream is None or not sys.stderr.isatty() or os.environ.get("TERM") in _DUMB or _spinner is not None:
        yield lambda _words: None
        return
    console = Console(
        file=stream, force_terminal=True, color_system=_colours(stream), no_color=False, legacy_windows=False
    )
    spinner = console.status(Text(words), spinner="line")
    with spinner:
        _spinner = spinner
        try:
            yield lambda changed: spinner.update(Text(changed))
        finally:
            _spinner = None


def _print(what: RenderableType, width: int | None) -> None:
    """Print something, without blanks at the ends of lines; the spinner rests meanwhile."""
    console = Console(
        file=sys.stdout,
        force_terminal=sys.stdout.isatty(),
        color_system=_colours(sys.stdout),
        no_color=False,  # where colours are not wanted, no style is
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(what, soft_wrap=width is None)
    if _spinner is not None:
        _spinner.stop()
    for line in captured.get().removesuffix("\n").split("\n"):
        print(line.rstrip(" "))
    sys.stdout.flush()
    if _spinner is not None:
        _spinner.start()


def _colours(stream: TextIO) -> Literal["standard"] | None:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in _DUMB or not stream.isatty()
    return None if plain else "standard"
