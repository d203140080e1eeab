"""What the last whole reading of the owned numbers showed, so that the next one can be held against it."""

import time
from collections.abc import Callable
from typing import Final

_GOOD_SECONDS: Final = 900.0


class LastReading:
    """Keeps which records the last whole reading of the owned numbers showed, for a quarter of an hour.

    A list is read in several pages, and a record that vanishes meanwhile moves another from one page to the next,
    unseen. A reading that shows all that an earlier one did has lost nothing in that way.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ids: frozenset[str] | None = None
        self._read_at = 0.0

    def keep(self, ids: frozenset[str]) -> None:
        """Take note of a reading that has come to the end of the list."""
        self._ids, self._read_at = ids, self._clock()

    def ids(self) -> frozenset[str] | None:
        """Return what that reading showed; None if there was none lately."""
        return self._ids if self._clock() - self._read_at < _GOOD_SECONDS else None
