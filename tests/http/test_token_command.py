import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kros_mcp import cli
from kros_mcp.http.tokens import read_tokens
from tests.support.issuer import tokens_file

Ran = tuple[int, str, str]
OLD = f'# who may call\n[tokens.desk]  # the front desk\nsha256 = "{"ab" * 32}"\nscopes = ["numbers:read"]\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


@pytest.fixture
def token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: Path) -> Callable[..., Ran]:
    monkeypatch.setenv("KROS_TOKENS_FILE", str(file))

    def run(*words: str) -> Ran:
        with pytest.raises(SystemExit) as left:
            cli.main(["token", *words])
        printed = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, printed.out, printed.err

    return run


def left_in(folder: Path) -> list[Path]:
    """The files of a folder without the lock, which stays."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_token_is_printed_once_alone_and_only_its_hash_is_kept(token: Callable[..., Ran], file: Path) -> None:
    code, out, err = token("desk", "--scopes", "read,numbers:buy")

    made = out.strip()
    assert code == 0
    assert re.fullmatch(r"krosmcp_[\w-]{43}\n", out)
    assert made not in err
    assert "not shown again" in err
    assert mode(file) == 0o600
    assert made not in file.read_text()
    [(name, entry)] = read_tokens(file).items()
    assert (name, entry.sha256) == ("desk", hashlib.sha256(made.encode()).hexdigest())
    assert entry.scopes == {"numbers:read", "numbers:buy"}


def test_limits_are_written_as_they_are_given(token: Callable[..., Ran], file: Path) -> None:
    words = ["--scopes=buy", "--max-purchase-cents=1", "--daily-budget-cents=2", "--monthly-commitment-cents=3"]
    assert token("voice.agent", *words, "--allowed-countries", "ng, KE")[0] == 0

    entry = read_tokens(file)["voice.agent"]
    assert (entry.max_purchase_cents, entry.daily_budget_cents, entry.monthly_commitment_cents) == (1, 2, 3)
    assert entry.allowed_countries == ("NG", "KE")


def test_how_a_person_agrees_is_written_and_listed(token: Callable[..., Ran], file: Path) -> None:
    code, _, err = token("desk", "--scopes=buy", "--confirmation", "approver", "--approval-above-cents", "2000")
    assert code == 0
    assert "no effect" not in err
    entry = read_tokens(file)["desk"]
    assert (entry.confirmation, entry.approval_above_cents) == ("approver", 2000)
    assert "approval_above 2000, confirmation approver" in token("--list")[1]
    assert token("night", "--scopes=buy", "--confirmation", "browser")[0] == 2
    assert set(read_tokens(file)) == {"desk"}


def test_what_is_laxer_than_the_service_is_warned_of_where_that_is_known(
    token: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--scopes=buy", "--confirmation", "conversation", "--approval-above-cents", "2000"]
    assert "no effect" not in token("desk", *words)[2]
    monkeypatch.setenv("KROS_CONFIRMATION", "prompt")
    monkeypatch.setenv("KROS_APPROVAL_ABOVE_CENTS", "500")
    code, _, err = token("night", *words)
    assert code == 0
    assert "conversation for night is laxer than KROS_CONFIRMATION=prompt of the service, so it has no effect." in err
    assert "approval_above_cents of night is higher than KROS_APPROVAL_ABOVE_CENTS=500" in err
    monkeypatch.setenv("KROS_CONFIRMATION", "nonsense")
    monkeypatch.setenv("KROS_APPROVAL_ABOVE_CENTS", "a lot")
    code, _, err = token("late", *words)
    assert (code, "no effect" in err) == (0, False)


def test_what_stands_in_the_file_stays(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file, OLD.rstrip("\n"))
    file.chmod(0o640)

    assert token("night", "--scopes", "approve")[0] == 0

    assert file.read_text().startswith(OLD + "\n[tokens.night]\n")
    assert mode(file) == 0o640
    assert set(read_tokens(file)) == {"desk", "night"}
    assert left_in(file.parent) == [file]


def test_a_link_stays_a_link(token: Callable[..., Ran], file: Path) -> None:
    real = tokens_file(file.parent / "real.toml", OLD)
    file.symlink_to(real)

    assert token("night", "--scopes", "read")[0] == 0
    assert file.is_symlink()
    assert set(read_tokens(real)) == {"desk", "night"}


def test_a_new_token_takes_the_place_of_the_old_one(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file, OLD, '[tokens.night]\nsha256 = "' + "cd" * 32 + '"\nscopes = ["numbers:read"]\n')
    before = file.read_text()

    code, out, _ = token("desk", "--replace")

    assert code == 0
    digest = hashlib.sha256(out.strip().encode()).hexdigest()
    assert file.read_text() == before.replace("ab" * 32, digest)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("desk", "--scopes", "read"), 1, "desk has a token already"),
        (("night", "--replace"), 1, "Nobody of that name"),
        (("desk", "--replace", "--scopes", "buy"), 2, "--replace changes the token alone"),
        (("night",), 2, "--scopes is missing"),
        (
            ("night", "--scopes", ","),
            2,
            "name at least one of read, configure, buy, release, approve, audit.",
        ),
        (
            ("night", "--scopes", "raed"),
            2,
            "'raed' is none of read, configure, buy, release, approve, audit.",
        ),
        (("night", "--scopes", "read,numbers:sell"), 2, "--scopes: 'sell' is none of read,"),
        (("night", "--scopes", "approve,buy"), 2, "--scopes: approve goes with no other scope"),
        (("night desk", "--scopes", "read"), 2, "A name is made of"),
        (("night\n[tokens.root]", "--scopes", "read"), 2, "A name is made of"),
        (("night", "--scopes", 'read"]\n[tokens.root]'), 2, r"""--scopes: 'read"]\n[tokens.root]' is none of"""),
        (("night", "--scopes", "buy", "--daily-budget-cents", "-5"), 2, "--daily-budget-cents: '-5' is no amount"),
        (("night", "--scopes", "buy", "--allowed-countries", ""), 2, "two-letter codes such as NG,KE"),
        (
            ("night", "--scopes", "buy", "--allowed-countries", "NG,XX"),
            2,
            "--allowed-countries: 'XX' is no country's code; use two-letter codes such as NG,KE.",
        ),
        (("night", "--scopes", "buy", "--allowed-countries", "Nigeria"), 2, "'Nigeria' is no country's code"),
        (("night", "--scopes", "read", "--file", "/nowhere/tokens.toml"), 2, "cannot be written"),
    ],
)
def test_what_is_refused_changes_nothing_and_makes_no_token(
    token: Callable[..., Ran], file: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    tokens_file(file, OLD)

    ran = token(*words)

    assert (ran[0], ran[1]) == (code, "")
    assert sentence in ran[2]
    assert "start again" not in ran[2]  # nothing was started
    assert file.read_text() == OLD
    assert left_in(file.parent) == [file]


@pytest.mark.parametrize("text", ["[tokens.desk", 'tokens = {desk = {sha256 = "x"}}', "tokens = {}\n", "[other]\n"])
def test_a_file_that_cannot_be_added_to_is_left_as_it_is(token: Callable[..., Ran], file: Path, text: str) -> None:
    tokens_file(file, text)

    code, out, err = token("night", "--scopes", "read")

    assert (code, out) == (2, "")
    assert str(file) in err
    assert file.read_text() == text


def test_a_hash_that_is_written_in_another_way_is_replaced_too(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file, OLD.replace('"ab', r'"\u0061b', 1))

    code, out, _ = token("desk", "--replace")

    assert code == 0
    assert read_tokens(file)["desk"].sha256 == hashlib.sha256(out.strip().encode()).hexdigest()


def test_without_a_file_there_is_nowhere_to_put_it(token: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KROS_TOKENS_FILE")

    code, out, err = token("desk", "--scopes", "read")

    assert (code, out) == (2, "")
    assert "--file or KROS_TOKENS_FILE" in err


def test_a_token_is_made_whatever_the_key_to_krosai_looks_like(
    token: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setenv("KROS_API_KEY", "your kros_test_ key")
    monkeypatch.setenv("KROS_JOURNAL_URL", "nowhere")

    assert token("desk", "--scopes", "read")[0] == 0
    assert set(read_tokens(file)) == {"desk"}


def test_a_misspelt_setting_makes_no_token(token: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_TOKEN_FILE", "elsewhere.toml")

    code, out, err = token("desk", "--scopes", "read")

    assert (code, out) == (2, "")
    assert "the nearest known one is KROS_TOKENS_FILE" in err


def test_commands_at_once_lose_no_token(file: Path) -> None:
    program = [sys.executable, "-m", "kros_mcp", "token"]
    environment = {"PATH": os.environ["PATH"], "KROS_TOKENS_FILE": str(file)}
    started = [
        subprocess.Popen(
            [*program, f"agent-{number}", "--scopes", "read"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    made = {run.communicate(timeout=60)[0].strip() for run in started}

    entries = read_tokens(file)
    assert {entry.sha256 for entry in entries.values()} == {hashlib.sha256(one.encode()).hexdigest() for one in made}
    assert len(entries) == 3


def test_help_teaches_by_example(token: Callable[..., Ran]) -> None:
    code, out, _ = token("--help")

    assert code == 0
    assert "kros-mcp token support-agent --scopes read,buy" in out
    assert "approve" in out


AGENT = (
    f"\n# the agent\n[tokens.'voice.agent']\nsha256 = \"{'cd' * 32}\"\n"
    'scopes = ["numbers:read", "numbers:buy"]\ndaily_budget_cents = 5\n'
)


def test_a_list_shows_who_may_what_and_nothing_of_a_token(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file, OLD + AGENT)

    code, out, err = token("--list")

    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["voice.agent", "buy,read", "daily_budget", "5"] in rows
    assert ["desk", "read"] in rows
    assert "2 callers" in out
    assert "tokens|NAME" in out
    assert not re.search("abab|cdcd", out)


@pytest.mark.parametrize(("name", "left"), [("desk", AGENT.lstrip("\n")), ("voice.agent", OLD)])
def test_a_token_that_is_revoked_is_out_and_all_else_stays(
    token: Callable[..., Ran], file: Path, name: str, left: str
) -> None:
    tokens_file(file, OLD + AGENT)
    others = {other: entry for other, entry in read_tokens(file).items() if other != name}

    code, out, _ = token("--revoke", name)

    assert code == 0
    assert f"{name} is out" in out
    assert read_tokens(file) == others
    assert left in file.read_text()
    assert token("--revoke", name)[0] == 1


EDITED = f"""\
# Who may call. Ask Ana before you change this.

