"""`kros-mcp http --workers N`: processes that accept callers at one socket, and the supervisor that keeps them running.

They are spawned and not forked, so that each opens its own connections. Their settings, with the keys that they share,
reach them through a pipe: neither their command line nor their environment holds more than the parent's.

uvicorn's own `Multiprocess` would not do: it kills a worker that does not answer within seconds, even while that one
sends a purchase; it starts a worker that cannot begin again and again unless that ends with 3; it gives no exit code;
it holds the socket open while workers stop; and its workers live on when it is killed.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import anyio
from pydantic import SecretStr

from kros_mcp.commands.http_service import HttpOptions, access_of, serve_in_this_process
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.http import logs
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.runner import DRAIN_SECONDS
from kros_mcp.server import state_keys
from kros_mcp.settings import MEMORY, Settings

logger = logging.getLogger(__name__)

SHORT_LIFE_SECONDS = 10.0
"""A worker that ends sooner makes its successor wait, so that a fault does not start processes without end."""
LONGEST_PAUSE_SECONDS = 5.0
STOP_SECONDS = DRAIN_SECONDS + 20.0
"""How long workers have to end after a signal, with answers and telemetry beside what is being sent; then they are
killed, and what one was sending is found out by whoever starts next."""
_SPAWN = multiprocessing.get_context("spawn")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def settings_for_all(settings: Settings, options: HttpOptions) -> Settings:
    """Check that several processes can serve as one, and give them keys in common if the settings name none.

    Raises:
        KrosError: They could not; or the journal, opened once here so that its trouble is reported once, cannot be
            used.
    """
    if options.workers < 1:
        raise SettingsError("--workers needs a number of 1 or more.")
    if sys.platform == "win32":
        raise SettingsError("Several workers need Linux or macOS.", next_step="Leave --workers out.")
    if not options.stateless:
        raise SettingsError(
            "Several workers need --stateless: the session of a legacy client belongs to one process, and its next "
            "request may reach another.",
            next_step="Add --stateless, or leave --workers out; legacy clients then confirm by code, or keep prompts.",
        )
    if settings.simulator or settings.journal_url == MEMORY:
        raise SettingsError("Several workers need a journal that they share; one in memory belongs to one process.")

    async def open_once() -> None:
        async with open_journal(settings.journal_url, read_only=settings.read_only):
            pass

    anyio.run(open_once)
    return settings.model_copy(update={"state_keys": tuple(map(SecretStr, state_keys(settings)))})


def run(
    settings: Settings,
    options: HttpOptions,
    listener: socket.socket,
    announce: Callable[[], None],
    stopping: Callable[[], None],
) -> int:
    """Serve with several processes until a signal comes; each settles what it is sending, within a bound.

    Args:
        settings: What the environment decides, with `settings_for_all`.
        options: What the command line decides.
        listener: Where all of them listen.
        announce: Called once all accept callers.
        stopping: Called once a signal has come.

    Returns:
        0 if a signal stopped them; the exit code of a worker that could not begin.
    """
    supervisor = Supervisor(lambda: _start(settings, options, listener), options.workers, listener.close, stopping)
    return supervisor.run(announce)


@dataclass(frozen=True)
class Worker:
    """A process; `ready` receives one message once it accepts callers, and is closed when it ends."""

    process: SpawnProcess
    ready: Connection
    started: float

    def is_ready(self) -> bool:
        """Wait until it accepts callers; false if it has ended before that."""
        try:
            self.ready.recv_bytes()
        except EOFError:
            self.process.join()
            return False
        return True


class Supervisor:
    """Keeps a number of workers running until a signal comes.

    Args:
        start: Starts a worker.
        count: How many there are to be.
        close: Closes the listening socket of this process.
        stopping: Called once a signal has come.
    """

    def __init__(
        self, start: Callable[[], Worker], count: int, close: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        self._start, self._count, self._close, self._on_stopping = start, count, close, stopping
        self._workers: list[Worker] = []
        self._stopping = False
        self._kill_at: float | None = None
        self._pause = 0.0
        self._signals, self._signalled = _SPAWN.Pipe(duplex=False)

    def run(self, announce: Callable[[], None]) -> int:
        """Start all workers, announce them, and replace those that end, until a signal comes.

        Returns:
            0, or the exit code of a worker that ended before it accepted callers.
        """
        for number in _STOP_SIGNALS:
            # The handler only wakes the main loop: a line logged here could interrupt another, and be lost.
            signal.signal(number, lambda _number, _frame: self._signalled.send_bytes(b"signal"))
        self._start_missing()
        exit_code = 0
        for worker in tuple(self._workers):
            self._wait_for([worker.ready])
            if self._stopping:
                break
            if not worker.is_ready():
                exit_code = worker.process.exitcode or 1
                self._stop()
                break
        if not self._stopping:
            announce()
        while self._workers or not self._stopping:
            is_short = len(self._workers) < self._count and not self._stopping
            self._wait_for([each.process.sentinel for each in self._workers], self._pause if is_short else None)
            if not self._remove_ended():
                self._start_missing()
        return exit_code

    def _start_missing(self) -> None:
        """Start the workers that are missing; a signal that comes meanwhile waits, and then stops them too."""
        if sys.platform == "win32":
            raise NotImplementedError  # `settings_for_all` has refused
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        while len(self._workers) < self._count and not self._stopping:
            self._workers.append(self._start())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def _remove_ended(self) -> bool:
        """Remove workers that have ended; after a short life the pause before the next start doubles."""
        ended = [each for each in self._workers if each.process.exitcode is not None]
        for worker in ended:
            self._workers.remove(worker)
            worker.ready.close()
            was_short = time.monotonic() - worker.started < SHORT_LIFE_SECONDS
            self._pause = min(max(0.1, 2 * self._pause), LONGEST_PAUSE_SECONDS) if was_short else 0.0
            if not self._stopping:
                process = worker.process
                logger.warning("worker %s ended with %s; starting another", process.pid, process.exitcode)
        return bool(ended)

    def _wait_for(self, things: Sequence[Connection | int], seconds: float | None = None) -> None:
        """Wait until one of these is ready, or a signal comes, which stops all workers; kill those that do not stop."""
        if self._kill_at is not None:
            seconds = max(0.0, self._kill_at - time.monotonic())
        if self._signals in wait([self._signals, *things], seconds):
            self._signals.recv_bytes()
            if not self._stopping:
                self._on_stopping()
            self._stop()
        elif self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            for worker in self._workers:
                if worker.process.exitcode is None:
                    logger.warning("worker %s does not stop and is killed", worker.process.pid)
                    worker.process.kill()

    def _stop(self) -> None:
        if not self._stopping:
            self._kill_at = time.monotonic() + STOP_SECONDS
        self._stopping = True
        # Held open here, the socket would take callers whom nobody answers until the last worker has settled.
        self._close()
        for worker in self._workers:
            worker.process.terminate()


def _start(settings: Settings, options: HttpOptions, listener: socket.socket) -> Worker:
    if sys.platform == "win32":
        raise NotImplementedError  # `settings_for_all` has refused
    ready, accepts = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_work, args=(settings, options, listener, accepts))
    process.start()
    accepts.close()
    return Worker(process, ready, time.monotonic())


def _work(settings: Settings, options: HttpOptions, listener: socket.socket, accepts: Connection) -> None:
    """Serve in a worker's process until a signal comes or the parent is gone."""
    logs.configure(options.log_level)
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    try:
        access = access_of(settings, options)
        serve_in_this_process(
            settings,
            access,
            options,
            listener,
            ready=lambda: accepts.send_bytes(b"ready"),
            stopping=lambda: None,  # the parent logs it, once for all
        )
    except KrosError as exc:
        logger.error("the worker cannot serve: %s", exc.message)  # noqa: TRY400 - our sentence says it all
        sys.exit(exc.exit_code)


def _stop_with_the_parent() -> None:
    """Stop this worker as a signal does when the parent has been killed and could not tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - only workers come here
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
