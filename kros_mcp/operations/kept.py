"""What is kept of owned numbers between two readings of KrosAI, above all their prices.

Only the answer for a single number states its price, as a rule. Nothing here decides about money by itself: whoever
holds a cap against prices reads the list of owned numbers afresh, and takes from here what that list leaves out, at
most seven days old. Nothing is kept of SIP credentials.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from kros_mcp.krosai import OwnedList, PhoneNumber

PRICE_GOOD_SECONDS: Final = 7 * 86_400.0
"""How long a price that was read by itself is good, or that KrosAI states none."""
UNSTATED_GOOD_SECONDS: Final = 600.0
"""How long the latter is believed where a purchase depends on it."""
LIST_GOOD_SECONDS: Final = 60.0
"""How long a list may be shown again."""
LIST_COMPARED_SECONDS: Final = 1_800.0
"""How long it counts where the page that is shown is read again, and has not changed."""
_LIKELY_SECONDS: Final = 86_400.0
"""How recent a list is that makes it likely that a number in it is owned still."""
_JUST_BOUGHT_SECONDS: Final = 3_600.0
"""How long a number that was read by itself is kept though no list shows it."""


@dataclass(frozen=True, slots=True)
class KeptNumber:
    """A record of an owned number as it was seen last.

    Args:
        number: The record; its price may be of an earlier reading.
        place: KrosAI's offset of it in the list that showed it; None if no whole list has yet.
        priced_at: When its price was read, on the journal's clock; None if it was not, or was dropped.
        dropped_at: When an act of ours dropped it last; what was seen before counts for nothing.
    """

    number: PhoneNumber
    place: int | None = None
    priced_at: float | None = None
    dropped_at: float = 0.0

    def is_priced(self, now: float, seconds: float) -> bool:
        """Whether its price was read within so many seconds; one that is dated ahead was by a clock set back since."""
        return self.priced_at is not None and self.priced_at <= now < self.priced_at + seconds


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one account.

    Args:
        numbers: The records, by id.
        listed_at: When the whole list was read last; None if never.
        complete: Whether that was read to its end.
        unreadable: The names of its records that could not be read.
        acted_at: When an act of ours on a number of the account was settled last.
        refreshed_at: When a price was read again last because it would be too old soon.
        in_flight: Whether an act is being carried out, or its outcome is unknown.
    """

    numbers: Mapping[str, KeptNumber] = field(default_factory=dict)
    listed_at: float | None = None
    complete: bool = False
    unreadable: tuple[str, ...] = ()
    acted_at: float = 0.0
    refreshed_at: float = 0.0
    in_flight: bool = False

    def list_to_show(self, now: float, seconds: float = LIST_GOOD_SECONDS) -> OwnedList | None:
        """Return the list as it was read within so many seconds; None if an act may have changed it since."""
        if self.listed_at is None or not self.complete or self.in_flight or self.listed_at <= self.acted_at:
            return None
        if not self.listed_at <= now < self.listed_at + seconds:
            return None
        return OwnedList(self.in_order(), complete=True, unreadable=self.unreadable)

    def likely_owned(self, e164: str, now: float) -> str:
        """Return the id of a record by which the account has lately owned a number; empty if none is kept."""
        if self.listed_at is None or not 0 <= now - self.listed_at < _LIKELY_SECONDS:
            return ""
        records = (kept.number for kept in self.numbers.values() if kept.number.e164 == e164 and kept.dropped_at == 0)
        return next((record.id for record in records if not record.has_ended), "")

    def in_order(self) -> tuple[PhoneNumber, ...]:
        """Return the records that the last list showed, in its order and with no more prices than it stated."""
        placed = sorted(
            (each for each in self.numbers.values() if each.place is not None), key=lambda each: each.place or 0
        )
        return tuple(
            each.number
            if each.priced_at == self.listed_at
            else replace(each.number, monthly_cents=None, setup_cents=None)
            for each in placed
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """A record as KrosAI has just shown it.

    Args:
        number: The record.
        at: When that reading began, on the journal's clock.
        alone: Whether it was read by itself, so that a price that is not stated is not stated at all.
    """

    number: PhoneNumber
    at: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole reading of the list of owned numbers, which began `at`."""

    owned: OwnedList
    at: float


@dataclass(frozen=True, slots=True)
class KeptPrice:
    """What a number costs a month, as far as it is known.

    Args:
        cents: The price; None also where KrosAI does not state one.
        at: When it was read; None if never.
        currency: What the record states; None if nothing.
        read: Whether that was read, and lately enough; if not, `cents` is None.
    """

    cents: int | None = None
    at: float | None = None
    currency: str | None = None
    read: bool = False

    def is_doubtful(self, now: float) -> bool:
        """Whether to look again before a purchase is refused because KrosAI stated no price."""
        return self.read and self.cents is None and now - (self.at or 0.0) >= UNSTATED_GOOD_SECONDS


def price_of(listed: PhoneNumber, kept: KeptNumber | None, *, listed_at: float, now: float) -> KeptPrice:
    """Tell what a number costs: by the list if that states it, else as it was kept.

    Args:
        listed: The number as the list shows it.
        kept: What is kept under its id; it may be another number's, or too old.
        listed_at: When the list was read.
        now: The journal's time.
    """
    if listed.monthly_cents is not None:
        return KeptPrice(listed.monthly_cents, listed_at, listed.currency, read=True)
    if kept is None or kept.priced_at is None or not _is_same(kept.number, listed):
        return KeptPrice()
    was = kept.number
    moved = listed.currency is not None and was.currency is not None and listed.currency != was.currency
    if moved or not kept.is_priced(now, PRICE_GOOD_SECONDS):
        return KeptPrice(at=kept.priced_at)
    return KeptPrice(was.monthly_cents, kept.priced_at, listed.currency or was.currency, read=True)


def with_price(listed: PhoneNumber, setup_cents: int | None, price: KeptPrice) -> PhoneNumber:
    """Return a listed number with the price that is known of it, and the setup that was read with that."""
    if listed.monthly_cents is not None or not price.read:
        return listed
    setup = setup_cents if listed.setup_cents is None else listed.setup_cents
    return replace(listed, monthly_cents=price.cents, setup_cents=setup, currency=price.currency)


def fold(kept: Kept, sights: Iterable[Sight], listing: Listing | None = None) -> Kept:
    """Return what is kept once more was seen; what was read before an act of ours settled changes nothing."""
    numbers = dict(kept.numbers)
    folded = kept
    if listing is not None and listing.at > max(kept.acted_at, kept.listed_at or 0.0):
        numbers = _listed(numbers, listing)
        folded = replace(
            kept, listed_at=listing.at, complete=listing.owned.complete, unreadable=listing.owned.unreadable
        )
    for sight in sights:
        before = numbers.get(sight.number.id)
        if before is not None and sight.at <= max(before.dropped_at, (before.priced_at or 0.0) if sight.alone else 0.0):
            continue
        if sight.at >= (folded.listed_at or 0.0):
            numbers[sight.number.id] = _seen(before, sight)
        elif sight.alone:  # the list is newer, and knows all but the price better
            numbers[sight.number.id] = _seen(before, sight) if before is None else _repriced(before, sight)
    return replace(folded, numbers=numbers)


def _listed(before: Mapping[str, KeptNumber], listing: Listing) -> dict[str, KeptNumber]:
    """Return the records of a whole list, and those read by themselves that it may not show yet."""
    found: dict[str, KeptNumber] = {}
    for place, number in enumerate(listing.owned.numbers):
        kept = before.get(number.id)
        if kept is not None and listing.at <= kept.dropped_at:
            found[number.id] = kept
            continue
        found[number.id] = replace(_seen(kept, Sight(number, listing.at, alone=False)), place=place)
    for number_id, kept in before.items():
        recent = kept.priced_at is not None and listing.at - kept.priced_at < _JUST_BOUGHT_SECONDS
        if number_id not in found and (recent or not listing.owned.complete):
            found[number_id] = replace(kept, place=None)
    return found


def _seen(before: KeptNumber | None, sight: Sight) -> KeptNumber:
    """Return a record as it is kept once it was seen; its price stays only where nothing speaks against it."""
    number = replace(sight.number, sip=None, total_cents=None)
    place, dropped_at = (None, 0.0) if before is None else (before.place, before.dropped_at)
    if number.has_ended:
        return KeptNumber(replace(number, monthly_cents=None, setup_cents=None), place, None, dropped_at)
    if number.monthly_cents is not None or sight.alone:
        return KeptNumber(number, place, sight.at, dropped_at)
    if before is None or before.priced_at is None or not _is_same(before.number, number):
        return KeptNumber(number, place, None, dropped_at)
    was = before.number
    if None not in {number.currency, was.currency} and number.currency != was.currency:
        return KeptNumber(number, place, None, dropped_at)
    priced = replace(
        number,
        monthly_cents=was.monthly_cents,
        setup_cents=was.setup_cents if number.setup_cents is None else number.setup_cents,
        currency=number.currency or was.currency,
    )
    return KeptNumber(priced, place, before.priced_at, dropped_at)


def _repriced(before: KeptNumber, sight: Sight) -> KeptNumber:
    """Return a record with the price that was read by itself before the list was."""
    read = sight.number
    if not _is_same(before.number, read):
        return before
    number = replace(before.number, monthly_cents=read.monthly_cents, setup_cents=read.setup_cents)
    return replace(before, number=replace(number, currency=read.currency), priced_at=sight.at)


def _is_same(one: PhoneNumber, other: PhoneNumber) -> bool:
    """Whether two records under one id are of one number that lives, as far as they say; ids may be used again."""
    dates = {one.created_at, other.created_at} - {None}
    return one.e164 == other.e164 and len(dates) <= 1 and not one.has_ended and not other.has_ended


class KeptNumbers:
    """What this process has seen and the journal does not hold yet, and what is asked of the background.

    Nobody who acts waits for the journal to take it: the background writes it down. Where nothing may be written, it
    serves this process alone.
    """

    def __init__(self) -> None:
        self.acts = 0
        """How many acts of this process have changed a number, so that nothing read before is shown again."""
        self.asked_at: float | None = None
        """When prices were asked for last, in the event loop's seconds; None if never."""
        self.asked_first: frozenset[str] = frozenset()
        """The numbers whose prices somebody waits for, who asked last."""
        self.being_read: set[str] = set()
        """The numbers that a caller is reading by themselves now."""
        self._read_at: dict[str, float] = {}
        self._sights: dict[tuple[str, bool], Sight] = {}
        self._listing: Listing | None = None
        self._is_wanted = False
        self._wanted: anyio.Event | None = None

    def saw(self, numbers: Iterable[PhoneNumber], at: float, *, alone: bool = False) -> None:
        """Keep records as KrosAI shows them.

        Args:
            numbers: The records.
            at: When the reading began, on the journal's clock.
            alone: Whether each was read by itself.
        """
        for number in numbers:
            self._sights[number.id, alone] = Sight(number, at, alone)
            if alone:
                self._read_at[number.id] = at
        self._want()

    def saw_list(self, owned: OwnedList, at: float) -> None:
        """Keep a whole reading of the list; of one that holds an id twice only its records."""
        if len({number.id for number in owned.numbers}) < len(owned.numbers):
            self.saw(owned.numbers, at)
            return
        self._listing = Listing(owned, at)
        self._want()

    def is_read(self, number_id: str, since: float) -> bool:
        """Whether this process is reading a number by itself, or has since a time of the journal."""
        return number_id in self.being_read or self._read_at.get(number_id, -1.0) >= since

    def over(self, kept: Kept) -> Kept:
        """Return what is known in all: what the journal holds, and what this process has seen since."""
        return fold(kept, self.sights(), self._listing)

    def sights(self) -> Sequence[Sight]:
        """Return what was seen, in its order."""
        return sorted(self._sights.values(), key=lambda sight: sight.at)

    @property
    def listing(self) -> Listing | None:
        """The last whole reading of the list that the journal does not hold yet."""
        return self._listing

    def written(self, sights: Iterable[Sight], listing: Listing | None) -> None:
        """Forget what the journal holds now."""
        for sight in sights:
            if self._sights.get((sight.number.id, sight.alone)) is sight:
                del self._sights[sight.number.id, sight.alone]
        if self._listing is listing:
            self._listing = None

    def ask(self, *, missing: Iterable[str]) -> None:
        """Note that prices are asked for; where some are missing, the background reads these first, and at once.

        Args:
            missing: The ids of the numbers whose price is missing.
        """
        self.asked_at = anyio.current_time()
        if first := frozenset(missing):
            self.asked_first = first
            self._want()

    async def asked(self) -> None:
        """Wait until there is something to read or to write down."""
        if not self._is_wanted:
            self._wanted = anyio.Event()
            await self._wanted.wait()
        self._is_wanted = False

    def _want(self) -> None:
        self._is_wanted = True
        if self._wanted is not None:
            self._wanted.set()
