"""The fixed sequence: claim, re-read, write down that it is sent, send once, settle.

This is the one place where money is spent and numbers are given up.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from kros_mcp.errors import JournalError, KrosError, OperationError, OutcomeUnknownError, RefusedError
from kros_mcp.krosai import within
from kros_mcp.numbering import spoken
from kros_mcp.operations import model, moves, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.base import PREPARE_SECONDS
from kros_mcp.operations.acts.by_action import act_of
from kros_mcp.operations.delivery import deliver
from kros_mcp.operations.events import AT_SCREEN, PERSON, SERVER, By
from kros_mcp.operations.journal import missing
from kros_mcp.operations.lease import open_lease
from kros_mcp.operations.model import Channel, Operation, Settlement, State
from kros_mcp.operations.policy import Books, Right
from kros_mcp.operations.progress import Step
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
    account: Account, operation_id: str, yes: Yes | None, reach: Callable[[Step], None] = lambda _: None
) -> Operation:
    """Carry one operation out, from its claim to its outcome.

    Args:
        account: The account's resources.
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
    operation = await _claim(account, operation_id, yes)
    if operation.state is not State.SENDING:
        return operation
    act = act_of(operation)
    reach(Step.CLAIMED)
    async with open_lease(account.journal, operation, since) as lease:
        try:
            with within(PREPARE_SECONDS):
                prepared = await act.prepare(account, operation)
            reach(Step.REREAD)
            since = clock()
            operation = await account.journal.change(
                operation.id,
                lambda current, now: moves.mark_sent(current, now, token=lease.token, snapshot=prepared.snapshot),
            )
        except KrosError as exc:
            return await _settle(account, operation, Settlement.after(exc, State.FAILED))
        lease.renewed(since)
        reach(Step.SENDING)
        settlement = await deliver(account, act, operation, prepared, lease)
        operation = await _settle_surely(account, operation, settlement)
    if operation.state is State.DONE:
        reach(Step.DONE)
    return await act.finish(account, operation)


async def _claim(account: Account, operation_id: str, yes: Yes | None) -> Operation:
    await account.heed_no(operation_id)
    operation = await account.journal.get(operation_id)
    if operation is None or operation.account != account.id:
        raise missing(operation_id)
    own = account.limits_of(operation.principal)
    run_rate = None
    act = act_of(operation)
    if operation.action.charges and policy.needs_run_rate(account.settings, operation.limits, own):
        with within(PREPARE_SECONDS):
            run_rate = await read_run_rate(account)

    def claim(current: Operation, now: float, books: Books) -> Operation:
        if not (current.state is State.CONFIRMED if yes is None else yes.confirms(current)):
            raise model.past(current)
        try:
            _require_right(account, current)
            if yes is not None:
                _require_that_it_counts(account, current, yes.through)
            act.check(account.settings, current, books, run_rate, own)
        except RefusedError as exc:
            return moves.end(current, now, State.FAILED, reason=exc.message, code=exc.code, next_step=exc.next_step)
        reserved = policy.reserved_cents(account.settings, current)
        return moves.claim(current, now, reserved_cents=reserved, by=_WORDS[yes.through] if yes else "")

    since = (run_rate.read_at if run_rate else await account.journal.now()) - policy.LISTING_LAG_SECONDS
    by = SERVER if yes is None else yes.by(operation)
    operation = await account.journal.claim(operation_id, claim, committed_since=since, by=by)
    account.changes.of(operation)
    return operation


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
            f"An approver has to agree to {spoken(operation.e164)}, and was not asked when this was shown; nothing was "
            "charged or changed.",
            code="APPROVAL_NEEDED",
            next_step="Call again with the same arguments, without confirmation_code, to ask an approver.",
        )
    if not policy.counts(account.confirmation_of(operation), channel):
        raise RefusedError(
            f"How a person has to agree to {spoken(operation.e164)} has become stricter since this was asked, so that "
            "yes does not count; nothing was charged or changed.",
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
