"""What became of outcomes after they were told, as far as the journal knows by itself; pure."""

from typing import Final

from kros_mcp.operations.acts.purchase import NEVER_LISTED
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.policy import LISTING_LAG_SECONDS

TOLD_SECONDS: Final = 7 * 86_400.0
"""For how long a correction is told to whoever looks at the books."""
_OVERDUE_SECONDS: Final = 2 * LISTING_LAG_SECONDS
"""How late a look may be before no server seems to look; its settings come first, for as long as a list may lag."""


def was_corrected_lately(operation: Operation, now: float) -> bool:
    """Whether another outcome was told of it at first, and it was corrected within `TOLD_SECONDS`."""
    return operation.corrected_at is not None and now - operation.corrected_at < TOLD_SECONDS


def is_watched(operation: Operation, now: float) -> bool:
    """Whether a server looks again at what is settled, and looks in time."""
    return operation.look_at is not None and now - operation.look_at < _OVERDUE_SECONDS


def is_named_but_not_listed(operation: Operation) -> bool:
    """Whether it is a purchase that counts as done and that KrosAI has not listed since, as far as anybody looked."""
    done = operation.action.charges and operation.state is State.DONE
    return done and (operation.look_at is not None or NEVER_LISTED in operation.note)
