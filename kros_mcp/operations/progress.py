"""How far an act under way has come, for whoever waits for it; the act itself waits for nobody."""

import logging
from collections.abc import Awaitable, Callable
from enum import IntEnum

import anyio

logger = logging.getLogger(__name__)

_TELL_SECONDS = 0.5


class Step(IntEnum):
    """What an act has done so far, in its order; one that fails never reaches the later ones."""

    CLAIMED = 1
    """The yes is in the journal, and the amount reserved."""
    REREAD = 2
    """KrosAI still shows what the person was shown."""
    SENDING = 3
    """It is written down as sent; the request leaves now."""
    DONE = 4
    """KrosAI has done it, and the journal knows."""


Tell = Callable[[Step], Awaitable[None]]


class Steps:
    """The steps of one act."""

    def __init__(self) -> None:
        self._reached = 0
        self._over = False
        self._moved = anyio.Event()

    def reach(self, step: Step) -> None:
        """Note a step; never waits and never raises."""
        self._reached = step
        self._move()

    def end(self) -> None:
        """Note that no step follows."""
        self._over = True
        self._move()

    async def follow(self, tell: Tell) -> None:
        """Tell every step in its order, until the act has ended or a step cannot be told; never raises."""
        told = 0
        while True:
            moved = self._moved
            for step in Step:
                if told < step <= self._reached:
                    if not await _told(tell, step):
                        return
                    told = step
            if self._over:
                return
            await moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


async def _told(tell: Tell, step: Step) -> bool:
    """Tell one step, and say whether that went well; one listener's failure keeps the outcome from nobody."""
    with anyio.move_on_after(_TELL_SECONDS):
        try:
            await tell(step)
        except Exception as exc:  # noqa: BLE001 - whatever a client's connection fails with
            logger.debug("a step could not be told: %s", type(exc).__name__)
            return False
        return True
    return False
