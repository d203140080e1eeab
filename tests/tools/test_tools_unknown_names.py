"""What a client asks for by a name that this server does not know."""

import logging

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from kros_mcp.simulator import Simulator
from tests.support.talk import open_talk

pytestmark = pytest.mark.anyio


async def test_a_prompt_that_there_is_not_is_the_callers_mistake(
    reference: Simulator, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_talk(reference, era) as talk:
        with pytest.raises(MCPError) as told:
            await talk.client.get_prompt("greeting" + "x" * 300)
    assert told.value.error.code == INVALID_PARAMS
    assert told.value.error.message == f"There is no prompt {'greeting' + 'x' * 52!r}."
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_resource_that_there_is_not_is_the_callers_mistake(
    reference: Simulator, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_talk(reference, era) as talk:
        with pytest.raises(MCPError) as told:
            await talk.client.read_resource("kros://nothing")
    assert told.value.error.code == INVALID_PARAMS
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_tool_that_there_is_not_is_a_failure_that_points_at_those_there_are(
    reference: Simulator, era: str
) -> None:
    async with open_talk(reference, era) as talk:
        shown = await talk.call("greet" + "x" * 300)
    assert (shown.outcome, shown["charged"], shown["changed"]) == ("UNKNOWN_TOOL", "no", "no")
    assert shown["summary"] == f"There is no tool {'greet' + 'x' * 55!r}."
    assert shown["next_step"] == "Call one of the tools listed here."
