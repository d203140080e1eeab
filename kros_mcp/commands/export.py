"""`kros-mcp export`: every operation as CSV, for accounting; streamed, so that its length does not matter.

RFC 4180 in UTF-8. Cells that a spreadsheet would take for a formula begin with an apostrophe instead; the
E.164 alone keeps its plus sign.
"""

import csv
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

import anyio
import click

from kros_mcp.commands.console import working
from kros_mcp.commands.selection import FilterOptions, currency, filter_options, period, select, settings_of
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import pruned_note
from kros_mcp.operations.journal import every
from kros_mcp.operations.pruning import of_account
from kros_mcp.operations.spreadsheet import COLUMNS, cells
from kros_mcp.settings import Settings

_HELP = """\
Write every operation down as CSV for accounting.

RFC 4180 in UTF-8, oldest first, one line for each operation; amounts are whole cents where a name ends in _cents.
charged_cents is what a purchase took, as quoted or as KrosAI reported it: 0 if nothing, empty while it is not known
whether it was charged. Where KrosAI states no whole amount of a charge, it is reserved_cents, as the guard counted it.

The sum of charged_cents by charged_on is what each day (UTC) cost; with --by sent whole days are complete. A cell that
a spreadsheet would take for a formula begins with an apostrophe; e164 keeps its plus sign.
"""
_EPILOG = """\
\b
examples:
  kros-mcp export --since 2026-05-01 --until 2026-05-31 --by sent \\
    --output may.csv
  kros-mcp export --state done --all-accounts | head

\b
exit codes:
  0 written   1 the file is there already   2 usage or settings
  3 journal unusable
"""
_SAY_EVERY = 500


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--csv", "as_csv", is_flag=True, expose_value=False, help="as CSV, the only form so far and the default")
@filter_options
@click.option("--output", metavar="FILE", help="a new file, readable by you alone; else standard output")
@click.option("--force", is_flag=True, help="replace the file if it is there")
def export(typed: FilterOptions, output: str | None, *, force: bool) -> int:
    """Write the operations down, oldest first.

    Raises:
        KrosError: The journal or the file cannot be used, or a filter is malformed.
    """
    settings = settings_of(typed.organization)
    if force and not output:
        raise InvalidArgumentError("--force goes with --output.", next_step="")
    period(typed)  # before a file is made
    if output is None:
        anyio.run(_export, settings, typed, standard_output())
        return 0
    path = Path(output)
    with _new_file(path, force=force) as file:
        count = anyio.run(_export, settings, typed, file)
    print(f"{count} operation{'' if count == 1 else 's'} written to {path}.", file=sys.stderr)
    return 0


async def _export(settings: Settings, typed: FilterOptions, file: TextIO) -> int:
    count = 0
    async with open_journal(settings.journal_url) as journal:
        selection = await select(typed, settings, journal)
        if selection.note:
            print(f"kros-mcp: {selection.note}", file=sys.stderr)
        pruned = of_account(await journal.prunings(), selection.wanted.account, since=selection.wanted.asked_since)
        if told := pruned_note.note(pruned, settings.currency, own=selection.account):
            print(f"kros-mcp: {told}", file=sys.stderr)
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        shown = file is sys.stdout and file.isatty()  # then the lines themselves are the progress
        with nullcontext(_say_nothing) if shown else working("reading the journal") as say_so:
            async for operation in every(journal, selection.wanted):
                writer.writerow(cells(operation, currency(operation, selection.account, settings)))
                count += 1
                if count % _SAY_EVERY == 0:
                    say_so(f"{count:,} operations written")
    file.flush()
    return count


def _say_nothing(_words: str) -> None:
    pass


def standard_output() -> TextIO:
    """Return standard output as RFC 4180 wants it: with its own line ends, in UTF-8 on every terminal."""
    with suppress(AttributeError):  # of a stream that stands in for it
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    return sys.stdout


@contextmanager
def _new_file(path: Path, *, force: bool) -> Iterator[TextIO]:
    """Open a file of its owner's alone; what was there is replaced only when the new one is whole."""
    try:
        number, written = _replacing(path) if force else _creating(path)
    except FileExistsError:
        raise KrosError(
            f"{path} is there already and was left as it is.",
            code="FILE_EXISTS",
            next_step="Add --force to replace it.",
        ) from None
    except OSError:
        raise _unwritable(path) from None
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
        if force:
            written.replace(path)
    except OSError:
        written.unlink(missing_ok=True)
        raise _unwritable(path) from None
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _creating(path: Path) -> tuple[int, Path]:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path


def _replacing(path: Path) -> tuple[int, Path]:
    """Open a file beside the one to be replaced, under a name that no export killed before has left there."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise _unwritable(path)
    number, name = tempfile.mkstemp(prefix=".kros-mcp-", suffix=".csv", dir=path.parent)
    return number, Path(name)


def _unwritable(path: Path) -> KrosError:
    return InvalidArgumentError(f"{path} cannot be written.", next_step="Name another --output.")
