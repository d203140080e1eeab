"""Settings that look as if they guarded something, or that would tell a secret."""

import pytest
from bench import KEY

from kros_mcp.errors import SettingsError
from kros_mcp.settings import Settings, load_settings
from tests.support.environment import forget_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)
    monkeypatch.setenv("KROS_API_KEY", KEY)


def sentence(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert caught.value.__context__ is caught.value.__cause__ is None
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KROS_ALLOWED_COUNTRIES", ","),
        ("KROS_ALLOWED_COUNTRIES", "NG,Atlantis"),
        ("KROS_PROTECTED_NUMBERS", " , "),
        ("KROS_PROTECTED_NUMBERS", "0803"),
        ("KROS_MAX_PURCHASE_CENTS", "50.00"),
        ("KROS_MAX_PURCHASE_CENTS", "-1"),
        ("KROS_DAILY_BUDGET_CENTS", "200.00"),
        ("KROS_MONTHLY_COMMITMENT_CENTS", "5e3"),
        ("KROS_JOURNAL_URL", "sqlite:///:memory:"),
        ("KROS_JOURNAL_URL", "sqlite:////:memory:"),
        ("KROS_JOURNAL_URL", "mysql://x"),
        ("KROS_BASE_URL", "https://[bad/v1"),
        ("KROS_BASE_URL", "https://host:port/v1"),
        ("KROS_READ_ONLY", "maybe"),
        ("KROS_CONFIRMATION", "never"),
        ("KROS_CURRENCY", "x" * 21),
        ("KROS_API_KEY", "a key"),
    ],
)
def test_a_setting_that_guards_nothing_is_refused_in_one_whole_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    told = sentence(monkeypatch, name, text)
    assert told.endswith(".")
    assert ".." not in told.replace("...", "")


@pytest.mark.parametrize(
    "text",
    [
        "https://user-1:hunter2@api.krosai.com/v1",
        "https://user-1:hunter2/x@api.krosai.com/v1",
        "https://user-1:hunter2#x@api.krosai.com/v1",
        "https://user-1:hunter2?x@api.krosai.com/v1",
        "https://user-1:hunter2\u2100@api.krosai.com/v1",
        "user-1:hunter2@api.krosai.com",
    ],
)
def test_an_address_with_a_user_is_refused_and_nothing_of_it_is_told(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    told = sentence(monkeypatch, "KROS_BASE_URL", text)
    assert not [word for word in ("user-1", "hunter2", "api.krosai.com", "@") if word in told]


def test_a_journal_in_memory_is_refused_for_a_live_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_JOURNAL_URL", "sqlite://:memory:")
    assert load_settings().environment == "test"
    monkeypatch.setenv("KROS_API_KEY", "kros_live_x")
    with pytest.raises(SettingsError, match="KROS_JOURNAL_URL"):
        load_settings()


@pytest.mark.parametrize("name", ["KROS_READ_ONLY", "KROS_ALLOW_UNPRICED", "KROS_ALLOW_PERMANENT_DELETE"])
def test_a_switch_that_is_neither_on_nor_off_is_told_what_it_may_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert sentence(monkeypatch, name, "maybe") == f"{name} is not usable: must be true or false."


@pytest.mark.parametrize(
    "spelt",
    ["https://api.krosai.com:443/v1", "https://api.krosai.com./v1", "https://API.krosai.com.:443/v1/"],
)
def test_one_address_is_one_account_however_it_is_spelt(spelt: str) -> None:
    plain = Settings(api_key=KEY, base_url="https://api.krosai.com/v1")
    assert Settings(api_key=KEY, base_url=spelt).account(b"s") == plain.account(b"s")
    assert Settings(api_key=KEY, base_url="https://api.krosai.com:444/v1").account(b"s") != plain.account(b"s")
