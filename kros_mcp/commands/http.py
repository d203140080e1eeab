"""`kros-mcp http`: the service that voice agents call, in one process or several."""

import gc
import logging

import click

from kros_mcp.commands.group import simulator_option
from kros_mcp.commands.http_extra import require_http_extra
from kros_mcp.commands.http_service import (
    HttpOptions,
    access_of,
    require_way_of_confirming,
    serve_in_this_process,
)
from kros_mcp.errors import SettingsError
from kros_mcp.http import logs
from kros_mcp.settings import load_settings

logger = logging.getLogger(__name__)

_HELP = """\
Serve over HTTP, for many callers.

Streamable HTTP at /mcp, both protocol revisions. Who may call stands in KROS_TOKENS_FILE (kros-mcp token makes one),
or in the JWTs of KROS_OAUTH_ISSUER. TLS is the proxy's in front of it; KROS_PUBLIC_URL says where clients reach it.
"""
_EPILOG = """\
\b
examples:
  kros-mcp http --simulator --no-auth     for the MCP Inspector, here alone
  KROS_TOKENS_FILE=tokens.toml KROS_PUBLIC_URL=https://numbers.example.com \\
    kros-mcp http --host 0.0.0.0
  KROS_TOKENS_FILE=tokens.toml kros-mcp http --stateless --workers 4

\b
exit codes:
  0 stopped   2 usage or settings   3 journal unusable
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
@click.option(
    # getaddrinfo would take 99999 for 34463.
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    metavar="PORT",
    help="on which port (8000); 0 for any that is free",
)
@click.option("--no-auth", is_flag=True, help="let in whoever reaches it; on loopback only, for the MCP Inspector")
@click.option(
    "--stateless",
    is_flag=True,
    help="keep no sessions, so that any replica answers any legacy client; those then confirm by code alone",
)
@click.option(
    "--workers",
    type=int,
    default=1,
    metavar="N",
    help="processes that share the port (1); more than one need --stateless",
)
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS),
    default="info",
    help="which of its own lines it logs, as JSON on standard error (info)",
)
@simulator_option("replace KrosAI by a simulator in memory; needs no key")
def http(host: str, port: int, *, no_auth: bool, stateless: bool, workers: int, log_level: str, simulator: bool) -> int:
    """Serve over HTTP until a signal comes.

    Raises:
        KrosError: A setting is wrong, the journal cannot be used, or nobody would be asked who they are.
    """
    options = HttpOptions(host, port, no_auth, stateless, workers, log_level)
    # Nothing that the imports allocate is garbage, and looking for it takes a tenth of the start.
    gc.disable()
    try:
        return _serve(options, simulator=simulator)
    finally:
        gc.enable()


def _serve(options: HttpOptions, *, simulator: bool) -> int:
    settings = load_settings(simulator=simulator)
    settings.require_api_key()
    require_way_of_confirming(settings)
    require_http_extra("The HTTP service needs")
    logs.configure(options.log_level)
    from kros_mcp.http.uvicorn_server import ListenAddress, bind  # noqa: PLC0415 - after the settings, which may stop the start

    access = access_of(settings, options)
    if options.workers != 1:
        from kros_mcp.commands import workers  # noqa: PLC0415 - one process needs none of it

        settings = workers.settings_for_all(settings, options)
    try:
        listener = bind(ListenAddress(options.host, options.port))
    except OSError as exc:
        raise SettingsError(f"Nothing can listen at {options.host}:{options.port}: {exc.strerror}.") from exc
    host, port = listener.getsockname()[:2]

    def announce() -> None:
        logger.info("kros-mcp: serving http://%s:%s/mcp", f"[{host}]" if ":" in host else host, port)

    code = 0
    if options.workers != 1:
        code = workers.run(settings, options, listener, announce, _announce_the_end)
    else:
        serve_in_this_process(settings, access, options, listener, announce, _announce_the_end)
    logger.info("kros-mcp: stopped")
    return code


def _announce_the_end() -> None:
    logger.info("kros-mcp: stopping; what is being sent is settled first")
