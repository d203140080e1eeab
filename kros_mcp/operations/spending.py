"""What numbers cost: the run rate of all owned ones, read from KrosAI."""

from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.owned import read_all_owned, read_each
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.policy import RunRate


async def read_run_rate(desk: Desk) -> RunRate:
    """Read the monthly prices of all owned numbers that are not inactive, and who bought them.

    Lists may leave the price out; such a number is read by itself.
    """
    read_at = await desk.journal.now()
    numbers, complete = await read_all_owned(desk.client)
    live = [number for number in numbers if number.status != "inactive"]
    prices = await _monthly_prices(desk.client, live)
    e164s = [number.e164 for number in live]
    return RunRate(
        prices=tuple(zip(e164s, prices, strict=True)),
        complete=complete,
        read_at=read_at,
        buyers=await desk.journal.buyers(desk.account, e164s),
    )


async def _monthly_prices(client: KrosClient, numbers: list[PhoneNumber]) -> list[int | None]:
    details = await read_each(client, [number.id for number in numbers if number.monthly_cents is None])

    def price(number: PhoneNumber) -> int | None:
        if number.id not in details:
            return number.monthly_cents
        read = details[number.id]
        return 0 if read is None else read.monthly_cents  # released since the list was read

    return [price(number) for number in numbers]
