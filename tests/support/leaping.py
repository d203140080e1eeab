"""Time that passes without waiting: an event loop that leaps to its next timer when nothing else is left to do.

Only what runs in the loop itself keeps such time, so journals are in memory here, and their work is done in the loop.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.journal import Journal

T = TypeVar("T")
BEGINS_AT = 1_800_000_000.0
"""What Unix time it is when a loop begins."""


class LeapingLoop(asyncio.SelectorEventLoop):
    """Tells a time of its own, in seconds since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined,unused-ignore]
        wait = selector.select

        def leap(timeout: float | None) -> object:
            if timeout is None:
                return wait(None)
            found = wait(0)
            if not found:
                self.passed += max(timeout, 0.0)
            return found

        selector.select = leap

    def time(self) -> float:
        return self.passed


def unix_time() -> float:
    """Tell the time of the running loop, in Unix seconds."""
    return BEGINS_AT + asyncio.get_running_loop().time()


def seconds() -> float:
    """Tell the time of the running loop, in seconds since it began."""
    return asyncio.get_running_loop().time()


def leaping(work: Callable[[], Awaitable[T]]) -> T:
    """Run work in a loop that leaps."""

    async def run() -> T:
        return await work()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(run())


@asynccontextmanager
async def open_leaping_journal() -> AsyncIterator[Journal]:
    """Open a journal in memory that keeps the loop's time."""

    async def here(work: Callable[[], T]) -> T:
        await anyio.lowlevel.checkpoint()
        return work()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio.to_thread, "run_sync", here)
        async with open_sqlite("sqlite://:memory:", clock=unix_time) as journal:
            yield journal
