"""Every KROS_* variable, from the environment to the frozen object."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from bench import KEY
from pydantic import SecretStr

from kros_mcp.errors import SettingsError
from kros_mcp.settings import Confirmation, Settings, load_settings
from tests.support.environment import forget_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_settings(monkeypatch)
    monkeypatch.setenv("KROS_API_KEY", KEY)


GOOD = [
    ("KROS_BASE_URL", "https://api.krosai.com/api/v1/", "base_url", "https://api.krosai.com/api/v1"),
    ("KROS_BASE_URL", "HTTPS://API.KrosAI.com/v1", "base_url", "https://api.krosai.com/v1"),
    ("KROS_BASE_URL", "http://127.0.0.1:8000/v1", "base_url", "http://127.0.0.1:8000/v1"),
    ("KROS_BASE_URL", "http://[::1]:8000/v1", "base_url", "http://[::1]:8000/v1"),
    ("KROS_AUTH_HEADER", "x-api-key", "auth_header", "x-api-key"),
    ("KROS_ORGANIZATION_ID", "org_1", "organization_id", "org_1"),
    ("KROS_JOURNAL_URL", "sqlite:////var/lib/j.sqlite3", "journal_url", "sqlite:////var/lib/j.sqlite3"),
    ("KROS_JOURNAL_URL", "sqlite:///j.sqlite3", "journal_url", "sqlite:///j.sqlite3"),
    ("KROS_JOURNAL_URL", "postgresql://u@h/db", "journal_url", "postgresql://u@h/db"),
    ("KROS_PRINCIPAL_DAILY_BUDGET_CENTS", "900", "principal_daily_budget_cents", 900),
    ("KROS_PRINCIPAL_MONTHLY_COMMITMENT_CENTS", "800", "principal_monthly_commitment_cents", 800),
    ("KROS_CURRENCY", "USD", "currency", "USD"),
    ("KROS_PRINCIPAL", "user-1", "principal", "user-1"),
    ("KROS_CONFIRMATION", "approver", "confirmation", Confirmation.APPROVER),
    ("KROS_APPROVAL_HOURS", "2", "approval_hours", 2.0),
    ("KROS_ANSWER_WITHIN_SECONDS", "10", "answer_within_seconds", 10.0),
    ("KROS_SETTLE_SECONDS", "300", "settle_seconds", 300.0),
    ("KROS_REQUESTS_PER_DAY", "1000", "requests_per_day", 1_000),
    ("KROS_READ_ONLY", "true", "read_only", True),
    ("KROS_MAX_PURCHASE_CENTS", "0", "max_purchase_cents", 0),
    ("KROS_DAILY_BUDGET_CENTS", "100", "daily_budget_cents", 100),
    ("KROS_TOTAL_DAILY_BUDGET_CENTS", "100", "total_daily_budget_cents", 100),
    ("KROS_MONTHLY_COMMITMENT_CENTS", "100", "monthly_commitment_cents", 100),
    ("KROS_ALLOWED_COUNTRIES", "ng, KE", "allowed_countries", ("NG", "KE")),
    ("KROS_PROTECTED_NUMBERS", "+234 803 555 0199", "protected_numbers", ("+2348035550199",)),
    ("KROS_ALLOW_PERMANENT_DELETE", "1", "allow_permanent_delete", True),
    ("KROS_ALLOW_UNPRICED", "yes", "allow_unpriced", True),
    ("KROS_APPROVAL_ABOVE_CENTS", "300", "approval_above_cents", 300),
    (
        "KROS_NOTIFY_URLS",
        " ntfy://topic, mailto://a:b@example.com?to=c@d.com,e@d.com ,slack://x ",
        "notify_urls",
        (SecretStr("ntfy://topic"), SecretStr("mailto://a:b@example.com?to=c@d.com,e@d.com"), SecretStr("slack://x")),
    ),
    ("KROS_PUBLIC_URL", "https://numbers.example.com/", "public_url", "https://numbers.example.com"),
    ("KROS_ALLOWED_HOSTS", "Numbers.example.com, [::2]:8000", "allowed_hosts", ("numbers.example.com", "[::2]:8000")),
    ("KROS_ALLOWED_ORIGINS", "https://A.example.com", "allowed_origins", ("https://a.example.com",)),
    ("KROS_TRUSTED_PROXIES", "10.0.0.5,fd00::/8", "trusted_proxies", ("10.0.0.5/32", "fd00::/8")),
    ("KROS_REQUESTS_PER_SECOND", "0.5", "requests_per_second", 0.5),
    ("KROS_MAX_CONNECTIONS", "64", "max_connections", 64),
    ("KROS_KEEP_ALIVE_SECONDS", "90", "keep_alive_seconds", 90),
    ("KROS_MAX_SESSIONS", "20", "max_sessions", 20),
    ("KROS_MAX_SESSIONS_PER_CALLER", "5", "max_sessions_per_caller", 5),
    ("KROS_SESSION_IDLE_SECONDS", "60", "session_idle_seconds", 60),
    ("KROS_STATE_KEYS", f"{'a' * 32},{'b' * 32}", "state_keys", (SecretStr("a" * 32), SecretStr("b" * 32))),
    ("KROS_TOKENS_FILE", "tokens.toml", "tokens_file", Path("tokens.toml")),
    ("KROS_OAUTH_ISSUER", "https://id.example.com/", "oauth_issuer", "https://id.example.com/"),
    ("KROS_OAUTH_AUDIENCE", "authenticated", "oauth_audience", "authenticated"),
    ("KROS_OAUTH_JWKS_URL", "http://127.0.0.1:9/k", "oauth_jwks_url", "http://127.0.0.1:9/k"),
    ("KROS_OAUTH_ALGORITHMS", "EdDSA,ES256", "oauth_algorithms", ("EdDSA", "ES256")),
    ("KROS_OAUTH_SCOPE_CLAIM", "app_metadata.scopes", "oauth_scope_claim", "app_metadata.scopes"),
    ("KROS_OAUTH_ORGANIZATION_CLAIM", "app_metadata.org", "oauth_organization_claim", "app_metadata.org"),
]
WEBHOOK = {
    "KROS_WEBHOOK_URL": "https://hooks.example.com/t/canary0123456789ab?x=1",
    "KROS_WEBHOOK_SECRET": "whsec_cafe0123cafe0123cafe0123cafe0123",
}
"""They go together."""
DOCUMENTED = {name for name, *_ in GOOD} | {"KROS_API_KEY", *WEBHOOK}


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_a_documented_setting_is_heeded(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), field) == value


def test_every_field_is_a_documented_setting() -> None:
    assert {f"KROS_{field.upper()}" for field in Settings.model_fields if field != "simulator"} == DOCUMENTED


def test_a_webhook_has_an_address_and_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WEBHOOK.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.webhook_url == SecretStr(WEBHOOK["KROS_WEBHOOK_URL"])
    assert settings.webhook_secret == SecretStr(WEBHOOK["KROS_WEBHOOK_SECRET"])
    assert settings.tells_people
    for name in WEBHOOK:
        with monkeypatch.context() as without:
            without.delenv(name)
            with pytest.raises(SettingsError, match="go together"):
                load_settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KROS_WEBHOOK_URL", "http://hooks.example.com/canary0123456789ab"),
        ("KROS_WEBHOOK_URL", "https://user:canary0123456789ab@hooks.example.com/"),
        ("KROS_WEBHOOK_URL", "https://hooks.example.com/#canary0123456789ab"),
        ("KROS_WEBHOOK_URL", "https://[canary0123456789ab"),
        ("KROS_WEBHOOK_URL", "https://hooks.example.com:port/canary0123456789ab"),
        ("KROS_WEBHOOK_URL", "ftp://hooks.example.com/canary0123456789ab"),
        ("KROS_WEBHOOK_URL", "canary0123456789ab"),
        ("KROS_WEBHOOK_SECRET", "canary0123456789abcanary0123456789ab"),
        ("KROS_WEBHOOK_SECRET", "whsec_cafe0123cafe0123"),
        ("KROS_WEBHOOK_SECRET", "whsec_cafe0123!"),
        ("KROS_NOTIFY_URLS", "canary0123456789ab"),
    ],
)
def test_an_address_of_people_that_is_not_usable_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    for each, value in (WEBHOOK | {name: text}).items():
        monkeypatch.setenv(each, value)
    with pytest.raises(SettingsError, match=f"{name} is not usable") as refused:
        load_settings()
    assert text not in "".join(traceback.format_exception(refused.value))


def test_the_guard_stands_without_any_setting() -> None:
    settings = load_settings()
    assert (settings.max_purchase_cents, settings.daily_budget_cents) == (5_000, 20_000)
    assert (settings.confirmation, settings.settle_seconds) == (Confirmation.AUTO, 120)
    assert (settings.allow_unpriced, settings.allow_permanent_delete, settings.read_only) == (False, False, False)


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [
        ("KROS_MAX_PURCHASE_CENT", "KROS_MAX_PURCHASE_CENTS"),
        ("KROS_DAILY_BUDGT_CENTS", "KROS_DAILY_BUDGET_CENTS"),
        ("KROS_READONLY", "KROS_READ_ONLY"),
        ("kros_apikey", "KROS_API_KEY"),
        ("KROS_SIMULATOR", ""),
        ("KROS_", ""),
    ],
)
def test_a_misspelt_setting_stops_the_start_and_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, nearest: str
) -> None:
    monkeypatch.setenv(misspelt, "")
    with pytest.raises(SettingsError, match=f"{misspelt} is not a setting .* nearest known one is {nearest}"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KROS_ORGANIZATION_ID", "null"),
        ("KROS_ORGANIZATION_ID", "undefined"),
        ("KROS_BASE_URL", "http://api.krosai.com/v1"),
        ("KROS_BASE_URL", "http://127.0.0.1.evil.example/v1"),
        ("KROS_BASE_URL", "ftp://api.krosai.com"),
        ("KROS_BASE_URL", "https://user:word@api.krosai.com/v1"),
        ("KROS_BASE_URL", "https://api.krosai.com/v1?x=1"),
        ("KROS_BASE_URL", "https://[bad/v1"),
        ("KROS_AUTH_HEADER", "basic"),
        ("KROS_JOURNAL_URL", "mysql://x"),
        ("KROS_JOURNAL_URL", "sqlite:///"),
        ("KROS_JOURNAL_URL", "postgresql://kros:4711/part@127.0.0.1:1/kros"),
        ("KROS_JOURNAL_URL", "postgresql://kros:/part@127.0.0.1/kros"),
        ("KROS_CURRENCY", "x" * 21),
        ("KROS_CONFIRMATION", "never"),
        ("KROS_APPROVAL_HOURS", "0"),
        ("KROS_APPROVAL_HOURS", "nan"),
        ("KROS_ANSWER_WITHIN_SECONDS", "0.1"),
        ("KROS_SETTLE_SECONDS", "-1"),
        ("KROS_REQUESTS_PER_DAY", "0"),
        ("KROS_REQUESTS_PER_DAY", "1,000"),
        ("KROS_READ_ONLY", "perhaps"),
        ("KROS_MAX_PURCHASE_CENTS", "-1"),
        ("KROS_MAX_PURCHASE_CENTS", "50.5"),
        ("KROS_MAX_PURCHASE_CENTS", "$50"),
        ("KROS_MAX_PURCHASE_CENTS", str(2**53)),
        ("KROS_DAILY_BUDGET_CENTS", "unlimited"),
        ("KROS_MONTHLY_COMMITMENT_CENTS", "1e99"),
        ("KROS_ALLOWED_COUNTRIES", "NG,Atlantis"),
        ("KROS_PROTECTED_NUMBERS", "0803"),
        ("KROS_ALLOW_UNPRICED", "2"),
        ("KROS_APPROVAL_ABOVE_CENTS", "3.50"),
        ("KROS_PUBLIC_URL", "http://numbers.example.com"),
        ("KROS_PUBLIC_URL", "https://numbers.example.com/mcp"),
        ("KROS_ALLOWED_HOSTS", "https://numbers.example.com"),
        ("KROS_ALLOWED_HOSTS", "*"),
        ("KROS_ALLOWED_ORIGINS", "*"),
        ("KROS_ALLOWED_ORIGINS", "null"),
        ("KROS_TRUSTED_PROXIES", "*"),
        ("KROS_TRUSTED_PROXIES", "10.0.0.5/8"),
        ("KROS_REQUESTS_PER_SECOND", "-1"),
        ("KROS_REQUESTS_PER_SECOND", "nan"),
        ("KROS_MAX_SESSIONS", "0"),
        ("KROS_MAX_SESSIONS_PER_CALLER", "many"),
        ("KROS_SESSION_IDLE_SECONDS", "nan"),
        ("KROS_STATE_KEYS", f"{'a' * 32},short"),
        ("KROS_OAUTH_ISSUER", "id.example.com"),
        ("KROS_OAUTH_ALGORITHMS", "HS256"),
        ("KROS_OAUTH_ALGORITHMS", "none"),
        ("KROS_OAUTH_SCOPE_CLAIM", "scope scope"),
        ("KROS_OAUTH_ORGANIZATION_CLAIM", "org id"),
        ("KROS_TOTAL_DAILY_BUDGET_CENTS", "12.50"),
    ],
)
def test_a_malformed_setting_stops_the_start_with_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(DOCUMENTED - {"KROS_API_KEY"}))
@pytest.mark.parametrize("nothing", ["", "  ", "${user_config.value}"])
def test_an_empty_setting_and_an_unfilled_placeholder_count_as_unset(
    monkeypatch: pytest.MonkeyPatch, name: str, nothing: str
) -> None:
    before = load_settings()
    monkeypatch.setenv(name, nothing)
    assert load_settings() == before


def test_a_missing_key_is_told_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_API_KEY", "${user_config.api_key}")
    with pytest.raises(SettingsError, match="KROS_API_KEY is missing"):
        load_settings().require_api_key()
    assert load_settings(simulator=True).environment == "simulator"


@pytest.mark.parametrize("key", [f"{KEY} x", f"{KEY}\n", f"{KEY}\u00e9"])
def test_the_key_stands_in_no_error_and_no_picture_of_the_settings(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    settings = load_settings()
    for shown in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert KEY not in shown
    monkeypatch.setenv("KROS_API_KEY", key)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert KEY not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("key", "environment"),
    [("kros_live_x", "live"), ("kros_test_x", "test"), ("a.b.c", "live"), ("kros_tests", "live")],
)
def test_whatever_is_no_test_key_is_live(monkeypatch: pytest.MonkeyPatch, key: str, environment: str) -> None:
    monkeypatch.setenv("KROS_API_KEY", key)
    assert load_settings().environment == environment


def jwt(**claims: object) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "s"]
    )


def account(key: str, **chosen: str) -> str:
    return Settings(api_key=key, **chosen).account(b"secret")


def test_an_account_stays_the_same_while_its_token_rotates() -> None:
    first = account(jwt(iss="supabase", sub="user-1", exp=1))
    assert account(jwt(iss="supabase", sub="user-1", exp=2)) == first
    assert account(jwt(iss="supabase", sub="ben", exp=1)) != first
    assert account(jwt(iss="other", sub="user-1", exp=1)) != first


def test_an_account_is_a_key_at_an_address_for_an_organization() -> None:
    first = account("kros_live_a")
    assert account("kros_live_b") != first
    assert account("kros_live_a", organization_id="o") != first
    assert "kros_live_a" not in first
    assert account("kros_live_a", base_url="https://api.krosai.com/api/v1") != first
    assert account("kros_live_a", base_url="https://API.krosai.com/v1/") == first
    assert "kros_live_a" not in first
    assert Settings(api_key="kros_live_a").account(b"other journal") != first


def test_an_account_with_an_organization_keeps_its_name_whatever_the_key() -> None:
    first = account("kros_live_a", organization_id="o")
    assert account("kros_live_b", organization_id="o") == first
    assert account("kros_test_a", organization_id="o") != first
    assert account("kros_live_a", organization_id="p") != first
    assert account("kros_live_a", organization_id="o", base_url="https://api.krosai.com/api/v1") != first


def test_the_name_that_an_account_had_before_is_known() -> None:
    """As journals of today have it, whose names held the key beside the organization."""
    of_today = ["https://api.krosai.com/v1", "o", "kros_live_a"]
    name = hmac.new(b"secret", json.dumps(of_today).encode(), hashlib.sha256).hexdigest()[:32]
    assert Settings(api_key="kros_live_a", organization_id="o").former_account(b"secret") == name
    without = ["https://api.krosai.com/v1", "", "kros_live_a"]
    assert account("kros_live_a") == hmac.new(b"secret", json.dumps(without).encode(), hashlib.sha256).hexdigest()[:32]
    assert Settings(api_key="kros_live_a").former_account(b"secret") is None


@pytest.mark.parametrize("token", ["a.b.c", "..", "a.!!.c", "a." + base64.b64encode(b"[1]").decode() + ".c"])
def test_a_key_that_only_looks_like_a_token_is_a_key(token: str) -> None:
    assert account(token) == account(token) != account(token + "x")


def test_the_settings_are_read_in_less_than_a_second() -> None:
    begun = time.perf_counter()
    program = "from kros_mcp.settings import load_settings; load_settings()"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert time.perf_counter() - begun < 3  # with the interpreter's own start, on a busy machine
    begun = time.perf_counter()
    load_settings()
    assert time.perf_counter() - begun < 1
