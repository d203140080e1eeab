"""Prompts that nobody answers: most are left as soon as they are shown, some held open, and answers come too late.

One caller's pace of 20 requests a second holds it back, as each prompt costs a reading of KrosAI, here the simulator in
the same process; then the bound on its requests in course.
"""

import asyncio
from itertools import count
from typing import Any

from tests.checks.flood.legacy import calling, event, head, initialize, send
from tests.checks.flood.target import Target

SETTINGS = {"KROS_CONFIRMATION": "prompt"}
LEAVING = 6
HELD = 80
HELD_SECONDS = 30.0
PAUSE_SECONDS = 0.5
PROPOSING = 4
OK = 200
LATE = {400: "late answers refused", 202: "late answers taken"}
COUNTRIES = ("NG", "GH", "KE", "RW", "ZA")


async def flood(target: Target) -> None:
    """Show prompts in one session."""
    async with target.connection() as (reader, writer):
        await send(target, writer, initialize())
        _, session = await head(reader)
        await event(reader)
    offers = [offer for country in COUNTRIES for offer in await on_sale(target, session, country)]
    proposing = asyncio.Semaphore(PROPOSING)
    turn = count(100)

    async def shown(seconds: float) -> None:
        async with target.connection() as (reader, writer):
            async with proposing:
                prompt = await asked(reader, writer)
            if prompt is None:
                await asyncio.sleep(PAUSE_SECONDS)
                return
            target.did["prompts"] += 1
            await asyncio.sleep(seconds)
        await asyncio.sleep(PAUSE_SECONDS)
        await late(prompt)

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any] | None:
        nth = next(turn)
        await send(target, writer, calling(nth, "buy_phone_number", inventory_id=offers[nth % len(offers)]), session)
        status, _ = await head(reader)
        prompt = await event(reader) if status == OK else {}
        if prompt.get("method") == "elicitation/create":
            return prompt
        target.did["shown nothing" if prompt else "turned away"] += 1
        return None

    async def late(prompt: dict[str, Any]) -> None:
        """Answer a prompt whose stream has been left."""
        async with target.connection() as (reader, writer):
            answer = {
                "jsonrpc": "2.0",
                "id": prompt["id"],
                "result": {"action": "accept", "content": {"decision": "no"}},
            }
            await send(target, writer, answer, session)
            status, _ = await head(reader)
            target.did[LATE.get(status, "turned away")] += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(target.at_once(LEAVING, lambda: shown(0)))
        tasks.create_task(target.at_once(HELD, lambda: shown(HELD_SECONDS)))


async def on_sale(target: Target, session: str, country: str) -> list[str]:
    """Search a country; the ids of what is for sale there."""
    async with target.connection() as (reader, writer):
        await send(target, writer, calling(2, "search_phone_numbers", country=country, limit=50), session)
        await head(reader)
        found = (await event(reader))["result"]["structuredContent"]["numbers"]
    return [offer["inventory_id"] for offer in found]
