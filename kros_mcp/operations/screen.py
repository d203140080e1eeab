"""How an act is put to the person outside the client: on a page that no model sees or answers."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kros_mcp.operations.account import Account
from kros_mcp.operations.model import Operation
from kros_mcp.operations.runner import Runner


class Screen(Protocol):
    """Shows questions on the person's own screen; `kros_mcp/browser/` has the browser's."""

    def is_there(self) -> bool:
        """Whether a page could open at all, as far as that can be told before one is tried."""
        ...

    async def show(self, operation: Operation, *, client: str = "") -> bool:
        """Put a question on the screen, unless it is there; whether it is, which may take five seconds to tell.

        An identical call may ask for it again; the screen opens it at most once a minute, and then answers at once.

        Args:
            operation: As it stands in the journal, where its channel is the screen by now.
            client: What the client that asks calls itself, which nobody has checked; empty if it does not say.
        """
        ...

    def withdraw(self, operation_id: str) -> None:
        """Open this question no more, and serve it to no late browser; a page that shows it says how it stands."""
        ...


OpenScreen = Callable[[Account, Runner], AbstractAsyncContextManager[Screen]]
"""Opens the screen of a server, which goes by `channels.shown_on_screen` and `channels.answer_on_screen`."""
