"""Which account the operations of a journal belong to, and how they pass from one to another.

A KrosAI account is known by its organization; where none is named, by the API key. The name of an account whose
key was replaced is another then, and its operations are handed over.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress

from kros_mcp.errors import JournalError, OperationError
from kros_mcp.operations import moves
from kros_mcp.operations.events import SERVER, SUPERSEDED
from kros_mcp.operations.journal import Filter, Journal
from kros_mcp.operations.model import IN_FLIGHT, OPEN, Operation, State
from kros_mcp.settings import Environment, Settings

_RENAMED = "An account with an organization is named without its key now."
_GIVES_WAY = "It was asked for under two names of one account; the other operation stays."


async def account_in(settings: Settings, journal: Journal) -> str:
    """Return the account that the settings act for, and hand it what an older version has written under another name.

    Raises:
        SettingsError: There is no key.
        JournalError: The journal cannot be used.
        OperationError: A number is being acted on under both names; nothing was handed over.
    """
    account = settings.account(journal.secret)
    former = settings.former_account(journal.secret)
    # A server that only reads goes on with a journal that cannot be written.
    with suppress(JournalError) if settings.read_only else nullcontext():
        if former is not None and await journal.count(Filter(account=former)):
            await journal.adopt(former, account, environment=settings.environment, by=SERVER, words=_RENAMED)
    return account


def make_room(standing: Iterable[Operation], former: str, now: float) -> Iterator[tuple[Operation, Operation]]:
    """Expire and cancel what would be open twice once two accounts are one; pure.

    Args:
        standing: The open operations of both accounts.
        former: The account that is handed over.
        now: In Unix seconds.

    Yields:
        The operations that change, each as it stands and as it is to stand.

    Raises:
        OperationError: `NUMBER_BUSY`, two that a person has agreed to are open on one number.
    """
    current = [(row, moves.expire(row, now)) for row in standing]
    yield from ((row, expired) for row, expired in current if expired != row)
    still_open = [row for row, expired in current if expired.state in OPEN]
    theirs = [row for row in still_open if row.account == former]
    ours = [row for row in still_open if row.account != former]
    for one in theirs:
        for other in ours:
            if _clash(one, other):
                yielding = next((row for row in (one, other) if row.state is State.PROPOSED), None)
                if yielding is None:
                    raise _busy(one, other)
                yield yielding, moves.end(yielding, now, State.CANCELLED, reason=_GIVES_WAY, code=SUPERSEDED)


def require_environment(operations: Iterable[Operation], environment: Environment) -> None:
    """Raise unless all operations are of that environment: live money is never counted for a test key.

    Raises:
        OperationError: `OTHER_ENVIRONMENT`.
    """
    for operation in operations:
        if operation.quote.environment != environment:
            raise OperationError(
                f"Operations of that account are {operation.quote.environment}, and this key is {environment}; "
                "nothing was handed over.",
                code="OTHER_ENVIRONMENT",
            )


def nothing_to_adopt() -> OperationError:
    """Return the error that an account has no operations here."""
    return OperationError(
        "This journal has no operations of that account; nothing was handed over.", code="NOTHING_TO_ADOPT"
    )


def _clash(one: Operation, other: Operation) -> bool:
    if one.e164 != other.e164:
        return False
    both_in_flight = {one.state, other.state} <= IN_FLIGHT
    return both_in_flight or (one.principal, one.action) == (other.principal, other.action)


def _busy(one: Operation, other: Operation) -> OperationError:
    return OperationError(
        f"{one.e164} is being acted on under both accounts, by {one.id} and by {other.id}; nothing was handed over. "
        "Wait until one of them has ended.",
        code="NUMBER_BUSY",
    )
