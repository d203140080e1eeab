"""How many connections may be open here, which gives way to another, and how many are read in one turn.

uvicorn bounds none of it.
"""

import asyncio
import logging
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)

MOST_BACKLOG = 1024
SWEEP_SECONDS = 1.0
"""How often the times of all connections are checked."""
READS_A_TURN = 32
"""Reads of unauthenticated clients in one turn of the event loop; those of authenticated callers come beside them."""
_OTHER_FILES = 256
"""The journal's, those to KrosAI and to an issuer, and a log's."""
_LOG_SECONDS = 60.0


class OpenConnection(Protocol):
    """What the bounds need to know of a connection, and do with it."""

    loop: asyncio.AbstractEventLoop
    is_authenticated: bool
    deferred_reads: int
    """Pieces that have come and wait for their turn to be read."""

    @property
    def is_closing(self) -> bool:
        """Whether it only ends."""
        ...

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        ...

    def pause_reading(self) -> None:
        """Let nothing more come for now."""
        ...

    def resume_reading(self) -> None:
        """Let more come."""
        ...

    def check_time(self, now: float) -> None:
        """Leave if what is waited for has not come in time."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections may be open, and how many may wait to be accepted: all of these are accepted at once."""

    connections: int
    backlog: int


def limits_for(connections: int) -> ConnectionLimits:
    """Raise the limit of open files as far as so many connections need and the system permits.

    Where it permits too few, there are fewer connections: one that cannot be accepted would be reset, and everybody
    with it.
    """
    if sys.platform == "win32":  # which has no such limit
        return ConnectionLimits(connections, MOST_BACKLOG)
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + MOST_BACKLOG + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):  # macOS permits less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ConnectionLimits(connections, MOST_BACKLOG)
    backlog = min(MOST_BACKLOG, soft // 4)
    limits = ConnectionLimits(max(1, min(connections, soft - backlog - _OTHER_FILES)), backlog)
    logger.warning(
        "KROS_MAX_CONNECTIONS is %s, and there is room for %s: the system limits open files (ulimit -n) to %s",
        connections,
        limits.connections,
        soft,
    )
    return limits


class OpenConnections:
    """All connections of a process, and those among them that wait: for a whole request, or for their end.

    Args:
        most: How many may be open. One more makes the one that has waited longest give way, unauthenticated ones first;
            where none waits, the new one is refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[OpenConnection] = set()
        self._waiting_unauthenticated: dict[OpenConnection, None] = {}
        self._waiting_authenticated: dict[OpenConnection, None] = {}
        self._deferred: deque[tuple[OpenConnection, bytes]] = deque()
        self._reads = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._evicted = 0
        self._logged_at = -_LOG_SECONDS

    def add(self, connection: OpenConnection) -> bool:
        """Add a new connection; return false if there is no place for it."""
        has_place = len(self._open) < self._most or self._evict_one()
        self._open.add(connection)
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)
        return has_place

    def remove(self, connection: OpenConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self.mark_busy(connection)

    def mark_waiting(self, connection: OpenConnection) -> None:
        """Note that a connection waits from now on; it is the last to give way."""
        self.mark_busy(connection)
        waiting = self._waiting_authenticated if connection.is_authenticated else self._waiting_unauthenticated
        waiting[connection] = None

    def mark_busy(self, connection: OpenConnection) -> None:
        """Note that a connection has sent a whole request, which is being answered."""
        self._waiting_unauthenticated.pop(connection, None)
        self._waiting_authenticated.pop(connection, None)

    def read(self, connection: OpenConnection, data: bytes) -> None:
        """Have a connection read what has come, in this turn of the event loop or in a later one.

        Of a thousand unauthenticated clients that come at once, each is read and answered in some tenths of a
        millisecond. All in one turn would hold up every other caller once for each step of its call.
        """
        if connection.is_authenticated or connection.is_closing:
            connection.data_received(data)
        elif self._reads < READS_A_TURN and not connection.deferred_reads:
            if not self._reads:
                connection.loop.call_soon(self._next_turn, connection.loop)
            self._reads += 1
            connection.data_received(data)
        else:
            connection.deferred_reads += 1
            connection.pause_reading()
            self._deferred.append((connection, data))

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reads = 0
        while self._deferred and self._reads < READS_A_TURN:
            connection, data = self._deferred.popleft()
            self._reads += 1
            connection.deferred_reads -= 1
            if not connection.deferred_reads:
                connection.resume_reading()
            connection.data_received(data)
        if self._reads:
            loop.call_soon(self._next_turn, loop)

    def _evict_one(self) -> bool:
        for waiting in (self._waiting_unauthenticated, self._waiting_authenticated):
            if waiting:
                oldest = next(iter(waiting))
                self.remove(oldest)
                oldest.abort()
                self._evicted += 1
                return True
        return False

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._open):
            connection.check_time(now)
        if self._evicted and now - self._logged_at >= _LOG_SECONDS:
            logger.warning(
                "%s connections gave way to new ones: KROS_MAX_CONNECTIONS is %s here", self._evicted, self._most
            )
            self._evicted, self._logged_at = 0, now
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep, loop) if self._open else None
