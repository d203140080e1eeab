"""The numbers that the account owns: the whole list, or one of them (docs/krosai.md, section 9, rule 6).

A list of several pages may change while it is read: if a record vanishes from a page already read, another moves there
and is missed. So a reading counts as complete only if the list did not change.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from kros_mcp.errors import KrosError, NotFoundError
from kros_mcp.krosai.client import KrosClient
from kros_mcp.krosai.exchange import too_slow
from kros_mcp.krosai.paging import LARGEST_PAGE
from kros_mcp.krosai.wire import PhoneNumber

_AT_ONCE = 5
_MOST_PAGES = 50
_MOST_READINGS = 3
_OWN_PAGES = frozenset({20, 50})
"""How many items KrosAI sends if it ignores `limit`, by its documents (docs/krosai.md, section 2.1)."""


@dataclass(frozen=True, slots=True)
class OwnedReading:
    """The result of looking for one owned number.

    Args:
        records: Every record of it that was seen, the ended ones too.
        complete: Whether these are all: the list was read to its end and did not change meanwhile. If not, "not seen"
            proves nothing; a living record that was seen is owned all the same.
        unreadable: The names of records that could not be read, of any number; one of them may be this number's.
    """

    records: tuple[PhoneNumber, ...]
    complete: bool
    unreadable: tuple[str, ...] = ()

    @property
    def number(self) -> PhoneNumber | None:
        """The living record, or else the first; None if there is none."""
        return self.living or next(iter(self.records), None)

    @property
    def living(self) -> PhoneNumber | None:
        """The record by which the account owns the number; None if it does not."""
        return next((record for record in self.records if not record.has_ended), None)


@dataclass(frozen=True, slots=True)
class OwnedList:
    """The owned numbers as the list shows them.

    Args:
        numbers: Every record that was seen, the ended ones too.
        complete: Whether these are all: the list was read to its end and did not change meanwhile.
        unreadable: The records that could not be read, by their id or else by their place as "entry 3".
        stated: KrosAI's own total, where it is more than the list shows that was read to its end; else None.
    """

    numbers: tuple[PhoneNumber, ...]
    complete: bool
    unreadable: tuple[str, ...] = ()
    stated: int | None = None

    def of(self, e164: str) -> OwnedReading:
        """Return what it shows of one number."""
        records = tuple(number for number in self.numbers if number.e164 == e164)
        return OwnedReading(records, self.complete, self.unreadable)


async def find_owned(
    client: KrosClient, *, number_id: str = "", e164: str = "", pages: int = 20, readings: int = _MOST_READINGS
) -> OwnedReading:
    """Find one owned number by its id (with all its details) or by its E.164 (as the list shows it).

    Args:
        client: KrosAI.
        number_id: KrosAI's id of the number.
        e164: The number, for which the whole list is read.
        pages: How many pages are read at most.
        readings: How often the list is read at most, until it does not change; one is enough if only a number that is
            seen counts.

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

    def is_living(number: PhoneNumber) -> bool:
        return number.e164 == e164 and not number.has_ended

    return (await _read_unchanged(client, pages, readings, enough=is_living)).of(e164)


async def read_all_owned(client: KrosClient) -> OwnedList:
    """Read every owned number."""
    return await _read_unchanged(client, _MOST_PAGES, _MOST_READINGS)


async def read_owned_once(client: KrosClient) -> OwnedList:
    """Read the list once, to be shown or to say no early; `complete` means only that its end was reached.

    A list that states a larger total than it shows is not complete after one reading.

    Where a full page shows that KrosAI heeds `limit`, a later page that is not full is the last one. That spares a
    request, and is not relied upon where a number is bought because it was not seen.
    """
    reading = _Reading()
    await reading.read(client, _MOST_PAGES, until_short=True)
    if reading.ended:
        client.last_owned.keep(reading.ids, to_the_end=False)
    return reading.as_list()


async def read_owned_in_time(client: KrosClient, *, seconds: float) -> OwnedList:
    """Read the list once, until its end, the end of the time, or a failure; `complete` as in `read_owned_once`."""
    reading = _Reading()
    with anyio.move_on_after(seconds), suppress(KrosError):
        await reading.read(client, _MOST_PAGES, until_short=True)
    return reading.as_list()


async def read_owned_to_show(client: KrosClient, *, seconds: float) -> OwnedList:
    """Read the list once, as far as KrosAI tells it in that time; no further page is begun in its second half.

    Raises:
        KrosaiError: Nothing of it could be read.
    """
    reading = _Reading()
    failure: KrosError = too_slow()
    with anyio.move_on_after(seconds):
        try:
            begun_until = anyio.current_time() + seconds / 2
            await reading.read(client, _MOST_PAGES, until_short=True, begun_until=begun_until)
        except KrosError as exc:
            failure = exc
    if not (reading.ended or reading.ids):
        raise failure
    return reading.as_list()


