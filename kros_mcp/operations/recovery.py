"""What to make of an operation whose end nobody saw, or whose end was told too soon.

Recovery needs no network: an expired lease without `sent_at` is failed, with it unknown. Reconciling
asks KrosAI, and calls an act done or failed only on evidence; without evidence it stays unknown. What was sent and
is settled is watched for a day, and corrected where KrosAI shows something else.
"""

from collections.abc import Callable
from dataclasses import replace

import anyio

from kros_mcp.krosai import counted
from kros_mcp.operations import moves, schedule
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import base
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Operation, Settlement, State

RECONCILE_EVERY_SECONDS = 2.0
_LOOKING_SECONDS = 60.0
"""For how long a look is left to the process that has begun it."""


async def recover(account: Account) -> tuple[Operation, ...]:
    """Take over what a stopped or frozen process of this account left in flight.

    Returns:
        What needs attention then; what was just found failed needs none any more.
    """
    now = await account.journal.now()
    due = await account.journal.due(account.id)
    for operation in due:
        if moves.is_abandoned(operation, now):
            await account.change(operation.id, moves.recover)
    abandoned = any(moves.is_abandoned(operation, now) for operation in due)
    return await account.journal.due(account.id) if abandoned else due


async def reconcile(account: Account, operation: Operation) -> Operation:
    """Ask KrosAI how an unknown operation ended; at most once per two seconds, and as `schedule.may_look` says.

    Returns:
        The operation as it stands then: done, failed, or still unknown.

    Raises:
        KrosaiError: KrosAI could not be read; the operation stays unknown.
    """
    if operation.state is not State.UNKNOWN:
        return operation
    claimed = await _take_turn(account, operation)
    if claimed is None:
        return operation
    settlement: Settlement | None = None
    with counted() as sent:
        try:
            settlement = await _settlement(account, claimed)
        finally:

            def note(current: Operation, now: float) -> Operation:
                if current.state is not State.UNKNOWN:
                    return current
                age = now - (current.sent_at or now)
                again = schedule.look_after_unknown(current, age, sent.requests)
                noted = moves.looked(current, now, look_after=again, requests=sent.requests)
                return noted if settlement is None else moves.settle(noted, now, settlement, token=claimed.token)

            with anyio.CancelScope(shield=True):  # a look that took too long must not be begun anew at once
                settled = await account.change(claimed.id, note)
    return settled


async def watch(account: Account, operation: Operation) -> Operation:
    """Look again at what was sent and is settled, and correct what KrosAI shows to be otherwise.

    Returns:
        The operation as it stands then.

    Raises:
        KrosaiError: KrosAI could not be read; what was told stands.
    """
    taken = await _take_watch(account, operation)
    if taken is None:
        return operation
    age = await base.age(account, taken)
    again = schedule.watch_after(account.settings.settle_seconds, age)
    found: Move | None = None
    with counted() as sent:
        try:
            found = await _watched(account, taken, last=again is None)
        finally:

            def note(current: Operation, now: float) -> Operation:
                if current.state is not taken.state or current.look_at is None:
                    return current
                look_after = schedule.after_a_failed_look(again, age) if found is None else again
                noted = moves.looked(current, now, look_after=look_after, requests=sent.requests)
                return noted if found is None else found(noted, now)

            with anyio.CancelScope(shield=True):
                settled = await account.change(taken.id, note)
    return settled


async def _take_watch(account: Account, operation: Operation) -> Operation | None:
    """Note that this process looks now; None if another one does, or it is not time yet."""

    def may(current: Operation, now: float) -> bool:
        return current.look_at is not None and current.look_at <= now and not must_wait(account, current, now)

    return await _take(account, operation, may)


async def _take_turn(account: Account, operation: Operation) -> Operation | None:
    """Note that KrosAI is being asked now; None if it was asked just before, or too often to be asked again yet."""

    def may(current: Operation, now: float) -> bool:
        recently = current.checked_at is not None and 0 <= now - current.checked_at < RECONCILE_EVERY_SECONDS
        return not recently and not must_wait(account, current, now) and schedule.may_look(current, now)

    return await _take(account, operation, may, lambda current, now: replace(current, checked_at=now))


def must_wait(account: Account, operation: Operation, now: float) -> bool:
    """Whether a look has to wait, as few of a day's requests are left."""
    return account.client.tally.is_sparing and schedule.is_too_soon(operation, now)


async def _take(
    account: Account,
    operation: Operation,
    may: Callable[[Operation, float], bool],
    noting: Move = lambda current, _: current,
) -> Operation | None:
    """Leave a look to this process for a while; None if it may not look, or the operation stands otherwise by now."""
    taken = False

    def note(current: Operation, now: float) -> Operation:
        nonlocal taken
        taken = current.state is operation.state and may(current, now)
        return replace(noting(current, now), look_at=now + _LOOKING_SECONDS) if taken else current

    current = await account.journal.change(operation.id, note)
    return current if taken else None


async def _settlement(account: Account, operation: Operation) -> Settlement | None:
    """Find out how an unknown operation ended; None if that is not known yet."""
    act, late = act_of(operation), await _late_enough(account, operation)
    begun = await account.journal.now()
    look = await act.look(account, operation, late=late)
    if look.settlement is not None or not late or not look.conclusive:
        return look.settlement
    return await act.not_done(account, operation, look, begun=begun)


async def _late_enough(account: Account, operation: Operation) -> bool:
    return operation.sent_at is not None and await base.age(account, operation) > account.settings.settle_seconds


async def _watched(account: Account, operation: Operation, *, last: bool) -> Move:
    """Return what a look makes of an operation that is done or failed."""
    if operation.state is State.FAILED:
        return await _watched_failure(account, operation)
    return await act_of(operation).watch(account, operation, last=last)


async def _watched_failure(account: Account, operation: Operation) -> Move:
    """Look after an act that was called not done; what shows it done corrects that."""
    act = act_of(operation)
    seen = (await act.look(account, operation, late=True)).settlement
    if seen is None:
        return base.nothing_new
    later = await base.later_acts(account, operation)
    if any(other.state is State.DONE for other in later):  # it may have done what is seen
        return base.no_more_looks
    if later:
        return base.nothing_new
    note = f"It was called not done at first; KrosAI shows it {act.wording.done} after all. {seen.note or ''}".strip()
    return lambda current, now: moves.correct(current, now, seen, note=note)
