"""A desk: the real server over stdio as Claude Desktop starts it, a simulated KrosAI, a person and their browser."""

import json
import os
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import Tool

from kros_mcp.simulator import Simulator, open_server
from tests.support.hand import press
from tests.support.no_browser import loud_browser
from tests.support.processes import KROS_MCP

from .books import compare, read_books
from .judging import judge
from .person import Person, text_of
from .reading import ERROR
from .scenarios import SIP_PASSWORD, Scenario
from .story import Story, Way

ANSWER_SECONDS = "45"
"""What `kros-mcp install claude-desktop` sets."""
_LONGEST_CALL_SECONDS = 60.0
_LONGEST_PAGE = 10_000


class Desk:
    """What an agent works at: it calls tools and speaks to the person, and sees text alone."""

    def __init__(self, scenario: Scenario, sim: Simulator, client: Client, tools: list[Tool], story: Story) -> None:
        self.scenario = scenario
        self.tools = tools
        self.story = story
        self.person = Person(scenario.replies, scenario.agrees)
        self._sim, self._client = sim, client
        self._has_agreed = False
        self._free_since = time.monotonic()
        story.acts.append({"person": scenario.opening})

    @property
    def instructions(self) -> str:
        """What the server says of itself."""
        return self._client.instructions or ""

    def has(self, need: str) -> bool:
        """Whether there is a tool, `tool.argument`, or `tool.argument~words of its description`."""
        return not lacking(self.tools, (need,))

    async def call(self, name: str, /, **arguments: Any) -> str:
        """Call a tool, and return its text."""
        if arguments.get("confirmation_code"):
            self._once_agreed()
        began = time.monotonic()
        try:
            with anyio.fail_after(_LONGEST_CALL_SECONDS):
                result = await self._client.call_tool(name, arguments)
        except (MCPError, TimeoutError) as exc:
            text = f"[protocol error] {exc or type(exc).__name__}"
        else:
            text = "\n".join(block.text for block in result.content if block.type == "text")
            text = ERROR * bool(result.is_error) + text
        took, thought = round(time.monotonic() - began, 2), round(began - self._free_since, 2)
        self._free_since = time.monotonic()
        self.story.acts.append({"call": name, "args": arguments, "text": text, "seconds": took, "after": thought})
        return text

    def say(self, words: str) -> str:
        """Speak to the person, and return what they answer."""
        answer = self.person.hear(words)
        self.story.acts += [{"agent": words}, {"person": answer}]
        self._free_since = time.monotonic()
        return answer

    def aside(self, words: str) -> None:
        """Speak while acting: nobody can answer that before the act."""
        self.story.acts.append({"aside": words})

    def refuse(self, name: str, why: str) -> str:
        """Tell an agent that what it called is no call."""
        self.story.acts.append({"call": name, "args": {}, "text": why, "seconds": 0, "after": 0, "refused": True})
        return why

    def cut(self, why: str) -> None:
        """End a conversation that does not end."""
        self.story.acts.append({"cut": why})

    def decide(self, page: str) -> str:
        """Let the person read the page that asks, and return which button they press."""
        shown = text_of(page)
        pressed = self.person.decide(shown)
        self.story.acts.append({"page": shown[:_LONGEST_PAGE], "pressed": pressed})
        if pressed == "yes":
            self._once_agreed()
        return pressed

    def _once_agreed(self) -> None:
        """Let go wrong what goes wrong in this scenario just after the first yes."""
        for set_up in () if self._has_agreed else self.scenario.after_yes:
            set_up(self._sim)
        self._has_agreed = True


def lacking(tools: list[Tool], needs: tuple[str, ...]) -> list[str]:
    """Return which of the needs these tools do not meet."""
    known: dict[str, str] = {}
    for tool in tools:
        known[tool.name] = tool.description or ""
        properties: Mapping[str, Any] = tool.input_schema.get("properties", {})
        known |= {f"{tool.name}.{name}": str(schema.get("description", "")) for name, schema in properties.items()}
    wanted = [(need, *need.partition("~")) for need in needs]
    return [need for need, name, _, words in wanted if words not in known.get(name, "") or name not in known]


