"""What becomes of an operation whose end nobody saw."""

import anyio
import httpx
import pytest
from bench import LATE, Bench, open_bench

from kros_mcp.operations import model, moves, recovery
from kros_mcp.operations.acts import routing
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.model import LEASE_SECONDS, Operation, Request, State
from kros_mcp.simulator import Simulator
from tests.support.upstream import Send, Tampered

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("every_backend")]

ALL_SETTINGS = ("endpoint_id", "allow_inbound", "allow_outbound")


async def lost(bench: Bench, fault: str = "lost_reply", **wanted: object) -> Operation:
    operation = await bench.propose(**wanted)
    bench.sim.faults.switch_on(fault, on=["purchase"])
    unknown = await bench.execute(operation)
    assert unknown.state is State.UNKNOWN
    return unknown


async def ask(bench: Bench, operation: Operation) -> Operation:
    return await recovery.reconcile(bench.account, await bench.stored(operation))


@pytest.mark.parametrize("fault", ["lost_reply", "error_after"])
async def test_a_lost_reply_never_buys_a_second_number(bench: Bench, fault: str) -> None:
    unknown = await lost(bench, fault)
    assert (unknown.charged, unknown.reserved_cents) == ("unknown", 700)
    done = await ask(bench, unknown)
    assert (done.state, done.charged, done.error_code, done.message) == (State.DONE, "yes", "", "")
    assert len(bench.sim.charges) == len(bench.posts()) == 1


async def test_an_unsold_number_fails_only_after_two_late_readings_ten_seconds_apart(bench: Bench) -> None:
    unknown = await lost(bench, "error_before")
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += LATE
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += 9.0
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += 2.0
    failed = await ask(bench, unknown)
    assert (failed.state, failed.charged, failed.error_code) == (State.FAILED, "no", "NOT_DONE")
    books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
    assert (books.spent_cents, bench.sim.charges, len(bench.posts())) == (0, [], 1)


async def test_a_reading_from_before_the_settle_time_is_no_evidence(bench: Bench) -> None:
    unknown = await lost(bench, "error_before")
    for _ in range(12):
        bench.clock.now += 10.0
        assert (await ask(bench, unknown)).state is State.UNKNOWN
    assert (await bench.stored(unknown)).seen_unsold_at is None


async def test_a_number_neither_owned_nor_for_sale_stays_unknown(bench: Bench) -> None:
    unknown = await lost(bench, "error_before")
    bench.sim.inventory.clear()
    for _ in range(20):
        bench.clock.now += LATE
        assert (await ask(bench, unknown)).state is State.UNKNOWN


async def test_a_second_reading_without_the_number_begins_the_evidence_anew(bench: Bench) -> None:
    unknown = await lost(bench, "error_before")
    bench.clock.now += LATE
    await ask(bench, unknown)
    stock = dict(bench.sim.inventory)
    bench.sim.inventory.clear()
    bench.clock.now += 20.0
    await ask(bench, unknown)
    bench.sim.inventory.update(stock)
    bench.clock.now += 20.0
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += 20.0
    assert (await ask(bench, unknown)).state is State.FAILED


async def test_kros_is_asked_at_most_once_in_two_seconds(bench: Bench) -> None:
    unknown = await lost(bench, "error_before")
    await ask(bench, unknown)
    before = len(bench.sim.requests)
    bench.clock.now += 1.9
    await ask(bench, unknown)
    assert len(bench.sim.requests) == before
    bench.clock.now += 0.2
    await ask(bench, unknown)
    assert len(bench.sim.requests) > before


async def test_an_inactive_record_is_no_purchase(bench: Bench) -> None:
    unknown = await lost(bench)
    number = bench.sim.owned_by_e164(unknown.e164)
    assert number is not None
    number.status = "inactive"
    bench.clock.now += LATE
    assert (await ask(bench, unknown)).state is State.UNKNOWN


@pytest.mark.promise(12)
async def test_an_unknown_outcome_is_never_sent_again_under_a_new_key(bench: Bench) -> None:
    unknown = await lost(bench)
    again = await bench.propose(unknown.e164)
    assert again.id == unknown.id
    with pytest.raises(model.OperationError):
        await bench.execute(again)
    assert len(bench.posts()) == 1


async def test_a_claim_that_expired_before_sending_failed_and_one_after_it_is_unknown(bench: Bench) -> None:
    first, second = await bench.propose(), await bench.propose("+2348035550105")
    for operation in (first, second):
        await bench.account.journal.claim(
            operation.id, lambda current, now, _: (moves.claim(current, now, reserved_cents=700), ()), committed_since=0
        )
    await bench.account.journal.change(second.id, lambda current, now: moves.mark_sent(current, now, token=1))
    await recovery.recover(bench.account)
    assert {(await bench.stored(each)).state for each in (first, second)} == {State.SENDING}
    bench.clock.now += LEASE_SECONDS
    before = len(bench.sim.requests)
    await recovery.recover(bench.account)
    assert (await bench.stored(first)).state is State.FAILED
    assert (await bench.stored(second)).state is State.UNKNOWN
    assert len(bench.sim.requests) == before


