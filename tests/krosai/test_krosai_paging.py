"""One page for a reader, from a KrosAI that heeds its own parameters or does not."""

from collections.abc import Awaitable, Callable

import pytest

from kros_mcp.krosai.paging import Page, gather

pytestmark = pytest.mark.anyio

Read = Callable[[int, int], Awaitable[Page[int]]]


def as_sent(item: object) -> int:
    assert isinstance(item, int)
    return item


class Listing:
    """The numbers from 0 up, of which only some fit; keeps what was asked of it."""

    def __init__(
        self, length: int, *, every: int = 1, totals: bool = False, heeds_offset: bool = True, most: int | None = None
    ) -> None:
        self.length, self.every, self.totals, self.heeds_offset, self.most = length, every, totals, heeds_offset, most
        self.asked: list[tuple[int, int]] = []

    async def __call__(self, size: int, offset: int) -> Page[int]:
        self.asked.append((size, offset))
        start = offset if self.heeds_offset else 0
        sent = range(self.length)[start : start + (self.most or size)]
        page = Page.read(sent, as_sent, total=self.length if self.totals else None, offset=offset)
        return page.where(lambda item: item % self.every == 0)


async def test_the_page_is_full_although_kros_ignores_the_filter() -> None:
    page = await gather(Listing(200, every=10), limit=10, offset=0)
    assert page.items == page.positions == tuple(range(0, 100, 10))


@pytest.mark.parametrize("totals", [True, False])
@pytest.mark.parametrize("every", [1, 3, 40])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_page_after_page_every_item_that_fits_is_read_once(limit: int, every: int, *, totals: bool) -> None:
    read, found, offset = Listing(330, every=every, totals=totals), list[int](), 0
    while offset is not None:
        page = await gather(read, limit=limit, offset=offset)
        assert len(page.items) <= limit
        assert page.next_offset is None or page.next_offset > offset
        found += page.items
        offset = page.next_offset  # type: ignore[assignment]
    assert found == list(range(0, 330, every))


async def test_the_next_offset_is_the_first_item_that_was_not_given() -> None:
    page = await gather(Listing(200, every=10), limit=3, offset=0)
    assert (page.items, page.next_offset) == ((0, 10, 20), 30)


async def test_the_limit_holds_when_kros_sends_more_than_was_asked_for() -> None:
    page = await gather(Listing(50, most=50), limit=5, offset=0)
    assert (page.items, page.next_offset) == ((0, 1, 2, 3, 4), 5)


@pytest.mark.parametrize("most", [None, 20])
async def test_a_list_that_ignores_the_offset_is_given_once_and_ends(most: int | None) -> None:
    read = Listing(150, every=2, heeds_offset=False, most=most)
    page = await gather(read, limit=12, offset=0)
    assert page.items == tuple(range(0, 20 if most else 24, 2))
    assert (page.next_offset, len(read.asked)) == (None, 2)


async def test_at_most_five_pages_are_read_and_reading_can_go_on() -> None:
    read = Listing(2_000, every=1_999)
    page = await gather(read, limit=10, offset=1)
    assert (page.items, len(read.asked)) == ((), 5)
    assert page.next_offset == 1 + 10 + 4 * 100


@pytest.mark.parametrize(("every", "total"), [(1, 40), (2, None)])
async def test_there_is_no_total_once_anything_was_dropped(every: int, total: int | None) -> None:
    assert (await gather(Listing(40, every=every, totals=True), limit=10, offset=0)).total == total


async def test_a_list_that_promises_more_and_sends_nothing_has_ended() -> None:
    async def read(_size: int, offset: int) -> Page[int]:
        return Page.read([], as_sent, total=50, offset=offset)

    assert (await gather(read, limit=10, offset=20)).next_offset is None
