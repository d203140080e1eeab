"""How long this process may still send for an operation, and the task that prolongs it meanwhile."""

import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from kros_mcp.errors import KrosError, NotSentError, OperationError
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import LEASE_SECONDS, Operation
from kros_mcp.operations.task_group import open_task_group
from kros_mcp.times import boot_clock as clock

logger = logging.getLogger(__name__)

RENEW_SECONDS = 5.0


class Lease:
    """How long this process may still send, on a clock that a suspended machine does not stop.

    Args:
        token: The fencing token under which it was given.
        since: The clock's time just before the journal was asked for it.
    """

    def __init__(self, token: int, since: float) -> None:
        self.token = token
        self.renewed(since)

    def renewed(self, since: float) -> None:
        """Count the lease's time anew, from before the journal was asked to prolong it."""
        self._until = since + LEASE_SECONDS

    def lose(self) -> None:
        """Allow nothing to be sent any more: another process has taken over."""
        self._until = -math.inf

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken over, as far as is known."""
        return self._until == -math.inf

    def require(self) -> None:
        """Raise just before the bytes leave if the lease has run out.

        Raises:
            NotSentError: Somebody else may have taken over; nothing was sent.
        """
        if clock() >= self._until:
            raise NotSentError("The server was held up for too long, so nothing was sent.", code="INTERRUPTED")


@asynccontextmanager
async def open_leases(journal: Journal, operations: Sequence[Operation], since: float) -> AsyncIterator[list[Lease]]:
    """Hold the leases of claimed operations, and renew each until it is settled or the context is left.

    Args:
        journal: Where the operations stand.
        operations: As they were claimed.
        since: The clock's time just before the claim.
    """
    leases = [Lease(operation.token, since) for operation in operations]
    async with open_task_group() as tasks:
        for operation, lease in zip(operations, leases, strict=True):
            tasks.start_soon(_renew, journal, operation.id, lease)
        try:
            yield leases
        finally:
            tasks.cancel_scope.cancel()


async def _renew(journal: Journal, operation_id: str, lease: Lease) -> None:
    """Renew the lease until cancelled; a lease that another process has ended is lost at once."""
    while True:
        await anyio.sleep(RENEW_SECONDS)
        since = clock()
        try:
            await journal.change(operation_id, lambda current, now: moves.renew(current, now, token=lease.token))
        except OperationError:
            lease.lose()
            return
        except KrosError as exc:
            logger.warning("operation %s: lease not renewed: %s", operation_id, exc.code)
        except Exception:
            logger.exception("operation %s: lease not renewed", operation_id)
        else:
            lease.renewed(since)
