"""One operation as a page shows it to a person: in words, with what it would cost and leave."""

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from kros_mcp.errors import RefusedError
from kros_mcp.krosai import clean
from kros_mcp.money import label_of, show_again
from kros_mcp.numbering import country_name, in_country, spoken
from kros_mcp.operations import agent_words, outlook, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.batch import Batch, read_batch
from kros_mcp.operations.confirmation import picked
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, OPEN, TOKENS, Operation, State
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.operations.several_wording import every
from kros_mcp.operations.status import Status, status
from kros_mcp.operations.wording import Wording, changes, refused_before, routed
from kros_mcp.settings import Environment
from kros_mcp.times import minute, span
from kros_mcp.tools import outcomes, several_outcomes

_URLS = ("https://", "http://")
_NOT_KNOWN = "COMMITMENT_UNKNOWN"
_RATE_WITHIN_SECONDS = 2.0
_RATE_OLDEST_SECONDS = 30.0  # a page asks again by itself
ENVIRONMENTS: dict[Environment, str] = {
    "live": "Live: real money",
    "test": "Test key",
    "simulator": "Simulator: no real money",
}
ENDED = {
    State.CONFIRMED: "Approved",
    State.SENDING: "Approved, under way",
    State.DONE: "Approved and done",
    State.FAILED: "Failed",
    State.UNKNOWN: "Approved, outcome not known",
    State.DECLINED: "Denied",
    State.CANCELLED: "Cancelled",
    State.EXPIRED: "Expired",
}


_OF_ITEMS: dict[Status, str] = {
    "pending": "Under way",
    "done": "Done",
    "failed": "Not done",
    "unknown": "Outcome not known",
}
_OF_BATCHES: dict[Status, str] = {
    "pending": "Approved, under way",
    "done": "Approved and done",
    "partly_done": "Approved, partly done",
    "failed": "Failed",
    "unknown": "Approved, outcome not known",
    "declined": "Denied",
    "cancelled": "Cancelled",
    "expired": "Expired",
}
_WENT_WRONG = frozenset({"failed", "unknown", "partly_done"})
_LONGEST = 2500
"""Characters of a sentence about twenty numbers, each named."""


def digest_of(operation: Operation) -> str:
    """Return a digest of all that is asked and quoted, so that a form tells which quote its reader saw."""
    shown = {
        "id": operation.id,
        "account": operation.account,
        "principal": operation.principal,
        "action": operation.action,
        "e164": operation.e164,
        "request": asdict(operation.request),
        "quote": asdict(operation.quote),
        "items": [asdict(item) for item in operation.items],
        "limits": asdict(operation.limits),
        "expires_at": operation.expires_at,
    }
    return sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ItemView:
    """One number of a batch in words, for a row of its table."""

    number: str
    country: str
    now: str
    monthly: str
    changes: str
    routed: str
    outcome: str = ""
    """What has become of it since the yes; empty before."""
    message: str = ""
    went_wrong: bool = False


@dataclass(frozen=True)
class OperationView:
    """One operation in words; every text that others wrote is cleaned, and escaped by the template."""

    id: str
    verb: str
    number: str
    e164: str
    country: str
    environment: str
    is_live: bool
    principal: str
    asker: str
    statement: str
    changes: str
    routed: str
    now: str
    monthly: str
    setup: str
    asked_at: str
    until: str
    left: str
    is_purchase: bool
    warning: str
    is_waiting: bool
    is_open: bool
    is_own: bool
    is_denied: bool
    digest: str
    outcome: str
    summary: str
    decided: str
    decided_at: str
    is_priced: bool
    """Whether KrosAI states what is due now."""
    went_wrong: bool
    """Whether it failed, or its outcome is not known."""
    name: str
    """Who asks, without who vouches for them."""
    asks: str
    """Who asks for what and through what, in a sentence."""
    consequence: str
    """What a yes brings about."""
    refused_before: str
    """That KrosAI refused the account's last purchase, and why; empty where it did not. `consequence` says it too."""
    day: tuple[str, ...] = ()
    month_before: str = ""
    month_after: str = ""
    warnings: tuple[str, ...] = ()
    waits: str = ""
    """Since when, and how often the same was asked for; empty if it does not wait."""
    agent_reason: str = ""
    """What the agent wrote of why, to be shown between quotation marks, as its words."""
    items: tuple[ItemView, ...] = ()
    """The numbers of a batch, in their order; empty for one number."""
    status: str = ""
    """Where it stands, in the word of the tools."""
    every: str = "it"
    """What it is about, as a button says it: it, both, or all of so many."""
    picked: str = ""
    """The number whose last digits are to be typed."""


