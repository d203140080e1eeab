"""Streams over HTTP: told to those who may know, ended with their token, and never in the way."""

import time
from collections.abc import AsyncIterator

import anyio
import pytest
from mcp.server.auth.provider import AccessToken
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

from kros_mcp.http import app
from kros_mcp.http.access import Access
from kros_mcp.operations.model import Limits
from kros_mcp.simulator import Simulator
from kros_mcp.tools import subscriptions
from kros_mcp.tools.caller import caller_token
from kros_mcp.tools.specs import IN_CONVERSATION, Scope
from tests.support.ears import Ears, open_ears
from tests.support.upstream import item_of
from tests.support.web import Known, Web, access_for, open_web

pytestmark = pytest.mark.anyio
NUMBERS, SPENDING = "kros://numbers", "kros://spending"


class Fleeting(Known):
    """Takes a token for two seconds more."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return caller_token("tokens", token, self.scopes[token], expires_at=int(time.time()) + 2)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web(Simulator("reference"), access_for("a", "b")) as opened:
        yield opened


@pytest.mark.promise(6)
async def test_each_caller_is_told_of_its_own_operation_alone(web: Web) -> None:
    ears = Ears()
    item, other = item_of(web.sim), item_of(web.sim, nth=1)
    async with web.talk("a") as a, web.talk("b", hear=ears.hear) as b:
        asked, own = await a.buy(item), await b.buy(other)
        theirs, mine = (f"kros://operations/{one['operation_id']}" for one in (asked, own))
        async with open_ears(b.client, theirs, mine):
            await a.buy(item, confirmation_code=asked["confirmation_code"])
            await b.buy(other, confirmation_code=own["confirmation_code"])
            await ears.until(mine)
    assert set(ears.heard) == {mine}
    assert len(web.sim.charges) == 2


async def test_nobody_makes_the_service_look_after_what_is_not_theirs(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = web.service.runtime.account
    async with web.talk("a") as a, web.talk("b") as b:
        theirs = f"kros://operations/{(await a.buy(item_of(web.sim)))['operation_id']}"
        none = [f"kros://operations/op_{letter * 16}" for letter in "abcdefgh"]
        async with open_ears(b.client, theirs, *none), open_ears(b.client, SPENDING):
            read: list[str] = []
            monkeypatch.setattr(account.journal, "get", read.append)
            await account.changes.look_round(account.journal)
            async with open_ears(b.client, NUMBERS):
                assert read == []


async def test_what_others_spend_and_change_is_told_since_all_may_read_it(web: Web) -> None:
    ears, item = Ears(), item_of(web.sim)
    async with web.talk("a") as a, web.talk("b", hear=ears.hear) as b, open_ears(b.client, SPENDING, NUMBERS):
        asked = await a.buy(item)
        await a.buy(item, confirmation_code=asked["confirmation_code"])
        await ears.until(SPENDING, NUMBERS)


async def test_a_stream_ends_with_its_token() -> None:
    access = Access(Fleeting(a=IN_CONVERSATION), lambda _: Limits())
    async with (
        open_web(Simulator("reference"), access) as web,
        web.talk("a") as talk,
        talk.client.listen(resource_subscriptions=[SPENDING]) as stream,
    ):
        with anyio.fail_after(20):
            assert [event async for event in stream] == []


async def test_a_stream_ends_after_some_minutes_whatever_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "STREAM_SECONDS", 0.1)
    async with (
        open_web(Simulator("reference"), access_for("a")) as web,
        web.talk("a") as talk,
        talk.client.listen(resource_subscriptions=[SPENDING]) as stream,
    ):
        with anyio.fail_after(20):
            assert [event async for event in stream] == []


async def test_one_callers_streams_leave_room_for_anothers(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_STREAMS_OF_ONE", 1)
    async with web.talk("a") as a, web.talk("b") as b, a.client.listen(resource_subscriptions=[SPENDING]):
        async with b.client.listen(resource_subscriptions=[SPENDING]) as stream:
            assert stream.honored.resource_subscriptions == [SPENDING]
        with pytest.raises(MCPError, match="Too many streams"):
            async with a.client.listen(resource_subscriptions=[SPENDING]):
                pytest.fail("it listens")


async def test_a_service_that_stops_ends_every_stream(web: Web) -> None:
    async with web.talk("a") as talk, talk.client.listen(resource_subscriptions=[SPENDING]) as stream:
        web.service.listening.end()
        with anyio.fail_after(20):
            assert [event async for event in stream] == []


async def test_a_caller_that_may_not_read_sees_no_resource_and_is_told_nothing() -> None:
    access = Access(Known(buyer=frozenset({Scope.BUY})), lambda _: Limits())
    async with open_web(Simulator("reference"), access) as web, web.talk("buyer") as talk:
        assert (await talk.client.list_resources()).resources == []
        assert [one.name for one in (await talk.client.list_resource_templates()).resource_templates] == ["operation"]
        for uri in (NUMBERS, SPENDING):
            with pytest.raises(MCPError, match="There is no resource"):
                await talk.client.read_resource(uri)
        async with talk.client.listen(resource_subscriptions=[SPENDING]) as stream:
            assert not stream.honored.resource_subscriptions
        argument = {"name": "keep", "value": ""}
        prompt = (await talk.client.list_prompts()).prompts[1]
        assert (
            await talk.client.complete(PromptReference(type="ref/prompt", name=prompt.name), argument)
        ).completion.values == []


async def test_a_caller_is_offered_only_countries_where_it_may_buy_itself() -> None:
    access = access_for("a", a=Limits(allowed_countries=("KE",)))
    async with open_web(Simulator("reference"), access, allowed_countries=("KE", "AE")) as web, web.talk("a") as talk:
        ref = PromptReference(type="ref/prompt", name="set_up_number")
        assert (await talk.client.complete(ref, {"name": "country", "value": ""})).completion.values == ["KE"]


async def test_a_legacy_client_is_not_promised_what_it_could_not_be_told(web: Web) -> None:
    async with web.talk("a", "legacy") as talk:
        offered = talk.client.server_capabilities.resources
        assert offered is not None
        assert not offered.subscribe
