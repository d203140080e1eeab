"""`kros-mcp sip NUMBER`: SIP credentials for the person at the terminal, outside any model's sight."""

import anyio
import click

from kros_mcp.characters import escaped
from kros_mcp.commands.requests_sent import keep_count
from kros_mcp.errors import InvalidArgumentError, NotFoundError
from kros_mcp.krosai import PhoneNumber, find_owned, within
from kros_mcp.numbering import parse_e164
from kros_mcp.operations.account import open_krosai
from kros_mcp.settings import Settings, load_settings

_SECONDS = 20.0


@click.command(
    help="Show a number's SIP credentials, here and nowhere else.\n\nNUMBER is its id, or its E.164 such as "
    "+2342015550100."
)
@click.argument("number")
def sip(number: str) -> int:
    """Print every SIP field of one number.

    Raises:
        KrosError: The number is not owned, or KrosAI could not be read.
    """
    settings = load_settings()
    found = anyio.run(_read, settings, number.strip())
    if found.sip is None or not found.sip.fields:
        print(f"KrosAI shows no SIP credentials for {found.e164}. Only an owner's or admin's key may see them.")
        return 1
    print(f"SIP credentials of {found.e164}. Whoever has them can make calls on your account.")
    for name, value in found.sip.reveal().items():
        print(f"  {escaped(name)}: {escaped(str(value))}")
    return 0


async def _read(settings: Settings, number: str) -> PhoneNumber:
    e164 = ""
    if number.startswith("+"):
        try:
            e164 = parse_e164(number)
        except ValueError as exc:
            raise InvalidArgumentError(str(exc), next_step="Correct the number.") from None
    async with open_krosai(settings) as client:
        try:
            with within(_SECONDS):
                number_id = number
                if e164:
                    listed = (await find_owned(client, e164=e164)).number
                    number_id = listed.id if listed else ""
                found = (await find_owned(client, number_id=number_id)).number if number_id else None
        finally:
            await keep_count(settings, client.tally)
    if found is None:
        raise NotFoundError(f"{number} is not among the numbers of this account.", status=404)
    return found
