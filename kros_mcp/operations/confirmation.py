"""What a person may answer, and the one-time code that an agent brings back after a yes in the conversation."""

import hmac
from base64 import b32encode
from hashlib import sha256
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kros_mcp.errors import ConfirmationError
from kros_mcp.numbering import last_four
from kros_mcp.operations import moves
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import WAITING, Action, Channel, Operation, State, past

MAX_TRIES = 3
_LONGEST_DIGITS = 40


def _bare(schema: dict[str, Any]) -> None:
    """Leave what MCP knows of a form: Codex turns one with a title or a description down, and shows it to nobody."""
    for name in ("title", "description"):
        schema.pop(name, None)


class Choice(BaseModel):
    """A form with one required choice and no default; the no stands first, where a client may put its cursor."""

    model_config = ConfigDict(json_schema_extra=_bare)

    def is_slip(self, operation: Operation) -> bool:
        """Whether this deserves another try."""
        del operation
        return False


class PurchaseAnswer(Choice):
    """What a person may answer to a purchase."""

    decision: Literal["do not buy", "buy"] = Field(title="Decision", description="Buy spends the amount shown.")

    def is_yes(self, operation: Operation) -> bool:
        """Whether this confirms the operation."""
        del operation
        return self.decision == "buy"


class ReleaseAnswer(Choice):
    """What a person may answer to a release; the digits show that they read which number."""

    decision: Literal["keep", "release"] = Field(title="Decision", description="Release cannot be undone.")
    last_four_digits: str = Field(
        "",
        title="Last four digits",
        description="To release, type the number's last four digits.",
        max_length=_LONGEST_DIGITS,
    )

    def is_yes(self, operation: Operation) -> bool:
        """Whether this confirms the operation."""
        return self.decision == "release" and not self.is_slip(operation)

    def is_slip(self, operation: Operation) -> bool:
        """Whether what was typed is wrong, which deserves another try."""
        is_read = _digits(self.last_four_digits) == last_four(picked(operation)) and self.is_counted(operation)
        return self.decision == "release" and not is_read

    def is_counted(self, operation: Operation) -> bool:
        """Whether the person knows of how many numbers this is; a form that asks for none is about one."""
        return not operation.action.is_several


class SeveralReleaseAnswer(ReleaseAnswer):
    """What a person may answer to the release of several numbers; digits and count show that they read which."""

    last_four_digits: str = Field(
        "",
        title="Last four digits",
        description="To release, type the last four digits of the number that is named above.",
        max_length=_LONGEST_DIGITS,
    )
    how_many: str = Field(
        "",
        title="How many numbers",
        description="And how many numbers these are, such as 2.",
        max_length=_LONGEST_DIGITS,
    )

    def is_counted(self, operation: Operation) -> bool:
        """Whether the person knows of how many numbers this is."""
        return _digits(self.how_many) == str(len(operation.items))


class ConfigurationAnswer(Choice):
    """What a person may answer to a change of a protected number."""

    decision: Literal["do not change", "change"] = Field(title="Decision", description="Change applies what is shown.")

    def is_yes(self, operation: Operation) -> bool:
        """Whether this confirms the operation."""
        del operation
        return self.decision == "change"


Answer = PurchaseAnswer | ReleaseAnswer | ConfigurationAnswer


def yes_to(action: Action, digits: str = "", count: str = "") -> Answer:
    """Return a person's yes to an act, with the digits and the count that they typed where it asks for some."""
    digits, count = digits[:_LONGEST_DIGITS], count[:_LONGEST_DIGITS]
    match action.one:
        case Action.BUY:
            return PurchaseAnswer(decision="buy")
        case Action.RELEASE if action.is_several:
            return SeveralReleaseAnswer(decision="release", last_four_digits=digits, how_many=count)
        case Action.RELEASE:
            return ReleaseAnswer(decision="release", last_four_digits=digits)
        case _:
            return ConfigurationAnswer(decision="change")


def picked(operation: Operation) -> str:
    """Return the number whose last digits a person types: of a batch one that its id picks, so that no place is sure.

    One whose last digits another has too is picked only where there is none but such.
    """
    e164s = [part.e164 for part in operation.parts]
    ends = [last_four(e164) for e164 in e164s]
    choice = [e164 for e164 in e164s if ends.count(last_four(e164)) == 1] or e164s
    return choice[sha256(operation.id.encode()).digest()[0] % len(choice)]


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
        "That is not the confirmation code of this operation"
        + ("; after five wrong codes it was declined. " if declined else ". ")
        + "Nothing was charged or changed by this call.",
        code="WRONG_CODE",
        operation_id=operation.id,
    )


def no_code(operation: Operation | None) -> ConfirmationError:
    """Return the error that no code counts for what is being confirmed: it is asked elsewhere, or agreed to already."""
    if operation is not None and operation.state not in WAITING and operation.confirmed_at is not None:
        so_far = past(operation)
        error = ConfirmationError(
            f"That is already {operation.state}, and no confirmation code counts for it; nothing was done now.",
            code="NO_CODE_ISSUED",
            next_step=so_far.next_step,
            operation_id=operation.id,
        )
        error.charged, error.changed = so_far.charged, so_far.changed
        return error
    return ConfirmationError(
        "No confirmation code was given out for this, so it confirms nothing; nothing was charged or changed.",
        code="NO_CODE_ISSUED",
        operation_id=operation.id if operation else None,
    )


def _digits(typed: str) -> str:
    return "".join(character for character in typed if character.isdigit())


def _canonical(code: str) -> bytes:
    return "".join(character for character in code.upper() if character.isalnum()).encode()
