"""Heads without an end, by strangers: 1,010 half-sent, 4 of ever more headers, 4 with one header of 100 MiB."""

import asyncio

from tests.checks.flood.target import Target

HALF = 1_010
ENDLESS = 4
LONG = 4
MOST_BYTES = 100 * 2**20
_BEGINNING = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def flood(target: Target) -> None:
    """Keep all of them coming at once."""

    async def half() -> None:
        async with target.connection() as (reader, writer):
            writer.write(_BEGINNING + b"X-Filler: " + b"x" * 16_000)
            await reader.read()

    async def endless() -> None:
        await sending(target, b"".join(b"X-%d: %s\r\n" % (nth, b"y" * 50) for nth in range(1_000)))

    async def long() -> None:
        await sending(target, b"z" * 2**20, b"X-Long: ")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(target.at_once(HALF, half))
        tasks.create_task(target.at_once(ENDLESS, endless))
        tasks.create_task(target.at_once(LONG, long))


async def sending(target: Target, piece: bytes, before: bytes = b"") -> None:
    """Send a head of one piece after the other until the service closes the connection."""
    async with target.connection() as (_, writer):
        writer.write(_BEGINNING + before)
        for _ in range(MOST_BYTES // len(piece)):
            writer.write(piece)
            await writer.drain()
            target.did["KiB"] += len(piece) // 1024
