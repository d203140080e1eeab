"""What was spent, as a table with bars and a few sentences, for people at a terminal or in a file."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kros_mcp.characters import how_many
from kros_mcp.commands.console import Column, say, say_labelled, show_table, terminal_width
from kros_mcp.commands.selection import short
from kros_mcp.krosai import clean
from kros_mcp.money import common_label, label_of, show_again
from kros_mcp.numbering import country_name
from kros_mcp.operations import pruned_note
from kros_mcp.operations.expenditure import (
    Caps,
    CostPart,
    Expenditure,
    Grouping,
    OwnedCost,
    SpendingGroup,
    Sums,
    with_gaps_filled,
)
from kros_mcp.operations.expenditure_reader import MOST_WAITING
from kros_mcp.operations.model import LONGEST_NAME_SHOWN
from kros_mcp.times import day_of, minute, span

_WITHOUT_A_TERMINAL: Final = 80
_LONGEST_BAR: Final = 40
_SHORTEST_BAR: Final = 8
_LABELS: Final = 10
_MOST_FILLED: Final = 62
"""How many days are shown one by one; of more, those of nothing are left out."""
_NARROWEST_KEY: Final = 14
_WIDEST_KEY: Final = 24
_GAP: Final = 2  # as between all columns of a table
_FAIR_BAR: Final = 16
"""How much is left for bars where a table tells numbers and the cost of a month, too."""


@dataclass(frozen=True)
class Shown:
    """What one account has spent.

    Args:
        read: That.
        is_keyless: Whether this terminal's settings name no account.
        is_own: Whether they name this one.
    """

    read: Expenditure
    is_keyless: bool
    is_own: bool


@dataclass(frozen=True)
class _Glyphs:
    """What bars are drawn with, so that they are told apart without colour, too."""

    charged: str
    unknown: str


def tell(accounts: Sequence[Shown], headline: Iterable[str]) -> None:
    """Print what accounts have spent, each by itself: their money may not be of one kind."""
    for sentence in headline:
        say(sentence)
    for shown in accounts:
        print()
        _tell(shown)


def _tell(shown: Shown) -> None:
    read = shown.read
    kind = f" ({read.environment})" if read.environment else ""
    label = _label(read)
    money = "several currencies" if label is None else label or "the account's own currency"
    say(f"Account {short(read.account)}{kind}; amounts in {money}.", "bold")
    rows = _groups(read)
    if rows:
        glyphs = _glyphs()
        print()
        _show(read, rows, glyphs)
        if read.grouping.is_of_time and len(rows) > _MOST_FILLED:
            say(f"{_capital(read.grouping)}s of nothing are left out.")
        if read.total.unknown:
            say(f"{glyphs.charged} charged  {glyphs.unknown} not known whether it was charged")
    print()
    for label, sentences in _facts(shown):
        for at, sentence in enumerate(sentences):
            say_labelled("" if at else label, sentence, columns=_LABELS, label_style="bold")


def _label(read: Expenditure) -> str | None:
    """Return what the table's amounts are labelled with; None where they are in several currencies."""
    if not read.total.currencies and read.label_of_costs is not None:  # the cost of a month is all there is
        return read.label_of_costs
    return read.label


def _glyphs() -> _Glyphs:
    """Return blocks, or signs where standard output has no blocks."""
    try:
        "▇░".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return _Glyphs("#", "?")
    return _Glyphs("▇", "░")


def _groups(read: Expenditure) -> tuple[SpendingGroup, ...]:
    """Return what is shown: every day of a short time, else those of something; of names the dearest first."""
    if not read.grouping.is_of_time:
        there = {group.key for group in read.groups}
        owning = [SpendingGroup(part.key, Sums()) for part in _parts(read.cost, read.grouping) if part.key not in there]
        groups = (*read.groups, *(group for group in owning if group.key or read.grouping is Grouping.PRINCIPAL))
        return tuple(sorted(groups, key=lambda group: (-group.sums.at_most_cents, -group.sums.purchases, group.key)))
    if not read.groups or read.since is None or read.begins_at is None:
        return read.groups
    since = max(read.since, min(read.begins_at, read.now))
    end = read.now if read.until is None else min(read.until, max(read.now, since + 1))
    filled = with_gaps_filled(read.groups, read.grouping, since, end)
    return filled if len(filled) <= _MOST_FILLED else read.groups


