"""The fixed sequence: claim, re-read, write down that it is sent, send once, settle.

This is the one place where money is spent and numbers are given up.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from kros_mcp.errors import (
    JournalError,
    KrosError,
    OperationError,
    OutcomeUnknownError,
    RefusedError,
)
from kros_mcp.krosai import NumberForSale, PhoneNumber, find_owned, has_ended, within
from kros_mcp.money import show_price
from kros_mcp.operations import evidence, model, moves, policy
from kros_mcp.operations.counting import change_counted
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.events import PERSON, SERVER, By
from kros_mcp.operations.finishing import finish_purchase
from kros_mcp.operations.journal import missing
from kros_mcp.operations.model import Action, Channel, Operation, Outcome, Snapshot, State
from kros_mcp.operations.policy import Books
from kros_mcp.operations.proposal import already_owned, require_ready
from kros_mcp.operations.sending import Lease, send, told
from kros_mcp.operations.spending import read_run_rate
from kros_mcp.operations.steps import Step
from kros_mcp.times import boot_clock as clock

logger = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
REREAD_SECONDS = 20.0
SETTLE_PAUSES_SECONDS = (0.0, 0.2, 1.0, 3.0)


@dataclass(frozen=True)
class Yes:
    """A person's yes inside the conversation; `by` says how it came."""

    by: str


