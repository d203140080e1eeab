"""`kros-mcp prune`: operations that ended long ago, and that nothing needs any more, are deleted."""

import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.backup import file_of
from kros_mcp.commands.console import Column, say, show_table, working
from kros_mcp.commands.prune_plan import Old, Plan, Reason, every_row, make_plan, owned_by
from kros_mcp.commands.selection import short
from kros_mcp.errors import InvalidArgumentError, JournalError
from kros_mcp.journals import space
from kros_mcp.journals.backends import open_journal
from kros_mcp.money import show_again
from kros_mcp.operations import policy
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action
from kros_mcp.operations.pruning import YOUNGEST_DAYS, Pruning, new_run
from kros_mcp.settings import Settings, is_postgres, load_settings
from kros_mcp.times import bounds, day_of

_HELP = """\
Delete operations that ended long ago.

Of all accounts that share the journal it deletes what had ended before a day, with its events. It leaves what a cap, a
budget, the run rate, recovery, reconcile or a restore needs: above all what was sent for a number that is owned, or
that this journal does not know to be given up. So what every account owns has to be read first: run kros-mcp reconcile
for each on the same day.

It shows first what it would delete, and asks for the word. It cannot be undone; a copy of the journal (kros-mcp backup)
has everything. Servers may run meanwhile.
"""
_EPILOG = f"""\
\b
examples:
  kros-mcp reconcile
  kros-mcp prune --before 2026-01-01 --dry-run
  kros-mcp export --all-accounts --until 2025-12-31 --output 2025.csv
  kros-mcp backup /backups/before-pruning.sqlite3
  kros-mcp prune --before 2026-01-01

\b
The day is {YOUNGEST_DAYS} days ago at the latest.

\b
exit codes:
  0 deleted, or nothing to delete   1 left as it was
  2 usage or settings   3 journal unusable
"""
_LEFT: Final = "Nothing was deleted."
_BREATH_SECONDS: Final = 0.02
"""For how long others may write between two transactions, at least."""
_WORTH: Final = 0.1
"""Which part of a file must be free for it to be made smaller."""
_COLUMNS: Final = (
    Column("account"),
    Column("what"),
    Column("state"),
    Column("how many", right=True),
    Column("charged", right=True),
    Column("asked for from", leaves=True, below="asked for from "),
    Column("to", leaves=True, below="to "),
)


@dataclass(frozen=True)
class Deleted:
    """How many operations were deleted, and how many of those that were shown were not; why it ended early, if so."""

    operations: int = 0
    left: int = 0
    failure: JournalError | None = None


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--before", required=True, metavar="YYYY-MM-DD", help="what had ended before this day began (UTC)")
@click.option("--dry-run", is_flag=True, help="only show what would be deleted")
@click.option("--yes", is_flag=True, help="ask nothing at the terminal")
def prune(before: str, *, dry_run: bool, yes: bool) -> int:
    """Show what would be deleted, ask, and delete it.

    Returns:
        0 if it was deleted or there was nothing, 1 if the person left it.

    Raises:
        KrosError: The day is too late, the journal cannot be used, or this terminal only reads.
    """
    settings = load_settings()
    limit = bounds(before)[0]
    if not dry_run:
        policy.check_writable(settings)
    with working("reading the journal"):
        plan, count = anyio.run(_plan, settings, limit)
    doomed = list(plan.rows)
    _show(plan, doomed, count, before)
    if doomed:
        _show_how_to_keep(settings, before)
    if dry_run:
        print(f"{_LEFT} This was a dry run.")
        return 0
    if doomed:
        instead = "Run it at a terminal, or add --yes."
        if not yes and not person.typed("prune", otherwise="leave the journal as it is", instead=instead):
            print(_LEFT)
            return 1
        with working("deleting") as say_so:
            done = anyio.run(_delete, settings, plan, limit, say_so)
        _tell(done, len(doomed))
        if done.failure is not None:
            raise done.failure
    _give_back(settings)
    return 0


async def _plan(settings: Settings, before: float) -> tuple[Plan, int]:
    async with open_journal(settings.journal_url, read_only=settings.read_only) as journal:
        now = min(await journal.now(), time.time())  # the journal's time may have been set ahead, and never goes back
        latest = bounds(day_of(max(0.0, now - YOUNGEST_DAYS * policy.DAY_SECONDS)))[0]
        if before > latest:
            raise InvalidArgumentError(
                f"--before may be {day_of(latest)} at the latest: what ended within {YOUNGEST_DAYS} days is needed "
                "still. Nothing was deleted.",
                next_step="Name an earlier day.",
            )
        plan = await _read_plan(journal, before)
        return plan, sum(1 for _ in plan.rows) + plan.stays.total()


async def _read_plan(journal: Journal, before: float) -> Plan:
    owned = await owned_by(journal)
    return await make_plan(every_row(journal), owned, before, await journal.still_to_tell())


