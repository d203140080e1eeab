"""A server that is killed at any point of an act, and started again."""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from bench import CANARY, KEY, OTHER_MOBILES, Bench, open_bench, simulator

from kros_mcp.operations import recovery
from kros_mcp.operations.acts.purchase_routing import finish_purchase
from kros_mcp.operations.model import LEASE_SECONDS, Operation, State
from kros_mcp.simulator import Simulator, open_server
from kros_mcp.simulator.profiles import ProfileName
from tests.support.clock import Clock

pytestmark = [pytest.mark.anyio, pytest.mark.processes]

CHILD = Path(__file__).parent / "crashing.py"
MOST_POINTS = 20
LONGEST_CHILD_SECONDS = 20


@asynccontextmanager
async def open_nursery() -> AsyncIterator[Callable[..., Awaitable[bool]]]:
    """Run `crashing.py`; what it gives tells of one server whether it was killed before it had ended."""
    with TemporaryFile() as printed:
        async with await anyio.open_process([sys.executable, str(CHILD)], stderr=printed) as nursery:
            assert nursery.stdout is not None
            codes = BufferedByteReceiveStream(nursery.stdout)

            async def crashed(*arguments: object) -> bool:
                assert nursery.stdin is not None
                with anyio.fail_after(LONGEST_CHILD_SECONDS):
                    await nursery.stdin.send(json.dumps([str(each) for each in arguments]).encode() + b"\n")
                    code = int(await codes.receive_until(b"\n", 10))
                printed.seek(0)
                told = printed.read()
                assert code in {0, -signal.SIGKILL}, told.decode()
                assert CANARY.encode() not in told
                return code != 0

            yield crashed
            assert nursery.stdin is not None
            await nursery.stdin.aclose()


async def restarted(bench: Bench) -> Operation | None:
    """Recover as a new server does, and give the one operation as it is known at first."""
    bench.clock.now = time.time() + LEASE_SECONDS + 1
    await recovery.recover(bench.account)
    operations = await bench.account.journal.list_operations()
    assert len(operations) <= 1
    return operations[0] if operations else None


async def asked(bench: Bench, operation: Operation) -> Operation:
    """Reconcile until KrosAI has told all it will ever tell, and finish what is pending."""
    for pause in (3.0, 121.0, 11.0):
        bench.clock.now += pause
        operation = await recovery.reconcile(bench.account, await bench.stored(operation))
    return await finish_purchase(bench.account, operation)


def agrees(operation: Operation | None, *, happened: bool) -> bool:
    """Tell whether what the journal says does not contradict KrosAI."""
    if operation is None or operation.state is State.PROPOSED:
        return not happened
    claimed = {State.DONE: True, State.FAILED: False, State.UNKNOWN: happened}
    return operation.state in claimed and claimed[operation.state] is happened


async def every_point(
    profile: ProfileName, new_journal: Callable[[], str], *point: str
) -> AsyncIterator[tuple[Simulator, str, str]]:
    """Crash at the first point, at the second, and so on, each at a fresh KrosAI, until nothing crashes."""
    act, e164, kind, when = point
    async with open_nursery() as crashed:
        for at in range(1, MOST_POINTS):
            sim = simulator(profile)
            number = e164 or next(iter(sim.owned.values())).e164
            url = new_journal()
            async with open_server(sim) as base_url:
                if act == "buy":
                    sim.faults.switch_on("ignore_snake_case", on=["purchase"])
                happening = await crashed(base_url, url, act, number, kind, at, when)
                await sim.settled()
                yield sim, base_url, url
            if not happening:
                assert at > 2
                return
    pytest.fail("the child crashed at every point, so it never came to its end")


def soaked(*point: str) -> Any:
    return pytest.param(*point, marks=pytest.mark.soak)


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("profile", "kind", "when", "new_journal"),
    [
        ("reference", "write", "before", "sqlite"),
        ("guide", "write", "after", "postgres"),
        ("guide", "wire", "before", "postgres"),
        ("reference", "wire", "after", "sqlite"),
        soaked("guide", "write", "before", "postgres"),
        soaked("reference", "write", "after", "sqlite"),
        soaked("reference", "wire", "before", "sqlite"),
        soaked("guide", "wire", "after", "postgres"),
    ],
    indirect=["new_journal"],
)
async def test_a_crash_in_a_purchase_never_charges_twice_and_never_loses_the_outcome(
    profile: ProfileName, kind: str, when: str, new_journal: Callable[[], str]
) -> None:
    e164 = OTHER_MOBILES[0]
    async for sim, base_url, url in every_point(profile, new_journal, "buy", e164, kind, when):
        happened = len(sim.charges) == 1
        assert len(sim.charges) <= 1
        async with open_bench(sim, base_url=base_url, journal_url=url) as bench:
            operation = await restarted(bench)
            assert agrees(operation, happened=happened)
            if operation is None or operation.state is State.PROPOSED:
                continue
            ended = await asked(bench, operation)
            assert ended.state is (State.DONE if happened else State.FAILED)
            if happened:
                number = sim.owned_by_e164(e164)
                assert number is not None
                assert (number.endpoint_id, number.allow_outbound) == (next(iter(sim.endpoints)), True)
                assert (ended.settings_pending, ended.not_applied) == (False, ())
                wish = {"endpoint_id": number.endpoint_id, "allow_outbound": True}
                assert (await bench.propose(e164, **wish)).id == ended.id
            assert len(sim.charges) == int(happened)


