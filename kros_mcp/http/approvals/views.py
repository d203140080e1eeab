"""What an approver sees: what waits, what it would cost and leave, what was decided lately; and the pages it is put in.

Jinja2 is loaded when the first page is asked for.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from kros_mcp.http.approvals.decision import digest_of, is_for_approvers
from kros_mcp.http.approvals.session import PATH, ApproverSession
from kros_mcp.krosai import clean
from kros_mcp.money import show_again
from kros_mcp.numbering import spoken
from kros_mcp.operations import outlook, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.decisions import LONGEST_REASON
from kros_mcp.operations.journal import Filter, every
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, OPEN, Operation, State
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.operations.wording import changes, routed
from kros_mcp.settings import Environment
from kros_mcp.times import minute, span
from kros_mcp.tools import outcomes

if TYPE_CHECKING:
    import jinja2

MOST_SHOWN = 50
MOST_DECIDED = 20
_PACKAGE = "kros_mcp.http.approvals"
_LOOKED_THROUGH = 300
_RATE_WITHIN_SECONDS = 2.0
_RATE_OLDEST_SECONDS = 30.0  # the page asks again by itself
_ENVIRONMENTS: dict[Environment, str] = {
    "live": "Live: real money",
    "test": "Test key",
    "simulator": "Simulator: no real money",
}
_ENDED = {
    State.CONFIRMED: "Approved",
    State.SENDING: "Approved, under way",
    State.DONE: "Approved and done",
    State.FAILED: "Failed",
    State.UNKNOWN: "Approved, outcome not known",
    State.DECLINED: "Denied",
    State.CANCELLED: "Cancelled",
    State.EXPIRED: "Expired",
}


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
    day: tuple[str, ...] = ()
    month_before: str = ""
    month_after: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overview:
    """The list: what waits, soonest to expire first, and what was decided lately, latest first."""

    operations: tuple[OperationView, ...]
    more: int
    decided: tuple[OperationView, ...]
    spent: str
    budget: str
    left: str
    month: str


class ApprovalViews:
    """Reads from the journal what the approvers of one account see.

    Args:
        account: The account's resources.
        rates: What owned numbers cost a month.
    """

    def __init__(self, account: Account, rates: RunRates) -> None:
        self._account = account
        self._rates = rates

    async def overview(self, approver: str) -> Overview:
        """Return what waits now, for one approver.

        Raises:
            JournalError: The journal cannot be used.
        """
        account, waiting = self._account, await self._waiting()
        rate = await self._rate()
        shown = [await self._view(operation, approver, rate) for operation in waiting[:MOST_SHOWN]]
        books = await self._books("", rate)
        budget, month = account.settings.daily_budget_cents, outlook.month(books, rate) if rate else None
        return Overview(
            operations=tuple(shown),
            more=len(waiting) - len(shown),
            decided=tuple([await self._view(operation, approver, None) for operation in await self._decided()]),
            spent=self._money(books.spent_cents),
            budget=self._money(budget),
            left=self._money(max(0, budget - books.spent_cents)),
            month=self._month(month.before_cents, certain=month.certain) if month else "",
        )

    async def one(self, operation_id: str, approver: str) -> OperationView | None:
        """Return one operation as it is now; None if none of that id was put to this account's approvers.

        Raises:
            JournalError: The journal cannot be used.
        """
        operation = await self._account.journal.get(operation_id)
        if operation is None or not is_for_approvers(operation, self._account.id):
            return None
        priced = operation.state is State.PROPOSED and operation.action.charges
        return await self._view(operation, approver, await self._rate() if priced else None)

    async def _waiting(self) -> list[Operation]:
        """Return what waits for an approver; the journal has no filter for who is asked."""
        proposed = Filter(account=self._account.id, states=(State.PROPOSED,))
        found = [
            operation
            async for operation in every(self._account.journal, proposed)
            if is_for_approvers(operation, self._account.id)
        ]
        return sorted(found, key=lambda operation: operation.expires_at)

    async def _decided(self) -> list[Operation]:
        """Return what was put to an approver and does not wait any more, among the newest operations."""
        past = Filter(account=self._account.id, states=tuple(_ENDED))
        newest = await self._account.journal.list_operations(past, limit=_LOOKED_THROUGH)
        found = [operation for operation in newest if is_for_approvers(operation, self._account.id)]
        return sorted(found, key=_decided_at, reverse=True)[:MOST_DECIDED]

    async def _view(self, operation: Operation, approver: str, rate: RunRate | None) -> OperationView:
        settings, quote, now = self._account.settings, operation.quote, await self._account.journal.now()
        wording, waiting = act_of(operation).wording, operation.state is State.PROPOSED
        purchase, right = operation.action.charges, self._account.right_to(operation)
        view = OperationView(
            id=operation.id,
            verb=wording.verb,
            number=spoken(operation.e164),
            e164=clean(operation.e164),
            country=clean(quote.country or ""),
            environment=_ENVIRONMENTS[quote.environment],
            is_live=quote.environment == "live",
            principal=clean(operation.principal, LONGEST_NAME_SHOWN),
            asker=outlook.asker(operation, right) if waiting else "",
            statement=clean(wording.statement(operation, settings.currency), 1000),
            changes=clean(changes(operation), 500),
            routed=clean(routed(operation), 200),
            now=self._money(quote.due_now_cents),
            monthly=self._money(quote.monthly_cents),
            asked_at=f"{minute(operation.created_at)} UTC",
            until=f"{minute(operation.expires_at)} UTC",
            left=span(operation.expires_at - now),
            is_purchase=purchase,
            warning=wording.warning,
            is_waiting=waiting,
            is_open=operation.state in OPEN,
            is_own=operation.principal == approver,
            is_denied=right.is_denied,
            digest=digest_of(operation),
            outcome=_ENDED.get(operation.state, "Waiting"),
            summary="" if waiting else clean(outcomes.acted(operation, settings).summary, 1000),
            decided=_decided(operation),
            decided_at="" if waiting else f"{minute(_decided_at(operation))} UTC",
        )
        return await self._with_money(view, operation, rate) if waiting and purchase else view

    async def _with_money(self, view: OperationView, operation: Operation, rate: RunRate | None) -> OperationView:
        """Add what a purchase would take and leave of the budgets, and what the account would then cost a month."""
        books = await self._books(operation.principal, rate)
        day = outlook.day(self._account.settings, operation, books)
        day_lines = [
            f"{self._money(day.left_cents)} of {self._money(day.budget_cents)} would be left of these 24 hours"
        ]
        if day.own_budget_cents is not None:
            day_lines.append(
                f"{view.principal} has spent {self._money(day.own_spent_cents)} of its own "
                f"{self._money(day.own_budget_cents)}, and {self._money(day.own_left_cents)} of that would be left"
            )
        warnings = []
        if day.over_purchase_cap:
            warnings.append(
                f"More than one purchase may cost, {self._money(day.purchase_cap_cents)}: it would be refused."
            )
        if day.over_budget:
            whose = f"the budget of {view.principal}" if day.over_own_budget else "everybody's budget"
            warnings.append(f"More than {whose} has left for the day: it would be refused.")
        if policy.exceeds_total(self._account.settings, operation, books):
            warnings.append("More than the budget that all organizations share has left: it would be refused.")
        month = outlook.month(books, rate, operation) if rate else None
        return replace(
            view,
            day=tuple(day_lines),
            month_before=self._month(month.before_cents, certain=month.certain) if month else "",
            month_after=self._month(month.after_cents, certain=month.certain) if month else "",
            warnings=tuple(warnings),
        )

    async def _rate(self) -> RunRate | None:
        return await self._rates.now(seconds=_RATE_WITHIN_SECONDS, oldest_seconds=_RATE_OLDEST_SECONDS)

    async def _books(self, principal: str, rate: RunRate | None) -> Books:
        since = (rate.read_at if rate else await self._account.journal.now()) - policy.LISTING_LAG_SECONDS
        return await self._account.journal.books(self._account.id, principal, committed_since=since)

    def _money(self, cents: int | None) -> str:
        return show_again(cents, self._account.settings.currency)

    def _month(self, cents: int, *, certain: bool) -> str:
        return self._money(cents) if certain else f"at least {self._money(cents)}"


def _decided_at(operation: Operation) -> float:
    return operation.confirmed_at or operation.settled_at or operation.created_at


def _decided(operation: Operation) -> str:
    """Return who decided and why, in words; empty while nobody has."""
    if operation.state is State.PROPOSED:
        return ""
    if operation.confirmed_at is None:
        return clean(operation.message, 500)
    why = f": {clean(operation.reason, 300)}" if operation.reason else ""
    return f"Approved by {clean(operation.confirmed_by, LONGEST_NAME_SHOWN)}{why}"


def page(name: str, session: ApproverSession | None, *, status: int = 200, **shown: Any) -> HTMLResponse:  # noqa: ANN401
    """Render a template; whatever it shows is escaped.

    Args:
        name: The template, without its ending.
        session: Whose page it is; None before signing in.
        status: Of the response.
        shown: What the template asks for beside that.
    """
    common = {"path": PATH, "session": session, "longest_reason": LONGEST_REASON, "notice": ""}
    return HTMLResponse(_templates().get_template(f"{name}.html").render({**common, **shown}), status_code=status)


def style() -> Response:
    """Return the style sheet."""
    return Response(_read("style.css"), media_type="text/css")


@cache
def _read(name: str) -> bytes:
    return (files(_PACKAGE) / name).read_bytes()


@cache
def _templates() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 - until somebody approves, nothing needs it

    return jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
