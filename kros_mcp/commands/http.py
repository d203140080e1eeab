"""`kros-mcp http`: the service that voice agents call."""

import argparse
import gc
import importlib.util
import logging

import anyio

from kros_mcp.commands.serve import in_our_words
from kros_mcp.errors import SettingsError
from kros_mcp.http import logs
from kros_mcp.settings import load_settings

logger = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Serve over HTTP until a signal comes.

    Raises:
        KrosError: A setting is wrong, the journal cannot be used, or nobody would be asked who they are.
    """
    # Nothing that the imports allocate is garbage, and looking for it takes a tenth of the start.
    gc.disable()
    try:
        return _serve(arguments)
    finally:
        gc.enable()


def _serve(arguments: argparse.Namespace) -> int:
    settings = load_settings(simulator=arguments.simulator)
    settings.require_api_key()
    logs.configure(arguments.log_level)
    from kros_mcp.http.authentication import build_access  # noqa: PLC0415 - after the settings, which may stop the start
    from kros_mcp.http.exporting import exporting  # noqa: PLC0415
    from kros_mcp.http.serving import Address, bind, serve  # noqa: PLC0415

    address = Address(arguments.host, arguments.port)
    if arguments.no_auth:
        if not address.is_loopback:
            raise SettingsError(
                f"--no-auth lets everybody in who reaches {address.host}, so it goes with a loopback address only.",
                next_step="Leave --host out, or give callers tokens: kros-mcp token --help.",
            )
        settings.require_principal()
        access = None
    else:
        access = build_access(settings)
    try:
        listener = bind(address)
    except OSError as exc:
        raise SettingsError(f"Nothing can listen at {address.host}:{address.port}: {exc.strerror}.") from exc
    host, port = listener.getsockname()[:2]
    logger.info("kros-mcp: serving http://%s:%s/mcp", f"[{host}]" if ":" in host else host, port)

    async def go() -> None:
        await serve(settings, access, listener, loopback=address.is_loopback, stateless=arguments.stateless)

    try:
        with exporting():
            # Quicker than the loop of asyncio itself; `uvicorn[standard]` brings it wherever it exists.
            anyio.run(go, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:
        raise in_our_words(group) from None
    return 0
