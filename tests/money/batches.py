"""What the tests of batches have in common: how several numbers are asked for at once, and what happens to the nth."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from bench import OTHER_MOBILES, Bench

from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.several import SEVERAL_PURCHASE
from kros_mcp.operations.model import Operation, Request
from kros_mcp.simulator import Simulator
from tests.support.upstream import Send, Tampered

THREE = OTHER_MOBILES[:3]
OnNth = Callable[[httpx.Request, Send], Awaitable[httpx.Response]]


def wish(e164: str, **wanted: Any) -> Wish:
    return Wish(Request(**{"country": "NG", "type": "mobile", **wanted}), e164)


async def propose(bench: Bench, e164s: Sequence[str] = THREE, principal: str = "local", **wanted: Any) -> Operation:
    """Propose to buy several Nigerian mobiles in one batch."""
    return await SEVERAL_PURCHASE.propose(bench.account, principal, [wish(e164, **wanted) for e164 in e164s])


async def items(bench: Bench, batch: Operation) -> tuple[Operation, ...]:
    return await bench.account.journal.items(batch.id)


async def ended(bench: Bench, batch: Operation) -> list[tuple[str, str]]:
    """Tell state and code of each number of a batch, in their order."""
    return [(str(item.state), item.error_code) for item in await items(bench, batch)]


def on_nth(sim: Simulator, method: str, nth: int, do: OnNth) -> Tampered:
    """Do something to the nth request of a method, and let the others through."""
    seen = 0

    async def tamper(request: httpx.Request, send: Send) -> httpx.Response:
        nonlocal seen
        seen += 1
        return await (do(request, send) if seen == nth else send(request))

    return Tampered(sim, method, tamper)


async def lose(request: httpx.Request, send: Send) -> httpx.Response:
    """Let KrosAI act, and lose its answer."""
    await send(request)
    raise httpx.ReadError("lost", request=request)


def charged(sim: Simulator) -> list[str]:
    return [charge.e164 for charge in sim.charges]
