"""What the spending page shows, in words: how the account stands, what a period took, and its operations."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kros_mcp.characters import how_many
from kros_mcp.http.spending_page import charts
from kros_mcp.http.spending_page.books_query import ACTIONS, NO_COUNTRY, STATES, BooksQuery
from kros_mcp.http.spending_page.charts import Bar, Chart, Words
from kros_mcp.krosai import clean
from kros_mcp.money import common_label, label_of, show_again
from kros_mcp.numbering import country_name, spoken
from kros_mcp.operations import pruned_note
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import charge
from kros_mcp.operations.expenditure import (
    Caps,
    CostPart,
    Expenditure,
    Grouping,
    SpendingGroup,
    Sums,
    regrouped,
    total,
    with_gaps_filled,
)
from kros_mcp.operations.expenditure_reader import read_expenditure
from kros_mcp.operations.journal import Total
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Operation
from kros_mcp.operations.record import why
from kros_mcp.operations.status import status
from kros_mcp.pages.operation_view import ENVIRONMENTS, name_of
from kros_mcp.times import bounds, day_of, minute, span, spoken_date

PAGE: Final = 50
_MOST_BARS: Final = 8
_MOST_ROWS: Final = 100
"""Of principals there may be thousands; the dearest have a row of their own, and stand in the form."""
_LONGEST_WHY: Final = 300
_SEVERAL: Final = "in several currencies"
_WITHOUT = {Grouping.COUNTRY: "Country not stated", Grouping.PRINCIPAL: "Bought elsewhere"}


@dataclass(frozen=True)
class Fact:
    """One of the sums at the head of the page."""

    name: str
    amount: str
    more: str = ""


@dataclass(frozen=True)
class CapRow:
    """One limit that is in force; a text is empty where nothing can be said."""

    name: str
    cap: str
    used: str
    left: str


@dataclass(frozen=True)
class SpentRow:
    """What a day, a month, a principal or a country took."""

    name: str
    address: str
    bought: int
    spent: str
    unknown: str
    released: int
    numbers: str
    monthly: str


@dataclass(frozen=True)
class Pictured:
    """A chart, what it says in a sentence, and its rows; without a chart where there is nothing to draw."""

    words: Words
    chart: Chart | None
    rows: tuple[SpentRow, ...]
    has_unknown: bool


@dataclass(frozen=True)
class Row:
    """One operation of the list."""

    id: str
    asked_at: str
    verb: str
    number: str
    country: str
    name: str
    principal: str
    charged: str
    monthly: str
    status: str
    went_wrong: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """One choice of a field of the form."""

    value: str
    name: str


@dataclass(frozen=True)
class SpendingView:
    """The page."""

    query: BooksQuery
    environment: str
    is_live: bool
    read_at: str
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]
    caps: tuple[CapRow, ...]
    whose: str
    periods: tuple[tuple[str, str, bool], ...]
    principals: tuple[Choice, ...]
    countries: tuple[Choice, ...]
    states: tuple[Choice, ...]
    actions: tuple[Choice, ...]
    totals: str
    over_time: Pictured
    monthly: Pictured
    by_principal: Pictured
    by_country: Pictured
    rows: tuple[Row, ...]
    listed: str
    pages: tuple[tuple[str, str], ...]
    csv: str
    priced: str
    begins: str


class SpendingViews:
    """Reads what the spending page shows of one account, out of the journal alone.

    Args:
        account: The account's resources.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._settings = account.settings

    async def view(self, query: BooksQuery, now: float) -> SpendingView:
        """Return the page.

        Args:
            query: What was asked for.
            now: The journal's time.

        Raises:
            JournalError: The journal cannot be used.
        """
        account, journal = self._account, self._account.journal
        wanted, grouping = query.sums(account.id), query.grouping(now)
        own = account.limits_of(query.principal) if query.principal else None
        everything = await journal.spending_parts(replace(wanted, principal=None, country=None, by_sent=True))
        chosen = [
            part
            for part in everything
            if wanted.principal in {None, part.principal} and wanted.country in {None, part.country}
        ]
        groups = regrouped(chosen, grouping)
        label = self._settings.currency
        read = await read_expenditure(
            journal, wanted, grouping, settings=self._settings, own=own, groups=groups, label=label
        )
        listed = query.listed(account.id)
        # Without a state or an action, the sums of the period say it, and adding up all operations takes its time.
        totals = await journal.totals(listed) if query.state or query.action else ()
        count = sum(each.count for each in totals) if totals else await journal.count(listed)
        last = max(1, -(-count // PAGE))
        query = replace(query, page=min(query.page, last))
        operations = await journal.list_operations(listed, limit=PAGE, offset=(query.page - 1) * PAGE)
        filled = self._filled(read)
        dearest = _dearest_first(regrouped(everything, Grouping.PRINCIPAL))
        return SpendingView(
            query=query,
            environment=ENVIRONMENTS[self._settings.environment],
            is_live=self._settings.environment == "live",
            read_at=f"{minute(now)} UTC",
            facts=self._facts(read, narrowed=bool(query.principal or query.country)),
            warnings=tuple(self._warnings(read)),
            caps=tuple(self._caps(read, query)),
            whose=_whose(query),
            periods=tuple((name, address, address == query.address()) for name, address in query.periods(now)),
            principals=_choices(dearest[:_MOST_ROWS], query.principal, _principal),
            countries=_choices((part.country for part in everything), query.country, _country),
            states=tuple(Choice(word, word.replace("_", " ")) for word in STATES),
            actions=tuple(Choice(action, action) for action in ACTIONS),
            totals=self._totals(read.total),
            over_time=self._over_time(read, filled, query),
            monthly=self._monthly(read, filled),
            by_principal=self._parts(read, Grouping.PRINCIPAL, regrouped(chosen, Grouping.PRINCIPAL), query),
            by_country=self._parts(read, Grouping.COUNTRY, regrouped(chosen, Grouping.COUNTRY), query),
            rows=tuple(map(self.row, operations)),
            listed=self._listed(totals, count, query, len(operations)),
            pages=_pages(query, last),
            csv=query.address(),
            priced=_priced(read),
            begins=" ".join(filter(None, [_begins(read), pruned_note.note(read.pruned, self._settings.currency)])),
        )

    def money(self, cents: int | None, stated: Iterable[str] = ()) -> str:
        """Write an amount in words.

        Args:
            cents: The amount, or a sum.
            stated: The currencies that KrosAI states of it; a sum of several gets no label.
        """
        return show_again(cents, common_label(stated, self._settings.currency) or "")

    def row(self, operation: Operation) -> Row:
        """Put an operation into words, for a row of the list."""
        word, quote = status(operation), operation.quote
        return Row(
            id=operation.id,
            asked_at=minute(operation.created_at),
            verb=operation.action.one.capitalize(),
            number=f"{len(operation.items)} numbers" if operation.items else spoken(operation.e164),
            country=_country(quote.country or "") if quote.country else "",
            name=name_of(operation.principal),
            principal=_principal(operation.principal),
            charged=self.charged(operation),
            monthly=self.money(quote.monthly_cents, [quote.currency]) if operation.action.charges else "",
            status=word.replace("_", " "),
            went_wrong=word in {"failed", "unknown"},
            why=clean(why(operation), _LONGEST_WHY),
        )

    def charged(self, operation: Operation) -> str:
        """Say what a purchase took, or may have taken; empty for nothing."""
        if not operation.action.charges or operation.charged == "no":
            return ""
        stated = [charge.currency_of(operation, "")]
        if operation.charged == "unknown":
            return f"{self.money(operation.reserved_cents, stated)}?"
        return self.money(operation.charged_cents, stated)

    def _facts(self, read: Expenditure, *, narrowed: bool) -> tuple[Fact, ...]:
        caps, waiting, unsettled = read.caps or Caps(0, 0, 0), read.waiting, read.unsettled
        day = f"of {self.money(caps.daily_budget_cents)}; {self.money(caps.left_cents)} left"
        waits = [f"{self.money(waiting.cents, waiting.currencies)} if all are bought"] if waiting.cents else []
        waits += [f"{waiting.unpriced} without a price"] if waiting.unpriced else []
        waits += [f"the oldest for {span(read.now - waiting.since)}"] if waiting.since is not None else []
        count = f"{waiting.operations:,}{' or more' if waiting.or_more else ''}"
        return (
            Fact("Spent in 24 hours, by all" if narrowed else "Spent in 24 hours", self.money(caps.spent_cents), day),
            Fact("These numbers, monthly" if narrowed else "All numbers, monthly", self._cost(read), _numbers(read)),
            Fact(
                "Waiting, of these" if narrowed else "Waiting",
                count,
                "; ".join(waits),
            ),
            Fact(
                "Not known, of these" if narrowed else "Outcome not known",
                str(unsettled.operations),
                f"{self.money(unsettled.cents, unsettled.currencies)}, counted as spent" if unsettled.cents else "",
            ),
        )

    def _cost(self, read: Expenditure) -> str:
        if read.cost is None:
            return "not known"
        if read.cost.label is None:
            return _SEVERAL
        return self._least(read.cost.monthly_cents, read.cost.label, certain=read.cost.is_certain)

    def _least(self, cents: int, label: str, *, certain: bool) -> str:
        shown = show_again(cents, label)
        return shown if certain else f"at least {shown}"

    def _part_cost(self, part: CostPart, label: str | None) -> str:
        if part.unpriced == part.numbers:
            return "not known"
        if label is None:
            return _SEVERAL
        return self._least(part.monthly_cents, label, certain=not part.unpriced)

    def _warnings(self, read: Expenditure) -> Iterable[str]:
        purchases = read.unsettled.purchases
        if purchases:
            which = how_many(purchases, "purchase")
            cents = self.money(read.unsettled.cents, read.unsettled.currencies)
            yield (
                f"The outcome of {which} is not known: {cents} may have been charged, and count as spent. The server "
                "looks at KrosAI until it is known; kros-mcp settle ends it by hand."
            )
        if read.label_of_costs is None:
            currencies = read.total.currencies | read.after.currencies
            currencies |= read.cost.currencies if read.cost else frozenset()
            labels = {label_of(each, read.operators_label) for each in currencies}
            named = ", ".join(sorted(clean(each) for each in labels if each))
            yield f"KrosAI states amounts in several currencies ({named}); sums of them mean nothing."
        if read.is_contradicted and read.principal is None:
            known = "certain" if read.cost_at_beginning_cents is not None else "known"
            yield (
                f"What numbers cost a month before is not {known}: what was bought and released here does not come to "
                "the numbers and prices of KrosAI's list. kros-mcp reconcile names them."
            )
        if read.lacks_since is not None:
            yield (
                f"Purchases after {minute(read.lacks_since)} UTC may be missing, as the journal was restored from a "
                "copy: kros-mcp reconcile enters them."
            )

    def _caps(self, read: Expenditure, query: BooksQuery) -> Iterable[CapRow]:
        caps = read.caps
        if caps is None:
            return
        money = self.money
        yield CapRow("In any 24 hours", money(caps.daily_budget_cents), money(caps.spent_cents), money(caps.left_cents))
        if caps.total_daily_budget_cents is not None:
            yield CapRow("In any 24 hours, all organizations", money(caps.total_daily_budget_cents), "", "")
        if caps.monthly_commitment_cents is not None:
            left = None if query.principal or query.country else caps.monthly_left_cents(read.cost)
            used = "" if query.principal or query.country else self._cost(read)
            beside = caps.monthly_beside_cents(read.cost) if used and read.cost else 0
            used += f", and {money(beside)} under way or unknown" if beside else ""
            shown = "" if left is None else money(left)
            yield CapRow("All numbers, monthly", money(caps.monthly_commitment_cents), used, shown)
        yield CapRow("One number, first month included", money(caps.max_purchase_cents), "", "")
        if query.principal and caps.own_daily_budget_cents is not None:
            yield CapRow(
                f"In any 24 hours, {_principal(query.principal)}",
                money(caps.own_daily_budget_cents),
                money(caps.own_spent_cents),
                money(caps.own_left_cents),
            )
        if query.principal and caps.own_monthly_commitment_cents is not None:
            name = f"Its numbers, monthly, {_principal(query.principal)}"
            yield CapRow(name, money(caps.own_monthly_commitment_cents), "", "")

    def _totals(self, sums: Sums) -> str:
        """Say what a period took, in a sentence."""
        bought = how_many(sums.purchases, "number")
        told = f"{bought} bought for {self.money(sums.charged_cents, sums.currencies)}"
        if sums.unknown:
            verb = "was" if sums.unknown == 1 else "were"
            cents = self.money(sums.unknown_cents, sums.currencies)
            told += f"; whether {sums.unknown:,} more, {cents}, {verb} charged is not known"
        return f"{told}; {how_many(sums.releases, 'number')} released."

    def _filled(self, read: Expenditure) -> tuple[SpendingGroup, ...]:
        """Return the groups of a period, and those of nothing in between, from where the books begin."""
        if read.begins_at is None:
            return ()
        since = max(read.since or 0.0, min(read.begins_at, read.now))
        until = read.now if read.until is None else min(read.until, max(read.now, since + 1))
        return with_gaps_filled(read.groups, read.grouping, since, until)

    def _over_time(self, read: Expenditure, groups: Sequence[SpendingGroup], query: BooksQuery) -> Pictured:
        by_day = read.grouping is Grouping.DAY
        each, caps = "day" if by_day else "month", read.caps
        cap = caps.daily_budget_cents if caps and by_day else None
        if query.principal or query.country:
            cap = caps.own_daily_budget_cents if caps and by_day and not query.country else None
        if not _is_of_limits(read, read.label):
            cap = None
        bars = [
            Bar(
                _short(group.key),
                group.sums.charged_cents,
                group.sums.unknown_cents,
                show_again(group.sums.at_most_cents),
                f"{_long(group.key)}: {self._totals(group.sums)}",
            )
            for group in groups
        ]
        spent = any(bar.certain or bar.uncertain for bar in bars)
        highest = max(groups, key=lambda group: group.sums.at_most_cents, default=None)
        sentence = "Nothing was spent in this period."
        if spent and highest is not None:
            most = self.money(highest.sums.at_most_cents, highest.sums.currencies)
            sentence = f"Most in a {each}: {most}, {_in_time(highest.key)}."
            if cap is not None:
                share = round(100 * highest.sums.at_most_cents / cap) if cap else 100
                sentence += f" That is {share} % of what any 24 hours may take, {self.money(cap)}."
            elif not by_day and caps:
                sentence += f" Any 24 hours may take {self.money(caps.daily_budget_cents)}."
        words = Words(f"Spent, by {each}", sentence)
        named = f"at most {show_again(cap)} in 24 hours" if cap is not None else ""
        chart = charts.upright("spent", words, bars, cap_cents=cap, cap=named) if spent else None
        rows = tuple(self._row(_long(group.key), "", group.sums, None) for group in read.groups[::-1])
        return Pictured(words, chart, rows, has_unknown=any(bar.uncertain for bar in bars))

    def _monthly(self, read: Expenditure, groups: Sequence[SpendingGroup]) -> Pictured:
        each = "day" if read.grouping is Grouping.DAY else "month"
        words = Words(f"Cost of all numbers a month, at the end of each {each}", self._growth(read))
        costs = [(group.key, cents) for group, cents in read.costs(groups) if cents is not None]
        label = read.label_of_costs or ""
        cap = read.caps.monthly_commitment_cents if read.caps and _is_of_limits(read, label) else None
        bars = [
            Bar(_short(key), cents, 0, show_again(cents), f"{_long(key)}: {show_again(cents, label)}")
            for key, cents in costs
        ]
        if not any(bar.certain for bar in bars):
            return Pictured(words, None, (), has_unknown=False)
        named = f"at most {show_again(cap)} a month" if cap is not None else ""
        chart = charts.upright("monthly", words, bars, cap_cents=cap, cap=named)
        changed = {group.key for group in read.groups}
        shown = [(key, cents) for key, cents in costs if key in changed][::-1]
        rows = [SpentRow(_long(key), "", 0, "", "", 0, "", show_again(cents, label)) for key, cents in shown]
        return Pictured(words, chart, tuple(rows), has_unknown=False)

    def _parts(
        self, read: Expenditure, grouping: Grouping, groups: Sequence[SpendingGroup], query: BooksQuery
    ) -> Pictured:
        """Tell a period and what numbers cost apart, by principal or by country; the dearest first."""
        by_principal = grouping is Grouping.PRINCIPAL
        name = _principal if by_principal else _country
        costs: dict[str, CostPart] = {}
        label = read.cost.label if read.cost is not None else None
        if read.cost is not None:
            costs = {part.key: part for part in (read.cost.by_principal() if by_principal else read.cost.by_country())}
        sums = {group.key: group.sums for group in groups}
        keys = [*costs, *_dearest_first(group for group in groups if group.key not in costs)]
        rows = []
        for key in keys[:_MOST_ROWS]:
            asked = {"principal": key} if by_principal else {"country": key or NO_COUNTRY}
            address = query.address(**asked) if key or not by_principal else ""
            cost = self._part_cost(costs[key], label) if key in costs else ""
            rows.append(
                self._row(name(key) or _WITHOUT[grouping], address, sums.get(key, Sums()), costs.get(key), cost)
            )
        bars = [] if label is None else self._bars([costs[key] for key in costs], grouping, label)
        if rest := keys[_MOST_ROWS:]:
            taken = total(SpendingGroup(key, sums.get(key, Sums())) for key in rest)
            others = _together(costs[key] for key in rest if key in costs)
            cost = self._part_cost(others, label) if others else ""
            rows.append(self._row(f"{len(rest):,} others", "", taken, others, cost))
        what = "principal" if by_principal else "country"
        words = Words(f"Cost a month, by {what}", _dearest(bars))
        chart = charts.lying(f"by_{what}", words, bars) if any(bar.certain for bar in bars) else None
        return Pictured(words, chart, tuple(rows), has_unknown=False)

    def _bars(self, parts: Sequence[CostPart], grouping: Grouping, label: str) -> list[Bar]:
        """Return the bars of the dearest parts, and one of all others together."""
        short = [name_of(part.key) if grouping is Grouping.PRINCIPAL else _country(part.key) for part in parts]
        bars = []
        for part, name in zip(parts, short, strict=True):
            shown = _principal(part.key) if grouping is Grouping.PRINCIPAL and short.count(name) > 1 else name
            amount = self._part_cost(part, label)
            bars.append(Bar(shown or _WITHOUT[grouping], part.monthly_cents, 0, amount, f"{shown}: {amount}"))
        if len(bars) <= _MOST_BARS:
            return bars
        rest = bars[_MOST_BARS - 1 :]
        cents = sum(bar.certain for bar in rest)
        certain = not any(part.unpriced for part in parts[_MOST_BARS - 1 :])
        name, amount = f"{len(rest)} others", self._least(cents, label, certain=certain)
        return [*bars[: _MOST_BARS - 1], Bar(name, cents, 0, amount, f"{name}: {amount}")]

    def _row(self, name: str, address: str, sums: Sums, cost: CostPart | None, monthly: str = "") -> SpentRow:
        return SpentRow(
            name=name,
            address=address,
            bought=sums.purchases,
            spent=self.money(sums.charged_cents, sums.currencies) if sums.purchases else "",
            unknown=self.money(sums.unknown_cents, sums.currencies) if sums.unknown else "",
            released=sums.releases,
            numbers=str(cost.numbers) if cost else "",
            monthly=monthly,
        )

    def _growth(self, read: Expenditure) -> str:
        """Say by how much the cost of a month has grown in the period."""
        before, after = read.cost_at_beginning_cents, read.cost_at_end_cents
        if before is None or after is None:
            return "How that grew is not known of one principal, nor before every price of an owned number was read."
        sure = "" if read.is_growth_certain else ", as far as is known"
        ends = "Now" if read.until is None or read.until >= read.now else "At the end of the period"
        label = read.label_of_costs or ""
        now = self._least(after, label, certain=read.cost is not None and read.cost.is_certain)
        if after == before:
            return f"{ends} {now} a month, as at its beginning{sure}."
        change = "more" if after > before else "less"
        return f"{ends} {now} a month, {show_again(abs(after - before), label)} {change} than before{sure}."

    def _listed(self, totals: Sequence[Total], count: int, query: BooksQuery, shown: int) -> str:
        """Say how many operations these are, and what they took."""
        if not count:
            return "No operation was asked for that fits."
        first = (query.page - 1) * PAGE + 1
        told = f"{first:,} to {first + shown - 1:,} of {count:,}" if count > shown else how_many(count, "operation")
        if not totals:
            return f"{told}."
        stated = frozenset[str]().union(*(each.currencies for each in totals))
        told += f"; {self.money(sum(each.charged_cents for each in totals), stated)} charged"
        unknown = sum(each.unknown_cents for each in totals)
        return f"{told}; {self.money(unknown, stated)} not known." if unknown else f"{told}."


def _is_of_limits(read: Expenditure, label: str | None) -> bool:
    """Whether amounts with a label can be held against the limits, as they are in the currency of those."""
    return label is not None and read.operators_label in {"", label}


def _pages(query: BooksQuery, last: int) -> tuple[tuple[str, str], ...]:
    """Return the links between pages of the list: newer, older, and the ends."""
    links = []
    if query.page > 1:
        links += [("Newest", query.address(page=1)), ("Newer", query.address(page=query.page - 1))]
    if query.page < last:
        links += [("Older", query.address(page=query.page + 1)), ("Oldest", query.address(page=last))]
    return tuple(links)


def _dearest_first(groups: Iterable[SpendingGroup]) -> list[str]:
    return [group.key for group in sorted(groups, key=lambda group: -group.sums.at_most_cents)]


def _together(parts: Iterable[CostPart]) -> CostPart | None:
    """Return what several parts cost as one; None for none."""
    found = list(parts)
    numbers, unpriced = sum(part.numbers for part in found), sum(part.unpriced for part in found)
    return CostPart("", numbers, sum(part.monthly_cents for part in found), unpriced) if found else None


def _choices(found: Iterable[str], chosen: str, name: Callable[[str], str]) -> tuple[Choice, ...]:
    """Return what a field of the form offers: those of the period, and what is chosen now."""
    keys = sorted(({*found, chosen}) - {"", NO_COUNTRY}, key=name)
    return tuple(Choice(key, name(key)) for key in keys)


def _principal(key: str) -> str:
    return clean(key, LONGEST_NAME_SHOWN)


def _country(code: str) -> str:
    return clean(country_name(code)) if code else ""


def _is_month(key: str) -> bool:
    return len(key) == len("2026-05")


def _first_second(key: str) -> float:
    return bounds(f"{key}-01" if _is_month(key) else key)[0]


def _long(key: str) -> str:
    """Write a day or a month of the books, as in "3 May 2026" or "May 2026"."""
    said = spoken_date(_first_second(key))
    return f"{said.split(' ', 1)[1] if _is_month(key) else said} {key[:4]}"


def _short(key: str) -> str:
    """Write it as it stands below a bar, as in "3 May" or "May 26"."""
    day, month = spoken_date(_first_second(key)).split(" ")
    return f"{month[:3]} {key[2:4]}" if _is_month(key) else f"{day} {month[:3]}"


def _in_time(key: str) -> str:
    return f"{'in' if _is_month(key) else 'on'} {_long(key)}"


def _numbers(read: Expenditure) -> str:
    cost = read.cost
    if cost is None:
        return "no list of them was read yet"
    told = how_many(len(cost.numbers), "number")
    return f"{told}, {cost.unpriced} without a known price" if cost.unpriced else told


def _priced(read: Expenditure) -> str:
    """Say how old what is known of owned numbers is."""
    cost = read.cost
    if cost is None:
        return ""
    told = f"Owned numbers as KrosAI listed them at {minute(cost.listed_at)} UTC, with what was done since"
    if cost.prices_as_of is not None:
        told += f"; the oldest price is of {day_of(cost.prices_as_of)}"
    lacking = "" if cost.complete else " The list was not read to its end."
    return f"{told}.{lacking}"


def _begins(read: Expenditure) -> str:
    """Say that the books tell nothing of a part of the period; empty if they tell all."""
    if read.begins_at is None or (read.since is not None and day_of(read.since) >= day_of(read.begins_at)):
        return ""
    return f"These books begin on {_long(day_of(read.begins_at))}: what was spent before that stands elsewhere."


def _whose(query: BooksQuery) -> str:
    """Say which operations are summed, in a sentence."""
    since, until = query.since and f"from {_long(query.since)}", query.until and f"to {_long(query.until)}"
    if since and not until:
        until = "until now"
    period = " ".join(filter(None, [since, until])) or "since the books begin"
    who = f", of {_principal(query.principal)}" if query.principal else ""
    country = "whose country is not stated" if query.country == NO_COUNTRY else f"in {_country(query.country)}"
    where = f", numbers {country}" if query.country else ""
    return f"{period[0].upper()}{period[1:]}{who}{where}"


def _dearest(bars: Sequence[Bar]) -> str:
    if not bars or not bars[0].certain:
        return "What numbers cost a month is not known, or there are none."
    return f"Most goes to {bars[0].name}: {bars[0].amount} a month."
