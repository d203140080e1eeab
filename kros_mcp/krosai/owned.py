"""Reads the account's numbers to the end, and finds one among them (krosai-api.md, section 9, rule 6)."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from kros_mcp.errors import KrosError, NotFoundError
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.walk import LARGEST_PAGE
from kros_mcp.krosai.wire import PhoneNumber

_AT_ONCE = 5
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class OwnedReading:
    """What looking for an owned number came to.

    Args:
        records: Every record of it that was seen, the ended ones too.
        complete: Whether the answer is final. If not, "not seen" proves nothing.
        unreadable: Names the records, of whatever number, that could not be read; one of them may be this number's.
    """

    records: tuple[PhoneNumber, ...]
    complete: bool
    unreadable: tuple[str, ...] = ()

    @property
    def number(self) -> PhoneNumber | None:
        """The record: the living one, or else the first; None if there is none."""
        return self.living or next(iter(self.records), None)

    @property
    def living(self) -> PhoneNumber | None:
        """The record by which the account owns the number; None if it does not."""
        return next((record for record in self.records if not record.has_ended), None)


async def find_owned(client: KrosClient, *, number_id: str = "", e164: str = "", pages: int = 20) -> OwnedReading:
    """Find one owned number by its id (with everything KrosAI tells of it) or by its E.164 (as listed).

    Raises:
        ValueError: Not exactly one of `number_id` and `e164` is given.
    """
    if bool(number_id) == bool(e164):
        raise ValueError("Give either number_id or e164.")
    if number_id:
        try:
            return OwnedReading((await client.get_number(number_id),), complete=True)
        except NotFoundError:
            return OwnedReading((), complete=True)
    numbers: dict[str, PhoneNumber] = {}
    complete = await _read(client, pages, numbers)
    return OwnedReading(tuple(number for number in numbers.values() if number.e164 == e164), complete)


async def read_all_owned(client: KrosClient, *, pages: int = _MOST_PAGES) -> tuple[tuple[PhoneNumber, ...], bool]:
    """Read every owned number; the second value tells whether the end was reached."""
    numbers: dict[str, PhoneNumber] = {}
    complete = await _read(client, pages, numbers)
    return tuple(numbers.values()), complete


async def read_owned_in_time(client: KrosClient, *, seconds: float) -> tuple[tuple[PhoneNumber, ...], bool]:
    """Read owned numbers until the end, the end of the time, or a failure; the second value tells if all."""
    numbers: dict[str, PhoneNumber] = {}
    complete = False
    with anyio.move_on_after(seconds), suppress(KrosError):
        complete = await _read(client, _MOST_PAGES, numbers)
    return tuple(numbers.values()), complete


async def read_each(client: KrosClient, number_ids: Iterable[str]) -> dict[str, PhoneNumber | None]:
    """Read numbers one by one, five at once, with all that a list leaves out; None for one that is gone."""
    found: dict[str, PhoneNumber | None] = {}
    await _read_each(client, number_ids, found)
    return found


async def read_each_in_time(
    client: KrosClient, number_ids: Iterable[str], *, seconds: float
) -> dict[str, PhoneNumber | None]:
    """Read numbers as `read_each` does until the time is over or a read fails; what was not read is left out."""
    found: dict[str, PhoneNumber | None] = {}
    with anyio.move_on_after(seconds), suppress(KrosError):
        await _read_each(client, number_ids, found)
    return found


async def _read_each(client: KrosClient, number_ids: Iterable[str], found: dict[str, PhoneNumber | None]) -> None:
    """Read numbers into `found`, which holds what was read so far if this is cancelled or fails."""
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


async def _read(
    client: KrosClient,
    pages: int,
    seen: dict[str, PhoneNumber],
) -> bool:
    """Read page after page into `seen` until the end, which True tells.

    A page that brings nothing new means that KrosAI ignores `offset`. That is the end if the page had room
    for more, and a list cut short if it had not.
    """
    offset = 0
    for _ in range(pages):
        page = await client.list_owned(limit=LARGEST_PAGE, offset=offset)
        new = [number for number in page.items if number.id not in seen]
        seen.update((number.id, number) for number in new)
        offset += page.received
        if not page.received or (page.total is not None and offset >= page.total):
            return True
        if not new:
            return page.received < LARGEST_PAGE
    return False
