"""Finds a number for sale again, starting where a search saw it (design.md, "One act, one operation").

KrosAI has no operation that reads one item for sale, so its list is read again: first the page around the
remembered place, then outward on both sides.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio

from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.gather import Gathered, gather
from kros_mcp.krosai.walk import Walk
from kros_mcp.krosai.wire import AvailableNumber, Page

_MOST_SIGHTINGS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """A number for sale, and where it was seen or is to be looked for.

    Args:
        inventory_id: KrosAI's id of the item, or empty if unknown.
        e164: The number, or empty if unknown. It decides; the id counts only without it.
        country: Where it was searched for.
        type: The filter of that search, or empty.
        area_code: The filter of that search, or empty.
        position: KrosAI's offset of the item in that search; None if it was never seen.
    """

    inventory_id: str = ""
    e164: str = ""
    country: str = ""
    type: str = ""
    area_code: str = ""
    position: int | None = None

    def fits(self, item: AvailableNumber) -> bool:
        """Tell whether an item is the one that was seen."""
        return item.e164 == self.e164 if self.e164 else item.inventory_id == self.inventory_id


@dataclass(frozen=True, slots=True)
class InventoryReading:
    """What looking for one item came to.

    Args:
        item: The item as KrosAI lists it now, with today's price; None if it was not seen.
        position: KrosAI's offset of it now.
        complete: Whether every page of that search was read. Without it, "not seen" proves nothing.
    """

    item: AvailableNumber | None
    position: int | None
    complete: bool


class Inventory:
    """Searches the numbers for sale and remembers for a while where each one stood.

    Args:
        client: Reads KrosAI's lists.
        now: A clock in seconds.
        remember_seconds: How long a sighting helps.
    """

    def __init__(
        self,
        client: KrosClient,
        *,
        now: Callable[[], float] = time.monotonic,
        remember_seconds: float = 900,
    ) -> None:
        self._client = client
        self._now = now
        self._remember_seconds = remember_seconds
        self._by_e164: OrderedDict[str, tuple[float, Sighting]] = OrderedDict()
        self._by_id: OrderedDict[str, tuple[float, Sighting]] = OrderedDict()

    async def search(
        self,
        *,
        country: str,
        type: str = "",  # noqa: A002  # KrosAI's own name
        area_code: str = "",
        limit: int = 10,
        offset: int = 0,
    ) -> Gathered[AvailableNumber]:
        """Read a page of the numbers for sale that fit, and remember where each one stood."""

        async def read(size: int, start: int) -> Page[AvailableNumber]:
            return await self._client.list_available(
                country=country, type=type, area_code=area_code, limit=size, offset=start
            )

        page = await gather(read, limit=limit, offset=offset)
        sought = Sighting(country=country, type=type, area_code=area_code)
        for item, position in zip(page.items, page.positions, strict=True):
            self._remember(sought, item, position)
        return page

    def seen(self, *, inventory_id: str = "", e164: str = "") -> Sighting | None:
        """Recall where a number was last seen; None if it never was, or too long ago."""
        at, sighting = self._by_e164.get(e164) or self._by_id.get(inventory_id) or (0.0, None)
        if sighting is None or self._now() - at > self._remember_seconds:
            return None
        if inventory_id and sighting.inventory_id != inventory_id:
            return None
        return sighting

    async def find(self, sought: Sighting, *, pages: int = 10, seconds: float = 2.5) -> InventoryReading:
        """Read the list again until the item is seen, both ends are reached, or pages or seconds run out.

        An error while reading a page comes out as it is.
        """
        walk = Walk(sought.position)
        with anyio.move_on_after(seconds):
            for _ in range(pages):
                if walk.over:
                    break
                offset, limit = walk.next()
                page = await self._client.list_available(
                    country=sought.country,
                    type=sought.type,
                    area_code=sought.area_code,
                    limit=limit,
                    offset=offset,
                )
                for item, position in zip(page.items, page.positions, strict=True):
                    if sought.fits(item):
                        self._remember(sought, item, position)
                        return InventoryReading(item, position, walk.complete)
                walk.saw(page)
        return InventoryReading(None, None, walk.complete)

    def _remember(self, sought: Sighting, item: AvailableNumber, position: int) -> None:
        sighting = replace(sought, inventory_id=item.inventory_id, e164=item.e164, position=position)
        for memory, key in ((self._by_e164, item.e164), (self._by_id, item.inventory_id)):
            memory[key] = (self._now(), sighting)
            memory.move_to_end(key)
            if len(memory) > _MOST_SIGHTINGS:
                memory.popitem(last=False)
