"""What is for sale beside the plain inventory: further ids, second offers, and numbers already owned."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kros_mcp.simulator.catalogue import InventoryItem
from kros_mcp.simulator.records import SimNumber


@dataclass(frozen=True)
class Relisted:
    """An item of the inventory whose number an organization owns."""

    owner: Mapping[str, SimNumber]
    """What that organization owns."""
    number_id: str
    until: float
    """Until when it stays for sale, in Unix seconds."""
    charges: bool
    """Whether buying it again is charged again."""


@dataclass(frozen=True)
class _Alias:
    item_id: str
    cents: int = 0
    """How much more than the item it costs a month."""


@dataclass
class Offers:
    """The ids under which items of the inventory can be bought, beside their own."""

    relisted: dict[str, Relisted] = field(default_factory=dict)
    """Items in the inventory although their number is owned, by item id."""
    seen: set[str] = field(default_factory=set)
    """The numbers that a search has shown, by E.164."""
    digits: dict[str, str] = field(default_factory=dict)
    """The all-digit ids under which items were shown, by the items' own ids."""
    _aliases: dict[str, _Alias] = field(default_factory=dict)
    _twins: dict[str, str] = field(default_factory=dict)

    def alias(self, inventory_id: str, alias: str) -> str:
        """Let an item or one of its offers be bought under a further id, and return that id."""
        self._aliases[alias] = _Alias(inventory_id)
        return alias

    def offer_twice(self, item: InventoryItem, twin_id: str, cents: int) -> None:
        """Offer an item a second time, for so much more a month."""
        self._aliases[twin_id] = _Alias(item.id, cents)
        self._twins[item.id] = twin_id

    def is_offered_twice(self, item: InventoryItem) -> bool:
        """Whether an item is offered twice, or is a second offer."""
        return item.id in self._twins or item.id in self._twins.values()

    def shown(self, items: Iterable[InventoryItem]) -> Iterator[InventoryItem]:
        """Yield each item, and its second offer after it."""
        for item in items:
            yield item
            if twin_id := self._twins.get(item.id):
                dearer = item.monthly_cost_cents + self._aliases[twin_id].cents
                yield replace(item, id=twin_id, monthly_cost_cents=dearer)

    def find(self, inventory: Mapping[str, InventoryItem], inventory_id: str) -> InventoryItem | None:
        """Return the item sold under an id, with its own id and the price of this offer; None if there is none."""
        cents = 0
        while inventory_id not in inventory and inventory_id in self._aliases:
            alias = self._aliases[inventory_id]
            inventory_id, cents = alias.item_id, cents + alias.cents
        item = inventory.get(inventory_id)
        return replace(item, monthly_cost_cents=item.monthly_cost_cents + cents) if item and cents else item
