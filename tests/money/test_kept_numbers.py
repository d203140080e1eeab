"""What the journal keeps of owned numbers: what it may say, and what makes it forget."""

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from bench import Bench, open_bench, open_journal, simulator

from kros_mcp.errors import JournalError, KrosError, RefusedError
from kros_mcp.krosai import NOT_STATED, OwnedList, PhoneNumber, read_all_owned, read_owned_once
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.events import SERVER
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.kept import PRICE_GOOD_SECONDS, Listing, Sight, price_of
from kros_mcp.operations.model import State
from kros_mcp.operations.price_reader import PriceReader
from kros_mcp.operations.run_rate import read_run_rate, read_run_rate_in_time
from kros_mcp.simulator import SimNumber
from tests.support.clock import Clock
from tests.support.missing_table import without_the_table

pytestmark = pytest.mark.anyio

ACCOUNT = "account"
CAP = 10**6
NUMBER = PhoneNumber(
    id="pn_1",
    e164="+2348035550101",
    country="NG",
    type="mobile",
    status="active",
    endpoint_id="ep_1",
    allow_inbound=True,
    allow_outbound=False,
    created_at="2026-05-01T00:00:00Z",
)
PRICED = replace(NUMBER, monthly_cents=300, setup_cents=50, currency="NGN")


@pytest.fixture
async def journal(journal_url: str, clock: Clock) -> AsyncIterator[Journal]:
    async with open_journal(journal_url, clock) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


def listing(at: float, *numbers: PhoneNumber, complete: bool = True) -> Listing:
    return Listing(OwnedList(numbers, complete=complete), at)


async def price(journal: Journal, clock: Clock, listed: PhoneNumber) -> int | str | None:
    """What a list that shows this is worth with what is kept: a price, or that it has to be read."""
    kept = (await journal.kept(ACCOUNT)).numbers.get(listed.id)
    found = price_of(listed, kept, listed_at=clock.now, now=clock.now)
    return found.cents if found.read else "to be read"


@pytest.mark.parametrize("endpoint_id", ["ep_1", None, NOT_STATED])
async def test_where_calls_go_is_kept_be_it_nowhere_or_not_stated(
    journal: Journal, clock: Clock, endpoint_id: str | None
) -> None:
    number = replace(NUMBER, endpoint_id=endpoint_id)
    await journal.keep(ACCOUNT, [], listing(clock.now, number))
    assert [one.number for one in (await journal.kept(ACCOUNT)).numbers.values()] == [number]


async def test_what_was_read_is_kept_whole_and_for_its_account_alone(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)], listing(clock.now, NUMBER))
    kept = await journal.kept(ACCOUNT)
    [one] = kept.numbers.values()
    assert (one.number, one.place, one.priced_at) == (PRICED, 0, clock.now)
    assert (kept.listed_at, kept.complete) == (clock.now, True)
    assert (await journal.kept("another")).numbers == {}


async def test_a_price_is_good_for_a_week_and_one_in_a_list_wins(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)])
    clock.now += PRICE_GOOD_SECONDS - 1
    assert await price(journal, clock, NUMBER) == 300
    assert await price(journal, clock, replace(NUMBER, monthly_cents=400)) == 400
    await journal.keep(ACCOUNT, [], listing(clock.now, NUMBER))
    assert await price(journal, clock, NUMBER) == 300
    clock.now += 1
    assert await price(journal, clock, NUMBER) == "to be read"


async def test_a_price_that_krosai_does_not_state_is_known_to_be_missing(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [Sight(NUMBER, clock.now, alone=True)])
    assert await price(journal, clock, NUMBER) is None
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now + 1, alone=True)])
    clock.now += 2
    assert await price(journal, clock, NUMBER) == 300


@pytest.mark.parametrize(
    "now",
    [
        replace(NUMBER, e164="+2348035550102"),
        replace(NUMBER, created_at="2026-06-01T00:00:00Z"),
        replace(NUMBER, currency="USD"),
    ],
    ids=["id of another number", "id used again", "another currency"],
)
async def test_a_price_of_what_is_not_the_same_record_any_more_counts_for_nothing(
    journal: Journal, clock: Clock, now: PhoneNumber
) -> None:
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)])
    assert await price(journal, clock, now) == "to be read"
    await journal.keep(ACCOUNT, [], listing(clock.now + 1, now))
    clock.now += 2
    assert await price(journal, clock, now) == "to be read"
    assert await price(journal, clock, NUMBER) == "to be read"


