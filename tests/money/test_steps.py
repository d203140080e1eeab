"""Whoever waits for an act hears how far it is; the act waits for nobody who listens."""

from collections.abc import AsyncIterator

import anyio
import pytest
from bench import YES, Bench

from kros_mcp.operations.model import State
from kros_mcp.operations.progress import Reached, Step
from kros_mcp.operations.runner import Runner, open_runner

pytestmark = pytest.mark.anyio
LONGEST = 10.0


@pytest.fixture
async def runner(bench: Bench) -> AsyncIterator[Runner]:
    async with open_runner(bench.account) as opened:
        yield opened


async def test_every_step_is_told_once_and_in_order(bench: Bench, runner: Runner) -> None:
    heard: list[Reached] = []

    async def hear(step: Reached) -> None:
        heard.append(step)

    operation = await bench.propose()
    runner.start(operation.id, YES)
    assert (await runner.wait(operation.id, LONGEST, hear)).state is State.DONE
    assert heard == [Reached(step) for step in (Step.CLAIMED, Step.REREAD, Step.SENDING, Step.DONE)]


async def test_an_act_that_is_stopped_tells_no_later_step(bench: Bench, runner: Runner) -> None:
    heard: list[Reached] = []

    async def hear(step: Reached) -> None:
        heard.append(step)

    operation = await bench.propose()
    bench.sim.faults.switch_on("price_moves", at="search")
    runner.start(operation.id, YES)
    assert (await runner.wait(operation.id, LONGEST, hear)).error_code == "PRICE_CHANGED"
    assert heard == [Reached(Step.CLAIMED)]


@pytest.mark.parametrize("way", ["fails", "hangs"])
async def test_a_listener_that_cannot_be_told_changes_nothing(bench: Bench, runner: Runner, way: str) -> None:
    heard: list[Reached] = []

    async def cannot_hear(step: Reached) -> None:
        heard.append(step)
        if way == "fails":
            raise OSError
        await anyio.sleep_forever()

    operation = await bench.propose()
    runner.start(operation.id, YES)
    assert (await runner.wait(operation.id, LONGEST, cannot_hear)).state is State.DONE
    assert heard == [Reached(Step.CLAIMED)]
    assert len(bench.sim.charges) == 1
