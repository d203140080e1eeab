"""An operation as it is shown to the person who is to decide on it."""

from collections.abc import Iterator

from kros_mcp.commands.console import fitted
from kros_mcp.commands.selection import currency, is_foreign, short
from kros_mcp.commands.stage import paint, wrapped
from kros_mcp.krosai.text import clean
from kros_mcp.operations.confirmation import sentence
from kros_mcp.operations.model import Operation
from kros_mcp.settings import Environment, Settings
from kros_mcp.times import utc

_ENVIRONMENTS: dict[Environment, tuple[str, str]] = {
    "live": ("LIVE: real money", "red"),
    "test": ("test key", "green"),
    "simulator": ("simulator", "green"),
}
_LABEL_COLUMNS = 14


def question(operation: Operation, account: str | None, settings: Settings) -> Iterator[str]:
    """Write the question as it was asked, whose account it is, and who asked.

    Args:
        operation: What is decided on.
        account: That of this terminal's key; None without one.
        settings: Of this terminal.
    """
    yield from wrapped(sentence(operation, currency(operation, account, settings)))
    yield ""
    words, colour = _ENVIRONMENTS[operation.quote.environment]
    other = "; not the account of this terminal's KROS_API_KEY" if is_foreign(operation, account) else ""
    for line in labelled("Account", f"{short(operation.account)}, {words}{other}"):
        yield line.replace(words, paint(words, colour), 1)
    yield from labelled("Operation", f"{operation.id}: {operation.action} {operation.e164}")
    yield from labelled("Asked for", f"by {clean(operation.principal)} at {utc(operation.created_at)}.")


def labelled(label: str, *told: str) -> Iterator[str]:
    """Set lines to the right of their label."""
    blank = " " * _LABEL_COLUMNS
    first = f"  {label}".ljust(_LABEL_COLUMNS)
    for text in told:
        yield from fitted(text, first=first, rest=blank)
        first = blank
