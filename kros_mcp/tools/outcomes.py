"""Where an operation stands, in words: the sentence to say, and what to do next."""

from kros_mcp.errors import Known, KrosError
from kros_mcp.krosai import quoted_id
from kros_mcp.money import show_price
from kros_mcp.numbering import spoken
from kros_mcp.operations.asking import Conclusion
from kros_mcp.operations.configuring import Change
from kros_mcp.operations.confirmation import changes, sentence, statement
from kros_mcp.operations.model import Action, Channel, Operation, State
from kros_mcp.operations.routing import still_lacking
from kros_mcp.operations.words import status
from kros_mcp.settings import Settings
from kros_mcp.times import utc
from kros_mcp.tools import results

_VERB = {Action.BUY: "buying", Action.RELEASE: "releasing", Action.CONFIGURE: "changing"}
_SAY_AND_WAIT = (
    "Say the summary to the person and wait. Only after a clear yes, call the same tool again with the same "
    "arguments and confirmation_code. After a no, call cancel_operation. Never say the code."
)
_DONE = {Action.BUY: "bought", Action.RELEASE: "released", Action.CONFIGURE: "changed"}
_UNREAD = "The client turned its prompt down faster than anyone can read, so it counts as one that shows none."
_LATER = "Call get_operation with this operation_id in a few seconds. Do not start again."


def acted(operation: Operation, settings: Settings, *, code: str = "", before: str = "") -> results.Acted:
    """Show an operation.

    Args:
        operation: As it stands.
        settings: For the currency's label.
        code: The confirmation code, only where the agent is to ask and call again.
        before: What to say first.
    """
    waiting = operation.state is State.PROPOSED
    summary, next_step = _words(operation, settings, code=code)
    return results.Acted(
        summary=f"{before} {summary}".strip(),
        status=status(operation),
        operation_id=operation.id,
        quote=quote(operation),
        expires_at=utc(operation.expires_at) if waiting else None,
        confirmation_code=code or None,
        charged=_known(operation, operation.charged) if operation.action is Action.BUY else "no",
        changed=_known(operation, operation.changed),
        number=results.owned_snapshot(operation.number),
        not_applied=list(operation.not_applied) or _still_lacking(operation),
        next_step=next_step,
    )


def concluded(conclusion: Conclusion, settings: Settings) -> results.Acted:
    """Show where a call leaves an operation, or raise what stopped it.

    Raises:
        KrosError: The operation failed; nothing was charged or changed.
    """
    operation = conclusion.operation
    if operation.state is State.FAILED:
        raise as_error(operation)
    before = conclusion.ended.message if conclusion.ended else _UNREAD if conclusion.unread else ""
    return acted(operation, settings, code=conclusion.code, before=before)


def configured(conclusion: Conclusion, settings: Settings) -> results.Configured:
    """Show where a call leaves the change of a protected number."""
    shown = concluded(conclusion, settings)
    after = shown.number
    return results.Configured(**shown.model_dump(), before=None, after=routing(after) if after else None)


def changed(change: Change) -> results.Configured:
    """Show what a change of settings came to; `pending` while it is still under way."""
    before = results.owned(change.before)
    after = results.owned(change.after) if change.after else None
    if after is None:
        summary = f"Changing {before.spoken} is under way; KrosAI has not answered yet."
        next_step = "Call get_phone_number in a few seconds to see its settings."
    elif change.not_applied:
        summary = f"{before.spoken} is not changed as asked: KrosAI did not apply {', '.join(change.not_applied)}."
        next_step = "Tell the person which setting was not applied."
    else:
        goes = f"go to endpoint {quoted_id(after.endpoint_id)}" if after.endpoint_id else "go to no endpoint"
        flags = f"inbound is {_on(after.allow_inbound)}, outbound is {_on(after.allow_outbound)}"
        summary, next_step = f"{before.spoken} is changed: calls {goes}, {flags}.", "Nothing more to do."
    return results.Configured(
        summary=summary,
        status="done" if after else "pending",
        before=routing(before),
        after=routing(after) if after else None,
        not_applied=list(change.not_applied),
        operation_id=None,
        quote=None,
        expires_at=None,
        confirmation_code=None,
        charged="no",
        changed=_changed(change),
        number=after,
        next_step=next_step,
    )


def _changed(change: Change) -> Known:
    """Tell whether a change took place; one that KrosAI has only accepted may still come about."""
    if change.after is None:
        return "unknown"
    if routing(results.owned(change.before)) != routing(results.owned(change.after)):
        return "yes"
    return "unknown" if change.deferred else "no"


