"""A batch as it stands: one question about several numbers, and what has become of each after the yes; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from kros_mcp.errors import Known
from kros_mcp.operations.model import Operation, State
from kros_mcp.operations.status import Status, status


@dataclass(frozen=True)
class Batch:
    """A batch, with the operations of its numbers in their order; none of those exists before the yes."""

    operation: Operation
    items: tuple[Operation, ...]

    @property
    def status(self) -> Status:
        """Where it stands, by its numbers: it goes on while one of them does, and one that is unknown leaves all so."""
        if self.operation.state is not State.DONE:
            return status(self.operation)
        found = {status(item) for item in self.items}
        for first in ("pending", "unknown"):
            if first in found:
                return first
        return "partly_done" if len(found) > 1 else "done" if found == {"done"} else "failed"

    @property
    def charged(self) -> Known:
        """Whether money moved: not known if that is so of any number, else yes if any was charged."""
        return _joint(_known(item, item.charged) for item in self.items if item.action.charges)

    @property
    def changed(self) -> Known:
        """Whether the account has changed, likewise."""
        return _joint(_known(item, item.changed) for item in self.items)


def _known(item: Operation, settled: Known) -> Known:
    """Return what is known of one, which may be sent before this is read."""
    return "unknown" if item.state is State.SENDING else settled


def _joint(each: Iterable[Known]) -> Known:
    found = set(each)
    return "unknown" if "unknown" in found else "yes" if "yes" in found else "no"
