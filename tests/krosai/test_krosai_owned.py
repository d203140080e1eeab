from collections.abc import Callable

import httpx
import pytest
from krosai_doubles import OWNED, Script, speaking_to

from kros_mcp.errors import ProtocolError, ServerError
from kros_mcp.krosai import (
    find_owned,
    read_all_owned,
    read_owned_in_time,
    read_owned_once,
    read_owned_to_show,
)
from kros_mcp.krosai.paging import LastReading

pytestmark = pytest.mark.anyio


def numbers(first: int, count: int) -> list[dict[str, object]]:
    return [{"id": n, "e164": f"+23480355{n:05}", "status": "active"} for n in range(first, first + count)]


async def test_a_number_is_found_by_its_id() -> None:
    async with speaking_to(Script(OWNED)) as client:
        reading = await find_owned(client, number_id="pn_1")
    assert reading.number is not None
    assert reading.complete
    async with speaking_to(Script(httpx.Response(404))) as client:
        assert await find_owned(client, number_id="pn_1") == type(reading)((), complete=True)


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
    assert reading.number.id == "new"
    async with speaking_to(Script([old], [])) as client:
        reading = await find_owned(client, e164="+2348035550123")
    assert reading.number is not None
    assert (reading.number.id, reading.complete) == ("old", True)


async def test_absence_is_final_only_after_the_last_page() -> None:
    pages = [numbers(0, 100), numbers(100, 30), []]
    async with speaking_to(Script(*pages, *pages)) as client:
        owned = await read_all_owned(client)
    assert (owned.numbers, owned.complete) == (await read_first(130), True)
    script = Script(numbers(0, 100), numbers(100, 100), numbers(200, 100))
    async with speaking_to(script) as client:
        reading = await find_owned(client, e164="+2348035559999", pages=2)
    assert (reading.number, reading.complete) == (None, False)
    assert [request.url.params["offset"] for request in script.requests] == ["0", "100"]


@pytest.mark.parametrize(
    ("pages", "requests"),
    [
        ([100, 30], 2),  # KrosAI heeds our limit, so that a page that is not full is the last one
        ([100, 100], 3),
        ([50, 30], 3),  # it may have a limit of its own
        ([3], 2),
    ],
)
async def test_a_list_that_is_only_shown_spares_the_last_request(pages: list[int], requests: int) -> None:
    starts = [sum(pages[:nth]) for nth in range(len(pages))]
    script = Script(*(numbers(first, count) for first, count in zip(starts, pages, strict=True)), [])
    async with speaking_to(script) as client:
        owned = await read_owned_once(client)
    assert (len(owned.numbers), owned.complete) == (sum(pages), True)
    assert len(script.requests) == requests


async def read_first(count: int) -> object:
    async with speaking_to(Script({"numbers": numbers(0, count), "total": count})) as client:
        return (await read_all_owned(client)).numbers


async def test_a_stated_total_saves_the_last_request() -> None:
    script = Script({"phone_numbers": numbers(0, 3), "total": 3})
    async with speaking_to(script) as client:
        assert (await read_all_owned(client)).complete
    assert len(script.requests) == 1


@pytest.mark.parametrize(("count", "complete"), [(3, True), (25, True), (20, False), (50, False), (100, False)])
async def test_a_list_that_ignores_the_offset_ends(count: int, complete: bool) -> None:
    script = Script(numbers(0, count))
    async with speaking_to(script) as client:
        owned = await read_all_owned(client)
    assert (len(owned.numbers), owned.complete, len(script.requests)) == (count, complete, 2)


async def test_a_list_that_ignores_the_offset_and_states_more_than_it_shows_was_not_read_whole() -> None:
    async with speaking_to(Script({"numbers": numbers(0, 25), "total": 45})) as client:
        for _ in range(3):
            assert not (await read_all_owned(client)).complete


async def test_exactly_one_way_to_name_a_number_is_given() -> None:
    async with speaking_to(Script([])) as client:
        for names in ({}, {"number_id": "a", "e164": "+2348035550123"}):
            with pytest.raises(ValueError, match="either"):
                await find_owned(client, **names)


