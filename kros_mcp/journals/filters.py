"""Which rows of the journal a filter wants, as SQL that every backend understands; pure."""

from typing import Final

from kros_mcp.journals.rows import marks
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import OPEN, WAITING, Channel, State
from kros_mcp.operations.status import Asked

_CHANNELS: Final[dict[Asked, tuple[str, ...]]] = {
    "approver": (Channel.APPROVER,),
    "screen": (Channel.SCREEN,),
    "person": ("", Channel.PROMPT, Channel.CODE),
}
AGREED_BATCH: Final = "state = 'done' AND items <> '[]'"
"""A batch whose numbers are operations of their own; it is the question that they came from, and no act beside them."""
OPEN_AS_INDEXED: Final = "state IN ('proposed', 'confirmed', 'sending', 'unknown')"
"""What the index `one_open` is for, in its very words: SQLite takes no other order of them for the same."""
WAITING_STATES: Final = ", ".join(f"'{state}'" for state in sorted(WAITING))


def is_of_open(wanted: Filter) -> bool:
    """Whether a filter lets only what is open through, which is little: the index `one_open` has it."""
    return bool(wanted.states) and OPEN.issuperset(wanted.states)


def condition(wanted: Filter, now: float, country: str) -> tuple[str, list[object]]:
    """Write the condition of a filter, and the values for its marks in turn; `country` is how a row tells it."""
    parts, values = [f"NOT ({AGREED_BATCH})"], list[object]()
    if wanted.by_sent:
        parts.append("sent_at IS NOT NULL")
    for sql, value in (
        ("account = ?", wanted.account),
        ("principal = ?", wanted.principal),
        ("created_at >= ?", wanted.asked_since),
        ("created_at < ?", wanted.until),
        ("sent_at >= ?", wanted.since if wanted.by_sent else None),
        ("sent_at < ?", wanted.until if wanted.by_sent else None),
        (f"{country} = ?", wanted.country),
    ):
        if value is not None:
            parts.append(sql)
            values.append(value)
    if wanted.actions:
        parts.append(f"action IN ({marks(wanted.actions)})")
        values.extend(map(str, wanted.actions))
    if is_of_open(wanted):
        parts.append(OPEN_AS_INDEXED)
    if wanted.states:
        states = [_state(state, wanted.asked) for state in wanted.states]
        parts.append(f"({' OR '.join(states)})")
        values.extend([now] * sum(state.count("?") for state in states))
    return " AND ".join(parts), values


def _state(state: State, asked: frozenset[Asked]) -> str:
    """Return which rows are seen in a state: nobody has written down yet what expired unnoticed."""
    if state is State.PROPOSED and asked:
        channels = ", ".join(f"'{channel}'" for one in sorted(asked) for channel in _CHANNELS[one])
        return f"(state = '{state}' AND coalesce(channel, '') IN ({channels}) AND expires_at > ?)"
    if state in WAITING:
        return f"(state = '{state}' AND expires_at > ?)"
    if state is State.EXPIRED:
        return f"(state = 'expired' OR state IN ({WAITING_STATES}) AND expires_at <= ?)"
    return f"state = '{state}'"
