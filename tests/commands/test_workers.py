"""The process that looks after the workers of a service."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from kros_mcp.commands import workers
from kros_mcp.commands.workers import Supervisor, Worker

_IDLE = "import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM]); signal.pause()"
_READY = f"told.send_bytes(b'ready'); {_IDLE}"


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    def fail(*_: object) -> None:
        pytest.fail("the service has not ended")

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


class Process:
    """Stands for a worker's process, which ends once it is told to."""

    pid = 1

    def __init__(self) -> None:
        self.exitcode: int | None = None
        self.sentinel, self._alive = multiprocessing.Pipe(duplex=False)

    def terminate(self) -> None:
        self.exitcode = 0
        self._alive.close()


def start() -> Any:
    ready, told = multiprocessing.Pipe(duplex=False)
    told.send_bytes(b"ready")
    return Worker(Process(), ready, time.monotonic())  # type: ignore[arg-type]


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_is_told_once_and_never_in_the_middle_of_what_it_interrupts(times: int) -> None:
    """A log line that interrupts the writing of another to the same stream would be lost."""
    heard: list[str] = []

    def announce() -> None:
        heard.append("begin")
        for _ in range(times):
            signal.raise_signal(signal.SIGTERM)
        heard.append("end")

    supervisor = Supervisor(start, 2, lambda: None, lambda: heard.append("stopping"))
    assert supervisor.run(announce) == 0
    assert heard == ["begin", "end", "stopping"]


@pytest.fixture
def processes() -> Iterator[list[BaseProcess]]:
    begun: list[BaseProcess] = []
    yield begun
    for process in begun:
        process.kill()


def started(processes: list[BaseProcess], *, ready: bool) -> Worker:
    """Start a process that does nothing, and never again once it is stopped."""
    here, told = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=exec, args=(_READY if ready else _IDLE, {"told": told}), daemon=True
    )
    process.start()
    processes.append(process)
    return Worker(process, here, time.monotonic())


def hang(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # until then a SIGTERM would be faster


def test_a_worker_that_hangs_does_not_keep_the_service_from_ending(
    monkeypatch: pytest.MonkeyPatch, processes: list[BaseProcess]
) -> None:
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.5)

    def announce() -> None:
        hang(processes[0])
        signal.raise_signal(signal.SIGTERM)

    supervisor = Supervisor(lambda: started(processes, ready=True), 2, lambda: None, lambda: None)
    assert supervisor.run(announce) == 0
    assert [process.exitcode for process in processes] == [-signal.SIGKILL, -signal.SIGTERM]


def test_a_worker_that_hangs_before_it_is_ready_does_not_either(
    monkeypatch: pytest.MonkeyPatch, processes: list[BaseProcess]
) -> None:
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.5)

    def start_and_stop() -> Worker:
        worker = started(processes, ready=False)
        hang(processes[0])
        signal.raise_signal(signal.SIGTERM)
        return worker

    supervisor = Supervisor(start_and_stop, 1, lambda: None, lambda: None)
    assert supervisor.run(lambda: pytest.fail("it is announced")) == 0
    assert [process.exitcode for process in processes] == [-signal.SIGKILL]
