"""A buffer before standard error, since a client that never reads it would else stop the server by a full pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from threading import Condition, Thread
from typing import Any, Final, TextIO, cast

MOST_WAITING: Final = 250_000
"""Characters that are kept until they can be written; what comes beyond them is dropped and counted."""
LONGEST_FLUSH_SECONDS: Final = 0.5
"""How long the end waits for what is not written yet."""


class StderrBuffer:
    """A text stream that never blocks its writers: a thread, started with the first text, writes to the inner stream.

    Everything but writing is the inner stream's.

    Args:
        inner: Where it writes.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._changed = Condition()
        self._waiting: list[str] = []
        self._length = self._dropped = 0
        self._has_begun = self._is_writing = False

    def write(self, text: str) -> int:
        """Keep a text to be written, or drop it; returns how many characters it had."""
        with self._changed:
            if self._dropped or self._length + len(text) > MOST_WAITING:
                self._dropped += text.count("\n")
            else:
                self._waiting.append(text)
                self._length += len(text)
            if not self._has_begun:
                self._has_begun = True
                Thread(target=self._write_on, name="stderr", daemon=True).start()
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes what it writes."""

    def end(self, seconds: float) -> None:
        """Wait until all is written, for so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._is_writing or self._waiting or self._dropped), seconds)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._dropped)
                text, dropped = "".join(self._waiting), self._dropped
                self._waiting.clear()
                self._length = self._dropped = 0
                self._is_writing = True
            if dropped:
                text += f"kros-mcp: {dropped} lines were dropped here, as nobody read this\n"
            with suppress(OSError, ValueError):  # whoever reads it is gone
                self._inner.write(text)
                self._inner.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._inner, name)


@contextmanager
def buffered_errors() -> Iterator[None]:
    """Write standard error through a buffer meanwhile, so that nobody waits for its reader."""
    buffer = StderrBuffer(sys.stderr)
    try:
        with redirect_stderr(cast("TextIO", buffer)):
            yield
    finally:
        buffer.end(LONGEST_FLUSH_SECONDS)
