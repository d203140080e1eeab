"""The record of rehearsals: a file of JSON lines in which stands what is about to be sent, before it leaves.

A run that was killed is found there by the next one, with the number that it ordered and what the account had of that
number before. The record has nothing to do with the journal, so that no server takes an order of a rehearsal for one
of its own. It holds numbers and ids, and no key.
"""

import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from kros_mcp.errors import KrosError, RecordError
from kros_mcp.settings import Settings, default_journal_path

Outcome = Literal["done", "unclear", "refused", "turned away", "unknown", "not sent"]
"""How KrosAI answered: plainly; by a success that has to be looked up; by a refusal or a 429; or not at all."""
_FORMAT: Final = "kros-mcp rehearsals 1"
_HEADER: Final = f"{json.dumps({'event': _FORMAT})}\n".encode()


@dataclass
class Sent:
    """One order of a number. Without an outcome its answer was not heard: the run ended before."""

    at: float
    outcome: Outcome = "unknown"
    number_id: str = ""
    """The id of the record that the answer named; empty if it named none."""


@dataclass
class Unsettled:
    """A number that a run has ordered, and of which it is not written down that it is no longer owned.

    Args:
        run: The run.
        e164: The number.
        before: The records that the account had of it before, by id, and whether it owned the number by them.
        unreadable: The records of any number that could not be read then.
        orders: What was sent, in its order.
        seen: The ids of the records by which it was seen since then.
    """

    run: str
    e164: str
    before: Mapping[str, bool]
    unreadable: tuple[str, ...] = ()
    orders: list[Sent] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def began_at(self) -> float:
        """When the first order was sent, in Unix seconds."""
        return self.orders[0].at if self.orders else 0.0

    @property
    def may_be_anothers(self) -> bool:
        """Whether KrosAI has refused every order, so that others may have bought the number if it is owned."""
        return all(sent.outcome in {"refused", "not sent"} for sent in self.orders)

    def is_of_this_run(self, number_id: str) -> bool:
        """Whether a record is new since the first order, or had ended before it; one that was unreadable is not."""
        return not self.before.get(number_id, False) and number_id not in self.unreadable


class Record:
    """The open record; one process at a time has it.

    Args:
        file: Open for appending.
        lines: What stands in it.
    """

    def __init__(self, file: int, lines: Iterable[Mapping[str, Any]]) -> None:
        self._file = file
        self._lines = list(lines)
        self._is_whole = True
        self.run = ""

    def begin(self, settings: Settings, at: float) -> None:
        """Write down that a run begins, and for which account."""
        self.run = f"rh_{secrets.token_hex(8)}"
        salt = secrets.token_bytes(16)
        self._write("began", at=at, salt=salt.hex(), account=settings.account(salt), environment=settings.environment)

    def ordering(self, number: Unsettled, at: float, key: str, cents: int) -> Sent:
        """Write down that an order is about to be sent."""
        self._write(
            "ordering",
            of=number.run,
            e164=number.e164,
            at=at,
            key=key,
            cents=cents,
            before=dict(number.before),
            unreadable=list(number.unreadable),
        )
        number.orders.append(Sent(at))
        return number.orders[-1]

    def answered(self, number: Unsettled, sent: Sent) -> None:
        """Write down how the last order of a number was answered."""
        self._write("answered", of=number.run, e164=number.e164, outcome=sent.outcome, number_id=sent.number_id)

    def saw(self, number: Unsettled, number_ids: set[str]) -> None:
        """Write down by which records a number was seen, so that it is gone where these are."""
        if new := number_ids - number.seen:
            number.seen |= new
            self._write("saw", of=number.run, e164=number.e164, number_ids=sorted(new))

    def writing(self, number: Unsettled, number_id: str, what: str, at: float) -> None:
        """Write down that something other than an order is about to be sent."""
        self._write("writing", of=number.run, e164=number.e164, number_id=number_id, what=what, at=at)

    def settled(self, number: Unsettled, at: float) -> None:
        """Write down that nothing of a number is owned any more."""
        self._write("settled", of=number.run, e164=number.e164, at=at)

    def unsettled(self, settings: Settings) -> list[Unsettled]:
        """Return what runs on this account have left unsettled."""
        return [number for number, ours in _unsettled(self._lines, settings) if ours]

    def unsettled_elsewhere(self, settings: Settings) -> list[Unsettled]:
        """Return what runs on other accounts, or with another key, have left unsettled."""
        return [number for number, ours in _unsettled(self._lines, settings) if not ours]

    def _write(self, event: str, **what: Any) -> None:  # noqa: ANN401 - JSON of any kind
        """Append a line, and return when the disk has it.

        Raises:
            RecordError: It cannot be written, so nothing is to be sent.
        """
        line = {"event": event, "run": self.run, **what}
        data = f"{json.dumps(line)}\n".encode()
        try:
            # After half a line no other one may follow: the next run would take them for one.
            self._is_whole = (
                self._is_whole and os.fstat(self._file).st_nlink > 0 and os.write(self._file, data) == len(data)
            )
            os.fsync(self._file)
        except OSError:
            self._is_whole = False
        if not self._is_whole:
            raise _unusable("The record of rehearsals cannot be written, so nothing is sent.")
        self._lines.append(line)