@asynccontextmanager
async def open_desk(scenario: Scenario, way: Way, folder: Path, *, agent: str) -> AsyncIterator[Desk]:
    """Start a scenario; on leaving, its books are compared and it is judged.

    Args:
        scenario: What it begins with.
        way: Where the person says yes: on a page in their browser, or in the conversation, by a code.
        folder: An absolute path for what it writes; its own.
        agent: Who plays.
    """
    sim = Simulator(**scenario.sim)
    for set_up in scenario.setup:
        set_up(sim)
    story = Story(scenario.name, agent, way, read_books(sim))
    log = folder / "server.log"
    async with open_server(sim) as url, open_browser(folder) as browser:
        settings = {
            "KROS_API_KEY": sim.api_key,
            "KROS_BASE_URL": url,
            "KROS_JOURNAL_URL": f"sqlite:///{folder}/journal.sqlite3",
            "KROS_ANSWER_WITHIN_SECONDS": ANSWER_SECONDS,
            "KROS_CONFIRMATION": "auto" if way == "page" else "conversation",
            "KROS_PROTECTED_NUMBERS": ",".join(scenario.protected),
            **scenario.settings,
        }
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), **settings}
        env |= {"BROWSER": browser.command} if way == "page" else loud_browser()
        started = StdioServerParameters(command=str(KROS_MCP), args=[], env=env)
        with log.open("w", encoding="utf-8") as errors:
            async with Client(stdio_client(started, errlog=errors), mode="legacy") as client:
                tools = list((await client.list_tools()).tools)
                desk = Desk(scenario, sim, client, tools, story)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(browser.show_pages, desk)
                    yield desk
                    tasks.cancel_scope.cancel()
        await sim.settled()
    conclude(scenario, sim, story)
    if "Traceback" in (told := log.read_text(encoding="utf-8", errors="replace")):
        story.worse.append(f"the server's log has a traceback: {told[-300:]}")


def conclude(scenario: Scenario, sim: Simulator, story: Story) -> None:
    """Compare the books, and judge how it went."""
    now = read_books(sim)
    story.changes_sent = sum(seen.method == "PATCH" for seen in sim.requests)
    story.difference = compare(story.before, now)
    judge(scenario, story)
    story.worse += ["a secret was told"] * any(secret in story.read for secret in (sim.api_key, SIP_PASSWORD))


class Browser:
    """A browser that tells this program the addresses, through a named pipe: no interpreter starts for a page."""

    def __init__(self, command: str, pipe: int) -> None:
        self.command = command
        self._pipe = pipe

    async def show_pages(self, desk: Desk) -> None:
        """Show the person every page that is opened, until cancelled."""
        rest = b""
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(self._pipe)
                *addresses, rest = (rest + os.read(self._pipe, 65_536)).split(b"\n")
                for address in addresses:
                    tasks.start_soon(self._show, desk, address.decode())

    async def _show(self, desk: Desk, address: str) -> None:
        with suppress(OSError):  # the question may have ended, and the server too
            await anyio.to_thread.run_sync(press, address, desk.decide, abandon_on_cancel=True)


@asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Browser]:
    """Make what BROWSER may name."""
    pipe, program = folder / "addresses", folder / "browser"
    os.mkfifo(pipe)
    program.write_text(f'#!/bin/sh\necho "$1" > {shlex.quote(str(pipe))}\n', encoding="utf-8")
    program.chmod(0o700)
    opened = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # also for writing, or it would end with its first writer
    try:
        yield Browser(f"{program} %s", opened)
    finally:
        os.close(opened)


def published(desk: Desk) -> str:
    """Return what a model is shown before the first word: the instructions and the tools."""
    tools = [
        f"- {tool.name}: {tool.description}\n  input: {json.dumps(tool.input_schema, ensure_ascii=False)}"
        for tool in desk.tools
    ]
    return "\n".join(["INSTRUCTIONS OF THE SERVER", desk.instructions, "", "TOOLS", *tools])
