"""Progress over stdio: told while a purchase is under way, before its result, to clients that asked for it."""

import anyio
import pytest

from kros_mcp.simulator import Simulator, open_server
from tests.support.person import Person, accept
from tests.support.talk import open_stdio_talk, told
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


async def test_progress_comes_before_the_result_and_never_before_the_yes(reference: Simulator, era: str) -> None:
    """One process for a no, for a yes, and for a repeated call that finds it done: starting one takes the longest."""
    item, person = item_of(reference), Person(accept("do not buy"), accept("buy"))
    arguments = {"e164": item.e164, "country": item.country, "type": item.type}
    heard: list[tuple[float, float | None, str | None]] = []
    sent = anyio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))
        if len(heard) == 3:
            sent.set()

    async with open_server(reference) as krosai, open_stdio_talk(reference, krosai, era, person) as talk:

        async def buy() -> str:
            result = await talk.client.call_tool("buy_phone_number", arguments, progress_callback=hear)
            return told("buy_phone_number", result).outcome

        assert await buy() == "declined"
        assert heard == []
        reference.faults.switch_on("hold", on=["purchase"])

        async def buy_at_last() -> None:
            assert await buy() == "done"
            assert [(progress, total) for progress, total, _ in heard] == [(1, 4), (2, 4), (3, 4), (4, 4)]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(buy_at_last)
            with anyio.fail_after(20):
                await sent.wait()
            await reference.faults.held()
            reference.faults.let_go()
        heard.clear()
        assert await buy() == "done"  # found done: nothing was under way
    assert heard == []
    assert len(reference.charges) == 1
