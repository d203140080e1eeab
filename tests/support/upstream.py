"""The simulated KrosAI: what stands in its books, and a way to it on which requests and answers can be changed."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from kros_mcp.simulator import InventoryItem, Simulator, transport

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
Tamper = Callable[[httpx.Request, Send], Awaitable[httpx.Response]]


class Tampered(httpx.AsyncBaseTransport):
    """Hands each request of one method to `tamper`, which may send it on, and lets the others through."""

    def __init__(
        self, sim: Simulator, method: str, tamper: Tamper, way: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._way, self._method, self._tamper = way or transport(sim), method, tamper

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != self._method:
            return await self._way.handle_async_request(request)
        return await self._tamper(request, self._way.handle_async_request)


def answering(answer: httpx.Response, *, acts: bool = False) -> Tamper:
    """Answer this, after KrosAI has acted or in its place."""

    async def tamper(request: httpx.Request, send: Send) -> httpx.Response:
        if acts:
            await send(request)
        return answer

    return tamper


def acting_then(sim: Simulator, fault: str, **switch: Any) -> Tamper:
    """Let KrosAI act, and switch one of its faults on for what comes after."""

    async def tamper(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        sim.faults.switch_on(fault, **switch)
        return answer

    return tamper


async def list_is_empty(request: httpx.Request, send: Send) -> httpx.Response:
    """KrosAI's list of owned numbers does not show any yet."""
    if request.url.params.get("action") == "assigned":
        return httpx.Response(200, json=[])
    return await send(request)


def item_of(sim: Simulator, country: str = "NG", kind: str = "local", nth: int = 0) -> InventoryItem:
    """The nth number for sale of a country and type."""
    return [item for item in sim.inventory.values() if (item.country, item.type) == (country, kind)][nth]


def wrote(sim: Simulator) -> list[str]:
    """The methods of all requests that were not readings."""
    return [seen.method for seen in sim.requests if seen.method != "GET"]


def state_of(sim: Simulator) -> object:
    """Everything of the account that a write could change."""
    return (
        sim.balance_cents,
        len(sim.charges),
        sorted(
            (number.id, number.status, number.endpoint_id or "", number.allow_inbound, number.allow_outbound)
            for number in sim.owned.values()
        ),
        len(sim.inventory),
    )
