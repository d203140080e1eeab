"""What a row of operations took, and what its number costs a month, in SQL; as `Operation.charged_cents` says it.

What stands in JSON is read once for each row, as columns of a table of its own; everything else is made of those.
"""

from collections.abc import Callable
from typing import Final

from kros_mcp.operations.model import Action

BUYS: Final = ", ".join(f"'{action}'" for action in Action if action.charges and not action.is_several)
_STATED: Final = ("setup_cents", "monthly_cents")
MONTHLY: Final = "coalesce(reported_monthly_cents, quoted_monthly_cents)"
"""What a number costs a month, as KrosAI reported it or as it was shown; NULL where neither is stated."""


def _same(name: str) -> str:
    """Whether a report says nothing else than the quote."""
    return f"coalesce(reported_{name} = quoted_{name}, reported_{name} IS NULL)"


CHARGED: Final = (
    f"CASE WHEN {' AND '.join(map(_same, _STATED))} "
    "THEN CASE WHEN quoted_monthly_cents IS NULL THEN reserved_cents "
    "ELSE coalesce(quoted_due_now_cents, reserved_cents) END "
    f"ELSE coalesce(coalesce(reported_setup_cents, quoted_setup_cents) + {MONTHLY}, reserved_cents) END"
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
    reported = {f"reported_{name}": cents_in(number, name) for name in _STATED}
    has_id = f"{number} IS NOT NULL AND {text_in(number, 'id')} <> ''"
    found = quoted | {name: f"CASE WHEN {has_id} THEN {sql} END" for name, sql in reported.items()}
    if where:
        found = {name: f"CASE WHEN {where} THEN {sql} END" for name, sql in found.items()}
    return ", ".join(f"{sql} AS {name}" for name, sql in found.items())
