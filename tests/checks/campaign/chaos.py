"""What happens to the servers: killed, frozen for longer than their lease, and restarted.

At random moments, as many as the pace wants; and at moments of interest, such as just after a yes or while a
write is held.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from kros_mcp.operations.model import LEASE_SECONDS

from .books import Confirmation
from .clients import Connection
from .events import Events
from .people import Book
from .reach import Reached

FREEZE_SECONDS = (LEASE_SECONDS + 1, LEASE_SECONDS + 4)


@dataclass(frozen=True)
class Pace:
    """How often, a second; 0 is never."""

    kills: float = 0.45
    freezes: float = 0.12
    restarts: float = 0.03
    most_frozen: int = 3
    """How many servers at once."""


class Chaos:
    """Strikes servers until cancelled.

    Args:
        connections: Whose servers.
        pace: How often.
        seconds: How long the campaign lasts; a server is frozen only if it can be thawed before the end.
        chance: Decides everything.
        events: Where it is noted.
        tasks: Where servers are thawed again, and struck with delay.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        pace: Pace,
        seconds: float,
        *,
        chance: random.Random,
        events: Events,
        tasks: TaskGroup,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """kills, freezes (over when counted), restarts."""
        self._connections, self._pace = connections, pace
        self._chance, self._events, self._tasks = chance, events, tasks
        self._by_operation: dict[str, Connection] = {}
        self._began, self._ends = time.monotonic(), time.monotonic() + seconds

    def attach(self, book: Book) -> None:
        """Learn of each yes as it is given."""
        book.on_yes = self.yes_given

    def yes_given(self, yes: Confirmation) -> None:
        """Strike now and then just after a yes: before, while or after it is carried out, or between two of several."""
        connection = next((each for each in self._connections if each.name == yes.by), None)
        if connection is None:
            return
        self._by_operation[yes.operation_id] = connection
        several = yes.action.endswith("_several")
        self._strike_later(connection, kill=0.2 if several else 0.03, freeze=0.06 if several else 0.01)

    def write_held(self, operation_id: str) -> None:
        """Strike now and then the server whose request is held at KrosAI."""
        connection = self._by_operation.get(operation_id)
        if connection is not None:
            self._strike_later(connection, kill=0.35, freeze=0.2)

    async def strike(self) -> None:
        """Keep the pace. Until cancelled."""
        while True:
            await anyio.sleep(self._chance.uniform(0.2, 1.2))
            elapsed = time.monotonic() - self._began
            if self.counts["restarts"] < self._pace.restarts * elapsed:
                await self._restart(self._chance.choice(self._connections))
            if self.counts["begun freezes"] < self._pace.freezes * elapsed:
                self._freeze(self._chance.choice(self._connections))
            if self.counts["kills"] < self._pace.kills * elapsed:
                self._kill(self._chance.choice(self._connections))

    def _strike_later(self, connection: Connection, *, kill: float, freeze: float) -> None:
        dice = self._chance.random()
        if not self._pace.kills or dice >= kill + freeze:
            return
        delay = self._chance.choice((0.0, 0.02, 0.1, 0.3, 1.0))

        async def strike() -> None:
            await anyio.sleep(delay)
            (self._kill if dice < kill else self._freeze)(connection)

        self._tasks.start_soon(strike)

    def _kill(self, connection: Connection) -> None:
        server = connection.server
        if server is not None and server.is_running:
            self._events.note("kill", by=connection.name, pid=server.pid)
            self.counts["kills"] += 1
            server.kill()

    async def _restart(self, connection: Connection) -> None:
        server = connection.server
        if server is not None and server.is_running:
            self._events.note("restart", by=connection.name, pid=server.pid)
            self.counts["restarts"] += 1
            await connection.stop()

    def _freeze(self, connection: Connection) -> None:
        server, seconds = connection.server, self._chance.uniform(*FREEZE_SECONDS)
        frozen = sum(each.server is not None and each.server.frozen for each in self._connections)
        too_late = time.monotonic() + seconds > self._ends
        if server is None or not server.is_running or frozen >= self._pace.most_frozen or too_late:
            return
        self._events.note("freeze", by=connection.name, pid=server.pid, seconds=seconds)
        self.counts["begun freezes"] += 1
        server.freeze()
        self._tasks.start_soon(self._thaw_later, connection, server, seconds)

    async def _thaw_later(self, connection: Connection, server: Reached, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._events.note("thaw", by=connection.name, pid=server.pid)
        self.counts["freezes"] += 1
        server.thaw()
