"""The approvals page: what those who decide see of what waits, one by one and together."""

import re
from dataclasses import replace
from html import unescape
from typing import Any

import anyio
import httpx
import pytest
from approvals_bench import (
    AGENT_SCOPES,
    DAY,
    DAY_DESK,
    NIGHT,
    NIGHT_DESK,
    SUPPORT,
    Bench,
    a_browser_with,
    access,
    an_operation,
    hidden,
    open_bench,
    settings_for,
    text_of,
)

from kros_mcp.errors import RefusedError
from kros_mcp.http.approvals import totals
from kros_mcp.operations import moves
from kros_mcp.operations.model import (
    MOST_REPEATS,
    Action,
    Channel,
    Item,
    Limits,
    Operation,
    Request,
    State,
    new_operation_id,
)
from kros_mcp.operations.outlook import Joint
from kros_mcp.pages.operation_view import digest_of
from kros_mcp.simulator import Simulator, transport
from kros_mcp.times import minute, span
from kros_mcp.tools.caller import principal_of

pytestmark = pytest.mark.anyio


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


async def test_the_list_refreshes_itself_until_it_is_told_not_to_and_a_form_never_does() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        refresh = '<meta http-equiv="refresh"'
        assert refresh in (await browser.get()).text
        assert refresh not in (await browser.get("/approvals?still")).text
        assert refresh not in (await browser.get(f"/approvals/{waiting.id}")).text
        assert refresh not in (await bench.browser().get()).text


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


async def test_a_batch_counts_with_all_its_numbers_in_what_yeses_come_to() -> None:
    async with open_bench() as bench:
        await bench.purchases(3)
        assert await together(bench) == ""
        await bench.purchase(at=5)
        assert (await together(bench)).startswith(
            "If you approve both purchases, 4 numbers in all: 172.00 USD left of 200.00 USD"
        )
