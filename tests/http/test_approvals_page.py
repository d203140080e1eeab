"""The approvals page: who gets in, what they see, and that a decision is one of theirs, once, on what was shown."""

import re
from dataclasses import replace
from html import unescape
from typing import Any

import anyio
import httpx
import pytest
from approvals_bench import (
    AGENT,
    AGENT_SCOPES,
    BOTH,
    DAY,
    DAY_DESK,
    HERE,
    KEY,
    NIGHT,
    NIGHT_DESK,
    OTHER_KEY,
    SUPPORT,
    Bench,
    Browser,
    access,
    hidden,
    open_bench,
    settings_for,
    text_of,
)
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.routing import Route

from kros_mcp.errors import JournalError, RefusedError
from kros_mcp.http.app import open_service
from kros_mcp.http.approvals import totals
from kros_mcp.http.rate_limit import SignInLimiter
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.numbering import spoken
from kros_mcp.operations import moves
from kros_mcp.operations.model import (
    MOST_REPEATS,
    Action,
    Channel,
    Item,
    Limits,
    Operation,
    Quote,
    Request,
    State,
    new_operation_id,
)
from kros_mcp.operations.outlook import Joint
from kros_mcp.pages.guard import SecurityHeadersMiddleware
from kros_mcp.pages.operation_view import digest_of
from kros_mcp.pages.rendering import style, whole
from kros_mcp.simulator import Simulator, transport
from kros_mcp.times import minute, span
from kros_mcp.tools.caller import principal_of
from tests.support.canaries import SECRET
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

COOKIE = "kros-approvals"
FOREIGN = {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}


def wanted_headers(answer: httpx.Response) -> None:
    policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    for name, value in {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cache-control": "no-store",
    }.items():
        assert answer.headers.get(name) == value, (answer.request.url, answer.status_code)


async def a_browser_with(bench: Bench, cookie: str, name: str = COOKIE) -> Browser:
    browser = bench.browser()
    browser.http.cookies.set(name, cookie)
    return browser


def an_operation(bench: Bench, **changes: Any) -> Operation:
    now = bench.clock()
    return replace(
        Operation(
            id=new_operation_id(),
            account=bench.runtime.account.id,
            principal=SUPPORT,
            action=Action.BUY,
            e164="+2348035550111",
            request=Request(inventory_id="inv_1", country="NG"),
            quote=Quote("+2348035550111", "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500),
            created_at=now,
            expires_at=now + 3600,
            channel=Channel.APPROVER,
        ),
        **changes,
    )


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


# ---- what is shown


async def test_an_approver_sees_who_asks_for_what_at_which_cost_and_what_that_leaves() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase(allow_outbound=False)
        bench.clock.now += 3600 * 21
        browser = await bench.signed_in()

        for page in (await browser.get(), await browser.get(f"/approvals/{waiting.id}")):
            shown = text_of(page)
            for told in (
                "Buy +234 803 555 0100",
                "+2348035550100, Nigeria",
                "support-agent, a caller with a token, asks to buy +234 803 555 0100 in Nigeria.",
                "tokens|support-agent",
                "Now, first month included 7.00 USD",
                "Every month 7.00 USD",
                "outbound calls off",
                "7.00 USD before, 14.00 USD after",
                "193.00 USD of 200.00 USD would be left",
                "Test key",
                "UTC, in 3 hours",
                waiting.id,
            ):
                assert told in shown


async def test_what_the_guard_would_refuse_is_said_before_it_is_approved() -> None:
    async with open_bench(max_purchase_cents=700, daily_budget_cents=900) as bench:
        limits = Limits(daily_budget_cents=600, max_purchase_cents=650)
        waiting = await bench.runtime.account.journal.propose(
            an_operation(bench, limits=limits, quote=replace(an_operation(bench).quote, due_now_cents=700))
        )
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))

        assert "tokens|support-agent has spent 0.00 USD of its own 6.00 USD, and 0.00 USD of that" in shown
        assert "More than one purchase may cost, 6.50 USD: it would be refused." in shown
        assert "More than the budget of tokens|support-agent has left for the day: it would be refused." in shown


