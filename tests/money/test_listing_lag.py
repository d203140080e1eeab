"""A KrosAI whose list of owned numbers shows a purchase late."""

from collections.abc import AsyncIterator

import httpx
import pytest
from bench import OTHER_MOBILES, Bench, open_bench

from kros_mcp.errors import RefusedError
from kros_mcp.operations import moves
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator
from tests.support.upstream import Send, Tampered, list_is_empty

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("every_backend")]
ONE_NUMBER = 700
HOUR = 3_600.0


@pytest.fixture
async def capped(sim: Simulator) -> AsyncIterator[Bench]:
    """A bench with room for one number a month, where KrosAI lists none."""
    way = Tampered(sim, "GET", list_is_empty)
    async with open_bench(sim, way=way, monthly_commitment_cents=ONE_NUMBER) as bench:
        yield bench


async def test_a_purchase_that_is_not_listed_yet_counts_against_the_monthly_cap(capped: Bench) -> None:
    second = await capped.propose(OTHER_MOBILES[5])
    bought = await capped.buy()
    assert (bought.state, bought.quote.monthly_cents) == (State.DONE, ONE_NUMBER)
    capped.clock.now += 60.0
    refused = await capped.execute(second)
    assert (refused.state, refused.error_code) == (State.FAILED, "OVER_MONTHLY_COMMITMENT")
    capped.clock.now += HOUR - 61.0
    with pytest.raises(RefusedError) as caught:
        await capped.propose(OTHER_MOBILES[6])
    assert caught.value.code == "OVER_MONTHLY_COMMITMENT"
    assert len(capped.sim.charges) == len(capped.posts()) == 1


async def test_a_purchase_is_counted_once_when_it_is_listed(sim: Simulator) -> None:
    owned = sum(number.monthly_cost_cents for number in sim.owned.values() if number.status != "inactive")
    async with open_bench(sim, monthly_commitment_cents=owned + 2 * ONE_NUMBER) as bench:
        for e164 in OTHER_MOBILES[5:7]:
            assert (await bench.buy(e164)).state is State.DONE
        with pytest.raises(RefusedError):
            await bench.propose(OTHER_MOBILES[7])


async def test_a_number_just_bought_is_offered_to_no_other_principal(sim: Simulator) -> None:
    """Even though KrosAI lists it neither as owned yet nor as sold."""
    stock = dict(sim.inventory)
    async with open_bench(sim, way=Tampered(sim, "GET", list_is_empty)) as bench:
        waiting = await bench.propose(OTHER_MOBILES[5], principal="second")
        assert (await bench.buy(OTHER_MOBILES[5])).state is State.DONE
        sim.inventory.update(stock)
        with pytest.raises(RefusedError) as caught:
            await bench.propose(OTHER_MOBILES[5], principal="third")
        assert caught.value.code == "ALREADY_OWNED"
        refused = await bench.execute(waiting)
        assert (refused.state, refused.error_code) == (State.FAILED, "ALREADY_OWNED")
    assert len(sim.charges) == len(bench.posts()) == 1


async def test_a_number_bought_and_released_again_does_not_count(capped: Bench) -> None:
    bought = await capped.buy(OTHER_MOBILES[5])
    number = capped.sim.owned_by_e164(bought.e164)
    assert number is not None
    capped.clock.now += 60.0
    assert (await capped.execute(await capped.propose_release(number))).state is State.DONE
    capped.clock.now += 60.0
    assert (await capped.buy(OTHER_MOBILES[6])).state is State.DONE
    with pytest.raises(RefusedError):
        await capped.propose(OTHER_MOBILES[7])
    assert len(capped.sim.charges) == 2


async def test_a_purchase_settled_by_hand_gets_its_settings_once_it_is_listed(sim: Simulator) -> None:
    endpoint = next(iter(sim.endpoints))
    lags = True

    async def lagging(request: httpx.Request, send: Send) -> httpx.Response:
        return await (list_is_empty(request, send) if lags else send(request))

    async with open_bench(sim, way=Tampered(sim, "GET", lagging)) as bench:
        operation = await bench.propose(endpoint_id=endpoint)
        sim.faults.switch_on("ignore_snake_case", on=["purchase"])
        sim.faults.switch_on("price_moves", at="purchase", cents=123)
        sim.faults.switch_on("lost_reply", on=["purchase"])
        unknown = await bench.execute(operation)
        settled = await bench.account.journal.change(
            unknown.id,
            lambda current, now: moves.settle_by_hand(
                current, now, state=State.DONE, by="user-1", reason="looked", settle_seconds=0
            ),
        )
        number = sim.owned_by_e164(settled.e164)
        assert number is not None
        assert (settled.charged, number.endpoint_id) == ("yes", None)
        waiting = await finish_purchase(bench.account, settled)
        assert (waiting.settings_pending, waiting.not_applied) == (True, ())
        lags = False
        finished = await finish_purchase(bench.account, waiting)
        assert (finished.settings_pending, finished.not_applied) == (False, ())
        assert (number.endpoint_id, len(sim.charges)) == (endpoint, 1)
        assert finished.note.startswith("Settled by user-1: looked KrosAI now reports 8.23")
        assert finished.reserved_cents == sim.charges[0].cents


async def test_a_purchase_that_is_not_listed_for_an_hour_says_that_its_settings_are_not_applied(sim: Simulator) -> None:
    async with open_bench(sim, way=Tampered(sim, "GET", list_is_empty)) as bench:
        sim.faults.switch_on("lost_reply", on=["purchase"])
        unknown = await bench.buy(allow_outbound=False)
        settled = await bench.account.journal.change(
            unknown.id,
            lambda current, now: moves.settle_by_hand(
                current, now, state=State.DONE, by="user-1", reason="looked", settle_seconds=0
            ),
        )
        bench.clock.now += HOUR + 1.0
        finished = await finish_purchase(bench.account, settled)
        assert (finished.settings_pending, finished.not_applied) == (False, ("allow_outbound",))
