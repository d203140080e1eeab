"""The fixed sequence: claim, re-read, write down that it is sent, send once, settle.

This is the one place where money is spent and numbers are given up.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import anyio

from kros_mcp import telemetry
from kros_mcp.errors import JournalError, KrosError, OperationError, OutcomeUnknownError, RefusedError
from kros_mcp.krosai import within
from kros_mcp.numbering import spoken
from kros_mcp.operations import model, moves, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import charge
from kros_mcp.operations.acts.base import PREPARE_SECONDS
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.delivery import deliver
from kros_mcp.operations.events import AT_SCREEN, PERSON, SERVER, By
from kros_mcp.operations.journal import Claim, missing
from kros_mcp.operations.lease import Lease, open_leases
from kros_mcp.operations.model import (
    NAMED_INSTEAD,
    OTHER_NUMBER,
    Channel,
    Limits,
    Operation,
    Settlement,
    State,
)
from kros_mcp.operations.policy import Books, Right, RunRate
from kros_mcp.operations.progress import Step, Steps
from kros_mcp.operations.run_rate import read_run_rate
from kros_mcp.times import boot_clock as clock

logger = logging.getLogger(__name__)

_WORDS: Final = {
    Channel.PROMPT: "prompt",
    Channel.SCREEN: "page on the screen",
    Channel.CODE: "code in conversation",
}
"""What the row says of how a yes came."""
SETTLE_PAUSES_SECONDS = (0.0, 0.2, 1.0, 3.0)


@dataclass(frozen=True)
class Yes:
    """A person's yes that was just given; not an approver's, which the journal has already.

    Args:
        through: The channel through which it came.
    """

    through: Literal[Channel.PROMPT, Channel.SCREEN, Channel.CODE]

    def confirms(self, operation: Operation) -> bool:
        """Whether it counts for an operation as that stands now.

        Nothing but an approver's yes counts where one is asked; one from a page or by a code, only where that was the
        way in which the person was asked last. A page must have been fetched, and after that no code counts.
        """
        if operation.state is not State.PROPOSED or operation.channel is Channel.APPROVER:
            return False
        if self.through is Channel.PROMPT:
            return True
        was_shown = operation.shown_at is not None
        return self.through is operation.channel and was_shown is (self.through is Channel.SCREEN)

    def by(self, operation: Operation) -> By:
        """Return who has said it."""
        match self.through:
            case Channel.PROMPT:
                return PERSON
            case Channel.SCREEN:
                return AT_SCREEN
            case Channel.CODE:
                return By(operation.principal, "code")


async def execute(
    account: Account,
    operation_id: str,
    yes: Yes | None,
    steps: Steps | None = None,
    *,
    may_begin: Callable[[], bool] = lambda: True,
) -> Operation:
    """Carry one operation out, from its claim to its outcome; of a batch, those of its numbers one after the other.

    Args:
        account: The account's resources.
        operation_id: The operation; `proposed` with a yes, or `confirmed` without.
        yes: The yes that was just given, or None if an approver gave it earlier.
        steps: Hears of each step.
        may_begin: Asked before each further number of a batch; a no leaves the rest unsent.

    Returns:
        The operation as settled, or the batch; `failed` if the claim was refused.

    Raises:
        OperationError: It was claimed by another, or ended before.
        JournalError: Nothing could be written, so nothing was sent.
    """
    steps, since = steps or Steps(), clock()
    operation, items = await _claim(account, operation_id, yes)
    if items:
        steps.begin(item.id for item in items)
        steps.reach(Step.CLAIMED)
        await _carry_out_each(account, items, since, steps, may_begin)
    if operation.state is not State.SENDING:
        return operation
    steps.reach(Step.CLAIMED)
    async with open_leases(account.journal, [operation], since) as [lease]:
        operation = await _carry_out(account, operation, lease, steps)
    return await _finished(account, operation, steps)


async def _carry_out_each(
    account: Account, items: Sequence[Operation], since: float, steps: Steps, may_begin: Callable[[], bool]
) -> None:
    """Carry the claimed numbers of a batch out in their order, and stop at the first whose outcome is not known.

    So too where more was charged than shown, or in another currency: the yes and the caps were for something else. One
    that certainly failed is passed over. The leases of those that wait are held meanwhile.
    """
    async with open_leases(account.journal, items, since) as leases:
        for at, (item, lease) in enumerate(zip(items, leases, strict=True)):
            if not may_begin():
                await _leave(account, items[at:], "the server was stopped before its turn came")
                return
            if lease.is_lost:  # another process has found it not begun
                continue
            steps.turn_to(at + 1)
            telemetry.current_operation.set(item.id)
            try:
                if await _is_withdrawn(account, item):
                    continue
                done = await _carry_out(account, item, lease, steps)
            except KrosError as exc:
                logger.warning("operation %s: %s", item.id, exc.code)
                why = f"what became of {item.e164}, whose turn was before it, could not be written to the journal"
                await _leave(account, items[at + 1 :], why)
                return
            if done.state is State.UNKNOWN:
                why = f"it was not known then what had become of {item.e164}, whose turn was before it"
                await _leave(account, items[at + 1 :], why, done)
                return
            done = await _finished(account, done, steps)
            if beyond := _beyond_the_yes(account, item, done):
                await _leave(account, items[at + 1 :], f"KrosAI {beyond} for {item.e164}, whose turn was before it")
                return


def _beyond_the_yes(account: Account, item: Operation, done: Operation) -> str:
    """Return what KrosAI did beyond what a person has agreed to, as a part of a sentence; empty for nothing."""
    if done.reserved_cents > item.reserved_cents or charge.is_more(done):
        return "charged more than was shown"
    if charge.other_currency(done, account.settings.currency):
        return "reports another currency than was shown"
    return ""


async def _leave(account: Account, items: Sequence[Operation], why: str, unclear: Operation | None = None) -> None:
    """Settle numbers of a batch whose turn did not come: nothing of them was sent, and nothing will be.

    Those of which the journal does not take that now are found not begun once nobody holds their lease. One that KrosAI
    named in its answer to `unclear`, of another number, may be charged by that order.
    """
    for item in items:
        settlement = moves.not_begun(item, why)
        if unclear is not None and unclear.error_code == OTHER_NUMBER and spoken(item.e164) in unclear.message:
            settlement = replace(
                settlement,
                code=NAMED_INSTEAD,
                message=f"{item.e164} was not begun, and nothing was sent for it; but KrosAI answered the order for "
                f"{unclear.e164} with this number, and may have charged it.",
                next_step=f"{unclear.next_step} Until then do not ask for this number.",
            )
        try:
            await _settle(account, item, settlement)
        except KrosError as exc:
            logger.warning("operation %s: not written down as left: %s", item.id, exc.code)


async def withdraw_unsent(account: Account, items: Sequence[Operation], *, by: By) -> bool:
    """Settle those numbers of a batch of which nothing was sent yet, whichever process carries the batch out.

    The last comes first, so that none is begun behind one that was withdrawn.

    Args:
        account: The account's resources.
        items: The numbers, in their order.
        by: Who withdraws them.

    Returns:
        Whether any of them was left so, now or before.

    Raises:
        JournalError: The journal cannot be used; those behind that number are withdrawn.
    """
    found = False
    for item in reversed(items):
        settlement = moves.not_begun(item, "it was withdrawn before its turn came")
        left = await account.change(item.id, partial(moves.leave, settlement=settlement), by=by)
        found = found or left.error_code == moves.NOT_BEGUN
    return found


async def _is_withdrawn(account: Account, item: Operation) -> bool:
    current = await account.journal.get(item.id)
    return current is not None and current.state is not State.SENDING


async def _carry_out(account: Account, operation: Operation, lease: Lease, steps: Steps) -> Operation:
    """Read again, write down that it is sent, send once, and settle; under a lease that is held meanwhile."""
    act = act_of(operation)
    try:
        with within(PREPARE_SECONDS):
            prepared = await act.prepare(account, operation)
        steps.reach(Step.REREAD)
        since = clock()
        operation = await account.journal.change(
            operation.id,
            lambda current, now: moves.mark_sent(current, now, token=lease.token, snapshot=prepared.snapshot),
        )
    except KrosError as exc:
        return await _settle(account, operation, Settlement.after(exc, State.FAILED))
    lease.renewed(since)
    steps.reach(Step.SENDING)
    settlement = await deliver(account, act, operation, prepared, lease)
    return await _settle_surely(account, operation, settlement)


async def _finished(account: Account, operation: Operation, steps: Steps) -> Operation:
    """Do what is left after an act that was sent and settled."""
    if operation.state is State.DONE:
        steps.reach(Step.DONE)
    return operation if operation.sent_at is None else await act_of(operation).finish(account, operation)


async def _claim(account: Account, operation_id: str, yes: Yes | None) -> tuple[Operation, tuple[Operation, ...]]:
    """Claim an operation, or all numbers of a batch at once; failed if the policy does not allow it any more."""
    await account.heed_no(operation_id)
    operation = await account.journal.get(operation_id)
    if operation is None or operation.account != account.id:
        raise missing(operation_id)
    own = account.limits_of(operation.principal)
    run_rate = None
    if operation.action.charges and policy.needs_run_rate(account.settings, operation.limits, own):
        with within(PREPARE_SECONDS):
            run_rate = await read_run_rate(account)

    claim = _claiming(account, yes, run_rate, own)
    since = (run_rate.read_at if run_rate else await account.journal.now()) - policy.LISTING_LAG_SECONDS
    by = SERVER if yes is None else yes.by(operation)
    operation, items = await account.journal.claim(operation_id, claim, committed_since=since, by=by)
    for changed in (operation, *items):
        account.changes.of(changed)
    return operation, items


def _claiming(account: Account, yes: Yes | None, run_rate: RunRate | None, own: Limits | None) -> Claim:
    """Return the move of a claim: it looks once more whether the yes counts, and whether the policy allows the act."""

    def claim(current: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        if not (current.state is State.CONFIRMED if yes is None else yes.confirms(current)):
            raise model.past(current)
        try:
            _require_right(account, current)
            if yes is not None:
                _require_that_it_counts(account, current, yes.through)
            act_of(current).check(account.settings, current, books, run_rate, own)
        except RefusedError as exc:
            return moves.refuse(current, now, exc), ()
        reserved = [policy.reserved_cents(account.settings, part) for part in current.parts]
        by = _WORDS[yes.through] if yes else ""
        if current.action.is_several:
            return moves.agree(current, now, reserved_cents=reserved, by=by)
        return moves.claim(current, now, reserved_cents=reserved[0], by=by), ()

    return claim


def _require_right(account: Account, operation: Operation) -> None:
    """Raise where who asked may not do it any more; what this server cannot know is left to one that can."""
    right = account.right_to(operation)
    if right is Right.UNKNOWN:
        raise OperationError(
            "Who asked for this is not known to this server; nothing was charged or changed.", code="NOT_PERMITTED"
        )
    if right.is_denied:
        raise RefusedError(
            f"Whoever asked for this {right.problem(operation)}; nothing was charged or changed.",
            code="NOT_PERMITTED",
        )


def _require_that_it_counts(account: Account, operation: Operation, channel: Channel) -> None:
    """Raise where the yes came through a channel that does not do any more: what is asked for may be stricter now."""
    if account.needs_approver(operation):
        raise RefusedError(
            f"An approver has to agree to {operation.named}, and was not asked when this was shown; nothing was "
            "charged or changed.",
            code="APPROVAL_NEEDED",
            next_step="Call again with the same arguments, without confirmation_code, to ask an approver.",
        )
    if not policy.counts(account.confirmation_of(operation), channel):
        raise RefusedError(
            f"How a person has to agree to {operation.named} has become stricter since this was asked, so that yes "
            "does not count; nothing was charged or changed.",
            code="YES_NOT_ENOUGH",
            next_step="Call again with the same arguments, without confirmation_code, to ask the person anew.",
        )


async def _settle(account: Account, operation: Operation, settlement: Settlement) -> Operation:
    """Write the outcome down; if another process has taken over, its word stands."""
    token = operation.token
    try:
        return await account.change(
            operation.id, lambda current, now: moves.settle(current, now, settlement, token=token)
        )
    except OperationError:
        logger.warning("operation %s: taken over by another process before it was settled", operation.id)
        return await account.journal.get(operation.id) or operation


async def _settle_surely(account: Account, operation: Operation, settlement: Settlement) -> Operation:
    """Settle after sending; a journal that fails now is tried again, and never called unspent."""
    for pause in SETTLE_PAUSES_SECONDS:
        await anyio.sleep(pause)
        try:
            return await _settle(account, operation, settlement)
        except JournalError as exc:
            logger.warning("operation %s: outcome not yet written: %s", operation.id, exc.message)
    raise OutcomeUnknownError(
        "The request was sent, and its outcome could not be written to the journal.",
        operation_id=operation.id,
    )
