"""What seals the questions that clients carry between replicas."""

from dataclasses import replace
from pathlib import Path

import pytest

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.simulator import Simulator, open_server
from tests.support.callers import open_client
from tests.support.person import Person, accept
from tests.support.replicas import open_fleet
from tests.support.talk import Talk
from tests.support.upstream import item_of

from .conftest import PRINCIPALS, settings_of

pytestmark = pytest.mark.anyio


async def test_without_shared_keys_a_yes_at_another_replica_spends_nothing_and_says_so(
    sim: Simulator, tmp_path: Path
) -> None:
    url, item = f"sqlite:///{tmp_path}/journal.sqlite3", item_of(sim)
    person = Person(accept("buy"))
    async with open_server(sim) as base_url:
        settings = settings_of(sim, base_url, url, tmp_path, KROS_STATE_KEYS="")
        async with open_fleet([settings] * 2, tmp_path) as fleet:
            await fleet.all_up()
            async with open_client(fleet.url, PRINCIPALS[0], "auto", person.answer) as client:
                told = await Talk(client, sim).buy(item)
            assert (told.outcome, told["charged"], told["changed"]) == ("ANSWER_UNREADABLE", "no", "no")
            assert "KROS_STATE_KEYS" in told["next_step"]
            assert (sim.charges, len(person.prompts)) == ([], 1)
            async with open_journal(url) as journal:  # a person takes longer than this test to read the prompt
                [operation] = await journal.list_operations()
                await journal.change(operation.id, _asked_a_minute_ago)
            async with open_client(fleet.url, PRINCIPALS[0], "auto", person.answer) as client:
                asked = await Talk(client, sim).buy(item)  # its prompt came to nothing, so the code is given
                told = await Talk(client, sim).buy(item, confirmation_code=asked["confirmation_code"])
            assert told.outcome == "done"
    async with open_journal(url) as journal:
        [operation] = await journal.list_operations()
    assert (operation.state, len(sim.charges), len(person.prompts)) == (State.DONE, 1, 1)


def _asked_a_minute_ago(operation: Operation, now: float) -> Operation:
    return replace(operation, asked_at=now - 60)
