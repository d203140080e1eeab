"""Changes of settings of which KrosAI applies a part, or nothing."""

import json

import anyio
import httpx
import pytest
from bench import LATE, Bench, open_bench

from kros_mcp.krosai import UNROUTED
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations import direct_change, recovery
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.proposal import require_owned
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.direct_change import DirectChange, Planned
from kros_mcp.operations.model import Operation, Request, State
from kros_mcp.operations.runner import Runner
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.unstated import leave_out_routes
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio


def wish(sim: Simulator, number: SimNumber) -> Request:
    """Another endpoint, and the other way about with calls out."""
    endpoint = next(each for each in sim.endpoints if each != number.endpoint_id)
    return Request(number_id=number.id, endpoint_id=endpoint, allow_outbound=not number.allow_outbound)


async def read(bench: Bench, number: SimNumber) -> PhoneNumber:
    return await require_owned(bench.account, number.id, "")


async def configure(bench: Bench, number: SimNumber, request: Request) -> DirectChange:
    async with anyio.create_task_group() as tasks:
        runner = Runner(bench.account, tasks)
        planned = Planned(await read(bench, number), request)
        [change] = await direct_change.configure(bench.account, runner, [planned], seconds=20)
        return change
    raise AssertionError


async def confirm(bench: Bench, number: SimNumber, request: Request) -> Operation:
    """DirectChange a protected number, with a person's yes."""
    proposed = await CONFIGURATION.propose(bench.account, "local", request, await read(bench, number))
    return await bench.execute(proposed)


async def endpoint_alone(request: httpx.Request, send: Send) -> httpx.Response:
    """Let KrosAI apply the endpoint and nothing else."""
    body = json.loads(request.content)
    kept = {name: value for name, value in body.items() if name == "endpoint_id"}
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    return await send(httpx.Request("PATCH", request.url, headers=headers, json=kept))


async def endpoint_alone_and_lost(request: httpx.Request, send: Send) -> httpx.Response:
    await endpoint_alone(request, send)
    raise httpx.ReadError("lost", request=request)


