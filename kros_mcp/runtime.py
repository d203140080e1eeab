"""Opens what a server works with: the journal, the client of KrosAI and the runner."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from kros_mcp.errors import SettingsError
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.sqlite_file import journal_path, network_file_system
from kros_mcp.krosai import Inventory, KeyLimits
from kros_mcp.operations.account import Account, open_krosai
from kros_mcp.operations.adoption import account_in
from kros_mcp.operations.gauges import Gauges
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Limits
from kros_mcp.operations.run_rate import RunRates
from kros_mcp.operations.runner import open_runner
from kros_mcp.operations.screen import OpenScreen
from kros_mcp.operations.tally_keeper import open_tally_keeper
from kros_mcp.settings import Settings, is_postgres
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.completions import Completer

if TYPE_CHECKING:
    import httpx

    from kros_mcp.simulator import Simulator

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    transport: "httpx.AsyncBaseTransport | None" = None,
    journal: Journal | None = None,
    own_limits: Callable[[str], Limits | None] | None = None,
    own_scopes: Callable[[str], frozenset[str] | None] | None = None,
    is_known: Callable[[], bool] = lambda: True,
    limits: KeyLimits | None = None,
    open_screen: OpenScreen | None = None,
) -> AsyncIterator[Runtime]:
    """Open the journal, the client of KrosAI and the runner, and close them in turn.

    Args:
        settings: What the environment decides.
        transport: How KrosAI is reached. Defaults to the network, or to the simulator where the settings say so.
        journal: An open journal, which stays open. Defaults to the one that the settings name.
        own_limits: What each principal may spend by itself. Defaults to what the settings say of theirs.
        own_scopes: What each principal of a tokens file may do now; see `Account`. Defaults to no such file.
        is_known: Whether this server acts for the organization of the settings; see `Account`.
        limits: Those of the runtime that was opened first with this key, which counts requests and sets the gauges for
            all. Defaults to some of its own.
        open_screen: Opens the screen of the person before this machine; None where there is nobody.

    Raises:
        KrosError: Something cannot be opened; it says what.
    """
    if transport is None and settings.simulator:
        from kros_mcp.simulator import transport as to_simulator  # noqa: PLC0415 - only with --simulator

        transport = to_simulator(simulated())
    async with AsyncExitStack() as stack:
        if journal is None:
            _warn_of_network_file_system(settings)
            journal = await stack.enter_async_context(open_journal(settings.journal_url, read_only=settings.read_only))
        client = await stack.enter_async_context(open_krosai(settings, transport, limits))
        account = Account(
            settings=settings,
            journal=journal,
            client=client,
            inventory=Inventory(client),
            id=await account_in(settings, journal),
            own_limits=own_limits,
            own_scopes=own_scopes,
            is_known=is_known,
        )
        opened: list[Runtime] = []
        gauges: Gauges | None = None
        if limits is None:
            gauges = Gauges(account, lambda: opened[0].others.accounts if opened and opened[0].others else ())
            await stack.enter_async_context(open_tally_keeper(client.tally, journal, settings))
        if settings.tells_people:
            from kros_mcp.notifying.messenger import open_messenger  # noqa: PLC0415 - few servers tell people

            # Closed after the runner, so that what it has ended is told.
            await stack.enter_async_context(open_messenger(account, delivers=limits is None))
        runner = await stack.enter_async_context(open_runner(account, gauges))
        screen = await stack.enter_async_context(open_screen(account, runner)) if open_screen else None
        opened.append(
            Runtime(
                settings=settings,
                account=account,
                runner=runner,
                rates=RunRates(account),
                completer=Completer(account, settings.answer_within_seconds),
                screen=screen,
            )
        )
        stack.push_async_callback(_take_questions_back, opened[0])
        yield opened[0]


async def _take_questions_back(runtime: Runtime) -> None:
    if runtime.questions is not None:
        with anyio.CancelScope(shield=True):
            await runtime.questions.close()


def _warn_of_network_file_system(settings: Settings) -> None:
    path = None if is_postgres(settings.journal_url) else journal_path(settings.journal_url)
    if path is not None and (kind := network_file_system(path)):
        logger.warning(
            "the journal is on a network file system (%s), where SQLite cannot keep processes apart: name a file on a "
            "local disk or a PostgreSQL database in KROS_JOURNAL_URL",
            kind,
        )


def simulated(shapes_file: str | None = None) -> "Simulator":
    """Return a simulated KrosAI that takes the key which the settings have with `--simulator`.

    Args:
        shapes_file: What it answers in, as `kros-mcp probe --json` wrote it; None for the reference's dialect.

    Raises:
        SettingsError: The file cannot be used.
    """
    from kros_mcp.simulator import Simulator, read_shapes  # noqa: PLC0415 - only with --simulator

    try:
        shapes = None if shapes_file is None else read_shapes(Path(shapes_file))
    except ValueError as exc:
        problem = f"--shapes {shapes_file} cannot be used. {exc}"
        raise SettingsError(problem, next_step="Name a file that kros-mcp probe --json has written.") from None
    keys = {"kros_test_simulator": ("numbers:read", "numbers:write", "endpoints:read")}
    return Simulator(shapes=shapes, extra_keys=keys)
