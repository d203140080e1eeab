"""The approver: decides outside the conversation, through the same journal as `kros-mcp approve` does."""

import random
from functools import partial

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Filter, Journal
from kros_mcp.operations.model import Channel, Operation, State

from .events import Events
from .people import Book

NAME = "approver"


class Approver:
    """Looks through what waits, and approves most of it; some is denied, some left alone."""

    def __init__(self, journal: Journal, chance: random.Random, book: Book, events: Events) -> None:
        self._journal, self._chance, self._book, self._events = journal, chance, book, events
        self._left_alone: set[str] = set()

    async def live(self) -> None:
        """Decide one after the other. Until cancelled."""
        while True:
            await anyio.sleep(self._chance.uniform(0.1, 0.8))
            try:
                waiting = await self._journal.list_operations(Filter(states=(State.PROPOSED,)), limit=200)
                for operation in waiting:
                    if operation.channel is Channel.APPROVER and operation.id not in self._left_alone:
                        await self._decide(operation)
            except KrosError as exc:
                self._events.note("approver stopped", code=exc.code)

    async def _decide(self, operation: Operation) -> None:
        dice = self._chance.random()
        if dice < 0.05:
            self._left_alone.add(operation.id)
        elif dice < 0.15:
            self._events.note("denied", operation_id=operation.id)
            move = partial(moves.end, state=State.DECLINED, reason="Denied by the campaign.")
            await self._journal.change(operation.id, move)
        else:
            cents = operation.quote.due_now_cents if operation.action.charges else None
            self._book.confirm(operation.id, operation.action, operation.e164, cents, how="approver", by=NAME)
            await self._journal.change(operation.id, partial(moves.confirm, by="the campaign"))
