import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands_doubles import E164, NARROW_KEY, Command, an_operation, put, settled

from kros_mcp.commands import doctor, findings
from kros_mcp.commands.rehearsal_record import Unsettled, open_record
from kros_mcp.journals.sqlite_file import APPLICATION_ID, network_file_system
from kros_mcp.operations import moves
from kros_mcp.operations.acts.purchase import NEVER_LISTED
from kros_mcp.operations.model import Action, Operation, Quote, Settlement, State
from kros_mcp.settings import load_settings
from kros_mcp.simulator import Simulator
from tests.support.issuer import entry, tokens_file

DAY = 86_400.0
UNREACHABLE = "http://127.0.0.1:1/v1"


def lines_of(out: str, mark: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(mark)]


def test_where_all_is_well_it_ends_with_zero_and_has_only_read(command: Command, pointed: Simulator) -> None:
    ran = command("doctor")

    assert ran.code == 0
    assert not lines_of(ran.out, "FAIL")
    assert {seen.method for seen in pointed.requests} == {"GET"}
    assert {seen.path for seen in pointed.requests} == {"/v1/phone-numbers", "/v1/endpoints"}
    assert "kros-mcp probe" in ran.out


def test_no_character_of_the_key_is_shown_beyond_its_public_prefix(command: Command, pointed: Simulator) -> None:
    ran = command("doctor")

    assert "test key (kros_test_...)" in ran.out
    secret = pointed.api_key.removeprefix("kros_test_")
    assert secret[:4] not in ran.out + ran.err
    assert secret[-4:] not in ran.out + ran.err


@pytest.mark.usefixtures("pointed")
def test_what_a_rehearsal_has_left_is_named(command: Command, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setattr("kros_mcp.commands.doctor.default_record_path", lambda: tmp_path / "rehearsals.jsonl")
    settings = load_settings()
    with open_record(tmp_path / "rehearsals.jsonl") as record:
        record.begin(settings, 1.0)
        record.ordering(Unsettled(record.run, E164, {}), 2.0, "key", 500)

    (line,) = lines_of(command("doctor").out, "warn")

    assert E164 in line
    environment.setenv("KROS_API_KEY", "kros_test_another")
    assert E164 not in command("doctor").out


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("kros_live_canary", "live key (kros_live_...)"),
        ("e30.eyJzdWIiOiJjYW5hcnkifQ.canary", "JWT"),
        ("canary", "no known kind"),
    ],
)
def test_every_kind_of_key_is_named_and_none_is_shown(
    command: Command, environment: pytest.MonkeyPatch, key: str, kind: str
) -> None:
    environment.setenv("KROS_API_KEY", key)

    out = command("doctor").out

    assert kind in out
    assert "canary" not in out


@pytest.mark.usefixtures("pointed")
def test_each_setting_that_differs_is_listed_with_its_value(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_ALLOWED_COUNTRIES", "ng, ke")
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "1234")

    out = command("doctor").out

    assert "KROS_ALLOWED_COUNTRIES is NG, KE." in out
    assert "KROS_MAX_PURCHASE_CENTS is 1234." in out
    assert "KROS_DAILY_BUDGET_CENTS is" not in out
    assert "12.34 in the account currency for one purchase" in out


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize(
    ("mode", "meaning"),
    [
        ("auto", "in the browser of whoever is at this machine; where none opens, a sentence and a one-time code"),
        ("person", "else it is refused"),
        ("browser", "where none opens, it is refused"),
        ("conversation", "could use the code"),
        ("prompt", "refused"),
        ("approver", "kros-mcp approve"),
        ("approver", "/approvals"),
    ],
)
def test_the_way_of_confirming_is_explained(
    command: Command, environment: pytest.MonkeyPatch, mode: str, meaning: str
) -> None:
    environment.setenv("KROS_CONFIRMATION", mode)

    out = " ".join(command("doctor").out.split())

    assert f"A person says yes by {mode}" in out
    assert meaning in out


