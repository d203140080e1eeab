"""How much later the spending page comes with 100,000 operations in the journal than with none, in both backends.

Run it as `python -m tests.checks.benchmarks.spent_page [--rows 100000] [--runs 5]`. It prints the medians and their
difference for the page as it opens, as it is filtered, and at the end of its list, and ends with 1 if one of them comes
more than a second later.
"""

import argparse
import statistics
import sys
import time

import anyio
import httpx
from mcp.server.auth.provider import AccessToken
from starlette.applications import Starlette

from kros_mcp.http.access import Access
from kros_mcp.http.persons_routes import persons_routes
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Limits
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.caller import caller_token
from kros_mcp.tools.specs import Scope
from tests.checks.benchmarks.spent import KEY, MOST_LATER_SECONDS, BooksOf, open_books

HERE = "http://127.0.0.1:8000"
ADDRESSES = (
    "/spending",
    "/spending?since=&until=",
    "/spending?since=&until=&country=KE&state=done",
    "/spending?since=&until=&page=999999",
)


class _Everybody:
    """Takes every token for that of an auditor."""

    async def verify_token(self, _: str) -> AccessToken | None:
        return caller_token("tokens", "auditor", frozenset({Scope.AUDIT}))


async def ask(books: BooksOf, runs: int) -> dict[str, float]:
    """Ask for each address some times, in one process; the median of each, in seconds."""
    settings = Settings(api_key=KEY, journal_url=books.url, principal="local", state_keys="k" * 32)
    access, sim = Access(_Everybody(), own_limits=lambda *_: Limits()), Simulator()
    taken: dict[str, list[float]] = {address: [] for address in ADDRESSES}
    async with (
        open_journal(books.url) as journal,
        open_runtime(settings, transport=transport(sim), journal=journal, own_limits=access.own_limits) as runtime,
    ):
        app = Starlette(routes=persons_routes(runtime, access, loopback=True))
        way = httpx.ASGITransport(app=app)
        headers = {"origin": HERE, "sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(transport=way, base_url=HERE, headers=headers, timeout=60) as http:
            await http.post("/spending", data={"credential": "any"})
            for _ in range(runs + 1):
                for address in ADDRESSES:
                    begun = time.perf_counter()
                    answer = await http.get(address)
                    assert answer.status_code == httpx.codes.OK
                    taken[address].append(time.perf_counter() - begun)
    return {address: statistics.median(seconds[1:]) for address, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    worst = 0.0
    with open_books(arguments.rows) as every:
        of = {(one.backend, one.rows): anyio.run(ask, one, arguments.runs) for one in every}
    for backend in ("sqlite", "postgres"):
        for address in ADDRESSES:
            full, bare = (of[backend, rows][address] for rows in (arguments.rows, 0))
            worst = max(worst, full - bare)
            print(f"{backend:9} {address:48} {full:5.2f} s with {arguments.rows:,}, {bare:.2f} s with none")
    print(f"At most {worst:.2f} s later (allowed: {MOST_LATER_SECONDS:.0f}).")
    sys.exit(0 if worst <= MOST_LATER_SECONDS else 1)


if __name__ == "__main__":
    main()
