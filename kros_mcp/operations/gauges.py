"""What the gauges show of an account: what waits, what is unknown, since when, and what is left of the budget.

Where a server acts for several organizations, the gauges are those of all that are open together, under the name of its
own account: organizations are as many as callers name.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
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
        others: Returns the accounts of other organizations that are open.
    """

    def __init__(self, account: Account, others: Callable[[], Collection[Account]] = lambda: ()) -> None:
        self._account = account
        self._others = others
        self._next_at = 0.0

    async def look(self) -> None:
        """Set the gauges, if it is time.

        Raises:
            JournalError: The journal cannot be used.
        """
        if not telemetry.is_counting() or anyio.current_time() < self._next_at:
            return
        self._next_at = anyio.current_time() + LOOK_EVERY_SECONDS
        values = await _values(self._account)
        for other in self._others():
            values = _together(values, await _values(other))
        telemetry.set_gauges(values)


async def _values(account: Account) -> telemetry.GaugeValues:
    journal, settings = account.journal, account.settings
    now = await journal.now()
    books = await journal.books(account.id, "", committed_since=now)
    counts = await journal.open_counts(account.id)
    notices = await journal.outbox_counts(account=account.id)
    return telemetry.GaugeValues(
        account=account.id[:_SHORT],
        environment=settings.environment,
        waiting=counts.waiting,
        waiting_oldest_seconds=_age(now, counts.waiting_since),
        unknown=counts.unknown,
        unknown_oldest_seconds=_age(now, counts.unknown_since),
        budget_left_cents=max(0, settings.daily_budget_cents - books.spent_cents),
        requests_left=account.client.tally.left,
        notices_waiting=notices.waiting,
        notices_undelivered=notices.undelivered,
    )


def _together(values: telemetry.GaugeValues, others: telemetry.GaugeValues) -> telemetry.GaugeValues:
    """Add another account's; the requests that are left are those of the key, whose all of them are."""
    return replace(
        values,
        waiting=values.waiting + others.waiting,
        waiting_oldest_seconds=max(values.waiting_oldest_seconds, others.waiting_oldest_seconds),
        unknown=values.unknown + others.unknown,
        unknown_oldest_seconds=max(values.unknown_oldest_seconds, others.unknown_oldest_seconds),
        budget_left_cents=values.budget_left_cents + others.budget_left_cents,
        notices_waiting=values.notices_waiting + others.notices_waiting,
        notices_undelivered=values.notices_undelivered + others.notices_undelivered,
    )


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)