async def _delete(settings: Settings, plan: Plan, before: float, say_so: Callable[[str], None]) -> Deleted:
    approved = {row.id for row in plan.rows}
    async with open_journal(settings.journal_url) as journal:
        run = await _run(journal, before)
        plan = await _read_plan(journal, before)  # whoever answered may have taken hours
        plan.groups = [group for group in plan.groups if all(row.id in approved for row in group)]
        done = await delete(journal, plan, run, say_so)
    return replace(done, left=len(approved) - done.operations)


async def delete(journal: Journal, plan: Plan, run: Pruning, say_so: Callable[[str], None]) -> Deleted:
    """Delete what was planned, until something of it is not as planned any more.

    It ends there: the rest may belong together with that, as a release does with its purchase.

    Args:
        journal: Where it stands.
        plan: What is deleted.
        run: Names the run.
        say_so: Is told how far it has come.
    """
    deleted = 0
    for chunk in plan.chunks():
        began = time.monotonic()
        ids, accounts = [row.id for row in chunk], {row.account for row in chunk}
        try:
            gone = await journal.prune(ids, accounts, before=plan.before, run=run)
        except JournalError as exc:
            return Deleted(deleted, failure=exc)
        if not gone:
            break
        deleted += len(gone)
        say_so(f"{deleted:,} operations deleted")
        await anyio.sleep(max(_BREATH_SECONDS, time.monotonic() - began))  # as long as it held others up
    return Deleted(deleted)


async def _run(journal: Journal, before: float) -> Pruning:
    by = person.by()
    return Pruning(new_run(), "", before, await journal.now(), f"{by.who} ({by.channel})")


def _show(plan: Plan, doomed: list[Old], count: int, before: str) -> None:
    of = f"the {count:,} operations of the journal" if count != 1 else "the one operation of the journal"
    if not doomed:
        say(f"Of {of} none had ended before {before} without being needed still.")
    else:
        say(f"Of {of} {len(doomed):,} had ended before {before}, and nothing needs them any more:")
        print()
        show_table(_COLUMNS, _lines(doomed))
        if len({row.account for row in doomed}) == 1:
            charged = show_again(sum(row.charged_cents for row in doomed))
            say(f"Charged for these, in all: {charged} in the account's own currency.")
    print()
    for reason in Reason:
        if stay := plan.stays[reason]:
            say(f"{stay:,} {'stays' if stay == 1 else 'stay'}: {reason}.")
    if plan.stays[Reason.UNREAD]:
        say("Run kros-mcp reconcile for each account first (--organization ID, or its KROS_API_KEY).")
    if plan.stays.total():
        print()


def _lines(doomed: Iterable[Old]) -> list[list[str]]:
    grouped: dict[tuple[str, str, str], list[Old]] = {}
    for row in doomed:
        grouped.setdefault((row.account, str(row.action), str(row.state)), []).append(row)
    return [
        [
            short(account),
            action.replace("_", " "),
            state,
            f"{len(rows):,}",
            show_again(sum(row.charged_cents for row in rows)) if Action(action).charges else "",
            day_of(min(row.created_at for row in rows)),
            day_of(max(row.created_at for row in rows)),
        ]
        for (account, action, state), rows in sorted(grouped.items())
    ]


def _show_how_to_keep(settings: Settings, before: str) -> None:
    last = day_of(bounds(before)[0] - 1)
    copy = "kros.dump" if is_postgres(settings.journal_url) else "kros.sqlite3"
    say("What accounting needs of them, and all of them with their events, are kept by:")
    print(f"\n  kros-mcp export --all-accounts --until {last} --output until-{last}.csv\n  kros-mcp backup {copy}\n")


def _tell(done: Deleted, planned: int) -> None:
    said = f"Deleted {done.operations:,} of {planned:,} operations, with their events; the journal keeps how many."
    if done.failure is not None:
        said += " Then the journal could not be used; run it again for the rest."
    elif done.left:
        said += f" {done.left:,} were left, since something was written of one meanwhile; run it again for the rest."
    say(said)


def _give_back(settings: Settings) -> None:
    """Make the file smaller, unless a server uses it; say what becomes of the room otherwise."""
    if is_postgres(settings.journal_url):
        say("PostgreSQL uses the room again by itself (autovacuum); to give it back to the disk, run VACUUM FULL.")
        return
    path = file_of(settings.journal_url)
    room = space.look(path)
    if room.free < room.size * _WORTH:
        return
    size, free = _megabytes(room.size), _megabytes(room.free)
    if not space.is_free(path):
        vacuum = "\"import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM')\""
        say(
            f"The file keeps its {size}, of which {free} are free for new operations. To make it smaller, end what "
            f"uses it and run: python3 -c {vacuum} {shlex.quote(path.as_posix())}"
        )
        return
    try:
        given = space.give_back(path)
    except JournalError:
        say(f"The file keeps its {size}, of which {free} are free: it could not be written anew. Run this again later.")
        return
    say(f"The file has {_megabytes(given.size)} now; {_megabytes(given.freed)} were given back to the disk.")


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
