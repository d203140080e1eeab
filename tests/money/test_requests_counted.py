"""Every request to KrosAI is counted, as the simulator counts them: over processes, restarts, faults and stops."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from bench import open_journal

from kros_mcp.errors import KrosError, RequestsUsedUpError
from kros_mcp.journals.clock import Machine
from kros_mcp.journals.request_counts import KEPT_HOURS
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.krosai import HourCount, Inventory, Kind, Purpose, Tally, Window, asked_for, hour_of, within
from kros_mcp.operations import recovery, tally_keeper
from kros_mcp.operations.account import Account, open_krosai
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.execution import Yes, execute
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Operation, Request, State
from kros_mcp.operations.tally_keeper import TallyKeeper
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import ReceivedRequest, Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.clock import Clock
from tests.support.missing_table import without_the_table
from tests.support.person import Person, accept
from tests.support.talk import open_talk, settings_for
from tests.support.upstream import Send, Tampered, item_of

pytestmark = pytest.mark.anyio

HOUR = 3_600.0
SOME: dict[tuple[Kind, Purpose], int] = {(Kind.OWNED, Purpose.READ): 3, (Kind.ORDER, Purpose.ACT): 1}


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(journal_url: str, clock: Clock) -> AsyncIterator[Journal]:
    async with open_journal(journal_url, clock) as opened:
        yield opened


@asynccontextmanager
async def open_desk(sim: Simulator, journal: Journal, **chosen: Any) -> AsyncIterator[Runtime]:
    async with open_runtime(settings_for(sim, **chosen), transport=transport(sim), journal=journal) as runtime:
        yield runtime


def key_of(sim: Simulator, journal: Journal) -> str:
    return settings_for(sim).request_key(journal.secret)


async def written(sim: Simulator, journal: Journal) -> Window:
    return await journal.requests(key_of(sim, journal))


def kind_of(seen: ReceivedRequest) -> Kind:
    """What the simulator was asked, by what arrived there."""
    if seen.method != "GET":
        return {"POST": Kind.ORDER, "PATCH": Kind.CHANGE, "DELETE": Kind.RELEASE}[seen.method]
    if "/endpoints" in seen.path:
        return Kind.ENDPOINTS
    if not seen.path.endswith("/phone-numbers"):
        return Kind.NUMBER
    return Kind.AVAILABLE if seen.query["action"] == "available" else Kind.OWNED


def arrived(sim: Simulator) -> Counter[str]:
    return Counter(str(kind_of(seen)) for seen in sim.requests)


def by_kind(window: Window) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for each in window.counts:
        kinds[each.kind] += each.requests
    return kinds


def by_purpose(window: Window) -> Counter[str]:
    purposes: Counter[str] = Counter()
    for each in window.counts:
        purposes[each.purpose] += each.requests
    return purposes


async def an_unknown_purchase(sim: Simulator, journal: Journal) -> Operation:
    """Leave a purchase that went through and whose answer was lost, as a process that crashed then would."""
    settings = settings_for(sim)
    item = item_of(sim)
    async with open_krosai(settings, transport(sim)) as client:
        account = Account(settings, journal, client, Inventory(client), settings.account(journal.secret))
        wish = Request(country=item.country, type=item.type)
        operation = await PURCHASE.propose(account, "local", wish, item.e164)
        sim.faults.switch_on("lost_reply", times=1, on=["purchase"])
        operation = await execute(account, operation.id, Yes(Channel.PROMPT))
    assert operation.state is State.UNKNOWN
    return operation


async def settled(journal: Journal, operation: Operation) -> Operation:
    with anyio.fail_after(10):
        while True:
            found = await journal.get(operation.id)
            assert found is not None
            if found.state is not State.UNKNOWN:
                return found
            await anyio.lowlevel.checkpoint()


async def test_after_a_stop_the_journal_has_what_arrived_at_krosai(sim: Simulator, journal: Journal) -> None:
    async with open_talk(sim, "auto", Person(accept("buy")), journal=journal) as talk:
        await talk.call("search_phone_numbers", country="NG")
        await talk.call("list_endpoints")
        await talk.call("get_spending")
        read = len(sim.requests)
        bought = await talk.buy(item_of(sim))
        assert bought.outcome == "done"
        endpoint = next(iter(sim.endpoints))
        await talk.call("configure_phone_number", number_id=bought["number"]["number_id"], endpoint_id=endpoint)
    seen = await written(sim, journal)
    assert by_kind(seen) == arrived(sim)
    assert by_kind(seen).keys() == {str(kind) for kind in Kind} - {Kind.RELEASE}
    assert by_purpose(seen) == {"read": read, "act": len(sim.requests) - read}


async def test_two_processes_and_a_restart_add_up(sim: Simulator, journal_url: str, clock: Clock) -> None:
    async with open_journal(journal_url, clock) as one, open_journal(journal_url, clock) as other:
        for organization in (None, sim.organization_id):
            async with open_desk(sim, one) as first, open_desk(sim, other, organization_id=organization) as second:
                await first.account.client.list_owned()
                await second.account.client.list_endpoints()
                with pytest.raises(KrosError):
                    await second.account.client.get_number("nothing")
        seen = await written(sim, one)
    assert seen.total == 6
    assert by_kind(seen) == arrived(sim)


async def test_what_is_repeated_refused_lost_or_cancelled_counts_and_what_never_left_does_not(
    sim: Simulator, journal: Journal
) -> None:
    sim.faults.switch_on("rate_limited", times=2, on=["list_owned"], retry_after="0.01")
    sim.faults.switch_on("lost_reply", times=1, on=["list_endpoints"])
    async with open_desk(sim, journal) as desk:
        client = desk.account.client
        await client.list_owned()
        await client.list_endpoints()
        sim.faults.switch_on("hold", times=1, on=["search"])
        with anyio.move_on_after(0.05) as gave_up:
            await client.list_available(country="NG")
        assert gave_up.cancelled_caught
        sim.faults.let_go()
    async with open_runtime(settings_for(sim, base_url="http://127.0.0.1:9/v1"), journal=journal) as nowhere:
        with pytest.raises(KrosError), within(0.5):
            await nowhere.account.client.list_owned()
        assert nowhere.account.client.tally.used == 0
    seen = await written(sim, journal)
    assert by_kind(seen) == arrived(sim) == {"owned": 3, "endpoints": 2, "available": 1}


async def test_what_the_attendant_looks_for_is_background_and_what_somebody_asks_for_is_of_the_act(
    sim: Simulator, journal: Journal
) -> None:
    unknown = await an_unknown_purchase(sim, journal)
    before = len(sim.requests)
    async with open_desk(sim, journal):
        await settled(journal, unknown)
    purposes = by_purpose(await written(sim, journal))
    assert purposes.total() == len(sim.requests) - before
    assert purposes["background"] == 2  # both pages of what is owned; what then remains to be set is of the act


async def test_that_krosai_may_not_be_asked_is_no_evidence_of_anything(
    sim: Simulator, journal: Journal, clock: Clock
) -> None:
    """Not even where what looks for an outcome has been taken for mere reading."""
    settings = settings_for(sim, requests_per_day=100)
    item = item_of(sim)

    async def use_up(request: httpx.Request, send: Send) -> httpx.Response:
        client.tally.learned({}, Window(clock.now, (HourCount(hour_of(clock.now), "owned", "read", 95),)))
        return await send(request)

    async with open_krosai(settings, Tampered(sim, "POST", use_up)) as client:
        account = Account(settings, journal, client, Inventory(client), settings.account(journal.secret))
        operation = await PURCHASE.propose(account, "local", Request(country=item.country, type=item.type), item.e164)
        sim.faults.switch_on("commits_then_refuses", times=1, on=["purchase"])
        operation = await execute(account, operation.id, Yes(Channel.PROMPT))
        assert (operation.state, operation.charged) == (State.UNKNOWN, "unknown")
        with pytest.raises(RequestsUsedUpError):
            await recovery.reconcile(account, operation)
    found = await journal.get(operation.id)
    assert found is not None
    assert (found.state, found.charged) == (State.UNKNOWN, "unknown")


@pytest.mark.parametrize("used", [80, 100, 500])
async def test_what_was_sent_is_found_out_however_little_is_left(sim: Simulator, journal: Journal, used: int) -> None:
    unknown = await an_unknown_purchase(sim, journal)
    await journal.add_requests(key_of(sim, journal), {(Kind.OWNED, Purpose.READ): used})
    async with open_desk(sim, journal, requests_per_day=100):
        assert (await settled(journal, unknown)).state is State.DONE
    assert len(sim.charges) == 1


async def test_where_few_are_left_an_unknown_outcome_is_looked_for_once_an_hour(
    sim: Simulator, journal: Journal, clock: Clock
) -> None:
    unknown = await an_unknown_purchase(sim, journal)
    hidden = sim.owned.popitem()
    await journal.add_requests(key_of(sim, journal), {(Kind.OWNED, Purpose.READ): 80})
    settings = settings_for(sim, requests_per_day=100)
    async with open_krosai(settings, transport(sim)) as client:
        await TallyKeeper(client.tally, journal, settings).look()
        account = Account(settings, journal, client, Inventory(client), settings.account(journal.secret))

        async def looks() -> bool:
            before = len(sim.requests)
            current = await journal.get(unknown.id)
            assert current is not None
            nonlocal state
            state = (await recovery.reconcile(account, current)).state
            return len(sim.requests) > before

        state = State.UNKNOWN
        assert await looks()
        clock.now += HOUR - 1
        assert not await looks()
        clock.now += 1
        assert await looks()
        assert state is State.UNKNOWN
        sim.owned.update([hidden])
        client.tally.learned({}, Window(clock.now))  # as after a day
        clock.now += 60
        assert await looks()
        assert state is State.DONE


async def test_where_few_are_left_a_watched_outcome_is_looked_at_an_hour_late(
    sim: Simulator, journal: Journal, clock: Clock
) -> None:
    sim.faults.switch_on("never_listed", times=1, on=["purchase"], seconds=None)
    async with open_talk(sim, "auto", Person(accept("buy")), journal=journal) as talk:
        told = await talk.buy(item_of(sim))
    watched = await journal.get(told["operation_id"])
    assert watched is not None
    assert watched.look_at is not None
    settings = settings_for(sim, requests_per_day=100)
    async with open_krosai(settings, transport(sim)) as client:
        client.tally.learned({}, Window(clock.now, (HourCount(hour_of(clock.now), "owned", "read", 80),)))
        account = Account(settings, journal, client, Inventory(client), settings.account(journal.secret))
        seen = len(sim.requests)
        clock.now = watched.look_at + HOUR - 1
        await recovery.watch(account, watched)
        assert len(sim.requests) == seen
        clock.now += 1
        await recovery.watch(account, watched)
        assert len(sim.requests) > seen


async def test_counts_are_written_every_few_seconds_or_every_twenty(
    sim: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally()
    keeper = TallyKeeper(tally, journal, settings_for(sim))
    now = 100.0
    monkeypatch.setattr(tally_keeper.anyio, "current_time", lambda: now)

    async def send(times: int) -> None:
        for _ in range(times):
            with tally.leaving(Kind.OWNED):
                pass
        await keeper.look()

    await keeper.look()
    await send(19)
    assert (await written(sim, journal)).total == 0
    await send(1)
    assert (await written(sim, journal)).total == 20
    await send(1)
    assert (await written(sim, journal)).total == 20
    now += 5
    await keeper.look()
    assert (await written(sim, journal)).total == 21


async def test_counts_of_one_key_are_another_keys_never_and_end_after_a_day(journal: Journal, clock: Clock) -> None:
    begun = clock.now
    await journal.add_requests("mine", SOME)
    await journal.add_requests("theirs", SOME)
    assert (await journal.add_requests("mine", SOME)).total == 8
    clock.now = begun + 24 * HOUR
    assert (await journal.requests("mine")).total == 8  # those of the hour in which the day begins count whole
    clock.now = begun + 25 * HOUR
    assert (await journal.requests("mine")).total == 0
    assert (await journal.add_requests("mine", SOME)).total == 4


async def test_who_writes_deletes_what_is_older_than_eight_days(journal: Journal, clock: Clock) -> None:
    begun = clock.now
    await journal.add_requests("mine", SOME)
    clock.now = begun + (KEPT_HOURS + 1) * HOUR
    await journal.add_requests("theirs", SOME)
    clock.now = begun
    assert (await journal.requests("mine")).total == 0


async def test_a_server_that_only_reads_counts_in_memory_and_heeds_the_others(sim: Simulator, journal: Journal) -> None:
    await journal.add_requests(key_of(sim, journal), {(Kind.OWNED, Purpose.READ): 85})
    async with open_desk(sim, journal, read_only=True, requests_per_day=100) as desk:
        tally = desk.account.client.tally
        for _ in range(5):
            await desk.account.client.list_owned()
        assert tally.used == 90
        with pytest.raises(RequestsUsedUpError):
            await desk.account.client.list_owned()
    assert (await written(sim, journal)).total == 85
    assert len(sim.requests) == 5


async def test_what_a_reading_server_sent_leaves_its_memory_after_a_day(
    sim: Simulator, journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(tally_keeper.anyio, "current_time", lambda: now)
    tally = Tally(100)
    keeper = TallyKeeper(tally, journal, settings_for(sim, read_only=True, requests_per_day=100))
    with tally.leaving(Kind.OWNED):
        pass
    await keeper.look()
    assert tally.used == 1
    clock.now += 25 * HOUR
    now += 5
    await keeper.look()
    assert tally.used == 0


@pytest.mark.parametrize("step", [-10 * 24 * HOUR, 10 * 24 * HOUR])
async def test_a_wall_clock_that_steps_frees_no_requests(tmp_path: Path, step: float) -> None:
    wall, boot = 1_800_000_000.0, 500.0
    machine = Machine(lambda: wall, lambda: boot, lambda: "one boot")
    url = f"sqlite:///{tmp_path}/journal.sqlite3"
    async with open_sqlite(url, machine=machine) as journal:
        await journal.add_requests("mine", SOME)
        wall += step
        assert (await journal.add_requests("mine", SOME)).total == 8
    async with open_sqlite(url, machine=machine) as journal:
        assert (await journal.requests("mine")).total == 8
        boot += 26 * HOUR
        assert (await journal.requests("mine")).total == 0


@pytest.mark.usefixtures("every_look")
async def test_a_locked_journal_is_told_once_holds_nothing_up_and_gets_its_counts_later(
    sim: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite3"
    async with open_journal(f"sqlite:///{path}", Clock()) as journal:
        tally = Tally()
        keeper = TallyKeeper(tally, journal, settings_for(sim))
        with closing(sqlite3.connect(path, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            for _ in range(6):
                for _ in range(20):
                    with tally.leaving(Kind.OWNED):
                        pass
                with anyio.fail_after(1):
                    await keeper.look()
        assert tally.used == 120
        told = [record for record in caplog.records if "in memory alone" in record.message]
        assert len(told) == 1
        await keeper.finish()
        assert (await written(sim, journal)).total == 120
        assert tally.used == 120


async def test_two_processes_share_what_is_left(sim: Simulator, journal_url: str, clock: Clock) -> None:
    settings = settings_for(sim, requests_per_day=100)
    async with open_journal(journal_url, clock) as one, open_journal(journal_url, clock) as other:
        tallies = Tally(100), Tally(100)
        keepers = [TallyKeeper(tally, at, settings) for tally, at in zip(tallies, (one, other), strict=True)]
        for tally, keeper, some in zip(tallies, keepers, (49, 40), strict=True):
            for _ in range(some):
                with tally.leaving(Kind.OWNED):
                    pass
            await keeper.look()
        assert [tally.used for tally in tallies] == [49, 89]
        with tallies[1].leaving(Kind.OWNED):
            pass
        with pytest.raises(RequestsUsedUpError), tallies[1].leaving(Kind.OWNED):
            pass
        await keepers[1].finish()
        await TallyKeeper(tallies[0], one, settings).look()
        with pytest.raises(RequestsUsedUpError), tallies[0].leaving(Kind.OWNED):
            pass


@pytest.mark.usefixtures("every_look")
async def test_whatever_a_journal_fails_with_ends_nothing(
    sim: Simulator, journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> Window:
        raise RuntimeError("it broke")

    monkeypatch.setattr(journal, "add_requests", broken)
    tally = Tally()
    keeper = TallyKeeper(tally, journal, settings_for(sim))
    for _ in range(5):
        for _ in range(20):
            with tally.leaving(Kind.OWNED):
                pass
        await keeper.look()
    await keeper.finish()
    assert tally.used == 100
    clock.now += 25 * HOUR
    await keeper.look()
    assert tally.used == 0  # a day is a day, though the journal still takes nothing
    assert sum("in memory alone" in record.message for record in caplog.records) == 1


@pytest.fixture
def every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look be five seconds after the one before."""
    times = count(100, 5)
    monkeypatch.setattr(tally_keeper.anyio, "current_time", lambda: float(next(times)))


