import csv
import io
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from commands_doubles import Command, an_operation, put, sent, settled

from kros_mcp.operations import journal, moves
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Action, Quote, Settlement, State, StoredNumber
from kros_mcp.operations.spreadsheet import cell

MAY_3 = datetime(2026, 5, 3, tzinfo=UTC).timestamp()


def rows(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(printed, newline="")))


def number(index: int) -> str:
    return f"+23420155501{index:02d}"


def sent_at(at: float) -> Move:
    return lambda operation, _: replace(operation, sent_at=at)


def put_at(journal_url: str, times: Iterable[float], *then: Move) -> list[str]:
    return [
        put(journal_url, an_operation(created_at=at, e164=number(index)), *then).id for index, at in enumerate(times)
    ]


def test_every_operation_is_one_line_oldest_first_with_plain_names(command: Command, journal_url: str) -> None:
    ids = put_at(journal_url, (MAY_3 + 20, MAY_3, MAY_3 + 10), *settled(State.DONE))

    ran = command("export", "--csv")

    assert ran.code == 0
    assert ran.out.count("\r\n") == 4
    assert [row["operation_id"] for row in rows(ran.out)] == [ids[1], ids[2], ids[0]]
    first = rows(ran.out)[0]
    told = {"e164": number(1), "asked_at": "2026-05-03T00:00:00Z", "state": "done", "charged": "yes"}
    money = {"due_now_cents": "500", "charged_cents": "500", "charged_amount": "5.00", "monthly_amount": "5.00"}
    assert told.items() <= first.items()
    assert money.items() <= first.items()


