"""Bodies that are never whole: 980 of 256 KiB by strangers, 120 by one caller, and 4 of 100 MiB."""

import asyncio

from tests.checks.flood.target import Target

STRANGERS = 980
CALLERS = 120
ENDLESS = 4
KIB = 256
MOST_BYTES = 100 * 2**20


async def flood(target: Target) -> None:
    """Keep all of them coming at once."""

    async def by_a_stranger() -> None:
        await unfinished(target, "stranger")

    async def by_the_caller() -> None:
        await unfinished(target, target.token)

    async def endless() -> None:
        async with target.connection() as (_, writer):
            writer.write(head(target.token, "Transfer-Encoding: chunked"))
            for _ in range(MOST_BYTES // (64 * 1024)):
                writer.write(b"10000\r\n" + b" " * (64 * 1024) + b"\r\n")
                await writer.drain()
                target.did["KiB"] += 64

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(target.at_once(STRANGERS, by_a_stranger))
        tasks.create_task(target.at_once(CALLERS, by_the_caller))
        tasks.create_task(target.at_once(ENDLESS, endless))


async def unfinished(target: Target, token: str) -> None:
    """Send all of a body but its last byte, and wait for the service to close the connection."""
    async with target.connection() as (reader, writer):
        writer.write(head(token, f"Content-Length: {KIB * 1024}") + b" " * (KIB * 1024 - 1))
        await writer.drain()
        target.did["KiB"] += KIB
        await reader.read()


def head(token: str, framing: str) -> bytes:
    lines = ("POST /mcp HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", framing, "", "")
    return "\r\n".join(lines).encode()
