"""The desks of the people whom a server asks on a page: a browser of each, in which they read, choose and press.

A server starts `tests/support/hand.py` as its browser, which tells the address. Here a tab opens it as a browser does,
keeps it alive, and stays with it until its question has ended and none follows in it.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from html import unescape
from pathlib import Path

import anyio
import httpx
from anyio.abc import TaskGroup

from tests.support.hand import DEAD_SECONDS, as_browser

from .events import Events
from .people import CLOSED, IGNORED, SILENT, TWICE, YES, Person, Prompt, read_page, typed

LOOK_SECONDS = 0.1
LOADED_SECONDS = 8.0
"""How long a browser waits for a page; less than a server may be frozen."""
CLICK_SECONDS = 0.3
"""How soon a person goes on to the next question."""
MOST_PAGES = 40
_OPENED = {"user-agent": "Mozilla/5.0 (a desk)", "sec-fetch-site": "none", "sec-fetch-dest": "document"}
_WITHIN = {"sec-fetch-site": "same-origin"}
_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')
_REFRESH = re.compile(r'<meta http-equiv="refresh" content="(\d+); url=([^"]+)"')


class Desk:
    """Where the person of one client sits; servers that one client has after the other open pages here.

    Args:
        addresses: A file of its own, in which it is told of pages.
        person: Reads and chooses.
        events: Where it is noted.
    """

    def __init__(self, addresses: Path, person: Person, events: Events) -> None:
        self._addresses, self._person, self._events = addresses, person, events
        addresses.touch()

    @property
    def settings(self) -> Mapping[str, str]:
        """What a server is told, so that its pages are opened here."""
        return {"BROWSER": as_browser(), "HAND": "tell", "HAND_FILE": str(self._addresses)}

    async def live(self) -> None:
        """Open every page that a server wants opened. Until cancelled."""
        async with anyio.create_task_group() as tabs:
            async for address in self._told():
                self._open(tabs, address)

    async def _told(self) -> AsyncIterator[str]:
        with self._addresses.open(encoding="ascii") as told:
            line = ""
            while True:
                line += told.readline()
                if line.endswith("\n"):
                    yield line.strip()
                    line = ""
                else:
                    await anyio.sleep(LOOK_SECONDS)

    def _open(self, tabs: TaskGroup, address: str) -> None:
        if self._person.choose_to_open() == IGNORED:
            self._events.note("page left unopened", by=self._person.name)
        else:
            tabs.start_soon(self._stay, address)

    async def _stay(self, address: str) -> None:
        """Be a tab, from an address that opens a question to the page that asks for nothing more."""
        try:
            async with _open_browser() as http:
                await Tab(http, self._person, self._events).live(address)
        except httpx.HTTPError as exc:  # its server was killed, or is frozen for longer than anybody waits
            self._events.note("page gone", by=self._person.name, error=type(exc).__name__)


class Tab:
    """One tab, with the cookies of a browser."""

    def __init__(self, http: httpx.AsyncClient, person: Person, events: Events) -> None:
        self._http, self._person, self._events = http, person, events

    async def live(self, address: str) -> None:
        """Answer what is asked in it, question by question."""
        page = await self._http.get(address)
        for _ in range(MOST_PAGES):
            if _HIDDEN.search(page.text):
                answered = await self._read(page, address)
                if answered is None:
                    return
                page = answered
                continue
            onward = _REFRESH.search(page.text)
            if onward is None:
                return
            follows = "/open/" in onward[2]
            await anyio.sleep(CLICK_SECONDS if follows else float(onward[1]))
            address = str(page.url.join(onward[2]))
            page = await self._http.get(address, headers=_WITHIN)

    async def _read(self, page: httpx.Response, address: str) -> httpx.Response | None:
        """Read a question and answer it; the page that comes of it, or None where the tab is closed."""
        text = " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())
        try:
            question = read_page(text)
        except ValueError:
            self._events.trouble("A page does not say what it is about.", text=text)
            return None
        choice = self._person.begin_to_read(question)
        await self._load_frame(page)
        await anyio.sleep(DEAD_SECONDS)
        await self._person.think()
        if choice == CLOSED:
            return None
        if choice == SILENT:
            return await self._leave_open(page)
        if choice == TWICE:
            await self._open_twice(address)
            return await self._http.get(page.url, headers=_WITHIN)
        return await self._press(page, question, choice)

    async def _press(self, page: httpx.Response, question: Prompt, choice: str) -> httpx.Response:
        form = dict(_HIDDEN.findall(page.text))
        if question.releases:
            form["digits"] = typed(question, choice)
            form["count"] = str(question.count)
        form["decision"] = self._person.decide_on_page(question, choice)
        sent = {**_WITHIN, "origin": str(page.url.join("/")).rstrip("/")}
        answered = await self._http.post(page.url, data=form, headers=sent)
        if form["decision"] == YES and _HIDDEN.search(answered.text):
            self._events.note("yes not taken", operation_id=question.operation_id, by=self._person.name)
        return answered

    async def _load_frame(self, page: httpx.Response) -> None:
        """Load the frame in which a page tells how long it waits, and what waits beside it."""
        await self._http.get(f"{page.url}/state", headers={**_WITHIN, "sec-fetch-dest": "iframe"})

    async def _leave_open(self, page: httpx.Response) -> httpx.Response:
        """Go away for some time, and look at it again then."""
        for _ in range(self._person.choose_absence()):
            await anyio.sleep(2)
            await self._load_frame(page)
        return await self._http.get(page.url, headers=_WITHIN)

    async def _open_twice(self, address: str) -> None:
        """Open the address in another browser, as somebody does who has seen it; the question is over by that."""
        async with _open_browser() as other:
            with suppress(httpx.HTTPError):
                opened = await other.get(address)
                if _HIDDEN.search(opened.text):
                    self._events.trouble("An address opened a page twice.", by=self._person.name)


def _open_browser() -> httpx.AsyncClient:
    return httpx.AsyncClient(headers=_OPENED, timeout=LOADED_SECONDS, follow_redirects=True, trust_env=False)
