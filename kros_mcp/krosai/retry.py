"""How long a read goes on: within the caller's time, with short waits between attempts.

stamina is imported at first use, as it costs 24 ms: hence the import inside a function.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

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

if TYPE_CHECKING:
    import stamina

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
    """Tell how many seconds the innermost limits in force leave to the running task."""
    return anyio.current_effective_deadline() - anyio.current_time()


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Read, and read again after a transient failure, as long as the caller's time allows.

    Raises:
        KrosaiError: The last failure, at once when the wait before the next attempt would outlast the time.
    """
    with within(_LONGEST_READ_SECONDS):
        answer = await _retrying()(_Patience(), read)
    return answer  # noqa: RET504  # mypy holds that the block may end early, and would miss a return


class _Patience:
    """Decides after each failure whether to go on, and after how many seconds."""

    def __init__(self) -> None:
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._attempts = 0

    def __call__(self, failure: Exception) -> bool | float:
        self._attempts += 1
        if not isinstance(failure, _TRANSIENT) or isinstance(failure, PathError) or self._attempts == _ATTEMPTS:
            return False
        asked_for = failure.retry_after_seconds if isinstance(failure, ApiError) else None
        wait = max(self._wait_seconds, asked_for or 0.0)
        self._wait_seconds *= 2
        if wait >= seconds_left():
            return False
        telemetry.retried(failure)
        return wait


@functools.cache
def _retrying() -> stamina.AsyncRetryingCaller:
    """Load stamina once, with its log of every retry turned off."""
    import stamina  # noqa: PLC0415  # 24 ms, see the module's docstring
    from stamina.instrumentation import set_on_retry_hooks  # noqa: PLC0415  # the same

    set_on_retry_hooks([])
    return stamina.AsyncRetryingCaller(attempts=_ATTEMPTS, timeout=None)
