"""What is sent to a destination, and what a destination is."""

from dataclasses import dataclass
from typing import Any, Protocol

from kros_mcp.errors import KrosError
from kros_mcp.operations import notice_words
from kros_mcp.operations.notices import Taken
from kros_mcp.settings import Settings


class NotDeliveredError(KrosError):
    """A notice did not come through, as far as can be told; it is tried again. Its message holds no address."""

    code = "NOT_DELIVERED"
    next_step = "Look at the receiver; kros-mcp notify --test tries again."


@dataclass(frozen=True)
class Message:
    """A notice as it is sent: for programs `body`, for people `subject` and `line`.

    `id` is the same at every try and every destination.
    """

    id: str
    body: dict[str, Any]
    subject: str
    line: str


class Destination(Protocol):
    """Where notices go."""

    name: str
    """Tells people which it is: kind and host, or service; nothing of its address beside."""
    address: str
    """What makes it another one than others; a secret."""
    at_once: int
    """How many messages may be on their way to it together."""

    async def warm_up(self) -> None:
        """Load what the first message needs, so that it does not do so beside a purchase."""
        ...

    async def send(self, message: Message) -> None:
        """Deliver a message, or give it up in less than `notices.LEASE_SECONDS`.

        Raises:
            NotDeliveredError: It did not come through, as far as can be told.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


def message_of(taken: Taken, settings: Settings) -> Message:
    """Complete a notice with what only the server knows that sends it: the currency's label, and its own address."""
    body, kind, url = taken.body, taken.notice.type, settings.public_url
    data = body["data"] | {
        "currency": taken.notice.data["currency"] or settings.currency or None,
        "approvals_url": notice_words.approvals_url(url) if url else None,
    }
    line = notice_words.line(kind, data, settings.currency, url)
    return Message(taken.notice.id, body | {"data": data}, notice_words.subject(kind), line)
