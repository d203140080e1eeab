"""What an approver sees: what waits, what it would cost and leave, and what was decided lately."""

from dataclasses import dataclass

from kros_mcp.http.approvals import totals
from kros_mcp.http.approvals.decision import is_for_approvers
from kros_mcp.operations import outlook
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import Filter, every
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.policy import RunRate
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.pages.operation_view import ENDED, OperationView, OperationViews, decided_at

MOST_SHOWN = 50
MOST_DECIDED = 20
_LOOKED_THROUGH = 300
_TOGETHER = 2
"""How many purchases have a sum worth telling beside what each card tells."""


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
    together: str = ""
    """What the approver's yes to every purchase would come to; empty where it is about fewer than two."""


class ApprovalViews:
    """Reads from the journal what the approvers of one account see.

    Args:
        account: The account's resources.
        rates: What owned numbers cost a month.
    """

    def __init__(self, account: Account, rates: RunRates) -> None:
        self._account = account
        self._views = OperationViews(account, rates)

    async def overview(self, approver: str) -> Overview:
        """Return what waits now, for one approver.

        Raises:
            JournalError: The journal cannot be used.
        """
        account, waiting = self._account, await self._waiting(State.PROPOSED)
        rate = await self._views.rate()
        shown = [await self._views.view(operation, approver, rate) for operation in waiting[:MOST_SHOWN]]
        books = await self._views.books("", rate)
        budget, month = account.settings.daily_budget_cents, outlook.month(account.settings, books, rate)
        return Overview(
            operations=tuple(shown),
            more=len(waiting) - len(shown),
            decided=tuple([await self._views.view(operation, approver, None) for operation in await self._decided()]),
            spent=self._views.money(books.spent_cents),
            budget=self._views.money(budget),
            left=self._views.money(max(0, budget - books.spent_cents)),
            month=self._views.month(month.before_cents, certain=month.certain) if month else "",
            together=await self._together(waiting, approver, rate),
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
        return await self._views.view(operation, approver, await self._views.rate() if priced else None)

    async def _together(self, waiting: list[Operation], approver: str, rate: RunRate | None) -> str:
        """Say what every purchase comes to together that this approver may let through and the guard would."""
        account = self._account
        purchases = [operation for operation in waiting if operation.action.charges]
        approved = [
            operation
            for operation in await self._waiting(State.CONFIRMED)
            if operation.action.charges and not account.right_to(operation).is_denied
        ]
        principals = {operation.principal for operation in (*purchases, *approved)}
        books = {principal: await self._views.books(principal, rate) for principal in principals}
        possible = [
            operation
            for operation in purchases
            if operation.principal != approver
            and not account.right_to(operation).is_denied
            and self._views.refusal(operation, books[operation.principal], rate) is None
        ]
        joint = outlook.joint(account.settings, possible, books, rate, account.limits_of, approved)
        if joint.yeses < _TOGETHER:
            return ""
        return totals.words(joint, account.settings, left_out=len(purchases) - len(possible))

    async def _waiting(self, state: State) -> list[Operation]:
        """Return what was put to an approver and stands so; the journal has no filter for who is asked."""
        standing = Filter(account=self._account.id, states=(state,))
        found = [
            operation
            async for operation in every(self._account.journal, standing)
            if is_for_approvers(operation, self._account.id)
        ]
        return sorted(found, key=lambda operation: operation.expires_at)

    async def _decided(self) -> list[Operation]:
        """Return what was put to an approver and does not wait any more, among the newest operations.

        The numbers of a batch are one entry: that which was decided on.
        """
        past, journal = Filter(account=self._account.id, states=tuple(ENDED)), self._account.journal
        newest = await journal.list_operations(past, limit=_LOOKED_THROUGH)
        found = [operation for operation in newest if is_for_approvers(operation, self._account.id)]
        batches = [await journal.get(id_) for id_ in dict.fromkeys(one.batch for one in found if one.batch)]
        entries = [*(one for one in found if not one.batch), *(batch for batch in batches if batch is not None)]
        return sorted(entries, key=decided_at, reverse=True)[:MOST_DECIDED]