async def test_a_record_that_had_ended_and_lives_again_has_no_price_of_before(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)])
    await journal.keep(ACCOUNT, [], listing(clock.now + 1, replace(NUMBER, status="released")))
    clock.now += 2
    assert await price(journal, clock, NUMBER) == "to be read"
    assert (await journal.kept(ACCOUNT)).likely_owned(NUMBER.e164, clock.now) == ""


async def test_two_records_of_one_number_have_a_price_each(journal: Journal, clock: Clock) -> None:
    second = replace(PRICED, id="pn_2", monthly_cents=900)
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True), Sight(second, clock.now, alone=True)])
    assert await price(journal, clock, NUMBER) == 300
    assert await price(journal, clock, replace(NUMBER, id="pn_2")) == 900


async def test_a_list_drops_what_it_does_not_show_but_not_what_was_just_bought(journal: Journal, clock: Clock) -> None:
    new = replace(PRICED, id="pn_new", e164="+2348035550103")
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)], listing(clock.now, NUMBER))
    clock.now += 2 * 3_600
    await journal.keep(ACCOUNT, [Sight(new, clock.now, alone=True)])
    await journal.keep(ACCOUNT, [], listing(clock.now + 1, complete=False))
    assert set((await journal.kept(ACCOUNT)).numbers) == {"pn_1", "pn_new"}
    await journal.keep(ACCOUNT, [], listing(clock.now + 2))
    assert set((await journal.kept(ACCOUNT)).numbers) == {"pn_new"}
    await journal.keep(ACCOUNT, [], listing(clock.now + 2 * 3_600))
    assert (await journal.kept(ACCOUNT)).numbers == {}


async def test_of_two_lists_the_later_one_stays_whichever_comes_first(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [], listing(clock.now + 2, NUMBER))
    await journal.keep(ACCOUNT, [], listing(clock.now + 1))
    kept = await journal.kept(ACCOUNT)
    assert (set(kept.numbers), kept.listed_at) == ({"pn_1"}, clock.now + 2)


async def test_what_was_read_before_an_act_of_ours_comes_back_no_more(journal: Journal, clock: Clock) -> None:
    before = clock.now
    await journal.keep(ACCOUNT, [Sight(PRICED, before, alone=True)], listing(before, NUMBER))
    assert (await journal.kept(ACCOUNT)).list_to_show(clock.now) is not None
    clock.now += 1
    await journal.number_changed(ACCOUNT, NUMBER.e164)
    await journal.keep(ACCOUNT, [Sight(PRICED, before, alone=True)], listing(before + 0.5, NUMBER))
    clock.now += 1
    assert (await journal.kept(ACCOUNT)).list_to_show(clock.now) is None
    assert await price(journal, clock, NUMBER) == "to be read"
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)], listing(clock.now, NUMBER))
    assert (await journal.kept(ACCOUNT)).list_to_show(clock.now) is not None
    assert await price(journal, clock, NUMBER) == 300
    clock.now += 60
    assert (await journal.kept(ACCOUNT)).list_to_show(clock.now) is None


async def test_one_process_at_a_time_reads_for_all(journal: Journal, clock: Clock) -> None:
    assert await journal.take_turn(ACCOUNT, "one", seconds=30)
    assert not await journal.take_turn(ACCOUNT, "other", seconds=30)
    assert await journal.take_turn("another", "other", seconds=30)
    assert await journal.take_turn(ACCOUNT, "one", seconds=30)
    clock.now += 30
    assert await journal.take_turn(ACCOUNT, "other", seconds=30)
    clock.now -= 3_600  # a clock that was set back
    assert await journal.take_turn(ACCOUNT, "one", seconds=30)


async def test_a_restore_and_an_adoption_forget_what_was_kept(journal: Journal, clock: Clock) -> None:
    await journal.keep(ACCOUNT, [Sight(PRICED, clock.now, alone=True)], listing(clock.now, NUMBER))
    await journal.mark_restored()
    kept = await journal.kept(ACCOUNT)
    assert (kept.numbers, kept.listed_at) == ({}, None)


@pytest.fixture
async def bench(journal_url: str, clock: Clock) -> AsyncIterator[Bench]:
    """A desk under a monthly cap, whose clock goes on with every look at it."""

    def tick() -> None:
        clock.now += 0.001

    clock.on_reading = tick
    sim = simulator(now=clock)
    async with open_bench(sim, clock=clock, journal_url=journal_url, monthly_commitment_cents=CAP) as opened:
        yield opened


async def known(bench: Bench) -> set[str]:
    """The ids of the numbers whose price the journal holds."""
    await PriceReader(bench.account).write_down()
    kept = await bench.account.journal.kept(bench.account.id)
    return {number_id for number_id, each in kept.numbers.items() if each.priced_at is not None}


