"""One purchase or release from its claim to its outcome, against a simulator that goes wrong."""

from collections.abc import AsyncIterator

import httpx
import pytest
from bench import KEY, MEMORY, Bench, open_bench, simulator

from kros_mcp.krosai.refusals import REFUSALS
from kros_mcp.operations import delivery, recovery
from kros_mcp.operations.model import State
from kros_mcp.simulator import Simulator, open_server, transport
from tests.support.upstream import Tampered, acting_then

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["in_process", "tcp"])
async def wired(request: pytest.FixtureRequest, sim: Simulator) -> AsyncIterator[Bench]:
    if request.param == "in_process":
        async with open_bench(sim) as bench:
            yield bench
        return
    async with open_server(sim) as base_url, open_bench(sim, base_url=base_url) as bench:
        yield bench


async def test_a_purchase_charges_once_what_was_shown_and_its_settings_are_as_asked(wired: Bench) -> None:
    endpoint = next(iter(wired.sim.endpoints))
    operation = await wired.propose(endpoint_id=endpoint, allow_inbound=False, allow_outbound=True)
    bought = await wired.execute(operation)
    assert (bought.state, bought.charged, bought.changed) == (State.DONE, "yes", "yes")
    assert [charge.cents for charge in wired.sim.charges] == [operation.quote.due_now_cents]
    assert wired.sim.charges[0].idempotency_key == operation.id
    number = wired.sim.owned_by_e164(operation.e164)
    assert number is not None
    assert (number.endpoint_id, number.allow_inbound, number.allow_outbound) == (endpoint, False, True)
    assert (bought.settings_pending, bought.not_applied) == (False, ())
    assert wired.posts()[0].body["totalCostCents"] == operation.quote.due_now_cents


@pytest.mark.parametrize(("inbound", "outbound"), [(True, True), (False, True), (True, False)])
async def test_a_purchase_says_of_calls_only_what_departs_from_the_documented_default(
    bench: Bench, *, inbound: bool, outbound: bool
) -> None:
    await bench.buy(allow_inbound=inbound, allow_outbound=outbound)
    told = {name: value for name, value in bench.posts()[0].body.items() if name.lower().startswith("allow")}
    assert set(told.values()) <= {False}
    assert (
        bool({"allowInbound", "allow_inbound"} & told.keys()),
        bool({"allowOutbound", "allow_outbound"} & told.keys()),
    ) == (not inbound, not outbound)


@pytest.mark.parametrize("status", [400, 405, 409])
@pytest.mark.parametrize("code", sorted(set(REFUSALS) - {"RATE_LIMIT_EXCEEDED", "CONCURRENT_LIMIT_EXCEEDED"}))
async def test_a_documented_code_fails_unspent_unless_krosai_is_failing(code: str, status: int) -> None:
    async with open_bench(simulator()) as bench:
        operation = await bench.propose()
        bench.sim.faults.switch_on("refuse", on=["purchase"], status=status, code=code)
        failed = await bench.execute(operation)
        assert (failed.state, failed.charged, failed.error_code) == (State.FAILED, "no", code)
        assert bench.sim.charges == []
        assert len(bench.posts()) == 1


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_a_documented_code_in_a_failure_of_krosai_s_own_settles_nothing(bench: Bench, status: int) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("refuse", on=["purchase"], status=status, code="NUMBER_NOT_AVAILABLE")
    unknown = await bench.execute(operation)
    assert (unknown.state, unknown.charged) == (State.UNKNOWN, "unknown")
    assert len(bench.posts()) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
async def test_a_refusal_without_a_code_fails_unspent(bench: Bench, status: int) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("refuse", on=["purchase"], status=status)
    failed = await bench.execute(operation)
    assert (failed.state, failed.charged) == (State.FAILED, "no")


@pytest.mark.parametrize("status", [301, 302, 307, 408, 418, 500, 502, 503, 504])
async def test_any_other_answer_leaves_the_outcome_unknown(bench: Bench, status: int) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("refuse", on=["purchase"], status=status)
    unknown = await bench.execute(operation)
    assert (unknown.state, unknown.charged, unknown.changed) == (State.UNKNOWN, "unknown", "unknown")
    assert unknown.reserved_cents == operation.quote.due_now_cents
    assert len(bench.posts()) == 1


