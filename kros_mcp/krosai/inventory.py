"""The numbers for sale, and where a search saw each of them.

KrosAI cannot be asked for one item for sale, so its list is read again: first the page around the remembered position,
then outward on both sides.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import anyio

from kros_mcp.krosai.cheapest import CheapestFirst, Fits, read_cheapest
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.markets import Markets
from kros_mcp.krosai.paging import Gathered, Page, Walk, gather
from kros_mcp.krosai.wire import NumberForSale

Costs = tuple[int | None, int | None, int | None]
"""Setup, monthly and due now, in cents."""

_MOST_SIGHTINGS: Final = 5_000
_REMEMBERED_SECONDS: Final = 900.0
"""How long a sighting is remembered."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A number for sale, and where it was seen or is looked for.

    Args:
        inventory_id: KrosAI's id of the item; empty if unknown.
        e164: The number; empty if unknown. An item of another number never matches.
        country: The country of the search.
        type: The type filter of the search, or empty.
        area_code: The area filter of the search, or empty.
        position: KrosAI's offset of the item in that search; None if it was never seen.
        price: What the item cost then; None for any price. It distinguishes two items of one number whose ids have
            changed.
    """

    inventory_id: str = ""
    e164: str = ""
    country: str = ""
    type: str = ""
    area_code: str = ""
    position: int | None = None
    price: Costs | None = None

    def is_of(self, item: NumberForSale) -> bool:
        """Whether an item is of this number, or has this id if the number is unknown."""
        return item.e164 == self.e164 if self.e164 else item.inventory_id == self.inventory_id

    def is_exactly(self, item: NumberForSale) -> bool:
        """Whether an item is of this number and has this id, if one is known."""
        return self.is_of(item) and self.inventory_id in ("", item.inventory_id)


@dataclass(frozen=True, slots=True)
class InventoryReading:
    """The result of looking for one item.

    Args:
        item: The item as KrosAI lists it now, with today's price; None if it was not seen.
        position: KrosAI's offset of it now.
        complete: Whether every page of that search was read. If not, "not seen" proves nothing.
    """

    item: NumberForSale | None
    position: int | None
    complete: bool


class _Hunt:
    """Looks for one item in the pages that are read."""

    def __init__(self, sought: Sighting) -> None:
        self.sought = sought
        self.walk = Walk(sought.position)
        self.exact: tuple[NumberForSale, int] | None = None
        """The item itself, with KrosAI's offset of it."""
        self._others: list[tuple[NumberForSale, int]] = []

    @property
    def over(self) -> bool:
        """Whether it was seen, or no page is left to read."""
        return self.exact is not None or self.walk.over

    @property
    def best(self) -> tuple[NumberForSale, int] | None:
        """The item, or what may be it under another id; None if nothing of the number was seen."""
        price = self.sought.price
        at_that_price = (other for other in self._others if price in (None, _costs(other[0])))
        return self.exact or next(at_that_price, self._others[0] if self._others else None)

    def saw(self, page: Page[NumberForSale]) -> None:
        """Look through a page."""
        if self.exact is not None:
            return
        for item, position in zip(page.items, page.positions, strict=True):
            if self.sought.is_exactly(item):
                self.exact = (item, position)
                return
            if self.sought.is_of(item):
                self._others.append((item, position))


