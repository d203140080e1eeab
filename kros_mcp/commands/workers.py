"""`kros-mcp http --workers N`: processes that accept callers at one socket, and the one that looks after them.

Started anew and not forked, so that each opens its own connections. Their settings, with the keys that they
share, reach them through a pipe: neither their command line nor their environment tells more than the parent's.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import anyio
from pydantic import SecretStr

from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.http import logs
from kros_mcp.journals.backends import open_journal
from kros_mcp.server import state_keys
from kros_mcp.settings import MEMORY, Settings

logger = logging.getLogger(__name__)

SHORT_LIFE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")
_STOPS = (signal.SIGTERM, signal.SIGINT)


def settings_for_all(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Check that several processes can serve as one, and give them keys in common if the settings name none.

    Raises:
        KrosError: They could not; or the journal, opened once here so that it is told once, cannot be used.
    """
    if arguments.workers < 1:
        raise SettingsError("--workers needs a number of 1 or more.")
    if not arguments.stateless:
        raise SettingsError(
            "Several workers need --stateless: the session of a legacy client belongs to one process, and its next "
            "request may reach another.",
            next_step="Add --stateless, or leave --workers out; legacy clients then confirm by code, or keep prompts.",
        )
    if settings.simulator or settings.journal_url == MEMORY:
        raise SettingsError("Several workers need a journal that they share; one in memory belongs to one process.")
    anyio.run(_open_once, settings)
    return settings.model_copy(update={"state_keys": tuple(map(SecretStr, state_keys(settings)))})


def run(
    settings: Settings,
    arguments: argparse.Namespace,
    listener: socket.socket,
    announce: Callable[[], None],
    stopping: Callable[[], None],
) -> int:
    """Serve with several processes until a signal comes; each settles what it is sending, within a bound.

    Args:
        settings: What the environment decides, with `settings_for_all`.
        arguments: Of the command line.
        listener: Where all of them listen.
        announce: Called once all accept callers.
        stopping: Called once a signal has come.

    Returns:
        0 if they were told to stop; the exit code of a worker that could not begin.
    """
    crew = _Crew(lambda: _hire(settings, arguments, listener), arguments.workers, listener.close, stopping)
    return crew.work(announce)


async def _open_once(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_journal(settings.journal_url, read_only=settings.read_only))


@dataclass(frozen=True)
class _Worker:
    """A process; `ready` brings one word once it accepts callers, and ends with the process."""

    process: SpawnProcess
    ready: Connection
    began: float

    def is_ready(self) -> bool:
        """Wait until it accepts callers; false if it has ended before that."""
        try:
            self.ready.recv_bytes()
        except EOFError:
            self.process.join()
            return False
        return True


class _Crew:
    """Keeps so many workers at work until a signal comes."""

    def __init__(
        self, hire: Callable[[], _Worker], size: int, refuse: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        self._hire, self._size, self._refuse, self._tell_so = hire, size, refuse, stopping
        self._workers: list[_Worker] = []
        self._stopping = False
        self._pause = 0.0
        self._signals, self._bell = _SPAWN.Pipe(duplex=False)

    def work(self, announce: Callable[[], None]) -> int:
        """Start all, announce them, and replace whoever ends, until told to stop."""
        for number in _STOPS:
            signal.signal(number, self._ring)
        self._fill_up()
        for worker in tuple(self._workers):
            self._wait_for([worker.ready])
            if not worker.is_ready() and not self._stopping:
                self._stop()
                self._bury()
                return worker.process.exitcode or 1
        if not self._stopping:
            announce()
        while self._workers or not self._stopping:
            lacking = len(self._workers) < self._size and not self._stopping
            self._wait_for([each.process.sentinel for each in self._workers], self._pause if lacking else None)
            if not self._lose_the_dead():
                self._fill_up()
        return 0

    def _fill_up(self) -> None:
        """Start the workers that lack; a signal that comes meanwhile is heard after, and reaches them too."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        while len(self._workers) < self._size and not self._stopping:
            self._workers.append(self._hire())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    def _lose_the_dead(self) -> bool:
        """Forget workers that have ended; if one hardly lived, its successor waits, twice as long each time."""
        dead = [each for each in self._workers if each.process.exitcode is not None]
        for worker in dead:
            self._workers.remove(worker)
            worker.ready.close()
            short = time.monotonic() - worker.began < SHORT_LIFE_SECONDS
            self._pause = min(max(0.1, 2 * self._pause), LONGEST_PAUSE_SECONDS) if short else 0.0
            if not self._stopping:
                process = worker.process
                logger.warning("worker %s ended with %s; starting another", process.pid, process.exitcode)
        return bool(dead)

    def _bury(self) -> None:
        for worker in self._workers:
            worker.process.join()

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        """Leave a signal to the main loop: a line logged here could interrupt the writing of another, and be lost."""
        self._bell.send_bytes(b"signal")

    def _wait_for(self, things: Sequence[Connection | int], seconds: float | None = None) -> None:
        """Wait until one of these is ready, or a signal comes; a signal stops all."""
        if self._signals in wait([self._signals, *things], seconds):
            self._signals.recv_bytes()
            if not self._stopping:
                self._tell_so()
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        # Held open here, the socket would take callers whom nobody answers until the last worker has settled.
        self._refuse()
        for worker in self._workers:
            worker.process.terminate()


def _hire(settings: Settings, arguments: argparse.Namespace, listener: socket.socket) -> _Worker:
    ready, told = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_work, args=(settings, arguments, listener, told))
    process.start()
    told.close()
    return _Worker(process, ready, time.monotonic())


def _work(settings: Settings, arguments: argparse.Namespace, listener: socket.socket, told: Connection) -> None:
    """Be a worker, until a signal comes or the parent is gone."""
    logs.configure(arguments.log_level)
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    from kros_mcp.commands.serving import access_of, serve_here  # noqa: PLC0415 - uvicorn, which the parent needs not
    from kros_mcp.http.uvicorn_server import ListenAddress  # noqa: PLC0415

    try:
        access = access_of(settings, ListenAddress(arguments.host, arguments.port), no_auth=arguments.no_auth)
        serve_here(settings, access, arguments, listener, lambda: told.send_bytes(b"ready"), _say_nothing)
    except KrosError as exc:
        logger.error("the worker cannot serve: %s", exc.message)  # noqa: TRY400 - our sentence says it all
        sys.exit(exc.exit_code)


def _say_nothing() -> None:
    """Leave it to the parent to tell that the service stops, once for all."""


def _outlive_nobody() -> None:
    """Stop this worker as a signal does when the parent was killed, which could not tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - only workers come here
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
