"""Owned numbers to be shown: as KrosAI lists them, or as it did within the last minute, with the prices that are known.

The whole list is read, as far as the time allows, so that what all the numbers that are asked for cost together can be
told. A journal that cannot be read stops nobody from seeing numbers: then nothing is kept, and nothing comes from it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from kros_mcp.errors import JournalError, OperationError
from kros_mcp.krosai import (
    LARGEST_PAGE,
    NOT_STATED,
    UNROUTED,
    OwnedList,
    Page,
    PhoneNumber,
    find_owned,
    gather,
    read_owned_to_show,
)
from kros_mcp.numbering import PartOfNumber, may_lie_in, parse_contains, spoken
from kros_mcp.operations import endpoint_names
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.proposal import no_such_endpoint, require_owned
from kros_mcp.operations.kept import LIST_COMPARED_SECONDS, Kept
from kros_mcp.operations.run_rate import Priced, living, price_in_time

ANY: Final = "any"
"""The status that asks for the ended numbers too."""
_FOR_LIST: Final = 0.6
"""The part of a call's time in which the list is read where a number is looked for in it."""
_MOST_DIGITS: Final = 15
"""How many digits a phone number has at most."""
_NAMED: Final = 5


@dataclass(frozen=True)
class Wanted:
    """Which owned numbers are asked for.

    Args:
        status: A word of KrosAI's; empty for those that have not ended, `ANY` for all.
        country: Empty for any.
        part: Digits that they have.
        endpoint_ids: Where their calls go; None for anywhere.
        unrouted: Whether their calls go nowhere, which is said of living numbers alone.
    """

    status: str = ""
    country: str = ""
    part: PartOfNumber | None = None
    endpoint_ids: frozenset[str] | None = None
    unrouted: bool = False

    def fits(self, number: PhoneNumber) -> bool:
        """Whether a number is asked for, but for its status if none was named."""
        if self.status not in {"", ANY, number.status}:
            return False
        if self.unrouted and (number.endpoint_id is not None or number.has_ended):
            return False
        if self.endpoint_ids is not None and number.endpoint_id not in self.endpoint_ids:
            return False
        return self._lies_there(number) and (self.part is None or self.part.is_in(number.e164))

    def may_fit(self, number: PhoneNumber) -> bool:
        """Whether a living number is left out only because KrosAI does not state where its calls go."""
        if number.endpoint_id != NOT_STATED or number.has_ended or not (self.unrouted or self.endpoint_ids):
            return False
        return replace(self, endpoint_ids=None, unrouted=False).fits(number)

    def hides(self, number: PhoneNumber) -> bool:
        """Whether a number is left out because it has ended, and nobody asked for those."""
        return not self.status and number.has_ended

    def _lies_there(self, number: PhoneNumber) -> bool:
        if not self.country or number.country == self.country:
            return True
        return number.country is None and may_lie_in(number.e164, self.country)


@dataclass(frozen=True)
class Selected:
    """The numbers that are asked for, as far as they were read.

    Args:
        page: Those that are shown.
        found: All that were read, ended ones that are hidden left out.
        total: How many there are; None if not all numbers were read.
        next_offset: Where the next page begins; None at the end.
        rest: How many of those that were read come after the page.
        hidden: How many fit and are hidden, having ended.
        unstated: How many are left out because KrosAI does not state where their calls go.
        unreadable: The records that state no number yet.
        read: How many numbers were read, whether they fit or not.
        listed_at: When they were, on the journal's clock.
        stated: KrosAI's own total of the account's records, where that is more than it shows; else None.
    """

    page: tuple[PhoneNumber, ...]
    found: tuple[PhoneNumber, ...]
    total: int | None
    next_offset: int | None
    rest: int
    hidden: int
    unstated: int
    unreadable: tuple[str, ...]
    read: int
    listed_at: float
    stated: int | None = None


