"""Debian's Chromium before a page that asks: one browser for a test, tabs without scripts, and pictures kept."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from screen_bench import ScreenBench

from kros_mcp.operations.model import Operation

PICTURES = Path(__file__).parent.parent.parent / "pictures"
NARROW, PHONE, DESKTOP = (320, 640), (390, 844), (1280, 900)
Scheme = Literal["light", "dark"]
ATTACKER = "attacker.example"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {ATTACKER} 127.0.0.1",
)


@asynccontextmanager
async def open_chromium() -> AsyncIterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.fail("The page is tested in Chromium: install it with apt-get install chromium.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        yield browser
        await browser.close()


async def new_window(
    browser: Browser, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light", *, scripts: bool = False
) -> BrowserContext:
    """A person's browser, with cookies of its own."""
    context = await browser.new_context(
        java_script_enabled=scripts, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    context.set_default_timeout(10_000)
    return context


async def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    PICTURES.mkdir(exist_ok=True)
    await page.screenshot(path=PICTURES / f"question-{name}.png", full_page=True, animations="allow")


@dataclass
class Person:
    """Somebody before a browser, whose tabs the screen opens."""

    bench: ScreenBench
    window: BrowserContext

    async def is_shown(self, operation: Operation, *, client: str = "Claude") -> Page:
        """Let the screen show an operation, in a new tab."""
        tabs: list[Page] = []
        loaded = anyio.Event()

        async def come(address: str) -> None:
            tabs.append(await self.window.new_page())
            await tabs[0].goto(address)
            loaded.set()

        self.bench.come = come
        assert await self.bench.screen.show(operation, client=client)
        await loaded.wait()
        return tabs[0]
