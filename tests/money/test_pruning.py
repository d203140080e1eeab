"""What is pruned is needed by nobody: every cap, every reading and every comparison is the same afterwards."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batches import propose, wish
from bench import OTHER_MOBILES, Bench, open_bench, simulator
from expenditure_bench import ACCOUNT, ended, enter

from kros_mcp.commands.differences import AccountReading, compare
from kros_mcp.commands.history import STATES, read_history
from kros_mcp.commands.prune import delete
from kros_mcp.commands.prune_plan import AT_ONCE, Old, Plan, Reason, every_row, make_plan, owned_by
from kros_mcp.errors import KrosError, OperationError
from kros_mcp.journals import sqlite_file
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import read_all_owned
from kros_mcp.operations import moves, recovery, restoration
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.acts.several import SEVERAL_RELEASE
from kros_mcp.operations.batch import read_batch
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import EVERYTHING, Identity, every
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import OPEN, Action, Operation, State
from kros_mcp.operations.notices import Listener
from kros_mcp.operations.policy import DAY_SECONDS, LISTING_LAG_SECONDS
from kros_mcp.operations.pruning import YOUNGEST_DAYS, Pruning, dates_a_copy
from kros_mcp.operations.run_rate import read_run_rate
from kros_mcp.simulator import SimNumber
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio
PRINCIPALS = ("local", "other")
DECLINED = partial(moves.end, state=State.DECLINED, reason="No.")


@pytest.fixture
async def bench(every_backend: None) -> AsyncIterator[Bench]:
    del every_backend
    clock = Clock()
    sim = simulator(now=clock, balance_cents=10_000_000, stock_per_range=40)
    async with open_bench(sim, clock=clock, daily_budget_cents=10_000_000) as opened:
        yield opened


@dataclass
class Life:
    """What people and KrosAI do with an account over the months, at random."""

    bench: Bench
    dice: random.Random
    seen: set[str] = field(default_factory=set)

    async def go_on(self, steps: int) -> None:
        acts = (
            *(self.buys, self.buys, self.declines, self.leaves_waiting, self.releases, self.releases),
            *(self.buys_several, self.releases_several, self.loses_an_answer, self.is_refused),
            *(self.gives_up_elsewhere, self.buys_elsewhere, self.comes_back, self.declines_a_release),
        )
        for _ in range(steps):
            with suppress(KrosError, IndexError, ValueError):  # there may be no number to choose
                await self.dice.choice(acts)()
            self.bench.clock.now += self.dice.uniform(0.5, 4) * DAY_SECONDS
            await look_after(self.bench)

    async def buys(self) -> None:
        await self.bench.execute(await self._purchase())

    async def declines(self) -> None:
        await self.bench.account.journal.change((await self._purchase()).id, DECLINED, by=By("ana", "terminal"))

    async def leaves_waiting(self) -> None:
        await self._purchase()

    async def releases(self) -> None:
        await self.bench.execute(await self.bench.propose_release(self._owned()))

    async def declines_a_release(self) -> None:
        await self.bench.account.journal.change((await self.bench.propose_release(self._owned())).id, DECLINED)

    async def buys_several(self) -> None:
        await self.bench.execute(await propose(self.bench, self.dice.sample(OTHER_MOBILES, 2)))

    async def releases_several(self) -> None:
        numbers = self.dice.sample(self._all_owned(), 2)
        wishes = [wish(number.e164, country="", type="") for number in numbers]
        await self.bench.execute(await SEVERAL_RELEASE.propose(self.bench.account, "local", wishes))

    async def loses_an_answer(self) -> None:
        self.bench.sim.faults.switch_on(self.dice.choice(["lost_reply", "error_before", "commits_then_refuses"]))
        await self.buys()

    async def is_refused(self) -> None:
        self.bench.sim.faults.switch_on("refuse", operation="purchase", status=402, code="INSUFFICIENT_BALANCE")
        await self.buys()

    async def gives_up_elsewhere(self) -> None:
        self.bench.sim.release(self._owned())

    async def buys_elsewhere(self) -> None:
        self.bench.sim.buy(self.dice.choice(list(self.bench.sim.inventory.values())), None)

    async def comes_back(self) -> None:
        """Let KrosAI show a number in service that it had shown as ended."""
        ended = [number for number in self.bench.sim.owned.values() if number.status == "inactive"]
        self.dice.choice(ended).status = "active"

    async def _purchase(self) -> Operation:
        number = self.dice.choice(OTHER_MOBILES)
        return await self.bench.propose(number, principal=self.dice.choice(PRINCIPALS))

    def _all_owned(self) -> list[SimNumber]:
        return [number for number in self.bench.sim.owned.values() if number.status == "active"]

    def _owned(self) -> SimNumber:
        return self.dice.choice(self._all_owned())


async def look_after(bench: Bench) -> None:
    """Do what a running server does by the way."""
    await bench.account.journal.expire()
    for operation in await recovery.recover(bench.account):
        with suppress(KrosError):
            if operation.state is State.UNKNOWN:
                await recovery.reconcile(bench.account, operation)
            elif operation.settings_pending:
                await act_of(operation).finish(bench.account, operation)
            else:
                await recovery.watch(bench.account, operation)


async def rows(bench: Bench) -> dict[str, Operation]:
    return {row.id: row async for row in every_row(bench.account.journal)}


async def plan_of(bench: Bench, before: float) -> Plan:
    journal = bench.account.journal
    listing = Listing(await read_all_owned(bench.account.client), bench.clock.now)
    await journal.keep(bench.account.id, [], listing)
    return await make_plan(every_row(journal), await owned_by(journal), before, await journal.still_to_tell())


async def prune(bench: Bench, before: float) -> Plan:
    plan = await plan_of(bench, before)
    run = Pruning("prune_1", "", before, bench.clock.now, "ana (terminal)")
    for chunk in plan.chunks():
        ids, accounts = [row.id for row in chunk], {row.account for row in chunk}
        assert len(await bench.account.journal.prune(ids, accounts, before=plan.before, run=run)) == len(chunk)
    return plan


async def seen_of(bench: Bench) -> dict[str, Any]:
    """Read all that caps, people and comparisons have of the journal."""
    journal, account, now = bench.account.journal, bench.account.id, bench.clock.now
    owned = await read_all_owned(bench.account.client)
    reading = AccountReading(owned.numbers, owned.complete, now, (), owned.unreadable)
    history = await read_history(
        every(journal, replace(EVERYTHING, states=STATES)), account=account, environment="test"
    )
    rate = await read_run_rate(bench.account, Listing(owned, now), alone=1_000)
    e164s = [number.e164 for number in owned.numbers]
    codes = ["INSUFFICIENT_BALANCE"]
    return {
        "books": [await journal.books(account, who, committed_since=now - LISTING_LAG_SECONDS) for who in PRINCIPALS],
        "buyers": await journal.buyers(account, [each.e164 for each in owned.numbers if not each.has_ended]),
        "rate": [sorted(rate.prices), *(sorted(rate.of(who).prices) for who in PRINCIPALS)],
        "differences": sorted((one.kind, one.finding.mark, one.finding.what) for one in compare(history, reading)),
        "due": [operation.id for operation in await journal.due(account)],
        "open": await journal.open_counts(account),
        "refused": await journal.refused(account, codes, since=now - 30 * DAY_SECONDS),
        "sent": {e164: await journal.sent_since(account, e164, now - 40 * DAY_SECONDS) for e164 in e164s},
        "young": [row for row in (await rows(bench)).values() if row.created_at > now - YOUNGEST_DAYS * DAY_SECONDS],
    }


async def test_a_life_of_many_kinds_reads_the_same_after_it_was_pruned(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    seed = 5 if "postgres" in request.node.name else 3
    life = Life(bench, random.Random(seed))  # noqa: S311 - must repeat
    await life.go_on(70)
    journal, account = bench.account.journal, bench.account.id
    seen, before = await seen_of(bench), await rows(bench)
    names = {(each.principal, each.action, each.e164) for each in before.values()}

    async def found(name: tuple[str, Action, str]) -> Operation | None:
        principal, action, e164 = name
        return await journal.find(Identity(account, principal, action), e164=e164)

    finds = {name: await found(name) for name in names}
    sent = {number.e164: await journal.sent_since(account, number.e164, 0.0) for number in bench.sim.owned.values()}
    told = {each.id: await read_batch(journal, each) for each in before.values() if each.items}

    plan = await prune(bench, bench.clock.now - YOUNGEST_DAYS * DAY_SECONDS)

    gone = {row.id for row in plan.rows}
    after = await rows(bench)
    assert after == {id_: row for id_, row in before.items() if id_ not in gone}
    assert len(gone) >= 20 <= len(before) - 5
    assert {Reason.YOUNG, Reason.OWNED} <= plan.stays.keys()
    assert plan.stays.total() == len(after)
    kinds = {(before[id_].action, before[id_].state) for id_ in gone}
    assert {(Action.BUY, State.DONE), (Action.RELEASE, State.DONE), (Action.BUY, State.EXPIRED)} <= kinds
    assert await seen_of(bench) == seen
    for name, one in finds.items():
        other = await found(name)
        if one is not None and one.id in after:
            assert other == one
        else:  # it answers no wish: see `proposal.covers`
            assert other is None or other.state not in OPEN
    assert {row.batch for row in after.values() if row.batch} == after.keys() & told.keys()
    for id_ in after.keys() & told.keys():
        assert await read_batch(journal, after[id_]) == told[id_]
    [kept] = await journal.prunings()
    assert (kept.account, kept.operations) == (account, len(gone))
    assert kept.charged_cents == sum(before[id_].charged_cents or 0 for id_ in gone) > 0

    await journal.mark_restored()  # of a copy that was taken now: nothing is entered that was pruned
    copied_at = await journal.lacks_since(account)
    assert copied_at == max(dates_a_copy(row) for row in before.values())
    for number in (await read_all_owned(bench.account.client)).numbers:
        known = await journal.sent_since(account, number.e164, 0.0)
        entered = restoration.unknown_to(sent[number.e164], number, copied_at)
        assert restoration.unknown_to(known, number, copied_at) == entered


ONE, TWO, THREE_, FOUR = OTHER_MOBILES[:4]


async def bought_and_given_up(bench: Bench, e164: str) -> tuple[Operation, Operation]:
    bought = await bench.buy(e164)
    number = next(each for each in bench.sim.owned.values() if each.e164 == e164)
    given_up = await bench.execute(await bench.propose_release(number))
    await settled(bench)
    return bought, given_up


async def settled(bench: Bench) -> None:
    for _ in range(3):
        bench.clock.now += 2 * DAY_SECONDS
        await look_after(bench)


async def months_later(bench: Bench, e164: str = OTHER_MOBILES[9]) -> float:
    """Let time pass, and something happen then; return before when the rest is old."""
    bench.clock.now += 100 * DAY_SECONDS
    await bench.propose(e164)
    return bench.clock.now - YOUNGEST_DAYS * DAY_SECONDS


async def test_a_number_that_is_owned_keeps_its_story_and_its_batch_the_others_go(bench: Bench) -> None:
    both = await bench.execute(await propose(bench, [ONE, TWO]))
    await settled(bench)
    one = next(each for each in bench.sim.owned.values() if each.e164 == ONE)
    await bench.execute(await bench.propose_release(one))
    gone = await bought_and_given_up(bench, THREE_)
    back = await bought_and_given_up(bench, FOUR)
    next(each for each in bench.sim.owned.values() if each.e164 == FOUR).status = "active"
    before = await rows(bench)
    differences = (await seen_of(bench))["differences"]

    plan = await prune(bench, await months_later(bench))

    assert {row.id for row in plan.rows} == {operation.id for operation in gone}
    assert (await seen_of(bench))["differences"] == differences
    assert before.keys() - (await rows(bench)).keys() == {operation.id for operation in gone}
    assert {both.id, *(operation.id for operation in back)} <= (await rows(bench)).keys()
    assert [await bench.account.journal.events(operation.id) for operation in gone] == [(), ()]


async def test_without_a_whole_reading_of_a_day_only_what_was_never_sent_goes(bench: Bench) -> None:
    await bought_and_given_up(bench, ONE)
    waited = await bench.propose(TWO)
    await settled(bench)
    journal, before = bench.account.journal, await months_later(bench)

    unread = await make_plan(every_row(journal), await owned_by(journal), before, frozenset())
    await plan_of(bench, before)
    bench.clock.now += DAY_SECONDS
    too_old = await make_plan(every_row(journal), await owned_by(journal), before, frozenset())

    for plan in (unread, too_old):
        assert [row.id for row in plan.rows] == [waited.id]
        assert plan.stays[Reason.UNREAD] == 2


async def test_what_a_restore_or_a_receiver_still_needs_stays(bench: Bench) -> None:
    journal, account = bench.account.journal, bench.account.id
    await journal.listen(account, [Listener("somewhere", account, "")])
    given_up = (await bought_and_given_up(bench, ONE))[1]
    bench.clock.now += 200 * DAY_SECONDS
    await journal.change(given_up.id, lambda current, now: replace(current, checked_at=now))
    limit = bench.clock.now - YOUNGEST_DAYS * DAY_SECONDS

    plan = await plan_of(bench, limit)  # the newest of all: by them a copy is dated
    assert (list(plan.rows), plan.stays[Reason.YOUNG]) == ([], 2)
    assert plan.before < given_up.created_at
    await journal.change(given_up.id, lambda current, _: replace(current, checked_at=None))
    await bench.propose(TWO)
    plan = await plan_of(bench, limit)
    assert (list(plan.rows), plan.stays[Reason.TOLD]) == ([], 2)

    await journal.mark_restored()
    plan = await make_plan(every_row(journal), await owned_by(journal), limit, frozenset())
    assert (list(plan.rows), plan.stays[Reason.RESTORED]) == ([], 2)


async def test_what_was_written_of_meanwhile_is_left_with_all_that_goes_with_it(bench: Bench) -> None:
    bought, given_up = await bought_and_given_up(bench, ONE)
    journal, before = bench.account.journal, await months_later(bench)
    await journal.change(bought.id, lambda current, now: replace(current, look_at=now))
    run = Pruning("prune_1", "", before, bench.clock.now, "ana")

    assert await journal.prune([bought.id, given_up.id], {bench.account.id}, before=before, run=run) == ()
    assert await journal.prune([given_up.id], {"another"}, before=before, run=run) == ()
    assert await journal.prune([given_up.id], {bench.account.id}, before=given_up.created_at, run=run) == ()
    assert {bought.id, given_up.id} <= (await rows(bench)).keys()
    assert await journal.prunings() == ()


async def test_of_a_long_story_the_rest_stays_where_its_beginning_was_written_of_meanwhile(bench: Bench) -> None:
    bought, given_up = await bought_and_given_up(bench, ONE)
    journal = bench.account.journal
    before = bought.created_at - DAY_SECONDS
    earlier = replace(bought, action=Action.CONFIGURE, reserved_cents=0, charged="no", settled_at=before)
    changed = [replace(earlier, id=f"op_{at:03}") for at in range(AT_ONCE)]
    await enter(journal, *changed)
    plan = await plan_of(bench, await months_later(bench))
    assert sum(1 for _ in plan.rows) == AT_ONCE + 2
    await journal.change(changed[0].id, lambda current, now: replace(current, look_at=now))

    ended = await delete(journal, plan, Pruning("prune_1", "", plan.before, bench.clock.now, "ana"), lambda _: None)

    assert ended.operations == 0
    assert {bought.id, given_up.id} <= (await rows(bench)).keys()


async def test_a_reading_across_a_pruning_fails_rather_than_being_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kros_mcp.operations.journal._PAGE", 1)
    await bought_and_given_up(bench, ONE)
    await bought_and_given_up(bench, TWO)
    before = await months_later(bench)

    async def read_on() -> None:
        async for _ in every(bench.account.journal, EVERYTHING):
            await prune(bench, before)

    with pytest.raises(OperationError) as caught:
        await read_on()
    assert caught.value.code == "PRUNED_MEANWHILE"


@pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)
async def test_what_was_pruned_cannot_be_read_in_the_file_any_more(
    journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(name: str) -> sqlite3.Connection:
        connection = plain(name)
        connection.execute("PRAGMA secure_delete = OFF")  # the default of most builds
        return connection

    plain = sqlite_file.connect
    monkeypatch.setattr(sqlite_file, "connect", connect)
    gone = [ended(at, note=f"personal {at}") for at in range(20)]
    async with open_journal(journal_url) as journal:
        await enter(journal, *gone)
        run = Pruning("prune_1", "", 0.0, 0.0, "ana")
        assert await journal.prune([each.id for each in gone], {ACCOUNT}, before=await journal.now(), run=run)

    assert b"personal" not in (tmp_path / "journal.sqlite3").read_bytes()


async def test_what_was_pruned_of_a_key_goes_with_it_to_its_successor(bench: Bench) -> None:
    await bought_and_given_up(bench, ONE)
    await prune(bench, await months_later(bench))
    journal = bench.account.journal

    await journal.adopt(bench.account.id, "successor", environment="test", by=By("ana", "terminal"), words="Rotated.")

    [kept] = await journal.prunings()
    assert (kept.account, kept.operations, kept.charged_cents) == ("successor", 2, 700)


def test_what_belongs_together_is_deleted_in_one_transaction_or_its_oldest_first() -> None:
    def group(name: str, count: int) -> list[Old]:
        return [
            Old(f"{name}{at:03}", "", "", Action.BUY, State.DONE, at, at, at, 0, "", ended=True, told=True)
            for at in range(count)
        ]

    groups = [group("a", 30), group("b", 30), group("c", 120), group("d", 1)]
    chunks = [[row.id for row in chunk] for chunk in Plan(0.0, groups).chunks()]

    assert [id_ for chunk in chunks for id_ in chunk] == [row.id for each in groups for row in each]
    assert [len(chunk) for chunk in chunks] == [30, 30, 50, 50, 21]
