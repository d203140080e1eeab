import logging

import anyio
import httpx
import pytest

from kros_mcp.simulator import Simulator, open_server

pytestmark = pytest.mark.anyio


async def test_a_cancelled_client_does_not_stop_its_purchase(sim: Simulator, wired: httpx.AsyncClient) -> None:
    sim.faults.switch_on("hold", on={"purchase"})
    body = {"inventory_id": next(iter(sim.inventory))}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: wired.post("/phone-numbers", json=body))
        await sim.faults.held()
        tasks.cancel_scope.cancel()
    assert sim.charges == []
    sim.faults.let_go()
    await sim.settled()
    assert len(sim.charges) == 1


async def test_both_ways_to_the_simulator_record_the_same_request(sim: Simulator, wired: httpx.AsyncClient) -> None:
    await wired.get("/phone-numbers/a%2Fb%20c?limit=3&limit=4")
    await wired.get("/phone-numbers/a%20b", params={"x": "é"})
    assert [(seen.path, seen.query) for seen in sim.requests] == [("/v1/phone-numbers/a b", {"x": "é"})]


async def test_closing_the_server_lets_go_what_it_holds(sim: Simulator) -> None:
    sim.faults.switch_on("hold", on={"list_endpoints"})
    with anyio.fail_after(5):
        async with open_server(sim) as base_url, anyio.create_task_group() as tasks:
            client = httpx.AsyncClient(base_url=base_url, headers={"x-api-key": sim.api_key})
            tasks.start_soon(client.get, "/endpoints")
            await sim.faults.held()
            tasks.cancel_scope.cancel()
        await client.aclose()
        await sim.settled()
    assert sim.requests[0].status == 200


async def test_what_goes_wrong_beside_the_server_comes_out_as_it_is(sim: Simulator) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_server(sim):
            raise LookupError("mine")


async def test_a_taken_port_is_an_error_at_once(sim: Simulator) -> None:
    async with open_server(sim) as base_url:
        with pytest.raises(OSError, match="in use"):
            async with open_server(sim, port=httpx.URL(base_url).port or 0):
                pass


async def test_the_server_is_silent_even_when_it_drops_a_connection(
    sim: Simulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    sim.faults.switch_on("lost_reply", on={"list_endpoints"})
    async with (
        open_server(sim) as base_url,
        httpx.AsyncClient(headers={"x-api-key": sim.api_key}) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{base_url}/endpoints")
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert capfd.readouterr() == ("", "")
