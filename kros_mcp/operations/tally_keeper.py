"""Keeps the count of requests to KrosAI in the journal, for all processes that use one API key.

It is written beside the requests, never on the way of one: a journal that cannot take it now gets it later, and what
all have sent is known here a few seconds late.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from kros_mcp.errors import JournalError
from kros_mcp.krosai import Asked, HourCount, KrosClient, Tally, Window, first_hour, hour_of
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.task_group import open_task_group
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
        self._known = Window(0.0)
        """What the journal had when it was read last."""
        self._own: Counter[tuple[int, Asked]] = Counter()
        """By the hour, what this process has sent and the journal does not have."""
        self._look_at = 0.0
        self._failures = 0

    async def keep_on(self) -> None:
        """Look every second whether something is to be written or read."""
        while True:
            await anyio.sleep(LOOK_EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Write what has been counted, and read what others have, if it is time; never fails."""
        unwritten = self._unwritten().total()
        if not unwritten and self._tally.per_day is None:
            self._look_at = anyio.current_time() + WRITE_EVERY_SECONDS
        elif anyio.current_time() >= self._look_at or (unwritten >= MOST_UNWRITTEN and not self._failures):
            await self._exchange()

    async def finish(self) -> None:
        """Write what is left, and wait for the journal if it is busy; never fails."""
        if self._writes and self._unwritten():
            await self._exchange(patient=True)

    def _unwritten(self) -> Counter[Asked]:
        unwritten = Counter(self._tally.counted())
        for (_, asked), some in self._own.items():
            unwritten[asked] += some if self._writes else 0
        return +unwritten

    async def _exchange(self, *, patient: bool = False) -> None:
        self._look_at = anyio.current_time() + WRITE_EVERY_SECONDS
        counts = self._tally.counted()
        with anyio.CancelScope(shield=True):  # what is written must not be counted as unwritten
            try:
                now = await self._write_and_read(self._unwritten(), patient=patient)
                written = self._writes
                self._failures = 0
            except Exception as exc:  # noqa: BLE001 - counting must never end what it counts for
                self._failed(exc, patient=patient)
                written = False
                try:
                    now = await self._journal.now()
                except Exception:  # noqa: BLE001 - the same; without the time they stay as they were counted
                    return
        if written:
            self._own.clear()
        else:
            self._own.update({(hour_of(now), asked): some for asked, some in counts.items()})
        self._tally.learned(counts, self._window(now))

    async def _write_and_read(self, unwritten: Mapping[Asked, int], *, patient: bool) -> float:
        """Read what the journal has, having added what it lacks, and return its time."""
        if self._writes and unwritten:
            self._known = await self._journal.add_requests(self._key, unwritten, patient=patient)
        else:
            self._known = await self._journal.requests(self._key)
        return self._known.now

    def _window(self, now: float) -> Window:
        """Return what the journal has, as far as it could be read, and what is only known here."""
        begins = first_hour(now)
        self._own = Counter({each: some for each, some in self._own.items() if each[0] >= begins})
        own = (HourCount(hour, kind, purpose, some) for (hour, (kind, purpose)), some in self._own.items())
        return Window(now, (*(count for count in self._known.counts if count.hour >= begins), *own))

    def _failed(self, exc: Exception, *, patient: bool) -> None:
        self._failures += 1
        if self._failures == _FAILURES_TOLD or (patient and self._failures < _FAILURES_TOLD):
            why = exc.code if isinstance(exc, JournalError) else type(exc).__name__
            logger.warning("requests to KrosAI are counted in memory alone for now: %s", why)


@asynccontextmanager
async def open_tally_keeper(tally: Tally, journal: Journal, settings: Settings) -> AsyncIterator[None]:
    """Keep the count while the block lasts, and write down the last of it; a day's limit is known at once."""
    keeper = TallyKeeper(tally, journal, settings)
    if settings.requests_per_day is not None:
        await keeper.look()
    try:
        async with open_task_group() as tasks:
            tasks.start_soon(keeper.keep_on)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
    finally:
        await keeper.finish()


@asynccontextmanager
async def counting(client: KrosClient, journal: Journal, settings: Settings) -> AsyncIterator[None]:
    """Keep the count of what is sent while the block lasts, for a command that ends soon."""
    keeper = TallyKeeper(client.tally, journal, settings)
    try:
        yield
    finally:
        await keeper.finish()
