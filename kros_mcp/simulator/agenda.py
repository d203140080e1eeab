"""What the simulated KrosAI does after it has answered: done in order of time, when the account is next asked."""

import math
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field


@dataclass(frozen=True)
class _Waiting:
    at: float
    act: Callable[[], object]
    about: str
    context: Context
    """The context of the request that asked for it, so that its act can be attributed to that request."""


@dataclass
class Agenda:
    """The acts that are due later.

    Args:
        now: Returns the time in Unix seconds.
    """

    now: Callable[[], float]
    _waiting: list[_Waiting] = field(default_factory=list)

    def add(self, seconds: float, act: Callable[[], object], *, about: str = "") -> None:
        """Do `act` in so many seconds; `about` is what `hurry` finds it by."""
        self._waiting.append(_Waiting(self.now() + seconds, act, about, copy_context()))

    def catch_up(self) -> None:
        """Do everything that is due."""
        self._do(lambda each: each.at <= self.now())

    def hurry(self, about: str) -> None:
        """Do at once what waits for this, so that it cannot undo a later act."""
        self._do(lambda each: each.about == about)

    def _do(self, is_due: Callable[[_Waiting], bool]) -> None:
        due = [each for each in self._waiting if is_due(each)]
        self._waiting = [each for each in self._waiting if each not in due]
        for each in sorted(due, key=lambda each: each.at):
            each.context.run(each.act)


FOR_EVER = math.inf
"""Seconds that never end."""


def or_for_ever(seconds: float | None) -> float:
    """Return the seconds, or `FOR_EVER` for None."""
    return FOR_EVER if seconds is None else seconds
