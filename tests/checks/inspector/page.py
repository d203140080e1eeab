"""The story told on the Inspector's page, with a person's own hands: the forms, the prompts, the pictures."""

import re
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import FloatRect, Locator, Page, expect

from kros_mcp.simulator import Simulator
from tests.checks.clients.environments import uv

from .places import Era, open_place
from .story import TOOLS
from .walk import Steps, Walk, must, walk
from .web import SERVER, WINDOW, open_page, open_web

STEP_SECONDS = 90
REVISIONS = {"modern": "MCP 2026-07-28", "legacy": "MCP 2025-11-25"}
_OFFER = re.compile(r"\d\. (\+[0-9]+); ([^\s;]+)")
_CLOCK = re.compile(r"[0-9]:[0-9]{2}")
_MARGIN = 20
_TALLEST = 690.0
# The documents' pictures do without the button that copies, for which Debian's fonts have no glyph, and without the
# notice of progress that lies over the result for some seconds.
_TIDY = "button[aria-label=Copy], [class*=mantine-Notification] { visibility: hidden }"


@dataclass(frozen=True)
class Showing:
    """What is shown with, and where its pictures go."""

    chromium: str
    pictures: Path


async def show(showing: Showing, era: Era, folder: Path) -> tuple[Walk, list[str]]:
    """Tell the story on the page; gives how far it got, and the names of its steps."""
    _clear(showing.pictures, era)
    async with (
        open_place("stdio", folder) as place,
        open_web(place.settings, era, folder) as address,
        open_page(showing.chromium) as page,
    ):
        story = PageStory(page, place.sim, era, showing.pictures)
        steps = story.steps(address)
        walked = await walk(steps, seconds=STEP_SECONDS)
        if walked.failed:
            await story.keep("failed")
    return walked, [name for name, _ in steps]


async def show_documented(showing: Showing, folder: Path) -> None:
    """Keep the pictures of the documents: what the command there shows, from the connection to the purchase."""
    server = (uv(), "run", "kros-mcp", "--simulator")
    async with (
        open_web({}, "legacy", folder, name="uv", server=server) as address,
        open_page(showing.chromium) as page,
    ):
        story = PageStory(page, Simulator(), "legacy", showing.pictures)
        await story.connect(address, "uv")
        await story.documented()


def _clear(pictures: Path, era: Era) -> None:
    """Take away what an earlier run has left, whose steps may have been others."""
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob(f"inspector-{era}-*.png"):
        old.unlink()


