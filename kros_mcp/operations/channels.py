"""From a proposal to a person's yes or no, and from there to the act.

Which channel a question takes is decided here, and what an answer does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import anyio

from kros_mcp.errors import ConfirmationError, JournalError, KrosError
from kros_mcp.krosai import UNROUTED, within
from kros_mcp.operations import moves, policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.acts import proposal
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.confirmation import Answer, check_code, code_for, no_code
from kros_mcp.operations.events import AT_SCREEN, PERSON, SERVER, By
from kros_mcp.operations.execution import Yes
from kros_mcp.operations.journal import of_earlier
from kros_mcp.operations.model import MOST_REPEATS, WAITING, Channel, Operation, Request, State
from kros_mcp.operations.progress import Tell
from kros_mcp.operations.runner import Runner
from kros_mcp.operations.screen_questions import ScreenQuestions
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
    unopened: bool = False
    """Whether no browser opened the page, so that the person is asked in the conversation, unless one had before."""


@dataclass(frozen=True)
class Ways:
    """By which ways a call could put a question to the person.

    Args:
        can_ask: Whether the client can show a prompt.
        questions: Asks on the person's screen; None where there is none.
        client: What the client calls itself.
    """

    can_ask: bool
    questions: ScreenQuestions | None = None
    client: str = ""

    def first(self, mode: Confirmation) -> Channel | None:
        """Return where a question is asked first, price and earlier questions apart; None where it cannot be."""
        if mode is Confirmation.APPROVER:
            return Channel.APPROVER
        if self.can_ask and mode.shows_prompts:
            return Channel.PROMPT
        if self.questions is not None and mode.opens_pages:
            return Channel.SCREEN
        return Channel.CODE if mode.takes_codes else None

    def expected(self, mode: Confirmation) -> Channel | None:
        """Return the same for a question that is asked now: no page opens where there is no display."""
        opens = self.questions is None or self.questions.can_open
        return (self if opens else replace(self, questions=None)).first(mode)


def require_channel(account: Account, principal: str, ways: Ways, *, code: str, charges: bool = False) -> None:
    """Raise where no yes to what a principal asks for could come about, before anything is proposed.

    Args:
        account: The account's resources.
        principal: Who asks.
        ways: By which ways the call could ask.
        code: What the model sent as a code; empty if nothing.
        charges: Whether it is a purchase, of which an approver may decide; its price is known once it is proposed.

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`, `SCREEN_UNAVAILABLE` or `CODE_NOT_USED`.
    """
    mode = account.confirmation_for(principal)
    if code and not mode.takes_codes:
        raise ConfirmationError(
            "This server takes no confirmation codes; nothing was charged or changed.",
            code="CODE_NOT_USED",
            next_step=f"Call again without confirmation_code: a person says yes elsewhere ({_rule(account, mode)}).",
        )
    if ways.first(mode) is None and not (charges and account.approvers_decide_above(principal)):
        raise unavailable(account, mode, ways)


async def confirmed_by_code(
    account: Account, operation: Operation | None, wishes: Sequence[Wish], code: str
) -> FoundOperation:
    """Find a code right for an operation, or raise.

    Args:
        account: The account's resources.
        operation: The newest operation of this principal for the number that was named, or the numbers.
        wishes: The settings that came with the code; those left out stand as they were shown.
        code: What the model sent.

    Raises:
        ConfirmationError: `NO_CODE_ISSUED`, `WRONG_CODE`, `SETTINGS_DIFFER` or `CODE_EXPIRED`.
    """
    if operation is None:
        raise no_code(None)
    await check_code(account.journal, operation, code)
    if differs(operation, wishes) and differs(operation, await proposal.with_ids(account, wishes)):
        raise ConfirmationError(
            "The settings in this call are not those that the person was asked about; nothing was charged or changed.",
            code="SETTINGS_DIFFER",
            next_step="Call again with the same arguments as before, or without confirmation_code for a new question.",
            operation_id=operation.id,
        )
    if operation.state in {State.EXPIRED, State.DECLINED, State.CANCELLED}:
        raise ConfirmationError(
            f"What was asked is {operation.state}, so its code confirms nothing; nothing was charged or changed.",
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


async def choose_channel(
    account: Account, operation: Operation, ways: Ways, *, answering: bool = False
) -> FoundOperation:
    """Decide where the person is asked, and note it before the question goes out.

    Args:
        account: The account's resources.
        operation: As proposed now, or earlier.
        ways: By which ways this call could ask.
        answering: Whether this call brings the answer to a prompt that was shown (modern protocol).

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE` or `SCREEN_UNAVAILABLE`: there is no way that is left.
    """
    if operation.id in account.noes:
        await account.heed_no(operation.id)
        operation = await account.journal.get(operation.id) or operation
    if operation.state is not State.PROPOSED:
        return FoundOperation(operation)
    try:
        channel = _channel(account, operation, ways, answering=answering)
    except ConfirmationError as exc:
        await _turn_down(account, operation, State.CANCELLED, exc.message, by=SERVER)
        raise

    def put(current: Operation, now: float) -> Operation:
        if current.state is not State.PROPOSED:
            return current
        # A browser may have fetched the page since the operation was read.
        channel = _channel(account, current, ways, answering=answering)
        asked = replace(current, channel=channel, asked_at=current.asked_at or now)
        approver = channel is Channel.APPROVER
        if approver is (current.channel is Channel.APPROVER):
            return asked
        # An approver has hours, a question or a code in the conversation minutes, whichever came first.
        return replace(asked, expires_at=now + policy.waiting_seconds(account.settings, approver=approver))

    if operation.channel is not channel or operation.asked_at is None:
        operation = await account.journal.change(operation.id, put)
    # Beside a page that was opened meanwhile, the answer to an earlier prompt counts still.
    prompts = operation.channel is Channel.PROMPT or (operation.channel is Channel.SCREEN and answering)
    mode = account.confirmation_of(operation)
    can_ask = ways.can_ask and mode.shows_prompts
    return FoundOperation(operation, ask=can_ask and prompts and operation.state is State.PROPOSED)


async def conclude(
    account: Account,
    runner: Runner,
    found: FoundOperation,
    answer: Answer | TurnedDown | None,
    ways: Ways,
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
        ways: By which ways this call could ask.
        seconds: How long to wait for the outcome.
        tell: Hears the steps of the act meanwhile.

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`: the client turned the prompt down by itself, and only prompts count.
            `SCREEN_UNAVAILABLE`: no browser opened the page, and nothing else counts.
    """
    give_up_at = anyio.current_time() + seconds
    operation, unread = found.operation, False
    if operation.state is State.PROPOSED and not runner.is_under_way(operation.id):
        if isinstance(answer, State) and await is_unread(account, operation):
            operation, answer, unread = await _without_prompts(account, operation, ways), None, True
        if isinstance(answer, State):
            return Conclusion(await _turn_down(account, operation, answer, "The person turned the prompt down."))
        if answer is not None and not answer.is_yes(operation):
            why = _why_no(answer, operation, "The person said no.")
            return Conclusion(await _turn_down(account, operation, State.DECLINED, why))
        if answer is None and not found.code:
            takes_codes = account.confirmation_of(operation).takes_codes
            operation = await _put_on_screen(account, operation, ways, seconds, takes_codes=takes_codes)
            if operation.error_code == moves.NOT_SHOWN:
                raise unavailable(account, account.confirmation_of(operation), ways, operation)
            if operation.state is State.PROPOSED and not runner.is_under_way(operation.id):
                return replace(_asking(account, operation, ways), unread=unread)
        else:
            runner.start(operation.id, Yes(Channel.CODE if answer is None else Channel.PROMPT))
    return Conclusion(await _ended(runner, operation, give_up_at, tell))


