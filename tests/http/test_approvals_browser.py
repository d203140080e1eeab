"""The approvals page in a real browser, with JavaScript off; pictures of it are kept in `pictures/`."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from approvals_bench import AGENT_SCOPES, NIGHT, NIGHT_DESK, SUPPORT, Bench, access, settings_for
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.applications import Starlette

from kros_mcp.http.access import Access
from kros_mcp.http.app import open_service
from kros_mcp.numbering import spoken
from kros_mcp.operations import decisions
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.model import Operation, Request, State
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.caller import principal_of
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
PHONE, DESKTOP = (390, 844), (1280, 800)
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("The approvals page is tested in Chromium: install it with apt-get install chromium.")
    return found


@asynccontextmanager
async def open_page_server(
    sim: Simulator | None = None, who: Access | None = None, **chosen: Any
) -> AsyncIterator[tuple[Bench, str]]:
    """Serve the whole app at a free port."""
    sim = sim or Simulator()
    async with (
        open_service(settings_for(sim, **chosen), who or access(), transport=transport(sim)) as service,
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


async def see(page: Page, name: str) -> None:
    """See that a page is well formed, what can be unfolded too, and keep pictures of it as it comes."""
    await keep(page, name)
    await page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
    await is_well_formed(page)
    if await page.locator("summary").count() == 1:
        await keep(page, f"{name}-unfolded")


async def sign_in(page: Page) -> None:
    await page.get_by_label("Your credential").fill(NIGHT)
    await page.get_by_role("button", name="Sign in").click()


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


WHOLE = """selector => [...document.querySelectorAll(selector)].filter(element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return new Set([...range.getClientRects()].map(each => Math.round(each.bottom))).size > 1;
}).map(element => element.textContent)"""
"""Which of some elements stand on more than one line."""
BEYOND = """() => [...document.querySelectorAll("header *, main *")].filter(element => {
    const {left, right, width} = element.getBoundingClientRect();
    const around = (element.parentElement.closest(".panel, .sums") ?? document.documentElement).getBoundingClientRect();
    return width > 1 && !element.closest(".skip") && (left < around.left || right > around.right + 0.5);
}).map(element => element.outerHTML.slice(0, 100))"""
SMALL = """() => [
    ...document.querySelectorAll("a, button, summary, select, input:not([type=hidden]), textarea")
].filter(
    element => !element.closest(".skip") && element.getBoundingClientRect().height < 43.5
).map(element => element.outerHTML.slice(0, 100))"""


async def is_well_formed(page: Page) -> None:
    """See that nothing leaves the screen, breaks in two or is too small for a finger, and that everything has a name.

    What must not break are amounts, phone numbers, times and ids.
    """
    width, room = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room, page.url
    assert await page.evaluate(BEYOND) == [], page.url
    assert await page.evaluate(WHOLE, ".whole, .number, .money dd, .sums dd:not(.more), .badge, button") == [], page.url
    assert await page.evaluate(SMALL) == [], page.url
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


async def test_a_batch_is_shown_whole_and_decided_whole(chromium: str) -> None:
    async with open_page_server() as (bench, url), open_browser(chromium) as browser:
        page = await new_page(browser)
        await bench.purchase(at=5)
        three = await bench.purchases(3)
        await page.goto(url)
        await sign_in(page)
        await expect(page.get_by_role("heading", name="2 wait for a decision")).to_be_visible()
        together = "If you approve both purchases, 4 numbers in all: 172.00 USD left of 200.00 USD"
        await expect(page.locator(".together")).to_contain_text(together)
        card = page.get_by_role("article", name="Buy 3 numbers")
        for item in three.items:
            await expect(card.get_by_role("row", name=spoken(item.e164))).to_contain_text("7.00 USD")
        await keep(page, "list-with-a-batch")
        await card.get_by_role("link", name="Decide").click()
        await expect(page.get_by_role("row", name="All 3")).to_contain_text("21.00 USD")
        await page.get_by_role("button", name="Approve 21.00 USD").click()
        await expect(page.get_by_role("status")).to_contain_text("All 3 numbers are bought", timeout=10_000)
        await expect(page.get_by_role("row", name="Done")).to_have_count(3)
        assert [charge.e164 for charge in bench.sim.charges] == [item.e164 for item in three.items]
        await page.goto(url)
        await expect(page.get_by_role("link", name="Buy 3 numbers")).to_have_count(1)


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


LONG = "https://identity.example/auth/v1|f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
GONE = principal_of("tokens", "an-agent-that-nobody-knows-any-more")


@asynccontextmanager
async def open_scenes() -> AsyncIterator[tuple[Bench, str, dict[str, str]]]:
    """Serve an account in which everything has happened that a page can show; the paths of the pages by name."""
    sim = Simulator()
    owned, protected = sim.owned.values()
    protected.status, protected.endpoint_id = owned.status, owned.endpoint_id
    kept = {"protected_numbers": (protected.e164,), "daily_budget_cents": 10_000}
    who = access(own_scopes=lambda principal: frozenset() if principal == GONE else AGENT_SCOPES)
    async with open_page_server(sim, who, **kept) as (bench, url):
        account, paths = bench.runtime.account, {}

        async def put(name: str, operation: Operation, **changes: Any) -> Operation:
            operation = replace(operation, id=f"op_{name.ljust(16, 'a')[:16]}", **changes)
            await account.journal.propose(operation)
            paths[name] = f"/{operation.id}"
            return operation

        first = await bench.purchase(at=9, allow_outbound=False)
        paths["purchase"] = f"/{first.id}"
        paths["own"] = f"/{(await bench.purchase(NIGHT_DESK, at=8)).id}"
        paths["release"] = f"/{(await RELEASE.propose(account, LONG, Request(number_id=owned.id), '')).id}"
        read = await account.client.get_number(protected.id)
        wish = Request(number_id=protected.id, endpoint_id=list(sim.endpoints)[1], allow_outbound=False)
        paths["change"] = f"/{(await CONFIGURATION.propose(account, SUPPORT, wish, read)).id}"
        dear = replace(first.quote, environment="live", e164="+2348035550144", due_now_cents=1_234_500)
        await put("overbudget", first, e164=dear.e164, quote=dear)
        await put("lostright", first, principal=GONE, e164="+2348035550145")
        british = replace(first.quote, country="GB", e164="+442079460123", monthly_cents=None, due_now_cents=None)
        await put("unpriced", first, e164=british.e164, quote=british)
        ends: dict[str, dict[str, Any]] = {
            "done": {"state": State.DONE, "charged": "yes", "settled_at": first.created_at + 61},
            "failed": {
                "state": State.FAILED,
                "settled_at": first.created_at + 61,
                "error_code": "PRICE_CHANGED",
                "message": "+2348035550147 costs 9.00 USD now, and 7.00 USD was shown; nothing was charged.",
            },
            "unknown": {"state": State.UNKNOWN, "charged": "unknown", "sent_at": first.created_at + 61},
        }
        yes = {
            "confirmed_at": first.created_at + 60,
            "confirmed_by": f"{NIGHT_DESK} on the approvals page",
            "reason": "The shop in Lagos opens in May, and the people there need a line of their own before that",
        }
        for at, (name, end) in enumerate(ends.items()):
            e164 = f"+234803555014{at + 6}"
            await put(name, first, e164=e164, quote=replace(first.quote, e164=e164), **yes, **end)
        denied = await put("denied", first, e164="+2348035550149")
        await account.journal.change(denied.id, decisions.denial(f"{LONG} on the approvals page", "One is enough"))
        paths["trouble"] = "/op_bbbbbbbbbbbbbbbb"
        paths["several"] = f"/{(await bench.purchases(4, at=2)).id}"
        some = await bench.purchases(3, at=12)
        sim.inventory[some.items[1].request.inventory_id].monthly_cost_cents += 100
        await account.journal.change(some.id, decisions.approval(f"{NIGHT_DESK} on the approvals page", "Agreed"))
        await bench.until_told(some)
        paths["some-done"] = f"/{some.id}"
        yield bench, url, paths


async def test_every_page_fits_its_screen_and_names_what_it_shows(chromium: str) -> None:
    async with open_scenes() as (_, url, paths), open_browser(chromium) as browser:
        for size, screen in ((PHONE, "phone"), (DESKTOP, "desktop")):
            for scheme in get_args(Scheme):
                page = await new_page(browser, size, scheme)
                await page.goto(url)
                await see(page, f"{screen}-{scheme}-sign-in")
                await sign_in(page)
                await see(page, f"{screen}-{scheme}-list")
                for name, path in paths.items():
                    await page.goto(url + path)
                    await see(page, f"{screen}-{scheme}-{name}")
                await page.context.close()


async def test_a_list_fits_its_screen_whether_none_waits_or_fifty_do(chromium: str) -> None:
    async with open_page_server() as (bench, url), open_browser(chromium) as browser:
        pages = [await new_page(browser, PHONE, scheme) for scheme in get_args(Scheme)]
        pages.append(await new_page(browser, DESKTOP))

        async def look(name: str) -> None:
            for at, page in enumerate(pages):
                await page.goto(f"{url}?still")
                await see(page, f"{('phone-light', 'phone-dark', 'desktop-light')[at]}-{name}")

        for page in pages:
            await page.goto(url)
            await sign_in(page)
        await look("list-of-none")
        first = await bench.purchase()
        await look("list-of-one")
        await bench.purchase(at=1)
        await bench.purchase(at=2)
        await look("list-of-three")
        for page in pages:
            await expect(page).to_have_title("(3) Approvals · KrosAI phone numbers")
            together = "If you approve all three purchases: 179.00 USD left of 200.00 USD"
            await expect(page.locator(".together")).to_contain_text(together)
        for at in range(50):
            e164 = f"+23480355502{at:02}"
            another = replace(first, id=f"op_{'b' * 14}{'abcdefghijklmnopqrstuvwxyz234567'[at // 32]}"
                              f"{'abcdefghijklmnopqrstuvwxyz234567'[at % 32]}", e164=e164,
                              quote=replace(first.quote, e164=e164, due_now_cents=123_456_789))  # fmt: skip
            await bench.runtime.account.journal.propose(another)
        await look("list-of-fifty")
