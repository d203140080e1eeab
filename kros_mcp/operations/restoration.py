"""What a journal that was put back from a copy does not know any more; pure.

What waited may have been carried out since, and what was being sent has ended one way or the other. Numbers that were
bought after the copy was taken are entered from what KrosAI shows, so that the budgets count them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kros_mcp.krosai import PhoneNumber, was_never_owned
from kros_mcp.operations import moves
from kros_mcp.operations.acts import routing
from kros_mcp.operations.model import (
    IN_FLIGHT,
    WAITING,
    Action,
    Operation,
    Quote,
    Request,
    Settlement,
    State,
    new_operation_id,
)
from kros_mcp.settings import Environment

PRINCIPAL = "unknown"
"""Who bought what was entered: the journal that knew is gone."""
SLACK_SECONDS = 300.0
"""How far KrosAI's clock may be behind, where it dates a record before the copy that does not know it."""
_DAY_CHARACTERS = len("2027-01-15")
_NOTE = "Entered by kros-mcp reconcile after the journal was restored from a copy that does not know of it."


def ended(operation: Operation, now: float) -> Operation:
    """End what waited, and call unknown what was being sent."""
    if operation.state in WAITING:
        message = "The journal was restored from a copy while this waited for its yes."
        return replace(operation.to(State.EXPIRED), settled_at=now, message=message)
    token = operation.token + 1
    sent_at = operation.sent_at or operation.claimed_at or now
    settlement = Settlement(
        State.UNKNOWN,
        code="RESTORED",
        message="The journal was restored from a copy that was taken while this was being carried out.",
    )
    return moves.settle(replace(operation, token=token, sent_at=sent_at), now, settlement, token=token)


def unknown_to(operations: Sequence[Operation], number: PhoneNumber, copied_at: float) -> bool:
    """Whether a copy of the journal knows nothing of the purchase of a record, and it was or may have been charged.

    Args:
        operations: What it has of that number and account.
        number: The record. One that lives and has no readable date may be new.
        copied_at: The last time in the copy.
    """
    created = _seconds(number.created_at)
    if created is not None and created < copied_at - SLACK_SECONDS:
        return False
    if number.has_ended and (created is None or was_never_owned(number.status)):
        return False
    purchases = [one for one in operations if one.action is Action.BUY]
    if any(one.state in IN_FLIGHT for one in purchases):
        return False
    return not any(one.state is State.DONE and _may_be(one, number) for one in purchases)


def entered(
    number: PhoneNumber, now: float, *, account: str, environment: Environment, unpriced_cents: int
) -> Operation:
    """Make the purchase of a number that the journal does not know.

    Args:
        number: The record, as KrosAI shows it by itself.
        now: The journal's time.
        account: Whose it is.
        environment: Where its money moved.
        unpriced_cents: What to set aside where KrosAI does not state the price a month.
    """
    created = _seconds(number.created_at)
    bought_at = now if created is None else min(created, now)
    setup, monthly = number.setup_cents, number.monthly_cents
    # Of a number that is owned KrosAI states the price a month, and as a rule no more what the setup cost.
    reserved = max(number.total_cents or 0, unpriced_cents if monthly is None else monthly + (setup or 0))
    due_now = None if setup is None else reserved
    return Operation(
        id=new_operation_id(),
        account=account,
        principal=PRINCIPAL,
        action=Action.BUY,
        e164=number.e164,
        request=Request(number_id=number.id, country=number.country or "", type=number.type or ""),
        quote=Quote(number.e164, number.country, environment, setup, monthly, due_now),
        created_at=bought_at,
        expires_at=bought_at,
        state=State.DONE,
        claimed_at=bought_at,
        reserved_cents=reserved,
        sent_at=bought_at,
        settled_at=bought_at,
        charged="yes",
        changed="yes",
        number=routing.stored(number),
        note=_NOTE,
    )


def given_up(purchase: Operation) -> Operation:
    """Make the release of a number that was bought and has ended again, both without the journal's knowledge."""
    return replace(
        purchase,
        id=new_operation_id(),
        action=Action.RELEASE,
        request=Request(number_id=purchase.request.number_id),
        reserved_cents=0,
        charged="no",
        number=None,
    )


def _may_be(operation: Operation, number: PhoneNumber) -> bool:
    """Whether a purchase may be that of a record: its own, or one of which no record was named."""
    return operation.number is None or operation.number.id in {"", number.id}


def _seconds(text: str | None) -> float | None:
    """Read a time of KrosAI, in UTC whether it says so or not; of a day alone its end; None if it is none."""
    try:
        read = datetime.fromisoformat(text or "")
        names_a_day = text is not None and len(text) <= _DAY_CHARACTERS
        read += timedelta(days=1) if names_a_day else timedelta()
    except (ValueError, OverflowError):
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
