"""How much later it is told what was spent with 100,000 operations in the journal than with none, in both backends.

Run it as `python -m tests.checks.benchmarks.spent [--rows 100000] [--runs 5]`. It prints the medians and their
difference for the whole process of `kros-mcp spending`, grouped in each way, and of `kros-mcp operations` with its
totals; it ends with 1 if one of them comes more than a second later. `open_books` is for others that measure the same.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import anyio

from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.kept import Listing
from kros_mcp.settings import Settings
from tests.checks.benchmarks.growth import ACCOUNTS, COUNTRIES, fill_postgres, fill_sqlite, year_of
from tests.support.postgres_server import open_postgres_server

KEY = "kros_test_benchmark"
MOST_LATER_SECONDS = 1.0
OWNED = 500
COMMANDS = (
    ("spending",),
    ("spending", "--by", "month"),
    ("spending", "--by", "principal", "--since", "2000-01-01"),
    ("spending", "--by", "country", "--since", "2000-01-01", "--all-accounts"),
    ("operations", "--since", "2000-01-01"),
)


@dataclass(frozen=True)
class BooksOf:
    """A journal, and how it was filled."""

    backend: str
    rows: int
    url: str


async def fill(url: str, rows: int) -> None:
    """Write so many operations of a year into a new journal, most of the key's account, and a list of its numbers."""
    async with open_journal(url) as journal:
        account, now = Settings(api_key=KEY).account(journal.secret), await journal.now()
        if not rows:
            return
        numbers = tuple(
            PhoneNumber(f"id_{at}", f"+234803{at:07d}", COUNTRIES[at % len(COUNTRIES)], monthly_cents=700)
            for at in range(OWNED)
        )
        await journal.keep(account, [], Listing(OwnedList(numbers, complete=True), now - 30))
    into = fill_postgres if url.startswith("postgres") else fill_sqlite
    await anyio.to_thread.run_sync(into, url, year_of(rows, time.time() - 60, (account,) * 8 + ACCOUNTS[8:]))


@contextmanager
def open_books(rows: int) -> Iterator[tuple[BooksOf, ...]]:
    """Make a journal with so many operations and one with none, in each backend."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(open_postgres_server())
        every = []
        for size in (rows, 0):
            every.append(BooksOf("sqlite", size, f"sqlite:///{folder}/{size}.sqlite3"))
            every.append(BooksOf("postgres", size, stack.enter_context(server.new_database())))
        for one in every:
            anyio.run(fill, one.url, one.rows)
        yield tuple(every)


def command(*words: str, url: str) -> float:
    """Run a command to its end, in seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    settings = {"KROS_API_KEY": KEY, "KROS_JOURNAL_URL": url, "KROS_PRINCIPAL": "local"}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "kros_mcp", *words], env=environment | settings, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    worst = 0.0
    with open_books(arguments.rows) as every:
        for words in COMMANDS:
            taken: dict[BooksOf, list[float]] = {one: [] for one in every}
            for _ in range(arguments.runs + 1):
                for one in every:  # in turn, so that a busy machine is as busy for each
                    taken[one].append(command(*words, url=one.url))
            for backend in ("sqlite", "postgres"):
                of_size = {one.rows: statistics.median(taken[one][1:]) for one in every if one.backend == backend}
                later = of_size[arguments.rows] - of_size[0]
                worst = max(worst, later)
                print(
                    f"{backend:9} {' '.join(words):58} {of_size[arguments.rows]:5.2f} s with {arguments.rows:,}, "
                    f"{of_size[0]:.2f} s with none: {later:.2f} s later (at most {MOST_LATER_SECONDS:.0f})",
                    flush=True,
                )
    sys.exit(0 if worst <= MOST_LATER_SECONDS else 1)


if __name__ == "__main__":
    main()
