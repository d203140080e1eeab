"""One request under the operation's own key, and what its answer settles.

A request that may have left is never called unsent, and what KrosAI says is not yet what happened: a refusal is
believed only after a look at what the account shows.
"""

import logging
import math
from http import HTTPStatus
from typing import Any

import anyio

from kros_mcp import telemetry
from kros_mcp.errors import (
    ApiError,
    AuthenticationError,
    InsufficientBalanceError,
    KrosError,
    KycError,
    NotSentError,
    OutcomeUnknownError,
    PathError,
    PermissionDeniedError,
    RateLimitError,
    SettingsError,
)
from kros_mcp.krosai import NumberForSale, Order, PhoneNumber, Routing, Written, counted, has_ended, is_pending
from kros_mcp.operations import evidence, looks, routing
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.finishing import bought, configured
from kros_mcp.operations.model import LEASE_SECONDS, OTHER_NUMBER, Action, Operation, State
from kros_mcp.operations.schedule import MOST_REQUESTS, search_after, watch_after
from kros_mcp.times import boot_clock as clock

logger = logging.getLogger(__name__)

NOT_SENT_SECONDS = 10.0
_SETTLES_AT_ONCE = (KycError, InsufficientBalanceError, AuthenticationError, PermissionDeniedError)
"""Refusals that come before an order is looked at, so that the account need not be: as the first answer."""


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


async def send(desk: Desk, operation: Operation, subject: NumberForSale | PhoneNumber, lease: Lease) -> dict[str, Any]:
    """Send one request under the operation's own key, and return what settles it, as fields of `moves.settle`."""
    with counted() as cost:
        outcome = await _outcome(desk, operation, subject, lease)
    if outcome["state"] is not State.UNKNOWN:
        return outcome
    costly = cost.requests > MOST_REQUESTS // 4  # looked at already, so not to be looked at again at once
    look_after = search_after(operation, 0.0, cost.requests) if costly else 0.0
    return outcome | {"looks": cost.requests, "look_after": look_after}


async def _outcome(
    desk: Desk, operation: Operation, subject: NumberForSale | PhoneNumber, lease: Lease
) -> dict[str, Any]:
    try:
        written = await _until_answered(desk, operation, subject, lease)
    except _DoneError as exc:
        return exc.outcome
    except (NotSentError, SettingsError, ApiError) as exc:
        return {"state": State.FAILED, **_watched(desk, operation, exc), **told(exc)}
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
    if operation.action is Action.BUY and _named(written) not in {None, operation.e164}:
        failure = OutcomeUnknownError(
            f"KrosAI answered the purchase with another number, {_named(written)}, which it may have charged instead.",
            code=OTHER_NUMBER,
            next_step="Look in KrosAI's dashboard which number was bought; nothing else can tell.",
        )
    return {"state": State.UNKNOWN, "accepted": _accepted(operation, written), **told(failure)}


def told(exc: KrosError) -> dict[str, str]:
    """Say what went wrong, in the fields of an operation."""
    return {"error_code": exc.code, "message": exc.message, "next_step": exc.next_step}


