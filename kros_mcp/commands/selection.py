"""Which operations a command shows: whose, in which states, of which days, and what they do where.

Without an option, those of the account that the environment's key names. Without a key no account is
named, and all are shown.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any

import click

from kros_mcp.errors import InvalidArgumentError, SettingsError
from kros_mcp.krosai import clean
from kros_mcp.money import label_of
from kros_mcp.operations import status
from kros_mcp.operations.adoption import account_in
from kros_mcp.operations.journal import Filter, Journal, every, missing
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, TOKENS, Action, Channel, Operation, State
from kros_mcp.settings import Settings, for_organization, load_settings, organization_named
from kros_mcp.times import bounds, day_of

MOST_COUNTED = 1000
"""Where counting what waits for a person ends; nobody decides on so many one by one."""
_ACTIONS = [str(action) for action in Action if not action.is_several]
_SEPARATOR = "|"
_SHORT = 8  # of 32 hexadecimal characters


@dataclass(frozen=True)
class FilterOptions:
    """The filters as they were typed: names of states, a principal, and of which organization or every account.

    `since` and `until` are days in UTC, both included; `by_sent` says whether they are those of the sending.
    """

    states: tuple[str, ...] = ()
    principal: str | None = None
    all_accounts: bool = False
    organization: str | None = None
    country: str | None = None
    action: str | None = None
    since: str | None = None
    until: str | None = None
    by_sent: bool = False


organization_option = click.option(
    "--organization", metavar="ID", help="of this organization, not of KROS_ORGANIZATION_ID"
)
_WHOSE = (
    click.option("--principal", metavar="NAME", help="only what this principal asked for"),
    click.option("--country", metavar="CODE", help="only numbers of this country, such as NG"),
    click.option("--since", metavar="YYYY-MM-DD", help="from this day on (UTC)"),
    click.option("--until", metavar="YYYY-MM-DD", help="up to and including this day (UTC)"),
    click.option(
        "--all-accounts", is_flag=True, help="of every key that shares the journal, not of KROS_API_KEY alone"
    ),
    organization_option,
)
_WHICH = (
    click.option("--state", "states", multiple=True, metavar="STATE", help="only these, such as unknown; repeatable"),
    click.option("--action", type=click.Choice(_ACTIONS), help="only what was to buy, to release or to configure"),
)
_BY = click.option(
    "--by",
    type=click.Choice(("asked", "sent")),
    default="asked",
    help="whose day counts: when it was asked for (default), or when it was sent, which is when money moves",
)


def settings_of(organization: str | None) -> Settings:
    """Read the settings, for the organization that was typed if one was.

    Raises:
        SettingsError: A setting is malformed, or there is no key to name the organization's account by.
        InvalidArgumentError: What was typed is no organization's id.
    """
    settings = load_settings()
    if organization is None:
        return settings
    settings.require_api_key()
    try:
        return for_organization(settings, organization_named(organization, settings.organization_id))
    except ValueError as exc:
        raise InvalidArgumentError(f"--organization {exc}.", next_step="") from None


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add all options that filter operations to a command, which takes them as `typed`."""
    return _taking(command, (*_WHICH, *_WHOSE, _BY))


def money_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add those that filter what was spent: days are those of the sending, and states say nothing."""
    return _taking(command, _WHOSE)


def _taking(command: Callable[..., int], options: Sequence[Callable[..., Any]]) -> Callable[..., int]:
    names = {field.name for field in fields(FilterOptions)}

    @wraps(command)
    def filtered(**given: object) -> int:
        chosen = {name: given.pop(name) for name in names & given.keys()}
        if _BY in options:
            chosen["by_sent"] = given.pop("by") == "sent"
        typed = FilterOptions(**chosen)  # type: ignore[arg-type]  # as the options above give them
        if typed.all_accounts and typed.organization is not None:
            raise InvalidArgumentError("--organization and --all-accounts exclude each other.", next_step="")
        return command(typed=typed, **given)

    for option in reversed(options):
        filtered = option(filtered)
    return filtered


def period(typed: FilterOptions) -> tuple[float | None, float | None]:
    """Return the first second of the days that were typed, and the first one after them; None is without a bound.

    Raises:
        InvalidArgumentError: One is no day, or no day lies between them.
    """
    first = bounds(typed.since)[0] if typed.since else None
    end = bounds(typed.until)[1] if typed.until else None
    if first is not None and end is not None and first >= end:
        raise InvalidArgumentError(
            f"--since {typed.since} is later than --until {typed.until}: no day lies between them.", next_step=""
        )
    return first, end


def days(since: float | None, until: float | None) -> str:
    """Return the days between two times as they are told, such as "from 2026-05-01 to 2026-05-31"."""
    last = None if until is None else day_of(until - 1)
    if since is None:
        return "" if last is None else f"until {last}"
    if last is None:
        return f"since {day_of(since)}"
    return f"of {last}" if day_of(since) == last else f"from {day_of(since)} to {last}"


@dataclass(frozen=True)
class Selection:
    """A filter, and the account that the environment's key names; None without a key."""

    wanted: Filter
    account: str | None
    note: str = ""
    """What is to be said of how a filter was read; empty for nothing."""

    @property
    def all_accounts(self) -> bool:
        """Whether the filter lets every account through."""
        return self.wanted.account is None


