"""What every process of `kros-mcp http` does: know its callers, and serve until a signal comes."""

import argparse
import importlib.util
import socket
from collections.abc import Callable

import anyio

from kros_mcp.commands.stdio_server import in_our_words
from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access
from kros_mcp.http.authentication import build_access
from kros_mcp.http.exporting import exporting
from kros_mcp.http.serving import Address, serve
from kros_mcp.settings import Settings


def serve_here(
    settings: Settings,
    access: Access | None,
    arguments: argparse.Namespace,
    listener: socket.socket,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    """Serve in this process until a signal comes; `ready` and `stopping` are called when it is so.

    Raises:
        KrosError: The service cannot be opened.
    """

    async def go() -> None:
        loopback, stateless = Address(arguments.host, arguments.port).is_loopback, arguments.stateless
        await serve(settings, access, listener, loopback=loopback, stateless=stateless, ready=ready, stopping=stopping)

    try:
        with exporting():
            # Quicker than the loop of asyncio itself; `uvicorn[standard]` brings it wherever it exists.
            anyio.run(go, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:
        raise in_our_words(group) from None


def access_of(settings: Settings, address: Address, *, no_auth: bool) -> Access | None:
    """Say who may call; None lets everybody in.

    Raises:
        SettingsError: Nobody is known, or everybody would be let in who should not be.
    """
    if not no_auth:
        return build_access(settings)
    if not address.is_loopback:
        raise SettingsError(
            f"--no-auth lets everybody in who reaches {address.host}, so it goes with a loopback address only.",
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