async def shown_on_screen(account: Account, operation_id: str) -> Operation:
    """Write down that a browser has fetched the page that asks, before it is shown; no code exists from now on.

    A page may be fetched again and again; it is written down once for each process that shows it.

    Raises:
        OperationError: It is not to be asked there, or not any more.
    """

    def shown(current: Operation, now: float) -> Operation:
        after = moves.shown(current, now)
        is_known = current.shown_at is not None and operation_id in account.on_screen
        return current if is_known else after

    await account.heed_no(operation_id)
    operation = await account.change(operation_id, shown, by=AT_SCREEN)
    if operation.shown_at is not None:
        account.on_screen.setdefault(operation_id, operation.shown_at)
    return operation


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
        why = _why_no(answer, operation, _ON_SCREEN[State.DECLINED])
        return await _turn_down(account, operation, State.DECLINED, why, by=AT_SCREEN)
    runner.start(operation.id, Yes(Channel.SCREEN))
    account.changes.of(moves.begun(operation))  # the call that waits for the answer need not look for it
    return operation


async def requote(
    account: Account, runner: Runner, ended: Operation, ways: Ways, *, seconds: float, tell: Tell | None = None
) -> Conclusion:
    """After a price that changed, propose the same purchase at the new one, and ask in the same way.

    A code goes with it only where the first question went by code: a client that shows prompts is to show another, and
    what was asked on the screen is asked there again. Where nothing can be proposed in `seconds`, or only prompts
    count, the change of price is told alone.
    """
    give_up_at = anyio.current_time() + seconds
    on_screen = ended.channel is Channel.SCREEN
    if not (ways.questions if on_screen else account.confirmation_of(ended).takes_codes):
        return Conclusion(ended)
    wish = replace(ended.request, inventory_id="")
    without_prompts = replace(ways, can_ask=False)
    try:
        with within(seconds):
            operation = await PURCHASE.propose(account, ended.principal, wish, ended.e164)
        if operation.state is not State.PROPOSED or ended.channel not in {Channel.CODE, Channel.SCREEN}:
            return Conclusion(operation, ended=ended)
        operation = (await choose_channel(account, operation, without_prompts)).operation
    except KrosError:
        return Conclusion(ended)
    left = _left(give_up_at)
    operation = await _put_on_screen(account, operation, without_prompts, left, takes_codes=not on_screen)
    if operation.error_code == moves.NOT_SHOWN:
        return Conclusion(ended)
    if operation.state is State.PROPOSED and not runner.is_under_way(operation.id):
        return replace(_asking(account, operation, ways), ended=ended)
    return Conclusion(await _ended(runner, operation, give_up_at, tell), ended=ended)


