"""The demo's agent and person: a real MCP client that talks to the real server over stdio, and how that is shown."""

import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import anyio
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ElicitRequestParams, ElicitResult

from kros_mcp.commands.console import prose_width, say, say_labelled, working
from kros_mcp.money import show_again

CALL_SECONDS = 30.0
_LABEL_COLUMNS = 11


class ClaimError(Exception):
    """Something that the demo says is not so at the simulator."""


class Stage:
    """Shows a conversation line by line: who speaks, what is called, what is checked.

    Args:
        pace_seconds: How long to rest after each step.
    """

    def __init__(self, pace_seconds: float = 0.0) -> None:
        self._pace_seconds = pace_seconds

    async def scene(self, title: str, about: str) -> None:
        """Begin a scene."""
        print()
        say(f"== {title} ".ljust(prose_width(), "="), "bold", always_folds=True)
        say(about, "dim", always_folds=True)
        print()
        await self._rest()

    async def person(self, text: str) -> None:
        """Show what the person says."""
        await self._line("person", text, "cyan")

    async def agent(self, text: str) -> None:
        """Show what the agent says."""
        await self._line("agent", text, "blue")

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Show a tool call; a confirmation code is for the server alone, and not shown."""
        shown = {**arguments}
        if shown.get("confirmation_code"):
            shown["confirmation_code"] = "(the one from the answer)"
        given = ", ".join(f"{name}={value}" for name, value in shown.items())
        await self._line("  call", f"{tool}({given})", "yellow")

    async def answer(self, sentence: str, facts: Sequence[str]) -> None:
        """Show a tool's answer: the sentence to be spoken, and the facts beside it."""
        await self._line("  answer", f'"{sentence}"')
        for fact in facts:
            say_labelled("", fact, columns=_LABEL_COLUMNS, style="dim", always_folds=True)

    async def prompt(self, text: str, choice: str) -> None:
        """Show the prompt that the client puts to the person, and what the person chooses."""
        border = "." * (prose_width() - _LABEL_COLUMNS)
        say_labelled("  prompt", border, columns=_LABEL_COLUMNS, always_folds=True)
        for line in text.splitlines():
            say_labelled(": ".rjust(_LABEL_COLUMNS + 2), line, columns=_LABEL_COLUMNS + 2, always_folds=True)
        say_labelled("", border, columns=_LABEL_COLUMNS, always_folds=True)
        await self._line("  choice", choice, "cyan")

    async def krosai(self, text: str) -> None:
        """Show what KrosAI does at this moment, unseen by person and agent."""
        await self._line("  KrosAI", text, "red")

    async def claim(self, text: str, *, holds: bool) -> None:
        """Show a claim that has been checked.

        Raises:
            ClaimError: It does not hold.
        """
        if not holds:
            raise ClaimError(text)
        await self._line("  checked", text, "green")

    async def _line(self, label: str, text: str, colour: str = "") -> None:
        say_labelled(label, text, columns=_LABEL_COLUMNS, label_style=colour, always_folds=True)
        await self._rest()

    async def _rest(self) -> None:
        if self._pace_seconds > 0:
            await anyio.sleep(self._pace_seconds)


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
        """Call a tool where people can see it, and return its structured content."""
        await self.stage.call(tool, arguments)
        answer = await self.ask(tool, **arguments)
        await self.stage.answer(answer["summary"], facts(answer))
        return answer

    async def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a tool out of sight."""
        with working("the server works on it"):
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
    async with AsyncExitStack() as stack:
        with working("a server starts"):
            opening = Client(transport, elicitation_callback=person.answer if prompts else None)
            client = await stack.enter_async_context(opening)
        yield Conversation(stage, client, person)


def facts(answer: Mapping[str, Any]) -> list[str]:
    """Return the few facts of an answer that a reader wants beside its sentence."""
    if "code" in answer:
        return [f"{answer['code']}; charged: {answer['charged']}, changed: {answer['changed']}"]
    if "endpoints" in answer:
        return [f"{one['name']} ({one['type']}, {one['status']}): {one['endpoint_id']}" for one in answer["endpoints"]]
    if "numbers" in answer:
        return [
            f"{one['e164']}, {one['type']}: {show_again(one['due_now_cents'])} now, "
            f"{show_again(one['monthly_cents'])} every month"
            for one in answer["numbers"]
        ]
    if "daily_budget_cents" in answer:
        caps = [show_again(answer[name]) for name in ("max_purchase_cents", "daily_budget_cents", "daily_room_cents")]
        return ["at most {} for one purchase and {} in 24 hours; {} left".format(*caps)]
    known = [f"{answer['status']}; charged: {answer['charged']}, changed: {answer['changed']}"]
    if answer.get("operation_id"):
        known.append(answer["operation_id"])
    return ["; ".join(known)]


def _chosen(content: Mapping[str, object]) -> str:
    digits = content.get("last_four_digits")
    return f"{content['decision']}" + (f", and types {digits}" if digits else "")
