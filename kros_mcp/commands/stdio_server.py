"""`kros-mcp`: the server over stdio."""

import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import anyio

from kros_mcp.errors import KrosError

if TYPE_CHECKING:
    import httpx

    from kros_mcp.server import KrosServer
    from kros_mcp.settings import Settings
    from kros_mcp.stdio import Stdio

logger = logging.getLogger(__name__)

LONGEST_STOP_SECONDS = 45.0
LONGEST_ANSWER_SECONDS = 35.0
"""As long as an act may take to end; what is left of the stop goes to closing."""


def run(*, simulator: bool, shapes_file: str | None = None) -> int:
    """Serve until the client closes stdin or a signal comes; stdout carries the protocol alone.

    Without an API key it serves all the same, and every tool says what is missing.

    Args:
        simulator: Replace KrosAI by the simulator.
        shapes_file: What the simulator answers in; None for the reference's dialect.

    Raises:
        KrosError: A setting is wrong, or the journal cannot be used.
    """
    # Nothing that the imports allocate is garbage, and looking for it takes a tenth of the start.
    gc.disable()
    from kros_mcp.settings import load_settings  # noqa: PLC0415 - see above

    settings = load_settings(simulator=simulator)
    settings.require_principal()
    from kros_mcp.stdio import Stdio, standard_streams  # noqa: PLC0415 - after the settings, which may stop the start

    log_acts()
    server = build_stdio_server(settings, shapes_file)
    if settings.api_key is None:
        logger.warning("KROS_API_KEY is not set, or still holds a placeholder; until it is set, every tool says so")
    # It warns of each malformed notification, and a flood of them would crowd out what else is said.
    logging.getLogger("mcp.server.runner").setLevel(logging.ERROR)
    gc.enable()
    gc.freeze()

    async def serve() -> None:
        stopping = anyio.Event()
        async with anyio.create_task_group() as tasks:
            session = anyio.CancelScope()
            with standard_streams() as (reads, writes):
                stdio = Stdio(reads, writes, stopping, LONGEST_ANSWER_SECONDS)
                tasks.start_soon(_stop_on_signal, session, stdio)
                tasks.start_soon(_leave_when_late, stopping)
                with session:
                    await server.serve_stdio(stdio)
            tasks.cancel_scope.cancel()

    try:
        anyio.run(serve)
    except BaseExceptionGroup as group:
        raise our_error(group) from None
    return 0


def build_stdio_server(settings: "Settings", shapes_file: str | None) -> "KrosServer":
    """Return the server, with the person's screen where it is a way to say yes.

    Args:
        settings: What the environment decides.
        shapes_file: What a simulated KrosAI answers in; None for the reference's dialect.
    """
    from kros_mcp.browser.browser_screen import open_browser_screen  # noqa: PLC0415 - see `run`
    from kros_mcp.runtime import open_runtime, simulated  # noqa: PLC0415 - the same
    from kros_mcp.server import build_server  # noqa: PLC0415 - the same

    way: httpx.AsyncBaseTransport | None = None
    if shapes_file is not None:
        from kros_mcp.simulator import transport  # noqa: PLC0415 - only with --shapes

        way = transport(simulated(shapes_file))
    wanted = open_browser_screen if settings.confirmation.opens_pages else None
    return build_server(settings, lambda given: open_runtime(given, transport=way, open_screen=wanted))


def log_acts() -> None:
    """Log one short line to standard error for every decision and every outcome."""
    from kros_mcp.operations.audit_log import logger  # noqa: PLC0415 - after the settings, which may stop the start

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("kros-mcp: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def our_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of ours that the task groups have wrapped; else the whole group."""
    ours: BaseException | None = group.subgroup(KrosError)
    while isinstance(ours, BaseExceptionGroup):
        ours = ours.exceptions[0]
    return ours or group


async def _stop_on_signal(session: anyio.CancelScope, stdio: "Stdio") -> None:
    """End the connection on SIGTERM, SIGINT or SIGHUP; one that opens or ends already is waited for no longer."""
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            if not stdio.is_open:
                session.cancel()
            stdio.stopping.set()


async def _leave_when_late(stopping: anyio.Event) -> None:
    await stopping.wait()
    await anyio.sleep(LONGEST_STOP_SECONDS)
    leave(0)


def leave(code: int) -> NoReturn:
    """End the process even while a thread waits for stdin, or for somebody to read stderr."""
    os._exit(code)