async def test_what_a_purchase_would_leave_of_its_principals_own_budget_is_shown() -> None:
    async with open_bench() as bench:
        waiting = await bench.runtime.account.journal.propose(
            an_operation(bench, limits=Limits(daily_budget_cents=1_000))
        )
        cents = 1_000 - (waiting.quote.due_now_cents or 0)
        browser = await bench.signed_in()

        for page in (await browser.get(), await browser.get(f"/approvals/{waiting.id}")):
            own = f"of its own 10.00 USD, and {cents / 100:.2f} USD of that would be left"
            assert f"tokens|support-agent has spent 0.00 USD {own}" in text_of(page)


async def test_a_release_shows_where_calls_go_and_that_it_cannot_be_undone() -> None:
    async with open_bench() as bench:
        waiting = await bench.release()
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))

        assert f"Calls to it go to {waiting.quote.routed_to}" in shown
        assert "This cannot be undone." in shown
        assert "first month" not in shown


async def test_only_what_waits_for_approvers_of_this_account_is_there() -> None:
    async with open_bench() as bench:
        journal = bench.runtime.account.journal
        other = await journal.propose(an_operation(bench, account="another account"))
        asked = await journal.propose(an_operation(bench, channel=Channel.CODE, e164="+2348035550112"))
        gone = await journal.propose(
            an_operation(bench, account="another account", expires_at=bench.clock(), e164="+1")
        )
        browser = await bench.signed_in()
        token = hidden((await browser.get()).text)["form_token"]

        assert "Nothing waits" in text_of(await browser.get())
        for operation in (other, asked, gone):
            path = f"/approvals/{operation.id}"
            form = {"form_token": token, "digest": digest_of(operation), "decision": "approve"}
            assert (await browser.get(path)).status_code == (await browser.post(path, form)).status_code == 404
        assert [(await bench.stored(each)).state for each in (other, asked)] == [State.PROPOSED] * 2
        for path in ("/approvals/op_aaaaaaaaaaaaaaaa", "/approvals/nothing", "/approvals/%2e%2e"):
            assert (await browser.get(path)).status_code == 404


async def test_the_page_comes_within_two_seconds_and_says_what_krosai_does_not_tell() -> None:
    class Slow(httpx.AsyncBaseTransport):
        """Answers, until it is told to answer no more."""

        answers = True

        def __init__(self, sim: Simulator) -> None:
            self.inner = transport(sim)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not self.answers:
                await anyio.sleep_forever()
            return await self.inner.handle_async_request(request)

    sim = Simulator()
    way = Slow(sim)
    async with open_bench(sim, way=way) as bench:
        waiting, cookie = await bench.purchase(), await bench.sealed()
        account = bench.runtime.account
        await account.journal.number_changed(account.id, waiting.e164)  # the list of the proposal is not shown again
        way.answers = False
        browser = await a_browser_with(bench, cookie)
        with anyio.fail_after(2.5):
            shown = text_of(await browser.get(f"/approvals/{waiting.id}"))
        assert "All numbers, monthly not known now" in shown
        with anyio.fail_after(1):  # it is not asked again for every page
            assert "not known now" in text_of(await browser.get())
        way.answers = True


