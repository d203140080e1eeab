"""The page that asks, over its real socket: what a yes needs, and how each question ends."""

import re
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from screen_bench import AGENT, ScreenBench, hidden, open_screen_bench, text_of

from kros_mcp.browser import browser_screen
from kros_mcp.browser.loopback import MOST_CONNECTIONS
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.numbering import last_four
from kros_mcp.operations.model import ANSWER_SECONDS, Channel, Operation, State, new_operation_id
from kros_mcp.operations.run_rate import RunRates
from tests.support.clock import Clock
from tests.support.missing_table import without_the_table
from tests.support.upstream import wrote

pytestmark = pytest.mark.anyio


async def test_a_yes_on_the_page_buys_what_it_showed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase(allow_outbound=False, reason="The shop <b>opens</b> in May")
        tab = await bench.shown(operation, client="Claude")
        assert "<b>opens" not in tab.seen.text
        assert "The agent writes, unchecked: “ The shop (b)opens(/b) in May ”" in text_of(tab.seen)

        page = text_of(tab.seen)
        for said in ("+234 201 555 0100", "+2342015550100", "5.00 USD", "Test key", "outbound calls off", "“Claude”"):
            assert said in page
        assert "7.00 USD before, 12.00 USD after" in page
        assert "minutes" not in page  # it stands as it was served; its frame tells the time
        assert "195.00 USD of 200.00 USD would be left" in page
        assert (await bench.stored(operation)).shown_at is not None
        assert wrote(bench.sim) == []

        after = await tab.press("yes")

        assert "is bought" in text_of(after)
        assert "You can close this page" in text_of(after)
        assert [charge.e164 for charge in bench.sim.charges] == [operation.e164]
        stored = await bench.stored(operation)
        assert (stored.state, stored.channel, stored.decided_through) == (State.DONE, Channel.SCREEN, "screen")


async def test_what_krosai_refused_last_is_said_before_the_next_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        bench.sim.kyc = "pending"
        first = await bench.shown(await bench.purchase())
        assert "refused" not in text_of(first.seen)
        await first.press("yes")
        assert bench.sim.charges == []

        again = await bench.shown(await bench.purchase(1))

        said = r"KrosAI refused the last purchase, on \d+ \w+, because the account's identity is not verified\."
        assert re.search(said, text_of(again.seen))


async def test_a_no_spends_nothing_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)

        after = await tab.press("no")

        assert "You said no" in text_of(after)
        assert (await bench.stored(operation)).state is State.DECLINED
        assert bench.sim.charges == []
        assert "You said no" in text_of(await tab.press("yes", **hidden(after.text)))
        assert bench.sim.charges == []


async def test_a_release_needs_the_digits_and_has_three_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.release()
        tab = await bench.shown(operation)
        assert "Calls to this number will stop. This cannot be undone." in text_of(tab.seen)

        assert "Type the number's last four digits" in text_of(await tab.press("yes"))
        for attempt in (2, 3):
            bench.clock.now += 1
            assert f"Try {attempt} of 3" in text_of(await tab.press("yes", digits="0000"))
        bench.clock.now += 1
        assert "digits typed were not" in text_of(await tab.press("yes", digits="0000"))
        assert (await bench.stored(operation)).state is State.DECLINED

        again = await bench.release()
        tab = await bench.shown(again)
        await tab.press("yes", digits=last_four(again.e164))
        assert (await bench.stored(again)).state is State.DONE
        assert again.e164 not in {number.e164 for number in bench.sim.owned.values() if number.status == "active"}


async def test_a_protected_number_is_changed_after_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.configuration()
        tab = await bench.shown(operation)
        assert "Change the protected number +234 803 555 0199?" in text_of(tab.seen)
        assert "If you approve: outbound calls off" in text_of(tab.seen)

        await tab.press("yes")

        assert (await bench.stored(operation)).state is State.DONE
        assert not next(one for one in bench.sim.owned.values() if one.e164 == operation.e164).allow_outbound