@pytest.mark.parametrize(
    ("counts", "more", "least", "hours"),
    [
        ({}, 0, 1, 0.0),
        ({100: 5}, 0, 6, 0.0),
        ({100: 5}, 0, 5, 0.5),
        ({100: 1, 101: 4}, 0, 3, 1.5),
        ({100: 5}, 9, 5, 25.0),
    ],
)
async def test_it_is_told_when_fewer_are_left_in_the_window(
    counts: dict[int, int], more: int, least: int, hours: float
) -> None:
    now = (100 + 24 + 0.5) * HOUR
    window = Window(now, tuple(HourCount(hour, "owned", "read", some) for hour, some in counts.items()))
    assert window.seconds_until(least, more) == hours * HOUR


@pytest.mark.parametrize(
    ("used", "refused"),
    [(79, set()), (80, {Purpose.BACKGROUND}), (89, {Purpose.BACKGROUND}), (90, {Purpose.BACKGROUND, Purpose.READ})],
)
async def test_the_background_rests_first_then_reading_and_acts_never(used: int, refused: set[Purpose]) -> None:
    tally = Tally(100)
    tally.learned({}, Window(100 * HOUR, (HourCount(90, "owned", "read", used),)))
    for purpose in Purpose:
        with asked_for(purpose):
            if purpose in refused:
                with pytest.raises(RequestsUsedUpError, match="15 hours") as caught, tally.leaving(Kind.OWNED):
                    pass
                assert (caught.value.charged, caught.value.changed) == ("no", "no")
            else:
                stop_before_it_leaves(tally, Kind.OWNED)
            stop_before_it_leaves(tally, Kind.ORDER)  # no write is ever refused here
    with asked_for(Purpose.BACKGROUND, must=True):
        stop_before_it_leaves(tally, Kind.OWNED)
    assert tally.used == used


def stop_before_it_leaves(tally: Tally, kind: Kind) -> None:
    with suppress(ZeroDivisionError), tally.leaving(kind, lambda exc: isinstance(exc, ZeroDivisionError)):
        raise ZeroDivisionError


async def test_a_journal_that_cannot_keep_the_counts_stops_no_purchase(
    sim: Simulator, journal: Journal, journal_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the tables' owner has brought it up to date, and the server is another user, who may not use them."""
    with without_the_table(journal_url, "request_counts"):
        async with open_talk(sim, "auto", Person(accept("buy")), journal=journal, requests_per_day=500) as talk:
            assert (await talk.buy(item_of(sim))).outcome == "done"
            assert not (await talk.call("get_spending")).failed
    assert len(sim.charges) == 1
    assert sum("in memory alone" in record.message for record in caplog.records) == 1
