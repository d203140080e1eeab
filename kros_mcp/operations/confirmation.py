"""How a person says yes: the question, the sentence to say, and the one-time code.

Everything here is built from the stored operation alone, so that the same operation always asks the
same question and no two operations ask the same one. Names from upstream never stand in it, and ids are quoted.
"""

import hmac
from base64 import b32encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, Field

from kros_mcp.errors import ConfirmationError
from kros_mcp.krosai import quoted_id
from kros_mcp.money import show_cents, show_price
from kros_mcp.numbering import last_four, spoken
from kros_mcp.operations import moves
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Channel, Operation, State

MAX_TRIES = 3
_VERBS = {Action.BUY: "buy", Action.RELEASE: "release", Action.CONFIGURE: "change"}
_ENVIRONMENTS = {
    "live": "This is the live account: real money.",
    "test": "This is a test key.",
    "simulator": "This is the simulator: no real money.",
}


class Choice(BaseModel):
    """A form with one required choice and no default."""

    def is_slip(self, operation: Operation) -> bool:
        """Tell whether this deserves another try."""
        del operation
        return False


class PurchaseAnswer(Choice):
    """What a person may answer to a purchase."""

    decision: Literal["buy", "do not buy"] = Field(title="Decision", description="Buy spends the amount shown.")

    def is_yes(self, operation: Operation) -> bool:
        """Tell whether this confirms the operation."""
        del operation
        return self.decision == "buy"


class ReleaseAnswer(Choice):
    """What a person may answer to a release; the digits show that they read which number."""

    decision: Literal["release", "keep"] = Field(title="Decision", description="Release cannot be undone.")
    last_four_digits: str = Field(
        "",
        title="Last four digits",
        description="To release, type the number's last four digits.",
        max_length=40,
    )

    def is_yes(self, operation: Operation) -> bool:
        """Tell whether this confirms the operation."""
        return self.decision == "release" and not self.is_slip(operation)

    def is_slip(self, operation: Operation) -> bool:
        """Tell whether the digits are wrong, which deserves another try."""
        typed = "".join(character for character in self.last_four_digits if character.isdigit())
        return self.decision == "release" and typed != last_four(operation.e164)


class ConfigureAnswer(Choice):
    """What a person may answer to a change of a protected number."""

    decision: Literal["change", "do not change"] = Field(title="Decision", description="Change applies what is shown.")

    def is_yes(self, operation: Operation) -> bool:
        """Tell whether this confirms the operation."""
        del operation
        return self.decision == "change"


Answer = PurchaseAnswer | ReleaseAnswer | ConfigureAnswer


