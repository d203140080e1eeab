"""One yes to several numbers: what is asked, what the yes sets off, and what becomes of each number."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from batches import THREE, charged, ended, items, lose, on_nth, propose, wish
from bench import OTHER_MOBILES, YES, Bench, open_bench, simulator

from kros_mcp.commands.differences import AccountReading, compare
from kros_mcp.commands.history import STATES, read_history
from kros_mcp.errors import InvalidArgumentError, KrosError, OperationError
from kros_mcp.journals.rows import Work, what_happened
from kros_mcp.journals.sql import StoredJournal
from kros_mcp.krosai import read_all_owned
from kros_mcp.numbering import spoken
from kros_mcp.operations import events, moves, recovery
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE
from kros_mcp.operations.batch import Batch
from kros_mcp.operations.execution import execute
from kros_mcp.operations.journal import Filter, every
from kros_mcp.operations.model import LEASE_SECONDS, Action, Channel, Operation, Request, State
from kros_mcp.operations.policy import Books
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.upstream import Send, answering, wrote

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("every_backend")]
DONE, LEFT = ("done", ""), ("failed", "NOT_BEGUN")


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Simulator:
    """Turn the dialect with the backend: the two have nothing to do with each other."""
    return simulator("guide" if "postgres" in request.node.name else "reference")


async def two_owned(bench: Bench) -> list[SimNumber]:
    """Own a second number beside the one that is owned from the beginning."""
    bought = await bench.buy(OTHER_MOBILES[7])
    return [number for number in bench.sim.owned.values() if number.status == "active" or number.e164 == bought.e164]


async def refused(act: Any, code: str, *words: str) -> None:
    with pytest.raises(KrosError) as caught:
        await act
    assert (caught.value.code, caught.value.charged) == (code, "no")
    for word in words:
        assert (spoken(word) if word.startswith("+") else word) in caught.value.message


async def test_the_question_names_every_number_and_the_totals(bench: Bench) -> None:
    batch = await propose(bench)
    assert (batch.action, batch.state, batch.e164) == (Action.BUY_SEVERAL, State.PROPOSED, ",".join(sorted(THREE)))
    assert [item.e164 for item in batch.items] == THREE
    assert (batch.quote.due_now_cents, batch.quote.monthly_cents, batch.quote.country) == (2_100, 2_100, "NG")
    assert wrote(bench.sim) == []


async def test_ten_numbers_of_one_page_cost_no_more_than_one(bench: Bench) -> None:
    page = await bench.account.inventory.search(country="NG", type="mobile", limit=10)
    asked = len(bench.sim.requests)
    await bench.propose(page.items[0].e164)
    alone = len(bench.sim.requests) - asked
    wishes = [Wish(Request(inventory_id=item.inventory_id)) for item in page.items[1:]]
    await SEVERAL_PURCHASE.propose(bench.account, "local", wishes)
    assert len(bench.sim.requests) - asked - alone <= alone


async def test_ids_that_change_with_each_search_are_bought_by_their_numbers(bench: Bench) -> None:
    bench.sim.faults.switch_on("changing_ids", times=None)
    page = await bench.account.inventory.search(country="NG", type="mobile", limit=3)
    wishes = [Wish(Request(inventory_id=item.inventory_id)) for item in page.items]
    asked = len(bench.sim.requests)
    batch = await SEVERAL_PURCHASE.propose(bench.account, "local", wishes)
    assert len(bench.sim.requests) - asked <= 15
    await bench.execute(batch)
    assert charged(bench.sim) == [item.e164 for item in page.items]


@pytest.mark.promise(1)
async def test_one_yes_charges_each_number_once(bench: Bench) -> None:
    batch = await propose(bench, allow_outbound=False)
    assert (await bench.execute(batch)).state is State.DONE
    found = await items(bench, batch)
    assert charged(bench.sim) == THREE == [item.e164 for item in found]
    assert {(item.state, item.charged, item.batch, item.confirmed_by) for item in found} == {
        (State.DONE, "yes", batch.id, "prompt")
    }
    assert Batch(await bench.stored(batch), found).status == "done"
    keys = [post.headers["idempotency-key"] for post in bench.posts()]
    assert keys == [item.id for item in found]


@pytest.mark.promise(4)
async def test_a_yes_that_is_replayed_or_given_twice_at_once_changes_nothing(bench: Bench) -> None:
    batch = await propose(bench)
    outcomes: list[str] = []

    async def say_yes() -> None:
        try:
            outcomes.append(str((await execute(bench.account, batch.id, YES)).state))
        except OperationError as exc:
            outcomes.append(exc.code)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(say_yes)
    await say_yes()
    assert sorted(outcomes) == ["TOO_LATE", "TOO_LATE", "TOO_LATE", "done"]
    assert charged(bench.sim) == THREE


async def test_its_events_give_every_row_again(bench: Bench) -> None:
    batch = await propose(bench)
    await bench.execute(batch)
    for row in (await bench.stored(batch), *await items(bench, batch)):
        told = await bench.account.journal.events(row.id)
        assert events.fold(told) == events.without_bookkeeping(row)
    assert [event.move for event in await bench.account.journal.events(batch.id)] == ["proposed", "confirmed", "begun"]


async def test_the_same_numbers_are_asked_about_once_whatever_their_order_and_names(bench: Bench) -> None:
    page = await bench.account.inventory.search(country="NG", type="mobile", limit=3)
    by_id = [Wish(Request(inventory_id=item.inventory_id)) for item in page.items]
    batch = await SEVERAL_PURCHASE.propose(bench.account, "local", by_id)
    others = [wish(item.e164) for item in reversed(page.items)]
    assert (await SEVERAL_PURCHASE.propose(bench.account, "local", others)).id == batch.id
    assert await SEVERAL_PURCHASE.find(bench.account, "local", others) == batch
    assert await SEVERAL_PURCHASE.find(bench.account, "other", others) is None
    assert await SEVERAL_PURCHASE.find(bench.account, "local", others[1:]) is None


async def test_other_settings_take_the_place_of_the_question_that_waits(bench: Bench) -> None:
    batch = await propose(bench)
    other = await propose(bench, allow_inbound=False)
    assert other.id != batch.id
    assert (await bench.stored(batch)).state is State.CANCELLED
    await refused(execute(bench.account, batch.id, YES), "TOO_LATE")
    assert charged(bench.sim) == []


async def test_what_was_done_answers_again_while_it_stands(bench: Bench) -> None:
    batch = await propose(bench)
    await bench.execute(batch)
    assert (await propose(bench)).id == batch.id
    bench.clock.now += 86_401
    await refused(propose(bench), "ALREADY_OWNED", THREE[0])


async def test_one_of_which_nothing_was_done_is_asked_anew(sim: Simulator) -> None:
    async with open_bench(sim) as bench:
        batch = await propose(bench)
        sim.faults.switch_on("price_moves", at="search")
        await bench.execute(batch)
        assert await ended(bench, batch) == [("failed", "PRICE_CHANGED")] * 3
        again = await propose(bench)
        assert (again.id == batch.id, again.quote.due_now_cents) == (False, 2_400)


@pytest.mark.parametrize("names", ["number", "id and number"])
async def test_one_number_twice_is_refused(bench: Bench, names: str) -> None:
    page = await bench.account.inventory.search(country="NG", type="mobile", limit=2)
    first = wish(page.items[0].e164)
    second = first if names == "number" else Wish(Request(inventory_id=page.items[0].inventory_id))
    act = SEVERAL_PURCHASE.propose(bench.account, "local", [first, wish(page.items[1].e164), second])
    await refused(act, "SAME_NUMBER_TWICE", page.items[0].e164)


async def test_too_many_numbers_are_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgumentError, match="20"):
        await propose(bench, [f"+23480355502{end:02}" for end in range(21)])
    wishes = [Wish(Request(number_id=f"num-{each}")) for each in range(11)]
    with pytest.raises(InvalidArgumentError, match="10"):
        await SEVERAL_RELEASE.propose(bench.account, "local", wishes)


async def test_a_number_that_is_asked_about_already_is_refused(bench: Bench) -> None:
    single = await bench.propose(THREE[1])
    await refused(propose(bench), "NUMBER_BUSY", THREE[1])
    await bench.account.change(
        single.id, lambda current, now: moves.end(current, now, State.CANCELLED, reason="Not wanted.")
    )
    await propose(bench)
    await refused(propose(bench, [THREE[2], OTHER_MOBILES[5]]), "NUMBER_BUSY", THREE[2])


async def test_a_number_of_unknown_outcome_is_refused_whoever_asks(sim: Simulator) -> None:
    async with open_bench(sim, way=on_nth(sim, "POST", 1, lose)) as bench:
        assert (await bench.buy(THREE[1])).state is State.UNKNOWN
        await refused(propose(bench, principal="other"), "ALREADY_OWNED", THREE[1])
        bench.clock.now += 3

    async def turn_away(request: httpx.Request, send: Send) -> httpx.Response:
        del send
        raise httpx.ReadError("lost", request=request)

    async with open_bench(sim, way=on_nth(sim, "POST", 1, turn_away)) as bench:
        assert (await bench.buy(THREE[0])).state is State.UNKNOWN
        await refused(propose(bench, [THREE[2], THREE[0]], principal="other"), "NUMBER_BUSY", THREE[0])


async def test_an_owned_or_unseen_number_refuses_the_whole(bench: Bench) -> None:
    await bench.buy(THREE[0])
    await refused(propose(bench), "ALREADY_OWNED", THREE[0])
    await refused(propose(bench, [THREE[1], "+2348039999999"]), "NOT_SEEN", "+2348039999999")
    assert charged(bench.sim) == [THREE[0]]


async def test_one_whose_price_has_moved_or_that_is_taken_is_passed_over(sim: Simulator) -> None:
    async def take(request: httpx.Request, send: Send) -> httpx.Response:
        sim.faults.switch_on("stolen_number")
        return await send(request)

    async with open_bench(sim, way=on_nth(sim, "POST", 2, take)) as bench:
        batch = await propose(bench, OTHER_MOBILES[:4])
        dearer = next(item for item in sim.inventory.values() if item.e164 == OTHER_MOBILES[3])
        sim.inventory[dearer.id] = replace(dearer, monthly_cost_cents=dearer.monthly_cost_cents + 100)
        await bench.execute(batch)
        assert await ended(bench, batch) == [
            DONE,
            ("failed", "NUMBER_NOT_AVAILABLE"),
            DONE,
            ("failed", "PRICE_CHANGED"),
        ]
        assert charged(sim) == [OTHER_MOBILES[0], OTHER_MOBILES[2]]
        assert Batch(await bench.stored(batch), await items(bench, batch)).status == "partly_done"


@pytest.mark.promise(12)
async def test_after_a_lost_answer_the_rest_is_left_and_nothing_is_charged_twice(sim: Simulator) -> None:
    async with open_bench(sim, way=on_nth(sim, "POST", 2, lose)) as bench:
        batch = await propose(bench, OTHER_MOBILES[:4])
        await bench.execute(batch)
        assert await ended(bench, batch) == [DONE, ("unknown", "OUTCOME_UNKNOWN"), LEFT, LEFT]
        first, lost, *left = await items(bench, batch)
        assert [(item.charged, item.sent_at, item.claimed_at is None) for item in left] == [("no", None, False)] * 2
        assert all(OTHER_MOBILES[1] in item.message and item.e164 in item.message for item in left)
        assert charged(sim) == OTHER_MOBILES[:2]
        assert (await propose(bench, OTHER_MOBILES[:4])).id == batch.id
        bench.clock.now += 3
        assert (await recovery.reconcile(bench.account, lost)).state is State.DONE
        assert charged(sim) == [first.e164, lost.e164]
        books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
        assert books.spent_cents == sum(charge.cents for charge in sim.charges)


@pytest.mark.promise(12)
async def test_a_number_that_is_named_in_place_of_another_is_not_told_as_uncharged(sim: Simulator) -> None:
    async def buys_the_third(_request: httpx.Request, _send: Send) -> httpx.Response:
        sim.buy(next(item for item in sim.inventory.values() if item.e164 == OTHER_MOBILES[2]), None)
        return httpx.Response(201, json={"id": "x", "e164": OTHER_MOBILES[2], "status": "active"})

    async with open_bench(sim, way=on_nth(sim, "POST", 1, buys_the_third)) as bench:
        batch = await propose(bench, OTHER_MOBILES[:4])
        await bench.execute(batch)
        assert await ended(bench, batch) == [
            ("unknown", "OTHER_NUMBER"),
            LEFT,
            ("failed", "NAMED_INSTEAD"),
            LEFT,
        ]
        read = Batch(await bench.stored(batch), await items(bench, batch))
        first, second, third, fourth = (spoken(e164) for e164 in OTHER_MOBILES[:4])
        told, _ = SEVERAL_PURCHASE.wording.outcome(read, "")
        assert (read.status, read.charged) == ("unknown", "unknown")
        assert f"It is not known yet whether {first} was bought" in told
        assert f"answered the purchase with another number, {third}, which it may have charged instead." in told
        assert f"Nothing was ordered for {third} itself. Not bought: {second} and {fourth}, not begun." in told
        assert "usable answer" not in told
        for message in (read.items[2].message, PURCHASE.wording.failed(read.items[2])):
            assert "may have charged it" in message
            assert "nothing was charged" not in message


async def test_an_answer_that_nothing_follows_from_is_not_called_lost(sim: Simulator) -> None:
    answer = httpx.Response(201, json={"id": "x", "e164": OTHER_MOBILES[0], "status": "no such word"})
    async with open_bench(sim, way=on_nth(sim, "POST", 1, answering(answer))) as bench:
        batch = await propose(bench)
        await bench.execute(batch)
        [unclear, *_] = await items(bench, batch)
        said = f"KrosAI answered, but does not show that buying {spoken(unclear.e164)} happened, so it is not known yet"
        told, _ = SEVERAL_PURCHASE.wording.outcome(Batch(await bench.stored(batch), await items(bench, batch)), "")
        assert said in told
        assert said in PURCHASE.wording.summary(unclear, "")[0]


async def test_a_429_in_the_middle_is_repeated_once_and_the_rest_follows(sim: Simulator) -> None:
    async def busy(request: httpx.Request, send: Send) -> httpx.Response:
        sim.faults.switch_on("rate_limited", on=["purchase"], retry_after="0.01")
        return await send(request)

    async with open_bench(sim, way=on_nth(sim, "POST", 2, busy)) as bench:
        batch = await propose(bench)
        await bench.execute(batch)
        assert await ended(bench, batch) == [DONE] * 3
        assert charged(sim) == THREE


@pytest.mark.promise(10)
async def test_a_server_that_only_reads_begins_none(bench: Bench) -> None:
    batch = await propose(bench)
    settings = bench.account.settings.model_copy(update={"read_only": True})
    reading = Bench(bench.sim, replace(bench.account, settings=settings), bench.clock)
    await refused(propose(reading), "READ_ONLY")
    failed = await reading.execute(batch)
    assert (failed.state, failed.error_code, await items(bench, batch)) == (State.FAILED, "READ_ONLY", ())
    assert wrote(bench.sim) == []


async def test_those_whose_lease_is_lost_while_they_wait_are_not_sent(sim: Simulator) -> None:
    async def sleep(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        benches[0].clock.now += LEASE_SECONDS + 1
        await recovery.recover(benches[0].account)
        return answer

    benches: list[Bench] = []
    async with open_bench(sim, way=on_nth(sim, "POST", 1, sleep)) as bench:
        benches.append(bench)
        batch = await propose(bench)
        await bench.execute(batch)
        assert charged(sim) == [THREE[0]]
        bench.clock.now += 5
        for item in await items(bench, batch):
            await recovery.reconcile(bench.account, item)
        assert await ended(bench, batch) == [DONE, ("failed", "INTERRUPTED"), ("failed", "INTERRUPTED")]


async def test_a_batch_that_was_agreed_to_is_listed_by_its_numbers(bench: Bench) -> None:
    batch = await propose(bench)
    journal = bench.account.journal
    assert [one.id for one in await journal.list_operations()] == [batch.id]
    await bench.execute(batch)
    listed = await journal.list_operations()
    assert {one.id for one in listed} == {item.id for item in await items(bench, batch)}
    assert await journal.count(Filter(states=(State.DONE,))) == 3
    assert (await journal.open_counts(bench.account.id)).waiting == 0


@pytest.mark.parametrize("permanent", [False, True])
async def test_several_are_released_under_one_yes(sim: Simulator, permanent: bool) -> None:
    async with open_bench(sim, allow_permanent_delete=True) as bench:
        mine = await two_owned(bench)
        wishes = [
            Wish(Request(number_id=mine[0].id, permanent=permanent)),
            Wish(Request(permanent=permanent), mine[1].e164),
        ]
        batch = await SEVERAL_RELEASE.propose(bench.account, "local", wishes)
        assert (batch.action, batch.request.permanent) == (Action.RELEASE_SEVERAL, permanent)
        await bench.execute(batch)
        assert await ended(bench, batch) == [DONE, DONE]
        left = {number.id for number in sim.owned.values() if number.status == "active"}
        assert not left & {number.id for number in mine}
        assert (await SEVERAL_RELEASE.propose(bench.account, "local", wishes)).id == batch.id


@pytest.mark.promise(9)
async def test_a_protected_number_keeps_all_of_a_batch_from_being_released(sim: Simulator) -> None:
    async with open_bench(sim, protected_numbers=(OTHER_MOBILES[7],)) as bench:
        first, second = await two_owned(bench)
        wishes = [Wish(Request(), first.e164), Wish(Request(), second.e164)]
        await refused(SEVERAL_RELEASE.propose(bench.account, "local", wishes), "PROTECTED_NUMBER", second.e164)


async def test_several_protected_numbers_are_changed_under_one_yes(bench: Bench) -> None:
    first, second = await two_owned(bench)
    wishes = [
        Wish(Request(number_id=first.id, allow_inbound=False)),
        Wish(Request(number_id=second.id, allow_outbound=False)),
    ]
    batch = await SEVERAL_CHANGE.propose(bench.account, "local", wishes)
    await bench.execute(batch)
    assert await ended(bench, batch) == [DONE, DONE]
    now = [bench.sim.owned[number.id] for number in (first, second)]
    assert (now[0].allow_inbound, now[1].allow_outbound) == (False, False)


async def test_each_number_gets_its_own_settings(bench: Bench) -> None:
    one, other = (endpoint.id for endpoint in (await bench.account.client.list_endpoints()).items[:2])
    wishes = [wish(THREE[0], endpoint_id=one), wish(THREE[1], endpoint_id=other)]
    batch = await SEVERAL_PURCHASE.propose(bench.account, "local", wishes)
    await bench.execute(batch)
    routed = {number.e164: number.endpoint_id for number in bench.sim.owned.values()}
    assert (routed[THREE[0]], routed[THREE[1]]) == (one, other)
    assert [item.not_applied for item in await items(bench, batch)] == [(), ()]


async def test_a_question_about_one_of_them_ends_with_the_yes_to_all(bench: Bench) -> None:
    batch = await propose(bench)
    single = await bench.propose(THREE[1])
    await bench.execute(batch)
    assert (await bench.stored(single)).state is State.CANCELLED
    assert charged(bench.sim) == THREE


async def test_one_that_is_under_way_elsewhere_fails_the_whole_yes(sim: Simulator) -> None:
    async with open_bench(sim, way=on_nth(sim, "POST", 1, lose)) as bench:
        batch = await propose(bench)
        single = await bench.propose(THREE[1])
        assert (await bench.execute(single)).state is State.UNKNOWN
        failed = await bench.execute(batch)
        assert (failed.state, failed.error_code, await items(bench, batch)) == (State.FAILED, "NUMBER_BUSY", ())
        assert spoken(THREE[1]) in failed.message
        assert charged(sim) == [THREE[1]]


async def test_two_batches_that_share_a_number_charge_it_once(bench: Bench) -> None:
    batch = await propose(bench, THREE)
    other = await propose(bench, [THREE[2], OTHER_MOBILES[5]], principal="other")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(execute, bench.account, batch.id, YES)
        tasks.start_soon(execute, bench.account, other.id, YES)
    assert len(charged(bench.sim)) == len(set(charged(bench.sim)))
    stored = [await bench.stored(each) for each in (batch, other)]
    agreed: Sequence[Operation] = [each for each in stored if each.state is State.DONE]
    assert {item.e164 for each in agreed for item in each.items} >= set(charged(bench.sim))


async def test_a_claim_that_fails_in_the_middle_stores_nothing_of_it(bench: Bench) -> None:
    batch = await propose(bench)

    def claim(current: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        del books
        agreed, numbers = moves.agree(current, now, reserved_cents=[700] * 3)
        return agreed, (*numbers, numbers[0])  # which no journal takes

    with pytest.raises(KrosError):
        await bench.account.journal.claim(batch.id, claim, committed_since=0)
    assert (await bench.stored(batch), await items(bench, batch)) == (batch, ())


async def test_a_claim_of_many_takes_few_statements_as_the_database_may_be_far_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, count = bench.account.journal, len(OTHER_MOBILES)
    batch = await propose(bench, OTHER_MOBILES)
    assert isinstance(journal, StoredJournal)
    transact, statements = journal._transact, 0  # noqa: SLF001 - where every statement passes

    async def counted(work: Callable[[], Work[Any]]) -> Any:
        def each() -> Work[Any]:
            nonlocal statements
            inner, rows = work(), None
            while True:
                try:
                    statement = inner.send(rows)  # type: ignore[arg-type]  # a generator is begun with None
                except StopIteration as end:
                    return end.value
                statements += what_happened(statement) is None
                rows = yield statement

        return await transact(each)

    def claim(current: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        del books
        return moves.agree(current, now, reserved_cents=[700] * count)

    monkeypatch.setattr(journal, "_transact", counted)
    await journal.claim(batch.id, claim, committed_since=0)
    assert statements <= count + 25


async def test_three_noes_to_a_number_count_whether_it_was_asked_about_alone_or_not(bench: Bench) -> None:
    for e164s in ([THREE[0]], THREE[:2], [THREE[2], THREE[0]]):
        asked = await (propose(bench, e164s) if len(e164s) > 1 else bench.propose(e164s[0]))
        await bench.account.change(asked.id, lambda current, _: replace(current, channel=Channel.PROMPT))
        no = partial(moves.end, state=State.DECLINED, reason="The person said no.")
        await bench.account.change(asked.id, no, by=events.PERSON)
    await refused(propose(bench), "ASKED_TOO_OFTEN", THREE[0])
    await refused(bench.propose(THREE[0]), "ASKED_TOO_OFTEN", THREE[0])
    await propose(bench, THREE[1:])


async def test_it_is_handed_over_and_put_back_like_every_operation(sim: Simulator) -> None:
    async with open_bench(sim, way=on_nth(sim, "POST", 2, lose)) as bench:
        journal = bench.account.journal
        batch, waiting = await propose(bench), await propose(bench, OTHER_MOBILES[5:7])
        await bench.execute(batch)
        assert await journal.adopt(bench.account.id, "new", environment="test", by=events.SERVER, words="") == 5
        assert {row.account for row in (await bench.stored(batch), *await items(bench, batch))} == {"new"}
        await journal.mark_restored()
        assert (await bench.stored(waiting)).state is State.EXPIRED
        assert [state for state, _ in await ended(bench, batch)] == ["done", "unknown", "failed"]


async def test_the_books_are_compared_with_kros_by_numbers_and_not_by_batches(bench: Bench) -> None:
    agreed, refused_row = await propose(bench), await propose(bench, OTHER_MOBILES[4:6])
    await bench.execute(agreed)
    no_more = bench.account.settings.model_copy(update={"daily_budget_cents": 0})
    await Bench(bench.sim, replace(bench.account, settings=no_more), bench.clock).execute(refused_row)
    approved = await propose(bench, OTHER_MOBILES[6:8])
    await bench.account.change(approved.id, partial(moves.confirm, by="Ann at a terminal"))
    rows = every(bench.account.journal, Filter(states=STATES))
    history = await read_history(rows, account=bench.account.id, environment="test")
    assert set(history.numbers) == set(THREE)
    assert [one.id for one in history.open] == [approved.id]
    owned = await read_all_owned(bench.account.client)
    found = compare(history, AccountReading(owned.numbers, complete=True, now=await bench.account.journal.now()))
    assert {(one.kind, one.operation_id) for one in found if one.operation_id} == {
        ("approved_not_executed", approved.id)
    }
