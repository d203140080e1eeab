"""An operation, its states and which state follows which; pure.

    proposed ─confirm+claim→ sending ─→ done
       │  └─confirm→ confirmed ─claim→ ┘  ├─→ failed   (known: nothing charged, nothing changed)
       │             │                    └─→ unknown ─reconcile→ done | failed
       ├→ declined, cancelled, expired ←┘
       └→ failed   (the claim was refused: a cap, a busy number)

The moves themselves stand in `moves.py`. Times are Unix seconds on the journal's clock.
"""

import re
import secrets
from base64 import b32encode
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal

from kros_mcp.errors import Known, KrosError, OperationError
from kros_mcp.numbering import spoken
from kros_mcp.settings import Confirmation, Environment

LEASE_SECONDS = 15.0
"""How long a process may send without renewing its lease.

Servers that share a journal must agree on it: `moves.is_abandoned` takes a longer lease for the error of a clock.
"""
ANSWER_SECONDS = 600.0
"""How long a person in the conversation may take for a yes, by a prompt or by a code."""
DONE_ANSWERED_SECONDS = 86_400.0
"""How long after it was done an act still answers a wish for the same again."""
MAX_WRONG_CODES = 5
MOST_REPEATS = 99
"""How many calls for what waits already are counted of one operation: a model in a loop does not wear the journal."""
OTHER_NUMBER = "OTHER_NUMBER"
"""The code of an unknown purchase that KrosAI answered with another number: it may have charged that one."""
NAMED_INSTEAD = "NAMED_INSTEAD"
"""The code of a number of a batch that was not begun, and that KrosAI named in place of one before it."""
TOKENS = "tokens"
"""Who vouches for the callers of a tokens file; no URL, so that no authorization server can pass for it."""
LONGEST_NAME_SHOWN = 400
"""How much of the name of a principal, or of whoever decided, is shown; the same everywhere."""


class State(StrEnum):
    """Where an operation stands."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Action(StrEnum):
    """What an operation does; `operations/acts/` has one act for each.

    Those of several are of a batch, which asks one question about several numbers; after the yes each of these is an
    operation of its own.
    """

    BUY = "buy"
    RELEASE = "release"
    CONFIGURE = "configure"
    BUY_SEVERAL = "buy_several"
    RELEASE_SEVERAL = "release_several"
    CONFIGURE_SEVERAL = "configure_several"

    @property
    def is_several(self) -> bool:
        """Whether it is a batch's."""
        return self in _SEVERAL.values()

    @property
    def several(self) -> "Action":
        """What does this to several numbers under one yes."""
        return _SEVERAL.get(self, self)

    @property
    def one(self) -> "Action":
        """What is done to each number."""
        return next((one for one, several in _SEVERAL.items() if several is self), self)

    @property
    def charges(self) -> bool:
        """Whether KrosAI bills the account for it."""
        return self.one is Action.BUY

    @property
    def scope(self) -> str:
        """The scope without which no caller of a service may do it."""
        return f"numbers:{self.one}"


_SEVERAL: dict[Action, Action] = {
    Action.BUY: Action.BUY_SEVERAL,
    Action.RELEASE: Action.RELEASE_SEVERAL,
    Action.CONFIGURE: Action.CONFIGURE_SEVERAL,
}


class Channel(StrEnum):
    """Where a person is asked."""

    PROMPT = "prompt"
    SCREEN = "screen"
    CODE = "code"
    APPROVER = "approver"


MOVES: dict[State, frozenset[State]] = {
    State.PROPOSED: frozenset(
        {State.CONFIRMED, State.SENDING, State.FAILED, State.DECLINED, State.CANCELLED, State.EXPIRED}
    ),
    State.CONFIRMED: frozenset({State.SENDING, State.FAILED, State.DECLINED, State.CANCELLED, State.EXPIRED}),
    State.SENDING: frozenset({State.DONE, State.FAILED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.DONE, State.FAILED}),
}
Outcome = Literal[State.DONE, State.FAILED, State.UNKNOWN]
WAITING = frozenset({State.PROPOSED, State.CONFIRMED})
IN_FLIGHT = frozenset({State.SENDING, State.UNKNOWN})
OPEN = WAITING | IN_FLIGHT


