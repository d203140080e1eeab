"""The operator's rules: whether an act may be proposed, and whether it may still be done; pure.

The same check runs when an operation is proposed and again inside the claim's transaction, there
with the journal's own sums. Each limit holds for all principals together and, where one has a limit of its
own, for that principal too. Amounts in cents.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from kros_mcp.errors import RefusedError
from kros_mcp.money import common_label, is_other_currency, show_again, show_cents
from kros_mcp.numbering import country_name, in_country, spoken
from kros_mcp.operations.model import ANSWER_SECONDS, TOKENS, Channel, Limits, Operation
from kros_mcp.settings import Confirmation, Settings, stricter
from kros_mcp.times import spoken_duration

DAY_SECONDS = 86_400.0
"""Over how long the daily budget counts; texts and settings say "24 hours"."""
LISTING_LAG_SECONDS = 3_600.0
"""How long KrosAI's list of owned numbers may take to show a purchase; until then the journal counts it."""

_ROOM_COMES_BACK = "Room comes back as earlier purchases pass 24 hours."


class Right(StrEnum):
    """Whether who asked for an operation may still do it, as far as that can be known."""

    HELD = "held"
    UNKNOWN = "unknown"
    UNNAMED = "unnamed"
    """The tokens file does not name them any more."""
    MISSING = "missing"
    """The tokens file gives them other scopes."""

    @property
    def is_denied(self) -> bool:
        """Whether it is certain that they may not."""
        return self in {Right.UNNAMED, Right.MISSING}

    def problem(self, operation: Operation) -> str:
        """Say why they may not, as the rest of a sentence about them; only of what is denied."""
        if self is Right.MISSING:
            return f"lacks the scope {operation.action.scope} now"
        return "is not known to this service any more"


@dataclass(frozen=True)
class RunRate:
    """What all owned numbers cost a month, as KrosAI showed it at `read_at` (journal's clock).

    `prices` are E.164 and monthly cents, null where KrosAI does not state them; `complete` is false when not
    every number could be read. `buyers` names who bought a number through this journal, `currencies` what the
    records state, empty for a price whose record states none; prices in several cannot be added.
    """

    prices: tuple[tuple[str, int | None], ...]
    complete: bool
    read_at: float
    buyers: Mapping[str, str] = field(default_factory=dict)
    currencies: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    """The numbers whose price nobody has read yet, or not lately; they are without a price above."""
    readable_in_seconds: float | None = 0.0
    """How long reading those in the background takes; None where it rests, as few of a day's requests are left."""
    prices_as_of: float | None = None
    """When the oldest of the prices was read, on the journal's clock; None where there are none."""

    @property
    def monthly_cents(self) -> int:
        """The sum of the prices that are stated."""
        return sum(cents for _, cents in self.prices if cents is not None)

    @property
    def unpriced(self) -> int:
        """How many numbers have no stated price."""
        return sum(cents is None for _, cents in self.prices)

    @property
    def e164s(self) -> frozenset[str]:
        """The numbers counted."""
        return frozenset(e164 for e164, _ in self.prices)

    def label(self, settings: Settings) -> str | None:
        """Return what to label the sum with; None where the prices are in several currencies and have none."""
        return common_label(self.currencies, settings.currency)

    def capped_cents(self, settings: Settings) -> int | None:
        """Return the sum, where it can be held against a limit: in the currency that limits are labelled with."""
        label = self.label(settings)
        return self.monthly_cents if label == settings.currency or (label and not settings.currency) else None

    def of(self, principal: str) -> "RunRate":
        """The part of it that one principal has bought."""
        mine = tuple((e164, cents) for e164, cents in self.prices if self.buyers.get(e164) == principal)
        unread = tuple(e164 for e164 in self.unread if self.buyers.get(e164) == principal)
        return replace(self, prices=mine, unread=unread)


@dataclass(frozen=True)
class Books:
    """What the journal knows of this account's money at one moment.

    `spent_cents` is reserved or spent in the last 24 hours, `own_spent_cents` the part of one principal, and
    `total_spent_cents` what all accounts of the journal have spent together.
    `committed` are the monthly prices of purchases that are under way, unknown, or too new to be sure that the
    run rate shows them, by E.164, the larger of what was shown and what KrosAI reports; `currencies` are those that
    these are in, empty where none is stated. `bought` are those of them that are done, whoever asked for them, and
    `own` those that the principal asked for.
    """

    spent_cents: int = 0
    own_spent_cents: int = 0
    total_spent_cents: int = 0
    bought: frozenset[str] = frozenset()
    committed: dict[str, int | None] = field(default_factory=dict)
    currencies: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()


