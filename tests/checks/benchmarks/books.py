"""How much later the books come with 100,000 operations in the journal than with none.

Run it as `python -m tests.checks.benchmarks.books [--rows 100000] [--runs 5]`. It prints the medians and their
difference, for the first page of `operations` and for a whole `export`; it is no test: a busy machine is no
defect.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request
from kros_mcp.settings import load_settings

KEY = "kros_test_benchmark"


def command(*words: str, journal: Path) -> float:
    """Run a command to its end, in seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    settings = {"KROS_API_KEY": KEY, "KROS_JOURNAL_URL": f"sqlite:///{journal}"}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "kros_mcp", *words], env=environment | settings, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


async def fill(journal: Path, rows: int) -> None:
    """Write one operation through the journal, and as many copies of it as wanted, of two accounts and mixed ends."""
    os.environ["KROS_API_KEY"] = KEY
    now = time.time()
    async with open_journal(f"sqlite:///{journal}") as opened:
        await opened.propose(
            Operation(
                id="op_first",
                account=load_settings().account(opened.secret),
                principal="local",
                action=Action.BUY,
                e164="+2342015550100",
                request=Request(inventory_id="inv", country="NG", type="local"),
                quote=Quote("+2342015550100", "NG", "test", 0, 500, 500),
                created_at=now,
                expires_at=now + 600,
                channel=Channel.APPROVER,
            )
        )
    changed = {
        "id": "printf('op_%016d', i)",
        "e164": "printf('+23420155%05d', i % 5000)",
        "account": "CASE WHEN i % 10 THEN account ELSE 'another' END",
        "state": "CASE i % 4 WHEN 0 THEN 'expired' WHEN 1 THEN 'failed' WHEN 2 THEN 'declined' ELSE 'done' END",
        "created_at": f"created_at - 60 * ({rows} - i)",
        "settled_at": f"created_at - 60 * ({rows} - i) + 5",
    }
    connection = sqlite3.connect(journal)
    names = [column[1] for column in connection.execute("PRAGMA table_info(operations)")]
    values = ", ".join(changed.get(name, name) for name in names)
    connection.execute(
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "  # noqa: S608 - ours
        f"INSERT INTO operations SELECT {values} FROM operations, n"
    )
    connection.commit()
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Path(folder) / "empty.sqlite3", Path(folder) / "full.sqlite3"
        anyio.run(fill, full, arguments.rows)
        for words in (("operations",), ("operations", "--all-accounts"), ("operations", "--state", "unknown")):
            pairs = [
                (command(*words, journal=full), command(*words, journal=empty)) for _ in range(arguments.runs + 1)
            ][1:]
            filled, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"{' '.join(words):32} {filled:6.2f} s with {arguments.rows:,} rows, {bare:.2f} s with none: "
                f"{filled - bare:.2f} s later (target: at most 1)"
            )
        for words in (("export",), ("export", "--all-accounts")):
            print(f"{' '.join(words):32} {command(*words, journal=full):6.2f} s for the whole journal")


if __name__ == "__main__":
    main()
