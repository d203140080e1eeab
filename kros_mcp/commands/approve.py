"""`approve` and `deny`: a person outside the conversation decides, for a reason that is kept.

No API key is needed, and an operation of any account may be decided. Nobody is asked inside an event loop,
so that Ctrl-C works and the journal is not held open meanwhile.
"""

from dataclasses import dataclass

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.console import say
from kros_mcp.commands.selection import (
    account_of,
    limits_label,
    organization_of,
    organization_option,
    require,
    settings_of,
)
from kros_mcp.errors import SettingsError
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import clean
from kros_mcp.money import show_again
from kros_mcp.operations import agent_words, decisions, model, outlook, policy
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, TOKENS, Operation, State
from kros_mcp.settings import Settings, load_settings
from kros_mcp.telemetry_export import exporting_if_installed
from kros_mcp.times import utc

_HELP = """\
Say {answer} to a waiting operation.

Shows the whole question, who asked, and what the caps leave; then asks for the word and for a reason. No API key is
needed, and an operation of any account in the journal may be decided.
"""
_EPILOG = """\
\b
examples:
  kros-mcp operations --state proposed
  kros-mcp {name} op_abcdefghijklmnop
  kros-mcp {name} op_abcdefghijklmnop --yes --reason "agreed with finance"

\b
exit codes:
  0 decided   1 left open, or too late   2 usage or settings
  3 journal unusable
"""


@dataclass(frozen=True)
class _Decision:
    """What a person needs to know to decide."""

    operation: Operation
    books: policy.Books
    account: str | None
    organization: str
    right: policy.Right
    waits: str
    """Since when, and how often the same was asked for; empty if it does not wait."""


@click.command(help=_HELP.format(answer="yes"), epilog=_EPILOG.format(name="approve"))
@click.argument("operation_id", metavar="ID")
@click.option("--reason", default="", help="why; kept in the journal")
@click.option("--yes", is_flag=True, help="ask nothing at the terminal; needs --reason")
@organization_option
def approve(operation_id: str, reason: str, organization: str | None, *, yes: bool) -> int:
    """Say yes to an operation."""
    return _decide(operation_id, reason, organization, yes=yes, approving=True)


@click.command(help=_HELP.format(answer="no"), epilog=_EPILOG.format(name="deny"))
@click.argument("operation_id", metavar="ID")
@click.option("--reason", default="", help="why; kept in the journal")
@click.option("--yes", is_flag=True, help="ask nothing at the terminal; needs --reason")
@organization_option
def deny(operation_id: str, reason: str, organization: str | None, *, yes: bool) -> int:
    """Say no to an operation."""
    return _decide(operation_id, reason, organization, yes=yes, approving=False)


def _decide(operation_id: str, reason: str, organization: str | None, *, yes: bool, approving: bool) -> int:
    """Show an operation, ask, and write the decision down.

    Returns:
        0 if it was decided, 1 if the person left it open.

    Raises:
        KrosError: The journal cannot be used, or the operation is not there or past that decision.
    """
    click.get_current_context().with_resource(exporting_if_installed())
    settings = settings_of(organization)
    reason = person.given_reason(reason, yes=yes)
    case = anyio.run(_read, settings, operation_id, organization is not None)
    decisions.require_decidable(case.operation, approving=approving)
    _show(case, settings)
    if approving and case.right.is_denied:
        raise decisions.not_permitted(case.operation, case.right)
    word = "approve" if approving else "deny"
    if not yes and not person.typed(word):
        print(person.LEFT_OPEN)
        return 1
    if not reason:
        optional = "Why? It is kept in the journal (Enter for none): "
        required = "Why? It is kept in the journal, and told to whoever asked: "
        answer = person.typed_reason(optional if approving else required, required=not approving)
        if answer is None:
            print(person.LEFT_OPEN)
            return 1
        reason = answer
    move = decisions.approval(person.signature(), reason) if approving else decisions.denial(person.signature(), reason)
    decided = anyio.run(person.decide, settings, case.operation.id, move)
    if decided.state is State.EXPIRED:
        raise model.past(decided)
    say(_said(decided, approving=approving))
    return 0