def right_to(operation: Operation, scopes: frozenset[str] | None) -> Right:
    """Return whether who asked for an operation may still do it.

    The tokens file says that of the holder of a token. What the next JWT of a subject will permit cannot be known
    before it comes.

    Args:
        operation: What they asked for.
        scopes: Those that the tokens file gives them, none where it does not name them; None where it is not there,
            or cannot be read.
    """
    if not operation.principal.startswith(f"{TOKENS}|"):
        return Right.HELD
    if scopes is None:
        return Right.UNKNOWN
    if not scopes:
        return Right.UNNAMED
    return Right.HELD if operation.action.scope in scopes else Right.MISSING


def check_writable(settings: Settings) -> None:
    """Raise if this server only reads.

    Raises:
        RefusedError: `READ_ONLY`.
    """
    if settings.read_only:
        message = "This server is read-only; nothing was changed."
        raise RefusedError(message, code="READ_ONLY", next_step=_only_the_operator("KROS_READ_ONLY"))


def allowed_countries(settings: Settings, own: Limits) -> tuple[str, ...] | None:
    """Return where a principal may buy, by everybody's limits and by its own; None for anywhere."""
    everybodys = settings.allowed_countries
    if not everybodys or not own.allowed_countries:
        return everybodys or own.allowed_countries or None
    return tuple(country for country in everybodys if country in own.allowed_countries)


def check_purchase(
    settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None = None
) -> None:
    """Raise if a purchase may not be made.

    Args:
        settings: Everybody's limits, and what is forbidden altogether.
        operation: The purchase, with its principal's limits when it was proposed.
        books: The journal's sums.
        run_rate: Needed where `needs_run_rate` says so.
        own: The principal's limits as this server knows them now; they hold beside the earlier ones.

    Raises:
        RefusedError: A rule of the operator forbids it; the code names the rule.
    """
    check_writable(settings)
    for part in operation.parts:
        _check_not_bought(part, books)
        _check_priced(settings, part)
        _check_currency(settings, part)
    _check_one_currency(settings, operation)
    bounds = _bounds(settings, operation, books, run_rate, own or Limits())
    for bound in bounds:
        for part in operation.parts:
            _check_country(bound, part)
            _check_price(settings, bound, part)
    for bound in bounds:
        try:
            _check_sums(settings, bound, operation)
        except RefusedError as exc:
            exc.message += _how_many_fit(settings, bounds, operation)
            raise
    _check_total(settings, operation, books)


def _check_sums(settings: Settings, bound: "_Bound", operation: Operation) -> None:
    _check_day(settings, bound, operation)
    _check_commitment(settings, bound, operation)


def _how_many_fit(settings: Settings, bounds: "Sequence[_Bound]", batch: Operation) -> str:
    """Say how many numbers of a batch would not be too much together; empty of a single one."""
    if not batch.action.is_several:
        return ""
    for count in range(len(batch.items) - 1, 0, -1):
        fewer = replace(batch, items=batch.items[:count])
        with suppress(RefusedError):
            for bound in bounds:
                _check_sums(settings, bound, fewer)
            return f" The first {count} of them would fit." if count > 1 else " The first of them alone would fit."
    return ""


def check_release(settings: Settings, operation: Operation) -> None:
    """Raise if a number may not be released.

    Raises:
        RefusedError: A rule of the operator forbids it; the code names the rule.
    """
    check_writable(settings)
    if protected := next((part.e164 for part in operation.parts if part.e164 in settings.protected_numbers), ""):
        raise RefusedError(
            f"{spoken(protected)} is protected and is never released; nothing was changed.",
            code="PROTECTED_NUMBER",
            next_step=_only_the_operator("KROS_PROTECTED_NUMBERS"),
        )
    if operation.request.permanent and not settings.allow_permanent_delete:
        raise RefusedError(
            "Deleting a number's record for good is switched off; nothing was changed.",
            code="PERMANENT_DELETE_OFF",
            next_step="Offer a soft release instead: call again with permanent false. Only the operator can change "
            "that (KROS_ALLOW_PERMANENT_DELETE).",
        )


