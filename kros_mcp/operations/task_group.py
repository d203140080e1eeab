"""A task group beside a block: the block's own failure leaves it as it was raised, not wrapped in a group."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def open_task_group() -> AsyncIterator[TaskGroup]:
    """Run tasks beside the block, and wait for them at its end; whoever opens it cancels those that do not end.

    Raises:
        Exception: What the block raised.
        ExceptionGroup: What a task raised.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as exc:  # noqa: BLE001 - raised again below, where the task group cannot wrap it
            failure = exc
    if failure is not None:
        raise failure
