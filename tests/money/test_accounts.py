"""A key that replaces another: what was spent and what is unknown under the old one counts under the new one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import bench as benches
import pytest
from bench import SCOPES, SIMULATED, Bench, open_journal, simulator
from test_journal_contract import claim, clock, draft, journal, opener, send, settle

from kros_mcp.errors import JournalError, OperationError, RefusedError
from kros_mcp.krosai import Inventory, open_client
from kros_mcp.operations import moves, recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.adoption import account_in
from kros_mcp.operations.events import By, fold, without_bookkeeping
from kros_mcp.operations.journal import Filter, Journal
from kros_mcp.operations.model import Action, State
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio
__all__ = ["clock", "journal", "opener"]

ANA = By("ana", "terminal")
NEW_KEY = "kros_test_successor"


async def adopt(journal: Journal, former: str = "old", account: str = "new", words: str = "key rotated") -> int:
    return await journal.adopt(former, account, environment="test", by=ANA, words=words)


async def test_every_operation_is_handed_over_and_says_so(journal: Journal, clock: Clock) -> None:
    done = await settle(journal, await journal.propose(draft(clock, account="old")), State.DONE)
    waiting = await journal.propose(draft(clock, "+2348035550102", account="old"))
    other = await journal.propose(draft(clock, "+2348035550103", account="other"))
    assert await journal.accounts() == {"old": 2, "other": 1}

    assert await adopt(journal) == 2

    assert await journal.accounts() == {"new": 2, "other": 1}
    for operation in (done, waiting):
        story = await journal.events(operation.id)
        last = story[-1]
        assert (last.move, last.who, last.channel, last.words) == ("adopted", "ana", "terminal", "key rotated")
        stored = await journal.get(operation.id)
        assert stored == replace(operation, account="new")
        assert without_bookkeeping(fold(story)) == without_bookkeeping(stored)
    assert [event.move for event in await journal.events(other.id)] == ["proposed"]


async def test_a_great_many_operations_are_handed_over_at_once(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one page of them, and half of them older than their events."""
    ids = []
    for at in range(7):
        with monkeypatch.context() as without:
            if at % 2:
                without.setattr(type(journal), "_tell", lambda *_: iter(()))
            ids.append((await journal.propose(draft(clock, f"+23480355501{at:02d}", account="old"))).id)
    monkeypatch.setattr("kros_mcp.journals.sql._MANY", 3)
    assert await adopt(journal) == 7
    told = {tuple(event.move for event in await journal.events(id_)) for id_ in ids}
    assert told == {("proposed", "adopted"), ("carried_over", "adopted")}
    for id_ in ids:
        assert fold(await journal.events(id_)) == await journal.get(id_)


async def test_budgets_and_the_run_rate_count_what_was_handed_over(journal: Journal, clock: Clock) -> None:
    await settle(journal, await journal.propose(draft(clock, account="old")), State.DONE)
    await settle(journal, await journal.propose(draft(clock, "+2348035550102", account="old")), State.UNKNOWN)
    await settle(journal, await journal.propose(draft(clock, "+2348035550103", account="new")), State.DONE)
    await adopt(journal)
    books = await journal.books("new", "local", committed_since=clock.now - 60)
    assert (books.spent_cents, books.own_spent_cents, len(books.committed)) == (2_100, 2_100, 3)
    assert (await journal.books("old", "local", committed_since=clock.now - 60)).spent_cents == 0
    assert [operation.state for operation in await journal.due("new")] == [State.UNKNOWN]


async def test_nothing_is_handed_over_of_an_account_that_has_nothing(journal: Journal) -> None:
    with pytest.raises(OperationError) as caught:
        await adopt(journal)
    assert caught.value.code == "NOTHING_TO_ADOPT"


async def test_live_operations_are_never_handed_to_a_test_key(journal: Journal, clock: Clock) -> None:
    await journal.propose(draft(clock, account="old"))
    live = draft(clock, "+2348035550102", account="old")
    await journal.propose(replace(live, quote=replace(live.quote, environment="live")))
    with pytest.raises(OperationError) as caught:
        await adopt(journal)
    assert caught.value.code == "OTHER_ENVIRONMENT"
    assert await journal.accounts() == {"old": 2}
    assert [event.move for event in await journal.events(live.id)] == ["proposed"]


@pytest.mark.parametrize("same", [True, False])
async def test_a_number_that_is_acted_on_under_both_is_named_and_nothing_is_handed_over(
    journal: Journal, clock: Clock, *, same: bool
) -> None:
    """One purchase asked for twice; or a purchase under the one, and a release under the other."""
    await send(journal, await journal.propose(draft(clock, account="old")))
    action = Action.BUY if same else Action.RELEASE
    theirs = await journal.propose(draft(clock, account="new", action=action, principal="local" if same else "q"))
    if same:
        await journal.change(theirs.id, partial(moves.confirm, by="ana"))
    else:
        await claim(journal, theirs)
    await journal.propose(draft(clock, "+2348035550102", account="old"))
    with pytest.raises(OperationError, match=r"\+2348035550101") as caught:
        await adopt(journal)
    assert caught.value.code == "NUMBER_BUSY"
    assert await journal.accounts() == {"old": 2, "new": 1}