def needs_run_rate(settings: Settings, *own: Limits | None) -> bool:
    """Whether a purchase is checked against what owned numbers cost a month."""
    caps = (settings.monthly_commitment_cents, *(limits.monthly_commitment_cents for limits in own if limits))
    return any(cap is not None for cap in caps)


def confirmation(settings: Settings, *own: Limits | None) -> Confirmation:
    """Return how a person says yes: the service's way, or a stricter one of the principal's own."""
    return stricter(settings.confirmation, *(limits.confirmation for limits in own if limits))


def approval_above_cents(settings: Settings, *own: Limits | None) -> int | None:
    """Return the amount over which a purchase waits for an approver: the lowest that is set; None if none is."""
    lines = (settings.approval_above_cents, *(limits.approval_above_cents for limits in own if limits))
    return min((line for line in lines if line is not None), default=None)


def needs_approver(settings: Settings, operation: Operation, own: Limits | None = None) -> bool:
    """Whether only an approver's yes will do: for everything, or for what costs more than they let through.

    Args:
        settings: What holds for everybody.
        operation: With its principal's limits when it was proposed.
        own: The principal's limits as this server knows them now; they hold beside the earlier ones.
    """
    if confirmation(settings, operation.limits, own) is Confirmation.APPROVER:
        return True
    above = approval_above_cents(settings, operation.limits, own)
    return above is not None and operation.action.charges and reserved_cents(settings, operation) > above


def counts(way: Confirmation, channel: Channel) -> bool:
    """Whether a yes that came through a channel is one, where a person says yes in this way, as `confirmation` says."""
    match channel:
        case Channel.APPROVER:
            return True
        case Channel.SCREEN:
            return way is not Confirmation.APPROVER
        case Channel.PROMPT:
            return way not in {Confirmation.APPROVER, Confirmation.BROWSER}
        case Channel.CODE:
            return way.takes_codes


def waiting_seconds(settings: Settings, *, approver: bool) -> float:
    """Return how long a yes may take: an approver's hours, or the minutes of a question or a code."""
    return settings.approval_hours * 3600 if approver else ANSWER_SECONDS


def reserved_cents(settings: Settings, operation: Operation) -> int:
    """What a claim sets aside: the amount due now, or the purchase maximum where the price is not stated whole."""
    if not operation.action.charges:
        return 0
    if operation.action.is_several:
        return sum(reserved_cents(settings, part) for part in operation.parts)
    due = operation.quote.due_now_cents or 0
    return due if operation.quote.is_priced else max(settings.max_purchase_cents, due)


def counted_cents(settings: Settings, due_now_cents: int | None) -> int:
    """Return how much of the budget a purchase that is only asked for would take, as `reserved_cents` counts it."""
    return settings.max_purchase_cents if due_now_cents is None else due_now_cents


def others_committed(
    committed: Mapping[str, int | None], operation: Operation | None, run_rate: RunRate | None
) -> dict[str, int | None]:
    """Leave out of what is committed an operation's own numbers, and those that the run rate counts already."""
    own = {part.e164 for part in operation.parts} if operation else set[str]()
    counted = own | (run_rate.e164s if run_rate else frozenset())
    return {other: cents for other, cents in committed.items() if other not in counted}


def _check_not_bought(operation: Operation, books: Books) -> None:
    if operation.e164 in books.bought:
        raise RefusedError(
            f"{spoken(operation.e164)} was bought for this account within the last hour; nothing was charged now.",
            code="ALREADY_OWNED",
            next_step="Use configure_phone_number to change how it is routed.",
        )


@dataclass(frozen=True)
class _Bound:
    """Limits, with what they are compared to; either everybody's together or one principal's own."""

    limits: Limits
    spent_cents: int
    committed: dict[str, int | None]
    run_rate: RunRate | None
    own: bool = False

    @property
    def whose(self) -> str:
        """Say whose limit it is, where that is not everybody's."""
        return " (the caller's own limit)" if self.own else ""

    def next_step(self, variable: str) -> str:
        """Return whom to tell, and who can change the limit."""
        return _only_the_operator("the caller's own limit" if self.own else variable)

    def code(self, rest: str) -> str:
        return f"OVER_OWN_{rest}" if self.own else f"OVER_{rest}"


