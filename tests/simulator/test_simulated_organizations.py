"""Several organizations under one key: what each has of its own, and what they share."""

import httpx
import pytest

from kros_mcp.simulator import Simulator
from kros_mcp.simulator.state import SimulatedAccount
from tests.simulator.conftest import client_of

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["reference", "guide"])
def both(request: pytest.FixtureRequest) -> Simulator:
    return Simulator(request.param, organizations=2)


def other_of(sim: Simulator) -> SimulatedAccount:
    assert sim.other is not None
    return sim.other


def named(account: SimulatedAccount) -> dict[str, str]:
    return {"x-organization-id": account.organization_id}


def records(answer: httpx.Response, *names: str) -> list[dict[str, object]]:
    body = answer.json()
    return body if isinstance(body, list) else next(body[name] for name in names if name in body)


async def owned(client: httpx.AsyncClient, account: SimulatedAccount) -> set[object]:
    answer = await client.get("/phone-numbers", headers=named(account))
    return {each.get("e164", each.get("number")) for each in records(answer, "phone_numbers")}


async def for_sale(client: httpx.AsyncClient, account: SimulatedAccount) -> list[dict[str, object]]:
    query = {"action": "available", "country": "NG", "limit": "100"}
    return records(await client.get("/phone-numbers", params=query, headers=named(account)), "available")


async def test_each_has_numbers_endpoints_and_credit_of_its_own(both: Simulator) -> None:
    other = other_of(both)
    async with client_of(both) as client:
        assert await owned(client, both) == {number.e164 for number in both.owned.values()}
        assert await owned(client, other) == {number.e164 for number in other.owned.values()}
        assert not {number.e164 for number in both.owned.values()} & {number.e164 for number in other.owned.values()}
        for theirs in (next(iter(other.owned)), next(iter(other.endpoints))):
            path = f"/phone-numbers/{theirs}" if theirs in other.owned else f"/endpoints/{theirs}"
            assert (await client.get(path)).status_code == 404
            assert (await client.get(path, headers=named(other))).status_code == 200
        item = (await for_sale(client, other))[0]
        bought = await client.post("/phone-numbers", json={"inventory_id": item["id"]}, headers=named(other))
    assert bought.status_code == 201
    assert both.charges == []
    assert [charge.cents for charge in other.charges] == [10_000 - other.balance_cents]
    assert both.balance_cents == 10_000


@pytest.mark.parametrize("fault", ["", "stays_for_sale"])
async def test_a_number_sold_to_one_is_not_for_sale_to_the_other(both: Simulator, fault: str) -> None:
    if fault:
        both.faults.switch_on(fault)
    async with client_of(both) as client:
        item = (await for_sale(client, both))[0]
        order = {"inventory_id": item["id"]}
        assert (await client.post("/phone-numbers", json=order)).status_code == 201
        assert item["id"] not in {each["id"] for each in await for_sale(client, other_of(both))}
        refused = await client.post("/phone-numbers", json=order, headers=named(other_of(both)))
        assert refused.json()["code"] == "NUMBER_NOT_AVAILABLE"
    assert other_of(both).charges == []


async def test_an_idempotency_key_is_remembered_for_its_organization_alone(both: Simulator) -> None:
    keyed = {"idempotency-key": "op_1"}
    async with client_of(both) as client:
        item = (await for_sale(client, both))[0]
        for _ in range(2):
            answer = await client.post("/phone-numbers", json={"inventory_id": item["id"]}, headers=keyed)
            assert answer.status_code == 201
        other = await client.post(
            "/phone-numbers", json={"inventory_id": item["id"]}, headers=keyed | named(other_of(both))
        )
    assert other.json()["code"] == "NUMBER_NOT_AVAILABLE"
    assert len(both.charges) == 1


async def test_an_unknown_organization_is_refused(both: Simulator) -> None:
    async with client_of(both) as client:
        for unknown in ("someone-else", "", both.organization_id.upper() + "x"):
            answer = await client.get("/phone-numbers", headers={"x-organization-id": unknown})
            assert answer.status_code == 403


async def test_the_state_of_each_is_shown_and_set_apart(both: Simulator) -> None:
    other = other_of(both)
    async with client_of(both) as client:
        control = "https://simulator.invalid/_simulator/state"
        shown = await client.put(control, params={"organization": other.organization_id}, json={"balance_cents": 7})
        assert shown.json()["organizations"] == [both.organization_id, other.organization_id]
        assert (await client.get(control)).json()["balance_cents"] == 10_000
        assert (await client.get(control, params={"organization": "none"})).status_code == 400
    assert other.balance_cents == 7


async def test_an_answer_of_another_organization_says_so(both: Simulator) -> None:
    other = other_of(both)
    both.faults.switch_on("other_organization", times=None)
    async with client_of(both) as client:
        theirs = records(await client.get("/phone-numbers"), "phone_numbers")
        assert {each["id"] for each in theirs} == set(other.owned)
        assert {each["organization_id"] for each in theirs} == {other.organization_id}
        endpoints = records(await client.get("/endpoints"), "endpoints")
        assert {each["organization_id"] for each in endpoints} == {other.organization_id}
        [own] = [number for number in both.owned.values() if number.status == "active"]
        answer = (await client.get(f"/phone-numbers/{own.id}")).json()
        assert (answer["id"], answer["organization_id"]) == (own.id, other.organization_id)


def test_there_are_ten_at_most() -> None:
    assert len({number for each in Simulator(organizations=10).organizations.values() for number in each.owned}) == 20
    with pytest.raises(ValueError, match="at most"):
        Simulator(organizations=11)
