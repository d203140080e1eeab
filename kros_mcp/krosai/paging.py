"""One page of a list of KrosAI's, with what on it could not be read."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar

from kros_mcp.errors import NotFoundError, ProtocolError
from kros_mcp.krosai.wire import CallEndpoint, NumberForSale, read_id

T = TypeVar("T")

LARGEST_PAGE: Final = 100  # items, KrosAI's largest page


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record without a usable identity, such as a number that has no E.164 yet.

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
        items: What could be read, and is left after filtering here.
        total: How many there are in all, if KrosAI says so.
        received: How many items KrosAI sent, the unreadable and the filtered ones too. The next offset is this much
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
    def of(cls, items: Iterable[T], *, total: int | None, offset: int) -> "Page[T]":
        """Make a page of all that KrosAI sent from `offset` on.

        A total below what is already on the table is not a total, and is dropped.
        """
        every = tuple(items)
        end = offset + len(every)
        return cls(every, _stated(total, len(every), end), len(every), tuple(range(offset, end)))

    @classmethod
    def read(cls, raw: Sequence[object], read: Callable[[object], T], *, total: int | None, offset: int) -> "Page[T]":
        """Read all that KrosAI sent from `offset` on with `read`; what is a ProtocolError to it is unreadable."""
        found: dict[int, T] = {}
        unreadable: list[Unreadable] = []
        for position, record in enumerate(raw, start=offset):
            try:
                found[position] = read(record)
            except ProtocolError:
                record_id = read_id(record)
                unreadable.append(Unreadable(record_id or f"entry {position + 1}", position, record_id))
        stated = _stated(total, len(raw), offset + len(raw))
        return cls(tuple(found.values()), stated, len(raw), tuple(found), tuple(unreadable))

    def where(self, fits: Callable[[T], bool]) -> "Page[T]":
        """Keep the items that fit; `total` and `received` stay KrosAI's."""
        kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if fits(item)]
        items, positions = tuple(item for item, _ in kept), tuple(at for _, at in kept)
        return Page(items, self.total, self.received, positions, self.unreadable)


def _stated(total: int | None, received: int, end: int) -> int | None:
    return None if total is None or (received and total < end) else total


_MOST_PAGES_GATHERED: Final = 5


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """A page that the filters hold for.

    Args:
        items: With KrosAI's offset of each in `positions`.
        positions: KrosAI's offset of each item.
        total: How many there are in all; None if KrosAI does not say, or if anything was dropped here.
        next_offset: KrosAI's next unread item; None at the end.
        unreadable: The records among those read that could not be read.
    """

    items: tuple[T, ...]
    positions: tuple[int, ...]
    total: int | None
    next_offset: int | None
    unreadable: tuple[Unreadable, ...] = ()


async def gather(read: Callable[[int, int], Awaitable[Page[T]]], *, limit: int, offset: int) -> Gathered[T]:
    """Read from `offset` on until `limit` items fit, the end is reached, or five pages are read.

    Args:
        read: Reads one page, given how many items and from which offset.
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
    """Plans a reading outward from one place: around it, then after it and before it by turns.

    Args:
        position: KrosAI's offset to begin around; None begins at the start of the list.
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
        """Name the next page to read, as offset and limit."""
        unsure = bool(self._short_page) and not self._end_reached
        self._backward = self._low > 0 and (self._end_reached or not (self._backward or unsure))
        if not self._backward:
            return self._high, LARGEST_PAGE
        offset = max(0, self._low - self._step)
        return offset, self._low - offset

    def saw(self, page: Page[NumberForSale]) -> None:
        """Take note of the page that `next` named.

        A page that repeats only what was seen means that KrosAI ignores `offset`: nothing more can be read.
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
        if not page.received and self._high == self._low > 0:  # the list is shorter than it was: begin anew
            self._low = self._high = 0
            return
        if self._short_page and page.received:
            self._step, self._short_page = self._short_page, 0
        elif 0 < page.received < self._step:
            self._short_page = page.received
        self._high += page.received
        self._end_reached = not page.received or (page.total is not None and self._high >= page.total)


_MOST_ENDPOINT_PAGES: Final = 20


class ListEndpoints(Protocol):
    """Reads one page of the list of endpoints."""

    async def __call__(self, *, limit: int, offset: int) -> Page[CallEndpoint]:
        """Read from `offset` on."""
        ...


async def find_endpoint(read: ListEndpoints, endpoint_id: str) -> CallEndpoint:
    """Read the list until the endpoint is seen.

    Raises:
        NotFoundError: The list was read to its end.
        ProtocolError: It could not be.
    """
    seen: set[str] = set()
    offset = 0
    for _ in range(_MOST_ENDPOINT_PAGES):
        try:
            page = await read(limit=LARGEST_PAGE, offset=offset)
        except NotFoundError as exc:
            raise ProtocolError("KrosAI shows no list of endpoints.") from exc
        new = {endpoint.id: endpoint for endpoint in page.items if endpoint.id not in seen}
        if endpoint_id in new:
            return new[endpoint_id]
        seen |= new.keys()
        offset += page.received
        # The reference documents no paging for endpoints: a list longer than asked for is the whole of it.
        whole = page.received > LARGEST_PAGE or (page.total is not None and offset >= page.total)
        if whole or not page.received or (not new and page.received < LARGEST_PAGE):
            raise NotFoundError("KrosAI knows no such endpoint in this account.", status=HTTPStatus.NOT_FOUND)
        if not new:
            break
    raise ProtocolError("KrosAI's list of endpoints was not read to its end, and what was read lacks this one.")


_GOOD_SECONDS: Final = 900.0


class LastReading:
    """Keeps which records the last whole reading of the owned numbers showed, for a quarter of an hour.

    A list is read in several pages, and a record that vanishes meanwhile moves another from one page to the next,
    unseen. A reading that shows all that an earlier one did has lost nothing in that way.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ids: frozenset[str] | None = None
        self._read_at = 0.0

    def keep(self, ids: frozenset[str]) -> None:
        """Take note of a reading that has come to the end of the list."""
        self._ids, self._read_at = ids, self._clock()

    def ids(self) -> frozenset[str] | None:
        """Return what that reading showed; None if there was none lately."""
        return self._ids if self._clock() - self._read_at < _GOOD_SECONDS else None
