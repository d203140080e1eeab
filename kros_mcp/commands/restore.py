"""`kros-mcp restore`: a copy of the journal put back; nothing is spent until `reconcile` has completed it."""

import argparse
import shlex
from pathlib import Path

import anyio

from kros_mcp.commands import person
from kros_mcp.commands.backup import file_of, target, told
from kros_mcp.commands.console import fitted
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.operations.journals.backends import open_journal
from kros_mcp.operations.journals.copying import look_at, put_back, users
from kros_mcp.operations.journals.sqlite_file import is_there
from kros_mcp.settings import Settings, is_postgres, load_settings

_LEFT = "Nothing was restored; the journal is as it was."
_NEXT = (
    "Nothing can be spent now. Run kros-mcp reconcile with the KROS_API_KEY of each account that uses the journal: it "
    "enters what was bought after the copy was taken."
)


def run(arguments: argparse.Namespace) -> int:
    """Put a copy back once the person has typed the word, and say what that has ended and what comes next.

    Returns:
        0 if it was restored, 1 if it was left as it was or a person has to put it back.

    Raises:
        KrosError: The copy or the journal cannot be used, or a server uses it.
    """
    settings = load_settings()
    if is_postgres(settings.journal_url):
        return _in_database(arguments, settings)
    if arguments.after_pg_restore or not arguments.file:
        raise InvalidArgumentError("The journal is a file: name the copy to put back.", next_step="")
    return _in_file(arguments, Path(arguments.file), file_of(settings.journal_url))


def _in_file(arguments: argparse.Namespace, copy: Path, path: Path) -> int:
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
    _say(f"{copy} holds {told(held)}. It takes the place of the journal {path}; what was written since is not in it.")
    if not arguments.yes and not person.typed("restore"):
        print(_LEFT)
        return 1
    kept, ended = anyio.run(put_back, copy, path, person.by())
    _say(f"Restored. {_ended(ended)}" + (f" The journal as it was is {kept}." if kept else ""), _NEXT)
    return 0


def _in_database(arguments: argparse.Namespace, settings: Settings) -> int:
    if not arguments.after_pg_restore:
        copy = shlex.quote(arguments.file or "FILE")
        line = f"pg_restore --clean --if-exists {target(settings.journal_url)} {copy}"
        _say("The journal is in PostgreSQL, whose own program puts the copy back. End the servers, then run:")
        print(f"\n  {line}\n  kros-mcp restore --after-pg-restore")
        return 1
    if not arguments.yes and not person.typed("restore"):
        print(_LEFT)
        return 1
    ended = anyio.run(_mark, settings)
    _say(f"The journal is marked as restored. {_ended(ended)}", _NEXT)
    return 0


async def _mark(settings: Settings) -> int:
    async with open_journal(settings.journal_url) as journal:
        return await journal.mark_restored(by=person.by())


def _ended(count: int) -> str:
    if not count:
        return "Nothing in it waited or was being sent."
    were = "1 operation in it" if count == 1 else f"{count} operations in it"
    return f"{were} waited, and expired, or went out when the copy was taken, and cannot be told from here: unknown."


def _say(*paragraphs: str) -> None:
    for paragraph in paragraphs:
        print("\n".join(fitted(paragraph)))
