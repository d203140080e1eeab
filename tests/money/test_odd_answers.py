"""Answers of KrosAI that say two things at once, or less than they seem to."""

import httpx
import pytest
from bench import Bench, ask_often, open_bench, simulator

from kros_mcp.errors import OperationError
from kros_mcp.numbering import spoken
from kros_mcp.operations import moves, recovery
from kros_mcp.operations.model import DONE_ANSWERED_SECONDS, State
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.upstream import Send, Tamper, Tampered, answering

pytestmark = pytest.mark.anyio
SHOWN = "+2348035550105"


@pytest.mark.parametrize("body", [{"id": "x", "e164": "+2348035550199"}, {"e164": "+2348035550199"}])
async def test_a_success_that_names_another_number_is_never_called_failed_by_what_is_for_sale(
    sim: Simulator, body: dict[str, str]
) -> None:
    way = Tampered(sim, "POST", answering(httpx.Response(201, json=body)))
    async with open_bench(sim, way=way) as bench:
        unknown = await bench.buy(SHOWN)
        assert (unknown.state, unknown.accepted, unknown.charged) == (State.UNKNOWN, True, "unknown")
        assert spoken("+2348035550199") in unknown.message
        assert (await ask_often(bench, unknown)).state is State.UNKNOWN
        bench.clock.now += 2 * 86_400
        assert (await ask_often(bench, unknown, 90)).state is State.UNKNOWN
        ended = await bench.account.journal.change(
            unknown.id,
            lambda current, now: moves.settle_by_hand(
                current, now, state=State.FAILED, by="user-1", reason="looked", settle_seconds=0
            ),
        )
        assert (ended.state, ended.charged, sim.charges) == (State.FAILED, "no", [])


async def test_a_success_that_names_another_number_is_done_once_ours_is_seen_owned(sim: Simulator) -> None:
    answer = httpx.Response(201, json={"id": "x", "e164": "+2348035550199"})
    async with open_bench(sim, way=Tampered(sim, "POST", answering(answer, acts=True))) as bench:
        bought = await bench.buy(SHOWN)
        assert (bought.state, bought.charged, len(sim.charges)) == (State.DONE, "yes", 1)
        assert bought.number is not None
        assert bought.number.e164 == SHOWN


COMPLETE = {"id": "pn_x", "e164": SHOWN, "country": "NG", "type": "mobile", "status": "active"}


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("trouble", [{"code": "KYC_PENDING"}, {"success": False}, {"error": "INSUFFICIENT_BALANCE"}])
@pytest.mark.parametrize("acts", [True, False])
async def test_a_success_that_names_the_number_and_an_error_is_settled_by_sight_alone(
    sim: Simulator, trouble: dict[str, object], *, wrapped: bool, acts: bool
) -> None:
    body = ({"data": COMPLETE} if wrapped else COMPLETE) | trouble
    way = Tampered(sim, "POST", answering(httpx.Response(201, json=body), acts=acts))
    async with open_bench(sim, way=way) as bench:
        settled = await ask_often(bench, await bench.buy(SHOWN))
        assert settled.state is (State.DONE if acts else State.UNKNOWN)
        assert settled.charged == ("yes" if acts else "unknown")
        assert (len(sim.charges), len(bench.posts())) == (int(acts), int(acts))


NOT_PLAIN: list[dict[str, object]] = [
    {"status": "error", "data": COMPLETE},
    {"status": "pending", "data": COMPLETE},
    {"order": {"status": "Queued for review"}, "phone_number": COMPLETE},
    {"code": "OUT_OF_STOCK", "message": "Sold.", "phone_number": SHOWN},
    {"statusCode": 202, "statusText": "no", "orderStatus": "on hold", "e164": SHOWN},
    {"ok": False, "phone_number": SHOWN},
    {"success": "false", "phone_number": SHOWN},
    {"success": 0, "phone_number": SHOWN},
    COMPLETE | {"status": "declined"},
    COMPLETE | {"status": "Purchase-Failed"},
    COMPLETE | {"status": "purchase_pending"},
    COMPLETE | {"status": "awaiting_approval"},
    COMPLETE | {"status": "available"},
    COMPLETE | {"failure_reason": "carrier"},
    COMPLETE | {"rejectedAt": "2026-11-28T10:00:00Z"},
]


