"""`python -m tests.checks.load`: many connections at one service while KrosAI fails now and then; nothing is lost.

Several principals read and buy by code over one real process, both protocol revisions mixed. One request in
twenty to KrosAI meets a fault: a lost reply, an error before or after the deed, slowness, a refusal to go so
fast. When all is calm again, the books of the fault campaign are compared, and every call has had its answer.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from mcp import Client

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation, State
from kros_mcp.simulator import open_server
from tests.checks.campaign.books import Answer, Books, Confirmation, Limits, holdings_of, totals, writes_of
from tests.checks.campaign.compare import compare
from tests.checks.campaign.shelf import Difference
from tests.checks.campaign.watched import KEY, WatchedKrosai
from tests.support.callers import Era, open_client
from tests.support.replicas import open_service, write_tokens

FAULTS = ("lost_reply", "error_after", "error_before", "slow", "rate_limited")
SHARE_OF_FAULTS = 0.05
LEAST_PURCHASES = 5
PRINCIPALS = ("support-agent", "sales-agent", "night-desk", "day-desk")
ERAS: tuple[Era, Era] = ("auto", "legacy")
_COUNTRIES = ("NG", "KE", "GH", "RW", "AE", "EG")
LIMITS = Limits(10_000, 2_000_000_000, frozenset(_COUNTRIES), frozenset())
LONGEST_SETTLING_SECONDS = 90
_READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("search_phone_numbers", {"country": "NG", "limit": 5}),
    ("list_endpoints", {}),
    ("get_spending", {}),
    ("list_phone_numbers", {"limit": 5}),
)


@dataclass
class Record:
    """What callers saw, and what people agreed to."""

    chance: random.Random
    answers: list[Answer] = field(default_factory=list)
    confirmations: list[Confirmation] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What came of it."""

    record: Record
    books: Books
    differences: list[Difference]
    faults: Counter[str]
    requests: int
    lasted: float

    def line(self) -> str:
        """Tell it in one line."""
        seconds = sorted(self.record.seconds)
        p50, p99 = statistics.median(seconds), seconds[int(0.99 * len(seconds))]
        return (
            f"{len(seconds)} calls in {self.lasted:.1f} s, {len(seconds) / self.lasted:.0f} calls/s, "
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, {len(self.record.unanswered)} without an answer, "
            f"{self.faults.total()} faults in {self.requests} requests to KrosAI, "
            f"{len(self.books.charges)} purchases, {len(self.differences)} differences"
        )

    def lack(self) -> list[str]:
        """Name what did not happen, without which the books prove little."""
        charged = {charge.idempotency_key for charge in self.books.charges}
        open_now = [
            each.operation_id
            for each in self.books.confirmations
            if self._end_of(each.operation_id)
            != ((State.DONE, "yes") if each.operation_id in charged else (State.FAILED, "no"))
        ]
        return [
            *(f"no {name}" for name in FAULTS if not self.faults[name]),
            *([] if len(charged) >= LEAST_PURCHASES else [f"{len(charged)} purchases"]),
            *(f"{operation_id} has not ended as KrosAI charged" for operation_id in open_now),
        ]

    def _end_of(self, operation_id: str) -> tuple[State, str]:
        [found] = [each for each in self.books.operations if each.id == operation_id]
        return found.state, found.charged


class Caller:
    """One connection."""

    def __init__(self, name: str, client: Client, record: Record) -> None:
        self._name, self._client, self._record = name, client, record

    async def live(self, ends: float) -> None:
        while time.monotonic() < ends:
            if self._record.chance.random() < 0.25:
                await self._find_and_buy()
            else:
                tool, arguments = self._record.chance.choice(_READS)
                await self.call(tool, arguments)

    async def _find_and_buy(self) -> None:
        """Buy a number that a search shows; others may be after the same one."""
        where = {"country": self._record.chance.choice(_COUNTRIES), "offset": self._record.chance.randrange(80)}
        found = await self.call("search_phone_numbers", {**where, "limit": 3})
        if found.get("numbers"):
            await self._buy({"inventory_id": self._record.chance.choice(found["numbers"])["inventory_id"]})

    async def _buy(self, wish: dict[str, Any]) -> None:
        asked = await self.call("buy_phone_number", wish)
        if not asked.get("confirmation_code"):
            return
        quote = asked["quote"]
        yes = Confirmation(
            asked["operation_id"], "buy", quote["e164"], quote["due_now_cents"], "code", self._name, time.time()
        )
        self._record.confirmations.append(yes)
        confirmed = {**wish, "confirmation_code": asked["confirmation_code"]}
        if self._record.chance.random() < 0.1:  # an impatient agent says it twice at once
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.call, "buy_phone_number", confirmed)
                tasks.start_soon(self.call, "buy_phone_number", confirmed)
        else:
            await self.call("buy_phone_number", confirmed)

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        asked_at, began = time.time(), time.perf_counter()
        try:
            result = await self._client.call_tool(tool, arguments)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the call has no answer
            self._record.unanswered.append(f"{tool}: {exc!r}")
            return {}
        self._record.seconds.append(time.perf_counter() - began)
        data = result.structured_content or {}
        outcome, failed = str(data.get("code") or data.get("status") or "read"), bool(result.is_error)
        self._record.outcomes[outcome] += 1
        if data.get("operation_id"):
            told: dict[str, Any] = {name: data.get(name) or "" for name in ("operation_id", "charged", "changed")}
            kept = Answer(
                **told,
                asked_at=asked_at,
                answered_at=time.time(),
                tool=tool,
                outcome=outcome,
                failed=failed,
                by=self._name,
            )
            self._record.answers.append(kept)
        return data


