"""Every sentence about an act that a person is asked or told.

Each is built from the stored operation alone, so that the same operation always asks the same question and no two
operations ask the same one. Names from upstream never stand in it, and ids are quoted. What the agent writes stands
below a prompt's facts alone, as its words. `currency` is the operator's label, or empty.
"""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Final

from kros_mcp.krosai import UNROUTED
from kros_mcp.money import show_cents, show_price
from kros_mcp.numbering import last_four, spoken
from kros_mcp.operations import agent_words
from kros_mcp.operations.acts.routing import still_lacking
from kros_mcp.operations.confirmation import MAX_TRIES
from kros_mcp.operations.endpoint_names import told, without_ids
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.times import utc

_ENVIRONMENTS: Final = {
    "live": "This is the live account: real money.",
    "test": "This is a test key.",
    "simulator": "This is the simulator: no real money.",
}
_SAY_AND_WAIT: Final = (
    "Say the summary to the person and wait. Only after a clear yes, call the same tool again with the same "
    "arguments and confirmation_code. After a no, call cancel_operation. Never say the code."
)
UNREAD: Final = "The client turned its prompt down faster than anyone can read, so it counts as one that shows none."
UNOPENED: Final = "No browser opened here, so the question is asked in the conversation."
UNOPENED_AGAIN: Final = "No browser opened the page this time, so only one that was opened before can be answered."
_WAYS: Final[dict[Channel | None, str]] = {
    Channel.PROMPT: "Buying and releasing need a yes in a prompt that the client shows.",
    Channel.SCREEN: "Buying and releasing need a yes on the screen, on a page in the browser.",
    Channel.CODE: "Buying and releasing need a yes in the conversation.",
    Channel.APPROVER: "Buying and releasing need an approver's yes, outside the conversation.",
    None: "Buying and releasing need a yes that cannot be given here.",
}
_LOOK: Final = (
    "Tell the person that the page waits for them, and go on once they speak: no answer given in the conversation "
    "counts. Then look with get_operation. If they see no page, call the same tool again with the same arguments: that "
    "opens it again, once a minute has passed since it was opened."
)
_OPENING: Final = (
    "Do not ask in the conversation yet. Call get_operation in a few seconds: it tells whether the page has opened. If "
    "that still says so after ten seconds, call the same tool again with the same arguments."
)
LATER: Final = "Call get_operation with this operation_id in a few seconds. Do not start again."


