"""Reads what an account has spent out of its journal alone: KrosAI is asked nothing, so that it needs no key."""

from dataclasses import replace
from typing import Final

from kros_mcp.krosai import PhoneNumber
from kros_mcp.operations import policy
from kros_mcp.operations.acts import charge
from kros_mcp.operations.expenditure import (
    Caps,
    Expenditure,
    Grouping,
    OwnedCost,
    OwnedNumber,
    SpendingGroup,
    Sums,
    Unsettled,
    Waiting,
    by_month,
    total,
)
from kros_mcp.operations.journal import Filter, Journal, every
from kros_mcp.operations.kept import Kept
from kros_mcp.operations.model import WAITING, Action, Channel, Limits, Operation, State
from kros_mcp.operations.pruning import of_account
from kros_mcp.settings import Settings

MOST_WAITING: Final = 1000
"""Where counting what waits ends."""
_ACTED: Final = (Action.BUY, Action.RELEASE)


async def read_expenditure(
    journal: Journal,
    wanted: Filter,
    grouping: Grouping,
    *,
    settings: Settings | None = None,
    own: Limits | None = None,
    groups: tuple[SpendingGroup, ...] | None = None,
    label: str = "",
) -> Expenditure:
    """Read what one account has spent in a period, and how it stands now.

    Args:
        journal: Where it stands.
        wanted: Names the account, and the period by `since` and `until`; a principal, a country and actions narrow all
            but the caps. States are not heeded: what counts as charged says the journal.
        grouping: By what sums are told apart.
        settings: The caps of this account; None where they are not known.
        own: The caps of the principal, where one is wanted and these are known.
        groups: What was spent in the period, where that has been read already. Defaults to reading it.
        label: The operator's label of this account's amounts, or empty.

    Raises:
        ValueError: No account is named.
        JournalError: The journal cannot be used.
    """
    account = wanted.account
    if account is None:
        raise ValueError("The money of several accounts may not be of one kind: name one.")
    now = await journal.now()
    period = replace(wanted, states=(), asked=frozenset(), by_sent=True)
    if groups is None:
        by = Grouping.DAY if grouping is Grouping.MONTH else grouping
        groups = await journal.spending(period, by)
        groups = by_month(groups) if grouping is Grouping.MONTH else groups
    whose = Filter(account=account, principal=wanted.principal, country=wanted.country, actions=wanted.actions)
    after = Sums()
    if wanted.until is not None and wanted.until < now:
        after = total(await journal.spending(replace(whose, since=wanted.until, by_sent=True), Grouping.DAY))
    cost = await read_owned_cost(journal, account, label)
    oldest = await journal.list_operations(Filter(account=account), limit=1, oldest_first=True)
    return Expenditure(
        account=account,
        environment=oldest[0].quote.environment if oldest else "",
        grouping=grouping,
        since=wanted.since,
        until=wanted.until,
        principal=wanted.principal,
        begins_at=oldest[0].created_at if oldest else None,
        now=now,
        groups=groups,
        after=after,
        waiting=await _waiting(journal, replace(whose, states=tuple(WAITING))),
        unsettled=await _unsettled(journal, replace(whose, states=(State.SENDING, State.UNKNOWN))),
        cost=None if cost is None else cost.of(wanted.principal, wanted.country),
        whole_cost=cost,
        caps=None if settings is None else await _caps(journal, account, settings, wanted.principal, own),
        lacks_since=await journal.lacks_since(account),
        pruned=tuple(of_account(await journal.prunings(), account, since=period.asked_since)),
        operators_label=label,
        contradicted=await _is_contradicted(journal, replace(period, account=account), cost),
    )


async def _is_contradicted(journal: Journal, period: Filter, cost: OwnedCost | None) -> bool:
    """Whether the owned numbers are not those that all purchases and releases since a period began have left."""
    if cost is None or not cost.is_certain:  # which makes nothing certain anyway
        return False
    since = replace(period, until=None, principal=None, country=None, actions=())
    return cost.contradicts(await journal.acts_on_numbers(since))


async def read_owned_cost(journal: Journal, account: str, label: str = "") -> OwnedCost | None:
    """Read what owned numbers cost a month: the list that was kept last, with what was bought and released since.

    A price counts however long ago it was read; `prices_as_of` says when. None where no list was ever read. `label` is
    the operator's.
    """
    kept = await journal.kept(account)
    if kept.listed_at is None:
        return None
    since = kept.listed_at - policy.LISTING_LAG_SECONDS
    acts = Filter(account=account, states=(State.DONE,), actions=_ACTED, since=since, by_sent=True)
    newer = [operation async for operation in every(journal, acts)]
    newer.sort(key=lambda operation: operation.settled_at or 0.0)
    owned = _owned(kept, newer)
    buyers = await journal.buyers(account, [number.e164 for number in owned])
    priced = [each.priced_at for each in kept.numbers.values() if each.number.monthly_cents is not None]
    return OwnedCost(
        numbers=tuple(replace(number, principal=buyers.get(number.e164, "")) for number in owned),
        listed_at=kept.listed_at,
        complete=kept.complete,
        unreadable=len(kept.unreadable),
        prices_as_of=min((at for at in priced if at is not None), default=None),
        operators_label=label,
    )


