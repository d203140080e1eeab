"""A screen at a simulator, a browser without a window, and what was put before it."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from html import unescape
from typing import Any

import anyio
import httpx
import pytest

from kros_mcp.browser import launch
from kros_mcp.browser.browser_screen import BrowserScreen, open_browser_screen
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE
from kros_mcp.operations.direct_change import plan
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, Operation, Request
from kros_mcp.runtime import open_runtime
from kros_mcp.simulator import SimNumber, Simulator, transport
from kros_mcp.tools.call import Runtime
from tests.support.talk import settings_for
from tests.support.upstream import item_of

AGENT = "Mozilla/5.0 (X11; Linux x86_64) a test"
OPENED = {"user-agent": AGENT, "sec-fetch-site": "none", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}
WITHIN = {"sec-fetch-site": "same-origin"}


class Ticking:
    """Seconds that pass only where a test lets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Launched:
    """What `launch` returns; a browser that has taken the address and ended."""

    def __init__(self) -> None:
        self.reaped = anyio.Event()

    def poll(self) -> int:
        self.reaped.set()
        return 0

    def wait(self) -> int:
        return 0


@dataclass
class Tab:
    """One browser, with cookies of its own; it follows redirects as browsers do."""

    http: httpx.AsyncClient
    origin: str = ""
    loaded: anyio.Event = field(default_factory=anyio.Event)
    page: httpx.Response | None = None

    @property
    def seen(self) -> httpx.Response:
        """The page that it shows."""
        assert self.page is not None
        return self.page

    async def open(self, address: str, **headers: str) -> httpx.Response:
        self.origin = re.sub(r"(http://[^/]+).*", r"\1", address)
        self.page = await self.http.get(address, headers=headers)
        self.loaded.set()
        return self.page

    async def again(self) -> httpx.Response:
        return await self.open(str(self.seen.url), **WITHIN)

    async def state(self) -> httpx.Response:
        """Load the frame of the page, as its browser does every two seconds."""
        return await self.http.get(f"{self.seen.url}/state", headers={**WITHIN, "sec-fetch-dest": "iframe"})

    def form(self) -> dict[str, str]:
        return hidden(self.seen.text)

    async def press(self, decision: str, *, origin: str | None = None, **form: str) -> httpx.Response:
        self.page = await self.http.post(
            str(self.seen.url),
            data={**self.form(), "decision": decision, **form},
            headers={**WITHIN, "origin": origin or self.origin},
        )
        return self.seen


def hidden(html: str) -> dict[str, str]:
    """Read the hidden fields of the form."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}


def text_of(response: httpx.Response) -> str:
    """Read a page as people do."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def living(sim: Simulator) -> list[SimNumber]:
    return [number for number in sim.owned.values() if number.status == "active"]


def own(sim: Simulator, count: int) -> None:
    """Let the account own so many living numbers."""
    while len(found := living(sim)) < count:
        number = replace(found[0], id=f"pn_{len(sim.owned)}", e164=f"+23480355502{len(found):02}", endpoint_id=None)
        sim.owned[number.id] = number


