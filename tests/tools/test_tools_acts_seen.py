"""A server over stdio writes one short line to standard error for every decision and every outcome."""

import os
import re
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from kros_mcp.simulator import Simulator, open_server
from tests.support.hostile import deceiving
from tests.support.no_browser import loud_browser
from tests.support.person import Person, accept
from tests.support.talk import ERAS, Talk
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prompts", [True, False])
@pytest.mark.parametrize("era", ERAS)
async def test_an_act_over_stdio_leaves_its_yes_and_its_outcome(era: str, prompts: bool, tmp_path: Path) -> None:
    sim = Simulator()
    item, other = item_of(sim), item_of(sim, nth=1)
    errors = tmp_path / "stderr"
    async with open_server(sim) as base_url:
        environment = {
            "PATH": os.environ["PATH"],
            **loud_browser(),
            "KROS_API_KEY": sim.api_key,
            "KROS_CONFIRMATION": "conversation",
            "KROS_BASE_URL": base_url,
            "KROS_JOURNAL_URL": "sqlite://:memory:",
            "KROS_ANSWER_WITHIN_SECONDS": "20",
        }
        server = StdioServerParameters(command=sys.executable, args=["-m", "kros_mcp"], env=environment)
        person = Person(accept("buy"), accept("do not buy"))
        with errors.open("w", encoding="utf-8") as log:
            transport = stdio_client(server, errlog=log)
            answers = person.answer if prompts else None
            async with Client(transport, mode=era, elicitation_callback=answers) as client:
                talk = Talk(client, sim)
                first = await talk.buy(item)
                if not prompts:
                    first = await talk.buy(item, confirmation_code=first["confirmation_code"])
                assert first.outcome == "done"
                second = await talk.buy(other)
                if not prompts:
                    await talk.call("cancel_operation", operation_id=second["operation_id"])
    written = errors.read_text(encoding="utf-8")
    who, no = ("person through prompt", "declined") if prompts else ("local through code", "cancelled")
    through = who if prompts else "local through tool"
    cents, left = item.due_now_cents, other.due_now_cents
    paid = f"{cents} cents charged"
    assert [line for line in written.splitlines() if re.match(r"kros-mcp: op_", line)] == [
        f"kros-mcp: {first['operation_id']} buy: confirmed by {who}, asked for by local, {cents} cents not charged",
        f"kros-mcp: {first['operation_id']} buy: done by server, asked for by local, decided by {who}, {paid}",
        f"kros-mcp: {second['operation_id']} buy: {no} by {through}, asked for by local, {left} cents not charged",
    ]
    assert deceiving(written) == set()
