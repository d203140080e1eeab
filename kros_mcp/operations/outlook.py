"""What a purchase that waits would leave of the day's money, and what it would make of the month's; pure.

It tells an approver what the guard would say; the guard itself looks again when the purchase is made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kros_mcp.errors import RefusedError
from kros_mcp.money import common_label
from kros_mcp.operations import policy
from kros_mcp.operations.model import MOST_REPEATS, TOKENS, Limits, Operation
from kros_mcp.operations.policy import Books, Right, RunRate
from kros_mcp.settings import Confirmation, Settings
from kros_mcp.times import minute, span


@dataclass(frozen=True)
class Day:
    """The money of 24 hours before a purchase, in cents; None where its principal has no limit of its own."""

    wanted_cents: int
    spent_cents: int
    budget_cents: int
    own_spent_cents: int
    own_budget_cents: int | None
    purchase_cap_cents: int
    dearest_cents: int = 0
    """What the dearest of its numbers takes: the cap of one purchase is held against each of a batch."""

    @property
    def room_cents(self) -> int:
        """What everybody's budget has left before the purchase."""
        return max(0, self.budget_cents - self.spent_cents)

    @property
    def left_cents(self) -> int:
        """What everybody's budget would have left after the purchase."""
        return max(0, self.budget_cents - self.spent_cents - self.wanted_cents)

    @property
    def own_left_cents(self) -> int | None:
        """What its principal's own budget would have left after the purchase; None without one."""
        if self.own_budget_cents is None:
            return None
        return max(0, self.own_budget_cents - self.own_spent_cents - self.wanted_cents)

    @property
    def over_purchase_cap(self) -> bool:
        """Whether it, or a number of it, costs more than one purchase may."""
        return self.dearest_cents > self.purchase_cap_cents

    @property
    def over_budget(self) -> bool:
        """Whether it takes more than everybody's day, or its principal's own, has left."""
        return self.over_own_budget or self.wanted_cents > self.budget_cents - self.spent_cents

    @property
    def over_own_budget(self) -> bool:
        """Whether it takes more than its principal's own day has left."""
        return self.own_budget_cents is not None and self.wanted_cents > self.own_budget_cents - self.own_spent_cents


@dataclass(frozen=True)
class Month:
    """What all owned numbers cost a month, before and after a purchase, in cents.

    `certain` is false where a price is not stated or not every number could be read: it is that much at least.
    """

    before_cents: int
    after_cents: int
    certain: bool


@dataclass(frozen=True)
class Joint:
    """Several purchases one after the other, in cents.

    Args:
        numbers: How many numbers they buy.
        wanted_cents: What they take of the day together.
        left_cents: What everybody's day has left before them.
        month: What all numbers would then cost a month; None where that is not known.
        refusal: The guard's, of the first that finds too little left; None where all would go through.
        yeses: How many yeses it takes: one for each number, or for a batch.
    """

    numbers: int
    wanted_cents: int
    left_cents: int
    month: Month | None
    refusal: RefusedError | None
    yeses: int


def day(settings: Settings, operation: Operation, books: Books) -> Day:
    """Hold a purchase against the money of a day.

    Args:
        settings: Everybody's caps.
        operation: A purchase, with its principal's limits when it was proposed.
        books: The journal's sums for that principal.
    """
    caps = (settings.max_purchase_cents, operation.limits.max_purchase_cents)
    return Day(
        wanted_cents=policy.reserved_cents(settings, operation),
        spent_cents=books.spent_cents,
        budget_cents=settings.daily_budget_cents,
        own_spent_cents=books.own_spent_cents,
        own_budget_cents=operation.limits.daily_budget_cents,
        purchase_cap_cents=min(cap for cap in caps if cap is not None),
        dearest_cents=max(policy.reserved_cents(settings, part) for part in operation.parts),
    )


def month(
    settings: Settings, books: Books, run_rate: RunRate | None, operation: Operation | None = None
) -> Month | None:
    """Add a purchase to what all numbers cost, those included that are bought but not shown by KrosAI yet.

    None where nothing is known of what they cost, or where the amounts are in another currency than the limits.

    Args:
        settings: For the label of amounts.
        books: The journal's sums.
        run_rate: What KrosAI shows; None where that is not known.
        operation: The purchase; without one, nothing is added.
    """
    added = [part.quote.currency for part in operation.parts] if operation else []
    if run_rate is None or run_rate.capped_cents(settings) is None:
        return None
    if common_label([*run_rate.currencies, *added], settings.currency) is None:
        return None
    others = policy.others_committed(books.committed, operation, run_rate)
    before = run_rate.monthly_cents + sum(cents or 0 for cents in others.values())
    monthly = operation.quote.monthly_cents if operation else 0
    known = run_rate.complete and not run_rate.unpriced and None not in others.values()
    return Month(before, before + (monthly or 0), certain=known and monthly is not None)


