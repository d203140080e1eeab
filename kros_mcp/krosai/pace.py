"""How fast KrosAI may be asked for what nobody waits for, by what its last answers say (docs/krosai.md, section 1).

A plan's requests a second are shared by all that use the key. What is read in the background takes at most half of
them, and nothing while KrosAI wants to be left alone.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import anyio

from kros_mcp.krosai.exchange import Reply
from kros_mcp.krosai.refusals import moment, retry_after

FREE_PLAN_PER_SECOND: Final = 10
"""What is taken for the limit until an answer states one."""
_HIGHEST_HEEDED: Final = 20
"""A higher limit makes the background no faster: it may be that of a minute, or of a day."""
_WINDOW_SECONDS: Final = 1.0
_LONGEST_WINDOW_SECONDS: Final = 60.0


class Pace:
    """Heeds the limit, what remains of it, and when KrosAI can be asked again; nothing is sent to find out."""

    def __init__(self) -> None:
        self._limit = FREE_PLAN_PER_SECOND
        self._not_before = 0.0
        self._last_turn = float("-inf")

    @property
    def per_second(self) -> float:
        """How many requests a second the background may send: half of the limit."""
        return min(self._limit, _HIGHEST_HEEDED) / 2

    def heard(self, reply: Reply) -> None:
        """Note what an answer says; what cannot be read says nothing."""
        headers = reply.headers
        limit, remaining = _whole(headers, "x-ratelimit-limit"), _whole(headers, "x-ratelimit-remaining")
        if limit:
            self._limit = limit
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._rest(retry_after(headers, reply.body) or _WINDOW_SECONDS)
        elif remaining is not None and remaining < self._limit / 2:
            self._rest(_until_reset(headers))

    def seconds_for(self, requests: int) -> float:
        """Return how long the background takes for so many requests, from now."""
        return max(0.0, self._not_before - anyio.current_time()) + requests / self.per_second

    async def turn(self) -> None:
        """Wait until the background may send one request more."""
        turn = max(self._not_before, self._last_turn + 1 / self.per_second, anyio.current_time())
        self._last_turn = turn  # before it comes, so that nobody who waits as well takes the same
        await anyio.sleep_until(turn)
        if turn < self._not_before:  # it has asked meanwhile to be left alone
            await self.turn()

    def _rest(self, seconds: float) -> None:
        self._not_before = max(self._not_before, anyio.current_time() + seconds)


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("1000000000000") else None


def _until_reset(headers: Mapping[str, str]) -> float:
    """Return how long the window lasts, by KrosAI's own clock; a second where it does not say both."""
    reset, now = _whole(headers, "x-ratelimit-reset"), moment(headers.get("date"))
    if reset is None or now is None:
        return _WINDOW_SECONDS
    return min(max(reset - now, _WINDOW_SECONDS / 10), _LONGEST_WINDOW_SECONDS)