def default_record_path() -> Path:
    """Return the default path of the record, beside the default journal."""
    return default_journal_path().with_name("rehearsals.jsonl")


@contextmanager
def open_record(path: Path) -> Iterator[Record]:
    """Open or create a record, for this process alone.

    Raises:
        RecordError: It cannot be used, or is no record; it is left as it is.
        KrosError: Another process has it open.
    """
    try:
        new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:
        raise _unusable(f"The record of rehearsals {path} cannot be opened, so nothing is sent.") from None
    try:
        _lock(file, path)
        try:
            lines = _mended(file, path)
            path.chmod(0o600)
            if new:
                _sync_folder(path.parent)
        except OSError:
            raise _unusable(f"The record of rehearsals {path} cannot be written, so nothing is sent.") from None
        yield Record(file, lines)
    finally:
        os.close(file)


def _mended(file: int, path: Path) -> list[Mapping[str, Any]]:
    """Return the lines of an open record, after what a killed process has left half-written is taken away."""
    content = _read(file)
    if _HEADER.startswith(content):
        os.ftruncate(file, 0)
        os.write(file, _HEADER)
        os.fsync(file)
        return []
    whole = content[: content.rfind(b"\n") + 1]
    lines = _parsed(whole, path)
    if not lines:
        raise _foreign(path)
    if len(whole) < len(content):
        os.ftruncate(file, len(whole))  # what that line announced was not sent
    return lines


def left_by_earlier_runs(settings: Settings, path: Path) -> list[Unsettled]:
    """Return what runs on this account have left unsettled by a record, which is only read; none if there is none.

    Raises:
        RecordError: It is no record.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return []
    lines = _parsed(content[: content.rfind(b"\n") + 1], path)
    return [number for number, ours in _unsettled(lines, settings) if ours]


def _unsettled(lines: Iterable[Mapping[str, Any]], settings: Settings) -> list[tuple[Unsettled, bool]]:
    """Return each number that is unsettled, and whether it is of the account that the settings name."""
    try:
        return _read_lines(lines, settings)
    except (KeyError, ValueError, TypeError, IndexError):
        raise RecordError("The record of rehearsals is damaged, so nothing is sent.") from None


def _read_lines(lines: Iterable[Mapping[str, Any]], settings: Settings) -> list[tuple[Unsettled, bool]]:
    ours: dict[str, bool] = {}
    numbers: dict[tuple[str, str], Unsettled] = {}
    for line in lines:
        name = (str(line.get("of")), str(line.get("e164")))
        match line.get("event"):
            case "began":
                ours[str(line["run"])] = settings.account(bytes.fromhex(line["salt"])) == line["account"]
            case "ordering":
                number = numbers.setdefault(name, Unsettled(*name, line["before"], tuple(line["unreadable"])))
                number.orders.append(Sent(float(line["at"])))
            case "answered":
                last = numbers[name].orders[-1]
                last.outcome, last.number_id = line["outcome"], line["number_id"]
            case "saw":
                numbers[name].seen.update(line["number_ids"])
            case "settled":
                numbers.pop(name, None)
            case _:
                pass
    return [(number, ours.get(number.run, False)) for number in numbers.values()]


def _parsed(content: bytes, path: Path) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    for line in content.splitlines():
        try:
            parsed = json.loads(line)
        except ValueError:
            raise _foreign(path) from None
        if not isinstance(parsed, dict) or (not lines and parsed.get("event") != _FORMAT):
            raise _foreign(path)
        lines.append(parsed)
    return lines


def _read(file: int) -> bytes:
    content = b""
    os.lseek(file, 0, os.SEEK_SET)
    while chunk := os.read(file, 1 << 20):
        content += chunk
    return content


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise KrosError(
            f"Another rehearsal is under way: it has the record {path} open.",
            code="REHEARSAL_BUSY",
            next_step="Wait until it has ended.",
        ) from None


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _unusable(message: str) -> RecordError:
    return RecordError(message, next_step="Make room, or name another file with --record.")


def _foreign(path: Path) -> RecordError:
    return RecordError(
        f"{path} is not a record of rehearsals, or is damaged; it was left as it is, and nothing is sent.",
        next_step="Name another file with --record. If it was a record, look in KrosAI's dashboard for what is owned.",
    )
