"""What operations took or may have taken, and what their numbers cost a month; as `Operation.charged_cents` says it.

What stands in JSON is read once for each row, as columns of a table of its own; everything else is made of those.
"""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Final

from kros_mcp.journals.filters import WAITING_STATES
from kros_mcp.journals.rows import Work
from kros_mcp.operations.journal import Total
from kros_mcp.operations.model import Action, Channel, State

SINGLE_BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges and not action.is_several)
_ALL_BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges)
SPENT: Final = "claimed_at > ? AND action = 'buy' AND state IN ('sending', 'unknown', 'done')"
"""Which operations have taken something since a time, or may still take it."""
_SUMS: Final = ("count", "charged_cents", "unknown_cents", "unknown")
_STATED: Final = ("setup_cents", "monthly_cents")
MONTHLY: Final = "coalesce(reported_monthly_cents, quoted_monthly_cents)"
"""What a number costs a month, as KrosAI reported it or as it was shown; NULL where neither is stated."""


def _same(name: str) -> str:
    """Whether a report says nothing else than the quote."""
    return f"coalesce(reported_{name} = quoted_{name}, reported_{name} IS NULL)"


CHARGED: Final = (
    "coalesce(reported_total_cents, "
    f"CASE WHEN {' AND '.join(map(_same, _STATED))} "
    "THEN CASE WHEN quoted_monthly_cents IS NULL THEN reserved_cents "
    "ELSE coalesce(quoted_due_now_cents, reserved_cents) END "
    f"ELSE coalesce(coalesce(reported_setup_cents, quoted_setup_cents) + {MONTHLY}, reserved_cents) END)"
)
"""What a purchase took that was charged for certain."""


def monthly(text_in: Callable[[str, str], str], cents_in: Callable[[str, str], str]) -> str:
    """Write `MONTHLY` where nothing else of a row's amounts is read."""
    reported = f"CASE WHEN {text_in('number', 'id')} <> '' THEN {cents_in('number', 'monthly_cents')} END"
    return f"coalesce({reported}, {cents_in('quote', 'monthly_cents')})"


def columns(
    text_in: Callable[[str, str], str], cents_in: Callable[[str, str], str], *, of: str = "", where: str = ""
) -> str:
    """Write the columns that `MONTHLY` and `CHARGED` are made of, beside `reserved_cents`.

    Of a number without an id nothing counts as reported, as nothing can be held against it.

    Args:
        text_in: Writes how a text is read out of a column of JSON.
        cents_in: Writes the same of an integer.
        of: The name of the table, where there are several.
        where: Of which rows alone they are read; else they are NULL.
    """
    table = f"{of}." if of else ""
    quote, number = f"{table}quote", f"{table}number"
    quoted = {f"quoted_{name}": cents_in(quote, name) for name in (*_STATED, "due_now_cents")}
    reported = {f"reported_{name}": cents_in(number, name) for name in (*_STATED, "total_cents")}
    has_id = f"{number} IS NOT NULL AND {text_in(number, 'id')} <> ''"
    found = quoted | {name: f"CASE WHEN {has_id} THEN {sql} END" for name, sql in reported.items()}
    if where:
        found = {name: f"CASE WHEN {where} THEN {sql} END" for name, sql in found.items()}
    return ", ".join(f"{sql} AS {name}" for name, sql in found.items())


def totals(
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
    seen = f"CASE WHEN state IN ({WAITING_STATES}) AND expires_at <= ? THEN 'expired' ELSE state END"
    charged = f"coalesce(sum(CASE WHEN charged = 'yes' THEN {CHARGED} END), 0)"
    unknown = "coalesce(sum(CASE WHEN charged = 'unknown' THEN reserved_cents END), 0)"
    of_how_many = "sum(CASE WHEN charged = 'unknown' THEN 1 ELSE 0 END)"
    stated = f"CASE WHEN charged <> 'no' THEN coalesce({currency}, '') END AS currency"
    read = f"{seen} AS seen, channel, action, charged, reserved_cents, {stated}, {amounts}"
    of_each = f"SELECT {read} FROM {table} WHERE {where}"
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
    wanted = f"account = ? AND state IN ({WAITING_STATES}) AND action IN ({_ALL_BUYS}) AND expires_at > ?"
    values: tuple[object, ...] = (account, now)
    if principal is not None:
        wanted, values = f"{wanted} AND principal = ?", (*values, principal)
    rows = yield f"SELECT {due_now} FROM {table} WHERE {wanted}", values
    return tuple(None if cents is None else int(cents) for (cents,) in rows)


def spent(table: str, since: float, *, account: str = "") -> Work[int]:
    """Sum what the purchases of all accounts, or of one, have taken or may take since a time."""
    whose, values = (" AND account = ?", (since, account)) if account else ("", (since,))
    [(cents,)] = yield f"SELECT coalesce(sum(reserved_cents), 0) FROM {table} WHERE {SPENT}{whose}", values
    return int(cents)
