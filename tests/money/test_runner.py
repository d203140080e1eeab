"""Acts that the server owns: nobody who goes away stops them, and none holds up another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from bench import OTHER_MOBILES, YES, Bench, open_bench

from kros_mcp.errors import InternalError, JournalError, KrosError, OperationError, OutcomeUnknownError
from kros_mcp.operations import direct_change, model, moves
from kros_mcp.operations import runner as runners
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.model import Request, State
from kros_mcp.operations.runner import Runner, open_runner
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import Simulator, transport
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio
LONGEST = 10.0


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Runner]:
    """Run a server at the bench's own journal, and give the bench its desk."""
    async with open_runtime(
        bench.account.settings, transport=transport(bench.sim), journal=bench.account.journal
    ) as runtime:
        bench.account = runtime.account
        yield runtime.runner


async def out_of_order(*_: object, **__: object) -> None:
    raise JournalError("The journal cannot be written; nothing can be spent.")


async def until(bench: Bench, operation: model.Operation, state: State) -> model.Operation:
    with anyio.fail_after(LONGEST):
        while (current := await bench.stored(operation)).state is not state:
            await anyio.lowlevel.checkpoint()
    return current


async def test_a_caller_that_gives_up_does_not_stop_the_purchase(bench: Bench) -> None:
    async with running(bench) as runner:
        operation = await bench.propose()
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(operation.id, YES)
        with anyio.CancelScope() as caller:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runner.wait, operation.id, LONGEST)
                await bench.sim.faults.held()
                caller.cancel()
        assert (await runner.wait(operation.id, 0)).state is State.SENDING
        bench.sim.faults.let_go()
        assert (await runner.wait(operation.id, LONGEST)).state is State.DONE


async def test_closing_the_server_waits_for_what_is_being_sent(bench: Bench) -> None:
    async def let_go() -> None:
        await anyio.wait_all_tasks_blocked()
        bench.sim.faults.let_go()

    async with anyio.create_task_group() as tasks, running(bench) as runner:
        operation = await bench.propose()
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(operation.id, YES)
        await bench.sim.faults.held()
        tasks.start_soon(let_go)
    assert (await bench.stored(operation)).state is State.DONE


async def test_a_second_yes_joins_the_first_and_a_late_one_is_answered_with_the_outcome(bench: Bench) -> None:
    async with running(bench) as runner:
        operation = await bench.propose()
        assert runner.start(operation.id, YES) is runner.start(operation.id, YES)
        assert (await runner.wait(operation.id, LONGEST)).state is State.DONE
        runner.start(operation.id, YES)
        assert (await runner.wait(operation.id, LONGEST)).state is State.DONE
    assert len(bench.sim.charges) == 1


async def test_the_attendant_finds_out_what_was_lost_and_finishes_its_settings(bench: Bench) -> None:
    endpoint = next(iter(bench.sim.endpoints))
    operation = await bench.propose(endpoint_id=endpoint)
    for name in ("ignore_snake_case", "lost_reply"):
        bench.sim.faults.switch_on(name, on=["purchase"])
    assert (await bench.execute(operation)).state is State.UNKNOWN
    async with running(bench):
        done = await until(bench, operation, State.DONE)
        assert done.settings_pending
        bench.clock.now += model.LEASE_SECONDS + 1
        with anyio.fail_after(LONGEST):
            while (await bench.stored(operation)).settings_pending:
                await anyio.lowlevel.checkpoint()
    number = bench.sim.owned_by_e164(operation.e164)
    assert number is not None
    assert number.endpoint_id == endpoint


async def test_an_operation_that_kros_does_not_answer_holds_up_no_other(bench: Bench) -> None:
    lost, approved = await bench.propose(OTHER_MOBILES[0]), await bench.propose(OTHER_MOBILES[1])
    bench.sim.faults.switch_on("error_before", on=["purchase"])
    assert (await bench.execute(lost)).state is State.UNKNOWN
    bench.sim.faults.switch_on("hold", on=["list_owned"])
    async with running(bench):
        with anyio.fail_after(LONGEST):
            await bench.sim.faults.held()
        await bench.account.journal.change(approved.id, lambda current, now: moves.confirm(current, now, by="boss"))
        await until(bench, approved, State.DONE)
        bench.sim.faults.let_go()


async def test_an_act_whose_journal_cannot_be_read_meanwhile_is_not_told_as_unspent(bench: Bench) -> None:
    async with running(bench) as runner:
        operation = await bench.propose()
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(operation.id, YES)
        await bench.sim.faults.held()
        connection = bench.account.journal._connection  # type: ignore[attr-defined]  # noqa: SLF001 - makes it fail
        connection.execute("ALTER TABLE operations RENAME TO elsewhere")
        with pytest.raises(OutcomeUnknownError) as caught:
            await runner.wait(operation.id, 0)
        connection.execute("ALTER TABLE elsewhere RENAME TO operations")
        assert (caught.value.charged, caught.value.operation_id) == ("unknown", operation.id)
        bench.sim.faults.let_go()
        assert (await runner.wait(operation.id, LONGEST)).state is State.DONE


