"""The moves that an operation can make; pure.

A move takes an operation and the journal's time, and returns the next operation or raises `OperationError`
and changes nothing. The journal runs each move inside one transaction, so that what a move checks still
holds when it is stored.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from kros_mcp.errors import Known, KrosError, OperationError
from kros_mcp.operations import schedule
from kros_mcp.operations.model import (
    IN_FLIGHT,
    LEASE_SECONDS,
    MAX_WRONG_CODES,
    MOST_REPEATS,
    WAITING,
    Channel,
    Operation,
    Settlement,
    Snapshot,
    State,
    effects,
    new_operation_id,
    past,
)
from kros_mcp.times import spoken_duration

_KNOWN: Final[dict[State, Known]] = {State.DONE: "yes", State.FAILED: "no", State.UNKNOWN: "unknown"}
"""What an outcome says of money and account."""
NOT_SHOWN: Final = "NOT_SHOWN"
"""The error code of an operation that ended because no browser opened the page that asks."""
NOT_BEGUN: Final = "NOT_BEGUN"
"""The error code of a batch's number whose turn did not come."""
_ASK_AGAIN: Final = "Ask again only if the person still wants it."


def expire(operation: Operation, now: float) -> Operation:
    """End an operation that waited too long for its yes; others are answered unchanged."""
    if operation.state in WAITING and now >= operation.expires_at:
        agreed = operation.state is State.CONFIRMED
        message = "It was approved, and no server began it in time." if agreed else "Nobody confirmed it in time."
        return replace(operation.to(State.EXPIRED), settled_at=now, message=message)
    return operation


def confirm(operation: Operation, now: float, *, by: str, reason: str = "") -> Operation:
    """A person outside the conversation says yes; a running server then claims it."""
    return replace(operation.to(State.CONFIRMED), confirmed_at=now, confirmed_by=by, reason=reason)


def shown(operation: Operation, now: float) -> Operation:
    """Write down that a browser has fetched the page that asks; the time tells which process did so last.

    Raises:
        OperationError: It is not to be asked there, or not any more.
    """
    if operation.state is not State.PROPOSED or operation.channel is not Channel.SCREEN:
        raise past(operation)
    return replace(operation, shown_at=now)


def unopened(operation: Operation, now: float, *, takes_codes: bool) -> Operation:
    """Ask in the conversation, or end what can be asked nowhere, as no browser has fetched the page.

    What has been shown meanwhile, here or by another process, is answered unchanged: it stays on the screen.
    """
    if operation.state is not State.PROPOSED or operation.channel is not Channel.SCREEN:
        return operation
    if operation.shown_at is not None:
        return operation
    if takes_codes:
        return replace(operation, channel=Channel.CODE)
    reason = "No browser opened the page that asks."
    next_step = f"Tell the person that they need a browser that opens here; kros-mcp doctor tries it. {_ASK_AGAIN}"
    return end(operation, now, State.CANCELLED, reason=reason, code=NOT_SHOWN, next_step=next_step)


def closed(operation: Operation, now: float, *, shown_at: float | None) -> Operation:
    """End what waits for a page of a process that ends; what another process has shown since stays.

    Args:
        operation: As it stands.
        now: The journal's time.
        shown_at: When a browser fetched the page of that process; None if none has.
    """
    waits = operation.state is State.PROPOSED and operation.channel is Channel.SCREEN
    if not waits or operation.shown_at != shown_at:
        return operation
    reason = "The server that asked on the screen has ended before the person answered."
    return end(operation, now, State.CANCELLED, reason=reason, next_step=_ASK_AGAIN)


def end(
    operation: Operation,
    now: float,
    state: Literal[State.DECLINED, State.CANCELLED, State.FAILED],
    *,
    reason: str,
    code: str = "",
    next_step: str = "",
) -> Operation:
    """End an operation that was never sent.

    Raises:
        OperationError: It was claimed already.
    """
    if operation.state not in WAITING:
        raise past(operation)
    ended = operation.to(state)
    return replace(ended, settled_at=now, message=reason, error_code=code, next_step=next_step)


def refuse(operation: Operation, now: float, error: KrosError) -> Operation:
    """Fail an operation that was never sent, as the error says.

    Raises:
        OperationError: It was claimed already.
    """
    return end(operation, now, State.FAILED, reason=error.message, code=error.code, next_step=error.next_step)


def ask_again(operation: Operation, now: float) -> Operation:
    """Count a call for what waits already; it changes nothing else."""
    del now
    if operation.state not in WAITING or operation.asked_again >= MOST_REPEATS:
        return operation
    return replace(operation, asked_again=operation.asked_again + 1)