def _said(decided: Operation, *, approving: bool) -> str:
    if not approving:
        return "Denied. Nothing was charged or changed."
    if decided.state is not State.CONFIRMED:
        return f"Approved. The operation is {decided.state} now; see kros-mcp operations for its outcome."
    return (
        "Approved. The server executes it within two seconds if it runs, else when it is started. "
        "See kros-mcp operations for its outcome."
    )


async def _read(settings: Settings, operation_id: str, only_own: bool) -> _Decision:
    async with open_journal(settings.journal_url) as journal:
        account = await account_of(settings, journal)
        operation = await require(journal, operation_id, account if only_own else None)
        books = await journal.books(operation.account, operation.principal, committed_since=await journal.now())
        organization = await organization_of(journal, operation)
        waits = ""
        if operation.state is State.PROPOSED:
            times = (await journal.times_asked([operation]))[operation.id]
            waits = outlook.waits(operation, times, await journal.now())
        right = _right_to(operation, organization, settings)
        return _Decision(operation, books, account, organization, right, waits)


def _show(case: _Decision, settings: Settings) -> None:
    operation = case.operation
    person.show_question(operation, case.account, settings, case.organization)
    if asker := outlook.asker(operation, case.right):
        person.show_detail("", asker)
    if operation.state is State.CONFIRMED:
        person.show_detail("Approved", f"by {clean(operation.confirmed_by, LONGEST_NAME_SHOWN)}; not executed yet.")
    if case.waits:
        person.show_detail("Waits", f"{case.waits}.")
    person.show_detail("Open until", f"{utc(operation.expires_at)}.")
    if operation.action.charges:
        person.show_detail("Spending", *_spending(case, settings, limits_label(operation, case.account, settings)))
    if written := agent_words.quoted(operation.request.reason):
        person.show_detail("Agent", f"{agent_words.INTRODUCTION} {written}")
    print()


def _right_to(operation: Operation, organization: str, settings: Settings) -> policy.Right:
    """Return whether who asked may still do it there, as far as this terminal's tokens file says."""
    issuer, _, name = operation.principal.partition("|")
    if issuer != TOKENS or settings.tokens_file is None:
        return policy.right_to(operation, None)
    from kros_mcp.http.tokens import read_tokens  # noqa: PLC0415 - heavy, and most have none

    try:
        entry = read_tokens(settings.tokens_file).get(name)
    except SettingsError:
        return policy.right_to(operation, None)
    own = load_settings().organization_id
    named, there = ("" if each == own else each for each in (entry.organization_id if entry else "", organization))
    is_there = named == there
    return policy.right_to(operation, entry.scopes if entry and is_there else frozenset())


def _spending(case: _Decision, settings: Settings, label: str) -> list[str]:
    """Return what is spent already and what the caps leave; the server's own caps may be set differently."""

    def show(cents: int | None) -> str:
        return show_again(cents, label)

    day = outlook.day(settings, case.operation, case.books)
    principal = clean(case.operation.principal, LONGEST_NAME_SHOWN)
    lines = [
        f"{show(day.spent_cents)} in the last 24 hours, of {show(day.budget_cents)} (KROS_DAILY_BUDGET_CENTS);",
        f"this would leave {show(day.left_cents)}. Caps are those of this terminal's settings.",
    ]
    if day.own_budget_cents is not None:
        own = f"{show(day.own_spent_cents)}, of its own {show(day.own_budget_cents)}"
        lines.append(f"By {principal}: {own}; this would leave {show(day.own_left_cents)} of that.")
    line = outlook.approval_line(settings, case.operation)
    if line is not None:
        lines.append(f"Purchases over {show(line)} wait for an approver.")
    if day.over_purchase_cap:
        lines.append(f"More than one purchase may cost, {show(day.purchase_cap_cents)}: it would be refused.")
    if day.over_budget:
        whose = f"the budget of {principal}" if day.over_own_budget else "everybody's budget"
        lines.append(f"More than {whose} has left for the day: it would be refused.")
    if policy.exceeds_total(settings, case.operation, case.books):
        lines.append("More than the budget of all accounts together has left for the day: it would be refused.")
    if settings.monthly_commitment_cents is not None:
        lines.append(f"Cap on the monthly cost: {show(settings.monthly_commitment_cents)}; see kros-mcp reconcile.")
    return lines
