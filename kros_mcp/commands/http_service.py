"""The HTTP service in one process, as the command line and the environment want it."""

import importlib.util
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from kros_mcp.commands.stdio_server import our_error
from kros_mcp.errors import SettingsError
from kros_mcp.settings import Confirmation, Settings

if TYPE_CHECKING:
    from kros_mcp.http.access import Access


@dataclass(frozen=True)
class HttpOptions:
    """How the service is to run, as the command line says.

    Args:
        host: Where to listen.
        port: On which port.
        no_auth: Let everybody in.
        stateless: Keep no sessions.
        workers: How many processes serve.
        log_level: Which lines they log.
    """

    host: str
    port: int
    no_auth: bool
    stateless: bool
    workers: int
    log_level: str


def serve_in_this_process(
    settings: Settings,
    access: "Access | None",
    options: HttpOptions,
    listener: socket.socket,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    """Serve in this process until a signal comes; `ready` and `stopping` are called when it is so.

    Raises:
        KrosError: The service cannot be opened.
    """
    from kros_mcp.http.uvicorn_server import ListenAddress, serve  # noqa: PLC0415 - uvicorn, which a parent of workers needs not
    from kros_mcp.telemetry_export import exporting  # noqa: PLC0415 - see below

    async def go() -> None:
        loopback, stateless = ListenAddress(options.host, options.port).is_loopback, options.stateless
        await serve(settings, access, listener, loopback=loopback, stateless=stateless, ready=ready, stopping=stopping)

    try:
        with exporting():
            # Quicker than the loop of asyncio itself; `uvicorn[standard]` brings it wherever it exists.
            anyio.run(go, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:
        raise our_error(group) from None


def require_way_of_confirming(settings: Settings) -> None:
    """Raise if a person could only say yes on a page that this service cannot open for them.

    Raises:
        SettingsError: KROS_CONFIRMATION is browser.
    """
    if settings.confirmation is Confirmation.BROWSER:
        raise SettingsError(
            "KROS_CONFIRMATION=browser asks on a page in the browser of whoever starts the server, and callers over "
            "HTTP sit elsewhere.",
            next_step="Set KROS_CONFIRMATION to prompt or approver.",
        )


def access_of(settings: Settings, options: HttpOptions) -> "Access | None":
    """Return who may call; None lets everybody in.

    Raises:
        SettingsError: Nobody is known, or everybody would be let in who should not be.
    """
    from kros_mcp.http.access import build_access  # noqa: PLC0415 - the extra, which may be missing
    from kros_mcp.http.uvicorn_server import ListenAddress  # noqa: PLC0415 - the same

    if not options.no_auth:
        return build_access(settings)
    if not ListenAddress(options.host, options.port).is_loopback:
        raise SettingsError(
            f"--no-auth lets everybody in who reaches {options.host}, so it goes with a loopback address only.",
            next_step="Leave --host out, or give callers tokens: kros-mcp token --help.",
        )
    if settings.public_url or settings.allowed_hosts or settings.allowed_origins:
        raise SettingsError(
            "--no-auth lets everybody in, and KROS_PUBLIC_URL, KROS_ALLOWED_HOSTS or KROS_ALLOWED_ORIGINS would open "
            "it to others than this machine.",
            next_step="Unset them, or give callers tokens: kros-mcp token --help.",
        )
    if settings.tokens_file or settings.oauth_issuer:
        raise SettingsError(
            "--no-auth lets everybody in, and KROS_TOKENS_FILE or KROS_OAUTH_ISSUER says who may call: only one of "
            "both can be meant.",
            next_step="Leave --no-auth out, or unset them.",
        )
    if settings.environment == "live":
        raise SettingsError(
            "--no-auth lets everybody on this machine in, and KROS_API_KEY is a live key, which spends money.",
            next_step="Use a key that begins with kros_test_, or --simulator; or give callers tokens: kros-mcp token "
            "--help.",
        )
    settings.require_principal()
    return None
