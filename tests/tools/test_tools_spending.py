"""What get_spending tells where KrosAI tells it slowly, in part, or not yet."""

from dataclasses import replace

import anyio
import pytest

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.policy import DAY_SECONDS
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import Simulator, transport
from kros_mcp.times import utc
from tests.support.clock import Clock
from tests.support.person import Person, accept
from tests.support.talk import open_talk, settings_for
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio

MANY = 60
FEW = 5
"""As many as one call reads by themselves."""


def own(sim: Simulator, count: int) -> None:
    """Let the account own so many numbers, at 300 cents a month each, whose prices no list tells."""
    first = next(iter(sim.owned.values()))
    sim.owned.clear()
    for nth in range(count):
        number = replace(first, id=f"pn_{nth}", e164=f"+23480355{nth:05}", monthly_cost_cents=300)
        sim.owned[number.id] = number


def read_alone(sim: Simulator) -> int:
    """How many numbers were read by themselves."""
    return sum("/phone-numbers/" in seen.path for seen in sim.requests)


async def test_an_account_too_large_to_read_in_time_is_told_of_in_part(reference: Simulator, era: str) -> None:
    own(reference, MANY)
    reference.faults.switch_on("hold", times=2, on=["get"])  # the others are answered at once
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
    own(reference, FEW)
    async with open_talk(reference, era) as talk:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(talk.call, "get_spending")
        assert [told["monthly_run_rate_cents"] for told in talk.results] == [300 * FEW] * 5
        assert all(told["run_rate_complete"] for told in talk.results)
    assert read_alone(reference) == FEW


async def test_a_purchase_just_made_is_counted_before_the_run_rate_is_read_again(
    reference: Simulator, era: str
) -> None:
    own(reference, FEW)
    item = item_of(reference)
    own_cap = {"principal_monthly_commitment_cents": 1_000_000}
    async with open_talk(reference, era, Person(accept("buy")), **own_cap) as talk:
        before = await talk.call("get_spending")
        assert (await talk.buy(item)).outcome == "done"
        after = await talk.call("get_spending")
    assert after["monthly_run_rate_cents"] - before["monthly_run_rate_cents"] == item.monthly_cost_cents
    assert after["own"]["monthly_run_rate_cents"] == item.monthly_cost_cents


async def test_where_no_price_is_stated_no_sum_is_told(sim: Simulator) -> None:
    sim.faults.switch_on("missing_prices", times=None)
    async with open_talk(sim) as talk:
        told = await talk.call("get_spending")
    assert told["monthly_run_rate_cents"] is None
    assert told["unpriced_numbers"] > 0
    assert "0.00 a month" not in told["summary"]
    assert "What owned numbers cost a month is not known" in told["summary"]


