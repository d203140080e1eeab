"""What an account has spent, and what its numbers cost a month, as far as its journal knows; pure.

Money moves when a request is sent, so days are those of the sending, in UTC. A batch counts nothing by itself; each of
its numbers does. What is not known is counted beside what is: no sum takes it for zero.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate, groupby
from typing import NamedTuple

from kros_mcp.krosai import has_ended
from kros_mcp.money import common_label
from kros_mcp.operations.pruning import Pruning

PARTED = "\x1f"
"""Stands between the parts of a key of several."""
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


class Grouping(StrEnum):
    """By what sums are told apart."""

    DAY = "day"
    MONTH = "month"
    PRINCIPAL = "principal"
    COUNTRY = "country"

    @property
    def is_of_time(self) -> bool:
        """Whether its groups follow each other in time."""
        return self in {Grouping.DAY, Grouping.MONTH}


@dataclass(frozen=True)
class Sums:
    """What some operations come to; amounts in cents.

    Args:
        purchases: How many numbers were bought, for certain.
        charged_cents: What those took, as quoted or as KrosAI reported it.
        unknown: Of how many purchases it is not known whether they were charged; those being sent now, too.
        unknown_cents: What those take if they were; the guard counts it as spent.
        added_cents: What the numbers bought cost a month.
        added_unstated: Of how many of them that is not stated.
        releases: How many numbers were given up, for certain.
        ended_cents: What those had cost a month, as KrosAI stated it then, or when they were bought.
        ended_unstated: Of how many of them that is not known.
        releases_unknown: Of how many releases the outcome is not known; those being sent now, too.
        currencies: What the records of the purchases state, empty where one states none; amounts in several cannot be
            added.
    """

    purchases: int = 0
    charged_cents: int = 0
    unknown: int = 0
    unknown_cents: int = 0
    added_cents: int = 0
    added_unstated: int = 0
    releases: int = 0
    ended_cents: int = 0
    ended_unstated: int = 0
    releases_unknown: int = 0
    currencies: frozenset[str] = frozenset()

    def __add__(self, other: "Sums") -> "Sums":
        """Add two, which must be of different operations."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return Sums(**counts, currencies=self.currencies | other.currencies)

    @property
    def at_most_cents(self) -> int:
        """What was charged if everything was of which it is not known."""
        return self.charged_cents + self.unknown_cents

    @property
    def grown_cents(self) -> int:
        """By how much the cost of a month has grown, or shrunk, as far as `is_growth_certain` says."""
        return self.added_cents - self.ended_cents

    @property
    def is_growth_certain(self) -> bool:
        """Whether all that changed the cost of a month is known and stated."""
        return not (self.unknown or self.added_unstated or self.ended_unstated or self.releases_unknown)


COUNTED: tuple[str, ...] = tuple(each.name for each in fields(Sums) if each.name != "currencies")
"""The names of what is counted, all integers."""


@dataclass(frozen=True)
class SpendingGroup:
    """What was spent on one day, in one month, by one principal or in one country.

    `key` is "2026-05-03", "2026-05", a principal as the journal has it, or a country's code; empty for a country that
    KrosAI did not state.
    """

    key: str
    sums: Sums


@dataclass(frozen=True)
class Tallied:
    """A row of sums as a journal reads it.

    Args:
        key: A number of days since 1970 for `DAY` and `MONTH`, else a text.
        former_status: Of releases that delete a record: what that said before, in KrosAI's own word.
        sums: What the operations come to.
    """

    key: int | str
    former_status: str
    sums: Sums

    @property
    def counted(self) -> Sums:
        """What counts of them: the deletion of a record that had ended before gives nothing up."""
        return Sums() if self.former_status and has_ended(self.former_status) else self.sums


@dataclass(frozen=True)
class SpentPart:
    """What one principal spent on one day in one country; keys as in the groups of each."""

    day: str
    country: str
    principal: str
    sums: Sums


