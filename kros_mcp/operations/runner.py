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

from kros_mcp import telemetry
from kros_mcp.errors import InternalError, KrosError, OperationError, OutcomeUnknownError
from kros_mcp.krosai import Purpose, asked_for, within
from kros_mcp.operations import moves, recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.gauges import Gauges
from kros_mcp.operations.journal import of_earlier
from kros_mcp.operations.model import LEASE_SECONDS, Operation, State
from kros_mcp.operations.policy import Right
from kros_mcp.operations.price_reader import PriceReader
from kros_mcp.operations.progress import Steps, Tell
from kros_mcp.operations.task_group import open_task_group

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTEND_EVERY_SECONDS = 1.0
EXPIRE_EVERY_SECONDS = 30.0
"""How often what has waited too long is written down, and so logged and counted, though nobody asks for it."""
ASK_SECONDS = 20.0
READ_SECONDS = 0.2
"""How long to look into the journal for an act whose caller's time is up: what a call keeps back of four seconds."""
DRAIN_SECONDS = 35.0
_BEGINS_STILL_SECONDS = 5.0
"""How long after its end has come a server goes on to the next numbers of a batch: one may take most of the rest."""
_LONGEST_PAUSE_SECONDS = 300.0
_LONGEST_FINISHING_PAUSE_SECONDS = 3_600.0
"""Settings that KrosAI will not take cost it requests each time, for as long as that lasts."""
_ATTENDED_AT_ONCE = 4


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
        """Return the operation as the act has left it, or raise what stopped it; None while it goes on."""
        if self.error is not None:
            raise self.error
        return self.operation


