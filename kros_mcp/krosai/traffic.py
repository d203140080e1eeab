"""What is known from the requests sent to KrosAI: how many there were, and whether it answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

from kros_mcp.errors import KrosError

_UNANSWERED_SECONDS: Final = 2.0
"""A request that is cancelled after this long without an answer counts as unanswered."""


@dataclass
class RequestCount:
    """How many requests were sent so far, retries included."""

    requests: int = 0


_counts: ContextVar[tuple[RequestCount, ...]] = ContextVar("_counts", default=())


@contextmanager
def counted() -> Iterator[RequestCount]:
    """Count the requests that the block sends, also in tasks that it starts."""
    count = RequestCount()
    token = _counts.set((*_counts.get(), count))
    try:
        yield count
    finally:
        _counts.reset(token)


class Reach:
    """Whether KrosAI answered the last request, and since when it has been so; nothing is sent to find out.

    `state` is "unknown" until the first request has ended. Any answer counts, an error too. `since` and `seen_at`
    are Unix seconds; 0 until then.
    """

    def __init__(self) -> None:
        self.state: Literal["reachable", "unreachable", "unknown"] = "unknown"
        self.since = 0.0
        self.seen_at = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one request, and note whether it is answered; its exceptions pass through."""
        begun = time.monotonic()
        for count in _counts.get():
            count.requests += 1
        try:
            yield
        except KrosError:  # `before_sending` stopped it, which says nothing of KrosAI
            raise
        except Exception:
            self._saw("unreachable")
            raise
        except BaseException:
            if time.monotonic() - begun >= _UNANSWERED_SECONDS:
                self._saw("unreachable")
            raise
        self._saw("reachable")

    def _saw(self, state: Literal["reachable", "unreachable"]) -> None:
        self.seen_at = time.time()
        if state != self.state:
            self.state, self.since = state, self.seen_at