class Account:
    """The owned numbers, which may change before any of the requests; keeps the offsets asked for."""

    def __init__(self, records: list[dict[str, object]], *, total: bool = False) -> None:
        self.records = records
        self.total = total
        self.asked: list[int] = []
        self.before: dict[int, Callable[[], None]] = {}
        """What happens just before the nth request, from 1."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        self.asked.append(offset)
        self.before.get(len(self.asked), lambda: None)()
        page = self.records[offset : offset + limit]
        return httpx.Response(200, json={"data": page} | ({"total": len(self.records)} if self.total else {}))


def e164(n: int) -> str:
    return f"+23480355{n:05}"


@pytest.mark.parametrize("total", [True, False])
async def test_a_number_that_slips_between_two_pages_is_found_all_the_same(total: bool) -> None:
    account = Account(numbers(0, 150), total=total)
    account.before[2] = lambda: account.records.pop(3)  # number 100 is now the last of page 1, which was read
    async with speaking_to(account) as client:
        reading = await find_owned(client, e164=e164(100))
    assert reading.living is not None


@pytest.mark.parametrize("total", [True, False])
async def test_a_list_that_never_holds_still_proves_no_absence(total: bool) -> None:
    account = Account(numbers(0, 150), total=total)
    account.before = dict.fromkeys(range(1, 20), lambda: account.records.pop(3))
    async with speaking_to(account) as client:
        reading = await find_owned(client, e164=e164(999))
    assert (reading.records, reading.complete) == ((), False)
    assert account.asked.count(0) == 3


async def test_a_list_that_grows_has_lost_nothing() -> None:
    account = Account(numbers(0, 150))
    account.before[4] = lambda: account.records.append(numbers(500, 1)[0])
    async with speaking_to(account) as client:
        reading = await find_owned(client, e164=e164(999))
    assert (reading.records, reading.complete) == ((), True)
    assert account.asked == [0, 100, 150, 0, 100, 151]


@pytest.mark.parametrize(("count", "total", "asked"), [(99, False, [0, 99]), (150, True, [0, 100]), (0, False, [0])])
async def test_one_page_or_a_total_that_agrees_needs_no_second_reading(
    count: int, total: bool, asked: list[int]
) -> None:
    account = Account(numbers(0, count), total=total)
    async with speaking_to(account) as client:
        assert (await find_owned(client, e164=e164(999))).complete
    assert account.asked == asked


async def test_a_full_page_with_nothing_after_it_is_read_again() -> None:
    account = Account(numbers(0, 101))
    account.before[2] = lambda: account.records.pop(3)
    async with speaking_to(account) as client:
        reading = await find_owned(client, e164=e164(100))
    assert reading.living is not None


async def test_a_reading_that_shows_all_of_an_earlier_one_counts_at_once_for_a_quarter_of_an_hour() -> None:
    at = [0.0]
    account = Account(numbers(0, 150))
    async with speaking_to(account) as client:
        client.last_owned = LastReading(clock=lambda: at[0])
        await find_owned(client, e164=e164(999))
        for at[0], readings in ((899.0, 1), (1_800.0, 2), (1_801.0, 1)):
            account.asked.clear()
            assert (await find_owned(client, e164=e164(999))).complete
            assert account.asked.count(0) == readings


async def test_a_reading_that_lacks_a_record_of_an_earlier_one_is_repeated() -> None:
    account = Account(numbers(0, 150))
    async with speaking_to(account) as client:
        await find_owned(client, e164=e164(999))
        account.asked.clear()
        account.records.pop(3)
        assert (await find_owned(client, e164=e164(999))).complete
    assert account.asked.count(0) == 2


async def test_a_total_above_what_is_shown_is_not_taken_for_the_whole() -> None:
    script = Script({"data": numbers(0, 3), "total": 50}, {"data": [], "total": 50})
    async with speaking_to(script) as client:
        reading = await find_owned(client, e164=e164(999))
    assert [request.url.params["offset"] for request in script.requests][:3] == ["0", "3", "0"]
    assert reading.complete  # the second and third reading show the same: nothing


class Hiding:
    """A list that states a larger total than it shows, of records that may change before a reading."""

    def __init__(self, *shown: int) -> None:
        self.shown = list(shown)
        """How many records each reading shows; the last one for ever."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        page = numbers(0, self.shown[0])[offset:]
        if not page and len(self.shown) > 1:
            self.shown.pop(0)
        return httpx.Response(200, json={"data": page, "total": 50})


