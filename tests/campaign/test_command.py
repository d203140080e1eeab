"""How the campaign's command answers what it cannot do."""

import sys
from pathlib import Path

import pytest

from .__main__ import main, parsed


@pytest.mark.parametrize("wish", ["purchases", "purchases=", "purchases=many", "kills=3,purchases=-1"])
def test_a_target_without_a_number_is_told_in_a_sentence(wish: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(["--at-least", wish])
    assert left.value.code == 2
    assert "--at-least: purchases needs a whole number, as in purchases=50." in capsys.readouterr().err


def test_a_fault_to_leave_out_that_is_none_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed(["--without", "slow,hold"]).without == {"slow", "hold"}
    with pytest.raises(SystemExit) as left:
        parsed(["--without", "slow,rain"])
    assert left.value.code == 2
    assert "--without: there is no fault rain; there are " in capsys.readouterr().err


def test_a_journal_that_cannot_be_opened_is_told_and_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("This is no database, and it is long enough to be read as one." * 20)
    monkeypatch.setattr(sys, "argv", ["campaign", "--seconds", "1", "--journal-url", f"sqlite:///{letter}"])
    assert main() == 2
    printed = capsys.readouterr()
    assert "journal" in printed.err.lower()
    assert (printed.out, "Traceback" in printed.err) == ("", False)
