"""The story of an operation: one event for each of its moves; pure.

An event says when, which move, by whom, through which channel and in which words, and which fields of the row it
changed. Folding the events of an operation in their order gives its row again, but for `BOOKKEEPING`.
"""

from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from kros_mcp.operations import model
from kros_mcp.operations.model import WAITING, Limits, Operation, State

SUPERSEDED = "SUPERSEDED"
"""The error code of an operation that was cancelled in favour of one with other settings."""
BOOKKEEPING = frozenset({"lease_until", "checked_at", "seen_unsold_at", "look_at", "looks", "asked_again"})
"""Fields that tell no story: who holds an operation now, when KrosAI was or will be asked about it, repeated calls."""


@dataclass(frozen=True)
class By:
    """Who makes a move, and through which channel: tool, prompt, screen, code, page, terminal or command."""

    who: str
    channel: str


SERVER = By("server", "")
PERSON = By("person", "prompt")
"""Whoever answers the client's own prompt; a client does not say who that is."""
AT_SCREEN = By("person", "screen")
"""Whoever answers the page on the screen where the server runs."""


class MoveName(StrEnum):
    """Which move an event tells of."""

    CARRIED_OVER = "carried_over"
    ENTERED = "entered"
    PROPOSED = "proposed"
    ASKED = "asked"
    SHOWN = "shown"
    WRONG_CODE = "wrong_code"
    CONFIRMED = "confirmed"
    CLAIMED = "claimed"
    BEGUN = "begun"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    SETTINGS = "settings"
    NOTED = "noted"
    SETTLED_BY_HAND = "settled_by_hand"
    CORRECTED = "corrected"
    ADOPTED = "adopted"
    ACKNOWLEDGED = "acknowledged"


_STATES = {
    State.CONFIRMED: MoveName.CONFIRMED,
    State.SENDING: MoveName.CLAIMED,
    State.DONE: MoveName.DONE,
    State.FAILED: MoveName.FAILED,
    State.UNKNOWN: MoveName.UNKNOWN,
    State.DECLINED: MoveName.DECLINED,
    State.CANCELLED: MoveName.CANCELLED,
    State.EXPIRED: MoveName.EXPIRED,
}
_FIELDS: tuple[tuple[MoveName, tuple[str, ...]], ...] = (
    (MoveName.WRONG_CODE, ("wrong_codes",)),
    (MoveName.SENT, ("sent_at",)),
    (MoveName.SHOWN, ("shown_at",)),
    (MoveName.ASKED, ("channel", "asked_at", "expires_at")),
    (MoveName.SETTINGS, ("settings_pending", "settings_superseded", "not_applied")),
)
"""Which move a change of fields alone is, where the state stays; the first that fits."""
_SERVERS_OWN = frozenset({MoveName.CLAIMED, MoveName.BEGUN, MoveName.SENT, MoveName.UNKNOWN, MoveName.EXPIRED})


@dataclass(frozen=True)
class Event:
    """One move of an operation; never changed once it is stored.

    `changes` are the fields of the row that it changed, as plain values; `at` is Unix seconds on the journal's clock.
    `move` is a `MoveName`.
    """

    at: float
    move: str
    who: str
    channel: str
    words: str
    changes: dict[str, Any]


def proposed(operation: Operation, at: float, by: By) -> Event:
    """Return the event of a new operation, with its whole row."""
    return Event(at, MoveName.PROPOSED, by.who, by.channel, "", _whole(operation))


def entered(operation: Operation, at: float, by: By) -> Event:
    """Return the event of a purchase that a restored journal did not know, with its whole row."""
    return Event(at, MoveName.ENTERED, by.who, by.channel, operation.note, _whole(operation))


def agreed(item: Operation, at: float, by: By) -> tuple[Event, ...]:
    """Return the events of a number of a batch that has been agreed to: as it was asked about, the yes, and its claim.

    Args:
        item: As it was claimed.
        at: When.
        by: Who has just said yes to the batch; the server, where that was said before.
    """
    fresh = {name: _USUAL[name] for name in _OF_A_YES}
    asked = replace(item, **fresh)
    return (proposed(asked, at, SERVER), *between(asked, item, at, by))


def carried_over(operation: Operation, at: float) -> Event:
    """Hold the row of an operation that is older than its events, as it stood before the first of them."""
    words = "Events were not kept before this."
    return Event(at, MoveName.CARRIED_OVER, SERVER.who, SERVER.channel, words, _whole(operation))


def adopted(account: str, at: float, by: By, words: str) -> Event:
    """Return the event of an operation that is handed over to another account."""
    return Event(at, MoveName.ADOPTED, by.who, by.channel, words, {"account": account})


