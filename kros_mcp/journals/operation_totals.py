"""What operations come to: how many stand where, and what was charged or may have been."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Final

from kros_mcp.journals.amounts import CHARGED
from kros_mcp.journals.rows import Work
from kros_mcp.operations.journal import Total
from kros_mcp.operations.model import WAITING, Action, Channel, State

_WAITING: Final = ", ".join(f"'{state}'" for state in sorted(WAITING))
_SUMS: Final = ("count", "charged_cents", "unknown_cents", "unknown")
_BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges)


def of(
    table: str, where: str, values: list[object], now: float, amounts: str, currency: str
) -> Work[tuple[Total, ...]]:
    """Count and sum the operations of a condition, those of one kind once for each currency.

    Args:
        table: Of the operations.
        where: The condition.
        values: The values for its marks.
        now: Tells what has expired and no row says so yet.
        amounts: The columns of what a row took.
        currency: How it tells in which currency its price is stated.
    """
    seen = f"CASE WHEN state IN ({_WAITING}) AND expires_at <= ? THEN 'expired' ELSE state END"
    charged = f"coalesce(sum(CASE WHEN charged = 'yes' THEN {CHARGED} END), 0)"
    unknown = "coalesce(sum(CASE WHEN charged = 'unknown' THEN reserved_cents END), 0)"
    of_how_many = "sum(CASE WHEN charged = 'unknown' THEN 1 ELSE 0 END)"
    stated = f"CASE WHEN charged <> 'no' THEN coalesce({currency}, '') END AS currency"
    columns = f"{seen} AS seen, channel, action, charged, reserved_cents, {stated}, {amounts}"
    of_each = f"SELECT {columns} FROM {table} WHERE {where}"
    shown = f"seen, channel, action, currency, count(*), {charged}, {unknown}, {of_how_many}"
    sql = f"WITH each_one AS MATERIALIZED ({of_each}) SELECT {shown} FROM each_one GROUP BY 1, 2, 3, 4"
    rows = yield sql, (now, *values)
    return tuple(
        Total(
            State(state),
            Channel(channel) if channel else None,
            Action(action),
            count=int(count),
            charged_cents=int(yes),
            unknown_cents=int(maybe),
            unknown=int(many),
            currencies=frozenset(() if currency is None else {currency}),
        )
        for state, channel, action, currency, count, yes, maybe, many in rows
    )


def together(parts: Iterable[tuple[Total, ...]]) -> tuple[Total, ...]:
    """Add up the totals of parts that have no operation in common, kind by kind."""
    found: dict[tuple[object, ...], Total] = {}
    for each in chain.from_iterable(parts):
        kind = (each.state, each.channel, each.action)
        before = found.get(kind)
        found[kind] = each if before is None else _added(before, each)
    return tuple(found.values())


def _added(one: Total, other: Total) -> Total:
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMS}
    return replace(one, **sums, currencies=one.currencies | other.currencies)


def asked(table: str, due_now: str, account: str, principal: str | None, now: float) -> Work[tuple[int | None, ...]]:
    """Read what each purchase that waits, for a yes or its turn, would take; `due_now` is how a row tells it."""
    wanted = f"account = ? AND state IN ({_WAITING}) AND action IN ({_BUYS}) AND expires_at > ?"
    values: tuple[object, ...] = (account, now)
    if principal is not None:
        wanted, values = f"{wanted} AND principal = ?", (*values, principal)
    rows = yield f"SELECT {due_now} FROM {table} WHERE {wanted}", values
    return tuple(None if cents is None else int(cents) for (cents,) in rows)
