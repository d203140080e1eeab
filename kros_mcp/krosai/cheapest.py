"""Numbers for sale, cheapest first: what is read for one answer, and where the next answer begins.

KrosAI cannot sort, and its list may be long. So a piece of the list is read and sorted by price: a hundred items, which
is one request, or a thousand where items are chosen by something that KrosAI cannot look for. An offset is a place in
that order: the beginning of the piece, plus how many of its sorted items came before. Pieces begin at multiples of
their size, so this names both, nothing has to be remembered, and an offset only grows. A caller who follows it gets
every item, none twice, as long as the list stays as it is.

Where a piece ended elsewhere, because time ran out or KrosAI sent smaller pages than were asked for, the offset is a
number beyond a million that holds the piece's beginning, its length and the place.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.krosai.exchange import too_slow
from kros_mcp.krosai.paging import LARGEST_PAGE, Page
from kros_mcp.krosai.wire import NumberForSale

Read = Callable[[int, int], Awaitable[Page[NumberForSale]]]
"""Reads one page, given its size and KrosAI's offset."""
BeginsList = Callable[[Page[NumberForSale]], bool]
"""Whether a page begins as the whole list does; one from further on does so where KrosAI ignores the offset."""
Fits = Callable[[NumberForSale], bool]

_MOST_PAGES: Final = 10
_MOST_EMPTY_PIECES: Final = 5
_SURELY_LAST: Final = 10
"""A page with fewer items than this is the last one: nobody sends so few at once when asked for a hundred."""
_ODD: Final = 1_000_000
_WIDTH: Final = 10_000
"""In an odd offset a length and a rank are each below this."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the sorted items of a piece; `length` is 0 for a piece that is read as far as pieces go."""

    start: int
    rank: int = 0
    length: int = 0

    @classmethod
    def at(cls, offset: int, size: int) -> "_Place":
        if offset < _ODD:
            return cls(offset - offset % size, offset % size)
        piece, rank = divmod(offset - _ODD, _WIDTH)
        start, length = divmod(piece, _WIDTH)
        return cls(start, rank, min(length, size))

    def offset(self, size: int) -> int:
        if self.start % size == 0 and not self.length and self.start + self.rank < _ODD:
            return self.start + self.rank
        return _ODD + (self.start * _WIDTH + self.length) * _WIDTH + self.rank


@dataclass(frozen=True, slots=True)
class CheapestFirst:
    """A page of numbers for sale, and what was read for it.

    Args:
        items: The page.
        earlier: How many items of the piece come before it.
        fitting: All items of the piece that fit, cheapest first; those of unknown price last.
        positions: KrosAI's offset of each item of the page.
        start: KrosAI's offset of what was read.
        received: How many records of KrosAI were read, those that did not fit or could not be read too.
        total: How many are for sale by KrosAI's own count; None if it does not say, or does not heed what was asked.
        complete: Whether this is surely the whole list.
        next_offset: Where the next page begins; None at the end.
    """

    items: tuple[NumberForSale, ...]
    earlier: int
    fitting: tuple[NumberForSale, ...]
    positions: tuple[int, ...]
    start: int
    received: int
    total: int | None
    complete: bool
    next_offset: int | None


async def read_cheapest(
    read: Read, begins_list: BeginsList, *, limit: int, offset: int, fits: Fits | None, seconds: float
) -> CheapestFirst:
    """Read a page, cheapest first.

    One request if KrosAI can choose the items itself, and one more where only that tells whether the list has ended; up
    to ten requests, as far as the time goes, where `fits` chooses them.

    Args:
        read: Reads a page of KrosAI's list.
        begins_list: Recognizes the beginning of the list.
        limit: How many items are wanted.
        offset: 0, or the `next_offset` of the page before.
        fits: Which items are wanted; None for all.
        seconds: How long to read at most.

    Raises:
        KrosError: Nothing could be read, or not enough to go on from that offset.
    """
    size = LARGEST_PAGE if fits is None else LARGEST_PAGE * _MOST_PAGES
    place = _Place.at(offset, size)
    begun = place.start
    piece = _Piece(read, begins_list, place, size, fits)
    with anyio.move_on_after(seconds):
        await piece.load()
        for _ in range(_MOST_EMPTY_PIECES - 1):
            if fits is not None or piece.ended or piece.sorted[place.rank :]:
                break
            begun = piece.end if piece.sorted else begun
            place = _Place(piece.end)
            piece = _Piece(read, begins_list, place, size, fits)
            await piece.load()
        if fits is None and len(piece.sorted) <= place.rank + limit:
            await piece.look_behind()
    if not piece.received and not piece.ended:
        raise too_slow()
    if place.rank and not piece.whole:
        raise piece.failure or too_slow()
    return piece.page(place, limit, begun)


