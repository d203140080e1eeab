"""The approvals page: who gets in, and how long a session lasts."""

from typing import Any

import anyio
import httpx
import pytest
from approvals_bench import (
    AGENT,
    BOTH,
    COOKIE,
    FOREIGN,
    HERE,
    KEY,
    NIGHT,
    NIGHT_DESK,
    OTHER_KEY,
    a_browser_with,
    access,
    hidden,
    open_bench,
    settings_for,
)

from kros_mcp.http.app import open_service
from kros_mcp.http.rate_limit import SignInLimiter
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator, transport
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


# ---- who gets in


@pytest.mark.parametrize("credential", [AGENT, BOTH, "wrong", "", "é", "x" * 20_000])
async def test_every_credential_but_an_approvers_is_refused_in_one_and_the_same_way(credential: str) -> None:
    async with open_bench() as bench:
        told = await bench.browser().sign_in("something else that is wrong")
        refused = await bench.browser().sign_in(credential)

        assert (refused.status_code, refused.text) == (told.status_code, told.text) == (403, told.text)
        assert "does not let anybody approve" in refused.text
        assert "set-cookie" not in refused.headers


async def test_without_a_session_nothing_that_waits_is_shown_or_decided() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase()
        stranger, approver = bench.browser(), await bench.signed_in()
        form = await approver.form(waiting)

        for page in (await stranger.get(), await stranger.get(f"/approvals/{waiting.id}")):
            assert "Sign in to approve" in page.text
            assert waiting.e164 not in page.text
        posted = await stranger.post(f"/approvals/{waiting.id}", {**form, "decision": "approve"})

        assert posted.status_code == 403
        assert "not signed in" in posted.text
        assert (await bench.stored(waiting)).state is State.PROPOSED


async def test_after_signing_in_one_stands_where_one_wanted_to_go() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), bench.browser()
        form = hidden((await browser.get(f"/approvals/{waiting.id}")).text)

        assert str((await browser.sign_in(NIGHT, **form)).url) == f"{HERE}/approvals/{waiting.id}"
        assert (
            str((await bench.browser().sign_in(NIGHT, to="//elsewhere.example")).url) == f"{HERE}/approvals?signed-in"
        )


async def test_the_sixth_sign_in_of_a_minute_is_not_even_looked_at() -> None:
    async with open_bench() as bench:
        browser = bench.browser("192.0.2.1")
        for _ in range(5):
            assert (await browser.sign_in("wrong")).status_code == 403
        bench.pace.now += 20

        for credential in ("wrong", NIGHT):
            late = await browser.sign_in(credential)
            assert (late.status_code, late.headers["retry-after"]) == (429, "40")
        assert (await bench.browser("192.0.2.2").sign_in(NIGHT)).status_code == 200

        bench.pace.now += 40
        assert (await browser.sign_in(NIGHT)).status_code == 200


async def test_signing_in_again_and_again_is_no_failure() -> None:
    async with open_bench() as bench:
        assert [(await bench.browser().sign_in(NIGHT)).status_code for _ in range(7)] == [200] * 7


