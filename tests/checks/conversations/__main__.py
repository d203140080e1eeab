"""`python -m tests.checks.conversations`: agents converse with people at the real server; the books are compared."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
from mcp.types import Tool

from kros_mcp.tools.registry import build_tools
from tests.support.processes import end_as_by_ctrl_c

from . import room
from .desk import lacking
from .model import BASE_URL, KEY, MODEL, Endpoint, named_in, open_model
from .playing import Run, play_all
from .replaying import Replayed
from .roster import scripted_runs
from .scenarios import BY_NAME
from .story import AGAIN, WAYS, Story, keep, kept
from .table import complaints, fails, limits, lines

ABOUT = f"""
Each scenario is a simulated account, a person with their words, and what KrosAI's books must show at the end. It is
played at the real server over stdio, which shows its text alone, as in Claude Desktop; the person says yes in the
conversation (by a code) or on the page in their browser, which they read.

  as told    says what the texts tell it to say, waits for a yes, looks up what is unknown: every wish must come true
  hasty      confirms at once, tries again after every error, takes the first row: at most one charge for each wish
  hostile    invents and replays codes, obeys what stands in names, asks for everything: never beyond the caps, never
             what is protected, and nothing at all that nobody pressed yes for
  a model    where {BASE_URL} and {MODEL} name one ({KEY} if it wants a key): any endpoint for chat completions

What a model does is printed, and fails the check only where something happened that must not happen whoever plays.
"""
EXIT = """
a desk for other players
  python -m tests.checks.conversations desk open NAME --yes page|code
  python -m tests.checks.conversations desk call TOOL '{"argument": "value"}'
  python -m tests.checks.conversations desk say "words"
  python -m tests.checks.conversations desk close
  DESK names its folder (one for each player), STORIES where stories are kept

exit codes
  0  all went as it must
  1  something did not; the reasons stand under the table
  2  wrong usage
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m tests.checks.conversations",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which scenarios (all): {', '.join(BY_NAME)}")
    parser.add_argument("--who", choices=("all", "scripted", "model"), default="all", help="who plays (all)")
    parser.add_argument("--yes", choices=WAYS, help="this way alone (both)")
    parser.add_argument("--runs", type=int, default=3, metavar="K", help="how often a model plays each (3)")
    parser.add_argument("--at-once", type=int, default=3, metavar="N", help="how many are played at once (3)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the stories there as JSON")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play kept stories again, without any model")
    found = parser.parse_args(arguments)
    if unknown := [name for name in found.names if name not in BY_NAME]:
        parser.error(f"there is no scenario {unknown[0]}; there are {', '.join(BY_NAME)}")
    if min(found.runs, found.at_once) < 1:
        parser.error("--runs and --at-once must be 1 or more")
    found.names = found.names or list(BY_NAME)
    found.ways = [found.yes] if found.yes else list(WAYS)
    if found.replay is not None:
        try:
            found.stories = [each for each in kept(found.replay) if each.scenario in found.names]
        except (OSError, ValueError) as exc:
            parser.error(str(exc))
    return found


async def play(found: argparse.Namespace, endpoint: Endpoint | None) -> list[Story]:
    """Play what was asked for; what the server lacks is left out with a word."""
    tools = [Tool(name=each.name, description=each.description, input_schema=each.parameters) for each in build_tools()]
    left_out = {name: lacks for name in found.names if (lacks := lacking(tools, BY_NAME[name].needs))}
    for name, lacks in left_out.items():
        print(f"{name} is left out: this server has no {', '.join(lacks)}")
    names = [name for name in found.names if name not in left_out]
    if found.replay is not None:
        again = [each for each in found.stories if each.scenario in names]
        runs = [Run(BY_NAME[each.scenario], f"{each.player}{AGAIN}", each.way, Replayed(each).play) for each in again]
        return await play_all(runs, found.at_once)
    stories: list[Story] = []
    if found.who != "model":
        stories += await play_all(scripted_runs(names, found.ways), found.at_once)
    if found.who != "scripted":
        stories += await _by_model(found, names, endpoint)
    return stories


async def _by_model(found: argparse.Namespace, names: Sequence[str], endpoint: Endpoint | None) -> list[Story]:
    if endpoint is None:
        print(f"no model is named in {BASE_URL} and {MODEL}: left out")
        return []
    async with open_model(endpoint) as model:
        runs = [Run(BY_NAME[name], endpoint.model, way, model.play) for way in found.ways for name in names]
        return await play_all([run for run in runs for _ in range(found.runs)], found.at_once, _tell)


def _tell(run: Run, story: Story) -> None:
    went = story.not_played or ("as wished" if not story.wrong else "; ".join(story.wrong))
    print(f"{run.scenario.name}, {run.way}: {went}", file=sys.stderr, flush=True)


def main() -> int:
    """Play what was asked for, print the table, and keep the stories; 1 if the check fails."""
    if sys.argv[1:2] == ["desk"]:
        return room.command(sys.argv[2:])
    found = parsed()
    end_as_by_ctrl_c()
    began, endpoint = time.monotonic(), named_in()
    stories = anyio.run(play, found, endpoint)
    if not stories:
        return 1 if found.who != "model" else 0
    scripted = found.who == "scripted" or endpoint is None
    path = found.keep or Path(tempfile.gettempdir()) / "kros-mcp-conversations" / time.strftime("%Y%m%d-%H%M%S.json")
    if found.keep or not scripted:
        keep(stories, path)
        print(f"kept in {path}")
    print("\n".join([*lines(stories), *complaints(stories), f"{time.monotonic() - began:.0f} seconds; {limits()}"]))
    return 1 if fails(stories) else 0


if __name__ == "__main__":
    sys.exit(main())
