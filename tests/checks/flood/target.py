"""What a flood is told: where the service answers, with which token it may call, and where to count what it did."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PAUSE_SECONDS = 1.0
"""Before what was cut off begins again: without a pause, a flood measures how a machine shares out its processors."""


@dataclass
class Target:
    """The service under flood; `token` may do everything, and belongs to another principal than the good caller's."""

    port: int
    token: str
    did: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect, and leave without a farewell."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self.did["connections"] += 1
        try:
            yield reader, writer
        finally:
            with suppress(RuntimeError):  # of a loop that has been closed
                writer.transport.abort()

    async def at_once(self, count: int, one: Callable[[], Awaitable[None]]) -> None:
        """Do one thing so many times at once, each over and over; what the service cuts off begins again."""

        async def again_and_again() -> None:
            while True:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await one()
                self.did["rounds"] += 1
                await asyncio.sleep(PAUSE_SECONDS)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(again_and_again())