def refusal(
    settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
) -> RefusedError | None:
    """Return why the guard would refuse a purchase now; None if it would let it through, as far as that is known."""
    try:
        policy.check_purchase(settings, operation, books, run_rate, own)
    except RefusedError as exc:
        return exc
    return None


def joint(
    settings: Settings,
    purchases: Iterable[Operation],
    books: Mapping[str, Books],
    run_rate: RunRate | None,
    limits_of: Callable[[str], Limits | None],
    approved: Sequence[Operation] = (),
) -> Joint:
    """Tell what several purchases would come to together, by asking the guard for one after the other.

    A number that two principals want is bought once.

    Args:
        settings: Everybody's caps.
        purchases: Those that the guard would let through one by one.
        books: The journal's sums for each principal.
        run_rate: What KrosAI shows; None where that is not known.
        limits_of: What a principal may spend by itself now.
        approved: Purchases that somebody has approved and that are still to be made: they come first.
    """
    for operation in approved:
        books = _after(settings, books, operation)
    before = next(iter(books.values()), Books())
    left_cents = max(0, settings.daily_budget_cents - before.spent_cents)
    taken = {part.e164 for operation in approved for part in operation.parts}
    refused, numbers, yeses, wanted_cents = None, 0, 0, 0
    for operation in purchases:
        e164s = {part.e164 for part in operation.parts}
        if e164s & taken:
            continue
        taken |= e164s
        numbers, yeses = numbers + len(e164s), yeses + 1
        wanted_cents += policy.reserved_cents(settings, operation)
        principal = operation.principal
        refused = refused or refusal(settings, operation, books[principal], run_rate, limits_of(principal))
        books = _after(settings, books, operation)
    total = month(settings, next(iter(books.values()), Books()), run_rate)
    return Joint(numbers, wanted_cents, left_cents, total, refused, yeses)


def _after(settings: Settings, books: Mapping[str, Books], operation: Operation) -> dict[str, Books]:
    """Return the sums as they would be once a purchase was made."""
    cents = policy.reserved_cents(settings, operation)
    committed = {part.e164: part.quote.monthly_cents for part in operation.parts}

    def entered(principal: str, before: Books) -> Books:
        own = principal == operation.principal
        return replace(
            before,
            spent_cents=before.spent_cents + cents,
            own_spent_cents=before.own_spent_cents + (cents if own else 0),
            total_spent_cents=before.total_spent_cents + cents,
            committed=before.committed | committed,
            own=before.own | (committed.keys() if own else frozenset()),
        )

    return {principal: entered(principal, before) for principal, before in books.items()}


def approval_line(settings: Settings, operation: Operation) -> int | None:
    """Return the amount over which purchases such as this one wait for an approver; None where none or all do."""
    if policy.confirmation(settings, operation.limits) is Confirmation.APPROVER or not operation.action.charges:
        return None
    return policy.approval_above_cents(settings, operation.limits)


def waits(operation: Operation, times_asked: int, now: float) -> str:
    """Return since when an operation waits, and how often the same was asked for if that was more than once.

    Args:
        operation: One that waits.
        times_asked: As `Journal.times_asked` counts.
        now: The journal's time.
    """
    begun, waited = minute(operation.created_at), max(0.0, now - operation.created_at)
    since = f"since {begun} UTC, {span(waited)}"
    if times_asked <= 1:
        return since
    often = f"{times_asked} times{' or more' if times_asked > MOST_REPEATS else ''}"
    return f"{since}; asked {often} {'in the last 24 hours' if waited < policy.DAY_SECONDS else f'since {begun} UTC'}"


def asker(operation: Operation, right: Right) -> str:
    """Return in a sentence what an approver is to know of who asks; empty where there is nothing.

    Args:
        operation: What they ask for.
        right: Whether they may still do it.
    """
    match right:
        case Right.UNKNOWN:
            return "Only a service that still knows them carries this out; whether one does is not known here."
        case Right.UNNAMED:
            return "The tokens file does not name them any more, so this would not be carried out."
        case Right.MISSING:
            return f"They lack the scope {operation.action.scope} now, so this would not be carried out."
        case Right.HELD:
            issuer, parted, _ = operation.principal.partition("|")
    if parted and issuer != TOKENS:
        return "They signed in through an identity provider; whether it would still let them in is not known here."
    return ""
