"""A batch in a running server: who waits for it hears how far it is, and what stops the server stops it safely."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from batches import THREE, charged, ended, items, lose, on_nth, propose
from bench import YES, Bench, open_bench, simulator

from kros_mcp.errors import JournalError
from kros_mcp.operations import execution, moves, notice_words, recovery
from kros_mcp.operations import runner as runners
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.change_feed import Change, ChangeFeed
from kros_mcp.operations.events import By
from kros_mcp.operations.execution import execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import LEASE_SECONDS, Channel, Operation, State
from kros_mcp.operations.notices import Listener
from kros_mcp.operations.progress import Reached, Step
from kros_mcp.operations.runner import Runner
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import Simulator, transport
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio
LONGEST = 10.0
LEFT = ("failed", "NOT_BEGUN")


@pytest.fixture
def sim() -> Simulator:
    return simulator()


@asynccontextmanager
async def running(bench: Bench, way: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Runner]:
    """Run a server at the bench's own journal, and give the bench its desk."""
    async with open_runtime(
        bench.account.settings, transport=way or transport(bench.sim), journal=bench.account.journal
    ) as runtime:
        bench.account = runtime.account
        yield runtime.runner


async def until_held(bench: Bench) -> None:
    with anyio.fail_after(LONGEST):
        await bench.sim.faults.held()


async def test_who_waits_hears_of_every_number_and_then_of_the_whole(bench: Bench) -> None:
    heard: list[Reached] = []

    async def hear(reached: Reached) -> None:
        heard.append(reached)

    async with running(bench) as runner:
        batch = await propose(bench)
        runner.start(batch.id, YES)
        whole = await runner.wait(batch.id, LONGEST, hear)
        assert Batch(whole, await items(bench, batch)).status == "done"
    after_the_claim = (Step.REREAD, Step.SENDING, Step.DONE)
    assert heard == [Reached(Step.CLAIMED, 1, 3)] + [
        Reached(step, number, 3) for number in (1, 2, 3) for step in after_the_claim
    ]


async def test_while_it_goes_on_it_is_pending_and_so_is_each_of_its_numbers(bench: Bench) -> None:
    async with running(bench) as runner:
        batch = await propose(bench)
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(batch.id, YES)
        await until_held(bench)
        whole = await runner.wait(batch.id, 0)
        numbers = await items(bench, batch)
        assert (Batch(whole, numbers).status, Batch(whole, numbers).charged) == ("pending", "unknown")
        assert all(runner.is_under_way(one.id) for one in (batch, *numbers))
        assert {(await runner.wait(one.id, 0)).state for one in numbers} == {State.SENDING}
        bench.sim.faults.let_go()
        assert (await runner.wait(batch.id, LONGEST)).state is State.DONE
        assert not runner.is_under_way(numbers[0].id)
    assert charged(bench.sim) == THREE


async def test_asking_for_a_batch_finds_out_what_is_unknown_of_it(sim: Simulator) -> None:
    async with open_bench(sim, way=on_nth(sim, "POST", 2, lose)) as bench:
        batch = await propose(bench)
        await bench.execute(batch)
        assert [state for state, _ in await ended(bench, batch)] == ["done", "unknown", "failed"]
        bench.clock.now += 3
        async with running(bench) as runner:
            await runner.ask(await bench.stored(batch))
            assert [state for state, _ in await ended(bench, batch)] == ["done", "done", "failed"]
    assert charged(sim) == THREE[:2]


async def test_an_approved_batch_is_carried_out_by_a_running_server(sim: Simulator) -> None:
    async with open_bench(sim, approval_above_cents=0) as bench:
        batch = await propose(bench)
        assert batch.channel is Channel.APPROVER
        await bench.account.journal.change(
            batch.id, lambda current, now: moves.confirm(current, now, by="Ann at a terminal"), by=By("Ann", "terminal")
        )
        async with running(bench):
            with anyio.fail_after(LONGEST):
                while {state for state, _ in await ended(bench, batch)} != {"done"}:
                    await anyio.lowlevel.checkpoint()
        assert {(item.decided_by, item.decided_through) for item in await items(bench, batch)} == {("Ann", "terminal")}
    assert charged(sim) == THREE


