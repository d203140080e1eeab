import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands_doubles import Command

from kros_mcp.commands import console, demo
from kros_mcp.simulator import Charge, InventoryItem, SimNumber, Simulator

CODE = re.compile(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b")


class ChargesTwice(Simulator):
    """A KrosAI that takes the money of every purchase twice."""

    def buy(self, item: InventoryItem, idempotency_key: str | None, *, number_id: str = "") -> SimNumber:
        bought = super().buy(item, idempotency_key, number_id=number_id)
        self.charges.append(Charge(item.e164, self.charges[-1].cents, self.now(), idempotency_key))
        return bought


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[subprocess.Popen[str]]:
    """A demo in the other dialect, under settings that would stop or spoil it; runs beside the first test."""
    hostile = {
        "KROS_READ_ONLY": "true",
        "KROS_API_KEY": "kros_live_canary",
        "KROS_BASE_URL": "https://krosai.invalid/v1",
        "KROS_CONFIRMATION": "approver",
        "KROS_NOT_A_SETTING": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "kros_mcp", "demo", "--profile", "guide"],
        env={**os.environ, **hostile},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("elsewhere")
def test_the_story_ends_well_and_the_simulator_agrees(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Simulator] = []

    def remembered(profile: str) -> Simulator:
        told.append(Simulator("guide" if profile == "guide" else "reference"))
        return told[-1]

    monkeypatch.setattr(demo, "Simulator", remembered)

    ran = command("demo")

    assert ran.code == 0, ran.out
    [sim] = told
    assert [charge.cents for charge in sim.charges] == [500, 600, 600, 1300, 600]
    assert sim.balance_cents == 10_000 - 3_600
    assert sim.faults.counts["lost_reply"] == 1
    assert sim.faults.counts["price_moves"] == 1
    assert sum(seen.method == "POST" for seen in sim.requests) == 5
    assert sum(seen.method == "DELETE" for seen in sim.requests) == 1
    for part in ("search_phone_numbers(country=NG", "  prompt", "  choice", "types 0100", "PRICE_CHANGED", "held."):
        assert part in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    assert "\x1b" not in ran.out
    assert sim.api_key not in ran.out
    assert not CODE.search(ran.out)


def test_the_environments_settings_do_not_leak_into_it_and_the_other_dialect_is_told_as_well(
    elsewhere: subprocess.Popen[str],
) -> None:
    printed, _ = elsewhere.communicate(timeout=60)

    assert elsewhere.returncode == 0, printed
    assert "canary" not in printed
    assert printed.count("  checked") >= 15


def test_a_claim_that_does_not_hold_ends_it_with_one_and_a_plain_line(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "Simulator", ChargesTwice)

    ran = command("demo")

    assert ran.code == 1
    assert "FAILED: this claim does not hold: the simulator charged" in ran.out
    assert "Every claim" not in ran.out
    assert "Traceback" not in ran.out + ran.err


def test_a_server_that_cannot_start_ends_it_with_one(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python-here"))

    ran = command("demo")

    assert ran.code == 1
    assert "FAILED: the demo could not go on" in ran.out
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    terminal: bool,
    no_color: str,
    coloured: bool,
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)

    console.say("yes", "green")

    assert ("\x1b[" in capsys.readouterr().out) is coloured
