"""`kros-mcp export`: every operation as CSV, for accounting; streamed, so that its length does not matter.

RFC 4180 in UTF-8. Cells that a spreadsheet would take for a formula begin with an apostrophe instead; the
E.164 alone keeps its plus sign.
"""

import csv
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import anyio
import click

from kros_mcp.commands.console import working
from kros_mcp.commands.selection import FilterOptions, Selection, currency, filter_options, select, settings_of
from kros_mcp.errors import InvalidArgumentError, KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Journal, every
from kros_mcp.operations.model import Operation
from kros_mcp.operations.spreadsheet import COLUMNS, cells
from kros_mcp.settings import Settings
from kros_mcp.times import bounds

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
_Days = tuple[float | None, float | None]
"""From when on, and before when; None is without a bound."""
_SAY_EVERY = 500
_LONGEST_WAIT_SECONDS = 31 * 86_400.0  # an approver may take 30 days, then it is sent within seconds


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--csv", "as_csv", is_flag=True, expose_value=False, help="as CSV, the only form so far and the default")
@filter_options
@click.option("--since", metavar="YYYY-MM-DD", help="from this day on (UTC)")
@click.option("--until", metavar="YYYY-MM-DD", help="up to and including this day (UTC)")
@click.option(
    "--by",
    type=click.Choice(("asked", "sent")),
    default="asked",
    help="whose day counts: when it was asked for (default), or when it was sent, which is when money moves",
)
@click.option("--output", metavar="FILE", help="a new file, readable by you alone; else standard output")
@click.option("--force", is_flag=True, help="replace the file if it is there")
def export(
    typed: FilterOptions, since: str | None, until: str | None, by: str, output: str | None, *, force: bool
) -> int:
    """Write the operations down, oldest first.

    Raises:
        KrosError: The journal or the file cannot be used, or a filter is malformed.
    """
    settings = settings_of(typed.organization)
    if force and not output:
        raise InvalidArgumentError("--force goes with --output.", next_step="")
    days = _days(since, until)
    if output is None:
        anyio.run(_export, settings, typed, days, by, _standard_output())
        return 0
    path = Path(output)
    with _new_file(path, force=force) as file:
        count = anyio.run(_export, settings, typed, days, by, file)
    print(f"{count} operation{'' if count == 1 else 's'} written to {path}.", file=sys.stderr)
    return 0


def _days(since: str | None, until: str | None) -> _Days:
    first = bounds(since)[0] if since else None
    end = bounds(until)[1] if until else None
    if first is not None and end is not None and first >= end:
        raise InvalidArgumentError(
            f"--since {since} is later than --until {until}: no day lies between them.", next_step=""
        )
    return first, end


async def _export(settings: Settings, typed: FilterOptions, days: _Days, by: str, file: TextIO) -> int:
    count = 0
    async with open_journal(settings.journal_url) as journal:
        selection = await select(typed, settings, journal)
        if selection.note:
            print(f"kros-mcp: {selection.note}", file=sys.stderr)
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        shown = file is sys.stdout and file.isatty()  # then the lines themselves are the progress
        with nullcontext(_say_nothing) if shown else working("reading the journal") as say_so:
            async for operation in _of_days(journal, selection, days, sent=by == "sent"):
                writer.writerow(cells(operation, currency(operation, selection.account, settings)))
                count += 1
                if count % _SAY_EVERY == 0:
                    say_so(f"{count:,} operations written")
    file.flush()
    return count


def _say_nothing(_words: str) -> None:
    pass


async def _of_days(journal: Journal, selection: Selection, days: _Days, *, sent: bool) -> AsyncIterator[Operation]:
    """Read what was asked for in those days; or what was sent in them, and may have been asked for before."""
    wanted, (since, until) = selection.wanted, days
    earliest = since - _LONGEST_WAIT_SECONDS if sent and since is not None else since
    narrowed = replace(wanted, since=earliest, until=until)
    async for operation in every(journal, narrowed):
        if not sent or _lies_between(operation.sent_at, since, until):
            yield operation


def _lies_between(time: float | None, since: float | None, until: float | None) -> bool:
    return time is not None and (since is None or time >= since) and (until is None or time < until)


def _standard_output() -> TextIO:
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