class Wording(ABC):
    """The words of one kind of act.

    Args:
        to_do: As in "Shall I buy it?".
        doing: As in "buying +1 202 555 0100".
        done: As in "+1 202 555 0100 is bought".
        heading: How the question begins, as in "Buy +1 202 555 0100?".
    """

    to_do: str
    doing: str
    done: str
    heading: str
    warning: str = ""
    """What an approver is warned of, beside the statement."""
    slip: str = "Those were not its last four digits."
    """What is wrong with what was typed."""

    @property
    def verb(self) -> str:
        """The act as one word, such as Buy."""
        return self.to_do.capitalize()

    @abstractmethod
    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""

    @abstractmethod
    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""

    @abstractmethod
    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to, without what was not applied."""

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        return self.statement(operation, currency)

    def named(self, operation: Operation) -> str:
        """Return how a sentence calls what an operation is about."""
        return spoken(operation.e164)

    def asks(self, operation: Operation) -> str:
        """Write the first line of the prompt."""
        where = f", {operation.quote.country}" if operation.quote.country else ""
        return f"{self.heading} {spoken(operation.e164)} ({operation.e164}{where})?"

    def question(self, operation: Operation, currency: str, *, attempt: int = 1) -> str:
        """Write the prompt that a client shows to a person.

        Args:
            operation: As it stands in the journal.
            currency: The operator's label, or empty.
            attempt: 2 and 3 after wrong digits; told, so that each try is a question of its own.
        """
        lines = [self.asks(operation), *self.particulars(operation, currency)]
        if attempt > 1:
            lines.append(f"{self.slip} Try {attempt} of {MAX_TRIES}.")
        until = datetime.fromtimestamp(operation.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"Operation {operation.id}, to be answered by {until} UTC.")
        if words := agent_words.told(operation):
            lines.append(words)
        return "\n".join(lines)

    def sentence(self, operation: Operation, currency: str) -> str:
        """Write what an agent says aloud to ask a person for a yes or a no."""
        return f"{self.statement(operation, currency)} Shall I {self.to_do} it?"

    def summary(
        self, operation: Operation, currency: str, *, code: str = "", told: bool = False, page: bool = False
    ) -> tuple[str, str]:
        """Write where an operation stands, and what the agent is to do next.

        Args:
            operation: As it stands.
            currency: The operator's label, or empty.
            code: The confirmation code, only where the agent is to ask and call again.
            told: Whether approvers are told of what waits for them.
            page: Whether they have a page to decide on.
        """
        number, doing = self.named(operation), self.doing.capitalize()
        match operation.state:
            case State.PROPOSED if operation.channel is Channel.APPROVER:
                words = self._waiting_for_approver(operation, currency, told=told, page=page)
            case State.PROPOSED:
                words = self._waiting(operation, currency, code=code)
            case State.CONFIRMED:
                words = (f"{doing} {number} is approved and about to start.", LATER)
            case State.SENDING:
                words = (f"{doing} {number} is under way; its outcome is not known yet.", LATER)
            case State.UNKNOWN:
                words = (self._unknown(operation), keep_asking(operation))
            case State.DONE:
                next_step = "Tell the person what was not applied." if operation.not_applied else "Nothing more to do."
                words = (self.ended(operation, currency), next_step)
            case State.FAILED:
                words = (self.failed(operation), operation.next_step or "Ask the person whether to try again.")
            case _:
                how = "has" if operation.state is State.EXPIRED else "was"
                ended = f"{doing} {number} {how} {operation.state}; nothing was charged or changed."
                next_step = operation.next_step or "Do not ask again unless the person brings it up."
                words = (f"{ended} {operation.message}".strip(), next_step)
        return words

    def failed(self, operation: Operation) -> str:
        """Write why an operation failed, naming the number and saying that nothing happened to it."""
        message = operation.message
        if operation.e164 not in message or "nothing was" not in message.lower():
            message = f"{message} {self.named(operation)} was not {self.done}; nothing was charged or changed."
        return message.strip()

    def _waiting_for_approver(self, operation: Operation, currency: str, *, told: bool, page: bool) -> tuple[str, str]:
        asked = "An approver has been asked" if told else "It waits for an approver"
        where = (
            "on the page /approvals of this service" if page else f"by kros-mcp approve {operation.id} at a terminal"
        )
        unasked = "" if told else "; nobody tells the approver, so the person has to"
        next_step = f"Tell the person that an approver must agree first, {where}{unasked}. Look again later"
        summary = f"{asked}; nothing is charged or changed yet. {self.statement(operation, currency)}"
        return summary, f"{next_step} with get_operation."

    def _waiting(self, operation: Operation, currency: str, *, code: str) -> tuple[str, str]:
        if operation.channel is Channel.SCREEN:
            return self._on_screen(operation, currency)
        asking = self.sentence(operation, currency)
        if code:
            return asking, _SAY_AND_WAIT
        if operation.channel is Channel.PROMPT:
            return (
                f"The person is being asked in the client. {asking}",
                "Wait for the person's answer to the prompt.",
            )
        return asking, "Call the same tool again with the same arguments to ask the person."

    def _on_screen(self, operation: Operation, currency: str) -> tuple[str, str]:
        if operation.shown_at is None:
            told = "A page that asks is being opened on the screen, in the browser; nothing is charged or changed yet."
            return f"{told} {self.statement(operation, currency)}", _OPENING
        told = "The question waits on the screen, on a page in the browser; nothing is charged or changed yet."
        return f"{told} {self.statement(operation, currency)}", _LOOK

    def _unknown(self, operation: Operation) -> str:
        number = self.named(operation)
        if operation.corrected_at is None:
            lost = f"The answer to {self.doing} {number} was lost, so it is not known yet whether it happened"
            return f"{lost}; it will not be sent again."
        called = f"{number} was called {self.done} at first, and it is not known now whether it is"
        return f"{called}; it will not be sent again. {operation.note}".strip()


class PurchaseWording(Wording):
    """How a purchase is spoken of."""

    to_do = "buy"
    doing = "buying"
    done = "bought"
    heading = "Buy"

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
        unusual = changes(operation, usual=False)
        then = f" Then: {unusual}." if unusual else ""
        return f"Buying {_number_in_its_country(operation)} costs {cost}.{then} {environment(operation)}"

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
        if operation.quote.due_now_cents is None and operation.quote.monthly_cents is None:
            cost = "amounts that KrosAI does not state, now and every month"
        unusual = changes(operation, usual=False)
        then = f" Then: {unusual}." if unusual else ""
        return (
            f"If you approve, the account is charged {cost} until the number is released.{then} If the price has "
            f"changed by then, nothing is charged. {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        wanted = changes(operation)
        return [
            f"Now, first month included: {show_cents(operation.quote.due_now_cents, currency)}.",
            f"Then every month: {show_cents(operation.quote.monthly_cents, currency)}.",
            environment(operation),
            *([f"Then: {wanted}."] if wanted else []),
        ]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to."""
        cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
        unseen = " KrosAI does not list it among the owned numbers yet." if operation.look_at is not None else ""
        number = spoken(operation.e164)
        return f"{number} is bought; it costs {cost}.{unseen}{_note(operation)}{not_applied(operation)}"


