"""One act under way in this process, for all who wait for it."""

from dataclasses import dataclass, field

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.operations.model import Operation
from kros_mcp.operations.progress import Steps, Tell


@dataclass
class Run:
    """One act under way in this process; `ended` is set once `operation` or `error` is."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    operation: Operation | None = None
    error: KrosError | None = None
    steps: Steps = field(default_factory=Steps)

    async def wait(self, tell: Tell | None) -> None:
        """Wait until it has ended, and tell each of its steps meanwhile."""
        if tell is not None:
            await self.steps.follow(tell)
        await self.ended.wait()

    def outcome(self) -> Operation | None:
        """Answer the operation as the act has left it, or raise what stopped it; None while it goes on."""
        if self.error is not None:
            raise self.error
        return self.operation
