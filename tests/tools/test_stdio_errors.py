"""What the server says on stderr holds nothing up, whether or not its client reads that."""

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from typing import IO

import anyio
import pytest

from kros_mcp.commands.stderr_buffer import MOST_WAITING, StderrBuffer
from kros_mcp.simulator import Simulator, open_server
from tests.support.pipe import INITIALIZED, call, initialize, open_program, request
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, IO[bytes]]]:
    """A pipe that nobody reads and that takes nothing any more: its end to read from, and that to write to."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writes, b"." * 512)
    os.set_blocking(writes, True)
    with open(writes, "wb", closefd=False) as stderr:
        yield reads, stderr
    os.close(reads)
    os.close(writes)


async def test_a_stderr_that_nobody_reads_holds_up_no_answer_no_purchase_and_no_end(
    reference: Simulator, full_pipe: tuple[int, IO[bytes]]
) -> None:
    item = item_of(reference)
    arguments = {"e164": item.e164, "country": item.country, "type": item.type}
    async with open_server(reference) as base_url:
        settings = {
            "KROS_API_KEY": reference.api_key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_BASE_URL": base_url,
            "KROS_JOURNAL_URL": "sqlite://:memory:",
            "KROS_ANSWER_WITHIN_SECONDS": "20",
        }
        async with open_program(stderr=full_pipe[1], **settings) as program:
            await program.answer(initialize())
            asked = await program.answer(INITIALIZED, call("ask", "buy_phone_number", **arguments))
            code = asked["result"]["structuredContent"]["confirmation_code"]
            bought = await program.answer(call("buy", "buy_phone_number", **arguments, confirmation_code=code))
            assert bought["result"]["structuredContent"]["status"] == "done"
            for nth in range(100):
                await program.send(b"no message")
                assert (await program.answer(request(nth, "ping")))["result"] == {}
            program.close()
            assert await program.ended() == 0
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_a_server_that_says_something_before_it_serves_starts_all_the_same(
    full_pipe: tuple[int, IO[bytes]],
) -> None:
    async with open_program(stderr=full_pipe[1]) as program:
        assert "serverInfo" in (await program.answer(initialize()))["result"]


class Stuck(io.StringIO):
    """A stream that takes nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_go_on = Event(), Event()

    def write(self, text: str) -> int:
        self.begun.set()
        self.may_go_on.wait()
        return super().write(text)


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted() -> None:
    stuck = Stuck()
    buffer = StderrBuffer(stuck)
    buffer.write("first\n")
    await anyio.to_thread.run_sync(stuck.begun.wait)
    fits = MOST_WAITING // 10
    for nth in range(fits + 7):
        buffer.write(f"{nth:09}\n")
    buffer.end(0.0)  # waits no longer than it is told
    stuck.may_go_on.set()
    buffer.end(10.0)
    buffer.write("last\n")
    buffer.end(10.0)
    lines = stuck.getvalue().splitlines()
    assert lines[0] == "first"
    assert lines[1:-2] == [f"{nth:09}" for nth in range(fits)]
    assert lines[-2:] == ["kros-mcp: 7 lines were dropped here, as nobody read this", "last"]


async def test_a_stream_that_is_closed_holds_nobody_up() -> None:
    inner = io.StringIO()
    inner.close()
    buffer = StderrBuffer(inner)
    for _ in range(2):
        buffer.write("a line\n")
        buffer.end(10.0)