async def test_text_of_others_is_shown_as_text() -> None:
    hostile = "<script>alert(1)</script>\u202e\"'><b>"
    async with open_bench() as bench:
        quote = replace(an_operation(bench).quote, routed_to=hostile, country="<i>", endpoint_type=hostile)
        for action in Action:
            request, numbers = Request(endpoint_id=hostile), [f"+23420155501{at:02}" for at in range(2)]
            items = [Item(e164, request, replace(quote, e164=e164)) for e164 in numbers] if action.is_several else []
            waiting = await bench.runtime.account.journal.propose(
                an_operation(bench, principal=hostile, action=action, quote=quote, request=request, items=tuple(items))
            )
            browser = await bench.signed_in()
            pages = [await browser.get(), await browser.get(f"/approvals/{waiting.id}")]
            pages.append(await browser.decide(waiting, "", hostile))
            await browser.decide(waiting, "deny", hostile)
            pages += [await browser.get(), await browser.get(f"/approvals/{waiting.id}")]
            for page in pages:
                assert "&lt;script&gt;" in page.text
                assert "<script" not in page.text
                assert "<i>" not in page.text
                assert "\u202e" not in page.text


# ---- several together


async def waiting_purchases(bench: Bench, *changes: dict[str, Any]) -> list[Operation]:
    """Put purchases of 7.00 now and 5.00 a month before the approvers, each with changes of its own."""
    journal, base = bench.runtime.account.journal, an_operation(bench)
    found = []
    for at, changed in enumerate(changes):
        e164 = changed.pop("e164", f"+23480355502{at:02}")
        quote = replace(base.quote, **({"e164": e164, "due_now_cents": 700} | changed.pop("quote", {})))
        found.append(
            await journal.propose(an_operation(bench, id=new_operation_id(), e164=e164, quote=quote, **changed))
        )
    return found


async def together(bench: Bench, credential: str = NIGHT) -> str:
    page = await (await bench.signed_in(credential)).get()
    found = re.search(r'<p class="together">(.*?)</p>', page.text)
    return re.sub(r"<[^>]+>", "", found[1]) if found else ""


async def test_what_several_yeses_come_to_together_is_told_and_so_is_how_many_wait() -> None:
    async with open_bench() as bench:
        await waiting_purchases(bench, {})
        assert await together(bench) == ""
        await waiting_purchases(bench, {"e164": "+2348035550221"}, {"e164": "+2348035550222"})

        told = await together(bench)

        assert told == (
            "If you approve all three purchases: 179.00 USD left of 200.00 USD for these 24 hours, 22.00 USD a month "
            "for all numbers."
        )
        page = await (await bench.signed_in()).get()
        assert "<title>(3) Approvals" in page.text


async def test_the_sum_is_of_what_this_approver_can_let_through_and_the_guard_would() -> None:
    gone = principal_of("tokens", "gone")
    who = access(own_scopes=lambda principal: frozenset() if principal == gone else AGENT_SCOPES)
    async with open_bench(who=who, max_purchase_cents=1_000) as bench:
        await waiting_purchases(
            bench,
            {},
            {},
            {"principal": NIGHT_DESK},
            {"principal": gone},
            {"quote": {"monthly_cents": None}},
            {"e164": "+2348035550200", "principal": DAY_DESK},  # the first number again
        )

        assert (await together(bench)).startswith("If you approve both purchases that can go through: 186.00 USD left")
        assert (await together(bench, DAY)).startswith("If you approve all three purchases that can go")


