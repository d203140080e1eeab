"""Which journal a URL names."""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

from kros_mcp.errors import GET_EXTRAS, JournalError, SettingsError
from kros_mcp.journals.sqlite import open_sqlite, open_sqlite_to_read
from kros_mcp.journals.sqlite_file import is_there, journal_path, require_never_there
from kros_mcp.operations.journal import Journal
from kros_mcp.settings import MEMORY, is_postgres

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_journal(url: str | None, *, read_only: bool = False) -> AsyncIterator[Journal]:
    """Open the journal that a URL names; the user's own file if it names none.

    Args:
        url: As in KROS_JOURNAL_URL.
        read_only: Make do with a journal that cannot be written; in place of a file that is not there, one in memory.

    Raises:
        JournalError: It cannot be opened, is of a newer version of this program, or was there and is gone.
        SettingsError: What it needs is not installed.
    """
    async with _opened_to_read(url) if read_only else _opened(url) as journal:
        yield journal


@asynccontextmanager
async def _opened_to_read(url: str | None) -> AsyncIterator[Journal]:
    path = None if is_postgres(url) else journal_path(url)
    if path is not None and not is_there(path):
        require_never_there(path)
        logger.warning("there is no journal %s yet, and this server only reads: it begins with an empty one", path)
        url = MEMORY
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(_opened(url))
            await journal.check_writable()
        except JournalError as exc:
            if exc.code != JournalError.code:
                raise
            logger.warning("the journal cannot be written, and is only read: %s", exc.message)
            if path is not None:
                await stack.aclose()
                journal = await stack.enter_async_context(open_sqlite_to_read(path))
            else:
                journal = await stack.enter_async_context(_opened(url))
                journal.only_reads = True
        yield journal


def place(url: str | None) -> str:
    """Return where a journal stands, without user, password or parameters."""
    if url is None or not is_postgres(url):
        return str(journal_path(url) or "memory")
    with suppress(ImportError):
        from kros_mcp.journals.postgres_address import Address, InvalidAddressError  # noqa: PLC0415 - an extra

        with suppress(InvalidAddressError):
            return str(Address.of(url))
    return "a PostgreSQL database"


def _opened(url: str | None) -> AbstractAsyncContextManager[Journal]:
    if url is None or not is_postgres(url):
        return open_sqlite(url)
    try:
        from kros_mcp.journals.postgres import open_postgres  # noqa: PLC0415 - an extra, and 100 ms
    except ImportError as exc:
        raise SettingsError(
            "KROS_JOURNAL_URL names a PostgreSQL database, for which the extra kros-mcp[postgres] is not installed.",
            next_step=GET_EXTRAS,
        ) from exc
    return open_postgres(url)
