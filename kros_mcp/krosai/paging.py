"""Lists of KrosAI, page by page (docs/krosai.md, section 9, rule 6).

KrosAI may ignore `limit`, `offset` and filters, and a list may change while it is read. So nothing here trusts them.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar

from kros_mcp.errors import NotFoundError, ProtocolError
from kros_mcp.krosai.wire import CallEndpoint, NumberForSale, read_id

T = TypeVar("T")

LARGEST_PAGE: Final = 100  # items, KrosAI's largest page
_MOST_PAGES_GATHERED: Final = 5
_MOST_ENDPOINT_PAGES: Final = 20
_LAST_READING_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of a list without a usable identity, such as a number that has no E.164 yet.

    Args:
        name: Its id, or else its place in the list as "entry 3"; the same in every reading of an unchanged list.
        position: KrosAI's offset of it.
        id: Its id, if that alone is usable.
    """

    name: str
    position: int
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    Args:
        items: The records that could be read and passed our filters.
        total: How many there are in all; None if KrosAI does not say.
        received: How many records KrosAI sent, the unreadable and filtered ones too; the next page begins so much
            further.
        positions: KrosAI's offset of each item in `items`.
        unreadable: The records that could not be read, whatever the filter.
    """

    items: tuple[T, ...]
    total: int | None
    received: int
    positions: tuple[int, ...]
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    def read(cls, raw: Sequence[object], read: Callable[[object], T], *, total: int | None, offset: int) -> "Page[T]":
        """Return a page of what KrosAI sent from `offset` on.

        A record for which `read` raises ProtocolError is unreadable. A total that is too small is dropped.
        """
        found: dict[int, T] = {}
        unreadable: list[Unreadable] = []
        for position, record in enumerate(raw, start=offset):
            try:
                found[position] = read(record)
            except ProtocolError:
                record_id = read_id(record)
                unreadable.append(Unreadable(record_id or f"entry {position + 1}", position, record_id))
        if total is not None and raw and total < offset + len(raw):
            total = None
        return cls(tuple(found.values()), total, len(raw), tuple(found), tuple(unreadable))

    def where(self, fits: Callable[[T], bool]) -> "Page[T]":
        """Return the page with only the items that fit; `total` and `received` stay."""
        kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if fits(item)]
        items, positions = tuple(item for item, _ in kept), tuple(at for _, at in kept)
        return Page(items, self.total, self.received, positions, self.unreadable)


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """A page of items that all fit the filters, read from several of KrosAI's pages if necessary.

    Args:
        items: The items.
        positions: KrosAI's offset of each item.
        total: How many there are in all; None if KrosAI does not say, or if our filters dropped anything.
        next_offset: KrosAI's offset of the next unread item; None at the end.
        unreadable: The records among those read that could not be read.
    """

    items: tuple[T, ...]
    positions: tuple[int, ...]
    total: int | None
    next_offset: int | None
    unreadable: tuple[Unreadable, ...] = ()


async def gather(read: Callable[[int, int], Awaitable[Page[T]]], *, limit: int, offset: int) -> Gathered[T]:
    """Read from `offset` on until `limit` items fit, the end is reached, or five pages are read.

    Records that KrosAI should have filtered were dropped, so one of its pages may be empty and the next one full.

    Args:
        read: Reads one page, given the limit and the offset.
        limit: How many items are wanted.
        offset: KrosAI's offset to begin at.
    """
    found: dict[int, T] = {}
    unreadable: list[Unreadable] = []
    begin, size, dropped = offset, limit, False
    for _ in range(_MOST_PAGES_GATHERED):
        page = await read(size, offset)
        if found and page.items and page.items[0] == next(iter(found.values())):  # KrosAI ignores `offset`
            found |= {begin + at - offset: item for at, item in zip(page.positions, page.items, strict=True)}
            return Gathered(tuple(found.values())[:limit], tuple(found)[:limit], None, None, tuple(unreadable))
        wanted = limit - len(found)
        taken = dict(zip(page.positions[:wanted], page.items[:wanted], strict=True))
        found |= taken
        as_sent = len(page.items) + len(page.unreadable) == page.received
        dropped = dropped or not as_sent
        cut_short = len(page.items) > wanted
        following = page.positions[wanted] if cut_short else offset + page.received
        unreadable += [record for record in page.unreadable if record.position < following]
        end = _is_end(page, size, following) and not cut_short
        if end or len(found) == limit or as_sent:
            break
        offset, size = following, LARGEST_PAGE
    return Gathered(
        items=tuple(found.values()),
        positions=tuple(found),
        total=None if dropped else page.total,
        next_offset=None if end else following,
        unreadable=tuple(unreadable),
    )


def _is_end(page: Page[T], size: int, following: int) -> bool:
    if page.total is not None and page.received:
        return following >= page.total
    return page.received < size


class Walk:
    """The order in which a list is read outward from one position: around it, then after and before it by turns.

    Args:
        position: KrosAI's offset to begin around; None for the start of the list.
    """

    def __init__(self, position: int | None) -> None:
        self._low = max(0, (position or 0) - LARGEST_PAGE // 2)  # everything from here ...
        self._high = self._low  # ... up to here was read
        self._backward = True  # so that the first page, around the place, counts as a forward one
        self._end_reached = False
        self._gap = False
        self._step = LARGEST_PAGE
        self._short_page = 0  # a page that was not full: either the end, or KrosAI gives no more at once
        self._seen: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether no page is left to read."""
        return self._end_reached and self._low == 0

    @property
    def complete(self) -> bool:
        """Whether the list was read from its start to its end, without a gap."""
        return self.over and not self._gap

    def next(self) -> tuple[int, int]:
        """Return the next page to read, as offset and limit."""
        unsure = bool(self._short_page) and not self._end_reached
        self._backward = self._low > 0 and (self._end_reached or not (self._backward or unsure))
        if not self._backward:
            return self._high, LARGEST_PAGE
        offset = max(0, self._low - self._step)
        return offset, self._low - offset

    def saw(self, page: Page[NumberForSale]) -> None:
        """Record the page that `next` named.

        A page that holds nothing new means that KrosAI ignores `offset`: nothing more can be read.
        """
        ids = {item.inventory_id for item in page.items}
        if ids and ids <= self._seen:
            self._gap = self._gap or self._low > 0 or page.received >= LARGEST_PAGE
            self._end_reached, self._low = True, 0
            return
        self._seen |= ids
        if self._backward:
            self._saw_before(page)
        else:
            self._saw_after(page)

    def _saw_before(self, page: Page[NumberForSale]) -> None:
        offset = max(0, self._low - self._step)
        self._gap = self._gap or page.received < self._low - offset
        self._low = offset

    def _saw_after(self, page: Page[NumberForSale]) -> None:
        if not page.received and self._high == self._low > 0:  # the list is shorter than it was: start over
            self._low = self._high = 0
            return
        if self._short_page and page.received:
            self._step, self._short_page = self._short_page, 0
        elif 0 < page.received < self._step:
            self._short_page = page.received
        self._high += page.received
        self._end_reached = not page.received or (page.total is not None and self._high >= page.total)


