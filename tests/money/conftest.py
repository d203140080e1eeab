import logging
from collections.abc import AsyncIterator

import pytest
from bench import Bench, open_bench, simulator

from kros_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    return simulator(request.param)


@pytest.fixture
async def bench(sim: Simulator) -> AsyncIterator[Bench]:
    async with open_bench(sim) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let the search for secrets see what the most talkative operator would."""
    caplog.set_level(logging.DEBUG)
