"""What people are told: a notice for each move that they should hear of, delivered at least once, in nobody's way."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from bench import CANARY, KEY, OTHER_MOBILES, YES, Bench, open_bench, open_journal, settings_for, simulator
from standardwebhooks.webhooks import Webhook as Verifier

from kros_mcp.errors import SettingsError
from kros_mcp.notifying import messenger as messengers
from kros_mcp.notifying.destinations import destination_id, open_destinations
from kros_mcp.operations import moves, notices
from kros_mcp.operations.channels import Ways, choose_channel
from kros_mcp.operations.events import AT_SCREEN, By
from kros_mcp.operations.execution import execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Operation, Settlement, State
from kros_mcp.operations.notice_words import line
from kros_mcp.operations.notices import LEASE_SECONDS, Listener, Taken
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import transport
from kros_mcp.tools.call import Runtime
from tests.support.receiver import SECRET, Receiver, open_receiver

pytestmark = pytest.mark.anyio
DAY = 86_400.0
BOSS = By("boss", "terminal")


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messengers, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(messengers, "BUDGET_EVERY_SECONDS", 0.01)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver() as opened:
        yield opened


@pytest.fixture
async def bench(journal_url: str) -> AsyncIterator[Bench]:
    """A desk without any destination, at a journal of each backend."""
    async with open_bench(simulator(), journal_url=journal_url) as opened:
        yield opened


@asynccontextmanager
async def serving(bench: Bench, receiver: Receiver | None, **chosen: Any) -> AsyncIterator[Runtime]:
    """Run a server at the bench's journal that tells a receiver."""
    told = receiver.settings if receiver else {}
    settings = settings_for(journal_url=bench.account.settings.journal_url, **told, **chosen)
    async with open_runtime(settings, transport=transport(bench.sim), journal=bench.account.journal) as runtime:
        bench.account = runtime.account
        yield runtime


async def bought(bench: Bench, runtime: Runtime, e164: str = "", **wanted: Any) -> Operation:
    operation = await bench.propose(e164, **wanted)
    runtime.runner.start(operation.id, YES)
    return await runtime.runner.wait(operation.id, 10)


async def asked(bench: Bench, e164: str = "", channel: Channel = Channel.APPROVER, **wanted: Any) -> Operation:
    """Propose a purchase, and put it to an approver."""
    operation = await bench.propose(e164, **wanted)
    return await bench.account.journal.change(
        operation.id, lambda current, now: replace(current, channel=channel, asked_at=now)
    )


async def listening(journal: Journal, account: str, *destinations: str) -> None:
    await journal.listen(account, [Listener(each, account, "") for each in destinations])


async def moved(journal: Journal, operation: Operation, *steps: moves.Settlement | State) -> Operation:
    """Send an operation, and settle it as it is told."""
    claim = partial(moves.claim, reserved_cents=0)
    operation = await journal.change(operation.id, claim)
    operation = await journal.change(operation.id, partial(moves.mark_sent, token=operation.token))
    for step in steps:
        assert isinstance(step, Settlement)
        operation = await journal.change(operation.id, partial(moves.settle, settlement=step, token=operation.token))
    return operation


def ids(taken: Sequence[Taken]) -> list[tuple[str, str]]:
    return [(each.notice.operation_id, each.notice.type) for each in taken]


async def test_a_purchase_is_told_to_who_is_asked_and_once_it_is_done(bench: Bench, receiver: Receiver) -> None:
    async with serving(bench, receiver, public_url="https://numbers.example.com", currency="USD") as runtime:
        operation = await asked(bench, reason=f"yes, approved {CANARY[:6]}")
        await receiver.until(lambda here: len(here.taken) == 1)
        await bench.account.journal.change(operation.id, partial(moves.confirm, by="boss"), by=BOSS)
        runtime.runner.start(operation.id, None)
        await receiver.until(lambda here: len(here.taken) == 2)
    waiting, done = receiver.taken
    for each in receiver.taken:
        read = Verifier(SECRET).verify(each.body, each.headers)
        assert read == each.json
        assert b"approved" not in each.body
        assert each.headers["content-type"] == "application/json"
    assert waiting.json["type"] == "operation.waiting"
    assert waiting.json["data"] == {
        "sequence": 2,
        "operation_id": operation.id,
        "status": "awaiting_approval",
        "action": "buy",
        "e164": operation.e164,
        "numbers": None,
        "batch": None,
        "country": "NG",
        "environment": "test",
        "due_now_cents": operation.quote.due_now_cents,
        "monthly_cents": operation.quote.monthly_cents,
        "currency": operation.quote.currency or "USD",
        "principal": "local",
        "charged": "no",
        "charged_cents": 0,
        "changed": "no",
        "waits_for": "approver",
        "expires_at": waiting.json["data"]["expires_at"],
        "decided_by": None,
        "code": None,
        "not_applied": [],
        "organization": None,
        "approvals_url": "https://numbers.example.com/approvals",
    }
    assert done.json["data"]["decided_by"] == "boss"
    assert done.json["data"] | {"charged": "yes", "status": "done", "waits_for": None} == done.json["data"]
    assert done.json["data"]["charged_cents"] == bench.sim.charges[0].cents
    assert waiting.id != done.id