@dataclass
class ScreenBench:
    """A server's runtime with its screen, and the addresses that browsers were started at."""

    sim: Simulator
    runtime: Runtime
    screen: BrowserScreen
    clock: Ticking
    http: Callable[[], httpx.AsyncClient]
    launched: list[str] = field(default_factory=list)
    processes: list[Launched] = field(default_factory=list)
    come: Callable[[str], Any] | None = None
    """What a browser that is started does; None if it never fetches anything."""

    async def purchase(self, at: int = 0, **wanted: Any) -> Operation:
        item = item_of(self.sim, nth=at)
        request = Request(country=item.country, type=item.type, **wanted)
        return await self.put(await PURCHASE.propose(self.runtime.account, "local", request, item.e164))

    async def release(self) -> Operation:
        number = next(iter(self.sim.owned.values()))
        return await self.put(await RELEASE.propose(self.runtime.account, "local", Request(number_id=number.id), ""))

    async def configuration(self) -> Operation:
        request = Request(number_id=next(iter(self.sim.owned.values())).id, allow_outbound=False)
        [planned] = (await plan(self.runtime.account, [Wish(request)])).changes
        return await self.put(
            await CONFIGURATION.propose(self.runtime.account, "local", planned.request, planned.number)
        )

    async def purchases(self, count: int = 3, *, after: int = 0, **wanted: Any) -> Operation:
        """Let several be asked for in one question, those after the first so many."""
        items = [item_of(self.sim, nth=nth) for nth in range(after, after + count)]
        wishes = [Wish(Request(country=item.country, type=item.type, **wanted), item.e164) for item in items]
        return await self.put(await SEVERAL_PURCHASE.propose(self.runtime.account, "local", wishes))

    async def releases(self, count: int = 3, *, after: int = 0) -> Operation:
        """Own more numbers, and let several be released in one question."""
        own(self.sim, after + count)
        wishes = [Wish(Request(number_id=number.id)) for number in living(self.sim)[after:][:count]]
        return await self.put(await SEVERAL_RELEASE.propose(self.runtime.account, "local", wishes))

    async def configurations(self, *, after: int = 0) -> Operation:
        own(self.sim, after + 2)
        endpoints = list(self.sim.endpoints)
        wishes = [
            Wish(Request(number_id=number.id, endpoint_id=endpoint))
            for number, endpoint in zip(living(self.sim)[after:][:2], endpoints, strict=False)
        ]
        return await self.put(await SEVERAL_CHANGE.propose(self.runtime.account, "local", wishes))

    async def put(self, operation: Operation, channel: Channel = Channel.SCREEN) -> Operation:
        """Note where it is asked, as the tools do before they ask."""
        return await self.runtime.account.change(
            operation.id, lambda one, now: replace(one, channel=channel, asked_at=now)
        )

    async def stored(self, operation: Operation) -> Operation:
        found = await self.runtime.account.journal.get(operation.id)
        assert found is not None
        return found

    def tab(self) -> Tab:
        return Tab(self.http())

    async def shown(self, operation: Operation, *, client: str = "") -> Tab:
        """Show an operation, and open its page in a tab that was just started."""
        tab = self.tab()

        async def fetch(address: str) -> None:
            await tab.open(address)

        self.come = fetch
        assert await self.screen.show(operation, client=client)
        await tab.loaded.wait()
        self.clock.now += 1.0
        return tab


@asynccontextmanager
async def open_screen_bench(
    monkeypatch: pytest.MonkeyPatch,
    sim: Simulator | None = None,
    *,
    journal: Journal | None = None,
    clock: Callable[[], float] | None = None,
    **chosen: Any,
) -> AsyncIterator[ScreenBench]:
    """Open a screen whose browsers are started in this process; each is a task of the test."""
    sim, ticking = sim or Simulator(), Ticking()
    settings = settings_for(sim, currency="USD", **chosen)
    clients: list[httpx.AsyncClient] = []

    def client() -> httpx.AsyncClient:
        clients.append(httpx.AsyncClient(headers=OPENED, follow_redirects=True, trust_env=False))
        return clients[-1]

    monkeypatch.setenv("DISPLAY", ":0")
    async with anyio.create_task_group() as browsers:
        open_screen = partial(open_browser_screen, clock=clock or ticking)
        async with open_runtime(
            settings, transport=transport(sim), journal=journal, open_screen=open_screen
        ) as runtime:
            assert isinstance(runtime.screen, BrowserScreen)
            bench = ScreenBench(sim, runtime, runtime.screen, ticking, client)

            def start(address: str) -> Launched:
                bench.launched.append(address)
                if bench.come is not None:
                    anyio.from_thread.run_sync(browsers.start_soon, bench.come, address)
                bench.processes.append(Launched())
                return bench.processes[-1]

            monkeypatch.setattr(launch, "launch", start)
            monkeypatch.setattr(launch, "forget", lambda _: None)
            yield bench
        browsers.cancel_scope.cancel()
    for one in clients:
        await one.aclose()
