"""What goes wrong around the outbox: a journal that cannot hold it, a name that is not found, a server that ends."""

import asyncio
import socket
import sqlite3
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from bench import KEY, OTHER_MOBILES, Bench, open_bench, simulator
from test_outbox import asked, bought, ids, listening, serving

from kros_mcp.errors import JournalError
from kros_mcp.notifying import messenger as messengers
from kros_mcp.notifying.message import Message, NotDeliveredError
from kros_mcp.notifying.messenger import Messenger
from kros_mcp.notifying.webhook import Webhook
from kros_mcp.operations import moves
from kros_mcp.operations.events import SERVER
from kros_mcp.operations.model import State
from kros_mcp.operations.notices import GOOD_SECONDS, LEASE_SECONDS
from kros_mcp.operations.runner import open_runner
from tests.support.receiver import open_receiver

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench(journal_url: str) -> AsyncIterator[Bench]:
    async with open_bench(simulator(), journal_url=journal_url) as opened:
        yield opened


@pytest.mark.promise(13)
@pytest.mark.parametrize("table", ["outbox", "listeners"])
async def test_nothing_is_sent_where_its_outcome_could_not_be_stored(tmp_path: Path, table: str) -> None:
    path = tmp_path / "journal.sqlite3"
    async with open_bench(simulator(), journal_url=f"sqlite:///{path}") as bench:
        await listening(bench.account.journal, bench.account.id, "d1")
        operation = await bench.propose()
    damage(path, table)
    async with open_bench(bench.sim, journal_url=f"sqlite:///{path}", clock=bench.clock) as bench:
        with pytest.raises(JournalError, match="nothing can be spent"):
            await bench.execute(operation)
        assert (await bench.stored(operation)).state is State.PROPOSED
    assert bench.sim.charges == []


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as file:
        [root] = file.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        [size] = file.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as raw:
        raw.seek((root - 1) * size)
        raw.write(b"\xff" * size)