async def test_a_yes_within_the_first_second_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        bench.clock.now -= 0.1

        early = await tab.press("yes")

        assert "quicker than anybody reads" in text_of(early)
        assert bench.sim.charges == []
        bench.clock.now += 0.9  # the page that said so was served just then
        assert "quicker than anybody reads" in text_of(await tab.press("yes"))
        bench.clock.now += 1.0
        await tab.press("yes")
        assert len(bench.sim.charges) == 1


async def test_two_presses_at_once_buy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(tab.press, "yes")
        assert len(bench.sim.charges) == 1
        assert len(wrote(bench.sim)) == 1


async def test_a_page_whose_outcome_is_not_known_yet_tells_it_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from kros_mcp.browser import question_app  # noqa: PLC0415 - loaded by the first question

    monkeypatch.setattr(question_app, "_OUTCOME_SECONDS", 0.05)
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        bench.sim.faults.switch_on("hold", on=["purchase"])

        after = await tab.press("yes")

        assert "Under way" in text_of(after)
        assert re.search(r'http-equiv="refresh" content="2; url=/question/[\w-]{22}"', after.text)
        assert not bench.sim.charges
        bench.sim.faults.let_go()
        with anyio.fail_after(10):
            while "is bought" not in text_of(await tab.again()):
                pass
        assert "http-equiv" not in tab.seen.text


async def test_the_second_use_of_a_path_ends_the_question_on_both_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        other = bench.tab()

        second = await other.open(bench.launched[0])

        assert second.status_code == 410
        assert "opened twice" in text_of(second)
        assert "nothing was charged" in text_of(second)
        assert (await bench.stored(operation)).state is State.CANCELLED
        after = await tab.press("yes")
        assert "opened twice" in text_of(after)
        assert bench.sim.charges == []


async def test_after_a_yes_a_second_use_of_the_path_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        await tab.press("yes")

        second = await bench.tab().open(bench.launched[0])

        assert (second.status_code, (await bench.stored(operation)).state) == (410, State.DONE)
        assert "answered on another page" in text_of(second)


NOT_A_PERSON: list[dict[str, str]] = [
    {"sec-purpose": "prefetch"},
    {"sec-purpose": "prefetch;prerender"},
    {"purpose": "prefetch"},
    {"x-moz": "prefetch"},
    {"sec-fetch-dest": "iframe"},
    {"sec-fetch-dest": "empty"},
    {"sec-fetch-dest": "image"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"user-agent": "w3m/0.5.3"},
    {"user-agent": "Lynx/2.9.0"},
    {"user-agent": "curl/8"},
    {"host": "attacker.example"},
    {"host": "localhost:1"},
]


async def test_what_no_person_opens_is_refused_and_is_no_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation, loaded = await bench.purchase(), anyio.Event()
        tab, refused = bench.tab(), []

        async def come(address: str) -> None:
            stranger = bench.http()
            refused.extend([(one, await stranger.get(address, headers=one)) for one in NOT_A_PERSON])
            refused.append(({"method": "HEAD"}, await stranger.head(address)))
            assert (await bench.stored(operation)).shown_at is None
            await tab.open(address)
            loaded.set()

        bench.come = come
        assert await bench.screen.show(operation)
        await loaded.wait()
        assert len(refused) == len(NOT_A_PERSON) + 1
        for headers, answer in refused:
            assert answer.status_code in {403, 405, 421}, headers
            assert "set-cookie" not in answer.headers
        assert tab.seen.status_code == 200


NOT_ITS_FORM: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"origin": "https://attacker.example"}, {}),
    ({"origin": "null"}, {}),
    ({"origin": "http://127.0.0.1:1"}, {}),
    ({"sec-fetch-site": "cross-site"}, {}),
    ({"sec-fetch-site": "same-site"}, {}),
    ({"host": "attacker.example"}, {}),
    ({}, {"form_token": "another"}),
    ({}, {"form_token": ""}),
    ({}, {"digest": "0" * 64}),
    ({"cookie": "kros-question=another"}, {}),
    ({"content-type": "text/plain"}, {}),
    ({"user-agent": "curl/8"}, {}),
]