class _DoneError(Exception):
    """KrosAI turned the request away, and the account shows that it was carried out; has what settles it."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        super().__init__()
        self.outcome = outcome


def _watched(desk: Desk, operation: Operation, failure: KrosError) -> dict[str, Any]:
    """Look again later whether what was refused has happened all the same, where that can be seen."""
    if not isinstance(failure, ApiError) or evidence.stood_before(operation):
        return {}
    return {"look_after": watch_after(desk.settings.settle_seconds, 0.0)}


def _accepted(operation: Operation, written: Written) -> bool:
    """Whether an answer means that the act can no longer be called failed.

    Settings that are answered with 200 may have gone unheeded, as one dialect does with a spelling that it does
    not know; only a 202 says that they are to come. A record that has ended says that nothing is to come.
    """
    if operation.action is Action.CONFIGURE:
        return written.status == HTTPStatus.ACCEPTED
    if operation.action is Action.BUY and has_ended(written.record_status):
        return False
    return written.body != "other"


async def _until_answered(
    desk: Desk, operation: Operation, subject: NumberForSale | PhoneNumber, lease: Lease
) -> Written:
    """Send until KrosAI has answered: again only what certainly did not leave, and once after a 429.

    Raises:
        NotSentError: It never left.
        ApiError: KrosAI refused, and the account shows nothing of it.
        OutcomeUnknownError: Anything else; also a refusal of the repetition, since the first may have been heeded.
        _DoneError: KrosAI refused, and the account shows it done.
    """
    give_up_at = clock() + NOT_SENT_SECONDS
    pause = 0.25
    turned_away: RateLimitError | None = None
    while True:
        try:
            return await _send_once(desk, operation, subject, lease)
        except RateLimitError as exc:
            await _believe(desk, operation, exc, repeated=turned_away is not None)
            wait = exc.retry_after_seconds or pause
            if clock() + wait >= give_up_at:
                raise
            turned_away = exc
            telemetry.retried(exc)
        except NotSentError as exc:
            wait = pause
            hopeless = exc.code == "INTERRUPTED" or isinstance(exc, PathError)
            if hopeless or clock() + wait >= give_up_at:
                raise turned_away or exc from None
            telemetry.retried(exc)
        except ApiError as exc:
            await _believe(desk, operation, exc, repeated=turned_away is not None)
            raise
        await anyio.sleep(wait)
        pause *= 2


async def _believe(desk: Desk, operation: Operation, refusal: ApiError, *, repeated: bool) -> None:
    """Return if a refusal can be believed.

    Raises:
        OutcomeUnknownError: The account could not be looked at, or the first request may have been heeded.
        _DoneError: The account shows that it was carried out.
    """
    definite = isinstance(refusal, _SETTLES_AT_ONCE) or refusal.code == "MISSING_FIELDS"
    if definite and not repeated:
        return
    try:
        seen = await looks.look(desk, operation)
    except KrosError as exc:
        raise OutcomeUnknownError(
            "KrosAI turned the request away, and could not be read afterwards; whether it acted is not known yet."
        ) from exc
    if seen.outcome is not None and not evidence.stood_before(operation):
        raise _DoneError(seen.outcome)
    if repeated or not seen.conclusive:
        raise OutcomeUnknownError("KrosAI turned the request away; whether it acted before is not known yet.")


async def _send_once(desk: Desk, operation: Operation, subject: NumberForSale | PhoneNumber, lease: Lease) -> Written:
    client, request, key = desk.client, operation.request, operation.id
    if isinstance(subject, NumberForSale):
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
        return await client.purchase(order, idempotency_key=key, before_sending=lease.require)
    if operation.action is Action.RELEASE:
        return await client.release_number(
            subject.id, permanent=request.permanent, idempotency_key=key, before_sending=lease.require
        )
    wanted = routing.wanted(request)
    lacking: Routing = routing.missing(subject, wanted)
    changes = lacking if routing.names(lacking) else wanted
    return await client.update_number(subject.id, changes, idempotency_key=key, before_sending=lease.require)


async def _read_outcome(desk: Desk, operation: Operation, written: Written, lease: Lease) -> dict[str, Any]:
    """Read KrosAI's state after a 2xx: a purchase is done only if its number is named or seen owned."""
    if operation.action is Action.CONFIGURE:
        return await _configured(desk, operation, written, lease)
    if operation.action is Action.BUY and _is_final(operation, written):
        return bought(desk.settings, operation, written.number, seen=False)
    try:
        seen = await looks.look(desk, operation)
    except KrosError:
        unclear = written.body == "other" or written.contradicted or written.status == HTTPStatus.ACCEPTED
        if operation.action is Action.BUY or unclear:
            raise
        return {"state": State.DONE}
    if seen.outcome is not None:
        return seen.outcome
    if operation.action is Action.BUY:
        raise OutcomeUnknownError("KrosAI answered the purchase without plainly naming the number as bought.")
    raise OutcomeUnknownError("KrosAI accepted the release, and still shows the number as it was.")


def _is_final(operation: Operation, written: Written) -> bool:
    """Whether a 2xx says plainly that the number is bought: named, not by a record owned before, not still to come."""
    owned_before = written.number is not None and evidence.was_owned_before(operation, written.number.id)
    to_come = written.status == HTTPStatus.ACCEPTED or is_pending(written.record_status)
    return (
        _named(written) == operation.e164
        and written.plain
        and not written.contradicted
        and not owned_before
        and not to_come
        and not has_ended(written.record_status)
    )


def _named(written: Written) -> str | None:
    return written.number.e164 if written.number is not None else written.e164


async def _configured(desk: Desk, operation: Operation, written: Written, lease: Lease) -> dict[str, Any]:
    number = await desk.client.get_number(operation.request.number_id)
    target = routing.wanted(operation.request)
    applied = await routing.apply(
        desk.client, number, target, key=f"{operation.id}-again", before_sending=lease.require
    )
    if applied.not_applied and (applied.deferred or written.status == HTTPStatus.ACCEPTED):
        raise OutcomeUnknownError("KrosAI accepted the change, and does not show it yet.")
    return configured(operation, applied)
