"""What several numbers may cost together: before the question, and again at the yes."""

from dataclasses import replace
from typing import Any

import anyio
import pytest
from batches import THREE, charged, ended, items, propose, wish
from bench import OTHER_MOBILES, Bench, open_bench, simulator

from kros_mcp.errors import RefusedError
from kros_mcp.operations import moves, outlook, policy
from kros_mcp.operations.acts.several import SEVERAL_PURCHASE
from kros_mcp.operations.channels import Ways, choose_channel
from kros_mcp.operations.execution import execute
from kros_mcp.operations.model import Channel, Limits, Operation, State
from kros_mcp.simulator import Simulator

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("every_backend")]


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Simulator:
    return simulator("guide" if "postgres" in request.node.name else "reference")


def desk_with(bench: Bench, **chosen: Any) -> Bench:
    """Give the same journal and account under other rules, as after a restart."""
    settings = bench.account.settings.model_copy(update=chosen)
    return Bench(bench.sim, replace(bench.account, settings=settings), bench.clock)


def monthly_of(sim: Simulator) -> int:
    return sum(number.monthly_cost_cents for number in sim.owned.values() if number.status != "inactive")


async def refused(bench: Bench, **chosen: Any) -> RefusedError:
    """Propose three numbers under other rules, which must refuse them; nothing is held back for them."""
    desk = desk_with(bench, **chosen)
    with pytest.raises(RefusedError) as caught:
        await propose(desk)
    assert caught.value.charged == "no"
    assert await bench.account.journal.list_operations() == ()
    return caught.value


async def test_a_total_over_the_day_is_refused_before_the_question_and_says_how_many_fit(bench: Bench) -> None:
    told = await refused(bench, daily_budget_cents=2_099)
    assert told.code == "OVER_DAILY_BUDGET"
    assert told.message == (
        "These 3 numbers would take 21.00 in the account currency together, and "
        "20.99 is left of the 20.99 for 24 hours; nothing was charged. The first 2 of them would fit."
    )
    assert (await refused(bench, daily_budget_cents=700)).message.endswith("The first of them alone would fit.")
    assert (await refused(bench, daily_budget_cents=699)).message.endswith("nothing was charged.")


async def test_each_rule_holds_for_the_sum_or_for_every_number(bench: Bench) -> None:
    owned = monthly_of(bench.sim)
    over = await refused(bench, monthly_commitment_cents=owned + 2_099)
    assert over.code == "OVER_MONTHLY_COMMITMENT"
    assert over.message.startswith("With these 3 numbers all numbers would cost ")
    assert over.message.endswith("The first 2 of them would fit.")
    assert (await refused(bench, max_purchase_cents=699)).code == "OVER_PURCHASE_MAXIMUM"
    assert (await refused(bench, allowed_countries=("KE",))).code == "COUNTRY_NOT_ALLOWED"
    total = await refused(bench, total_daily_budget_cents=2_099)
    assert (total.code, "fit" in total.message) == ("OVER_TOTAL_DAILY_BUDGET", False)
    own = await refused(bench, principal_daily_budget_cents=2_099)
    assert own.code == "OVER_OWN_DAILY_BUDGET"
    fitting = desk_with(bench, daily_budget_cents=2_100, max_purchase_cents=700, monthly_commitment_cents=owned + 2_100)
    await fitting.execute(await propose(fitting))
    assert charged(bench.sim) == THREE


async def test_an_unpriced_number_refuses_the_whole_or_is_reserved_at_the_maximum(bench: Bench) -> None:
    await bench.account.inventory.search(country="NG", type="mobile")
    bench.sim.faults.switch_on("missing_prices", times=None, on=["search"])
    assert (await refused(bench)).code == "UNPRICED"
    desk = desk_with(bench, allow_unpriced=True, max_purchase_cents=900, daily_budget_cents=2_700)
    batch = await propose(desk)
    assert (batch.quote.due_now_cents, policy.reserved_cents(desk.account.settings, batch)) == (None, 2_700)


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ({"daily_budget_cents": 2_099}, "OVER_DAILY_BUDGET"),
        ({"monthly_commitment_cents": 2_100}, "OVER_MONTHLY_COMMITMENT"),
        ({"max_purchase_cents": 699}, "OVER_PURCHASE_MAXIMUM"),
        ({"approval_above_cents": 2_099}, "APPROVAL_NEEDED"),
    ],
)
async def test_caps_that_have_become_lower_refuse_all_at_the_yes(
    bench: Bench, chosen: dict[str, int], code: str
) -> None:
    batch = await propose(bench)
    failed = await desk_with(bench, **chosen).execute(batch)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, code, "no")
    assert await items(bench, batch) == ()
    assert bench.posts() == []


