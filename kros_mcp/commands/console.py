"""A table for a terminal: it fits, and what does not fit goes below its row rather than away.

First long cells are cut with an ellipsis. Where even that is too wide, the columns that may leave move to an
indented line below, one after the other. Without a terminal nothing is cut.
"""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kros_mcp.commands.stage import paint

_GAP = 2
_INDENT = "    "
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        title: Stands above it.
        least: How far its cells may be cut, in columns of the terminal; 0 is not at all.
        leaves: Whether it may move below the row, the last such column first; it goes where it is empty, too.
        below: What to call its cells there.
        right: Whether its cells are set to the right, as amounts are.
        colours: The colour of a cell by its text.
    """

    title: str
    least: int = 0
    leaves: bool = False
    below: str = ""
    right: bool = False
    colours: dict[str, str] = field(default_factory=dict)


def terminal_columns() -> int | None:
    """Tell how wide a line may be; None without a terminal."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else None


def fitted(text: str, *, first: str = "", rest: str = "") -> list[str]:
    """Break a text where a word ends, if it goes to a terminal; else it stays one line, for programs to search.

    Args:
        text: Without colours, which would count as columns.
        first: Stands before the first line.
        rest: Stands before the others.
    """
    room = terminal_columns()
    if room is None:
        return [first + text]
    return textwrap.wrap(
        text,
        room,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def drawn(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Draw a table.

    Args:
        columns: From left to right.
        rows: A cell for each column.
        room: How wide a line may be, in columns of the terminal; None is as wide as it needs.
    """
    widths = [max([_width(column.title), *(_width(row[at]) for row in rows)]) for at, column in enumerate(columns)]
    beside = [at for at, column in enumerate(columns) if not column.leaves or any(row[at] for row in rows)]
    while room is not None and _total(widths, beside) > room:
        cut = _cut(columns, widths, beside, room)
        if cut is not None:
            widths = cut
            break
        leaving = [at for at in beside if columns[at].leaves]
        if not leaving:
            break
        beside.remove(leaving[-1])
    below = [at for at in range(len(columns)) if at not in beside]
    lines = ["  ".join(_set(columns[at], columns[at].title, widths[at], plain=True) for at in beside).rstrip()]
    for row in rows:
        lines.append("  ".join(_set(columns[at], row[at], widths[at]) for at in beside).rstrip())
        told = ", ".join(f"{columns[at].below}{row[at]}" for at in below if row[at])
        if told:
            lines += textwrap.wrap(
                told, room or 0, initial_indent=_INDENT, subsequent_indent=_INDENT, max_lines=2, placeholder=_ELLIPSIS
            )
    return lines


def shortened(text: str, columns: int) -> str:
    """Cut a text to that many columns of the terminal, with an ellipsis where something is lost."""
    if _width(text) <= columns:
        return text
    kept, used = "", 0
    for character in text:
        used += _width(character)
        if used > columns - 1:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def _cut(columns: Sequence[Column], widths: list[int], beside: Iterable[int], room: int) -> list[int] | None:
    """Narrow the columns that may be cut, from the right, until the table fits; None if it cannot."""
    narrowed, excess = list(widths), _total(widths, beside) - room
    for at in sorted(beside, reverse=True):
        if columns[at].least:
            given = max(0, min(excess, narrowed[at] - max(columns[at].least, _width(columns[at].title))))
            narrowed[at] -= given
            excess -= given
    return None if excess > 0 else narrowed


def _total(widths: Sequence[int], beside: Iterable[int]) -> int:
    shown = [widths[at] for at in beside]
    return sum(shown) + _GAP * (len(shown) - 1)


def _set(column: Column, cell: str, width: int, *, plain: bool = False) -> str:
    text = shortened(cell, width)
    blanks = " " * (width - _width(text))
    colour = None if plain else column.colours.get(cell)
    shown = paint(text, colour) if colour and text else text
    return blanks + shown if column.right else shown + blanks


def _width(text: str) -> int:
    """Count the columns that a text takes; ideographs take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
