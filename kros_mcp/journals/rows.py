"""An operation as a row of a table, and back; the columns are the fields, in their order."""

import json
from collections.abc import Generator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from kros_mcp.operations import model
from kros_mcp.operations.events import Event
from kros_mcp.operations.model import Operation

T = TypeVar("T")
Statement = tuple[str, Sequence[object]]
"""SQL with a question mark for each value."""
Rows = list[tuple[Any, ...]]
Work = Generator[Statement, Rows, T]
"""A transaction: yields statements, receives their rows, returns its result."""

_TOLD = ""

COLUMNS = tuple(field.name for field in fields(Operation))
EVENT_COLUMNS = ("at", "move", "by_whom", "channel", "words", "changes")
_JSON = frozenset({"request", "quote", "limits", "number", "not_applied", "settings_superseded", "snapshot", "items"})


def happened(operation: Operation, event: Event) -> Statement:
    """Note, in place of a statement for the database, what others hear once the transaction is committed.

    Args:
        operation: As it is stored then.
        event: What happened to it.
    """
    return _TOLD, (operation, event)


def what_happened(statement: Statement) -> tuple[Operation, Event] | None:
    """Return what `happened` noted; None for a statement for the database."""
    sql, values = statement
    if sql != _TOLD:
        return None
    operation, event = values
    assert isinstance(operation, Operation)  # noqa: S101 - as `happened` makes it
    assert isinstance(event, Event)  # noqa: S101 - the same
    return operation, event


def encode(operation: Operation) -> tuple[object, ...]:
    """The values of a row; what has a shape of its own is JSON."""
    row = model.as_row(operation)
    return tuple(
        json.dumps(row[name]) if name in _JSON and row[name] is not None else _plain(row[name]) for name in COLUMNS
    )


def decode(values: tuple[Any, ...]) -> Operation:
    """The operation that `encode` was given; a backend may have parsed the JSON already."""
    row = dict(zip(COLUMNS, values, strict=True))
    return model.from_row(
        {name: json.loads(value) if name in _JSON and isinstance(value, str) else value for name, value in row.items()}
    )


def encode_event(event: Event) -> tuple[object, ...]:
    """The values of an event, in the order of `EVENT_COLUMNS`."""
    changes = json.dumps(event.changes)
    return (event.at, str(event.move), event.who, event.channel, event.words, changes)


def decode_event(values: tuple[Any, ...]) -> Event:
    """The event that `encode_event` was given."""
    at, move, who, channel, words, changes = values
    return Event(at, move, who, channel, words, json.loads(changes) if isinstance(changes, str) else changes)


def marks(values: Sequence[object]) -> str:
    """One mark for each value."""
    return ", ".join("?" * len(values))


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, str) else value  # members of an enumeration too