def own(bench: Bench, count: int) -> list[SimNumber]:
    items = [item for item in bench.sim.inventory.values() if item.type == "local"][:count]
    return [bench.sim.own(item, "active") for item in items]


def read_alone(bench: Bench) -> int:
    return sum(seen.method == "GET" and "/phone-numbers/" in seen.path for seen in bench.sim.requests)


async def test_an_act_drops_what_is_kept_of_its_number_as_it_is_settled(bench: Bench) -> None:
    first, second = own(bench, 2)
    await read_run_rate(bench.account)
    assert {first.id, second.id} <= await known(bench)
    released = await bench.execute(await bench.propose_release(first))
    assert released.state is State.DONE
    kept = await bench.account.journal.kept(bench.account.id)
    assert kept.numbers[first.id].priced_at is None
    assert kept.numbers[second.id].priced_at is not None
    assert kept.list_to_show(bench.clock.now) is None


async def test_the_price_of_a_purchase_is_kept_as_it_is_read_back(bench: Bench) -> None:
    bought = await bench.buy()
    assert bought.number is not None
    assert bought.number.id in await known(bench)
    so_far = read_alone(bench)
    rate = await read_run_rate(bench.account)
    assert dict(rate.prices)[bought.e164] == bought.quote.monthly_cents
    assert read_alone(bench) == so_far


async def test_a_claim_reads_a_few_prices_by_itself_and_refuses_where_more_are_missing(bench: Bench) -> None:
    operation = await bench.propose()
    own(bench, 7)
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "COMMITMENT_UNKNOWN", "no")
    assert "the prices of 6 of 8 owned numbers are known; the others are being read" in failed.message
    assert bench.posts() == []
    assert (await bench.buy()).state is State.DONE  # the next call reads what was still missing


async def test_a_price_that_is_too_old_is_read_again_before_a_purchase_counts_it(bench: Bench) -> None:
    [number] = own(bench, 1)
    await read_run_rate(bench.account)
    await known(bench)
    number.monthly_cost_cents = CAP
    assert (await bench.propose()).state is State.PROPOSED
    bench.clock.now += PRICE_GOOD_SECONDS
    with pytest.raises(RefusedError) as refused:
        await bench.propose()
    assert refused.value.code == "OVER_MONTHLY_COMMITMENT"


async def test_a_price_that_krosai_did_not_state_is_asked_for_again_a_while_later(bench: Bench) -> None:
    bench.sim.faults.switch_on("missing_prices", times=None, on=["get"])
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            await bench.propose()
        assert "KrosAI does not state the monthly price of 1 owned number" in refused.value.message
    assert read_alone(bench) == 1
    bench.sim.faults.clear()
    bench.clock.now += 3_600
    assert (await bench.propose()).state is State.PROPOSED


async def test_a_number_that_is_kept_as_owned_is_looked_at_by_itself_before_that_is_said(bench: Bench) -> None:
    [number] = own(bench, 1)
    await read_run_rate_in_time(bench.account, seconds=5)
    so_far = len(bench.sim.requests)
    with pytest.raises(KrosError) as refused:
        await bench.propose(number.e164)
    assert refused.value.code == "ALREADY_OWNED"
    assert [seen.path.rpartition("/")[2] for seen in bench.sim.requests[so_far:]] == [number.id]
    bench.sim.release(number, "released")
    bench.sim.offer_again(number)
    request = replace((await bench.propose()).request, inventory_id="", country="NG", type="local")
    proposed = await PURCHASE.propose(bench.account, "local", request, number.e164)
    assert proposed.state is State.PROPOSED


