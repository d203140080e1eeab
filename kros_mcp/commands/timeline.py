"""`kros-mcp operations ID`: the story of one operation, move by move. Needs no API key."""

import json
from dataclasses import astuple
from typing import Any

import anyio

from kros_mcp.commands.batch_table import show_numbers, told
from kros_mcp.commands.console import Column, say, show_table
from kros_mcp.commands.selection import account_of, currency, require, short
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import clean
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.events import MoveName
from kros_mcp.operations.model import LONGEST_NAME_SHOWN
from kros_mcp.operations.record import record
from kros_mcp.operations.story import LONGEST, Story, read_story
from kros_mcp.settings import Settings, load_settings
from kros_mcp.times import utc

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


def show(operation_id: str, *, as_json: bool) -> None:
    """Print what happened to one operation, oldest first.

    Raises:
        KrosError: The journal cannot be used, or there is no such operation.
    """
    settings = load_settings()
    story, account = anyio.run(_read, settings, operation_id)
    if as_json:
        print(json.dumps(_document(story, account, settings), indent=2, ensure_ascii=False))
    else:
        _print(story, account, settings)


async def _read(settings: Settings, operation_id: str) -> tuple[Story, str | None]:
    """Read the story, and which account this terminal's key names."""
    async with open_journal(settings.journal_url) as journal:
        operation = await require(journal, operation_id)
        return await read_story(journal, operation), await account_of(settings, journal)


def _document(story: Story, account: str | None, settings: Settings) -> dict[str, Any]:
    operation = story.operation
    items = [record(item, currency(item, account, settings)) for item in story.items]
    return {
        "operation": record(operation, currency(operation, account, settings)),
        "events": [
            {
                "at": utc(event.at),
                "move": clean(event.move),
                "by": clean(event.who, LONGEST_NAME_SHOWN),
                "through": clean(event.channel) or None,
                "words": clean(event.words, LONGEST) or None,
                "changes": _cleaned(event.changes),
            }
            for event in story.events
        ],
        **({"items": items} if operation.action.is_several else {}),
    }


def _print(story: Story, account: str | None, settings: Settings) -> None:
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
        show_numbers(operation, currency(operation, account, settings), story.items)
        print()
    show_table(_COLUMNS, list(map(astuple, story.lines)))


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a value with every text cleaned of what could deceive its reader."""
    if isinstance(value, dict):
        return {clean(str(name)): _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return clean(value, LONGEST) if isinstance(value, str) else value
