"""What may not be bought or released, whoever asks and however often at once."""

import json
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from bench import KEY, OTHER_MOBILES, Bench, open_bench

from kros_mcp.errors import KrosError, RefusedError, ServerError
from kros_mcp.operations import model, moves, recovery
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.channels import Ways, choose_channel
from kros_mcp.operations.execution import execute
from kros_mcp.operations.model import Limits, State
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Confirmation
from kros_mcp.simulator import Simulator, transport
from tests.support.clock import Clock
from tests.support.upstream import Send, Tampered

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("every_backend")]


def desk_with(bench: Bench, **chosen: Any) -> Bench:
    """Give the same journal and account under other rules, as after a restart."""
    settings = bench.account.settings.model_copy(update=chosen)
    return Bench(bench.sim, type(bench.account)(**{**vars(bench.account), "settings": settings}), bench.clock)


async def refused(act: Any, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await act
    assert (caught.value.code, caught.value.charged) == (code, "no")


async def test_a_number_above_the_purchase_maximum_is_refused(sim: Simulator) -> None:
    async with open_bench(sim, max_purchase_cents=699) as bench:
        await refused(bench.propose(), "OVER_PURCHASE_MAXIMUM")
    async with open_bench(sim, max_purchase_cents=700) as bench:
        assert (await bench.buy()).state is State.DONE


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ({"max_purchase_cents": 1}, "OVER_PURCHASE_MAXIMUM"),
        ({"daily_budget_cents": 1}, "OVER_DAILY_BUDGET"),
        ({"monthly_commitment_cents": 1}, "OVER_MONTHLY_COMMITMENT"),
        ({"allowed_countries": ("KE",)}, "COUNTRY_NOT_ALLOWED"),
        ({"read_only": True}, "READ_ONLY"),
    ],
)
async def test_every_cap_is_checked_again_inside_the_claim(bench: Bench, chosen: dict[str, Any], code: str) -> None:
    operation = await bench.propose()
    failed = await desk_with(bench, **chosen).execute(operation)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, code, "no")
    assert bench.posts() == []


async def test_the_day_is_counted_from_the_claim_for_rolling_24_hours(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=1_500) as bench:
        await bench.buy(OTHER_MOBILES[0])
        bench.clock.now += 3_600
        await bench.buy(OTHER_MOBILES[1])
        await refused(bench.propose(OTHER_MOBILES[2]), "OVER_DAILY_BUDGET")
        bench.clock.now += 86_400 - 3_600 - 1
        await refused(bench.propose(OTHER_MOBILES[2]), "OVER_DAILY_BUDGET")
        bench.clock.now += 1
        assert (await bench.buy(OTHER_MOBILES[2])).state is State.DONE
        await refused(bench.propose(OTHER_MOBILES[3]), "OVER_DAILY_BUDGET")


@pytest.mark.promise(5)
async def test_an_unknown_outcome_counts_as_spent_and_a_failed_one_does_not(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=700) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("refuse", on=["purchase"], status=400)
        assert (await bench.execute(operation)).state is State.FAILED
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("error_before", on=["purchase"])
        assert (await bench.execute(operation)).state is State.UNKNOWN
        await refused(bench.propose(OTHER_MOBILES[1]), "OVER_DAILY_BUDGET")
        for pause in (121.0, 11.0):
            bench.clock.now += pause
            await recovery.reconcile(bench.account, await bench.stored(operation))
        assert (await bench.buy(OTHER_MOBILES[1])).state is State.DONE


async def test_a_price_that_kros_raised_while_charging_counts_in_full(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=1_400) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("price_moves", at="purchase", cents=1)
        await bench.execute(operation)
        await refused(bench.propose(OTHER_MOBILES[1]), "OVER_DAILY_BUDGET")


