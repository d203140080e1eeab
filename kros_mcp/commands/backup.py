"""`kros-mcp backup`: a copy of the journal, taken while servers run."""

import shlex
from pathlib import Path

import click

from kros_mcp.commands.console import say
from kros_mcp.errors import GET_EXTRAS, InvalidArgumentError, SettingsError
from kros_mcp.journals.copies import Copied, back_up
from kros_mcp.journals.sqlite_file import journal_path
from kros_mcp.settings import is_postgres, load_settings
from kros_mcp.times import minute

_HELP = """\
Copy the journal to a new file.

Takes the copy while servers run; FILE, the new file, is whole and readable by you alone. It holds phone numbers, names
and amounts, and no key. A copy of the journal's file by other programs is good only while nothing writes.

Of a journal in PostgreSQL it says which pg_dump line takes the copy.
"""
_EPILOG = """\
\b
example:
  kros-mcp backup /backups/kros-2026-05-03.sqlite3

\b
exit codes:
  0 written   1 the file is there already, or PostgreSQL
  2 usage or settings   3 journal unusable
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("file")
def backup(file: str) -> int:
    """Write the copy, and say what is in it; of a database, say how its own program takes one.

    Returns:
        0 if it was written, 1 if a person has to take it.

    Raises:
        KrosError: The journal cannot be read, or the file cannot be written.
    """
    settings = load_settings()
    if is_postgres(settings.journal_url):
        to = f"--file={shlex.quote(file)}"
        line = f"pg_dump --format=custom --schema=kros_mcp {to} {target(settings.journal_url)}"
        print(f"The journal is in PostgreSQL, whose own program takes the copy:\n\n  {line}")
        return 1
    copied = back_up(file_of(settings.journal_url), Path(file))
    say(f"{file} holds {described(copied)}. Anyone who can read it sees who bought what; keep it as the journal.")
    return 0


def file_of(journal_url: str | None) -> Path:
    """Return the path of the journal's file.

    Raises:
        InvalidArgumentError: It is in memory.
    """
    path = journal_path(journal_url)
    if path is None:
        raise InvalidArgumentError("The journal is in memory, and ends with its server.", next_step="")
    return path


def target(journal_url: str | None) -> str:
    """Return a database as an argument of PostgreSQL's programs, without its password.

    Raises:
        SettingsError: The URL is none, or its driver is not installed.
    """
    try:
        from kros_mcp.journals.postgres_address import (  # noqa: PLC0415 - an extra
            InvalidAddressError,
            without_password,
        )
    except ImportError as exc:
        raise SettingsError(
            "KROS_JOURNAL_URL names a PostgreSQL database, for which the extra kros-mcp[postgres] is not installed.",
            next_step=GET_EXTRAS,
        ) from exc
    try:
        return f"--dbname={shlex.quote(without_password(journal_url or ''))}"
    except InvalidAddressError:
        raise SettingsError("KROS_JOURNAL_URL is not usable: it is no URL of a PostgreSQL database.") from None


def described(copied: Copied) -> str:
    """Return what a copy holds: its size, how many operations, and the time of the last."""
    size = f"{copied.size_bytes / 1_000_000:.1f} MB"
    if copied.last_at is None:
        return f"no operation yet ({size})"
    count = f"{copied.operations} operation{'' if copied.operations == 1 else 's'}"
    return f"{count} ({size}), the last of {minute(copied.last_at)} UTC"