class OperationViews:
    """Puts operations of one account into words.

    Args:
        account: The account's resources.
        rates: What owned numbers cost a month.
    """

    def __init__(self, account: Account, rates: RunRates) -> None:
        self._account = account
        self._rates = rates

    async def view(self, operation: Operation, approver: str, rate: RunRate | None) -> OperationView:
        """Put one operation into words.

        Args:
            operation: As it stands.
            approver: Who reads it; a principal.
            rate: What all numbers cost a month; None where that is not known, or is not to be shown.
        """
        settings, quote, now = self._account.settings, operation.quote, await self._account.journal.now()
        wording, waiting = act_of(operation).wording, operation.state is State.PROPOSED
        purchase, right = operation.action.charges, self._account.right_to(operation)
        batch = await read_batch(self._account.journal, operation) if operation.action.is_several else None
        times = (await self._account.journal.times_asked([operation]))[operation.id] if waiting else 0
        view = OperationView(
            id=operation.id,
            verb=wording.verb,
            number=wording.named(operation),
            e164="" if batch else clean(operation.e164),
            country=clean(country_name(quote.country)) if quote.country else "",
            environment=ENVIRONMENTS[quote.environment],
            is_live=quote.environment == "live",
            principal=clean(operation.principal, LONGEST_NAME_SHOWN),
            asker=outlook.asker(operation, right) if waiting else "",
            statement=clean(wording.statement(operation, settings.currency), _LONGEST),
            changes="" if batch and not purchase else clean(_changes(operation), 500),
            routed="" if batch else clean(routed(operation), 200),
            now=self.money(quote.due_now_cents, quote.currency),
            monthly=self.money(quote.monthly_cents, quote.currency),
            setup=self.money(quote.setup_cents, quote.currency),
            asked_at=f"{minute(operation.created_at)} UTC",
            until=f"{minute(operation.expires_at)} UTC",
            left=span(operation.expires_at - now),
            is_purchase=purchase,
            warning=wording.warning,
            is_waiting=waiting,
            is_open=is_open(operation, batch),
            is_own=operation.principal == approver,
            is_denied=right.is_denied,
            digest=digest_of(operation),
            outcome=_OF_BATCHES.get(batch.status, "Waiting") if batch else ENDED.get(operation.state, "Waiting"),
            summary="" if waiting else clean(outcomes.acted(operation, settings, batch).summary, _LONGEST),
            decided=_decided(operation),
            decided_at="" if waiting else f"{minute(decided_at(operation))} UTC",
            is_priced=quote.due_now_cents is not None,
            went_wrong=(batch.status if batch else operation.state) in _WENT_WRONG,
            name=name_of(operation.principal),
            asks=_asks(operation, wording),
            consequence=clean(wording.consequence(operation, settings.currency), _LONGEST),
            refused_before=refused_before(operation).strip(),
            waits=outlook.waits(operation, times, now) if waiting else "",
            agent_reason=agent_words.plain(operation.request.reason),
            items=self._items(batch) if batch else (),
            status=batch.status if batch else status(operation),
            every=every(len(operation.items)) if batch else "it",
            picked=spoken(picked(operation)),
        )
        return await self._with_money(view, operation, rate) if waiting and purchase else view

    def _items(self, batch: Batch) -> tuple[ItemView, ...]:
        """Put the numbers of a batch into words; since the yes, with what has become of each."""
        told = several_outcomes.items(batch)
        return tuple(
            ItemView(
                number=spoken(part.e164),
                country=clean(country_name(part.quote.country)) if part.quote.country else "",
                now=self.money(part.quote.due_now_cents, part.quote.currency),
                monthly=self.money(part.quote.monthly_cents, part.quote.currency),
                changes=clean(changes(part), 500),
                routed=clean(routed(part), 200),
                outcome=_OF_ITEMS.get(item.status, item.status) if batch.items else "",
                message=clean(item.message or "", 500),
                went_wrong=item.status in _WENT_WRONG,
            )
            for part, item in zip(batch.operation.parts, told, strict=True)
        )

    async def _with_money(self, view: OperationView, operation: Operation, rate: RunRate | None) -> OperationView:
        """Add what a purchase would take and leave of the budgets, and what the account would then cost a month."""
        books = await self.books(operation.principal, rate)
        day = outlook.day(self._account.settings, operation, books)
        if day.wanted_cents > day.room_cents:
            left = f"It takes {self.money(day.wanted_cents)}, and {self.money(day.room_cents)} of "
            day_lines = [f"{left}{self.money(day.budget_cents)} is left of these 24 hours"]
        else:
            left = f"{self.money(day.left_cents)} of {self.money(day.budget_cents)}"
            day_lines = [f"{left} would be left of these 24 hours"]
        if day.own_budget_cents is not None:
            day_lines.append(
                f"{view.principal} has spent {self.money(day.own_spent_cents)} of its own "
                f"{self.money(day.own_budget_cents)}, and {self.money(day.own_left_cents)} of that would be left"
            )
        line = outlook.approval_line(self._account.settings, operation)
        if line is not None:
            day_lines.append(f"purchases over {self.money(line)} wait for an approver")
        warnings = []
        if day.over_purchase_cap:
            warnings.append(
                f"More than one purchase may cost, {self.money(day.purchase_cap_cents)}: it would be refused."
            )
        if day.over_budget:
            whose = f"the budget of {view.principal}" if day.over_own_budget else "everybody's budget"
            warnings.append(f"More than {whose} has left for the day: it would be refused.")
        if policy.exceeds_total(self._account.settings, operation, books):
            warnings.append("More than the budget that all organizations share has left: it would be refused.")
        refusal = self.refusal(operation, books, rate)
        if refusal is not None and not warnings:
            why = clean(refusal.message, 500).replace("; nothing was charged.", ".")
            warnings.append(f"It would be refused: {why}")
        month = outlook.month(self._account.settings, books, rate, operation)
        return replace(
            view,
            day=tuple(day_lines),
            month_before=self.month(month.before_cents, certain=month.certain) if month else "",
            month_after=self.month(month.after_cents, certain=month.certain) if month else "",
            warnings=tuple(warnings),
        )

    def refusal(self, operation: Operation, books: Books, rate: RunRate | None) -> RefusedError | None:
        """Return why the guard would refuse a purchase now; None if it would not, or that cannot be told in time."""
        own = self._account.limits_of(operation.principal)
        refusal = outlook.refusal(self._account.settings, operation, books, rate, own)
        return None if refusal is not None and rate is None and refusal.code == _NOT_KNOWN else refusal

    async def rate(self) -> RunRate | None:
        """Return what all numbers cost a month; None where it cannot be told in two seconds."""
        return await self._rates.now(seconds=_RATE_WITHIN_SECONDS, oldest_seconds=_RATE_OLDEST_SECONDS)

    async def books(self, principal: str, rate: RunRate | None) -> Books:
        """Return the journal's sums, with what the run rate does not show yet."""
        since = (rate.read_at if rate else await self._account.journal.now()) - policy.LISTING_LAG_SECONDS
        return await self._account.journal.books(self._account.id, principal, committed_since=since)

    def money(self, cents: int | None, stated: str = "") -> str:
        """Write an amount in words; `stated` is the currency that KrosAI states of it, empty where it states none."""
        return show_again(cents, label_of(stated, self._account.settings.currency))

    def month(self, cents: int, *, certain: bool) -> str:
        """Write an amount a month in words."""
        return self.money(cents) if certain else f"at least {self.money(cents)}"


