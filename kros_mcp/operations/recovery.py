"""What to make of an operation whose end nobody saw, or whose end was told too soon.

Recovery needs no network: an expired lease without `sent_at` is failed, with it unknown. Reconciling
asks KrosAI, and calls an act done or failed only on evidence; without evidence it stays unknown. What was sent and
is settled is watched for a day, and corrected where KrosAI shows something else.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio

from kros_mcp.krosai import PhoneNumber, counted, find_owned, has_ended, is_pending, was_turned_down
from kros_mcp.operations import evidence, model, moves, routing, schedule
from kros_mcp.operations.counting import change_counted
from kros_mcp.operations.desk import Desk
from kros_mcp.operations.journal import Move
from kros_mcp.operations.looks import Look, look
from kros_mcp.operations.model import Action, Operation, State

RECONCILE_EVERY_SECONDS = 2.0
_LOOKING_SECONDS = 60.0
"""For how long a look is left to the process that has begun it."""
_DONE = {Action.BUY: "bought", Action.RELEASE: "released", Action.CONFIGURE: "changed"}
NEVER_LISTED = "KrosAI has not listed the number within a day of its purchase: look in its dashboard."

Verdict = dict[str, Any] | None


async def recover(desk: Desk) -> tuple[Operation, ...]:
    """Take over what a stopped or frozen process of this account left in flight.

    Returns:
        What needs attention then; what was just found failed needs none any more.
    """
    now = await desk.journal.now()
    due = await desk.journal.due(desk.account)
    for operation in due:
        if moves.is_abandoned(operation, now):
            await change_counted(desk, operation.id, moves.recover)
    abandoned = any(moves.is_abandoned(operation, now) for operation in due)
    return await desk.journal.due(desk.account) if abandoned else due


async def reconcile(desk: Desk, operation: Operation) -> Operation:
    """Ask KrosAI how an unknown operation ended; at most once per two seconds, and as `schedule.may_search` says.

    Returns:
        The operation as it stands then: done, failed, or still unknown.

    Raises:
        KrosaiError: KrosAI could not be read; the operation stays unknown.
    """
    if operation.state is not State.UNKNOWN:
        return operation
    claimed = await _take_turn(desk, operation)
    if claimed is None:
        return operation
    verdict: Verdict = None
    with counted() as cost:
        try:
            verdict = await _verdict(desk, claimed)
        finally:

            def note(current: Operation, now: float) -> Operation:
                if current.state is not State.UNKNOWN:
                    return current
                age = now - (current.sent_at or now)
                again = schedule.search_after(current, age, cost.requests)
                noted = moves.looked(current, now, look_after=again, requests=cost.requests)
                return noted if verdict is None else moves.settle(noted, now, token=claimed.token, **verdict)

            with anyio.CancelScope(shield=True):  # a look that took too long must not be begun anew at once
                settled = await change_counted(desk, claimed.id, note)
    return settled


async def watch(desk: Desk, operation: Operation) -> Operation:
    """Look again at what was sent and is settled, and correct what KrosAI shows to be otherwise.

    Returns:
        The operation as it stands then.

    Raises:
        KrosaiError: KrosAI could not be read; what was told stands.
    """
    taken = await _take_watch(desk, operation)
    if taken is None:
        return operation
    age = await _age(desk, taken)
    again = schedule.watch_after(desk.settings.settle_seconds, age)
    found: Move | None = None
    with counted() as cost:
        try:
            found = await _watched(desk, taken, last=again is None)
        finally:

            def note(current: Operation, now: float) -> Operation:
                if current.state is not taken.state or current.look_at is None:
                    return current
                look_after = schedule.after_a_failed_look(again, age) if found is None else again
                noted = moves.looked(current, now, look_after=look_after, requests=cost.requests)
                return noted if found is None else found(noted, now)

            with anyio.CancelScope(shield=True):
                settled = await change_counted(desk, taken.id, note)
    return settled


async def _take_watch(desk: Desk, operation: Operation) -> Operation | None:
    """Note that this process looks now; None if another one does, or it is not time yet."""

    def may(current: Operation, now: float) -> bool:
        return current.look_at is not None and current.look_at <= now

    return await _take(desk, operation, may)


async def _take_turn(desk: Desk, operation: Operation) -> Operation | None:
    """Note that KrosAI is being asked now; None if it was asked just before, or too often to be asked again yet."""

    def may(current: Operation, now: float) -> bool:
        recently = current.checked_at is not None and 0 <= now - current.checked_at < RECONCILE_EVERY_SECONDS
        return not recently and schedule.may_search(current, now)

    return await _take(desk, operation, may, lambda current, now: replace(current, checked_at=now))


async def _take(
    desk: Desk,
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

    current = await desk.journal.change(operation.id, note)
    return current if taken else None


async def _verdict(desk: Desk, operation: Operation) -> Verdict:
    late = await _late_enough(desk, operation)
    begun = await desk.journal.now()
    seen = await look(desk, operation, late=late)
    if seen.outcome is not None:
        return seen.outcome
    if not late or not seen.conclusive:
        return None
    match operation.action:
        case Action.BUY:
            return await _not_bought(desk, operation, seen, begun)
        case Action.RELEASE:
            return await _not_released(desk, operation, seen)
        case Action.CONFIGURE:
            told = "KrosAI does not show the settings that were asked for, so they were not changed."
            return None if operation.accepted else _failed(told) | await _watch_on(desk, operation)


async def _not_bought(desk: Desk, operation: Operation, seen: Look, begun: float) -> Verdict:
    """Settle as failed what two readings show for sale, ten seconds apart.

    From the end of the first reading to the beginning (`begun`) of the second. An order that KrosAI accepted may
    still be carried out: it is called failed only where its own record has ended, or after a day. A record that has
    ended otherwise than an order does may be of a number that was bought, and given up since. Where another number was
    named, that one may have been charged.
    """
    ended = evidence.given_up_since(operation, seen.reading)
    rejected = ended is not None and was_turned_down(ended.status)
    if (ended is not None and not rejected) or operation.error_code == model.OTHER_NUMBER:
        return None
    may_come = await _age(desk, operation) < schedule.ACCEPTED_TIMES * desk.settings.settle_seconds
    if operation.accepted and may_come and not rejected:
        return None
    for_sale = (await desk.find_for_sale(operation)).item is not None
    first = operation.seen_unsold_at
    if for_sale and first is not None:
        if begun - first < schedule.SECOND_READING_SECONDS:
            return None
        told = "KrosAI does not list the number as owned and offers it for sale, so it was not bought."
        return _failed(told) | await _watch_on(desk, operation)
    if for_sale or first is not None:
        await desk.journal.change(
            operation.id, lambda current, now: replace(current, seen_unsold_at=now if for_sale else None)
        )
    return None


async def _not_released(desk: Desk, operation: Operation, seen: Look) -> Verdict:
    number = seen.reading.number
    unchanged = number is not None and (number.e164, number.status or "") == (operation.e164, operation.request.status)
    # An ended record that is only released once more shows nothing of it; a living one may still be released.
    may_come = operation.accepted and not has_ended(operation.request.status)
    if not unchanged or may_come:
        return None
    told = "KrosAI still shows the number as it was, so it was not released."
    return _failed(told) | await _watch_on(desk, operation)


async def _watch_on(desk: Desk, operation: Operation) -> dict[str, Any]:
    return {"look_after": schedule.watch_after(desk.settings.settle_seconds, await _age(desk, operation))}


async def _late_enough(desk: Desk, operation: Operation) -> bool:
    return operation.sent_at is not None and await _age(desk, operation) > desk.settings.settle_seconds


async def _age(desk: Desk, operation: Operation) -> float:
    """Return how many seconds have certainly passed since an operation was sent; 0 if it was not."""
    return 0.0 if operation.sent_at is None else await desk.journal.waited(operation)


def _failed(message: str) -> dict[str, Any]:
    return {
        "state": State.FAILED,
        "error_code": "NOT_DONE",
        "message": message,
        "next_step": "Ask the person whether to try again; it would be a new operation.",
    }


async def _watched(desk: Desk, operation: Operation, *, last: bool) -> Move:
    """Return what a look makes of an operation that is done or failed."""
    match operation.action, operation.state:
        case Action.BUY, State.DONE:
            return await _watched_purchase(desk, operation, last=last)
        case _, State.FAILED:
            return await _watched_failure(desk, operation)
        case _:
            return _no_more


async def _watched_purchase(desk: Desk, operation: Operation, *, last: bool) -> Move:
    """Look after a purchase that KrosAI named as bought and has not shown for good yet."""
    reading = await find_owned(desk.client, e164=operation.e164)
    record = evidence.bought(operation, reading)
    if record is not None:
        return _nothing_new if is_pending(record.status) else _seen(record)
    if await _later(desk, operation):  # given up, or bought again, by another operation since
        return _no_more
    conclusive = evidence.is_conclusive(operation, reading)
    was_an_order = is_pending((operation.number or {}).get("status"))
    if evidence.given_up_since(operation, reading) is not None or (was_an_order and conclusive):
        note = "KrosAI called it bought, and has ended its record since: whether it was charged is not known."
        return lambda current, now: moves.correct(current, now, state=State.UNKNOWN, note=note, look_after=0.0)
    if last and conclusive:
        return lambda current, _: replace(current, note=f"{current.note} {NEVER_LISTED}".strip())
    return _nothing_new


async def _watched_failure(desk: Desk, operation: Operation) -> Move:
    """Look after an act that was called not done; what shows it done corrects that."""
    seen = await look(desk, operation, late=True)
    if seen.outcome is None:
        return _nothing_new
    later = await _later(desk, operation)
    if any(other.state is State.DONE for other in later):  # it may have done what is seen
        return _no_more
    if later:
        return _nothing_new
    told = {name: value for name, value in seen.outcome.items() if name != "note"}
    corrected = f"It was called not done at first; KrosAI shows it {_DONE[operation.action]} after all."
    note = f"{corrected} {seen.outcome.get('note', '')}".strip()
    return lambda current, now: moves.correct(current, now, note=note, **told)


async def _later(desk: Desk, operation: Operation) -> tuple[Operation, ...]:
    """Return the operations that were sent after this one, bear on the same number, and are done or may be."""
    since = await desk.journal.sent_since(operation.account, operation.e164, operation.sent_at or 0.0)
    may_be_done = (each for each in since if each.id != operation.id and each.state in {State.DONE, *model.IN_FLIGHT})
    return tuple(each for each in may_be_done if evidence.touches_the_number(each))


def _seen(record: PhoneNumber) -> Move:
    def move(current: Operation, _: float) -> Operation:
        known = current.number if current.number and current.number.get("id") == record.id else routing.shown(record)
        return replace(current, look_at=None, number=known)

    return move


def _nothing_new(current: Operation, _: float) -> Operation:
    return current


def _no_more(current: Operation, _: float) -> Operation:
    return replace(current, look_at=None)
