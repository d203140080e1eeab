"""What KrosAI is asked, however many numbers are owned; time passes without waiting, and the simulator counts."""

import re
from functools import partial

import anyio
import pytest

from kros_mcp.errors import KrosError
from kros_mcp.simulator.profiles import ProfileName
from tests.checks.benchmarks.requests import (
    DAY,
    HOUR,
    PROFILES,
    SETTLED_SECONDS,
    Desk,
    a_day,
    claimed,
    open_desk,
    simulated,
)
from tests.support.leaping import leaping, open_leaping_journal, seconds

PAGE = 100
BESIDE_PAGES = 5
MOST_OF_A_PURCHASE = 22
MOST_OF_A_DAY = 1_000


def pages(desk: Desk, since: int) -> int:
    """How many of the requests were pages of lists."""
    return sum(seen.method == "GET" and "/phone-numbers/" not in seen.path for seen in desk.sim.requests[since:])


async def warmed(desk: Desk) -> None:
    """Let the server learn what there is to know."""
    await desk.tool("get_spending")
    await anyio.sleep(SETTLED_SECONDS)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("owned", [0, 182])
def test_a_reading_a_proposal_and_a_purchase_cost_few_requests(profile: ProfileName, owned: int) -> None:
    async def story() -> None:
        async with open_desk(simulated(profile, owned)) as desk:
            await warmed(desk)
            requests = desk.sim.requests
            for tool in ("get_spending", "list_phone_numbers", "get_spending", "list_phone_numbers"):
                begun = len(requests)
                told = await desk.tool(tool)
                assert len(requests) - begun <= pages(desk, begun) + BESIDE_PAGES
                assert pages(desk, begun) <= owned // PAGE + 2
                assert (told["prices_as_of"] is None) is (owned == 0)
            begun = len(requests)
            operation = await desk.propose()
            assert len(requests) - begun <= pages(desk, begun) + BESIDE_PAGES
            claim, rest, _ = await claimed(desk, operation)
            assert claim <= owned // PAGE + 2 + BESIDE_PAGES
            assert len(requests) - begun <= MOST_OF_A_PURCHASE
            assert rest >= claim

    leaping(story)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_list_of_many_with_prices_and_their_sum_costs_few_requests(profile: ProfileName) -> None:
    async def story() -> None:
        sim, nowhere = simulated(profile, 182), 40
        for number in list(sim.owned.values())[::4][:nowhere]:
            number.endpoint_id = None
        async with open_desk(sim) as desk:
            asked = sim.requests
            first = await desk.tool("list_phone_numbers")
            assert (first["total"], first["unpriced"], first["monthly_total_cents"]) == (182, 177, 5 * 300)
            await anyio.sleep(SETTLED_SECONDS)
            begun = len(asked)
            told = await desk.tool("list_phone_numbers", endpoint_id="unrouted")
            assert (told["total"], told["unpriced"], told["monthly_total_cents"]) == (nowhere, 0, nowhere * 300)
            assert len(asked) - begun <= BESIDE_PAGES
            begun = len(asked)
            further = await desk.tool("list_phone_numbers", contains="0803", offset=20)
            assert (further["unpriced"], further["monthly_total_cents"]) == (0, 182 * 300)
            assert len(asked) - begun <= 1

    leaping(story)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_long_list_is_counted_again_as_soon_as_the_page_that_is_shown_has_changed(profile: ProfileName) -> None:
    async def story() -> None:
        sim = simulated(profile, 182)
        numbers = list(sim.owned.values())
        async with open_desk(sim) as desk:
            await warmed(desk)
            assert (await desk.tool("list_phone_numbers"))["total"] == 182
            await anyio.sleep(HOUR / 6)
            begun = len(sim.requests)
            assert (await desk.tool("list_phone_numbers"))["total"] == 182
            assert len(sim.requests) - begun == 1
            numbers[150].status = "released"  # in the dashboard, on a page that is not shown
            filtered = await desk.tool("list_phone_numbers", country="NG")
            assert (filtered["total"], filtered["hidden"]) == (181, 1)
            await anyio.sleep(HOUR / 6)
            numbers[3].status = "released"
            told = await desk.tool("list_phone_numbers")
            assert (told["total"], told["hidden"]) == (180, 2)
            await anyio.sleep(HOUR / 6)
            await desk.release(numbers[5].id)
            assert (await desk.tool("list_phone_numbers"))["total"] == 179
            await anyio.sleep(HOUR)
            sim.owned.pop(numbers[160].id)
            assert (await desk.tool("list_phone_numbers"))["total"] == 178

    leaping(story)


@pytest.mark.parametrize("profile", ["reference", pytest.param("guide", marks=pytest.mark.soak)])
def test_a_day_with_many_numbers_stays_within_the_smallest_plan(profile: ProfileName) -> None:
    assert leaping(partial(a_day, profile)) < MOST_OF_A_DAY


