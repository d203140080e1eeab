"""A conversation with a bridge: one JSON object a line to it, one a line back."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support.processes import open_group

from .facts import Shown, StepError, read
from .world import environment

INSTALL_SECONDS = 900.0
"""Until it is connected: what its environment lacks is installed first."""
ANSWER_SECONDS = 30.0
_LONGEST_LINE = 10_000_000


@dataclass
class Conversation:
    """A bridge that is connected; `client` is what it says of itself."""

    process: Process
    answers: BufferedByteReceiveStream
    log: Path
    client: dict[str, Any]

    async def call(self, tool: str, answer: dict[str, Any] | None = None, **arguments: Any) -> Shown:
        """Call a tool; `answer` is what its person says, should the server ask meanwhile.

        Raises:
            StepError: No answer came, or one that does not fit the client.
        """
        wanted = {"do": "call", "tool": tool, "arguments": arguments, "answer": answer}
        return read(await self.ask(wanted, ANSWER_SECONDS), self.client["sees"])

    async def ask(self, wanted: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Ask the bridge for something, and wait for its answer.

        Raises:
            StepError: It gave none in time, or has ended.
        """
        assert self.process.stdin is not None
        try:
            with anyio.fail_after(seconds):
                await self.process.stdin.send(json.dumps(wanted).encode() + b"\n")
                return dict(json.loads(await self.answers.receive_until(b"\n", _LONGEST_LINE)))
        except TimeoutError:
            raise StepError(f"the bridge gave no answer within {seconds:.0f} seconds") from None
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise StepError(f"the bridge has ended: {self._last_words()}") from None
        except ValueError:
            raise StepError("the bridge answered something that is no JSON object") from None

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "without a word"


@asynccontextmanager
async def open_conversation(command: Sequence[str], connect: dict[str, Any], log: Path) -> AsyncIterator[Conversation]:
    """Start a bridge and connect its client; both are gone on leaving.

    Raises:
        StepError: It could not connect.
    """
    with log.open("ab") as stderr:
        async with open_group(command, env=environment(), stdin=PIPE, stderr=stderr) as process:
            assert process.stdout is not None
            conversation = Conversation(process, BufferedByteReceiveStream(process.stdout), log, {})
            conversation.client = await conversation.ask({"do": "connect", **connect}, INSTALL_SECONDS)
            yield conversation
            await conversation.ask({"do": "close"}, ANSWER_SECONDS)
