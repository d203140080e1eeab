"""Plays scenarios: which with whom, several at once, each at a desk of its own."""

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from .desk import Desk, open_desk
from .model import NotPlayedError
from .scenarios import Scenario
from .story import Story, Way

Play = Callable[[Desk], Awaitable[None]]


@dataclass(frozen=True)
class Run:
    """One scenario, one agent, one way of saying yes."""

    scenario: Scenario
    agent: str
    way: Way
    play: Play


async def play(run: Run) -> Story:
    """Play a run at a desk of its own."""
    with tempfile.TemporaryDirectory(prefix="kros-mcp-desk-") as folder:
        async with open_desk(run.scenario, run.way, Path(folder), agent=run.agent) as desk:
            try:
                await run.play(desk)
            except NotPlayedError as exc:
                desk.story.not_played = str(exc)
            return desk.story


async def play_all(runs: Sequence[Run], at_once: int, tell: Callable[[Run, Story], None] | None = None) -> list[Story]:
    """Play runs, so many at once; what they came to, in their order."""
    stories: dict[int, Story] = {}
    limit = anyio.Semaphore(at_once)

    async def one(place: int, run: Run) -> None:
        async with limit:
            stories[place] = await play(run)
        if tell is not None:
            tell(run, stories[place])

    async with anyio.create_task_group() as tasks:
        for place, run in enumerate(runs):
            tasks.start_soon(one, place, run)
    return [stories[place] for place in range(len(runs))]