async def test_eight_purchases_at_once_against_a_budget_for_three_charge_three(sim: Simulator) -> None:
    async with open_bench(sim, daily_budget_cents=2_100) as bench:
        operations = [await bench.propose(e164) for e164 in OTHER_MOBILES[:8]]
        async with anyio.create_task_group() as tasks:
            for operation in operations:
                tasks.start_soon(bench.execute, operation)
        ended = [await bench.stored(operation) for operation in operations]
    assert len(sim.charges) == 3
    assert sorted(each.error_code for each in ended) == [""] * 3 + ["OVER_DAILY_BUDGET"] * 5


async def test_eight_purchases_at_once_against_a_monthly_cap_for_three_charge_three(sim: Simulator) -> None:
    owned = sum(number.monthly_cost_cents for number in sim.owned.values() if number.status != "inactive")
    async with open_bench(sim, monthly_commitment_cents=owned + 2_100) as bench:
        operations = [await bench.propose(e164) for e164 in OTHER_MOBILES[:8]]
        async with anyio.create_task_group() as tasks:
            for operation in operations:
                tasks.start_soon(bench.execute, operation)
    assert len(sim.charges) == 3


async def test_the_monthly_cap_counts_owned_numbers_and_purchases_under_way(sim: Simulator) -> None:
    owned = sum(number.monthly_cost_cents for number in sim.owned.values() if number.status != "inactive")
    async with open_bench(sim, monthly_commitment_cents=owned + 1_399) as bench:
        operation = await bench.propose(OTHER_MOBILES[0])
        sim.faults.switch_on("error_before", on=["purchase"])
        assert (await bench.execute(operation)).state is State.UNKNOWN
        await refused(bench.propose(OTHER_MOBILES[1]), "OVER_MONTHLY_COMMITMENT")


async def test_a_purchase_that_the_run_rate_already_shows_is_not_counted_twice(sim: Simulator) -> None:
    owned = sum(number.monthly_cost_cents for number in sim.owned.values() if number.status != "inactive")
    async with open_bench(sim, monthly_commitment_cents=owned + 1_400) as bench:
        assert (await bench.buy(OTHER_MOBILES[0])).state is State.DONE
        operation = await bench.propose(OTHER_MOBILES[1])
        sim.faults.switch_on("lost_reply", on=["purchase"])
        assert (await bench.execute(operation)).state is State.UNKNOWN
        await refused(bench.propose(OTHER_MOBILES[2]), "OVER_MONTHLY_COMMITMENT")


@pytest.mark.promise(5)
async def test_a_principals_own_budget_is_spent_by_that_principal_alone(sim: Simulator) -> None:
    async with open_bench(sim, principal="p", principal_daily_budget_cents=1_399) as bench:
        assert (await bench.buy(OTHER_MOBILES[0], principal="q")).state is State.DONE
        first, second = [await bench.propose(e164, principal="p") for e164 in OTHER_MOBILES[1:3]]
        assert (await bench.execute(first)).state is State.DONE
        failed = await bench.execute(second)
        assert (failed.state, failed.error_code) == (State.FAILED, "OVER_OWN_DAILY_BUDGET")
        assert "6.99 is left of the 13.99 for 24 hours (the caller's own limit)" in failed.message
        await refused(bench.propose(OTHER_MOBILES[3], principal="p"), "OVER_OWN_DAILY_BUDGET")
        assert (await bench.buy(OTHER_MOBILES[4], principal="q")).state is State.DONE
    assert len(sim.charges) == 3


async def test_everybodys_budget_holds_for_a_principal_whose_own_has_room(sim: Simulator) -> None:
    async with open_bench(sim, principal="p", principal_daily_budget_cents=9_999, daily_budget_cents=1_399) as bench:
        await bench.buy(OTHER_MOBILES[0], principal="q")
        await refused(bench.propose(OTHER_MOBILES[1], principal="p"), "OVER_DAILY_BUDGET")


