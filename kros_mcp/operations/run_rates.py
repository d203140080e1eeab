"""What all owned numbers cost a month, to be shown: one reading, shared by all who ask within seconds.

The policy never takes it: a proposal and a claim each read afresh, and to the end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from kros_mcp.operations.desk import Desk
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.spending import read_run_rate_in_time

_FOR_KROSAI: Final = 0.9
"""The part of a caller's time that KrosAI has; the rest is the journal's."""
_INCOMPLETE_AGES: Final = 5.0
"""How many times sooner than a complete reading an incomplete one is done again."""


@dataclass(frozen=True)
class _Kept:
    """A reading, and when it began and ended, in the clock's seconds."""

    rate: RunRate | None
    began: float
    ended: float


class RunRates:
    """Reads the run rate for whoever shows it, one reading at a time.

    Args:
        desk: The account's resources.
        clock: Seconds that only go forward.
    """

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
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
        rate = await read_run_rate_in_time(self._desk, seconds=seconds)
        return _Kept(rate, began, self._clock())
