"""`kros-mcp operations`: what was asked for, by whom, for how much, and how it ended. Needs no API key."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

import anyio
import click

from kros_mcp.commands import person, timeline
from kros_mcp.commands.batch_table import told
from kros_mcp.commands.console import Column, say, show_table
from kros_mcp.commands.selection import (
    MOST_COUNTED,
    FilterOptions,
    Selection,
    currency,
    days,
    filter_options,
    select,
    settings_of,
    short,
    waiting_for_a_person,
)
from kros_mcp.errors import InvalidArgumentError
from kros_mcp.journals.backends import open_journal, place
from kros_mcp.krosai import clean
from kros_mcp.money import common_label, label_of, show_again
from kros_mcp.operations import agent_words, outlook, pruned_note
from kros_mcp.operations.decisions import decided
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Channel, Operation, State
from kros_mcp.operations.pruning import Pruning, of_account
from kros_mcp.operations.record import record, why
from kros_mcp.operations.status import Asked, waits_for
from kros_mcp.settings import Settings
from kros_mcp.times import bounds, minute

_HELP = """\
List what was asked for, and how it ended.

Newest first, with who asked, who said yes and why. With an ID it tells the story of that operation, move by move: when
what happened to it, by whom, through which channel and in which words.

Without KROS_API_KEY no account is named, and the operations of all accounts are shown. "now" and "a month" are the
price that was shown; the state says whether it was paid.

Below the table stands what was charged for all that the filters let through, and of what that is not known; with --by
sent, --since and --until count the days on which money moved.

--state takes the words of the tools as well: awaiting_approval, confirmation_required, pending. --principal NAME finds
tokens|NAME too, where nobody is called just that.
"""
_EPILOG = """\
\b
examples:
  kros-mcp operations --state unknown --state sending
  kros-mcp operations op_abcdefghijklmnop
  kros-mcp operations --day 2026-05-03 --principal night-desk
  kros-mcp operations --since 2026-05-01 --until 2026-05-31 --by sent
  kros-mcp operations --json --limit 1000 |
    jq '.operations[] | select(.charged == "unknown")'

\b
exit codes:
  0 listed   1 there is no such operation   2 usage or settings
  3 journal unusable