class ListEndpoints(Protocol):
    """What reads one page of the list of endpoints."""

    async def __call__(self, *, limit: int, offset: int) -> Page[CallEndpoint]:
        """Read one page from `offset` on."""
        ...


@dataclass(frozen=True, slots=True)
class EndpointList:
    """Endpoints as the list shows them, by id.

    Args:
        found: Those that were seen.
        whole: Whether these are all; if not, one that is not there may exist.
    """

    found: Mapping[str, CallEndpoint]
    whole: bool

    def plus(self, endpoints: Iterable[CallEndpoint | None]) -> "EndpointList":
        """Return the list with what was read of endpoints by themselves, which is newer."""
        newer = {endpoint.id: endpoint for endpoint in endpoints if endpoint is not None}
        return EndpointList({**self.found, **newer}, self.whole)


async def read_endpoints(read: ListEndpoints, wanted: AbstractSet[str] = frozenset()) -> EndpointList:
    """Read the list of endpoints to its end, or until all that are wanted were seen."""
    found: dict[str, CallEndpoint] = {}
    offset, readable = 0, True
    for _ in range(_MOST_ENDPOINT_PAGES):
        try:
            page = await read(limit=LARGEST_PAGE, offset=offset)
        except NotFoundError as exc:
            raise ProtocolError("KrosAI shows no list of endpoints.") from exc
        new = {endpoint.id: endpoint for endpoint in page.items if endpoint.id not in found}
        found |= new
        readable = readable and not page.unreadable
        offset += page.received
        # The reference documents no paging for endpoints: a list longer than asked for is the whole of it.
        whole = page.received > LARGEST_PAGE or (page.total is not None and offset >= page.total)
        if whole or not page.received or (not new and page.received < LARGEST_PAGE):
            return EndpointList(found, whole=readable)
        if not new or (wanted and wanted <= found.keys()):
            break
    return EndpointList(found, whole=False)


async def find_endpoint(read: ListEndpoints, endpoint_id: str) -> CallEndpoint:
    """Find an endpoint in the list, for a KrosAI that has no path for a single one (docs/krosai.md, section 6).

    Raises:
        NotFoundError: The whole list was read, and does not hold it.
        ProtocolError: The list could not be read to its end.
    """
    endpoints = await read_endpoints(read, {endpoint_id})
    if endpoint_id in endpoints.found:
        return endpoints.found[endpoint_id]
    if endpoints.whole:
        raise NotFoundError("KrosAI knows no such endpoint in this account.", status=HTTPStatus.NOT_FOUND)
    raise ProtocolError("KrosAI's list of endpoints was not read to its end, and what was read lacks this one.")


class LastReading:
    """Which records the last whole reading of the owned numbers showed; kept for a quarter of an hour.

    While a list is read page by page, a record may vanish from a page already read; another then moves there and is
    missed. A reading that shows everything that an earlier one showed has missed none of those. One that took a page
    that is not full for the last one says nothing of what may come behind it: it counts if the next shows the same.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ids: frozenset[str] | None = None
        self._to_the_end = True
        self._read_at = 0.0

    def keep(self, ids: frozenset[str], *, to_the_end: bool = True) -> None:
        """Keep the ids of a reading of the list to its end, or to a page that is not full."""
        self._ids, self._to_the_end, self._read_at = ids, to_the_end, self._clock()

    def ids(self) -> frozenset[str] | None:
        """Return the ids of that reading; None if there was none lately."""
        return self._ids if self._clock() - self._read_at < _LAST_READING_SECONDS else None

    @property
    def to_the_end(self) -> bool:
        """Whether that reading reached the end of the list, not only a page that is not full."""
        return self._to_the_end