def wrong_code(operation: Operation, now: float) -> Operation:
    """Count a wrong code; the fifth declines the operation."""
    counted = replace(operation, wrong_codes=operation.wrong_codes + 1)
    if counted.wrong_codes < MAX_WRONG_CODES:
        return counted
    return end(counted, now, State.DECLINED, reason="Five wrong confirmation codes were given.")


def claim(operation: Operation, now: float, *, reserved_cents: int, by: str = "") -> Operation:
    """Take the operation for sending, under a lease and a new fencing token."""
    return replace(
        operation.to(State.SENDING),
        claimed_at=now,
        confirmed_at=operation.confirmed_at or now,
        confirmed_by=operation.confirmed_by or by,
        reserved_cents=reserved_cents,
        lease_until=now + LEASE_SECONDS,
        token=operation.token + 1,
    )


def agree(
    batch: Operation, now: float, *, reserved_cents: Sequence[int], by: str = ""
) -> tuple[Operation, tuple[Operation, ...]]:
    """Take every number of a batch for sending, each as an operation of its own, under the batch's one yes.

    Args:
        batch: As it stands, with the yes that it was given before.
        now: The journal's time.
        reserved_cents: What is set aside for each number, in their order.
        by: How the yes came, if it was given just now.

    Returns:
        The batch as agreed to, and the operations of its numbers in their order.
    """
    named: dict[str, Any] = {"confirmed_at": batch.confirmed_at or now, "confirmed_by": batch.confirmed_by or by}
    agreed = replace(batch.to(State.DONE), settled_at=now, **named)
    fresh: dict[str, Any] = {"batch": batch.id, "asked_again": 0, "wrong_codes": 0}
    items = (replace(part, id=new_operation_id(), **fresh) for part in batch.parts)
    claimed = (claim(item, now, reserved_cents=cents, by=by) for item, cents in zip(items, reserved_cents, strict=True))
    return agreed, tuple(claimed)


def renew(operation: Operation, now: float, *, token: int) -> Operation:
    """Prolong a lease that is still held."""
    _require_lease(operation, now, token)
    return replace(operation, lease_until=now + LEASE_SECONDS)


def mark_sent(operation: Operation, now: float, *, token: int, snapshot: Snapshot | None = None) -> Operation:
    """Write down that the request is about to leave, under an unexpired token, and what KrosAI showed before it."""
    _require_lease(operation, now, token)
    charged, changed = effects(operation, "unknown")
    return replace(
        operation,
        sent_at=now,
        lease_until=now + LEASE_SECONDS,
        charged=charged,
        changed=changed,
        snapshot=snapshot,
    )


def settle(operation: Operation, now: float, settlement: Settlement, *, token: int) -> Operation:
    """Write down the outcome; a token that was fenced off changes nothing.

    Args:
        operation: As it stands.
        now: The journal's time.
        settlement: The outcome.
        token: The fencing token under which it was sent, or looked after.

    Raises:
        OperationError: Another process has taken the operation over.
    """
    if operation.token != token or operation.state not in IN_FLIGHT:
        raise past(operation)
    note = operation.note if settlement.note is None else settlement.note
    return replace(_settled(operation.to(settlement.state), now, settlement), note=note)


def leave(operation: Operation, now: float, settlement: Settlement) -> Operation:
    """Settle what was claimed and not sent: its sending finds its lease gone. Anything else stays as it is."""
    if operation.state is not State.SENDING or operation.sent_at is not None:
        return operation
    return settle(operation, now, settlement, token=operation.token)


def not_begun(operation: Operation, why: str) -> Settlement:
    """Return the outcome of a batch's number whose turn did not come: nothing of it was sent, and nothing will be."""
    return Settlement(
        State.FAILED,
        code=NOT_BEGUN,
        message=f"{operation.e164} was not begun, as {why}; nothing was charged or changed for it.",
        next_step="Tell the person; it is asked for anew only if they still want it.",
    )


def correct(operation: Operation, now: float, settlement: Settlement, *, note: str) -> Operation:
    """Write down that an outcome that was told is not what KrosAI shows: a "no" was a yes, or a yes may be none.

    A purchase that was called not bought counts in the books from now on, at the time of its claim.

    Args:
        operation: As it stands.
        now: The journal's time.
        settlement: The outcome as it is now: done after failed, or unknown after done.
        note: What to tell of it, beside what was noted before.

    Raises:
        OperationError: It has another outcome by now.
    """
    before = {State.DONE: State.FAILED, State.UNKNOWN: State.DONE}.get(settlement.state)
    if operation.state is not before or operation.sent_at is None:
        raise past(operation)
    corrected = _settled(operation, now, settlement)
    return replace(corrected, corrected_at=now, seen_unsold_at=None, note=_added(operation.note, note))