@pytest.mark.parametrize(
    ("settings", "changes", "told"),
    [
        ({"daily_budget_cents": 2_000}, {}, "they take 21.00 USD, and 20.00 USD is left for these 24 hours."),
        ({"monthly_commitment_cents": 2_000}, {}, "all numbers together would cost more a month than is allowed."),
        ({"total_daily_budget_cents": 2_000}, {}, "all organizations share a budget for 24 hours that has too little"),
        ({}, {"limits": Limits(daily_budget_cents=1_500)}, "one who asks has too little left of a budget of its own."),
    ],
)
async def test_more_than_is_left_together_is_said_though_each_alone_would_do(
    settings: dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    async with open_bench(**settings) as bench:
        await waiting_purchases(bench, *({**changes} for _ in range(3)))

        words = await together(bench)

        assert words.startswith(f"Approving all three purchases is more than is left: {told}")
        assert words.endswith("Those approved last would be refused, and nothing charged for them.")
        page = text_of(await (await bench.signed_in()).get())
        assert "it would be refused" not in page.lower()


async def test_what_was_approved_and_is_still_to_be_made_counts_first() -> None:
    elsewhere = principal_of("tokens", "elsewhere")  # whom another server knows, which carries it out
    who = access(own_scopes=lambda principal: None if principal == elsewhere else AGENT_SCOPES)
    async with open_bench(who=who) as bench:
        approved, *_ = await waiting_purchases(bench, {"principal": elsewhere}, {}, {})
        await bench.runtime.account.journal.change(approved.id, lambda now, at: moves.confirm(now, at, by="somebody"))

        told = await together(bench)

        assert told.startswith("If you approve both purchases: 179.00 USD left of 200.00 USD")
        assert (await bench.stored(approved)).state is State.CONFIRMED


@pytest.mark.parametrize(
    ("principal", "told"),
    [
        (SUPPORT, "support-agent, a caller with a token, asks to buy"),
        ("https://id.example/auth|ana|2", "ana|2, signed in through id.example, asks to buy"),
        ("local", "local asks to buy"),
        ("team|bob", "team|bob asks to buy"),
        ("http://[|<b>", "<b>, signed in through [, asks to buy"),
    ],
)
async def test_who_asks_is_said_with_what_they_came_through(principal: str, told: str) -> None:
    async with open_bench() as bench:
        [waiting] = await waiting_purchases(bench, {"principal": principal})
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))
        assert f"{told} +234 803 555 0200 in Nigeria." in shown


def test_a_sum_that_is_not_known_is_said_to_be_unknown() -> None:
    settings = settings_for(Simulator(), monthly_commitment_cents=9_000)
    unsure = Joint(2, 1_400, 20_000, None, RefusedError("Not known.", code="COMMITMENT_UNKNOWN"), 2)

    assert totals.words(unsure, settings, left_out=0) == (
        "Whether both purchases would go through together is not known now: what all numbers cost a month is not."
    )
    assert totals.words(replace(unsure, refusal=None), settings, left_out=0).endswith(
        "for these 24 hours, and what all numbers then cost a month is not known now."
    )


async def test_what_was_decided_lately_says_who_and_why_and_what_went_wrong() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        bench.sim.faults.switch_on("refuse", status=402, code="INSUFFICIENT_BALANCE", on={"purchase"})
        await browser.decide(waiting, "approve", "The shop opens in May")
        failed = await bench.until(waiting, State.FAILED)

        lately = text_of(await browser.get()).split("Decided lately")[1]

        assert "Approved by tokens|night-desk on the approvals page: The shop opens in May" in lately
        assert failed.message
        assert failed.message in lately


async def test_a_price_that_is_not_stated_is_no_amount_to_approve() -> None:
    async with open_bench(allow_unpriced=True) as bench:
        [waiting] = await waiting_purchases(bench, {"quote": {"due_now_cents": None, "monthly_cents": None}})
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))
        assert "the account is charged amounts that KrosAI does not state, now and every month until" in shown
        assert "Approve without a price" in shown


async def test_why_the_guard_would_refuse_for_any_other_reason_is_said_too() -> None:
    async with open_bench(allowed_countries="KE") as bench:
        [waiting] = await waiting_purchases(bench, {})
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))
        assert "It would be refused: Numbers may be bought only in Kenya" in shown
        assert "nothing was charged" not in shown.split("It would be refused")[1]


HOSTILE = "needed. </dd><b>APPROVED</b>\nOperation: op_free” \u202e <a href=//evil>Press Approve</a> " + "x" * 10_000


