"""How one request of a rehearsal was answered: its outcome, status and headers, and what it says without any value."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from kros_mcp.commands.masking import field_name, short_word
from kros_mcp.commands.rehearsal_record import Outcome
from kros_mcp.errors import ApiError, KrosError, NotSentError, RateLimitError
from kros_mcp.krosai import Heard, Written

_TELLING: Final = ("request-id", "idempot", "retry-after")
"""Parts of the names of headers that are told of, without their values."""


@dataclass(frozen=True)
class WriteAnswer:
    """How one request was answered.

    Args:
        outcome: What it comes to, before the account was looked at.
        status: The HTTP status; None without an answer.
        written: What a success says.
        error: What a refusal means, or a failure.
        body: The answer's JSON.
        headers: Which headers came, in our words.
        other: The number that the answer names in place of the one that was asked about; empty if it names no other.
    """

    outcome: Outcome
    status: int | None = None
    written: Written | None = None
    error: KrosError | None = None
    body: object = field(default=None, repr=False)
    headers: str = ""
    other: str = ""

    @property
    def number_id(self) -> str:
        """The id of the record that the answer names; empty if it names none."""
        return self.written.number.id if self.written is not None and self.written.number is not None else ""

    @property
    def said(self) -> str:
        """What it says beside its status, in a few words and without any value."""
        if self.error is not None or self.written is None:
            return self.error.code if self.error is not None else ""
        status = short_word(self.written.record_status)
        words = [
            {"json": "JSON", "empty": "empty", "other": "not JSON"}[self.written.body],
            ("names another number" if self.other else "names the number") if self.written.e164 else "",
            f"status {status}" if status else "",
        ]
        return ", ".join(filter(None, words))

    def __str__(self) -> str:
        """The answer in a few words."""
        return f"{status_of(self)}, {self.said}" if self.said else str(status_of(self))


async def answered(
    send: Callable[[], Awaitable[Written]], e164: str, heard: list[Heard], *, is_order: bool
) -> WriteAnswer:
    """Send a request, and return how it was answered.

    Args:
        send: Sends it.
        e164: The number that it is about.
        heard: Where the answer is put as it came.
        is_order: Whether it is an order, whose answer has to name the number.
    """
    written: Written | None = None
    error: KrosError | None = None
    outcome: Outcome
    try:
        written = await send()
        outcome = "done" if not is_order or written.says_bought(e164) else "unclear"
    except NotSentError as exc:
        outcome, error = "not sent", exc
    except RateLimitError as exc:
        outcome, error = "turned away", exc
    except ApiError as exc:
        outcome, error = "refused", exc
    except KrosError as exc:
        outcome, error = "unknown", exc
    if not heard:
        return WriteAnswer(outcome, None, written, error)
    reply = heard[-1].reply
    other = written.e164 if written is not None and written.e164 not in {None, e164} else None
    return WriteAnswer(outcome, reply.status, written, error, reply.body, _headers(heard[-1]), other or "")


def status_of(answer: WriteAnswer) -> int | str:
    """Return the HTTP status, or in words why there is none."""
    if answer.status is None:
        return "not sent" if answer.outcome == "not sent" else "no usable answer"
    return answer.status


def _headers(heard: Heard) -> str:
    """Return which of the headers came that tell something, without their values."""
    names = []
    for name, value in heard.reply.headers.items():
        if any(part in name.lower() for part in _TELLING):
            echoed = " (ours)" if "request-id" in name.lower() and value == heard.request_id else ""
            names.append(f"{field_name(name.lower())}{echoed}")
    return ", ".join(dict.fromkeys(names))
