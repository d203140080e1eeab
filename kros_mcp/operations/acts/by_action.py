"""Which act carries an operation out."""

from collections.abc import Mapping
from typing import Final

from kros_mcp.operations.acts.base import Act
from kros_mcp.operations.acts.configuration import CONFIGURATION
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE
from kros_mcp.operations.model import Action, Operation

ACTS: Final[Mapping[Action, Act]] = {
    act.action: act for act in (PURCHASE, RELEASE, CONFIGURATION, SEVERAL_PURCHASE, SEVERAL_RELEASE, SEVERAL_CHANGE)
}
"""Every act. What else another one needs: docs/architecture.md, "Where to add"."""


def act_of(operation: Operation) -> Act:
    """Return the act of an operation."""
    return ACTS[operation.action]
