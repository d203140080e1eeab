"""Sessions that nobody uses: opened and left, or refused for want of a clientInfo, as fast as one caller can.

The pace is off, so that nothing but the bound on sessions holds it back.
"""

import asyncio

from tests.checks.flood.legacy import event, head, initialize, send
from tests.checks.flood.target import Target

SETTINGS = {"KROS_REQUESTS_PER_SECOND": "0"}
AT_ONCE = 80


async def flood(target: Target) -> None:
    """Open sessions by as many connections at once, each of which is left after one."""

    async def left() -> None:
        await opening(target, "opened")

    async def refused() -> None:
        await opening(target, "refused", clientInfo=None)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(target.at_once(AT_ONCE // 2, left))
        tasks.create_task(target.at_once(AT_ONCE // 2, refused))


async def opening(target: Target, done: str, **params: object) -> None:
    async with target.connection() as (reader, writer):
        await send(target, writer, initialize(**params))
        status, _ = await head(reader)
        if status == 200 and ("result" in await event(reader)) is (done == "opened"):
            target.did[done] += 1
        else:
            target.did["turned away"] += 1
