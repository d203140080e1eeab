"""One new journal, and several that open it in the same moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from kros_mcp.journals.sqlite_file import open_file

TOGETHER = 8


def test_a_new_journal_is_nobodys_foreign_file_however_many_open_it_at_once(tmp_path: Path) -> None:
    start = Barrier(TOGETHER)

    def open_and_close(path: Path) -> bytes:
        start.wait()
        connection, secret = open_file(path)
        connection.close()
        return secret

    with ThreadPoolExecutor(TOGETHER) as threads:
        for number in range(30):
            secrets = set(threads.map(open_and_close, [tmp_path / f"{number}.sqlite3"] * TOGETHER))
            assert len(secrets) == 1
