import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from commands_doubles import NARROW_KEY, SIP_PASSWORD, Command, Ran
from install_bench import KEY, OTHERS

from kros_mcp import cli
from kros_mcp.commands.install_clients import CLIENTS
from kros_mcp.simulator import Simulator, open_server
from tests.support.environment import forget_settings


@pytest.fixture(scope="session")
def serving() -> Iterator[tuple[Simulator, str]]:
    """One simulator over HTTP in a thread, since a command runs an event loop of its own."""
    sim = Simulator(sip_password=SIP_PASSWORD, extra_keys={NARROW_KEY: ("numbers:read",)})
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_server(sim)) as base_url:
        yield sim, base_url


@pytest.fixture
def pointed(serving: tuple[Simulator, str], environment: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Point the settings at a simulator, with its good key; commands only read, so its state stays."""
    sim, base_url = serving
    sim.requests.clear()
    environment.setenv("KROS_BASE_URL", base_url)
    environment.setenv("KROS_API_KEY", sim.api_key)
    yield sim
    sim.faults.clear()


@pytest.fixture
def journal_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'journal.sqlite3'}"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, journal_url: str) -> pytest.MonkeyPatch:
    forget_settings(monkeypatch)
    monkeypatch.setenv("KROS_JOURNAL_URL", journal_url)
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    return monkeypatch


@pytest.fixture(autouse=True)
def logs_of_others() -> Iterator[None]:
    """Let other tests see the logs that a command, or a server that begins, sets for its process."""
    names = ("psycopg", "psycopg.pool", "mcp.server.runner", "kros_mcp.operations.audit_log")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command of `kros-mcp` in this process."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        printed = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def desktop_config(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    """Claude Desktop's configuration file of somebody whose home is here; it is not there yet."""
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    environment.setenv("KROS_API_KEY", KEY)
    return CLIENTS["claude-desktop"].find(sys.platform, tmp_path, os.environ)


@pytest.fixture
def there(desktop_config: Path) -> Path:
    """The file with other servers and settings in it."""
    desktop_config.parent.mkdir(parents=True)
    desktop_config.write_text(OTHERS, encoding="utf-8")
    return desktop_config


@pytest.fixture
def sim(environment: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """An account of its own at a simulator over HTTP, with nothing bought before; it is only read."""
    simulator = Simulator()
    simulator.owned.clear()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_server(simulator)) as base_url:
        environment.setenv("KROS_BASE_URL", base_url)
        environment.setenv("KROS_API_KEY", simulator.api_key)
        yield simulator
        assert {seen.method for seen in simulator.requests} <= {"GET"}
