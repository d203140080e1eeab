from collections.abc import AsyncIterator

import httpx
import pytest

from kros_mcp.simulator import Simulator, open_server, transport

CANARY = "canary"


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    return Simulator(request.param, sip_password=CANARY)


@pytest.fixture
def reference() -> Simulator:
    return Simulator("reference")


@pytest.fixture
def guide() -> Simulator:
    return Simulator("guide")


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Calls whichever simulator the test asks for."""
    name = next(name for name in ("sim", "reference", "guide") if name in request.fixturenames)
    simulator: Simulator = request.getfixturevalue(name)
    async with client_of(simulator) as opened:
        yield opened


@pytest.fixture(params=["in_process", "tcp"])
async def wired(request: pytest.FixtureRequest, sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the simulator over either way to it."""
    if request.param == "in_process":
        async with client_of(sim) as opened:
            yield opened
    else:
        async with open_server(sim) as base_url, client_of(sim, base_url) as opened:
            yield opened


def client_of(simulator: Simulator, base_url: str = "https://simulator.invalid/v1") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url,
        transport=transport(simulator) if base_url.startswith("https") else None,
        headers={"Authorization": f"Bearer {simulator.api_key}"},
        timeout=5,
    )