@pytest.mark.parametrize("body", NOT_PLAIN)
@pytest.mark.parametrize("acts", [True, False])
async def test_an_answer_that_does_not_say_plainly_that_it_was_bought_is_settled_by_sight_alone(
    sim: Simulator, body: dict[str, object], *, acts: bool
) -> None:
    way = Tampered(sim, "POST", answering(httpx.Response(200, json=body), acts=acts))
    async with open_bench(sim, way=way) as bench:
        settled = await ask_often(bench, await bench.buy(SHOWN))
        assert settled.state is (State.DONE if acts else State.UNKNOWN)
        assert settled.charged == ("yes" if acts else "unknown")


@pytest.mark.parametrize(
    "body",
    [
        COMPLETE | {"endpoint": {"id": "ep_x", "status": "error"}, "kyc_status": "pending", "failover_url": "x"},
        COMPLETE | {"status": None, "errors": [], "error": None, "failed_at": None},
        {"status": "OK", "code": 0, "success": True, "data": COMPLETE | {"status": "in-use"}},
        {"status": 201, "code": "SUCCESS", "phone_number": COMPLETE},
    ],
)
async def test_an_answer_that_says_plainly_that_it_was_bought_is_believed(
    sim: Simulator, body: dict[str, object]
) -> None:
    async with open_bench(sim, way=Tampered(sim, "POST", answering(httpx.Response(200, json=body)))) as bench:
        assert (await bench.buy(SHOWN)).state is State.DONE


def becoming(number: SimNumber, status: str, *, answer: httpx.Response | None) -> Tamper:
    """A release that only changes the status, and whose answer may be lost."""

    async def tamper(request: httpx.Request, _send: Send) -> httpx.Response:
        number.status = status
        if answer is None:
            raise httpx.ReadError("lost", request=request)
        return answer

    return tamper


@pytest.mark.parametrize("status", ["releasing", "active"])
@pytest.mark.parametrize("answer", [httpx.Response(202), httpx.Response(202, json={"status": "releasing"})])
async def test_a_release_that_kros_accepted_is_never_called_failed(
    sim: Simulator, answer: httpx.Response, status: str
) -> None:
    number = next(iter(sim.owned.values()))
    async with open_bench(sim, way=Tampered(sim, "DELETE", becoming(number, status, answer=answer))) as bench:
        sent = await bench.execute(await bench.propose_release(number))
        assert "accepted the release" in sent.message
        unknown = await ask_often(bench, sent)
        assert (unknown.state, unknown.changed, number.status) == (State.UNKNOWN, "unknown", status)
        number.status = "inactive"
        released = await ask_often(bench, unknown)
        assert (released.state, released.changed) == (State.DONE, "yes")


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (httpx.Response(202), State.UNKNOWN),
        (httpx.Response(200, json=COMPLETE | {"success": False}), State.UNKNOWN),
        (httpx.Response(204), State.DONE),
    ],
)
async def test_a_release_that_cannot_be_read_back_is_done_only_by_a_plain_success(
    sim: Simulator, answer: httpx.Response, ends: State
) -> None:
    number = next(iter(sim.owned.values()))

    async def answer_and_hide(_request: httpx.Request, _send: Send) -> httpx.Response:
        sim.faults.switch_on("refuse", times=None, on=["get"], status=401)
        return answer

    async with open_bench(sim, way=Tampered(sim, "DELETE", answer_and_hide)) as bench:
        released = await bench.execute(await bench.propose_release(number))
        assert (released.state, number.status) == (ends, "active")


