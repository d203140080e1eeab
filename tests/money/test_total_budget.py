"""A budget for all organizations together, beside that of each, and what a journal knows of organizations."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from bench import OTHER_MOBILES, Bench, open_bench, simulator
from test_journal_contract import claim, clock, draft, journal, opener, settle

from kros_mcp.errors import RefusedError
from kros_mcp.numbering import spoken
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Journal, NamedOrganization
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio
__all__ = ["clock", "journal", "opener"]


@asynccontextmanager
async def two(sim: Simulator, journal_url: str, **chosen: Any) -> AsyncIterator[tuple[Bench, Bench]]:
    """Two organizations under one key, each with a server of its own, at one journal."""
    turned = Clock()
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                open_bench(sim, clock=turned, journal_url=journal_url, organization_id=organization, **chosen)
            )
            for organization in sim.organizations
        ]
        yield one, other


def charged(sim: Simulator) -> list[int]:
    return [sum(charge.cents for charge in each.charges) for each in sim.organizations.values()]


@pytest.fixture
def both() -> Simulator:
    return simulator(organizations=2)


async def test_each_has_a_days_budget_and_all_have_one_together(both: Simulator, journal_url: str) -> None:
    caps = {"daily_budget_cents": 1_400, "total_daily_budget_cents": 2_100}
    async with two(both, journal_url, **caps) as (one, other):
        await one.buy(OTHER_MOBILES[0])
        await one.buy(OTHER_MOBILES[1])
        with pytest.raises(RefusedError) as caught:
            await one.propose(OTHER_MOBILES[2])
        assert caught.value.code == "OVER_DAILY_BUDGET"
        waiting = await other.propose(OTHER_MOBILES[3])
        assert (await other.buy(OTHER_MOBILES[2])).state is State.DONE
        with pytest.raises(RefusedError) as caught:
            await other.propose(OTHER_MOBILES[4])
        told = caught.value
        assert (told.code, told.charged) == ("OVER_TOTAL_DAILY_BUDGET", "no")
        words = f"{told.message} {told.next_step}".replace(spoken(OTHER_MOBILES[4]), "").replace("24 hours", "")
        assert not any(character.isdigit() for character in words)
        failed = await other.execute(waiting)
        assert (failed.state, failed.error_code) == (State.FAILED, "OVER_TOTAL_DAILY_BUDGET")
        one.clock.now += 86_401
        assert (await other.buy(OTHER_MOBILES[4])).state is State.DONE
    assert charged(both) == [1_400, 1_400]


@pytest.mark.promise(5)
async def test_two_organizations_that_race_for_the_last_cents_never_exceed_the_total(
    both: Simulator, journal_url: str
) -> None:
    async with two(both, journal_url, total_daily_budget_cents=2_100) as pair:
        asked = [(pair[at % 2], await pair[at % 2].propose(OTHER_MOBILES[at])) for at in range(8)]
        async with anyio.create_task_group() as tasks:
            for bench, operation in asked:
                tasks.start_soon(bench.execute, operation)
        ended = [await bench.stored(operation) for bench, operation in asked]
    assert sum(charged(both)) == 2_100
    assert sorted(each.error_code for each in ended) == [""] * 3 + ["OVER_TOTAL_DAILY_BUDGET"] * 5


async def test_claims_of_all_accounts_happen_one_after_the_other(opener: Callable[[], Any], clock: Clock) -> None:
    """Each sees what the one before has reserved, whichever process made it."""
    seen: list[int] = []

    async with opener() as one, opener() as other:
        asked = [
            (at, await at.propose(draft(clock, OTHER_MOBILES[number], account=f"account {number}", cents=10)))
            for number, at in enumerate((one, other) * 6)
        ]

        async def claimed(at: Journal, operation_id: str) -> None:
            noted: list[int] = []

            def take(current: Any, now: float, books: Any) -> Any:
                noted.append(books.total_spent_cents)
                return moves.claim(current, now, reserved_cents=10), ()

            await at.claim(operation_id, take, committed_since=0)
            seen.extend(noted)

        async with anyio.create_task_group() as tasks:
            for at, operation in asked:
                tasks.start_soon(claimed, at, operation.id)
    assert sorted(seen) == [10 * before for before in range(12)]


async def test_what_has_failed_or_is_a_day_old_counts_for_nobody(journal: Journal, clock: Clock) -> None:
    await settle(journal, await journal.propose(draft(clock, account="a", cents=7)), State.DONE)
    clock.now += 86_401
    await settle(journal, await journal.propose(draft(clock, account="b", cents=20)), State.UNKNOWN)
    await settle(journal, await journal.propose(draft(clock, account="c", cents=300)), State.DONE)
    await settle(journal, await journal.propose(draft(clock, account="d", cents=4_000)), State.FAILED)
    await journal.propose(draft(clock, account="e", cents=50_000))
    books = await journal.books("a", "local", committed_since=0)
    assert (books.spent_cents, books.total_spent_cents) == (0, 320)


async def test_organizations_that_have_come_are_kept_once(opener: Callable[[], Any]) -> None:
    named = NamedOrganization("account 1", "org_1", "tokens", "key 1")
    others = [
        replace(named, issuer="https://issuer.example"),
        replace(named, key="key 2"),
        NamedOrganization("account 2", "org_2", "tokens", "key 1"),
    ]
    async with opener() as journal:
        for each in (named, named, *others, named):
            await journal.note_organization(each)
    async with opener() as journal:
        assert set(await journal.organizations()) == {named, *others}
        assert len(await journal.organizations()) == 4


async def test_those_with_something_to_be_looked_after_are_told(journal: Journal, clock: Clock) -> None:
    named = [NamedOrganization(name, f"org {name}", "tokens", "key") for name in "abcdef"]
    for each in named:
        await journal.note_organization(each)

    async def restless() -> set[str]:
        return {each.account for each in await journal.restless_organizations()}

    for account in "abcdef":
        await journal.propose(draft(clock, account=account))
    assert await restless() == set()
    confirmed = await journal.propose(draft(clock, account="a"))
    await journal.change(confirmed.id, lambda current, now: moves.confirm(current, now, by="x"))
    await claim(journal, await journal.propose(draft(clock, account="b")))
    await settle(journal, await journal.propose(draft(clock, account="c")), State.UNKNOWN)
    await settle(journal, await journal.propose(draft(clock, account="d")), State.DONE, look_after=60.0)
    await settle(journal, await journal.propose(draft(clock, account="e")), State.DONE)
    await settle(journal, await journal.propose(draft(clock, account="stranger")), State.UNKNOWN)
    assert await restless() == {"a", "b", "c"}
    clock.now += 61
    assert await restless() == {"a", "b", "c", "d"}