async def test_a_fault_of_ours_in_sheltered_work_leaves_the_server_running(bench: Bench) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async with running(bench) as runner:
        with pytest.raises(InternalError) as caught:
            await runner.shelter(fails, LONGEST)
        assert caught.value.changed == "unknown"
        runner.start((await bench.propose()).id, YES)


async def test_an_error_comes_out_of_the_runtime_as_it_is(bench: Bench) -> None:
    with pytest.raises(KrosError, match=r"^told$"):
        async with running(bench):
            raise KrosError("told")


async def configure(bench: Bench, runner: Runner, **wanted: Any) -> direct_change.DirectChange:
    plan = await direct_change.plan(bench.account, [Wish(Request(number_id=bench.active.id, **wanted))])
    [change] = await direct_change.configure(bench.account, runner, plan.changes, seconds=LONGEST)
    return change


async def test_a_change_that_kros_accepted_and_does_not_show_is_unknown_not_undone(bench: Bench) -> None:
    async with running(bench) as runner:
        number = await bench.account.client.get_number(bench.active.id)
        bench.sim.faults.switch_on("refuse", times=None, on=["get"], status=401)
        planned = direct_change.Planned(number, Request(allow_inbound=False))
        [change] = await direct_change.configure(bench.account, runner, [planned], seconds=LONGEST)
        assert isinstance(change.error, OutcomeUnknownError)
        assert (change.error.changed, bench.active.allow_inbound) == ("unknown", False)


async def test_a_change_is_sent_again_after_a_429_under_the_same_key(bench: Bench) -> None:
    async with running(bench) as runner:
        bench.sim.faults.switch_on("rate_limited", on=["update"], retry_after="0.1")
        change = await configure(bench, runner, allow_inbound=False)
    patches = [seen for seen in bench.sim.requests if seen.method == "PATCH"]
    assert change.not_applied == ()
    assert len(patches) == 2
    assert len({seen.headers["idempotency-key"] for seen in patches}) == 1


async def test_a_refused_second_spelling_leaves_the_first_change_told(bench: Bench) -> None:
    async with running(bench) as runner:
        bench.sim.faults.switch_on("ignore_snake_case", on=["update"])
        bench.sim.faults.switch_on("hold", on=["update"], after=True)
        async with anyio.create_task_group() as tasks:
            changes = []

            async def change() -> None:
                changes.append(await configure(bench, runner, allow_inbound=False))

            tasks.start_soon(change)
            await bench.sim.faults.held()
            bench.sim.faults.switch_on("refuse", on=["update"], status=400)
            bench.sim.faults.let_go()
    assert changes[0].not_applied == ("allow_inbound",)


async def test_two_servers_at_one_journal_carry_an_approved_act_out_once(bench: Bench) -> None:
    async with open_bench(bench.sim), running(bench), running(bench):
        operation = await bench.propose()
        await bench.account.journal.change(operation.id, lambda current, now: moves.confirm(current, now, by="boss"))
        await until(bench, operation, State.DONE)
    assert len(bench.sim.charges) == len(bench.posts()) == 1


async def test_an_act_under_way_is_not_called_unknown_because_the_journal_is_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(bench) as runner:
        operation = await bench.propose()
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(operation.id, YES)
        await bench.sim.faults.held()
        with monkeypatch.context() as patch:
            patch.setattr(type(bench.account.journal), "get", lambda *_: anyio.sleep_forever())
            shown = await runner.wait(operation.id, 0, known=operation)
            with pytest.raises(OutcomeUnknownError):
                await runner.wait(operation.id, 0)
        assert (shown.id, shown.state) == (operation.id, State.SENDING)
        bench.sim.faults.let_go()
        assert (await runner.wait(operation.id, LONGEST)).state is State.DONE