async def execute(
    desk: Desk, operation_id: str, yes: Yes | None, reach: Callable[[Step], None] = lambda _: None
) -> Operation:
    """Carry one operation out, from its claim to its outcome.

    Args:
        desk: The account's resources.
        operation_id: The operation; `proposed` with a yes, or `confirmed` without.
        yes: The yes that was just given, or None if an approver gave it earlier.
        reach: Hears of each step; it must neither wait nor raise.

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
    reach(Step.CLAIMED)
    async with _renewed_lease(desk, operation, since) as lease:
        try:
            subject, snapshot = await _reread(desk, operation)
            reach(Step.REREAD)
            since = clock()
            operation = await desk.journal.change(
                operation.id, lambda current, now: moves.mark_sent(current, now, token=lease.token, snapshot=snapshot)
            )
        except KrosError as exc:
            return await _settle(desk, operation, State.FAILED, **told(exc))
        lease.renewed(since)
        reach(Step.SENDING)
        outcome = await send(desk, operation, subject, lease)
        operation = await _settle_surely(desk, operation, outcome)
    if operation.state is State.DONE:
        reach(Step.DONE)
    return await finish_purchase(desk, operation)


async def _claim(desk: Desk, operation_id: str, yes: Yes | None) -> Operation:
    operation = await desk.journal.get(operation_id)
    if operation is None or operation.account != desk.account:
        raise missing(operation_id)
    own = desk.limits_of(operation.principal)
    run_rate = None
    if operation.action is Action.BUY and policy.needs_run_rate(desk.settings, operation.limits, own):
        with within(REREAD_SECONDS):
            run_rate = await read_run_rate(desk)

    def claim(current: Operation, now: float, books: Books) -> Operation:
        waits_for = State.CONFIRMED if yes is None else State.PROPOSED
        if current.state is not waits_for or (yes is not None and current.channel is Channel.APPROVER):
            raise model.past(current)
        try:
            _require_known(desk, current)
            if yes is not None and policy.needs_approver(desk.settings, current):
                raise _needs_approver(current)
            policy.check(desk.settings, current, books, run_rate, own)
        except RefusedError as exc:
            return moves.end(current, now, State.FAILED, reason=exc.message, code=exc.code, next_step=exc.next_step)
        reserved = policy.reserved_cents(desk.settings, current)
        return moves.claim(current, now, reserved_cents=reserved, by=yes.by if yes else "")

    since = (run_rate.read_at if run_rate else await desk.journal.now()) - policy.LISTING_LAG_SECONDS
    by = SERVER if yes is None else PERSON if yes.by == PERSON.channel else By(operation.principal, "code")
    operation = await desk.journal.claim(operation_id, claim, committed_since=since, by=by)
    desk.changes.of(operation)
    return operation


def _require_known(desk: Desk, operation: Operation) -> None:
    """Raise where this server knows the principal no more; what it cannot tell is left to one that can."""
    known = desk.knows(operation.principal)
    if known is None:
        raise OperationError(
            "Who asked for this is not known to this server; nothing was charged or changed.", code="NOT_PERMITTED"
        )
    if not known:
        raise RefusedError(
            "Whoever asked for this is not known to this service any more; nothing was charged or changed.",
            code="NOT_PERMITTED",
        )


def _needs_approver(operation: Operation) -> RefusedError:
    return RefusedError(
        f"An approver has to agree to {operation.e164}, and was not asked when this was shown; nothing was charged or "
        "changed.",
        code="APPROVAL_NEEDED",
        next_step="Call again with the same arguments, without confirmation_code, to ask an approver.",
    )


async def _reread(desk: Desk, operation: Operation) -> tuple[NumberForSale | PhoneNumber, Snapshot | None]:
    """Read again what the act is about; anything that differs from what was shown stops it unspent.

    Returns:
        What is to be bought, released or changed; and what KrosAI shows of it before that a purchase or change must
        add to.
    """
    with within(REREAD_SECONDS):
        if operation.action is Action.BUY:
            item = await _reread_for_sale(desk, operation)
            return item, await _reread_owned(desk, operation)
        number = await _reread_number(desk, operation)
        return number, evidence.snapshot_of_change(operation, number) if operation.action is Action.CONFIGURE else None


async def _reread_number(desk: Desk, operation: Operation) -> PhoneNumber:
    number = await desk.client.get_number(operation.request.number_id)
    if (number.id, number.e164) != (operation.request.number_id, operation.e164):
        raise OperationError(
            f"KrosAI's record is no longer {operation.e164}; nothing was changed.",
            code="NUMBER_CHANGED",
            next_step="List the phone numbers again before going on.",
        )
    if operation.action is Action.RELEASE and number.has_ended != has_ended(operation.request.status):
        raise OperationError(
            f"{operation.e164} was released or taken back by somebody else meanwhile; nothing was changed now.",
            code="ALREADY_RELEASED" if number.has_ended else "NUMBER_CHANGED",
            next_step="List the phone numbers again before going on.",
        )
    if operation.action is Action.RELEASE and (number.endpoint_id or "") != operation.request.routed_endpoint_id:
        raise OperationError(
            f"Calls to {operation.e164} go elsewhere than when its release was asked about; nothing was changed.",
            code="NUMBER_CHANGED",
            next_step="Ask the person again, with where its calls go now.",
        )
    if operation.action is Action.RELEASE:
        require_ready(number)
    return number


async def _reread_for_sale(desk: Desk, operation: Operation) -> NumberForSale:
    quote = operation.quote
    found = await desk.find_for_sale(operation, seconds=REREAD_SECONDS / 2)
    if found.item is None:
        raise OperationError(
            f"{operation.e164} was not seen among the numbers for sale just before buying; nothing was charged.",
            code="NOT_SEEN",
            next_step="Search again and offer a number from the new result.",
        )
    item = found.item
    if (item.setup_cents, item.monthly_cents, item.due_now_cents, item.currency or "") != quote.price:
        currency = desk.settings.currency
        raise OperationError(
            f"The price of {operation.e164} has changed since it was shown: it was "
            f"{show_price(quote.due_now_cents, quote.monthly_cents, currency)} and is now "
            f"{show_price(item.due_now_cents, item.monthly_cents, currency)}. Nothing was charged.",
            code="PRICE_CHANGED",
            next_step="Call again with the same arguments to ask the person at the new price.",
        )
    return item


async def _reread_owned(desk: Desk, operation: Operation) -> Snapshot:
    """Read what the account has of a number just before it is bought: a number that it owns is not bought."""
    reading = await find_owned(desk.client, e164=operation.e164)
    if reading.living is not None:
        raise already_owned(operation.e164)
    if not reading.complete:
        raise OperationError(
            f"KrosAI's list of owned numbers could not be read whole just before buying {operation.e164}, so it may be "
            "owned already; nothing was charged.",
            code="OWNED_NOT_READ",
            next_step="Ask the person whether to try again; it would be a new operation.",
        )
    return evidence.snapshot(reading)


async def _settle(desk: Desk, operation: Operation, state: Outcome, **changes: Any) -> Operation:  # noqa: ANN401 - fields of Operation
    """Write the outcome down; if another process has taken over, its word stands."""
    token = operation.token
    try:
        return await change_counted(
            desk,
            operation.id,
            lambda current, now: moves.settle(current, now, token=token, state=state, **changes),
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
            await desk.journal.change(operation_id, lambda current, now: moves.renew(current, now, token=lease.token))
        except OperationError:
            lease.lose()
            return
        except KrosError as exc:
            logger.warning("operation %s: lease not renewed: %s", operation_id, exc.code)
        except Exception:
            logger.exception("operation %s: lease not renewed", operation_id)
        else:
            lease.renewed(since)
