"""A server that only reads needs no journal that it may write, and none at all."""

# ruff: noqa: ASYNC240  # nothing else runs in the loop while these tests look at files

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kros_mcp.errors import JournalError
from kros_mcp.http.health import Health
from kros_mcp.journals import journal_errors, sqlite_file
from kros_mcp.journals.backends import open_journal
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from tests.support.talk import Talk, open_talk
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file be opened for writing, whoever runs these tests."""
    monkeypatch.setattr(sqlite_file.os, "access", lambda *_: False)


async def reads_everything(talk: Talk, sim: Simulator, operation_id: str = "") -> None:
    number = next(iter(sim.owned.values()))
    for tool, arguments in (
        ("list_phone_numbers", {}),
        ("get_phone_number", {"number_id": number.id}),
        ("search_phone_numbers", {"country": "NG"}),
        ("list_endpoints", {}),
        ("get_spending", {}),
        *([("get_operation", {"operation_id": operation_id})] if operation_id else []),
    ):
        assert not (await talk.call(tool, **arguments)).failed, tool
    bought = await talk.buy(item_of(sim))
    assert (bought.outcome, bought["charged"]) == ("READ_ONLY", "no")


async def bought_before(sim: Simulator, path: Path) -> str:
    async with open_talk(sim, journal_url=f"sqlite:///{path}") as talk:
        asked = await talk.buy(item_of(sim))
        done = await talk.buy(item_of(sim), confirmation_code=asked["confirmation_code"])
        assert done["status"] == "done"
        return str(done["operation_id"])


async def test_where_there_is_no_journal_it_begins_with_an_empty_one_and_makes_no_file(
    reference: Simulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_talk(reference, journal_url=f"sqlite:///{path}", read_only=True) as talk:
            await reads_everything(talk, reference)
    assert "there is no journal" in caplog.text
    assert list(path.parent.iterdir()) == []


async def test_a_journal_that_it_may_not_write_is_read_and_left_as_it_is(
    reference: Simulator, path: Path, request: pytest.FixtureRequest
) -> None:
    operation = await bought_before(reference, path)
    request.getfixturevalue("unwritable")
    before = path.read_bytes()
    async with open_talk(reference, journal_url=f"sqlite:///{path}", read_only=True) as talk:
        await reads_everything(talk, reference, operation)
        assert (await talk.call("get_operation", operation_id=operation))["status"] == "done"
        assert (await talk.call("get_spending"))["spent_24h_cents"] > 0
    assert path.read_bytes() == before


@pytest.mark.usefixtures("unwritable")
async def test_one_of_an_earlier_version_is_read_too(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in sqlite_file.MIGRATIONS[0].split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('secret', ?)", (bytes(32),))
        connection.execute(f"PRAGMA application_id = {sqlite_file.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    async with open_journal(f"sqlite:///{path}", read_only=True) as journal:
        assert await journal.list_operations() == ()
        assert journal.only_reads
        with pytest.raises(JournalError, match="nothing can be spent"):
            await journal.check_writable()
    assert path.read_bytes() == before


@pytest.mark.usefixtures("unwritable")
async def test_its_probe_says_that_it_is_ready_and_only_reads(reference: Simulator, path: Path) -> None:
    shutil.copyfile(_made(path), path)
    settings = Settings(
        api_key="kros_test_key",
        base_url="https://simulator.invalid/v1",
        journal_url=f"sqlite:///{path}",
        read_only=True,
    )
    async with open_runtime(settings, transport=transport(reference)) as runtime:
        await runtime.runner.looked_round.wait()
        found = await Health(runtime).check()
    assert (found["status"], found["journal"]) == ("ready", "readable")


@pytest.mark.parametrize(
    ("content", "code"), [(b"", journal_errors.EMPTY), (b"no database at all " * 300, journal_errors.DAMAGED)]
)
@pytest.mark.parametrize("writable", [True, False])
async def test_a_file_that_is_no_journal_is_refused_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, code: str, *, writable: bool
) -> None:
    path.write_bytes(content)
    if not writable:
        monkeypatch.setattr(sqlite_file.os, "access", lambda *_: False)
    with pytest.raises(JournalError) as caught:
        async with open_journal(f"sqlite:///{path}", read_only=True):
            pass
    assert caught.value.code == code


async def test_a_database_that_it_may_not_write_is_read(postgres_url: str) -> None:
    async with open_journal(postgres_url):
        pass
    url = f"{postgres_url}&options=-c%20default_transaction_read_only%3Don"
    async with open_journal(url, read_only=True) as journal:
        assert journal.only_reads
        assert await journal.list_operations() == ()


def _made(path: Path) -> Path:
    """Make a journal of another name in the same folder, where nothing may be opened for writing."""
    made = path.with_name("made.sqlite3")
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        sqlite_file.prepare(connection)
    return made
