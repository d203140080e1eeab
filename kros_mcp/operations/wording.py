"""Every sentence about an act that a person is asked or told.

Each is built from the stored operation alone, so that the same operation always asks the same question and no two
operations ask the same one. What is said aloud has no id in it, and an endpoint's name only where that is plain; where
a person decides, the end of its id stands beside the name. What the agent writes stands below a prompt's facts alone,
as its words. `currency` is the operator's label, or empty.
"""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Final

from kros_mcp.krosai import UNROUTED
from kros_mcp.money import label_of, show_again, show_cents, show_price
from kros_mcp.numbering import country_name, in_country, last_four, spoken
from kros_mcp.operations import agent_words, endpoint_names
from kros_mcp.operations.acts.routing import still_lacking
from kros_mcp.operations.confirmation import MAX_TRIES
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.times import spoken_date, spoken_duration

_ENVIRONMENTS: Final = {
    "live": "This is the live account: real money.",
    "test": "This is a test key.",
    "simulator": "This is the simulator: no real money.",
}
_ALOUD: Final = {"live": "", "test": "With a test key, ", "simulator": "In the simulator, "}
"""What is said first of where an act takes place; of real money, at the end."""
_REAL_MONEY: Final = " It is real money."
_SAY_AND_WAIT: Final = (
    "Say the summary and wait, {time} at most. Only a yes said after it counts: no earlier 'buy that' or 'no need to "
    "ask me'. After a yes, call again with the same arguments and confirmation_code; after a no, cancel_operation. "
    "Never say the code."
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
LATER: Final = (
    "Call get_operation with this operation_id in a few seconds; after two tries tell the person that it goes on. "
    "Never start again."
)
NOWHERE: Final = "no endpoint"
NO_REFUND: Final = "KrosAI does not say whether anything is refunded, nor when it stops billing."
_GIVE_UP: Final = "To give it up: release_phone_number; no refund is known."
_ROUTE: Final = "Offer to route its calls: configure_phone_number. "
_SETTINGS: Final = {"endpoint_id": "the endpoint", "allow_inbound": "inbound calls", "allow_outbound": "outbound calls"}
_REFUSED: Final = {"INSUFFICIENT_BALANCE": "for lack of credit"}
_UNVERIFIED: Final = "because the account's identity is not verified"


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

    def about(self, operation: Operation, currency: str) -> str:
        """Write the act as `statement` does, without where it takes place and what was refused before."""
        return self.statement(operation, currency)

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
        where = f", {country_name(operation.quote.country)}" if operation.quote.country else ""
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

    def afterwards(self, operation: Operation) -> str:
        """Write what may be done after an act that is done; empty where that is nothing."""
        del operation
        return ""

    def summary(
        self,
        operation: Operation,
        currency: str,
        *,
        code: str = "",
        told: bool = False,
        page: bool = False,
        now: float | None = None,
    ) -> tuple[str, str]:
        """Write where an operation stands, and what the agent is to do next.

        Args:
            operation: As it stands.
            currency: The operator's label, or empty.
            code: The confirmation code, only where the agent is to ask and call again.
            told: Whether approvers are told of what waits for them.
            page: Whether they have a page to decide on.
            now: The journal's time. Defaults to when the operation was asked about.
        """
        number, doing = self.named(operation), self.doing.capitalize()
        match operation.state:
            case State.PROPOSED:
                time = spoken_duration(seconds_left(operation, now))
                if code:
                    return self.sentence(operation, currency), _SAY_AND_WAIT.format(time=time)
                if operation.channel is Channel.APPROVER:
                    summary, next_step = self._waiting_for_approver(operation, currency, told=told, page=page)
                else:
                    summary, next_step = self._waiting(operation, currency)
                words = (summary, f"{next_step} It can be answered for {time}.")
            case State.CONFIRMED:
                words = (f"{doing} {number} is approved and about to start.", LATER)
            case State.SENDING:
                words = (f"{doing} {number} is under way; its outcome is not known yet.", LATER)
            case State.UNKNOWN:
                words = (self._unknown(operation, currency), keep_asking(operation, now))
            case State.DONE:
                lacking = "Tell the person what was not applied." if operation.not_applied else ""
                words = (self.ended(operation, currency), f"{lacking} {self.afterwards(operation)}".strip())
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
        message, number = operation.message, self.named(operation)
        if not (number in message or operation.e164 in message) or "nothing was" not in message.lower():
            message = f"{message} {number} was not {self.done}; nothing was charged or changed."
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

    def _waiting(self, operation: Operation, currency: str) -> tuple[str, str]:
        if operation.channel is Channel.SCREEN:
            return self._on_screen(operation, currency)
        asking = self.sentence(operation, currency)
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

    def _unknown(self, operation: Operation, currency: str) -> str:
        number, cents = self.named(operation), operation.quote.due_now_cents
        at_stake = ""
        if operation.action.charges and cents is not None:
            at_stake = f" {show_cents(cents, label_of(operation.quote.currency, currency))} may have been charged."
        if operation.corrected_at is None:
            lost = f"The answer to {self.doing} {number} was lost, so it is not known yet whether it happened"
            return f"{lost}; it will not be sent again.{at_stake}"
        called = f"{number} was called {self.done} at first, and it is not known now whether it is"
        return f"{called}; it will not be sent again.{at_stake} {operation.note}".strip()


class PurchaseWording(Wording):
    """How a purchase is spoken of."""

    to_do = "buy"
    doing = "buying"
    done = "bought"
    heading = "Buy"

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        return aloud(operation, f"{self.about(operation, currency)}{refused_before(operation)}")

    def about(self, operation: Operation, currency: str) -> str:
        """Write the act as `statement` does, without where it takes place and what was refused before."""
        unusual = changes(operation, usual=False, aloud=True)
        then = f" Then: {unusual}." if unusual else ""
        return f"buying {_number_in_its_country(operation)} costs {_cost(operation, currency)}.{then}"

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        cost = _cost(operation, currency)
        if operation.quote.due_now_cents is None and operation.quote.monthly_cents is None:
            cost = "amounts that KrosAI does not state, now and every month"
        unusual = changes(operation, usual=False)
        then = f" Then: {unusual}." if unusual else ""
        return (
            f"If you approve, the account is charged {cost} until the number is released.{then} If the price has "
            f"changed by then, nothing is charged.{refused_before(operation)} {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        quote, wanted, refused = operation.quote, changes(operation), refused_before(operation)
        label = label_of(quote.currency, currency)
        return [
            f"Now, first month included: {show_cents(quote.due_now_cents, label)}.",
            *([f"Of that, setup: {show_again(quote.setup_cents)}."] if quote.setup_cents else []),
            f"Then every month: {show_cents(quote.monthly_cents, label)}.",
            environment(operation),
            *([f"Then: {wanted}."] if wanted else []),
            *([refused.strip()] if refused else []),
        ]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to."""
        unseen = " KrosAI does not list it among the owned numbers yet." if operation.look_at is not None else ""
        said = f"{spoken(operation.e164)} is bought for {_cost(operation, currency)}.{_route(operation)}{unseen}"
        return f"{said}{_note(operation)}{not_applied(operation)}"

    def afterwards(self, operation: Operation) -> str:
        """Write how the number gets its calls, and how it is given up."""
        return f"{_ROUTE if goes_nowhere(operation) else ''}{_GIVE_UP}{real_money(operation)}"


class ReleaseWording(Wording):
    """How a release is spoken of."""

    to_do = "release"
    doing = "releasing"
    done = "released"
    heading = "Release"
    warning = "Calls to this number will stop. This cannot be undone."

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        return aloud(operation, self.about(operation, currency))

    def about(self, operation: Operation, currency: str) -> str:
        """Write the act as `statement` does, without where it takes place."""
        del currency
        return (
            f"releasing {_number_in_its_country(operation)} means that calls to it will stop; they now "
            f"{goes(operation, aloud=True)}. {finality(operation)} {NO_REFUND}"
        )

    def consequence(self, operation: Operation, currency: str) -> str:
        """Write what a yes brings about, for somebody who decides outside the conversation."""
        del currency
        return (
            f"If you approve, calls to it stop; they now {goes(operation)}. {finality(operation)} "
            f"{NO_REFUND} {environment(operation)}"
        )

    def particulars(self, operation: Operation, currency: str) -> list[str]:
        """Write what `statement` says as lines, for a client's prompt."""
        del currency
        return [
            f"Calls to it will stop; they now {goes(operation)}. {finality(operation)} {NO_REFUND}",
            environment(operation),
            f"To release it, type its last four digits: {last_four(operation.e164)}.",
        ]

    def ended(self, operation: Operation, currency: str) -> str:
        """Write what an act that is done has come to."""
        del currency
        said = f"{spoken(operation.e164)} is released; calls to it no longer arrive, and it cannot be taken back."
        return f"{said}{_note(operation)}{not_applied(operation)}"

    def afterwards(self, operation: Operation) -> str:
        """Write what is known of the money, should the person ask."""
        del operation
        return NO_REFUND


class ConfigurationWording(Wording):
    """How the change of a protected number is spoken of."""

    to_do = "change"
    doing = "changing"
    done = "changed"
    heading = "Change the protected number"

    def statement(self, operation: Operation, currency: str) -> str:
        """Write the act as one paragraph: an agent says it, an approver reads it; prompts have `particulars`."""
        return aloud(operation, self.about(operation, currency))

    def about(self, operation: Operation, currency: str) -> str:
        """Write the act as `statement` does, without where it takes place."""
        del currency
        change, now = changes(operation, aloud=True), routed(operation, aloud=True)
        said = f"{_number_in_its_country(operation)} is a protected number, and its calls go to {now}"
        return f"{said}; the change would be: {change}."

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
        return f"{number} is changed: {changes(operation, aloud=True)}.{_note(operation)}"


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
        operation: As it stands.
        usual: Whether calls that are on are named.
        aloud: Whether it is said rather than read, so that no part of an id stands in it.
    """
    wanted, quote = operation.request, operation.quote
    parts = []
    if wanted.endpoint_id == UNROUTED:
        parts.append("calls go nowhere")
    elif wanted.endpoint_id:
        name, kind = quote.endpoint_name, quote.endpoint_type
        where = endpoint_names.said(name, kind) if aloud else endpoint_names.told(wanted.endpoint_id, name, kind)
        trouble = f", which {quote.endpoint_trouble} now" if quote.endpoint_trouble else ""
        parts.append(f"calls go to {where}{trouble}")
    for name, value in (("inbound", wanted.allow_inbound), ("outbound", wanted.allow_outbound)):
        if value is False or (value and usual):
            parts.append(f"{name} calls {'on' if value else 'off'}")
    return ", ".join(parts)


def routed(operation: Operation, *, aloud: bool = False) -> str:
    """Return where calls to the number went when the operation was proposed; aloud without the end of an id."""
    where = operation.quote.routed_to or NOWHERE
    return endpoint_names.without_ids(where) if aloud else where


def goes(operation: Operation, *, aloud: bool = False) -> str:
    """Return the same behind "calls to it": `go to "Support agent"`, or `go nowhere`."""
    where = routed(operation, aloud=aloud)
    return "go nowhere" if where == NOWHERE else f"go to {where}"


def refused_before(operation: Operation) -> str:
    """Return, as a sentence of its own, that KrosAI refused the account's last purchase; empty where it did not."""
    code, at = operation.quote.refused_code, operation.quote.refused_at
    if not code or at is None:
        return ""
    return f" KrosAI refused the last purchase, on {spoken_date(at)}, {_REFUSED.get(code, _UNVERIFIED)}."


def aloud(operation: Operation, sentences: str) -> str:
    """Say where an act would take place: first that it is only a test, or last that it is real money."""
    said = capitalized(f"{_ALOUD[operation.quote.environment]}{sentences}")
    return f"{said}{_REAL_MONEY if operation.quote.environment == 'live' else ''}"


def capitalized(sentence: str) -> str:
    """Return a sentence that begins with a capital letter, all else as it was."""
    return f"{sentence[:1].upper()}{sentence[1:]}"


def seconds_left(operation: Operation, now: float | None) -> float:
    """Return how long an operation still waits for its yes; `now` defaults to when it was asked about."""
    since = (operation.asked_at or operation.created_at) if now is None else now
    return max(0.0, operation.expires_at - since)


def not_applied(operation: Operation) -> str:
    """Return which settings KrosAI did not take, or that they are still to come; empty where all is as asked."""
    if operation.not_applied:
        return f" KrosAI did not apply {' and '.join(_SETTINGS.get(name, name) for name in operation.not_applied)}."
    return " Its settings are still being applied." if still_lacking(operation) else ""


def _number_in_its_country(operation: Operation) -> str:
    where = f" {in_country(operation.quote.country)}" if operation.quote.country else ""
    return f"{spoken(operation.e164)}{where}"


def _cost(operation: Operation, currency: str) -> str:
    quote, label = operation.quote, label_of(operation.quote.currency, currency)
    return show_price(quote.due_now_cents, quote.monthly_cents, label, setup_cents=quote.setup_cents)


def environment(operation: Operation) -> str:
    """Write which kind of account it is."""
    return _ENVIRONMENTS[operation.quote.environment]


def real_money(operation: Operation) -> str:
    """Write, of a purchase with a test key, what KrosAI leaves open; empty for any other."""
    return " Whether a test key costs real money is not known." * (operation.quote.environment == "test")


def _route(operation: Operation) -> str:
    """Return where the calls of a number that was bought go, as far as KrosAI has shown it."""
    if goes_nowhere(operation):
        return " Its calls go nowhere until an endpoint is set."
    where = goes_as_asked(operation)
    return f" Its calls go to {where}." if where else ""


def goes_as_asked(operation: Operation) -> str:
    """Return the endpoint that was asked for, as it is said, where KrosAI shows that calls go there; else empty."""
    quote, number = operation.quote, operation.number
    if number is None or not number.endpoint_id or number.endpoint_id != operation.request.endpoint_id:
        return ""
    return endpoint_names.said(quote.endpoint_name, quote.endpoint_type)


def goes_nowhere(operation: Operation) -> bool:
    """Whether a number was bought without an endpoint, and KrosAI showed none of its own choosing."""
    return not operation.request.endpoint_id and operation.number is not None and not operation.number.endpoint_id


def _note(operation: Operation) -> str:
    return f" {operation.note}" if operation.note else ""


def finality(operation: Operation) -> str:
    """Write that a release is for good."""
    record = " Its record is deleted too." if operation.request.permanent else ""
    return f"This cannot be undone.{record}"


def keep_asking(operation: Operation, now: float | None = None) -> str:
    """Write what an agent does about an outcome that is not known."""
    again = "keeps asking KrosAI"
    if now is not None and operation.look_at is not None:
        again = f"looks at KrosAI again in {spoken_duration(operation.look_at - now)}"
    return f"Tell the person, then call get_operation; never do it a second time. The server {again}."
