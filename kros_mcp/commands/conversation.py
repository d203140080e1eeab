"""The demo's agent and person: a real MCP client that talks to the real server over stdio."""

import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ElicitRequestParams, ElicitResult

from kros_mcp.commands.stage import Stage, amount

CALL_SECONDS = 30.0


@dataclass
class Person:
    """Answers the client's prompts as the story wants it; a prompt without an answer is declined."""

    stage: Stage
    answers: deque[dict[str, str | int | float | bool | list[str] | None]] = field(default_factory=deque)

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Read the prompt and choose."""
        del context
        if not self.answers:
            await self.stage.prompt(params.message, "closes the prompt")
            return ElicitResult(action="decline")
        content = self.answers.popleft()
        await self.stage.prompt(params.message, _chosen(content))
        return ElicitResult(action="accept", content=content)


@dataclass(frozen=True)
class Conversation:
    """One client with one server process."""

    stage: Stage
    client: Client
    person: Person

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a tool where people can see it, and answer its structured content."""
        await self.stage.call(tool, arguments)
        answer = await self.ask(tool, **arguments)
        await self.stage.answer(answer["summary"], facts(answer))
        return answer

    async def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a tool out of sight."""
        result = await self.client.call_tool(tool, arguments, read_timeout_seconds=CALL_SECONDS)
        return dict(result.structured_content or {"summary": "The tool answered without structured content."})


@asynccontextmanager
async def open_conversation(
    stage: Stage, settings: Mapping[str, str], log: TextIO, *, prompts: bool
) -> AsyncIterator[Conversation]:
    """Start a server process and connect to it.

    Args:
        stage: Where it is shown.
        settings: The server's KROS_* variables, and no others: the SDK passes on only a few harmless ones.
        log: Takes what the server writes to stderr.
        prompts: Whether this client can show a person a prompt.
    """
    person = Person(stage)
    # Where the package is found by PYTHONPATH, the server must find it too; no proxy leads to loopback.
    needed = {"NO_PROXY": "127.0.0.1"} | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    server = StdioServerParameters(command=sys.executable, args=["-m", "kros_mcp"], env={**needed, **settings})
    transport = stdio_client(server, errlog=log)
    async with Client(transport, elicitation_callback=person.answer if prompts else None) as client:
        yield Conversation(stage, client, person)


def facts(answer: Mapping[str, Any]) -> list[str]:
    """Pick the few facts of an answer that a reader wants beside its sentence."""
    if "code" in answer:
        return [f"{answer['code']}; charged: {answer['charged']}, changed: {answer['changed']}"]
    if "endpoints" in answer:
        return [f"{one['name']} ({one['type']}, {one['status']}): {one['endpoint_id']}" for one in answer["endpoints"]]
    if "numbers" in answer:
        return [
            f"{one['e164']}, {one['type']}: {amount(one['due_now_cents'])} now, "
            f"{amount(one['monthly_cents'])} every month"
            for one in answer["numbers"]
        ]
    if "daily_budget_cents" in answer:
        caps = [amount(answer[name]) for name in ("max_purchase_cents", "daily_budget_cents", "daily_room_cents")]
        return ["at most {} for one purchase and {} in 24 hours; {} left".format(*caps)]
    known = [f"{answer['status']}; charged: {answer['charged']}, changed: {answer['changed']}"]
    if answer.get("operation_id"):
        known.append(answer["operation_id"])
    return ["; ".join(known)]


def _chosen(content: Mapping[str, object]) -> str:
    digits = content.get("last_four_digits")
    return f"{content['decision']}" + (f", and types {digits}" if digits else "")