class Acts(NamedTuple):
    """When a number was bought and given up last, None if it was not, and what it cost a month when it was bought.

    The price is None where it is not stated, or was another at another purchase.
    """

    e164: str
    bought_at: float | None
    released_at: float | None
    monthly_cents: int | None


def grouped(rows: Iterable[Tallied], grouping: Grouping) -> tuple[SpendingGroup, ...]:
    """Fold rows into groups, in the order of time or of their names."""
    return _folded((_name(row.key, grouping), row.counted) for row in rows)


def parts_of(rows: Iterable[Tallied]) -> tuple[SpentPart, ...]:
    """Return rows whose key is that of `PARTED`: a number of days since 1970, a country and a principal."""
    found = []
    for row in rows:
        day, country, principal = str(row.key).split(PARTED, 2)
        found.append(SpentPart(_name(int(day), Grouping.DAY), country, principal, row.counted))
    return tuple(part for part in found if part.sums != Sums())


def regrouped(parts: Iterable[SpentPart], grouping: Grouping) -> tuple[SpendingGroup, ...]:
    """Fold parts into groups, in the order of time or of their names."""
    key: dict[Grouping, Callable[[SpentPart], str]] = {
        Grouping.DAY: lambda part: part.day,
        Grouping.MONTH: lambda part: part.day[:7],
        Grouping.PRINCIPAL: lambda part: part.principal,
        Grouping.COUNTRY: lambda part: part.country,
    }
    return _folded((key[grouping](part), part.sums) for part in parts)


def _folded(sums: Iterable[tuple[str, Sums]]) -> tuple[SpendingGroup, ...]:
    found: dict[str, Sums] = {}
    for name, each in sums:
        found[name] = found.get(name, Sums()) + each
    return tuple(SpendingGroup(name, found[name]) for name in sorted(found) if found[name] != Sums())


def by_month(days: Iterable[SpendingGroup]) -> tuple[SpendingGroup, ...]:
    """Fold groups of days into groups of months."""
    months = groupby(days, key=lambda group: group.key[:7])
    return tuple(SpendingGroup(month, total(each)) for month, each in months)


def total(groups: Iterable[SpendingGroup]) -> Sums:
    """Add groups up."""
    return sum((group.sums for group in groups), Sums())


