"""Reads prices of owned numbers in the background, so that nobody who asks has to wait for more than a few.

What is missing is read at once, as fast as KrosAI lets the background; what will be too old soon is read again bit by
bit. One process at a time does so for all that share the journal.
"""

import logging
import secrets
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from kros_mcp.errors import JournalError, KrosError, NotFoundError
from kros_mcp.krosai import PhoneNumber, Purpose, asked_for, within
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.kept import PRICE_GOOD_SECONDS, Kept

logger = logging.getLogger(__name__)

ASKED_FOR_SECONDS: Final = 86_400.0
"""How long prices are kept good after somebody asked for them, where no monthly cap needs them anyway."""
_GATHER_SECONDS: Final = 0.5
"""How long to wait after somebody asks, who reads a few prices first."""
_LOOK_EVERY_SECONDS: Final = 3_600.0
_OTHERS_TURN_SECONDS: Final = 2.0
_WRITE_AGAIN_SECONDS: Final = 30.0
"""How soon what the journal did not take is given to it again."""
_LAST_WRITE_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 30.0
_READ_SECONDS: Final = 20.0
_REFRESH_AFTER: Final = PRICE_GOOD_SECONDS / 2
"""How old a price is that is read again before it is too old."""
_REFRESHED_WITHIN: Final = 0.9 * (PRICE_GOOD_SECONDS - _REFRESH_AFTER)
"""In what time all prices are read again: they may all have been read at once, and are not to be again."""
_FIRST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 600.0
_FIRST_FAILING_SECONDS: Final = 15.0
_FAILING_SECONDS: Final = 600.0
"""How long a number is left alone that could not be read, so that it holds up no other: first, and at most."""
_READ_RESTS_SECONDS: Final = 3_600.0
"""How long one is left alone that was read: whatever becomes of what is kept, KrosAI is not asked again and again."""
_MOST_FAILURES: Final = 3
_AT_ONCE: Final = 5
_AFTER_READING_SECONDS: Final = 1.0