@dataclass(frozen=True)
class Request:
    """What is asked of KrosAI: the settings that make two proposals the same or not, and where to look.

    `area_code`, `type` and `position` only say where a search saw the number; they never decide.
    """

    number_id: str = ""
    inventory_id: str = ""
    country: str = ""
    type: str = ""
    area_code: str = ""
    position: int | None = None
    endpoint_id: str = ""
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None
    permanent: bool = False
    status: str = ""
    """The record's status when its release was proposed."""
    routed_endpoint_id: str | None = ""
    """Where its calls went then; empty for nowhere, None where KrosAI did not say."""
    inbound_before: bool | None = None
    outbound_before: bool | None = None
    """Whether it took and made calls then; None where KrosAI did not say."""
    reason: str = ""
    """Why, in the agent's own words; nothing of it is checked, and nobody agrees to it."""

    @property
    def terms(self) -> tuple[object, ...]:
        """What a person agrees to beside the number and its price."""
        return (self.endpoint_id, self.allow_inbound, self.allow_outbound, self.permanent)


@dataclass(frozen=True)
class Quote:
    """Exactly what is shown to a person; cents, null where KrosAI does not say."""

    e164: str
    country: str | None
    environment: Environment
    setup_cents: int | None = None
    monthly_cents: int | None = None
    due_now_cents: int | None = None
    endpoint_id: str = ""
    endpoint_name: str = ""
    """The wanted endpoint's name, where it is plain; else empty."""
    endpoint_type: str = ""
    endpoint_trouble: str = ""
    routed_to: str = ""
    """What the endpoint is called that its calls went to then, as it is said aloud."""
    currency: str = ""
    """The currency that KrosAI's record states, such as NGN; empty where it states none."""
    refused_code: str = ""
    """With which code KrosAI refused the account's last purchase lately, for want of credit or of verification."""
    refused_at: float | None = None

    @property
    def price(self) -> tuple[object, ...]:
        """What a person agrees to pay."""
        return (self.setup_cents, self.monthly_cents, self.due_now_cents, self.currency)

    @property
    def is_priced(self) -> bool:
        """Whether KrosAI states both what is due now and what is due every month."""
        return self.due_now_cents is not None and self.monthly_cents is not None


@dataclass(frozen=True)
class Item:
    """One number of a batch, as it is shown before the yes."""

    e164: str
    request: Request
    quote: Quote


@dataclass(frozen=True)
class Limits:
    """What may be spent, in cents, and who has to agree to it; None or empty limits nothing.

    They make stricter what the settings say, and never laxer.
    """

    max_purchase_cents: int | None = None
    daily_budget_cents: int | None = None
    monthly_commitment_cents: int | None = None
    allowed_countries: tuple[str, ...] = ()
    confirmation: Confirmation | None = None
    """How a person says yes."""
    approval_above_cents: int | None = None
    """Purchases over this wait for an approver."""


@dataclass(frozen=True)
class Seen:
    """A record of a number as KrosAI's list of owned numbers showed it, in KrosAI's own words."""

    id: str
    status: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    living: bool = False
    """Whether the account owned the number by this record then."""


@dataclass(frozen=True)
class Snapshot:
    """What KrosAI showed of a number just before an act on it was sent: what was there before proves nothing.

    Args:
        records: What the list of owned numbers had of a number that is to be bought.
        unreadable: The records of any number that could not be read then.
        lacking: The settings that a number did not show yet that is to be changed; None if nobody wrote them down.
    """

    records: tuple[Seen, ...] = ()
    unreadable: tuple[str, ...] = ()
    lacking: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StoredNumber:
    """A number as KrosAI showed it last for an operation; never with its SIP credentials.

    Of a purchase the amounts are the most that KrosAI has reported since, and the currencies all that it has named.
    `endpoint_id` is None if its calls go nowhere, and `NOT_STATED` if that is not known.
    """

    id: str = ""
    e164: str = ""
    country: str | None = None
    type: str | None = None
    status: str | None = None
    endpoint_id: str | None = None
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None
    setup_cents: int | None = None
    monthly_cents: int | None = None
    total_cents: int | None = None
    """What KrosAI states as charged in all."""
    currency: str | None = None