async def select(typed: FilterOptions, settings: Settings, journal: Journal) -> Selection:
    """Return the filter that was typed.

    Args:
        typed: What was typed.
        settings: Name the account.
        journal: Its secret goes into the account's name.

    Raises:
        InvalidArgumentError: A filter is malformed.
    """
    since, until = period(typed)
    account = await account_of(settings, journal)
    wanted_states, asked = states(typed.states)
    action = Action(typed.action) if typed.action else None
    wanted = Filter(
        account=None if typed.all_accounts else account,
        principal=typed.principal,
        states=wanted_states,
        since=since,
        until=until,
        asked=asked,
        country=None if typed.country is None else country_code(typed.country),
        actions=(action, action.several) if action else (),
        by_sent=typed.by_sent,
    )
    return await _with_principal(Selection(wanted, account), journal)


def country_code(text: str) -> str:
    """Read a country's code as the books have it.

    Raises:
        InvalidArgumentError: It is none.
    """
    code = text.strip().upper()
    if not re.fullmatch(r"[A-Z]{2}", code):
        raise InvalidArgumentError(f"{text[:20]!r} is no country's code; write it as NG.", next_step="")
    return code


async def _with_principal(selection: Selection, journal: Journal) -> Selection:
    """Find whom a name without an issuer means: a principal of that name, else the holder of a token."""
    name = selection.wanted.principal
    if name is None or _SEPARATOR in name:
        return selection
    holder = f"{TOKENS}{_SEPARATOR}{name}"
    of_holder = await journal.count(Filter(account=selection.wanted.account, principal=holder))
    own = await journal.count(Filter(account=selection.wanted.account, principal=name))
    if not of_holder and not own:
        note = f"Nobody called {clean(name, LONGEST_NAME_SHOWN)} has asked for anything in this journal."
        return replace(selection, note=note)
    if not of_holder:
        return selection
    shown = clean(holder, LONGEST_NAME_SHOWN)
    if own:
        note = f"There is also {shown}, of the tokens file: --principal '{shown}' shows what that one asked for."
        return replace(selection, note=note)
    note = f"{clean(name, LONGEST_NAME_SHOWN)} is {shown} here, of the tokens file."
    return replace(selection, wanted=replace(selection.wanted, principal=holder), note=note)


def states(names: Iterable[str]) -> tuple[tuple[State, ...], frozenset[status.Asked]]:
    """Read the names of states, or the words of the tools for them, in whatever case.

    Raises:
        InvalidArgumentError: One of them is none.
    """
    try:
        return status.read(names)
    except ValueError as exc:
        known = ", ".join(status.KNOWN)
        raise InvalidArgumentError(f"{str(exc)[:40]!r} is not a state; choose from {known}.", next_step="") from None


async def account_of(settings: Settings, journal: Journal) -> str | None:
    """Return the account of the environment's key; None without a key."""
    try:
        return await account_in(settings, journal)
    except SettingsError:
        return None


def is_foreign(operation: Operation, account: str | None) -> bool:
    """Whether an operation is of another account than that of this terminal's key, if it has one."""
    return account not in {None, operation.account}


def currency(operation: Operation, account: str | None, settings: Settings) -> str:
    """Return the label of an operation's amounts."""
    return label_of(operation.quote.currency, limits_label(operation, account, settings))


def limits_label(operation: Operation, account: str | None, settings: Settings) -> str:
    """Return the operator's label; that of this terminal says nothing of another account's money."""
    return "" if is_foreign(operation, account) else settings.currency


def short(account: str) -> str:
    """Return the short form of an account's name."""
    return account[:_SHORT]


async def require(journal: Journal, operation_id: str, account: str | None = None) -> Operation:
    """Return the operation that was named, of whatever account or of this one.

    Raises:
        OperationError: There is no such operation.
    """
    operation = await journal.get(operation_id)
    if operation is None or is_foreign(operation, account):
        raise missing(operation_id)
    return operation


async def organization_of(journal: Journal, operation: Operation) -> str:
    """Return which organization an operation belongs to, if a caller of it has come to a service; else empty."""
    named = (each.organization for each in await journal.organizations() if each.account == operation.account)
    return next(named, "")


async def waiting_for_a_person(journal: Journal, selection: Selection) -> int:
    """Return how many of the selected operations an approver has yet to decide, up to `MOST_COUNTED`.

    The journal has no filter for who is asked. What is asked in a conversation is read too, and expires within
    ten minutes, so that it is little.
    """
    waiting = 0
    proposed = Filter(account=selection.wanted.account, principal=selection.wanted.principal, states=(State.PROPOSED,))
    async for operation in every(journal, proposed):
        waiting += operation.channel is Channel.APPROVER
        if waiting >= MOST_COUNTED:
            break
    return waiting
