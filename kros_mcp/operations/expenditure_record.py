"""What was spent as plain values under stable names, for programs and for spreadsheets: cents are integers."""

from typing import Any, Final

from kros_mcp.krosai import clean
from kros_mcp.money import common_label
from kros_mcp.operations import pruned_note
from kros_mcp.operations.expenditure import COUNTED, Caps, CostPart, Expenditure, Grouping, OwnedCost, Sums
from kros_mcp.operations.model import LONGEST_NAME_SHOWN
from kros_mcp.operations.spreadsheet import cell, decimal
from kros_mcp.times import utc

_BEFORE: Final = ("account", "environment")
_BEHIND: Final = ("currency", *COUNTED, "charged_amount")


def columns(grouping: Grouping) -> tuple[str, ...]:
    """Return the names of the columns of `rows`."""
    return (*_BEFORE, str(grouping), *_BEHIND)


def rows(read: Expenditure) -> list[list[str]]:
    """Return the groups of an account as the cells of a CSV file's lines; a sum of several currencies has no label."""
    names = columns(read.grouping)
    found = []
    for group in read.groups:
        key, sums = clean(group.key, LONGEST_NAME_SHOWN), _sums(group.sums)
        label = common_label(group.sums.currencies, read.operators_label)
        amounts = {"currency": label or None, **sums, "charged_amount": decimal(group.sums.charged_cents)}
        values = (read.account, read.environment, key, *(amounts[name] for name in _BEHIND))
        found.append([cell(name, value) for name, value in zip(names, values, strict=True)])
    return found


def document(read: Expenditure) -> dict[str, Any]:
    """Return what was spent of an account, and how it stands now; null where something is not known.

    `currency` is that of the sums: null without a label, and where they are in several currencies and mean nothing.
    """
    waiting, unsettled = read.waiting, read.unsettled
    return {
        "account": read.account,
        "environment": read.environment or None,
        "currency": read.label or None,
        "groups": [
            {str(read.grouping): clean(group.key, LONGEST_NAME_SHOWN), **_sums(group.sums)} for group in read.groups
        ],
        "total": {**_sums(read.total), "currencies": sorted(filter(None, read.total.currencies))},
        "run_rate": None if read.cost is None else _run_rate(read, read.cost),
        "caps": None if read.caps is None else _caps(read.caps, read.whole_cost),
        "waiting": {
            "operations": waiting.operations,
            "or_more": waiting.or_more,
            "for_an_approver": waiting.for_an_approver,
            "cents": waiting.cents,
            "unpriced": waiting.unpriced,
            "since": None if waiting.since is None else utc(waiting.since),
        },
        "unknown": {
            "operations": unsettled.operations,
            "purchases": unsettled.purchases,
            "cents": unsettled.cents,
        },
        "journal_begins_at": None if read.begins_at is None else utc(read.begins_at),
        "purchases_may_be_missing_since": None if read.lacks_since is None else utc(read.lacks_since),
        "pruned": pruned_note.records(read.pruned),
    }


def _sums(sums: Sums) -> dict[str, int]:
    return {name: getattr(sums, name) for name in COUNTED}


def _run_rate(read: Expenditure, cost: OwnedCost) -> dict[str, Any]:
    has_sum = cost.label is not None
    return {
        "monthly_cents": cost.monthly_cents if has_sum else None,
        "currency": cost.label or None,
        "numbers": len(cost.numbers),
        "unpriced": cost.unpriced,
        "certain": cost.is_certain,
        "currencies": sorted(filter(None, cost.currencies)),
        "listed_at": utc(cost.listed_at),
        "prices_as_of": None if cost.prices_as_of is None else utc(cost.prices_as_of),
        "at_beginning_cents": read.cost_at_beginning_cents,
        "at_end_cents": read.cost_at_end_cents,
        "growth_certain": read.is_growth_certain,
        "by_country": [_part("country", part, has_sum=has_sum) for part in cost.by_country()],
        "by_principal": [_part("principal", part, has_sum=has_sum) for part in cost.by_principal()],
    }


def _part(name: str, part: CostPart, *, has_sum: bool) -> dict[str, Any]:
    key, cents = clean(part.key, LONGEST_NAME_SHOWN) or None, part.monthly_cents if has_sum else None
    return {name: key, "numbers": part.numbers, "monthly_cents": cents, "unpriced": part.unpriced}


def _caps(caps: Caps, cost: OwnedCost | None) -> dict[str, Any]:
    return {
        "max_purchase_cents": caps.max_purchase_cents,
        "daily_budget_cents": caps.daily_budget_cents,
        "spent_in_24_hours_cents": caps.spent_cents,
        "left_cents": caps.left_cents,
        "monthly_commitment_cents": caps.monthly_commitment_cents,
        "monthly_left_cents": caps.monthly_left_cents(cost),
        "total_daily_budget_cents": caps.total_daily_budget_cents,
        "total_left_cents": caps.total_left_cents,
        "own_daily_budget_cents": caps.own_daily_budget_cents,
        "own_left_cents": caps.own_left_cents,
        "own_monthly_commitment_cents": caps.own_monthly_commitment_cents,
    }
