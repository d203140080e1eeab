"""A person's screen without a browser: pages are fetched, or not, and answered as a person would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from kros_mcp.errors import OperationError
from kros_mcp.numbering import last_four
from kros_mcp.operations.account import Account
from kros_mcp.operations.channels import TurnedDown, answer_on_screen, shown_on_screen
from kros_mcp.operations.confirmation import Answer, ConfigurationAnswer, PurchaseAnswer, ReleaseAnswer
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.operations.runner import Runner


def yes_to(operation: Operation) -> Answer:
    """Return what a person chooses who agrees, with a release's digits."""
    if operation.action is Action.RELEASE:
        return ReleaseAnswer(decision="release", last_four_digits=last_four(operation.e164))
    return PurchaseAnswer(decision="buy") if operation.action is Action.BUY else ConfigurationAnswer(decision="change")


class ScriptedScreen:
    """Shows questions to nobody, as `kros_mcp/browser/` does to a person.

    Args:
        says: What the person answers to each page that was fetched, "yes", "no" or an answer; None for nothing.
        fetches: Whether a browser opens the pages.
    """

    def __init__(self, says: Any = None, *, fetches: bool = True) -> None:
        self.says = says
        self.fetches = fetches
        self.has_display = True
        self.held: anyio.Event | None = None
        """Set, it holds back whether a browser opens the page."""
        self.opened: list[str] = []
        self.clients: list[str] = []
        self.pages: dict[str, Operation] = {}
        self.withdrawn: list[str] = []
        self.asked = anyio.Event()
        self.fetched = anyio.Event()
        self._account: Account
        self._runner: Runner

    @asynccontextmanager
    async def open(self, account: Account, runner: Runner) -> AsyncIterator["ScriptedScreen"]:
        """Stand before a server."""
        self._account, self._runner = account, runner
        yield self

    def is_there(self) -> bool:
        return self.has_display

    async def show(self, operation: Operation, *, client: str = "") -> bool:
        self.opened.append(operation.id)
        self.clients.append(client)
        self.asked.set()
        if self.held is not None:
            await self.held.wait()
        if not self.fetches or not await self.fetch(operation.id):
            return False
        if self.says is not None:
            self._runner.beside(partial(self.answer, operation.id, self.says))
        return True

    def withdraw(self, operation_id: str) -> None:
        self.withdrawn.append(operation_id)

    async def fetch(self, operation_id: str) -> bool:
        """Fetch a page as a browser does; whether it was to be had."""
        try:
            self.pages[operation_id] = await shown_on_screen(self._account, operation_id)
        except OperationError:
            return False
        self.fetched.set()
        return True

    async def answer(self, operation_id: str, says: Any) -> None:
        """Answer a page that was fetched."""
        page = self.pages[operation_id]
        given: Answer | TurnedDown = (
            {"yes": yes_to(page), "no": State.DECLINED}[says] if says in ("yes", "no") else says
        )
        await answer_on_screen(self._account, self._runner, page, given)