class PageStory:
    """A page on which a number is found, bought and released, and another declined."""

    def __init__(self, page: Page, sim: Simulator, era: Era, pictures: Path) -> None:
        self._page, self._sim, self._era, self._pictures = page, sim, era, pictures
        self._kept = 0
        self._offers: list[tuple[str, str]] = []

    def steps(self, address: str) -> Steps:
        async def connect() -> None:
            await self.connect(address)

        return (
            ("connect", connect),
            ("the tools, without a warning", self.tools),
            ("a prompt, its country completed", self.prompt),
            ("a resource subscribed to", self.subscribe),
            ("search", self.search),
            ("the confirmation form appears", self.ask),
            ("the form submitted, the number bought", self.buy),
            ("the resource told of it", self.notified),
            ("another purchase declined", self.decline),
            ("release with the last four digits", self.release),
        )

    async def connect(self, address: str, server: str = SERVER) -> None:
        await self._page.goto(address)
        await self._page.get_by_label(f'Connect or disconnect "{server}"').click(force=True)
        await expect(self._page.get_by_text(REVISIONS[self._era])).to_be_visible()
        await self._page.get_by_role("button", name="Close monitoring sidebar").click()
        await self.keep("connected")

    async def tools(self) -> None:
        await self._go_to("Tools")
        await expect(self._page.get_by_role("heading", name=f"Tools ({len(TOOLS)})")).to_be_visible()
        await expect(self._page.get_by_role("button", name=TOOLS[-1])).to_be_visible()
        await expect(self._page.get_by_label("Schema portability")).to_have_count(0)
        await self.keep("tools")

    async def prompt(self) -> None:
        await self._go_to("Prompts")
        await self._page.get_by_role("button", name="Set up a number for an agent").click()
        await self._page.get_by_role("textbox", name="country").press_sequentially("N")
        await self._page.get_by_role("option", name="NG").click()
        await self._page.get_by_role("button", name="Get Prompt").click()
        await expect(self._page.get_by_text("I need one phone number in NG")).to_be_visible()
        await self.keep("prompt")

    async def subscribe(self) -> None:
        await self._go_to("Resources")
        await self._page.get_by_role("button", name="Spending").click()
        await self._page.get_by_role("button", name="Subscribe", exact=True).click()
        await expect(self._subscribed()).to_be_visible()
        await expect(self._subscribed()).not_to_contain_text(_CLOCK)
        await self.keep("resource")

    async def search(self) -> None:
        await self._go_to("Tools")
        await self._fill_in("search_phone_numbers", country="NG", type="local")
        text = await self._run("for sale in Nigeria, among")
        await self.keep("found")
        self._offers = [(inventory_id, e164) for e164, inventory_id in _OFFER.findall(text)]
        for_sale = {(item.id, item.e164) for item in self._sim.inventory.values()}
        must(len(self._offers) == 10, f"{len(self._offers)} numbers are shown, not 10")
        must(set(self._offers) <= for_sale, "a number is shown that is not for sale")

    async def documented(self) -> None:
        await self._go_to("Tools")
        await self._fill_in("search_phone_numbers", country="NG", type="local")
        found = _OFFER.findall(await self._run("for sale in Nigeria, among"))
        await self._fill_in("buy_phone_number", inventory_id=found[0][1])
        form = await self._asked()
        await self._choose(form, "buy")
        await self._keep_for_documents("inspector-confirmation", await _box(form.get_by_role("banner").locator("..")))
        await self._submit("is bought")
        await self._keep_for_documents("inspector-result", await self._result_box())

    async def ask(self) -> None:
        inventory_id, e164 = self._offers[0]
        await self._fill_in("buy_phone_number", inventory_id=inventory_id)
        await self.keep("wish")
        form = await self._asked()
        await expect(form).to_contain_text(e164)
        await expect(form).to_contain_text("Then every month: 5.00")
        await expect(form.get_by_role("button", name="Submit")).to_be_disabled()  # nothing is chosen for anybody
        await self.keep("form")
        await self._choose(form, "buy")
        await self.keep("form-filled-in")
        must(not self._sim.charges, "the account was charged before anybody said yes")

    async def buy(self) -> None:
        text = await self._submit("is bought")
        await self.keep("result")
        must("status: done" in text and "charged: yes" in text, f"the result says {text}")
        self._charged_once()

    async def notified(self) -> None:
        await self._go_to("Resources")
        await expect(self._subscribed()).to_contain_text(_CLOCK)  # when it was told of a change
        await self._page.get_by_role("button", name="Refresh").click()
        await expect(self._page.locator("main")).to_contain_text('"spent_24h_cents": 500')
        await self.keep("resource-told")

    async def decline(self) -> None:
        await self._go_to("Tools")
        await self._fill_in("buy_phone_number", inventory_id=self._offers[1][0])
        form = await self._asked()
        await self._page.wait_for_timeout(2_100)  # as a person reads; sooner, the server takes it that nobody has
        await form.get_by_role("button", name="Decline").click()
        text = await self._result("was declined")
        await self.keep("declined")
        must("charged: no" in text, f"the result says {text}")
        self._charged_once()

    async def release(self) -> None:
        e164 = self._offers[0][1]
        number = self._sim.owned_by_e164(e164)
        await self._fill_in("release_phone_number", number_id=e164)
        form = await self._asked()
        await self._choose(form, "release")
        await form.get_by_role("textbox", name="Last four digits").fill(e164[-4:])
        await self.keep("release-form")
        must(number and number.status == "active", "it was released before anybody said yes")
        await self._submit("is released")
        await self.keep("released")
        must(number and number.status == "inactive", f"at KrosAI it is {number and number.status}")
        self._charged_once()

    async def keep(self, name: str) -> None:
        """Keep a picture of the window."""
        self._kept += 1
        await self._page.screenshot(
            path=self._pictures / f"inspector-{self._era}-{self._kept:02}-{name}.png", animations="disabled"
        )

    async def _keep_for_documents(self, name: str, box: FloatRect) -> None:
        await self._page.screenshot(path=self._pictures / f"{name}.png", animations="disabled", clip=box, style=_TIDY)

    async def _go_to(self, tab: str) -> None:
        await self._page.get_by_role("radiogroup").get_by_text(tab, exact=True).click()

    def _subscribed(self) -> Locator:
        return self._page.get_by_role("region", name="Subscriptions (1)")

    async def _fill_in(self, tool: str, **arguments: str) -> None:
        """Choose a tool and fill in its form."""
        choice = self._page.get_by_role("button", name=tool)
        await expect(choice).to_be_visible()
        results = self._page.get_by_role("button", name="Close results")
        if await results.count():  # they stand where the form of their tool does
            await results.click()
        await choice.click()
        for name, value in arguments.items():
            await self._page.get_by_role("textbox", name=name, exact=True).fill(value)

    async def _execute(self) -> None:
        await self._page.get_by_role("button", name="Execute Tool").click()

    async def _run(self, words: str) -> str:
        await self._execute()
        return await self._result(words)

    async def _asked(self) -> Locator:
        """Run the tool; gives the form that the page then shows to the person."""
        await self._execute()
        form = self._page.get_by_role("dialog", name="Elicitation Request")
        await expect(form).to_be_visible()
        return form

    async def _choose(self, form: Locator, decision: str) -> None:
        await form.get_by_role("textbox", name="Decision").click()
        await self._page.get_by_role("option", name=decision, exact=True).click()

    async def _submit(self, words: str) -> str:
        await self._page.get_by_role("dialog").get_by_role("button", name="Submit").click()
        return await self._result(words)

    async def _result(self, words: str) -> str:
        """Wait for a result that says this; gives its text."""
        shown = self._page.locator("main pre", has_text=words)
        await expect(shown).to_be_visible()
        return await shown.inner_text()

    async def _result_box(self) -> FloatRect:
        """Where the result stands, from its heading on."""
        return await _box(self._page.get_by_role("heading", name="Results").locator("../../.."))

    def _charged_once(self) -> None:
        charged = [charge.e164 for charge in self._sim.charges]
        must(charged == [self._offers[0][1]], f"KrosAI charged for {charged}, and not once for {self._offers[0][1]}")


async def _box(shown: Locator) -> FloatRect:
    """Where something stands in the window, with some room around it."""
    box = await shown.bounding_box()
    must(box, "what the documents show is not on the page")
    assert box is not None
    left, top = max(0.0, box["x"] - _MARGIN), max(0.0, box["y"] - _MARGIN)
    right = min(float(WINDOW["width"]), box["x"] + box["width"] + _MARGIN)
    bottom = min(float(WINDOW["height"]), box["y"] + box["height"] + _MARGIN)
    return {"x": left, "y": top, "width": right - left, "height": min(_TALLEST, bottom - top)}
