"""A story told step by step, each checked, and how far it got."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from tests.support.columns import in_columns

Steps = Sequence[tuple[str, Callable[[], Awaitable[None]]]]


class DiffersError(Exception):
    """Something is not as it has to be."""


def must(holds: object, words: str) -> None:
    """Go on if this holds.

    Raises:
        DiffersError: It does not; `words` say what should have been, and what was.
    """
    if not holds:
        raise DiffersError(words)


@dataclass
class Walk:
    """How far a story got."""

    done: list[str] = field(default_factory=list)
    failed: str = ""
    """The step that failed; none came after it."""
    why: str = ""

    def mark(self, step: str) -> str:
        return "ok" if step in self.done else "FAILED" if step == self.failed else "-"


async def walk(steps: Steps, *, seconds: float) -> Walk:
    """Take one step after the other, until one fails.

    Args:
        steps: The name of each, and what it does.
        seconds: How long one may take.
    """
    so_far = Walk()
    for name, step in steps:
        try:
            with anyio.fail_after(seconds):
                await step()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the step has failed, and the table says so
            so_far.failed, so_far.why = name, f"{type(exc).__name__}: {exc}"
            break
        so_far.done.append(name)
    return so_far


def table(title: str, walks: Mapping[str, Walk], steps: Sequence[str]) -> str:
    """Write steps down the side and stories along the top, and below what went wrong."""
    lines = in_columns([[title, *walks], *([step, *(one.mark(step) for one in walks.values())] for step in steps)])
    wrong = [f"{name}, {one.failed}: {one.why}" for name, one in walks.items() if one.failed]
    return "\n".join([*lines, *wrong])
