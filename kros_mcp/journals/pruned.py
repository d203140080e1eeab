"""Operations that are deleted, and what is written down of that, in the same transaction."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from collections.abc import Sequence
from dataclasses import replace

from kros_mcp.journals.rows import Work, marks
from kros_mcp.operations.model import Operation
from kros_mcp.operations.pruning import Pruning

_NAMES = "pruned:"
"""Begins the names, in `meta`, of what was deleted: one for each run and account."""


def delete(table: str, events: str, meta: str, operations: Sequence[Operation], run: Pruning) -> Work[None]:
    """Delete operations with their events, and add them to what is written down of the run, account by account.

    Args:
        table: Of the operations.
        events: Of their events.
        meta: Where what was deleted is written down.
        operations: As they are stored; locked.
        run: Names the run; of which account does not matter.
    """
    ids = [operation.id for operation in operations]
    yield f"DELETE FROM {events} WHERE operation_id IN ({marks(ids)})", ids
    yield f"DELETE FROM {table} WHERE id IN ({marks(ids)})", ids
    for account in sorted({operation.account for operation in operations}):
        deleted = [operation for operation in operations if operation.account == account]
        yield from _add(meta, run.of(account, deleted))


def every(meta: str) -> Work[tuple[Pruning, ...]]:
    """Read what was deleted, oldest run first."""
    rows = yield f"SELECT value FROM {meta} WHERE name LIKE ?", (f"{_NAMES}%",)
    found = (Pruning.decoded(bytes(value)) for (value,) in rows)
    return tuple(sorted(found, key=lambda each: (each.at, each.account)))


def hand_over(meta: str, former: str, account: str) -> Work[None]:
    """Let what was deleted of one account be another's."""
    for pruning in (yield from every(meta)):
        if pruning.account == former:
            yield f"DELETE FROM {meta} WHERE name = ?", (_name(pruning),)
            yield from _add(meta, replace(pruning, account=account))


def _add(meta: str, pruning: Pruning) -> Work[None]:
    """Add to what is written down of a run and account."""
    rows = yield f"SELECT value FROM {meta} WHERE name = ?", (_name(pruning),)
    in_all = Pruning.decoded(bytes(rows[0][0])) + pruning if rows else pruning
    again = "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    yield f"INSERT INTO {meta} VALUES (?, ?) {again}", (_name(pruning), in_all.encoded())


def _name(pruning: Pruning) -> str:
    return f"{_NAMES}{pruning.run}:{pruning.account}"