def routing(number: results.OwnedNumber) -> results.Settings:
    """The settings of a number."""
    return results.Settings(
        endpoint_id=number.endpoint_id,
        allow_inbound=number.allow_inbound,
        allow_outbound=number.allow_outbound,
    )


def quote(operation: Operation) -> results.Quote:
    """What was shown to the person."""
    shown = operation.quote
    return results.Quote(
        e164=shown.e164,
        country=shown.country,
        due_now_cents=shown.due_now_cents,
        monthly_cents=shown.monthly_cents,
        environment=shown.environment,
    )


def as_error(operation: Operation) -> KrosError:
    """A failed operation as the error it is, naming the number and saying that nothing happened to it."""
    told = operation.message
    if operation.e164 not in told or "nothing was" not in told.lower():
        told = f"{told} {spoken(operation.e164)} was not {_DONE[operation.action]}; nothing was charged or changed."
    return KrosError(
        told.strip(),
        code=operation.error_code or "FAILED",
        next_step=operation.next_step or "Ask the person whether to try again.",
        operation_id=operation.id,
    )


def _known(operation: Operation, settled: Known) -> Known:
    """From the claim to the outcome nobody knows: it may be sent before these words are read."""
    return "unknown" if operation.state is State.SENDING else settled


def _on(flag: bool | None) -> str:
    return "not stated" if flag is None else "on" if flag else "off"


def _still_lacking(operation: Operation) -> list[str]:
    return list(still_lacking(operation)) if operation.settings_pending else []


def _words(operation: Operation, settings: Settings, *, code: str) -> tuple[str, str]:
    number, verb = spoken(operation.e164), _VERB[operation.action]
    match operation.state:
        case State.PROPOSED:
            words = _waiting_words(operation, settings.currency, code=code)
        case State.CONFIRMED:
            words = (f"{verb.capitalize()} {number} is approved and about to start.", _LATER)
        case State.SENDING:
            words = (f"{verb.capitalize()} {number} is under way; its outcome is not known yet.", _LATER)
        case State.UNKNOWN:
            words = (_unknown_words(operation, number, verb), _keep_asking(operation))
        case State.DONE:
            told = "Tell the person what was not applied." if operation.not_applied else "Nothing more to do."
            words = (_done_words(operation, settings.currency), told)
        case State.FAILED:
            error = as_error(operation)
            words = (error.message, error.next_step)
        case _:
            ended = f"{verb.capitalize()} {number} was {operation.state}; nothing was charged or changed."
            words = (f"{ended} {operation.message}".strip(), "Do not ask again unless the person brings it up.")
    return words


def _unknown_words(operation: Operation, number: str, verb: str) -> str:
    if operation.corrected_at is None:
        lost = f"The answer to {verb} {number} was lost, so it is not known yet whether it happened"
        return f"{lost}; it will not be sent again."
    called = f"{number} was called {_DONE[operation.action]} at first, and it is not known now whether it is"
    return f"{called}; it will not be sent again. {operation.note}".strip()


def _waiting_words(operation: Operation, currency: str, *, code: str) -> tuple[str, str]:
    if operation.channel is Channel.APPROVER:
        return (
            f"An approver has been asked. {statement(operation, currency)}",
            "Tell the person that an approver must agree first, and look again later with get_operation.",
        )
    asking = sentence(operation, currency)
    if code:
        return asking, _SAY_AND_WAIT
    if operation.channel is Channel.PROMPT:
        return (
            f"The person is being asked in the client. {asking}",
            "Wait for the person's answer to the prompt.",
        )
    return asking, "Call the same tool again with the same arguments to ask the person."


def _done_words(operation: Operation, currency: str) -> str:
    number = spoken(operation.e164)
    note = f" {operation.note}" if operation.note else ""
    lacking = _unapplied(operation)
    if operation.action is Action.BUY:
        cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
        unseen = " KrosAI does not list it among the owned numbers yet." if operation.look_at is not None else ""
        return f"{number} is bought; it costs {cost}.{unseen}{note}{lacking}"
    if operation.action is Action.RELEASE:
        return f"{number} is released; calls to it no longer arrive.{note}{lacking}"
    if operation.not_applied:
        return f"{number} is not changed as asked.{note}{lacking}"
    return f"{number} is changed: {changes(operation)}.{note}"


def _keep_asking(operation: Operation) -> str:
    again = (
        f"looks at KrosAI again at {utc(operation.look_at)[11:16]} UTC" if operation.look_at else "keeps asking KrosAI"
    )
    return f"Call get_operation later; never start it anew. The server {again}."


def _unapplied(operation: Operation) -> str:
    if operation.not_applied:
        return f" KrosAI did not apply {', '.join(operation.not_applied)}."
    return " Its settings are still being applied." if _still_lacking(operation) else ""
