"""What SQLite adds to the contract: a file, its mode, its version, its locks, its disk."""

# ruff: noqa: ASYNC220, ASYNC240  # nothing else runs in the loop while these tests touch files and children

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from bench import CANARY, OTHER_MOBILES, Bench, open_bench, settings_for, simulator

from kros_mcp.errors import JournalError
from kros_mcp.journals import sqlite_file
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.rows import COLUMNS
from kros_mcp.journals.sqlite import open_sqlite, open_sqlite_to_read
from kros_mcp.operations.model import Limits, State
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import transport
from tests.support.clock import Clock
from tests.support.older_journals import SECRET, SINCE_EVENTS, make_older

LATER = {"limits", *SINCE_EVENTS}
pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def test_the_journal_and_all_beside_it_are_readable_by_their_owner_alone(path: Path, url: str) -> None:
    async with open_journal(url) as journal:
        await journal.check_writable()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert set(modes) == {"journal.sqlite3", "journal.sqlite3-journal"}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_journal_of_a_newer_version_is_refused(path: Path, url: str) -> None:
    async with open_journal(url):
        pass
    _run(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer kros-mcp"):
        async with open_journal(url):
            pass


async def test_a_journal_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows(url: str) -> None:
    row = {name: "" for name in COLUMNS if name not in LATER}
    row |= dict.fromkeys(("created_at", "wrong_codes", "reserved_cents", "token", "settings_pending", "accepted"), 0)
    row |= {"id": "op_old", "state": "done", "action": "buy", "request": "{}", "not_applied": "[]"}
    row |= {"quote": '{"e164": "+1", "country": null, "environment": "test"}', "settings_superseded": "[]"}
    row |= dict.fromkeys(("settled_at", "sent_at", "asked_at", "confirmed_at", "claimed_at", "lease_until"))
    row |= dict.fromkeys(("number", "checked_at", "seen_unsold_at", "channel")) | {"expires_at": 1}
    make_older(url, row)
    for _ in range(2):
        async with open_journal(url) as journal:
            found = await journal.get("op_old")
            assert found is not None
            assert (found.state, found.limits, journal.secret) == (State.DONE, Limits(), SECRET)


@pytest.mark.parametrize("statement", ["CREATE TABLE t (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"])
async def test_a_foreign_database_is_refused_and_left_as_it_was(path: Path, url: str, statement: str) -> None:
    path.parent.mkdir()
    _run(path, statement)
    before = path.read_bytes()
    path.chmod(0o644)
    with pytest.raises(JournalError, match="not a journal of kros-mcp"):
        async with open_journal(url):
            pass
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="the system does not list what a process has open")
@pytest.mark.parametrize("opener", [open_sqlite, open_sqlite_to_read])
@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE progress RENAME COLUMN ahead TO behind", "DELETE FROM progress", "PRAGMA application_id = 7"],
)
async def test_a_journal_that_cannot_be_used_is_not_kept_open(
    path: Path, url: str, opener: Callable[[Any], AbstractAsyncContextManager[Any]], statement: str
) -> None:
    async with open_journal(url) as journal:
        await journal.check_writable()
        assert _times_open(path) == 1
    _run(path, statement)
    with pytest.raises(JournalError) as kept:  # and with it every frame that it went through
        async with opener(url if opener is open_sqlite else path):
            pass
    assert kept.tb is not None
    assert _times_open(path) == 0


async def test_what_is_no_file_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        async with open_journal(f"sqlite:///{pipe}"):
            pass
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o644


async def test_a_file_that_is_no_database_is_refused(path: Path, url: str) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(JournalError, match="damaged or not a journal"):
        async with open_journal(url):
            pass


async def test_a_path_that_cannot_be_opened_is_told_by_its_name(path: Path, url: str) -> None:
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="cannot be opened for writing; nothing can be spent"):
        async with open_journal(url):
            pass


