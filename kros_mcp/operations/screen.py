"""How an act is put to the person outside the client: on a page that no model sees or answers."""

from typing import Protocol

from kros_mcp.operations.model import Operation


class Screen(Protocol):
    """Shows questions on the person's own screen; `kros_mcp/page/` has the browser's."""

    async def show(self, operation: Operation) -> bool:
        """Put a question on the screen, unless it is there; whether it is, which may take five seconds to tell.

        An identical call may ask for it again; the screen opens it at most once a minute.
        """
        ...

    def is_shown(self, operation_id: str) -> bool:
        """Whether the page with this question has been fetched since this process began."""
        ...