async def lost_release(bench: Bench, fault: str, *, inactive: bool = False, permanent: bool = False) -> Operation:
    number = bench.inactive if inactive else bench.active
    operation = await bench.propose_release(number, permanent=permanent)
    bench.sim.faults.switch_on(fault, on=["release"])
    unknown = await bench.execute(operation)
    assert (unknown.state, unknown.charged, unknown.changed) == (State.UNKNOWN, "no", "unknown")
    return unknown


async def test_a_release_whose_reply_was_lost_is_found_done(bench: Bench) -> None:
    unknown = await lost_release(bench, "lost_reply")
    done = await ask(bench, unknown)
    assert (done.state, done.changed, done.charged) == (State.DONE, "yes", "no")


async def test_a_release_that_did_nothing_fails_only_after_the_settle_time(bench: Bench) -> None:
    unknown = await lost_release(bench, "error_before")
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += LATE
    failed = await ask(bench, unknown)
    assert (failed.state, failed.changed) == (State.FAILED, "no")


async def test_a_deletion_that_did_nothing_is_not_taken_for_done_because_the_record_was_inactive(
    bench: Bench,
) -> None:
    settings = bench.account.settings.model_copy(update={"allow_permanent_delete": True})
    bench.account = type(bench.account)(**{**vars(bench.account), "settings": settings})
    unknown = await lost_release(bench, "error_before", inactive=True, permanent=True)
    assert (await ask(bench, unknown)).state is State.UNKNOWN
    bench.clock.now += LATE
    assert (await ask(bench, unknown)).state is State.FAILED
    assert unknown.request.number_id in bench.sim.owned


async def test_a_deletion_that_did_nothing_is_not_taken_for_done_once_another_has_done_it(bench: Bench) -> None:
    settings = bench.account.settings.model_copy(update={"allow_permanent_delete": True})
    bench.account = type(bench.account)(**{**vars(bench.account), "settings": settings})
    failed = await lost_release(bench, "error_before", inactive=True, permanent=True)
    bench.clock.now += LATE
    failed = await ask(bench, failed)
    assert (failed.state, failed.look_at is not None) == (State.FAILED, True)
    request = Request(number_id=failed.request.number_id, permanent=True)
    again = await bench.execute(await RELEASE.propose(bench.account, "other", request, ""))
    assert again.state is State.DONE
    bench.clock.now = max(bench.clock.now, failed.look_at or 0.0) + 1
    watched = await recovery.watch(bench.account, await bench.stored(failed))
    assert (watched.state, watched.changed) == (State.FAILED, "no")


async def test_a_release_touches_no_record_that_has_another_number_by_now(bench: Bench) -> None:
    operation = await bench.propose_release(bench.active)
    bench.active.e164 = "+2348035550177"
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code) == (State.FAILED, "NUMBER_CHANGED")
    assert not [seen for seen in bench.sim.requests if seen.method == "DELETE"]
    assert bench.active.status == "active"


async def test_a_release_says_nothing_of_a_record_that_took_another_number_while_it_was_unknown(bench: Bench) -> None:
    unknown = await lost_release(bench, "error_before")
    bench.active.e164 = "+2348035550177"
    bench.clock.now += LATE
    assert (await ask(bench, unknown)).state is State.UNKNOWN


@pytest.mark.parametrize(("ignored", "not_applied"), [(["snake"], ()), (["snake", "camel"], ("allow_outbound",))])
async def test_ignored_settings_are_patched_once_in_each_spelling(
    bench: Bench, ignored: list[str], not_applied: tuple[str, ...]
) -> None:
    wanted = not bench.sim.profile.outbound_by_default
    for spelling in ignored:
        bench.sim.faults.switch_on(f"ignore_{spelling}_case", times=None)
    bought = await bench.buy(allow_outbound=wanted)
    patches = [seen.body for seen in bench.sim.requests if seen.method == "PATCH"]
    assert patches == [{"allow_outbound": wanted}, {"allowOutbound": wanted}]
    assert (bought.state, bought.not_applied, bought.settings_pending) == (State.DONE, not_applied, False)


async def pending(bench: Bench) -> tuple[Operation, str]:
    """Give a purchase that is done, but whose settings KrosAI did not take before the server stopped."""
    endpoint = next(iter(bench.sim.endpoints))
    operation = await bench.propose(endpoint_id=endpoint)
    bench.sim.faults.switch_on("ignore_snake_case", on=["purchase"])
    bench.sim.faults.switch_on("error_before", times=None, on=["update"])
    bought = await bench.execute(operation)
    bench.sim.faults.clear()
    assert (bought.state, bought.settings_pending) == (State.DONE, True)
    return bought, endpoint


