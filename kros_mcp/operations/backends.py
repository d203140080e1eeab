"""Which journal a URL names."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.sqlite import open_sqlite


@asynccontextmanager
async def open_journal(url: str | None) -> AsyncIterator[Journal]:
    """Open the journal that a URL names; the user's own file if it names none.

    Raises:
        JournalError: It cannot be opened, or is of a newer version of this program.
    """
    opened: AbstractAsyncContextManager[Journal] = open_sqlite(url)
    async with opened as journal:
        yield journal