async def test_a_journal_that_keeps_nothing_stops_no_purchase(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise JournalError("The journal's disk is full; nothing can be spent until there is room.")

    monkeypatch.setattr(type(bench.account.journal), "keep", full)
    own(bench, 3)
    assert (await bench.buy()).state is State.DONE
    await PriceReader(bench.account).write_down()
    assert (await bench.account.journal.kept(bench.account.id)).numbers.keys() == set()
    so_far = read_alone(bench)
    assert (await read_run_rate(bench.account)).unread == ()
    assert read_alone(bench) == so_far  # what this process has read serves it all the same


async def test_a_server_that_only_reads_writes_nothing_down(bench: Bench) -> None:
    own(bench, 2)
    reading = Bench(
        bench.sim,
        replace(bench.account, settings=bench.account.settings.model_copy(update={"read_only": True})),
        bench.clock,
    )
    await read_run_rate(reading.account)
    assert await known(reading) == set()
    so_far = read_alone(bench)
    await read_run_rate(reading.account)
    assert read_alone(bench) == so_far


async def test_what_one_process_has_read_serves_another(bench: Bench, journal_url: str) -> None:
    own(bench, 3)
    await read_run_rate(bench.account)
    await known(bench)
    async with open_bench(bench.sim, clock=bench.clock, journal_url=journal_url, monthly_commitment_cents=CAP) as other:
        so_far = read_alone(bench)
        assert (await read_run_rate(other.account)).unread == ()
    assert read_alone(bench) == so_far


async def test_an_adopted_account_begins_anew(bench: Bench) -> None:
    await bench.buy()
    assert await known(bench)
    journal, former = bench.account.journal, bench.account.id
    await journal.adopt(former, "successor", environment=bench.account.settings.environment, by=SERVER, words="")
    for account in (former, "successor"):
        assert (await journal.kept(account)).numbers == {}


async def test_where_the_background_rests_no_time_is_promised(bench: Bench) -> None:
    own(bench, 8)
    bench.account.client.tally.per_day = 10
    with pytest.raises(RefusedError) as refused:
        await bench.propose()
    assert refused.value.code == "COMMITMENT_UNKNOWN"
    assert "the prices of 5 of 9 owned numbers are known; the others are not read" in refused.value.message


async def test_the_prices_that_somebody_waits_for_are_read_first(bench: Bench) -> None:
    owned = own(bench, 9)
    bench.account.kept.ask(missing=[owned[-1].id])
    bench.account.kept.saw_list(await read_all_owned(bench.account.client), bench.clock.now)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(PriceReader(bench.account).look)
            while read_alone(bench) < 1:
                await anyio.lowlevel.checkpoint()
            bench.account.kept.ask(missing=[owned[-3].id])  # while it reads
            while read_alone(bench) < 2:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    paths = [seen.path for seen in bench.sim.requests if "/phone-numbers/" in seen.path]
    assert [path.rsplit("/", 1)[1] for path in paths[:2]] == [owned[-1].id, owned[-3].id]


async def test_what_a_busy_journal_did_not_take_is_given_to_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    [number] = own(bench, 1)
    with monkeypatch.context() as busy:

        async def locked(*_: object) -> None:
            raise JournalError("The journal is locked by another process; nothing can be spent until it lets go.")

        busy.setattr(type(bench.account.journal), "keep", locked)
        await read_run_rate(bench.account)
        await PriceReader(bench.account).write_down()
    assert number.id in await known(bench)


@pytest.mark.parametrize("table", ["owned_lists", "owned_numbers"])
async def test_nothing_is_sent_where_what_is_kept_could_not_be_dropped(
    journal_url: str, clock: Clock, table: str
) -> None:
    """As where the tables' owner has brought it up to date, and the server is another user, who may not use them."""
    async with open_bench(simulator(now=clock), clock=clock, journal_url=journal_url) as bench:
        operation = await bench.propose()
        with without_the_table(journal_url, table):
            with pytest.raises(JournalError):
                await bench.execute(operation)
            assert bench.posts() == []
        assert (await bench.execute(operation)).state is State.DONE


async def test_a_list_that_contradicts_its_own_total_passes_the_cap_once_two_readings_agree(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = simulator(now=clock)
    monkeypatch.setattr("kros_mcp.krosai.envelope.find_total", lambda _: ("total", 50))
    async with open_bench(sim, clock=clock, monthly_commitment_cents=100_000) as bench:
        once = Listing(await read_owned_once(bench.account.client), clock())
        assert not once.owned.complete
        before = len(sim.requests)
        assert (await read_run_rate(bench.account, once)).complete
        listed = [seen for seen in sim.requests[before:] if seen.query.get("action") == "assigned"]
        assert [seen.query["offset"] for seen in listed].count("0") == 1


@pytest.mark.parametrize("read_again", [True, False])
async def test_a_price_in_another_currency_than_the_label_is_not_added(
    journal_url: str, clock: Clock, read_again: bool
) -> None:
    async with open_bench(
        simulator(now=clock), clock=clock, journal_url=journal_url, monthly_commitment_cents=CAP, currency="NGN"
    ) as bench:
        await read_run_rate(bench.account)
        clock.now += 1
        at = await bench.account.journal.now()
        for number in bench.sim.owned.values():
            dollars = replace(NUMBER, id=number.id, e164=number.e164, created_at=None, monthly_cents=1, currency="USD")
            bench.account.kept.saw([dollars], at, alone=True)
        if read_again:
            await PriceReader(bench.account).write_down()
        with pytest.raises(RefusedError) as refused:
            await bench.propose()
        assert (refused.value.code, "USD" in refused.value.message) == ("COMMITMENT_UNKNOWN", False)
        assert "another currency than NGN" in refused.value.message