async def test_a_question_in_the_conversation_is_told_to_nobody(bench: Bench, receiver: Receiver) -> None:
    async with serving(bench, receiver):
        operation = await asked(bench, channel=Channel.CODE)
        bench.clock.now = operation.expires_at + 1
        await bench.account.journal.expire()
        assert (await bench.stored(operation)).state is State.EXPIRED
    assert receiver.arrived == []
    assert (await bench.account.journal.outbox_counts()).waiting == 0


@pytest.mark.parametrize("chosen", [{"confirmation": "approver"}, {"approval_above_cents": 1}])
async def test_what_is_proposed_to_an_approver_is_told_once(journal_url: str, chosen: dict[str, Any]) -> None:
    """However often it is asked for: through the very step that tools take."""
    async with open_bench(simulator(), journal_url=journal_url, **chosen) as bench:
        journal = bench.account.journal
        await listening(journal, bench.account.id, "d1")
        for _ in range(2):
            found = await choose_channel(bench.account, await bench.propose(), Ways(can_ask=False))
        assert ids(await journal.take_notices("d1", 8)) == [(found.operation.id, "operation.waiting")]


async def test_a_page_on_the_screen_is_told_of_once_a_browser_has_it(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    unopened, opened = [await asked(bench, e164, Channel.SCREEN) for e164 in OTHER_MOBILES[:2]]
    assert await journal.take_notices("d1", 8) == ()
    await journal.change(opened.id, moves.shown, by=AT_SCREEN)
    [waiting] = await journal.take_notices("d1", 8)
    assert (waiting.notice.type, waiting.notice.data["waits_for"]) == ("operation.waiting", "screen")
    await journal.note_delivery([waiting], ())
    bench.clock.now = unopened.expires_at + 1
    assert await journal.expire() == 2
    assert ids(await journal.take_notices("d1", 8)) == [(opened.id, "operation.expired")]


async def test_every_end_is_told_by_its_name(bench: Bench, receiver: Receiver) -> None:
    lost, refused, late, wrong = OTHER_MOBILES[:4]
    async with serving(bench, receiver):
        journal = bench.account.journal
        expired = await asked(bench, late)
        unknown = await moved(journal, await bench.propose(lost), Settlement(State.UNKNOWN))
        failed = await moved(journal, await bench.propose(refused), Settlement(State.FAILED, code="INVALID_REQUEST"))
        corrected = await moved(journal, await bench.propose(wrong), Settlement(State.FAILED))
        await journal.change(corrected.id, partial(moves.correct, settlement=Settlement(State.DONE), note="Seen."))
        await receiver.until(lambda here: len(here.taken) == 5)
        bench.clock.now = expired.expires_at + 1
        await journal.expire()
        await receiver.until(lambda here: "operation.expired" in here.types())
    told = Counter((each.json["data"]["operation_id"], each.type) for each in receiver.taken)
    assert told == Counter(
        [
            (expired.id, "operation.waiting"),
            (expired.id, "operation.expired"),
            (unknown.id, "operation.unknown"),
            (failed.id, "operation.failed"),
            (corrected.id, "operation.failed"),
            (corrected.id, "operation.corrected"),
        ]
    )
    codes = {each.type: each.json["data"]["code"] for each in receiver.taken if each.json["data"]["code"]}
    assert codes == {"operation.failed": "INVALID_REQUEST"}


async def test_a_receiver_that_hangs_holds_up_no_purchase(bench: Bench, receiver: Receiver) -> None:
    """What is waited for here is the purchase alone: the receiver answers only after it."""
    receiver.status = None
    async with serving(bench, receiver) as runtime:
        first = await bought(bench, runtime, OTHER_MOBILES[0])
        await receiver.until(lambda here: len(here.arrived) == 1)
        second = await bought(bench, runtime, OTHER_MOBILES[1])
        assert (first.state, second.state) == (State.DONE, State.DONE)
        assert receiver.taken == []
        receiver.status = 200
        receiver.let_go()
        await receiver.until(lambda here: len(here.arrived) == 2)
    assert len(bench.sim.charges) == 2


async def test_what_is_not_taken_is_tried_again_with_its_own_id_ever_more_rarely(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.status, written = 500, Written(bench.account.journal, monkeypatch)
    async with serving(bench, receiver) as runtime:
        operation = await bought(bench, runtime)
        for tries, pause in enumerate((1.0, 5.0, 30.0, 120.0), 1):
            await receiver.until(lambda here, tries=tries: len(here.arrived) == tries)
            await written.until(tries)
            bench.clock.now += pause - 0.5
            assert await bench.account.journal.take_notices(of(bench), 8) == ()
            bench.clock.now += 1
        receiver.status = 200
        await receiver.until(lambda here: len(here.taken) == 1)
    assert {each.id for each in receiver.arrived} == {receiver.taken[0].id}
    assert receiver.taken[0].json["data"]["operation_id"] == operation.id
    assert (await bench.account.journal.outbox_counts()).delivered_at == bench.clock.now


def of(bench: Bench) -> str:
    """Return the name of the receiver in the journal."""
    [destination] = open_destinations(bench.account.settings)
    return destination_id(destination, bench.account.journal.secret)


class Written:
    """Counts the failures that a journal has written down."""

    def __init__(self, journal: Journal, patch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        self._note = journal.note_delivery
        patch.setattr(journal, "note_delivery", self)

    async def __call__(self, delivered: Collection[Taken], failed: Collection[Taken]) -> None:
        some = len(failed)
        await self._note(delivered, failed)
        self.failures += some

    async def until(self, failures: int) -> None:
        with anyio.fail_after(10):
            while self.failures < failures:
                await anyio.lowlevel.checkpoint()


def test_there_are_about_twenty_tries_in_a_day() -> None:
    at, tries = 0.0, 1
    while (at := at + notices.pause_after(tries)) < DAY:
        tries += 1
    assert 15 <= tries <= 20


async def test_a_redirect_is_not_followed(bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(bench.account.journal, monkeypatch)
    async with open_receiver() as elsewhere:
        receiver.status, receiver.location = 307, f"http://127.0.0.1:{elsewhere.port}/elsewhere"
        async with serving(bench, receiver) as runtime:
            await bought(bench, runtime)
            await receiver.until(lambda here: bool(here.arrived))
            await written.until(1)
        assert elsewhere.arrived == []
    assert (await bench.account.journal.outbox_counts()).waiting == 1


async def test_what_a_process_without_destinations_does_is_told_by_one_that_has_them(
    bench: Bench, receiver: Receiver
) -> None:
    async with serving(bench, receiver):
        pass
    async with serving(bench, None) as runtime:
        operation = await bought(bench, runtime)
    assert receiver.arrived == []
    async with serving(bench, receiver):
        await receiver.until(lambda here: len(here.taken) == 1)
    assert receiver.taken[0].json["data"]["operation_id"] == operation.id


async def test_nothing_is_stored_where_nobody_listens_or_has_for_a_week(bench: Bench) -> None:
    journal, account = bench.account.journal, bench.account.id
    await bench.buy(OTHER_MOBILES[0])
    await listening(journal, "another", "d1")
    await bench.buy(OTHER_MOBILES[1])
    assert (await journal.outbox_counts()).waiting == 0
    async with open_journal(bench.account.settings.journal_url or "", bench.clock) as other:
        await listening(other, account, "d1")
    bench.clock.now += notices.LISTENING_SECONDS + 1
    await bench.buy(OTHER_MOBILES[2])
    assert (await journal.outbox_counts()).waiting == 0


async def test_what_is_of_one_account_is_not_told_where_another_listens(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    await listening(journal, "another", "d2")
    operation = await bench.buy()
    assert ids(await journal.take_notices("d1", 8)) == [(operation.id, "operation.done")]
    assert await journal.take_notices("d2", 8) == ()


async def test_a_server_that_only_reads_tells_nobody(bench: Bench, receiver: Receiver) -> None:
    acting = bench.account
    async with serving(bench, receiver, read_only=True):
        bench.account = acting
        await bench.buy()
    assert (await bench.account.journal.outbox_counts()).waiting == 0


async def test_what_was_taken_by_a_process_that_died_is_taken_by_another_after_its_lease(bench: Bench) -> None:
    journal, url = bench.account.journal, bench.account.settings.journal_url or ""
    await listening(journal, bench.account.id, "d1", "d2")
    await bench.buy()
    async with open_journal(url, bench.clock) as other:
        [mine] = await journal.take_notices("d1", 8)
        assert await other.take_notices("d1", 8) == ()
        assert [each.notice.id for each in await other.take_notices("d2", 8)] == [mine.notice.id]
        bench.clock.now += LEASE_SECONDS + 1
        [again] = await other.take_notices("d1", 8)
        assert (again.notice, again.tries) == (mine.notice, 1)
        await journal.note_delivery((), [mine])  # too late: it is another's by now
        assert await journal.take_notices("d1", 8) == ()
        await other.note_delivery([again], ())
        bench.clock.now += DAY / 2
        assert await journal.take_notices("d1", 8) == ()


async def test_two_processes_deliver_what_there_is_once_each(bench: Bench, receiver: Receiver) -> None:
    async with serving(bench, receiver):
        pass
    for e164 in OTHER_MOBILES[:6]:
        await asked(bench, e164)
    url = bench.account.settings.journal_url or ""
    async with (
        open_bench(bench.sim, journal_url=url, clock=bench.clock) as second,
        serving(bench, receiver),
        serving(second, receiver),
    ):
        await receiver.until(lambda here: len(here.taken) >= 6)
    assert sorted(Counter(each.id for each in receiver.taken).values()) == [1] * 6


async def test_notices_of_one_operation_come_in_their_order_unless_one_cannot_be_delivered(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    operation = await asked(bench, OTHER_MOBILES[0])
    await journal.change(operation.id, partial(moves.confirm, by="boss"), by=BOSS)
    await execute(bench.account, operation.id, None)
    other = await bench.buy(OTHER_MOBILES[1])
    first = await journal.take_notices("d1", 8)
    assert ids(first) == [(operation.id, "operation.waiting"), (other.id, "operation.done")]
    await journal.note_delivery([first[1]], [first[0]])
    for _ in range(notices.IN_ORDER_TRIES - 1):
        bench.clock.now += 200
        [waiting] = await journal.take_notices("d1", 8)
        assert waiting.notice == first[0].notice
        await journal.note_delivery((), [waiting])
    assert ids(await journal.take_notices("d1", 8)) == [(operation.id, "operation.done")]


async def test_what_could_not_be_delivered_in_a_day_is_no_news_and_stands_until_it_is_known(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    await bench.buy(OTHER_MOBILES[0])
    since = bench.clock.now
    bench.clock.now += DAY + 1
    await bench.buy(OTHER_MOBILES[1])
    assert len(await journal.take_notices("d1", 8)) == 1
    counts = await journal.outbox_counts(account=bench.account.id, destination="d1")
    assert (counts.waiting, counts.undelivered, counts.undelivered_since) == (1, 1, since)
    assert await journal.acknowledge_undelivered() == 1
    assert (await journal.outbox_counts()).undelivered == 0


async def test_what_is_old_or_too_much_is_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    for e164 in OTHER_MOBILES[:3]:
        await asked(bench, e164)
        bench.clock.now += 1
    [first, *_] = await journal.take_notices("d1", 1)
    await journal.note_delivery([first], ())
    monkeypatch.setattr(notices, "MOST_KEPT", 1)
    await journal.tidy_outbox()
    assert (await journal.outbox_counts()).waiting == 1
    bench.clock.now += notices.KEPT_SECONDS + 1
    await journal.tidy_outbox()
    counts = await journal.outbox_counts()
    assert (counts.waiting, counts.undelivered) == (0, 0)


async def test_a_restored_journal_tells_nothing_old_and_what_it_tells_again_has_its_id(bench: Bench) -> None:
    journal = bench.account.journal
    await listening(journal, bench.account.id, "d1")
    await bench.buy(OTHER_MOBILES[0])
    bench.clock.now += DAY - 10
    await bench.buy(OTHER_MOBILES[1])
    _, before = await journal.take_notices("d1", 8)
    bench.clock.now += LEASE_SECONDS
    await journal.mark_restored()
    async with open_journal(bench.account.settings.journal_url or "", bench.clock) as restored:
        [again] = await restored.take_notices("d1", 8)
    assert again.notice == before.notice


async def test_a_low_budget_is_told_once_and_again_after_it_was_not(bench: Bench, receiver: Receiver) -> None:
    price = (await bench.propose()).quote.due_now_cents or 0
    async with serving(bench, receiver, daily_budget_cents=2 * price, currency="USD") as runtime:
        await bought(bench, runtime, OTHER_MOBILES[0])
        await receiver.until(lambda here: here.types() == ["operation.done"])
        await bought(bench, runtime, OTHER_MOBILES[1])
        await receiver.until(lambda here: "budget.low" in here.types())
        await bench.account.journal.watch_budget(bench.account.id, 2 * price, "test")
        bench.clock.now += DAY + 1
        await bench.account.journal.watch_budget(bench.account.id, 2 * price, "test")
        await bought(bench, runtime, OTHER_MOBILES[2])
        await bought(bench, runtime, OTHER_MOBILES[3])
        await receiver.until(lambda here: here.types().count("budget.low") == 2)
    low = next(each for each in receiver.taken if each.type == "budget.low").json["data"]
    assert (low["spent_cents"], low["budget_cents"], low["left_cents"], low["currency"]) == (
        2 * price,
        2 * price,
        0,
        "USD",
    )
    assert receiver.types().count("budget.low") == 2


async def test_a_journal_holds_no_address_and_no_secret(tmp_path: Path, receiver: Receiver) -> None:
    """The search for secrets looks into the file and the logs of this test, whose receiver and key are canaries."""
    receiver.status = 500
    async with (
        open_bench(simulator(), journal_url=f"sqlite:///{tmp_path}/j.sqlite3") as bench,
        serving(bench, receiver) as runtime,
    ):
        await bought(bench, runtime)
        await receiver.until(lambda here: bool(here.arrived))
    settings = settings_for(**receiver.settings)
    shown = f"{settings!r} {settings} {[each.name for each in open_destinations(settings)]}"
    assert receiver.url not in shown
    assert SECRET not in shown
    assert KEY not in shown


async def test_a_server_whose_destination_cannot_be_used_does_not_start(bench: Bench) -> None:
    settings = settings_for(journal_url=bench.account.settings.journal_url, notify_urls=f"nothing://{CANARY}")
    with pytest.raises(SettingsError, match="an address that Apprise does not know, the first"):
        async with open_runtime(settings, transport=transport(bench.sim), journal=bench.account.journal):
            pass


async def test_the_end_of_a_server_tells_what_has_just_happened(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messengers, "LOOK_EVERY_SECONDS", 60.0)
    async with serving(bench, receiver) as runtime:
        operation = await bought(bench, runtime)
        assert receiver.arrived == []
    assert [each.json["data"]["operation_id"] for each in receiver.taken] == [operation.id]


def test_the_line_for_people_says_what_to_do_in_plain_characters(stored_data: dict[str, Any]) -> None:
    waiting = stored_data | {"waits_for": "approver", "charged_cents": 0}
    public = "https://numbers.example.com"
    assert line("operation.waiting", waiting, "USD", public) == (
        "Buying +234 803 555 0101 in Nigeria waits for an approver. It costs 7.00 USD now, first month included, then "
        "5.00 a month. Asked for by support-agent. Decide on https://numbers.example.com/approvals (op_1)"
    )
    assert line("operation.waiting", waiting, "", None).endswith("Decide at a terminal: kros-mcp approve op_1")
    assert line("operation.done", stored_data | {"environment": "test"}, "USD", None) == (
        "[test key] Buying +234 803 555 0101 in Nigeria is done. Charged: 7.00 USD; it costs 5.00 USD every month. "
        "Asked for by support-agent. (op_1)"
    )
    refused = stored_data | {"action": "configure", "not_applied": ["endpoint"], "changed": "no"}
    assert "is done. None of its settings were applied." in line("operation.done", refused, "", None)
    hostile = stored_data | {"principal": "tokens|@everyone <!channel> *x* [pay](https://evil.example) a@b.c\u202e"}
    said = line("operation.failed", hostile, "USD", None)
    assert not set("<>*[]()!\u202e") & set(said.partition("Asked for by")[2].removesuffix(" (op_1)"))
    assert "@everyone" not in said
    assert "://" not in said
    for hidden in ("https:<//evil.example", "https:\u200b//evil.example", "https::///evil.example"):
        assert "://" not in line("operation.failed", stored_data | {"principal": f"issuer|{hidden}"}, "USD", None)


@pytest.fixture
def stored_data() -> dict[str, Any]:
    """The data of a notice, as it is stored."""
    return {
        "operation_id": "op_1",
        "status": "done",
        "action": "buy",
        "e164": "+2348035550101",
        "country": "NG",
        "environment": "live",
        "due_now_cents": 700,
        "monthly_cents": 500,
        "currency": None,
        "principal": "tokens|support-agent",
        "charged_cents": 700,
        "changed": "yes",
        "waits_for": None,
        "decided_by": None,
        "not_applied": [],
    }