async def test_a_change_applied_by_half_and_not_answered_is_done_with_what_was_not_applied(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    way = Tampered(sim, "PATCH", endpoint_alone_and_lost)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        unknown = await confirm(bench, number, request)
        assert (unknown.state, unknown.changed, number.endpoint_id) == (State.UNKNOWN, "unknown", request.endpoint_id)
        assert (await recovery.reconcile(bench.account, unknown)).state is State.UNKNOWN
        bench.clock.now += LATE
        done = await recovery.reconcile(bench.account, unknown)
        assert (done.state, done.changed, done.not_applied) == (State.DONE, "yes", ("allow_outbound",))


async def test_a_change_that_krosai_does_not_state_stays_unknown(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(iter(sim.owned.values()))
    request = Request(number_id=number.id, endpoint_id=UNROUTED)
    leave_out_routes(monkeypatch)
    way = Tampered(sim, "PATCH", endpoint_alone_and_lost)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        unknown = await confirm(bench, number, request)
        assert (unknown.state, unknown.request.routed_endpoint_id, number.endpoint_id) == (State.UNKNOWN, None, None)
        bench.clock.now += LATE
        unknown = await recovery.reconcile(bench.account, unknown)
        assert unknown.state is State.UNKNOWN
        monkeypatch.undo()
        bench.clock.now += 3
        done = await recovery.reconcile(bench.account, unknown)
        assert (done.state, done.changed, done.not_applied) == (State.DONE, "yes", ())


async def test_a_change_of_a_number_that_is_gone_stays_unknown(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    way = Tampered(sim, "PATCH", endpoint_alone_and_lost)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        unknown = await confirm(bench, number, wish(sim, number))
        del sim.owned[number.id]
        for _ in range(5):
            bench.clock.now += LATE
            assert (await recovery.reconcile(bench.account, await bench.stored(unknown))).state is State.UNKNOWN


@pytest.mark.parametrize("refusal", ["429", "connection"])
async def test_a_change_applied_by_half_is_told_although_the_second_try_is_refused(
    sim: Simulator, refusal: str
) -> None:
    number = next(iter(sim.owned.values()))
    request, before = wish(sim, number), number.endpoint_id
    spelt: list[set[str]] = []

    async def refuse_camel(sent: httpx.Request, send: Send) -> httpx.Response:
        spelt.append(set(json.loads(sent.content)))
        if len(spelt) == 1:
            return await endpoint_alone(sent, send)
        if refusal == "connection":
            raise httpx.ConnectError("refused", request=sent)
        return httpx.Response(429, headers={"retry-after": "60"}, json={"error": "Rate limit exceeded"})

    async with open_bench(sim, way=Tampered(sim, "PATCH", refuse_camel)) as bench:
        change = await configure(bench, number, request)
    assert spelt == [{"endpoint_id", "allow_outbound"}, {"allowOutbound"}]
    assert change.after is not None
    assert (change.before.endpoint_id, change.after.endpoint_id) == (before, request.endpoint_id)
    assert change.after.endpoint_id == number.endpoint_id
    assert change.not_applied == ("allow_outbound",)


async def test_a_confirmed_change_of_which_nothing_was_applied_has_changed_nothing(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    before = (number.endpoint_id, number.allow_inbound, number.allow_outbound)
    async with open_bench(sim, protected_numbers=(number.e164,)) as bench:
        for spelling in ("snake", "camel"):
            sim.faults.switch_on(f"ignore_{spelling}_case", times=None)
        done = await confirm(bench, number, wish(sim, number))
        assert (done.state, done.changed, done.charged) == (State.DONE, "no", "no")
        assert done.not_applied == ("endpoint_id", "allow_outbound")
        assert (number.endpoint_id, number.allow_inbound, number.allow_outbound) == before


async def test_choosing_one_setting_anew_leaves_the_others_of_a_purchase_to_be_brought_about(bench: Bench) -> None:
    first, chosen = list(bench.sim.endpoints)[:2]
    outbound = not bench.sim.profile.outbound_by_default
    operation = await bench.propose(endpoint_id=first, allow_inbound=False, allow_outbound=outbound)
    bench.sim.faults.switch_on("ignore_snake_case", on=["purchase"])
    bench.sim.faults.switch_on("error_before", times=None, on=["update"])
    bought = await bench.execute(operation)
    bench.sim.faults.clear()
    number = bench.sim.owned_by_e164(bought.e164)
    assert number is not None
    assert (bought.settings_pending, number.endpoint_id) == (True, None)
    await configure(bench, number, Request(number_id=number.id, endpoint_id=chosen))
    stale = await finish_purchase(bench.account, bought)  # as it was read before the new choice
    finished = await finish_purchase(bench.account, await bench.stored(stale))
    assert (number.endpoint_id, number.allow_inbound, number.allow_outbound) == (chosen, False, outbound)
    assert (finished.settings_pending, finished.not_applied) == (False, ())
    assert finished.settings_superseded == ("endpoint_id",)


def becoming_another(sim: Simulator, number: SimNumber) -> Tampered:
    """Let KrosAI's record show another number once a change was answered."""

    async def tamper(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        number.e164 = "+2348035550177"
        return answer

    return Tampered(sim, "PATCH", tamper)


async def test_a_change_is_not_called_done_by_the_record_of_another_number(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    async with open_bench(sim, way=becoming_another(sim, number)) as bench:
        change = await configure(bench, number, wish(sim, number))
    assert change.after is None
    assert change.error is not None
    assert (change.error.code, change.error.changed) == ("OUTCOME_UNKNOWN", "unknown")
    assert "shows another number in its record now" in change.error.message
    assert sum(seen.method == "PATCH" for seen in sim.requests) == 1


async def test_nor_that_of_a_protected_number_and_the_other_one_is_left_alone(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    sim.faults.switch_on("ignore_snake_case", times=None)
    protected = (number.e164,)
    async with open_bench(sim, way=becoming_another(sim, number), protected_numbers=protected) as bench:
        unknown = await confirm(bench, number, wish(sim, number))
        assert (unknown.state, unknown.changed, unknown.number) == (State.UNKNOWN, "unknown", None)
        bench.clock.now += LATE
        assert (await recovery.reconcile(bench.account, unknown)).state is State.UNKNOWN
    assert sum(seen.method == "PATCH" for seen in sim.requests) == 1
