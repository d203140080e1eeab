"""`python -m tests.checks.pictures`: make the pictures of a conversation that README shows, by having it.

A scripted agent talks to the real server over stdio, which asks on a page in Chromium; KrosAI is simulated. The agent
says the first sentence of each answer. Each picture is made in light and in dark, and that of the page also as narrow
as a phone.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
from jinja2 import Environment, FileSystemLoader
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import Implementation
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from kros_mcp.simulator import Simulator, open_server
from tests.support.hand import as_browser
from tests.support.processes import KROS_MCP

PICTURES = Path(__file__).parents[3] / "docs"
_CHAT, _PAGE, _PHONE = 400, 620, 400
"""How wide the windows are, in CSS pixels; the page has two columns from 601 on."""
_HEIGHT = 900
_SCALE = 1.5
_ASKED_SECONDS = 30
_AGENT = Implementation(name="a scripted agent", version="1")
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@dataclass
class Chat:
    """A conversation as its person sees it: what was said, and which tools were called."""

    client: Client
    lines: list[tuple[str, str]] = field(default_factory=list)

    def person(self, words: str) -> None:
        """Let the person say something."""
        self.lines.append(("person", words))

    async def agent(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Let the agent call a tool, and say the sentence of its answer."""
        answer = await self.client.call_tool(tool, arguments)
        told = answer.structured_content or {}
        if answer.is_error or not told:
            raise RuntimeError(f"{tool} failed: {told}")
        self.lines += [("call", tool), ("agent", told["summary"])]
        return dict(told)


async def have(client: Client, pipe: int, browser: Browser, sim: Simulator, folder: Path) -> Chat:
    """Have the conversation, and keep pictures of the page on which the person says yes."""
    chat = Chat(client)
    chat.person("We open in Lagos next week. Find us a number there.")
    found = await chat.agent("search_phone_numbers", country="NG", type="local", area_code="201")
    number = found["numbers"][0]
    chat.person("Take that one, and send its calls to the support agent.")
    context = await browser.new_context(
        viewport={"width": _PAGE, "height": _HEIGHT}, device_scale_factor=_SCALE, java_script_enabled=False
    )
    page = await context.new_page()
    wish = {"inventory_id": number["inventory_id"], "endpoint_id": "Support agent"}
    with anyio.fail_after(_ASKED_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_open_what_is_told, pipe, page)
            asked = await chat.agent("buy_phone_number", **wish)
    if asked["status"] != "awaiting_approval" or sim.charges:
        raise RuntimeError(f"nobody was asked on a page: {asked}")
    buy = page.get_by_role("button", name="Buy it")
    await expect(buy).to_be_visible()
    await page.wait_for_timeout(1_100)  # for as long a yes is dead, and looks so
    question = page.get_by_role("article")
    await _keep(page, question, folder / "conversation-yes")
    await page.set_viewport_size({"width": _PHONE, "height": _HEIGHT})
    await _keep(page, question, folder / "conversation-yes-narrow")
    await buy.click()
    chat.lines.append(("yes", "The person presses “Buy it” in the browser"))
    await expect(page.get_by_role("heading", name="Done")).to_be_visible()
    bought = await chat.agent("get_operation", operation_id=asked["operation_id"])
    charged = [(charge.e164, charge.cents) for charge in sim.charges]
    if bought["status"] != "done" or charged != [(number["e164"], number["due_now_cents"])]:
        raise RuntimeError(f"KrosAI charged {charged}, and the server says {bought['summary']}")
    await context.close()
    return chat


async def _open_what_is_told(pipe: int, page: Page) -> None:
    await anyio.wait_readable(pipe)
    await page.goto(os.read(pipe, 65_536).decode().strip())


async def _keep(page: Page, shown: Locator, path: Path) -> None:
    """Keep a picture of a part of a page, in both schemes."""
    for scheme in _SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        await shown.screenshot(path=path.with_name(f"{path.name}-{scheme}.png"), animations="disabled")


async def draw(chat: Chat, browser: Browser, folder: Path) -> None:
    """Draw the chat and keep its pictures."""
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = await browser.new_page(viewport={"width": _CHAT, "height": _HEIGHT}, device_scale_factor=_SCALE)
    await page.set_content(templates.get_template("chat.html").render(lines=chat.lines))
    await _keep(page, page.get_by_role("main"), folder / "conversation")


@asynccontextmanager
async def open_client(sim: Simulator, folder: Path, addresses: Path) -> AsyncIterator[Client]:
    """Start the server as a client without prompts does, on a machine whose browser this program is."""
    async with open_server(sim) as url:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BROWSER": as_browser(),
            "HAND": "tell",
            "HAND_FILE": str(addresses),
            "KROS_API_KEY": sim.api_key,
            "KROS_BASE_URL": url,
            "KROS_CURRENCY": "USD",
            "KROS_JOURNAL_URL": f"sqlite:///{folder}/journal.sqlite3",
        }
        with (folder / "server.log").open("w", encoding="utf-8") as log:
            started = stdio_client(StdioServerParameters(command=str(KROS_MCP), args=[], env=env), errlog=log)
            async with Client(started, client_info=_AGENT) as client:
                yield client


async def make(chromium: str, pictures: Path, folder: Path) -> None:
    """Have the conversation once, and keep its pictures."""
    addresses = folder / "addresses"
    os.mkfifo(addresses)
    pipe = os.open(addresses, os.O_RDWR | os.O_NONBLOCK)  # also for writing, or it would end with its first writer
    sim = Simulator("reference")
    async with async_playwright() as playwright, open_client(sim, folder, addresses) as client:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        chat = await have(client, pipe, browser, sim, pictures)
        await draw(chat, browser, pictures)
        await browser.close()
    os.close(pipe)
    for kind, words in chat.lines:
        print(f"{kind:6}  {words}")
    print(f"pictures: {pictures}")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.checks.pictures", description=__doc__.split("\n\n")[1])
    parser.add_argument("--pictures", type=Path, default=PICTURES, metavar="DIR", help="where to (docs/)")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        parser.error("the page is opened in Chromium: install it with apt-get install chromium")
    given.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kros-pictures-") as folder:
        anyio.run(make, chromium, given.pictures, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