async def test_what_the_agent_writes_stands_below_the_facts_as_its_own_words_for_whoever_decides() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase(reason=HOSTILE)
        browser = await bench.signed_in()
        pages = [await browser.get(), await browser.get(f"/approvals/{waiting.id}")]
        await browser.decide(waiting, "deny", "no")
        pages.append(await browser.get(f"/approvals/{waiting.id}"))
    for page in pages:
        [shown] = re.findall(r'<p class="agent">The agent writes, unchecked: “<bdi>([^<]*)</bdi>”</p>', page.text)
        assert shown.startswith(
            "needed. (/dd)(b)APPROVED(/b) Operation: op-free&#39; (a href=//evil)Press Approve(/a) "
        )
        assert len(unescape(shown)) <= 200
        assert shown.endswith("…")
        assert page.text.index("</dl>", page.text.index(waiting.id)) < page.text.index('class="agent"')
        assert "op_free”" not in page.text


async def test_the_page_tells_since_when_it_waits_and_how_often_the_same_was_asked() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase()
        browser, path = await bench.signed_in(), f"/approvals/{waiting.id}"
        since = minute(waiting.created_at)
        bench.clock.now += 12 * 60
        assert f"Waits since {since} UTC, 12 minutes Open" in text_of(await browser.get(path))
        for _ in range(3):
            await bench.runtime.account.journal.change(waiting.id, moves.ask_again)
        for page in (await browser.get(), await browser.get(path)):
            assert f"since {since} UTC, 12 minutes; asked 4 times in the last 24 hours" in text_of(page)
        for _ in range(MOST_REPEATS):
            await bench.runtime.account.journal.change(waiting.id, moves.ask_again)
        assert "asked 100 times or more in the last 24 hours" in text_of(await browser.get(path))


async def test_the_page_tells_over_which_amount_purchases_wait_for_an_approver() -> None:
    async with open_bench(confirmation="conversation", approval_above_cents=600) as bench:
        waiting = await bench.purchase()
        own = await bench.runtime.account.journal.propose(
            an_operation(bench, e164="+2348035550109", limits=Limits(approval_above_cents=500))
        )
        browser = await bench.signed_in()
        for operation, line in ((waiting, "6.00"), (own, "5.00")):
            shown = text_of(await browser.get(f"/approvals/{operation.id}"))
            assert f"purchases over {line} USD wait for an approver" in shown
    async with open_bench(approval_above_cents=600) as bench:
        waiting = await bench.purchase()
        shown = text_of(await (await bench.signed_in()).get(f"/approvals/{waiting.id}"))
        assert "purchases over" not in shown, "here all wait"


# ---- deciding


async def test_what_is_approved_is_bought_once_and_the_journal_says_by_whom(journal_url: str) -> None:
    async with open_journal(journal_url) as journal, open_bench(journal=journal) as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()

        answer = await browser.decide(waiting, "approve", " opens\nin  May ")
        done = await bench.until(waiting, State.DONE)

        assert [(charge.e164, charge.idempotency_key) for charge in bench.sim.charges] == [(waiting.e164, waiting.id)]
        assert done.confirmed_by == "tokens|night-desk on the approvals page"
        assert done.reason == "opens in May"
        assert str(answer.url) == f"{HERE}/approvals/{waiting.id}"
        shown = text_of(await browser.get(f"/approvals/{waiting.id}"))
        assert "Approved and done." in shown
        assert "Approved by tokens|night-desk on the approvals page: opens in May" in shown
        assert "Approved and done" in text_of(await browser.get())


