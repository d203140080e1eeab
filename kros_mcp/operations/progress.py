"""How far an act under way has come, for whoever waits for it; the act itself waits for nobody."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Reached:
    """A step of an act; of a batch, that of one of its numbers.

    Args:
        step: The step.
        number: Which of the numbers, from 1 on.
        of: How many there are.
    """

    step: Step
    number: int = 1
    of: int = 1


Tell = Callable[[Reached], Awaitable[None]]


class Steps:
    """The steps of one act, or of a batch of them."""

    def __init__(self) -> None:
        self.items: frozenset[str] = frozenset()
        """The operations of a batch's numbers, once they are claimed."""
        self._reached: list[Reached] = []
        self._number, self._of = 1, 1
        self._over = False
        self._moved = anyio.Event()

    def begin(self, items: Iterable[str]) -> None:
        """Note the operations of a batch's numbers."""
        self.items = frozenset(items)
        self._of = len(self.items)

    def turn_to(self, number: int) -> None:
        """Note that the steps of the next number of a batch follow."""
        self._number = number

    def reach(self, step: Step) -> None:
        """Note a step; never waits and never raises."""
        self._reached.append(Reached(step, self._number, self._of))
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
            while told < len(self._reached):
                if not await _told(tell, self._reached[told]):
                    return
                told += 1
            if self._over:
                return
            await moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


async def _told(tell: Tell, step: Reached) -> bool:
    """Tell one step, and say whether that went well; one listener's failure keeps the outcome from nobody."""
    with anyio.move_on_after(_TELL_SECONDS):
        try:
            await tell(step)
        except Exception as exc:  # noqa: BLE001 - whatever a client's connection fails with
            logger.debug("a step could not be told: %s", type(exc).__name__)
            return False
        return True
    return False
