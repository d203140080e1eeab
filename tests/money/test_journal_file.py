"""What happens to a journal's file behind a server's back, or while no server runs."""

# ruff: noqa: ASYNC221, ASYNC240  # nothing else runs in the loop while these tests touch files and children

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bench import OTHER_MOBILES, Bench, open_bench, simulator

from kros_mcp.errors import JournalError, KrosError
from kros_mcp.journals import files, journal_errors, sqlite_file
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Operation, State

pytestmark = [pytest.mark.anyio, pytest.mark.promise(13)]

FIRST, SECOND, THIRD = OTHER_MOBILES[:3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def refuses(url: str, code: str) -> str:
    """Open a journal that is refused, and give the sentence."""
    with pytest.raises(JournalError) as caught:
        async with open_journal(url):
            pass
    assert (caught.value.code, caught.value.exit_code) == (code, 3)
    return caught.value.message


async def written_with(bench: Bench, *e164s: str) -> list[Operation]:
    return [await bench.buy(e164) for e164 in e164s]


def overwritten(path: Path, copy: Path) -> None:
    """Write an older copy over the file, which keeps its inode."""
    inode = path.stat().st_ino
    shutil.copyfile(copy, path)
    assert path.stat().st_ino == inode


def replaced(path: Path, copy: Path) -> None:
    shutil.copyfile(copy, path.with_name("other"))
    path.with_name("other").replace(path)


def deleted(path: Path, copy: Path) -> None:
    del copy
    path.unlink()


def moved(path: Path, copy: Path) -> None:
    del copy
    path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize("mishap", [overwritten, replaced, deleted, moved])
async def test_a_server_whose_file_is_no_longer_the_one_it_opened_spends_nothing_until_it_is_started_again(
    path: Path, url: str, mishap: Callable[[Path, Path], None]
) -> None:
    copy = path.with_name("copy")
    async with open_bench(simulator(), journal_url=url) as bench:
        await written_with(bench, FIRST)
        shutil.copyfile(path, copy)
        [bought] = await written_with(bench, SECOND)
        waiting = await bench.propose(THIRD)
        charges, posts = len(bench.sim.charges), len(bench.posts())
        mishap(path, copy)
        for _ in range(2):
            for attempt in (
                bench.execute(waiting),
                bench.buy(OTHER_MOBILES[3]),
                bench.account.journal.check_writable(),
            ):
                with pytest.raises(JournalError, match="until the server is started again") as caught:
                    await attempt
                assert (caught.value.code, caught.value.charged) == (journal_errors.REPLACED, "no")
            shutil.copyfile(copy, path)  # what was noticed once stays
        assert (len(bench.sim.charges), len(bench.posts())) == (charges, posts)
        assert bought.state is State.DONE


@pytest.mark.parametrize("mishap", [overwritten, replaced, deleted])
async def test_a_file_that_is_exchanged_between_claim_and_sending_sends_nothing(
    path: Path, url: str, mishap: Callable[[Path, Path], None]
) -> None:
    copy = path.with_name("copy")
    async with open_bench(simulator(), journal_url=url) as bench:
        waiting = await bench.propose(FIRST)
        shutil.copyfile(path, copy)
        find = bench.account.inventory.find

        async def exchanged(*args: object, **named: object) -> object:
            found = await find(*args, **named)  # type: ignore[arg-type]
            mishap(path, copy)
            return found

        bench.account.inventory.find = exchanged  # type: ignore[method-assign,assignment]
        with pytest.raises(KrosError):
            await bench.execute(waiting)
        assert (bench.sim.charges, bench.posts()) == ([], [])


_KILLED = """
import anyio, os, signal, sys
sys.path.insert(0, sys.argv[3])
from bench import open_bench, simulator
async def main(url, e164s):
    async with open_bench(simulator(), journal_url=url) as bench:
        for e164 in e164s.split(","):
            await bench.buy(e164)
        bench.sim.faults.switch_on("lost_reply", on=["purchase"])
        operation = await bench.buy("+2348035550105")
        print(operation.state, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main, *sys.argv[1:3])
"""


def killed_after(url: str, *e164s: str) -> None:
    """Let a server buy, lose the answer to one purchase more, and be killed."""
    program = [sys.executable, "-c", _KILLED, url, ",".join(e164s), str(Path(__file__).parent)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("unknown\n", -signal.SIGKILL), ended.stderr


async def has_all(url: str) -> None:
    async with open_journal(url) as journal:
        found = await journal.list_operations()
        assert sorted(each.state for each in found) == [State.DONE, State.DONE, State.UNKNOWN]
        books = await journal.books(found[0].account, "local", committed_since=0.0)
        assert (len(books.bought), len(books.committed)) == (2, 3)
        assert all(cents for cents in books.committed.values())


async def test_a_link_is_followed_to_a_new_journal_and_to_what_was_left_beside_it(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    async with open_journal(f"sqlite:///{link}") as journal:
        await journal.check_writable()
    path.unlink()
    assert link.is_symlink()
    await refuses(f"sqlite:///{link}", journal_errors.GONE)


async def test_a_server_whose_link_is_led_elsewhere_spends_nothing(path: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(path)
    async with open_journal(f"sqlite:///{other}"):
        pass
    async with open_journal(f"sqlite:///{link}") as journal:
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(JournalError, match="until the server is started again"):
            await journal.check_writable()


async def test_the_file_alone_has_all_that_counts_when_its_server_was_killed(path: Path, url: str) -> None:
    killed_after(url, FIRST, SECOND)
    moved_to = path.with_name("moved.sqlite3")
    path.rename(moved_to)
    assert sum(left.stat().st_size for left in sqlite_file.beside(path) if left.exists()) == 0
    await has_all(f"sqlite:///{moved_to}")


async def test_a_plain_copy_of_a_running_servers_file_has_all_that_counts(path: Path, url: str) -> None:
    copy = path.with_name("copy.sqlite3")
    async with open_bench(simulator(), journal_url=url) as bench:
        await written_with(bench, FIRST, SECOND)
        bench.sim.faults.switch_on("lost_reply", on=["purchase"])
        await bench.buy(THIRD)
        shutil.copyfile(path, copy)
    await has_all(f"sqlite:///{copy}")


async def test_a_journal_that_was_moved_away_is_not_begun_anew(path: Path, url: str) -> None:
    killed_after(url, FIRST)
    path.rename(path.with_name("elsewhere"))
    assert "journal.sqlite3-journal beside it" in await refuses(url, journal_errors.GONE)
    assert not path.exists()


async def test_an_empty_file_is_never_a_new_journal(path: Path, url: str) -> None:
    path.touch()
    assert f"{path} is empty" in await refuses(url, journal_errors.EMPTY)
    assert path.stat().st_size == 0


async def test_a_database_without_any_table_is_never_a_new_journal(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    await refuses(url, journal_errors.EMPTY)


@pytest.mark.parametrize("table", ["operations", "meta", "progress", "operation_events"])
async def test_a_journal_that_lacks_a_table_is_damaged(path: Path, url: str, table: str) -> None:
    async with open_journal(url):
        pass
    _run(path, f"DROP TABLE {table}")
    await refuses(url, journal_errors.DAMAGED)


@pytest.mark.parametrize("statement", ["DELETE FROM progress", "INSERT INTO progress SELECT * FROM progress"])
async def test_a_journal_that_does_not_say_any_more_how_far_it_has_come_takes_nothing(
    path: Path, url: str, statement: str
) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        _run(path, statement)
        with pytest.raises(JournalError) as caught:
            await bench.buy(FIRST)
        assert (caught.value.code, bench.sim.charges) == (journal_errors.DAMAGED, [])


@pytest.mark.parametrize("table", ["meta", "progress"])
async def test_a_journal_that_lacks_a_row_of_its_own_is_damaged(path: Path, url: str, table: str) -> None:
    async with open_journal(url):
        pass
    _run(path, f"DELETE FROM {table}")  # noqa: S608 - a table of these tests
    await refuses(url, journal_errors.DAMAGED)


async def test_a_file_whose_pages_were_overwritten_is_damaged(path: Path, url: str) -> None:
    async with open_journal(url):
        pass
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))
    await refuses(url, journal_errors.DAMAGED)


def test_a_new_journal_gets_its_name_when_it_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[int] = []

    def link(made: Path, name: Path) -> None:
        assert not name.exists()
        with closing(sqlite3.connect(made)) as connection:
            named.extend(connection.execute("SELECT count(*) FROM meta WHERE name = 'secret'").fetchone())
        files.link(made, name)

    monkeypatch.setattr(sqlite_file, "link", link)
    sqlite_file.open_file(path)[0].close()
    assert named == [1]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("refusal", [OSError, NotImplementedError])
def test_where_there_are_no_hard_links_a_file_still_gets_its_name_and_replaces_none(
    path: Path, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    def no_links(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(os, "link", no_links)
    sqlite_file.open_file(path)[0].close()
    made = files.new_beside(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        files.link(made, path)
    assert path.read_bytes() == before


def in_wal(path: Path) -> sqlite3.Connection:
    """Open a journal as earlier versions of this program did."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


async def test_an_older_file_beside_a_newer_log_of_an_earlier_version_is_whole_or_refused(path: Path, url: str) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        for e164 in OTHER_MOBILES[:8]:
            await bench.buy(e164)
    with closing(in_wal(path)) as connection:
        connection.execute("UPDATE operations SET message = ''")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        older = path.read_bytes()
        for number in range(60):
            connection.execute(
                "INSERT INTO operations SELECT * FROM (SELECT * FROM operations LIMIT 0)"
                if number % 2
                else "UPDATE operations SET message = message || hex(randomblob(700)), e164 = e164 || '1'"
            )
            if number == 30:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
        log = path.with_name("journal.sqlite3-wal").read_bytes()
    outcomes = set()
    for cut in range(len(older) // 4096, 1, -7):
        folder = path.with_name(f"trial-{cut}")
        folder.mkdir()
        (folder / "journal.sqlite3").write_bytes(older)
        (folder / "journal.sqlite3-wal").write_bytes(log[: 32 + 4120 * cut])
        try:
            async with open_journal(f"sqlite:///{folder}/journal.sqlite3") as journal:
                await journal.list_operations()
                outcomes.add("whole")
        except JournalError as exc:
            outcomes.add(exc.code)
    assert outcomes <= {"whole", journal_errors.NOT_ITS_LOG, journal_errors.DAMAGED}


async def test_a_file_and_log_that_a_killed_process_of_an_earlier_version_left_are_read_whole(
    path: Path, url: str
) -> None:
    async with open_bench(simulator(), journal_url=url) as bench:
        bought = await bench.buy(FIRST)
    folder = path.with_name("left")
    folder.mkdir()
    with closing(in_wal(path)) as connection:
        connection.execute("UPDATE operations SET message = 'stands in the log alone'")
        for name in ("journal.sqlite3", "journal.sqlite3-wal"):
            shutil.copyfile(path.with_name(name), folder / name)
    async with open_journal(f"sqlite:///{folder}/journal.sqlite3") as journal:
        [found] = await journal.list_operations()
    assert (found.id, found.message) == (bought.id, "stands in the log alone")


async def test_a_log_of_an_earlier_version_beside_a_file_that_keeps_none_is_refused(path: Path, url: str) -> None:
    async with open_journal(url):
        pass
    ours = path.read_bytes()
    with closing(in_wal(path)) as connection:
        connection.execute("UPDATE meta SET value = x'00'")
        log = path.with_name("journal.sqlite3-wal").read_bytes()
    path.write_bytes(ours)
    path.with_name("journal.sqlite3-wal").write_bytes(log)
    assert "do not belong together" in await refuses(url, journal_errors.NOT_ITS_LOG)
    assert path.read_bytes() == ours


_KILLED_COMMITTING = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = TRUNCATE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("PRAGMA user_version = 3")
connection.execute("UPDATE progress SET moves = moves + 1")
connection.execute("UPDATE operations SET message = hex(randomblob(2000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_log_that_a_killed_process_left_is_undone_in_its_own_file_and_refused_beside_an_older_one(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLING_SECONDS", 0.1)
    async with open_bench(simulator(), journal_url=url) as bench:
        await written_with(bench, *OTHER_MOBILES[:2])
        older = path.read_bytes()
        bought = await written_with(bench, *OTHER_MOBILES[2:8])
    subprocess.run([sys.executable, "-c", _KILLED_COMMITTING, str(path)], check=False)
    log = path.with_name("journal.sqlite3-journal")
    assert log.stat().st_size > 4096
    left = log.read_bytes()
    async with open_journal(url) as journal:
        assert await journal.get(bought[-1].id) == bought[-1]
    path.write_bytes(older)
    log.write_bytes(left)
    await refuses(url, journal_errors.NOT_ITS_LOG)
    assert path.read_bytes() == older


async def test_a_journal_that_an_earlier_version_still_uses_is_used_beside_it_and_stands_in_the_file_too(
    path: Path, url: str
) -> None:
    async with open_journal(url):
        pass
    copy = path.with_name("copy.sqlite3")
    with closing(in_wal(path)) as earlier:
        earlier.execute("SELECT count(*) FROM operations").fetchone()
        async with open_bench(simulator(), journal_url=url) as bench:
            await bench.buy(FIRST)
            shutil.copyfile(path, copy)
    async with open_journal(f"sqlite:///{copy}") as journal:
        assert [each.state for each in await journal.list_operations()] == [State.DONE]
    async with open_journal(url):
        assert not path.with_name("journal.sqlite3-wal").exists()


def _run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
        connection.commit()