def _owned(kept: Kept, newer: list[Operation]) -> list[OwnedNumber]:
    """Return the owned numbers: those of a list, with what operations have bought and given up since.

    A purchase from before the list counts where that does not show it yet; a release from before it changes nothing
    that it shows, and the release of another record, one that had ended before, gives nothing of a purchase up.
    """
    listed_at = kept.listed_at or 0.0
    listed = {
        record_id: _as_listed(each.number)
        for record_id, each in kept.numbers.items()
        if each.place is not None and not each.number.has_ended
    }
    shown = {number.e164 for number in listed.values()}
    bought: dict[str, Operation] = {}
    for operation in newer:
        if operation.action is Action.RELEASE:
            record = _record(bought.get(operation.e164))
            if not record or operation.request.number_id in {"", record}:
                bought.pop(operation.e164, None)
            if (operation.settled_at or 0.0) >= listed_at:
                listed.pop(operation.request.number_id, None)
        elif operation.e164 not in shown or (operation.settled_at or 0.0) >= listed_at:
            bought[operation.e164] = operation
    still = {number.e164 for number in listed.values()}
    return [*listed.values(), *(_as_bought(each) for e164, each in bought.items() if e164 not in still)]


def _record(purchase: Operation | None) -> str:
    """Return the id of the record that a purchase is of; empty where it is not known."""
    return purchase.number.id if purchase is not None and purchase.number is not None else ""


def _as_listed(number: PhoneNumber) -> OwnedNumber:
    return OwnedNumber(number.e164, (number.country or "").upper(), "", number.monthly_cents, number.currency or "")


def _as_bought(purchase: Operation) -> OwnedNumber:
    country, currency = (purchase.quote.country or "").upper(), charge.currency_of(purchase, "")
    return OwnedNumber(purchase.e164, country, purchase.principal, charge.monthly_cents(purchase), currency)


async def _waiting(journal: Journal, wanted: Filter) -> Waiting:
    """Read what waits; of a batch only the numbers in the country count, and its row names none that they differ in."""
    everywhere = replace(wanted, country=None)
    read = await journal.list_operations(everywhere, limit=MOST_WAITING, oldest_first=True)
    there = {each.id: [part for part in each.parts if _is_in(part, wanted.country)] for each in read}
    found = [each for each in read if there[each.id]]
    purchases = [part for parts in there.values() for part in parts if part.action.charges]
    dues = [part.quote.due_now_cents for part in purchases]
    return Waiting(
        operations=len(found),
        for_an_approver=sum(each.state is State.PROPOSED and each.channel is Channel.APPROVER for each in found),
        cents=sum(due for due in dues if due is not None),
        unpriced=dues.count(None),
        since=min((operation.created_at for operation in found), default=None),
        or_more=len(read) >= MOST_WAITING,
        currencies=frozenset(part.quote.currency for part in purchases if part.quote.due_now_cents is not None),
    )


def _is_in(operation: Operation, country: str | None) -> bool:
    return country is None or (operation.quote.country or "").upper() == country


async def _unsettled(journal: Journal, wanted: Filter) -> Unsettled:
    totals = await journal.totals(wanted)
    return Unsettled(
        operations=sum(each.count for each in totals),
        purchases=sum(each.count for each in totals if each.action.charges),
        cents=sum(each.unknown_cents for each in totals),
        currencies=frozenset[str]().union(*(each.currencies for each in totals)),
    )


async def _caps(journal: Journal, account: str, settings: Settings, principal: str | None, own: Limits | None) -> Caps:
    books = await journal.books(account, principal or "", committed_since=await journal.now())
    limits = own or Limits()
    return Caps(
        max_purchase_cents=settings.max_purchase_cents,
        daily_budget_cents=settings.daily_budget_cents,
        spent_cents=books.spent_cents,
        monthly_commitment_cents=settings.monthly_commitment_cents,
        total_daily_budget_cents=settings.total_daily_budget_cents,
        total_spent_cents=books.total_spent_cents,
        own_daily_budget_cents=limits.daily_budget_cents,
        own_monthly_commitment_cents=limits.monthly_commitment_cents,
        own_spent_cents=books.own_spent_cents,
        committed={e164: cents for e164, cents in books.committed.items() if e164 not in books.bought},
    )