async def test_five_sign_ins_at_once_are_all_that_an_address_has() -> None:
    async with open_bench() as bench:
        statuses: list[int] = []

        async def attempt() -> None:
            statuses.append((await bench.browser().sign_in("wrong")).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(attempt)
        assert sorted(statuses) == [403] * 5 + [429] * 15


def test_good_sign_ins_use_no_attempt_up() -> None:
    attempts = SignInLimiter(Clock())
    for _ in range(20):
        assert attempts.begin("192.0.2.1") == 0
        attempts.succeeded("192.0.2.1")
    assert attempts.begin("192.0.2.1") == 0


def test_addresses_of_one_subscriber_count_as_one() -> None:
    attempts = SignInLimiter(Clock())
    for end in range(5):
        assert attempts.begin(f"2001:db8:0:1::{end}") == 0
    assert attempts.begin("2001:db8:0:1:ffff::1") == 60
    assert attempts.begin("2001:db8:0:2::1") == 0
    assert attempts.begin("::ffff:192.0.2.1") == attempts.begin("::ffff:192.0.2.2") == 0


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    attempts = SignInLimiter(Clock())
    for number in range(12_000):
        attempts.begin(f"10.0.{number // 250}.{number % 250}")
    assert len(attempts._failures) == 10_000  # noqa: SLF001 - there is no other way to see it


# ---- the session


@pytest.mark.parametrize(
    ("loopback", "public_url", "secure"),
    [
        (True, None, False),
        (False, None, True),
        (True, "https://numbers.example", True),
        (False, "http://127.0.0.1:8000", False),
    ],
)
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_plain_connections(
    loopback: bool, public_url: str | None, secure: bool
) -> None:
    async with open_bench(loopback=loopback, public_url=public_url) as bench:
        browser = bench.browser()
        browser.http.follow_redirects = False
        name, *attributes = (await browser.sign_in()).headers["set-cookie"].split("; ")

        assert {"HttpOnly", "Path=/approvals", "SameSite=strict", "Max-Age=1800"} <= set(attributes)
        assert ("Secure" in attributes, name.startswith(f"__Secure-{COOKIE}=")) == (secure, secure)


async def test_a_session_ends_thirty_minutes_after_signing_in() -> None:
    async with open_bench() as bench:
        cookie = (await bench.signed_in()).http.cookies[COOKIE]
        browser = await a_browser_with(bench, cookie)  # one that keeps cookies longer than it was told to

        bench.clock.now += 1799
        assert "Signed in as" in (await browser.get()).text
        bench.clock.now += 1
        assert "Sign in to approve" in (await browser.get()).text


async def test_every_replica_opens_a_session_also_while_keys_are_changed() -> None:
    clock, sim = Clock(), Simulator()
    async with open_sqlite("sqlite://:memory:", clock=clock) as journal:
        common: dict[str, Any] = {"journal": journal, "clock": clock}
        async with (
            open_bench(sim, **common) as first,
            open_bench(sim, **common) as second,
            open_bench(sim, state_keys=f"{OTHER_KEY},{KEY}", **common) as rotated,
            open_bench(sim, state_keys=OTHER_KEY, **common) as foreign,
            open_bench(sim, clock=clock) as of_another_account,
        ):
            cookie = (await first.signed_in()).http.cookies[COOKIE]

            for replica in (second, rotated):
                assert "night-desk" in (await (await a_browser_with(replica, cookie)).get()).text
            for replica in (foreign, of_another_account):
                assert "Sign in to approve" in (await (await a_browser_with(replica, cookie)).get()).text


@pytest.mark.parametrize("cookie", ["", "x", "gAAAA", "x" * 5000, "{}"])
async def test_a_cookie_that_nobody_sealed_is_no_session(cookie: str) -> None:
    async with open_bench() as bench:
        browser = await a_browser_with(bench, cookie)
        assert "Sign in to approve" in (await browser.get()).text


async def test_without_keys_a_session_ends_with_the_process() -> None:
    async with open_bench(state_keys="") as bench, open_bench(state_keys="") as after:
        browser = await bench.signed_in()
        assert "Signed in as" in (await browser.get()).text
        again = await a_browser_with(after, browser.http.cookies[COOKIE])
        assert "Sign in to approve" in (await again.get()).text


async def test_signing_out_makes_the_browser_forget() -> None:
    async with open_bench() as bench:
        browser = await bench.signed_in()
        form = hidden((await browser.get()).text)

        refused = await browser.post("/approvals/sign-out", {"form_token": "wrong"})
        assert (refused.status_code, COOKIE in browser.http.cookies) == (403, True)

        assert "You are signed out." in (await browser.post("/approvals/sign-out", form)).text
        assert COOKIE not in browser.http.cookies


async def test_a_browser_that_keeps_no_cookie_is_told_why() -> None:
    async with open_bench(loopback=False) as bench:
        assert "over https only" in (await bench.browser().sign_in()).text


async def test_who_is_no_approver_any_more_is_signed_out_at_once() -> None:
    approvers = {NIGHT_DESK}
    async with open_bench(who=access(still_has=lambda principal, *_: principal in approvers)) as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = await browser.form(waiting)
        approvers.clear()

        assert "Sign in to approve" in (await browser.get()).text
        assert (await browser.post(f"/approvals/{waiting.id}", {**form, "decision": "approve"})).status_code == 403
        assert (await bench.stored(waiting)).state is State.PROPOSED


@pytest.mark.parametrize("headers", [FOREIGN, {"origin": "null"}])
async def test_nobody_is_signed_in_by_another_page(headers: dict[str, str]) -> None:
    async with open_bench() as bench:
        browser = bench.browser()
        assert (await browser.post("/approvals", {"credential": NIGHT}, **headers)).status_code == 403
        assert COOKIE not in browser.http.cookies


async def test_without_authentication_there_is_no_page() -> None:
    sim = Simulator()
    async with open_service(settings_for(sim), None, transport=transport(sim)) as service:
        way = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=way, base_url=HERE) as http:
            for path in ("/approvals", "/approvals/style.css", "/approvals/op_aaaaaaaaaaaaaaaa"):
                assert (await http.get(path)).status_code == 404


async def test_the_doors_stand_before_the_page_too() -> None:
    sim = Simulator()
    async with open_service(settings_for(sim), access(), transport=transport(sim)) as service:
        way = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=way, base_url="http://rebound.example") as http:
            assert (await http.get("/approvals")).status_code == 421
            assert (await http.post("/approvals", headers={"host": "127.0.0.1", **FOREIGN})).status_code == 403