@pytest.mark.parametrize("owned", [60, 600])
def test_a_purchase_under_a_monthly_cap_is_told_when_it_will_be_possible_and_is_possible_then(owned: int) -> None:
    async def story() -> None:
        sim = simulated("reference", owned, rate_per_second=10)
        async with open_desk(sim) as desk:
            item = next(each for each in sim.inventory.values() if each.type == "mobile")
            asked = {"e164": item.e164, "country": item.country, "type": item.type}
            begun = seconds()
            refused = await desk.client.call_tool("buy_phone_number", asked)
            assert seconds() - begun < 4
            said = refused.structured_content or {}
            assert (said["code"], said["charged"]) == ("COMMITMENT_UNKNOWN", "no")
            found = re.search(
                r"the prices of (\d+) of (\d+) owned numbers are known; .* in about (\d+) (\w+)", said["message"]
            )
            assert found is not None, said["message"]
            known, of, wait, unit = found.groups()
            assert (int(known), int(of)) == (5, owned)
            promised = int(wait) * {"seconds": 1, "minutes": 60}[unit]
            assert promised <= owned / 5 + 61  # at half of ten a second, rounded up to a minute
            await anyio.sleep(begun + promised + 1 - seconds())
            told = await desk.tool("buy_phone_number", **asked)
            assert told["status"] == "confirmation_required"
            done = await desk.tool("buy_phone_number", **asked, confirmation_code=told["confirmation_code"])
            assert done["status"] == "done"
            alone = [seen.path for seen in sim.requests if "/phone-numbers/" in seen.path and seen.status == 200]
            # Each once, the caller's own few perhaps twice, and what the purchase itself reads back.
            assert len(alone) <= owned + BESIDE_PAGES + 1
        if owned == 600:
            assert any(seen.status == 429 for seen in sim.requests)

    leaping(story)


def test_servers_of_one_journal_read_no_price_twice() -> None:
    async def story() -> None:
        sim = simulated("reference", 60)
        async with (
            open_leaping_journal() as journal,
            open_desk(sim, journal=journal) as one,
            open_desk(sim, journal=journal) as other,
        ):
            await one.tool("get_spending")
            await anyio.sleep(1)
            await other.tool("get_spending")
            await anyio.sleep(SETTLED_SECONDS)
            for desk in (one, other):
                assert (await desk.tool("get_spending"))["run_rate_complete"]
        alone = [seen.path for seen in sim.requests if "/phone-numbers/" in seen.path]
        assert len(set(alone)) == 60
        assert len(alone) <= 60 + BESIDE_PAGES

    leaping(story)


def test_the_background_leaves_half_of_a_second_to_callers() -> None:
    async def story() -> None:
        sim = simulated("reference", 60, rate_per_second=10)
        async with open_desk(sim) as desk:
            await desk.tool("get_spending")
            await anyio.sleep(2)
            begun = len(sim.requests)
            await anyio.sleep(4)
            assert 12 <= len(sim.requests) - begun <= 21
            sim.faults.switch_on("rate_limited", on=["get"], retry_after="8")
            await anyio.sleep(1)
            begun = len(sim.requests)
            await anyio.sleep(6)
            assert len(sim.requests) - begun <= 2

    leaping(story)


@pytest.mark.soak
def test_an_idle_hour_costs_about_two_requests_and_no_price_becomes_too_old() -> None:
    async def story() -> None:
        async with open_desk(simulated("guide", 182), attend_every=1800.0) as desk:
            await warmed(desk)
            assert await desk.count(partial(anyio.sleep, HOUR)) == 0
            await anyio.sleep(4 * DAY)
            assert 1 <= await desk.count(partial(anyio.sleep, HOUR)) <= 3
            await anyio.sleep(4 * DAY)
            begun = len(desk.sim.requests)
            told = await desk.tool("get_spending")
            assert (told["run_rate_complete"], told["unpriced_numbers"]) == (True, 0)
            assert len(desk.sim.requests) - begun == pages(desk, begun)

    leaping(story)


def test_a_number_that_cannot_be_read_holds_up_no_other() -> None:
    async def story() -> None:
        async with open_desk(simulated("reference", 30)) as desk:
            first = next(iter(desk.sim.owned))
            desk.sim.faults.switch_on("refuse", times=5, on=["get"], status=418)
            await desk.tool("get_spending")
            await anyio.sleep(SETTLED_SECONDS / 10)
            told = await desk.tool("get_spending")
            assert told["unpriced_numbers"] <= 5
            await anyio.sleep(2 * SETTLED_SECONDS)
            assert (await desk.tool("get_spending"))["run_rate_complete"]
            assert first in {seen.path.rpartition("/")[2] for seen in desk.sim.requests}

    leaping(story)


def test_after_an_outage_the_background_reads_as_soon_as_is_promised() -> None:
    async def story() -> None:
        sim = simulated("reference", 60, rate_per_second=10)
        async with open_desk(sim) as desk:
            await desk.tool("get_spending")
            sim.faults.switch_on("error_before", times=None)
            await anyio.sleep(HOUR)
            sim.faults.clear()
            with pytest.raises(KrosError) as refused:
                await desk.propose()
            found = re.search(r"will be in about (\d+) seconds", refused.value.message)
            assert found is not None, refused.value.message
            await anyio.sleep(int(found[1]) + 15)
            assert await desk.propose()

    leaping(story)
