"""What the journal knows of each number: who bought it, what was set last, whether it was given up.

Read page by page; only the newest of each is kept.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Any, Final

from kros_mcp.operations.acts import charge, routing
from kros_mcp.operations.acts.purchase import NEVER_LISTED
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.operations.policy import LISTING_LAG_SECONDS

RECENT_SECONDS: Final = 7 * 86_400.0
"""For how long a correction is reported."""
_OVERDUE_SECONDS: Final = 2 * LISTING_LAG_SECONDS
"""How late a look may be before no server seems to look; its settings come first, for as long as a list may lag."""
BILLED_SECONDS: Final = 30 * 86_400.0
"""For how long another charge than was shown is reported of a number that was given up since."""
STATES = (State.DONE, State.FAILED, State.UNKNOWN, State.SENDING, State.CONFIRMED)
"""The states that say something of a number; what was never confirmed says nothing."""


@dataclass
class NumberHistory:
    """What is known of one number of this account."""

    bought: Operation | None = None
    released: Operation | None = None
    doubtful: Operation | None = None
    """The newest purchase that was sent, or may be, and is not known as done."""
    giving_up: Operation | None = None
    """A release that is under way, or whose outcome is unknown."""
    not_released: Operation | None = None
    """The newest release that was sent and counts as failed."""
    settings: dict[str, tuple[Any, Operation]] = field(default_factory=dict)
    """What each setting was set to, and by which operation."""
    elsewhere: Operation | None = None
    """The newest purchase or release of it under another key of the same journal."""

    @property
    def held(self) -> Operation | None:
        """The purchase by which the account has the number, unless it was given up since."""
        bought, released = self.bought, self.released
        given_up = bought is not None and released is not None and effective_at(released) >= effective_at(bought)
        return None if given_up else bought


@dataclass
class History:
    """The numbers by E.164, and the operations of this account that are still open, corrected or charged otherwise."""

    numbers: dict[str, NumberHistory] = field(default_factory=dict)
    open: list[Operation] = field(default_factory=list)
    corrected: list[Operation] = field(default_factory=list)
    charged_otherwise: list[Operation] = field(default_factory=list)
    """The purchases of which KrosAI has reported another charge than was shown."""

    def otherwise(self, now: float) -> list[Operation]:
        """Return the purchases charged otherwise that still matter: of a number that is held, or of the last month."""
        return [
            one
            for one in self.charged_otherwise
            if now - effective_at(one) < BILLED_SECONDS or _is_one(self.of(one.e164).held, one)
        ]

    def of(self, e164: str) -> NumberHistory:
        """Return what is known of a number, which may be nothing."""
        return self.numbers.get(e164, NumberHistory())


async def read_history(
    operations: AsyncIterable[Operation], *, account: str, environment: str, currency: str = ""
) -> History:
    """Return what operations, oldest first, say of each number.

    Args:
        operations: Those in `STATES`, of every account: another key's purchases explain what this one's do not.
        account: This account.
        environment: Live or test; another key of the other kind has other numbers.
        currency: The operator's label of amounts, or empty.
    """
    history = History()
    async for operation in operations:
        if operation.action.is_several:  # what is done under its yes are operations of their own
            if operation.account == account and operation.state is State.CONFIRMED:
                history.open.append(operation)
            continue
        known = history.numbers.setdefault(operation.e164, NumberHistory())
        if operation.account == account:
            _add(known, operation)
            if operation.state in {State.UNKNOWN, State.SENDING, State.CONFIRMED}:
                history.open.append(operation)
            if operation.corrected_at is not None:
                history.corrected.append(operation)
            if charge.is_otherwise(operation, currency):
                history.charged_otherwise.append(operation)
        elif operation.state is State.DONE and operation.quote.environment == environment:
            known.elsewhere = known.elsewhere if operation.action is Action.CONFIGURE else operation
    return history


def effective_at(operation: Operation) -> float:
    """Return when an operation took effect, as nearly as the journal knows."""
    return operation.settled_at or operation.sent_at or operation.created_at


def _is_one(held: Operation | None, operation: Operation) -> bool:
    return held is not None and held.id == operation.id


def _add(known: NumberHistory, operation: Operation) -> None:
    done = operation.state is State.DONE
    if operation.action.charges:
        if done:
            known.bought = operation
            known.settings.clear()
            _add_settings(known, operation)
        elif operation.sent_at is not None or operation.state is State.SENDING:
            known.doubtful = operation
    elif operation.action is Action.RELEASE:
        if done:
            known.released = operation
        elif operation.state in {State.UNKNOWN, State.SENDING}:
            known.giving_up = operation
        elif operation.state is State.FAILED and operation.sent_at is not None:
            known.not_released = operation
    elif done:
        _add_settings(known, operation)


def _add_settings(known: NumberHistory, operation: Operation) -> None:
    target = routing.still_wanted(operation)
    for name in routing.names(target):
        known.settings[name] = (routing.once_set(target, name), operation)


def was_corrected_recently(operation: Operation, now: float) -> bool:
    """Whether it was corrected, after another outcome had been reported, within `RECENT_SECONDS`."""
    return operation.corrected_at is not None and now - operation.corrected_at < RECENT_SECONDS


def is_watched(operation: Operation, now: float) -> bool:
    """Whether a server looks again at what is settled, and looks in time."""
    return operation.look_at is not None and now - operation.look_at < _OVERDUE_SECONDS


def is_named_but_not_listed(operation: Operation) -> bool:
    """Whether it is a purchase that counts as done and that KrosAI has not listed since, as far as anybody looked."""
    done = operation.action.charges and operation.state is State.DONE
    return done and (operation.look_at is not None or NEVER_LISTED in operation.note)
