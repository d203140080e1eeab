"""The stream on which one HTTP request is answered; a prompt of the 2025-11-25 protocol is shown there alone."""

from collections.abc import Callable
from contextvars import ContextVar


class Stream:
    """Tells who waits for it once nobody can be reached on it any more.

    Args:
        shows_prompts: Whether the client reads more than the answer itself, so that a prompt would reach it.
        tool: The tool that the request calls, empty if none.
    """

    def __init__(self, *, shows_prompts: bool = True, tool: str = "") -> None:
        self.shows_prompts = shows_prompts
        self.tool = tool
        self._is_over = False
        self._waiting: list[Callable[[], None]] = []

    def when_over(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the stream is over, at once if it is already."""
        if self._is_over:
            tell()
        else:
            self._waiting.append(tell)

    def end(self) -> None:
        """Note that it is over: answered to the end, or left by its client."""
        self._is_over = True
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


current_stream: ContextVar[Stream | None] = ContextVar("current_stream", default=None)
"""The stream of the request that is being handled; None on stdio."""