def looked(operation: Operation, now: float, *, look_after: float | None, requests: int) -> Operation:
    """Write down that KrosAI was looked at, what that cost, and when to look again."""
    look_at = None if look_after is None else now + look_after
    return replace(operation, look_at=look_at, looks=operation.looks + requests)


def settle_by_hand(
    operation: Operation,
    now: float,
    *,
    state: Literal[State.DONE, State.FAILED],
    by: str,
    reason: str,
    settle_seconds: float,
) -> Operation:
    """A person who has looked at KrosAI says how an unknown operation ended; what KrosAI then shows may correct it.

    Args:
        operation: As it stands.
        now: The journal's time.
        state: How it ended.
        by: Who says so.
        reason: How they know.
        settle_seconds: KROS_SETTLE_SECONDS.

    Raises:
        OperationError: Its outcome is not unknown, or `STILL_LOOKING`: the server may still find it out by itself.
    """
    if operation.state is not State.UNKNOWN:
        raise past(operation)
    age = now - (operation.sent_at or 0.0)
    if age < schedule.FOUND_OUT_FACTOR * settle_seconds:
        raise OperationError(
            f"Operation {operation.id} was sent {spoken_duration(age)} ago, and the server may still find out how it "
            "ended; nothing was written down.",
            code="STILL_LOOKING",
            next_step=f"Look again in {spoken_duration(schedule.FOUND_OUT_FACTOR * settle_seconds - age)}.",
            operation_id=operation.id,
        )
    look_after = schedule.watch_after(settle_seconds, age) or settle_seconds
    settlement = Settlement(
        state,
        note=_added(operation.note, f"Settled by {by}: {reason}"),
        settings_pending=state is State.DONE and operation.action.charges,
        look_after=look_after,
    )
    return settle(operation, now, settlement, token=operation.token)


def begun(operation: Operation) -> Operation:
    """Show an act that is under way as such, though its claim is not stored yet; shown only, never stored."""
    return replace(operation, state=State.SENDING) if operation.state in WAITING else operation


def is_abandoned(operation: Operation, now: float) -> bool:
    """Whether nobody holds its lease; one that reaches too far ahead was given by a clock set back since."""
    if operation.state is not State.SENDING or operation.lease_until is None:
        return False
    return not now < operation.lease_until <= now + LEASE_SECONDS


def recover(operation: Operation, now: float) -> Operation:
    """Take over an expired lease: never sent is failed, sent is unknown. Needs no network."""
    if not is_abandoned(operation, now):
        return operation
    taken = replace(operation, token=operation.token + 1)
    stopped = "The server stopped, or lost its journal, "
    settlement = (
        Settlement(State.FAILED, code="INTERRUPTED", message=f"{stopped}before the request was sent.")
        if operation.sent_at is None
        else Settlement(State.UNKNOWN, code="INTERRUPTED", message=f"{stopped}while the request was being sent.")
    )
    return settle(taken, now, settlement, token=taken.token)


def _settled(operation: Operation, now: float, settlement: Settlement) -> Operation:
    known, look_after = _KNOWN[settlement.state], settlement.look_after
    if settlement.state is State.UNKNOWN and look_after is None:
        look_after = 0.0
    charged, changed = effects(operation, known)
    reserved = settlement.reserved_cents
    return replace(
        operation,
        state=settlement.state,
        settled_at=None if settlement.state is State.UNKNOWN else now,
        lease_until=None,
        look_at=None if look_after is None else now + look_after,
        looks=operation.looks + settlement.requests,
        charged=charged,
        changed=settlement.changed or changed,
        error_code=settlement.code,
        message=settlement.message,
        next_step=settlement.next_step,
        number=settlement.number or operation.number,
        reserved_cents=operation.reserved_cents if reserved is None else reserved,
        settings_pending=settlement.settings_pending,
        not_applied=settlement.not_applied,
        accepted=operation.accepted or settlement.accepted,
    )


def _added(note: str, more: str) -> str:
    return f"{note} {more}".strip()


def _require_lease(operation: Operation, now: float, token: int) -> None:
    held = operation.state is State.SENDING and operation.token == token
    if not held or operation.lease_until is None or now >= operation.lease_until:
        raise past(operation)
