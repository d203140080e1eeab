"""What may change between the question and the act, or while the clock does."""

from dataclasses import replace

import httpx
import pytest
from bench import YES, Bench, open_bench

from kros_mcp.errors import NotSentError
from kros_mcp.operations import moves, recovery
from kros_mcp.operations.acts import routing
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.execution import execute
from kros_mcp.operations.lease import Lease
from kros_mcp.operations.model import Request, State
from kros_mcp.simulator import Simulator
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio
SHOWN = "+2348035550105"


async def test_a_number_whose_calls_go_elsewhere_by_now_is_not_released(bench: Bench) -> None:
    number = bench.active
    operation = await bench.propose_release(number)
    number.endpoint_id = list(bench.sim.endpoints)[1]
    refused = await bench.execute(operation)
    assert (refused.state, refused.error_code, refused.changed) == (State.FAILED, "NUMBER_CHANGED", "no")
    assert number.status == "active"


async def test_a_clock_that_was_set_back_leaves_nothing_in_flight_for_ever(bench: Bench) -> None:
    operation = await bench.propose()
    journal = bench.account.journal
    claimed, _ = await journal.claim(
        operation.id, lambda current, now, _: (moves.claim(current, now, reserved_cents=700), ()), committed_since=0
    )
    await journal.change(operation.id, lambda current, now: moves.mark_sent(current, now, token=claimed.token))
    bench.clock.now -= 86_400
    await recovery.recover(bench.account)
    assert (await bench.stored(operation)).state is State.UNKNOWN
    await journal.change(operation.id, lambda current, now: replace(current, checked_at=now + 86_400))
    asked_before = len(bench.sim.requests)
    await recovery.reconcile(bench.account, await bench.stored(operation))
    assert len(bench.sim.requests) > asked_before


async def test_a_process_that_lost_its_lease_changes_no_setting(bench: Bench) -> None:
    number = await bench.account.client.get_number(bench.active.id)
    target = replace(routing.wanted((await bench.propose()).request), allow_outbound=not number.allow_outbound)
    lease = Lease(1, since=0.0)
    lease.lose()
    with pytest.raises(NotSentError):
        await routing.apply(bench.account.client, number, target, key="late", before_sending=lease.require)
    assert not [seen for seen in bench.sim.requests if seen.method == "PATCH"]


@pytest.mark.parametrize(("status", "ends"), [(202, State.UNKNOWN), (200, State.FAILED)])
async def test_a_change_that_kros_has_accepted_and_never_shows_is_failed_unless_it_was_to_come_later(
    sim: Simulator, status: int, ends: State
) -> None:
    """The second PATCH, for what the first left undone, is answered with an error."""
    answers = [httpx.Response(status, json={}), httpx.Response(500, json={}), httpx.Response(500, json={})]

    async def accepted(request: httpx.Request, send: Send) -> httpx.Response:
        del request, send
        return answers.pop(0)

    number = next(iter(sim.owned.values()))
    async with open_bench(sim, way=Tampered(sim, "PATCH", accepted), protected_numbers=(number.e164,)) as bench:
        shown = await bench.account.client.get_number(number.id)
        wish = Request(number_id=number.id, allow_outbound=not shown.allow_outbound)
        operation = await CONFIGURATION.propose(bench.account, "local", wish, shown)
        told = await execute(bench.account, operation.id, YES)
        assert (told.state, told.changed) == (State.UNKNOWN, "unknown")
        bench.clock.now += bench.account.settings.settle_seconds + 1
        asked = await recovery.reconcile(bench.account, told)
        assert (asked.state, asked.changed) == (ends, "no" if ends is State.FAILED else "unknown")


async def test_a_change_that_kros_refused_is_looked_at_again(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    async with open_bench(sim, protected_numbers=(number.e164,)) as bench:
        shown = await bench.account.client.get_number(number.id)
        wish = Request(number_id=number.id, allow_outbound=not shown.allow_outbound)
        operation = await CONFIGURATION.propose(bench.account, "local", wish, shown)
        sim.faults.switch_on("refuse", on=["update"], status=403)
        refused = await execute(bench.account, operation.id, YES)
        assert (refused.state, refused.changed, refused.look_at is not None) == (State.FAILED, "no", True)


async def test_a_purchase_that_kros_does_not_show_yet_keeps_its_settings_pending(sim: Simulator) -> None:
    shown = False

    async def not_yet(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        new = request.url.path.count("/") > len(["", "v1"]) and "endpoints" not in request.url.path
        return answer if shown or not new else httpx.Response(404, json={"error": "Resource not found"})

    endpoint = next(iter(sim.endpoints))
    async with open_bench(sim, way=Tampered(sim, "GET", not_yet)) as bench:
        sim.faults.switch_on("ignore_snake_case", on=["purchase"])
        bought = await bench.buy(endpoint_id=endpoint)
        assert (bought.state, bought.settings_pending, bought.not_applied) == (State.DONE, True, ())
        shown = True
        finished = await finish_purchase(bench.account, bought)
    assert (finished.settings_pending, finished.not_applied) == (False, ())
    number = sim.owned_by_e164(bought.e164)
    assert number is not None
    assert number.endpoint_id == endpoint


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_number_that_the_purchase_names_by_the_id_of_an_order_is_found_by_itself(
    sim: Simulator, *, wanted: bool
) -> None:
    async def order(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        number = sim.owned_by_e164(SHOWN)
        assert answer.is_success
        assert number is not None
        number.endpoint_id = None
        complete = {"e164": SHOWN, "monthly_cost_cents": 700, "setup_cost_cents": 0}
        return httpx.Response(201, json={"id": "order_1"} | complete)

    endpoint = next(iter(sim.endpoints)) if wanted else None
    async with open_bench(sim, way=Tampered(sim, "POST", order)) as bench:
        bought = await bench.buy(SHOWN, endpoint_id=endpoint or "")
        bench.clock.now += bench.account.settings.settle_seconds
        watched = await recovery.watch(bench.account, bought)
        number = sim.owned_by_e164(SHOWN)
        assert number is not None
        assert number.endpoint_id == endpoint
        assert watched.number is not None
        assert (watched.state, watched.settings_pending, watched.not_applied) == (State.DONE, False, ())
        assert watched.number.id == number.id


async def test_settings_left_pending_never_reach_a_number_that_was_given_up_and_bought_again(sim: Simulator) -> None:
    item = next(item for item in sim.inventory.values() if item.e164 == SHOWN)
    again = False

    async def order(request: httpx.Request, send: Send) -> httpx.Response:
        if not again:
            return await send(request)
        number.status, number.endpoint_id = "active", None  # under its old id
        return httpx.Response(201, json={"id": number.id, "e164": SHOWN, "monthly_cost_cents": 700})

    async with open_bench(sim, way=Tampered(sim, "POST", order)) as bench:
        sim.faults.switch_on("ignore_snake_case", on=["purchase"])
        sim.faults.switch_on("error_before", on=["update"])
        first = await bench.buy(SHOWN, endpoint_id=next(iter(sim.endpoints)))
        assert first.settings_pending
        owned = sim.owned_by_e164(SHOWN)
        assert owned is not None
        number = owned
        bench.clock.now += 100
        assert (await bench.execute(await bench.propose_release(number))).state is State.DONE
        sim.owned[number.id], sim.inventory[item.id], again = number, item, True
        number.status = "inactive"
        bench.clock.now += 100
        second = await bench.execute(await bench.propose(SHOWN, principal="other"))
        assert second.state is State.DONE
        await finish_purchase(bench.account, await bench.stored(first))
        assert number.endpoint_id is None
