"""The fixed sequence: claim, re-read, write down that it is sent, send once, settle.

This is the one place where money is spent and numbers are given up.
"""

import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from kros_mcp.errors import (
    ApiError,
    JournalError,
    KrosError,
    NotSentError,
    OperationError,
    OutcomeUnknownError,
    RateLimitError,
    RefusedError,
)
from kros_mcp.krosai.orders import Changes, Order, Written
from kros_mcp.krosai.owned import find_owned
from kros_mcp.krosai.patience import within
from kros_mcp.krosai.wire import AvailableNumber, PhoneNumber
from kros_mcp.money import show_price
from kros_mcp.operations import model, policy, routing
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.finishing import bought, finish_purchase, released
from kros_mcp.operations.journal import missing
from kros_mcp.operations.model import LEASE_SECONDS, Action, Channel, Operation, Outcome, State
from kros_mcp.operations.policy import Books
from kros_mcp.operations.spending import read_run_rate

logger = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
REREAD_SECONDS = 20.0
NOT_SENT_SECONDS = 10.0
SETTLE_PAUSES_SECONDS = (0.0, 0.2, 1.0, 3.0)


@dataclass(frozen=True)
class Yes:
    """A person's yes inside the conversation; `by` says how it came."""

    by: str


class Lease:
    """How long this process may still send, on a clock that a suspended machine does not stop."""

    def __init__(self, token: int, since: float) -> None:
        self.token = token
        self.renewed(since)

    def renewed(self, since: float) -> None:
        """Count the lease's time anew, from before the journal was asked to prolong it."""
        self._until = since + LEASE_SECONDS

    def lose(self) -> None:
        """Another process has taken over: nothing may be sent any more."""
        self._until = -math.inf

    def require(self) -> None:
        """Raise just before the bytes leave if the lease has run out.

        Raises:
            NotSentError: Somebody else may have taken over; nothing was sent.
        """
        if clock() >= self._until:
            raise NotSentError("The server was held up for too long, so nothing was sent.", code="INTERRUPTED")


async def execute(desk: Desk, operation_id: str, yes: Yes | None) -> Operation:
    """Carry one operation out, from its claim to its outcome.

    Args:
        desk: The account's resources.
        operation_id: The operation; `proposed` with a yes, or `confirmed` without.
        yes: The yes that was just given, or None if an approver gave it earlier.

    Returns:
        The operation as settled; `failed` if the claim was refused.

    Raises:
        OperationError: It was claimed by another, or ended before.
        JournalError: Nothing could be written, so nothing was sent.
    """
    since = clock()
    operation = await _claim(desk, operation_id, yes)
    if operation.state is not State.SENDING:
        return operation
    async with _renewed_lease(desk, operation, since) as lease:
        try:
            subject = await _reread(desk, operation)
            since = clock()
            operation = await desk.journal.change(
                operation.id, lambda current, now: model.mark_sent(current, now, token=lease.token)
            )
        except KrosError as exc:
            return await _settle(desk, operation, State.FAILED, **_told(exc))
        lease.renewed(since)
        outcome = await _send(desk, operation, subject, lease)
        operation = await _settle_surely(desk, operation, outcome)
    return await finish_purchase(desk, operation)


async def _claim(desk: Desk, operation_id: str, yes: Yes | None) -> Operation:
    operation = await desk.journal.get(operation_id)
    if operation is None or operation.account != desk.account:
        raise missing(operation_id)
    run_rate = None
    if operation.action is Action.BUY and desk.settings.monthly_commitment_cents is not None:
        with within(REREAD_SECONDS):
            run_rate = await read_run_rate(desk)

    def claim(current: Operation, now: float, books: Books) -> Operation:
        waits_for = State.CONFIRMED if yes is None else State.PROPOSED
        if current.state is not waits_for or (yes is not None and current.channel is Channel.APPROVER):
            raise model.past(current)
        try:
            policy.check(desk.settings, current, books, run_rate)
        except RefusedError as exc:
            return model.end(current, now, State.FAILED, reason=exc.message, code=exc.code, next_step=exc.next_step)
        reserved = policy.reserved_cents(desk.settings, current)
        return model.claim(current, now, reserved_cents=reserved, by=yes.by if yes else "")

    since = run_rate.read_at if run_rate else await desk.journal.now()
    return await desk.journal.claim(operation_id, claim, committed_since=since)


