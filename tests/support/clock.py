"""The time of day, which a test moves on."""

from collections.abc import Callable


class Clock:
    """Stands still until a test turns it; in Unix seconds."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.on_reading: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        self.on_reading()
        return self.now