@pytest.mark.usefixtures("pointed")
def test_what_waits_for_an_approver_by_its_amount_is_told(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_APPROVAL_ABOVE_CENTS", "1234")

    assert "over 12.34 in the account currency waits for an approver" in " ".join(command("doctor").out.split())


@pytest.mark.usefixtures("pointed")
def test_a_way_of_confirming_that_has_no_effect_is_told(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strict = entry("desk", "krosmcp_desk", "buy", confirmation="approver")
    lax = entry("night", "krosmcp_night", "buy", confirmation="conversation")
    environment.setenv("KROS_TOKENS_FILE", str(tokens_file(tmp_path / "tokens.toml", strict, lax)))
    environment.setenv("KROS_CONFIRMATION", "prompt")

    out = " ".join(command("doctor").out.split())

    assert "2 of them have a way of confirming of their own." in out
    assert "In the tokens file, conversation for night is laxer than KROS_CONFIRMATION=prompt" in out
    assert "for desk is laxer" not in out


def test_a_misspelt_setting_ends_with_two_and_names_the_nearest(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_DAILY_BUDGET", "100")

    ran = command("doctor")

    assert ran.code == 2
    assert "KROS_DAILY_BUDGET_CENTS" in lines_of(ran.out, "FAIL")[0] + ran.out


@pytest.mark.usefixtures("pointed", "no_waits")
def test_an_unreachable_krosai_ends_with_four(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_BASE_URL", UNREACHABLE)

    ran = command("doctor")

    assert ran.code == 4
    assert len(lines_of(ran.out, "FAIL")) == 1
    assert UNREACHABLE in ran.out


def test_a_krosai_that_does_not_answer_ends_with_four_within_the_time_it_has(
    command: Command, pointed: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointed.faults.switch_on("slow", times=None, seconds=1.0)
    monkeypatch.setattr(doctor, "NETWORK_SECONDS", 0.1)
    begun = time.monotonic()

    ran = command("doctor")

    assert ran.code == 4
    assert "TOO_SLOW" in ran.out
    assert time.monotonic() - begun < 1


def test_a_refused_key_ends_with_one_and_is_said_to_be_refused(
    command: Command, environment: pytest.MonkeyPatch, pointed: Simulator
) -> None:
    environment.setenv("KROS_API_KEY", pointed.expired_key)

    ran = command("doctor")

    assert ran.code == 1
    assert lines_of(ran.out, "FAIL") == ["FAIL  KrosAI refuses the key (KEY_EXPIRED)."]


@pytest.mark.usefixtures("pointed")
def test_a_missing_scope_is_named_and_the_other_one_is_fine(command: Command, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KROS_API_KEY", NARROW_KEY)

    ran = command("doctor")

    assert ran.code == 1
    assert [line for line in lines_of(ran.out, "FAIL") if "endpoints:read" in line]
    assert [line for line in lines_of(ran.out, "ok") if "numbers:read" in line]


def test_an_answer_that_is_not_krosais_ends_with_one(command: Command, pointed: Simulator) -> None:
    pointed.faults.switch_on("html_page", times=None)

    ran = command("doctor")

    assert ran.code == 1
    assert len(lines_of(ran.out, "FAIL")) == 2
    assert "KROS_BASE_URL" in ran.out


@pytest.mark.usefixtures("pointed")
def test_a_journal_that_cannot_be_used_ends_with_three_and_krosai_is_still_asked(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{tmp_path}/file/journal.sqlite3")

    ran = command("doctor")

    assert ran.code == 3
    assert "KrosAI answers" in ran.out


def test_without_a_key_and_a_journal_both_are_told(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{tmp_path}/file/journal.sqlite3")

    ran = command("doctor")

    assert (ran.code, len(lines_of(ran.out, "FAIL"))) == (2, 2)


@pytest.mark.parametrize(
    ("codes", "gravest"), [((), 0), ((1,), 1), ((1, 4), 4), ((4, 3, 1), 3), ((1, 4, 3, 2), 2), ((3, 2), 2)]
)
def test_the_gravest_finding_decides_and_all_are_printed(
    capsys: pytest.CaptureFixture[str], codes: tuple[int, ...], gravest: int
) -> None:
    found = [findings.fail(f"Number {code}.", "Mend it.", code) for code in codes]

    code = findings.report([findings.ok("Well."), findings.warn("Odd.", "Look."), *found])

    printed = capsys.readouterr().out
    assert code == gravest
    assert len(lines_of(printed, "FAIL")) == len(codes)
    assert "-> Look." in printed


@pytest.mark.usefixtures("pointed")
def test_unknown_outcomes_of_this_and_of_other_accounts_are_told_apart(command: Command, journal_url: str) -> None:
    lost = (
        partial(moves.claim, reserved_cents=500, by="somebody"),
        partial(moves.mark_sent, token=1),
        partial(moves.settle, settlement=Settlement(State.UNKNOWN), token=1),
    )
    mine = put(journal_url, an_operation(), *lost, own=True)
    theirs = put(journal_url, an_operation(), *lost)

    ran = command("doctor")

    assert ran.code == 0
    assert "Operations of this account: 1 unknown." in ran.out
    warnings = lines_of(ran.out, "warn")
    assert [line for line in warnings if mine.id in line]
    assert f"kros-mcp settle {mine.id}" in " ".join(ran.out.split())
    assert [line for line in warnings if "other accounts" in line]
    assert theirs.id in ran.out


@pytest.mark.usefixtures("pointed")
def test_corrected_outcomes_of_the_last_days_are_counted(command: Command, journal_url: str) -> None:
    correct = partial(moves.correct, settlement=Settlement(State.DONE), note="KrosAI shows it bought after all.")

    def long_ago(operation: Operation, now: float) -> Operation:
        return replace(operation, corrected_at=now - 8 * DAY)

    numbers = [f"+23420155501{end}" for end in range(10, 14)]
    lately = [
        put(journal_url, an_operation(e164=e164), *settled(State.FAILED), correct, own=True) for e164 in numbers[:2]
    ]
    before = put(journal_url, an_operation(e164=numbers[2]), *settled(State.FAILED), correct, long_ago, own=True)
    other = put(journal_url, an_operation(e164=numbers[3]), *settled(State.FAILED), correct)

    ran = command("doctor")

    out = " ".join(ran.out.split())
    assert ran.code == 0
    assert "Corrected within 7 days, since KrosAI showed otherwise than was told: 2 operations, " in out
    assert "kros-mcp reconcile tells what was said" in out
    assert all(operation.id in out for operation in lately)
    assert before.id not in out
    assert other.id not in out


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"look_at": 1.0}, True),
        ({"note": NEVER_LISTED}, True),
        ({"note": NEVER_LISTED, "settled_at": 1.0}, False),
        ({"look_at": 1.0, "action": Action.RELEASE}, False),
        ({}, False),
    ],
)
def test_a_purchase_that_krosai_has_not_listed_is_told(
    command: Command, journal_url: str, changes: dict[str, Any], *, told: bool
) -> None:
    bought = put(journal_url, an_operation(), *settled(State.DONE), lambda one, _: replace(one, **changes), own=True)

    out = " ".join(command("doctor").out.split())

    assert ("not listed by KrosAI since, as far as anybody looked: 1 operation, " + bought.id in out) == told


@pytest.mark.usefixtures("pointed")
def test_what_waits_for_an_approver_is_told_and_what_expired_is_not(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation(), own=True)
    other = an_operation(e164="+2342015550101", expires_at=time.time() - 1)
    late = put(journal_url, replace(other, quote=Quote("+2342015550101", "NG", "test")), own=True)

    out = command("doctor").out

    assert waiting.id in out
    assert late.id not in out
    assert "1 proposed, 1 expired" in out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.usefixtures("pointed")
def test_a_journal_that_others_could_read_is_told_and_closed(command: Command, tmp_path: Path) -> None:
    assert command("doctor").code == 0
    journal = tmp_path / "journal.sqlite3"
    journal.chmod(0o644)

    ran = command("doctor")

    assert "mode was 0644 and is 0600 now" in ran.out
    assert journal.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ada/journal.sqlite3", "nfs4"),
        ("/home/ada/local disk/journal.sqlite3", ""),
        ("/homestead/journal.sqlite3", ""),
        ("/var/journal.sqlite3", ""),
        ("/mnt/journal.sqlite3", "cifs"),
    ],
)
def test_a_network_file_system_is_recognised_by_the_deepest_mount(path: str, kind: str) -> None:
    """Of two at one place the later one, which lies over the other."""
    mounts = (
        "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/ada/local\\040disk ext4 rw 0 0\n"
        "/dev/sdc /mnt ext4 rw 0 0\n//server/share /mnt cifs rw 0 0\n"
    )

    assert network_file_system(Path(path), mounts) == kind


@pytest.mark.usefixtures("pointed")
def test_protected_numbers_read_only_and_caps_at_odds_are_told(
    command: Command, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_PROTECTED_NUMBERS", E164)
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "100")
    environment.setenv("KROS_PRINCIPAL_DAILY_BUDGET_CENTS", "50")
    spending = command("doctor").out
    environment.setenv("KROS_READ_ONLY", "true")
    reading = command("doctor").out

    assert f"Protected from release: {E164}." in spending
    assert "Of that, for local alone: 0.50 in the account currency in any 24 hours." in spending
    assert lines_of(spending, "warn") == ["warn  One purchase may cost more than a whole day."]
    assert "Read-only: nothing is bought" in reading


@pytest.mark.usefixtures("pointed")
def test_a_damaged_tokens_file_is_told_before_nobody_is_let_in(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text("[tokens.agent\n", encoding="utf-8")
    environment.setenv("KROS_TOKENS_FILE", str(path))

    ran = command("doctor")

    assert ran.code == 2
    assert lines_of(ran.out, "FAIL")
    assert "is not valid TOML" in " ".join(ran.out.split())


@pytest.mark.usefixtures("pointed")
@pytest.mark.parametrize(
    ("kind", "told", "remedy"),
    [
        ("empty", "is empty", "delete the file and start again"),
        ("foreign", "not a journal of kros-mcp", "Name another file"),
        ("newer", "written by a newer kros-mcp", "Update kros-mcp here"),
        ("damaged", "damaged or not a journal", "kros-mcp restore FILE"),
        ("gone", "journal.sqlite3-journal beside it", "Put the file back where it was"),
        ("another's log", "do not belong together", "Put the file back that belongs to the log"),
    ],
)
@pytest.mark.parametrize("read_only", ["false", "true"])
def test_each_mishap_of_the_journals_file_has_its_own_remedy(
    command: Command, tmp_path: Path, environment: pytest.MonkeyPatch, read_only: str, kind: str, told: str, remedy: str
) -> None:
    environment.setenv("KROS_READ_ONLY", read_only)
    path = tmp_path / "journal.sqlite3"
    if kind == "empty":
        path.touch()
    elif kind == "gone":
        path.with_name("journal.sqlite3-journal").touch()
    elif kind == "damaged":
        path.write_bytes(b"no database at all " * 300)
    elif kind == "another's log":
        put(f"sqlite:///{path}", an_operation())
        path.with_name("journal.sqlite3-wal").write_bytes(b"a log of another file")
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE operations (x)")
            connection.execute("CREATE TABLE meta (x)")
            if kind == "newer":
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute("PRAGMA user_version = 99")

    ran = command("doctor")

    text = " ".join(ran.out.split())
    assert ran.code == 3
    assert told in text
    assert remedy in text


@pytest.mark.usefixtures("pointed")
def test_a_journal_that_a_server_which_only_reads_does_without_is_not_called_writable(
    command: Command, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_READ_ONLY", "true")

    ran = command("doctor")

    text = " ".join(ran.out.split())
    assert ran.code == 0
    assert "There is no journal" in text
    assert "can be written" not in text
    assert not (tmp_path / "journal.sqlite3").exists()
