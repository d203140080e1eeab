"""A record of another organization is never acted upon, and proves nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bench import LATE, Bench, ask_often, open_bench, simulator

from kros_mcp.errors import OtherOrganizationError
from kros_mcp.operations import recovery
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator
from tests.support.upstream import wrote

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def bench_of_one(sim: Simulator, **more: Any) -> AsyncIterator[Bench]:
    async with open_bench(sim, organization_id=sim.organization_id, **more) as bench:
        yield bench


@pytest.mark.parametrize("on", ["list_owned", "list_endpoints", "get_endpoint"])
async def test_nothing_is_proposed_where_another_organization_is_shown(sim: Simulator, on: str) -> None:
    sim.faults.switch_on("other_organization", times=None, on=[on])
    sim.faults.switch_on("no_single_endpoint", times=None) if on == "list_endpoints" else None
    async with bench_of_one(sim) as bench:
        with pytest.raises(OtherOrganizationError, match="nothing was charged"):
            await bench.propose(endpoint_id=next(iter(sim.endpoints)))
    assert wrote(sim) == []


async def test_nothing_is_bought_where_another_organization_is_shown_just_before(sim: Simulator) -> None:
    async with bench_of_one(sim) as bench:
        proposed = await bench.propose()
        sim.faults.switch_on("other_organization", times=None, on=["list_owned"])
        failed = await bench.execute(proposed)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "OTHER_ORGANIZATION", "no")
    assert wrote(sim) == []


async def test_nothing_is_released_by_the_record_of_another_organization(sim: Simulator) -> None:
    async with bench_of_one(sim) as bench:
        proposed = await bench.propose_release(bench.active)
        sim.faults.switch_on("other_organization", times=None, on=["get"])
        failed = await bench.execute(proposed)
        assert (failed.state, failed.error_code, failed.changed) == (State.FAILED, "OTHER_ORGANIZATION", "no")
    assert wrote(sim) == []


@pytest.mark.usefixtures("every_backend")
async def test_a_purchase_answered_for_another_organization_is_unknown_until_it_is_listed(sim: Simulator) -> None:
    sim.faults.switch_on("other_organization", on=["purchase"])
    async with bench_of_one(sim) as bench:
        unknown = await bench.buy()
        assert (unknown.state, unknown.error_code, unknown.charged) == (
            State.UNKNOWN,
            "OTHER_ORGANIZATION",
            "unknown",
        )
        assert "for whom" in unknown.message
        done = await ask_often(bench, unknown, 1)
        assert (done.state, done.charged, len(sim.charges)) == (State.DONE, "yes", 1)


async def test_what_another_organization_does_not_own_proves_no_purchase_undone(sim: Simulator) -> None:
    sim.faults.switch_on("lost_reply", on=["purchase"])
    async with bench_of_one(sim) as bench:
        proposed = await bench.propose()
        item = next(item for item in sim.inventory.values() if item.e164 == proposed.e164)
        unknown = await bench.execute(proposed)
        sim.inventory[item.id] = item  # still for sale, as far as anybody can see
        sim.faults.switch_on("other_organization", times=None, on=["list_owned"])
        for _ in range(5):
            bench.clock.now += LATE
            with pytest.raises(OtherOrganizationError):
                await recovery.reconcile(bench.account, await bench.stored(unknown))
        assert (await bench.stored(unknown)).state is State.UNKNOWN
        sim.faults.clear()
        assert (await ask_often(bench, unknown, 20)).state is State.DONE


async def test_a_purchase_that_was_made_for_another_organization_is_never_called_failed_by_itself() -> None:
    sim = simulator(organizations=2)
    assert sim.other is not None
    async with bench_of_one(sim) as bench:
        proposed = await bench.propose()
        item = next(item for item in sim.inventory.values() if item.e164 == proposed.e164)
        sim.faults.switch_on("ended_in_answer", on=["purchase"], status="active")  # nothing is bought for us
        sim.faults.switch_on("other_organization", on=["purchase"])
        unknown = await bench.execute(proposed)
        assert item.id in sim.inventory
        assert (await ask_often(bench, unknown, 20)).state is State.UNKNOWN