def _show(read: Expenditure, groups: Sequence[SpendingGroup], glyphs: _Glyphs) -> None:
    """Print the table; what is no amount charged leaves it where it is narrow."""
    sums = [*(group.sums for group in groups), read.total]
    keys = [*(_named(group.key, read.grouping) for group in groups), "total"]
    key = max(len(name) for name in (str(read.grouping), *keys))
    columns = {"charged": [_amount(each.charged_cents) for each in sums]}
    if read.total.unknown:
        columns["not known"] = [_amount(each.unknown_cents) if each.unknown else "" for each in sums]
    free = (terminal_width() or _WITHOUT_A_TERMINAL) - _GAP - sum(_wide(*column) for column in columns.items())
    for title, cells in (("numbers", [_numbers(each) for each in sums]), ("a month", [*_costs(read, groups), ""])):
        if any(cells) and free - _wide(title, cells) - min(key, _WIDEST_KEY) >= _FAIR_BAR:
            columns[title] = cells
            free -= _wide(title, cells)
    key = max(min(key, free - _SHORTEST_BAR), min(key, _NARROWEST_KEY))
    bars = _bars([group.sums for group in groups], glyphs, max(_SHORTEST_BAR, min(_LONGEST_BAR, free - key)))
    shown = [
        Column(str(read.grouping), least=_NARROWEST_KEY, colours={"total": "bold"}),
        *(Column(title, right=True) for title in columns),
        Column("", runs={glyphs.charged: "green", glyphs.unknown: "yellow"}),
    ]
    rows = [list(row) for row in zip(keys, *columns.values(), [*bars, ""], strict=True)]
    show_table(shown, rows if len(groups) > 1 else rows[:-1])


def _wide(title: str, cells: Sequence[str]) -> int:
    return max(len(cell) for cell in (title, *cells)) + _GAP


def _bars(groups: Sequence[Sums], glyphs: _Glyphs, longest: int) -> list[str]:
    """Draw each sum; whatever is more than nothing is seen."""
    most = max((sums.at_most_cents for sums in groups), default=0)

    def drawn(sums: Sums) -> str:
        if not sums.at_most_cents:
            return ""
        whole = max(1, round(longest * sums.at_most_cents / most))
        unknown = 0 if not sums.unknown_cents else max(1, round(longest * sums.unknown_cents / most))
        charged = 0 if not sums.charged_cents else max(1, whole - unknown)
        return glyphs.charged * charged + glyphs.unknown * unknown

    return [drawn(sums) for sums in groups]


def _costs(read: Expenditure, groups: Sequence[SpendingGroup]) -> list[str]:
    """Return for each group what numbers cost a month: at the end of its time, or now; empty where it is not known."""
    if read.cost is None or read.label_of_costs is None or read.label_of_costs != _label(read):
        return [""] * len(groups)
    if read.grouping.is_of_time:
        return ["" if cents is None else _amount(cents) for _, cents in read.costs(groups)]
    parts = {part.key: part for part in _parts(read.cost, read.grouping)}
    found = []
    for group in groups:
        part = parts.get(group.key)
        found.append("" if part is None else f"{_amount(part.monthly_cents)}{'+?' if part.unpriced else ''}")
    return found


def _parts(cost: OwnedCost | None, grouping: Grouping) -> tuple[CostPart, ...]:
    if cost is None:
        return ()
    return cost.by_principal() if grouping is Grouping.PRINCIPAL else cost.by_country()


def _named(key: str, grouping: Grouping) -> str:
    if grouping is Grouping.COUNTRY:
        name = country_name(key) if key else ""
        return f"{key} {name}".strip() if name and name != key else key or "not stated"
    return clean(key, LONGEST_NAME_SHOWN) or "bought elsewhere"


