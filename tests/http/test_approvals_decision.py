"""The approvals page: a decision is an approver's own, once, on what was shown."""

from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from approvals_bench import (
    AGENT,
    DAY,
    FOREIGN,
    HERE,
    NIGHT_DESK,
    Browser,
    access,
    hidden,
    open_bench,
    settings_for,
    text_of,
)
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kros_mcp.errors import JournalError
from kros_mcp.http.app import open_service
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.numbering import spoken
from kros_mcp.operations import moves
from kros_mcp.operations.model import Limits, State
from kros_mcp.pages.operation_view import digest_of
from kros_mcp.simulator import Simulator, transport
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


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


async def test_a_tampered_move_cannot_slip_past_what_the_terminal_forbids() -> None:
    async with open_bench() as bench:
        waiting, browser = await bench.purchase(), await bench.signed_in()
        form = {**await browser.form(waiting), "decision": "deny", "reason": "x"}
        await bench.runtime.account.journal.change(waiting.id, lambda now, at: moves.confirm(now, at, by="somebody"))

        assert (await browser.post(f"/approvals/{waiting.id}", form)).status_code == 409
        await bench.until(waiting, State.DONE)


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
