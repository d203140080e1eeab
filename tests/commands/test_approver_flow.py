import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from commands_doubles import Command, ask, open_session, run_elsewhere
from mcp import Client

from kros_mcp.simulator import Simulator, open_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


@asynccontextmanager
async def open_approved_server(sim: Simulator, journal_url: str, **settings: str) -> AsyncIterator[Client]:
    """A running server that acts only on what was approved elsewhere."""
    async with (
        open_server(sim) as base_url,
        open_session(
            KROS_BASE_URL=base_url,
            KROS_API_KEY=sim.api_key,
            KROS_JOURNAL_URL=journal_url,
            KROS_CONFIRMATION="approver",
            **settings,
        ) as client,
    ):
        yield client


async def propose(client: Client) -> dict[str, Any]:
    found = await ask(client, "search_phone_numbers", country="NG", type="local", limit=1)
    return await ask(client, "buy_phone_number", inventory_id=found["numbers"][0]["inventory_id"])


async def test_what_is_approved_in_another_process_is_bought_once_within_two_seconds(
    sim: Simulator, journal_url: str
) -> None:
    async with open_approved_server(sim, journal_url) as client:
        proposed = await propose(client)
        operation_id = proposed["operation_id"]
        assert (proposed["status"], proposed["confirmation_code"]) == ("awaiting_approval", None)
        assert not sim.charges

        code, printed = await run_elsewhere(
            "approve", operation_id, "--yes", "--reason", "agreed", KROS_JOURNAL_URL=journal_url
        )
        approved_at = time.time()
        assert code == 0, printed
        with anyio.fail_after(10):
            while (answer := await ask(client, "get_operation", operation_id=operation_id))["status"] != "done":
                assert answer["status"] in {"awaiting_approval", "pending"}

    [charge] = sim.charges
    assert (charge.e164, charge.idempotency_key) == (proposed["quote"]["e164"], operation_id)
    assert charge.at - approved_at < 2
    assert (answer["charged"], answer["number"]["e164"]) == ("yes", charge.e164)


async def test_what_is_denied_at_a_terminal_is_never_sent(sim: Simulator, journal_url: str, command: Command) -> None:
    async with open_approved_server(sim, journal_url) as client:
        operation_id = (await propose(client))["operation_id"]

        denied = await anyio.to_thread.run_sync(command, "deny", operation_id, "--yes", "--reason=dear")

        answer = await ask(client, "get_operation", operation_id=operation_id)
        assert denied.code == 0
        assert (answer["status"], answer["charged"]) == ("declined", "no")
    assert not sim.charges
    assert {seen.method for seen in sim.requests} == {"GET"}


async def test_what_nobody_approved_in_time_expires_and_cannot_be_approved_any_more(
    sim: Simulator, journal_url: str, command: Command
) -> None:
    async with open_approved_server(sim, journal_url, KROS_APPROVAL_HOURS="0.0001") as client:
        operation_id = (await propose(client))["operation_id"]
        with anyio.fail_after(10):
            while (answer := await ask(client, "get_operation", operation_id=operation_id))["status"] != "expired":
                assert answer["status"] == "awaiting_approval"

        approved = await anyio.to_thread.run_sync(command, "approve", operation_id, "--yes", "--reason=late")

    assert approved.code == 1
    assert "already expired" in approved.err
    assert not sim.charges
