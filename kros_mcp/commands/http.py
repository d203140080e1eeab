"""`kros-mcp http`: the service that voice agents call."""

import argparse
import gc
import importlib.util
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from kros_mcp.commands.serve import in_our_words
from kros_mcp.errors import SettingsError
from kros_mcp.http import logs
from kros_mcp.settings import Settings, load_settings

if TYPE_CHECKING:
    from kros_mcp.http.access import Access
    from kros_mcp.http.serving import Address

logger = logging.getLogger(__name__)

_NEEDED = ("uvicorn", "jwt", "jinja2")


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
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise SettingsError(
            f"The HTTP service needs {' and '.join(missing)}, which this installation lacks.",
            next_step="Install it with its extra: pip install 'kros-mcp[http]', or '.[http]' in a clone.",
        )
    logs.configure(arguments.log_level)
    from kros_mcp.http.serving import Address, bind  # noqa: PLC0415 - after the settings, which may stop the start

    address = Address(arguments.host, arguments.port)
    access = access_of(settings, address, no_auth=arguments.no_auth)
    if arguments.workers != 1:
        from kros_mcp.commands import workers  # noqa: PLC0415 - one process needs none of it

        settings = workers.settings_for_all(settings, arguments)
    try:
        listener = bind(address)
    except OSError as exc:
        raise SettingsError(f"Nothing can listen at {address.host}:{address.port}: {exc.strerror}.") from exc
    host, port = listener.getsockname()[:2]

    def announce() -> None:
        logger.info("kros-mcp: serving http://%s:%s/mcp", f"[{host}]" if ":" in host else host, port)

    if arguments.workers != 1:
        return workers.run(settings, arguments, listener, announce)
    serve_here(settings, access, arguments, listener, announce)
    return 0


def serve_here(
    settings: Settings,
    access: "Access | None",
    arguments: argparse.Namespace,
    listener: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Serve in this process until a signal comes.

    Raises:
        KrosError: The service cannot be opened.
    """
    from kros_mcp.http.exporting import exporting  # noqa: PLC0415 - see above
    from kros_mcp.http.serving import Address, serve  # noqa: PLC0415

    async def go() -> None:
        loopback, stateless = Address(arguments.host, arguments.port).is_loopback, arguments.stateless
        await serve(settings, access, listener, loopback=loopback, stateless=stateless, ready=ready)

    try:
        with exporting():
            # Quicker than the loop of asyncio itself; `uvicorn[standard]` brings it wherever it exists.
            anyio.run(go, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:
        raise in_our_words(group) from None


def access_of(settings: Settings, address: "Address", *, no_auth: bool) -> "Access | None":
    """Say who may call; None lets everybody in.

    Raises:
        SettingsError: Nobody is known, or everybody would be let in from other machines.
    """
    from kros_mcp.http.authentication import build_access  # noqa: PLC0415 - see above

    if not no_auth:
        return build_access(settings)
    if not address.is_loopback:
        raise SettingsError(
            f"--no-auth lets everybody in who reaches {address.host}, so it goes with a loopback address only.",
            next_step="Leave --host out, or give callers tokens: kros-mcp token --help.",
        )
    settings.require_principal()
    return None