class _Piece:
    """A part of KrosAI's list, as far as it was read."""

    def __init__(self, read: Read, begins_list: BeginsList, place: _Place, size: int, fits: Fits | None) -> None:
        self._read, self._begins_list, self._fits, self._size = read, begins_list, fits, size
        self._place = place
        self._until = place.start + (place.length or size)
        self._pages = _MOST_PAGES if fits is not None else 1
        self._found: dict[int, NumberForSale] = {}
        self._total: int | None = None
        self._heeded = True
        self._cut_off = False
        self.end = place.start
        self.ended = False
        """Whether nothing comes after it in KrosAI's list."""
        self.whole = False
        """Whether it was read as far as pieces go."""
        self.failure: KrosError | None = None

    @property
    def received(self) -> int:
        return self.end - self._place.start

    @property
    def sorted(self) -> list[tuple[int, NumberForSale]]:
        return sorted(self._found.items(), key=_by_price)

    async def load(self) -> None:
        """Read it; what fails or lacks time after the first page leaves it shorter."""
        for _ in range(self._pages):
            try:
                page = await self._read(LARGEST_PAGE, self.end)
            except KrosError as exc:
                if not self.received:
                    raise
                self.failure = exc
                return
            self._take(page)
            if self.ended or self.end >= self._until:
                break
        self.whole = True

    async def look_behind(self) -> None:
        """Ask whether anything comes after it, where it was not told by a total or by a full page."""
        if self.ended or self.received >= self._size:
            return
        try:
            page = await self._read(LARGEST_PAGE, self.end)
        except KrosError:
            return
        self.ended = not page.received

    def page(self, place: _Place, limit: int, begun: int) -> CheapestFirst:
        """Return a page of it; what was read from `begun` on, before this piece, had nothing that fits."""
        ordered = self.sorted
        shown = ordered[place.rank : place.rank + limit]
        rank = place.rank + len(shown)
        following: _Place | None = None
        if rank < len(ordered):
            following = _Place(place.start, rank, place.length if self.whole else self.received)
        elif not self.ended:
            following = _Place(self.end)
        return CheapestFirst(
            items=tuple(item for _, item in shown),
            earlier=min(place.rank, len(ordered)),
            fitting=tuple(item for _, item in ordered),
            positions=tuple(position for position, _ in shown),
            start=begun,
            received=self.end - begun,
            total=self._total if self._heeded and begun == place.start else None,
            complete=self.ended and begun == 0 and not self._cut_off,
            next_offset=None if following is None else following.offset(self._size),
        )

    def _take(self, page: Page[NumberForSale]) -> None:
        at, received, positions = self.end, page.received, page.positions
        if at and self._begins_list(page):
            # KrosAI ignores the offset: what comes further on is in this page, or nowhere.
            self._cut_off = received == LARGEST_PAGE
            received, positions = max(0, received - at), tuple(position - at for position in positions)
        self._heeded = self._heeded and len(page.items) + len(page.unreadable) == page.received
        self._total = page.total
        self.end = min(at + received, self._until)
        for position, item in zip(positions, page.items, strict=True):
            if at <= position < self.end and (self._fits is None or self._fits(item)):
                self._found[position] = item
        following = at + received
        self.ended = is_last(received, following, page.total) and following <= self.end


def is_last(received: int, following: int, total: int | None) -> bool:
    """Whether a page is surely the last of its list.

    Args:
        received: How many records it holds.
        following: KrosAI's offset of what would come next.
        total: KrosAI's own count; None if it does not say.
    """
    return received < _SURELY_LAST if total is None or not received else following >= total


def _by_price(found: tuple[int, NumberForSale]) -> tuple[bool, int, int, int]:
    """Sort by the price a month, then by what is due now; what has not both comes last."""
    position, item = found
    monthly, due = item.monthly_cents, item.due_now_cents
    return monthly is None or due is None, monthly or 0, due or 0, position
