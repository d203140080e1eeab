"""How far a journal has come: read before every transaction that writes, and advanced by each that stores something."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from dataclasses import fields
from typing import Any, TypeVar

from kros_mcp.journals import journal_errors
from kros_mcp.journals.clock import Moment, Progress
from kros_mcp.journals.rows import Rows, Work, what_happened
from kros_mcp.operations.events import Event
from kros_mcp.operations.model import Operation

T = TypeVar("T")
Happened = list[tuple[Operation, Event]]
"""What a transaction made of operations, in its order: each as it is stored, and the event that tells of it."""
COLUMNS = ", ".join(field.name for field in fields(Progress))


def read(table: str) -> Work[Progress]:
    """Read how far the journal has come.

    Raises:
        JournalError: That is nowhere in it.
    """
    return decode((yield f"SELECT {COLUMNS} FROM {table}", ()))


def decode(rows: Rows) -> Progress:
    """Make it of what was read."""
    if len(rows) != 1:
        raise journal_errors.damaged()
    return Progress(*rows[0])


def advance(table: str, moment: Moment | None) -> Work[None]:
    """Count one move more, and keep the latest time that was written."""
    if moment is None:
        yield f"UPDATE {table} SET moves = moves + 1", ()
        return
    values: dict[str, object] = {
        "moved_at": moment.time,
        "boot": moment.boot,
        "boot_seconds": moment.boot_seconds,
        "boot_began": moment.boot_began,
    }
    if moment.ahead is not None:
        values["ahead"] = moment.ahead
    later = ", ".join(f"{name} = CASE WHEN ? >= moved_at THEN ? ELSE {name} END" for name in values)
    given: list[Any] = [each for value in values.values() for each in (moment.time, value)]
    yield f"UPDATE {table} SET moves = moves + 1, {later}", given


def observed(work: Work[T]) -> Work[tuple[T, bool, Happened]]:
    """Run a transaction's work, and give its result, whether it stored something, and what happened in it."""
    rows: Rows | None = None
    wrote = False
    happened: Happened = []
    while True:
        try:
            sql, values = statement = work.send(rows)  # type: ignore[arg-type]  # a generator is begun with None
        except StopIteration as end:
            return end.value, wrote, happened
        if (noted := what_happened(statement)) is not None:
            happened.append(noted)
            rows = []
            continue
        wrote = wrote or not sql.startswith("SELECT")
        rows = yield sql, values


class Watch:
    """What one process has seen of its journal, so that an earlier state in its place is noticed.

    Once noticed it stays so: what this process knows cannot be made to fit what stands there now.
    """

    def __init__(self) -> None:
        self.moves = 0
        """The furthest that was seen; to be read before the journal is asked, since others move it on meanwhile."""
        self._generation: str | None = None
        self._is_put_back = False

    def look(self, progress: Progress, at_least: int) -> None:
        """Compare with what had been seen before, and remember what is newer."""
        if self._generation is None:
            self._generation = progress.generation
        if progress.generation != self._generation or progress.moves < at_least:
            self._is_put_back = True
        self.reached(progress.moves)

    def reached(self, moves: int) -> None:
        """Remember how far the journal has come."""
        self.moves = max(self.moves, moves)

    def require(self, progress: Progress, at_least: int) -> None:
        """Raise unless the journal is the one that was seen, or further.

        Raises:
            JournalError: It was put back to an earlier state; nothing is spent.
        """
        self.look(progress, at_least)
        if self._is_put_back:
            raise journal_errors.put_back()
