"""`kros-mcp`: the server over stdio."""

import gc
import os
import signal
import sys

import anyio


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
    from kros_mcp.server import build_server  # noqa: PLC0415 - after the settings, which may stop the start

    server = build_server(settings)
    gc.enable()
    gc.freeze()

    async def serve() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            await server.run_stdio_async()
            tasks.cancel_scope.cancel()

    anyio.run(serve)
    return 0


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    """End the session on SIGTERM or SIGINT; leaving it waits a bounded time for what is being sent.

    The thread that reads stdin cannot be interrupted, so the process leaves without waiting for it.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            break


def leave(code: int) -> None:
    """End the process even while a thread waits for stdin."""
    sys.stderr.flush()
    os._exit(code)