async def test_a_server_warns_of_a_network_file_system_when_it_starts(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", mounts)
    sim = simulator()
    async with open_runtime(settings_for(journal_url=url), transport=transport(sim)):
        pass
    assert "network file system (nfs4)" in caplog.text


async def _spends_nothing(bench: Bench, sentence: str) -> None:
    """Try to buy what was proposed while the journal still worked, and what was not yet."""
    before = len(bench.posts())
    operation = (await bench.account.journal.list_operations())[0]
    for attempt in (bench.execute(operation), bench.buy("+2348035550105")):
        with pytest.raises(JournalError, match=sentence) as caught:
            await attempt
        assert (caught.value.charged, caught.value.exit_code) == ("no", 3)
    assert (bench.sim.charges, len(bench.posts())) == ([], before)


async def test_nothing_is_spent_when_the_disk_is_full(url: str) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        await bench.propose()
        connection = bench.account.journal._connection  # type: ignore[attr-defined]  # noqa: SLF001 - fills the disk
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for e164 in OTHER_MOBILES:
                await bench.propose(e164)

        with pytest.raises(JournalError, match="disk is full; nothing can be spent"):
            await fill()
        assert (bench.sim.charges, bench.posts()) == ([], [])


async def test_nothing_is_spent_when_the_file_is_read_only(url: str) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        await bench.propose()
        bench.account.journal._connection.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]  # noqa: SLF001 - the tests may run as root
        await _spends_nothing(bench, "cannot be written; nothing can be spent")


async def test_nothing_is_spent_while_another_process_locks_the_journal(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    async with open_bench(simulator(), journal_url=url) as bench:
        await bench.propose()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            await _spends_nothing(bench, "locked by another process; nothing can be spent until it lets go")
        finally:
            other.close()
        assert (await bench.buy("+2348035550106")).charged == "yes"


async def test_a_journal_that_another_process_locks_can_still_be_opened_and_read(path: Path, url: str) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        operation = await bench.propose()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        async with open_journal(url) as journal:
            assert [each.id for each in await journal.list_operations()] == [operation.id]
    finally:
        other.close()


_OPENING = """
import anyio, json, sys
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import model, moves
from tests.support.older_journals import SECRET, SINCE_EVENTS, make_older
from kros_mcp.errors import OperationError
def take(operation, now, books):
    return moves.claim(operation, now, reserved_cents=1), ()
async def main(url, operation):
    async with open_journal(url) as journal:
        won = 0
        for _ in range(5):
            try:
                await journal.claim(operation, take, committed_since=0)
                won += 1
            except OperationError:
                pass
        print(json.dumps([won, journal.secret.hex()]))
anyio.run(main, *sys.argv[1:])
"""


async def test_of_many_processes_that_claim_exactly_one_wins(url: str) -> None:
    async with open_bench(simulator(), clock=Clock(), journal_url=url) as bench:
        bench.clock.now = time.time()
        operation = await bench.propose()
    program = [sys.executable, "-c", _OPENING, url, operation.id]
    children = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(5)]
    results = [json.loads(child.communicate(timeout=30)[0]) for child in children]
    assert sorted(won for won, _ in results) == [0, 0, 0, 0, 1]


async def test_many_processes_may_create_one_journal_at_once(url: str) -> None:
    program = [sys.executable, "-c", _OPENING, url, "op_none"]
    children = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(5)]
    results = [json.loads(child.communicate(timeout=30)[0]) for child in children]
    assert len({secret for _, secret in results}) == 1


@pytest.mark.promise(11)
async def test_no_secret_stands_in_the_journals_files(path: Path, url: str) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        await bench.buy(allow_outbound=True, endpoint_id=next(iter(bench.sim.endpoints)))
        await bench.execute(await bench.propose_release(bench.active))
        for file in path.parent.iterdir():
            assert CANARY.encode() not in file.read_bytes()


def _times_open(path: Path) -> int:
    """Count how often this process has a file open."""
    found, times = path.stat(), 0
    for each in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the one that lists them is closed again
            times += os.path.samestat(os.fstat(int(each.name)), found)
    return times


def _run(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()
