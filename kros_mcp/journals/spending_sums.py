"""What operations took and what they changed of the cost of a month, summed by day, principal or country."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from typing import Final

from kros_mcp.journals.amounts import BUYS, Amounts
from kros_mcp.journals.rows import Work
from kros_mcp.operations.expenditure import COUNTED, Sums, Tallied

_BOUGHT: Final = f"action IN ({BUYS}) AND charged = 'yes'"
_MAYBE: Final = f"action IN ({BUYS}) AND charged = 'unknown'"
_RELEASED: Final = "action = 'release' AND state = 'done'"
_MAYBE_RELEASED: Final = "action = 'release' AND state = 'unknown'"


def of(table: str, where: str, values: list[object], *, key: str, amounts: Amounts) -> Work[tuple[Tallied, ...]]:
    """Sum the operations of a condition.

    Args:
        table: Of the operations.
        where: The condition.
        values: The values for its marks.
        key: What a row is grouped by.
        amounts: Writes its amounts.
    """
    bought_for = (
        f"SELECT {amounts.monthly('bought')} FROM {table} AS bought WHERE bought.account = one.account "
        "AND bought.e164 = one.e164 AND bought.action = 'buy' AND bought.state = 'done' "
        "AND bought.settled_at <= one.settled_at ORDER BY bought.settled_at DESC LIMIT 1"
    )
    row = {
        "key": key,
        "former_status": f"CASE WHEN {_RELEASED} AND {amounts.deletes} THEN {amounts.former_status} END",
        "currency": f"CASE WHEN {_BOUGHT} OR {_MAYBE} THEN {amounts.currency} END",
        "purchases": _one_if(_BOUGHT),
        "charged_cents": f"CASE WHEN {_BOUGHT} THEN {amounts.charged()} END",
        "unknown": _one_if(_MAYBE),
        "unknown_cents": f"CASE WHEN {_MAYBE} THEN reserved_cents END",
        "added_cents": f"CASE WHEN {_BOUGHT} THEN {amounts.monthly()} END",
        "releases": _one_if(_RELEASED),
        "ended_cents": f"CASE WHEN {_RELEASED} THEN coalesce({amounts.quoted_monthly}, ({bought_for})) END",
        "releases_unknown": _one_if(_MAYBE_RELEASED),
    }
    columns = ", ".join(f"{sql} AS {name}" for name, sql in row.items())
    relevant = f"({_BOUGHT} OR {_MAYBE} OR {_RELEASED} OR {_MAYBE_RELEASED})"
    of_each = f"SELECT {columns} FROM {table} AS one WHERE {where} AND {relevant}"
    sums = {
        **{name: f"coalesce(sum({name}), 0)" for name in COUNTED if name in row},
        "added_unstated": "sum(purchases) - count(added_cents)",
        "ended_unstated": "sum(releases) - count(ended_cents)",
    }
    shown = ", ".join(sums[name] for name in COUNTED)
    by = "key, coalesce(former_status, ''), coalesce(currency, '')"
    rows = yield f"SELECT {by}, {shown} FROM ({of_each}) AS each_one GROUP BY 1, 2, 3", values
    return tuple(
        Tallied(
            name,
            former_status,
            Sums(
                **dict(zip(COUNTED, map(int, counts), strict=True)),
                currencies=frozenset({currency} if currency else ()),
            ),
        )
        for name, former_status, currency, *counts in rows
    )


def _one_if(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"