def decided_at(operation: Operation) -> float:
    """Return when somebody decided on an operation, or time did, in Unix seconds."""
    return operation.confirmed_at or operation.settled_at or operation.created_at


def _decided(operation: Operation) -> str:
    """Return who decided and why, in words; empty while nobody has."""
    if operation.state is State.PROPOSED:
        return ""
    if operation.confirmed_at is None:
        return clean(operation.message, 500)
    why = f": {clean(operation.reason, 300)}" if operation.reason else ""
    return f"Approved by {clean(operation.confirmed_by, LONGEST_NAME_SHOWN)}{why}"


def name_of(principal: str) -> str:
    """Return the name of a principal without who vouches for it, as it is said aloud."""
    issuer, _, name = principal.partition("|")
    vouched = issuer == TOKENS or issuer.startswith(_URLS)
    return clean(name if vouched and name else principal, LONGEST_NAME_SHOWN)


def is_open(operation: Operation, batch: Batch | None) -> bool:
    """Whether something may still become of it; of a batch, of any of its numbers."""
    return operation.state in OPEN or (batch is not None and any(item.state in OPEN for item in batch.items))


def _changes(operation: Operation) -> str:
    """Return the settings that it would bring about; those of a batch once if they are the same for all."""
    return "; ".join(dict.fromkeys(map(changes, operation.parts)))


def _asks(operation: Operation, wording: Wording) -> str:
    """Return who asks for what and through what, in a sentence."""
    issuer, parted, _ = operation.principal.partition("|")
    through = ""
    if parted and issuer == TOKENS:
        through = ", a caller with a token,"
    elif parted and issuer.startswith(_URLS):
        through = f", signed in through {clean(issuer.split('/')[2], 100)},"
    where = f" {clean(in_country(operation.quote.country))}" if operation.quote.country else ""
    wish = f"{wording.heading[0].lower()}{wording.heading[1:]} {wording.named(operation)}{where}"
    return f"{name_of(operation.principal)}{through} asks to {wish}."
