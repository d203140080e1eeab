"""The approvals page in a real browser, with JavaScript off; pictures of it are kept in `pictures/`."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from approvals_bench import NIGHT, NIGHT_DESK, SUPPORT, Bench, access, settings_for
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.applications import Starlette

from kros_mcp.http.app import open_service
from kros_mcp.operations import decisions
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator, transport
from tests.support.clock import Clock
from tests.support.web import open_listening

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

PICTURES = Path(__file__).parent.parent.parent / "pictures"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESKTOP = (375, 720), (1280, 800)
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("The approvals page is tested in Chromium: install it with apt-get install chromium.")
    return found


@asynccontextmanager
async def open_page_server() -> AsyncIterator[tuple[Bench, str]]:
    """Serve the whole app at a free port, with a purchase, one's own, and a release waiting."""
    sim = Simulator()
    async with (
        open_service(settings_for(sim), access(), transport=transport(sim)) as service,
        open_listening(service.app) as url,
    ):
        yield Bench(sim, service.runtime, Clock(), Clock(), Starlette()), f"{url}/approvals"


@asynccontextmanager
async def open_browser(executable: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        await browser.close()


async def new_page(browser: Browser, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light") -> Page:
    """A page with cookies of its own that runs no scripts."""
    context = await browser.new_context(
        java_script_enabled=False, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    page = await context.new_page()
    page.set_default_timeout(10_000)
    return page


async def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    PICTURES.mkdir(exist_ok=True)
    await page.screenshot(path=PICTURES / f"approvals-{name}.png", full_page=True)


async def tab_to(page: Page, role: Any, name: str) -> None:
    """Press Tab until something has the focus, and see that it shows."""
    wanted = page.get_by_role(role, name=name)
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("element => element === document.activeElement"):
            assert await wanted.evaluate("element => parseFloat(getComputedStyle(element).outlineWidth)") >= 2
            return
    pytest.fail(f"{name} cannot be reached with the keyboard")


async def nameless(page: Page) -> list[str]:
    """Find what can be operated and has no name for a screen reader."""
    session = await page.context.new_cdp_session(page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    operable = {"textbox", "button", "link", "checkbox", "combobox", "article"}
    found = [node for node in nodes if node.get("role", {}).get("value") in operable]
    assert found
    return [str(node["role"]["value"]) for node in found if not node.get("name", {}).get("value", "").strip()]


async def is_well_formed(page: Page) -> None:
    """See that nothing has to be scrolled sideways, and that everything has a name, a heading and a landmark."""
    width, room = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room, page.url
    assert not await nameless(page)
    await expect(page.get_by_role("main")).to_have_count(1)
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert await page.locator("html").get_attribute("lang") == "en"


async def test_an_approver_approves_and_denies_by_keyboard_alone_without_scripts(chromium: str) -> None:
    async with open_page_server() as (bench, url), open_browser(chromium) as browser:
        page = await new_page(browser)
        first, second = await bench.purchase(allow_outbound=False), await bench.purchase(at=1)

        await page.goto(url)
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("does not let anybody approve")
        await keep(page, "sign-in-refused")
        await page.keyboard.type(NIGHT)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="2 wait for a decision")).to_be_visible()
        await keep(page, "list")

        await tab_to(page, "link", "Decide on buy +234 803 555 0100")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Buy +234 803 555 0100?")).to_be_visible()
        await tab_to(page, "textbox", "Reason")
        await page.keyboard.type("The shop in Lagos opens in May")
        await keep(page, "purchase")
        await tab_to(page, "button", "Approve 7.00 USD")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("Approved and done.")  # it refreshes itself
        await keep(page, "done")
        assert [charge.e164 for charge in bench.sim.charges] == [first.e164]
        assert (await bench.stored(first)).reason == "The shop in Lagos opens in May"

        await tab_to(page, "link", "All that waits")
        await page.keyboard.press("Enter")
        await tab_to(page, "link", "Decide on buy")
        await page.keyboard.press("Enter")
        await tab_to(page, "button", "Deny")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("Say why you deny it")
        await tab_to(page, "textbox", "Reason")
        await page.keyboard.type("One is enough")
        await tab_to(page, "button", "Deny")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("Denied.")
        await keep(page, "denied")
        assert (await bench.stored(second)).state is State.DECLINED
        assert len(bench.sim.charges) == 1

        await tab_to(page, "button", "Sign out")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("You are signed out.")


async def test_the_page_of_what_was_approved_tells_by_itself_when_it_is_done(chromium: str) -> None:
    async with open_page_server() as (bench, url), open_browser(chromium) as browser:
        bench.sim.faults.switch_on("hold", on=["purchase"])
        waiting = await bench.purchase()
        page = await new_page(browser)
        await page.goto(f"{url}/{waiting.id}")
        await page.get_by_label("Your credential").fill(NIGHT)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Approve").click()

        status = page.get_by_role("status")  # from here on nobody touches the page
        await expect(status).to_contain_text("Approved, under way.", timeout=10_000)
        await expect(status).to_contain_text("refreshes itself")
        assert not bench.sim.charges
        bench.sim.faults.let_go()
        await expect(status).to_contain_text("Approved and done.", timeout=10_000)
        await expect(status).not_to_contain_text("refreshes itself")
        assert await page.locator("meta[http-equiv=refresh]").count() == 0
        assert len(bench.sim.charges) == 1


async def test_every_page_fits_its_screen_and_names_what_it_shows(chromium: str) -> None:
    async with open_page_server() as (bench, url), open_browser(chromium) as browser:
        purchase = await bench.purchase(at=1, allow_outbound=False)
        await bench.purchase(NIGHT_DESK, at=2)
        release = await bench.release("https://identity.example/auth/v1|f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
        live = replace(
            purchase,
            id="op_" + "a" * 16,
            e164="+2348035550144",
            quote=replace(purchase.quote, environment="live", e164="+2348035550144", due_now_cents=1_234_500),
            principal=SUPPORT,
        )
        await bench.runtime.account.journal.propose(live)
        decided = await bench.purchase()
        await bench.runtime.account.journal.change(
            decided.id, decisions.denial("tokens|day-desk", "One is enough for now")
        )
        paths = {
            "list": "",
            "live": f"/{live.id}",
            "release": f"/{release.id}",
            "decided": f"/{decided.id}",
            "nothing": "/op_bbbbbbbbbbbbbbbb",
        }
        for size, screen in ((PHONE, "phone"), (DESKTOP, "desktop")):
            for scheme in get_args(Scheme):
                page = await new_page(browser, size, scheme)
                await page.goto(url)
                await is_well_formed(page)
                await keep(page, f"{screen}-{scheme}-sign-in")
                await page.get_by_label("Your credential").fill(NIGHT)
                await page.get_by_role("button", name="Sign in").click()
                for name, path in paths.items():
                    await page.goto(url + path)
                    await is_well_formed(page)
                    await keep(page, f"{screen}-{scheme}-{name}")
                await page.context.close()
