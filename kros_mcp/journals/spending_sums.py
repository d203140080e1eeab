"""What operations took and what they changed of the cost of a month, summed by day, principal or country."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from typing import Final

from kros_mcp.journals.amounts import CHARGED, MONTHLY, SINGLE_BUYS
from kros_mcp.journals.rows import Work
from kros_mcp.krosai import has_ended
from kros_mcp.operations.expenditure import COUNTED, Acts, Sums, Tallied

_BOUGHT: Final = f"action IN ({SINGLE_BUYS}) AND charged = 'yes'"
_MAYBE: Final = f"action IN ({SINGLE_BUYS}) AND charged = 'unknown'"
_RELEASED: Final = "action = 'release' AND state = 'done'"
_MAYBE_RELEASED: Final = "action = 'release' AND state <> 'done' AND changed = 'unknown'"
_COLUMNS: Final = "account, e164, action, state, charged, changed, reserved_cents, settled_at"


def of(
    table: str,
    where: str,
    values: list[object],
    *,
    key: str,
    amounts: str,
    amounts_of_bought: str,
    currency: str,
    former_status: str,
) -> Work[tuple[Tallied, ...]]:
    """Sum the operations of a condition.

    Args:
        table: Of the operations.
        where: The condition.
        values: The values for its marks.
        key: How a row tells what it is grouped by.
        amounts: The columns of its amounts.
        amounts_of_bought: The same of the table `bought`.
        currency: How it tells in which currency its price is stated.
        former_status: How it tells what a record said before it was deleted; NULL where it was not.
    """
    last_purchase = (
        f"SELECT {MONTHLY} FROM (SELECT {amounts_of_bought}, settled_at FROM {table} AS bought "
        "WHERE bought.account = each_one.account AND bought.e164 = each_one.e164 AND bought.action = 'buy' "
        "AND bought.state = 'done' AND bought.settled_at <= each_one.settled_at "
        "ORDER BY bought.settled_at DESC LIMIT 1) AS last_one"
    )
    added = f"CASE WHEN {_BOUGHT} THEN {MONTHLY} END"
    ended = f"CASE WHEN {_RELEASED} THEN coalesce(quoted_monthly_cents, ({last_purchase})) END"
    sums = {
        "purchases": _count_if(_BOUGHT),
        "charged_cents": f"sum(CASE WHEN {_BOUGHT} THEN {CHARGED} END)",
        "unknown": _count_if(_MAYBE),
        "unknown_cents": f"sum(CASE WHEN {_MAYBE} THEN reserved_cents END)",
        "added_cents": f"sum({added})",
        "added_unstated": f"{_count_if(_BOUGHT)} - count({added})",
        "releases": _count_if(_RELEASED),
        "ended_cents": f"sum({ended})",
        "ended_unstated": f"{_count_if(_RELEASED)} - count({ended})",
        "releases_unknown": _count_if(_MAYBE_RELEASED),
    }
    relevant = f"({_BOUGHT} OR {_MAYBE} OR {_RELEASED} OR {_MAYBE_RELEASED})"
    of_each = (
        f"SELECT {_COLUMNS}, {key} AS grouped_by, CASE WHEN {_RELEASED} THEN {former_status} END AS former_status, "
        f"CASE WHEN {_BOUGHT} OR {_MAYBE} THEN {currency} END AS currency, {amounts} "
        f"FROM {table} WHERE {where} AND {relevant}"
    )
    shown = ", ".join(f"coalesce({sums[name]}, 0)" for name in COUNTED)
    by = "grouped_by, coalesce(former_status, ''), coalesce(currency, '')"
    rows = yield (
        f"WITH each_one AS MATERIALIZED ({of_each}) SELECT {by}, {shown} FROM each_one GROUP BY 1, 2, 3",
        values,
    )
    return tuple(
        Tallied(name, former_status, _sums(dict(zip(COUNTED, map(int, counts), strict=True)), currency))
        for name, former_status, currency, *counts in rows
    )


def _sums(counts: dict[str, int], currency: str) -> Sums:
    """Return sums, with the currency of their purchases where there are any."""
    has_purchases = counts["purchases"] or counts["unknown"]
    return Sums(**counts, currencies=frozenset({currency} if has_purchases else ()))


def of_numbers(table: str, where: str, values: list[object], *, monthly: str, former_status: str) -> Work[list[Acts]]:
    """Read when each number was bought and given up last.

    Args:
        table: Of the operations.
        where: A condition of them.
        values: The values for its marks.
        monthly: How a row tells what its number costs a month.
        former_status: As in `of`.
    """
    prices = f"CASE WHEN {_BOUGHT} THEN {monthly} END"
    sql = (
        f"SELECT e164, CASE WHEN {_RELEASED} THEN {former_status} END AS former_status, "
        f"max(CASE WHEN {_BOUGHT} THEN sent_at END), max(CASE WHEN {_RELEASED} THEN sent_at END), "
        f"CASE WHEN {_count_if(_BOUGHT)} = 1 THEN min({prices}) END "
        f"FROM {table} WHERE {where} AND ({_BOUGHT} OR {_RELEASED}) GROUP BY 1, 2"
    )
    rows = yield sql, values
    return [
        Acts(e164, bought_at, released_at, None if cents is None else int(cents))
        for e164, former_status, bought_at, released_at, cents in rows
        if not has_ended(former_status)
    ]


def _count_if(condition: str) -> str:
    return f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)"