class Runner:
    """Starts acts, waits for them, and attends to what other processes or earlier ones left."""

    def __init__(self, account: Account, tasks: TaskGroup, gauges: Gauges | None = None) -> None:
        self.looked_round = anyio.Event()
        """Set once what was left of earlier acts has been looked after."""
        self._account = account
        self._tasks = tasks
        self._runs: dict[str, Run] = {}
        self._closing = False
        self._closed_at = 0.0
        self._attended: dict[str, anyio.Event] = {}
        self._limiter = anyio.CapacityLimiter(_ATTENDED_AT_ONCE)
        self._gauges = gauges
        self._has_due = True
        self._expire_at = 0.0
        self._pauses: dict[str, tuple[float, float]] = {}
        """By operation that could not be carried out or finished: when to try again, and the pause before that."""

    def start(self, operation_id: str, yes: Yes | None) -> Run:
        """Begin an act, or join it if it is under way here."""
        run = self._runs.get(operation_id)
        if run is None:
            run = self._runs[operation_id] = Run()
            self._tasks.start_soon(self._carry_out, operation_id, yes, run)
        return run

    async def wait(
        self, operation_id: str, seconds: float, tell: Tell | None = None, *, known: Operation | None = None
    ) -> Operation:
        """Wait for an act, at most so long, and answer the operation as it stands then.

        Args:
            operation_id: The operation.
            seconds: How long at most.
            tell: Hears of its steps meanwhile.
            known: The operation as the caller has read it. Of an act that goes on here while the journal is too
                busy to be read, it is answered as under way: that much is certain.

        Raises:
            KrosError: The act could not be begun, or its outcome could not be written down.
        """
        run = self._runs.get(operation_id)
        if run is not None:
            with anyio.move_on_after(seconds):
                await run.wait(tell)
            if (ended := run.outcome()) is not None:
                return ended
            with anyio.move_on_after(READ_SECONDS):  # the caller's time is up already
                return moves.begun(await self._read(operation_id))
            if (ended := run.outcome()) is not None:  # while the journal was waited for
                return ended
            if known is not None:
                return moves.begun(known)
            raise OutcomeUnknownError(
                "The journal does not answer now, so how this operation ended is not known.", operation_id=operation_id
            )
        return await self._read(operation_id)

    @property
    def is_ready(self) -> bool:
        """Whether what was left has been looked after, and new acts may begin."""
        return self.looked_round.is_set() and not self._closing

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way here, and nothing was left to be looked after at the last look round."""
        return self.looked_round.is_set() and not (self._has_due or self._runs or self._attended)

    def is_under_way(self, operation_id: str) -> bool:
        """Whether this process is carrying an act out, its claim stored or not; alone or as one of a batch."""
        return operation_id in self._runs or any(operation_id in run.steps.items for run in self._runs.values())

    async def ask(self, operation: Operation, *, within_seconds: float = ASK_SECONDS) -> Operation:
        """Reconcile an unknown operation now; unknown it stays if KrosAI cannot be read in time."""
        if operation.action.is_several and operation.state is State.DONE:
            await self._ask_each(operation, within_seconds)
            return operation
        if operation.state is not State.UNKNOWN or operation.id in self._runs or self._account.journal.only_reads:
            return operation
        attended = self._attended.get(operation.id)
        if attended is None:
            # A task of the server's: an asker who gives up early must not use up the turn to ask.
            attended = self._attended[operation.id] = anyio.Event()
            self._tasks.start_soon(self._attend_to, operation, Purpose.ACT)
        with anyio.move_on_after(within_seconds):
            await attended.wait()
            return await self._read(operation.id)
        return operation

    async def _ask_each(self, batch: Operation, within_seconds: float) -> None:
        """Reconcile the numbers of a batch whose outcome is unknown."""

        async def ask(item: Operation) -> None:
            with suppress(KrosError):
                await self.ask(item, within_seconds=within_seconds)

        with of_earlier(batch.id):
            items = await self._account.journal.items(batch.id)
        async with open_task_group() as tasks:
            for item in items:
                tasks.start_soon(ask, item)

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
            except Exception:
                logger.exception("unexpected failure")
                run.error = InternalError("This server failed in the middle of the act.")
            finally:
                del self._runs[name]
                run.ended.set()

        self._tasks.start_soon(carry_out)
        with anyio.move_on_after(seconds):
            await run.ended.wait()
        if run.error is not None:
            raise run.error
        return results[0] if results else None

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something beside the acts, at most as long as the server lasts; where it fails, that ends it alone."""

        async def carry_on() -> None:
            try:
                await work()
            except Exception:
                logger.exception("unexpected failure")

        self._tasks.start_soon(carry_on)

    async def attend(self) -> None:
        """Look after this account until the runner closes."""
        while not self._closing:
            try:
                await self._look_round()
                self.looked_round.set()
            except KrosError as exc:
                logger.warning("attendant: %s", exc.code)
            except Exception:
                logger.exception("attendant: unexpected failure")
            await anyio.sleep(ATTEND_EVERY_SECONDS)
            # By now a client that has just started the server has its answer to `initialize`.
            with suppress(KrosError):
                self._account.client.warm_up()

    async def _look_round(self) -> None:
        for operation_id in list(self._account.noes):
            with suppress(KrosError):
                await self._account.heed_no(operation_id)
        # Where nothing can be written, what is left is another server's to look after.
        due = () if self._account.journal.only_reads else await recovery.recover(self._account)
        self._has_due = bool(due)
        now = await self._account.journal.now()
        for operation in due:
            if self.is_under_way(operation.id) or operation.id in self._attended or self._closing:
                continue
            if operation.state is State.CONFIRMED:
                is_ours = self._account.right_to(operation) is not Right.UNKNOWN  # else it is another server's
                if is_ours and not self._account.settings.read_only and not self._pausing(operation.id):
                    self.start(operation.id, None)
            elif self._wants_attention(operation, now):
                self._attended[operation.id] = anyio.Event()
                self._tasks.start_soon(self._attend_to, operation, Purpose.BACKGROUND)
        await self._account.changes.look_round(self._account.journal)
        if not self._account.journal.only_reads and anyio.current_time() >= self._expire_at:
            self._expire_at = anyio.current_time() + EXPIRE_EVERY_SECONDS
            await self._account.journal.expire()
        if self._gauges is not None:
            await self._gauges.look()

    def close(self) -> None:
        """Begin nothing more, but for the next numbers of a batch for a little while."""
        self._closing, self._closed_at = True, anyio.current_time()

    def _may_begin(self) -> bool:
        return not self._closing or anyio.current_time() < self._closed_at + _BEGINS_STILL_SECONDS

    async def drain(self, seconds: float) -> None:
        """Wait for the acts under way, at most so long."""
        with anyio.move_on_after(seconds):
            for run in list(self._runs.values()):
                await run.ended.wait()

    def _wants_attention(self, operation: Operation, now: float) -> bool:
        waits = recovery.must_wait(self._account, operation, now)
        if operation.look_at is not None and now >= operation.look_at and not waits:
            return operation.state in {State.UNKNOWN, State.DONE, State.FAILED}
        if operation.state is State.UNKNOWN:
            return operation.look_at is None and not waits
        settled_at = operation.settled_at or 0.0
        late = now > settled_at + LEASE_SECONDS
        return operation.settings_pending and late and not self._pausing(operation.id)

    async def _attend_to(self, operation: Operation, purpose: Purpose) -> None:
        """Ask how it ended, look again at what is settled, or finish its settings; a failure holds up no other one."""
        telemetry.current_operation.set(operation.id)
        try:
            # However little is left of a day's requests: what was sent must not stay unsettled for that.
            async with self._limiter:
                with asked_for(purpose, must=True):
                    if operation.state is State.UNKNOWN:
                        with within(ASK_SECONDS):
                            await self._reconciled(operation)
                    else:
                        await self._look_after(operation)
        except KrosError as exc:
            logger.warning("operation %s: %s", operation.id, exc.code)
        except Exception:
            logger.exception("operation %s: unexpected failure", operation.id)
        finally:
            self._attended.pop(operation.id).set()

    async def _look_after(self, operation: Operation) -> None:
        """Look whether what was told still holds, and finish the settings of a purchase that does."""
        if operation.look_at is not None:
            with within(ASK_SECONDS):
                operation = await recovery.watch(self._account, operation)
        if operation.settings_pending and not self._pausing(operation.id):
            operation = await finish_purchase(self._account, operation)
            if operation.settings_pending:
                few_left = self._account.client.tally.is_sparing
                self._pause(operation.id, _LONGEST_FINISHING_PAUSE_SECONDS, at_once=few_left)

    async def _reconciled(self, operation: Operation) -> Operation:
        """Ask KrosAI how it ended; a purchase that turns out done has nobody else to finish its settings."""
        settled = await recovery.reconcile(self._account, operation)
        if settled.state is State.DONE and settled.settings_pending and not self._closing:
            self._tasks.start_soon(finish_purchase, self._account, settled)
        return settled

    def _pausing(self, operation_id: str) -> bool:
        return anyio.current_time() < self._pauses.get(operation_id, (0.0, 0.0))[0]

    def _pause(self, operation_id: str, longest: float = _LONGEST_PAUSE_SECONDS, *, at_once: bool = False) -> None:
        _, last = self._pauses.get(operation_id, (0.0, ATTEND_EVERY_SECONDS))
        pause = longest if at_once else min(2 * last, longest)
        self._pauses[operation_id] = (anyio.current_time() + pause, pause)

    async def _carry_out(self, operation_id: str, yes: Yes | None, run: Run) -> None:
        telemetry.current_operation.set(operation_id)
        try:
            with asked_for(Purpose.ACT):
                run.operation = await self._executed(operation_id, yes, run.steps)
        except KrosError as exc:
            logger.warning("operation %s: not carried out: %s", operation_id, exc.code)
            self._pause(operation_id)
            run.error = exc
        except Exception:
            logger.exception("operation %s: unexpected failure", operation_id)
            run.error = InternalError("This server failed in the middle of the act.", operation_id=operation_id)
        finally:
            del self._runs[operation_id]
            run.ended.set()
            run.steps.end()

    async def _executed(self, operation_id: str, yes: Yes | None, steps: Steps) -> Operation:
        """Carry it out; if somebody else has, or it has ended before, answer it as it stands."""
        try:
            return await execute(self._account, operation_id, yes, steps, may_begin=self._may_begin)
        except OperationError as exc:
            if exc.code != "TOO_LATE":
                raise
        return await self._read(operation_id)

    async def _read(self, operation_id: str) -> Operation:
        """Read an operation that exists; a journal that cannot be read now says nothing of its outcome."""
        with of_earlier(operation_id):
            operation = await self._account.journal.get(operation_id)
        assert operation is not None  # noqa: S101 - rows are never deleted
        return operation


@asynccontextmanager
async def open_runner(account: Account, gauges: Gauges | None = None) -> AsyncIterator[Runner]:
    """Run the attendant; on leaving, wait a bounded time for what is being sent.

    Args:
        account: The account's resources.
        gauges: Set now and then, where that is this runner's to do.
    """
    async with open_task_group() as tasks:
        runner = Runner(account, tasks, gauges)
        tasks.start_soon(runner.attend)
        tasks.start_soon(PriceReader(account).run)
        try:
            yield runner
        finally:
            runner.close()
            with anyio.CancelScope(shield=True):
                await runner.drain(DRAIN_SECONDS)
            tasks.cancel_scope.cancel()