async def test_settings_left_pending_are_finished_later(bench: Bench) -> None:
    bought, endpoint = await pending(bench)
    finished = await finish_purchase(bench.account, bought)
    assert (finished.settings_pending, finished.not_applied) == (False, ())
    number = bench.sim.owned_by_e164(bought.e164)
    assert number is not None
    assert number.endpoint_id == endpoint


async def test_pending_settings_never_override_a_change_of_ours(bench: Bench) -> None:
    bought, _ = await pending(bench)
    await bench.account.journal.routing_changed(bench.account.id, bought.e164, ALL_SETTINGS)
    await finish_purchase(bench.account, bought)
    await finish_purchase(bench.account, await bench.stored(bought))
    assert not [seen for seen in bench.sim.requests if seen.method == "PATCH" and seen.status == 200]
    assert (await bench.stored(bought)).settings_pending is False


async def test_pending_settings_never_override_a_change_by_somebody_else(bench: Bench) -> None:
    bought, _ = await pending(bench)
    number, chosen = bench.sim.owned_by_e164(bought.e164), list(bench.sim.endpoints)[1]
    assert number is not None
    number.endpoint_id = chosen
    finished = await finish_purchase(bench.account, bought)
    assert (number.endpoint_id, finished.not_applied) == (chosen, ("endpoint_id",))


async def test_a_purchase_found_later_overrides_neither_our_change_nor_anybody_elses(bench: Bench) -> None:
    endpoints = list(bench.sim.endpoints)
    for index, ours in enumerate((True, False)):
        e164 = f"+23480355501{index + 5:02d}"
        bench.sim.faults.switch_on("ignore_snake_case", on=["purchase"])
        unknown = await lost(bench, e164=e164, endpoint_id=endpoints[0])
        number = bench.sim.owned_by_e164(e164)
        assert number is not None
        number.endpoint_id = endpoints[1]
        if ours:
            await bench.account.journal.routing_changed(bench.account.id, e164, ALL_SETTINGS)
        await finish_purchase(bench.account, await ask(bench, unknown))
        assert number.endpoint_id == endpoints[1]
        assert (await bench.stored(unknown)).settings_pending is False


async def test_a_purchase_found_later_gets_its_settings(bench: Bench) -> None:
    endpoint = next(iter(bench.sim.endpoints))
    bench.sim.faults.switch_on("ignore_snake_case", on=["purchase"])
    unknown = await lost(bench, endpoint_id=endpoint)
    finished = await finish_purchase(bench.account, await ask(bench, unknown))
    number = bench.sim.owned_by_e164(unknown.e164)
    assert number is not None
    assert (number.endpoint_id, finished.not_applied) == (endpoint, ())


async def test_a_change_in_the_middle_of_finishing_stops_the_next_patch(bench: Bench) -> None:
    bought, _ = await pending(bench)
    bench.sim.faults.switch_on("ignore_snake_case", on=["update"])
    bench.sim.faults.switch_on("hold", on=["update"], after=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish_purchase, bench.account, bought)
        await bench.sim.faults.held()
        await bench.account.journal.routing_changed(bench.account.id, bought.e164, ALL_SETTINGS)
        bench.sim.faults.let_go()
    done = [seen.body for seen in bench.sim.requests if seen.method == "PATCH" and seen.status == 200]
    assert [list(body) for body in done] == [["endpoint_id"]]


async def test_a_setting_counts_as_missing_where_kros_does_not_say(bench: Bench) -> None:
    bought = await bench.buy(allow_outbound=True)
    assert routing.names(routing.wanted(bought.request)) == ("allow_outbound",)
    assert bought.not_applied == ()


@pytest.mark.parametrize("reply", [200, 500])
async def test_the_deletion_of_a_record_that_stays_as_it_was_is_failed_and_watched(sim: Simulator, reply: int) -> None:
    """KrosAI may take a deletion for one more release, which an ended record shows nothing of."""

    async def nothing(request: httpx.Request, send: Send) -> httpx.Response:
        del request, send
        return httpx.Response(reply, json={"id": number.id, "e164": number.e164, "status": "cancelled"})

    number = next(iter(sim.owned.values()))
    number.status = "cancelled"
    way = Tampered(sim, "DELETE", nothing)
    async with open_bench(sim, way=way, allow_permanent_delete=True) as bench:
        unknown = await bench.execute(await bench.propose_release(number, permanent=True))
        assert unknown.state is State.UNKNOWN
        bench.clock.now += LATE
        failed = await recovery.reconcile(bench.account, unknown)
        assert (failed.state, failed.changed, failed.look_at is not None) == (State.FAILED, "no", True)
        sim.delete(number)
        bench.clock.now = failed.look_at or 0.0
        corrected = await recovery.watch(bench.account, failed)
        assert (corrected.state, corrected.changed) == (State.DONE, "yes")
