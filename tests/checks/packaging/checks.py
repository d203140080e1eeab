"""Checks one after the other, each with its seconds and its result, and the table of them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_LAST_LINES = 12
_OK, _FAILED, _NOT_TRIED = "ok", "FAILED", "not tried"


class CheckError(Exception):
    """What was found is not what must be; the sentence says both."""


def require(holds: object, otherwise: str) -> None:
    """Let a check fail with a sentence.

    Raises:
        CheckError: It does not hold.
    """
    if not holds:
        raise CheckError(otherwise)


@dataclass
class Checks:
    """What was checked so far; `rows` are name, seconds and result."""

    tell: Callable[[str], None] = print
    rows: list[tuple[str, float, str]] = field(default_factory=list)

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Run one check; whatever fails in it is told at once, and the next ones are still run."""
        began = time.perf_counter()
        result = _OK
        try:
            yield
        except (CheckError, subprocess.SubprocessError, OSError, ValueError, KeyError) as exc:
            result = _FAILED
            self.tell(f"{name}: {_words(exc)}")
        self.rows.append((name, time.perf_counter() - began, result))

    def leave_out(self, name: str, reason: str) -> None:
        """Say that something could not be tried here, and why."""
        self.rows.append((name, 0.0, f"{_NOT_TRIED}: {reason}"))

    @property
    def failed(self) -> bool:
        """Tell whether any check failed; what was not tried is no failure."""
        return any(result == _FAILED for _, _, result in self.rows)

    def table(self) -> list[str]:
        """Lines of a table: check, seconds, result."""
        width = max(len(name) for name, _, _ in self.rows)
        head = f"{'check':{width}}  seconds  result"
        return [head, *(f"{name:{width}}  {seconds:7.1f}  {result}" for name, seconds, result in self.rows)]


def _words(exc: Exception) -> str:
    if isinstance(exc, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        said = "\n".join(str(part) for part in (exc.stdout, exc.stderr) if part)
        return "\n".join([str(exc), *said.splitlines()[-_LAST_LINES:]])
    return f"{type(exc).__name__}: {exc}" if not isinstance(exc, CheckError) else str(exc)
