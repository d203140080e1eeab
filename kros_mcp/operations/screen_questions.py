"""The questions that this process puts on the person's screen, and what becomes of those that no browser opens.

A page is opened by a task of the server's, so that a call whose time is up leaves no question that nobody asks. From
the fetch on an operation is asked nowhere else: whether there was one is looked at in the transaction that falls back.
"""

import logging
from dataclasses import dataclass, field
from functools import partial

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.operations import moves
from kros_mcp.operations.account import Account
from kros_mcp.operations.change_feed import Change
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.operations.runner import Runner
from kros_mcp.operations.screen import Screen

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 3.0
"""How long the end of the server waits for the journal, to end what nobody can answer any more."""
LONGEST_OPENING_SECONDS = 6.0
"""A screen tells within five whether a browser has fetched its page."""


@dataclass
class _Opening:
    """A page on its way to the screen; `ended` is set once it is there, or the question has gone another way."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    waits: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class ScreenQuestions:
    """Puts questions on the screen, and waits for what comes of them.

    Args:
        account: The account's resources.
        runner: Opens the pages beside its acts, and carries out what a person agrees to.
        screen: Shows them.
    """

    def __init__(self, account: Account, runner: Runner, screen: Screen) -> None:
        self._account = account
        self._runner = runner
        self._screen = screen
        self._opening: dict[str, _Opening] = {}
        self._unopened: set[str] = set()
        self._is_closed = False

    @property
    def can_open(self) -> bool:
        """Whether a page could open here at all."""
        return self._screen.is_there()

    async def ask(self, operation: Operation, *, client: str, seconds: float, takes_codes: bool) -> Operation:
        """Put a question on the screen, and wait for the answer at most so long.

        Args:
            operation: As the journal has it: its channel is the screen.
            client: What the client calls itself.
            seconds: How long to wait. What is not opened or answered by then goes on.
            takes_codes: Whether it is asked in the conversation where no browser opens the page; else it ends.

        Returns:
            The operation as it stands then.
        """
        give_up_at = anyio.current_time() + seconds
        opening = self._opening.get(operation.id) or self._open(operation, client, takes_codes=takes_codes)
        with anyio.move_on_after(seconds):
            await opening.ended.wait()
        if opening.ended.is_set():
            await self._answered(operation, give_up_at - anyio.current_time())
        found = await self._account.journal.get(operation.id) or operation
        if found.state is not State.PROPOSED:
            self._account.on_screen.pop(operation.id, None)
        return found

    def is_unopened(self, operation_id: str) -> bool:
        """Whether no browser opened the page when an operation was last put on the screen; said once."""
        told = operation_id in self._unopened
        self._unopened.discard(operation_id)
        return told

    def withdraw(self, operation_id: str) -> None:
        """Take a question off the screen that has ended another way."""
        self._account.on_screen.pop(operation_id, None)
        self._screen.withdraw(operation_id)

    async def close(self) -> None:
        """End what waits for a page of this process, and open none from now on."""
        self._is_closed = True
        waiting = [*self._account.on_screen, *self._opening]
        for opening in self._opening.values():
            opening.waits.cancel()
        with anyio.move_on_after(CLOSE_SECONDS):  # what is left expires by itself
            for operation_id in reversed(waiting):  # of the older ones, most have ended
                if not self._runner.is_under_way(operation_id):
                    await self._end(operation_id)

    async def _end(self, operation_id: str) -> None:
        def closed(current: Operation, now: float) -> Operation:
            # A browser may have fetched the page since the end began.
            return moves.closed(current, now, shown_at=self._account.on_screen.get(operation_id))

        try:
            await self._account.change(operation_id, closed)
        except KrosError as exc:
            logger.warning("operation %s: still on the screen: %s", operation_id, exc.code)
        self.withdraw(operation_id)

    def _open(self, operation: Operation, client: str, *, takes_codes: bool) -> _Opening:
        opening = self._opening[operation.id] = _Opening()

        async def work() -> None:
            try:
                with opening.waits:
                    # A call before this one may have given it up since this one has read it.
                    now = await self._account.journal.get(operation.id) or operation
                    if _is_asked(now) and not await self._is_shown(now, client):
                        await self._fall_back(now, takes_codes=takes_codes)
            finally:
                del self._opening[operation.id]
                opening.ended.set()

        self._runner.beside(work)
        return opening

    async def _is_shown(self, operation: Operation, client: str) -> bool:
        if self._is_closed:
            return False
        try:
            with anyio.move_on_after(LONGEST_OPENING_SECONDS):
                return await self._screen.show(operation, client=client)
        except Exception:
            logger.exception("operation %s: its page could not be opened", operation.id)
        return False

    async def _fall_back(self, operation: Operation, *, takes_codes: bool) -> None:
        if self._is_closed:
            await self._end(operation.id)
            return
        logger.warning("operation %s: no browser opened its page; kros-mcp doctor --browser tries it", operation.id)
        asked = await self._account.change(operation.id, partial(moves.unopened, takes_codes=takes_codes))
        if asked.state is State.PROPOSED:
            self._unopened.add(operation.id)
        # What a browser has fetched after all, or from another process, stays on the screen.
        if not _is_asked(asked):
            self._screen.withdraw(operation.id)

    async def _answered(self, operation: Operation, seconds: float) -> None:
        """Wait until a question that is on the screen is there no more, or is answered."""
        news = anyio.Event()

        def hear(change: Change) -> None:
            if change.operation_id == operation.id:
                news.set()

        with self._account.changes.heard_by(hear), self._account.changes.watching([operation]):
            # What changed before somebody listened is read; what changes later is heard.
            now = await self._account.journal.get(operation.id) or operation
            if _is_asked(now) and not self._runner.is_under_way(operation.id):
                with anyio.move_on_after(seconds):
                    await news.wait()


def _is_asked(operation: Operation) -> bool:
    """Whether an operation waits for an answer on the screen."""
    return operation.state is State.PROPOSED and operation.channel is Channel.SCREEN
