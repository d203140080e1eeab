"""Where an operation stands, in the words that tools, books and filters have in common; pure.

A state that waits for a yes has two words, by who is asked: `confirmation_required` is the person in the conversation,
`awaiting_approval` an approver outside of it. `pending` is what was agreed to and has not ended.
"""

from collections.abc import Iterable
from typing import Final, Literal

from kros_mcp.operations.model import Channel, Operation, State

Status = Literal[
    "confirmation_required",
    "awaiting_approval",
    "pending",
    "done",
    "declined",
    "cancelled",
    "expired",
    "failed",
    "unknown",
]
WaitsFor = Literal["", "approver", "person"]

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
_ASKED: Final[dict[str, WaitsFor]] = {"awaiting_approval": "approver", "confirmation_required": "person"}
_SEVERAL: Final = {"pending": (State.CONFIRMED, State.SENDING)}
KNOWN: Final = tuple(dict.fromkeys([*State, *_ASKED, *_SEVERAL]))
"""Every word that a filter takes."""


def status(operation: Operation) -> Status:
    """Return where an operation stands."""
    if operation.state is State.PROPOSED:
        return "awaiting_approval" if operation.channel is Channel.APPROVER else "confirmation_required"
    return _STATUS[operation.state]


def read(names: Iterable[str]) -> tuple[tuple[State, ...], WaitsFor]:
    """Read words for states, in any case: which states, and whom those that wait for a yes have to be waiting for.

    Raises:
        ValueError: One is no such word; its text is the word.
    """
    states: dict[State, None] = {}
    asked: set[WaitsFor] = set()
    for name in names:
        word = name.strip().lower()
        if word in _ASKED:
            states[State.PROPOSED] = None
            asked.add(_ASKED[word])
        elif word in _SEVERAL:
            states |= dict.fromkeys(_SEVERAL[word])
        elif word in list(State):
            states[State(word)] = None
            if word == State.PROPOSED:
                asked |= {"approver", "person"}
        else:
            raise ValueError(name)
    return tuple(states), asked.pop() if len(asked) == 1 else ""
