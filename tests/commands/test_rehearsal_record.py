"""The record of rehearsals: written before anything is sent, and never anybody else's file."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from rehearsal_bench import CANARY, Bench

from kros_mcp.commands.rehearsal_record import Unsettled, left_by_earlier_runs, open_record
from kros_mcp.errors import KrosError, RecordError

pytestmark = pytest.mark.usefixtures("no_waits")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_write_is_on_the_disk_before_it_leaves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        synced[:] = [bench.record.read_text()] if bench.record.exists() else []

    monkeypatch.setattr(os, "fsync", noted)
    last: list[tuple[str, str, str]] = []

    async def look(request: httpx.Request) -> None:
        line = json.loads(synced[0].splitlines()[-1])
        last.append((request.method, line["event"], line["e164"]))

    bench.on_write = look

    bench.rehearse()

    number = bench.sim.charges[0].e164
    assert {method for method, _, _ in last} == {"POST", "PATCH", "DELETE"}
    assert len(last) == len(bench.writes)
    assert set(last) == {
        (method, "ordering" if method == "POST" else "writing", number) for method in ("POST", "PATCH", "DELETE")
    }


def test_only_its_owner_can_read_it_and_it_holds_no_key(bench: Bench) -> None:
    bench.record.touch(mode=0o644)

    bench.rehearse()

    assert stat.S_IMODE(bench.record.stat().st_mode) == 0o600
    assert CANARY not in bench.record.read_text()


def test_where_it_cannot_be_written_nothing_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    def fills_up() -> None:
        monkeypatch.setattr(os, "write", full)

    bench.on_question = fills_up

    with pytest.raises(RecordError):
        bench.run()

    assert bench.writes == []


def test_after_half_a_line_nothing_is_sent_or_written_and_the_next_run_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def half(file: int, data: bytes) -> int:
        if b'"ordering"' not in data or bench.charged:
            return write(file, data)
        return write(file, data[: len(data) // 2])

    bench.on_question = lambda: monkeypatch.setattr(os, "write", half)

    made = bench.rehearse()

    assert (bench.writes, made.exit_code) == ([], 1)
    monkeypatch.undo()
    bench.on_question = lambda: None
    assert bench.rehearse().exit_code == 0
    assert bench.left == []


def test_a_record_that_is_taken_away_ends_the_writes(bench: Bench) -> None:
    async def take_away(request: httpx.Request) -> None:
        if request.method == "PATCH":
            bench.record.unlink(missing_ok=True)

    bench.on_write = take_away

    made = bench.rehearse()

    assert bench.writes.count("PATCH") == 1
    assert made.exit_code == 1
    assert made.conclusions[0].what.startswith("LEFT OWNED")
    assert len(bench.left) == 1


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_was_cut_announced_nothing_that_was_sent(bench: Bench, cut: int) -> None:
    assert bench.killed(1, delivered=False)
    whole = bench.record.read_bytes()
    bench.record.write_bytes(whole[:-cut])

    with open_record(bench.record) as record:
        assert record.unsettled(bench.in_force) == []

    assert bench.record.read_bytes() == whole[: whole[:-1].rfind(b"\n") + 1]


@pytest.mark.parametrize("content", ["a shopping list\n", "no end of the line", '{"event": "other"}\n', "[1]\n"])
def test_another_file_is_left_as_it_is(bench: Bench, content: str) -> None:
    bench.record.write_text(content)

    with pytest.raises(RecordError):
        bench.run()

    assert bench.record.read_text() == content
    assert bench.sim.requests == []


def test_a_damaged_line_stops_everything(bench: Bench) -> None:
    assert bench.killed(5, delivered=True)
    head, *rest = bench.record.read_text().splitlines(keepends=True)
    bench.record.write_text("".join([head, rest[0], '{"event": "ordering", "of": "x"}\n', *rest[1:]]))

    with pytest.raises(RecordError):
        bench.run()

    assert len(bench.left) == 1


def test_a_record_that_was_killed_while_it_was_made_is_made_anew(bench: Bench) -> None:
    bench.record.write_text('{"event": "kros-')

    assert bench.rehearse().exit_code == 0


def test_a_name_that_no_file_can_have_is_refused(bench: Bench) -> None:
    bench.record = bench.folder / ("a" * 300)
    with pytest.raises(RecordError, match="cannot be opened"):
        bench.run()


def test_two_at_once_are_one_too_many(bench: Bench) -> None:
    with open_record(bench.record), pytest.raises(KrosError) as busy:
        bench.run()

    assert busy.value.code == "REHEARSAL_BUSY"


def test_a_record_that_was_unreadable_before_the_order_is_not_of_this_run() -> None:
    number = Unsettled("rh_1", "+2342015550100", {"pn_ended": False, "pn_owned": True}, ("pn_unread", "entry 3"))

    assert [one for one in ("pn_ended", "pn_owned", "pn_unread", "pn_new") if number.is_of_this_run(one)] == [
        "pn_ended",
        "pn_new",
    ]


def test_what_is_left_can_be_read_without_opening_it(bench: Bench) -> None:
    assert left_by_earlier_runs(bench.in_force, bench.record) == []
    assert bench.killed(5, delivered=True)

    (number,) = left_by_earlier_runs(bench.in_force, bench.record)

    assert [number.e164] == bench.left
    bench.rehearse()
    assert left_by_earlier_runs(bench.in_force, bench.record) == []