async def test_an_agent_hears_that_an_approver_was_asked_and_why_it_was_denied() -> None:
    sim = Simulator()
    async with open_service(settings_for(sim), access(), transport=transport(sim)) as service:
        way = httpx.ASGITransport(app=service.app)
        browser = Browser(httpx.AsyncClient(transport=way, base_url=HERE, follow_redirects=True))
        bearer = {"authorization": f"Bearer {AGENT}"}
        async with (
            httpx.AsyncClient(transport=way, base_url=HERE, headers=bearer) as http,
            Client(streamable_http_client(f"{HERE}/mcp", http_client=http)) as client,
        ):
            found = (await client.call_tool("search_phone_numbers", {"country": "NG", "limit": 1})).structured_content
            assert found
            chosen = {"inventory_id": found["numbers"][0]["inventory_id"]}
            asked = (await client.call_tool("buy_phone_number", chosen)).structured_content
            assert asked
            assert asked["status"] == "awaiting_approval"
            assert asked["summary"].startswith("It waits for an approver; nothing is charged")

            await browser.sign_in()
            path = f"/approvals/{asked['operation_id']}"
            form = hidden((await browser.get(path)).text)
            await browser.post(path, {**form, "decision": "deny", "reason": "too dear"})

            told = (await client.call_tool("get_operation", {"operation_id": asked["operation_id"]})).structured_content
    assert told
    assert (told["status"], told["charged"]) == ("declined", "no")
    assert "Denied by tokens|night-desk on the approvals page: too dear" in told["summary"]
    assert not sim.charges


@pytest.mark.parametrize(
    "filled", [{"decision": "deny"}, {"decision": "deny", "reason": " \u200b"}, {}, {"decision": "x"}]
)
async def test_a_denial_without_a_reason_and_no_decision_at_all_decide_nothing(filled: dict[str, str]) -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = await browser.form(waiting)

        answer = await browser.post(f"/approvals/{waiting.id}", {**form, **filled})

        assert answer.status_code == 400
        assert "othing was decided" in answer.text
        assert (await bench.stored(waiting)).state is State.PROPOSED


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_nobody_decides_on_what_their_own_principal_asked_for(decision: str) -> None:
    async with open_bench() as bench:
        waiting, own = await bench.purchase(), await bench.purchase(NIGHT_DESK, at=1)
        browser, other = await bench.signed_in(), await bench.signed_in(DAY)

        assert f'href="/approvals/{own.id}"' not in (await browser.get()).text
        page = await browser.get(f"/approvals/{own.id}")
        assert "another approver has to decide" in page.text
        assert "<textarea" not in page.text

        forged = {**await browser.form(waiting), "digest": (await other.form(own))["digest"]}
        answer = await browser.post(f"/approvals/{own.id}", {**forged, "decision": decision, "reason": "mine"})
        assert answer.status_code == 403
        assert (await bench.stored(own)).state is State.PROPOSED

        assert (await other.decide(own, "deny", "not now")).status_code == 200
        assert (await bench.stored(own)).state is State.DECLINED


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"form_token": ""}, {}),
        ({"form_token": "é"}, {}),
        ({}, FOREIGN),
        ({}, {"sec-fetch-site": "same-site"}),
        ({}, {"origin": "null"}),
        ({}, {"origin": "http://127.0.0.1:9000"}),
        ({}, {"content-type": "text/plain"}),
    ],
)
async def test_a_form_that_another_page_sends_decides_nothing(changes: dict[str, str], headers: dict[str, str]) -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "approve", **changes}

        assert (await browser.post(f"/approvals/{waiting.id}", form, **headers)).status_code == 403
        assert (await bench.stored(waiting)).state is State.PROPOSED


async def test_a_form_of_another_session_or_of_unknown_origin_decides_nothing() -> None:
    async with open_bench() as bench:
        waiting, browser, other = await bench.purchase(), await bench.signed_in(), await bench.signed_in(DAY)
        form = {**await other.form(waiting), "decision": "approve"}
        assert (await browser.post(f"/approvals/{waiting.id}", form)).status_code == 403

        own = {**await browser.form(waiting), "decision": "approve"}
        assert (await browser.http.post(f"/approvals/{waiting.id}", data=own)).status_code == 403
        assert (await bench.stored(waiting)).state is State.PROPOSED


@pytest.mark.parametrize("headers", [FOREIGN, {"origin": "null"}])
async def test_nobody_is_signed_in_by_another_page(headers: dict[str, str]) -> None:
    async with open_bench() as bench:
        browser = bench.browser()
        assert (await browser.post("/approvals", {"credential": NIGHT}, **headers)).status_code == 403
        assert COOKIE not in browser.http.cookies