async def run(seconds: float, connections: int, folder: Path, *, seed: int = 1, words: Sequence[str] = ()) -> Result:
    """Load a service, let all calm down, and compare the books.

    Args:
        seconds: How long callers are busy.
        connections: How many there are.
        folder: Takes journal, tokens and log.
        seed: Decides what callers do and which requests meet a fault.
        words: Further arguments of `kros-mcp http`.
    """
    sim, url = WatchedKrosai("reference", seed), f"sqlite:///{folder}/journal.sqlite3"
    chance = random.Random(seed)  # noqa: S311 - must repeat, guards nothing
    record = Record(chance)
    async with open_server(sim) as base_url, open_journal(url) as journal:
        settings = _settings(folder, base_url, url)
        async with open_service(words, settings, folder / "service.stderr") as service:
            await service.served()
            lasted = await _stir(sim, service.url, record, seconds, connections)
            await _settled(service.url, record, journal)
    await sim.settled()
    async with open_journal(url) as journal:
        operations = list(await journal.list_operations(limit=1_000_000))
    books = Books(
        limits=LIMITS,
        confirmations=record.confirmations,
        operations=operations,
        charges=list(sim.charges),
        acts=list(sim.acts),
        price_moves=list(sim.price_moves),
        writes=writes_of(sim.requests),
        answers=record.answers,
        holdings=holdings_of(sim),
    )
    struck = Counter({name: sim.faults.counts[name] for name in FAULTS})
    return Result(record, books, compare(books), struck, len(sim.requests), lasted)


def _settings(folder: Path, base_url: str, journal_url: str) -> dict[str, str]:
    return {
        "KROS_API_KEY": KEY,
        "KROS_CONFIRMATION": "conversation",
        "KROS_BASE_URL": base_url,
        "KROS_JOURNAL_URL": journal_url,
        "KROS_TOKENS_FILE": str(write_tokens(folder / "tokens.toml", PRINCIPALS)),
        "KROS_SETTLE_SECONDS": "2",
        "KROS_MAX_PURCHASE_CENTS": str(LIMITS.max_purchase_cents),
        "KROS_DAILY_BUDGET_CENTS": str(LIMITS.daily_budget_cents),
        "KROS_REQUESTS_PER_SECOND": "0",
    }


async def _stir(sim: WatchedKrosai, url: str, record: Record, seconds: float, connections: int) -> float:
    parameters: dict[str, dict[str, Any]] = {"slow": {"seconds": 0.5}, "rate_limited": {"retry_after": "0.2"}}
    for name in FAULTS:
        # Of five kinds that strike one after the other, each as often; two of them strike writes alone.
        sim.faults.switch_on(name, times=None, probability=SHARE_OF_FAULTS / 3, **parameters.get(name, {}))
    up, ready = anyio.Event(), Counter[str]()

    async def live(number: int) -> None:
        principal, era = PRINCIPALS[number % len(PRINCIPALS)], ERAS[number // len(PRINCIPALS) % 2]
        async with open_client(url, principal, era) as client:
            ready["callers"] += 1
            if ready["callers"] == connections:
                up.set()
            await up.wait()
            await Caller(f"{principal}-{number}", client, record).live(time.monotonic() + seconds)

    async with anyio.create_task_group() as tasks:
        for number in range(connections):
            tasks.start_soon(live, number)
        await up.wait()
        began = time.monotonic()
    sim.faults.clear()
    return time.monotonic() - began


async def _settled(url: str, record: Record, journal: Journal) -> None:
    """Ask for what is still open, as its callers would, until nothing is."""

    async def still_open() -> list[Operation]:
        open_states = {State.CONFIRMED, State.SENDING, State.UNKNOWN}
        operations = await journal.list_operations(limit=1_000_000)
        return [each for each in operations if each.state in open_states or each.settings_pending]

    with anyio.move_on_after(LONGEST_SETTLING_SECONDS):
        while left := await still_open():
            for operation in left[:8]:
                principal = operation.principal.partition("|")[2]
                async with open_client(url, principal) as client:
                    await Caller(principal, client, record).call("get_operation", {"operation_id": operation.id})
            await anyio.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.checks.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long callers are busy (60)")
    parser.add_argument("--connections", type=int, default=32, help="how many there are (32)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (1)")
    parser.add_argument("--workers", type=int, default=1, help="processes; more than one keep no sessions (1)")
    given = parser.parse_args()
    words = ["--stateless", "--workers", str(given.workers)] if given.workers > 1 else []
    with tempfile.TemporaryDirectory(prefix="kros-load-") as folder:
        work = partial(run, given.seconds, given.connections, Path(folder), seed=given.seed, words=words)
        result: Result = anyio.run(work)
    print(result.line())
    print("  " + ", ".join(f"{name} {count}" for name, count in sorted(result.faults.items())))
    print("  " + ", ".join(f"{name} {count}" for name, count in result.record.outcomes.most_common()))
    for name, (number, cents) in totals(result.books).items():
        print(f"  {name:<22}{number:>6}{cents / 100:>14,.2f}")
    for unanswered in result.record.unanswered[:20]:
        print(f"  no answer: {unanswered}")
    for difference in result.differences:
        print(f"- {difference.rule} {difference.operation_id}: {difference.says}")
    for lacking in (lack := result.lack()):
        print(f"- too little happened: {lacking}")
    return 1 if result.differences or result.record.unanswered or lack else 0


if __name__ == "__main__":
    sys.exit(main())