@dataclass
class PriceReader:
    """The background's reading of prices, for one account.

    Args:
        account: The account's resources.
    """

    account: Account
    _name: str = field(default_factory=lambda: secrets.token_hex(8))
    _pause: float = 0.0
    _turn_ends: float = 0.0
    _rests: dict[str, float] = field(default_factory=dict)
    """Until when numbers are left alone, by their id."""
    _failing: dict[str, float] = field(default_factory=dict)
    """How long those were left alone last that could not be read."""

    async def run(self) -> None:
        """Read until cancelled; a failure only delays what comes next."""
        try:
            with asked_for(Purpose.BACKGROUND):
                await self._look_again_and_again()
        finally:
            with anyio.move_on_after(_LAST_WRITE_SECONDS, shield=True):
                await self.write_down()

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                again = await self.look()
            except KrosError as exc:
                logger.info("prices of owned numbers: %s", exc.code)
                await self._rest(max(2 * self._pause, _FIRST_PAUSE_SECONDS))
            except Exception:
                logger.exception("prices of owned numbers: unexpected failure")
                await anyio.sleep(_LONGEST_PAUSE_SECONDS)
            else:
                self._pause = 0.0
                with anyio.move_on_after(min(again, _WRITE_AGAIN_SECONDS) if self._has_unwritten else again):
                    await self.account.kept.asked()
                    await anyio.sleep(_GATHER_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Pause; not for long once somebody is told how soon prices are read, or has read something: KrosAI answers."""
        self._pause = min(seconds, _LONGEST_PAUSE_SECONDS)
        until = anyio.current_time() + self._pause
        await anyio.sleep(min(self._pause, _FIRST_PAUSE_SECONDS))
        with anyio.move_on_after(until - anyio.current_time()):
            await self.account.kept.asked()

    async def look(self) -> float:
        """Write down what was seen, and read what is missing or will be too old soon.

        Returns:
            In how many seconds to look again.

        Raises:
            KrosError: KrosAI or the journal could not be used.
        """
        await self.write_down()
        if not self._is_needed():
            return _LOOK_EVERY_SECONDS
        kept = self.account.kept.over(await self.account.journal.kept(self.account.id))
        now = await self.account.journal.now()
        if missing := self._older_than(kept, now, PRICE_GOOD_SECONDS):
            if not await self._take_turn():
                return _OTHERS_TURN_SECONDS
            await self._read(missing, now)
            return _AFTER_READING_SECONDS
        return await self._refresh(kept, now)

    async def _refresh(self, kept: Kept, now: float) -> float:
        """Read the oldest price again where it is time for that, and return in how many seconds to look again."""
        priced = [each.priced_at for each in kept.numbers.values() if each.priced_at is not None]
        if not priced:
            return _LOOK_EVERY_SECONDS
        every = _REFRESHED_WITHIN / len(priced)
        next_at = max(min(priced) + _REFRESH_AFTER, kept.refreshed_at + every)
        if now < next_at:
            return min(next_at - now, _LOOK_EVERY_SECONDS)
        old = self._older_than(kept, now, _REFRESH_AFTER)
        if old and await self._take_turn(refresh=True):
            await self._read(old[:1], now)
        return min(every, _LOOK_EVERY_SECONDS)

    async def write_down(self) -> None:
        """Store what this process has seen, where anything may be stored; a journal that fails is only logged."""
        kept = self.account.kept
        if not self._has_unwritten:
            return
        sights, listing = kept.sights(), kept.listing
        try:
            await self.account.journal.keep(self.account.id, sights, listing)
        except JournalError as exc:
            logger.info("owned numbers could not be kept: %s", exc.message)
        else:
            kept.written(sights, listing)

    @property
    def _writes(self) -> bool:
        return not (self.account.settings.read_only or self.account.journal.only_reads)

    @property
    def _has_unwritten(self) -> bool:
        return self._writes and (bool(self.account.kept.sights()) or self.account.kept.listing is not None)

    def _is_needed(self) -> bool:
        """Whether a cap needs prices, or somebody has asked for them within a day."""
        asked_at = self.account.kept.asked_at
        asked = asked_at is not None and anyio.current_time() - asked_at < ASKED_FOR_SECONDS
        return asked or policy.needs_run_rate(self.account.settings)

    def _older_than(self, kept: Kept, now: float, seconds: float) -> list[PhoneNumber]:
        """Return the living numbers without a price that is younger, the oldest first, those that rest left out."""
        rests = {number_id for number_id, until in self._rests.items() if anyio.current_time() < until}
        found = [
            (each.priced_at or 0.0, number_id, each.number)
            for number_id, each in kept.numbers.items()
            if not each.number.has_ended and number_id not in rests and not each.is_priced(now, seconds)
        ]
        return [number for *_, number in sorted(found, key=lambda each: each[:2])]

    async def _take_turn(self, *, refresh: bool = False) -> bool:
        if not self._writes:
            return True
        self._turn_ends = anyio.current_time() + _TURN_SECONDS
        return await self.account.journal.take_turn(self.account.id, self._name, seconds=_TURN_SECONDS, refresh=refresh)

    async def _keep_turn(self) -> bool:
        """Take the turn again before it ends."""
        return anyio.current_time() < self._turn_ends - _TURN_SECONDS / 2 or await self._take_turn()

    async def _read(self, numbers: list[PhoneNumber], since: float) -> None:
        """Read numbers by themselves at KrosAI's pace, and write each down as it comes.

        Args:
            numbers: Which.
            since: When they were found to be missing; those that a caller reads meanwhile are left out.

        Raises:
            KrosError: The first failure, if there were several; those that were read are kept.
        """
        failures: list[KrosError] = []
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def read(number: PhoneNumber) -> None:
            async with limiter:
                try:
                    await self._read_one(number)
                    self._rests[number.id] = anyio.current_time() + _READ_RESTS_SECONDS
                    self._failing.pop(number.id, None)
                except KrosError as exc:  # raised below, outside the task group, which would wrap it
                    failures.append(exc)
                    rest = min(2 * self._failing.get(number.id, _FIRST_FAILING_SECONDS / 2), _FAILING_SECONDS)
                    self._failing[number.id] = rest
                    self._rests[number.id] = anyio.current_time() + rest

        async with anyio.create_task_group() as tasks:
            left = list(numbers)
            while left:
                await self.account.client.pace.turn()
                # Whoever asks waits for few of what may be thousands, and may ask while they are read.
                number = next((each for each in left if each.id in self.account.kept.asked_first), left[0])
                left.remove(number)
                if self.account.kept.is_read(number.id, since):
                    continue
                if len(failures) >= _MOST_FAILURES or not await self._keep_turn():
                    break
                tasks.start_soon(read, number)
        if len(failures) >= _MOST_FAILURES:
            raise failures[0]

    async def _read_one(self, number: PhoneNumber) -> None:
        at = await self.account.journal.now()
        with within(_READ_SECONDS):
            try:
                read = await self.account.client.get_number(number.id)
            except NotFoundError:  # listed and not found: nobody knows what it costs
                read = replace(number, monthly_cents=None, setup_cents=None)
        self.account.kept.saw([read], at, alone=True)
        await self.write_down()
