"""Operations put straight into a journal, and a server with a client in between."""

import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Action, Channel, Operation, Outcome, Quote, Request, Settlement, new_operation_id
from kros_mcp.settings import load_settings
from tests.support.no_browser import loud_browser

E164 = "+2342015550100"
SIP_PASSWORD = "sip-canary-7731"  # noqa: S105 - invented, to be searched for in every output

NARROW_KEY = "kros_test_narrow_canary"


@dataclass(frozen=True)
class Ran:
    """A command as it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


def an_operation(**changes: Any) -> Operation:
    """A purchase that waits for an approver, of some account."""
    now = time.time()
    return replace(
        Operation(
            id=new_operation_id(),
            account="some account",
            principal="local",
            action=Action.BUY,
            e164=E164,
            request=Request(inventory_id="inv_1", country="NG", type="local"),
            quote=Quote(E164, "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500),
            created_at=now,
            expires_at=now + 600,
            channel=Channel.APPROVER,
        ),
        **changes,
    )


def put(journal_url: str, operation: Operation, *then: Move, own: bool = False) -> Operation:
    """Store an operation; `own` gives it to the account that the environment names."""

    async def store() -> Operation:
        async with open_journal(journal_url) as journal:
            account = load_settings().account(journal.secret) if own else operation.account
            stored = await journal.propose(replace(operation, account=account))
            for move in then:
                stored = await journal.change(stored.id, move)
            return stored

    return anyio.run(store)


def sent(cents: int = 500, *, by: str = "somebody") -> tuple[Move, ...]:
    """Claimed, and on its way to KrosAI."""
    return (partial(moves.claim, reserved_cents=cents, by=by), partial(moves.mark_sent, token=1))


def settled(state: Outcome, *, ago: float = 0.0, **changes: Any) -> tuple[Move, ...]:
    """Sent and ended, that many seconds ago."""

    def age(operation: Operation, now: float) -> Operation:
        ended = None if operation.settled_at is None else now - ago
        return replace(operation, claimed_at=now - ago, sent_at=now - ago, settled_at=ended)

    def end(operation: Operation, now: float) -> Operation:
        return replace(moves.settle(operation, now, Settlement(state), token=1), **changes)

    return (*sent(), end, age)


def read(journal_url: str, operation_id: str) -> Operation:
    """Read an operation back."""

    async def load() -> Operation | None:
        async with open_journal(journal_url) as journal:
            return await journal.get(operation_id)

    found = anyio.run(load)
    assert found is not None
    return found


@asynccontextmanager
async def open_session(**settings: str) -> AsyncIterator[Client]:
    """A client without prompts and a server process with exactly these settings."""
    own = {"KROS_CONFIRMATION": "conversation", **loud_browser(), **settings, "NO_PROXY": "127.0.0.1"}
    server = StdioServerParameters(command=sys.executable, args=["-m", "kros_mcp"], env=own)
    async with Client(server) as client:
        yield client


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool for its structured content."""
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


async def run_elsewhere(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command in a process of its own: its exit code and all that it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("KROS_")}
    process = await anyio.run_process(
        [sys.executable, "-m", "kros_mcp", *arguments], check=False, env={**inherited, **settings}
    )
    return process.returncode, (process.stdout + process.stderr).decode()
