"""What all owned numbers cost a month: the list as KrosAI shows it, with prices that it states or that are kept.

The policy reads the list afresh at a proposal, and again at a claim, there until nothing can have been missed. Whoever
only shows it may get the list of the last minute, and shares one reading with all who ask within seconds.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from kros_mcp.errors import KrosError, RateLimitError
from kros_mcp.krosai import PhoneNumber, read_all_owned, read_each, read_owned_in_time
from kros_mcp.operations.account import Account
from kros_mcp.operations.kept import Kept, KeptPrice, Listing, price_of, with_price
from kros_mcp.operations.policy import Books, RunRate, others_committed

MOST_READ_ALONE: Final = 5
"""How many numbers one call reads by themselves, at most; the background reads the rest."""
_FOR_KROSAI: Final = 0.9
"""The part of a caller's time that KrosAI has; the rest is the journal's."""
_SURELY: Final = 1.1
_FIRST_SECONDS: Final = 1.0
"""What is added to how long the background takes for prices: callers come first meanwhile."""
_INCOMPLETE_AGES: Final = 5.0
"""How many times sooner than a complete reading an incomplete one is done again."""


@dataclass
class Priced:
    """Listed numbers with the prices that are known of them.

    Args:
        listed: The numbers as the list shows them, those that have not ended.
        listed_at: When that list was read, on the journal's clock.
        kept: What was known before.
        now: The journal's time.
    """

    listed: Sequence[PhoneNumber]
    listed_at: float
    kept: Kept
    now: float
    _alone: dict[tuple[str, str], PhoneNumber] = field(default_factory=dict)
    """What was read by itself, by id and E.164."""
    _tried: set[str] = field(default_factory=set)

    def price(self, number: PhoneNumber) -> KeptPrice:
        """Tell what one of them costs; of one that is listed, and by itself not found or another, it is not known."""
        if number.id in self._tried:
            read = self._alone.get((number.id, number.e164))
            stated = KeptPrice() if read is None else KeptPrice(read.monthly_cents, currency=read.currency)
            return replace(stated, at=self.now, read=True)
        return price_of(number, self.kept.numbers.get(number.id), listed_at=self.listed_at, now=self.now)

    def shown(self, number: PhoneNumber) -> PhoneNumber:
        """Return one of them with the price that is known of it."""
        kept, alone = self.kept.numbers.get(number.id), self._alone.get((number.id, number.e164))
        source = alone or (kept.number if kept is not None else None)
        return with_price(number, source.setup_cents if source is not None else None, self.price(number))

    def unread(self) -> list[PhoneNumber]:
        """Return those whose price nobody has read lately, the oldest first."""
        return self._oldest_first(lambda price: not price.read)

    def doubtful(self) -> list[PhoneNumber]:
        """Return those of which KrosAI stated no price a while ago, the oldest first."""
        return self._oldest_first(lambda price: price.is_doubtful(self.now))

    def _oldest_first(self, wanted: Callable[[KeptPrice], bool]) -> list[PhoneNumber]:
        priced = [(number, self.price(number)) for number in self.listed]
        found = [(number, price.at or -math.inf) for number, price in priced if wanted(price)]
        return [number for number, _ in sorted(found, key=lambda each: each[1])]

    @property
    def as_of(self) -> float | None:
        """When the oldest of the prices was read; None where there are none."""
        prices = (self.price(number) for number in self.listed)
        return min((price.at for price in prices if price.cents is not None and price.at is not None), default=None)

    def add(self, number_id: str, read: PhoneNumber | None) -> None:
        """Take what was read of one by itself; None if it was not found."""
        self._tried.add(number_id)
        if read is not None:
            self._alone[read.id, read.e164] = read


async def read_run_rate(account: Account, listing: Listing | None = None, *, alone: int = MOST_READ_ALONE) -> RunRate:
    """Tell what owned numbers that have not ended cost a month, and who bought them, to hold a cap against it.

    Of the prices that neither the list states nor anybody has read lately, a few are read here. The others are asked
    for from the background, and the run rate names them.

    Args:
        account: The account's resources.
        listing: The list, if it was read just now; else it is read here. So is one that contradicts its own total: it
            counts once two readings agree.
        alone: How many numbers are read by themselves at most.

    Raises:
        KrosError: KrosAI could not be read.
    """
    if listing is None or (listing.owned.stated is not None and not listing.owned.complete):
        at = await account.journal.now()
        listing = Listing(await read_all_owned(account.client), at)
    priced = await _priced(account, listing)
    missing = priced.unread()
    account.kept.ask(missing=(number.id for number in missing))
    with suppress(RateLimitError):  # the background reads what is missing then
        await _read_alone(account, priced, [*missing, *priced.doubtful()][:alone])
    return await _run_rate(account, listing, priced)


async def read_run_rate_in_time(account: Account, *, seconds: float) -> RunRate | None:
    """Read as much of the run rate as KrosAI tells in that time; None if that is nothing.

    It is good to be shown, not to hold a cap against. What was not read has no price, and makes it incomplete.

    Raises:
        JournalError: The journal cannot be used.
    """
    until = anyio.current_time() + seconds
    now = await account.journal.now()
    kept = account.kept.over(await account.journal.kept(account.id))
    read_at, owned = kept.listed_at or now, kept.list_to_show(now)
    if owned is None:
        read_at, owned = now, await read_owned_in_time(account.client, seconds=seconds)
        if not owned.numbers and not owned.complete:
            return None
        if owned.complete or owned.stated is not None:
            account.kept.saw_list(owned, read_at)
    priced = Priced(living(owned.numbers), read_at, kept, now)
    await price_in_time(account, priced, seconds=until - anyio.current_time())
    rate = await _run_rate(account, Listing(owned, read_at), priced)
    return replace(rate, complete=rate.complete and not rate.unread)


async def price_in_time(account: Account, priced: Priced, *, seconds: float) -> None:
    """Read a few of the prices that are missing, as far as KrosAI tells them in that time, and ask for the others."""
    missing = priced.unread()
    account.kept.ask(missing=(number.id for number in missing))
    with anyio.move_on_after(seconds), suppress(KrosError):
        await _read_alone(account, priced, missing[:MOST_READ_ALONE])


def living(numbers: Sequence[PhoneNumber]) -> list[PhoneNumber]:
    """Return the numbers that have not ended."""
    return [number for number in numbers if not number.has_ended]


def with_purchases(rate: RunRate, books: Books, principal: str) -> RunRate:
    """Add what was bought after the run rate was read.

    Args:
        rate: The run rate, as it was read.
        books: The journal's sums for the principal, with what is committed since `read_at`.
        principal: Whose part of it `RunRate.of` is to tell.
    """
    committed = {e164: cents for e164, cents in books.committed.items() if e164 in books.bought}
    new = others_committed(committed, None, rate)
    own = dict.fromkeys(books.own & new.keys(), principal)
    stated = books.currencies if any(cents is not None for cents in new.values()) else frozenset()
    return replace(
        rate,
        prices=(*rate.prices, *new.items()),
        buyers={**rate.buyers, **own},
        currencies=rate.currencies | stated,
    )


async def _priced(account: Account, listing: Listing) -> Priced:
    kept = account.kept.over(await account.journal.kept(account.id))
    return Priced(living(listing.owned.numbers), listing.at, kept, await account.journal.now())


async def _read_alone(account: Account, priced: Priced, numbers: Sequence[PhoneNumber]) -> None:
    """Read numbers by themselves, and keep what is read as soon as it is."""
    if not numbers:
        return
    at = await account.journal.now()

    def take(number_id: str, read: PhoneNumber | None) -> None:
        priced.add(number_id, read)
        if read is not None:
            account.kept.saw([read], at, alone=True)

    ids = [number.id for number in numbers]
    account.kept.being_read.update(ids)
    try:
        await read_each(account.client, ids, take)
    finally:
        account.kept.being_read.difference_update(ids)


async def _run_rate(account: Account, listing: Listing, priced: Priced) -> RunRate:
    e164s = [number.e164 for number in priced.listed]
    prices = [priced.price(number) for number in priced.listed]
    unread = [number.e164 for number in priced.unread()]
    currencies = {number.currency for number in priced.listed if number.currency}
    currencies |= {price.currency or "" for price in prices if price.cents is not None}
    monthly = zip(e164s, (price.cents for price in prices), strict=True)
    return RunRate(
        prices=(*monthly, *((name, None) for name in listing.owned.unreadable)),
        complete=listing.owned.complete,
        read_at=listing.at,
        buyers=await account.journal.buyers(account.id, e164s),
        currencies=frozenset(currencies),
        unread=tuple(unread),
        readable_in_seconds=readable_in(account, len(unread)),
        prices_as_of=priced.as_of,
    )


def readable_in(account: Account, unread: int) -> float | None:
    """Return in how many seconds the background will have read so many prices; None where it rests."""
    if account.client.tally.is_sparing:
        return None
    return _SURELY * account.client.pace.seconds_for(unread) + _FIRST_SECONDS


@dataclass(frozen=True)
class _RateReading:
    """A reading, when it began and ended, in the clock's seconds, and how many acts of ours there had been then."""

    rate: RunRate | None
    began: float
    ended: float
    acts: int