[tokens.night]  # the night desk
scopes = [
    "numbers:read",  # it looks
    "numbers:buy",
]
sha256 = '{"ef" * 32}'   # made in May
daily_budget_cents = 2_000

# Ana approves
[ tokens . "ana" ]
sha256 = "{"12" * 32}"
scopes = ["numbers:approve"]
# the end
"""


def test_comments_order_and_spelling_survive_every_change(token: Callable[..., Ran], file: Path) -> None:
    text = EDITED
    tokens_file(file, text)

    digest = hashlib.sha256(token("night", "--replace")[1].strip().encode()).hexdigest()
    assert file.read_text() == text.replace(f"'{'ef' * 32}'", f'"{digest}"')
    replaced = file.read_text()
    assert token("day", "--scopes", "read")[0] == 0
    assert file.read_text().startswith(f"{replaced}\n[tokens.day]\nsha256 = ")
    assert token("--revoke", "day")[0] == 0
    assert file.read_text().rstrip() == replaced.rstrip()
    assert token("--revoke", "night")[0] == 0
    assert (
        file.read_text().rstrip()
        == (text[: text.index("[tokens.night]")] + text[text.index("# Ana approves") :]).rstrip()
    )


def test_line_ends_of_windows_stay(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file)
    file.write_bytes(OLD.replace("\n", "\r\n").encode())

    assert token("desk", "--replace")[0] == 0

    assert file.read_bytes().count(b"\r\n") == OLD.count("\n")


def test_without_the_extra_it_says_so_and_changes_nothing(
    token: Callable[..., Ran], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens_file(file, OLD)
    monkeypatch.setattr("kros_mcp.commands.http_extra._PACKAGES", ("tomlkit", "not_installed_anywhere"))

    code, out, err = token("night", "--scopes", "read")

    assert (code, out, file.read_text()) == (2, "", OLD)
    assert "kros-mcp[http]" in err
    assert "not_installed_anywhere" in err


def test_the_last_token_may_be_revoked_and_it_says_that_nobody_is_left(token: Callable[..., Ran], file: Path) -> None:
    tokens_file(file, OLD)

    code, out, _ = token("--revoke", "desk")

    assert code == 0
    assert "Nobody is named" in out
    assert token("--list")[1].startswith("No callers")


@pytest.mark.parametrize(
    "text",
    [
        f'tokens = {{desk = {{sha256 = "{"ab" * 32}", scopes = ["numbers:read"]}}}}\n',
        f'tokens.desk.sha256 = "{"ab" * 32}"\ntokens.desk.scopes = ["numbers:read"]\n',
    ],
)
def test_what_cannot_be_taken_out_safely_is_left_as_it_is(token: Callable[..., Ran], file: Path, text: str) -> None:
    tokens_file(file, text)

    code, _, err = token("--revoke", "desk")

    assert (code, file.read_text()) == (2, text)
    assert "by hand" in err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("desk", "--list"),
        ("--list", "--revoke", "desk"),
        ("--revoke", "desk", "--scopes", "read"),
        ("--list", "--replace"),
        ("--list", "--daily-budget-cents", "5"),
    ],
)
def test_listing_and_revoking_go_with_nothing_else(
    token: Callable[..., Ran], file: Path, words: tuple[str, ...]
) -> None:
    tokens_file(file, OLD)

    assert token(*words)[0] == 2

    assert file.read_text() == OLD
