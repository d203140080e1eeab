"""Whether KrosAI answers, as the last request saw it; nothing is sent to find out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

from kros_mcp.errors import KrosError


@dataclass
class Cost:
    """The requests that were sent so far."""

    requests: int = 0


_costs: ContextVar[tuple[Cost, ...]] = ContextVar("_costs", default=())


@contextmanager
def counted() -> Iterator[Cost]:
    """Count the requests that the block sends, in tasks that it starts too."""
    cost = Cost()
    token = _costs.set((*_costs.get(), cost))
    try:
        yield cost
    finally:
        _costs.reset(token)


def count_request() -> None:
    """Count one request for all who are counting."""
    for cost in _costs.get():
        cost.requests += 1


_TELLING_SECONDS: Final = 2.0
"""Whoever gives a request up after that long without an answer has seen that KrosAI does not answer."""


class Reach:
    """Keeps what the last request saw, and since when it has been so.

    `state` is "unknown" until the first request has ended. Any answer counts, an error too. `since` and `seen_at`
    are Unix seconds; 0 until then.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.state: Literal["reachable", "unreachable", "unknown"] = "unknown"
        self.since = 0.0
        self.seen_at = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch one request; what it fails with goes through."""
        begun = time.monotonic()
        count_request()
        try:
            yield
        except KrosError:  # our own gate has stopped it, which tells nothing of KrosAI
            raise
        except Exception:
            self._saw("unreachable")
            raise
        except BaseException:
            if time.monotonic() - begun >= _TELLING_SECONDS:
                self._saw("unreachable")
            raise
        self._saw("reachable")

    def _saw(self, state: Literal["reachable", "unreachable"]) -> None:
        self.seen_at = self._clock()
        if state != self.state:
            self.state, self.since = state, self.seen_at