async def test_behind_a_proxy_that_changes_the_host_forms_of_the_public_url_are_our_own() -> None:
    async with open_bench(public_url="https://numbers.example") as bench:
        browser = bench.browser(base_url="https://127.0.0.1:8000")
        browser.headers = {"origin": "https://numbers.example", "sec-fetch-site": "same-origin"}
        assert "Signed in as" in (await browser.sign_in()).text


@pytest.mark.parametrize(
    "changed",
    [
        lambda operation: replace(operation, quote=replace(operation.quote, due_now_cents=1)),
        lambda operation: replace(operation, request=replace(operation.request, endpoint_id="elsewhere")),
        lambda operation: replace(operation, limits=Limits(daily_budget_cents=1)),
        lambda operation: replace(operation, expires_at=operation.expires_at + 1),
    ],
)
async def test_a_yes_to_another_quote_than_the_one_shown_decides_nothing(changed: Any) -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "approve", "reason": "typed already"}
        await bench.runtime.account.journal.change(waiting.id, lambda operation, _: changed(operation))

        answer = await browser.post(f"/approvals/{waiting.id}", form)

        assert answer.status_code == 409
        assert "is not what you were shown; nothing was decided" in answer.text
        assert "typed already</textarea>" in answer.text
        assert (await bench.stored(waiting)).state is State.PROPOSED
        again = {**hidden(answer.text), "decision": "approve"}
        assert "Approved" in text_of(await browser.post(f"/approvals/{waiting.id}", again))


async def test_what_was_asked_for_anew_with_other_settings_is_not_approved_in_the_old_form() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "approve"}
        anew = await bench.purchase(allow_outbound=False)

        answer = await browser.post(f"/approvals/{waiting.id}", form)
        swapped = await browser.post(f"/approvals/{anew.id}", form)

        assert (answer.status_code, swapped.status_code) == (409, 409)
        assert "already cancelled; nothing was done now" in answer.text
        assert (await bench.stored(anew)).state is State.PROPOSED
        assert not bench.sim.charges


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_what_has_expired_is_past_deciding(decision: str) -> None:
    async with open_bench(approval_hours=0.25) as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": decision, "reason": "late"}
        bench.clock.now += 900

        answer = await browser.post(f"/approvals/{waiting.id}", form)

        assert answer.status_code == 409
        assert "already expired" in answer.text
        assert (await bench.stored(waiting)).state is State.EXPIRED


async def test_of_two_approvers_at_once_one_decides_and_the_other_is_told() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase()
        approvers = [await bench.signed_in(), await bench.signed_in(DAY)]
        answers: list[httpx.Response] = []

        async def decide(browser: Browser, form: dict[str, str]) -> None:
            answers.append(await browser.post(f"/approvals/{waiting.id}", form))

        forms = [{**await browser.form(waiting), "decision": "approve"} for browser in approvers]
        async with anyio.create_task_group() as tasks:
            for browser, form in zip(approvers, forms, strict=True):
                tasks.start_soon(decide, browser, form)

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        late = next(answer for answer in answers if answer.status_code == 409)
        assert "nothing was done now" in late.text
        assert "on the approvals page" in late.text
        await bench.until(waiting, State.DONE)
        assert len(bench.sim.charges) == 1


async def test_a_decision_stays_as_it_is_when_the_form_is_sent_again() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "deny", "reason": "too dear"}

        await browser.post(f"/approvals/{waiting.id}", form)
        again = await browser.post(f"/approvals/{waiting.id}", {**form, "decision": "approve"})

        assert again.status_code == 409
        assert "Denied by tokens|night-desk on the approvals page: too dear" in text_of(again)
        assert (await bench.stored(waiting)).state is State.DECLINED


# ---- around it


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