def _bounds(
    settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits
) -> tuple[_Bound, ...]:
    together = Limits(
        max_purchase_cents=settings.max_purchase_cents,
        daily_budget_cents=settings.daily_budget_cents,
        monthly_commitment_cents=settings.monthly_commitment_cents,
        allowed_countries=settings.allowed_countries,
    )
    if run_rate is not None:
        run_rate = replace(run_rate, currencies=run_rate.currencies | books.currencies)
    own_rate = run_rate.of(operation.principal) if run_rate else None
    own_committed = {e164: cents for e164, cents in books.committed.items() if e164 in books.own}
    return (
        _Bound(together, books.spent_cents, books.committed, run_rate),
        *(_Bound(each, books.own_spent_cents, own_committed, own_rate, own=True) for each in (operation.limits, own)),
    )


def _check_priced(settings: Settings, operation: Operation) -> None:
    if not operation.quote.is_priced and not settings.allow_unpriced:
        raise RefusedError(
            f"KrosAI does not state what {spoken(operation.e164)} costs now and every month, and this server buys no "
            "number without both; nothing was charged.",
            code="UNPRICED",
            next_step="Offer a number whose price is stated. Only the operator can allow others (KROS_ALLOW_UNPRICED).",
        )


def _check_currency(settings: Settings, operation: Operation) -> None:
    stated = operation.quote.currency
    if is_other_currency(stated, settings.currency):
        raise RefusedError(
            f"KrosAI states the price of {spoken(operation.e164)} in {stated}, and this server's limits are in "
            f"{settings.currency}; nothing was charged.",
            code="CURRENCY_DIFFERS",
            next_step=_only_the_operator("KROS_CURRENCY"),
        )


def _check_one_currency(settings: Settings, operation: Operation) -> None:
    """Raise where the prices of a batch cannot be added, so that no total can be shown."""
    if common_label((part.quote.currency for part in operation.parts), settings.currency) is None:
        raise RefusedError(
            f"The prices of {operation.named} are stated in several currencies, which cannot be added; nothing was "
            "charged.",
            code="CURRENCY_DIFFERS",
            next_step="Ask for those of one currency at a time.",
        )


def _check_country(bound: _Bound, operation: Operation) -> None:
    allowed, country = bound.limits.allowed_countries, operation.quote.country
    if allowed and country not in allowed:
        raise RefusedError(
            f"Numbers may be bought only in {', '.join(map(country_name, allowed))}{bound.whose}, not "
            f"{in_country(country) if country else 'in a country that KrosAI does not state'}; nothing was charged.",
            code="COUNTRY_NOT_ALLOWED",
            next_step=bound.next_step("KROS_ALLOWED_COUNTRIES"),
        )


def _check_price(settings: Settings, bound: _Bound, operation: Operation) -> None:
    cap = bound.limits.max_purchase_cents
    wanted = reserved_cents(settings, operation)
    if cap is not None and wanted > cap:
        costs = "costs" if operation.quote.is_priced else "could cost"
        raise RefusedError(
            f"{spoken(operation.e164)} {costs} {_show(settings, wanted)} now, and one purchase may cost at most "
            f"{show_again(cap, settings.currency)}{bound.whose}; nothing was charged.",
            code="OVER_PURCHASE_MAXIMUM",
            next_step=bound.next_step("KROS_MAX_PURCHASE_CENTS"),
        )


def _check_day(settings: Settings, bound: _Bound, operation: Operation) -> None:
    cap = bound.limits.daily_budget_cents
    if cap is None:
        return
    room = cap - bound.spent_cents
    wanted = reserved_cents(settings, operation)
    if wanted > room:
        raise RefusedError(
            f"{_subject(operation)} would take {_show(settings, wanted)}{_together(operation)}, and "
            f"{show_again(max(room, 0), settings.currency)} is left of the {show_again(cap, settings.currency)} for 24 "
            f"hours{bound.whose}; nothing was charged.",
            code=bound.code("DAILY_BUDGET"),
            next_step=f"{bound.next_step('KROS_DAILY_BUDGET_CENTS')}{f' {_ROOM_COMES_BACK}' if wanted <= cap else ''}",
        )


def exceeds_total(settings: Settings, operation: Operation, books: Books) -> bool:
    """Whether a purchase is more than the day's budget of all accounts together has left."""
    cap = settings.total_daily_budget_cents
    return cap is not None and books.total_spent_cents + reserved_cents(settings, operation) > cap