@dataclass(frozen=True)
class Settlement:
    """How an operation that was claimed has ended, or that its outcome is not known.

    Args:
        state: The outcome.
        code: What went wrong, as a code of `errors.py`; empty for an act that is done, as are the next two.
        message: The same in a sentence.
        next_step: What to do about it.
        changed: Whether the account has changed; None for what the outcome says.
        number: The number as KrosAI shows it; None where that is not known, so that an earlier one stays.
        note: What to tell beside the outcome; None leaves what was noted before.
        reserved_cents: What counts as spent; None leaves what was reserved.
        settings_pending: Whether the number's routing is still to be set.
        not_applied: The settings that KrosAI did not take.
        accepted: Whether KrosAI answered with success, so that the act can no longer be called failed.
        look_after: In how many seconds to look at KrosAI again; None for never, or at once for an outcome not known.
        requests: What finding it out has cost KrosAI.
    """

    state: Outcome
    code: str = ""
    message: str = ""
    next_step: str = ""
    changed: Known | None = None
    number: StoredNumber | None = None
    note: str | None = None
    reserved_cents: int | None = None
    settings_pending: bool = False
    not_applied: tuple[str, ...] = ()
    accepted: bool = False
    look_after: float | None = None
    requests: int = 0

    @classmethod
    def after(cls, error: KrosError, state: Outcome) -> "Settlement":
        """Return what an error leaves of an act."""
        return cls(state, code=error.code, message=error.message, next_step=error.next_step)


@dataclass(frozen=True)
class Operation:
    """One row of the journal."""

    id: str
    account: str
    principal: str
    action: Action
    e164: str
    request: Request
    quote: Quote
    created_at: float
    expires_at: float
    state: State = State.PROPOSED
    channel: Channel | None = None
    asked_at: float | None = None
    wrong_codes: int = 0
    confirmed_at: float | None = None
    confirmed_by: str = ""
    reason: str = ""
    claimed_at: float | None = None
    reserved_cents: int = 0
    lease_until: float | None = None
    token: int = 0
    sent_at: float | None = None
    settled_at: float | None = None
    charged: Known = "no"
    changed: Known = "no"
    error_code: str = ""
    message: str = ""
    next_step: str = ""
    number: StoredNumber | None = None
    note: str = ""
    settings_pending: bool = False
    settings_superseded: tuple[str, ...] = field(default=())
    """Settings of this purchase that somebody has chosen anew."""
    accepted: bool = False
    """Whether KrosAI answered with success, so that the act can no longer be called failed."""
    not_applied: tuple[str, ...] = field(default=())
    checked_at: float | None = None
    seen_unsold_at: float | None = None
    limits: Limits = field(default=Limits())
    """What its principal may spend by itself, whichever server carries the operation out."""
    snapshot: Snapshot | None = None
    """What KrosAI showed just before it was sent; None before that, of releases, and in older journals."""
    look_at: float | None = None
    """When to look at KrosAI next: for the outcome, or after it for a while, as what was said may turn out wrong."""
    looks: int = 0
    """How many requests finding out its outcome has cost, from its sending on."""
    corrected_at: float | None = None
    """When an outcome that had been told was found to be another."""
    decided_by: str = ""
    """Who said yes or no last; empty before that, in journals older than this, and where time alone ended it."""
    decided_through: str = ""
    """Through which channel they did: prompt, screen, code, tool, page, terminal or command."""
    shown_at: float | None = None
    """When a browser fetched the page that asks, on the person's own screen; from then on nothing else may ask."""
    asked_again: int = 0
    """How often the same was asked for while it waited, beyond the first time; no more than `MOST_REPEATS`."""
    items: tuple[Item, ...] = field(default=())
    """Of a batch, the numbers that the question is about, in their order; its own `e164` names them all."""
    batch: str = ""
    """The batch under whose yes this operation stands; empty if it stands alone."""

    @property
    def charged_cents(self) -> int | None:
        """What it took: 0 if nothing, None if it is not known whether it was charged.

        It is what was quoted, or what KrosAI reported afterwards where that differs, above all a total; no invoice has
        been seen. Of a purchase that was charged an amount that KrosAI never stated whole, it is `reserved_cents`,
        which is what the guard counted, so that the sum of a day leaves no purchase out.
        """
        if not self.action.charges or self.charged == "no":
            return 0
        if self.charged == "unknown":
            return None
        quote, reported = self.quote, self.number or StoredNumber()
        if reported.total_cents is not None:
            return reported.total_cents
        setup = quote.setup_cents if reported.setup_cents is None else reported.setup_cents
        monthly = quote.monthly_cents if reported.monthly_cents is None else reported.monthly_cents
        if (setup, monthly) == (quote.setup_cents, quote.monthly_cents):
            return (quote.due_now_cents or 0) if quote.is_priced else self.reserved_cents
        return self.reserved_cents if setup is None or monthly is None else setup + monthly

    @property
    def named(self) -> str:
        """What it is about, for a sentence: its number, or how many numbers."""
        return f"these {len(self.items)} numbers" if self.items else spoken(self.e164)

    @property
    def parts(self) -> "tuple[Operation, ...]":
        """Of a batch, the act on each number as if it was asked for alone; else the operation itself."""
        if not self.action.is_several:
            return (self,)
        one = replace(self, action=self.action.one, items=())
        return tuple(replace(one, e164=item.e164, request=item.request, quote=item.quote) for item in self.items)

    def asks_the_same(self, other: "Operation") -> bool:
        """Whether a person who says yes to this one has said yes to the other: same settings, and same price."""
        mine, theirs = (sorted(each.parts, key=lambda part: part.e164) for each in (self, other))
        return len(mine) == len(theirs) and all(map(_agree, mine, theirs))

    def to(self, state: State) -> "Operation":
        """Move to `state` if the model allows it.

        Raises:
            OperationError: The operation is past that move; `charged` and `changed` are what is known of it.
        """
        agreed = self.action.is_several and self.state in WAITING
        allowed = MOVES.get(self.state, frozenset())
        if agreed:  # the row of a batch is never sent: once it is agreed to, its numbers are operations of their own
            allowed = allowed - {State.SENDING} | {State.DONE}
        if state not in allowed:
            raise past(self)
        return replace(self, state=state)