async def test_a_server_that_stops_ends_what_it_has_begun_and_leaves_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "_BEGINS_STILL_SECONDS", 0.0)
    async with running(bench) as runner:
        batch = await propose(bench)
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(batch.id, YES)
        await until_held(bench)
        runner.close()
        bench.sim.faults.let_go()
    assert await ended(bench, batch) == [("done", ""), LEFT, LEFT]
    assert charged(bench.sim) == THREE[:1]


async def withdraw(bench: Bench, batch: Operation) -> bool:
    return await execution.withdraw_unsent(bench.account, await items(bench, batch), by=By("local", "tool"))


async def test_what_is_withdrawn_while_another_is_being_bought_is_not_sent(bench: Bench) -> None:
    async with running(bench) as runner:
        batch = await propose(bench)
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(batch.id, YES)
        await until_held(bench)
        assert await withdraw(bench, batch)
        assert await ended(bench, batch) == [("sending", ""), LEFT, LEFT]
        seen = len(bench.sim.requests)
        bench.sim.faults.let_go()
        whole = await runner.wait(batch.id, LONGEST)
        numbers = await items(bench, batch)
        assert Batch(whole, numbers).status == "partly_done"
        assert [(one.sent_at is None, one.charged, one.settled_at is None) for one in numbers[1:]] == [
            (True, "no", False)
        ] * 2
        assert not any(each.query.get("action") == "available" for each in bench.sim.requests[seen:])
        assert await withdraw(bench, batch)
    assert charged(bench.sim) == THREE[:1]


async def test_what_is_withdrawn_while_it_is_read_again_is_not_sent(bench: Bench) -> None:
    async with running(bench) as runner:
        batch = await propose(bench)
        bench.sim.faults.switch_on("hold", on=["search"])
        runner.start(batch.id, YES)
        await until_held(bench)
        assert await withdraw(bench, batch)
        bench.sim.faults.let_go()
        await runner.wait(batch.id, LONGEST)
    assert await ended(bench, batch) == [LEFT] * 3
    assert charged(bench.sim) == []
    assert {seen.method for seen in bench.sim.requests} == {"GET"}


async def test_of_what_was_sent_nothing_is_withdrawn(bench: Bench) -> None:
    async with running(bench) as runner:
        batch = await propose(bench)
        runner.start(batch.id, YES)
        await runner.wait(batch.id, LONGEST)
        assert not await withdraw(bench, batch)
    assert await ended(bench, batch) == [("done", "")] * 3


async def test_a_server_that_stops_goes_on_for_a_little_while(bench: Bench) -> None:
    async with running(bench) as runner:
        batch = await propose(bench)
        bench.sim.faults.switch_on("hold", on=["purchase"])
        runner.start(batch.id, YES)
        await until_held(bench)
        runner.close()
        bench.sim.faults.let_go()
    assert charged(bench.sim) == THREE


async def test_an_outcome_that_cannot_be_written_leaves_the_rest_unsent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SETTLE_PAUSES_SECONDS", (0.0, 0.01))
    journal, batch = bench.account.journal, await propose(bench)
    bench.sim.faults.switch_on("hold", on=["purchase"])
    changing = journal.change

    async def locked(*_: Any, **__: Any) -> Operation:
        raise JournalError("The journal cannot be written.")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.execute, batch)
        await until_held(bench)
        monkeypatch.setattr(journal, "change", locked)
        bench.sim.faults.let_go()
    monkeypatch.setattr(journal, "change", changing)
    assert [state for state, _ in await ended(bench, batch)] == ["sending"] * 3
    bench.clock.now += LEASE_SECONDS
    await recovery.recover(bench.account)
    assert await ended(bench, batch) == [("unknown", "INTERRUPTED"), *[("failed", "INTERRUPTED")] * 2]
    [sent, *_] = await items(bench, batch)
    assert (await recovery.reconcile(bench.account, sent)).state is State.DONE
    assert charged(bench.sim) == THREE[:1]


