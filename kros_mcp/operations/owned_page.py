"""Owned numbers to be shown: as KrosAI lists them, or as it did within the last minute, with the prices that are known.

A journal that cannot be read stops nobody from seeing numbers: then nothing is kept, and nothing comes from it.
"""

import time

from kros_mcp.errors import JournalError
from kros_mcp.krosai import Gathered, Page, PhoneNumber, gather
from kros_mcp.operations.account import Account
from kros_mcp.operations.kept import Kept
from kros_mcp.operations.run_rate import Priced, living, price_in_time


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

    async def page(self, *, status: str, country: str, limit: int, offset: int) -> Gathered[PhoneNumber]:
        """Return the numbers from `offset` on, KrosAI's own, that fit the filters.

        Raises:
            KrosaiError: KrosAI could not be read.
        """
        if not (status or country) and (kept := self._kept_page(limit, offset)) is not None:
            return kept

        async def read(size: int, start: int) -> Page[PhoneNumber]:
            return await self._account.client.list_owned(status=status, country=country, limit=size, offset=start)

        found = await gather(read, limit=limit, offset=offset)
        self.saw(found.items, alone=False)
        return found

    async def priced(self, page: Gathered[PhoneNumber], *, seconds: float) -> Priced:
        """Add the prices that are known of a page, and read a few of those that are not, in so much time."""
        found = Priced(living(page.items), self.now, self._kept, self.now)
        if self._usable:
            await price_in_time(self._account, found, seconds=seconds)
        return found

    def saw(self, numbers: tuple[PhoneNumber, ...], *, alone: bool) -> None:
        """Keep what was read of numbers since."""
        if self._usable:
            self._account.kept.saw(numbers, self.now, alone=alone)

    def _kept_page(self, limit: int, offset: int) -> Gathered[PhoneNumber] | None:
        """Return a page of the list that was read within the last minute; None if there is no such list."""
        owned = self._kept.list_to_show(self.now)
        if owned is None or owned.unreadable:
            return None
        items = owned.numbers[offset : offset + limit]
        following = offset + len(items)
        return Gathered(
            items=items,
            positions=tuple(range(offset, following)),
            total=len(owned.numbers),
            next_offset=following if following < len(owned.numbers) else None,
        )


async def look(account: Account) -> OwnedView:
    """Return what is known now."""
    try:
        kept, now = account.kept.over(await account.journal.kept(account.id)), await account.journal.now()
    except JournalError:
        return OwnedView(account, Kept(), time.time(), usable=False)
    return OwnedView(account, kept, now, usable=True)