@pytest.mark.parametrize("fault", ["html_page", "malformed_body", "unknown_shape"])
async def test_an_unreadable_success_is_done_only_because_the_number_is_seen_owned(wired: Bench, fault: str) -> None:
    operation = await wired.propose()
    wired.sim.faults.switch_on(fault, on=["purchase"])
    bought = await wired.execute(operation)
    assert bought.state is State.DONE
    assert len(wired.sim.charges) == 1


@pytest.mark.parametrize("fault", ["html_page", "malformed_body", "unknown_shape"])
async def test_an_unreadable_success_is_unknown_while_nothing_can_be_read(sim: Simulator, fault: str) -> None:
    nothing_readable = acting_then(sim, "refuse", times=None, on=["list_owned", "get"], status=401)
    async with open_bench(sim, way=Tampered(sim, "POST", nothing_readable)) as bench:
        operation = await bench.propose()
        sim.faults.switch_on(fault, on=["purchase"])
        unknown = await bench.execute(operation)
        assert (unknown.state, unknown.charged) == (State.UNKNOWN, "unknown")
        sim.faults.clear()
        assert (await recovery.reconcile(bench.account, unknown)).state is State.DONE
        assert len(sim.charges) == 1


class Answers(httpx.AsyncBaseTransport):
    """Lets everything through, and replaces the answer to each POST after KrosAI has acted, or before."""

    def __init__(self, sim: Simulator, answer: httpx.Response, *, acts: bool) -> None:
        self._way, self._answer, self._acts = transport(sim), answer, acts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return await self._way.handle_async_request(request)
        if self._acts:
            await self._way.handle_async_request(request)
        return self._answer


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("status", [200, 204])
async def test_an_empty_success_counts_only_if_the_number_is_seen_owned(
    sim: Simulator, status: int, *, acts: bool
) -> None:
    async with open_bench(sim, way=Answers(sim, httpx.Response(status), acts=acts)) as bench:
        settled = await bench.buy()
        assert settled.state is (State.DONE if acts else State.UNKNOWN)
        assert len(sim.charges) == int(acts)


@pytest.mark.parametrize(
    "body", [{"success": False, "error": "try later"}, {"errors": ["no"]}, {"code": -404}, {"status": "failed"}]
)
@pytest.mark.parametrize("acts", [True, False])
async def test_a_success_that_says_it_is_none_is_a_refusal_unless_the_account_shows_the_number(
    sim: Simulator, body: object, acts: bool
) -> None:
    answer = httpx.Response(200, json=body)
    async with open_bench(sim, way=Answers(sim, answer, acts=acts)) as bench:
        assert (await bench.buy()).charged == ("yes" if acts else "no")
        assert len(sim.charges) == int(acts)


async def test_a_success_that_names_the_number_alone_is_done(sim: Simulator) -> None:
    async with open_bench(sim) as scout:
        e164 = (await scout.propose()).e164
    answer = httpx.Response(201, json={"e164": e164})
    async with open_bench(sim, way=Answers(sim, answer, acts=True)) as bench:
        bought = await bench.buy(e164, allow_outbound=True)
        assert (bought.state, bought.settings_pending, bought.not_applied) == (State.DONE, False, ())
        assert bought.number is not None
        assert bought.number.allow_outbound is True


async def test_a_success_that_names_another_number_is_not_believed(sim: Simulator) -> None:
    answer = httpx.Response(201, json={"id": "x1", "e164": "+2348035550199"})
    async with open_bench(sim, way=Answers(sim, answer, acts=False)) as bench:
        unknown = await bench.buy()
        assert (unknown.state, sim.charges) == (State.UNKNOWN, [])


async def test_a_failure_while_reading_back_never_turns_a_purchase_into_a_failure(sim: Simulator) -> None:
    nothing_found = acting_then(sim, "refuse", times=None, on=["get", "list_owned", "update"], status=404)
    async with open_bench(sim, way=Tampered(sim, "POST", nothing_found)) as bench:
        bought = await bench.buy(allow_outbound=True, endpoint_id=next(iter(sim.endpoints)))
        assert (bought.state, bought.charged) == (State.DONE, "yes")
        assert len(sim.charges) == 1


async def test_a_429_is_honoured_and_sent_again_under_the_same_key(wired: Bench) -> None:
    operation = await wired.propose()
    wired.sim.faults.switch_on("rate_limited", on=["purchase"], retry_after="1.5")
    bought = await wired.execute(operation)
    assert (bought.state, len(wired.sim.charges)) == (State.DONE, 1)
    first, second = wired.posts()
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == operation.id
    assert second.at - first.at >= 1.5


