"""What people are told of operations and budgets: which move gives a notice, and what stands in it; pure.

A notice holds plain fields and nothing of an agent's `reason`. Its words for people are in `notice_words.py`.
"""

import json
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kros_mcp.krosai import clean
from kros_mcp.operations.acts import charge
from kros_mcp.operations.events import Event, MoveName
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Channel, Operation, State, random_id
from kros_mcp.operations.policy import DAY_SECONDS
from kros_mcp.operations.status import status, waits_for
from kros_mcp.settings import Environment
from kros_mcp.times import utc

logger = logging.getLogger(__name__)

GOOD_SECONDS: Final = DAY_SECONDS
"""For how long a notice is news: what was not delivered in that time is tried no more."""
KEPT_DELIVERED_SECONDS: Final = DAY_SECONDS
KEPT_SECONDS: Final = 7 * DAY_SECONDS
"""How long what could not be delivered is told of, unless somebody says before that they know."""
LISTENING_SECONDS: Final = 7 * DAY_SECONDS
"""How long notices are stored for a destination after a server that delivers to it was seen last."""
MOST_KEPT: Final = 10_000
"""How many are kept for one destination; beyond that the oldest are dropped."""
LEASE_SECONDS: Final = 20.0
"""How long a process has to deliver what it took, before another does; longer than one try."""
BUDGET_LOW_PERCENT: Final = 80
_PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 3_600.0)
LONGEST_PAUSE_SECONDS: Final = 7_200.0
IN_ORDER_TRIES: Final = 4
"""So often one is tried before the next of the same operation no longer waits for it."""


class NoticeType(StrEnum):
    """What a notice tells."""

    WAITING = "operation.waiting"
    DONE = "operation.done"
    FAILED = "operation.failed"
    UNKNOWN = "operation.unknown"
    CORRECTED = "operation.corrected"
    EXPIRED = "operation.expired"
    BUDGET_LOW = "budget.low"
    TEST = "test"


_OUTCOMES: Final = {State.DONE: NoticeType.DONE, State.FAILED: NoticeType.FAILED, State.UNKNOWN: NoticeType.UNKNOWN}


@dataclass(frozen=True)
class Notice:
    """One thing to tell, as it is stored with the move that it tells of; `id` is that of every try to deliver it.

    `number` is the place of the event among those of its operation; both are empty for what is of no operation.
    """

    id: str
    type: str
    at: float
    account: str
    data: dict[str, Any]
    operation_id: str = ""
    number: int = 0


@dataclass(frozen=True)
class Listener:
    """Where the notices of an account go: the hash of an address; and which organization it is of, or nothing."""

    destination: str
    account: str
    organization: str


@dataclass(frozen=True)
class Taken:
    """A notice as it was taken from the journal for one destination; `tries` are those before this one."""

    notice: Notice
    destination: str
    organization: str
    tries: int

    @property
    def body(self) -> dict[str, Any]:
        """What is sent, but for what only the sending server knows."""
        data = self.notice.data | {"organization": self.organization or None}
        return {"type": self.notice.type, "timestamp": utc(self.notice.at), "data": data}


@dataclass(frozen=True)
class OutboxCounts:
    """How many notices wait to be delivered and how many could not be, and when the last one was.

    A notice counts once for each destination. `undelivered_since` is the time of the oldest of those.
    """

    waiting: int = 0
    undelivered: int = 0
    undelivered_since: float | None = None
    delivered_at: float | None = None


def notice_of(operation: Operation, event: Event, number: int) -> Notice | None:
    """Return what people are told of an event; None for most. Never raises, since money may just have moved.

    Args:
        operation: As it is stored with the event.
        event: What happened to it.
        number: Which of its events that is.
    """
    try:
        kind = _type_of(operation, event)
        data = {"sequence": number} | _facts(operation) if kind is not None else {}
    except Exception:
        logger.exception("operation %s: nobody can be told what happened", operation.id)
        return None
    if kind is None:
        return None
    return Notice(new_notice_id(), kind, event.at, operation.account, data, operation.id, number)


def budget_low(account: str, at: float, environment: Environment, *, spent_cents: int, budget_cents: int) -> Notice:
    """Return the notice that most of the day's budget is spent."""
    data = {
        "spent_cents": spent_cents,
        "budget_cents": budget_cents,
        "left_cents": max(0, budget_cents - spent_cents),
        "percent": BUDGET_LOW_PERCENT,
        "environment": environment,
        "currency": None,
    }
    return Notice(new_notice_id(), NoticeType.BUDGET_LOW, at, account, data)


def trial(account: str, at: float, environment: Environment | None) -> Notice:
    """Return a notice that tells nothing, to try the way with."""
    return Notice(new_notice_id(), NoticeType.TEST, at, account, {"environment": environment, "currency": None})


def is_low(spent_cents: int, budget_cents: int) -> bool:
    """Whether so much of a budget is spent that people are told."""
    return budget_cents > 0 and spent_cents * 100 >= budget_cents * BUDGET_LOW_PERCENT


def pause_after(tries: int) -> float:
    """Return how many seconds to wait after so many tries; about eighteen fit into a day."""
    return _PAUSES[tries - 1] if 0 < tries <= len(_PAUSES) else LONGEST_PAUSE_SECONDS


def new_notice_id() -> str:
    """Return an id for a notice, the same at every try and destination."""
    return random_id("evt_")


def encoded(data: dict[str, Any]) -> str:
    """Return data as it is stored and sent: JSON without blanks, ASCII alone."""
    return json.dumps(data, separators=(",", ":"))


def _type_of(operation: Operation, event: Event) -> NoticeType | None:
    match event.move:
        case MoveName.ASKED:  # what is proposed to an approver names the channel before anybody is asked
            asked = "asked_at" in event.changes or "channel" in event.changes
            return NoticeType.WAITING if operation.channel is Channel.APPROVER and asked else None
        case MoveName.SHOWN:  # a page that no browser has fetched asks nobody, and a code may take its place
            return NoticeType.WAITING
        case MoveName.EXPIRED:  # of what waits in a conversation nobody elsewhere was told
            told = operation.channel is Channel.APPROVER or operation.shown_at is not None
            return NoticeType.EXPIRED if told else None
        case MoveName.CORRECTED:
            return NoticeType.CORRECTED
        case MoveName.DONE | MoveName.FAILED | MoveName.UNKNOWN | MoveName.SETTLED_BY_HAND:
            return _OUTCOMES.get(operation.state)
        case _:
            return None


def _facts(operation: Operation) -> dict[str, Any]:
    quote, waits = operation.quote, operation.state is State.PROPOSED
    return {
        "operation_id": operation.id,
        "status": status(operation),
        "action": str(operation.action),
        "e164": None if operation.items else operation.e164,
        "numbers": [item.e164 for item in operation.items] or None,
        "batch": operation.batch or None,
        "country": quote.country,
        "environment": quote.environment,
        "due_now_cents": quote.due_now_cents if operation.action.charges else None,
        "monthly_cents": charge.monthly_cents(operation) if operation.action.charges else None,
        "currency": charge.currency_of(operation, "") or None,
        "principal": clean(operation.principal, LONGEST_NAME_SHOWN),
        "charged": operation.charged,
        "charged_cents": operation.charged_cents,
        "changed": operation.changed,
        "waits_for": waits_for(operation),
        "expires_at": utc(operation.expires_at) if waits else None,
        "decided_by": clean(operation.decided_by, LONGEST_NAME_SHOWN) or None,
        "code": operation.error_code or None,
        "not_applied": list(operation.not_applied),
    }
