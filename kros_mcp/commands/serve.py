"""`kros-mcp`: the server over stdio."""

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import anyio

from kros_mcp.errors import KrosError

if TYPE_CHECKING:
    from kros_mcp.settings import Settings
    from kros_mcp.tools.call import Runtime

LONGEST_STOP_SECONDS = 45.0


def run(*, simulator: bool) -> int:
    """Serve until the client closes stdin or a signal comes; stdout carries the protocol alone.

    Raises:
        KrosError: A setting is wrong, or the journal cannot be used.
    """
    # Nothing that the imports allocate is garbage, and looking for it takes a tenth of the start.
    gc.disable()
    from kros_mcp.settings import load_settings  # noqa: PLC0415 - see above

    settings = load_settings(simulator=simulator)
    settings.require_api_key()
    settings.require_principal()
    from kros_mcp.runtime import open_runtime  # noqa: PLC0415 - after the settings, which may stop the start
    from kros_mcp.server import build_server  # noqa: PLC0415 - after the settings, which may stop the start

    tell_acts()
    lifespans: list[anyio.Event] = []

    @asynccontextmanager
    async def tracked(settings: "Settings") -> "AsyncIterator[Runtime]":
        closed = anyio.Event()
        lifespans.append(closed)
        try:
            async with open_runtime(settings) as runtime:
                yield runtime
        finally:
            closed.set()

    server = build_server(settings, tracked)
    gc.enable()
    gc.freeze()

    async def serve() -> None:
        async with anyio.create_task_group() as tasks:
            session = anyio.CancelScope()
            tasks.start_soon(_stop_on_signal, session, lifespans)
            with session:
                await server.run_stdio_async()
            tasks.cancel_scope.cancel()

    try:
        anyio.run(serve)
    except BaseExceptionGroup as group:
        raise in_our_words(group) from None
    return 0


def tell_acts() -> None:
    """Write one short line to standard error for every decision and every outcome."""
    from kros_mcp.operations.telling import logger  # noqa: PLC0415 - after the settings, which may stop the start

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("kros-mcp: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def in_our_words(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find what stopped the start among what the task groups wrapped around it; else the whole group."""
    ours: BaseException | None = group.subgroup(KrosError)
    while isinstance(ours, BaseExceptionGroup):
        ours = ours.exceptions[0]
    return ours or group


async def _stop_on_signal(session: anyio.CancelScope, lifespans: list[anyio.Event]) -> None:
    """On SIGTERM or SIGINT end the session, which waits a bounded time for what is being sent, and leave.

    The thread that reads stdin cannot be interrupted, so the process leaves without waiting for it.
    """
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            session.cancel()
            with anyio.move_on_after(LONGEST_STOP_SECONDS):
                for closed in lifespans:
                    await closed.wait()
            leave(0)


def leave(code: int) -> NoReturn:
    """End the process even while a thread waits for stdin."""
    sys.stderr.flush()
    os._exit(code)