class OwnedView:
    """What is known of the account's numbers before KrosAI is asked, and at which time of the journal that was.

    Args:
        account: The account's resources.
        kept: What is known.
        now: The time, on the journal's clock where it can be read.
        usable: Whether the journal can be.
    """

    def __init__(self, account: Account, kept: Kept, now: float, *, usable: bool) -> None:
        self._account = account
        self._kept = kept
        self.now = now
        self._usable = usable

    async def listed(self, *, seconds: float, shown: int | None = None) -> tuple[OwnedList, float]:
        """Return the list, and when it was read: within the last minute, or now as far as KrosAI tells in that time.

        Args:
            seconds: How long reading it may take.
            shown: KrosAI's offset of the page that is shown, where nothing was filtered: if that has not changed in
                half an hour, the rest of the list, which is only counted, is not read again.

        Raises:
            KrosaiError: KrosAI could not be read.
        """
        if (kept := self._kept.list_to_show(self.now)) is not None:
            return kept, self._kept.listed_at or self.now
        earlier = None if shown is None else self._kept.list_to_show(self.now, LIST_COMPARED_SECONDS)
        if shown is not None and earlier is not None and await self._is_unchanged(earlier, shown):
            return earlier, self._kept.listed_at or self.now
        owned = await read_owned_to_show(self._account.client, seconds=seconds)
        if (owned.complete or owned.stated is not None) and self._usable:
            self._account.kept.saw_list(owned, self.now)
        else:
            self.saw(owned.numbers, alone=False)
        return owned, self.now

    async def _is_unchanged(self, earlier: OwnedList, shown: int) -> bool:
        """Whether the part of the list that holds a page is as it was; it is read for that alone if there is more."""
        start = shown // LARGEST_PAGE * LARGEST_PAGE
        if earlier.unreadable or not len(earlier.numbers) > LARGEST_PAGE or start >= len(earlier.numbers):
            return False
        page = await self._account.client.list_owned(limit=LARGEST_PAGE, offset=start)
        before = earlier.numbers[start : start + LARGEST_PAGE]
        as_long = page.total in {None, len(earlier.numbers)} and page.received == len(page.items) == len(before)
        return as_long and [_seen_of(one) for one in page.items] == [_seen_of(one) for one in before]

    def lately_listed(self, e164: str) -> PhoneNumber | None:
        """Return a living number by the list of the last minute; None if that does not show it."""
        owned = self._kept.list_to_show(self.now)
        return next((number for number in living(owned.numbers) if number.e164 == e164), None) if owned else None

    async def select(self, owned: OwnedList, listed_at: float, wanted: Wanted, *, limit: int, offset: int) -> Selected:
        """Return the numbers from `offset` on, KrosAI's own, that are asked for; those beyond what was read are read.

        Raises:
            KrosaiError: KrosAI could not be read.
        """
        is_cut = not owned.complete and owned.stated is None
        if is_cut and offset >= len(owned.numbers) + len(owned.unreadable):
            return await self._read_on(wanted, limit=limit, offset=offset)
        fitting = [(place, number) for place, number in enumerate(owned.numbers) if wanted.fits(number)]
        shown = [(place, number) for place, number in fitting if not wanted.hides(number)]
        page = [(place, number) for place, number in shown if place >= offset]
        ahead = len(owned.numbers) + len(owned.unreadable) if is_cut else None
        return Selected(
            page=tuple(number for _, number in page[:limit]),
            found=tuple(number for _, number in shown),
            total=len(shown) if owned.complete else None,
            next_offset=page[limit][0] if len(page) > limit else ahead,
            rest=max(0, len(page) - limit),
            hidden=len(fitting) - len(shown),
            unstated=sum(wanted.may_fit(number) for number in owned.numbers),
            unreadable=owned.unreadable,
            read=len(owned.numbers),
            listed_at=listed_at,
            stated=owned.stated,
        )

    async def priced(self, selected: Selected, *, seconds: float) -> Priced:
        """Add the prices that are known, and read a few of those that are not in so much time, the page's first."""
        shown = {number.id for number in selected.page}
        others = (number for number in selected.found if number.id not in shown)
        found = Priced(living([*selected.page, *others]), selected.listed_at, self._kept, self.now)
        if self._usable:
            await price_in_time(self._account, found, seconds=seconds)
        return found

    def saw(self, numbers: tuple[PhoneNumber, ...], *, alone: bool) -> None:
        """Keep what was read of numbers since."""
        if self._usable:
            self._account.kept.saw(numbers, self.now, alone=alone)

    async def _read_on(self, wanted: Wanted, *, limit: int, offset: int) -> Selected:
        """Read a page of a list that is too long to be read whole; KrosAI is asked for as few others as it can be."""
        status = "" if wanted.status == ANY else wanted.status
        seen: list[PhoneNumber] = []

        async def read(size: int, start: int) -> Page[PhoneNumber]:
            page = await self._account.client.list_owned(
                status=status, country=wanted.country, limit=size, offset=start
            )
            seen.extend(page.items)
            return page.where(lambda number: wanted.fits(number) and not wanted.hides(number))

        found = await gather(read, limit=limit, offset=offset)
        self.saw(tuple(seen), alone=False)
        hidden = sum(wanted.fits(number) and wanted.hides(number) for number in seen)
        unreadable = tuple(record.name for record in found.unreadable)
        return Selected(
            page=found.items,
            found=found.items,
            total=None,
            next_offset=found.next_offset,
            rest=0,
            hidden=hidden,
            unstated=sum(wanted.may_fit(number) for number in seen),
            unreadable=unreadable,
            read=len(seen),
            listed_at=self.now,
        )


