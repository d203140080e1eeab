"""The spending page: who may look, what they see of their own organization alone, and what a file of it holds."""

import csv
import io
import re
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from approvals_bench import (
    AGENT,
    AUDITOR,
    BOTH,
    HERE,
    NIGHT,
    SUPPORT,
    Bench,
    Browser,
    access,
    hidden,
    open_bench,
    text_of,
    wanted_headers,
)

from kros_mcp.http.spending_page.books_query import read_query
from kros_mcp.http.spending_page.charts import Bar, Words, lying, ticks, upright
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import Operation, Request, State
from kros_mcp.operations.pruning import Pruning
from kros_mcp.operations.spreadsheet import COLUMNS
from kros_mcp.tools.specs import Scope
from tests.money.expenditure_bench import DAY, ended, enter, quoted, released

pytestmark = pytest.mark.anyio

HOSTILE = "<script>alert(1)</script>\u202e\"'=cmd()"
KNOWN_TAGS = {f"<{tag}" for tag in (
    *("html", "head", "meta", "title", "link", "body", "header", "main", "nav", "section", "article", "figure"),
    *("figcaption", "h1", "h2", "h3", "p", "a", "b", "bdi", "span", "small", "wbr", "dl", "div", "dt", "dd", "details"),
    *("summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "form", "label", "input", "select", "option"),
    *("button", "svg", "desc", "defs", "pattern", "rect", "path", "g", "text"),
)}  # fmt: skip
NOW = 1_800_000_000.0  # 15 January 2027, 08:00 UTC, of the bench's clock


async def books(bench: Bench, *operations: Operation) -> None:
    account = bench.runtime.account
    await enter(account.journal, *(replace(each, account=account.id) for each in operations))


async def auditor(bench: Bench, credential: str = AUDITOR) -> Browser:
    browser = bench.browser()
    assert "Signed in as" in (await browser.post("/spending", {"credential": credential})).text
    return browser


def some() -> list[Operation]:
    """Two purchases of January, one of December, one whose outcome is not known, one that failed, and a release."""
    return [
        ended(1, NOW - DAY, principal=SUPPORT),
        quoted(ended(2, NOW - 2 * DAY, principal="tokens|lagos-desk"), country="KE"),
        ended(3, NOW - 40 * DAY, principal=SUPPORT),
        ended(4, NOW - 3600, principal=SUPPORT, state=State.UNKNOWN, charged="unknown", changed="unknown"),
        ended(5, NOW - 3 * DAY, principal=SUPPORT, state=State.FAILED, charged="no", error_code="PRICE_CHANGED"),
        released(6, NOW - 4 * DAY, principal=SUPPORT),
    ]


# ---- who may look


@pytest.mark.parametrize("credential", [AUDITOR, NIGHT])
async def test_readers_of_the_books_and_approvers_may_look(credential: str) -> None:
    async with open_bench() as bench:
        page = await (await auditor(bench, credential)).get("/spending")
        assert "What is spent" in page.text
        assert ("/approvals" in page.text) == (credential == NIGHT)


@pytest.mark.parametrize("credential", [AGENT, BOTH, "wrong", ""])
async def test_whoever_has_another_scope_may_not_and_learns_nothing(credential: str) -> None:
    async with open_bench() as bench:
        await books(bench, *some())
        browser = bench.browser()
        refused = await browser.post("/spending", {"credential": credential})
        assert refused.status_code == 403
        assert "does not let anybody see the books here" in refused.text
        for path in ("/spending", "/spending/operations.csv", f"/spending/{some()[0].id}", "/spending?since=&until="):
            shown = await browser.get(path)
            assert "Sign in to see what is spent" in shown.text
            assert "803" not in shown.text
            wanted_headers(shown)


async def test_a_reader_of_the_books_neither_sees_nor_decides_what_waits() -> None:
    async with open_bench() as bench:
        waiting, approver = await bench.purchase(), await bench.signed_in()
        form = await approver.form(waiting)
        browser = await auditor(bench)
        assert (await browser.post("/approvals", {"credential": AUDITOR})).status_code == 403
        sealed = browser.http.cookies["kros-spending"]
        thief = bench.browser()
        thief.http.cookies.set("kros-approvals", sealed)  # as only a person at their own browser can
        page = await thief.get(f"/approvals/{waiting.id}")
        posted = await thief.post(f"/approvals/{waiting.id}", {**form, "decision": "approve"})
        assert ("Sign in to approve" in page.text, posted.status_code) == (True, 403)
        assert (await bench.stored(waiting)).state is State.PROPOSED
        assert not bench.sim.charges


async def test_signing_in_once_opens_each_page_and_signing_out_closes_all() -> None:
    async with open_bench() as bench:
        browser = await bench.signed_in(NIGHT)
        page = await browser.get("/spending")
        assert "What is spent" in page.text
        form = hidden(page.text.split("</form>")[0] + "</form>")
        await browser.post("/spending/sign-out", form)
        assert not browser.http.cookies
        assert "Sign in" in (await browser.get("/approvals")).text


async def test_a_session_ends_with_its_scope_and_leads_back_to_where_one_wanted_to_go() -> None:
    scopes = {Scope.AUDIT}
    async with open_bench(who=access(still_has=lambda _principal, _mark, scope: scope in scopes)) as bench:
        form = hidden((await bench.browser().get("/spending?since=&until=&country=KE")).text)
        browser = bench.browser()
        landed = await browser.post("/spending", {"credential": AUDITOR, **form})
        assert str(landed.url) == f"{HERE}/spending?since=&until=&country=KE"
        elsewhere = await bench.browser().post("/spending", {"credential": AUDITOR, "to": "//evil.example?x"})
        assert str(elsewhere.url) == f"{HERE}/spending?signed-in"
        scopes.clear()
        assert "Sign in to see" in (await browser.get("/spending")).text


# ---- what is shown


async def test_the_page_tells_sums_charts_and_operations_of_both_journals(journal_url: str) -> None:
    async with open_journal(journal_url) as journal, open_bench(journal=journal) as bench:
        now = await journal.now()
        await books(bench, *(replace(each, **_moved(each, now - NOW)) for each in some()))
        account = bench.runtime.account.id
        number = PhoneNumber("id_1", "+2348035550001", "NG", monthly_cents=500)
        await journal.keep(account, [], Listing(OwnedList((number,), complete=True), now - 1))
        page = await (await auditor(bench)).get("/spending")
        shown = text_of(page)
        for told in (
            "Test key",
            "of 200.00 USD; ",
            "The outcome of 1 purchase is not known: 5.00 USD may have been charged",
            "2 numbers bought for 10.00 USD; whether 1 more, 5.00 USD, was charged is not known; 1 number released.",
            "All numbers, monthly",
            "Cost a month, by country",
            "Most goes to",
            "In any 24 hours 200.00 USD",
            "5 operations. Download",
            "Kenya",
        ):
            assert told in shown
        wanted_headers(page)


async def test_what_was_bought_here_and_given_up_elsewhere_makes_no_negative_sum() -> None:
    async with open_bench() as bench:
        account, journal = bench.runtime.account.id, bench.runtime.account.journal
        now = await journal.now()
        await books(bench, ended(1, now - DAY), ended(2, now - DAY))
        number = PhoneNumber("id_1", "+2348035550001", "NG", monthly_cents=500)
        await journal.keep(account, [], Listing(OwnedList((number,), complete=True), now - 1))
        shown = text_of(await (await auditor(bench)).get("/spending"))
    assert "What numbers cost a month before is not known: what was bought and released here does not come to" in shown
    assert "Cost of all numbers a month" not in shown
    assert "more than before" not in shown


async def test_what_is_in_another_currency_is_neither_added_nor_called_by_the_label() -> None:
    async with open_bench() as bench:
        account, journal = bench.runtime.account.id, bench.runtime.account.journal
        now = await journal.now()
        await books(bench, ended(1, now - DAY), quoted(ended(2, now - DAY), currency="NGN"))
        number = PhoneNumber("id_1", "+2348035550001", "NG", monthly_cents=500, currency="NGN")
        await journal.keep(account, [], Listing(OwnedList((number,), complete=True), now - 1))
        foreign = text_of(await (await auditor(bench)).get("/spending"))
        dollars = replace(number, id="id_2", e164="+2348035550002", currency="USD")
        await journal.keep(account, [], Listing(OwnedList((number, dollars), complete=True), now))
        mixed = text_of(await (await auditor(bench)).get("/spending"))
    for told in (
        "KrosAI states amounts in several currencies (NGN, USD); sums of them mean nothing.",
        "All numbers, monthly 5.00 NGN",
        "2 numbers bought for 10.00; 0 numbers released.",
    ):
        assert told in foreign
    assert "Cost of all numbers a month" not in foreign
    assert "All numbers, monthly in several currencies" in mixed


def _moved(operation: Operation, seconds: float) -> dict[str, Any]:
    times = ("created_at", "expires_at", "claimed_at", "sent_at", "settled_at")
    return {name: at + seconds for name in times if (at := getattr(operation, name)) is not None}


async def test_filters_narrow_sums_and_list_and_wrong_ones_are_told_and_left_out() -> None:
    async with open_bench() as bench:
        await books(bench, *some())
        browser = await auditor(bench)

        async def shown(query: str) -> str:
            return text_of(await browser.get(f"/spending?{query}"))

        assert "1 number bought for 5.00 USD; 0 numbers" in await shown("since=&until=&country=KE")
        assert "1 operation." in await shown("since=&until=&principal=tokens%7Clagos-desk")
        assert "1 operation; 0.00 USD charged; 5.00 USD not known." in await shown("since=&until=&state=unknown")
        assert "1 operation; 0.00 USD charged." in await shown("since=&until=&action=release")
        assert "From 1 December 2026 to 31 December 2026" in await shown("since=2026-12-01&until=2026-12-31")
        assert "1 number bought for 5.00 USD" in await shown("since=2026-12-01&until=2026-12-31")
        assert "3 numbers bought for 15.00 USD" in await shown("since=&until=")
        wrong = await shown("since=soon&until=2027-01-15&country=Atlantis&state=lost&action=steal&page=-3")
        for told in ("'soon' is not a day", "two-letter ISO 3166-1 code", "'lost' is none of", "'steal' is none of"):
            assert told in wrong
        assert "The first day is later than the last" in await shown("since=2027-01-02&until=2027-01-01")
        assert "6 operations" in await shown("since=&until=&page=999999"), "the last page there is"


async def test_the_list_is_turned_page_by_page() -> None:
    async with open_bench() as bench:
        await books(bench, *(ended(at, NOW - at * 60) for at in range(120)))
        browser = await auditor(bench)
        first = await browser.get("/spending")
        assert "1 to 50 of 120" in first.text
        assert "Newer" not in first.text
        last = await browser.get("/spending?page=3")
        assert "101 to 120 of 120" in last.text
        assert "Older" not in last.text
        assert "+234 803 555 0119" in last.text


async def test_thousands_of_principals_leave_the_page_short() -> None:
    async with open_bench() as bench:
        await books(bench, *(ended(at, NOW - at * 60, principal=f"tokens|agent-{at:04d}") for at in range(130)))
        rest = ended(200, NOW - 60, principal="tokens|agent-rest")
        await books(bench, rest)
        browser = await auditor(bench)
        page = await browser.get("/spending?since=&until=")
        assert page.text.count('<option value="tokens|') == 100
        assert "31 others 31 155.00 USD" in text_of(page)
        one = await browser.get("/spending?since=&until=&principal=tokens%7Cagent-rest")
        assert "1 number bought for 5.00 USD" in text_of(one)


async def test_empty_books_and_a_single_purchase_are_told_plainly() -> None:
    async with open_bench() as bench:
        browser = await auditor(bench)
        empty = await browser.get("/spending")
        assert "Nothing was spent in this period" in empty.text
        assert "No operation was asked for that fits." in empty.text
        assert "<svg" not in empty.text
        await books(bench, ended(1, NOW - 60))
        one = await browser.get("/spending?since=&until=")
        assert "1 number bought for 5.00 USD; 0 numbers released." in text_of(one)
        assert one.text.count("<svg") >= 2


async def test_a_name_that_no_journal_can_hold_is_nobodys(journal_url: str) -> None:
    async with open_journal(journal_url) as journal, open_bench(journal=journal) as bench:
        browser = await auditor(bench)
        for path in ("/spending", "/spending/operations.csv"):
            assert (await browser.get(f"{path}?principal=a%00b")).status_code == 200


async def test_what_was_pruned_of_the_period_is_told() -> None:
    async with open_bench() as bench:
        await books(bench, ended(1, NOW - 90 * DAY), ended(2, NOW - 60))
        browser, account = await auditor(bench), bench.runtime.account
        [_, old] = await account.journal.list_operations()
        run = Pruning("prune_1", "", NOW - 60 * DAY, NOW, "ana")
        assert await account.journal.prune([old.id], {account.id}, before=NOW - 60 * DAY, run=run)
        told = "Pruned, and in no list or sum: 1 operation that had ended before"
        assert told in text_of(await browser.get("/spending?since=&until="))
        assert told not in text_of(await browser.get("/spending"))


async def test_text_of_others_is_shown_as_text_and_is_no_formula_in_a_file() -> None:
    async with open_bench() as bench:
        hostile = ended(
            1, NOW - 60, principal=f"={HOSTILE}", message=HOSTILE, error_code="=X", request=Request(reason=HOSTILE)
        )
        await books(bench, hostile, quoted(ended(2, NOW - 70), country="<b"))
        browser = await auditor(bench)
        for path in ("/spending", f"/spending/{hostile.id}", "/spending?principal=%3Cscript%3E&country=%3Cb"):
            page = await browser.get(path)
            assert page.status_code == 200
            assert "\u202e" not in text_of(page)
            tags = set(re.findall(r"<[a-z]\w*", page.text))
            assert tags <= KNOWN_TAGS
        rows = list(csv.reader(io.StringIO((await browser.get("/spending/operations.csv")).text)))
        assert all(not cell.startswith(("=", "@", "-")) for row in rows for cell in row)


async def test_a_file_holds_what_the_list_shows_as_the_export_writes_it() -> None:
    async with open_bench() as bench:
        await books(bench, *some())
        browser = await auditor(bench)
        answer = await browser.get("/spending/operations.csv?since=2026-12-01&until=2027-01-31&state=done&action=buy")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == ('attachment; filename="operations-2026-12-01-2027-01-31.csv"')
        wanted_headers(answer)
        assert tuple(rows[0]) == COLUMNS
        assert [(row["e164"][-1], row["charged_amount"]) for row in rows] == [
            ("3", "5.00"),
            ("2", "5.00"),
            ("1", "5.00"),
        ]
        none = await browser.get("/spending/operations.csv?state=declined")
        assert none.text.strip() == ",".join(COLUMNS)


async def test_the_story_of_an_operation_is_told_move_by_move() -> None:
    async with open_bench() as bench:
        asked = await bench.purchase(reason="The shop opens in May")
        approver = await bench.signed_in()
        await approver.decide(asked, "approve", "Agreed")
        await bench.until(asked, State.DONE)
        page = await (await auditor(bench)).get(f"/spending/{asked.id}")
        story = text_of(page).rsplit("What happened to it", 1)[1]
        asking, yes = "proposed tokens|support-agent tool", "confirmed tokens|night-desk page Agreed"
        found = [story.index(move) for move in (asking, yes, "claimed server", "sent server", "done server")]
        assert found == sorted(found)
        assert "It is done; charged: yes, 7.00 USD; changed: yes." in text_of(page)
        for unknown in ("op_bbbbbbbbbbbbbbbb", "nothing"):
            assert (await (await auditor(bench)).get(f"/spending/{unknown}")).status_code == 404


async def test_nothing_of_another_organization_is_shown() -> None:
    async with open_bench(total_daily_budget_cents=77_700) as bench:
        mine, theirs = ended(1, NOW - 60), ended(2, NOW - 60, account="another", reserved_cents=4_321)
        await books(bench, mine)
        await enter(bench.runtime.account.journal, theirs)
        browser = await auditor(bench)
        everything = [
            await browser.get(path) for path in ("/spending?since=&until=", "/spending/operations.csv?since=&until=")
        ]
        for page in everything:
            assert theirs.id not in page.text
            assert "43.21" not in page.text
        assert "777.00 USD" in everything[0].text
        assert (await browser.get(f"/spending/{theirs.id}")).status_code == 404


async def test_looking_asks_krosai_nothing_and_changes_nothing() -> None:
    async with open_bench() as bench:
        waiting = await bench.purchase()
        browser, before, sent = await auditor(bench), await bench.stored(waiting), len(bench.sim.requests)
        for path in ("/spending", f"/spending/{waiting.id}", "/spending/operations.csv"):
            assert (await browser.get(path)).status_code == 200
        for path in (f"/spending/{waiting.id}", "/spending/operations.csv"):
            assert (await browser.post(path, {"decision": "approve"})).status_code == 405
        assert await bench.stored(waiting) == before
        assert len(bench.sim.requests) == sent


# ---- charts


def test_a_chart_holds_no_script_and_no_style_and_says_what_it_shows() -> None:
    words = Words("Spent <b>", "More & more")
    bars = [Bar(f"{day} May", day * 100, 50 * (day == 3), f"{day}.00", f"<{day}>") for day in range(1, 8)]
    for chart in (upright("spent", words, bars, cap_cents=900, cap="at most 9.00"), lying("part", words, bars)):
        for svg in (chart.broad, chart.slim):
            root = fromstring(str(svg))  # noqa: S314 - our own
            tags = {each.tag.rpartition("}")[2] for each in root.iter()}
            assert not tags & {"script", "style", "a", "image", "foreignObject"}
            assert not any(name == "style" or name.startswith("on") for each in root.iter() for name in each.attrib)
            assert root.get("role") == "img"
            named = {each.get("id"): each.text for each in root.iter()}
            assert [named[name] for name in root.get("aria-labelledby", "").split()] == ["Spent <b>", "More & more"]
            stripes = [each for each in root.iter() if each.get("fill", "").startswith("url(#")]
            assert len(stripes) == 1
            assert stripes[0].get("fill", "")[5:-1] in named


@pytest.mark.parametrize("highest", [1, 99, 500, 5_001, 123_456, 9_999_999_999])
def test_lines_of_a_chart_are_few_and_reach_the_highest_bar(highest: int) -> None:
    lines = ticks(highest)
    assert lines[0] == 0
    assert lines[-2] < highest <= lines[-1]
    assert len(lines) <= 5


def test_a_period_is_told_by_day_or_by_month_as_it_is_long() -> None:
    assert read_query({}, NOW).since == "2026-12-17"
    assert read_query({}, NOW).grouping(NOW) == "day"
    for parameters in ({"since": "", "until": ""}, {"since": "2026-01-01"}):
        assert read_query(parameters, NOW).grouping(NOW) == "month"
