"""What every act works with: settings, journal, KrosAI, and the account they belong to."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kros_mcp.errors import JournalError, OperationError
from kros_mcp.krosai import Inventory, InventoryReading, KeyLimits, KrosClient, Sighting, open_client
from kros_mcp.operations import policy
from kros_mcp.operations.change_feed import ChangeFeed
from kros_mcp.operations.dangling import EndpointStates
from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.journal import Identity, Journal, Move
from kros_mcp.operations.kept import KeptNumbers
from kros_mcp.operations.model import Action, Limits, Operation, State
from kros_mcp.operations.policy import Right, right_to
from kros_mcp.settings import Confirmation, Settings

if TYPE_CHECKING:
    import httpx


def open_krosai(
    settings: Settings, transport: "httpx.AsyncBaseTransport | None" = None, limits: KeyLimits | None = None
) -> AbstractAsyncContextManager[KrosClient]:
    """Open the way to KrosAI that the settings name, within limits that are shared if they are given.

    Raises:
        SettingsError: There is no key, or it cannot stand in a header.
    """
    return open_client(
        base_url=settings.base_url,
        api_key=settings.require_api_key(),
        auth_header=settings.auth_header,
        organization_id=settings.organization_id,
        requests_per_day=settings.requests_per_day,
        transport=transport,
        limits=limits,
    )


@dataclass(frozen=True)
class Account:
    """The open resources of one account; received, never built here."""

    settings: Settings
    journal: Journal
    client: KrosClient
    inventory: Inventory
    id: str
    """Names the account in the journal; see `adoption.account_in`."""
    own_limits: Callable[[str], Limits | None] | None = None
    """What each principal may spend by itself, where several call one server; None for those it does not know."""
    own_scopes: Callable[[str], frozenset[str] | None] | None = None
    """The scopes of each principal of the tokens file, none for those it does not name; None while it is unreadable."""
    is_known: Callable[[], bool] = lambda: True
    """Whether this server still acts for the account's organization; else it only looks after what was sent."""
    changes: ChangeFeed = field(default_factory=ChangeFeed)
    kept: KeptNumbers = field(default_factory=KeptNumbers)
    endpoints: EndpointStates = field(default_factory=EndpointStates)
    on_screen: dict[str, float] = field(default_factory=dict)
    """The operations whose page a browser has fetched from this process, and when it did so first."""
    noes: dict[str, tuple[Move, By]] = field(default_factory=dict)
    """What was turned down here, by operation, as long as the journal has not taken it."""

    def identity(self, principal: str, action: Action) -> Identity:
        """Return who does what in this account."""
        return Identity(account=self.id, principal=principal, action=action)

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        """Run a move in a transaction, and tell those who watch the operation if its state has changed.

        Raises:
            OperationError: There is no such operation, or the move is not allowed.
        """
        before: list[State] = []

        def noted(current: Operation, now: float) -> Operation:
            before.append(current.state)
            return move(current, now)

        operation = await self.journal.change(operation_id, noted, by=by)
        if before and before[-1] is not operation.state:
            self.kept.acts += 1
            self.changes.of(operation)
        return operation

    async def turn_down(self, operation_id: str, move: Move, *, by: By) -> Operation | None:
        """Write a no down; one that the journal does not take now counts in this process all the same.

        Returns:
            The operation; None if it has ended another way before.

        Raises:
            JournalError: It is written down later, by `heed_no`.
        """
        self.noes[operation_id] = (move, by)
        return await self.heed_no(operation_id)

    async def heed_no(self, operation_id: str) -> Operation | None:
        """Write down what was turned down and is not written down yet, so that nothing after it can be a yes.

        Raises:
            JournalError: It still cannot be written down.
        """
        if operation_id not in self.noes:
            return None
        (move, by), operation = self.noes[operation_id], None
        try:
            with suppress(OperationError):  # it was stored though nobody heard of it, or it ended another way
                operation = await self.change(operation_id, move, by=by)
        except JournalError as exc:
            raise JournalError(
                "The question was turned down, and the journal could not take that down yet. It counts all the same: "
                "nothing is charged or changed.",
                code=exc.code,
                next_step=f"Do not ask again. {exc.next_step}",
                operation_id=operation_id,
            ) from exc
        self.noes.pop(operation_id, None)
        return operation

    def limits_of(self, principal: str) -> Limits | None:
        """Return what one principal may spend by itself; None where this server does not know them."""
        if self.own_limits is not None:
            return self.own_limits(principal)
        if principal != self.settings.principal:
            return None
        return Limits(
            daily_budget_cents=self.settings.principal_daily_budget_cents,
            monthly_commitment_cents=self.settings.principal_monthly_commitment_cents,
        )

    def confirmation_for(self, principal: str) -> Confirmation:
        """Return how a person says yes to what a principal asks for now."""
        return policy.confirmation(self.settings, self.limits_of(principal))

    def confirmation_of(self, operation: Operation) -> Confirmation:
        """Return how a person says yes to an operation, which may be stricter than to what is asked for now."""
        return policy.confirmation(self.settings, operation.limits, self.limits_of(operation.principal))

    def approvers_decide_above(self, principal: str) -> bool:
        """Whether purchases of a principal that cost more than some amount wait for an approver."""
        return policy.approval_above_cents(self.settings, self.limits_of(principal)) is not None

    def needs_approver(self, operation: Operation) -> bool:
        """Whether only an approver's yes will do, by what held when it was proposed and by what holds now."""
        return policy.needs_approver(self.settings, operation, self.limits_of(operation.principal))

    def right_to(self, operation: Operation) -> Right:
        """Return whether who asked for an operation may still do it; what is unknown here is left to another server."""
        if not self.is_known():
            return Right.UNKNOWN
        if self.own_scopes is not None:
            return right_to(operation, self.own_scopes(operation.principal))
        return Right.HELD if self.limits_of(operation.principal) is not None else right_to(operation, None)

    async def find_for_sale(self, operation: Operation, *, seconds: float = 2.5) -> InventoryReading:
        """Read the number of a purchase again, starting where it was seen."""
        place = operation.request
        quote = operation.quote
        sought = Sighting(
            inventory_id=place.inventory_id,
            e164=operation.e164,
            country=place.country,
            type=place.type,
            area_code=place.area_code,
            position=place.position,
            price=(quote.setup_cents, quote.monthly_cents, quote.due_now_cents),
        )
        return await self.inventory.find(sought, seconds=seconds)
