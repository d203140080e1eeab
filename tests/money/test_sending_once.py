"""Nothing is sent twice, late, or without a journal; and nothing sent is ever called unspent."""

from dataclasses import replace
from typing import Any

import anyio
import pytest
from bench import Bench, open_bench

from kros_mcp import times
from kros_mcp.errors import JournalError, KrosError, OutcomeUnknownError
from kros_mcp.krosai.exchange import Flight
from kros_mcp.operations import delivery, execution, lease, recovery
from kros_mcp.operations.model import LEASE_SECONDS, Channel, State
from kros_mcp.simulator import Simulator, open_server
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


async def test_a_repeated_confirmation_is_carried_out_once(bench: Bench) -> None:
    operation = await bench.propose()
    results = []

    async def confirm() -> None:
        try:
            results.append((await bench.execute(operation)).state)
        except KrosError as exc:
            results.append(exc.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(confirm)
    assert sorted(results) == ["TOO_LATE"] * 4 + ["done"]
    assert len(bench.sim.charges) == len(bench.posts()) == 1


async def test_a_process_that_was_frozen_after_its_claim_sends_nothing(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("hold", on=["search"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.execute, operation)
        await bench.sim.faults.held()
        bench.clock.now += LEASE_SECONDS
        await recovery.recover(bench.account)
        bench.sim.faults.let_go()
    settled = await bench.stored(operation)
    assert (settled.state, settled.error_code, settled.charged) == (State.FAILED, "INTERRUPTED", "no")
    assert bench.posts() == []


async def test_a_process_that_freezes_between_journal_and_wire_sends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspended = 0.0
    awake = times.boot_clock
    for module in (execution, delivery, lease):
        monkeypatch.setattr(module, "clock", lambda: awake() + suspended)
    operation = await bench.propose()

    async def sleep_once_sent() -> None:
        nonlocal suspended
        stored = await bench.stored(operation)
        assert stored.sent_at is not None
        suspended = LEASE_SECONDS

    send = bench.account.client.purchase

    async def purchase(*args: object, **kwargs: object) -> object:
        await sleep_once_sent()
        return await send(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.account.client, "purchase", purchase)
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "INTERRUPTED", "no")
    assert bench.posts() == []


def test_a_lease_is_measured_on_a_clock_that_goes_on_while_the_machine_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(times.time, "clock_gettime", lambda clock: asked.append(clock) or 5.0)
    assert times.boot_clock() == 5.0
    assert asked == [times.time.CLOCK_BOOTTIME]


async def test_a_lost_lease_forbids_sending_at_once() -> None:
    lease = delivery.Lease(1, times.boot_clock())
    lease.require()
    lease.lose()
    with pytest.raises(KrosError, match="nothing was sent"):
        lease.require()


class Locked:
    """A connection that another process' lock keeps from writing."""

    def __init__(self, bench: Bench) -> None:
        self._journal = bench.account.journal

    def lock(self) -> None:
        self._journal._connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]  # noqa: SLF001 - no other way to fail in memory

    def unlock(self) -> None:
        self._journal._connection.execute("PRAGMA query_only = OFF")  # type: ignore[attr-defined]  # noqa: SLF001 - the same


async def test_a_journal_that_fails_after_sending_is_never_told_as_unspent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SETTLE_PAUSES_SECONDS", (0.0, 0.01))
    operation, journal = await bench.propose(), Locked(bench)
    bench.sim.faults.switch_on("hold", on=["purchase"])
    told: list[KrosError] = []

    async def buy() -> None:
        with pytest.raises(OutcomeUnknownError) as caught:
            await bench.execute(operation)
        told.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buy)
        await bench.sim.faults.held()
        journal.lock()
        bench.sim.faults.let_go()
    assert (told[0].charged, told[0].operation_id) == ("unknown", operation.id)
    journal.unlock()
    bench.clock.now += LEASE_SECONDS
    await recovery.recover(bench.account)
    unknown = await bench.stored(operation)
    assert (unknown.state, unknown.charged) == (State.UNKNOWN, "unknown")
    assert (await recovery.reconcile(bench.account, unknown)).state is State.DONE
    assert len(bench.sim.charges) == 1


async def test_a_journal_that_fails_for_a_moment_after_sending_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, journal = await bench.propose(), Locked(bench)
    bench.sim.faults.switch_on("hold", on=["purchase"])
    monkeypatch.setattr(execution, "SETTLE_PAUSES_SECONDS", (0.0, 0.3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.execute, operation)
        await bench.sim.faults.held()
        journal.lock()
        bench.sim.faults.let_go()
        await bench.sim.settled()
        await anyio.wait_all_tasks_blocked()
        journal.unlock()
    assert (await bench.stored(operation)).state is State.DONE


async def test_a_journal_that_fails_while_finishing_does_not_unsay_the_purchase(bench: Bench) -> None:
    operation, journal = await bench.propose(allow_outbound=False), Locked(bench)
    bench.sim.faults.switch_on("hold", on=["get"])
    settled = []

    async def buy() -> None:
        settled.append(await bench.execute(operation))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buy)
        await bench.sim.faults.held()
        journal.lock()
        bench.sim.faults.let_go()
    assert (settled[0].state, settled[0].charged) == (State.DONE, "yes")


@pytest.mark.promise(13)
async def test_nothing_is_spent_when_the_journal_cannot_be_written(bench: Bench) -> None:
    operation, journal = await bench.propose(), Locked(bench)
    journal.lock()
    with pytest.raises(JournalError, match="cannot be written; nothing can be spent") as caught:
        await bench.execute(operation)
    assert (caught.value.charged, bench.sim.charges, bench.posts()) == ("no", [], [])


@pytest.mark.promise(13)
async def test_nothing_is_spent_when_the_journal_fails_just_before_sending(bench: Bench) -> None:
    operation, journal = await bench.propose(), Locked(bench)
    bench.sim.faults.switch_on("hold", on=["search"])

    async def buy() -> None:
        with pytest.raises(JournalError):
            await bench.execute(operation)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buy)
        await bench.sim.faults.held()
        journal.lock()
        bench.sim.faults.let_go()
    assert (bench.sim.charges, bench.posts()) == ([], [])


async def test_an_act_of_another_account_is_not_carried_out(sim: Simulator) -> None:
    clock = Clock()
    async with open_bench(sim, clock=clock) as bench:
        operation = await bench.propose()
        stranger = replace(bench.account, id="0" * 32)
        with pytest.raises(KrosError) as caught:
            await execution.execute(stranger, operation.id, execution.Yes(Channel.PROMPT))
        assert (caught.value.code, sim.charges) == ("OPERATION_NOT_FOUND", [])


@pytest.mark.promise(1)
async def test_a_server_that_is_frozen_between_head_and_body_buys_nothing(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen_seconds, following = 0.0, Flight.trace

    async def freeze_after_the_head(self: Flight, event: str, info: Any) -> None:
        nonlocal frozen_seconds
        await following(self, event, info)
        if event.endswith(".send_request_headers.complete"):
            frozen_seconds = LEASE_SECONDS + 1

    now = lease.clock
    monkeypatch.setattr(lease, "clock", lambda: now() + frozen_seconds)
    monkeypatch.setattr(Flight, "trace", freeze_after_the_head)
    async with open_server(sim) as base_url, open_bench(sim, base_url=base_url) as bench:
        failed = await bench.buy()
        assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "INTERRUPTED", "no")
        assert failed.sent_at is not None
        await sim.settled()
        assert sim.charges == []
