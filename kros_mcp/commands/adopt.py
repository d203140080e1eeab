"""`kros-mcp adopt`: a person hands the operations of a key that was replaced to the key that replaces it.

Budgets and unknown outcomes belong to an account, and without an organization the key names it.
"""

from dataclasses import dataclass

import anyio
import click

from kros_mcp.commands import person
from kros_mcp.commands.console import say
from kros_mcp.commands.selection import account_of, short
from kros_mcp.errors import InvalidArgumentError, OperationError
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import clean
from kros_mcp.operations import adoption
from kros_mcp.operations.journal import Filter, Journal
from kros_mcp.operations.model import OPEN, State
from kros_mcp.settings import Settings, load_settings
from kros_mcp.telemetry_export import exporting_if_installed

_HELP = """\
Hand the operations of a replaced key to this one.

For a KROS_API_KEY that replaces another of the same KrosAI account. Without KROS_ORGANIZATION_ID the key names the
account, so that a new one begins with empty budgets and does not look after what is unknown under the old one. After
this it does. It is all or nothing, each operation tells of it, and it cannot be undone.

FORMER is the former account's name, or how it begins.
"""
_EPILOG = """\
\b
examples:
  kros-mcp operations --all-accounts
  kros-mcp adopt 1f3a9c2e
  kros-mcp adopt 1f3a9c2e --yes --reason "key rotated on 3 May"

\b
exit codes:
  0 handed over   1 left as it is, or refused   2 usage or settings
  3 journal unusable
"""


@dataclass(frozen=True)
class _Handover:
    """What is handed over, and to whom."""

    former: str
    account: str
    count: int
    still_open: dict[State, int]


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("former")
@click.option("--reason", default="", help="why; kept in the journal")
@click.option("--yes", is_flag=True, help="ask nothing at the terminal; needs --reason")
def adopt(former: str, reason: str, *, yes: bool) -> int:
    """Show what would be handed over, ask, and do it.

    Returns:
        0 if it was handed over, 1 if the person left it as it is.

    Raises:
        KrosError: There is no key, no such account, or it cannot be handed over; nothing was changed then.
    """
    click.get_current_context().with_resource(exporting_if_installed())
    settings = load_settings()
    settings.require_api_key()
    reason = person.given_reason(reason, yes=yes)
    case = anyio.run(_read, settings, former)
    _show(case, settings)
    if not yes and not person.typed("adopt"):
        print("Nothing was handed over.")
        return 1
    if not reason:
        answer = person.typed_reason("Why? It is kept in the journal: ", required=True)
        if answer is None:
            print("Nothing was handed over.")
            return 1
        reason = answer
    count = anyio.run(_adopt, settings, case, reason)
    say(
        f"{_operations(count)} of account {short(case.former)} now {'belongs' if count == 1 else 'belong'} to account "
        f"{short(case.account)}. What they spent counts in its budgets."
    )
    return 0


async def _read(settings: Settings, beginning: str) -> _Handover:
    async with open_journal(settings.journal_url) as journal:
        account = await account_of(settings, journal)
        assert account is not None  # noqa: S101 - there is a key
        former = await _named(journal, beginning, account)
        await _require_no_organization(journal, former)
        newest = await journal.list_operations(Filter(account=former), limit=1)
        adoption.require_environment(newest, settings.environment)
        still_open = {
            state: count for state in State if state in OPEN and (count := await _count(journal, former, state))
        }
        return _Handover(former, account, await journal.count(Filter(account=former)), still_open)


async def _named(journal: Journal, beginning: str, own: str) -> str:
    """Return the one other account whose name begins so.

    Raises:
        InvalidArgumentError: There is none, or more than one.
    """
    others = [name for name in await journal.accounts() if name != own]
    found = [name for name in others if beginning and name.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if own.startswith(beginning) and not found and beginning:
        raise InvalidArgumentError(
            f"{short(own)} is the account of this terminal's key already.", next_step="Name the former one."
        )
    if found:
        names = ", ".join(found)
        raise InvalidArgumentError(f"Several accounts begin so: {names}.", next_step="Name one of them whole.")
    known = f"It has {', '.join(map(short, others))}." if others else "It has no other account."
    raise InvalidArgumentError(f"This journal has no account {clean(beginning, 40)!r}.", next_step=known)


async def _require_no_organization(journal: Journal, former: str) -> None:
    """Raise if an account is of an organization whose callers have come to a service.

    Raises:
        OperationError: `OTHER_ORGANIZATION`; its books are its own, whatever the key.
    """
    named = {each.account: each.organization for each in await journal.organizations()}
    if former in named:
        raise OperationError(
            f"Account {short(former)} is of the organization {clean(named[former])}, for which callers of a service "
            "act, and no replaced key's; nothing was handed over.",
            code="OTHER_ORGANIZATION",
            next_step="See its books with kros-mcp operations --organization.",
        )


async def _count(journal: Journal, account: str, state: State) -> int:
    return await journal.count(Filter(account=account, states=(state,)))


async def _adopt(settings: Settings, case: _Handover, reason: str) -> int:
    async with open_journal(settings.journal_url) as journal:
        return await journal.adopt(
            case.former, case.account, environment=settings.environment, by=person.by(), words=reason
        )


def _show(case: _Handover, settings: Settings) -> None:
    counted = ", ".join(f"{count} {state}" for state, count in case.still_open.items())
    say(
        f"{_operations(case.count)} of account {short(case.former)}"
        f"{f' ({counted})' if counted else ''} would belong to account {short(case.account)}, that of this terminal's "
        f"KROS_API_KEY ({settings.environment})."
    )
    say("This is for a key that replaces another of the same KrosAI account; it cannot be undone.")
    print()


def _operations(count: int) -> str:
    return f"{count} operation{'' if count == 1 else 's'}"