def question(operation: Operation, currency: str, *, attempt: int = 1) -> str:
    """Write the prompt that a client shows to a person.

    Args:
        operation: As it stands in the journal.
        currency: The operator's label, or empty.
        attempt: 2 and 3 after wrong digits; told, so that each try is a question of its own.
    """
    lines = [_headline(operation), *_particulars(operation, currency)]
    if attempt > 1:
        lines.append(f"Those were not its last four digits. Try {attempt} of {MAX_TRIES}.")
    until = datetime.fromtimestamp(operation.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines.append(f"Operation {operation.id}, to be answered by {until} UTC.")
    return "\n".join(lines)


def sentence(operation: Operation, currency: str) -> str:
    """Write what an agent says aloud to ask a person for a yes or a no."""
    return f"{statement(operation, currency)} Shall I {_VERBS[operation.action]} it?"


def statement(operation: Operation, currency: str) -> str:
    """Write what a person is to know before they say yes or no."""
    where = f" in {operation.quote.country}" if operation.quote.country else ""
    number = f"{spoken(operation.e164)}{where}"
    environment = _ENVIRONMENTS[operation.quote.environment]
    if operation.action is Action.BUY:
        cost = show_price(operation.quote.due_now_cents, operation.quote.monthly_cents, currency)
        unusual = changes(operation, usual=False)
        then = f" Then: {unusual}." if unusual else ""
        return f"Buying {number} costs {cost}.{then} {environment}"
    if operation.action is Action.RELEASE:
        return (
            f"Releasing {number} means that calls to it will stop; they now go to {routed(operation)}. "
            f"{_finality(operation)} {environment}"
        )
    return f"{number} is a protected number; the change would be: {changes(operation)}. {environment}"


def changes(operation: Operation, *, usual: bool = True) -> str:
    """Name the settings that an operation would bring about; `usual` is whether calls that are on are named."""
    wanted = operation.request
    parts = []
    if wanted.endpoint_id:
        kind = f" ({operation.quote.endpoint_type})" if operation.quote.endpoint_type else ""
        trouble = f", which {operation.quote.endpoint_trouble} now" if operation.quote.endpoint_trouble else ""
        parts.append(f"calls go to endpoint {quoted_id(wanted.endpoint_id)}{kind}{trouble}")
    for name, value in (("inbound", wanted.allow_inbound), ("outbound", wanted.allow_outbound)):
        if value is False or (value and usual):
            parts.append(f"{name} calls {'on' if value else 'off'}")
    return ", ".join(parts)


def code_for(secret: bytes, operation: Operation) -> str:
    """Derive the one-time code of an operation: 40 bits, in letters and digits that are hard to confuse."""
    digest = hmac.new(secret, f"confirmation code of {operation.id}".encode(), sha256).digest()
    text = b32encode(digest[:5]).decode().translate(str.maketrans("ILOU", "1980"))
    return f"{text[:4]}-{text[4:]}"


async def check_code(journal: Journal, operation: Operation, given: str) -> None:
    """Raise unless `given` is the code of this operation; wrong ones are counted.

    Raises:
        ConfirmationError: `WRONG_CODE`, or `NO_CODE_ISSUED` where none was ever given out.
    """
    if operation.channel is not Channel.CODE:
        raise no_code(operation)
    if hmac.compare_digest(_canonical(code_for(journal.secret, operation)), _canonical(given)):
        return
    counted = operation
    if operation.state is State.PROPOSED:
        counted = await journal.change(operation.id, moves.wrong_code, by=By(operation.principal, "code"))
    declined = counted.state is State.DECLINED
    raise ConfirmationError(
        f"That is not the confirmation code of operation {operation.id}"
        + ("; after five wrong codes it was declined. " if declined else ". ")
        + "Nothing was charged or changed by this call.",
        code="WRONG_CODE",
        operation_id=operation.id,
    )


def no_code(operation: Operation | None) -> ConfirmationError:
    """Say that no code was given out for what is being confirmed."""
    return ConfirmationError(
        "No confirmation code was given out for this, so it confirms nothing; nothing was charged or changed.",
        code="NO_CODE_ISSUED",
        operation_id=operation.id if operation else None,
    )


def _canonical(code: str) -> bytes:
    return "".join(character for character in code.upper() if character.isalnum()).encode()


def _headline(operation: Operation) -> str:
    where = f", {operation.quote.country}" if operation.quote.country else ""
    verb = {Action.BUY: "Buy", Action.RELEASE: "Release", Action.CONFIGURE: "Change the protected number"}
    return f"{verb[operation.action]} {spoken(operation.e164)} ({operation.e164}{where})?"


def _particulars(operation: Operation, currency: str) -> list[str]:
    environment = _ENVIRONMENTS[operation.quote.environment]
    if operation.action is Action.BUY:
        lines = [
            f"Now, first month included: {show_cents(operation.quote.due_now_cents, currency)}.",
            f"Then every month: {show_cents(operation.quote.monthly_cents, currency)}.",
        ]
        wanted = changes(operation)
        return [*lines, environment, *([f"Then: {wanted}."] if wanted else [])]
    if operation.action is Action.RELEASE:
        return [
            f"Calls to it will stop; they now go to {routed(operation)}. {_finality(operation)}",
            environment,
            f"To release it, type its last four digits: {last_four(operation.e164)}.",
        ]
    return [f"Then: {changes(operation)}.", f"Now: {routed(operation)}.", environment]


def routed(operation: Operation) -> str:
    """Say where calls to the number went when the operation was proposed."""
    return operation.quote.routed_to or "no endpoint"


def _finality(operation: Operation) -> str:
    record = " Its record is deleted too." if operation.request.permanent else ""
    return f"This cannot be undone.{record}"