class ReleaseWording(Wording):
    """How a release is spoken of."""

    to_do = "release"
    doing = "releasing"
    done = "released"
    heading = "Release"
    warning = "Calls to this number will stop. This cannot be undone."

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        del currency
        return (
            f"Releasing {_number_in_its_country(operation)} means that calls to it will stop; they now go to "
            f"{routed(operation)}. {finality(operation)} {environment(operation)}"
        )

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        del currency
        return (
            f"If you approve, calls to it stop; they now go to {routed(operation)}. {finality(operation)} KrosAI does "
            f"not say whether anything is refunded. {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        del currency
        return [
            f"Calls to it will stop; they now go to {routed(operation)}. {finality(operation)}",
            environment(operation),
            f"To release it, type its last four digits: {last_four(operation.e164)}.",
        ]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to."""
        del currency
        number = spoken(operation.e164)
        return f"{number} is released; calls to it no longer arrive.{_note(operation)}{not_applied(operation)}"


class ConfigurationWording(Wording):
    """How the change of a protected number is spoken of."""

    to_do = "change"
    doing = "changing"
    done = "changed"
    heading = "Change the protected number"

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        del currency
        number = _number_in_its_country(operation)
        return f"{number} is a protected number; the change would be: {changes(operation)}. {environment(operation)}"

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        del currency
        return (
            f"If you approve: {changes(operation)}. Until now calls to it go to {routed(operation)}. Nothing is "
            f"charged. {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        del currency
        return [f"Then: {changes(operation)}.", f"Now: {routed(operation)}.", environment(operation)]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to."""
        del currency
        number = spoken(operation.e164)
        if operation.not_applied:
            return f"{number} is not changed as asked.{_note(operation)}{not_applied(operation)}"
        return f"{number} is changed: {changes(operation)}.{_note(operation)}"


def where_agreed(way: Channel | None, *, takes_codes: bool) -> str:
    """Write where a person says yes.

    Args:
        way: As `channels.Ways` has it.
        takes_codes: Whether they are asked in the conversation where no page opens.
    """
    if way is Channel.SCREEN and takes_codes:
        return _WAYS[way].replace(".", "; where none opens, in the conversation.")
    return _WAYS[way]


def changes(operation: Operation, *, usual: bool = True, aloud: bool = False) -> str:
    """Return the settings that an operation would bring about.

    Args:
        operation: The operation.
        usual: Whether calls that are on are named.
        aloud: Whether it is spoken, so that an endpoint is called without its id.
    """
    wanted, quote = operation.request, operation.quote
    parts = []
    if wanted.endpoint_id == UNROUTED:
        parts.append("calls go nowhere")
    elif wanted.endpoint_id:
        where = told(wanted.endpoint_id, quote.endpoint_name, quote.endpoint_type)
        trouble = f", which {quote.endpoint_trouble} now" if quote.endpoint_trouble else ""
        parts.append(f"calls go to {without_ids(where) if aloud else where}{trouble}")
    for name, value in (("inbound", wanted.allow_inbound), ("outbound", wanted.allow_outbound)):
        if value is False or (value and usual):
            parts.append(f"{name} calls {'on' if value else 'off'}")
    return ", ".join(parts)


def routed(operation: Operation, *, aloud: bool = False) -> str:
    """Return where calls to the number went when the operation was proposed; aloud without the end of an id."""
    where = operation.quote.routed_to or "no endpoint"
    return without_ids(where) if aloud else where


def not_applied(operation: Operation) -> str:
    """Return which settings KrosAI did not take, or that they are still to come; empty where all is as asked."""
    if operation.not_applied:
        return f" KrosAI did not apply {', '.join(operation.not_applied)}."
    return " Its settings are still being applied." if still_lacking(operation) else ""


def _number_in_its_country(operation: Operation) -> str:
    where = f" in {operation.quote.country}" if operation.quote.country else ""
    return f"{spoken(operation.e164)}{where}"


def environment(operation: Operation) -> str:
    """Write which kind of account it is."""
    return _ENVIRONMENTS[operation.quote.environment]


def _note(operation: Operation) -> str:
    return f" {operation.note}" if operation.note else ""


def finality(operation: Operation) -> str:
    """Write that a release is for good."""
    record = " Its record is deleted too." if operation.request.permanent else ""
    return f"This cannot be undone.{record}"


def keep_asking(operation: Operation) -> str:
    """Write what an agent does about an outcome that is not known."""
    again = (
        f"looks at KrosAI again at {utc(operation.look_at)[11:16]} UTC" if operation.look_at else "keeps asking KrosAI"
    )
    return f"Call get_operation later; never start it anew. The server {again}."
