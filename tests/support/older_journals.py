"""Journals as earlier versions of this program left them behind."""

# ruff: noqa: S608 - statements are built from the program's own columns; values go by marks

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from kros_mcp.journals import postgres_schema, sqlite_file
from kros_mcp.settings import is_postgres

SECRET = bytes(range(32))
SINCE_EVENTS = (
    "snapshot",
    "look_at",
    "looks",
    "corrected_at",
    "decided_by",
    "decided_through",
    "shown_at",
    "asked_again",
    "items",
    "batch",
)
"""Columns that operations have got with their events, and later."""


def make_older(url: str, row: Mapping[str, object], *, version: int = 1) -> None:
    """Make a journal of an earlier version that nobody has open, with one operation in it.

    Args:
        url: Where.
        row: The values of the operation's columns, as that version had them.
        version: Of the file; the first of PostgreSQL goes with 2.
    """
    columns, values = ", ".join(row), tuple(row.values())
    if is_postgres(url):
        _in_database(url, columns, values)
    else:
        _in_file(Path(url.removeprefix("sqlite:///")), columns, values, version)


def _in_file(path: Path, columns: str, values: tuple[object, ...], version: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for migration in sqlite_file.MIGRATIONS[:version]:
            for statement in migration.split(";"):
                connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('secret', ?)", (SECRET,))
        connection.execute(f"PRAGMA application_id = {sqlite_file.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"INSERT INTO operations ({columns}) VALUES ({', '.join('?' * len(values))})", values)
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")


def _in_database(url: str, columns: str, values: tuple[object, ...]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS kros_mcp CASCADE")
        connection.execute("CREATE SCHEMA kros_mcp")
        connection.execute("CREATE TABLE kros_mcp.migrations (number INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ)")
        connection.execute("INSERT INTO kros_mcp.migrations VALUES (1, now())")
        for statement in postgres_schema.MIGRATIONS[0].split(";"):
            connection.execute(statement.encode())
        connection.execute("INSERT INTO kros_mcp.meta VALUES ('secret', %s)", (SECRET,))
        marks = ", ".join(["%s"] * len(values))
        connection.execute(f"INSERT INTO kros_mcp.operations ({columns}) VALUES ({marks})".encode(), values)
