from typing import Any

import anyio
import httpx
import pytest
from krosai_doubles import Script, speaking_to

from kros_mcp.errors import AuthenticationError
from kros_mcp.krosai import Inventory, Sighting

pytestmark = pytest.mark.anyio


def item(number: int) -> dict[str, Any]:
    return {
        "id": f"inv_{number}",
        "e164": f"+23480355{number:05}",
        "country": "NG",
        "monthly_cost_cents": number,
    }


class Shelf:
    """A list for sale that pages like KrosAI, and keeps the pages asked for."""

    def __init__(self, count: int, *, largest: int = 100, total: bool = False, heeds_offset: bool = True) -> None:
        self.items = [item(number) for number in range(count)]
        self.largest, self.total, self.heeds_offset = largest, total, heeds_offset
        self.asked: list[tuple[int, int]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        self.asked.append((offset, limit))
        start = offset if self.heeds_offset else 0
        page = self.items[start : start + min(limit, self.largest)]
        return httpx.Response(200, json={"data": page} | ({"total": len(self.items)} if self.total else {}))


def sought(number: int, position: int | None = None) -> Sighting:
    return Sighting(e164=item(number)["e164"], country="NG", position=position)


async def test_a_number_is_found_where_it_was_seen_in_one_request() -> None:
    shelf = Shelf(1000)
    async with speaking_to(shelf) as client:
        inventory = Inventory(client)
        await inventory.search(country="NG", limit=10, offset=640)
        sighting = inventory.seen(inventory_id="inv_645")
        assert sighting is not None
        assert sighting == inventory.seen(e164=item(645)["e164"])
        assert sighting.position == 645
        found = await inventory.find(sighting)
    assert shelf.asked == [(640, 10), (595, 100)]
    assert found.item is not None
    assert (found.item.inventory_id, found.item.monthly_cents, found.position) == ("inv_645", 645, 645)


async def test_a_number_that_moved_is_looked_for_outward_on_both_sides() -> None:
    shelf = Shelf(1000)
    async with speaking_to(shelf) as client:
        found = await Inventory(client).find(sought(180, position=400))
    assert shelf.asked == [(350, 100), (250, 100), (450, 100), (150, 100)]
    assert found.position == 180


async def test_several_numbers_of_one_page_are_found_in_one_request() -> None:
    shelf = Shelf(1000)
    async with speaking_to(shelf) as client:
        inventory = Inventory(client)
        await inventory.search(country="NG", limit=10, offset=640)
        seen = [inventory.seen(inventory_id=f"inv_{number}") for number in (649, 640, 645)]
        found = await inventory.find_several([each for each in seen if each is not None])
    assert shelf.asked == [(640, 10), (599, 100)]
    assert [each.position for each in found] == [649, 640, 645]


async def test_several_numbers_far_apart_are_each_looked_for_around_their_own_place() -> None:
    shelf = Shelf(1000)
    async with speaking_to(shelf) as client:
        found = await Inventory(client).find_several([sought(100, 100), sought(900, 900), sought(901, 901)])
    assert [each.position for each in found] == [100, 900, 901]
    assert shelf.asked == [(50, 100), (850, 100)]


async def test_one_of_several_that_is_gone_costs_no_more_than_its_pages() -> None:
    shelf = Shelf(5000)
    async with speaking_to(shelf) as client:
        found = await Inventory(client).find_several(
            [sought(100, 100), sought(9999, 300), sought(110, 110)], seconds=60
        )
    assert [each.position for each in found] == [100, None, 110]
    assert len(shelf.asked) == 12


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("position", [None, 0, 130, 249, 5000])
async def test_not_seen_after_reading_everything_is_complete(position: int | None, total: bool) -> None:
    shelf = Shelf(250, total=total)
    async with speaking_to(shelf) as client:
        found = await Inventory(client).find(sought(999, position), seconds=60)
    assert (found.item, found.complete) == (None, True)


@pytest.mark.parametrize("position", [None, 130])
async def test_smaller_pages_than_asked_for_are_read_without_gaps(position: int | None) -> None:
    shelf = Shelf(250, largest=30)
    async with speaking_to(shelf) as client:
        for number in range(0, 250, 17):
            found = await Inventory(client).find(sought(number, position), pages=20, seconds=60)
            assert found.position == number


async def test_not_seen_within_the_pages_or_the_time_is_not_complete() -> None:
    async with speaking_to(Shelf(5000)) as client:
        assert not (await Inventory(client).find(sought(4999), pages=10)).complete

    async def wait(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with speaking_to(wait) as client:  # type: ignore[arg-type]  # MockTransport takes async handlers too
        assert not (await Inventory(client).find(sought(1), seconds=0.05)).complete


async def test_a_list_that_ignores_the_offset_ends() -> None:
    full, small = Shelf(500, heeds_offset=False), Shelf(20, heeds_offset=False)
    async with speaking_to(full) as client:
        assert not (await Inventory(client).find(sought(400))).complete
    async with speaking_to(small) as client:
        assert (await Inventory(client).find(sought(400))).complete
    assert (len(full.asked), len(small.asked)) == (2, 2)


async def test_an_error_while_looking_comes_out() -> None:
    async with speaking_to(Script(httpx.Response(401))) as client:
        with pytest.raises(AuthenticationError):
            await Inventory(client).find(sought(1))


async def test_without_a_number_the_inventory_id_decides() -> None:
    async with speaking_to(Shelf(300)) as client:
        found = await Inventory(client).find(Sighting(inventory_id="inv_250", country="NG"))
    assert found.item is not None
    assert found.item.e164 == item(250)["e164"]


async def test_a_sighting_fades_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kros_mcp.krosai.inventory._MOST_SIGHTINGS", 15)
    now = 0.0
    async with speaking_to(Shelf(100)) as client:
        inventory = Inventory(client, now=lambda: now)
        await inventory.search(country="NG", limit=10)
        assert inventory.seen(inventory_id="inv_3", e164=item(3)["e164"]) is not None
        assert inventory.seen(inventory_id="inv_4", e164=item(3)["e164"]) is None
        assert inventory.seen() is None
        await inventory.search(country="NG", limit=10, offset=10)
        assert inventory.seen(inventory_id="inv_3") is None
        assert inventory.seen(inventory_id="inv_9") is not None
        now = 901.0
        assert inventory.seen(inventory_id="inv_9") is None


E164 = "+2348035550123"
CHEAP, DEAR, DEAREST = 500, 900, 1_500


def priced(inventory_id: str, monthly: int, e164: str = E164) -> dict[str, Any]:
    return {"id": inventory_id, "e164": e164, "country": "NG", "setup_cost_cents": 0, "monthly_cost_cents": monthly}


def at_price(monthly: int) -> tuple[int, int, int]:
    return (0, monthly, monthly)


async def found_for(shelf: Shelf, **wanted: Any) -> tuple[str, int | None] | None:
    async with speaking_to(shelf) as client:
        reading = await Inventory(client).find(Sighting(country="NG", **wanted), seconds=60)
    return (reading.item.inventory_id, reading.item.monthly_cents) if reading.item else None


def shelf_of(*records: dict[str, Any]) -> Shelf:
    shelf = Shelf(0)
    shelf.items = list(records)
    return shelf


@pytest.mark.parametrize(("asked", "monthly"), [("a", CHEAP), ("b", DEAR)])
async def test_of_two_items_of_one_number_the_one_asked_for_is_found_at_its_price(asked: str, monthly: int) -> None:
    shelf = shelf_of(priced("a", CHEAP), priced("b", DEAR))
    for price in (None, at_price(monthly), at_price(DEAREST)):
        assert await found_for(shelf, inventory_id=asked, e164=E164, price=price) == (asked, monthly)


async def test_where_ids_have_changed_the_item_at_the_price_that_was_seen_is_found() -> None:
    shelf = shelf_of(priced("x", CHEAP), priced("y", DEAR), priced("z", DEAR))
    assert await found_for(shelf, inventory_id="b", e164=E164, price=at_price(DEAR)) == ("y", DEAR)


async def test_where_only_another_price_is_left_that_item_is_found_and_its_price_told() -> None:
    shelf = shelf_of(priced("x", CHEAP), priced("y", DEAREST))
    assert await found_for(shelf, inventory_id="b", e164=E164, price=at_price(DEAR)) == ("x", CHEAP)


async def test_by_its_number_alone_the_first_item_is_found() -> None:
    shelf = shelf_of(priced("x", DEAR), priced("y", CHEAP))
    assert await found_for(shelf, e164=E164) == ("x", DEAR)
    assert len(shelf.asked) == 1


async def test_an_id_that_names_another_number_now_is_not_the_item() -> None:
    shelf = shelf_of(priced("a", CHEAP, "+2348035550199"), priced("x", CHEAP))
    assert await found_for(shelf, inventory_id="a", e164=E164) == ("x", CHEAP)
    assert await found_for(shelf_of(priced("a", CHEAP, "+2348035550199")), inventory_id="a", e164=E164) is None


async def test_reading_goes_on_for_the_id_and_stops_as_soon_as_it_is_seen() -> None:
    others = [item(number) for number in range(250)]
    shelf = shelf_of(priced("a", CHEAP), *others[:150], priced("b", DEAR), *others[150:])
    assert await found_for(shelf, inventory_id="b", e164=E164, price=at_price(DEAR)) == ("b", DEAR)
    assert len(shelf.asked) == 2
    shelf = shelf_of(priced("a", DEAR), *others)
    assert await found_for(shelf, inventory_id="b", e164=E164, price=at_price(DEAR)) == ("a", DEAR)
    assert [offset for offset, _ in shelf.asked] == [0, 100, 200, 251]


async def test_both_items_of_one_number_are_remembered_with_their_prices() -> None:
    async with speaking_to(shelf_of(priced("a", CHEAP), priced("b", DEAR))) as client:
        inventory = Inventory(client)
        await inventory.search(country="NG")
        seen = {name: inventory.seen(inventory_id=name, e164=E164) for name in ("a", "b", "c")}
        first = inventory.seen(e164=E164)
    assert [(one.inventory_id, one.price) if one else None for one in seen.values()] == [
        ("a", at_price(CHEAP)),
        ("b", at_price(DEAR)),
        None,
    ]
    assert first is not None
    assert first.inventory_id == "a"