async def test_settings_that_kros_never_takes_cost_it_little_in_a_day(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Turned:
        """A loop whose time a day passes in at once."""

        def __getattr__(self, name: str) -> Any:
            return getattr(anyio, name)

        def current_time(self) -> float:
            return bench.clock.now

        async def sleep(self, _seconds: float) -> None:
            await anyio.wait_all_tasks_blocked()
            bench.clock.now += 60.0
            if bench.clock.now > began + 86_400.0:
                attendant.close()

    began = bench.clock.now
    bench.sim.faults.switch_on("error_before", times=None, on=["update"])
    bench.sim.faults.switch_on("ignore_snake_case", on=["purchase"])
    bought = await bench.buy(endpoint_id=next(iter(bench.sim.endpoints)))
    assert bought.settings_pending
    before = len(bench.sim.requests)
    monkeypatch.setattr(runners, "anyio", Turned())
    async with anyio.create_task_group() as tasks:
        attendant = Runner(bench.account, tasks)
        await attendant.attend()
    assert (await bench.stored(bought)).settings_pending
    assert 10 <= len(bench.sim.requests) - before <= 100


async def test_an_act_that_another_process_is_sending_does_not_keep_this_one_from_getting_ready(bench: Bench) -> None:
    operation = await bench.propose()
    await bench.account.journal.claim(
        operation.id, lambda current, now, _: (moves.claim(current, now, reserved_cents=700), ()), committed_since=0
    )
    async with running(bench) as runner:
        with anyio.fail_after(LONGEST):
            await runner.looked_round.wait()
        assert (await bench.stored(operation)).state is State.SENDING


async def test_new_acts_begin_once_what_was_left_is_looked_after_and_until_the_server_closes(bench: Bench) -> None:
    async with anyio.create_task_group() as tasks:
        runner = Runner(bench.account, tasks)
        before = runner.is_ready
        tasks.start_soon(runner.attend)
        with anyio.fail_after(LONGEST):
            await runner.looked_round.wait()
        meanwhile = runner.is_ready
        runner.close()
        assert (before, meanwhile, runner.is_ready) == (False, True, False)
        tasks.cancel_scope.cancel()


async def test_an_act_of_another_account_is_neither_carried_out_nor_shown(bench: Bench) -> None:
    ours = await bench.propose()
    theirs = await bench.account.journal.propose(replace(ours, id=model.new_operation_id(), account="another"))
    async with running(bench) as runner:
        runner.start(theirs.id, YES)
        with pytest.raises(OperationError) as caught:
            await runner.wait(theirs.id, LONGEST)
    assert (caught.value.code, bench.posts()) == ("OPERATION_NOT_FOUND", [])


async def test_an_act_that_could_not_be_carried_out_is_not_tried_again_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kros_mcp.operations.runner.ATTEND_EVERY_SECONDS", 100.0)
    operation = await bench.propose()
    async with running(bench) as runner:
        await runner.looked_round.wait()
        monkeypatch.setattr(type(bench.account.journal), "claim", out_of_order)
        await bench.account.journal.change(operation.id, lambda current, now: moves.confirm(current, now, by="boss"))
        await runner._look_round()  # noqa: SLF001 - it would do so by itself within a second
        with pytest.raises(JournalError):
            await runner.wait(operation.id, LONGEST)
        await runner._look_round()  # noqa: SLF001
        assert not runner.is_under_way(operation.id)
    assert (await bench.stored(operation)).state is State.CONFIRMED


async def test_the_attendant_asks_for_an_unknown_outcome_when_it_is_time_and_not_before(bench: Bench) -> None:
    bench.sim.faults.switch_on("error_before", on=["purchase"])
    unknown = await bench.buy()
    later = bench.clock.now + 3_600
    await bench.account.journal.change(unknown.id, lambda current, _: replace(current, look_at=later))
    async with running(bench) as runner:
        with anyio.fail_after(LONGEST):
            await runner.looked_round.wait()
        await anyio.wait_all_tasks_blocked()
        assert (await bench.stored(unknown)).checked_at is None
        await bench.account.journal.change(unknown.id, lambda current, _: replace(current, look_at=None))
        with anyio.fail_after(LONGEST):
            while (await bench.stored(unknown)).checked_at is None:
                await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("no_waits")
async def test_an_order_that_ends_while_its_settings_are_pending_is_corrected(sim: Simulator) -> None:
    item = next(item for item in sim.inventory.values() if item.e164 == "+2348035550105")
    made = replace(next(iter(sim.owned.values())), id=sim.ids.make("pn"), e164=item.e164, status="pending")

    async def order(_request: httpx.Request, _send: Send) -> httpx.Response:
        sim.owned[made.id] = made
        return httpx.Response(202, json={"id": made.id, "e164": item.e164, "status": "pending"})

    async with open_bench(sim, way=Tampered(sim, "POST", order)) as bench:
        sim.faults.switch_on("error_before", times=None, on=["update", "get"])
        done = await bench.buy(item.e164, allow_inbound=False)
        assert (done.state, done.settings_pending, done.look_at is not None) == (State.DONE, True, True)
        del sim.owned[made.id]
        bench.clock.now += bench.account.settings.settle_seconds
        async with open_runner(bench.account) as runner:
            await runner.looked_round.wait()
            while runner._attended:  # noqa: SLF001 - what it has begun by itself
                await next(iter(runner._attended.values())).wait()  # noqa: SLF001 - the same
        corrected = await bench.stored(done)
        assert (corrected.state, corrected.charged, corrected.settings_pending) == (State.UNKNOWN, "unknown", False)