async def test_a_reading_is_done_again_when_it_is_old_and_sooner_when_it_is_not_complete(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    own(reference, FEW)
    began = clock.now
    async with open_runtime(settings_for(reference), transport=transport(reference), journal=journal) as here:
        rates = RunRates(here.account, clock)

        async def complete(seconds: float = 5) -> bool:
            rate = await rates.now(seconds=seconds, oldest_seconds=10)
            return rate is not None and rate.complete

        reference.faults.switch_on("hold", times=None, on=["list_owned"])
        assert not await complete(1.0)
        reference.faults.clear()
        clock.now = began + 1.9
        assert not await complete()
        clock.now = began + 2.0
        assert await complete()
        so_far = len(reference.requests)
        clock.now = began + 61.0
        assert await complete()
        assert len(reference.requests) == so_far  # the list of the last minute, and prices that are kept
        clock.now = began + 72.0
        assert await complete()
        assert len(reference.requests) > so_far
    assert read_alone(reference) == FEW


async def test_prices_are_told_with_the_time_at_which_the_oldest_was_read(
    sim: Simulator, era: str, journal: Journal, clock: Clock
) -> None:
    own(sim, FEW)
    async with open_talk(sim, era, journal=journal) as talk:
        read_at = utc(clock.now)
        assert (await talk.call("get_spending"))["prices_as_of"] == read_at
        clock.now += DAY_SECONDS
        listed = await talk.call("list_phone_numbers")
        assert [number["monthly_cents"] for number in listed["numbers"]] == [300] * FEW
        assert listed["prices_as_of"] == read_at
        assert "The oldest of these prices was read 24 hours ago." in listed.text
        shown = await talk.call("get_phone_number", number_id="pn_0")
        assert shown["prices_as_of"] == utc(clock.now)
        assert (await talk.call("list_phone_numbers", country="KE"))["prices_as_of"] is None
    assert read_alone(sim) == FEW + 1


async def test_a_server_started_again_knows_the_prices_that_were_read(sim: Simulator, journal_url: str) -> None:
    own(sim, FEW)
    for _ in range(2):
        async with open_talk(sim, journal_url=journal_url) as talk:
            assert (await talk.call("get_spending"))["monthly_run_rate_cents"] == 300 * FEW
    assert read_alone(sim) == FEW


async def test_a_list_is_shown_again_within_a_minute_and_not_after_an_act(sim: Simulator, journal: Journal) -> None:
    own(sim, FEW)
    person = Person(accept("release", "00000"[-4:]))
    async with open_talk(sim, "auto", person, journal=journal) as talk:
        await talk.call("get_spending")
        so_far = len(sim.requests)
        first = await talk.call("list_phone_numbers", limit=2)
        rest = await talk.call("list_phone_numbers", limit=10, offset=first["next_offset"])
        assert (first["total"], rest["next_offset"]) == (FEW, None)
        shown = [number["number_id"] for number in (*first["numbers"], *rest["numbers"])]
        assert shown == list(sim.owned)
        assert [seen.path for seen in sim.requests[so_far:] if "endpoints" not in seen.path] == []
        assert (await talk.call("configure_phone_number", number_id="pn_0", allow_inbound="off")).outcome == "done"
        [changed] = (await talk.call("list_phone_numbers", limit=1))["numbers"]
        assert (changed["number_id"], changed["allow_inbound"]) == ("pn_0", False)
        assert (await talk.call("release_phone_number", number_id="pn_0")).outcome == "done"
        assert (await talk.call("get_spending"))["monthly_run_rate_cents"] == 300 * (FEW - 1)


@pytest.mark.parametrize(("status", "what"), [("error", "reports an error"), (None, "is gone")])
async def test_a_list_names_numbers_whose_endpoint_takes_no_calls(
    sim: Simulator, era: str, status: str | None, what: str
) -> None:
    async with open_talk(sim, era) as talk:
        number = next(iter(sim.owned.values()))
        assert number.endpoint_id is not None
        where = f'"Support agent" (id …{number.endpoint_id[-4:]})'
        if status is None:
            where = "endpoint "
            del sim.endpoints[number.endpoint_id]
        else:
            sim.endpoints[number.endpoint_id].status = status
        told = await talk.call("list_phone_numbers")
        [warning] = told["warnings"]
        assert warning.startswith(f"{number.e164} goes to {where}")
        assert warning.endswith(f"which {what}: calls to it may go nowhere.")
        assert told["summary"].endswith("may go nowhere.")
        so_far = sum("endpoints" in seen.path for seen in sim.requests)
        assert (await talk.call("list_phone_numbers"))["warnings"] == [warning]
        assert sum("endpoints" in seen.path for seen in sim.requests) == so_far


async def test_of_endpoints_that_cannot_be_read_nothing_is_said(sim: Simulator, era: str) -> None:
    sim.faults.switch_on("refuse", times=None, on=["list_endpoints"], status=403)
    async with open_talk(sim, era) as talk:
        told = await talk.call("list_phone_numbers")
    assert (told.failed, told["warnings"]) == (False, [])