async def test_a_budget_spent_meanwhile_refuses_all_at_the_yes(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        batch = await propose(bench)
        await bench.buy(OTHER_MOBILES[7])
        failed = await bench.execute(batch)
        assert (failed.error_code, charged(sim)) == ("OVER_DAILY_BUDGET", [OTHER_MOBILES[7]])
        assert failed.message.endswith("The first 2 of them would fit.")
        books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
        assert books.spent_cents == 700


@pytest.mark.promise(5)
async def test_two_batches_at_once_against_a_budget_for_one_charge_one(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        batches = [await propose(bench, OTHER_MOBILES[at : at + 2]) for at in (0, 2)]
        async with anyio.create_task_group() as tasks:
            for batch in batches:
                tasks.start_soon(bench.execute, batch)
        codes = sorted([(await bench.stored(batch)).error_code for batch in batches])
    assert (codes, len(charged(sim))) == (["", "OVER_DAILY_BUDGET"], 2)


@pytest.mark.promise(5)
async def test_what_waits_for_its_turn_counts_in_every_sum(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        batch = await propose(bench)
        sim.faults.switch_on("hold", on=["purchase"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.execute, batch)
            await sim.faults.held()
            books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
            assert (books.spent_cents, len(books.committed)) == (2_100, 3)
            assert [str(item.state) for item in await items(bench, batch)] == ["sending"] * 3
            sim.faults.let_go()
        assert await ended(bench, batch) == [("done", "")] * 3


async def test_what_failed_or_was_left_gives_its_money_back(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        batch = await propose(bench)
        sim.faults.switch_on("lost_reply", on=["purchase"])
        await bench.execute(batch)
        books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
        assert (books.spent_cents, charged(sim)) == (700, THREE[:1])


@pytest.mark.promise(5)
async def test_once_more_is_charged_than_shown_the_rest_is_left(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        batch = await propose(bench)
        sim.faults.switch_on("price_moves", times=None, cents=1_000)
        await bench.execute(batch)
        first, *left = await items(bench, batch)
        assert (charged(sim), first.reserved_cents) == (THREE[:1], 1_700)
        assert {(item.error_code, item.charged) for item in left} == {("NOT_BEGUN", "no")}
        assert all(THREE[0] in item.message and "more than was shown" in item.message for item in left)


async def test_above_the_line_an_approver_decides_by_the_total(sim: Simulator) -> None:
    async with open_bench(sim, approval_above_cents=2_000) as bench:
        assert bench.account.needs_approver(await propose(bench, THREE[:2])) is False
        batch = await propose(bench, OTHER_MOBILES[4:7])
        assert batch.channel is Channel.APPROVER
        await choose_channel(bench.account, batch, Ways(can_ask=True))
        await bench.account.change(batch.id, lambda current, now: moves.confirm(current, now, by="Ann at a terminal"))
        await execute(bench.account, batch.id, None)
        assert charged(sim) == OTHER_MOBILES[4:7]
        assert {item.confirmed_by for item in await items(bench, batch)} == {"Ann at a terminal"}


async def test_an_approver_is_told_what_the_guard_would_say(bench: Bench) -> None:
    batch = await propose(bench, THREE[:2])
    settings = bench.account.settings.model_copy(update={"daily_budget_cents": 2_000})
    books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
    day = outlook.day(settings, batch, books)
    assert (day.wanted_cents, day.left_cents, day.over_budget, day.over_purchase_cap) == (1_400, 600, False, False)

    def limits_of(_: str) -> Limits:
        return Limits()

    single = await bench.propose(THREE[2])
    purchases: list[Operation] = [batch, single]
    joint = outlook.joint(settings, purchases, {"local": books}, None, limits_of)
    assert (joint.numbers, joint.wanted_cents) == (3, 2_100)
    assert joint.refusal is not None
    assert joint.refusal.code == "OVER_DAILY_BUDGET"


async def test_prices_in_two_currencies_have_no_total(bench: Bench) -> None:
    page = await bench.account.inventory.search(country="NG", type="mobile", limit=2)
    offered = await SEVERAL_PURCHASE.one.offer(bench.account, [wish(item.e164) for item in page.items])
    other = replace(offered.items[1], quote=replace(offered.items[1].quote, currency="NGN"))
    first = replace(offered.items[0], quote=replace(offered.items[0].quote, currency="USD"))
    batch = replace(await propose(bench), items=(first, other))
    books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
    with pytest.raises(RefusedError, match="several currencies"):
        SEVERAL_PURCHASE.check(bench.account.settings, batch, books, None, None)
