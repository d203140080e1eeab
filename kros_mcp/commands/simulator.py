"""`kros-mcp simulator`: a local KrosAI over HTTP."""

import anyio
import click

from kros_mcp.errors import SettingsError
from kros_mcp.krosai import clean
from kros_mcp.runtime import simulated as shaped
from kros_mcp.simulator import Simulator, open_server
from kros_mcp.simulator.state import SimulatedAccount


@click.command(help="Serve a local KrosAI over HTTP.")
@click.option("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
@click.option("--port", type=int, default=8100, help="on which port (8100)")
@click.option(
    "--profile", type=click.Choice(("reference", "guide")), default="reference", help="which dialect of KrosAI"
)
@click.option("--shapes", metavar="FILE", help="answer in the shapes that kros-mcp probe --json wrote there")
@click.option(
    "--organizations",
    type=click.IntRange(1, 9),
    default=1,
    metavar="N",
    help="how many there are under one key (1)",
)
def simulator(host: str, port: int, profile: str, shapes: str | None, organizations: int) -> int:
    """Serve until interrupted, and say how to point the server at it.

    Raises:
        SettingsError: Nothing can listen there, or the file cannot be used.
    """
    simulated = _simulated(profile, shapes)
    for _ in range(organizations - 1):
        simulated.add_organization(SimulatedAccount, simulated.balance_cents)
    dialect = profile if shapes is None else f"in the shapes of {clean(shapes)}"

    async def serve() -> None:
        async with open_server(simulated, host=host, port=port) as base_url:
            print(f"A simulated KrosAI ({dialect}) answers at {base_url}; no real money.")
            print(f"  KROS_BASE_URL={base_url} KROS_API_KEY={simulated.api_key} kros-mcp doctor")
            if organizations > 1:
                print(f"  KROS_ORGANIZATION_ID is one of {', '.join(simulated.organizations)}")
            print(f"  Faults and state: {base_url.removesuffix('/v1')}/_simulator")
            print("Stop it with Ctrl-C.", flush=True)
            await anyio.sleep_forever()

    try:
        anyio.run(serve)
    except (OSError, OverflowError, BaseExceptionGroup) as exc:
        if isinstance(exc, BaseExceptionGroup) and exc.split((OSError, OverflowError))[1] is not None:
            raise
        raise SettingsError(f"Nothing can listen at {host}:{port}.", next_step="Choose another --port.") from None
    return 0


def _simulated(profile: str, shapes_file: str | None) -> Simulator:
    if shapes_file is not None:
        return shaped(shapes_file)
    return Simulator(profile="guide" if profile == "guide" else "reference")
