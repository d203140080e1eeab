"""Servers that kill themselves at one point of one act; run as a program by the crash tests.

The program is a nursery: it imports once, reads lines of JSON from stdin and forks a server for each, with

    [BASE_URL, JOURNAL_URL, "buy", "release" or "several", E164, "write" or "wire", AT, "before" or "after"]

`several` buys the numbers that E164 names, with commas between them, under one yes.

`write` is the journal's AT-th transaction, killed before or after its commit; `wire` is the AT-th
request that is not a GET, killed before it leaves or after its answer came. It prints each server's exit code.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import anyio
import httpx
from bench import YES, settings_for

from kros_mcp.journals.postgres import PostgresJournal
from kros_mcp.journals.rows import Work
from kros_mcp.journals.sql import StoredJournal
from kros_mcp.journals.sqlite import SqliteJournal
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.acts.several import SEVERAL_PURCHASE
from kros_mcp.operations.model import Request
from kros_mcp.runtime import open_runtime


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Point:
    """Counts down to the moment of the crash."""

    def __init__(self, at: int, when: str) -> None:
        self._left, self._when = at, when

    def passes(self, *, when: str) -> None:
        if when == "before":
            self._left -= 1
        if self._left == 0 and when == self._when:
            die()


class Wire(httpx.AsyncBaseTransport):
    """The real network, with the crash beside each request that writes."""

    def __init__(self, point: Point) -> None:
        self._way, self._point = httpx.AsyncHTTPTransport(), point

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return await self._way.handle_async_request(request)
        self._point.passes(when="before")
        response = await self._way.handle_async_request(request)
        self._point.passes(when="after")
        return response

    async def aclose(self) -> None:
        await self._way.aclose()


def crash_at_writes(point: Point) -> None:
    for backend in (SqliteJournal, PostgresJournal):
        wrap(backend, point)


def wrap(backend: type[StoredJournal], point: Point) -> None:
    committing = backend._transact  # noqa: SLF001 - the child alone wraps it

    async def transact(self: StoredJournal, work: Callable[[], Work[Any]]) -> Any:
        def until_commit() -> Work[Any]:
            result = yield from work()
            point.passes(when="before")
            return result

        result = await committing(self, until_commit)
        point.passes(when="after")
        return result

    backend._transact = transact  # type: ignore[method-assign]  # noqa: SLF001 - the same


async def main(base_url: str, journal_url: str, act: str, e164: str, kind: str, at: str, when: str) -> None:
    point, never = Point(int(at), when), Point(-1, "")
    if kind == "write":
        crash_at_writes(point)
    settings = settings_for(base_url, journal_url=journal_url)
    async with open_runtime(settings, transport=Wire(point if kind == "wire" else never)) as runtime:
        if act == "buy":
            endpoint = (await runtime.account.client.list_endpoints()).items[0].id
            wish = Request(country="NG", type="mobile", endpoint_id=endpoint, allow_outbound=True)
            operation = await PURCHASE.propose(runtime.account, "local", wish, e164)
        elif act == "several":
            wishes = [Wish(Request(country="NG", type="mobile"), each) for each in e164.split(",")]
            operation = await SEVERAL_PURCHASE.propose(runtime.account, "local", wishes)
        else:
            operation = await RELEASE.propose(runtime.account, "local", Request(), e164)
        runtime.runner.start(operation.id, YES)
        await runtime.runner.wait(operation.id, 30)


def serve(arguments: list[str]) -> NoReturn:
    code = 1
    try:
        anyio.run(main, *arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - the fork must not run on as a nursery
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def nurse() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            serve(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    nurse()