async def test_those_that_wait_keep_their_lease_while_one_takes_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the journal goes on as each lease is renewed, by more than a lease in all."""
    monkeypatch.setattr("kros_mcp.operations.lease.RENEW_SECONDS", 0.01)
    batch = await propose(bench)
    bench.sim.faults.switch_on("hold", on=["purchase"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.execute, batch)
        await until_held(bench)
        for _ in range(3):
            bench.clock.now += LEASE_SECONDS - 1
            now = bench.clock.now
            with anyio.fail_after(LONGEST):
                while any((item.lease_until or 0) < now + LEASE_SECONDS for item in await items(bench, batch)):
                    await anyio.lowlevel.checkpoint()
            await recovery.recover(bench.account)
        bench.sim.faults.let_go()
    assert await ended(bench, batch) == [("done", "")] * 3


async def test_whoever_watches_a_batch_hears_of_each_of_its_numbers(bench: Bench) -> None:
    heard: list[Change] = []
    batch = await propose(bench)
    changes = bench.account.changes
    with changes.heard_by(heard.append), changes.watching([batch]):
        await bench.execute(batch)
        of_batch = [change for change in heard if change.operation_id == batch.id]
        assert len(of_batch) == 1 + 3 * len(THREE)  # the yes; then each number as claimed, as done, and as read back
        other_process = ChangeFeed()
        with other_process.heard_by(heard.append), other_process.watching([await bench.stored(batch)]):
            del heard[:]
            await other_process.look_round(bench.account.journal)
            await other_process.look_round(bench.account.journal)
            assert [change.operation_id for change in heard] == [batch.id] * len(THREE)


async def listening(journal: Journal, account: str) -> None:
    await journal.listen(account, [Listener("here", account, "")])


async def test_a_batch_waits_as_one_and_each_number_is_told_once(sim: Simulator) -> None:
    async with open_bench(sim, approval_above_cents=0) as bench:
        journal = bench.account.journal
        await listening(journal, bench.account.id)
        batch = await propose(bench)
        await journal.change(batch.id, lambda current, now: replace(current, asked_at=now, channel=None))
        await journal.change(batch.id, lambda current, now: replace(current, asked_at=now, channel=Channel.APPROVER))
        await journal.change(batch.id, lambda current, now: moves.confirm(current, now, by="Ann at a terminal"))
        await execute(bench.account, batch.id, None)
        taken = [each.notice for each in await journal.take_notices("here", 10)]
        assert [(each.type, each.operation_id == batch.id) for each in taken] == [
            ("operation.waiting", True),
            *[("operation.done", False)] * 3,
        ]
        waiting, *done = (each.data for each in taken)
        assert (waiting["e164"], waiting["numbers"], waiting["due_now_cents"]) == (None, THREE, 2_100)
        assert [(each["e164"], each["batch"]) for each in done] == [(e164, batch.id) for e164 in THREE]
        line = notice_words.line("operation.waiting", waiting, "", None)
        assert "Buying 3 numbers (+234 803 555 0101" in line
        assert "Together they cost 21.00 now" in line


async def test_no_yes_begins_again_what_a_process_left_that_is_gone(sim: Simulator) -> None:
    async def hang(request: httpx.Request, send: Send) -> httpx.Response:
        await send(request)
        sent.set()
        await anyio.sleep_forever()
        raise AssertionError

    sent = anyio.Event()
    async with open_bench(sim, way=Tampered(sim, "POST", hang)) as bench:
        batch = await propose(bench)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.execute, batch)
            await sent.wait()
            tasks.cancel_scope.cancel()
        bench.clock.now += LEASE_SECONDS
        async with running(bench) as runner:
            with anyio.fail_after(LONGEST):
                await runner.looked_round.wait()
            runner.start(batch.id, YES)
            assert (await runner.wait(batch.id, LONGEST)).state is State.DONE
            await runner.ask(await bench.stored(batch))
        assert await ended(bench, batch) == [("done", ""), *[("failed", "INTERRUPTED")] * 2]
        assert charged(sim) == THREE[:1]