async def test_a_principals_own_monthly_cap_counts_what_it_has_bought_and_nothing_else(sim: Simulator) -> None:
    async with open_bench(sim, principal="p", principal_monthly_commitment_cents=1_400) as bench:
        await bench.buy(OTHER_MOBILES[0], principal="q")
        await bench.buy(OTHER_MOBILES[1], principal="p")
        bench.clock.now += 7_200  # old enough to be known from KrosAI alone
        unknown = await bench.propose(OTHER_MOBILES[2], principal="p")
        sim.faults.switch_on("lost_reply", on=["purchase"])
        assert (await bench.execute(unknown)).state is State.UNKNOWN
        await refused(bench.propose(OTHER_MOBILES[3], principal="p"), "OVER_OWN_MONTHLY_COMMITMENT")
        number = sim.owned_by_e164(OTHER_MOBILES[1])
        assert number is not None
        await bench.execute(await bench.propose_release(number))
        assert (await bench.buy(OTHER_MOBILES[3], principal="p")).state is State.DONE
        await refused(bench.propose(OTHER_MOBILES[4], principal="p"), "OVER_OWN_MONTHLY_COMMITMENT")
        assert (await bench.buy(OTHER_MOBILES[4], principal="q")).state is State.DONE


async def test_a_principals_own_limits_hold_on_a_server_that_does_not_know_them(sim: Simulator) -> None:
    async with open_bench(sim, principal="p", principal_daily_budget_cents=1_399, confirmation="approver") as bench:
        operations = [await bench.propose(e164, principal="p") for e164 in OTHER_MOBILES[:2]]
        for operation in operations:
            await bench.account.journal.change(
                operation.id, lambda current, now: moves.confirm(current, now, by="boss")
            )
        another = desk_with(bench, principal="q", principal_daily_budget_cents=None)
        ended = [await execute(another.account, operation.id, None) for operation in operations]
    assert [each.error_code for each in ended] == ["", "OVER_OWN_DAILY_BUDGET"]
    assert len(sim.charges) == 1


async def test_a_principals_own_limits_hold_on_another_server_of_the_same_principal_without_them(
    sim: Simulator,
) -> None:
    async with open_bench(sim, principal="p", principal_daily_budget_cents=1_399, confirmation="approver") as bench:
        operations = [await bench.propose(e164, principal="p") for e164 in OTHER_MOBILES[:2]]
        for operation in operations:
            await bench.account.journal.change(
                operation.id, lambda current, now: moves.confirm(current, now, by="boss")
            )
        another = desk_with(bench, principal_daily_budget_cents=None)
        ended = [await execute(another.account, operation.id, None) for operation in operations]
    assert [each.error_code for each in ended] == ["", "OVER_OWN_DAILY_BUDGET"]
    assert [each.limits for each in ended] == [each.limits for each in operations]


async def test_a_lowered_limit_of_its_own_holds_for_what_was_proposed_before(sim: Simulator) -> None:
    async with open_bench(sim, principal="p", principal_daily_budget_cents=10_000) as bench:
        operation = await bench.propose(principal="p")
        failed = await desk_with(bench, principal_daily_budget_cents=1).execute(operation)
    assert (failed.error_code, sim.charges) == ("OVER_OWN_DAILY_BUDGET", [])


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_purchase_cents=699), "OVER_PURCHASE_MAXIMUM"),
        (Limits(allowed_countries=("KE", "GH")), "COUNTRY_NOT_ALLOWED"),
        (Limits(daily_budget_cents=699), "OVER_OWN_DAILY_BUDGET"),
        (Limits(monthly_commitment_cents=699), "OVER_OWN_MONTHLY_COMMITMENT"),
    ],
)
async def test_every_limit_may_be_one_principals_own(bench: Bench, limits: Limits, code: str) -> None:
    operation = await bench.propose(principal="stranger")
    strict = replace(operation, id=model.new_operation_id(), principal="another", limits=limits)
    failed = await bench.execute(await bench.account.journal.propose(strict))
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, code, "no")
    assert "the caller's own limit" in failed.message


async def test_an_unknown_price_of_an_owned_number_refuses_while_the_monthly_cap_is_on(sim: Simulator) -> None:
    async with open_bench(sim, monthly_commitment_cents=1_000_000) as bench:
        sim.faults.switch_on("missing_prices", times=None, on=["get"])
        await refused(bench.propose(), "COMMITMENT_UNKNOWN")


