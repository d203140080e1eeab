import hashlib
from pathlib import Path
from typing import Any

import pytest

from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access, build_access
from kros_mcp.http.tokens import read_tokens
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.issuer import PUBLIC_URL, URL, Issuer, entry, minted, open_http, tokens_file

pytestmark = pytest.mark.anyio

DESK, NIGHT = "krosmcp_desk", "krosmcp_night"
HASH = hashlib.sha256(b"krosmcp_desk").hexdigest()
GOOD = f'sha256 = "{HASH}"\nscopes = ["numbers:read"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tokens_file(tmp_path / "tokens.toml", entry("desk", DESK, "read", "buy"), entry("night", NIGHT, "approve"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def access_by(path: Path, clock: Clock, **settings: Any) -> Access:
    return build_access(Settings(tokens_file=path, **settings), clock=clock)


async def known(access: Access, *tokens: str) -> list[str | None]:
    found = [await access.verifier.verify_token(token) for token in tokens]
    return [token and token.subject for token in found]


async def test_a_caller_is_known_by_its_token_and_named_by_the_file(path: Path, clock: Clock) -> None:
    access = access_by(path, clock)
    token = await access.verifier.verify_token(DESK)

    assert token is not None
    assert (token.client_id, token.subject, token.claims) == ("desk", "desk", {"iss": "tokens"})
    assert token.scopes == ["numbers:buy", "numbers:read"]
    assert DESK not in f"{token!r} {access!r}"
    assert await known(access, NIGHT, "krosmcp_nobody", "", HASH, "krosmcp_d\udcffsk") == ["night", *[None] * 4]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names nobody; make a token with kros-mcp token"),
        ("tokens = 1", "must hold nothing but tables"),
        ('title = "x"\n[tokens.desk]\n' + GOOD, "must hold nothing but tables"),
        ("[tokens.desk]\nsha256 = krosmcp_canary", "is not valid TOML at line 2"),
        ("[[tokens.desk]]\n" + GOOD, "desk must be a table"),
        ("[tokens]\ndesk = 1", "desk must be a table"),
        ("[tokens.desk]\n" + GOOD + "scope = 1", "desk has the key 'scope', which is unknown; known are sha256"),
        ('[tokens.desk]\nscopes = ["numbers:read"]', "desk lacks sha256"),
        (f'[tokens.desk]\nsha256 = "{HASH}"', "desk lacks scopes"),
        ('[tokens.desk]\nscopes = ["numbers:read"]\nsha256 = "krosmcp_canary"', "desk has an unusable sha256"),
        (f'[tokens.desk]\nscopes = []\nsha256 = "{HASH}"', "desk has an unusable scopes: it must list at"),
        (f'[tokens.desk]\nscopes = ["numbers:sell"]\nsha256 = "{HASH}"', "desk has an unusable scopes"),
        (f'[tokens.desk]\nscopes = "numbers:read"\nsha256 = "{HASH}"', "desk has an unusable scopes"),
        (f'[tokens.desk]\nscopes = ["numbers:approve", "numbers:read"]\nsha256 = "{HASH}"', "desk may not have"),
        ("[tokens.desk]\n" + GOOD + "daily_budget_cents = -1", "has an unusable daily_budget_cents: it must be"),
        ("[tokens.desk]\n" + GOOD + "max_purchase_cents = 1.5", "has an unusable max_purchase_cents"),
        ("[tokens.desk]\n" + GOOD + 'monthly_commitment_cents = "9"', "has an unusable monthly_commitment_cents"),
        ("[tokens.desk]\n" + GOOD + "max_purchase_cents = true", "has an unusable max_purchase_cents"),
        ("[tokens.desk]\n" + GOOD + "allowed_countries = []", "desk has an unusable allowed_countries"),
        ("[tokens.desk]\n" + GOOD + 'allowed_countries = ["Nowhere"]', "has an unusable allowed_countries"),
        ('[tokens."front desk"]\n' + GOOD, "'front desk' is no name"),
        ("[tokens.desk]\n" + GOOD + "[tokens.night]\n" + GOOD.upper().lower(), "desk and night have one token"),
    ],
)
def test_a_mistake_in_the_file_stops_the_start_with_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tokens_file(tmp_path / "tokens.toml", text)

    with pytest.raises(SettingsError) as refused:
        read_tokens(file)

    assert sentence in refused.value.message
    assert str(file) in refused.value.message
    assert "canary" not in refused.value.message
    assert refused.value.message.count("\n") == 0


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(SettingsError, match=str(file)):
            read_tokens(file)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_tokens(tmp_path / "latin.toml")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_lets_nobody_in(path: Path, mode: int) -> None:
    path.chmod(mode)

    with pytest.raises(SettingsError, match="Others may write"):
        read_tokens(path)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_a_file_that_others_may_read_is_warned_of(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path.chmod(mode)
    access_by(path, clock)

    assert ("can be read by others" in caplog.text) is warned


async def test_whoever_is_taken_out_of_the_file_is_refused_within_a_second(path: Path, clock: Clock) -> None:
    access = access_by(path, clock)
    assert await known(access, DESK, NIGHT) == ["desk", "night"]

    tokens_file(path, entry("night", NIGHT, "approve"), entry("late", "krosmcp_late", "read"))
    clock.now += 1
    assert await known(access, DESK, NIGHT, "krosmcp_late") == [None, "night", "late"]


async def test_scopes_that_are_taken_away_are_gone_without_a_restart(sim: Simulator, path: Path, clock: Clock) -> None:
    async with open_http(sim, tokens_file=path, clock=clock) as served:
        assert (await served.calls("buy_phone_number", DESK)).status_code != 403
        tokens_file(path, entry("desk", DESK, "read"))
        clock.now += 1

        assert (await served.calls("buy_phone_number", DESK)).status_code == 403
        assert await served.nothing_happened()


def damaged(path: Path, text: str | None) -> None:
    path.unlink() if text is None else path.write_text(text)


@pytest.mark.parametrize("damage", ["[tokens.night", None])
async def test_a_file_that_is_damaged_later_lets_nobody_in_until_it_is_mended(
    sim: Simulator, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, damage: str | None
) -> None:
    good = [entry("desk", DESK, "buy")]
    async with open_http(sim, tokens_file=tokens_file(path, *good), clock=clock) as served:
        damaged(path, damage)
        for _ in range(3):
            clock.now += 1
            answer = await served.calls("buy_phone_number", DESK)
            assert answer.status_code == 503
        assert set((await served.get("/readyz")).json()) == {"status"}, "strangers are told no more"
        assert caplog.text.count("nobody is let in by token") == 1
        assert await served.nothing_happened()

        tokens_file(path, *good)
        clock.now += 1
        assert (await served.calls("release_phone_number", DESK)).status_code == 403


def test_others_writing_to_the_file_counts_as_damage(path: Path, clock: Clock) -> None:
    access = access_by(path, clock)
    path.chmod(0o666)
    clock.now += 1

    assert access.own_limits("tokens|desk") is None
    assert "Others may write" in (access.trouble() or "")


def test_an_entrys_limits_stand_before_those_of_the_settings(tmp_path: Path, clock: Clock) -> None:
    file = tokens_file(
        tmp_path / "tokens.toml",
        entry("desk", DESK, "buy", max_purchase_cents=0, daily_budget_cents=0, allowed_countries=["ng", "GB"]),
        entry("night", NIGHT, "buy", monthly_commitment_cents=7),
    )
    access = access_by(file, clock, principal_daily_budget_cents=100, principal_monthly_commitment_cents=200)

    assert access.own_limits("tokens|desk") == Limits(0, 0, 200, ("NG", "GB"))
    assert access.own_limits("tokens|night") == Limits(None, 100, 7)
    for stranger in ("desk", "tokens|nobody", "tokens|", "other|desk", f"{URL}|desk", "local"):
        assert access.own_limits(stranger) is None


async def test_a_caller_buys_within_its_own_limits_only(sim: Simulator, tmp_path: Path) -> None:
    file = tokens_file(
        tmp_path / "tokens.toml",
        entry("desk", DESK, "buy", allowed_countries=["KE"]),
        entry("night", NIGHT, "buy", daily_budget_cents=1),
        entry("free", "krosmcp_free", "buy"),
    )
    item = next(item for item in sim.inventory.values() if item.country == "NG")
    place = {"e164": item.e164, "country": item.country, "type": item.type}
    told = []
    async with open_http(sim, tokens_file=file, tcp=True) as served:
        for token in (DESK, NIGHT, "krosmcp_free"):
            async with served.talks(token, "auto") as client:
                result = await client.call_tool("buy_phone_number", place)
                data = result.structured_content or {}
                told.append(data.get("code", data.get("status")))

    assert told == ["COUNTRY_NOT_ALLOWED", "OVER_OWN_DAILY_BUDGET", "confirmation_required"]
    assert not sim.charges


async def test_both_ways_stand_side_by_side(path: Path, clock: Clock) -> None:
    settings = Settings(tokens_file=path, oauth_issuer=URL, public_url=PUBLIC_URL)
    issuer = Issuer()
    access = build_access(settings, transport=issuer, clock=clock)

    assert await known(access, DESK) == ["desk"]
    assert not issuer.asked
    assert await known(access, minted(), minted(sub="")) == ["user-1", None]
    tokens_file(path, entry("desk", minted(sub="desk"), "read"))
    clock.now += 1
    assert await known(access, minted()) == ["user-1"]
