"""Changes of protected numbers that were called failed, and what shows afterwards."""

import httpx
import pytest
from bench import LATE, Bench, open_bench
from test_changes_by_half import confirm, endpoint_alone_and_lost, wish
from test_evidence import watch_all_day

from kros_mcp.operations import recovery
from kros_mcp.operations.model import Operation, Request, State
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio


async def lost_in_vain(request: httpx.Request, send: Send) -> httpx.Response:
    """Let KrosAI change nothing, and its answer be lost."""
    del send
    raise httpx.ReadError("lost", request=request)


async def refused(request: httpx.Request, send: Send) -> httpx.Response:
    del request, send
    return httpx.Response(400, json={"error": "No"})


def show(number: SimNumber, request: Request) -> None:
    """Let the number show what was asked for."""
    number.endpoint_id = request.endpoint_id or number.endpoint_id
    if request.allow_outbound is not None:
        number.allow_outbound = request.allow_outbound


async def called_failed(bench: Bench, operation: Operation) -> Operation:
    """Look once more after the settling time, if it is not settled yet."""
    if operation.state is State.UNKNOWN:
        bench.clock.now += LATE
        operation = await recovery.reconcile(bench.account, operation)
    assert (operation.state, operation.changed, operation.look_at is not None) == (State.FAILED, "no", True)
    return operation


@pytest.mark.parametrize("answer", [refused, lost_in_vain])
async def test_a_change_that_shows_after_it_was_called_failed_is_corrected(sim: Simulator, answer: Send) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    async with open_bench(sim, way=Tampered(sim, "PATCH", answer), protected_numbers=(number.e164,)) as bench:
        failed = await called_failed(bench, await confirm(bench, number, request))
        show(number, request)
        corrected = await watch_all_day(bench, failed)
        assert (corrected.state, corrected.changed, corrected.charged) == (State.DONE, "yes", "no")
        assert corrected.corrected_at is not None
        assert "changed after all" in corrected.note


async def test_a_change_that_shows_by_half_after_it_was_called_failed_is_corrected(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    async with open_bench(sim, way=Tampered(sim, "PATCH", refused), protected_numbers=(number.e164,)) as bench:
        failed = await called_failed(bench, await confirm(bench, number, request))
        number.endpoint_id = request.endpoint_id
        corrected = await watch_all_day(bench, failed)
        assert (corrected.state, corrected.changed, corrected.not_applied) == (State.DONE, "yes", ("allow_outbound",))


async def test_a_failed_change_that_never_shows_stays_failed(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    async with open_bench(sim, way=Tampered(sim, "PATCH", refused), protected_numbers=(number.e164,)) as bench:
        failed = await called_failed(bench, await confirm(bench, number, wish(sim, number)))
        watched = await watch_all_day(bench, failed)
        assert (watched.state, watched.changed, watched.look_at) == (State.FAILED, "no", None)


async def test_a_later_change_of_the_same_number_corrects_no_earlier_one(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    answers = [refused]

    async def first_refused(sent: httpx.Request, send: Send) -> httpx.Response:
        return await (answers.pop()(sent, send) if answers else send(sent))

    way = Tampered(sim, "PATCH", first_refused)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        failed = await called_failed(bench, await confirm(bench, number, request))
        bench.clock.now += 1
        again = await confirm(bench, number, request)
        assert (again.state, again.changed, number.endpoint_id) == (State.DONE, "yes", request.endpoint_id)
        watched = await watch_all_day(bench, failed)
        assert (watched.state, watched.changed, watched.corrected_at) == (State.FAILED, "no", None)


async def test_what_a_number_showed_before_a_change_was_sent_proves_nothing_of_it(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    show(number, request)
    async with open_bench(sim, way=Tampered(sim, "PATCH", refused), protected_numbers=(number.e164,)) as bench:
        failed = await confirm(bench, number, request)
        watched = await watch_all_day(bench, failed)
        assert (watched.state, watched.changed, watched.look_at) == (State.FAILED, "no", None)


async def test_half_of_a_change_that_showed_before_it_was_sent_proves_nothing_of_it(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    number.endpoint_id = request.endpoint_id
    way = Tampered(sim, "PATCH", lost_in_vain)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        failed = await called_failed(bench, await confirm(bench, number, request))
        assert (await watch_all_day(bench, failed)).state is State.FAILED


async def test_a_change_of_which_nothing_was_applied_beside_what_stood_before_has_changed_nothing(
    sim: Simulator,
) -> None:
    number = next(iter(sim.owned.values()))
    request = wish(sim, number)
    number.endpoint_id = request.endpoint_id
    async with open_bench(sim, protected_numbers=(number.e164,)) as bench:
        for spelling in ("snake", "camel"):
            sim.faults.switch_on(f"ignore_{spelling}_case", times=None)
        done = await confirm(bench, number, request)
        assert (done.state, done.changed, done.not_applied) == (State.DONE, "no", ("allow_outbound",))


async def test_half_of_a_lost_change_counts_from_what_stood_before(sim: Simulator) -> None:
    number = next(iter(sim.owned.values()))
    way = Tampered(sim, "PATCH", endpoint_alone_and_lost)
    request = wish(sim, number)
    async with open_bench(sim, way=way, protected_numbers=(number.e164,)) as bench:
        unknown = await confirm(bench, number, request)
        stored = (await bench.stored(unknown)).snapshot
        assert stored is not None
        assert stored.lacking == ("endpoint_id", "allow_outbound")
