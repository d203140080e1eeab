"""One client, over one transport, through the whole journey."""

import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .conversation import open_conversation
from .facts import StepError
from .journey import PROMPTED, STEPS, Journey
from .roster import Bridge, Transport
from .world import open_krosai, open_way

NO_PROMPTS = "shows no prompts"


@dataclass(frozen=True)
class Cell:
    """How a step went; `reason` says why it failed, or why it does not apply."""

    verdict: Literal["ok", "none", "failed"]
    reason: str = ""


@dataclass
class Tried:
    """A row of the table: how a client fared over a transport."""

    name: str
    transport: Transport
    client: str = ""
    protocol: str = ""
    sees: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed(self) -> dict[str, str]:
        """The reasons of the steps that failed, by step."""
        return {step: cell.reason for step, cell in self.cells.items() if cell.verdict == "failed"}

    def fill(self, steps: Iterable[str], verdict: Literal["none", "failed"], reason: str) -> None:
        """Say the same of all steps that nothing has been said of yet."""
        for step in steps:
            self.cells.setdefault(step, Cell(verdict, reason))


async def try_client(bridge: Bridge, transport: Transport, settings: Mapping[str, str] | None = None) -> Tried:
    """Send a client through the journey, before a simulated KrosAI of its own.

    Args:
        bridge: Drives the client.
        transport: How it reaches the server.
        settings: Further KROS_* variables of the server.
    """
    tried, began = Tried(bridge.name, transport), time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="kros-clients-") as folder:
            await _try(tried, bridge, settings or {}, Path(folder))
    except (OSError, subprocess.CalledProcessError) as exc:
        tried.fill(STEPS, "failed", f"it could not be started: {exc}")
    tried.seconds = time.monotonic() - began
    tried.cells = {step: tried.cells[step] for step in STEPS}
    return tried


async def _try(tried: Tried, bridge: Bridge, settings: Mapping[str, str], folder: Path) -> None:
    command = bridge.command()
    async with (
        open_krosai(folder, settings) as krosai,
        open_way(tried.transport, krosai, folder) as way,
    ):

        async def go(steps: list[str], *, prompts: bool) -> None:
            connect = {**way, "prompts": prompts}
            try:
                async with open_conversation(command, connect, folder / "bridge.stderr") as talk:
                    await _go(tried, Journey(bridge, tried.transport, krosai, talk), steps, prompts=prompts)
            except StepError as exc:
                tried.fill(steps, "failed", str(exc))

        await go([step for step in STEPS if step not in PROMPTED], prompts=False)
        if bridge.prompts:
            await go(list(PROMPTED), prompts=True)
        else:
            tried.fill(PROMPTED, "none", NO_PROMPTS)


async def _go(tried: Tried, journey: Journey, steps: list[str], *, prompts: bool) -> None:
    said = journey.talk.client
    tried.client, tried.protocol, tried.sees = said["client"], said["protocol"] or "", said["sees"]
    if prompts and not said["prompts"]:
        raise StepError("it shows no prompts any more")
    if prompts:
        await journey.search()
    for step in steps:
        try:
            await STEPS[step](journey)
            tried.cells[step] = Cell("ok")
        except StepError as exc:
            tried.cells[step] = Cell("failed", str(exc))
