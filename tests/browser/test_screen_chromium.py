"""The page that asks in a real browser, with JavaScript off; pictures of it are kept in `pictures/`."""

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from chromium import ATTACKER, DESKTOP, NARROW, PHONE, PICTURES, Person, keep, new_window, open_chromium
from playwright.async_api import Browser, Page, expect
from screen_bench import ScreenBench, open_screen_bench
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from kros_mcp.browser import browser_screen, launch, trial_page
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.numbering import last_four, spoken
from kros_mcp.operations.confirmation import picked
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import ANSWER_SECONDS, Channel, State, new_operation_id
from tests.support.clock import Clock
from tests.support.upstream import wrote
from tests.support.web import open_listening

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


class Stopwatch:
    """The seconds that pass, but for those in which it stands still."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        self._lost = 0.0

    def __call__(self) -> float:
        now = time.monotonic() if self._stopped_at is None else self._stopped_at
        return now - self._lost

    def stop(self) -> None:
        self._stopped_at = time.monotonic()

    def go_on(self) -> None:
        assert self._stopped_at is not None
        self._lost += time.monotonic() - self._stopped_at
        self._stopped_at = None


@asynccontextmanager
async def open_desk(
    monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float] = time.monotonic, **chosen: Any
) -> AsyncIterator[tuple[ScreenBench, Browser]]:
    async with open_chromium() as browser, open_screen_bench(monkeypatch, clock=clock, **chosen) as bench:
        yield bench, browser


def heading(page: Page, name: str) -> Any:
    return expect(page.get_by_role("heading", name=name, level=1))


async def press(page: Page, name: str) -> None:
    """Press a button; a yes that is still dead is pressed once it is not."""
    await page.get_by_role("button", name=name).click()


async def test_a_person_buys_declines_and_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Stopwatch()
    async with open_desk(monkeypatch, clock) as (bench, browser):
        person = Person(bench, await new_window(browser))

        clock.stop()  # however slow this machine is, the key comes at once
        page = await person.is_shown(await bench.purchase())
        await heading(page, "Buy +234 201 555 0100?").to_be_visible()
        assert await page.evaluate("document.activeElement === document.body")
        await page.get_by_role("button", name="Buy it").focus()
        await page.keyboard.press("Enter")  # as somebody does who types on while the window opens
        await expect(page.get_by_role("alert")).to_contain_text("quicker than anybody reads")
        assert bench.sim.charges == []
        clock.go_on()
        await press(page, "Buy it: 5.00 USD now")
        await heading(page, "Done").to_be_visible()
        assert len(bench.sim.charges) == 1

        page = await person.is_shown(await bench.purchase(1, allow_outbound=False))
        await page.wait_for_timeout(1100)
        await page.get_by_role("main").screenshot(path=PICTURES / "question.png")
        await press(page, "No, do not buy")
        await heading(page, "You said no").to_be_visible()
        assert len(bench.sim.charges) == 1

        released = await bench.release()
        page = await person.is_shown(released)
        digits = page.get_by_label("To release it, type its last four digits")
        await digits.fill("0000")
        await press(page, "Release it")
        await expect(page.get_by_role("alert")).to_contain_text("Try 2 of 3")
        await page.wait_for_timeout(1100)
        spaced = f" {' '.join(last_four(released.e164))}"  # as it is copied from the number above, or read aloud
        await digits.fill(spaced)
        await page.keyboard.press("Enter")  # in the field, it presses nothing
        await page.wait_for_timeout(2500)  # nor does the frame that loads itself anew lose what was typed
        assert await digits.input_value() == spaced
        assert (await bench.stored(released)).state is State.PROPOSED
        await press(page, "Release it")
        await heading(page, "Done").to_be_visible()
        assert (await bench.stored(released)).state is State.DONE


async def test_two_questions_are_answered_in_one_tab(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_desk(monkeypatch) as (bench, browser):
        person = Person(bench, await new_window(browser))
        first, second = await bench.purchase(), await bench.purchase(1)
        page = await person.is_shown(first)

        assert await bench.screen.show(second)  # the frame tells of it

        assert len(bench.launched) == 1
        await expect(page.frame_locator("iframe").get_by_role("status")).to_contain_text(
            "One more question waits, and follows here: Buy +234 201 555 0101."
        )
        await keep(page, "with-another-waiting")
        many = [replace(second, id=new_operation_id(), e164=f"+234803556{number:04}") for number in range(7)]
        for one in many:
            await bench.runtime.account.journal.propose(one)
        async with anyio.create_task_group() as tasks:
            for one in many:
                tasks.start_soon(bench.screen.show, one)
        await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        await expect(page.frame_locator("iframe").get_by_role("status")).to_contain_text("8 more questions wait")
        height, room = await page.frames[1].evaluate(
            "[document.documentElement.scrollHeight, document.documentElement.clientHeight]"
        )
        assert height <= room
        for one in many:
            await bench.runtime.account.change(one.id, lambda current, _: replace(current, state=State.CANCELLED))
        await press(page, "No, do not buy")
        await heading(page, "You said no").to_be_visible()
        await heading(page, "Buy +234 201 555 0101?").to_be_visible()  # nobody touches the page
        bench.sim.faults.switch_on("hold", on=["purchase"])
        await press(page, "Buy it")
        await heading(page, "Under way").to_be_visible()
        await keep(page, "under-way")
        assert bench.sim.charges == []
        bench.sim.faults.let_go()
        await heading(page, "Done").to_be_visible()
        assert [charge.e164 for charge in bench.sim.charges] == [second.e164]


async def test_a_person_buys_five_and_releases_three_in_one_yes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_desk(monkeypatch) as (bench, browser):
        person = Person(bench, await new_window(browser))

        five = await bench.purchases(5)
        page = await person.is_shown(five)
        await heading(page, "Buy 5 numbers?").to_be_visible()
        for item in five.items:
            await expect(page.get_by_role("row", name=spoken(item.e164))).to_contain_text("5.00 USD")
        await expect(page.get_by_role("row", name="All 5")).to_contain_text("25.00 USD")
        await press(page, "Buy all 5: 25.00 USD now")
        await heading(page, "Done").to_be_visible()
        await expect(page.get_by_role("row", name="Done")).to_have_count(5)
        await keep(page, "five-bought")
        assert [charge.e164 for charge in bench.sim.charges] == [item.e164 for item in five.items]

        three = await bench.releases(3)
        page = await person.is_shown(three)
        digits, count = page.get_by_label("type the last four digits"), page.get_by_label("how many numbers")
        await digits.fill(last_four(picked(three)))
        await press(page, "Release all 3")  # the browser itself asks for the count
        assert (await bench.stored(three)).state is State.PROPOSED
        await count.fill("2")
        await press(page, "Release all 3")
        await expect(page.get_by_role("alert")).to_contain_text("That was not what is asked for. Try 2 of 3.")
        await digits.fill(last_four(picked(three)))
        await count.fill("3")
        await press(page, "Release all 3")
        await heading(page, "Done").to_be_visible()
        assert wrote(bench.sim)[-3:] == ["DELETE"] * 3


async def test_a_closed_tab_is_opened_anew_and_a_path_opened_twice_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_screen, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("kros_mcp.browser.question.ALIVE_SECONDS", 2.5)
    async with open_desk(monkeypatch) as (bench, browser):
        person = Person(bench, await new_window(browser))
        operation = await bench.purchase()
        page = await person.is_shown(operation)
        await page.close()
        await anyio.sleep(2.6)
        page = await person.is_shown(operation)
        assert len(bench.launched) == 2
        await heading(page, "Buy +234 201 555 0100?").to_be_visible()

        other = await (await new_window(browser)).new_page()
        await other.goto(bench.launched[1])

        await heading(other, "opened twice").to_be_visible()
        await keep(other, "second-use")
        await press(page, "Buy it")
        await heading(page, "opened twice").to_be_visible()
        assert (await bench.stored(operation)).state is State.CANCELLED
        assert wrote(bench.sim) == []


async def test_what_ends_elsewhere_is_told_on_the_page_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    async with (
        open_sqlite("sqlite://:memory:", clock=clock) as journal,
        open_desk(monkeypatch, journal=journal) as (bench, browser),
    ):
        person = Person(bench, await new_window(browser))
        operation = await bench.purchase()
        page = await person.is_shown(operation)
        clock.now += ANSWER_SECONDS + 1
        frame = page.frame_locator("iframe")
        await expect(frame.get_by_role("alert")).to_contain_text("This question has ended.")
        await keep(page, "ended-under-it")
        await frame.get_by_role("link", name="See how").click()
        await heading(page, "Too late").to_be_visible()
        assert wrote(bench.sim) == []


async def test_a_server_that_ends_under_an_open_page_has_charged_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_sqlite("sqlite://:memory:") as journal, open_chromium() as browser:
        async with open_screen_bench(monkeypatch, clock=time.monotonic, journal=journal) as bench:
            operation = await bench.purchase()
            page = await Person(bench, await new_window(browser)).is_shown(operation)
        await page.wait_for_timeout(2500)
        await keep(page, "server-gone")
        await expect(page.get_by_text("kros-mcp has ended, and what was not answered is not done")).to_be_visible()
        found = await journal.get(operation.id)
        assert found is not None
        assert found.state is State.CANCELLED
        assert bench.sim.charges == []


ATTACKS = """
<iframe name="framed" src="{page}"></iframe><iframe src="{page}/state"></iframe>
<form id="form" method="post" action="{page}" target="framed"><input name="decision" value="yes"></form>
<link rel="prefetch" href="{path}">
<script type="speculationrules">{{"prerender": [{{"source": "list", "urls": ["{path}"]}}]}}</script>
<img src="/question/"><img src="/1"><a href="{path}">a link</a><img src="{path}"><object data="{path}"></object>
<script>
  document.getElementById("form").submit();
  const tries = [];
  for (const mode of ["no-cors", "cors"]) for (const credentials of ["include", "omit"]) {{
    tries.push(fetch("{page}", {{mode, credentials}}));
    tries.push(fetch("{path}", {{mode, credentials}}));
    const body = new URLSearchParams({{decision: "yes", form_token: "x", digest: "x"}});
    tries.push(fetch("{page}", {{mode, credentials, method: "POST", body}}));
  }}
  Promise.allSettled(tries).then(async (ended) => {{
    let read = 0;
    for (const one of ended) if (one.value && (await one.value.text())) read += 1;
    document.title = "tried " + ended.length + ", read " + read;
  }});
