"""A journal that lacks a table for a while."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from kros_mcp.settings import is_postgres


@contextmanager
def without_the_table(journal_url: str, table: str) -> Iterator[None]:
    """Take a table from a journal, and put it back."""

    def rename(before: str, after: str) -> None:
        if is_postgres(journal_url):
            with psycopg.connect(journal_url, autocommit=True) as connection:
                connection.execute(f"ALTER TABLE kros_mcp.{before} RENAME TO {after}".encode())
        else:
            with closing(sqlite3.connect(journal_url.removeprefix("sqlite:///"))) as file:
                file.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(table, "elsewhere")
    try:
        yield
    finally:
        rename("elsewhere", table)
