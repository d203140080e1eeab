"""What the journal's calls cost when it has grown: 1,000 settled operations against 1,000,000, spread over a year.

Run it as `python -m tests.checks.benchmarks.growth [--runs 300] [--large 1000000]`. The journals of both sizes and both
backends are measured in turn, so that a busy machine is as busy for each. A claim is the program's own, with
the policy's check, without the network. Ends with 1 if the median of a claim has grown by more than half.

Spread over a year, a million operations are 2,740 in the last 24 hours where a thousand are three: a claim adds
those up, and that is measured as it is.
"""

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import psycopg

from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.rows import COLUMNS, encode
from kros_mcp.operations import execution, moves
from kros_mcp.operations.account import Account
from kros_mcp.operations.execution import Yes
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import (
    Action,
    Channel,
    Operation,
    Quote,
    Request,
    Settlement,
    State,
    StoredNumber,
    new_operation_id,
)
from kros_mcp.settings import Settings
from tests.support.postgres_server import open_postgres_server

MOST_GROWTH = 1.5
YEAR_SECONDS = 365 * 86_400.0
ACCOUNT = "acct_measured"
ACCOUNTS = (ACCOUNT,) * 8 + ("acct_second", "acct_third")
PRINCIPALS = ("local", "support", "sales", "night shift")
COUNTRIES = ("NG", "NG", "NG", "GB", "US", "DE", "KE")
NUMBERS_OF_A_YEAR = 20_000
MIXTURE = {
    (Action.BUY, State.DONE): 45,
    (Action.BUY, State.FAILED): 10,
    (Action.BUY, State.DECLINED): 10,
    (Action.BUY, State.CANCELLED): 8,
    (Action.BUY, State.EXPIRED): 12,
    (Action.RELEASE, State.DONE): 12,
    (Action.RELEASE, State.EXPIRED): 3,
}
"""Of a hundred settled operations, how many are of each kind."""
CLAIM = "claim"
POSITIONS = {name: at for at, name in enumerate(COLUMNS)}


def settled(action: Action, state: State, country: str = "NG") -> Operation:
    """An operation as an act leaves it behind, for its size and its columns; who, what and when come later."""
    claimed, bought = state in {State.DONE, State.FAILED}, (action, state) == (Action.BUY, State.DONE)
    number = StoredNumber(id="pn_0123456789abcdef", e164="+2348030000000", status="active", monthly_cents=700)
    return Operation(
        id="",
        account="",
        principal="",
        action=action,
        e164="",
        request=Request(country=country, type="mobile", position=7, endpoint_id="ep_0123456789abcdef"),
        quote=Quote("+2348030000000", country, "test", 0, 700, 700, "ep_0123456789abcdef", "agent"),
        created_at=0.0,
        expires_at=0.0,
        state=state,
        channel=Channel.CODE,
        confirmed_by="code" if claimed else "",
        reserved_cents=700 if claimed and action is Action.BUY else 0,
        token=int(claimed),
        charged="yes" if bought else "no",
        changed="yes" if state is State.DONE else "no",
        message="" if state is State.DONE else "Nobody confirmed it in time.",
        number=number if state is State.DONE else None,
    )


def year_of(count: int, now: float, accounts: Sequence[str] = ACCOUNTS) -> Iterator[tuple[object, ...]]:
    """The rows of so many operations, evenly over the year that ends now, shared among accounts."""
    chance = random.Random(count)  # noqa: S311 - must repeat
    kinds = [kind for kind, share in MIXTURE.items() for _ in range(share)]
    templates = {(kind, country): list(encode(settled(*kind, country))) for kind in MIXTURE for country in COUNTRIES}
    for at in range(count):
        kind = chance.choice(kinds)
        claimed = kind[1] in {State.DONE, State.FAILED}
        created_at = now - YEAR_SECONDS * (count - at) / count
        item = f"{chance.randrange(NUMBERS_OF_A_YEAR):07d}"
        row = templates[kind, chance.choice(COUNTRIES)].copy()
        values = {
            "id": f"op_{chance.getrandbits(80):020x}",
            "account": chance.choice(accounts),
            "principal": chance.choice(PRINCIPALS),
            "e164": f"+234803{item}",
            "created_at": created_at,
            "expires_at": created_at + 600,
            "settled_at": created_at + (20 if claimed else 600),
        }
        if claimed:
            values |= {"confirmed_at": created_at + 15, "claimed_at": created_at + 15, "sent_at": created_at + 16}
        name = "inventory_id" if kind[0] is Action.BUY else "number_id"
        values["request"] = str(row[POSITIONS["request"]]).replace(f'"{name}": ""', f'"{name}": "id_{item}"')
        for column, value in values.items():
            row[POSITIONS[column]] = value
        yield tuple(row)


def fill_sqlite(url: str, rows: Iterator[tuple[object, ...]]) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
        connection.execute(f"PRAGMA {pragma}")
    written = "FROM sqlite_master WHERE type = 'index' AND tbl_name = 'operations' AND sql IS NOT NULL"
    indexes = connection.execute(f"SELECT name, sql {written}").fetchall()
    connection.execute("BEGIN")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    marks = ", ".join("?" * len(COLUMNS))
    connection.executemany(f"INSERT INTO operations ({', '.join(COLUMNS)}) VALUES ({marks})", rows)  # noqa: S608
    for _, definition in indexes:  # sorted once, instead of one place for each row
        connection.execute(definition)
    connection.execute("COMMIT")
    connection.close()


