"""`python -m tests.checks.clients`: try the clients that people have, and print how each fared."""

import argparse
import sys
import time
from collections.abc import Sequence

import anyio

from tests.support.processes import end_as_by_ctrl_c

from .roster import ROSTER, TRANSPORTS, Bridge, Transport
from .table import as_json, lines
from .trying import Tried, try_client

ABOUT = """
Each client is a library that somebody else wrote, in an environment of its own, which is installed at its first use.
It drives the real server without a model: over stdio, where it starts `kros-mcp` itself, and over HTTP with a token.
Before the server stands a simulated KrosAI in a process of its own.

  tools          the model is given every tool, with its description
  search         numbers for sale are shown with what they cost
  buy by code    the first call asks, the second one with its code buys at that price
  buy by prompt  the person says yes in the client's own prompt; a dash where it shows none
  decline        the person says no there, and nothing is bought
  route          the number's calls go to an endpoint that was found by its name
  release        the first call asks, the second one with its code releases
  refusal        KrosAI refuses a purchase; the model learns why, and that nothing was charged
  five seconds   KrosAI takes too long: `pending` within five seconds, at the client's own time limit; then the end

Every step is held against what the client's model was shown, in text or data alone where it sees no more, and
against KrosAI's books.
"""
EXIT = """
exit codes
  0  every step that applies went as it must
  1  something failed; the reasons stand under the table
  2  wrong usage

examples
  python -m tests.checks.clients --quick
  python -m tests.checks.clients livekit-agents pipecat-ai --transport http
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `bridges` and `transports` of it are what is to be tried."""
    parser = argparse.ArgumentParser(
        "python -m tests.checks.clients",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {bridge.name: bridge for bridge in ROSTER}
    heavy = ", ".join(bridge.name for bridge in ROSTER if bridge.heavy)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which clients (all): {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help=f"leave out those of hundreds of megabytes: {heavy}")
    parser.add_argument("--transport", choices=TRANSPORTS, help="over this one alone (both)")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="how many are tried at once (2)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parsed = parser.parse_args(arguments)
    if unknown := [name for name in parsed.names if name not in known]:
        parser.error(f"there is no client {unknown[0]}; there are {', '.join(known)}")
    if parsed.at_once < 1:
        parser.error("--at-once must be 1 or more")
    named = [known[name] for name in dict.fromkeys(parsed.names)] or list(ROSTER)
    parsed.bridges = [bridge for bridge in named if not (parsed.quick and bridge.heavy)]
    parsed.transports = (parsed.transport,) if parsed.transport else TRANSPORTS
    if not parsed.bridges:
        parser.error("--quick leaves nothing of what was named")
    return parsed


async def try_all(bridges: Sequence[Bridge], transports: Sequence[Transport], at_once: int) -> list[Tried]:
    """Try each client over each transport, and say on standard error how far it is."""
    wanted = [(bridge, transport) for bridge in bridges for transport in transports]
    rows: dict[int, Tried] = {}
    limit = anyio.Semaphore(at_once)

    async def one(place: int, bridge: Bridge, transport: Transport) -> None:
        async with limit:
            row = rows[place] = await try_client(bridge, transport)
        verdict = f"{len(row.failed)} FAILED" if row.failed else "ok"
        print(f"{len(rows)}/{len(wanted)} {row.name} over {transport}: {verdict}", file=sys.stderr, flush=True)

    async with anyio.create_task_group() as tasks:
        for place, (bridge, transport) in enumerate(wanted):
            tasks.start_soon(one, place, bridge, transport)
    return [rows[place] for place in range(len(wanted))]


def main() -> int:
    """Try what was asked for; 1 if anything failed."""
    arguments = parsed()
    end_as_by_ctrl_c()
    began = time.monotonic()
    rows = anyio.run(try_all, arguments.bridges, arguments.transports, arguments.at_once)
    print(as_json(rows) if arguments.json else "\n".join(lines(rows, time.monotonic() - began)))
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