def unavailable(
    account: Account, mode: Confirmation, ways: Ways, operation: Operation | None = None
) -> ConfirmationError:
    """Return the error that no person can be asked.

    Args:
        account: The account's resources.
        mode: How a person says yes.
        ways: By which ways the call could ask.
        operation: What cannot be asked; None where nothing has been proposed.
    """
    operation_id = operation.id if operation else None
    if mode is Confirmation.PROMPT:
        return ConfirmationError(
            "This server acts only after a prompt that the client shows, and this client cannot show one; nothing was "
            "charged or changed.",
            code="PROMPT_UNAVAILABLE",
            next_step="Tell the person to use a client that supports elicitation, or the operator to choose "
            f"another way of confirming ({_rule(account, mode)} now).",
            operation_id=operation_id,
        )
    where, needed = (
        "on a page in the person's own browser",
        "a browser that opens where this server runs (kros-mcp doctor tries it)",
    )
    if mode is not Confirmation.BROWSER:
        prompts = "to answer the client's prompt while it stands" if ways.can_ask else "a client that shows prompts"
        where, needed = f"{where} or in a prompt of the client", f"{prompts}, or {needed}"
        if ways.questions is None:
            where, needed = "in a prompt of the client", prompts
    unopened = operation is not None and operation.error_code == moves.NOT_SHOWN
    lacking = "no browser opened the page" if unopened else "that cannot be had here"
    return ConfirmationError(
        f"This server acts only after a yes {where}, and {lacking}; nothing was charged or changed.",
        code="SCREEN_UNAVAILABLE",
        next_step=f"Tell the person that they need {needed}, or the operator to choose another way of confirming "
        f"({_rule(account, mode)} now).",
        operation_id=operation_id,
    )


async def is_unread(account: Account, operation: Operation) -> bool:
    """Whether a prompt cannot have been read yet, however often it was shown before."""
    with suppress(JournalError):  # where the time cannot be told, it is a no
        return operation.asked_at is not None and await account.journal.now() - operation.asked_at < READING_SECONDS
    return False


async def _without_prompts(account: Account, operation: Operation, ways: Ways) -> Operation:
    """Go on as with a client that shows no prompts, or end the operation where only they count.

    Raises:
        ConfirmationError: `PROMPT_UNAVAILABLE`.
    """
    mode, others = account.confirmation_of(operation), replace(ways, can_ask=False)
    if others.first(mode) is not None:
        return (await choose_channel(account, operation, others)).operation
    await _turn_down(account, operation, State.CANCELLED, "The client turned the prompt down by itself.", by=_CLIENT)
    raise ConfirmationError(
        "This server acts only after a prompt that the client shows, and this client turned it down within "
        f"{READING_SECONDS:g} seconds, before anyone could read it; nothing was charged or changed.",
        code="PROMPT_UNAVAILABLE",
        next_step="Tell the person that their client answers prompts by itself: they need one that shows them, or the "
        f"operator chooses another way of confirming ({_rule(account, mode)} now).",
        operation_id=operation.id,
    )


def _rule(account: Account, mode: Confirmation) -> str:
    """Name what asks for a yes of this kind: the setting, or what the caller's own entry says beyond it."""
    if mode is account.settings.confirmation:
        return f"KROS_CONFIRMATION={mode}"
    return f"this caller's own way of confirming, {mode}"


