"""Keeps the count of requests to KrosAI in the journal, for all processes that use one API key.

It is written beside the requests, never on the way of one: a journal that cannot take it now gets it later, and what
all have sent is known here a few seconds late.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from kros_mcp.errors import JournalError
from kros_mcp.krosai import Asked, HourCount, KrosClient, Tally, Window, first_hour, hour_of
from kros_mcp.operations.journal import Journal
from kros_mcp.settings import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS: Final = 1.0
WRITE_EVERY_SECONDS: Final = 5.0
MOST_UNWRITTEN: Final = 20
_FAILURES_TOLD: Final = 3
"""A journal that is only busy takes the count at the next try or the one after."""


class TallyKeeper:
    """Hands what a tally has counted to the journal, and tells the tally what all processes have sent.

    Args:
        tally: Counts the requests of this process.
        journal: Where they are added up.
        settings: Of the key. A server that only reads writes nothing: what it sends is known to itself alone.
    """

    def __init__(self, tally: Tally, journal: Journal, settings: Settings) -> None:
        self._tally = tally
        self._journal = journal
        self._key = settings.request_key(journal.secret)
        self._writes = not (settings.read_only or journal.only_reads)
        self._own: Counter[tuple[int, Asked]] = Counter()
        """By the hour, what this process has sent and does not write."""
        self._look_at = 0.0
        self._failures = 0

    async def keep_on(self) -> None:
        """Look every second whether something is to be written or read."""
        while True:
            await anyio.sleep(LOOK_EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Write what has been counted, and read what others have, if it is time; never fails."""
        unwritten = sum(self._tally.counted().values())
        if not unwritten and self._tally.per_day is None:
            self._look_at = anyio.current_time() + WRITE_EVERY_SECONDS
        elif unwritten >= MOST_UNWRITTEN or anyio.current_time() >= self._look_at:
            await self._exchange()

    async def finish(self) -> None:
        """Write what is left, and wait for the journal if it is busy; never fails."""
        if self._writes and self._tally.counted():
            await self._exchange(patient=True)

    async def _exchange(self, *, patient: bool = False) -> None:
        counts = self._tally.counted()
        try:
            with anyio.CancelScope(shield=True):  # what is written must not be counted as unwritten
                window = await self._handed_over(counts, patient=patient)
        except Exception as exc:  # noqa: BLE001 - counting must never end what it counts for
            self._failures += 1
            if self._failures == _FAILURES_TOLD or (patient and self._failures < _FAILURES_TOLD):
                why = exc.code if isinstance(exc, JournalError) else type(exc).__name__
                logger.warning("requests to KrosAI are counted in memory alone for now: %s", why)
        else:
            self._failures = 0
            self._look_at = anyio.current_time() + WRITE_EVERY_SECONDS
            self._tally.learned(counts, window)

    async def _handed_over(self, counts: dict[Asked, int], *, patient: bool) -> Window:
        if counts and self._writes:
            return await self._journal.add_requests(self._key, counts, patient=patient)
        window = await self._journal.requests(self._key)
        if self._writes:
            return window
        self._own.update({(hour_of(window.now), asked): some for asked, some in counts.items()})
        for hour, asked in [each for each in self._own if each[0] < first_hour(window.now)]:
            del self._own[hour, asked]
        own = (HourCount(hour, kind, purpose, some) for (hour, (kind, purpose)), some in self._own.items())
        return Window(window.now, (*window.counts, *own))


@asynccontextmanager
async def counting(client: KrosClient, journal: Journal, settings: Settings) -> AsyncIterator[None]:
    """Keep the count of what is sent while the block lasts, for a command that ends soon."""
    keeper = TallyKeeper(client.tally, journal, settings)
    try:
        yield
    finally:
        await keeper.finish()
