"""What every act works with: settings, journal, KrosAI, and the account they belong to."""

from dataclasses import dataclass

from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.inventory import Inventory, InventoryReading, Sighting
from kros_mcp.operations.journal import Identity, Journal
from kros_mcp.operations.model import Action, Operation
from kros_mcp.settings import Settings


@dataclass(frozen=True)
class Desk:
    """The open resources of one account; received, never built here."""

    settings: Settings
    journal: Journal
    client: KrosClient
    inventory: Inventory
    account: str

    def identity(self, principal: str, action: Action) -> Identity:
        """Name who does what in this account."""
        return Identity(account=self.account, principal=principal, action=action)

    async def find_for_sale(self, operation: Operation, *, seconds: float = 2.5) -> InventoryReading:
        """Read the number of a purchase again, starting where it was seen."""
        place = operation.request
        sought = Sighting(
            e164=operation.e164,
            country=place.country,
            type=place.type,
            area_code=place.area_code,
            position=place.position,
        )
        return await self.inventory.find(sought, seconds=seconds)
