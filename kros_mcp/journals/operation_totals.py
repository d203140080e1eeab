"""What operations come to: how many stand where, and what was charged or may have been."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from typing import Final

from kros_mcp.journals.rows import Work
from kros_mcp.operations.journal import Total
from kros_mcp.operations.model import WAITING, Action, Channel, State

_WAITING: Final = ", ".join(f"'{state}'" for state in sorted(WAITING))
_BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges)


def of(table: str, where: str, values: list[object], now: float, charged_cents: str) -> Work[tuple[Total, ...]]:
    """Count and sum the operations of a condition.

    Args:
        table: Of the operations.
        where: The condition.
        values: The values for its marks.
        now: Tells what has expired and no row says so yet.
        charged_cents: How a row tells what was charged for certain.
    """
    seen = f"CASE WHEN state IN ({_WAITING}) AND expires_at <= ? THEN 'expired' ELSE state END"
    charged = f"coalesce(sum(CASE WHEN charged = 'yes' THEN {charged_cents} END), 0)"
    unknown = "coalesce(sum(CASE WHEN charged = 'unknown' THEN reserved_cents END), 0)"
    of_how_many = "sum(CASE WHEN charged = 'unknown' THEN 1 ELSE 0 END)"
    shown = f"{seen}, channel, action, count(*), {charged}, {unknown}, {of_how_many}"
    sql = f"SELECT {shown} FROM {table} WHERE {where} GROUP BY 1, 2, 3"
    rows = yield sql, (now, *values)
    return tuple(
        Total(State(state), Channel(channel) if channel else None, Action(action), *map(int, counted))
        for state, channel, action, *counted in rows
    )


def asked(table: str, due_now: str, account: str, now: float) -> Work[tuple[int | None, ...]]:
    """Read what each purchase that waits, for a yes or its turn, would take; `due_now` is how a row tells it."""
    wanted = f"account = ? AND state IN ({_WAITING}) AND action IN ({_BUYS}) AND expires_at > ?"
    rows = yield f"SELECT {due_now} FROM {table} WHERE {wanted}", (account, now)
    return tuple(None if cents is None else int(cents) for (cents,) in rows)