async def _reread(desk: Desk, operation: Operation) -> AvailableNumber | PhoneNumber:
    """Read again what the act is about; anything that differs from what was shown stops it unspent."""
    with within(REREAD_SECONDS):
        if operation.action is Action.BUY:
            return await _reread_for_sale(desk, operation)
        number = await desk.client.get_number(operation.request.number_id)
    if number.e164 != operation.e164:
        raise OperationError(
            f"KrosAI's record is no longer {operation.e164}; nothing was changed.",
            code="NUMBER_CHANGED",
            next_step="List the phone numbers again before going on.",
        )
    if operation.action is Action.RELEASE and (number.status == "inactive") != operation.request.released:
        raise OperationError(
            f"{operation.e164} was released or taken back by somebody else meanwhile; nothing was changed now.",
            code="ALREADY_RELEASED" if number.status == "inactive" else "NUMBER_CHANGED",
            next_step="List the phone numbers again before going on.",
        )
    return number


async def _reread_for_sale(desk: Desk, operation: Operation) -> AvailableNumber:
    quote = operation.quote
    found = await desk.find_for_sale(operation, seconds=REREAD_SECONDS / 2)
    if found.item is None:
        raise OperationError(
            f"{operation.e164} was not seen among the numbers for sale just before buying; nothing was charged.",
            code="NOT_SEEN",
            next_step="Search again and offer a number from the new result.",
        )
    item = found.item
    shown = (quote.setup_cents, quote.monthly_cents, quote.due_now_cents)
    if (item.setup_cents, item.monthly_cents, item.due_now_cents) != shown:
        currency = desk.settings.currency
        raise OperationError(
            f"The price of {operation.e164} has changed since it was shown: it was "
            f"{show_price(quote.due_now_cents, quote.monthly_cents, currency)} and is now "
            f"{show_price(item.due_now_cents, item.monthly_cents, currency)}. Nothing was charged.",
            code="PRICE_CHANGED",
            next_step="Call again with the same arguments to ask the person at the new price.",
        )
    return item


async def _send(
    desk: Desk, operation: Operation, subject: AvailableNumber | PhoneNumber, lease: Lease
) -> dict[str, Any]:
    """Send one request under the operation's own key, and say what settles it."""
    try:
        written = await _until_sent(desk, operation, subject, lease)
    except (NotSentError, ApiError) as exc:
        return {"state": State.FAILED, **_told(exc)}
    except KrosError as exc:
        return {"state": State.UNKNOWN, **_told(exc)}
    except Exception:
        logger.exception("operation %s: unexpected failure while sending", operation.id)
        return {
            "state": State.UNKNOWN,
            **_told(OutcomeUnknownError("The server failed while waiting for KrosAI.")),
        }
    try:
        return await _read_outcome(desk, operation, written)
    except KrosError as exc:
        return {"state": State.UNKNOWN, **_told(exc)}
    except Exception:
        logger.exception("operation %s: unexpected failure after sending", operation.id)
        return {
            "state": State.UNKNOWN,
            **_told(OutcomeUnknownError("The server failed while reading KrosAI's answer.")),
        }


def _told(exc: KrosError) -> dict[str, str]:
    return {"error_code": exc.code, "message": exc.message, "next_step": exc.next_step}


async def _until_sent(
    desk: Desk, operation: Operation, subject: AvailableNumber | PhoneNumber, lease: Lease
) -> Written:
    """Send; try again under the same key only what certainly did not leave or was turned away by a 429."""
    give_up_at = clock() + NOT_SENT_SECONDS
    pause = 0.25
    while True:
        try:
            return await _send_once(desk, operation, subject, lease)
        except (NotSentError, RateLimitError) as exc:
            wait = exc.retry_after_seconds or pause if isinstance(exc, RateLimitError) else pause
            if exc.code == "INTERRUPTED" or clock() + wait >= give_up_at:
                raise
            await anyio.sleep(wait)
            pause *= 2


