"""The story of one operation, move by move, in words: when what happened to it, by whom and through which channel."""

from dataclasses import dataclass
from typing import Any, Final

from kros_mcp.krosai import clean
from kros_mcp.operations import agent_words, events
from kros_mcp.operations.events import Event, MoveName
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Operation
from kros_mcp.times import utc

LONGEST: Final = 500
"""Characters of the words of one move."""


@dataclass(frozen=True)
class Line:
    """One move in words, cleaned of what could deceive its reader."""

    at: str
    """When, to the second, as in "2026-05-03 12:00:00"; in UTC."""
    move: str
    by: str
    through: str
    words: str


@dataclass(frozen=True)
class Story:
    """One operation, and what happened to it, oldest first."""

    operation: Operation
    events: tuple[Event, ...]
    items: tuple[Operation, ...] = ()
    """Of a batch, the operations of its numbers."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """What happened, in words."""
        return tuple(map(_line, self.events))


async def read_story(journal: Journal, operation: Operation) -> Story:
    """Read what happened to an operation.

    Raises:
        JournalError: The journal cannot be used.
    """
    found = await journal.events(operation.id)
    if not found:  # of a journal that is older than events, and not moved since
        found = (events.carried_over(operation, operation.created_at),)
    return Story(operation, found, await journal.items(operation.id))


def _line(event: Event) -> Line:
    return Line(
        at=utc(event.at).replace("T", " ").removesuffix("Z"),
        move=clean(event.move).replace("_", " "),
        by=clean(event.who, LONGEST_NAME_SHOWN),
        through=clean(event.channel),
        words=_words(event),
    )


def _words(event: Event) -> str:
    """Return the words that a move came with, and what it says of settings."""
    changes = event.changes
    texts = [clean(event.words, LONGEST)]
    request = changes.get("request")
    if isinstance(request, dict) and (written := agent_words.quoted(str(request.get("reason") or ""))):
        texts.append(f"{agent_words.INTRODUCTION} {written}")
    if changes.get("error_code"):
        texts.append(f"({clean(str(changes['error_code']))})")
    if changes.get("settings_superseded"):
        texts.append(f"Chosen anew: {_listed(changes['settings_superseded'])}.")
    if changes.get("not_applied"):
        texts.append(f"Not applied: {_listed(changes['not_applied'])}.")
    if event.move == MoveName.SETTINGS and changes.get("settings_pending") is False:
        texts.append("Its settings are finished.")
    return " ".join(text for text in texts if text)


def _listed(names: list[Any]) -> str:
    return clean(", ".join(map(str, names)), LONGEST)