def _agree(one: Operation, other: Operation) -> bool:
    same_price = not one.action.charges or one.quote.price == other.quote.price
    return one.e164 == other.e164 and same_price and one.request.terms == other.request.terms


def past(operation: Operation) -> OperationError:
    """Return the error that an operation is past the move asked for."""
    begun = operation.action.is_several and operation.state is State.DONE  # its numbers tell what has become of them
    error = OperationError(
        f"That {'was agreed to and has begun' if begun else f'is already {operation.state}'}; nothing was done now.",
        code="TOO_LATE",
        operation_id=operation.id,
    )
    error.charged, error.changed = operation.charged, operation.changed
    if begun or operation.state is State.SENDING:  # it may be sent before these words are read
        error.charged, error.changed = effects(operation, "unknown")
    return error


def new_operation_id() -> str:
    """An id that nobody can guess: 80 random bits."""
    return random_id("op_")


def random_id(prefix: str) -> str:
    """Return an id of 80 random bits behind what says of which kind it is."""
    return prefix + b32encode(secrets.token_bytes(10)).decode().lower()


def is_operation_id(text: str) -> bool:
    """Whether a text could be the id of an operation."""
    return re.fullmatch(r"op_[a-z2-7]{16}", text) is not None


def as_row(operation: Operation) -> dict[str, Any]:
    """The operation as plain values, nested ones as dictionaries."""
    return asdict(operation)


def from_row(row: dict[str, Any]) -> Operation:
    """The operation that `as_row` gave."""
    return Operation(
        **{
            **row,
            "action": Action(row["action"]),
            "state": State(row["state"]),
            "channel": Channel(row["channel"]) if row["channel"] else None,
            "request": Request(**row["request"]),
            "quote": Quote(**row["quote"]),
            "limits": _limits(row["limits"]),
            "settings_pending": bool(row["settings_pending"]),
            "settings_superseded": tuple(row["settings_superseded"]),
            "accepted": bool(row["accepted"]),
            "not_applied": tuple(row["not_applied"]),
            "number": _number(row["number"]),
            "snapshot": _snapshot(row["snapshot"]),
            "items": tuple(
                Item(item["e164"], Request(**item["request"]), Quote(**item["quote"])) for item in row["items"]
            ),
        }
    )


def _limits(row: dict[str, Any]) -> Limits:
    way = row.get("confirmation")
    countries = tuple(row["allowed_countries"])
    return Limits(**{**row, "allowed_countries": countries, "confirmation": Confirmation(way) if way else None})


def _number(row: object) -> StoredNumber | None:
    """Read a number that any version has written; one without an id is none, as nothing can be held against it."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
        return None
    known: dict[str, Any] = {
        field.name: row[field.name] for field in fields(StoredNumber) if row.get(field.name) is not None
    }
    known |= {name: int(known[name]) for name in ("setup_cents", "monthly_cents", "total_cents") if name in known}
    return StoredNumber(**known)


def _snapshot(row: dict[str, Any] | None) -> Snapshot | None:
    if row is None:
        return None
    lacking = row.get("lacking")
    return Snapshot(
        records=tuple(Seen(**seen) for seen in row["records"]),
        unreadable=tuple(row["unreadable"]),
        lacking=None if lacking is None else tuple(lacking),
    )


def effects(operation: Operation, known: Known) -> tuple[Known, Known]:
    """Return what is known of money and account; only a purchase charges."""
    return (known if operation.action.charges else "no"), known
