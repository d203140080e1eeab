"""The journal's time: Unix seconds that a clock which is set, or steps, neither hurries nor turns back.

Within one boot of the machine the time goes forward by the clock that counts seconds since the start. A new boot takes
the wall clock, but never earlier than the last time that was written into the journal.

A journal in PostgreSQL has one time for all machines: the database's, less what that is known to be ahead. Each process
watches by its own boot clock whether the time goes on evenly from one look to the next; a step of the database's clock
is written down as being ahead, for everybody. A step while no process of this boot watches cannot be told from time
that has passed; so what was sent before a process looked for the first time settles counting from that look.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from kros_mcp.times import boot_clock

SLACK_SECONDS = 0.25
"""What the database's clock and this machine's may differ by between two looks, however short the time between."""
DRIFT = 0.0005
"""And what more for each second between them: a clock that is being corrected runs that much too fast or too slow."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Name this boot of the machine.

    Where the system gives no name, the minute of its start does, by the clocks; setting the wall clock then looks like
    a new boot to a process that begins after it.
    """
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    with suppress(OSError, AttributeError, ImportError, ValueError):
        return _on_macos() if sys.platform == "darwin" else _on_windows()
    return f"about {round((time.time() - boot_clock()) / 60)}"


def _on_macos() -> str:
    import ctypes  # noqa: PLC0415 - there alone

    text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    system = ctypes.CDLL(None)
    if system.sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0) != 0:
        raise OSError
    return text.value.decode()


def _on_windows() -> str:
    import winreg  # noqa: PLC0415 - there alone

    place = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:  # type: ignore[attr-defined,unused-ignore]
        return f"{os.environ.get('COMPUTERNAME', '')} {winreg.QueryValueEx(key, 'BootId')[0]}"  # type: ignore[attr-defined,unused-ignore]


@dataclass(frozen=True)
class Machine:
    """A machine's clocks: Unix seconds, which can be set; seconds since its start; and which start that was."""

    wall: Callable[[], float] = time.time
    boot_clock: Callable[[], float] = boot_clock
    boot_id: Callable[[], str] = boot_id


@dataclass(frozen=True)
class Progress:
    """How far a journal has come: its one row of `progress`.

    `moves` only grows. `moved_at` is the last time written, and `boot` and `boot_seconds` what the clock of the machine
    that wrote it showed then. `boot_began` is the journal's time when that boot was first seen. `ahead` is what the
    database's clock is ahead of the journal's time, or in a file what the machine's was at `moved_at`. `generation` is
    changed by a restore. `restored_at` is the last time in the copy that was restored, by the clock of then; None in a
    journal that never was.
    """

    moves: int
    moved_at: float
    boot: str
    boot_seconds: float
    boot_began: float
    ahead: float
    generation: str
    restored_at: float | None


@dataclass(frozen=True)
class Moment:
    """A time of the journal, and what a machine's clocks show then; `ahead` as in `Progress`, None to leave it."""

    time: float
    boot: str
    boot_seconds: float
    boot_began: float
    ahead: float | None = None


class Timekeeper(Protocol):
    """Tells a journal's time to one process."""

    def adopt(self, progress: Progress) -> None:
        """Go on from what stands in the journal."""
        ...

    def moment(self) -> Moment | None:
        """Return the time with the machine's clock beside it, to be written down; None if it shall not be."""
        ...

    def waited(self, sent_at: float, now: float) -> float:
        """Return how many seconds have certainly passed since a time of the journal."""
        ...


