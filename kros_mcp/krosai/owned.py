"""Reads the account's numbers to the end, and finds one among them (krosai-api.md, section 9, rule 6)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio

from kros_mcp.errors import KrosError, NotFoundError
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.walk import LARGEST_PAGE
from kros_mcp.krosai.wire import PhoneNumber

_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class OwnedReading:
    """What looking for an owned number came to.

    Args:
        number: The record, or None if it was not seen. A record that is inactive only if no other was seen.
        complete: Whether the answer is final. If not, there were pages left, and "not seen" proves nothing.
    """

    number: PhoneNumber | None
    complete: bool

    @property
    def living(self) -> PhoneNumber | None:
        """The record, unless it is inactive: a number given up."""
        return None if self.number is None or self.number.status == "inactive" else self.number


async def find_owned(client: KrosClient, *, number_id: str = "", e164: str = "", pages: int = 20) -> OwnedReading:
    """Find one owned number by its id (with everything KrosAI tells of it) or by its E.164 (as listed).

    Raises:
        ValueError: Not exactly one of `number_id` and `e164` is given.
    """
    if bool(number_id) == bool(e164):
        raise ValueError("Give either number_id or e164.")
    if number_id:
        try:
            return OwnedReading(await client.get_number(number_id), complete=True)
        except NotFoundError:
            return OwnedReading(None, complete=True)

    def lives(number: PhoneNumber) -> bool:
        return number.e164 == e164 and number.status != "inactive"

    numbers, complete = await _read(client, pages, enough=lives)
    records = [number for number in numbers if number.e164 == e164]
    living = next((number for number in records if lives(number)), None)
    if living is not None:
        return OwnedReading(living, complete=True)
    return OwnedReading(records[0] if records else None, complete)


async def read_all_owned(client: KrosClient, *, pages: int = 50) -> tuple[tuple[PhoneNumber, ...], bool]:
    """Read every owned number; the second value tells whether the end was reached."""
    return await _read(client, pages, enough=lambda _: False)


async def read_each(client: KrosClient, number_ids: Iterable[str]) -> dict[str, PhoneNumber | None]:
    """Read numbers one by one, five at once, with all that a list leaves out; None for one that is gone."""
    found: dict[str, PhoneNumber | None] = {}
    failures: list[KrosError] = []
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def read(number_id: str) -> None:
        async with limiter:
            try:
                found[number_id] = (await find_owned(client, number_id=number_id)).number
            except KrosError as exc:  # raised again below, where the task group cannot wrap it
                failures.append(exc)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number_id in number_ids:
            tasks.start_soon(read, number_id)
    if failures:
        raise failures[0]
    return found


async def _read(
    client: KrosClient, pages: int, *, enough: Callable[[PhoneNumber], bool]
) -> tuple[tuple[PhoneNumber, ...], bool]:
    """Read page after page until the end, or until one number is enough.

    A page that brings nothing new means that KrosAI ignores `offset`. That is the end if the page had room
    for more, and a list cut short if it had not.
    """
    seen: dict[str, PhoneNumber] = {}
    offset = 0
    for _ in range(pages):
        page = await client.list_owned(limit=LARGEST_PAGE, offset=offset)
        new = [number for number in page.items if number.id not in seen]
        seen.update((number.id, number) for number in new)
        offset += page.received
        if any(enough(number) for number in new):
            return tuple(seen.values()), False
        if not page.received or (page.total is not None and offset >= page.total):
            return tuple(seen.values()), True
        if not new:
            return tuple(seen.values()), page.received < LARGEST_PAGE
    return tuple(seen.values()), False