def _numbers(sums: Sums) -> str:
    """Return how many numbers were bought and given up."""
    parts = [f"+{sums.purchases}" if sums.purchases else "", f"-{sums.releases}" if sums.releases else ""]
    return " ".join(part for part in parts if part)


def _amount(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{show_again(abs(cents))}"


def _facts(shown: Shown) -> Iterator[tuple[str, list[str]]]:
    """Yield what is told below a table: a label, and its sentences."""
    read, currency = shown.read, shown.read.operators_label
    yield "spent", list(_spent(read))
    if read.caps is not None:
        yield "caps", list(_capped(read.caps, read.whole_cost, currency))
    elif shown.is_keyless:
        yield "caps", ["Which caps hold is not known here: set KROS_API_KEY and the settings of its server."]
    else:
        yield "caps", ["Those of another account are not known here."]
    yield "a month", list(_monthly(read))
    yield "waits", list(_waits(read))
    yield "unknown", list(_unknown(read))


def _spent(read: Expenditure) -> Iterator[str]:
    sums, currency = read.total, read.label or ""
    if sums.purchases or not sums.unknown:
        yield f"{show_again(sums.charged_cents, currency)} for {how_many(sums.purchases, 'number')} bought."
    if sums.unknown:
        yield (
            f"Of {how_many(sums.unknown, 'purchase')}, {show_again(sums.unknown_cents, currency)} in all, it is not "
            "known whether it was charged."
        )
    yield from doubts(read)


def doubts(read: Expenditure) -> Iterator[str]:
    """Yield what makes the sums of a period less than the truth, or no amounts at all."""
    if read.label is None:
        named = _named_currencies(read.total.currencies, read.operators_label)
        yield f"Prices were stated in {named}, which cannot be added: take no sum here for an amount."
    if read.begins_at is not None and (read.since is None or day_of(read.since) < day_of(read.begins_at)):
        yield f"This journal begins on {day_of(read.begins_at)}: what was spent before that stands elsewhere."
    if read.lacks_since is not None:
        yield (
            f"Purchases after {minute(read.lacks_since)} may be missing, as the journal was restored from a copy: "
            "kros-mcp reconcile enters them."
        )
    if told := pruned_note.note(read.pruned, read.operators_label):
        yield told


def _capped(caps: Caps, cost: OwnedCost | None, currency: str) -> Iterator[str]:
    yield _of_a_cap(caps.spent_cents, caps.daily_budget_cents, currency, "in the last 24 hours")
    if caps.own_daily_budget_cents is not None:
        words = "of the principal's own in the last 24 hours"
        yield _of_a_cap(caps.own_spent_cents, caps.own_daily_budget_cents, currency, words)
    if caps.total_daily_budget_cents is not None:
        words = "of all accounts in the last 24 hours"
        yield _of_a_cap(caps.total_spent_cents, caps.total_daily_budget_cents, currency, words)
    if caps.monthly_commitment_cents is not None:
        cap, left = show_again(caps.monthly_commitment_cents, currency), caps.monthly_left_cents(cost)
        known = "how much of it is left is not known" if left is None else f"{show_again(left, currency)} left"
        beside = 0 if cost is None else caps.monthly_beside_cents(cost)
        counted = f", with {show_again(beside, currency)} under way or unknown" if beside and left is not None else ""
        yield f"At most {cap} a month for all numbers: {known}{counted}."
    if caps.own_monthly_commitment_cents is not None:
        yield f"At most {show_again(caps.own_monthly_commitment_cents, currency)} a month for the principal's numbers."
    yield f"At most {show_again(caps.max_purchase_cents, currency)} for one purchase, by this terminal's settings."


def _of_a_cap(spent: int, cap: int, currency: str, words: str) -> str:
    left = show_again(max(0, cap - spent), currency)
    return f"{show_again(spent)} of {show_again(cap, currency)} {words}: {left} left."


def _monthly(read: Expenditure) -> Iterator[str]:
    cost = read.cost
    if cost is None:
        yield "What owned numbers cost is not known here: no server has read KrosAI's list into this journal yet."
        yield f"{_changes(read.total, read.label or '')}."
        return
    many = how_many(len(cost.numbers), "number")
    listed = f"by KrosAI's list of {span(max(0.0, read.now - cost.listed_at))} ago"
    if cost.label is None:
        named = _named_currencies(cost.currencies, cost.operators_label)
        yield f"No sum for {many}, {listed}: their prices are in {named}, which cannot be added."
    else:
        least = "" if cost.is_certain else "At least "
        yield f"{least}{show_again(cost.monthly_cents, cost.label)} for {many}, {listed}."
    lacking = []
    if cost.unpriced:
        lacking.append(f"no price is known of {cost.unpriced}")
    if cost.unreadable:
        lacking.append(f"{how_many(cost.unreadable, 'record')} could not be read")
    if not cost.complete:
        lacking.append("the list was not read to its end")
    if lacking:
        yield f"{_capital('; '.join(lacking))}."
    began, ended = read.cost_at_beginning_cents, read.cost_at_end_cents
    if began is not None and ended is not None:
        changes = _changes(read.total, read.label_of_costs or "")
        doubt = "" if read.is_growth_certain else ", as far as is known"
        yield f"From {_amount(began)} to {_amount(ended)} in that time{doubt}: {changes[0].lower()}{changes[1:]}."
    if read.is_contradicted and read.principal is None:
        yield (
            f"What they cost before is not {'certain' if began is not None else 'known'}: what was bought and released "
            "here does not come to the numbers and prices of KrosAI's list. kros-mcp reconcile names them."
        )


def _changes(sums: Sums, currency: str) -> str:
    """Return what purchases have added to the cost of a month, and what releases have ended."""
    added, ended = show_again(sums.added_cents, currency), show_again(sums.ended_cents, currency)
    more = f", and {how_many(sums.added_unstated, 'price')} not stated" if sums.added_unstated else ""
    less = f", and of {sums.ended_unstated} it is not known" if sums.ended_unstated else ""
    return f"Purchases added {added}{more}; {how_many(sums.releases, 'release')} ended {ended}{less}"


def _waits(read: Expenditure) -> Iterator[str]:
    waiting, label = read.waiting, common_label(read.waiting.currencies, read.operators_label) or ""
    if not waiting.operations:
        yield "Nothing."
        return
    more = f"{MOST_WAITING} or more" if waiting.or_more else ""
    many = f"{more} operations" if more else how_many(waiting.operations, "operation")
    since = "" if waiting.since is None else f", the oldest for {span(max(0.0, read.now - waiting.since))}"
    unpriced = f" and {how_many(waiting.unpriced, 'price')} not stated" if waiting.unpriced else ""
    yield f"{many} for {show_again(waiting.cents, label)}{unpriced}{since}."
    if waiting.for_an_approver:
        verb = "waits" if waiting.for_an_approver == 1 else "wait"
        yield f"{waiting.for_an_approver} {verb} for an approver: kros-mcp approve ID, or kros-mcp deny ID."


def _unknown(read: Expenditure) -> Iterator[str]:
    unsettled, label = read.unsettled, common_label(read.unsettled.currencies, read.operators_label) or ""
    if not unsettled.operations:
        yield "Nothing."
        return
    many = how_many(unsettled.operations, "outcome")
    what = "of no purchase"
    if unsettled.purchases:
        of = f"{unsettled.purchases:,} of purchases, " if unsettled.purchases < unsettled.operations else ""
        what = f"{of}for {show_again(unsettled.cents, label)} that may have been charged"
    yield f"{many}, {what}: kros-mcp operations --state unknown --state sending."


def _named_currencies(stated: Iterable[str], label: str) -> str:
    """Name the currencies of amounts; those without one are in the label's."""
    labels = {label_of(each, label) for each in stated}
    return " and ".join(sorted(clean(name, 10) for name in labels if name))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
