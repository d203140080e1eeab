"""What the simulated KrosAI does later than it answers: done when the account is next asked, in the order of time."""

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
    """That of the request which asked for it, so that whoever watches requests can tell whose act it is."""


@dataclass
class Agenda:
    """Acts that wait for their time.

    Args:
        now: Tells the time, in Unix seconds.
    """

    now: Callable[[], float]
    _waiting: list[_Waiting] = field(default_factory=list)

    def add(self, seconds: float, act: Callable[[], object], *, about: str = "") -> None:
        """Do `act` in so many seconds; `about` says to `hurry` what it is about."""
        self._waiting.append(_Waiting(self.now() + seconds, act, about, copy_context()))

    def catch_up(self) -> None:
        """Do everything whose time has come."""
        self._do(lambda each: each.at <= self.now())

    def hurry(self, about: str) -> None:
        """Do at once what waits about this, so that it does not undo what comes after it."""
        self._do(lambda each: each.about == about)

    def _do(self, is_due: Callable[[_Waiting], bool]) -> None:
        due = [each for each in self._waiting if is_due(each)]
        self._waiting = [each for each in self._waiting if each not in due]
        for each in sorted(due, key=lambda each: each.at):
            each.context.run(each.act)


FOR_EVER = math.inf
"""In place of seconds."""


def or_for_ever(seconds: float | None) -> float:
    """Return the seconds, or `FOR_EVER` for None."""
    return FOR_EVER if seconds is None else seconds
