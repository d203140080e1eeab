import builtins
import os
import pwd
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands_doubles import Command, an_operation, put, read, settled

from kros_mcp.operations import moves
from kros_mcp.operations.model import Action, Channel, Limits, Quote, Request, State

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the person types at a terminal, line by line; at its end they go away (Ctrl-D)."""
    lines: list[str] = []

    def type_in(_: str = "") -> str:
        if not lines:
            raise EOFError
        return lines.pop(0)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", type_in)
    yield lines
    assert not lines, "not everything was asked for"


def test_a_reason_typed_at_the_terminal_is_kept_with_who_decided(
    command: Command, journal_url: str, types: list[str]
) -> None:
    approved, denied = put(journal_url, an_operation()), put(journal_url, an_operation(e164="+2342015550101"))

    types += ["approve", "opens in May"]
    assert command("approve", approved.id).code == 0
    types += ["deny", "", "too dear"]
    assert command("deny", denied.id).code == 0

    yes, no = read(journal_url, approved.id), read(journal_url, denied.id)
    assert (yes.state, yes.reason, yes.confirmed_by) == (State.CONFIRMED, "opens in May", f"{ME} at a terminal")
    assert (no.state, no.reason, no.confirmed_by) == (State.DECLINED, "too dear", "")
    assert no.message == f"Denied by {ME} at a terminal: too dear"


def test_an_approval_needs_no_reason_and_a_denial_does(command: Command, journal_url: str, types: list[str]) -> None:
    waiting = put(journal_url, an_operation())

    types += ["deny", "", ""]
    left = command("deny", waiting.id)
    assert (left.code, read(journal_url, waiting.id).state) == (1, State.PROPOSED)
    assert "stays open" in left.out

    types += ["approve", ""]
    assert command("approve", waiting.id).code == 0
    assert read(journal_url, waiting.id).state is State.CONFIRMED


def test_what_the_person_in_the_conversation_is_asked_is_denied_at_a_terminal_and_not_approved(
    command: Command, journal_url: str
) -> None:
    asked = put(journal_url, an_operation(channel=Channel.CODE))

    approved = command("approve", asked.id, "--yes", "--reason=x")
    assert (approved.code, read(journal_url, asked.id).state) == (1, State.PROPOSED)
    assert "in the conversation" in approved.err

    assert command("deny", asked.id, "--yes", "--reason=x").code == 0
    assert read(journal_url, asked.id).state is State.DECLINED


@pytest.mark.parametrize("word", ["approve", "deny"])
@pytest.mark.parametrize("reason", [(), ("--reason", "  ")])
def test_what_nobody_types_needs_a_reason(
    command: Command, journal_url: str, word: str, reason: tuple[str, ...]
) -> None:
    waiting = put(journal_url, an_operation())

    ran = command(word, waiting.id, "--yes", *reason)

    assert (ran.code, ran.out) == (2, "")
    assert "--reason" in ran.err
    assert read(journal_url, waiting.id).state is State.PROPOSED


def test_whoever_stands_behind_sudo_is_named(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch, types: list[str]
) -> None:
    del types
    environment.setenv("SUDO_USER", "ana\x1b[2J")
    environment.setenv("USER", "somebody else")
    environment.setenv("LOGNAME", "somebody else")
    waiting = put(journal_url, an_operation())

    command("approve", waiting.id, "--yes", "--reason=x")

    assert read(journal_url, waiting.id).confirmed_by == f"{ME} (sudo by ana[2J) at a terminal"


def test_a_decision_without_a_terminal_says_so(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation())

    command("approve", waiting.id, "--yes", "--reason=x")

    assert read(journal_url, waiting.id).confirmed_by == f"{ME} by a command without a terminal"


def test_a_denial_after_an_approval_keeps_both_reasons(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation())
    command("approve", waiting.id, "--yes", "--reason", "opens in May")

    shown = command("deny", waiting.id, "--yes", "--reason", "not after all")

    assert f"Approved    by {ME}" in shown.out
    denied = read(journal_url, waiting.id)
    assert (denied.state, denied.reason) == (State.DECLINED, "opens in May; denied: not after all")


def test_before_deciding_the_person_sees_what_is_spent_and_what_the_caps_leave(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "1500")
    put(journal_url, an_operation(e164="+2342015550101"), *settled(State.DONE))
    waiting = put(journal_url, an_operation())

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert "5.00 in the last 24 hours, of 15.00 (KROS_DAILY_BUDGET_CENTS)" in shown
    assert "this would leave 5.00" in shown
    assert "refused" not in shown


def test_a_purchase_that_the_caps_would_refuse_is_told_before_it_is_approved(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_DAILY_BUDGET_CENTS", "700")
    environment.setenv("KROS_MAX_PURCHASE_CENTS", "400")
    put(journal_url, an_operation(e164="+2342015550101"), *settled(State.DONE))
    waiting = put(journal_url, an_operation())

    shown = command("approve", waiting.id, "--yes", "--reason=x").out

    assert "More than one purchase may cost, 4.00" in shown
    assert "More than everybody's budget has left" in shown


def test_a_principal_with_a_budget_of_its_own_is_held_against_that_too(command: Command, journal_url: str) -> None:
    limits = Limits(daily_budget_cents=900)
    put(journal_url, an_operation(e164="+2342015550101"), *settled(State.DONE))
    put(journal_url, an_operation(e164="+2342015550102", principal="other"), *settled(State.DONE))
    waiting = put(journal_url, an_operation(limits=limits))

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert "10.00 in the last 24 hours" in shown
    assert "By local: 5.00, of its own 9.00; this would leave 0.00 of that." in shown
    assert "More than the budget of local has left" in shown


def test_what_a_purchase_would_leave_of_a_budget_of_its_own_is_told(command: Command, journal_url: str) -> None:
    limits = Limits(daily_budget_cents=1_300)
    put(journal_url, an_operation(e164="+2342015550101"), *settled(State.DONE))
    put(journal_url, an_operation(e164="+2342015550102", principal="other"), *settled(State.DONE))
    waiting = put(journal_url, an_operation(limits=limits))

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert "By local: 5.00, of its own 13.00; this would leave 3.00 of that." in shown
    assert "refused" not in shown


@pytest.mark.parametrize(("kind", "words"), [("live", "LIVE: real money"), ("test", "test key")])
def test_any_account_may_be_decided_on_and_its_kind_is_shown_plainly(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    environment.setenv("KROS_API_KEY", "kros_test_another")
    quote = Quote("+2342015550100", "NG", "live" if kind == "live" else "test", 0, 500, 500)
    waiting = put(journal_url, an_operation(quote=quote))

    ran = command("approve", waiting.id, "--yes", "--reason=x")

    assert ran.code == 0
    assert f"{words}; not the account of this terminal's KROS_API_KEY" in ran.out


def test_a_release_shows_its_whole_question_and_no_spending(command: Command, journal_url: str) -> None:
    waiting = put(journal_url, an_operation(action=Action.RELEASE))

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert "This cannot be undone" in " ".join(shown.split())
    assert "24 hours" not in shown


def test_what_is_decided_elsewhere_while_the_person_thinks_is_not_decided_again(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = put(journal_url, an_operation(created_at=time.time()))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def think(_: str) -> str:
        monkeypatch.setattr(builtins, "input", lambda _: "because")
        command("deny", waiting.id, "--yes", "--reason", "I was first")
        return "approve"

    monkeypatch.setattr(builtins, "input", think)
    ran = command("approve", waiting.id)

    assert ran.code == 1
    assert "already declined" in ran.err
    assert read(journal_url, waiting.id).reason == "I was first"


@pytest.mark.parametrize(("outcome", "typed"), [("done", "DONE"), ("failed", "failed")])
def test_at_a_terminal_the_outcome_is_typed_before_it_is_settled(
    command: Command, journal_url: str, types: list[str], outcome: str, typed: str
) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=3_600))

    types += ["yes"]
    left = command("settle", lost.id, outcome, "--reason=x")
    assert (left.code, read(journal_url, lost.id).state) == (1, State.UNKNOWN)
    assert "Nothing was decided; it stays open." in left.out
    assert "+234 201 555 0100" in left.out
    assert f"{lost.id}: buy" in left.out

    types += [typed]
    assert command("settle", lost.id, outcome, "--reason=x").code == 0
    assert read(journal_url, lost.id).state == outcome


def test_at_a_terminal_nothing_is_asked_of_what_cannot_be_settled(
    command: Command, journal_url: str, types: list[str]
) -> None:
    waiting = put(journal_url, an_operation())
    types += ["never asked for"]

    ran = command("settle", waiting.id, "done", "--reason=x")

    assert (ran.code, ran.out, types.pop()) == (1, "", "never asked for")
    assert "already proposed" in ran.err


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_without_a_terminal_no_outcome_is_settled_unless_that_is_said(
    command: Command, journal_url: str, outcome: str
) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=3_600))

    refused = command("settle", lost.id, outcome, "--reason=x")
    assert (refused.code, read(journal_url, lost.id)) == (1, lost)
    assert "There is no terminal" in refused.err
    assert "add --yes and --reason" in refused.err

    agreed = command("settle", lost.id, outcome, "--yes", "--reason=x")
    assert (agreed.code, read(journal_url, lost.id).state) == (0, outcome)


@pytest.mark.parametrize("words", [(), ("--yes",)])
def test_no_outcome_is_settled_while_the_server_may_find_it_out_and_the_person_hears_until_when(
    command: Command, journal_url: str, types: list[str], words: tuple[str, ...]
) -> None:
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=60))
    types += ["never asked for"]

    ran = command("settle", lost.id, "failed", *words, "--reason=not in the dashboard")

    assert (ran.code, ran.out, types.pop()) == (1, "", "never asked for")
    assert "the server may still find out how it ended; nothing was written down. Look again in 9 minutes." in ran.err
    assert read(journal_url, lost.id) == lost


def test_how_long_the_server_may_find_it_out_goes_by_its_settling_time(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_SETTLE_SECONDS", "10")
    lost = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=60))

    assert command("settle", lost.id, "failed", "--yes", "--reason=x").code == 0


@pytest.mark.parametrize(
    ("word", "answers"),
    [("approve", []), ("approve", ["approve"]), ("deny", []), ("deny", ["deny"]), ("settle", [])],
)
def test_ctrl_c_at_a_question_leaves_it_open_and_says_so(
    command: Command, journal_url: str, monkeypatch: pytest.MonkeyPatch, word: str, answers: list[str]
) -> None:
    typed = iter(answers)

    def break_off(_: str) -> str:
        for answer in typed:
            return answer
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", break_off)
    then = settled(State.UNKNOWN, ago=3_600) if word == "settle" else ()
    waiting = put(journal_url, an_operation(), *then)

    ran = command(word, waiting.id, *(("done", "--reason=x") if word == "settle" else ()))

    assert (ran.code, ran.err) == (1, "")
    assert ran.out.endswith("\nNothing was decided; it stays open.\n")
    assert read(journal_url, waiting.id) == waiting


def test_before_deciding_the_person_sees_the_whole_name_of_who_asked(command: Command, journal_url: str) -> None:
    """Two names that differ at their ends only must not look alike."""
    principal = f"https://project.identity.example/auth/v1|{'0' * 100}-1"
    waiting = put(journal_url, an_operation(principal=principal))

    shown = command("deny", waiting.id, "--yes", "--reason=x").out

    assert f"by{principal}at" in "".join(shown.split())
    assert principal in "".join(command("operations").out.split())


@pytest.mark.parametrize(
    ("principal", "named", "sentence"),
    [
        ("local", None, ""),
        ("tokens|desk", "desk", ""),
        ("tokens|desk", "night", "The tokens file does not name them any more, so this would not be carried out."),
        ("tokens|desk", "desk-that-reads", "They lack the scope numbers:buy now, so this would not be carried out."),
        ("tokens|desk", None, "Only a service that still knows them carries this out"),
        ("https://issuer.example|user-1", None, "They signed in through an identity provider"),
    ],
)
def test_before_deciding_the_person_sees_whether_who_asked_is_known_still(
    command: Command,
    journal_url: str,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    principal: str,
    named: str | None,
    sentence: str,
) -> None:
    if named:
        file = tmp_path / "tokens.toml"
        name, _, reads = named.partition("-that-")
        scope = "numbers:read" if reads else "numbers:buy"
        file.write_text(f'[tokens.{name}]\nsha256 = "{"0" * 64}"\nscopes = ["{scope}"]\n', encoding="utf-8")
        file.chmod(0o600)
        environment.setenv("KROS_TOKENS_FILE", str(file))
    waiting = put(journal_url, an_operation(principal=principal))

    shown = " ".join(command("deny", waiting.id, "--yes", "--reason=x").out.split())

    assert sentence in shown
    for other in ("tokens file", "lack the scope", "service that still knows", "identity provider"):
        assert (other in shown) == (other in sentence)


def test_the_terminal_tells_what_the_agent_wrote_since_when_it_waits_and_how_often_it_was_asked(
    command: Command, journal_url: str, types: list[str]
) -> None:
    written = "APPROVED BY FINANCE.\nOpen until  2099\x1b[2J \u202eno” yes"
    waiting = put(
        journal_url,
        an_operation(request=Request(reason=written), created_at=time.time() - 12 * 60),
        moves.ask_again,
        moves.ask_again,
    )
    types += ["later"]
    shown = command("approve", waiting.id).out
    lines = [line.strip() for line in shown.splitlines()]
    assert "Agent       The agent writes, unchecked: “APPROVED BY FINANCE. Open until 2099(2J no' yes”" in lines
    assert lines.index(next(line for line in lines if line.startswith("Agent"))) > lines.index(
        next(line for line in lines if line.startswith("Spending"))
    )
    [waits] = [line for line in lines if line.startswith("Waits")]
    assert waits.endswith("UTC, 12 minutes; asked 3 times in the last 24 hours.")
    assert "writes" not in command("deny", put(journal_url, an_operation(e164="+2342015550101")).id).out