async def test_one_reading_that_contradicts_the_stated_total_is_not_complete() -> None:
    async with speaking_to(Hiding(3)) as client:
        shown = [await read_owned_once(client), await read_owned_to_show(client, seconds=5)]
        in_time = await read_owned_in_time(client, seconds=5)
    for owned in (*shown, in_time):
        assert (len(owned.numbers), owned.complete, owned.stated) == (3, False, 50)


@pytest.mark.parametrize(("shown", "complete"), [((3, 3), True), ((3, 4, 4), True), ((3, 4, 5), False)])
async def test_a_list_that_contradicts_its_stated_total_counts_once_two_readings_are_equal(
    shown: tuple[int, ...], complete: bool
) -> None:
    async with speaking_to(Hiding(*shown)) as client:
        owned = await read_all_owned(client)
    assert (len(owned.numbers), owned.complete, owned.stated) == (shown[-1], complete, 50)


async def test_a_living_record_needs_no_second_reading() -> None:
    account = Account(numbers(0, 150))
    async with speaking_to(account) as client:
        assert (await find_owned(client, e164=e164(120))).living is not None
    assert account.asked.count(0) == 1


async def test_unreadable_records_are_named_and_the_others_found() -> None:
    pending: list[dict[str, object]] = [
        {"id": "pn_9", "e164": None, "status": "pending"},
        {"id": None, "e164": e164(7)},
    ]
    account = Account([*numbers(0, 2), *pending], total=True)
    async with speaking_to(account) as client:
        reading = await find_owned(client, e164=e164(1))
        again = await find_owned(client, e164=e164(999))
        owned = await read_all_owned(client)
    assert reading.living is not None
    assert (again.records, again.complete) == ((), True)
    assert reading.unreadable == again.unreadable == owned.unreadable == ("pn_9", "entry 4")
    assert len(owned.numbers) == 2


@pytest.mark.parametrize("bad", [None, {"id": None}])
async def test_records_without_ids_end_a_list_that_ignores_the_offset(bad: object) -> None:
    script = Script([bad, *numbers(0, 2)])
    async with speaking_to(script) as client:
        owned = await read_all_owned(client)
    assert (len(owned.numbers), owned.unreadable, owned.complete) == (2, ("entry 1",), True)
    assert len(script.requests) == 2
    script = Script([bad])
    async with speaking_to(script) as client:
        assert (await read_all_owned(client)).unreadable == ("entry 1",)
    assert len(script.requests) == 2


@pytest.mark.parametrize("answered", [OWNED | {"id": "pn_2"}, OWNED | {"id": 1}])
async def test_an_answer_with_another_id_than_asked_for_is_refused(answered: dict[str, object]) -> None:
    async with speaking_to(Script(answered)) as client:
        with pytest.raises(ProtocolError, match="another record"):
            await client.get_number("pn_1")


async def test_an_integer_id_is_the_same_id_as_text() -> None:
    async with speaking_to(Script(OWNED | {"id": 1293384261075731499})) as client:
        assert (await client.get_number("1293384261075731499")).id == "1293384261075731499"


async def test_a_list_that_was_only_shown_tells_nothing_of_what_lies_behind_its_short_page() -> None:
    account = Account(numbers(0, 250))
    way = Shortened(account)
    async with speaking_to(way) as client:
        assert len((await read_owned_once(client)).numbers) == 160
        account.before[5] = lambda: account.records.pop(3)  # before the claim's third page, which lacks one number then
        listed = await read_all_owned(client)
    assert {record["e164"] for record in account.records} <= {number.e164 for number in listed.numbers}


class Shortened:
    """Shows an account as one whose second page lacks records, so that it seems to be the last one."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.params["offset"] == "100":
            request.url = request.url.copy_merge_params({"limit": "60"})
        return self.account(request)
