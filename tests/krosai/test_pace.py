"""How fast the background asks: by what KrosAI's last answers say."""

import asyncio
from functools import partial

import anyio
import pytest

from kros_mcp.krosai.exchange import Reply
from kros_mcp.krosai.pace import Pace
from tests.support.leaping import leaping, seconds


def answer(status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, "json", {})


async def seconds_for_ten(*answers: Reply) -> float:
    pace = Pace()
    for each in answers:
        pace.heard(each)
    for _ in range(10):
        await pace.turn()
    return seconds()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], 1.8),  # half of the smallest plan's ten a second
        ([answer(x_ratelimit_limit="4", x_ratelimit_remaining="3")], 4.5),
        ([answer(x_ratelimit_limit="500000", x_ratelimit_remaining="400000")], 0.9),
        ([answer(x_ratelimit_limit="ten", x_ratelimit_remaining="-1", x_ratelimit_reset="soon")], 1.8),
        ([answer(x_ratelimit_limit="0")], 1.8),
        ([answer(x_ratelimit_limit="10", x_ratelimit_remaining="2")], 2.8),  # callers come first for a second
        (
            [
                answer(
                    x_ratelimit_limit="10",
                    x_ratelimit_remaining="0",
                    x_ratelimit_reset="1800000007",
                    date="Fri, 15 Jan 2027 08:00:00 GMT",
                )
            ],
            8.8,
        ),
        ([answer(429, retry_after="30")], 31.8),
        ([answer(429)], 2.8),
        ([answer(429, retry_after="30"), answer(x_ratelimit_limit="10", x_ratelimit_remaining="9")], 31.8),
    ],
)
def test_the_background_asks_as_fast_as_it_may(answers: list[Reply], expected: float) -> None:
    assert leaping(partial(seconds_for_ten, *answers)) == pytest.approx(expected, abs=0.01)


def test_who_waits_for_a_turn_heeds_what_is_said_meanwhile() -> None:
    async def story() -> float:
        pace = Pace()
        await pace.turn()

        async def say() -> None:
            await anyio.sleep(0.1)
            pace.heard(answer(429, retry_after="5"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await pace.turn()
        return asyncio.get_running_loop().time()

    assert leaping(story) == pytest.approx(5.1, abs=0.01)


def test_two_who_read_in_the_background_share_one_pace() -> None:
    async def story() -> float:
        pace = Pace()

        async def five() -> None:
            for _ in range(5):
                await pace.turn()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(five)
            tasks.start_soon(five)
        return seconds()

    assert leaping(story) == pytest.approx(1.8, abs=0.01)