@pytest.mark.parametrize(("status", "ends"), [("releasing", State.UNKNOWN), ("active", State.FAILED)])
async def test_a_lost_release_failed_only_if_the_status_is_as_it_was(sim: Simulator, status: str, ends: State) -> None:
    number = next(iter(sim.owned.values()))
    assert number.status == "active"
    async with open_bench(sim, way=Tampered(sim, "DELETE", becoming(number, status, answer=None))) as bench:
        unknown = await bench.execute(await bench.propose_release(number))
        assert (await recovery.reconcile(bench.account, unknown)).state is State.UNKNOWN
        assert (await ask_often(bench, unknown)).state is ends


@pytest.mark.parametrize("lost", [True, False])
async def test_a_deletion_that_kros_turns_into_a_release_is_done_and_says_what_it_is_not(*, lost: bool) -> None:
    sim = simulator("reference")
    number = next(iter(sim.owned.values()))

    async def soften(request: httpx.Request, send: Send) -> httpx.Response:
        url = request.url.copy_merge_params({"action": "release"})
        answer = await send(httpx.Request("DELETE", url, headers=request.headers))
        if lost:
            raise httpx.ReadError("lost", request=request)
        return answer

    way = Tampered(sim, "DELETE", soften)
    async with open_bench(sim, way=way, allow_permanent_delete=True) as bench:
        settled = await bench.execute(await bench.propose_release(number, permanent=True))
        done = await recovery.reconcile(bench.account, settled) if lost else settled
        assert (done.state, done.changed, done.not_applied) == (State.DONE, "yes", ("permanent",))
        assert sim.owned[number.id].status == "inactive"


async def test_a_number_just_bought_is_not_offered_again_while_it_is_still_listed_for_sale(bench: Bench) -> None:
    stock = dict(bench.sim.inventory)
    bought = await bench.buy(SHOWN)
    bench.sim.inventory.update(stock)
    assert (await bench.propose(SHOWN)).id == bought.id
    with pytest.raises(OperationError) as caught:
        await bench.propose(SHOWN, allow_outbound=False)
    assert (caught.value.code, caught.value.charged) == ("ALREADY_OWNED", "no")
    assert len(await bench.account.journal.list_operations()) == len(bench.posts()) == len(bench.sim.charges) == 1


@pytest.mark.parametrize("lost", [True, False])
async def test_a_404_for_a_number_that_is_still_listed_proves_no_release(sim: Simulator, *, lost: bool) -> None:
    not_found = httpx.Response(404, text="<html>404 Not Found</html>")
    gone: list[httpx.Request] = []

    async def delete(request: httpx.Request, _send: Send) -> httpx.Response:
        gone.append(request)
        if lost:
            raise httpx.ReadError("lost", request=request)
        return not_found

    async def get(request: httpx.Request, send: Send) -> httpx.Response:
        return not_found if gone and "/phone-numbers/" in request.url.path else await send(request)

    async with open_bench(sim, way=Tampered(sim, "DELETE", delete, Tampered(sim, "GET", get))) as bench:
        unknown = await bench.execute(await bench.propose_release(bench.active))
        assert (unknown.state, unknown.changed) == (State.UNKNOWN, "unknown")
        assert (await ask_often(bench, unknown)).state is State.UNKNOWN
        del sim.owned[bench.active.id]
        assert (await ask_often(bench, unknown)).state is State.DONE


async def test_a_purchase_answers_the_same_wish_again_for_a_day(bench: Bench) -> None:
    stock = dict(bench.sim.inventory)
    bought = await bench.buy(SHOWN)
    bench.sim.inventory.update(stock)
    bench.clock.now += DONE_ANSWERED_SECONDS
    assert (await bench.propose(SHOWN)).id == bought.id
    bench.clock.now += 1
    with pytest.raises(OperationError) as caught:
        await bench.propose(SHOWN)
    assert caught.value.code == "ALREADY_OWNED"