class RunRates:
    """Reads the run rate for whoever shows it, one reading at a time.

    Args:
        account: The account's resources.
        clock: Seconds that only go forward.
    """

    def __init__(self, account: Account, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = account
        self._clock = clock
        self._lock = anyio.Lock()
        self._kept: _RateReading | None = None

    async def now(self, *, seconds: float, oldest_seconds: float) -> RunRate | None:
        """Tell it within these seconds, as far as KrosAI does; None if it tells nothing in that time.

        Args:
            seconds: How long the caller can wait.
            oldest_seconds: How old a complete reading may be. An incomplete one is done again after a fifth of that.

        Raises:
            JournalError: The journal cannot be used.
        """
        until = anyio.current_time() + seconds * _FOR_KROSAI
        with anyio.move_on_after(seconds):
            async with self._lock:
                kept = self._kept
                if kept is None or not self._is_fresh(kept, oldest_seconds):
                    kept = self._kept = await self._read(until - anyio.current_time())
                return kept.rate
        return None

    def _is_fresh(self, kept: _RateReading, oldest_seconds: float) -> bool:
        if kept.acts != self._account.kept.acts:
            return False
        if kept.rate is not None and kept.rate.complete:
            return self._clock() - kept.began < oldest_seconds
        return self._clock() - kept.ended < oldest_seconds / _INCOMPLETE_AGES

    async def _read(self, seconds: float) -> _RateReading:
        began, acts = self._clock(), self._account.kept.acts
        rate = await read_run_rate_in_time(self._account, seconds=seconds)
        return _RateReading(rate, began, self._clock(), acts)
