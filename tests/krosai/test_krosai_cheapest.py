"""Numbers for sale, cheapest first: every one is reached, none twice, and what was not read is not claimed."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from krosai_doubles import speaking_to

from kros_mcp.errors import KrosError, ServerError, TooSlowError
from kros_mcp.krosai import Inventory
from kros_mcp.krosai.cheapest import CheapestFirst, Fits, read_cheapest
from kros_mcp.krosai.paging import Page
from kros_mcp.krosai.wire import NumberForSale

pytestmark = pytest.mark.anyio


def number(place: int, monthly: int | None = 500, setup: int | None = 0) -> NumberForSale:
    due = None if monthly is None or setup is None else monthly + setup
    return NumberForSale(f"inv_{place}", f"+23480355{place:05}", "NG", "mobile", None, None, setup, monthly, due)


@dataclass
class Stock:
    """A list of numbers for sale that is read page by page."""

    items: list[NumberForSale]
    largest: int = 100
    states_total: bool = False
    heeds_limit: bool = True
    heeds_offset: bool = True
    fails_after: int | None = None
    stalls_after: int | None = None
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def read(self, limit: int, offset: int) -> Page[NumberForSale]:
        self.asked.append((limit, offset))
        await anyio.lowlevel.checkpoint()
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            raise ServerError("KrosAI failed.", status=500)
        if self.stalls_after is not None and len(self.asked) > self.stalls_after:
            await anyio.sleep_forever()
        start = offset if self.heeds_offset else 0
        size = min(limit, self.largest) if self.heeds_limit else len(self.items)
        total = len(self.items) if self.states_total else None
        return Page.read(self.items[start : start + size], lambda each: each, total=total, offset=offset)  # type: ignore[arg-type,return-value]

    def begins(self, page: Page[NumberForSale]) -> bool:
        return bool(page.items) and page.items[0] == self.items[0]

    async def page(
        self, offset: int = 0, limit: int = 10, fits: Fits | None = None, seconds: float = 30.0
    ) -> CheapestFirst:
        return await read_cheapest(self.read, self.begins, limit=limit, offset=offset, fits=fits, seconds=seconds)

    async def walk(self, limit: int, fits: Fits | None = None) -> list[CheapestFirst]:
        """Follow `next_offset` to the end."""
        pages, offset = [], 0
        while True:
            pages.append(await self.page(offset, limit, fits))
            following = pages[-1].next_offset
            if following is None:
                return pages
            assert following > offset
            offset = following


def shown(pages: list[CheapestFirst]) -> list[str]:
    return [item.inventory_id for page in pages for item in page.items]


prices = st.lists(st.sampled_from([None, 300, 500, 500, 700]), max_size=330)


@settings(deadline=None, max_examples=60)
@given(
    monthly=prices,
    largest=st.sampled_from([100, 100, 50, 20]),
    states_total=st.booleans(),
    heeds_limit=st.booleans(),
    limit=st.sampled_from([1, 7, 10, 100]),
    chooses=st.booleans(),
)
def test_every_number_is_reached_and_none_twice(
    monthly: list[int | None], largest: int, states_total: bool, heeds_limit: bool, limit: int, chooses: bool
) -> None:
    stock = Stock([number(place, price) for place, price in enumerate(monthly)], largest, states_total, heeds_limit)

    def fits(item: NumberForSale) -> bool:
        return item.monthly_cents != 700

    wanted = [item.inventory_id for item in stock.items if not chooses or fits(item)]
    pages = anyio.run(stock.walk, limit, fits if chooses else None)
    assert sorted(shown(pages)) == sorted(wanted)
    assert all(len(page.items) <= limit for page in pages)
    for page in pages:
        assert [item.inventory_id for item in page.items] == [
            stock.items[position].inventory_id for position in page.positions
        ]
        unpriced = [item.monthly_cents is None for item in page.fitting]
        assert unpriced == sorted(unpriced)
        priced = [item.monthly_cents for item in page.fitting if item.monthly_cents is not None]
        assert priced == sorted(priced)
        if page.complete:
            assert len(page.fitting) == len(wanted)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 250), heeds_limit=st.booleans(), limit=st.sampled_from([7, 100]), chooses=st.booleans())
def test_a_list_that_ignores_the_offset_ends_and_shows_none_twice(
    count: int, heeds_limit: bool, limit: int, chooses: bool
) -> None:
    stock = Stock([number(place) for place in range(count)], heeds_limit=heeds_limit, heeds_offset=False)
    pages = anyio.run(stock.walk, limit, (lambda _: True) if chooses else None)
    there = min(count, 100) if heeds_limit else count
    assert sorted(shown(pages)) == sorted(item.inventory_id for item in stock.items[:there])
    assert not any(page.complete for page in pages if count > there)


async def test_the_cheapest_comes_first_and_what_states_no_price_last() -> None:
    stock = Stock([number(0, None), number(1, 900), number(2, 500, 900), number(3, 500), number(4, 500, None)])
    page = await stock.page()
    assert shown([page]) == ["inv_3", "inv_2", "inv_1", "inv_0", "inv_4"]
    assert (page.complete, page.next_offset, len(stock.asked)) == (True, None, 1)


@pytest.mark.parametrize("offset", [0, 10, 340])
async def test_a_plain_page_is_one_request(offset: int) -> None:
    stock = Stock([number(place) for place in range(400)])
    page = await stock.page(offset)
    assert [item.inventory_id for item in page.items] == [f"inv_{place}" for place in range(offset, offset + 10)]
    assert stock.asked == [(100, offset // 100 * 100)]
    assert page.next_offset == offset + 10


async def test_a_short_page_without_a_total_is_the_end_only_once_nothing_comes_after_it() -> None:
    stock = Stock([number(place) for place in range(40)])
    first = await stock.page()
    assert (first.complete, first.next_offset, len(stock.asked)) == (False, 10, 1)
    last = await stock.page(30)
    assert (last.complete, last.next_offset, stock.asked[1:]) == (True, None, [(100, 0), (100, 40)])


async def test_what_is_chosen_here_is_looked_for_in_a_thousand_numbers_and_then_further_on() -> None:
    stock = Stock([number(place) for place in range(5_000)])

    def fits(item: NumberForSale) -> bool:
        return "777" in item.e164

    page = await stock.page(fits=fits)
    assert (page.received, page.complete, len(stock.asked)) == (1_000, False, 10)
    assert shown([page]) == ["inv_777"]
    assert shown(await stock.walk(3, fits)) == [f"inv_{place}" for place in range(5_000) if "777" in f"{place:05}"]


async def test_pages_on_which_nothing_fits_are_passed_over_and_counted() -> None:
    stock = Stock([number(place) for place in range(240)])
    read = stock.read

    async def read_filtered(limit: int, offset: int) -> Page[NumberForSale]:
        return (await read(limit, offset)).where(lambda item: item.inventory_id in {"inv_210", "inv_220"})

    stock.read = read_filtered  # type: ignore[method-assign]
    page = await stock.page(limit=1)
    assert (shown([page]), page.received, page.total, len(stock.asked)) == (["inv_210"], 240, None, 3)
    assert shown(await stock.walk(1)) == ["inv_210", "inv_220"]


@pytest.mark.parametrize("fault", ["fails_after", "stalls_after"])
async def test_what_was_read_before_a_failure_is_shown_and_the_rest_is_reached_later(fault: str) -> None:
    stock = Stock([number(place, 900 - place) for place in range(800)], **{fault: 4})  # type: ignore[arg-type]
    page = await stock.page(limit=250, fits=lambda _: True, seconds=0.2)
    assert (page.received, page.complete, len(page.items)) == (400, False, 250)
    assert page.items[0].monthly_cents == 501
    stock.fails_after = stock.stalls_after = None
    pages, offset = [page], page.next_offset
    while offset is not None:
        pages.append(await stock.page(offset, 250, lambda _: True))
        offset = pages[-1].next_offset
    assert sorted(shown(pages)) == sorted(item.inventory_id for item in stock.items)


@pytest.mark.parametrize("fault", ["fails_after", "stalls_after"])
async def test_a_later_page_that_cannot_be_sorted_as_before_is_refused(fault: str) -> None:
    stock = Stock([number(place) for place in range(800)], **{fault: 4})  # type: ignore[arg-type]
    with pytest.raises((ServerError, TooSlowError)):
        await stock.page(10, fits=lambda _: True, seconds=0.2)


@pytest.mark.parametrize("fits", [None, lambda _: True])
async def test_where_nothing_can_be_read_nothing_is_claimed(fits: Fits | None) -> None:
    with pytest.raises(ServerError):
        await Stock([number(0)], fails_after=0).page(fits=fits)
    with pytest.raises(TooSlowError):
        await Stock([number(0)], stalls_after=0).page(fits=fits, seconds=0.05)


@pytest.mark.parametrize("offset", [999_999, 1_000_000, 1_000_001, 7_000_010, 123_456_789, 10**15])
async def test_an_offset_that_nobody_gave_does_no_harm(offset: int) -> None:
    stock = Stock([number(place) for place in range(40)])
    for fits in (None, lambda _: True):
        try:
            page = await stock.page(offset, fits=fits)
        except KrosError:
            continue
        assert len(page.items) <= 10


async def test_where_each_number_was_seen_is_remembered_by_krosai_s_own_offset() -> None:
    items: list[dict[str, Any]] = [
        {"id": f"inv_{place}", "e164": f"+23480355{place:05}", "country": "NG", "monthly_cost_cents": 9_000 - place}
        for place in range(250)
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        return httpx.Response(200, json=items[offset : offset + limit])

    async with speaking_to(answer) as client:
        inventory = Inventory(client)
        page = await inventory.cheapest(country="NG", limit=5, offset=100)
        assert [item.inventory_id for item in page.items] == [f"inv_{place}" for place in (199, 198, 197, 196, 195)]
        for item in page.items:
            sighting = inventory.seen(inventory_id=item.inventory_id)
            assert sighting is not None
            found = await inventory.find(sighting)
            assert (found.position, found.item) == (sighting.position, item)
