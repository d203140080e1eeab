"""What `kros-mcp prune` of 100,000 operations takes, and what it costs those who buy meanwhile; both journals.

Run it as `python -m tests.checks.benchmarks.pruning [--rows 120000]`. A process buys again and again, as far as the
journal has a part in it, alone and then while the command runs; told are the median and the longest of its claims, and
of its moves. It ends with 1 if any of them failed, or took longer than half a second beside the pruning.
"""

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import psycopg

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.account import Account
from kros_mcp.settings import Settings, is_postgres
from tests.checks.benchmarks.growth import ACCOUNTS, NUMBERS_OF_A_YEAR, Timed, act, fill_postgres, fill_sqlite, year_of
from tests.support.postgres_server import open_postgres_server

LONGEST_SECONDS = 0.5
EVENTS = 6
NOTHING_IS_OWNED = "UPDATE {0}operations SET state = 'failed', charged = 'no' WHERE state = 'done'"
ITS_EVENTS = (
    "INSERT INTO {0}operation_events SELECT id, n, created_at, 'noted', 'server', '', 'Words that a move brought.', "
    """'{{"state": "failed", "message": "Nobody confirmed it in time."}}' FROM {0}operations, ({1}) AS numbers"""
)
READ_JUST_NOW = "INSERT INTO {0}owned_lists (account, listed_at, complete) VALUES ('{1}', {2}, 1)"


def fill(url: str, rows: int) -> None:
    """Write operations of a year with their events, of accounts whose numbers were read just now: they own none."""
    now = time.time()
    (fill_postgres if is_postgres(url) else fill_sqlite)(url, year_of(rows, now))
    schema = "kros_mcp." if is_postgres(url) else ""
    numbers = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(1, EVENTS + 1))
    statements = [NOTHING_IS_OWNED.format(schema), ITS_EVENTS.format(schema, numbers)]
    statements += [READ_JUST_NOW.format(schema, account, now) for account in sorted(set(ACCOUNTS))]
    if is_postgres(url):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        return
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    for statement in statements:
        file.execute(statement)
    file.commit()
    file.close()


async def pruned(url: str) -> str:
    """Run the command to its end, and return what it said."""
    day = (datetime.now(UTC) - timedelta(days=45)).date().isoformat()
    own = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    words = [sys.executable, "-m", "kros_mcp", "prune", "--before", day, "--yes"]
    ran = await anyio.run_process(words, env=own | {"KROS_JOURNAL_URL": url}, check=False)
    return f"exit {ran.returncode}: {(ran.stdout + ran.stderr).decode().strip().splitlines()[-2:]}"


async def measure(name: str, url: str, rows: int) -> bool:
    async with open_journal(url):
        pass
    await anyio.to_thread.run_sync(fill, url, rows)
    path = None if is_postgres(url) else Path(url.removeprefix("sqlite:///"))
    size = path.stat().st_size if path else 0
    settings = Settings(api_key="kros_test_benchmark", daily_budget_cents=10**9)
    held, said, number = True, "", 0
    async with open_journal(url) as journal:
        for beside in (False, True):
            timed = Timed(journal)
            account = Account(settings, timed, None, None, "acct_buying")  # type: ignore[arg-type]  # as in growth.py
            ended = anyio.Event()

            async def in_course(ended: anyio.Event = ended) -> None:
                nonlocal said
                said = await pruned(url)
                ended.set()

            begun = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                if beside:
                    tasks.start_soon(in_course)
                while not ended.is_set() and (beside or time.perf_counter() - begun < 5):
                    number += 1
                    await act(account, number % NUMBERS_OF_A_YEAR)
                    await anyio.sleep(0.05)
            for call in ("propose", "claim", "change"):
                taken = timed.taken[call]
                longest = max(taken)
                held = held and (not beside or longest <= LONGEST_SECONDS)
                print(
                    f"{name:9} {call:8} {'beside the pruning' if beside else 'alone':19} median "
                    f"{statistics.median(taken) * 1000:7.1f} ms, longest {longest * 1000:7.1f} ms of {len(taken)}"
                )
    now = f", file {size / 1e6:.0f} MB before, {path.stat().st_size / 1e6:.0f} MB after" if path else ""
    print(f"{name:9} prune took {time.perf_counter() - begun:.1f} s; {said}{now}", flush=True)
    return held and said.startswith("exit 0")


async def both(rows: int) -> bool:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        first = await measure("sqlite", f"sqlite:///{folder}/journal.sqlite3", rows)
        server = stack.enter_context(open_postgres_server())
        return await measure("postgres", stack.enter_context(server.new_database()), rows) and first


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=120_000)
    sys.exit(0 if anyio.run(both, parser.parse_args().rows) else 1)


if __name__ == "__main__":
    main()