def _seen_of(number: PhoneNumber) -> tuple[object, ...]:
    """Return what a list shows of a number; a price that it does not state is None."""
    routing = (number.endpoint_id, number.allow_inbound, number.allow_outbound)
    return (number.id, number.e164, number.status, *routing, number.monthly_cents, number.currency)


async def look(account: Account) -> OwnedView:
    """Return what is known now."""
    try:
        kept, now = account.kept.over(await account.journal.kept(account.id)), await account.journal.now()
    except JournalError:
        return OwnedView(account, Kept(), time.time(), usable=False)
    return OwnedView(account, kept, now, usable=True)


async def going_to(account: Account, wanted: Wanted, endpoint: str, owned: OwnedList, *, seconds: float) -> Wanted:
    """Return what is asked for, with the endpoints that a call names by an id or a name, or with `unrouted`.

    Raises:
        InvalidArgumentError: No number goes there, and there is no such endpoint.
    """
    if not endpoint:
        return wanted
    if endpoint == UNROUTED:
        return replace(wanted, unrouted=True)
    if any(number.endpoint_id == endpoint for number in owned.numbers):
        return replace(wanted, endpoint_ids=frozenset({endpoint}))
    endpoints = await account.endpoints.seen(account.client, {endpoint}, seconds=seconds)
    called = endpoint_names.called(endpoint, endpoints.found.values())
    ids = frozenset(each.id for each in called) | ({endpoint} & endpoints.found.keys())
    if not ids and endpoints.whole:
        raise no_such_endpoint()
    return replace(wanted, endpoint_ids=ids or frozenset({endpoint}))


async def find(account: Account, view: OwnedView, named: str, *, seconds: float) -> tuple[PhoneNumber, str]:
    """Read one number with all its details, and tell by which digits it was found if it was not named whole.

    Args:
        account: The account's resources.
        view: What is known of its numbers.
        named: An id, an E.164, or digits that one living number alone has.
        seconds: How long it may take.

    Raises:
        OperationError: `NUMBER_NOT_OWNED` and its like; `PARTIAL_NUMBER` where digits are those of several numbers.
    """
    part = None if named.startswith("+") else _part(named)
    if part is not None:
        owned, _ = await view.listed(seconds=seconds * _FOR_LIST)
        if not any(number.id == named for number in owned.numbers):
            found = [number for number in owned.numbers if part.is_in(number.e164) and not number.has_ended]
            if len(found) != 1 or not owned.complete:
                raise _asked_back(part, found)
            return await _alone(account, view, found[0]), part.digits
    if named.startswith("+"):
        number = view.lately_listed(named) or await require_owned(account, "", named)
        return await _alone(account, view, number), ""
    number = await require_owned(account, named, "")
    view.saw((number,), alone=True)
    return number, ""


async def _alone(account: Account, view: OwnedView, listed: PhoneNumber) -> PhoneNumber:
    """Read a listed number by itself; as it was listed if it is not found so."""
    alone = (await find_owned(account.client, number_id=listed.id)).number
    if alone is not None:
        view.saw((alone,), alone=True)
    return alone or listed


def _part(text: str) -> PartOfNumber | None:
    """Return the digits of a number that a text may be; None for what can only be an id."""
    try:
        part = parse_contains(text)
    except ValueError:
        return None
    return part if part is not None and len(part.digits) <= _MOST_DIGITS else None


def _asked_back(part: PartOfNumber, found: Sequence[PhoneNumber]) -> OperationError:
    if not found:
        return OperationError(
            f"No number {part.aloud} is owned, as far as KrosAI shows.",
            code="NUMBER_NOT_OWNED",
            next_step="Ask the person for the whole number; list_phone_numbers with status any shows ended ones too.",
        )
    named = ", ".join(spoken(number.e164) for number in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return OperationError(
        f"It is not certain which number {part.aloud} is meant; these are owned: {named}{more}.",
        code="PARTIAL_NUMBER",
        next_step=f"Ask the person which one is meant, or call list_phone_numbers with contains {part.digits}.",
    )
