"""`kros-mcp demo`: a whole conversation against the simulator, with every claim checked.

A real MCP client talks to the real server in a process of its own, over stdio; the server talks to
the simulator over HTTP. Faults are switched on between the lines.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import click

from kros_mcp.commands.console import say
from kros_mcp.commands.demo_conversation import ClaimError, Stage
from kros_mcp.commands.demo_story import Story
from kros_mcp.simulator import Simulator, open_server

_LAST_LINES = 15


@click.command(help="Watch a whole conversation against the simulator.")
@click.option(
    "--profile", type=click.Choice(("reference", "guide")), default="reference", help="which dialect of KrosAI"
)
@click.option("--pace", type=float, default=0.0, metavar="SECONDS", help="pause after each step")
def demo(profile: str, pace: float) -> int:
    """Show the story; 0 if every claim held, 1 if one did not."""
    return anyio.run(_show, profile, pace)


async def _show(profile: str, pace_seconds: float) -> int:
    stage = Stage(max(0.0, pace_seconds))
    sim = Simulator("guide" if profile == "guide" else "reference")
    with tempfile.TemporaryDirectory(prefix="kros-mcp-demo-", ignore_cleanup_errors=True) as folder:
        log_path = Path(folder) / "server.log"
        try:
            with log_path.open("w", encoding="utf-8") as log:
                async with open_server(sim) as base_url:
                    await Story(stage, sim, base_url, f"sqlite:///{Path(folder) / 'journal.sqlite3'}", log).play()
        except Exception as exc:  # noqa: BLE001 - the person is told in one line, whatever it was
            _explain(exc, log_path.read_text(encoding="utf-8", errors="replace"))
            return 1
    return 0


def _explain(exc: Exception, log: str) -> None:
    leaves = list(_leaves(exc))
    claims = [leaf for leaf in leaves if isinstance(leaf, ClaimError)]
    print()
    if claims:
        say(f"FAILED: this claim does not hold: {claims[0]}", "red", always_folds=True)
    else:
        say(f"FAILED: the demo could not go on ({type(leaves[0]).__name__}: {leaves[0]}).", "red", always_folds=True)
    if log.strip():
        print("The server wrote:")
        print("\n".join(log.splitlines()[-_LAST_LINES:]))


def _leaves(exc: Exception) -> Iterator[Exception]:
    if isinstance(exc, ExceptionGroup):
        for one in exc.exceptions:
            yield from _leaves(one)
    else:
        yield exc