async def _send_once(desk: Desk, operation: Operation, subject: AvailableNumber | PhoneNumber, lease: Lease) -> Written:
    client, request, key = desk.client, operation.request, operation.id
    if isinstance(subject, AvailableNumber):
        order = Order(
            inventory_id=subject.inventory_id,
            endpoint_id=request.endpoint_id or None,
            # Sent only where it departs from the documented default: one dialect does not know the field.
            allow_inbound=request.allow_inbound if request.allow_inbound is False else None,
            allow_outbound=request.allow_outbound if request.allow_outbound is False else None,
            setup_cents=operation.quote.setup_cents,
            monthly_cents=operation.quote.monthly_cents,
            total_cents=operation.quote.due_now_cents,
        )
        return await client.purchase(order, idempotency_key=key, gate=lease.require)
    if operation.action is Action.RELEASE:
        return await client.release_number(
            subject.id, permanent=request.permanent, idempotency_key=key, gate=lease.require
        )
    wanted = routing.wanted(request)
    lacking: Changes = routing.missing(subject, wanted)
    changes = lacking if routing.names(lacking) else wanted
    return await client.update_number(subject.id, changes, idempotency_key=key, gate=lease.require)


async def _read_outcome(desk: Desk, operation: Operation, written: Written) -> dict[str, Any]:
    """Read KrosAI's state after a 2xx: a purchase is done only if its number is named or seen owned."""
    if operation.action is Action.BUY:
        return await _bought(desk, operation, written)
    if operation.action is Action.CONFIGURE:
        return await _configured(desk, operation)
    try:
        reading = await find_owned(desk.client, number_id=operation.request.number_id)
    except KrosError:
        if written.body == "other":
            raise
        return {"state": State.DONE}
    if not released(operation, reading.number):
        raise OutcomeUnknownError("KrosAI accepted the release, and still shows the number as it was.")
    return {"state": State.DONE, "number": routing.shown(reading.number) if reading.number else None}


async def _bought(desk: Desk, operation: Operation, written: Written) -> dict[str, Any]:
    number = written.number if written.number and written.number.e164 == operation.e164 else None
    if number is None and written.e164 == operation.e164:
        return bought(operation, None, desk.settings.currency)
    if number is None:
        number = (await find_owned(desk.client, e164=operation.e164)).number
    if number is None or number.status == "inactive":
        raise OutcomeUnknownError("KrosAI answered the purchase without naming the number.")
    return bought(operation, number, desk.settings.currency)


async def _configured(desk: Desk, operation: Operation) -> dict[str, Any]:
    number = await desk.client.get_number(operation.request.number_id)
    target = routing.wanted(operation.request)
    applied = await routing.apply(desk.client, number, target, key=f"{operation.id}-again")
    return {"state": State.DONE, "number": routing.shown(applied.number), "not_applied": applied.not_applied}


async def _settle(desk: Desk, operation: Operation, state: Outcome, **changes: Any) -> Operation:  # noqa: ANN401 - fields of Operation
    """Write the outcome down; if another process has taken over, its word stands."""
    token = operation.token
    try:
        return await desk.journal.change(
            operation.id,
            lambda current, now: model.settle(current, now, token=token, state=state, **changes),
        )
    except OperationError:
        logger.warning("operation %s: taken over by another process before it was settled", operation.id)
        return await desk.journal.get(operation.id) or operation


async def _settle_surely(desk: Desk, operation: Operation, outcome: dict[str, Any]) -> Operation:
    """Settle after sending; a journal that fails now is tried again, and never called unspent."""
    for pause in SETTLE_PAUSES_SECONDS:
        await anyio.sleep(pause)
        try:
            return await _settle(desk, operation, **outcome)
        except JournalError as exc:
            logger.warning("operation %s: outcome not yet written: %s", operation.id, exc.message)
    raise OutcomeUnknownError(
        "The request was sent, and its outcome could not be written to the journal.",
        operation_id=operation.id,
    )


@asynccontextmanager
async def _renewed_lease(desk: Desk, operation: Operation, since: float) -> AsyncIterator[Lease]:
    lease = Lease(operation.token, since)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep, desk, operation.id, lease)
        try:
            yield lease
        except Exception as exc:  # noqa: BLE001 - raised again below, where the task group cannot wrap it
            failure = exc
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _keep(desk: Desk, operation_id: str, lease: Lease) -> None:
    """Renew the lease until cancelled; a lease that another process has ended is lost at once."""
    while True:
        await anyio.sleep(RENEW_SECONDS)
        since = clock()
        try:
            await desk.journal.change(operation_id, lambda current, now: model.renew(current, now, token=lease.token))
        except OperationError:
            lease.lose()
            return
        except KrosError as exc:
            logger.warning("operation %s: lease not renewed: %s", operation_id, exc.code)
        except Exception:
            logger.exception("operation %s: lease not renewed", operation_id)
        else:
            lease.renewed(since)


def clock() -> float:
    """Give seconds on a clock that goes on while the machine is suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
