"""`python -m tests.checks.campaign`: run a campaign, and say whether the books agree."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from kros_mcp.simulator.faults import KINDS
from tests.support.postgres_server import open_postgres_server

from .campaign import Outcome, run
from .fleet import HTTP_KINDS, PACE, over_http
from .report import LONG_ENOUGH_SECONDS, PROVES_LITTLE, keep, lines, missed, targets
from .world import Plan

ABOUT = """
Many clients buy, configure and release numbers through real server processes that share one journal, while the
simulated KrosAI shows every fault it has, and while servers are killed, frozen for longer than their lease and
restarted. Then everything calms down, and three books are compared:

  1. what people confirmed      the campaign's own record, written before each yes is delivered
  2. what the journal says      every operation with its state, and whether it charged
  3. what KrosAI did            its charges, its releases, its changes, the requests that arrived

and every answer that a client was given is held against all three. A receiver of webhooks, which is now and then down,
slow or broken, must have taken a notice of each move that people are told of. A difference is a finding about the
server.
"""
EXIT = """
exit codes
  0  zero differences, and enough happened
  1  differences; a folder campaign-failure-SEED holds all that is needed to understand them
  2  wrong usage, or a journal that cannot be opened or is not empty
  3  zero differences, but less happened than --at-least asks for, so the run proves less

The seed decides every choice and every fault, but not the machine's timing: the same seed gives a similar run,
never the same one.

examples
  python -m tests.checks.campaign --seconds 120 --seed 1
  python -m tests.checks.campaign --seconds 30 --seed 7 --profile guide --at-least purchases=50,kills=10
  python -m tests.checks.campaign --seconds 120 --seed 1 --backend postgres
  python -m tests.checks.campaign --seconds 120 --seed 2 --backend postgres --transport http
  python -m tests.checks.campaign --seconds 120 --seed 4 --backend postgres --transport http --organizations 2
"""


TRANSPORTS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "stdio": lambda _seed: {},
    "http": lambda seed: {"transport": over_http(stateless=seed // 2 % 2 == 1), "kinds": HTTP_KINDS, "pace": PACE},
}


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.checks.campaign",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=120, help="how long the clients are busy (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default 1)")
    parser.add_argument(
        "--profile",
        choices=("by seed", "reference", "guide"),
        default="by seed",
        help="which of KrosAI's two documents the simulator follows; odd seeds take reference, even ones guide",
    )
    parser.add_argument(
        "--transport",
        choices=tuple(TRANSPORTS),
        default="stdio",
        help="how clients reach servers: each its own over stdio, or three replicas over HTTP behind a proxy, which "
        "keep sessions for legacy clients or, with seeds 2, 3, 6, 7, …, keep none (stdio)",
    )
    parser.add_argument(
        "--organizations", type=int, default=1, metavar="N", help="how many there are under one key, over HTTP (1)"
    )
    journal = parser.add_mutually_exclusive_group()
    journal.add_argument(
        "--backend",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="what the journal that all servers share is kept in, a file or a server of the campaign's own (sqlite)",
    )
    journal.add_argument("--journal-url", default="", metavar="URL", help="another journal; it must be empty")
    parser.add_argument(
        "--at-least",
        default="",
        metavar="WHAT=N,…",
        help="what must have happened: purchases, releases, configures, kills, freezes, restarts, by-page, each-fault. "
        "By default in proportion to the seconds (for 120: 300 purchases, 39 kills, 9 freezes, each fault 9 "
        "times), and nothing below 60 seconds",
    )
    parser.add_argument(
        "--without", default="", metavar="FAULT,…", help="faults to leave out, to find out which one a difference is of"
    )
    parser.add_argument(
        "--agents",
        type=int,
        default=3,
        help="how many agents share each client (default 3; at most 2 where a page asks)",
    )
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR", help="where a failed run is kept"
    )
    parsed = parser.parse_args(arguments)
    try:
        parsed.least = targets(parsed.at_least, parsed.seconds, parsed.transport)
    except ValueError as exc:
        parser.error(f"--at-least: {exc}")
    if parsed.organizations > 1 and parsed.transport != "http":
        parser.error("--organizations: several go with --transport http, where tokens name them")
    parsed.without = frozenset(filter(None, parsed.without.split(",")))
    if unknown := sorted(parsed.without - set(KINDS)):
        parser.error(f"--without: there is no fault {unknown[0]}; there are {', '.join(KINDS)}")
    return parsed


def main() -> int:
    arguments = parsed()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kros-campaign-"))
        url = arguments.journal_url
        if arguments.backend == "postgres":
            url = stack.enter_context(open_postgres_server()).url()
        plan = Plan(
            seconds=arguments.seconds,
            seed=arguments.seed,
            folder=Path(folder),
            profile=arguments.profile,
            journal_url=url,
            agents=arguments.agents,
            without=arguments.without,
            organizations=arguments.organizations,
            **TRANSPORTS[arguments.transport](arguments.seed),
        )
        try:
            outcome: Outcome = anyio.run(partial(run, plan))
        except ValueError as exc:
            print(exc, file=sys.stderr)
            return 2
        printed = "\n".join(lines(outcome))
        print(printed)
        short = missed(outcome, arguments.least)
        if short:
            print("less happened than was asked for: " + "; ".join(short))
        if outcome.differences:
            print(f"kept in {keep(outcome, arguments.keep, printed)}")
        if plan.seconds < LONG_ENOUGH_SECONDS:
            print(PROVES_LITTLE)
    return 1 if outcome.differences else 3 if short else 0


if __name__ == "__main__":
    sys.exit(main())
