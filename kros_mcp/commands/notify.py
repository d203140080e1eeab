"""`kros-mcp notify`: whether people are told, a notice to try it with, and an end to what could not be delivered."""

import time

import anyio
import click

from kros_mcp.commands.console import say, working
from kros_mcp.commands.findings import Finding, failed, ok, report
from kros_mcp.commands.notices_told import notices_told
from kros_mcp.errors import InvalidArgumentError, SettingsError
from kros_mcp.journals.backends import open_journal
from kros_mcp.notifying.destinations import open_destinations
from kros_mcp.notifying.message import Destination, NotDeliveredError, message_of
from kros_mcp.operations.notices import Taken, trial
from kros_mcp.settings import Settings, load_settings

_HELP = """\
Say whether people are told of what happens, and try it.

Without an option it says where people are told (KROS_WEBHOOK_URL, KROS_NOTIFY_URLS), when the last notice came
through, and what could not be delivered. No API key is needed.
"""
_EPILOG = """\
\b
examples:
  kros-mcp notify --test

\b
exit codes:
  0 done   1 a notice did not come through   2 usage or settings
  3 journal unusable
"""


@click.command(help=_HELP, epilog=_EPILOG)
@click.option("--test", "tries", is_flag=True, help="send one notice to each destination now")
@click.option(
    "--acknowledge",
    is_flag=True,
    help="drop the notices that could not be delivered within a day, and destinations that no server has",
)
def notify(*, tries: bool, acknowledge: bool) -> int:
    """Look, try or tidy up.

    Raises:
        KrosError: A setting is wrong, no destination is set, or the journal cannot be used.
    """
    if tries and acknowledge:
        raise InvalidArgumentError("--test and --acknowledge exclude each other.", next_step="")
    settings = load_settings()
    if acknowledge:
        some = anyio.run(_acknowledge, settings)
        say(f"Dropped {some} notice{'' if some == 1 else 's'} that could not be delivered. What they told stays.")
        return 0
    if not tries:
        return report(anyio.run(_look, settings))
    destinations = open_destinations(settings)
    if not destinations:
        raise SettingsError(
            "Nobody is told by the settings of this terminal: neither KROS_WEBHOOK_URL nor KROS_NOTIFY_URLS is set.",
            next_step="Set one of them, and try again.",
        )
    with working("sending a notice to each destination"):
        findings = anyio.run(_try, settings, destinations)
    return report(findings)


async def _look(settings: Settings) -> list[Finding]:
    async with open_journal(settings.journal_url, read_only=settings.read_only) as journal:
        return await notices_told(settings, journal)


async def _acknowledge(settings: Settings) -> int:
    async with open_journal(settings.journal_url) as journal:
        return await journal.acknowledge_undelivered()


async def _try(settings: Settings, destinations: tuple[Destination, ...]) -> list[Finding]:
    environment = None if settings.api_key is None else settings.environment
    taken = Taken(trial("", time.time(), environment), "", settings.organization_id or "", 0)
    message, found = message_of(taken, settings), dict[int, Finding]()

    async def send(number: int, destination: Destination) -> None:
        try:
            await destination.send(message)
        except NotDeliveredError as exc:
            found[number] = failed(exc)
        else:
            found[number] = ok(f"It came through: {destination.name}.")
        finally:
            await destination.aclose()

    async with anyio.create_task_group() as tasks:
        for number, destination in enumerate(destinations):
            tasks.start_soon(send, number, destination)
    return [found[number] for number in sorted(found)]