def _channel(account: Account, operation: Operation, ways: Ways, *, answering: bool) -> Channel:
    """Return where the person is asked now, whatever was tried before."""
    mode = account.confirmation_of(operation)
    if account.needs_approver(operation):
        return Channel.APPROVER
    if operation.shown_at is not None:  # nothing else may ask any more, in whichever process it was shown
        return Channel.SCREEN
    prompts = ways.can_ask and mode.shows_prompts
    if prompts and (operation.asked_at is None or answering):
        return Channel.PROMPT
    fallen_back = operation.channel is Channel.CODE and mode.takes_codes
    if ways.questions is not None and mode.opens_pages and not fallen_back:
        return Channel.SCREEN
    if mode.takes_codes:
        return Channel.CODE
    if prompts:
        return Channel.PROMPT
    raise unavailable(account, mode, ways, operation)


async def _put_on_screen(
    account: Account, operation: Operation, ways: Ways, seconds: float, *, takes_codes: bool
) -> Operation:
    """Put a question on the screen if it is asked there, and wait for the answer; the operation as it stands then."""
    opens = account.confirmation_of(operation).opens_pages
    waits = operation.state is State.PROPOSED and operation.channel is Channel.SCREEN
    if ways.questions is None or not opens or not waits:
        return operation
    with of_earlier(operation.id):  # the person may have said yes
        return await ways.questions.ask(operation, client=ways.client, seconds=seconds, takes_codes=takes_codes)


def _asking(account: Account, operation: Operation, ways: Ways) -> Conclusion:
    """Return where a call leaves an operation that waits for its answer."""
    code = _code(account, operation)
    unopened = ways.questions is not None and ways.questions.is_unopened(operation.id)
    is_here = bool(code) or operation.channel is Channel.SCREEN  # else another server asks elsewhere by now
    return Conclusion(operation, code=code, unopened=unopened and is_here)


def _code(account: Account, operation: Operation) -> str:
    """Return the code of an operation that is asked by one; none here where another server may ask so and this not."""
    is_told = operation.channel is Channel.CODE and account.confirmation_of(operation).takes_codes
    return code_for(account.journal.secret, operation) if is_told else ""


async def _ended(runner: Runner, operation: Operation, give_up_at: float, tell: Tell | None) -> Operation:
    """Wait for an act; whatever stopped it before it began names the operation, whose yes still stands."""
    try:
        ended = await runner.wait(operation.id, _left(give_up_at), tell, known=operation)
    except KrosError as exc:
        exc.operation_id = exc.operation_id or operation.id
        raise
    return await runner.ask(ended, within_seconds=_left(give_up_at))


def _left(give_up_at: float) -> float:
    return max(0.0, give_up_at - anyio.current_time())


def _why_no(answer: Answer, operation: Operation, otherwise: str) -> str:
    if not answer.is_slip(operation):
        return otherwise
    if operation.action.is_several:
        return "The digits or the count that were typed were not right."
    return "The digits typed were not the number's last four."


async def _turn_down(
    account: Account, operation: Operation, to: TurnedDown, reason: str, *, by: By = PERSON
) -> Operation:
    move = partial(moves.end, state=to, reason=reason)
    return await account.turn_down(operation.id, move, by=by) or await account.journal.get(operation.id) or operation


def differs(operation: Operation, wishes: Sequence[Wish]) -> bool:
    """Whether any of these settings, for the numbers of an operation, is another than what a person is asked about.

    An endpoint counts as the same by the name under which it was shown.
    """
    return any(
        _differs(part.request, proposal.as_asked(wish.request, part))
        for part in operation.parts
        for wish in _about(part, wishes) or wishes
    )


def _about(part: Operation, wishes: Sequence[Wish]) -> list[Wish]:
    """Return the wish that names a number; none where its inventory id has changed since: all wish the same then."""
    place = part.request
    return [
        wish
        for wish in wishes
        if wish.e164 == part.e164
        or (wish.request.number_id and wish.request.number_id == place.number_id)
        or (wish.request.inventory_id and wish.request.inventory_id == place.inventory_id)
    ]


def _differs(shown: Request, given: Request) -> bool:
    flags = ((shown.allow_inbound, given.allow_inbound), (shown.allow_outbound, given.allow_outbound))
    # What is bought without an endpoint is unrouted; what is changed without one stays where it is.
    endpoint_id = shown.endpoint_id or (UNROUTED if shown.inventory_id else "")
    return (
        (given.endpoint_id not in {"", endpoint_id})
        or any(new is not None and new != old for old, new in flags)
        or given.permanent != shown.permanent
    )
