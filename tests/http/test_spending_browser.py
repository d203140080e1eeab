"""The spending page in a real browser, with JavaScript off; pictures of it are kept in `pictures/`.

`docs/spending-page.png` is `pictures/spending-page.png`, which the first test keeps, with fewer colours.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest
from approvals_bench import AUDITOR, Bench, open_bench
from playwright.async_api import Page, expect
from spending_bench import fill, keep_what_is_owned
from test_approvals_browser import (
    DESKTOP,
    PHONE,
    PICTURES,
    Scheme,
    chromium,
    is_well_formed,
    new_page,
    open_browser,
)

from kros_mcp.operations.model import State
from tests.support.web import open_listening

__all__ = ["chromium"]  # a fixture

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

NARROW = (320, 640)
CONTRAST = """([light, dark]) => {
    const parts = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number).map(
        value => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = text => parts(text).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const [high, low] = [luminance(light), luminance(dark)].sort((one, other) => other - one);
    return (high + 0.05) / (low + 0.05);
}"""


@asynccontextmanager
async def open_page_of_months() -> AsyncIterator[tuple[Bench, str, str]]:
    """Serve books of some months; also yields the id of an operation with a story."""
    async with (
        open_bench(daily_budget_cents=8_000, monthly_commitment_cents=90_000) as bench,
        open_listening(bench.app) as url,
    ):
        made = await fill(bench)
        asked = await bench.purchase(reason="The shop in Lagos opens in May")
        await (await bench.signed_in()).decide(asked, "approve", "There is none in Lagos yet")
        await bench.until(asked, State.DONE)
        await bench.purchases(3, at=3)
        bench.clock.now += 120
        await keep_what_is_owned(bench, made)
        yield bench, f"{url}/spending", asked.id


async def sign_in(page: Page, url: str) -> None:
    await page.goto(url)
    await page.get_by_label("Your credential").fill(AUDITOR)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1, name="What is spent")).to_be_visible()


async def keep(page: Page, name: str, *, whole: bool = True) -> None:
    PICTURES.mkdir(exist_ok=True)
    await page.screenshot(path=PICTURES / f"spending-{name}.png", full_page=whole)


async def test_every_page_fits_its_screen_and_its_charts_are_read_in_light_and_dark(chromium: str) -> None:
    async with open_page_of_months() as (_, url, told), open_browser(chromium) as browser:
        paths = {"unknown": "?since=&until=&state=unknown", "story": f"/{told}"}
        for size, screen in ((PHONE, "phone"), (NARROW, "narrow"), (DESKTOP, "desktop")):
            for scheme in get_args(Scheme)[: 1 if size == NARROW else 2]:
                page = await new_page(browser, size, scheme)
                complaints: list[str] = []
                page.on("console", lambda message, found=complaints: found.append(message.text))
                await sign_in(page, url)
                for name, path in paths.items():
                    await page.goto(url + path)
                    await keep(page, f"{screen}-{scheme}-{name}")
                    await page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
                    await is_well_formed(page)
                    if name == "unknown":
                        await charts_are_read(page, "slim" if size != DESKTOP else "broad")
                assert not [text for text in complaints if "Password forms" not in text]
                await page.context.close()
        page = await new_page(browser, (1280, 1400))
        await sign_in(page, url)
        await page.goto(f"{url}?since=&until=")
        await keep(page, "page", whole=False)


async def charts_are_read(page: Page, kind: str) -> None:
    """See that one drawing of each chart is shown, that its colours stand out, and that it is named."""
    shown = page.locator(f"svg.{kind}")
    await expect(shown).to_have_count(4)
    for other in {"slim", "broad"} - {kind}:
        await expect(page.locator(f"svg.{other}").first).to_be_hidden()
    for chart in await shown.all():
        await expect(chart).to_have_role("img")
    bar = shown.first.locator(".certain rect").first
    colours = await bar.evaluate(
        "each => [getComputedStyle(each).fill, getComputedStyle(each.closest('.panel')).backgroundColor]"
    )
    assert await page.evaluate(CONTRAST, colours) >= 3
    stripes = shown.first.locator(".uncertain rect")
    await expect(stripes).to_have_count(1)
    assert "url(" in await stripes.evaluate("each => getComputedStyle(each).fill")
    pattern = shown.first.locator("pattern path")
    colours = await pattern.evaluate(
        "each => [getComputedStyle(each).stroke, getComputedStyle(each.previousElementSibling).fill]"
    )
    assert await page.evaluate(CONTRAST, colours) >= 3


async def test_a_person_filters_downloads_prints_and_reads_a_story_without_scripts(
    chromium: str,
    tmp_path: Path,
) -> None:
    async with open_page_of_months() as (_, url, _told), open_browser(chromium) as browser:
        page = await new_page(browser)
        await sign_in(page, url)
        await page.get_by_role("link", name="Everything").click()
        await page.get_by_label("Country", exact=True).select_option(label="Nigeria")
        await page.get_by_label("State", exact=True).select_option(label="unknown")
        await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_text("2 operations; 0.00 USD charged; 10.00 USD not known.")).to_be_visible()

        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Download as CSV").click()
        file = tmp_path / (await downloading.value).suggested_filename
        await (await downloading.value).save_as(file)
        assert len(file.read_text().splitlines()) == 3

        await page.locator(".operations tbody th a").first.click()
        await expect(page.get_by_role("heading", name="What happened to it")).to_be_visible()
        await expect(page.get_by_text("It is unknown; charged: unknown, 5.00 USD?")).to_be_visible()
        await page.get_by_role("link", name="All that is spent").click()

        await page.emulate_media(media="print", color_scheme="dark")
        await expect(page.get_by_role("button", name="Show")).to_be_hidden()
        inside = page.locator("details:not([open]) table")
        assert await inside.first.evaluate("each => each.checkVisibility({contentVisibilityAuto: true})")
        ground = "getComputedStyle(document.body).backgroundColor"
        assert await page.evaluate(ground) == "rgb(255, 255, 255)"
        await page.pdf(path=PICTURES / "spending-print.pdf", format="A4")
