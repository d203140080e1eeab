"""What all owned numbers cost a month, as the page shows it: at most 30 seconds old, or not known now."""

import time
from collections.abc import Callable

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.krosai.patience import within
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.spending import read_run_rate

READ_SECONDS = 2.0
KEPT_SECONDS = 30.0


class RunRates:
    """Reads the run rate for a page that refreshes itself, without asking KrosAI each time.

    Args:
        desk: The account's resources.
        clock: Seconds that only go forward.
    """

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._clock = clock
        self._lock = anyio.Lock()
        self._read: tuple[float, RunRate | None] | None = None

    async def now(self) -> RunRate | None:
        """Read it within 2 seconds; None if KrosAI or the journal does not tell in that time."""
        with anyio.move_on_after(READ_SECONDS):
            async with self._lock:
                if self._read is None or self._clock() - self._read[0] >= KEPT_SECONDS:
                    self._read = (self._clock(), await self._ask())
                return self._read[1]
        return None

    async def _ask(self) -> RunRate | None:
        try:
            with within(READ_SECONDS - 0.2):
                return await read_run_rate(self._desk)
        except KrosError:
            return None