def with_gaps_filled(
    groups: Iterable[SpendingGroup], grouping: Grouping, since: float, until: float
) -> tuple[SpendingGroup, ...]:
    """Put a group of zeros for every day or month between two times of which there is none.

    Args:
        groups: Of days or months.
        grouping: Which.
        since: The first second of the first.
        until: The first second after the last.

    Raises:
        ValueError: They are of neither.
    """
    if not grouping.is_of_time:
        raise ValueError("Only days and months follow each other.")
    there = {group.key: group for group in groups}
    days = range(int(since // _DAY_SECONDS), max(int(since // _DAY_SECONDS) + 1, -int(-until // _DAY_SECONDS)))
    names = dict.fromkeys(_name(day, grouping) for day in days)
    return tuple(there.get(name, SpendingGroup(name, Sums())) for name in names)


def _name(key: int | str, grouping: Grouping) -> str:
    if isinstance(key, str):
        return key
    day = (_EPOCH + timedelta(days=key)).isoformat()
    return day[:7] if grouping is Grouping.MONTH else day


@dataclass(frozen=True)
class OwnedNumber:
    """What an owned number costs a month, in cents.

    Args:
        e164: The number.
        country: Its country's code; empty where KrosAI does not state it.
        principal: Who bought it through this journal; empty if it was bought elsewhere.
        monthly_cents: As KrosAI stated it last; None where it has not.
        currency: What its record states; empty where that states none.
    """

    e164: str
    country: str
    principal: str
    monthly_cents: int | None
    currency: str = ""


@dataclass(frozen=True)
class CostPart:
    """What some owned numbers cost a month, in cents: those of a country or a principal, called as in a group."""

    key: str
    numbers: int
    monthly_cents: int
    unpriced: int
    """How many of them have no known price; what is stated is the least that they cost."""


@dataclass(frozen=True)
class OwnedCost:
    """What owned numbers cost a month: KrosAI's list as it was read last, with what was bought and released since.

    Args:
        numbers: Those that have not ended.
        listed_at: When the list was read, on the journal's clock.
        complete: Whether it was read to its end.
        unreadable: How many of its records could not be read.
        prices_as_of: When the oldest price that counts was read; None where none was.
        operators_label: How amounts are labelled, unless records state something else; empty without a label.
    """

    numbers: tuple[OwnedNumber, ...]
    listed_at: float
    complete: bool = True
    unreadable: int = 0
    prices_as_of: float | None = None
    operators_label: str = ""

    @property
    def currencies(self) -> frozenset[str]:
        """What the records state whose price is known, empty where one states none."""
        return frozenset(number.currency for number in self.numbers if number.monthly_cents is not None)

    @property
    def label(self) -> str | None:
        """What the sum of the prices is labelled with; None where they are in several currencies and have none."""
        return common_label(self.currencies, self.operators_label)

    @property
    def monthly_cents(self) -> int:
        """The sum of the prices that are known."""
        return sum(number.monthly_cents or 0 for number in self.numbers)

    @property
    def unpriced(self) -> int:
        """How many have no known price."""
        return sum(number.monthly_cents is None for number in self.numbers)

    @property
    def is_certain(self) -> bool:
        """Whether that is all; else it is the least."""
        return self.complete and not self.unreadable and not self.unpriced

    def contradicts(self, acts: Iterable[Acts]) -> bool:
        """Whether these are not the numbers and prices that purchases and releases of a period until now have left.

        So it is where a number of theirs was bought or given up elsewhere, too, or its price was changed.
        """
        owned = {number.e164: number.monthly_cents for number in self.numbers}
        bought: dict[str, tuple[float, int | None]] = {}
        released: dict[str, float] = {}
        for each in acts:
            if each.bought_at is not None and each.bought_at >= bought.get(each.e164, (0.0, None))[0]:
                bought[each.e164] = (each.bought_at, each.monthly_cents)
            if each.released_at is not None:
                released[each.e164] = max(each.released_at, released.get(each.e164, 0.0))
        for e164, (bought_at, cents) in bought.items():
            is_held = bought_at >= released.get(e164, 0.0)
            if is_held is not (e164 in owned):
                return True
            if is_held and None not in {cents, owned[e164]} and cents != owned[e164]:
                return True
        return any(e164 in owned for e164 in released.keys() - bought.keys())

    def by_country(self) -> tuple[CostPart, ...]:
        """Tell it apart by country, the dearest first."""
        return self._parts(lambda number: number.country)

    def by_principal(self) -> tuple[CostPart, ...]:
        """Tell it apart by who bought them, the dearest first."""
        return self._parts(lambda number: number.principal)

    def of(self, principal: str | None, country: str | None) -> "OwnedCost":
        """Return the part of a principal, of a country, or of both; None is any."""
        kept = (each for each in self.numbers if principal in {None, each.principal})
        numbers = tuple(each for each in kept if country in {None, each.country})
        return replace(self, numbers=numbers)

    def _parts(self, key: Callable[[OwnedNumber], str]) -> tuple[CostPart, ...]:
        parts = [_part(name, list(each)) for name, each in groupby(sorted(self.numbers, key=key), key=key)]
        return tuple(sorted(parts, key=lambda part: (-part.monthly_cents, part.key)))


def _part(name: str, numbers: list[OwnedNumber]) -> CostPart:
    stated = [number.monthly_cents for number in numbers if number.monthly_cents is not None]
    return CostPart(name, len(numbers), sum(stated), len(numbers) - len(stated))


@dataclass(frozen=True)
class Caps:
    """The limits in force by the settings of this process, and what is spent of them, in cents; None limits nothing.

    `spent_cents` is what purchases of the last 24 hours took or may have taken, `total_spent_cents` the same of all
    accounts of the journal, `own_spent_cents` of one principal. `committed` is what the purchases that are under way or
    unknown add to the cost of a month, by number; None where that is not stated.
    """

    max_purchase_cents: int
    daily_budget_cents: int
    spent_cents: int
    monthly_commitment_cents: int | None = None
    total_daily_budget_cents: int | None = None
    total_spent_cents: int = 0
    own_daily_budget_cents: int | None = None
    own_monthly_commitment_cents: int | None = None
    own_spent_cents: int = 0
    committed: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def left_cents(self) -> int:
        """What everybody's budget of 24 hours has left."""
        return max(0, self.daily_budget_cents - self.spent_cents)

    @property
    def total_left_cents(self) -> int | None:
        """What the budget of all accounts has left; None without one."""
        return _left(self.total_daily_budget_cents, self.total_spent_cents)

    @property
    def own_left_cents(self) -> int | None:
        """What a principal's own budget has left; None without one."""
        return _left(self.own_daily_budget_cents, self.own_spent_cents)

    def monthly_left_cents(self, cost: OwnedCost | None) -> int | None:
        """Return what the limit on the cost of a month has left; None without one, or where that is not certain.

        As the guard does, it counts what is under way and what is unknown; and prices in another currency than the
        limit's are not held against it.

        Args:
            cost: What all owned numbers cost, whoever bought them and wherever.
        """
        if cost is None or not cost.is_certain or None in self._beside(cost):
            return None
        if cost.label is None or cost.operators_label not in {"", cost.label}:
            return None
        return _left(self.monthly_commitment_cents, cost.monthly_cents + self.monthly_beside_cents(cost))

    def monthly_beside_cents(self, cost: OwnedCost) -> int:
        """Return what purchases that are under way or unknown add to that cost, as far as it is stated."""
        return sum(cents or 0 for cents in self._beside(cost))

    def _beside(self, cost: OwnedCost) -> list[int | None]:
        owned = {number.e164 for number in cost.numbers}
        return [cents for e164, cents in self.committed.items() if e164 not in owned]


def _left(cap: int | None, spent: int) -> int | None:
    return None if cap is None else max(0, cap - spent)


@dataclass(frozen=True)
class Waiting:
    """What waits for a yes, or for its turn after one.

    Args:
        operations: How many; a batch is one.
        for_an_approver: How many of them an approver has yet to decide.
        cents: What their purchases take if all go through, as far as it is stated.
        unpriced: Of how many numbers that is not stated.
        since: When the oldest was asked for; None for none.
        or_more: Whether there are more than were counted.
        currencies: What is stated of those amounts, empty where nothing is.
    """

    operations: int = 0
    for_an_approver: int = 0
    cents: int = 0
    unpriced: int = 0
    since: float | None = None
    or_more: bool = False
    currencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unsettled:
    """What is unknown or being sent now, whenever it was sent: how many acts, and what of it may have been charged."""

    operations: int = 0
    purchases: int = 0
    cents: int = 0
    currencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expenditure:
    """What one account has spent in a period, and how it stands now.

    Args:
        account: Names it in the journal.
        environment: live, test or simulator; empty if it has no operations.
        grouping: By what `groups` are told apart.
        since: The first second of the period, in Unix seconds; None is from the beginning.
        until: The first second after it; None is until now.
        principal: Whose acts alone are told; None is everybody's.
        begins_at: When the account's first operation was asked for: of the time before, nothing is known. None without.
        now: The journal's time.
        groups: What was spent, in the order of time or of names; those of nothing are left out.
        after: What was bought and released between the period's end and now.
        waiting: What waits now.
        unsettled: What is unknown now.
        cost: What owned numbers cost a month now, of the principal and the country alone that are told; None where no
            list of them was ever read.
        whole_cost: The same of all.
        caps: None where the settings are another account's.
        lacks_since: After which time purchases may be missing, as the journal was restored from a copy; None if not.
        pruned: What was deleted of what these sums would count; it stands in none.
        operators_label: How amounts are labelled, unless records state something else; empty without a label.
        contradicted: Whether the numbers that are owned are not those that what was bought and released has left.
    """

    account: str
    environment: str
    grouping: Grouping
    since: float | None
    until: float | None
    principal: str | None
    begins_at: float | None
    now: float
    groups: tuple[SpendingGroup, ...]
    after: Sums
    waiting: Waiting
    unsettled: Unsettled
    cost: OwnedCost | None = None
    whole_cost: OwnedCost | None = None
    caps: Caps | None = None
    lacks_since: float | None = None
    pruned: tuple[Pruning, ...] = ()
    operators_label: str = ""
    contradicted: bool = False
    total: Sums = field(init=False)

    def __post_init__(self) -> None:
        """Add the groups up, once."""
        object.__setattr__(self, "total", total(self.groups))

    @property
    def label(self) -> str | None:
        """What the sums of the groups are labelled with; None where they are in several currencies and mean nothing."""
        return common_label(self.total.currencies, self.operators_label)

    @property
    def label_of_costs(self) -> str | None:
        """What the cost of a month is labelled with that grew; None where it, or what changed it, is in several."""
        stated = self.cost.currencies if self.cost is not None else frozenset[str]()
        return common_label(stated | self.total.currencies | self.after.currencies, self.operators_label)

    @property
    def cost_at_end_cents(self) -> int | None:
        """What owned numbers cost a month when the period ended, as far as this journal knows; None if it does not.

        Of one principal it does not: others may have released what they bought. Nor does it while the price of a
        number that was bought here is missing: the sum lacks it, and the purchase is among the changes. Nor where
        prices are in several currencies, or where the cost of the past would come out below zero.
        """
        is_past = self.until is not None and self.until < self.now
        return None if is_past and self.is_below_zero else self._end_cents

    @property
    def cost_at_beginning_cents(self) -> int | None:
        """The same of when it began."""
        end = self._end_cents
        return None if end is None or self.is_below_zero else end - self.total.grown_cents

    @property
    def _end_cents(self) -> int | None:
        """What it cost at the end, by what was bought and released since, whatever that comes to."""
        if self.cost is None or self.principal is not None or self.label_of_costs is None:
            return None
        if any(number.monthly_cents is None and number.principal for number in self.cost.numbers):
            return None
        return self.cost.monthly_cents - self.after.grown_cents

    @property
    def is_below_zero(self) -> bool:
        """Whether the cost of a month would have been less than nothing: what was bought is not owned any more."""
        end = self._end_cents
        if end is None:
            return False
        groups = self.groups[::-1] if self.grouping.is_of_time else ()
        costs = accumulate((-group.sums.grown_cents for group in groups), initial=end)
        return min(*costs, end - self.total.grown_cents) < 0

    @property
    def is_contradicted(self) -> bool:
        """Whether the books and KrosAI's list contradict each other, so that what it cost before is not certain."""
        return self.contradicted or self.is_below_zero

    @property
    def is_growth_certain(self) -> bool:
        """Whether the two are certain; else what is not known of prices and outcomes is missing in them."""
        known = self.cost is not None and self.cost.is_certain and not self.is_contradicted
        whole = not self.pruned and self.lacks_since is None
        return known and whole and self.total.is_growth_certain and self.after.is_growth_certain

    def costs(self, groups: Iterable[SpendingGroup]) -> Iterator[tuple[SpendingGroup, int | None]]:
        """Yield each day or month with what owned numbers cost a month at its end, in cents; None if it is not known.

        Args:
            groups: Those of the period, with or without those of nothing.
        """
        cents = self.cost_at_beginning_cents
        for group in groups:
            cents = None if cents is None else cents + group.sums.grown_cents
            yield group, cents


def first_of_month(now: float, months_before: int = 0) -> float:
    """Return the first second of a time's month in UTC, or of one before it."""
    at = datetime.fromtimestamp(now, UTC)
    year, month = divmod(at.year * 12 + at.month - 1 - months_before, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
