"""What all owned numbers cost a month, read from KrosAI.

The policy reads afresh and to the end, at a proposal and again at a claim. Whoever only shows it shares one reading
with all who ask within seconds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import anyio

from kros_mcp.krosai import OwnedList, PhoneNumber, read_all_owned, read_each, read_each_in_time, read_owned_in_time
from kros_mcp.operations.account import Account
from kros_mcp.operations.policy import Books, RunRate, others_committed

_FOR_KROSAI: Final = 0.9
"""The part of a caller's time that KrosAI has; the rest is the journal's."""
_INCOMPLETE_AGES: Final = 5.0
"""How many times sooner than a complete reading an incomplete one is done again."""
_Details = Mapping[str, PhoneNumber | None]


async def read_run_rate(account: Account) -> RunRate:
    """Read the monthly prices of all owned numbers that have not ended, and who bought them.

    Lists may leave the price out; such a number is read by itself.

    Raises:
        KrosError: A number could not be read.
    """
    read_at = await account.journal.now()
    owned = await read_all_owned(account.client)
    details = await read_each(account.client, _without_price(owned.numbers))
    return await _run_rate(account, owned, details, complete=owned.complete, read_at=read_at)


async def read_run_rate_in_time(account: Account, *, seconds: float) -> RunRate | None:
    """Read as much of the run rate as KrosAI tells in that time; None if that is nothing.

    It is good to be shown, not to hold a cap against. What was not read has no price, and makes it incomplete.

    Raises:
        JournalError: The journal cannot be used.
    """
    until = anyio.current_time() + seconds
    read_at = await account.journal.now()
    owned = await read_owned_in_time(account.client, seconds=seconds)
    if not owned.numbers and not owned.complete:
        return None
    wanted = _without_price(owned.numbers)
    details = await read_each_in_time(account.client, wanted, seconds=until - anyio.current_time())
    complete = owned.complete and len(details) == len(wanted)
    return await _run_rate(account, owned, details, complete=complete, read_at=read_at)


def with_purchases(rate: RunRate, books: Books, principal: str) -> RunRate:
    """Add what was bought after the run rate was read.

    Args:
        rate: The run rate, as it was read.
        books: The journal's sums for the principal, with what is committed since `read_at`.
        principal: Whose part of it `RunRate.of` is to tell.
    """
    committed = {e164: cents for e164, cents in books.committed.items() if e164 in books.bought}
    new = others_committed(committed, "", rate)
    own = dict.fromkeys(books.own & new.keys(), principal)
    return replace(rate, prices=(*rate.prices, *new.items()), buyers={**rate.buyers, **own})


def _living(numbers: Sequence[PhoneNumber]) -> list[PhoneNumber]:
    return [number for number in numbers if not number.has_ended]


def _without_price(numbers: Sequence[PhoneNumber]) -> list[str]:
    return [number.id for number in _living(numbers) if number.monthly_cents is None]


async def _run_rate(
    account: Account, owned: OwnedList, details: _Details, *, complete: bool, read_at: float
) -> RunRate:
    live = _living(owned.numbers)
    e164s = [number.e164 for number in live]
    read = (details.get(number.id) or number for number in live)
    currencies = [*(number.currency for number in live), *(number.currency for number in read)]
    prices = list(zip(e164s, [_price(number, details) for number in live], strict=True))
    return RunRate(
        prices=(*prices, *((name, None) for name in owned.unreadable)),
        complete=complete,
        read_at=read_at,
        buyers=await account.journal.buyers(account.id, e164s),
        currencies=frozenset(currency for currency in currencies if currency),
    )


def _price(number: PhoneNumber, details: _Details) -> int | None:
    if number.id not in details:
        return number.monthly_cents
    read = details[number.id]
    return None if read is None else read.monthly_cents  # listed and not found: what it costs is not known


@dataclass(frozen=True)
class _Kept:
    """A reading, and when it began and ended, in the clock's seconds."""

    rate: RunRate | None
    began: float
    ended: float


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
        self._kept: _Kept | None = None

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

    def _is_fresh(self, kept: _Kept, oldest_seconds: float) -> bool:
        if kept.rate is not None and kept.rate.complete:
            return self._clock() - kept.began < oldest_seconds
        return self._clock() - kept.ended < oldest_seconds / _INCOMPLETE_AGES

    async def _read(self, seconds: float) -> _Kept:
        began = self._clock()
        rate = await read_run_rate_in_time(self._account, seconds=seconds)
        return _Kept(rate, began, self._clock())