async def test_a_journal_that_fails_is_told_and_decides_nothing() -> None:
    class Failing:
        """A journal that can be made to fail as a whole."""

        failing = False

        def __init__(self, journal: Any) -> None:
            self._journal = journal

        def __getattr__(self, name: str) -> Any:
            if self.failing:
                raise JournalError("The journal cannot be written; nothing can be spent.")
            return getattr(self._journal, name)

    clock = Clock()
    async with open_sqlite("sqlite://:memory:", clock=clock) as kept:
        journal: Any = Failing(kept)
        async with open_bench(journal=journal, clock=clock) as bench:
            waiting, browser = await bench.purchase(), await bench.signed_in()
            form = {**await browser.form(waiting), "decision": "approve"}
            journal.failing = True
            answers = [await browser.get(), await browser.post(f"/approvals/{waiting.id}", form)]
            journal.failing = False
            for answer in answers:
                assert answer.status_code == 503
                assert "journal cannot be written" in answer.text
            assert (await bench.stored(waiting)).state is State.PROPOSED


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


async def test_the_list_refreshes_itself_until_it_is_told_not_to_and_a_form_never_does() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        refresh = '<meta http-equiv="refresh"'
        assert refresh in (await browser.get()).text
        assert refresh not in (await browser.get("/approvals?still")).text
        assert refresh not in (await browser.get(f"/approvals/{waiting.id}")).text
        assert refresh not in (await bench.browser().get()).text


async def test_a_tampered_move_cannot_slip_past_what_the_terminal_forbids() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "deny", "reason": "x"}
        await bench.runtime.account.journal.change(waiting.id, lambda now, at: moves.confirm(now, at, by="somebody"))

        assert (await browser.post(f"/approvals/{waiting.id}", form)).status_code == 409
        await bench.until(waiting, State.DONE)


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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (86_400, "24 hours"),
        (172_800, "2 days"),
    ],
)
def test_the_time_left_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


async def test_a_purchase_that_krosai_has_not_shown_yet_counts_in_what_all_numbers_cost() -> None:
    async with open_bench() as bench:
        bought, _ = await bench.purchase(), await bench.purchase(at=1)
        browser = await bench.signed_in()  # what KrosAI shows now is kept for a while
        await browser.decide(bought, "approve", "yes")
        await bench.until(bought, State.DONE)

        shown = text_of(await browser.get())
        assert "All numbers, monthly 14.00 USD" in shown
        assert "14.00 USD before, 21.00 USD after" in shown


# ---- several numbers under one yes


async def test_a_batch_is_one_entry_that_shows_every_number_and_is_decided_whole() -> None:
    async with open_bench() as bench:
        batch = await bench.purchases(3)
        browser = await bench.signed_in()
        for path in ("/approvals", f"/approvals/{batch.id}"):
            page = text_of(await browser.get(path))
            for item in batch.items:
                assert f"{spoken(item.e164)} Nigeria 7.00 USD 7.00 USD" in page
            assert "All 3 21.00 USD 21.00 USD" in page
        fewer = digest_of(replace(batch, items=batch.items[:2]))
        stale = await browser.post(
            f"/approvals/{batch.id}", {**await browser.form(batch), "digest": fewer, "decision": "approve"}
        )
        assert "is not what you were shown" in text_of(stale)
        assert (await bench.stored(batch)).state is State.PROPOSED

        await browser.decide(batch, "approve")

        items = await bench.until_told(batch)
        assert [item.state for item in items] == [State.DONE] * 3
        assert [charge.e164 for charge in bench.sim.charges] == [item.e164 for item in batch.items]
        assert text_of(await browser.get()).count("Buy 3 numbers") == 1


async def test_a_batch_counts_with_all_its_numbers_in_what_yeses_come_to() -> None:
    async with open_bench() as bench:
        await bench.purchases(3)
        assert await together(bench) == ""
        await bench.purchase(at=5)
        assert (await together(bench)).startswith(
            "If you approve both purchases, 4 numbers in all: 172.00 USD left of 200.00 USD"
        )