"""
_ASKED: Final[dict[Asked, str]] = {
    "approver": "an approver",
    "person": "the person in the conversation",
    "screen": "the person on the screen",
}
_MOST_SHOWN = 100_000  # they stand in memory at once; an export streams
_COLOURS = {
    State.DONE: "green",
    State.FAILED: "yellow",
    State.UNKNOWN: "red",
    State.SENDING: "cyan",
    State.CONFIRMED: "cyan",
    State.PROPOSED: "cyan",
}
_LONGEST_CURRENCY = 10
_MARK = "*"
"""Stands behind the state of an operation that was corrected."""
_COLUMNS = (
    Column("when (UTC)"),
    Column("operation"),
    Column("account", leaves=True, below="account "),
    Column("what"),
    Column("now", right=True),
    Column("a month", right=True, leaves=True, below="a month "),
    Column("state", colours={f"{state}{mark}": colour for state, colour in _COLOURS.items() for mark in ("", _MARK)}),
    Column("who", least=8, leaves=True, below="for "),
    Column("confirmed", least=16, leaves=True),
    Column("reason", least=24, leaves=True),
    Column("agent writes", least=24, leaves=True, below="the agent writes, unchecked: "),
)
_ACCOUNT = 2


@dataclass(frozen=True)
class _Charged:
    """What was charged for the operations of one account that the filters let through; amounts in cents."""

    account: str
    purchases: int
    charged_cents: int
    unknown: int
    """Of how many purchases it is not known."""
    unknown_cents: int
    currencies: tuple[str, ...]
    """What the prices are stated in, empty where nothing is stated; amounts in several cannot be added."""


@dataclass(frozen=True)
class _Page:
    """One page of the books, and what stands beyond it."""

    selection: Selection
    operations: tuple[Operation, ...]
    total: int
    hidden: int
    waiting: int
    times_asked: dict[str, int]
    """How often the same as each that waits was asked for in the last 24 hours, by its id."""
    now: float
    totals: tuple[_Charged, ...]
    """Of all that the filters let through, not of this page alone."""
    pruned: list[Pruning]
    """What is not there any more of what these would show."""

    @property
    def more(self) -> int:
        return max(0, self.total - len(self.operations))


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("operation_id", metavar="[ID]", required=False)
@filter_options
@click.option("--day", metavar="YYYY-MM-DD", help="only what was asked for on this day (UTC)")
@click.option("--limit", type=int, default=50, metavar="N", help="how many at most (50)")
@click.option("--json", "as_json", is_flag=True, help="one JSON document: cents as integers, times in UTC")
def operations(operation_id: str | None, typed: FilterOptions, day: str | None, limit: int, *, as_json: bool) -> int:
    """Print one page of operations, newest first; or one operation, move by move.

    Raises:
        KrosError: The journal cannot be used, there is no such operation, or a filter is malformed.
    """
    if operation_id is not None:
        if typed != FilterOptions() or day:
            raise InvalidArgumentError(
                "The ID of one operation goes with --json alone.", next_step="Leave out the ID, or the filters."
            )
        timeline.show(operation_id, as_json=as_json)
        return 0
    if day:
        if typed.since or typed.until:
            raise InvalidArgumentError("--day goes without --since and --until.", next_step="")
        bounds(day)
        typed = replace(typed, since=day, until=day)
    settings = settings_of(typed.organization)
    if not 1 <= limit <= _MOST_SHOWN:
        raise InvalidArgumentError(
            f"--limit must be 1 or more, and at most {_MOST_SHOWN}.", next_step="kros-mcp export writes any number."
        )
    page = anyio.run(_read, settings, typed, limit)
    if as_json:
        print(json.dumps(_document(page, settings), indent=2, ensure_ascii=False))
    else:
        _print(page, settings)
    return 0


async def _read(settings: Settings, typed: FilterOptions, limit: int) -> _Page:
    async with open_journal(settings.journal_url) as journal:
        selection = await select(typed, settings, journal)
        operations = await journal.list_operations(selection.wanted, limit=limit)
        total = await journal.count(selection.wanted)
        return _Page(
            selection=selection,
            operations=operations,
            total=total,
            hidden=0
            if selection.all_accounts
            else await journal.count(replace(selection.wanted, account=None)) - total,
            waiting=await waiting_for_a_person(journal, selection),
            times_asked=await journal.times_asked([each for each in operations if each.state is State.PROPOSED]),
            now=await journal.now(),
            totals=await _totals(journal, selection),
            pruned=of_account(await journal.prunings(), selection.wanted.account, since=selection.wanted.asked_since),
        )


async def _totals(journal: Journal, selection: Selection) -> tuple[_Charged, ...]:
    """Add up what was charged, account by account: their money may not be of one kind."""
    accounts = [selection.wanted.account] if selection.wanted.account else await journal.accounts()
    found = []
    for account in accounts:
        totals = await journal.totals(replace(selection.wanted, account=account))
        charging = [each for each in totals if each.action.charges]
        found.append(
            _Charged(
                account=account,
                purchases=sum(each.count for each in charging if each.state is State.DONE),
                charged_cents=sum(each.charged_cents for each in charging),
                unknown=sum(each.unknown for each in charging),
                unknown_cents=sum(each.unknown_cents for each in charging),
                currencies=tuple(sorted(frozenset[str]().union(*(each.currencies for each in charging)))),
            )
        )
    return tuple(each for each in found if len(found) == 1 or each.purchases or each.unknown)


def _document(page: _Page, settings: Settings) -> dict[str, object]:
    return {
        "account": page.selection.account,
        "all_accounts": page.selection.all_accounts,
        "principal": clean(page.selection.wanted.principal or "", LONGEST_NAME_SHOWN) or None,
        "operations": [
            record(operation, currency(operation, page.selection.account, settings)) for operation in page.operations
        ],
        "total": page.total,
        "charged": [asdict(each) | {"currencies": list(filter(None, each.currencies))} for each in page.totals],
        "more": page.more,
        "hidden_of_other_accounts": page.hidden,
        "waiting_for_a_person": page.waiting,
        "waiting_for_a_person_or_more": page.waiting >= MOST_COUNTED,
        "pruned": pruned_note.records(page.pruned),
    }


def _print(page: _Page, settings: Settings) -> None:
    if page.operations:
        shown = [at for at in range(len(_COLUMNS)) if at != _ACCOUNT or page.selection.all_accounts]
        rows = [_row(operation, page, settings) for operation in page.operations]
        show_table([_COLUMNS[at] for at in shown], [[row[at] for at in shown] for row in rows])
        print()
    for sentence in _below(page, settings):
        say(sentence)


def _below(page: _Page, settings: Settings) -> Iterator[str]:
    """Yield what was shown, what was not, and what is to be done."""
    yield _whose(page, settings)
    if not page.total:
        yield f"The journal that was looked at: {place(settings.journal_url)}."
    for each in page.totals if page.total else ():
        yield _charged(each, page, settings)
    if page.selection.note:
        yield page.selection.note
    if any(operation.corrected_at is not None for operation in page.operations):
        yield f"{_MARK} another outcome was told at first, and corrected: kros-mcp operations ID tells when and why."
    if page.more:
        limit = f"add --limit {page.total}, or " if page.total <= _MOST_SHOWN else ""
        yield f"{page.more} more, older ones, are not shown: {limit}write all to a file with kros-mcp export --csv."
    if page.hidden:
        verb, these = ("is", "it") if page.hidden == 1 else ("are", "them")
        yield f"{page.hidden} of other accounts {verb} hidden: --all-accounts shows {these}."
    if page.pruned:
        yield pruned_note.note(page.pruned, settings.currency, own=page.selection.account)
    if page.waiting:
        verb = "waits" if page.waiting == 1 else "wait"
        more = " or more" if page.waiting >= MOST_COUNTED else ""
        yield f"{page.waiting}{more} {verb} for a person: kros-mcp approve ID, or kros-mcp deny ID."


def _charged(totals: _Charged, page: _Page, settings: Settings) -> str:
    """Return what was charged; never without what is not known of it."""
    own = settings.currency if totals.account == page.selection.account else ""
    label = common_label(totals.currencies, own)
    numbers = f"{totals.purchases} number{'' if totals.purchases == 1 else 's'}"
    said = f"Charged: {show_again(totals.charged_cents, label or '')} for {numbers} bought"
    if page.selection.all_accounts:
        said = f"{short(totals.account)} charged{said.removeprefix('Charged')}"
    if totals.unknown:
        which = "1 purchase" if totals.unknown == 1 else f"{totals.unknown} purchases"
        said += f"; of {which}, {show_again(totals.unknown_cents)} in all, it is not known whether it was charged"
    if label is None:
        stated = sorted({label_of(each, own) for each in totals.currencies})
        named = " and ".join(clean(each, _LONGEST_CURRENCY) for each in filter(None, stated))
        said += f". Prices were stated in {named}, which cannot be added: take no sum here for an amount"
    return f"{said}."


def _whose(page: _Page, settings: Settings) -> str:
    """Return which operations these are."""
    narrowed = _narrowed(page.selection, page.total)
    if not page.total:
        count = f"No operations{narrowed}"
    elif page.more:
        count = f"{len(page.operations)} of {page.total} operations{narrowed}"
    else:
        count = f"{page.total} operation{'' if page.total == 1 else 's'}{narrowed}"
    label = _common_label(page, settings)
    own = "the account's own currency"
    money = f"amounts in {'several currencies' if label is None else label or own}"
    if page.selection.account is None:
        return f"{count}, of all accounts, since KROS_API_KEY is not set here; {money}."
    if page.selection.all_accounts:
        return f"{count}, of all accounts; this terminal's key names {short(page.selection.account)}; {money}."
    return f"{count}, of account {short(page.selection.account)} ({settings.environment}); {money}."


def _narrowed(selection: Selection, count: int) -> str:
    wanted = selection.wanted
    parts = []
    if wanted.states:
        asked = [_ASKED[one] for one in sorted(wanted.asked)]
        whom = f" (put to {' or '.join(asked)})" if asked else ""
        shown = [f"{state}{whom if state is State.PROPOSED else ''}" for state in wanted.states]
        parts.append(f" that {'is' if count == 1 else 'are'} {' or '.join(shown)}")
    if wanted.actions:
        parts.append(f" to {wanted.actions[0]}")
    if wanted.principal is not None:
        parts.append(f" asked for by {clean(wanted.principal, LONGEST_NAME_SHOWN)}")
    if wanted.country is not None:
        parts.append(f" in {wanted.country}")
    if when := days(wanted.since, wanted.until):
        parts.append(f" sent {when.replace('of', 'on')}" if wanted.by_sent else f" {when}")
    return ",".join(parts)


def _row(operation: Operation, page: _Page, settings: Settings) -> tuple[str, ...]:
    now, monthly = operation.quote.due_now_cents, operation.quote.monthly_cents
    priced, named = operation.action.charges, ""
    if _common_label(page, settings) is None:
        named = currency(operation, page.selection.account, settings)
    return (
        minute(operation.created_at),
        operation.id,
        f"{short(operation.account)} {operation.quote.environment}",
        told(operation),
        _amount(now, named) if priced else "",
        _amount(monthly, named) if priced else "",
        f"{operation.state}{_MARK if operation.corrected_at is not None else ''}",
        clean(operation.principal, LONGEST_NAME_SHOWN),
        _confirmed(operation),
        " ".join(filter(None, [_waits(operation, page) or why(operation), _of_batch(operation)])),
        agent_words.quoted(operation.request.reason),
    )


def _waits(operation: Operation, page: _Page) -> str:
    """Return since when an operation waits, if the same was asked for more than once; else empty."""
    times = page.times_asked.get(operation.id, 0)
    return f"Waits {outlook.waits(operation, times, page.now)}." if times > 1 else ""


def _of_batch(operation: Operation) -> str:
    return f"One of several: {operation.batch}." if operation.batch else ""


def _confirmed(operation: Operation) -> str:
    """Return how a person said yes, and who if that is known; or how they said no; or how they were asked."""
    decision = decided(operation)
    if operation.state is State.DECLINED:
        how = f"no ({operation.channel})" if operation.channel else "no"
        by_approver = decision is not None and decision.channel in {"page", "terminal", "command"}
        return f"no: {clean(decision.who, LONGEST_NAME_SHOWN)}" if decision is not None and by_approver else how
    if operation.confirmed_at is None:
        if waiting := waits_for(operation):
            return f"waits for {waiting}"
        return f"asked by {operation.channel}" if operation.channel else ""
    if operation.channel is Channel.APPROVER:
        return f"approver: {clean(operation.confirmed_by, LONGEST_NAME_SHOWN).removesuffix(person.AT_A_TERMINAL)}"
    return str(operation.channel or clean(operation.confirmed_by, LONGEST_NAME_SHOWN))


def _common_label(page: _Page, settings: Settings) -> str | None:
    """Return the label of all amounts that are shown; None where they are in several currencies."""
    stated = {operation.quote.currency for operation in page.operations if operation.action.charges}
    return common_label(stated, settings.currency)


def _amount(cents: int | None, label: str) -> str:
    return "?" if cents is None else show_again(cents, label)
