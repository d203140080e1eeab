"""A further act is carried out, asked for and told of by what it says of itself: no code there knows it by name."""

import httpx
import pytest
from bench import CANARY, Bench, open_bench

from kros_mcp.krosai import BeforeSending, Routing, Written, find_owned
from kros_mcp.operations import policy, recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import base, by_action, proposal, routing
from kros_mcp.operations.acts.base import Act, Look, Prepared
from kros_mcp.operations.model import Action, Limits, Operation, Request, Settlement, State
from kros_mcp.operations.policy import Books, RunRate
from kros_mcp.operations.wording import Wording
from kros_mcp.settings import Settings
from kros_mcp.simulator import SimNumber, Simulator
from kros_mcp.tools import outcomes
from tests.support.upstream import Send, Tampered

pytestmark = pytest.mark.anyio

SILENCE = "silence"


class SilenceWording(Wording):
    to_do, doing, done, heading = "silence", "silencing", "silenced", "Silence"

    def statement(self, operation: Operation, currency: str) -> str:
        del currency
        return f"{operation.e164} would take no more calls."

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        return [self.statement(operation, currency)]

    def ended(self, operation: Operation, currency: str) -> str:
        del currency
        return f"{operation.e164} is silenced."


class Silence(Act):
    """Takes a number off all calls: an act that this program does not have."""

    wording = SilenceWording()

    async def propose(self, account: Account, principal: str, number_id: str) -> Operation:
        number = await proposal.require_owned(account, number_id, "")
        return await proposal.propose_for_owned(account, self, principal, Request(number_id=number_id), number)

    def check(
        self, settings: Settings, operation: Operation, books: Books, run_rate: RunRate | None, own: Limits | None
    ) -> None:
        del operation, books, run_rate, own
        policy.check_writable(settings)

    async def prepare(self, account: Account, operation: Operation) -> Prepared:
        number = await proposal.read_again(account, operation)
        off = Routing(allow_inbound=False, allow_outbound=False)

        async def send(before_sending: BeforeSending) -> Written:
            return await account.client.update_number(
                number.id, off, idempotency_key=operation.id, before_sending=before_sending
            )

        return Prepared(send)

    async def settle(
        self, account: Account, operation: Operation, written: Written, before_sending: BeforeSending
    ) -> Settlement:
        del written, before_sending
        seen = (await self.look(account, operation)).settlement
        assert seen is not None
        return seen

    def is_accepted(self, operation: Operation, written: Written) -> bool:
        del operation, written
        return True

    async def look(self, account: Account, operation: Operation, *, late: bool = False) -> Look:
        del late
        reading = await find_owned(account.client, number_id=operation.request.number_id)
        number = reading.number
        silent = number is not None and number.allow_inbound is False and number.allow_outbound is False
        done = Settlement(State.DONE, number=routing.stored(number)) if number is not None and silent else None
        return Look(done, reading.complete, reading)

    async def not_done(self, account: Account, operation: Operation, look: Look, *, begun: float) -> Settlement | None:
        del look, begun
        return await base.not_done(account, operation, "It takes calls still.")


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    """List the act, and give its action a name as a line in `Action` would."""
    action = str.__new__(Action, SILENCE)
    action._name_, action._value_ = SILENCE.upper(), SILENCE
    monkeypatch.setitem(Action._value2member_map_, SILENCE, action)
    monkeypatch.setattr(Silence, "action", action, raising=False)
    act = Silence()
    monkeypatch.setitem(by_action.ACTS, action, act)  # type: ignore[attr-defined]
    return act


def calls(number: SimNumber) -> tuple[bool, bool]:
    return number.allow_inbound, number.allow_outbound


async def ask(bench: Bench, silence: Silence) -> Operation:
    return await silence.propose(bench.account, "local", bench.active.id)


@pytest.mark.usefixtures("every_backend")
async def test_it_is_asked_carried_out_and_told(sim: Simulator, silence: Silence) -> None:
    async with open_bench(sim) as bench:
        operation = await ask(bench, silence)
        assert by_action.act_of(operation).wording.question(operation, "").startswith("Silence ")
        done = await bench.execute(operation)
        assert (done.state, done.charged, done.changed) == (State.DONE, "no", "yes")
        assert calls(bench.active) == (False, False)
        assert outcomes.acted(done, bench.account.settings).summary == f"{operation.e164} is silenced."


async def test_where_its_answer_is_lost_it_is_found_out(sim: Simulator, silence: Silence) -> None:
    async def lose(request: httpx.Request, send: Send) -> httpx.Response:
        await send(request)
        raise httpx.ReadError(f"lost {CANARY}", request=request)

    async with open_bench(sim, way=Tampered(sim, "PATCH", lose)) as bench:
        unknown = await bench.execute(await ask(bench, silence))
        assert (unknown.state, unknown.changed) == (State.UNKNOWN, "unknown")
        bench.clock.now += 10
        assert (await recovery.reconcile(bench.account, unknown)).state is State.DONE
    assert [seen.method for seen in sim.requests].count("PATCH") == 1


async def test_where_it_never_came_about_it_failed(sim: Simulator, silence: Silence) -> None:
    async def swallow(request: httpx.Request, send: Send) -> httpx.Response:
        del send
        raise httpx.ReadError(f"lost {CANARY}", request=request)

    async with open_bench(sim, way=Tampered(sim, "PATCH", swallow)) as bench:
        unknown = await bench.execute(await ask(bench, silence))
        bench.clock.now += bench.account.settings.settle_seconds + 1
        failed = await recovery.reconcile(bench.account, unknown)
        assert (failed.state, failed.error_code, failed.changed) == (State.FAILED, "NOT_DONE", "no")
        assert "was not silenced; nothing was charged or changed" in outcomes.as_error(failed).message
