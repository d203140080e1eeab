"""What is left to do once a number is bought.

It is read back: its settings are brought to what was asked, and a price other than the one shown is told and counted.
"""

import logging
from dataclasses import replace

from kros_mcp.errors import ApiError, KrosError, RateLimitError
from kros_mcp.krosai import PhoneNumber, Purpose, asked_for, find_owned, is_pending, within
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import charge, evidence, routing
from kros_mcp.operations.acts.base import later_acts
from kros_mcp.operations.model import Action, Operation, Settlement, State
from kros_mcp.operations.policy import LISTING_LAG_SECONDS
from kros_mcp.operations.schedule import watch_after
from kros_mcp.settings import Settings

logger = logging.getLogger(__name__)

SETTINGS_SECONDS = 30.0


def bought(settings: Settings, operation: Operation, number: PhoneNumber | None, *, seen: bool) -> Settlement:
    """Settle a purchase as done.

    Args:
        settings: For the currency's label, and how long after a purchase to look again.
        operation: The purchase.
        number: As KrosAI shows it; None if it named the E.164 alone.
        seen: Whether the account showed it, and not only the answer to the purchase.
    """
    target = routing.still_wanted(operation)
    lacking = routing.names(routing.missing(number, target) if number else target)
    noted = reported(replace(operation, note=""), number, settings.currency)
    return Settlement(
        State.DONE,
        number=noted.number,
        note=noted.note,
        reserved_cents=noted.reserved_cents,
        # What the answer alone says is read back; and a list may state no price, so that without one it is, too.
        settings_pending=bool(lacking) or not seen or number is None or number.monthly_cents is None,
        look_after=None if seen and _stays(number) else watch_after(settings.settle_seconds, 0.0),
    )


def reported(operation: Operation, number: PhoneNumber | None, label: str) -> Operation:
    """Write down how KrosAI shows a purchase now, tell what it reports otherwise than shown, and count the most of it.

    Args:
        operation: As it stands.
        number: As KrosAI shows it; None if it does not.
        label: The operator's label of amounts, or empty.
    """
    if number is None:
        return operation
    kept = charge.stored(number, operation.number)
    new = [each for each in charge.differences(operation.quote, kept, label) if f" {each}" not in operation.note]
    told = f"KrosAI now reports {', and '.join(new)}." if new else ""
    return replace(
        operation,
        number=kept,
        note=f"{operation.note} {told}".strip(),
        reserved_cents=max(operation.reserved_cents, charge.counted_cents(operation.quote, kept)),
    )


def _stays(number: PhoneNumber | None) -> bool:
    """Whether a number is the account's for good, as far as its record says: not ended, and not still an order."""
    return number is not None and not number.has_ended and not is_pending(number.status)


async def finish_purchase(account: Account, operation: Operation) -> Operation:
    """Read a done purchase back and set what it could not set by itself, unless somebody has chosen anew.

    Never raises for a failure on the way: the purchase is done whatever happens here, and what is left
    stays pending.
    """
    if operation.state is not State.DONE or not operation.settings_pending or account.settings.read_only:
        return operation
    try:
        with within(SETTINGS_SECONDS), asked_for(Purpose.ACT):
            read_at = await account.journal.now()
            number, not_applied = await _finish(account, operation)
        if number is None and await _may_be_listed_later(account, operation):
            return operation
        if number is not None:
            account.kept.saw([number], read_at, alone=True)
        return await _store(account, operation, number, not_applied)
    except KrosError as exc:
        logger.warning("operation %s: settings not finished yet: %s", operation.id, exc.code)
    except Exception:
        logger.exception("operation %s: unexpected failure while finishing", operation.id)
    return operation


async def _finish(account: Account, operation: Operation) -> tuple[PhoneNumber | None, tuple[str, ...]]:
    target = routing.still_wanted(operation)
    number = None if await _has_gone_on(account, operation) else await _read_back(account, operation)
    if number is None:
        return None, routing.names(target)
    lacking = routing.names(routing.missing(number, target))
    if routing.changed_by_others(operation, number):
        return number, lacking

    async def not_chosen_anew() -> bool:
        current = await account.journal.get(operation.id)
        return current is not None and current.settings_superseded == operation.settings_superseded

    try:
        applied = await routing.apply(
            account.client, number, target, key=f"{operation.id}-settings", go_on=not_chosen_anew
        )
    except RateLimitError:
        raise
    except ApiError as exc:
        logger.warning("operation %s: settings refused by KrosAI: %s", operation.id, exc.code)
        return number, lacking
    return applied.number, applied.not_applied


async def _has_gone_on(account: Account, operation: Operation) -> bool:
    """Whether the number was given up or bought again since, so that its settings are somebody else's."""
    return any(other.action is not Action.CONFIGURE for other in await later_acts(account, operation))


async def _may_be_listed_later(account: Account, operation: Operation) -> bool:
    """Whether a purchase that KrosAI does not show may only not be shown yet."""
    settled_at = operation.settled_at or 0.0
    return await account.journal.now() - settled_at < LISTING_LAG_SECONDS


async def _store(
    account: Account, operation: Operation, number: PhoneNumber | None, not_applied: tuple[str, ...]
) -> Operation:
    def store(current: Operation, now: float) -> Operation:
        del now
        read = replace(
            reported(current, number, account.settings.currency),
            look_at=None if _stays(number) else current.look_at,
        )
        if current.settings_superseded != operation.settings_superseded:  # chosen anew meanwhile: look again
            return read
        return replace(read, not_applied=not_applied, settings_pending=False)

    stored = await account.journal.change(operation.id, store)
    account.kept.acts += 1
    account.changes.of(stored)
    return stored


async def _read_back(account: Account, operation: Operation) -> PhoneNumber | None:
    named = operation.number.id if operation.number is not None else ""
    number = await _held(account, operation, named)
    if number is not None:
        return number
    # The id in the answer to the purchase may have been that of an order.
    listed = evidence.bought(operation, await find_owned(account.client, e164=operation.e164))
    return None if listed is None or listed.id == named else await _held(account, operation, listed.id)


async def _held(account: Account, operation: Operation, number_id: str) -> PhoneNumber | None:
    """Read the number of a purchase by an id; None if that is not of it."""
    if not number_id or evidence.was_owned_before(operation, number_id):
        return None
    number = (await find_owned(account.client, number_id=number_id)).living
    return number if number is not None and number.e164 == operation.e164 else None
