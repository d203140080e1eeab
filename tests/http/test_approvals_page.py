"""The approvals page: what holds of all its answers: headers, failures, secrets, marks and colours."""

import re
from typing import Any

import httpx
import pytest
from approvals_bench import BOTH, HERE, KEY, open_bench, wanted_headers
from starlette.applications import Starlette
from starlette.routing import Route

from kros_mcp.pages.guard import SecurityHeadersMiddleware
from kros_mcp.pages.rendering import style, whole
from tests.support.canaries import SECRET

pytestmark = pytest.mark.anyio


async def test_every_response_bears_the_headers_that_keep_browsers_in_check() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        other = bench.browser("192.0.2.9")
        other.http.follow_redirects = False
        answers = [
            await browser.get(),
            await browser.get("/approvals/"),
            await browser.get(f"/approvals/{waiting.id}"),
            await browser.get("/approvals/style.css"),
            await browser.get("/approvals/nothing"),
            await browser.get("/approvals/no/such/path"),
            await browser.decide(waiting, "deny"),
            await other.get(),
            await other.sign_in(),
            *[await other.sign_in("wrong") for _ in range(6)],
            *[await browser.http.request(method, "/approvals") for method in ("HEAD", "PUT", "DELETE", "OPTIONS")],
            await browser.http.request("PATCH", f"/approvals/{waiting.id}"),
        ]
        for answer in answers:
            wanted_headers(answer)
        assert {answer.status_code for answer in answers} == {200, 303, 400, 403, 404, 405, 429}


async def test_a_failure_of_ours_shows_nothing_of_itself() -> None:
    async def fail(_: Any) -> Any:
        raise RuntimeError("of the inside")

    way = httpx.ASGITransport(app=Starlette(routes=[Route("/", SecurityHeadersMiddleware(Route("/", fail)))]))
    async with httpx.AsyncClient(transport=way, base_url=HERE) as http:
        answer = await http.get("/")
    assert answer.status_code == 500
    assert "of the inside" not in answer.text
    wanted_headers(answer)


async def test_no_secret_stands_in_page_cookie_or_style(caplog: pytest.LogCaptureFixture) -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        answers = [
            await browser.sign_in("wrong"),
            await browser.sign_in(BOTH),
            await browser.get(),
            await browser.decide(waiting, "approve", "yes"),
            await browser.get("/approvals/style.css"),
        ]
        for answer in answers:
            for text in (answer.text, str(answer.headers), str(browser.http.cookies)):
                assert not SECRET.search(text)
                assert bench.sim.api_key not in text
                assert KEY not in text
                assert "night-desk" not in str(browser.http.cookies)
    assert not SECRET.search(caplog.text)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("It costs 1,200.00 USD.", 'It costs <span class="whole">1,200.00 USD</span>.'),
        ("+234 803 555 0100, NG", '<span class="whole">+234 803 555 0100</span>, NG'),
        ("at 2026-11-30 13:49 UTC", 'at <span class="whole">2026-11-30 13:49 UTC</span>'),
        ("tokens|a said <b>no</b>", '<span class="whole">tokens|a</span> said &lt;b&gt;no&lt;/b&gt;'),
        ("https://a.example|<i>", "https://a.example|<wbr>&lt;i&gt;"),
        ('7.00 <img/src="x">', '<span class="whole">7.00 &lt;img/src=&#34;x&#34;&gt;</span>'),
        ("1.00 " + "x" * 40, "1.00 " + "x" * 40),  # longer than a line
        ("", ""),
    ],
)
def test_what_must_not_break_in_two_is_marked_and_all_is_escaped(text: str, html: str) -> None:
    assert whole(text) == html


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(
    ("text", "ground", "least"),
    [
        *[(text, ground, 4.5) for text in ("ink", "soft", "accent") for ground in ("ground", "panel", "calm")],
        ("on-accent", "accent", 4.5),
        ("no", "panel", 4.5),
        ("live", "live-ground", 4.5),
        ("warn", "warn-ground", 4.5),
        ("edge", "panel", 3),
        ("edge", "ground", 3),
    ],
)
def test_text_stands_out_from_its_ground_in_light_and_in_dark(
    scheme: int, text: str, ground: str, least: float
) -> None:
    blocks = re.findall(r":root \{(.*?)\}", bytes(style().body).decode(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[scheme]))
    low, high = sorted(_luminance(colours[name]) for name in (text, ground))
    assert (high + 0.05) / (low + 0.05) >= least