async def test_an_act_whose_outcome_is_unknown_clashes_with_any_that_is_being_sent(
    journal: Journal, clock: Clock
) -> None:
    await send(journal, await journal.propose(draft(clock, account="old")))
    release = await journal.propose(draft(clock, account="new", action=Action.RELEASE, principal="q"))
    await settle(journal, release, State.UNKNOWN)
    with pytest.raises(OperationError) as caught:
        await adopt(journal)
    assert caught.value.code == "NUMBER_BUSY"
    assert await journal.accounts() == {"old": 1, "new": 1}


@pytest.mark.parametrize("first", ["old", "new"])
async def test_what_is_only_proposed_under_both_gives_way(journal: Journal, clock: Clock, first: str) -> None:
    """Nobody has agreed to it, and asking again is free."""
    confirmed = await journal.propose(draft(clock, account=first))
    await journal.change(confirmed.id, partial(moves.confirm, by="ana"))
    proposed = await journal.propose(draft(clock, account="new" if first == "old" else "old"))
    await adopt(journal)
    ended, stands = await journal.get(proposed.id), await journal.get(confirmed.id)
    assert ended is not None
    assert stands is not None
    assert (ended.state, stands.state, stands.account) == (State.CANCELLED, State.CONFIRMED, "new")
    assert "superseded" in [event.move for event in await journal.events(proposed.id)]


async def test_what_has_waited_too_long_under_both_stands_in_nobodys_way(journal: Journal, clock: Clock) -> None:
    for account in ("old", "new"):
        waiting = await journal.propose(draft(clock, account=account))
        await journal.change(waiting.id, partial(moves.confirm, by="ana"))
    clock.now += 600
    assert await adopt(journal) == 1
    assert {row.state for row in await journal.list_operations(Filter(account="new"))} == {State.EXPIRED}


@asynccontextmanager
async def open_account_of(journal: Journal, sim: Simulator, settings: Settings) -> AsyncIterator[Account]:
    async with open_client(base_url=SIMULATED, api_key=settings.require_api_key(), transport=transport(sim)) as client:
        yield Account(settings, journal, client, Inventory(client), await account_in(settings, journal))


@pytest.mark.usefixtures("every_backend")
async def test_a_purchase_unknown_under_the_old_key_is_found_and_counted_under_the_new_one() -> None:
    sim, clock = Simulator(extra_keys={benches.KEY: SCOPES, NEW_KEY: SCOPES}), Clock()
    old = Settings(api_key=benches.KEY, base_url=SIMULATED, daily_budget_cents=900)
    new = Settings(api_key=NEW_KEY, base_url=SIMULATED, daily_budget_cents=900)
    async with open_journal(benches.standard_journal_url, clock) as journal:
        async with open_account_of(journal, sim, old) as account:
            bench = Bench(sim, account, clock)
            sim.faults.switch_on("lost_reply", on=["purchase"])
            bought = await bench.buy()
            assert bought.state is State.UNKNOWN
        async with open_account_of(journal, sim, new) as account:
            assert await recovery.recover(account) == ()
            await journal.adopt(bought.account, account.id, environment="test", by=ANA, words="key rotated")
            [unknown] = await recovery.recover(account)
            clock.now += 10
            assert (await recovery.reconcile(account, unknown)).state is State.DONE
            books = await journal.books(account.id, "local", committed_since=0)
            assert books.spent_cents == bought.quote.due_now_cents
            with pytest.raises(RefusedError, match="24 hours"):
                await Bench(sim, account, clock).propose()
            assert len(sim.charges) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_an_account_with_an_organization_is_handed_its_former_name_when_it_is_opened(
    journal: Journal, clock: Clock, *, again: bool
) -> None:
    settings = Settings(api_key="kros_test_a", organization_id="o", base_url=SIMULATED)
    former = settings.former_account(journal.secret)
    assert former is not None
    bought = await settle(journal, await journal.propose(draft(clock, account=former)), State.DONE)
    for _ in range(1 + again):
        async with open_runtime(settings, transport=transport(simulator()), journal=journal) as runtime:
            assert runtime.account.id == settings.account(journal.secret) != former
    assert await journal.accounts() == {runtime.account.id: 1}
    assert [(event.move, event.who) for event in await journal.events(bought.id)][-1] == ("adopted", "server")
    assert (await journal.books(runtime.account.id, "local", committed_since=0)).spent_cents == 700


async def test_a_server_that_only_reads_does_without_handing_over(journal: Journal, clock: Clock) -> None:
    settings = Settings(api_key="kros_test_a", organization_id="o", read_only=True)
    former = settings.former_account(journal.secret) or ""
    await journal.propose(draft(clock, account=former))

    class Unwritable:
        secret = journal.secret
        count = journal.count

        async def adopt(self, *_: object, **__: object) -> int:
            raise JournalError("The journal cannot be written; nothing can be spent.")

    assert await account_in(settings, Unwritable()) == settings.account(journal.secret)  # type: ignore[arg-type]
    assert await journal.accounts() == {former: 1}