async def test_an_owned_number_that_is_listed_and_not_found_by_its_id_is_no_free_one(sim: Simulator) -> None:
    async def not_found(request: httpx.Request, send: Send) -> httpx.Response:
        if "/phone-numbers/" in request.url.path:
            return httpx.Response(404, json={"error": "Not Found"})
        return await send(request)

    async with open_bench(sim, way=Tampered(sim, "GET", not_found), monthly_commitment_cents=1_000) as bench:
        await refused(bench.propose(), "COMMITMENT_UNKNOWN")


async def test_a_run_rate_that_cannot_be_read_is_told_as_what_it_is(sim: Simulator) -> None:
    async with open_bench(sim, monthly_commitment_cents=1_000_000) as bench:
        sim.faults.switch_on("refuse", times=None, on=["get"], status=500)
        with pytest.raises(ServerError):
            await bench.propose()


async def test_a_number_without_a_price_is_refused(bench: Bench) -> None:
    bench.sim.faults.switch_on("missing_prices", times=None)
    await refused(bench.propose(), "UNPRICED")


async def test_a_number_without_a_price_reserves_the_purchase_maximum_where_it_is_allowed(sim: Simulator) -> None:
    async with open_bench(sim, allow_unpriced=True, max_purchase_cents=5_000, daily_budget_cents=9_999) as bench:
        sim.faults.switch_on("missing_prices", times=None)
        bought = await bench.buy(OTHER_MOBILES[0])
        assert (bought.state, bought.reserved_cents, bought.quote.due_now_cents) == (State.DONE, 5_000, None)
        assert "totalCostCents" not in bench.posts()[0].body
        await refused(bench.propose(OTHER_MOBILES[1]), "OVER_DAILY_BUDGET")


async def test_a_price_told_only_after_an_unpriced_purchase_is_told_and_counted(sim: Simulator) -> None:
    async with open_bench(sim, allow_unpriced=True, max_purchase_cents=100) as bench:
        sim.faults.switch_on("missing_prices", times=None, on=["search"])
        bought = await bench.buy()
        assert bought.reserved_cents == 700
        assert bought.note == "KrosAI now reports 7.00 a month, where no price was stated."


async def test_only_allowed_countries_are_bought_from(sim: Simulator) -> None:
    async with open_bench(sim, allowed_countries="KE, GH") as bench:
        await refused(bench.propose(), "COUNTRY_NOT_ALLOWED")


@pytest.mark.promise(9)
async def test_a_protected_number_is_never_released_even_if_it_was_proposed_before(bench: Bench) -> None:
    number = bench.active
    operation = await bench.propose_release(number)
    strict = desk_with(bench, protected_numbers=(number.e164,))
    failed = await strict.execute(operation)
    assert (failed.state, failed.error_code, number.status) == (State.FAILED, "PROTECTED_NUMBER", "active")
    await refused(strict.propose_release(number), "PROTECTED_NUMBER")
    assert not [seen for seen in bench.sim.requests if seen.method != "GET"]


async def test_a_protected_number_is_configured_once_it_is_confirmed(bench: Bench) -> None:
    strict, number = desk_with(bench, protected_numbers=(bench.active.e164,)), bench.active
    shown = await strict.account.client.get_number(number.id)
    request = model.Request(number_id=number.id, allow_inbound=False)
    operation = await CONFIGURATION.propose(strict.account, "local", request, shown)
    assert number.allow_inbound is True
    done = await strict.execute(operation)
    assert (done.state, done.charged, done.changed, number.allow_inbound) == (State.DONE, "no", "yes", False)


async def test_permanent_deletion_must_be_allowed_by_the_operator(bench: Bench) -> None:
    number = bench.active
    await refused(bench.propose_release(number, permanent=True), "PERMANENT_DELETE_OFF")
    free = desk_with(bench, allow_permanent_delete=True)
    operation = await free.propose_release(number, permanent=True)
    assert (await bench.execute(operation)).error_code == "PERMANENT_DELETE_OFF"
    done = await free.execute(await free.propose_release(number, permanent=True))
    assert (done.state, number.id in bench.sim.owned) == (State.DONE, False)