</script>
"""


async def test_pages_of_others_press_nothing_read_nothing_and_use_no_path_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_screen, "FETCH_SECONDS", 0.1)
    monkeypatch.setattr(browser_screen, "TOLD_SECONDS", 0.0)
    aim, cookie, sent = {"page": "", "path": ""}, {"name": ""}, list[str]()

    async def attack(request: Request) -> HTMLResponse:
        """Attack; a page of the same machine is sent the cookies of all ports, and can set some."""
        sent.append(request.headers.get("cookie", ""))
        response = HTMLResponse(ATTACKS.format(**aim))
        response.set_cookie(cookie["name"], "another")
        return response

    async with (
        open_listening(Starlette(routes=[Route("/{rest:path}", attack)])) as elsewhere,
        open_desk(monkeypatch) as (bench, browser),
    ):
        window = await new_window(browser, scripts=True)
        person = Person(bench, window)
        shown, unopened = await bench.purchase(), await bench.purchase(1)
        monkeypatch.setattr(browser_screen, "FETCH_SECONDS", 5.0)
        page = await person.is_shown(shown)
        origin = page.url.partition("/question")[0]
        # Nobody but the browser's command line shows the path; but a link to it may stand in a window of chat.
        question = bench.screen._questions.ask(unopened, "")  # noqa: SLF001 - as a browser that has not come yet
        assert question is not None
        path = f"{origin}/open/{question.path_to_launch()}"
        aim |= {"page": page.url, "path": path}
        cookies = {one.get("value", ""): one.get("name", "") for one in await window.cookies(page.url)}
        [(value, cookie["name"])] = cookies.items()

        for host in (ATTACKER, "127.0.0.1"):
            other = await window.new_page()
            await other.goto(elsewhere.replace("127.0.0.1", host))
            await other.wait_for_function("document.title.startsWith('tried')")
            assert await other.title() == "tried 12, read 0"
            await other.get_by_role("link").hover()
            await other.wait_for_timeout(300)
            await other.get_by_role("link").click()
            await expect(other.get_by_text("opened by itself, never from within another")).to_be_visible()
            await other.close()
        assert "another" in " ".join(sent)
        assert value not in " ".join(sent)
        rebound = await window.new_page()
        await rebound.goto(page.url.replace("127.0.0.1", ATTACKER))
        await expect(rebound.get_by_text("Nothing is served under this name.")).to_be_visible()

        assert [(await bench.stored(one)).state for one in (shown, unopened)] == [State.PROPOSED] * 2
        assert wrote(bench.sim) == []
        await rebound.goto("about:blank")
        fresh = await window.new_page()
        await fresh.goto(path)  # still good for its one use
        await heading(fresh, "Buy +234 201 555 0101?").to_be_visible()
        await press(page, "Buy it")
        await heading(page, "Done").to_be_visible()
        assert [charge.e164 for charge in bench.sim.charges] == [shown.e164]


async def test_every_page_fits_its_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a picture of each state: on a phone in the dark, and on a desk in the light."""
    monkeypatch.setattr(browser_screen, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("kros_mcp.browser.question.ALIVE_SECONDS", 0.0)
    monkeypatch.setattr("kros_mcp.browser.question.DEAD_SECONDS", 0.0)
    async with open_desk(monkeypatch, protected_numbers=("+2348035550123",)) as (bench, browser):
        monkeypatch.setattr(trial_page, "launch", launch.launch)
        account = bench.runtime.account
        purchase = await bench.purchase(allow_outbound=False)
        live = replace(
            purchase,
            id="op_" + "a" * 16,
            e164="+2348035550144",
            quote=replace(purchase.quote, environment="live", e164="+2348035550144", due_now_cents=1_234_500),
        )
        await account.journal.propose(live)
        cases = {
            "purchase": purchase,
            "live": live,
            "release": await bench.release(),
            "change": await bench.configuration(),
            "purchase-of-five": await bench.purchases(5, after=1),
            "release-of-three": await bench.releases(3, after=1),
            "change-of-two": await bench.configurations(after=4),
        }
        count = itertools.count(1)
        for size, screen, scheme in ((PHONE, "phone", "dark"), (DESKTOP, "desktop", "light")):
            person = Person(bench, await new_window(browser, size, scheme))
            for name, operation in cases.items():
                page = await person.is_shown(operation)
                await page.wait_for_timeout(1100 if name == "purchase" else 50)  # in which a yes wakes, or does not
                if size == PHONE:
                    await page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
                    await fits(page)
                    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
                await fits(page)
                await keep(page, f"{screen}-{scheme}-{name}")
                await page.close()
            for name, move in ENDS.items():
                operation = replace(purchase, id=new_operation_id(), e164=f"+234803556{next(count):04}")
                await account.journal.propose(operation)
                page = await person.is_shown(operation)
                await account.change(operation.id, move)
                await page.reload()
                await fits(page)
                await keep(page, f"{screen}-{scheme}-{name}")
                await account.change(operation.id, lambda one, _: replace(one, state=State.CANCELLED))
                await page.close()
            page = await person.window.new_page()
            await page.goto(f"{bench.launched[0].partition('/open')[0]}/0")
            await fits(page)
            await keep(page, f"{screen}-{scheme}-nothing")
            bench.come = page.goto
            assert await trial_page.is_page_fetched()
            await heading(page, "It works").to_be_visible()
            await fits(page)
            await keep(page, f"{screen}-{scheme}-test")
            await person.window.close()


def ends(state: State, message: str = "", **changes: Any) -> Move:
    return lambda one, now: replace(one, state=state, settled_at=now, message=message, **changes)


ENDS: dict[str, Move] = {
    "done": ends(State.DONE, charged="yes", changed="yes"),
    "unknown": ends(State.UNKNOWN, confirmed_at=1.0, charged="unknown", changed="unknown", look_at=9e9),
    "failed": ends(State.FAILED, "It costs 6.00 USD now, not 5.00 USD as was shown.", error_code="PRICE_CHANGED"),
    "no": ends(State.DECLINED, "The person said no on the screen.", decided_through="screen"),
    "cancelled": ends(State.CANCELLED, "It was withdrawn in the chat."),
    "expired": ends(State.EXPIRED, "Nobody confirmed it in time."),
    "withdrawn": lambda one, _: replace(one, channel=Channel.CODE),
}


async def fits(page: Page) -> None:
    """See that nothing has to be scrolled sideways or is cut, and that there is one heading and one main part."""
    width, room = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room, page.url
    assert await page.evaluate(
        "[...document.querySelectorAll('h1, dl')].every((one) => one.scrollWidth <= one.clientWidth)"
    )
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    await expect(page.get_by_role("main")).to_have_count(1)
