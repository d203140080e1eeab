"""The process that looks after the workers of a service."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kros_mcp.commands.workers import Supervisor, Worker


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
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
