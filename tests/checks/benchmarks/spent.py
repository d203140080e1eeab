"""How much later it is told what was spent with 100,000 operations in the journal than with none, in both backends.

Run it as `python -m tests.checks.benchmarks.spent [--rows 100000] [--runs 5]`. It prints the medians and their
difference for the whole process of `kros-mcp spending`, grouped in each way, and of `kros-mcp operations` with its
totals; it ends with 1 if one of them comes more than a second later. A busy machine is no defect: the processor time
beside it is the command's alone, without that of PostgreSQL. `open_books` is for others that measure the same.
"""

import argparse
import os
import resource
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


def command(*words: str, url: str) -> tuple[float, float]:
    """Run a command to its end, in seconds; and in those of its own processor time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    settings = {"KROS_API_KEY": KEY, "KROS_JOURNAL_URL": url, "KROS_PRINCIPAL": "local"}
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "kros_mcp", *words], env=environment | settings, check=True, stdout=subprocess.DEVNULL
    )
    taken, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(taken: list[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(statistics.median(column) for column in zip(*taken, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    worst = 0.0
    with open_books(arguments.rows) as every:
        for words in COMMANDS:
            taken: dict[BooksOf, list[tuple[float, float]]] = {one: [] for one in every}
            for _ in range(arguments.runs + 1):
                for one in every:  # in turn, so that a busy machine is as busy for each
                    taken[one].append(command(*words, url=one.url))
            for backend in ("sqlite", "postgres"):
                of_size = {one.rows: medians(taken[one][1:]) for one in every if one.backend == backend}
                (filled, of_its_own), (bare, of_none) = of_size[arguments.rows], of_size[0]
                worst = max(worst, filled - bare)
                print(
                    f"{backend:9}{' '.join(words):53} {filled:5.2f} s with {arguments.rows:,}, {bare:.2f} s with none: "
                    f"{filled - bare:5.2f} s later (at most {MOST_LATER_SECONDS:.0f}); "
                    f"its own processor time {of_its_own:.2f} s, {of_none:.2f} s with none",
                    flush=True,
                )
    sys.exit(0 if worst <= MOST_LATER_SECONDS else 1)


if __name__ == "__main__":
    main()