def acknowledged(at: float, by: By, words: str) -> Event:
    """Return the event that somebody knows of what was found about an operation; its row stays as it is."""
    return Event(at, MoveName.ACKNOWLEDGED, by.who, by.channel, words, {})


def signed(before: Operation, after: Operation, by: By) -> Operation:
    """Write into a row who has just said yes or no, and through which channel; unchanged where nobody has.

    Args:
        before: As it is stored.
        after: As it is to be stored.
        by: Who made the move.
    """
    decided = before.state in WAITING and after.state is not before.state and by != SERVER
    if not decided or after.state is State.EXPIRED or after.error_code == SUPERSEDED:
        return after
    return replace(after, decided_by=by.who, decided_through=by.channel)


def between(before: Operation, after: Operation, at: float, by: By) -> tuple[Event, ...]:
    """Return the events between two states of a row; none if only bookkeeping changed.

    A yes that is claimed at once, or refused by the claim, is an event of its own: the person's, before the server's.

    Args:
        before: As it was stored.
        after: As it is stored now.
        at: When, in Unix seconds.
        by: Who made the move. What only a server does is the server's, whoever caused it.
    """
    if before.state is State.PROPOSED and after.state in {State.SENDING, State.DONE, State.FAILED} and by != SERVER:
        claimed = after.state is not State.FAILED
        names = ("confirmed_at", "confirmed_by", "decided_by", "decided_through")
        named = {name: getattr(after, name) for name in names} | {"state": State.CONFIRMED}
        agreed = replace(before, **named) if claimed else before
        yes = Event(at, MoveName.CONFIRMED, by.who, by.channel, after.reason, _changes(before, agreed))
        return (yes, *between(agreed, after, at, SERVER))
    changes = _changes(before, after)
    if not changes:
        return ()
    move = _move(before, after, changes, by)
    whose = SERVER if move in _SERVERS_OWN else by
    channel = str(after.channel or "") if move is MoveName.ASKED else whose.channel
    return (Event(at, move, whose.who, channel, _words(before, after, changes), changes),)


def fold(events: Iterable[Event]) -> Operation:
    """Put the row together again that events came to.

    Args:
        events: All of one operation, in their order.
    """
    row = dict(_USUAL)
    for event in events:
        row |= event.changes
    return model.from_row(row)


def without_bookkeeping(operation: Operation) -> Operation:
    """Leave out of a row what its events do not tell."""
    bare = {name: value for name, value in _USUAL.items() if name in BOOKKEEPING}
    return replace(operation, **bare)


def _move(before: Operation, after: Operation, changes: dict[str, Any], by: By) -> MoveName:
    if after.account != before.account:
        return MoveName.ADOPTED
    if "corrected_at" in changes:
        return MoveName.CORRECTED
    if before.state is State.UNKNOWN and "state" in changes and by != SERVER:
        return MoveName.SETTLED_BY_HAND
    if "state" in changes:
        if before.state in WAITING and after.state is State.DONE:
            return MoveName.BEGUN
        superseded = after.state is State.CANCELLED and after.error_code == SUPERSEDED
        return MoveName.SUPERSEDED if superseded else _STATES[after.state]
    return next((move for move, names in _FIELDS if any(name in changes for name in names)), MoveName.NOTED)


def _words(before: Operation, after: Operation, changes: dict[str, Any]) -> str:
    """Return the words that a move brought; a note is added to those before it."""
    told = {"message": after.message, "note": after.note.removeprefix(before.note).strip(), "reason": after.reason}
    return next((words for name, words in told.items() if name in changes and words), "")


def _changes(before: Operation, after: Operation) -> dict[str, Any]:
    told = [name for name in _NAMES if getattr(before, name) != getattr(after, name)]
    row = model.as_row(after) if told else {}
    return {name: row[name] for name in told}


def _whole(operation: Operation) -> dict[str, Any]:
    """Return all of a row that is not as in every new operation."""
    row = model.as_row(operation)
    return {name: row[name] for name in _NAMES if name not in _USUAL or row[name] != _USUAL[name]}


_NAMES = tuple(field.name for field in fields(Operation) if field.name not in BOOKKEEPING)
_USUAL: dict[str, Any] = {
    field.name: asdict(field.default) if isinstance(field.default, Limits) else field.default
    for field in fields(Operation)
    if field.default is not MISSING
}
"""What stands in the row of every new operation that its events need not tell."""
_OF_A_YES = (
    "state",
    "confirmed_at",
    "confirmed_by",
    "reason",
    "decided_by",
    "decided_through",
    "claimed_at",
    "reserved_cents",
    "lease_until",
    "token",
)
"""What a yes and its claim write into a row."""
