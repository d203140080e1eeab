"""`kros-mcp http --workers N`: several processes at one port are one service, and end as one."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from kros_mcp.cli import main
from kros_mcp.simulator import Simulator, open_server
from tests.support.callers import open_client
from tests.support.person import Person, accept
from tests.support.proxy import Proxy
from tests.support.replicas import Service, open_service
from tests.support.talk import Talk
from tests.support.upstream import item_of

from .conftest import PRINCIPALS, settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.processes]

ASKER = PRINCIPALS[0]


def workers_of(service: Service) -> list[int]:
    """The processes that accept callers: children of the service that hold its socket and nothing else of Python's."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@asynccontextmanager
async def only(pid: int, pids: list[int]) -> AsyncIterator[None]:
    """Let one worker alone answer."""
    others = [each for each in pids if each != pid]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@asynccontextmanager
async def open_workers(sim: Simulator, folder: Path, **settings: str) -> AsyncIterator[Service]:
    async with open_server(sim) as base_url:
        url = f"sqlite:///{folder}/journal.sqlite3"
        told = settings_of(sim, base_url, url, folder, **settings)
        async with open_service(["--stateless", "--workers", "2"], told, folder / "stderr") as service:
            await service.served()
            yield service


def is_there(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_both_workers_answer_and_both_end_with_the_service(sim: Simulator, tmp_path: Path) -> None:
    async with open_workers(sim, tmp_path) as service:
        pids = workers_of(service)
        assert len(pids) == 2
        for pid in pids:
            async with only(pid, pids), open_client(service.url, ASKER) as client:
                assert not (await Talk(client, sim).call("list_endpoints")).failed
        service.signal(signal.SIGTERM)
        await service.ended.wait()
    assert service.process.returncode == 0
    assert not any(map(is_there, pids))
    written = (tmp_path / "stderr").read_text()
    assert written.count("kros-mcp: serving") == 1
    assert "starting another" not in written
    assert '"exception"' not in written


async def test_what_workers_began_their_successors_end_without_any_keys_set(sim: Simulator, tmp_path: Path) -> None:
    first, second, third = (item_of(sim, nth=nth) for nth in range(3))
    person, proxy = Person(accept("buy")), Proxy(1)  # a connection for each request
    person.thinking = anyio.Event()
    async with open_workers(sim, tmp_path, KROS_STATE_KEYS="") as service, proxy.open() as url:
        proxy.ports[0] = service.port
        async with (
            open_client(url, ASKER, "auto", person.answer) as prompting,
            open_client(url, ASKER, "auto") as modern,
            open_client(url, ASKER, "legacy") as legacy,
            anyio.create_task_group() as tasks,
        ):
            talks = [Talk(client, sim) for client in (prompting, modern, legacy)]
            tasks.start_soon(talks[0].buy, first)
            await person.asked.wait()
            modern_code = (await talks[1].buy(second))["confirmation_code"]
            legacy_code = (await talks[2].buy(third))["confirmation_code"]
            for pid in workers_of(service):
                os.kill(pid, signal.SIGKILL)
            await service.says("starting another", 2)
            person.thinking.set()
            await talks[1].buy(second, confirmation_code=modern_code)
            await talks[2].buy(third, confirmation_code=legacy_code)
    assert [talk.results[-1].outcome for talk in talks] == ["done"] * 3
    assert len(sim.charges) == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_workers_settle_what_they_are_sending_and_refuse_new_callers_when_their_parent_is_stopped(
    sim: Simulator, tmp_path: Path, number: signal.Signals
) -> None:
    item, told = item_of(sim), list[str]()
    async with open_workers(sim, tmp_path) as service:
        pids = workers_of(service)
        async with open_client(service.url, ASKER) as client, anyio.create_task_group() as tasks:
            talk = Talk(client, sim)
            asked = await talk.buy(item)
            sim.faults.switch_on("hold", on=["purchase"])

            async def confirm() -> None:
                told.append((await talk.buy(item, confirmation_code=asked["confirmation_code"])).outcome)

            tasks.start_soon(confirm)
            await sim.faults.held()
            service.signal(number)
            await service.refuses()
            sim.faults.let_go()
        await service.ended.wait()
    assert not any(map(is_there, pids))
    assert told == ["done"]
    assert [charge.idempotency_key for charge in sim.charges] == [asked["operation_id"]]


@pytest.mark.parametrize(
    ("words", "journal", "says"),
    [
        (["--workers", "2"], "sqlite:////tmp/x/journal", "need --stateless"),
        (["--workers", "2", "--stateless", "--simulator"], "", "journal that they share"),
        (["--workers", "0", "--stateless"], "", "number of 1 or more"),
        (["--workers", "2", "--stateless"], "sqlite:////proc/no/journal.sqlite3", "journal"),
    ],
)
def test_workers_that_cannot_be_one_service_are_refused(
    words: list[str], journal: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KROS_API_KEY", "kros_test_1")
    monkeypatch.setenv("KROS_JOURNAL_URL", journal)
    with pytest.raises(SystemExit) as left:
        main(["http", "--no-auth", "--port", "0", *words])
    assert left.value.code in {2, 3}
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["KROS_PUBLIC_URL", "KROS_ALLOWED_HOSTS", "KROS_ALLOWED_ORIGINS"])
def test_without_tokens_it_is_not_opened_to_others_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "numbers.example.com" if name.endswith("HOSTS") else "https://numbers.example.com")
    with pytest.raises(SystemExit) as left:
        main(["http", "--simulator", "--no-auth", "--port", "0"])
    assert left.value.code == 2
    assert "--no-auth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words", "says"),
    [
        ({"KROS_TOKENS_FILE": "/tmp/tokens.toml"}, ["--simulator"], "KROS_TOKENS_FILE"),  # noqa: S108 - it is not opened
        (
            {"KROS_OAUTH_ISSUER": "https://issuer.example"},
            ["--simulator"],
            "KROS_OAUTH_ISSUER",
        ),
        ({"KROS_API_KEY": "kros_live_1", "KROS_JOURNAL_URL": "sqlite:////tmp/x/journal"}, [], "live key"),
        ({"KROS_API_KEY": "a.b.c", "KROS_JOURNAL_URL": "sqlite:////tmp/x/journal"}, [], "live key"),
    ],
)
def test_nobody_is_let_in_without_a_token_where_callers_are_named_or_money_is_real(
    settings: dict[str, str],
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        main(["http", "--no-auth", "--port", "0", *words])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "--no-auth" in told
    assert says in told
