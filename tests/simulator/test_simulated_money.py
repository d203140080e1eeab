from typing import Any, Literal

import httpx
import pytest

from kros_mcp.simulator import InventoryItem, Simulator

pytestmark = pytest.mark.anyio


def toll_free(sim: Simulator) -> InventoryItem:
    return next(item for item in sim.inventory.values() if item.type == "toll_free")


async def buy(client: httpx.AsyncClient, item: InventoryItem, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/phone-numbers", json={"inventory_id": item.id, **fields}, headers=headers)


async def test_a_purchase_charges_setup_and_first_month_once(sim: Simulator, client: httpx.AsyncClient) -> None:
    item = toll_free(sim)
    assert (await buy(client, item, "k1")).status_code == 201
    assert [(each.e164, each.cents, each.idempotency_key) for each in sim.charges] == [(item.e164, 3500, "k1")]
    assert sim.balance_cents == 6_500
    assert item.id not in sim.inventory
    owned = sim.owned_by_e164(item.e164)
    assert owned is not None
    assert owned.status == "active"


async def test_what_is_sold_is_no_longer_available(sim: Simulator, client: httpx.AsyncClient) -> None:
    item = toll_free(sim)
    await buy(client, item)
    answer = await buy(client, item)
    expected = {"reference": 400, "guide": 404}[sim.profile.name]
    assert (answer.status_code, answer.json()["code"]) == (expected, "NUMBER_NOT_AVAILABLE")
    assert len(sim.charges) == 1


async def test_too_little_credit_buys_nothing(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.balance_cents = 3_499
    item = toll_free(sim)
    answer = await buy(client, item)
    expected = {"reference": 402, "guide": 400}[sim.profile.name]
    assert (answer.status_code, answer.json()["code"]) == (expected, "INSUFFICIENT_BALANCE")
    assert (sim.charges, sim.balance_cents) == ([], 3_499)
    assert item.id in sim.inventory


@pytest.mark.parametrize(
    ("kyc", "detailed", "plain"),
    [
        ("not_submitted", "KYC_NOT_SUBMITTED", "KYC_REQUIRED"),
        ("initiated", "KYC_INITIATED", "KYC_REQUIRED"),
        ("pending", "KYC_PENDING", "KYC_PENDING"),
        ("declined", "KYC_DECLINED", "KYC_REQUIRED"),
    ],
)
async def test_nothing_is_sold_to_the_unverified(
    sim: Simulator,
    client: httpx.AsyncClient,
    kyc: Literal["not_submitted", "initiated", "pending", "declined"],
    detailed: str,
    plain: str,
) -> None:
    sim.kyc = kyc
    answer = await buy(client, toll_free(sim))
    expected = detailed if sim.profile.name == "reference" else plain
    assert (answer.status_code, answer.json()["code"]) == (400, expected)
    assert sim.charges == []


async def test_a_purchase_is_checked_in_the_suggested_order(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.balance_cents, sim.kyc = 0, "pending"
    codes = []
    read_only = {"Authorization": f"Bearer {sim.read_only_key}"}
    codes.append((await client.post("/phone-numbers", json={}, headers=read_only)).json()["code"])
    codes.append((await client.post("/phone-numbers", json={})).json()["code"])
    codes.append((await client.post("/phone-numbers", json={"inventory_id": "gone"})).json()["code"])
    sim.kyc = "approved"
    codes.append((await client.post("/phone-numbers", json={"inventory_id": "gone"})).json()["code"])
    codes.append((await buy(client, toll_free(sim))).json()["code"])
    assert codes == [
        "INSUFFICIENT_SCOPE",
        "MISSING_FIELDS",
        "KYC_PENDING",
        "NUMBER_NOT_AVAILABLE",
        "INSUFFICIENT_BALANCE",
    ]


async def test_the_same_idempotency_key_and_body_is_answered_from_memory(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    item = toll_free(sim)
    first, second = await buy(client, item, "k1"), await buy(client, item, "k1")
    assert (second.status_code, second.json()) == (201, first.json())
    assert len(sim.charges) == 1


async def test_a_refusal_is_not_remembered(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.balance_cents = 0
    item = toll_free(sim)
    assert (await buy(client, item, "k1")).json()["code"] == "INSUFFICIENT_BALANCE"
    sim.balance_cents = 10_000
    assert (await buy(client, item, "k1")).status_code == 201


async def test_the_same_key_with_another_body_is_another_request(sim: Simulator, client: httpx.AsyncClient) -> None:
    first, second = list(sim.inventory.values())[:2]
    await buy(client, first, "k1")
    await buy(client, second, "k1")
    assert [charge.e164 for charge in sim.charges] == [first.e164, second.e164]
