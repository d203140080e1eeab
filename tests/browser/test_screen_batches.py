"""A batch on the page that asks: shown whole, with digits and count to be typed, and told number by number."""

from dataclasses import replace

import anyio
import pytest
from screen_bench import open_screen_bench, text_of

from kros_mcp.numbering import last_four, spoken
from kros_mcp.operations.confirmation import picked
from kros_mcp.operations.model import State
from kros_mcp.operations.wording import changes
from kros_mcp.pages.operation_view import digest_of
from tests.support.upstream import wrote

pytestmark = pytest.mark.anyio


async def test_every_number_stands_on_the_page_and_one_yes_buys_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        batch = await bench.purchases(3)
        tab = await bench.shown(batch)
        page = text_of(tab.seen)
        assert "Buy 3 numbers?" in page
        for item in batch.items:
            assert f"{spoken(item.e164)} Nigeria 5.00 USD 5.00 USD" in page
        assert "All 3 15.00 USD 15.00 USD" in page
        assert "before, 22.00 USD after" in page
        assert "185.00 USD of 200.00 USD would be left" in page
        assert wrote(bench.sim) == []

        await tab.press("yes")

        assert text_of(tab.seen).count(" Done ") >= 3
        assert [charge.e164 for charge in bench.sim.charges] == [item.e164 for item in batch.items]


async def test_the_settings_that_are_bought_with_the_numbers_stand_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        [first, *_] = bench.sim.endpoints
        batch = await bench.purchases(2, endpoint_id=first, allow_inbound=True, allow_outbound=False)
        page = text_of((await bench.shown(batch)).seen)
        assert f"Settings with each {changes(batch.parts[0])}" in page
        assert "outbound calls off" in page


async def test_a_number_that_is_not_bought_is_told_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        batch = await bench.purchases(3)
        tab = await bench.shown(batch)
        bench.sim.inventory[batch.items[1].request.inventory_id].monthly_cost_cents += 100

        await tab.press("yes")

        page = text_of(tab.seen)
        assert "Partly done" in page
        assert "2 of 3 numbers are bought for 10.00 USD now" in page
        assert "Not done The price of" in page
        assert len(bench.sim.charges) == 2


async def test_the_page_goes_on_until_each_number_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        batch = await bench.purchases(3)
        tab = await bench.shown(batch)
        bench.sim.faults.switch_on("hold", on=["purchase"])
        monkeypatch.setattr("kros_mcp.browser.question_app._OUTCOME_SECONDS", 0.1)
        await tab.press("yes")
        assert "Under way" in text_of(tab.seen)
        assert "This page refreshes itself" in text_of(tab.seen)
        bench.sim.faults.let_go()
        await bench.runtime.runner.wait(batch.id, 10)
        assert "All 3 numbers are bought" in text_of(await tab.again())


async def test_a_release_of_several_needs_digits_and_count_and_has_three_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        batch = await bench.releases(3)
        tab = await bench.shown(batch)
        right, page = last_four(picked(batch)), text_of(tab.seen)
        assert f"type the last four digits of {spoken(picked(batch))}" in page
        for item in batch.items:
            assert spoken(item.e164) in page
        for form in ({}, {"digits": right}, {"count": "3"}):
            assert "Type the last four digits, and how many" in text_of(await tab.press("yes", **form))
            bench.clock.now += 1
        for attempt, form in ((2, {"digits": right, "count": "2"}), (3, {"digits": "0000", "count": "3"})):
            assert f"Try {attempt} of 3" in text_of(await tab.press("yes", **form))
            bench.clock.now += 1
        assert "digits or the count" in text_of(await tab.press("yes", digits=right, count="4"))
        assert (await bench.stored(batch)).state is State.DECLINED
        assert wrote(bench.sim) == []

        again = await bench.releases(3)
        tab = await bench.shown(again)
        await tab.press("yes", digits=last_four(picked(again)), count="3")
        assert wrote(bench.sim) == ["DELETE"] * 3


async def test_a_yes_to_other_numbers_than_were_shown_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        batch = await bench.purchases(3)
        fewer = replace(batch, items=batch.items[:2])
        assert digest_of(fewer) != digest_of(batch)
        tab = await bench.shown(batch)
        assert "What is asked has changed" in text_of(await tab.press("yes", digest=digest_of(fewer)))
        assert (await bench.stored(batch)).state is State.PROPOSED
        assert wrote(bench.sim) == []


async def test_the_next_question_is_named_by_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_screen_bench(monkeypatch) as bench:
        tab = await bench.shown(await bench.purchase(9))
        batch = await bench.purchases(3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.screen.show, batch)
            with anyio.fail_after(5):
                while "follows here" not in (state := text_of(await tab.state())):
                    pass
        assert "One more question waits, and follows here: Buy 3 numbers" in state