async def read_each(
    client: KrosClient,
    number_ids: Iterable[str],
    take: Callable[[str, PhoneNumber | None], None] = lambda _, __: None,
) -> dict[str, PhoneNumber | None]:
    """Read numbers one by one, five at a time, with the details that a list leaves out; None for one that is gone.

    Args:
        client: KrosAI.
        number_ids: Their ids.
        take: Gets each as it is read, also where this is cancelled or fails in the end; it must not raise.
    """
    found: dict[str, PhoneNumber | None] = {}
    failures: list[KrosError] = []
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def read(number_id: str) -> None:
        async with limiter:
            try:
                found[number_id] = (await find_owned(client, number_id=number_id)).number
                take(number_id, found[number_id])
            except KrosError as exc:  # raised below, outside the task group, which would wrap it
                failures.append(exc)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number_id in number_ids:
            tasks.start_soon(read, number_id)
    if failures:
        raise failures[0]
    return found


async def _read_unchanged(
    client: KrosClient, pages: int, readings: int, *, enough: Callable[[PhoneNumber], bool] = lambda _: False
) -> OwnedList:
    """Read the list, at most so many times, until it does not change or a number is seen that is `enough`."""
    numbers: dict[tuple[str, str], PhoneNumber] = {}
    before, to_the_end = client.last_owned.ids(), client.last_owned.to_the_end
    reading = _Reading()
    complete = False
    for _ in range(readings):
        reading = _Reading()
        await reading.read(client, pages)
        numbers |= reading.numbers
        if reading.ended:
            client.last_owned.keep(reading.ids)
        complete = reading.ended and reading.missed_none(before if to_the_end or before == reading.ids else None)
        if complete or not reading.ended or any(map(enough, reading.numbers.values())):
            break
        before, to_the_end = reading.ids, True
    return OwnedList(tuple(numbers.values()), complete, tuple(reading.unreadable), reading.stated)


class _Reading:
    """One reading of the list from its start, page after page."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, str], PhoneNumber] = {}
        """By id and E.164."""
        self.unreadable: dict[str, None] = {}
        self.ended = False
        self.stated: int | None = None
        """The total that KrosAI states, where the list has ended with fewer records."""
        self._totals: set[int] = set()
        self._in_one_page = True

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the records that were seen, and the names of the unreadable ones."""
        return frozenset(number_id for number_id, _ in self.numbers) | self.unreadable.keys()

    def as_list(self) -> OwnedList:
        """Return what was seen, as complete as one reading can tell."""
        complete = self.ended and self.stated is None
        return OwnedList(tuple(self.numbers.values()), complete, tuple(self.unreadable), self.stated)

    def missed_none(self, before: frozenset[str] | None) -> bool:
        """Whether no record can have moved from a page not yet read to one already read, and so been missed.

        Args:
            before: The ids that an earlier reading showed, or None.
        """
        if self._totals == {len(self.ids)} or (self._in_one_page and not self._totals):
            return True
        if before is None or len(self._totals) > 1:
            return False
        return before == self.ids if self.stated is not None else before <= self.ids

    async def read(
        self, client: KrosClient, pages: int, *, until_short: bool = False, begun_until: float = math.inf
    ) -> None:
        """Read until the end of the list (then `ended` is true), or so many pages.

        Args:
            client: KrosAI.
            pages: How many pages are read at most.
            until_short: Whether a page that is not full, after one that was, is the end.
            begun_until: When no further page is begun any more, in the event loop's seconds.

        A page with nothing new means that KrosAI ignores `offset`. That is the end of the list if the page had room
        for more; but the list is cut short if a larger total is stated, or if the page has KrosAI's own page size.
        """
        offset = 0
        had_ids, was_full = True, False
        for nth in range(pages):
            if nth and anyio.current_time() > begun_until:
                return
            page = await client.list_owned(limit=LARGEST_PAGE, offset=offset)
            ids = {number.id for number in page.items} | {one.id for one in page.unreadable if one.id is not None}
            repeated = ids <= self.ids and (bool(ids) or not had_ids)
            if page.total is not None:
                self._totals.add(page.total)
            if page.received and repeated:
                cut_short = page.received in _OWN_PAGES or max(self._totals, default=0) > len(self.ids)
                self.ended = page.received < LARGEST_PAGE and not cut_short
                return
            if page.received:
                self._in_one_page = offset == 0 and page.received < LARGEST_PAGE
            self.numbers |= {(number.id, number.e164): number for number in page.items}
            self.unreadable |= dict.fromkeys(one.name for one in page.unreadable)
            offset += page.received
            had_ids = bool(ids)
            is_last = until_short and was_full and page.total is None and page.received < LARGEST_PAGE
            was_full = was_full or page.received == LARGEST_PAGE
            if is_last or not page.received or (page.total is not None and offset >= page.total):
                self.ended = True
                stated = max(self._totals, default=0)
                self.stated = stated if stated > offset else None
                return
