"""`kros-mcp restore`: a copy of the journal put back; nothing is spent until `reconcile` has completed it."""

import shlex
from pathlib import Path

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.backup import described, file_of, target
from kros_mcp.commands.console import say
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.copies import look_at, put_back, users
from kros_mcp.journals.sqlite_file import is_there
from kros_mcp.settings import Settings, is_postgres, load_settings

_HELP = """\
Put a copy of the journal back.

End the servers first. What waited for a yes is expired then, what was being sent is unknown, and nothing is spent until
kros-mcp reconcile has entered what was bought after the copy was taken, for each key that uses the journal. The journal
as it was is kept beside the restored one.

FILE is the copy. For a journal in PostgreSQL it says which pg_restore line to run; afterwards run kros-mcp restore
--after-pg-restore.
"""
_EPILOG = """\
\b
examples:
  kros-mcp restore /backups/kros-2026-05-03.sqlite3
  kros-mcp reconcile

\b
exit codes:
  0 restored   1 left as it was, or PostgreSQL   2 usage or settings
  3 journal unusable
"""
_OTHERWISE = "leave the journal as it is"
_INSTEAD = "Run it at a terminal, or add --yes."
_LEFT = "Nothing was restored; the journal is as it was."
_NEXT = (
    "Nothing can be spent now. Run kros-mcp reconcile with the KROS_API_KEY of each account that uses the journal: it "
    "enters what was bought after the copy was taken."
)


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("file", required=False)
@click.option("--yes", is_flag=True, help="ask nothing at the terminal")
@click.option("--after-pg-restore", is_flag=True, help="the copy has been put back into PostgreSQL by pg_restore")
def restore(file: str | None, *, yes: bool, after_pg_restore: bool) -> int:
    """Put a copy back once the person has typed the word, and say what that has ended and what comes next.

    Returns:
        0 if it was restored, 1 if it was left as it was or a person has to put it back.

    Raises:
        KrosError: The copy or the journal cannot be used, or a server uses it.
    """
    settings = load_settings()
    if is_postgres(settings.journal_url):
        return _in_database(settings, file, yes=yes, marks=after_pg_restore)
    if after_pg_restore or not file:
        raise InvalidArgumentError("The journal is a file: name the copy to put back.", next_step="")
    return _in_file(Path(file), file_of(settings.journal_url), yes=yes)


def _in_file(copy: Path, path: Path, *, yes: bool) -> int:
    if is_there(path) and is_there(copy) and copy.samefile(path):
        raise InvalidArgumentError(f"{copy} is the journal itself.", next_step="")
    held = look_at(copy)
    if processes := users(path):
        named = ", ".join(map(str, processes))
        raise KrosError(
            f"The journal is open in another process ({named}). {_LEFT}",
            code="JOURNAL_IN_USE",
            next_step="End the servers that use it, then run this again.",
        )
    say(
        f"{copy} holds {described(held)}. It takes the place of the journal {path}; what was written since is not in "
        "it."
    )
    if not yes and not person.typed("restore", otherwise=_OTHERWISE, instead=_INSTEAD):
        print(_LEFT)
        return 1
    kept, ended = anyio.run(put_back, copy, path, person.by())
    say(f"Restored. {_ended(ended)}" + (f" The journal as it was is {kept}." if kept else ""))
    say(_NEXT)
    return 0


def _in_database(settings: Settings, file: str | None, *, yes: bool, marks: bool) -> int:
    if not marks:
        copy = shlex.quote(file or "FILE")
        line = f"pg_restore --clean --if-exists {target(settings.journal_url)} {copy}"
        say("The journal is in PostgreSQL, whose own program puts the copy back. End the servers, then run:")
        print(f"\n  {line}\n  kros-mcp restore --after-pg-restore")
        return 1
    if not yes and not person.typed("restore", otherwise=_OTHERWISE, instead=_INSTEAD):
        print(_LEFT)
        return 1
    ended = anyio.run(_mark, settings)
    say(f"The journal is marked as restored. {_ended(ended)}")
    say(_NEXT)
    return 0


async def _mark(settings: Settings) -> int:
    async with open_journal(settings.journal_url) as journal:
        return await journal.mark_restored(by=person.by())


def _ended(count: int) -> str:
    if not count:
        return "Nothing in it waited or was being sent."
    were = "1 operation in it" if count == 1 else f"{count} operations in it"
    return f"{were} waited, and expired, or went out when the copy was taken, and cannot be told from here: unknown."
