"""One request under the operation's own key, and what its answer settles.

A request that may have left is never called unsent. A success that plainly names the number is believed, and watched
for a day; so are a few refusals (`_SETTLES_AT_ONCE`). Everything else is decided by what the account shows.
"""

import logging
from dataclasses import replace

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
from kros_mcp.krosai import Written, counted
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.base import Act, Prepared
from kros_mcp.operations.lease import Lease
from kros_mcp.operations.model import Operation, Settlement, State
from kros_mcp.operations.schedule import MOST_REQUESTS, look_after_unknown, watch_after
from kros_mcp.times import boot_clock as clock

logger = logging.getLogger(__name__)

NOT_SENT_SECONDS = 10.0
"""How long a request is tried again that has certainly not left, or that was answered 429."""
_SETTLES_AT_ONCE = (KycError, InsufficientBalanceError, AuthenticationError, PermissionDeniedError)
"""Refusals that are believed without reading the account, as KrosAI checks key, identity and credit before an order.

Only as the first answer: once a request was answered 429 and repeated, the account is read all the same.
"""


async def deliver(account: Account, act: Act, operation: Operation, prepared: Prepared, lease: Lease) -> Settlement:
    """Send the one request of an act under the operation's own key, and return what settles it; never raises.

    Args:
        account: The account's resources.
        act: What is done.
        operation: As it was marked as sent.
        prepared: The request.
        lease: Held meanwhile.
    """
    with counted() as sent:
        settlement = await _delivered(account, act, operation, prepared, lease)
    if settlement.state is not State.UNKNOWN:
        return settlement
    costly = sent.requests > MOST_REQUESTS // 4  # looked at already, so not to be looked at again at once
    look_after = look_after_unknown(operation, 0.0, sent.requests) if costly else 0.0
    return replace(settlement, requests=sent.requests, look_after=look_after)


async def _delivered(account: Account, act: Act, operation: Operation, prepared: Prepared, lease: Lease) -> Settlement:
    try:
        written = await _until_answered(account, act, operation, prepared, lease)
    except _DoneError as exc:
        return exc.settlement
    except (NotSentError, SettingsError, ApiError) as exc:
        # Where that can be seen, look again later whether what was refused has happened all the same.
        watched = isinstance(exc, ApiError) and not act.stood_before(operation)
        look_after = watch_after(account.settings.settle_seconds, 0.0) if watched else None
        return replace(Settlement.after(exc, State.FAILED), look_after=look_after)
    except KrosError as exc:
        return Settlement.after(exc, State.UNKNOWN)
    except Exception:
        logger.exception("operation %s: unexpected failure while sending", operation.id)
        return Settlement.after(OutcomeUnknownError("The server failed while waiting for KrosAI."), State.UNKNOWN)
    try:
        return await act.settle(account, operation, written, lease.require)
    except KrosError as exc:
        failure = exc
    except Exception:
        logger.exception("operation %s: unexpected failure after sending", operation.id)
        failure = OutcomeUnknownError("The server failed while reading KrosAI's answer.")
    failure = act.misled(operation, written) or failure
    return replace(Settlement.after(failure, State.UNKNOWN), accepted=act.is_accepted(operation, written))


class _DoneError(Exception):
    """KrosAI turned the request away, and the account shows that it was carried out; has what settles it."""

    def __init__(self, settlement: Settlement) -> None:
        super().__init__()
        self.settlement = settlement


async def _until_answered(
    account: Account, act: Act, operation: Operation, prepared: Prepared, lease: Lease
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
            return await prepared.send(lease.require)
        except RateLimitError as exc:
            await _require_not_done(account, act, operation, exc, repeated=turned_away is not None)
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
            await _require_not_done(account, act, operation, exc, repeated=turned_away is not None)
            raise
        await anyio.sleep(wait)
        pause *= 2


async def _require_not_done(
    account: Account, act: Act, operation: Operation, refusal: ApiError, *, repeated: bool
) -> None:
    """Return if a refusal can be believed.

    Raises:
        OutcomeUnknownError: The account could not be looked at, or the first request may have been heeded.
        _DoneError: The account shows that it was carried out.
    """
    definite = isinstance(refusal, _SETTLES_AT_ONCE) or refusal.code == "MISSING_FIELDS"
    if definite and not repeated:
        return
    try:
        look = await act.look(account, operation)
    except KrosError as exc:
        raise OutcomeUnknownError(
            "KrosAI turned the request away, and could not be read afterwards; whether it acted is not known yet."
        ) from exc
    if look.settlement is not None and not act.stood_before(operation):
        raise _DoneError(look.settlement)
    if repeated or not look.conclusive:
        raise OutcomeUnknownError("KrosAI turned the request away; whether it acted before is not known yet.")
