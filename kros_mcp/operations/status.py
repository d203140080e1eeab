"""Where an operation stands, in the words that tools, books and filters have in common; pure.

A state that waits for a yes has two words, by where it is asked: `confirmation_required` is the person in the
conversation, `awaiting_approval` the person's screen or an approver outside of it. `pending` is what was agreed to and
has not ended. A batch is `partly_done` if some of its numbers are done and others are not.
"""

from collections.abc import Iterable
from typing import Final, Literal

from kros_mcp.operations.model import Channel, Operation, State

Status = Literal[
    "confirmation_required",
    "awaiting_approval",
    "pending",
    "done",
    "partly_done",
    "declined",
    "cancelled",
    "expired",
    "failed",
    "unknown",
]
WaitsFor = Literal["screen", "approver"]
"""Where, outside of the conversation, the answer has to come from."""
Asked = Literal["screen", "approver", "person"]
"""Who or what is asked; `person` is the one in the conversation."""

_STATUS: Final[dict[State, Status]] = {
    State.CONFIRMED: "pending",
    State.SENDING: "pending",
    State.DONE: "done",
    State.FAILED: "failed",
    State.UNKNOWN: "unknown",
    State.DECLINED: "declined",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}
_WAITS_FOR: Final[dict[Channel | None, WaitsFor]] = {Channel.SCREEN: "screen", Channel.APPROVER: "approver"}
_ASKED: Final[dict[str, frozenset[Asked]]] = {
    "awaiting_approval": frozenset({"screen", "approver"}),
    "confirmation_required": frozenset({"person"}),
}
_EVERYBODY: Final = frozenset[Asked]().union(*_ASKED.values())
_SEVERAL: Final = {"pending": (State.CONFIRMED, State.SENDING)}
KNOWN: Final = tuple(dict.fromkeys([*State, *_ASKED, *_SEVERAL]))
"""Every word that a filter takes."""


def status(operation: Operation) -> Status:
    """Return where an operation stands."""
    return status_of(operation.state, operation.channel)


def status_of(state: State, channel: Channel | None) -> Status:
    """Return the word for a state, and the channel in which it is asked for."""
    if state is State.PROPOSED:
        return "awaiting_approval" if channel in _WAITS_FOR else "confirmation_required"
    return _STATUS[state]


def waits_for(operation: Operation) -> WaitsFor | None:
    """Return where, outside of the conversation, a yes has to come from; None if it waits for none there."""
    return _WAITS_FOR.get(operation.channel) if operation.state is State.PROPOSED else None


def read(names: Iterable[str]) -> tuple[tuple[State, ...], frozenset[Asked]]:
    """Read words for states, in any case: which states, and who is asked where they wait for a yes; empty for anybody.

    Raises:
        ValueError: One is no such word; its text is the word.
    """
    states: dict[State, None] = {}
    asked: set[Asked] = set()
    for name in names:
        word = name.strip().lower()
        if word in _ASKED:
            states[State.PROPOSED] = None
            asked |= _ASKED[word]
        elif word in _SEVERAL:
            states |= dict.fromkeys(_SEVERAL[word])
        elif word in list(State):
            states[State(word)] = None
            if word == State.PROPOSED:
                asked |= _EVERYBODY
        else:
            raise ValueError(name)
    return tuple(states), frozenset() if asked == _EVERYBODY else frozenset(asked)