async def test_a_form_of_another_page_presses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        form = tab.form()
        for headers, changed in NOT_ITS_FORM:
            sent = {"sec-fetch-site": "same-origin", "origin": tab.origin, **headers}
            refused = await tab.http.post(str(tab.seen.url), data={**form, "decision": "yes", **changed}, headers=sent)
            bench.clock.now += 1
            assert refused.status_code in {403, 409, 421}, (headers, changed)
        assert (await bench.stored(operation)).state is State.PROPOSED
        assert wrote(bench.sim) == []
        await tab.press("yes", **form)
        assert len(bench.sim.charges) == 1


async def test_every_answer_bears_the_headers_and_no_page_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        stranger, own = bench.tab(), tab.seen.url.path
        seen = [tab.seen, await tab.state(), await tab.press("no")]
        for path in ("/", "/1", "/question/x", f"{own}/state", own, "/open/x", "/style.css", "/favicon.ico"):
            seen.append(await stranger.open(tab.origin + path))
            assert operation.e164 not in seen[-1].text
            assert operation.id not in seen[-1].text
        seen.append(await stranger.http.post(f"{tab.origin}{own}", data={"decision": "yes"}))
        seen.append(await stranger.http.options(f"{tab.origin}{own}"))
        for answer in seen:
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            frames = "'self'" if answer.url.path.endswith("/state") else "'none'"
            assert policy.endswith(f"frame-ancestors {frames}")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["connection"] == "close"
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert "<script" not in answer.text


async def test_the_cookie_is_of_one_question_and_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        [cookie] = tab.seen.history[0].headers.get_list("set-cookie")
        assert re.fullmatch(r"kros-question-\d+=[\w-]{43}; HttpOnly; Path=/question/[\w-]{22}; SameSite=strict", cookie)


async def test_a_closed_tab_is_opened_anew_once_a_minute_and_the_older_page_answers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        old = await bench.shown(operation)
        assert await bench.screen.show(operation)  # its tab is alive
        bench.clock.now += 30
        assert await bench.screen.show(operation)  # it was fetched within the minute
        assert len(bench.launched) == 1

        bench.clock.now += 31
        new = await bench.shown(operation)

        assert len(set(bench.launched)) == 2
        assert "Nothing is asked here" in text_of(await old.press("yes"))
        assert bench.sim.charges == []
        await new.press("yes")
        assert len(bench.sim.charges) == 1


async def test_further_questions_wait_in_the_same_tab_and_follow_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        first, second = await bench.purchase(), await bench.purchase(1)
        tab = await bench.shown(first)
        shown: list[bool] = []

        async def show() -> None:
            shown.append(await bench.screen.show(second))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show)
            with anyio.fail_after(5):
                while not shown:
                    state = await tab.state()
        assert shown == [True]
        assert len(bench.launched) == 1
        assert "One more question waits, and follows here: Buy +234 201 555 0101" in text_of(state)
        assert (await bench.stored(second)).shown_at is not None

        after = await tab.press("no")
        found = re.search(r'http-equiv="refresh" content="\d; url=([^"]+)"', after.text)
        assert found
        await tab.open(tab.origin + found[1], **{"sec-fetch-site": "same-origin"})

        assert "Buy +234 201 555 0101?" in text_of(tab.seen)
        bench.clock.now += 1
        await tab.press("yes")
        assert [charge.e164 for charge in bench.sim.charges] == [second.e164]


