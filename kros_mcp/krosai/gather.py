"""Fills one page for a reader although KrosAI may ignore its filters (krosai-api.md, section 9, rule 6).

What KrosAI should not have sent is dropped here, so that a page of KrosAI's may come down to nothing
while the next one is full. Reading goes on until the reader's page is full, in bounds.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kros_mcp.krosai.pages import LARGEST_PAGE, Page, Unreadable

T = TypeVar("T")

_MOST_PAGES: Final = 5


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
    for _ in range(_MOST_PAGES):
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