@pytest.mark.parametrize(
    ("profile", "when", "new_journal"),
    [
        ("guide", "before", "postgres"),
        ("reference", "after", "sqlite"),
        soaked("reference", "before", "sqlite"),
        soaked("guide", "after", "postgres"),
    ],
    indirect=["new_journal"],
)
async def test_a_crash_in_a_release_never_loses_its_outcome(
    profile: ProfileName, when: str, new_journal: Callable[[], str]
) -> None:
    async for sim, base_url, url in every_point(profile, new_journal, "release", "", "write", when):
        happened = not any(number.status == "active" for number in sim.owned.values())
        async with open_bench(sim, base_url=base_url, journal_url=url) as bench:
            operation = await restarted(bench)
            assert agrees(operation, happened=happened)
            if operation is not None and operation.state is not State.PROPOSED:
                assert (await asked(bench, operation)).state is (State.DONE if happened else State.FAILED)
        assert sim.charges == []


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("profile", "kind", "when", "new_journal"),
    [
        ("guide", "write", "before", "postgres"),
        ("reference", "wire", "after", "sqlite"),
        soaked("reference", "write", "after", "sqlite"),
        soaked("reference", "write", "before", "sqlite"),
        soaked("guide", "write", "after", "postgres"),
        soaked("guide", "wire", "before", "postgres"),
    ],
    indirect=["new_journal"],
)
async def test_a_crash_in_a_batch_never_charges_twice_and_begins_nothing_later(
    profile: ProfileName, kind: str, when: str, new_journal: Callable[[], str]
) -> None:
    wanted = OTHER_MOBILES[:2]
    async for sim, base_url, url in every_point(profile, new_journal, "several", ",".join(wanted), kind, when):
        bought = [charge.e164 for charge in sim.charges]
        assert len(bought) == len(set(bought))
        async with open_bench(sim, base_url=base_url, journal_url=url) as bench:
            bench.clock.now = time.time() + LEASE_SECONDS + 1
            await recovery.recover(bench.account)
            listed = await bench.account.journal.list_operations()
            if any(one.items for one in listed) or not listed:  # nobody's yes is in the journal
                assert bought == []
                continue
            numbers = await bench.account.journal.items(listed[0].batch)
            assert [one.e164 for one in numbers] == wanted
            for one in numbers:
                assert agrees(one, happened=one.e164 in bought)
                assert one.state is State.FAILED or one.sent_at is not None
            ended = [await asked(bench, one) for one in numbers]
            assert [one.e164 for one in ended if one.state is State.DONE] == bought
            assert {one.state for one in ended} <= {State.DONE, State.FAILED}
            books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
            assert books.spent_cents == sum(charge.cents for charge in sim.charges)
        assert [charge.e164 for charge in sim.charges] == bought


class Talk:
    """A client that speaks to the real server over its stdin and stdout, one line at a time."""

    def __init__(self, process: Process) -> None:
        self._process, self._received, self._last = process, b"", 0

    async def send(self, method: str, **params: Any) -> int:
        self._last += 1
        message = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        assert self._process.stdin is not None
        await self._process.stdin.send(json.dumps(message).encode() + b"\n")
        return self._last

    async def ask(self, method: str, **params: Any) -> Any:
        number = await self.send(method, **params)
        assert self._process.stdout is not None
        while True:
            while b"\n" not in self._received:
                self._received += await self._process.stdout.receive()
            line, _, self._received = self._received.partition(b"\n")
            answer = json.loads(line)
            assert CANARY not in line.decode()
            if answer.get("id") == number:
                return answer["result"]

    async def call(self, tool: str, **arguments: Any) -> Any:
        return (await self.ask("tools/call", name=tool, arguments=arguments))["structuredContent"]


@asynccontextmanager
async def open_talk(base_url: str, url: str) -> AsyncIterator[tuple[Talk, Process]]:
    env = {
        **os.environ,
        "KROS_API_KEY": KEY,
        "KROS_CONFIRMATION": "conversation",
        "KROS_BASE_URL": base_url,
        "KROS_JOURNAL_URL": url,
        "KROS_PRINCIPAL": "user-1",
    }
    async with await anyio.open_process([sys.executable, "-m", "kros_mcp"], env=env, stderr=None) as process:
        talk = Talk(process)
        try:
            await talk.ask(
                "initialize",
                protocolVersion="2025-06-18",
                capabilities={},
                clientInfo={"name": "test", "version": "1"},
            )
            yield talk, process
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_server_killed_over_stdio_tells_the_purchase_when_it_is_started_again(journal_url: str) -> None:
    sim, url = simulator(), journal_url
    with anyio.fail_after(LONGEST_CHILD_SECONDS):
        async with open_server(sim) as base_url:
            async with open_talk(base_url, url) as (talk, process):
                wish = {"e164": OTHER_MOBILES[0], "country": "NG", "type": "mobile"}
                asked_for = await talk.call("buy_phone_number", **wish)
                sim.faults.switch_on("hold", on=["purchase"], after=True)
                code = asked_for["confirmation_code"]
                await talk.send("tools/call", name="buy_phone_number", arguments={**wish, "confirmation_code": code})
                await sim.faults.held()
                process.kill()
                await process.wait()
            sim.faults.let_go()
            await sim.settled()
            async with open_bench(sim, clock=Clock(), base_url=base_url, journal_url=url) as bench:
                unknown = await restarted(bench)
                assert unknown is not None
                assert unknown.state is State.UNKNOWN
            async with open_talk(base_url, url) as (talk, _):
                told = await talk.call("get_operation", operation_id=asked_for["operation_id"])
                assert (told["status"], told["charged"]) == ("done", "yes")
                again = await talk.call("buy_phone_number", **wish)
                assert again["operation_id"] == asked_for["operation_id"]
    assert [charge.idempotency_key for charge in sim.charges] == [asked_for["operation_id"]]
