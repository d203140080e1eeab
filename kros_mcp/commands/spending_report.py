"""`kros-mcp spending`: who spent what, what is left, and what numbers cost a month; from the journal. Needs no key."""

import csv
import json
import sys
from dataclasses import dataclass, replace
from typing import Final

import anyio
import click

from kros_mcp.commands.export import standard_output
from kros_mcp.commands.selection import FilterOptions, Selection, money_options, select, settings_of, short
from kros_mcp.commands.spending_told import Shown, doubts, tell
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.journals.backends import open_journal, place
from kros_mcp.krosai import clean
from kros_mcp.operations import expenditure_record
from kros_mcp.operations.expenditure import Expenditure, Grouping, first_of_month
from kros_mcp.operations.expenditure_reader import read_expenditure
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Limits
from kros_mcp.settings import Settings
from kros_mcp.times import day_of, utc

_HELP = """\
Tell what was spent, by whom and where, what the caps leave, and what owned numbers cost a month.

Read from the journal alone: without --since and --until of this month, by month of the last twelve. Days are those of
UTC on which a purchase was sent, which is when money moves. Charged is what purchases took, with the first month;
what KrosAI bills for the months after stands in no journal: "a month" tells it, by the list of owned numbers as a
server read it last, and by what was bought and released since. What is not known is never counted as nothing.

Caps are those of this terminal's settings. Without KROS_API_KEY no account is named, and all are told, each by itself.
"""
_EPILOG = """\
\b
examples:
  kros-mcp spending
  kros-mcp spending --by principal --since 2026-05-01 --until 2026-05-31
  kros-mcp spending --by month --csv > spent.csv
  kros-mcp spending --by country --json | jq '.accounts[].groups'

\b
exit codes:
  0 told   2 usage or settings   3 journal unusable
"""
_MONTHS_BEFORE: Final = {Grouping.MONTH: 11}
"""How many months before this one are told where no days are named."""


@dataclass(frozen=True)
class _Report:
    """What was asked for, and what every account has spent."""

    journal: str
    """Where it stands."""
    selection: Selection
    grouping: Grouping
    is_usual: bool
    """Whether no days were named."""
    now: float
    accounts: tuple[Expenditure, ...]


@click.command(help=_HELP, epilog=_EPILOG)
@click.option(
    "--by",
    type=click.Choice([str(each) for each in Grouping]),
    default=str(Grouping.DAY),
    help="what sums are told apart by (day)",
)
@money_options
@click.option("--csv", "as_csv", is_flag=True, help="as CSV (RFC 4180): one line a group, cents as integers")
@click.option("--json", "as_json", is_flag=True, help="one JSON document: cents as integers, times in UTC")
def spending(typed: FilterOptions, by: str, *, as_csv: bool, as_json: bool) -> int:
    """Print what was spent.

    Raises:
        KrosError: The journal cannot be used, or a filter is malformed.
    """
    if as_csv and as_json:
        raise InvalidArgumentError("--csv and --json exclude each other.", next_step="")
    settings = settings_of(typed.organization)
    report = anyio.run(_read, settings, typed, Grouping(by))
    if as_json:
        print(json.dumps(_document(report), indent=2, ensure_ascii=False))
    elif as_csv:
        _write(report)
    else:
        tell([_shown(each, report) for each in report.accounts], _headline(report))
    return 0


async def _read(settings: Settings, typed: FilterOptions, grouping: Grouping) -> _Report:
    async with open_journal(settings.journal_url) as journal:
        selection = await select(typed, settings, journal)
        now, wanted = await journal.now(), selection.wanted
        is_usual = wanted.since is None and wanted.until is None
        if is_usual:
            wanted = replace(wanted, since=first_of_month(now, _MONTHS_BEFORE.get(grouping, 0)))
            selection = replace(selection, wanted=wanted)
        return _Report(
            journal=place(settings.journal_url),
            selection=selection,
            grouping=grouping,
            is_usual=is_usual,
            now=now,
            accounts=tuple(
                [
                    await read_expenditure(
                        journal,
                        replace(wanted, account=account),
                        grouping,
                        settings=settings if account == selection.account else None,
                        # That of this terminal says nothing of another account's money.
                        label=settings.currency if selection.account in {None, account} else "",
                        own=_own(settings, wanted.principal),
                    )
                    for account in await _accounts(journal, selection)
                ]
            ),
        )


async def _accounts(journal: Journal, selection: Selection) -> list[str]:
    """Return the accounts to be told, that of the key first."""
    if selection.wanted.account is not None:
        return [selection.wanted.account]
    own = [selection.account] if selection.account is not None else []
    return [*own, *(account for account in await journal.accounts() if account not in own)]


def _own(settings: Settings, principal: str | None) -> Limits | None:
    """Return the caps of a principal, where these settings have them."""
    if principal is None or principal != settings.principal:
        return None
    return Limits(
        daily_budget_cents=settings.principal_daily_budget_cents,
        monthly_commitment_cents=settings.principal_monthly_commitment_cents,
    )


def _shown(read: Expenditure, report: _Report) -> Shown:
    is_own = report.selection.account == read.account
    return Shown(read, is_keyless=report.selection.account is None, is_own=is_own)


def _headline(report: _Report) -> tuple[str, ...]:
    """Return what is told of which days, and whose."""
    wanted = report.selection.wanted
    last = day_of(report.now if wanted.until is None else wanted.until - 1)
    first = "the beginning" if wanted.since is None else day_of(wanted.since)
    said = f"What was spent from {first} to {last}, by {report.grouping}"
    if wanted.principal is not None:
        said += f", asked for by {clean(wanted.principal, LONGEST_NAME_SHOWN)}"
    if wanted.country is not None:
        said += f", in {wanted.country}"
    usual = " --since and --until name other days." if report.is_usual else ""
    sentences = [f"{said}; days are those of UTC.{usual}"]
    if report.selection.note:
        sentences.append(report.selection.note)
    if not report.accounts:
        sentences.append(f"Nothing stands in the journal yet: {report.journal}.")
    return tuple(sentences)


def _document(report: _Report) -> dict[str, object]:
    wanted, now = report.selection.wanted, report.now
    return {
        "by": str(report.grouping),
        "since": None if wanted.since is None else day_of(wanted.since),
        "until": day_of(now if wanted.until is None else wanted.until - 1),
        "at": utc(now),
        "account": report.selection.account,
        "all_accounts": report.selection.all_accounts,
        "principal": clean(wanted.principal or "", LONGEST_NAME_SHOWN) or None,
        "country": wanted.country,
        "accounts": [expenditure_record.document(each) for each in report.accounts],
    }


def _write(report: _Report) -> None:
    for sentence in _headline(report):
        print(f"kros-mcp: {sentence}", file=sys.stderr)
    writer = csv.writer(standard_output())
    writer.writerow(expenditure_record.columns(report.grouping))
    for each in report.accounts:
        for sentence in doubts(each):
            print(f"kros-mcp: account {short(each.account)}: {sentence}", file=sys.stderr)
        writer.writerows(expenditure_record.rows(each))
    sys.stdout.flush()