def test_more_than_a_page_comes_whole_and_in_order(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PAGE", 3)
    ids = put_at(journal_url, [MAY_3 + index // 4 for index in range(10)])

    assert [row["operation_id"] for row in rows(command("export").out)] == ids


@pytest.mark.parametrize("begins", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"])
def test_a_cell_that_begins_like_a_formula_is_guarded_and_a_number_is_not(
    command: Command, journal_url: str, begins: str
) -> None:
    put(journal_url, an_operation(principal=f'{begins},"x"'))

    [row] = rows(command("export").out)

    assert row["principal"] == f'\'{begins},"x"'
    assert row["e164"] == "+2342015550100"


def test_a_cell_holds_no_formula_for_spreadsheets_that_part_cells_by_semicolons() -> None:
    assert cell("agent_reason", "a shop; =1+1;@SUM(A1); two") == "a shop; '=1+1;'@SUM(A1); two"
    assert cell("agent_reason", "it is; -said- so") == "it is; '-said- so"


def test_days_include_the_last_one_and_count_when_it_was_asked_for(command: Command, journal_url: str) -> None:
    day = 86_400
    ids = put_at(journal_url, (MAY_3 - 1, MAY_3, MAY_3 + 2 * day - 1, MAY_3 + 2 * day))

    found = rows(command("export", "--since", "2026-05-03", "--until", "2026-05-04").out)

    assert [row["operation_id"] for row in found] == ids[1:3]


def test_the_charges_of_a_day_add_up_whenever_they_were_asked_for(command: Command, journal_url: str) -> None:
    bought = settled(State.DONE)
    [early] = put_at(journal_url, [MAY_3 - 29 * 86_400], *bought, sent_at(MAY_3 + 5))
    inside = put(journal_url, an_operation(created_at=MAY_3 + 1, e164=number(1)), *bought, sent_at(MAY_3 + 6)).id
    put(journal_url, an_operation(created_at=MAY_3 + 2, e164=number(2)), *bought, sent_at(MAY_3 + 86_400))
    put(journal_url, an_operation(created_at=MAY_3 + 3, e164=number(3)), *settled(State.FAILED), sent_at(MAY_3 + 7))
    put(journal_url, an_operation(created_at=MAY_3 + 4, e164=number(4)))

    found = rows(command("export", "--by", "sent", "--since", "2026-05-03", "--until", "2026-05-03").out)

    charged = [row for row in found if row["charged_on"] == "2026-05-03"]
    assert [row["operation_id"] for row in charged] == [early, inside]
    assert sum(int(row["charged_cents"]) for row in found) == 1000


def test_the_same_filters_give_the_sum_that_spending_and_operations_tell(command: Command, journal_url: str) -> None:
    bought = settled(State.DONE)
    put(journal_url, an_operation(created_at=MAY_3, principal="ana"), *bought, sent_at(MAY_3 + 6))
    put(journal_url, an_operation(created_at=MAY_3, e164=number(1)), *bought, sent_at(MAY_3 + 7))
    put(
        journal_url,
        an_operation(created_at=MAY_3, e164=number(2), action=Action.RELEASE),
        *settled(State.DONE),
        sent_at(MAY_3 + 8),
    )
    german = an_operation(created_at=MAY_3, e164=number(3))
    put(journal_url, replace(german, quote=replace(german.quote, country="DE")), *bought, sent_at(MAY_3 + 9))
    days = ("--since", "2026-05-03", "--until", "2026-05-03", "--country", "NG")

    found = rows(command("export", "--by", "sent", "--action", "buy", *days).out)
    [spent] = json.loads(command("spending", "--json", *days).out)["accounts"]
    [listed] = json.loads(command("operations", "--json", "--by", "sent", *days).out)["charged"]
    of_ana = rows(command("export", "--by", "sent", "--principal", "ana", *days).out)

    assert [row["action"] for row in found] == ["buy", "buy"]
    assert sum(int(row["charged_cents"]) for row in found) == 1000
    assert (spent["total"]["charged_cents"], listed["charged_cents"]) == (1000, 1000)
    assert [row["principal"] for row in of_ana] == ["ana"]


def test_what_may_have_been_charged_is_no_amount_and_what_was_not_is_zero(command: Command, journal_url: str) -> None:
    put(journal_url, an_operation(e164=number(0)), *settled(State.UNKNOWN))
    put(journal_url, an_operation(e164=number(1), action=Action.RELEASE), *settled(State.DONE, charged="no"))

    lost, released = rows(command("export").out)

    assert (lost["charged"], lost["charged_cents"], lost["reserved_cents"]) == ("unknown", "", "500")
    assert (released["charged"], released["charged_cents"], released["charged_on"]) == ("no", "0", "")


@pytest.mark.parametrize(
    ("setup", "monthly", "due", "reported", "charged"),
    [
        (0, 500, 500, {"setup_cents": None, "monthly_cents": 700}, "700"),
        (100, 500, 600, {"setup_cents": 50, "monthly_cents": 500}, "550"),
        (None, None, 500, {"setup_cents": None, "monthly_cents": None}, "500"),
        (None, None, None, {"setup_cents": 0, "monthly_cents": 400}, "400"),
    ],
)
def test_what_a_purchase_took_is_what_krosai_reported_where_it_differs(
    command: Command,
    journal_url: str,
    setup: int | None,
    monthly: int | None,
    due: int | None,
    reported: dict[str, int | None],
    charged: str,
) -> None:
    quote = Quote(number(0), "NG", "test", setup_cents=setup, monthly_cents=monthly, due_now_cents=due)
    put(
        journal_url,
        an_operation(e164=number(0), quote=quote),
        *settled(State.DONE, number=StoredNumber(id="n", **reported)),
    )

    [row] = rows(command("export").out)

    assert row["charged_cents"] == charged


@pytest.mark.parametrize("monthly", [None, 400])
def test_a_charge_of_which_krosai_states_only_a_part_counts_as_the_guard_counted_it(
    command: Command, journal_url: str, monthly: int | None
) -> None:
    quote = Quote(number(0), "NG", "test", setup_cents=None, monthly_cents=None, due_now_cents=None)
    reported = {"id": "n", "setup_cents": None, "monthly_cents": monthly}
    then = (*sent(5_000), *settled(State.DONE, number=reported)[2:])
    put(journal_url, an_operation(e164=number(0), quote=quote), *then)
    put(journal_url, an_operation(e164=number(1)), *settled(State.DONE))

    found = rows(command("export").out)

    assert [row["charged_cents"] for row in found] == ["5000", "500"]
    assert found[0]["charged_amount"] == "50.00"


def test_help_tells_which_amount_stands_for_one_that_krosai_does_not_state(command: Command) -> None:
    told = " ".join(command("export", "--help").out.split())

    assert "Where KrosAI states no whole amount of a charge, it is reserved_cents" in told


def test_filters_choose_states_principal_and_account(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_books")
    mine = put(journal_url, an_operation(principal="night"), *settled(State.DONE), own=True).id
    put(journal_url, an_operation(principal="night", e164=number(1)), own=True)
    put(journal_url, an_operation(principal="day", e164=number(2)), *settled(State.DONE), own=True)
    other = put(journal_url, an_operation(principal="night", e164=number(3)), *settled(State.DONE)).id
    words = ("export", "--state", "done", "--principal", "night")

    assert [row["operation_id"] for row in rows(command(*words).out)] == [mine]
    assert [row["operation_id"] for row in rows(command(*words, "--all-accounts").out)] == [mine, other]


def test_the_label_of_this_terminal_is_not_put_on_another_accounts_money(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_books")
    environment.setenv("KROS_CURRENCY", "USD")
    put(journal_url, an_operation(), own=True)
    put(journal_url, an_operation())

    assert [row["currency"] for row in rows(command("export", "--all-accounts").out)] == ["USD", ""]


def test_a_new_file_is_its_owners_alone_and_holds_the_same(command: Command, journal_url: str, tmp_path: Path) -> None:
    put(journal_url, an_operation())
    path = tmp_path / "may.csv"

    ran = command("export", "--output", str(path))

    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"1 operation written to {path}.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().decode() == command("export").out


def test_a_file_that_is_there_is_left_unless_forced(command: Command, journal_url: str, tmp_path: Path) -> None:
    put(journal_url, an_operation())
    path = tmp_path / "may.csv"
    path.write_text("precious")

    refused = command("export", "--output", str(path))
    assert refused.code == 1
    assert "--force" in refused.err
    assert path.read_text() == "precious"

    assert command("export", "--output", str(path), "--force").code == 0
    assert len(rows(path.read_text())) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {file.name for file in tmp_path.iterdir() if "csv" in file.name} == {"may.csv"}


def test_what_a_killed_export_left_behind_does_not_stop_the_next_one(
    command: Command, journal_url: str, tmp_path: Path
) -> None:
    put(journal_url, an_operation())
    path, left = tmp_path / "may.csv", tmp_path / f".may.csv.{os.getpid()}"
    path.write_text("old")
    left.write_text("half")

    ran = command("export", "--output", str(path), "--force")

    assert (ran.code, ran.err) == (0, f"1 operation written to {path}.\n")
    assert len(rows(path.read_text())) == 1
    assert left.read_text() == "half"


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_export_that_fails_leaves_no_half_file_and_loses_no_whole_one(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path, force: tuple[str, ...]
) -> None:
    path = tmp_path / "may.csv"
    if force:
        path.write_text("precious")
    (tmp_path / "file").write_text("")
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{tmp_path}/file/journal.sqlite3")

    assert command("export", "--output", str(path), *force).code == 3
    assert [file.read_text() for file in tmp_path.iterdir() if "csv" in file.name] == (["precious"] if force else [])


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "May"),
        ("--until", "2026-02-30"),
        ("--state", "lost"),
        ("--force",),
        ("--output", "/nowhere/x.csv"),
        ("--since", "2026-05-04", "--until", "2026-05-03"),
    ],
)
def test_a_malformed_export_is_a_usage_error(command: Command, words: tuple[str, ...]) -> None:
    ran = command("export", *words)

    assert (ran.code, ran.out) == (2, "")


def test_days_that_end_before_they_begin_are_refused_with_a_sentence_and_no_file(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "may.csv"

    ran = command("export", "--since", "2026-05-04", "--until", "2026-05-03", "--output", str(path))

    assert "--since 2026-05-04 is later than --until 2026-05-03" in ran.err
    assert not path.exists()
    assert command("export", "--since", "2026-05-04", "--until", "2026-05-04").code == 0


def test_a_purchase_that_was_bought_after_all_is_charged_on_the_day_of_its_sending_and_says_since_when(
    command: Command, journal_url: str
) -> None:
    then = partial(moves.correct, settlement=Settlement(State.DONE), note="KrosAI shows it bought after all.")
    put_at(journal_url, [MAY_3, MAY_3 + 1], *settled(State.FAILED), sent_at(MAY_3 + 5))
    put(journal_url, an_operation(created_at=MAY_3 + 2), *settled(State.FAILED), sent_at(MAY_3 + 5), then)

    *failed, corrected = rows(command("export").out)

    assert [(row["state"], row["corrected_at"], row["charged_cents"]) for row in failed] == [("failed", "", "0")] * 2
    assert (corrected["state"], corrected["charged_cents"], corrected["charged_on"]) == ("done", "500", "2026-05-03")
    assert corrected["corrected_at"].endswith("Z")
    assert "bought after all" in corrected["note"]
