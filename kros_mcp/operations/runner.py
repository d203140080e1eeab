"""Tasks that the server owns: acts under way, and the attendant that looks after what is left.

A client that cancels, disconnects or times out stops none of them.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from kros_mcp.errors import KrosError
from kros_mcp.krosai.patience import within
from kros_mcp.operations import recovery
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.execution import Yes, execute, finish_settings
from kros_mcp.operations.model import LEASE_SECONDS, Operation, State

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTEND_EVERY_SECONDS = 1.0
ASK_SECONDS = 20.0
DRAIN_SECONDS = 35.0
_SLOWEST_ASKING_SECONDS = 30.0


@dataclass
class Run:
    """One act under way in this process; `ended` is set once `operation` or `error` is."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    operation: Operation | None = None
    error: Exception | None = None


class Runner:
    """Starts acts, waits for them, and attends to what other processes or earlier ones left."""

    def __init__(self, desk: Desk, tasks: TaskGroup) -> None:
        self._desk = desk
        self._tasks = tasks
        self._runs: dict[str, Run] = {}

    def start(self, operation_id: str, yes: Yes | None) -> Run:
        """Begin an act, or join it if it is under way here."""
        run = self._runs.get(operation_id)
        if run is None:
            run = self._runs[operation_id] = Run()
            self._tasks.start_soon(self._carry_out, operation_id, yes, run)
        return run

    async def wait(self, operation_id: str, seconds: float) -> Operation:
        """Wait for an act, at most so long, and answer the operation as it stands then.

        Raises:
            KrosError: The act could not be begun, or its outcome could not be written down.
        """
        run = self._runs.get(operation_id)
        if run is not None:
            with anyio.move_on_after(seconds):
                await run.ended.wait()
            if run.error is not None:
                raise run.error
            if run.operation is not None:
                return run.operation
        return await self._read(operation_id)

    async def ask(self, operation: Operation, *, within_seconds: float = ASK_SECONDS) -> Operation:
        """Reconcile an unknown operation now; unknown it stays if KrosAI cannot be read in time."""
        if operation.state is not State.UNKNOWN or operation.id in self._runs:
            return operation
        try:
            with within(within_seconds):
                return await recovery.reconcile(self._desk, operation)
        except KrosError as exc:
            logger.info("operation %s: not reconciled: %s", operation.id, exc.code)
            return await self._read(operation.id)

    async def shelter(self, work: Callable[[], Awaitable[T]], seconds: float) -> T | None:
        """Do work in a task of the server's, and wait for it at most so long; None means it goes on.

        Raises:
            KrosError: The work failed in that time.
        """
        results: list[T] = []
        run = Run()
        name = f"work {id(run)}"
        self._runs[name] = run

        async def carry_out() -> None:
            try:
                results.append(await work())
            except KrosError as exc:
                run.error = exc
                logger.info("%s", exc.code)
            finally:
                del self._runs[name]
                run.ended.set()

        self._tasks.start_soon(carry_out)
        with anyio.move_on_after(seconds):
            await run.ended.wait()
        if run.error is not None:
            raise run.error
        return results[0] if results else None

    async def attend(self) -> None:
        """Look after this account for as long as the server runs."""
        while True:
            try:
                await recovery.recover(self._desk)
                for operation in await self._desk.journal.due(self._desk.account):
                    if operation.id not in self._runs:
                        await self._attend_to(operation)
            except KrosError as exc:
                logger.warning("attendant: %s", exc.code)
            except Exception:
                logger.exception("attendant: unexpected failure")
            await anyio.sleep(ATTEND_EVERY_SECONDS)
            # By now a client that has just started the server has its answer to `initialize`.
            with suppress(KrosError):
                self._desk.client.warm_up()

    async def drain(self, seconds: float) -> None:
        """Wait for the acts under way, at most so long."""
        with anyio.move_on_after(seconds):
            for run in list(self._runs.values()):
                await run.ended.wait()

    async def _attend_to(self, operation: Operation) -> None:
        now = await self._desk.journal.now()
        if operation.state is State.CONFIRMED and not self._desk.settings.read_only:
            self.start(operation.id, None)
        elif operation.state is State.UNKNOWN and now >= _next_asking(operation):
            await self.ask(operation)
        elif operation.settings_pending and now > (operation.settled_at or 0) + LEASE_SECONDS:
            with within(ASK_SECONDS):
                await finish_settings(self._desk, operation)

    async def _carry_out(self, operation_id: str, yes: Yes | None, run: Run) -> None:
        try:
            run.operation = await execute(self._desk, operation_id, yes)
        except KrosError as exc:
            run.error = exc
        except Exception as exc:
            logger.exception("operation %s: unexpected failure", operation_id)
            run.error = exc
        finally:
            del self._runs[operation_id]
            run.ended.set()

    async def _read(self, operation_id: str) -> Operation:
        operation = await self._desk.journal.get(operation_id)
        assert operation is not None  # noqa: S101 - rows are never deleted
        return operation


def _next_asking(operation: Operation) -> float:
    """When to ask KrosAI again: soon after sending, then ever more rarely, to spare its daily quota."""
    if operation.checked_at is None or operation.sent_at is None:
        return 0.0
    age = operation.checked_at - operation.sent_at
    return operation.checked_at + min(max(recovery.RECONCILE_EVERY_SECONDS, age / 4), _SLOWEST_ASKING_SECONDS)


@asynccontextmanager
async def open_runner(desk: Desk) -> AsyncIterator[Runner]:
    """Run the attendant; on leaving, wait a bounded time for what is being sent."""
    async with anyio.create_task_group() as tasks:
        runner = Runner(desk, tasks)
        tasks.start_soon(runner.attend)
        try:
            yield runner
        finally:
            with anyio.CancelScope(shield=True):
                await runner.drain(DRAIN_SECONDS)
            tasks.cancel_scope.cancel()
