"""What the tools do near the end of a day's requests: the background rests, then reading, and acts go on."""

from collections.abc import AsyncIterator

import pytest

from kros_mcp.journals.postgres import open_postgres
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.krosai import Kind, Purpose
from kros_mcp.operations.journal import Journal
from kros_mcp.settings import is_postgres
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.person import Person, accept
from tests.support.talk import Told, open_talk, settings_for
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio

PER_DAY = 1_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(journal_url: str, clock: Clock) -> AsyncIterator[Journal]:
    opening = open_postgres if is_postgres(journal_url) else open_sqlite
    async with opening(journal_url, clock=clock) as opened:
        yield opened


async def use(sim: Simulator, journal: Journal, requests: int) -> None:
    """Let others have sent so many requests just now."""
    key = settings_for(sim).request_key(journal.secret)
    await journal.add_requests(key, {(Kind.OWNED, Purpose.READ): requests})


def is_used_up(told: Told) -> bool:
    return told.failed and told.outcome == "REQUESTS_USED_UP"


async def test_from_nine_tenths_on_reading_is_refused_and_a_purchase_still_goes_through(
    reference: Simulator, journal: Journal, era: str
) -> None:
    await use(reference, journal, 900)
    item = item_of(reference)
    async with open_talk(reference, era, Person(accept("buy")), journal=journal, requests_per_day=PER_DAY) as talk:
        for name, arguments in (
            ("list_phone_numbers", {}),
            ("search_phone_numbers", {"country": "NG"}),
            ("list_endpoints", {}),
            ("get_phone_number", {"number_id": next(iter(reference.owned))}),
        ):
            refused = await talk.call(name, **arguments)
            assert is_used_up(refused)
            assert (refused["charged"], refused["changed"]) == ("no", "no")
            assert "25 hours" in refused["message"]
        assert reference.requests == []
        bought = await talk.buy(item)
        assert bought.outcome == "done"
        spending = await talk.call("get_spending")
        assert spending["spent_24h_cents"] == bought["quote"]["due_now_cents"]
        assert "nearly used up" in spending["summary"]
        told = await talk.call("get_operation", operation_id=bought["operation_id"])
        assert told.outcome == "done"
    assert len(reference.charges) == 1


async def test_reading_is_possible_again_a_day_later(reference: Simulator, journal: Journal, clock: Clock) -> None:
    await use(reference, journal, 900)
    clock.now += 25 * 3_600
    async with open_talk(reference, journal=journal, requests_per_day=PER_DAY) as talk:
        assert not (await talk.call("list_phone_numbers")).failed


@pytest.mark.parametrize(("used", "says"), [(790, False), (800, True)])
async def test_spending_tells_of_it_from_eight_tenths_on(
    reference: Simulator, journal: Journal, used: int, says: bool
) -> None:
    await use(reference, journal, used)
    async with open_talk(reference, journal=journal, requests_per_day=PER_DAY) as talk:
        spending = await talk.call("get_spending")
    assert ("soon be limited" in spending["summary"]) is says
    assert spending["run_rate_complete"] is True


async def test_without_the_setting_nothing_is_told_and_nothing_refused(reference: Simulator, journal: Journal) -> None:
    await use(reference, journal, 1_000_000)
    async with open_talk(reference, journal=journal) as talk:
        assert "requests" not in (await talk.call("get_spending"))["summary"]
        assert not (await talk.call("list_phone_numbers")).failed


async def test_once_they_are_used_up_nothing_new_is_begun_and_nothing_is_sent(
    reference: Simulator, journal: Journal, era: str
) -> None:
    await use(reference, journal, PER_DAY)
    item, number = item_of(reference), next(iter(reference.owned.values()))
    async with open_talk(reference, era, Person(accept("buy")), journal=journal, requests_per_day=PER_DAY) as talk:
        for told in (
            await talk.buy(item),
            await talk.call("release_phone_number", number_id=number.id),
            await talk.call("configure_phone_number", number_id=number.id, allow_outbound="off"),
        ):
            assert is_used_up(told)
            assert (told["charged"], told["changed"]) == ("no", "no")
    assert reference.requests == []
    assert await journal.count() == 0


async def test_what_a_person_was_asked_before_is_carried_out_on_their_yes(
    reference: Simulator, journal: Journal
) -> None:
    async with open_talk(reference, journal=journal, requests_per_day=PER_DAY) as talk:
        item = item_of(reference)
        asked = await talk.buy(item)
        number = next(iter(reference.owned.values()))
        release = await talk.call("release_phone_number", number_id=number.id)
    await use(reference, journal, PER_DAY)
    async with open_talk(reference, journal=journal, requests_per_day=PER_DAY) as talk:
        again = await talk.buy(item)
        assert again["operation_id"] == asked["operation_id"]
        bought = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        assert bought.outcome == "done"
        code = release["confirmation_code"]
        given_up = await talk.call("release_phone_number", number_id=number.id, confirmation_code=code)
        assert given_up.outcome == "done"
    assert len(reference.charges) == 1


async def test_a_change_that_was_asked_about_is_carried_out_too(reference: Simulator, journal: Journal) -> None:
    number = next(iter(reference.owned.values()))
    wish = {"number_id": number.id, "allow_outbound": "off"}
    chosen = {"protected_numbers": (number.e164,), "requests_per_day": PER_DAY}
    async with open_talk(reference, journal=journal, **chosen) as talk:
        asked = await talk.call("configure_phone_number", **wish)
    await use(reference, journal, PER_DAY)
    async with open_talk(reference, journal=journal, **chosen) as talk:
        assert is_used_up(await talk.call("configure_phone_number", **wish))
        done = await talk.call("configure_phone_number", **wish, confirmation_code=asked["confirmation_code"])
        assert done.outcome == "done"
    assert number.allow_outbound is False


async def test_an_invented_code_begins_no_change_either(reference: Simulator, journal: Journal) -> None:
    number = next(iter(reference.owned.values()))
    await use(reference, journal, PER_DAY)
    async with open_talk(reference, journal=journal, requests_per_day=PER_DAY) as talk:
        wish = {"number_id": number.id, "allow_outbound": "off"}
        assert is_used_up(await talk.call("configure_phone_number", **wish, confirmation_code="ABCDEFGH"))
    assert {seen.method for seen in reference.requests} <= {"GET"}
