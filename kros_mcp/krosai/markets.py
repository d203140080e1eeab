"""What is for sale in each country, by one page of its list: which types, and the lowest price among them.

KrosAI lists no countries (docs/krosai.md, section 8), so each is asked for. What was read serves all callers of this
process for an hour. A caller waits for it, so it is read at the pace of the smallest plan, not at the background's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from kros_mcp.errors import KrosError, NotFoundError
from kros_mcp.krosai.cheapest import is_last
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.pace import FREE_PLAN_PER_SECOND
from kros_mcp.krosai.paging import LARGEST_PAGE
from kros_mcp.krosai.wire import NumberForSale

_KEPT_SECONDS: Final = 3_600.0
_AT_ONCE: Final = 3
_MOST_TYPES: Final = 10


@dataclass(frozen=True, slots=True)
class Market:
    """What is for sale in one country, as far as it was read.

    Args:
        country: Its ISO code.
        types: The types that were seen, in KrosAI's order.
        cheapest: The number with the lowest price a month among those that state one.
        read: How many numbers were read.
        total: How many there are by KrosAI's own count; None if it does not say, or does not heed what was asked.
        complete: Whether these are surely all.
    """

    country: str
    types: tuple[str, ...] = ()
    cheapest: NumberForSale | None = None
    read: int = 0
    total: int | None = None
    complete: bool = True


class Markets:
    """Reads what is for sale country by country, and keeps it for an hour.

    Args:
        client: KrosAI.
        now: A clock in seconds.
    """

    def __init__(self, client: KrosClient, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._kept: dict[tuple[str, str], tuple[float, Market]] = {}
        self._next_turn = 0.0
        self._reading: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def look(self, countries: Sequence[str], kind: str = "", *, seconds: float) -> dict[str, Market | None]:
        """Return what is for sale in each country; None for one that could not be read now.

        Args:
            countries: ISO codes.
            kind: The type of number to ask for; empty for any.
            seconds: How long to read at most.

        Raises:
            KrosError: None of them could be read.
        """
        failures: list[KrosError] = []
        some = anyio.CapacityLimiter(_AT_ONCE)

        async def look_at(country: str) -> None:
            try:
                async with some, self._reading[country, kind]:
                    await self._read(country, kind)
            except KrosError as exc:
                failures.append(exc)

        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for country in countries:
                    tasks.start_soon(look_at, country)
        found = {country: self._recalled(country, kind) for country in countries}
        if failures and not any(found.values()):
            raise failures[0]
        return found

    def known(self, kind: str = "") -> Iterable[Market]:
        """Return what is known of an hour's reading."""
        markets = (self._recalled(country, each) for country, each in tuple(self._kept) if each == kind)
        return [market for market in markets if market is not None]

    def _recalled(self, country: str, kind: str) -> Market | None:
        at, market = self._kept.get((country, kind), (0.0, None))
        return market if market is not None and self._now() - at < _KEPT_SECONDS else None

    async def _read(self, country: str, kind: str) -> None:
        """Read a country's first page, unless it is known."""
        if self._recalled(country, kind) is not None:
            return
        turn = max(self._next_turn, anyio.current_time())
        self._next_turn = turn + 1 / FREE_PLAN_PER_SECOND
        await anyio.sleep_until(turn)
        try:
            page = await self._client.list_available(country=country, type=kind, limit=LARGEST_PAGE)
        except NotFoundError:  # KrosAI serves no such country
            self._kept[country, kind] = (self._now(), Market(country))
            return
        as_asked = len(page.items) + len(page.unreadable) == page.received
        priced = [item for item in page.items if item.monthly_cents is not None]
        self._kept[country, kind] = (
            self._now(),
            Market(
                country=country,
                types=tuple(dict.fromkeys(item.type for item in page.items if item.type))[:_MOST_TYPES],
                cheapest=min(priced, key=lambda item: item.monthly_cents or 0, default=None),
                read=len(page.items),
                total=page.total if as_asked else None,
                complete=is_last(page.received, page.received, page.total),
            ),
        )
