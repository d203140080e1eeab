"""What the gauges show of an account: what waits, what is unknown, since when, and what is left of the budget."""

from typing import Final

import anyio

from kros_mcp import telemetry
from kros_mcp.operations.account import Account

LOOK_EVERY_SECONDS: Final = 10.0
_SHORT: Final = 8
"""Characters of the account's hash, as people see it in the books."""


class Gauges:
    """Looks into the journal every ten seconds, where anybody has configured metrics.

    Args:
        account: The account's resources.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._next_at = 0.0

    async def look(self) -> None:
        """Set the gauges, if it is time.

        Raises:
            JournalError: The journal cannot be used.
        """
        if not telemetry.is_counting() or anyio.current_time() < self._next_at:
            return
        self._next_at = anyio.current_time() + LOOK_EVERY_SECONDS
        journal, account, settings = self._account.journal, self._account.id, self._account.settings
        now = await journal.now()
        books = await journal.books(account, "", committed_since=now)
        counts = await journal.open_counts(account)
        telemetry.set_gauges(
            telemetry.GaugeValues(
                account=account[:_SHORT],
                environment=settings.environment,
                waiting=counts.waiting,
                waiting_oldest_seconds=_age(now, counts.waiting_since),
                unknown=counts.unknown,
                unknown_oldest_seconds=_age(now, counts.unknown_since),
                budget_left_cents=max(0, settings.daily_budget_cents - books.spent_cents),
                requests_left=self._account.client.tally.left,
            )
        )


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)