class Inventory:
    """The numbers for sale, with a memory of where each was seen.

    Args:
        client: KrosAI.
        now: A clock in seconds.
    """

    def __init__(self, client: KrosClient, *, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._by_e164: OrderedDict[str, tuple[float, Sighting]] = OrderedDict()
        self._by_id: OrderedDict[str, tuple[float, Sighting]] = OrderedDict()
        self.markets = Markets(client, now)

    async def search(
        self,
        *,
        country: str,
        type: str = "",  # noqa: A002  # KrosAI's own name
        area_code: str = "",
        limit: int = 10,
        offset: int = 0,
    ) -> Gathered[NumberForSale]:
        """Return a page of the numbers for sale that fit, and remember where each was seen."""

        async def read(size: int, start: int) -> Page[NumberForSale]:
            return await self._client.list_available(
                country=country, type=type, area_code=area_code, limit=size, offset=start
            )

        page = await gather(read, limit=limit, offset=offset)
        sought = Sighting(country=country, type=type, area_code=area_code)
        self._remember_all(sought, zip(page.positions, page.items, strict=True))
        return page

    async def cheapest(
        self,
        *,
        country: str,
        type: str = "",  # noqa: A002  # KrosAI's own name
        area_code: str = "",
        fits: Fits | None = None,
        limit: int = 10,
        offset: int = 0,
        seconds: float = 30.0,
    ) -> CheapestFirst:
        """Return a page of the numbers for sale, cheapest first, and remember where each of them was seen.

        Raises:
            KrosError: Nothing could be read; `offset` must be 0 or the `next_offset` of the page before.
        """
        sought = Sighting(country=country, type=type, area_code=area_code)

        async def read(size: int, start: int) -> Page[NumberForSale]:
            page = await self._client.list_available(
                country=country, type=type, area_code=area_code, limit=size, offset=start
            )
            if start == 0 and page.items:
                self._remember(sought, page.items[0], page.positions[0], only_by_id=True)
            return page

        def begins_list(page: Page[NumberForSale]) -> bool:
            seen = self.seen(inventory_id=page.items[0].inventory_id) if page.items else None
            return seen is not None and seen == self._sighted(sought, page.items[0], 0)

        page = await read_cheapest(read, begins_list, limit=limit, offset=offset, fits=fits, seconds=seconds)
        self._remember_all(sought, sorted(zip(page.positions, page.items, strict=True), key=itemgetter(0)))
        return page

    def seen(self, *, inventory_id: str = "", e164: str = "") -> Sighting | None:
        """Recall where an item was last seen, or the first item of a number; None if never, or too long ago.

        If both an id and a number are given, they must be of one item.
        """
        at, sighting = (self._by_id.get(inventory_id) if inventory_id else self._by_e164.get(e164)) or (0.0, None)
        if sighting is None or self._now() - at > _REMEMBERED_SECONDS:
            return None
        return None if e164 and sighting.e164 != e164 else sighting

    async def find(self, sought: Sighting, *, pages: int = 10, seconds: float = 2.5) -> InventoryReading:
        """Read the list again until the item is seen, both ends are reached, or pages or seconds run out.

        Ids may change from search to search. If the id is gone, the item is the first of the number at the same price,
        or else the first of the number. An error while reading a page is passed on.
        """
        [reading] = await self.find_several([sought], pages=pages, seconds=seconds)
        return reading

    async def find_several(
        self, sought: Sequence[Sighting], *, pages: int = 10, seconds: float = 2.5
    ) -> tuple[InventoryReading, ...]:
        """Find items as `find` does, in their order; a page that is read for one is looked through for all.

        Args:
            sought: The items.
            pages: How many pages are read at most for one item; one page more for each further item of a search.
            seconds: How long to read at most.
        """
        searches: dict[tuple[str, str, str], list[_Hunt]] = {}
        hunts = [_Hunt(each) for each in sought]
        for hunt in hunts:
            place = hunt.sought
            searches.setdefault((place.country, place.type, place.area_code), []).append(hunt)
        with anyio.move_on_after(seconds):
            for beside in searches.values():
                await self._hunt(beside, pages + len(beside) - 1)
        return tuple(self._found(hunt) for hunt in hunts)

    async def _hunt(self, beside: Sequence["_Hunt"], pages: int) -> None:
        """Read pages of one search, for each item in turn around its own place, until all are seen."""
        while pages > 0 and (going_on := [hunt for hunt in beside if not hunt.over]):
            for hunt in going_on:
                if hunt.over or pages == 0:
                    continue
                offset, limit = hunt.walk.next()
                place = hunt.sought
                page = await self._client.list_available(
                    country=place.country, type=place.type, area_code=place.area_code, limit=limit, offset=offset
                )
                pages -= 1
                for each in beside:
                    each.saw(page)
                if hunt.exact is None:
                    hunt.walk.saw(page)
                if hunt.walk.complete:  # nothing else is left to read for the others
                    return

    def _found(self, hunt: "_Hunt") -> InventoryReading:
        best, complete = hunt.best, hunt.walk.complete
        if best is None:
            return InventoryReading(None, None, complete)
        self._remember(hunt.sought, *best)
        return InventoryReading(*best, complete)

    def _remember_all(self, sought: Sighting, items: Iterable[tuple[int, NumberForSale]]) -> None:
        """Remember items in the order of KrosAI's list; of several of one number the first stands for the number."""
        numbers: set[str] = set()
        for position, item in items:
            self._remember(sought, item, position, only_by_id=item.e164 in numbers)
            numbers.add(item.e164)

    @staticmethod
    def _sighted(sought: Sighting, item: NumberForSale, position: int) -> Sighting:
        return replace(sought, inventory_id=item.inventory_id, e164=item.e164, position=position, price=_costs(item))

    def _remember(self, sought: Sighting, item: NumberForSale, position: int, *, only_by_id: bool = False) -> None:
        sighting = self._sighted(sought, item, position)
        keys = (
            [(self._by_id, item.inventory_id)]
            if only_by_id
            else [(self._by_id, item.inventory_id), (self._by_e164, item.e164)]
        )
        for memory, key in keys:
            memory[key] = (self._now(), sighting)
            memory.move_to_end(key)
            if len(memory) > _MOST_SIGHTINGS:
                memory.popitem(last=False)


def _costs(item: NumberForSale) -> Costs:
    return item.setup_cents, item.monthly_cents, item.due_now_cents