async def test_a_claim_leaves_nothing_in_the_outbox_that_is_not_to_be_told(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    operation = await bench.buy()
    assert ids(await journal.take_notices("d1", 8)) == [(operation.id, "operation.done")]


async def test_a_receiver_whose_name_is_not_found_keeps_no_thread_in_which_others_are_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go, begun, threads = threading.Event(), anyio.Event(), list[str]()
    loop, look_up = asyncio.get_running_loop(), socket.getaddrinfo

    def slow(host: Any, *rest: Any, **named: Any) -> Any:
        if host != "hooks.example.com":
            return look_up(host, *rest, **named)
        threads.append(threading.current_thread().name)
        loop.call_soon_threadsafe(begun.set)
        let_go.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    webhook = Webhook("https://hooks.example.com/", b"k" * 32)
    try:
        async with anyio.create_task_group() as tasks:
            for number in range(webhook.at_once):
                tasks.start_soon(webhook.send, Message(f"evt_{number}", {}, "", ""))
            await begun.wait()
            with anyio.fail_after(5):
                await loop.getaddrinfo("localhost", 80)
            tasks.cancel_scope.cancel()
    finally:
        let_go.set()
        await webhook.aclose()
    assert set(threads) == {"kros-mcp lookup"}


async def test_what_is_on_its_way_when_a_server_ends_comes_through(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messengers, "LOOK_EVERY_SECONDS", 0.01)
    async with open_receiver(status=None) as receiver:
        hurry = Messenger.hurry

        def hurried(messenger: Messenger, until: float) -> None:
            hurry(messenger, until)
            receiver.status = 200
            receiver.let_go()

        monkeypatch.setattr(Messenger, "hurry", hurried)
        async with serving(bench, receiver) as runtime:
            await bought(bench, runtime)
            await receiver.until(lambda here: len(here.arrived) == 1)
        assert [each.type for each in receiver.taken] == ["operation.done"]
    assert (await bench.account.journal.outbox_counts()).waiting == 0


async def test_the_end_of_a_server_waits_for_no_receiver_that_hangs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messengers, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(messengers, "FINISH_SECONDS", 0.05)
    async with open_receiver(status=None) as receiver:
        with anyio.fail_after(5):
            async with serving(bench, receiver) as runtime:
                await bought(bench, runtime)
                await receiver.until(lambda here: len(here.arrived) == 1)
    assert (await bench.account.journal.outbox_counts()).waiting == 1


async def test_once_a_receiver_is_back_what_waits_for_its_next_try_is_due(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1", "d2")
    long_ago = {(await asked(bench, e164)).id for e164 in OTHER_MOBILES[:2]}
    for _ in range(5):
        bench.clock.now += 2_000
        await journal.note_delivery((), await journal.take_notices("d1", 8))
    under_way, new = [await asked(bench, e164) for e164 in OTHER_MOBILES[2:4]]
    first = {each.notice.operation_id: each for each in await journal.take_notices("d1", 8)}
    assert first.keys() == {under_way.id, new.id}
    await journal.note_delivery([first[new.id]], ())
    assert {operation_id for operation_id, _ in ids(await journal.take_notices("d1", 8))} == long_ago
    bench.clock.now += LEASE_SECONDS
    assert under_way.id in {operation_id for operation_id, _ in ids(await journal.take_notices("d1", 8))}


async def test_what_expires_is_told_though_nothing_of_its_account_is_open(bench: Bench) -> None:
    """So it is with an organization that nobody has asked for since its question."""
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    waiting = await asked(bench)
    bench.clock.now = waiting.expires_at + 1
    url = bench.account.settings.journal_url or ""
    async with (
        open_bench(bench.sim, journal_url=url, clock=bench.clock, organization_id="another") as other,
        open_runner(other.account) as runner,
    ):
        await runner.looked_round.wait()
    await journal.note_delivery(await journal.take_notices("d1", 8), ())
    assert ids(await journal.take_notices("d1", 8)) == [(waiting.id, "operation.expired")]


async def test_a_destination_that_no_server_has_any_more_is_forgotten_with_what_it_could_not_be_told(
    bench: Bench,
) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "former", "down")
    await bench.buy(OTHER_MOBILES[0])
    bench.clock.now += GOOD_SECONDS + 1
    await listening(journal, bench.account.id, "down")
    await bench.buy(OTHER_MOBILES[1])
    assert await journal.acknowledge_undelivered() == 2
    await bench.buy(OTHER_MOBILES[2])
    assert (await journal.outbox_counts(destination="former")).waiting == 0
    assert (await journal.outbox_counts(destination="down")).waiting == 2


async def test_what_waits_and_who_is_told_go_with_an_account_that_is_handed_over(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1", "d2")
    await listening(journal, "new", "d2")
    done = await bench.buy(OTHER_MOBILES[0])
    waiting = await asked(bench, OTHER_MOBILES[1])
    await journal.adopt(bench.account.id, "new", environment="test", by=SERVER, words="")
    assert (await journal.outbox_counts(account="new")).waiting == 4
    assert (await journal.outbox_counts(account=bench.account.id)).waiting == 0
    for destination in ("d1", "d2"):
        taken = await journal.take_notices(destination, 8)
        assert {operation_id for operation_id, _ in ids(taken)} == {done.id, waiting.id}
        await journal.note_delivery(taken, ())
    ended = partial(moves.end, state=State.FAILED, reason="No more.")
    await journal.change(waiting.id, ended)
    for destination in ("d1", "d2"):
        assert ids(await journal.take_notices(destination, 8)) == [(waiting.id, "operation.failed")]


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (ssl.SSLCertVerificationError(), ("certificate that is not accepted", "SSL_CERT_FILE")),
        (socket.gaierror(), ("host that is not found", "KROS_WEBHOOK_URL")),
        (OSError(f"no way to {KEY}"), ("could not be reached (ConnectError)", "Look at the receiver")),
        (302, ("answered 302", "No redirect is followed")),
        (401, ("answered 401", "KROS_WEBHOOK_SECRET")),
        (404, ("answered 404", "KROS_WEBHOOK_URL")),
        (500, ("answered 500", "Look at the receiver")),
    ],
)
async def test_what_does_not_come_through_says_what_to_do(failure: OSError | int, says: tuple[str, str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if isinstance(failure, OSError):
            raise httpx.ConnectError(f"{request.url}") from failure
        return httpx.Response(failure, headers={"location": "http://169.254.169.254/"})

    webhook = Webhook(f"http://127.0.0.1/{KEY}", b"k" * 32)
    webhook._transport = httpx.MockTransport(answer)  # noqa: SLF001 - no receiver shows a bad certificate on loopback
    with pytest.raises(NotDeliveredError) as caught:
        await webhook.send(Message("evt_1", {}, "", ""))
    assert says[0] in caught.value.message
    assert says[1] in caught.value.next_step
    assert KEY not in f"{caught.value.message} {caught.value.next_step}"
