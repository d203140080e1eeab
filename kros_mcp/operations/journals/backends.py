"""Which journal a URL names."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from kros_mcp.errors import SettingsError
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.journals.sqlite import open_sqlite
from kros_mcp.operations.journals.sqlite_file import journal_path
from kros_mcp.settings import is_postgres


@asynccontextmanager
async def open_journal(url: str | None) -> AsyncIterator[Journal]:
    """Open the journal that a URL names; the user's own file if it names none.

    Raises:
        JournalError: It cannot be opened, or is of a newer version of this program.
        SettingsError: What it needs is not installed.
    """
    async with _opened(url) as journal:
        yield journal


def place(url: str | None) -> str:
    """Say where a journal stands, without user, password or parameters."""
    if url is None or not is_postgres(url):
        return str(journal_path(url) or "memory")
    with suppress(ImportError):
        from kros_mcp.operations.journals.postgres_address import Address, InvalidAddressError  # noqa: PLC0415 - an extra

        with suppress(InvalidAddressError):
            return str(Address.of(url))
    return "a PostgreSQL database"


def _opened(url: str | None) -> AbstractAsyncContextManager[Journal]:
    if url is None or not is_postgres(url):
        return open_sqlite(url)
    try:
        from kros_mcp.operations.journals.postgres import open_postgres  # noqa: PLC0415 - an extra, and 100 ms
    except ImportError as exc:
        raise SettingsError(
            "KROS_JOURNAL_URL names a PostgreSQL database, for which the extra kros-mcp[postgres] is not installed.",
            next_step="Install it: uv tool install '.[postgres]', or uv run --extra postgres kros-mcp.",
        ) from exc
    return open_postgres(url)
