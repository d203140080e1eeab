"""Which rows of the journal a filter wants, as SQL that every backend understands; pure."""

from typing import Final

from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import WAITING, Channel, State
from kros_mcp.operations.status import Asked

_CHANNELS: Final[dict[Asked, tuple[str, ...]]] = {
    "approver": (Channel.APPROVER,),
    "screen": (Channel.SCREEN,),
    "person": ("", Channel.PROMPT, Channel.CODE),
}
AGREED_BATCH: Final = "state = 'done' AND items <> '[]'"
"""A batch whose numbers are operations of their own; it is the question that they came from, and no act beside them."""
_WAITING = ", ".join(f"'{state}'" for state in sorted(WAITING))


def condition(wanted: Filter, now: float) -> tuple[str, list[object]]:
    """Write the condition of a filter, and the values for its marks in turn."""
    parts, values = [f"NOT ({AGREED_BATCH})"], list[object]()
    for sql, value in (
        ("account = ?", wanted.account),
        ("principal = ?", wanted.principal),
        ("created_at >= ?", wanted.since),
        ("created_at < ?", wanted.until),
    ):
        if value is not None:
            parts.append(sql)
            values.append(value)
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
        return f"(state = 'expired' OR state IN ({_WAITING}) AND expires_at <= ?)"
    return f"state = '{state}'"
