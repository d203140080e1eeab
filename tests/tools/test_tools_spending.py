"""What get_spending tells where KrosAI tells it slowly, in part, or not yet."""

from dataclasses import replace

import anyio
import pytest

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import Simulator, transport
from tests.support.person import Person, accept
from tests.support.talk import open_talk, settings_for
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio

MANY = 60


def own_many(sim: Simulator) -> None:
    """Let the account own many numbers, at 300 cents a month each, whose prices no list tells."""
    first = next(iter(sim.owned.values()))
    sim.owned.clear()
    for nth in range(MANY):
        number = replace(first, id=f"pn_{nth}", e164=f"+23480355{nth:05}", monthly_cost_cents=300)
        sim.owned[number.id] = number


def read_alone(sim: Simulator) -> int:
    """How many numbers were read by themselves."""
    return sum("/phone-numbers/" in seen.path for seen in sim.requests)


async def test_an_account_too_large_to_read_in_time_is_told_of_in_part(reference: Simulator, era: str) -> None:
    own_many(reference)
    reference.faults.switch_on("hold", times=None, on=["get"], probability=0.5)  # the others are answered at once
    async with open_talk(reference, era, answer_within_seconds=1.5) as talk:
        with anyio.fail_after(30):
            spending = await talk.call("get_spending")
        reference.faults.let_go()
    assert not spending.failed
    assert spending["run_rate_complete"] is False
    known = MANY - spending["unpriced_numbers"]
    assert 0 < known < MANY
    assert spending["monthly_run_rate_cents"] == 300 * known
    assert "cost at least" in spending["summary"]
    assert spending["daily_room_cents"] == spending["daily_budget_cents"]


async def test_callers_at_once_share_one_reading(reference: Simulator, era: str) -> None:
    own_many(reference)
    async with open_talk(reference, era) as talk:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(talk.call, "get_spending")
        assert [told["monthly_run_rate_cents"] for told in talk.results] == [300 * MANY] * 5
        assert all(told["run_rate_complete"] for told in talk.results)
    assert read_alone(reference) == MANY


async def test_a_purchase_just_made_is_counted_before_the_run_rate_is_read_again(
    reference: Simulator, era: str
) -> None:
    own_many(reference)
    item = item_of(reference)
    own = {"principal_monthly_commitment_cents": 1_000_000}
    async with open_talk(reference, era, Person(accept("buy")), **own) as talk:
        before = await talk.call("get_spending")
        assert (await talk.buy(item)).outcome == "done"
        after = await talk.call("get_spending")
    assert after["monthly_run_rate_cents"] - before["monthly_run_rate_cents"] == item.monthly_cost_cents
    assert after["own"]["monthly_run_rate_cents"] == item.monthly_cost_cents


async def test_a_reading_is_done_again_when_it_is_old_and_sooner_when_it_is_not_complete(
    reference: Simulator,
) -> None:
    own_many(reference)
    now = 0.0
    settings = settings_for(reference)
    async with (
        open_journal(settings.journal_url) as journal,
        open_runtime(settings, transport=transport(reference), journal=journal) as here,
    ):
        rates = RunRates(here.account, lambda: now)

        async def complete(seconds: float = 5) -> bool:
            rate = await rates.now(seconds=seconds, oldest_seconds=10)
            return rate is not None and rate.complete

        reference.faults.switch_on("hold", times=None, on=["get"])
        assert not await complete(0.2)
        reference.faults.clear()
        now = 1.9
        assert not await complete()
        now = 2.0
        assert await complete()
        so_far = read_alone(reference)
        now = 11.9
        assert await complete()
        assert read_alone(reference) == so_far
        now = 12.0
        assert await complete()
        assert read_alone(reference) == so_far + MANY
