"""`kros-mcp http`: the service that voice agents call."""

import argparse
import gc
import importlib.util
import logging

from kros_mcp.errors import SettingsError
from kros_mcp.http import logs
from kros_mcp.settings import load_settings

logger = logging.getLogger(__name__)

_EXTRA = ("uvicorn", "jwt", "jinja2")


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
    _require_the_extra()
    logs.configure(arguments.log_level)
    from kros_mcp.commands.serving import access_of, serve_here  # noqa: PLC0415 - after the settings, which may stop the start
    from kros_mcp.http.uvicorn_server import ListenAddress, bind  # noqa: PLC0415

    address = ListenAddress(arguments.host, arguments.port)
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

    code = 0
    if arguments.workers != 1:
        code = workers.run(settings, arguments, listener, announce, _tell_the_end)
    else:
        serve_here(settings, access, arguments, listener, announce, _tell_the_end)
    logger.info("kros-mcp: stopped")
    return code


def _tell_the_end() -> None:
    logger.info("kros-mcp: stopping; what is being sent is settled first")


def _require_the_extra() -> None:
    """Stop the start where the extra is missing: what needs it would fail later, the approvals page for one."""
    lacking = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if lacking:
        raise SettingsError(
            f"The HTTP service needs the extra kros-mcp[http], which is not installed ({', '.join(lacking)} missing).",
            next_step="Install it: uv tool install '.[http]', or uv run --extra http kros-mcp.",
        )
