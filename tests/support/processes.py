"""Programs that are started, and gone again whatever ends the run: an error, Ctrl-C, or SIGTERM."""

import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess
from typing import IO

import anyio
from anyio.abc import Process

from tests.support.no_browser import loud_browser

KROS_MCP = Path(sys.executable).with_name("kros-mcp")
"""The program of the environment that runs this."""


def end_as_by_ctrl_c() -> None:
    """Take SIGTERM for SIGINT from now on, so that it unwinds what is open: processes and temporary folders."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


@asynccontextmanager
async def open_group(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = DEVNULL,
    stdout: int = PIPE,
    stderr: int | IO[bytes] | None = PIPE,
) -> AsyncIterator[Process]:
    """Start a program in a process group of its own, and kill the whole group on leaving.

    A launcher that is killed, such as `uv run` or a program of npm's, would leave behind what it has launched.
    """
    env = {**loud_browser(), **(os.environ if env is None else env)}
    process = await anyio.open_process(
        command, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def run_group(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, seconds: float = math.inf
) -> CompletedProcess[str]:
    """Run a program to its end, in a process group of its own; the code and all that it printed.

    Raises:
        TimeoutError: It did not end within so many seconds, and was killed.
    """
    words = [str(word) for word in command]
    said = {"stdout": b"", "stderr": b""}
    with anyio.fail_after(seconds):
        async with open_group(words, env=env) as process, anyio.create_task_group() as tasks:

            async def read(name: str) -> None:
                async for chunk in getattr(process, name):
                    said[name] += chunk

            for name in said:
                tasks.start_soon(read, name)
            code = await process.wait()
    return CompletedProcess(words, code, **{name: told.decode(errors="replace") for name, told in said.items()})
