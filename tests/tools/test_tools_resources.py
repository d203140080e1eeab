"""What can be read without a tool is the tool's own answer, and nothing more."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import Simulator
from tests.support.talk import Talk, open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio
NOWHERE = "kros://operations/op_aaaaaaaaaaaaaaaa"


@pytest.fixture
async def talk(sim: Simulator, era: str) -> AsyncIterator[Talk]:
    async with open_talk(sim, era) as opened:
        yield opened


async def read(talk: Talk, uri: str) -> dict[str, Any]:
    [content] = (await talk.client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    data = json.loads(content.text)
    assert isinstance(data, dict)
    return data


async def test_the_resources_are_titled_and_described(talk: Talk) -> None:
    listed = (await talk.client.list_resources()).resources
    templates = (await talk.client.list_resource_templates()).resource_templates
    assert [one.uri for one in listed] == ["kros://numbers", "kros://spending"]
    assert [one.uri_template for one in templates] == ["kros://operations/{operation_id}"]
    for one in [*listed, *templates]:
        assert one.title
        assert one.description
        assert one.mime_type == "application/json"


async def test_numbers_and_spending_read_as_their_tools_answer(talk: Talk) -> None:
    assert await read(talk, "kros://numbers") == (await talk.call("list_phone_numbers", limit=100)).data
    assert await read(talk, "kros://spending") == (await talk.call("get_spending")).data
    assert wrote(talk.sim) == []


async def test_an_operation_reads_as_get_operation_answers_and_never_with_its_code(talk: Talk) -> None:
    item = item_of(talk.sim)
    asked = await talk.buy(item)
    uri = f"kros://operations/{asked['operation_id']}"
    waiting = await read(talk, uri)
    assert waiting == (await talk.call("get_operation", operation_id=asked["operation_id"])).data
    assert waiting["status"] == "confirmation_required"
    assert asked["confirmation_code"] not in str(waiting)
    await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert ((done := await read(talk, uri))["status"], done["charged"]) == ("done", "yes")


@pytest.mark.parametrize(
    "uri",
    [
        NOWHERE,
        "kros://operations/",
        "kros://operations/../spending",
        "kros://operations/op_aaaaaaaaaaaaaaaa/x",
        "kros://else",
        "file:///etc/hosts",
    ],
)
async def test_a_resource_that_does_not_exist_is_said_so(talk: Talk, uri: str) -> None:
    with pytest.raises(MCPError, match="There is no resource") as caught:
        await talk.client.read_resource(uri)
    assert caught.value.error.code == -32602


@pytest.mark.promise(6)
async def test_another_principals_operation_reads_like_one_that_does_not_exist(
    sim: Simulator, era: str, journal: Journal
) -> None:
    async with open_talk(sim, era, journal=journal, principal="a") as a:
        asked = await a.buy(item_of(sim))
    uri = f"kros://operations/{asked['operation_id']}"
    async with open_talk(sim, era, journal=journal, principal="b") as b:
        told = []
        for one in (uri, NOWHERE):
            with pytest.raises(MCPError) as caught:
                await b.client.read_resource(one)
            told.append(str(caught.value.error).replace(one, "…"))
        assert told[0] == told[1]


async def test_a_resource_that_cannot_be_read_now_says_why_in_our_words(talk: Talk) -> None:
    talk.sim.faults.switch_on("refuse", times=None, status=401)
    told = await talk.call("list_phone_numbers")
    with pytest.raises(MCPError) as caught:
        await talk.client.read_resource("kros://numbers")
    assert caught.value.error.message == f"{told['message']} {told['next_step']}"
    assert wrote(talk.sim) == []


async def test_what_may_be_kept_and_by_whom_is_said_to_modern_clients(reference: Simulator) -> None:
    async with open_talk(reference, "auto") as talk:
        kept = {
            "tools": await talk.client.list_tools(),
            "prompts": await talk.client.list_prompts(),
            "resources": await talk.client.list_resources(),
            "templates": await talk.client.list_resource_templates(),
            "spending": await talk.client.read_resource("kros://spending"),
        }
    assert {name: (result.ttl_ms, result.cache_scope) for name, result in kept.items()} == {
        "tools": (300_000, "private"),
        "prompts": (3_600_000, "public"),
        "resources": (300_000, "private"),
        "templates": (300_000, "private"),
        "spending": (0, "private"),
    }


async def test_the_server_has_a_title_and_one_small_icon(reference: Simulator, era: str) -> None:
    async with open_talk(reference, era) as talk:
        about = talk.client.server_info
    assert about is not None
    assert about.title == "KrosAI phone numbers"
    [icon] = about.icons or []
    assert icon.src.startswith("data:image/svg+xml,")
    assert len(icon.src) < 500
