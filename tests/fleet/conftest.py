from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Charge, Simulator, open_server
from tests.support.canaries import SECRET
from tests.support.environment import forget_settings
from tests.support.postgres_server import PostgresServer
from tests.support.replicas import Fleet, open_fleet, write_tokens

PRINCIPALS = ("night-desk", "day-desk")
OLD, NEW = "old-key-" * 5, "new-key-" * 5


@dataclass
class Stage:
    """A fleet, the KrosAI before it and the journal behind it."""

    sim: Simulator
    fleet: Fleet
    journal: Journal

    def charges(self, operation_id: str) -> list[Charge]:
        return [each for each in self.sim.charges if each.idempotency_key == operation_id]

    async def stored(self, operation_id: str) -> Operation:
        operation = await self.journal.get(operation_id)
        assert operation is not None
        return operation


def settings_of(sim: Simulator, base_url: str, journal_url: str, folder: Path, **settings: str) -> dict[str, str]:
    """What a replica is told by its environment."""
    tokens = folder / "tokens.toml"
    return {
        "KROS_API_KEY": sim.api_key,
        "KROS_CONFIRMATION": "conversation",
        "KROS_BASE_URL": base_url,
        "KROS_JOURNAL_URL": journal_url,
        "KROS_TOKENS_FILE": str(tokens if tokens.exists() else write_tokens(tokens, PRINCIPALS)),
        "KROS_STATE_KEYS": NEW,
        "KROS_DAILY_BUDGET_CENTS": "1000000",
        "KROS_ANSWER_WITHIN_SECONDS": "20",
        "KROS_REQUESTS_PER_SECOND": "0",
    } | settings


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture
def sim() -> Simulator:
    return Simulator("reference")


@pytest.fixture(scope="module")
async def shared_stage(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Stage]:
    """Three replicas of one journal in PostgreSQL, in the middle of a rotation: the first has the new key first."""
    assert anyio_backend
    sim, folder = Simulator("reference", balance_cents=10_000_000), tmp_path_factory.mktemp("fleet")
    keys = (f"{NEW},{OLD}", f"{OLD},{NEW}", f"{OLD},{NEW}")
    with postgres_server.new_database() as url:
        async with open_server(sim) as base_url, open_journal(url) as journal:
            settings = [settings_of(sim, base_url, url, folder, KROS_STATE_KEYS=each) for each in keys]
            async with open_fleet(settings, folder) as fleet:
                yield Stage(sim, fleet, journal)
    for log in folder.glob("*.stderr"):
        written = log.read_text(encoding="utf-8")
        assert not SECRET.search(written)
        assert '"exception"' not in written, written


@pytest.fixture
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    """The shared stage with every replica up, none frozen, and no fault."""
    await shared_stage.fleet.all_up()
    yield shared_stage
    shared_stage.sim.faults.clear()
    for service in shared_stage.fleet.services:
        if service is not None:
            service.thaw()