async def test_a_soft_release_keeps_the_record(bench: Bench) -> None:
    number = bench.active
    done = await bench.execute(await bench.propose_release(number))
    assert (done.state, done.charged, done.changed) == (State.DONE, "no", "yes")
    deletes = [seen.query for seen in bench.sim.requests if seen.method == "DELETE"]
    assert deletes == [{"action": "release"}]


@pytest.mark.promise(10)
async def test_a_read_only_server_sends_nothing_but_get_and_executes_nothing_approved_earlier(
    sim: Simulator,
) -> None:
    clock = Clock()
    async with open_bench(sim, clock=clock) as bench:
        approved = await bench.propose(OTHER_MOBILES[0])
        await bench.account.journal.change(approved.id, lambda current, now: moves.confirm(current, now, by="boss"))
        pending = await bench.propose(OTHER_MOBILES[1], allow_outbound=not sim.profile.outbound_by_default)
        sim.faults.switch_on("ignore_snake_case", on=["purchase"])
        sim.faults.switch_on("error_before", times=None, on=["update"])
        assert (await bench.execute(pending)).settings_pending
        lost = await bench.propose(OTHER_MOBILES[2])
        sim.faults.switch_on("lost_reply", on=["purchase"])
        await bench.execute(lost)
        sim.faults.clear()
        settings = bench.account.settings.model_copy(update={"read_only": True})
        before = len(sim.requests)
        clock.now += 20
        async with open_runtime(settings, transport=transport(sim), journal=bench.account.journal) as runtime:
            while (await bench.stored(lost)).state is State.UNKNOWN:  # the attendant has looked at everything by then
                await anyio.lowlevel.checkpoint()
            with pytest.raises(RefusedError):
                await bench_of(bench, runtime).propose(OTHER_MOBILES[3])
        assert {seen.method for seen in sim.requests[before:]} == {"GET"}
        assert (await bench.stored(approved)).state is State.CONFIRMED


async def test_what_an_approver_has_approved_is_executed_by_a_running_server(sim: Simulator) -> None:
    async with open_bench(sim, confirmation="approver") as bench:
        operation = await bench.propose()
        with pytest.raises(KrosError):
            await bench.execute(operation)
        assert sim.charges == []
        await bench.account.journal.change(operation.id, lambda current, now: moves.confirm(current, now, by="boss"))
        async with open_runtime(bench.account.settings, transport=transport(sim), journal=bench.account.journal):
            with anyio.fail_after(2):
                while (await bench.stored(operation)).state is not State.DONE:
                    await anyio.lowlevel.checkpoint()
    assert len(sim.charges) == 1
    assert KEY not in json.dumps([seen.headers for seen in sim.requests])


def bench_of(bench: Bench, runtime: Any) -> Bench:
    return Bench(bench.sim, runtime.account, bench.clock)


@pytest.mark.parametrize("first", ["conversation", "approver"])
async def test_how_long_a_yes_may_take_goes_by_who_is_asked_for_it_now(sim: Simulator, first: str) -> None:
    async with open_bench(sim, confirmation=first, approval_hours=2) as bench:
        operation = await bench.propose()
        bench.clock.now += 60
        changed = Confirmation.APPROVER if first == "conversation" else Confirmation.CONVERSATION
        account = desk_with(bench, confirmation=changed).account
        found = await choose_channel(account, operation, Ways(can_ask=False))
    seconds = 7_200 if changed is Confirmation.APPROVER else model.ANSWER_SECONDS
    assert found.operation.expires_at == bench.clock.now + seconds


async def test_a_question_put_later_prolongs_no_proposal(sim: Simulator) -> None:
    async with open_bench(sim) as bench:
        operation = await bench.propose()
        bench.clock.now += 60
        found = await choose_channel(bench.account, operation, Ways(can_ask=False))
        assert found.operation.asked_at == bench.clock.now
        assert found.operation.expires_at == operation.expires_at
