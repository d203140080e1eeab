import httpx
import pytest
from krosai_doubles import OWNED, Script, speaking_to

from kros_mcp.errors import ServerError
from kros_mcp.krosai import find_owned, read_all_owned

pytestmark = pytest.mark.anyio


def numbers(first: int, count: int) -> list[dict[str, object]]:
    return [{"id": n, "e164": f"+23480355{n:05}", "status": "active"} for n in range(first, first + count)]


async def test_a_number_is_found_by_its_id() -> None:
    async with speaking_to(Script(OWNED)) as client:
        reading = await find_owned(client, number_id="pn_1")
    assert reading.number is not None
    assert reading.complete
    async with speaking_to(Script(httpx.Response(404))) as client:
        assert await find_owned(client, number_id="pn_1") == type(reading)(None, complete=True)


@pytest.mark.usefixtures("no_waits")
async def test_trouble_is_not_taken_for_absence() -> None:
    async with speaking_to(Script(httpx.Response(500))) as client:
        with pytest.raises(ServerError):
            await find_owned(client, number_id="pn_1")


async def test_a_living_record_is_preferred_to_an_inactive_one() -> None:
    old = {"id": "old", "e164": "+2348035550123", "status": "inactive"}
    new = {"id": "new", "e164": "+2348035550123", "status": "pending"}
    async with speaking_to(Script([old], [new], [])) as client:
        reading = await find_owned(client, e164="+2348035550123")
    assert reading.number is not None
    assert (reading.number.id, reading.complete) == ("new", True)
    async with speaking_to(Script([old], [])) as client:
        reading = await find_owned(client, e164="+2348035550123")
    assert reading.number is not None
    assert (reading.number.id, reading.complete) == ("old", True)


async def test_absence_is_final_only_after_the_last_page() -> None:
    async with speaking_to(Script(numbers(0, 100), numbers(100, 30), [])) as client:
        assert await read_all_owned(client) == (
            (await read_first(130)),
            True,
        )
    script = Script(numbers(0, 100), numbers(100, 100), numbers(200, 100))
    async with speaking_to(script) as client:
        reading = await find_owned(client, e164="+2348035559999", pages=2)
    assert (reading.number, reading.complete) == (None, False)
    assert [request.url.params["offset"] for request in script.requests] == ["0", "100"]


async def read_first(count: int) -> object:
    async with speaking_to(Script({"numbers": numbers(0, count), "total": count})) as client:
        return (await read_all_owned(client))[0]


async def test_a_stated_total_saves_the_last_request() -> None:
    script = Script({"phone_numbers": numbers(0, 3), "total": 3})
    async with speaking_to(script) as client:
        _, complete = await read_all_owned(client)
    assert complete
    assert len(script.requests) == 1


@pytest.mark.parametrize(("count", "complete"), [(3, True), (100, False)])
async def test_a_list_that_ignores_the_offset_ends(count: int, complete: bool) -> None:
    script = Script(numbers(0, count))
    async with speaking_to(script) as client:
        owned, ended = await read_all_owned(client)
    assert (len(owned), ended, len(script.requests)) == (count, complete, 2)


async def test_exactly_one_way_to_name_a_number_is_given() -> None:
    async with speaking_to(Script([])) as client:
        for names in ({}, {"number_id": "a", "e164": "+2348035550123"}):
            with pytest.raises(ValueError, match="either"):
                await find_owned(client, **names)