def _check_total(settings: Settings, operation: Operation, books: Books) -> None:
    if exceeds_total(settings, operation, books):
        raise RefusedError(
            f"{_subject(operation)} would take more{_together(operation)} than is left of the budget for 24 hours that "
            "all organizations of this service share; nothing was charged.",
            code="OVER_TOTAL_DAILY_BUDGET",
            next_step=f"{_only_the_operator('KROS_TOTAL_DAILY_BUDGET_CENTS')} {_ROOM_COMES_BACK} How much is left is "
            "told to nobody here, since it would tell what others spend.",
        )


def _check_commitment(settings: Settings, bound: _Bound, operation: Operation) -> None:
    cap, run_rate = bound.limits.monthly_commitment_cents, bound.run_rate
    if cap is None:
        return
    others = others_committed(bound.committed, operation, run_rate)
    stated = [part.quote.monthly_cents for part in operation.parts if part.quote.monthly_cents is not None]
    if run_rate is None or len(stated) < len(operation.parts):
        which = "one of these numbers" if operation.action.is_several else "this number"
        raise _commitment_unknown(bound, f"KrosAI does not state the monthly price of {which}")
    if reason := _not_known(settings, run_rate, operation, others):
        raise _commitment_unknown(bound, reason)
    if run_rate.unread:
        raise _prices_being_read(bound, run_rate)
    if run_rate.unpriced:
        count = f"{run_rate.unpriced} owned number{'' if run_rate.unpriced == 1 else 's'}"
        raise _commitment_unknown(bound, f"KrosAI does not state the monthly price of {count}")
    total = run_rate.monthly_cents + sum(cents or 0 for cents in others.values()) + sum(stated)
    if total > cap:
        whose = "the caller's" if bound.own else "all"
        raise RefusedError(
            f"With {operation.named} {whose} numbers would cost {_show(settings, total)} a month, more than the "
            f"{show_again(cap, settings.currency)} allowed{bound.whose}; nothing was charged.",
            code=bound.code("MONTHLY_COMMITMENT"),
            next_step=bound.next_step("KROS_MONTHLY_COMMITMENT_CENTS"),
        )


def _not_known(settings: Settings, run_rate: RunRate, operation: Operation, others: Mapping[str, int | None]) -> str:
    """Return what is not known of the monthly cost, and that reading more prices would not mend; empty if nothing."""
    if not run_rate.complete:
        return "KrosAI's list of owned numbers could not be read whole"
    if None in others.values():
        return "the monthly price of a number that was just bought is not stated"
    if any(is_other_currency(stated, settings.currency) for stated in run_rate.currencies):
        return f"the price of an owned number is stated in another currency than {settings.currency}"
    stated = [*(part.quote.currency for part in operation.parts), *run_rate.currencies]
    if common_label(stated, settings.currency) is None:
        return "prices are stated in several currencies, which cannot be added"
    return ""


def _prices_being_read(bound: _Bound, run_rate: RunRate) -> RefusedError:
    count, unread = len(run_rate.prices), len(run_rate.unread)
    known = f"the prices of {count - unread} of {count} owned numbers are known"
    if run_rate.readable_in_seconds is None:
        rests = "the others are not read, as most of the day's requests to KrosAI are used up"
        return _commitment_unknown(bound, f"{known}; {rests}")
    when = spoken_duration(run_rate.readable_in_seconds)
    error = _commitment_unknown(bound, f"{known}; the others are being read and will be in about {when}")
    error.next_step = f"Call again with the same arguments in about {when}; tell the person that it takes so long."
    return error


def _commitment_unknown(bound: _Bound, reason: str) -> RefusedError:
    return RefusedError(
        f"A cap on monthly cost is in force{bound.whose}, and {reason}; nothing was charged.",
        code="COMMITMENT_UNKNOWN",
        next_step=bound.next_step("KROS_MONTHLY_COMMITMENT_CENTS"),
    )


def _only_the_operator(rule: str) -> str:
    """Return whom to tell of a refusal, and who can change the rule that it comes from."""
    return f"Tell the person; only the operator of this server can change that ({rule})."


def _subject(operation: Operation) -> str:
    return operation.named[:1].upper() + operation.named[1:]


def _together(operation: Operation) -> str:
    return " together" if operation.action.is_several else ""


def _show(settings: Settings, cents: int) -> str:
    return show_cents(cents, settings.currency)
