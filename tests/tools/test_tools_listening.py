"""Whoever listens is told once something has changed that they may see, and of nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from kros_mcp.errors import JournalError
from kros_mcp.operations import runner
from kros_mcp.operations.change_feed import Change, ChangeFeed
from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator, open_server
from kros_mcp.tools import subscriptions
from kros_mcp.tools.subscriptions import MOST_STREAMS_OF_ONE, MOST_URIS
from tests.support.ears import Ears, legacy, open_ears
from tests.support.talk import Talk, open_stdio_talk, open_talk
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio
NUMBERS, SPENDING = "kros://numbers", "kros://spending"


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def talk(reference: Simulator, era: str, ears: Ears) -> AsyncIterator[Talk]:
    async with open_talk(reference, era, hear=ears.hear) as opened:
        yield opened


def uri_of(operation_id: str) -> str:
    return f"kros://operations/{operation_id}"


async def test_a_purchase_a_change_and_a_release_are_told(talk: Talk, ears: Ears) -> None:
    item = item_of(talk.sim)
    asked = await talk.buy(item)
    operation = uri_of(asked["operation_id"])
    async with open_ears(talk.client, NUMBERS, SPENDING, operation):
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        await ears.until(NUMBERS, SPENDING, operation)
        ears.heard.clear()
        endpoint = (await talk.call("list_endpoints"))["endpoints"][0]["endpoint_id"]
        await talk.call("configure_phone_number", number_id=item.e164, endpoint_id=endpoint)
        await ears.until(NUMBERS)
        ears.heard.clear()
        released = await talk.call("release_phone_number", number_id=item.e164)
        await talk.call("release_phone_number", number_id=item.e164, confirmation_code=released["confirmation_code"])
        await ears.until(NUMBERS, SPENDING)
    assert [charge.e164 for charge in talk.sim.charges] == [item.e164]


async def test_only_what_is_listened_to_is_told(talk: Talk, ears: Ears) -> None:
    item = item_of(talk.sim)
    asked = await talk.buy(item)
    async with open_ears(talk.client, uri_of(asked["operation_id"])):
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        await ears.until(uri_of(asked["operation_id"]))
        assert set(ears.heard) == {uri_of(asked["operation_id"])}


async def test_a_proposal_moves_no_money_and_is_not_told_as_spending(talk: Talk, ears: Ears) -> None:
    async with open_ears(talk.client, SPENDING, NUMBERS):
        item = item_of(talk.sim)
        asked = await talk.buy(item)
        await talk.call("get_spending")
        heard_before = list(ears.heard)
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        await ears.until(NUMBERS, SPENDING)
    assert heard_before == []


async def test_who_has_stopped_listening_is_told_nothing_more(talk: Talk, ears: Ears) -> None:
    async with open_ears(talk.client, SPENDING):
        pass
    item = item_of(talk.sim)
    asked = await talk.buy(item)
    async with open_ears(talk.client, NUMBERS):
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        await ears.until(NUMBERS)
    assert set(ears.heard) == {NUMBERS}


@pytest.mark.promise(6)
async def test_another_principals_operation_is_never_told_of(reference: Simulator, era: str, journal: Journal) -> None:
    ears = Ears()
    async with (
        open_talk(reference, era, journal=journal, principal="a") as a,
        open_talk(reference, era, journal=journal, principal="b", hear=ears.hear) as b,
    ):
        item, other = item_of(reference), item_of(reference, nth=1)
        asked, own = await a.buy(item), await b.buy(other)
        async with open_ears(b.client, uri_of(asked["operation_id"]), uri_of(own["operation_id"])):
            await a.buy(item, confirmation_code=asked["confirmation_code"])
            await b.buy(other, confirmation_code=own["confirmation_code"])
            await ears.until(uri_of(own["operation_id"]))
    assert set(ears.heard) == {uri_of(own["operation_id"])}


@pytest.mark.promise(6)
async def test_listening_does_not_tell_whether_another_principals_operation_exists(
    reference: Simulator, era: str, journal: Journal
) -> None:
    ears = Ears()
    async with (
        open_talk(reference, era, journal=journal, principal="a") as a,
        open_talk(reference, era, journal=journal, principal="b", hear=ears.hear) as b,
    ):
        item, other = item_of(reference), item_of(reference, nth=1)
        asked, own = await a.buy(item), await b.buy(other)
        uris = [uri_of(one["operation_id"]) for one in (asked, own)]
        async with open_ears(b.client, SPENDING, NUMBERS, *uris):
            await a.buy(item, confirmation_code=asked["confirmation_code"])
            await b.call("cancel_operation", operation_id=own["operation_id"])
            await ears.until(uris[1])
            await anyio.sleep(4 * runner.ATTEND_EVERY_SECONDS)
    assert set(ears.heard) == {uris[1]}


async def test_a_subscription_that_failed_is_told_of_once_it_succeeds(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_operation_id: str) -> None:
        raise JournalError("The journal is busy.")

    ears = Ears()
    async with open_talk(reference, "legacy", journal=journal, hear=ears.hear) as talk:
        asked = await talk.buy(item_of(reference))
        uri = uri_of(asked["operation_id"])
        with monkeypatch.context() as busy:
            busy.setattr(journal, "get", fail)
            with legacy(), pytest.raises(MCPError):
                await talk.client.subscribe_resource(uri)
        async with open_ears(talk.client, uri):
            await talk.call("cancel_operation", operation_id=asked["operation_id"])
            await ears.until(uri)


async def test_what_another_process_does_to_a_watched_operation_is_told(
    reference: Simulator, era: str, journal: Journal
) -> None:
    ears = Ears()
    async with (
        open_talk(reference, era, journal=journal, hear=ears.hear) as listener,
        open_talk(reference, era, journal=journal) as other,
    ):
        asked = await listener.buy(item_of(reference))
        async with open_ears(listener.client, uri_of(asked["operation_id"])):
            await other.call("cancel_operation", operation_id=asked["operation_id"])
            await ears.until(uri_of(asked["operation_id"]))
        told = await listener.call("get_operation", operation_id=asked["operation_id"])
    assert told["status"] == "cancelled"


async def test_it_is_told_over_stdio(reference: Simulator, era: str) -> None:
    ears = Ears()
    async with (
        open_server(reference) as krosai,
        open_stdio_talk(reference, krosai, era, hear=ears.hear) as talk,
    ):
        item = item_of(reference)
        asked = await talk.buy(item)
        async with open_ears(talk.client, NUMBERS, SPENDING):
            await talk.buy(item, confirmation_code=asked["confirmation_code"])
            await ears.until(NUMBERS, SPENDING)


async def test_a_modern_stream_acknowledges_only_what_can_ever_be_told(reference: Simulator) -> None:
    async with (
        open_talk(reference, "auto") as talk,
        talk.client.listen(
            tools_list_changed=True, resource_subscriptions=[SPENDING, "kros://else", "file:///etc/hosts"]
        ) as stream,
    ):
        assert stream.honored.resource_subscriptions == [SPENDING]
        assert not stream.honored.tools_list_changed


async def test_a_legacy_session_cannot_subscribe_to_what_does_not_exist(reference: Simulator) -> None:
    async with open_talk(reference, "legacy") as talk:
        with legacy(), pytest.raises(MCPError, match="There is no resource"):
            await talk.client.subscribe_resource("kros://else")


async def test_nobody_listens_to_more_than_a_few_things(reference: Simulator, era: str) -> None:
    uris = [uri_of(f"op_{letter * 16}") for letter in "abcdefghijk"]
    assert len(uris) == MOST_URIS + 1
    async with open_talk(reference, era) as talk:
        with pytest.raises(MCPError, match=str(MOST_URIS)):
            async with open_ears(talk.client, *uris):
                pytest.fail("it listens")


async def test_one_client_opens_only_so_many_streams(reference: Simulator) -> None:
    async with open_talk(reference, "auto") as talk, AsyncExitStack() as streams:
        for _ in range(MOST_STREAMS_OF_ONE):
            await streams.enter_async_context(talk.client.listen(resource_subscriptions=[SPENDING]))
        with pytest.raises(MCPError, match="Too many streams"):
            await streams.enter_async_context(talk.client.listen(resource_subscriptions=[SPENDING]))
        assert (await talk.call("get_spending"))["spent_24h_cents"] == 0


async def test_the_server_has_room_for_only_so_many_streams_and_an_ended_one_makes_room(
    reference: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_STREAMS", 1)
    async with open_talk(reference, "auto") as talk:
        for _ in range(2):
            async with talk.client.listen(resource_subscriptions=[SPENDING]):
                with pytest.raises(MCPError, match="Too many streams"):
                    async with talk.client.listen(resource_subscriptions=[SPENDING]):
                        pytest.fail("it listens")
            await talk.call("get_spending")  # by then the server has taken note of the end


def test_a_hearer_that_fails_stops_neither_the_act_nor_the_others() -> None:
    changes, heard = ChangeFeed(), []

    def fail(_change: Change) -> None:
        raise ValueError("deaf")

    with changes.heard_by(fail), changes.heard_by(heard.append):
        changes.of_numbers()
    assert heard == [Change(numbers=True)]
    changes.of_numbers()
    assert len(heard) == 1
