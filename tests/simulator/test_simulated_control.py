import anyio
import httpx
import pytest

from kros_mcp.simulator import Simulator
from kros_mcp.simulator.faults import KINDS

pytestmark = pytest.mark.anyio

CONTROL = "https://simulator.invalid/_simulator"


async def test_the_page_names_every_fault_and_every_key(sim: Simulator, client: httpx.AsyncClient) -> None:
    page = (await client.get(CONTROL)).text
    assert all(name in page for name in KINDS)
    assert all(key in page for key in (sim.api_key, sim.read_only_key, sim.expired_key))


async def test_the_state_can_be_read_and_set(sim: Simulator, client: httpx.AsyncClient) -> None:
    await client.get("/endpoints")
    state = (await client.get(f"{CONTROL}/state")).json()
    assert (state["balance_cents"], state["kyc"], state["charges"]) == (10_000, "approved", [])
    assert [seen["path"] for seen in state["requests"]] == ["/v1/endpoints"]
    assert state["inventory"]["NG"] == 80
    await client.put(f"{CONTROL}/state", json={"balance_cents": 5, "kyc": "pending"})
    assert (sim.balance_cents, sim.kyc) == (5, "pending")


@pytest.mark.parametrize("wanted", [{"kyc": "maybe"}, {"balance_cents": "5"}, {"balance": 5}, {"balance_cents": True}])
async def test_a_state_that_cannot_be_is_refused(
    sim: Simulator, client: httpx.AsyncClient, wanted: dict[str, object]
) -> None:
    assert (await client.put(f"{CONTROL}/state", json=wanted)).status_code == 400
    assert (sim.balance_cents, sim.kyc) == (10_000, "approved")


async def test_faults_are_switched_on_and_off_by_name(sim: Simulator, client: httpx.AsyncClient) -> None:
    switch = {"times": None, "on": ["get_endpoint"], "status": 503, "code": "DOWN"}
    assert (await client.put(f"{CONTROL}/faults/refuse", json=switch)).status_code == 204
    endpoint_id = next(iter(sim.endpoints))
    assert (await client.get(f"/endpoints/{endpoint_id}")).status_code == 503
    assert (await client.get("/endpoints")).status_code == 200
    assert (await client.delete(f"{CONTROL}/faults/refuse")).status_code == 204
    assert (await client.get(f"/endpoints/{endpoint_id}")).status_code == 200
    assert (await client.get(f"{CONTROL}/state")).json()["faults"] == {"refuse": 1}


@pytest.mark.usefixtures("sim")
async def test_a_mistaken_switch_is_told_in_a_sentence(client: httpx.AsyncClient) -> None:
    for name, switch in (
        ("nothing", {}),
        ("slow", {"minutes": 1}),
        ("slow", {"times": "x"}),
        ("slow", {"name": "hold"}),
        ("slow", []),
    ):
        answer = await client.put(f"{CONTROL}/faults/{name}", json=switch)
        assert (answer.status_code, set(answer.json())) == (400, {"error"})
    assert (await client.get(f"{CONTROL}/held/slow")).status_code == 400


async def test_a_held_request_is_waited_for_and_let_go(sim: Simulator, wired: httpx.AsyncClient) -> None:
    root = str(wired.base_url).removesuffix("/v1/")
    await wired.put(f"{root}/_simulator/faults/hold", json={"on": ["purchase"]})
    answers: list[httpx.Response] = []

    async def buy() -> None:
        answers.append(await wired.post("/phone-numbers", json={"inventory_id": next(iter(sim.inventory))}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(buy)
        assert (await wired.get(f"{root}/_simulator/held/hold")).json() == {"held": True}
        assert (answers, sim.charges) == ([], [])
        assert (await wired.post(f"{root}/_simulator/let-go/hold")).json() == {"let_go": 1}
    assert answers[0].status_code == 201
    assert len(sim.charges) == 1


async def test_callers_from_elsewhere_get_no_control(sim: Simulator) -> None:
    elsewhere = httpx.ASGITransport(sim.app, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=elsewhere) as client:
        answer = await client.get(CONTROL)
    assert answer.status_code == 403
    assert sim.api_key not in answer.text
