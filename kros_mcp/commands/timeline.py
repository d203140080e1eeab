"""`kros-mcp operations ID`: the story of one operation, move by move. Needs no API key."""

import json
from dataclasses import dataclass
from typing import Any

import anyio

from kros_mcp.commands.batch_table import show_numbers, told
from kros_mcp.commands.console import Column, say, show_table
from kros_mcp.commands.selection import account_of, currency, require, short
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import clean
from kros_mcp.operations import agent_words, events
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.events import Event, MoveName
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Operation
from kros_mcp.operations.record import record
from kros_mcp.settings import Settings, load_settings
from kros_mcp.times import utc

_LONGEST = 500
_COLOURS = {
    MoveName.DONE: "green",
    MoveName.FAILED: "yellow",
    MoveName.UNKNOWN: "red",
    MoveName.CORRECTED: "red",
    MoveName.WRONG_CODE: "yellow",
}
_COLUMNS = (
    Column("when (UTC)"),
    Column("what", colours={move.replace("_", " "): colour for move, colour in _COLOURS.items()}),
    Column("by", least=8),
    Column("through", leaves=True, below="through "),
    Column("words", least=24, leaves=True),
)


@dataclass(frozen=True)
class _Story:
    """One operation, and what happened to it; `account` is that of this terminal's key."""

    operation: Operation
    events: tuple[Event, ...]
    account: str | None
    items: tuple[Operation, ...] = ()
    """Of a batch, the operations of its numbers."""


def show(operation_id: str, *, as_json: bool) -> None:
    """Print what happened to one operation, oldest first.

    Raises:
        KrosError: The journal cannot be used, or there is no such operation.
    """
    settings = load_settings()
    story = anyio.run(_read, settings, operation_id)
    if as_json:
        print(json.dumps(_document(story, settings), indent=2, ensure_ascii=False))
    else:
        _print(story, settings)


async def _read(settings: Settings, operation_id: str) -> _Story:
    async with open_journal(settings.journal_url) as journal:
        operation = await require(journal, operation_id)
        texts = await journal.events(operation_id)
        if not texts:  # of a journal that is older than events, and not moved since
            texts = (events.carried_over(operation, operation.created_at),)
        return _Story(operation, texts, await account_of(settings, journal), await journal.items(operation_id))


def _document(story: _Story, settings: Settings) -> dict[str, Any]:
    operation = story.operation
    items = [record(item, currency(item, story.account, settings)) for item in story.items]
    return {
        "operation": record(operation, currency(operation, story.account, settings)),
        "events": [
            {
                "at": utc(event.at),
                "move": clean(event.move),
                "by": clean(event.who, LONGEST_NAME_SHOWN),
                "through": clean(event.channel) or None,
                "words": clean(event.words, _LONGEST) or None,
                "changes": _cleaned(event.changes),
            }
            for event in story.events
        ],
        **({"items": items} if operation.action.is_several else {}),
    }


def _print(story: _Story, settings: Settings) -> None:
    operation = story.operation
    batch = Batch(operation, story.items) if operation.action.is_several else None
    stands = batch or operation
    say(
        f"{operation.id}: {told(operation)}, {operation.quote.environment}, of account "
        f"{short(operation.account)}. It is {batch.status if batch and batch.items else operation.state}; "
        f"charged: {stands.charged}, changed: {stands.changed}."
    )
    if operation.batch:
        say(f"It is one of several, under the yes of {operation.batch}.")
    print()
    if batch is not None:
        show_numbers(operation, currency(operation, story.account, settings), story.items)
        print()
    show_table(_COLUMNS, [_row(event) for event in story.events])


def _row(event: Event) -> tuple[str, ...]:
    return (
        utc(event.at).replace("T", " ").removesuffix("Z"),
        clean(event.move).replace("_", " "),
        clean(event.who, LONGEST_NAME_SHOWN),
        clean(event.channel),
        _words(event),
    )


def _words(event: Event) -> str:
    """Return the words that a move came with, and what it says of settings."""
    changes = event.changes
    texts = [clean(event.words, _LONGEST)]
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
    return clean(", ".join(map(str, names)), _LONGEST)


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a value with every text cleaned of what could deceive its reader."""
    if isinstance(value, dict):
        return {clean(str(name)): _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return clean(value, _LONGEST) if isinstance(value, str) else value
