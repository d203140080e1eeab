"""What numbers cost: the run rate of all owned ones, read from KrosAI."""

import anyio

from kros_mcp.errors import KrosError, NotFoundError
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.owned import read_all_owned
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.policy import RunRate

_AT_ONCE = 5


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
    prices = [number.monthly_cents for number in numbers]
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    failures: list[KrosError] = []

    async def read(index: int, number_id: str) -> None:
        async with limiter:
            try:
                prices[index] = (await client.get_number(number_id)).monthly_cents
            except NotFoundError:
                prices[index] = 0  # released since the list was read
            except KrosError as exc:  # raised again below, where the task group cannot wrap it
                failures.append(exc)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for index, number in enumerate(numbers):
            if prices[index] is None:
                tasks.start_soon(read, index, number.id)
    if failures:
        raise failures[0]
    return prices
