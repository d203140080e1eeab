"""From a proposal to a person's yes or no, and from there to the act.

Which channel a question takes is decided here, and what an answer does.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import anyio

from kros_mcp.errors import ConfirmationError, KrosError, OperationError
from kros_mcp.krosai import within
from kros_mcp.operations import moves, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.confirmation import Answer, check_code, code_for, no_code
from kros_mcp.operations.events import AT_SCREEN, PERSON, By
from kros_mcp.operations.execution import Yes
from kros_mcp.operations.model import MOST_REPEATS, WAITING, Channel, Operation, Request, State
from kros_mcp.operations.progress import Tell
from kros_mcp.operations.runner import Runner
from kros_mcp.settings import Confirmation

TurnedDown = Literal[State.DECLINED, State.CANCELLED]

READING_SECONDS = 2.0
"""No person reads a prompt in less; a client that turns it down sooner has shown it to nobody."""

_CLIENT = By("client", "prompt")
_ON_SCREEN: dict[TurnedDown, str] = {
    State.DECLINED: "The person said no on the screen.",
    State.CANCELLED: "Its page on the screen is gone.",
}


@dataclass(frozen=True)
class FoundOperation:
    """An operation as a call finds it.

    `ask` says that the client is to show the prompt now; `code` is the confirmation code that the call
    came with, already found right.
    """

    operation: Operation
    ask: bool = False
    code: str = ""


@dataclass(frozen=True)
class Conclusion:
    """Where a call leaves an operation; `code` is set only where the agent is to ask and call again."""

    operation: Operation
    code: str = ""
    ended: Operation | None = None
    """The operation before this one, if that failed because its price had changed."""
    unread: bool = False
    """Whether the client turned its prompt down before anybody could read it."""


def require_channel(account: Account, principal: str, *, can_ask: bool, code: str) -> None:
    """Raise where no yes to what a principal asks for could come about, before anything is proposed.

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`, or `CODE_NOT_USED`.
    """
    mode = account.confirmation_for(principal)
    if code and not mode.takes_codes:
        raise ConfirmationError(
            f"This server takes no confirmation codes ({_rule(account, mode)}); nothing was charged or changed.",
            code="CODE_NOT_USED",
            next_step="Call again without confirmation_code.",
        )
    if mode in {Confirmation.PERSON, Confirmation.BROWSER, Confirmation.PROMPT} and not can_ask:
        raise _no_prompt(account, mode)


async def confirmed_by_code(
    account: Account, operation: Operation | None, request: Request, code: str
) -> FoundOperation:
    """Find a code right for an operation, or raise.

    Args:
        account: The account's resources.
        operation: The newest operation of this principal for the number that was named.
        request: The settings that came with the code; those left out stand as they were shown.
        code: What the model sent.

    Raises:
        ConfirmationError: `NO_CODE_ISSUED`, `WRONG_CODE`, `SETTINGS_DIFFER` or `CODE_EXPIRED`.
    """
    if operation is None:
        raise no_code(None)
    await check_code(account.journal, operation, code)
    if _differs(operation.request, request):
        raise ConfirmationError(
            "The settings in this call are not those that the person was asked about; nothing was charged or changed.",
            code="SETTINGS_DIFFER",
            next_step="Call again with the same arguments as before, or without confirmation_code for a new question.",
            operation_id=operation.id,
        )
    if operation.state in {State.EXPIRED, State.DECLINED, State.CANCELLED}:
        raise ConfirmationError(
            f"Operation {operation.id} is {operation.state}, so its code confirms nothing; "
            "nothing was charged or changed.",
            code="CODE_EXPIRED",
            operation_id=operation.id,
        )
    return FoundOperation(operation, code=code)


async def count_repeat(account: Account, operation: Operation) -> Operation:
    """Count a call that asks for what waits already; a journal that fails at that hinders no call."""
    if operation.state not in WAITING or operation.asked_again >= MOST_REPEATS:
        return operation
    with suppress(KrosError):
        return await account.journal.change(operation.id, moves.ask_again)
    return operation


async def choose_channel(account: Account, operation: Operation, *, can_ask: bool, answering: bool) -> FoundOperation:
    """Decide where the person is asked, and note it before the question goes out.

    Args:
        account: The account's resources.
        operation: As proposed now, or earlier.
        can_ask: Whether the client can show a prompt.
        answering: Whether this call brings the answer to a prompt that was shown (modern protocol).

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`: it was proposed where only a prompt would do.
    """
    if operation.state is not State.PROPOSED:
        return FoundOperation(operation)
    unanswered = operation.asked_at is not None and not answering
    mode = account.confirmation_of(operation)
    if account.needs_approver(operation):
        channel = Channel.APPROVER
    elif not mode.takes_codes or (can_ask and not unanswered):
        channel = Channel.PROMPT
        if not can_ask and not answering:  # proposed where only a prompt would do, though that has changed since
            raise _no_prompt(account, mode, operation.id)
    else:
        channel = Channel.CODE

    def put(current: Operation, now: float) -> Operation:
        if current.state is not State.PROPOSED:
            return current
        asked = replace(current, channel=channel, asked_at=current.asked_at or now)
        approver = channel is Channel.APPROVER
        if approver is (current.channel is Channel.APPROVER):
            return asked
        # An approver has hours, a question or a code in the conversation minutes, whichever came first.
        return replace(asked, expires_at=now + policy.waiting_seconds(account.settings, approver=approver))

    if operation.channel is not channel or operation.asked_at is None:
        operation = await account.journal.change(operation.id, put)
    return FoundOperation(operation, ask=channel is Channel.PROMPT and operation.state is State.PROPOSED)


async def conclude(
    account: Account,
    runner: Runner,
    found: FoundOperation,
    answer: Answer | TurnedDown | None,
    *,
    seconds: float,
    tell: Tell | None = None,
) -> Conclusion:
    """Do what the answer says, and wait for the outcome at most so long.

    Args:
        account: The account's resources.
        runner: Carries acts out.
        found: The operation as this call found it.
        answer: What the person chose; `DECLINED` or `CANCELLED` for a prompt turned down; None if
            no prompt was shown.
        seconds: How long to wait for the outcome.
        tell: Hears the steps of the act meanwhile.

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`: the client turned the prompt down by itself, and only prompts count.
    """
    operation = found.operation
    if operation.state is State.PROPOSED and not runner.is_under_way(operation.id):
        if isinstance(answer, State) and await _is_unread(account, operation):
            return await _ask_without_prompts(account, operation)
        if isinstance(answer, State):
            return Conclusion(await _turn_down(account, operation, answer, "The person turned the prompt down."))
        if answer is not None and not answer.is_yes(operation):
            slip = "The digits typed were not the number's last four." if answer.is_slip(operation) else ""
            return Conclusion(await _turn_down(account, operation, State.DECLINED, slip or "The person said no."))
        if answer is None and not found.code:
            return Conclusion(operation, code=_code(account, operation))
        runner.start(operation.id, Yes(Channel.CODE if answer is None else Channel.PROMPT))
    give_up_at = anyio.current_time() + seconds
    ended = await _outcome(runner, operation, seconds, tell)
    return Conclusion(await runner.ask(ended, within_seconds=max(0.0, give_up_at - anyio.current_time())))


async def shown_on_screen(account: Account, operation_id: str) -> Operation:
    """Write down that a browser has fetched the page that asks, before it is shown; no code exists from now on.

    Raises:
        OperationError: It is not to be asked there, or not any more.
    """
    return await account.change(operation_id, moves.shown, by=AT_SCREEN)


async def answer_on_screen(
    account: Account, runner: Runner, operation: Operation, answer: Answer | TurnedDown
) -> Operation:
    """Do what a person chose on the page; a yes goes on in a task of the server's.

    Args:
        account: The account's resources.
        runner: Carries acts out; it tells how this one ends.
        operation: As the page showed it.
        answer: What the person chose; `DECLINED` for a no, `CANCELLED` where nobody can answer any more.

    Returns:
        The operation as it stands now: turned down; or, after a yes, as it was or further.
    """
    if isinstance(answer, State):
        return await _turn_down(account, operation, answer, _ON_SCREEN[answer], by=AT_SCREEN)
    if not answer.is_yes(operation):
        slip = "The digits typed were not the number's last four." if answer.is_slip(operation) else ""
        return await _turn_down(account, operation, State.DECLINED, slip or _ON_SCREEN[State.DECLINED], by=AT_SCREEN)
    runner.start(operation.id, Yes(Channel.SCREEN))
    return operation


async def requote(account: Account, ended: Operation, *, seconds: float) -> Conclusion:
    """After a price that changed, propose the same purchase at the new one; conversation only.

    A code goes with it only where the first question went by code: a client that shows prompts is to
    show another. Where nothing can be proposed in `seconds`, the change of price is told alone.
    """
    if not account.confirmation_of(ended).takes_codes:
        return Conclusion(ended)
    wish = replace(ended.request, inventory_id="")
    try:
        with within(seconds):
            operation = await PURCHASE.propose(account, ended.principal, wish, ended.e164)
    except KrosError:
        return Conclusion(ended)
    if ended.channel is not Channel.CODE or operation.state is not State.PROPOSED:
        return Conclusion(operation, ended=ended)
    found = await choose_channel(account, operation, can_ask=False, answering=False)
    return Conclusion(found.operation, code=_code(account, found.operation), ended=ended)


async def _is_unread(account: Account, operation: Operation) -> bool:
    """Whether a prompt that was just turned down cannot have been read, however often it was shown before."""
    return operation.asked_at is not None and await account.journal.now() - operation.asked_at < READING_SECONDS


async def _ask_without_prompts(account: Account, operation: Operation) -> Conclusion:
    """Go on as with a client that shows no prompts."""
    mode = account.confirmation_of(operation)
    if mode.takes_codes:
        found = await choose_channel(account, operation, can_ask=False, answering=False)
        code = _code(account, found.operation) if found.operation.state is State.PROPOSED else ""
        return Conclusion(found.operation, code=code, unread=True)
    await _turn_down(account, operation, State.CANCELLED, "The client turned the prompt down by itself.", by=_CLIENT)
    raise ConfirmationError(
        f"This server acts only after a prompt that the client shows ({_rule(account, mode)}), and this client turned "
        "it down within "
        f"{READING_SECONDS:g} seconds, before anyone could read it; nothing was charged or changed.",
        code="PROMPT_UNAVAILABLE",
        next_step="Tell the person that their client answers prompts by itself: they need one that shows them, or the "
        "operator chooses another way of confirming.",
        operation_id=operation.id,
    )


def _rule(account: Account, mode: Confirmation) -> str:
    """Name what asks for a yes of this kind: the setting, or what the caller's own entry says beyond it."""
    if mode is account.settings.confirmation:
        return f"KROS_CONFIRMATION={mode}"
    return f"this caller's own way of confirming, {mode}"


def _no_prompt(account: Account, mode: Confirmation, operation_id: str | None = None) -> ConfirmationError:
    return ConfirmationError(
        f"This server acts only after a prompt that the client shows ({_rule(account, mode)}), and this client "
        "cannot show one; nothing was charged or changed.",
        code="PROMPT_UNAVAILABLE",
        next_step="Tell the person to use a client that supports elicitation, or the operator to choose "
        "another way of confirming.",
        operation_id=operation_id,
    )


def _code(account: Account, operation: Operation) -> str:
    return code_for(account.journal.secret, operation) if operation.channel is Channel.CODE else ""


async def _outcome(runner: Runner, operation: Operation, seconds: float, tell: Tell | None) -> Operation:
    """Wait for an act; whatever stopped it before it began names the operation, whose yes still stands."""
    try:
        return await runner.wait(operation.id, seconds, tell, known=operation)
    except KrosError as exc:
        exc.operation_id = exc.operation_id or operation.id
        raise


async def _turn_down(
    account: Account, operation: Operation, to: TurnedDown, reason: str, *, by: By = PERSON
) -> Operation:
    try:
        return await account.change(
            operation.id, lambda current, now: moves.end(current, now, to, reason=reason), by=by
        )
    except OperationError:
        return await account.journal.get(operation.id) or operation


def _differs(shown: Request, given: Request) -> bool:
    flags = ((shown.allow_inbound, given.allow_inbound), (shown.allow_outbound, given.allow_outbound))
    return (
        (given.endpoint_id not in {"", shown.endpoint_id})
        or any(new is not None and new != old for old, new in flags)
        or given.permanent != shown.permanent
    )
