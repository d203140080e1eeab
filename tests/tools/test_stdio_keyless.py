"""A server on stdio without an API key: it starts, and says what is missing and where it belongs."""

import pytest
from mcp import MCPError

from kros_mcp.simulator import Simulator
from tests.support.pipe import INITIALIZED, call, initialize, open_pipe, open_program, request
from tests.support.talk import OUTPUT_SCHEMAS, open_talk

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "key", ["", "${KROS_API_KEY}", "%KROS_API_KEY%", "YOUR_API_KEY", "<your key>", "$KROS_API_KEY", "{{api_key}}"]
)
async def test_a_placeholder_is_no_key_and_every_tool_says_so(reference: Simulator, era: str, key: str) -> None:
    async with open_talk(reference, era, api_key=key) as talk:
        assert {tool.name for tool in (await talk.client.list_tools()).tools} == set(OUTPUT_SCHEMAS)
        for name in OUTPUT_SCHEMAS:
            told = await talk.call(name)
            assert (told.outcome, told["charged"], told["changed"]) == ("API_KEY_MISSING", "no", "no")
            for said in ("KROS_API_KEY", "Claude Desktop", "restart"):
                assert said in told["next_step"]
        with pytest.raises(MCPError, match="no KrosAI API key"):
            await talk.client.read_resource("krosai://spending")
    assert reference.requests == []


async def test_the_program_starts_without_a_key_and_says_so_in_its_log() -> None:
    async with open_program() as program:
        await program.answer(initialize())
        answer = await program.answer(INITIALIZED, call("list", "list_phone_numbers"))
        assert answer["result"]["structuredContent"]["code"] == "API_KEY_MISSING"
        program.close()
        assert await program.ended() == 0
        assert program.said().startswith("KROS_API_KEY is not set")


async def test_a_cap_that_is_misspelt_or_was_not_filled_in_still_stops_the_start() -> None:
    for setting, said in (
        ({"KROS_MAX_PURCHASE_CENT": "1"}, "KROS_MAX_PURCHASE_CENTS"),
        ({"KROS_MONTHLY_COMMITMENT_CENTS": "${LIMIT}"}, "KROS_MONTHLY_COMMITMENT_CENTS still holds the placeholder"),
    ):
        async with open_program(**setting) as program:
            assert await program.ended() == 2
            assert said in program.said()


async def test_a_stream_and_a_completion_are_refused_too(reference: Simulator) -> None:
    async with open_pipe(reference, api_key="") as pipe:
        await pipe.answer(initialize())
        await pipe.send(INITIALIZED)
        for method, params in (
            ("resources/subscribe", {"uri": "krosai://spending"}),
            (
                "completion/complete",
                {"ref": {"type": "ref/prompt", "name": "buy"}, "argument": {"name": "country", "value": "N"}},
            ),
        ):
            answer = await pipe.answer(request(method, method, **params))
            assert "no KrosAI API key" in answer["error"]["message"]
