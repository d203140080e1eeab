"""One page of the owned numbers, to be shown: as KrosAI lists them, or as it did within the last minute."""

from kros_mcp.krosai import Gathered, Page, PhoneNumber, gather
from kros_mcp.operations.account import Account
from kros_mcp.operations.run_rate import Priced, living, price_in_time


async def read(account: Account, *, status: str, country: str, limit: int, offset: int) -> Gathered[PhoneNumber]:
    """Read the numbers from `offset` on, KrosAI's own, that fit the filters.

    Raises:
        KrosError: KrosAI or the journal could not be read.
    """
    if not (status or country) and (kept := await _kept_page(account, limit, offset)) is not None:
        return kept

    async def page(size: int, start: int) -> Page[PhoneNumber]:
        return await account.client.list_owned(status=status, country=country, limit=size, offset=start)

    read_at = await account.journal.now()
    found = await gather(page, limit=limit, offset=offset)
    account.kept.saw(found.items, read_at)
    return found


async def priced(account: Account, page: Gathered[PhoneNumber], *, seconds: float) -> Priced:
    """Add the prices that are known of a page, and read a few of those that are not."""
    now = await account.journal.now()
    kept = account.kept.over(await account.journal.kept(account.id))
    found = Priced(living(page.items), now, kept, now)
    await price_in_time(account, found, seconds=seconds)
    return found


async def _kept_page(account: Account, limit: int, offset: int) -> Gathered[PhoneNumber] | None:
    """Return a page of the list that was read within the last minute; None if there is no such list."""
    kept = account.kept.over(await account.journal.kept(account.id))
    owned = kept.list_to_show(await account.journal.now())
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
