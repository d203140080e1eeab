"""The one retry loop, and how reads of KrosAI use it: within the caller's time, with short waits between attempts.

Own code and no library: stamina took this loop, loaded in 13 to 24 ms and cost 25 µs of a read's 640, while every
decision (which failure, how often, how long a wait, how much of the caller's time is left) was made here all the same.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
from anyio import sleep

from kros_mcp import telemetry
from kros_mcp.errors import (
    ApiError,
    ConnectionLostError,
    KrosError,
    NotSentError,
    PathError,
    RateLimitError,
    ServerError,
    TooSlowError,
)
from kros_mcp.krosai.exchange import too_slow

T = TypeVar("T")

_TRANSIENT: Final = (RateLimitError, ServerError, TooSlowError, ConnectionLostError, NotSentError)
_ATTEMPTS: Final = 5
_FIRST_WAIT_SECONDS: Final = 0.1  # doubled after each attempt: 1.5 seconds in all
_LONGEST_READ_SECONDS: Final = 30.0  # for a caller that set no limit of its own


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block this many seconds, then raise TooSlowError; nested, the shortest time counts."""
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise too_slow()


def seconds_left() -> float:
    """Return how many seconds the innermost limits in force leave to the running task."""
    return anyio.current_effective_deadline() - anyio.current_time()


async def with_retries(attempt: Callable[[], Awaitable[T]], wait_after: Callable[[KrosError], float | None]) -> T:
    """Call `attempt` until it succeeds, and return what it returned.

    Args:
        attempt: What is tried.
        wait_after: Returns, for a failure, how many seconds to wait before the next attempt; None to give up.

    Raises:
        KrosError: The failure after which `wait_after` gave up. Any other exception comes out at once.
    """
    while True:
        try:
            return await attempt()
        except KrosError as failure:
            wait = wait_after(failure)
            if wait is None:
                raise
            telemetry.retried(failure)
        await sleep(wait)


async def retry_read(read: Callable[[], Awaitable[T]]) -> T:
    """Read, and read again after a transient failure, as long as the caller's time allows.

    Raises:
        KrosaiError: The last failure, at once when the wait before the next attempt would outlast the time.
    """
    with within(_LONGEST_READ_SECONDS):
        answer = await with_retries(read, _ReadBackoff().wait_after)
    return answer  # noqa: RET504  # mypy holds that the block may end early, and would miss a return


class _ReadBackoff:
    """Decides, after each failure of one read, whether and when to try again."""

    def __init__(self) -> None:
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._attempts = 0

    def wait_after(self, failure: KrosError) -> float | None:
        self._attempts += 1
        if not isinstance(failure, _TRANSIENT) or isinstance(failure, PathError) or self._attempts == _ATTEMPTS:
            return None
        asked_for = failure.retry_after_seconds if isinstance(failure, ApiError) else None
        wait = max(self._wait_seconds, asked_for or 0.0)
        self._wait_seconds *= 2
        return wait if wait < seconds_left() else None
