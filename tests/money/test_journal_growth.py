"""What a call reads of a journal that has grown, counted in SQLite's own steps, so that no busy machine matters.

`tests/checks/benchmarks/growth.py` measures the same in time, at a million operations and on PostgreSQL too.
"""

import sqlite3
import time
from pathlib import Path

import pytest

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.account import Account
from kros_mcp.settings import Settings
from tests.checks.benchmarks.growth import ACCOUNT, act, fill_sqlite, year_of

pytestmark = pytest.mark.anyio

FEW, MANY = 500, 10_000
STEPS_AT_ONCE = 10


class Counting:
    """A journal that counts what each call makes SQLite do."""

    def __init__(self, journal: object, connection: sqlite3.Connection) -> None:
        self._journal, self.steps, self._now = journal, dict[str, int](), 0
        connection.set_progress_handler(self._count, STEPS_AT_ONCE)

    def _count(self) -> None:
        self._now += STEPS_AT_ONCE

    def __getattr__(self, name: str) -> object:
        method = getattr(self._journal, name)

        async def counted(*arguments: object, **named: object) -> object:
            before = self._now
            result = await method(*arguments, **named)
            self.steps[name] = self._now - before
            return result

        return counted


async def steps_at(size: int, folder: Path) -> dict[str, int]:
    url = f"sqlite:///{folder}/{size}.sqlite3"
    async with open_journal(url):
        pass
    fill_sqlite(url, year_of(size, time.time()))
    async with open_journal(url) as journal:
        counting = Counting(journal, journal._connection)  # type: ignore[attr-defined]  # noqa: SLF001 - SQLite counts there
        settings = Settings(api_key="kros_test_growth", daily_budget_cents=10**9)
        account = Account(settings, counting, None, None, ACCOUNT)  # type: ignore[arg-type]  # a claim needs no network
        await act(account, 7)
        return counting.steps


async def test_no_call_of_an_act_reads_more_because_the_journal_has_grown(tmp_path: Path) -> None:
    few, many = await steps_at(FEW, tmp_path), await steps_at(MANY, tmp_path)
    grown = {name: (few[name], steps) for name, steps in many.items() if steps > 3 * few[name] + 500}
    assert "claim" in many
    assert not grown
