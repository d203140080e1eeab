"""A purchase from the first call to its result, and a start to the first answer, each beside the bare server's.

Purchases go through the SDK's own client, as agents make them; with a prompt, the client answers at once.
"""

import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from .servers import Command, Upstream, open_http
from .start import seconds_to_answer
from .wire import Connection, Door, bare_environment

COUNTRY = "NG"


@dataclass
class Bought:
    """What purchases took, in seconds, and the bare server's single calls between them."""

    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    commits: int = 0
    reads: int = 0
    writes: int = 0

    @property
    def milliseconds(self) -> float:
        return 1000 * statistics.median(self.ours)

    @property
    def ratio(self) -> float:
        return statistics.median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))


@asynccontextmanager
async def open_sdk_client(door: Door, era: str, *, prompts: bool) -> AsyncIterator[Client]:
    """Connect the SDK's client, which says yes to every prompt if it is to show any."""

    async def yes(context: object, params: object) -> ElicitResult:  # noqa: ARG001 - so the SDK names them
        return ElicitResult(action="accept", content={"decision": "buy"})

    headers = dict(header.split(": ", 1) for header in door.headers)
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{door.port}/mcp", http_client=http)
        mode = "legacy" if era == "legacy" else "auto"
        async with Client(transport, mode=mode, elicitation_callback=yes if prompts else None) as client:
            yield client


async def buy(client: Client, item: dict[str, Any]) -> None:
    """Buy a number that a search has shown: by prompt, or with the code that the first call gives."""
    arguments = {"inventory_id": item["inventory_id"]}
    told = await result(client, "buy_phone_number", arguments)
    if told["status"] == "confirmation_required":
        told = await result(client, "buy_phone_number", arguments | {"confirmation_code": told["confirmation_code"]})
    assert told["status"] == "done", told


async def result(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.structured_content
    assert answer.structured_content is not None
    return dict(answer.structured_content)


async def measure_buying(upstream: Upstream, ours: Client, bare: Client, journal: Path, *, times: int) -> Bought:
    """Buy so many numbers, each beside one bare call; the first is counted instead of timed."""
    bare_read = {"paths": [f"/phone-numbers?action=available&country={COUNTRY}&limit=10&offset=0"]}
    shown = await result(ours, "search_phone_numbers", {"country": COUNTRY, "type": "mobile", "limit": times + 1})
    first, *others = shown["numbers"]
    found = Bought()
    seen, commits = len(await upstream.requests()), commits_in(journal)
    await buy(ours, first)
    found.commits = commits_in(journal) - commits
    requests = (await upstream.requests())[seen:]
    found.reads = sum(request["method"] == "GET" for request in requests)
    found.writes = len(requests) - found.reads
    await result(bare, "read", bare_read)
    for item in others:
        begun = time.perf_counter()
        await result(bare, "read", bare_read)
        between = time.perf_counter()
        await buy(ours, item)
        found.bare.append(between - begun)
        found.ours.append(time.perf_counter() - between)
    return found


def commits_in(journal: Path) -> int:
    """Read how many transactions have stored something in a journal."""
    with closing(sqlite3.connect(journal)) as connection:
        return int(connection.execute("SELECT moves FROM progress").fetchone()[0])


@dataclass(frozen=True)
class Started:
    """Seconds from spawn to the answer to `initialize`, pair by pair."""

    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))

    @property
    def noise(self) -> float:
        """By what part half of the bare server's starts differ from their median."""
        low, middle, high = statistics.quantiles(self.bare, n=4)
        return (high - low) / 2 / middle


def measure_start(ours: list[str], bare: list[str], environment: dict[str, str], *, runs: int) -> Started:
    """Start both over stdio in turn; the first pair warms the disk up."""
    settings = bare_environment() | environment
    pairs = [(seconds_to_answer(ours, settings), seconds_to_answer(bare, settings)) for _ in range(runs + 1)][1:]
    return Started(*(list(column) for column in zip(*pairs, strict=True)))


async def measure_http_start(
    ours: Command, bare: Command, environment: dict[str, str], headers: tuple[str, ...], *, runs: int
) -> Started:
    """Start both over HTTP in turn; the first pair warms the disk up."""
    pairs = [
        (
            await seconds_to_answer_over_http(ours, environment, headers),
            await seconds_to_answer_over_http(bare, environment, ()),
        )
        for _ in range(runs + 1)
    ][1:]
    return Started(*(list(column) for column in zip(*pairs, strict=True)))


async def seconds_to_answer_over_http(command: Command, environment: dict[str, str], headers: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    async with open_http(command, environment, headers) as server:
        connection = Connection(server.door, "legacy")
        await connection.begin()
        taken = time.perf_counter() - begun
        await connection.end()
        return taken
