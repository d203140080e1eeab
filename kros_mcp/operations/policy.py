"""May an act be proposed, and may it still be done; pure.

The same check runs when an operation is proposed and again inside the claim's transaction, there
with the journal's own sums. Amounts in cents.
"""

from dataclasses import dataclass, field

from kros_mcp.errors import RefusedError
from kros_mcp.money import show_cents
from kros_mcp.operations.model import Action, Operation
from kros_mcp.settings import Settings

DAY_SECONDS = 86_400.0
LISTING_LAG_SECONDS = 3_600.0
"""How long KrosAI's list of owned numbers may take to show a purchase; until then the journal counts it."""


@dataclass(frozen=True)
class RunRate:
    """What all owned numbers cost a month, as KrosAI showed it at `read_at` (journal's clock).

    `unpriced` counts numbers whose price KrosAI does not state; `complete` is false when not every
    number could be read.
    """

    monthly_cents: int
    unpriced: int
    complete: bool
    read_at: float
    e164s: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Books:
    """What the journal knows of this account's money at one moment.

    `spent_cents` is reserved or spent in the last 24 hours. `committed` are the monthly prices of
    purchases that are under way, unknown, or too new to be sure that the run rate shows them, by E.164;
    `bought` are those of them that are done, whoever asked for them.
    """

    spent_cents: int = 0
    bought: frozenset[str] = frozenset()
    committed: dict[str, int | None] = field(default_factory=dict)


def check(settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None) -> None:
    """Raise if the operation may not be done.

    Raises:
        RefusedError: A rule of the operator forbids it; the code names the rule.
    """
    if settings.read_only:
        raise RefusedError("This server is read-only (KROS_READ_ONLY); nothing was changed.", code="READ_ONLY")
    if operation.action is Action.RELEASE:
        _check_release(settings, operation)
    if operation.action is Action.BUY:
        _check_not_bought(operation, books)
        _check_country(settings, operation)
        _check_purchase(settings, operation)
        _check_day(settings, operation, books)
        _check_commitment(settings, operation, books, run_rate)


def reserved_cents(settings: Settings, operation: Operation) -> int:
    """What a claim sets aside: the amount due now, or the purchase maximum where KrosAI states none."""
    if operation.action is not Action.BUY:
        return 0
    due = operation.quote.due_now_cents
    return settings.max_purchase_cents if due is None else due


def _check_release(settings: Settings, operation: Operation) -> None:
    if operation.e164 in settings.protected_numbers:
        raise RefusedError(
            f"{operation.e164} is protected (KROS_PROTECTED_NUMBERS) and is never released; nothing was changed.",
            code="PROTECTED_NUMBER",
        )
    if operation.request.permanent and not settings.allow_permanent_delete:
        raise RefusedError(
            "Deleting a number's record for good is switched off (KROS_ALLOW_PERMANENT_DELETE); nothing was changed.",
            code="PERMANENT_DELETE_OFF",
            next_step="Offer a soft release instead: call again with permanent false.",
        )


def _check_not_bought(operation: Operation, books: Books) -> None:
    if operation.e164 in books.bought:
        raise RefusedError(
            f"{operation.e164} was bought for this account within the last hour; nothing was charged now.",
            code="ALREADY_OWNED",
            next_step="Use configure_phone_number to change how it is routed.",
        )


def _check_country(settings: Settings, operation: Operation) -> None:
    country = operation.quote.country
    if settings.allowed_countries and country not in settings.allowed_countries:
        raise RefusedError(
            f"Numbers may be bought only in {', '.join(settings.allowed_countries)} (KROS_ALLOWED_COUNTRIES), "
            f"not in {country or 'a country that KrosAI does not state'}; nothing was charged.",
            code="COUNTRY_NOT_ALLOWED",
        )


def _check_purchase(settings: Settings, operation: Operation) -> None:
    due = operation.quote.due_now_cents
    if due is None and not settings.allow_unpriced:
        raise RefusedError(
            f"KrosAI does not state the price of {operation.e164}, and this server buys no number without one "
            "(KROS_ALLOW_UNPRICED); nothing was charged.",
            code="UNPRICED",
            next_step="Offer a number whose price is stated.",
        )
    if due is not None and due > settings.max_purchase_cents:
        raise RefusedError(
            f"{operation.e164} costs {_show(settings, due)} now, and one purchase may cost at most "
            f"{_show(settings, settings.max_purchase_cents)} (KROS_MAX_PURCHASE_CENTS); nothing was charged.",
            code="OVER_PURCHASE_MAXIMUM",
        )


def _check_day(settings: Settings, operation: Operation, books: Books) -> None:
    room = settings.daily_budget_cents - books.spent_cents
    wanted = reserved_cents(settings, operation)
    if wanted > room:
        raise RefusedError(
            f"{operation.e164} would take {_show(settings, wanted)}, and of the "
            f"{_show(settings, settings.daily_budget_cents)} for 24 hours (KROS_DAILY_BUDGET_CENTS) "
            f"{_show(settings, max(room, 0))} is left; nothing was charged.",
            code="OVER_DAILY_BUDGET",
            next_step="Tell the person; room comes back as earlier purchases pass 24 hours.",
        )


def _check_commitment(settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None) -> None:
    cap = settings.monthly_commitment_cents
    if cap is None:
        return
    others = {e164: cents for e164, cents in books.committed.items() if e164 != operation.e164}
    if run_rate is not None:
        others = {e164: cents for e164, cents in others.items() if e164 not in run_rate.e164s}
    monthly = operation.quote.monthly_cents
    known = run_rate is not None and run_rate.complete and not run_rate.unpriced
    if run_rate is None or not known or monthly is None or None in others.values():
        raise RefusedError(
            "A cap on monthly cost is in force (KROS_MONTHLY_COMMITMENT_CENTS), and the monthly price of this number "
            "or of one already owned is not known; nothing was charged.",
            code="COMMITMENT_UNKNOWN",
        )
    total = run_rate.monthly_cents + sum(cents or 0 for cents in others.values()) + monthly
    if total > cap:
        raise RefusedError(
            f"With {operation.e164} all numbers would cost {_show(settings, total)} a month, more than the "
            f"{_show(settings, cap)} allowed (KROS_MONTHLY_COMMITMENT_CENTS); nothing was charged.",
            code="OVER_MONTHLY_COMMITMENT",
        )


def _show(settings: Settings, cents: int) -> str:
    return show_cents(cents, settings.currency)
