"""How a read is retried: within the caller's time, with short waits between attempts.

Only reads are retried here. Whoever repeats a write has to look at the account first, so no helper is shared with that;
and no library is used: all decisions (after which failure, how often, after how long, in whose time) are ours anyway.
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
    NotSentError,
    PathError,
    RateLimitError,
    ServerError,
    TooSlowError,
)
from kros_mcp.krosai.exchange import too_slow
from kros_mcp.krosai.tally import Purpose, purpose

T = TypeVar("T")

_TRANSIENT: Final = (RateLimitError, ServerError, TooSlowError, ConnectionLostError, NotSentError)
_ATTEMPTS: Final = 5
_ATTEMPTS_FOR_AN_ACT: Final = 8
"""What a person has agreed to is not given up for an outage of seconds: it would have to be asked anew."""
_FIRST_WAIT_SECONDS: Final = 0.1  # doubled after each attempt: 1.5 seconds in all, 12.7 for an act
_LONGEST_READ_SECONDS: Final = 30.0  # for a caller that set no limit of its own


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TooSlowError if the block takes more than so many seconds; nested, the shortest time counts."""
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise too_slow()


def seconds_left() -> float:
    """Return how many seconds the innermost limits in force leave to the running task."""
    return anyio.current_effective_deadline() - anyio.current_time()


async def retry_read(read: Callable[[], Awaitable[T]]) -> T:
    """Read, and read again after a transient failure, as long as the caller's time allows.

    Raises:
        KrosaiError: The last failure, at once if the wait before the next attempt would outlast the time.
    """
    with within(_LONGEST_READ_SECONDS):
        answer = await _read_repeatedly(read)
    return answer  # noqa: RET504  # mypy holds that the block may end early, and would miss a return


async def _read_repeatedly(read: Callable[[], Awaitable[T]]) -> T:
    attempts = 0
    most = _ATTEMPTS_FOR_AN_ACT if purpose() is Purpose.ACT else _ATTEMPTS
    while True:
        try:
            return await read()
        except _TRANSIENT as failure:
            attempts += 1
            asked_for = failure.retry_after_seconds if isinstance(failure, ApiError) else None
            wait = max(_FIRST_WAIT_SECONDS * 2 ** (attempts - 1), asked_for or 0.0)
            if isinstance(failure, PathError) or attempts == most or wait >= seconds_left():
                raise
            telemetry.retried(failure)
        await sleep(wait)