async def test_however_many_are_asked_at_once_one_window_opens_and_each_counts_as_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a model could bring questions into the chat by asking for many."""
    async with open_screen_bench(monkeypatch) as bench:
        first = await bench.purchase()
        others = [replace(first, id=new_operation_id(), e164=f"+2342015551{number:03}") for number in range(12)]
        for other in others:
            await bench.runtime.account.journal.propose(other)
        tab = bench.tab()
        shown: list[bool] = []

        async def come(address: str) -> None:
            await tab.open(address)
            await tab.state()

        async def show(operation: Operation) -> None:
            shown.append(await bench.screen.show(operation))

        bench.come = come
        async with anyio.create_task_group() as tasks:
            for operation in (first, *others):
                tasks.start_soon(show, operation)
        assert shown == [True] * 13
        assert len(bench.launched) == 1
        assert all([(await bench.stored(one)).shown_at is not None for one in others])
        state = text_of(await tab.state())
        assert "12 more questions wait, and follow here:" in state
        assert "and 10 more." in state


async def test_a_browser_that_never_comes_is_told_and_one_that_comes_late_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(browser_screen, "FETCH_SECONDS", 0.05)
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        assert not await bench.screen.show(operation)
        assert not await bench.screen.show(operation)  # no second window
        assert len(bench.launched) == 1
        bench.screen.withdraw(operation.id)
        await bench.put(operation, Channel.CODE)

        late = await bench.tab().open(bench.launched[0])

        assert "It is asked in the chat" in text_of(late)
        assert (await bench.stored(operation)).shown_at is None


@pytest.mark.parametrize("ending", ["cancelled", "expired", "withdrawn", "put to the chat"])
async def test_a_question_that_ended_elsewhere_says_so_and_takes_no_yes(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    clock = Clock()
    async with (
        open_sqlite("sqlite://:memory:", clock=clock) as journal,
        open_screen_bench(monkeypatch, journal=journal) as bench,
    ):
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        form = tab.form()
        await end(bench, operation.id, ending, clock)

        assert "This question has ended." in text_of(await tab.state()) or ending == "put to the chat"
        after = await tab.press("yes", **form)

        told = {
            "cancelled": "was cancelled; nothing was charged",
            "expired": "has expired; nothing was charged or changed. Nobody confirmed it in time",
            "withdrawn": "taken back from this page",
            "put to the chat": "It is asked in the chat",
        }
        assert told[ending] in text_of(after)
        assert bench.sim.charges == []


async def end(bench: ScreenBench, operation_id: str, ending: str, clock: Clock) -> None:
    from kros_mcp.operations import moves  # noqa: PLC0415 - for this alone

    account = bench.runtime.account
    if ending == "cancelled":
        await account.change(operation_id, lambda one, now: moves.end(one, now, State.CANCELLED, reason="In the chat."))
    elif ending == "expired":
        clock.now += ANSWER_SECONDS + 1
    elif ending == "withdrawn":
        bench.screen.withdraw(operation_id)
    else:
        found = await account.journal.get(operation_id)
        assert found is not None
        await bench.put(found, Channel.CODE)


async def test_the_server_is_gone_once_nothing_waits_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_screen, "WATCH_SECONDS", 0.01)
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        with anyio.fail_after(5):
            await bench.processes[0].reaped.wait()  # what started the browser is no zombie while the page waits
        await tab.press("no")
        bench.clock.now += browser_screen.LINGER_SECONDS
        with anyio.fail_after(5):
            while await _listens(tab.origin):
                pass
        again = await bench.shown(await bench.purchase(1))
        assert again.origin != tab.origin
        await again.press("yes")
        assert len(bench.sim.charges) == 1


async def _listens(origin: str) -> bool:
    try:
        async with await anyio.connect_tcp("127.0.0.1", int(origin.rpartition(":")[2])):
            return True
    except OSError:
        return False


async def test_what_a_program_sends_slowly_or_a_thousand_times_leaves_room_for_the_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        port = int(tab.origin.rpartition(":")[2])
        idle: list[anyio.abc.SocketStream] = []
        try:
            idle.extend([await anyio.connect_tcp("127.0.0.1", port) for _ in range(1000)])
            slow = f"{tab.seen.url.path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: {AGENT}"
            for one in idle[-MOST_CONNECTIONS:]:
                await one.send(f"POST {slow}\r\ncontent-length: 100\r\n\r\nslow".encode())
            await tab.press("yes")
        finally:
            for one in idle:
                await one.aclose()
        assert len(bench.sim.charges) == 1


async def test_a_body_or_a_head_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase())
        long = await tab.press("yes", digits="1" * 100_000)
        assert long.status_code == 403
        async with await anyio.connect_tcp("127.0.0.1", int(tab.origin.rpartition(":")[2])) as stream:
            await stream.send(b"GET /1 HTTP/1.1\r\nx-long: ")
            with pytest.raises(anyio.BrokenResourceError):
                await _send_for_ever(stream)
        assert bench.sim.charges == []


async def _send_for_ever(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.send(b"y" * 10_000)


async def test_neither_path_nor_cookie_stands_in_a_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        tab = await bench.shown(operation)
        cookie = next(iter(tab.http.cookies.jar)).value or ""
        token = tab.form()["form_token"]
        await bench.tab().open(bench.launched[0])
        path = bench.launched[0].rpartition("/")[2]
        kept = [await bench.stored(operation), await bench.runtime.account.journal.events(operation.id)]
    ours = [one for one in caplog.records if not one.name.startswith("http")]  # not those of the test's browser
    said = " ".join(one.getMessage() for one in ours) + repr(kept) + "".join(capfd.readouterr())
    assert "opened twice" in said
    assert not [secret for secret in (path, cookie, token) if secret in said]


async def test_a_run_rate_that_is_slow_does_not_hold_up_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        operation = await bench.purchase()
        monkeypatch.setattr(RunRates, "now", lambda *_, **__: anyio.sleep_forever())
        with anyio.fail_after(2):
            tab = await bench.shown(operation)
        assert "All numbers, monthly not known now" in text_of(tab.seen)


async def test_without_a_display_it_is_told_at_once_that_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        assert not await bench.screen.show(await bench.purchase())
        assert bench.launched == []


async def test_a_yes_that_cannot_be_carried_out_is_told_and_can_be_said_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/journal.sqlite3"
    async with open_sqlite(url) as journal, open_screen_bench(monkeypatch, journal=journal) as bench:
        tab = await bench.shown(await bench.purchase())
        form = tab.form()
        with without_the_table(url, "operation_events"):
            await tab.press("yes", **form)
        assert bench.sim.charges == []

        again = text_of(await tab.again())
        assert "Buy +234 201 555 0100?" in again
        bench.clock.now += 1
        await tab.press("yes")
        assert len(bench.sim.charges) == 1


async def test_a_no_that_cannot_be_written_down_counts_and_is_not_called_a_yes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/journal.sqlite3"
    async with open_sqlite(url) as journal, open_screen_bench(monkeypatch, journal=journal) as bench:
        tab = await bench.shown(await bench.purchase())
        form = tab.form()
        with without_the_table(url, "operation_events"):
            told = await tab.press("no", **form)
        assert told.status_code == 503
        assert "The question was turned down" in text_of(told)
        assert "yes" not in text_of(told)

        await tab.press("yes", **form)
        assert "You said no" in text_of(await tab.again())
        assert bench.sim.charges == []


async def test_a_cap_that_was_reached_meanwhile_refuses_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch, daily_budget_cents=700) as bench:
        first, second = await bench.purchase(), await bench.purchase(1)
        tabs = [await bench.shown(first)]
        bench.clock.now += 60
        tabs.append(await bench.shown(second))
        await tabs[0].press("yes")

        refused = await tabs[1].press("yes")

        assert "Not done" in text_of(refused)
        assert "nothing was charged" in text_of(refused)
        assert [charge.e164 for charge in bench.sim.charges] == [first.e164]


async def test_another_users_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from kros_mcp.browser import peer  # noqa: PLC0415 - loaded by the first question

    async with open_screen_bench(monkeypatch) as bench:
        monkeypatch.setattr(peer.os, "getuid", lambda: 4242)
        monkeypatch.setattr(peer, "_ROOT", -1)
        monkeypatch.setattr(browser_screen, "FETCH_SECONDS", 0.5)
        refused = bench.tab()

        async def come(address: str) -> None:
            await refused.open(address)

        bench.come = come
        assert not await bench.screen.show(await bench.purchase())
        assert refused.seen.status_code == 403
