"""`python -m tests.checks.inspector`: use the MCP Inspector on this server, and compare it with KrosAI's books."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import anyio

from tests.support.processes import end_as_by_ctrl_c

from .cli import Cli
from .page import Showing, show, show_documented
from .places import Era, Transport, open_place
from .story import Story
from .walk import Walk, table, walk

CALL_SECONDS = 120
PICTURES = Path(__file__).parents[3] / "pictures"
ABOUT = """
The official MCP Inspector, version 2, is used on this server the two ways that developers use it:

  cli   every tool, prompt and resource is called with `mcp-inspector --cli`, over stdio and over HTTP, in both
        protocol eras: modern (2026-07-28) and legacy (2025-11-25). One story: list, search, spending, endpoints,
        buy by code, route, look up, cancel another purchase, release. `tools/list --strict` must find nothing.
  web   the Inspector's page is opened in Chromium, in both eras, over stdio: connect, a prompt, a resource that is
        subscribed to, search, buy with the confirmation form that appears, decline another, release with the
        number's digits. Each step leaves a numbered picture.

Each has a simulated KrosAI of its own, and each act is compared with what that has charged and changed.
"""
EXIT = """
exit codes
  0  everything is as it has to be
  1  something is not; below the table stands what
  2  wrong usage, or there is no Chromium

The two pictures that docs/clients shows are made by `documents`, with the very command that stands there.

The first run installs the Inspector with npm (some 15 seconds); no Node has to be installed for it.

examples
  python -m tests.checks.inspector
  python -m tests.checks.inspector cli --transport http --era modern
  python -m tests.checks.inspector web --era legacy --pictures /tmp/pictures
  python -m tests.checks.inspector documents --pictures docs
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.checks.inspector",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", choices=("cli", "web", "both", "documents"), default="both", help="which half (both)"
    )
    parser.add_argument("--era", choices=get_args(Era), help="of the protocol; both by default")
    parser.add_argument("--transport", choices=get_args(Transport), help="of the CLI's calls; both by default")
    parser.add_argument(
        "--pictures", type=Path, default=PICTURES, metavar="DIR", help="where the page's pictures are kept (pictures/)"
    )
    given = parser.parse_args(arguments)
    given.chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if given.what != "cli" and given.chromium is None:
        parser.error("the page is opened in Chromium: install it with apt-get install chromium")
    given.eras = (given.era,) if given.era else get_args(Era)
    given.transports = (given.transport,) if given.transport else get_args(Transport)
    return given


async def call_all(eras: Sequence[Era], transports: Sequence[Transport], folder: Path) -> bool:
    """Tell the story in every era over every transport; True if each came to its end."""
    walks: dict[str, Walk] = {f"{transport} {era}": Walk() for transport in transports for era in eras}
    steps: list[str] = []

    async def tell(transport: Transport, era: Era) -> None:
        own = folder / f"{transport}-{era}"
        own.mkdir()
        async with open_place(transport, own) as place:
            story = Story(Cli(place, era, own), place.sim).steps()
            steps[:] = [name for name, _ in story]
            walks[f"{transport} {era}"] = await walk(story, seconds=CALL_SECONDS)

    for transport in transports:
        async with anyio.create_task_group() as tasks:
            for era in eras:
                tasks.start_soon(tell, transport, era)
    print(table("the Inspector's CLI", walks, steps), flush=True)
    return not any(one.failed for one in walks.values())


async def show_all(showing: Showing, eras: Sequence[Era], folder: Path) -> bool:
    """Tell the story on the page in every era; True if each came to its end."""
    walks: dict[str, Walk] = {}
    steps: list[str] = []
    for era in eras:
        own = folder / f"web-{era}"
        own.mkdir()
        walks[era], steps = await show(showing, era, own)
    print(table("the Inspector's page", walks, steps))
    print(f"pictures: {showing.pictures}")
    return not any(one.failed for one in walks.values())


async def run(given: argparse.Namespace, folder: Path) -> int:
    fine = True
    if given.what == "documents":
        await show_documented(Showing(given.chromium, given.pictures), folder)
        return 0
    if given.what != "web":
        fine = await call_all(given.eras, given.transports, folder)
    if given.what != "cli":
        fine = await show_all(Showing(given.chromium, given.pictures), given.eras, folder) and fine
    return 0 if fine else 1


def main() -> int:
    given = parsed()
    end_as_by_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="kros-inspector-") as folder:
        return anyio.run(partial(run, given, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
