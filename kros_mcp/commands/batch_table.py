"""The numbers of a batch as a table of a terminal: what was asked of each, and what has become of it since the yes."""

from collections.abc import Sequence
from itertools import zip_longest

from kros_mcp.commands.console import Column, show_table
from kros_mcp.krosai import clean
from kros_mcp.money import label_of, show_again
from kros_mcp.numbering import country_name, spoken
from kros_mcp.operations.model import Operation
from kros_mcp.operations.wording import changes, routed

_LONGEST = 200


def show_numbers(batch: Operation, currency: str, items: Sequence[Operation] = ()) -> None:
    """Print a line for each number, and the totals where it costs anything.

    Args:
        batch: As it stands in the journal.
        currency: The label of its amounts, or empty.
        items: The operations of its numbers; there are none before the yes.
    """
    priced, changed = batch.action.charges, any(changes(part) for part in batch.parts)
    columns = [Column("number"), Column("country", leaves=True, below="in ")]
    if priced:
        columns += [Column("now", right=True), Column("a month", right=True)]
    else:
        columns += [Column("change", least=16)] * changed
        columns.append(Column("calls to it go to", least=16))
    if items:
        columns += [Column("operation"), Column("state")]
    rows = []
    for part, item in zip_longest(batch.parts, items):
        country = clean(country_name(part.quote.country)) if part.quote.country else ""
        what = _amounts(part, currency) if priced else [clean(changes(part), _LONGEST)] * changed + [_goes(part)]
        became = [] if item is None else [item.id, str(item.state)]
        rows.append([spoken(part.e164), country, *what, *became])
    if priced:
        rows.append([f"all {len(rows)}", "", *_amounts(batch, currency), *["", ""] * bool(items)])
    show_table(columns, rows)


def told(operation: Operation) -> str:
    """Return what an operation does, and to which numbers, as in "buy +254205550100, +254205550101"."""
    return f"{operation.action.one} {', '.join(clean(part.e164) for part in operation.parts)}"


def _goes(part: Operation) -> str:
    return clean(routed(part), _LONGEST)


def _amounts(part: Operation, currency: str) -> list[str]:
    label = label_of(part.quote.currency, currency)
    return [show_again(part.quote.due_now_cents, label), show_again(part.quote.monthly_cents, label)]