class GivenTime:
    """A clock that is the journal's time, whatever it shows; for tests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock

    def adopt(self, progress: Progress) -> None:
        """Heed nothing else."""

    def moment(self) -> None:
        """Write nothing down."""

    def waited(self, sent_at: float, now: float) -> float:
        """Count from then to now."""
        return now - sent_at


class MachineTime:
    """The time of a journal that one machine alone writes; all its processes count along one line."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._boot = machine.boot_id()
        self._opened = machine.boot_clock()
        self._base: Moment | None = None

    def now(self) -> float:
        """Return the time, in Unix seconds; only after `adopt`."""
        return self._at(self._machine.boot_clock())

    def adopt(self, progress: Progress) -> None:
        """Go on from what stands in the journal; the first look of a new boot takes the wall clock."""
        seconds = self._machine.boot_clock()
        if progress.boot == self._boot:
            since, began = max(0.0, seconds - progress.boot_seconds), progress.boot_began
            shown = progress.moved_at + since
        else:
            shown = max(progress.moved_at, self._machine.wall() if self._base is None else 0.0)
            began = shown if self._base is None else self._base.boot_began
        if self._base is not None:
            shown = max(shown, self._at(seconds))
        self._base = Moment(shown, self._boot, seconds, began)

    def moment(self) -> Moment:
        """Return the time with the machine's clock beside it."""
        seconds, base = self._machine.boot_clock(), self._begun()
        now = self._at(seconds)
        return Moment(now, base.boot, seconds, base.boot_began, self._machine.wall() - now)

    def waited(self, sent_at: float, now: float) -> float:
        """Count what an earlier boot sent from this process's first look."""
        if sent_at >= self._begun().boot_began:
            return now - sent_at
        return min(now - sent_at, self._machine.boot_clock() - self._opened)

    def _at(self, seconds: float) -> float:
        base = self._begun()
        return base.time + max(0.0, seconds - base.boot_seconds)

    def _begun(self) -> Moment:
        assert self._base is not None  # noqa: S101 - opening the journal has adopted what stands in it
        return self._base


@dataclass(frozen=True)
class _Look:
    """A time that the database gave at some moment between two of this machine's boot clock."""

    asked: float
    answered: float
    time: float


class SharedTime:
    """The time of a journal in a database that several machines share."""

    def __init__(self, machine: Machine) -> None:
        self.correction: tuple[float, float] | None = None
        """What stands in the journal as `ahead`, and what should, where that is not the same."""
        self._machine = machine
        self._boot = machine.boot_id()
        self._opened = machine.boot_clock()
        self._first: float | None = None
        self._last: _Look | None = None

    def asked(self) -> float:
        """Return what the boot clock shows, before the database is asked."""
        return self._machine.boot_clock()

    def look(self, shown: float, progress: Progress, asked: float) -> float:
        """Make the journal's time of the database's.

        Args:
            shown: What the database's clock shows.
            progress: How far the journal has come.
            asked: What `asked` gave before.
        """
        answered = self._machine.boot_clock()
        if self._last is None and progress.boot == self._boot:
            self._last = _Look(progress.boot_seconds, progress.boot_seconds, progress.moved_at)
        now = shown - progress.ahead
        if self._last is not None:
            slack = SLACK_SECONDS + DRIFT * max(0.0, answered - self._last.asked)
            # Of two looks at once the one that was asked first may be answered last, with the earlier time.
            least = self._last.time + asked - self._last.answered
            most = self._last.time + answered - self._last.asked
            if not least - slack <= now <= most + slack:
                now = least
        now = max(now, progress.moved_at)
        ahead = shown - now
        self.correction = (progress.ahead, ahead) if abs(ahead - progress.ahead) > SLACK_SECONDS else None
        if self._last is not None and now < self._last.time:
            return self._last.time
        self._last = _Look(asked, answered, now)
        if self._first is None:
            self._first = now
        return now

    def adopt(self, progress: Progress) -> None:
        """Nothing: each look at the database's clock reads how far the journal has come, too."""

    def moment(self) -> Moment | None:
        """Return the time with this machine's clock beside it; None before the first look."""
        if self._last is None:
            return None
        seconds = self._machine.boot_clock()
        return Moment(self._last.time + max(0.0, seconds - self._last.answered), self._boot, seconds, 0.0)

    def waited(self, sent_at: float, now: float) -> float:
        """Count what was sent before this process's first look from then: nobody may have watched the clock before."""
        if self._first is not None and sent_at >= self._first:
            return now - sent_at
        return min(now - sent_at, self._machine.boot_clock() - self._opened)
