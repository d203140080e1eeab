"""How the demo and the doctor look on a terminal: colours by hand, lines of at most 100 columns."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

WIDEST_COLUMNS = 100
NARROWEST_COLUMNS = 50
_LABEL_COLUMNS = 11
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


class ClaimError(Exception):
    """Something that the demo says is not so at the simulator."""


def paint(text: str, colour: str) -> str:
    """Colour a text, on a terminal only and not where NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def columns() -> int:
    """How wide a line may be."""
    terminal = shutil.get_terminal_size((WIDEST_COLUMNS, 24)).columns
    return max(NARROWEST_COLUMNS, min(WIDEST_COLUMNS, terminal))


def wrapped(text: str, *, first: str = "", rest: str | None = None) -> list[str]:
    """Break a text into lines that fit, the first and the others with their own indent."""
    return textwrap.wrap(
        text,
        columns(),
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_on_hyphens=False,
    )


def amount(cents: int | None) -> str:
    """Write cents as an amount without a currency, as in "5.00"."""
    return "not stated" if cents is None else f"{cents // 100:,}.{cents % 100:02d}"


class Stage:
    """Shows a conversation line by line: who speaks, what is called, what is checked.

    Args:
        pace_seconds: How long to rest after each step.
    """

    def __init__(self, pace_seconds: float = 0.0) -> None:
        self._pace_seconds = pace_seconds

    async def scene(self, title: str, about: str) -> None:
        """Begin a scene."""
        print()
        print(paint(f"== {title} ".ljust(columns(), "="), "bold"))
        for line in wrapped(about):
            print(paint(line, "dim"))
        print()
        await self._rest()

    async def person(self, text: str) -> None:
        """Let the person speak."""
        await self._line("person", text, "cyan")

    async def agent(self, text: str) -> None:
        """Let the agent speak."""
        await self._line("agent", text, "blue")

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Show a tool call; a confirmation code is for the server alone, and not shown."""
        shown = {**arguments}
        if shown.get("confirmation_code"):
            shown["confirmation_code"] = "(the one from the answer)"
        given = ", ".join(f"{name}={value}" for name, value in shown.items())
        await self._line("  call", f"{tool}({given})", "yellow")

    async def answer(self, sentence: str, facts: Sequence[str]) -> None:
        """Show a tool's answer: the sentence to be spoken, and the facts beside it."""
        await self._line("  answer", f'"{sentence}"')
        for fact in facts:
            for line in wrapped(fact, first=" " * _LABEL_COLUMNS, rest=" " * (_LABEL_COLUMNS + 2)):
                print(paint(line, "dim"))

    async def prompt(self, text: str, choice: str) -> None:
        """Show the prompt that the client puts to the person, and what the person chooses."""
        print("  prompt   " + "." * (columns() - _LABEL_COLUMNS))
        for line in text.splitlines():
            for part in wrapped(line, first=" " * _LABEL_COLUMNS + ": "):
                print(part)
        print(" " * _LABEL_COLUMNS + "." * (columns() - _LABEL_COLUMNS))
        await self._line("  choice", choice, "cyan")

    async def krosai(self, text: str) -> None:
        """Tell what KrosAI does at this moment, unseen by person and agent."""
        await self._line("  KrosAI", text, "red")

    async def claim(self, text: str, *, holds: bool) -> None:
        """Show a claim that has been checked.

        Raises:
            ClaimError: It does not hold.
        """
        if not holds:
            raise ClaimError(text)
        await self._line("  checked", text, "green")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Show rows under a heading, in columns as wide as they need."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for place, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            print(paint(line, "bold") if place == 0 else line)
        print()

    def say(self, text: str, colour: str = "") -> None:
        """Show a paragraph."""
        for line in wrapped(text):
            print(paint(line, colour) if colour else line)

    async def _line(self, label: str, text: str, colour: str = "") -> None:
        first, *others = wrapped(text, first=label.ljust(_LABEL_COLUMNS))
        print((paint(label, colour) if colour else label) + first[len(label) :])
        for line in others:
            print(line)
        await self._rest()

    async def _rest(self) -> None:
        sys.stdout.flush()
        if self._pace_seconds > 0:
            await anyio.sleep(self._pace_seconds)