def fill_postgres(url: str, rows: Iterator[tuple[object, ...]]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        written = "FROM pg_indexes WHERE schemaname = 'kros_mcp' AND tablename = 'operations' AND indexname !~ '_pkey$'"
        indexes = connection.execute(f"SELECT indexname, indexdef {written}".encode()).fetchall()
        copy_in = f"COPY kros_mcp.operations ({', '.join(COLUMNS)}) FROM STDIN"
        with connection.transaction(), connection.cursor() as cursor:
            for name, _ in indexes:
                cursor.execute(f"DROP INDEX kros_mcp.{name}".encode())
            with cursor.copy(copy_in.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            for _, definition in indexes:
                cursor.execute(definition.encode())
        connection.execute("VACUUM ANALYZE kros_mcp.operations")  # as the server does by itself in time


@dataclass
class Timed:
    """A journal that notes how long each of its calls took, in seconds."""

    journal: Any
    taken: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self.journal, name)

        async def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await method(*arguments, **named)
            finally:
                self.taken[name].append(time.perf_counter() - begun)

        return timed


@dataclass(frozen=True)
class Measured:
    """One journal, and the desk that works on it."""

    backend: str
    size: int
    journal: Timed
    account: Account


async def act(account: Account, number: int) -> None:
    """What one purchase and one look round ask of the journal, and what a person asks beside."""
    now, journal = await account.journal.now(), account.journal
    e164 = f"+234803{number % NUMBERS_OF_A_YEAR:07d}"
    draft = replace(
        settled(Action.BUY, State.DONE),
        id=new_operation_id(),
        account=account.id,
        principal="local",
        e164=e164,
        created_at=now,
        expires_at=now + 600,
        state=State.PROPOSED,
        reserved_cents=0,
        token=0,
        charged="no",
        changed="no",
        number=None,
    )
    await journal.find(account.identity("local", Action.BUY), e164=e164)
    await journal.books(account.id, "local", committed_since=now - 3_600)
    proposed = await journal.propose(draft)
    claimed, _ = await execution._claim(account, proposed.id, Yes(Channel.PROMPT))  # noqa: SLF001 - the real one
    assert claimed.state in {State.SENDING, State.FAILED}, claimed
    if claimed.state is State.SENDING:
        token = claimed.token
        await journal.change(claimed.id, lambda current, at: moves.mark_sent(current, at, token=token))
        await journal.change(
            claimed.id, lambda current, at: moves.settle(current, at, Settlement(State.FAILED), token=token)
        )
    await journal.due(account.id)
    await journal.list_operations(Filter(account=account.id), limit=20)


async def open_measured(stack: AsyncExitStack, backend: str, size: int, url: str) -> Measured:
    async with open_journal(url):
        pass
    begun = time.perf_counter()
    fill = fill_sqlite if backend == "sqlite" else fill_postgres
    await anyio.to_thread.run_sync(fill, url, year_of(size, time.time()))
    print(f"{backend:9}{size:>10,} operations written in {time.perf_counter() - begun:.0f} s", flush=True)
    timed = Timed(await stack.enter_async_context(open_journal(url)))
    settings = Settings(api_key="kros_test_benchmark", daily_budget_cents=10**9)
    account = Account(settings, timed, None, None, ACCOUNT)  # type: ignore[arg-type]  # a claim needs no network
    return Measured(backend, size, timed, account)


async def measure(sizes: tuple[int, int], runs: int) -> bool:
    """Print the table; tell whether every claim stayed within its bound."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(open_postgres_server())
        every = []
        for size in sizes:
            database = stack.enter_context(server.new_database())
            every.append(await open_measured(stack, "sqlite", size, f"sqlite:///{folder}/{size}.sqlite3"))
            every.append(await open_measured(stack, "postgres", size, database))
        chance, warm = random.Random(0), runs // 5  # noqa: S311 - must repeat
        for number in range(runs + warm):
            if number == warm:
                for one in every:
                    one.journal.taken.clear()
            for one in chance.sample(every, len(every)):
                await act(one.account, chance.randrange(NUMBERS_OF_A_YEAR))
        return report(every, sizes, runs)


def report(every: list[Measured], sizes: tuple[int, int], runs: int) -> bool:
    print(f"\nmedian of {runs}, ms {f'at {sizes[0]:,}':>20} {f'at {sizes[1]:,}':>14}  ratio")
    held = True
    for backend in ("sqlite", "postgres"):
        small, large = (next(one for one in every if (one.backend, one.size) == (backend, size)) for size in sizes)
        for call in small.journal.taken:
            before, after = (statistics.median(one.journal.taken[call]) * 1000 for one in (small, large))
            held = held and (call != CLAIM or after <= MOST_GROWTH * before)
            bound = f"  (at most {MOST_GROWTH})" if call == CLAIM else ""
            print(f"{backend:9} {call:18} {before:10.2f} {after:14.2f} {after / before:6.2f}{bound}")
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    chosen = parser.parse_args()
    sys.exit(0 if anyio.run(measure, (chosen.small, chosen.large), chosen.runs) else 1)


if __name__ == "__main__":
    main()
