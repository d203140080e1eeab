"""How tests buy from a simulator, and read its lists."""

from typing import Any

import httpx

from kros_mcp.simulator import InventoryItem, Simulator

SEARCH = {"action": "available", "country": "NG"}


def first_item(sim: Simulator) -> InventoryItem:
    return next(iter(sim.inventory.values()))


async def buy(client: httpx.AsyncClient, item: InventoryItem, **fields: Any) -> httpx.Response:
    body = {"inventory_id": item.id, **fields}
    return await client.post("/phone-numbers", json=body, headers={"Idempotency-Key": item.id})


def listed(answer: httpx.Response) -> list[dict[str, Any]]:
    body = answer.json()
    found: list[dict[str, Any]] = next(iter(body.values())) if isinstance(body, dict) else body
    return found