async def test_a_429_for_longer_than_ten_seconds_fails_unspent(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("rate_limited", times=None, on=["purchase"], retry_after="60")
    failed = await bench.execute(operation)
    assert (failed.state, failed.charged, bench.sim.charges) == (State.FAILED, "no", [])


class LimitsLate(httpx.AsyncBaseTransport):
    """A gateway that turns the first purchase's answer into a 429 after KrosAI has acted."""

    def __init__(self, sim: Simulator) -> None:
        self._way, self._done = transport(sim), False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._way.handle_async_request(request)
        if request.method != "POST" or self._done:
            return response
        self._done = True
        return httpx.Response(429, headers={"retry-after": "0.01"}, json={"error": "Rate limit exceeded"})


async def test_a_429_after_the_purchase_is_found_out_before_anything_is_sent_again(sim: Simulator) -> None:
    async with open_bench(sim, way=LimitsLate(sim)) as bench:
        bought = await bench.buy()
        assert (bought.state, bought.charged) == (State.DONE, "yes")
        assert (len(bench.posts()), len(sim.charges)) == (1, 1)


class Refuses(httpx.AsyncBaseTransport):
    """Refuses the connection for the first writes; counts their keys."""

    def __init__(self, sim: Simulator, times: int) -> None:
        self._way, self._times = transport(sim), times
        self.keys: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.keys.append(request.headers["idempotency-key"])
            if len(self.keys) <= self._times:
                raise httpx.ConnectError("refused", request=request)
        return await self._way.handle_async_request(request)


async def test_a_refused_connection_is_tried_again_under_the_same_key(sim: Simulator) -> None:
    way = Refuses(sim, 2)
    async with open_bench(sim, way=way) as bench:
        bought = await bench.buy()
        assert (bought.state, len(sim.charges)) == (State.DONE, 1)
        assert way.keys == [bought.id] * 3


async def test_a_connection_refused_to_the_end_fails_unspent(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "NOT_SENT_SECONDS", 0.6)
    async with open_bench(sim, way=Refuses(sim, 100)) as bench:
        failed = await bench.buy()
        assert (failed.state, failed.charged, failed.error_code) == (State.FAILED, "no", "UNREACHABLE")
        assert (failed.look_at, sim.charges) == (None, [])


@pytest.mark.promise(3)
async def test_a_price_that_moved_before_sending_stops_the_purchase_unspent(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("price_moves", at="search", cents=1)
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code) == (State.FAILED, "PRICE_CHANGED")
    assert bench.posts() == []


@pytest.mark.promise(3)
async def test_a_price_that_kros_moves_while_charging_is_told_and_counted(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("price_moves", at="purchase", cents=123)
    bought = await bench.execute(operation)
    assert bought.state is State.DONE
    assert bought.note == "KrosAI now reports 8.23 a month, not the 7.00 shown."
    assert bought.charged_cents == bought.reserved_cents == bench.sim.charges[0].cents == 823


async def test_a_number_that_somebody_takes_first_fails_unspent(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.faults.switch_on("stolen_number")
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code, failed.charged) == (State.FAILED, "NUMBER_NOT_AVAILABLE", "no")
    assert bench.sim.charges == []


async def test_a_number_that_is_gone_before_sending_is_not_seen_and_nothing_is_sent(bench: Bench) -> None:
    operation = await bench.propose()
    bench.sim.inventory.clear()
    failed = await bench.execute(operation)
    assert (failed.state, failed.error_code, bench.posts()) == (State.FAILED, "NOT_SEEN", [])


@pytest.mark.parametrize("profile", ["reference", "guide"])
async def test_a_number_among_five_thousand_is_bought_with_few_requests(profile: str) -> None:
    sim = simulator(profile, extra_inventory={"NG": 5_000})  # type: ignore[arg-type]
    async with open_bench(sim, journal_url=MEMORY) as bench:
        page = await bench.account.inventory.search(country="NG", type="mobile", limit=100, offset=4_950)
        before = len(sim.requests)
        bought = await bench.buy(page.items[-1].e164)
        assert (bought.state, len(sim.charges)) == (State.DONE, 1)
        assert len(sim.requests) - before <= 12


async def test_no_answer_and_no_row_holds_the_key(bench: Bench) -> None:
    bought = await bench.buy(allow_outbound=True)
    assert KEY not in repr(bought)
    assert KEY not in repr(bench.account.settings)
