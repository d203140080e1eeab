"""One request under the operation's own key, and what its answer settles.

A request that may have left is never called unsent, and only KrosAI's own word or sight settles it.
"""

import logging
import math
import time
from http import HTTPStatus
from typing import Any

import anyio

from kros_mcp import telemetry
from kros_mcp.errors import ApiError, KrosError, NotSentError, OutcomeUnknownError, RateLimitError
from kros_mcp.krosai.orders import Changes, Order, Written
from kros_mcp.krosai.owned import find_owned
from kros_mcp.krosai.wire import AvailableNumber, PhoneNumber
from kros_mcp.operations import routing
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.finishing import bought, configured, released, soft_released
from kros_mcp.operations.model import LEASE_SECONDS, Action, Operation, State

logger = logging.getLogger(__name__)

NOT_SENT_SECONDS = 10.0


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


async def send(
    desk: Desk, operation: Operation, subject: AvailableNumber | PhoneNumber, lease: Lease
) -> dict[str, Any]:
    """Send one request under the operation's own key, and say what settles it."""
    try:
        written = await _until_sent(desk, operation, subject, lease)
    except (NotSentError, ApiError) as exc:
        return {"state": State.FAILED, **told(exc)}
    except KrosError as exc:
        return {"state": State.UNKNOWN, **told(exc)}
    except Exception:
        logger.exception("operation %s: unexpected failure while sending", operation.id)
        return {
            "state": State.UNKNOWN,
            **told(OutcomeUnknownError("The server failed while waiting for KrosAI.")),
        }
    try:
        return await _read_outcome(desk, operation, written, lease)
    except KrosError as exc:
        failure = exc
    except Exception:
        logger.exception("operation %s: unexpected failure after sending", operation.id)
        failure = OutcomeUnknownError("The server failed while reading KrosAI's answer.")
    return {"state": State.UNKNOWN, "accepted": _accepted(operation, written), **told(failure)}


def _accepted(operation: Operation, written: Written) -> bool:
    """Tell whether an answer means that the act can no longer be called failed.

    Settings that are answered with 200 may have gone unheeded, as one dialect does with a spelling that it does
    not know; only a 202 says that they are to come.
    """
    if operation.action is Action.CONFIGURE:
        return written.status == HTTPStatus.ACCEPTED
    return written.body != "other"


def told(exc: KrosError) -> dict[str, str]:
    """Say what went wrong, in the fields of an operation."""
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
            telemetry.retried(exc)
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


async def _read_outcome(desk: Desk, operation: Operation, written: Written, lease: Lease) -> dict[str, Any]:
    """Read KrosAI's state after a 2xx: a purchase is done only if its number is named or seen owned."""
    if operation.action is Action.BUY:
        return await _bought(desk, operation, written)
    if operation.action is Action.CONFIGURE:
        return await _configured(desk, operation, written, lease)
    try:
        reading = await find_owned(desk.client, number_id=operation.request.number_id)
    except KrosError:
        if written.body == "other" or written.contradicted or written.status == HTTPStatus.ACCEPTED:
            raise
        return {"state": State.DONE}
    if not released(operation, reading.number):
        raise OutcomeUnknownError("KrosAI accepted the release, and still shows the number as it was.")
    return soft_released(operation, reading.number)


async def _bought(desk: Desk, operation: Operation, written: Written) -> dict[str, Any]:
    number = written.number if written.number and written.number.e164 == operation.e164 else None
    if number is None and written.e164 == operation.e164:
        return bought(operation, None, desk.settings.currency)
    if number is None:
        number = (await find_owned(desk.client, e164=operation.e164)).number
    if number is None or number.status == "inactive":
        raise OutcomeUnknownError("KrosAI answered the purchase without plainly naming the number.")
    return bought(operation, number, desk.settings.currency)


async def _configured(desk: Desk, operation: Operation, written: Written, lease: Lease) -> dict[str, Any]:
    number = await desk.client.get_number(operation.request.number_id)
    target = routing.wanted(operation.request)
    applied = await routing.apply(desk.client, number, target, key=f"{operation.id}-again", gate=lease.require)
    if applied.not_applied and (applied.deferred or written.status == HTTPStatus.ACCEPTED):
        raise OutcomeUnknownError("KrosAI accepted the change, and does not show it yet.")
    return configured(operation, applied)


def clock() -> float:
    """Give seconds on a clock that goes on while the machine is suspended."""
    # Linux counts sleep in CLOCK_BOOTTIME, macOS in CLOCK_MONOTONIC (but not in time.monotonic), Windows always.
    asleep_too = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if asleep_too is None else time.clock_gettime(asleep_too)
