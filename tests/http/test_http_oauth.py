import asyncio
import time
import warnings
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kros_mcp.characters import visible
from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access, build_access
from kros_mcp.http.oauth import LONGEST_PRINCIPAL
from kros_mcp.operations.model import LONGEST_NAME_SHOWN, Limits
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator
from kros_mcp.tools.caller import CallerToken
from tests.support.clock import Clock
from tests.support.issuer import AUDIENCE, EC_KEY, PUBLIC_URL, RSA_KEY, URL, Issuer, minted, open_http, public_jwk

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(issuer: Issuer, clock: Clock) -> Access:
    return access_to(issuer, clock)


def access_to(issuer: Issuer, clock: Clock, **settings: Any) -> Access:
    given = {"oauth_issuer": URL, "public_url": PUBLIC_URL} | settings
    return build_access(Settings(**given), transport=issuer, clock=clock)


async def scopes(access: Access, **claims: Any) -> set[str] | None:
    token = await access.verifier.verify_token(minted(**claims))
    return None if token is None else set(token.scopes)


async def takes(access: Access, **changes: Any) -> bool:
    return await access.verifier.verify_token(minted(**changes)) is not None


async def test_a_caller_is_known_by_issuer_and_subject(access: Access) -> None:
    token = await access.verifier.verify_token(minted(sub="auth0|user-1", client_id="desk-app"))

    assert isinstance(token, CallerToken)
    assert token.caller.principal == f"{URL}|auth0|user-1"
    assert (token.client_id, token.subject, token.claims) == ("desk-app", "auth0|user-1", {"iss": URL})


async def test_nothing_that_is_kept_of_a_token_shows_it(access: Access) -> None:
    given = minted()
    token = await access.verifier.verify_token(given)

    assert token is not None
    assert token.token == ""
    for part in given.split("."):
        assert part not in f"{token!r} {token.model_dump_json()} {access!r}"


@pytest.mark.parametrize(
    ("claim", "claims", "granted"),
    [
        ("scope", {"scope": "numbers:read numbers:buy"}, {"numbers:read", "numbers:buy"}),
        ("scope", {"scope": ["numbers:buy"]}, {"numbers:buy"}),
        ("scope", {"scope": None, "scp": "numbers:buy"}, {"numbers:buy"}),
        ("scope", {"scope": None, "scp": ["numbers:buy"]}, {"numbers:buy"}),
        ("scope", {"scope": "", "scp": "numbers:buy"}, set()),
        ("scope", {"scope": "openid numbers:sell numbers:buyer"}, set()),
        ("scope", {"scope": {"numbers:buy": True}}, set()),
        ("scope", {"scope": "numbers:approve"}, {"numbers:approve"}),
        ("scope", {"scope": "openid numbers:approve"}, {"numbers:approve"}),
        ("app_metadata.kros_scopes", {"app_metadata": {"kros_scopes": ["numbers:buy"]}}, {"numbers:buy"}),
        ("app_metadata.kros_scopes", {"app_metadata": "numbers:buy"}, set()),
        ("app_metadata.kros_scopes", {"scp": "numbers:buy"}, set()),
        ("https://kros.example/scopes", {"https://kros.example/scopes": ["numbers:buy"]}, {"numbers:buy"}),
    ],
)
async def test_scopes_are_read_where_the_provider_puts_them(
    issuer: Issuer, clock: Clock, claim: str, claims: dict[str, Any], granted: set[str]
) -> None:
    assert await scopes(access_to(issuer, clock, oauth_scope_claim=claim), **claims) == granted


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://else.example", AUDIENCE]},
        {"key": EC_KEY, "algorithm": "ES256", "kid": "ec-1"},
        {"sub": "u" * 255},
    ],
)
async def test_what_providers_may_do_is_taken(access: Access, changes: dict[str, Any]) -> None:
    assert await takes(access, **changes)


@pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
async def test_a_name_that_would_not_be_shown_whole_is_not_taken(
    issuer: Issuer, clock: Clock, more: int, taken: bool
) -> None:
    url = f"{URL}/{'i' * 200}"
    access = access_to(issuer, clock, oauth_issuer=url)
    subject = "u" * (LONGEST_PRINCIPAL - len(f"{url}|") + more)

    assert await takes(access, iss=url, sub=subject) is taken
    assert len(visible(f"{url}|{subject} on the approvals page")) <= LONGEST_NAME_SHOWN


@pytest.mark.parametrize("exp", [10**400, 1e300])
async def test_a_token_may_end_later_than_any_clock_can_tell(access: Access, exp: float) -> None:
    token = await access.verifier.verify_token(minted(exp=exp))

    assert token is not None
    assert token.expires_at is not None
    assert token.expires_at - time.time() > 10**9
    assert datetime.fromtimestamp(token.expires_at, UTC).year == 9999


async def test_a_token_that_ends_later_than_any_clock_can_tell_may_listen(sim: Simulator, issuer: Issuer) -> None:
    numbers = "kros://numbers"
    async with (
        open_http(sim, issuer, tcp=True) as served,
        served.talks(minted(exp=10**400), "auto") as client,
        client.listen(resource_subscriptions=[numbers]) as stream,
    ):
        assert stream.honored.resource_subscriptions == [numbers]


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -10), ("nbf", 20)])
async def test_clocks_may_differ_by_some_seconds(access: Access, claim: str, seconds: int) -> None:
    assert await takes(access, **{claim: int(time.time()) + seconds})


async def test_an_audience_of_its_own_is_asked_for_instead_of_the_url(issuer: Issuer, clock: Clock) -> None:
    access = access_to(issuer, clock, oauth_audience="authenticated")

    assert await takes(access, aud="authenticated")
    assert not await takes(access, aud=AUDIENCE)


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "RSA-OAEP"},
        {"key_ops": ["encrypt"]},
        {"key_ops": None},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"n": "AQAB"},
        {"n": 7},
    ],
)
async def test_a_key_that_is_not_for_this_signature_proves_nothing(
    issuer: Issuer, access: Access, members: dict[str, Any]
) -> None:
    issuer.keys = [public_jwk(RSA_KEY, kid="rsa-1") | members]

    assert not await takes(access)


async def test_only_the_algorithms_of_the_settings_are_taken(issuer: Issuer, clock: Clock) -> None:
    issuer.keys = [public_jwk(RSA_KEY, kid="rsa-1")]

    for settings, taken in (({}, "RS256"), ({"oauth_algorithms": ("RS512", "PS256")}, "PS256")):
        access = access_to(issuer, clock, **settings)
        for algorithm in ("RS256", "RS384", "PS256"):
            assert await takes(access, algorithm=algorithm) is (algorithm == taken)


async def test_a_short_key_proves_nothing(issuer: Issuer, access: Access) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    issuer.keys = [public_jwk(short, kid="rsa-1")]
    with pytest.warns(match="key"):
        token = minted(short)
    warnings.simplefilter("ignore")  # the warning that tests fail on is not what refuses it

    assert await access.verifier.verify_token(token) is None


async def test_the_only_key_needs_no_name(issuer: Issuer, access: Access) -> None:
    issuer.keys = issuer.keys[:1]

    assert await takes(access, kid=None)


async def test_keys_are_fetched_without_any_key_or_token_of_ours(issuer: Issuer, access: Access) -> None:
    assert await takes(access)

    [request] = issuer.asked
    assert str(request.url) == f"{URL}/.well-known/jwks.json"
    assert not {"authorization", "x-api-key", "cookie"} & set(request.headers)


async def test_keys_are_kept_for_five_minutes(issuer: Issuer, access: Access, clock: Clock) -> None:
    assert await takes(access)
    clock.now += 299
    assert await takes(access)
    assert len(issuer.asked) == 1

    issuer.keys = []
    clock.now += 1
    assert not await takes(access)
    assert len(issuer.asked) == 2


async def test_a_new_key_is_found_and_unknown_ones_do_not_make_us_ask_again_and_again(
    issuer: Issuer, access: Access, clock: Clock
) -> None:
    issuer.keys = [public_jwk(EC_KEY, kid="ec-1")]
    assert not await takes(access)
    issuer.keys = [public_jwk(RSA_KEY, kid="rsa-1")]
    clock.now += 29
    for number in range(20):
        assert not await takes(access, kid=f"made-up-{number}")
    assert len(issuer.asked) == 1

    clock.now += 1
    assert await takes(access)
    assert len(issuer.asked) == 2


async def test_callers_at_once_wait_for_one_request(issuer: Issuer, access: Access) -> None:
    issuer.held = asyncio.Event()
    calls = [asyncio.create_task(takes(access)) for _ in range(10)]
    await issuer.asked_once.wait()
    issuer.held.set()

    assert all(await asyncio.gather(*calls))
    assert len(issuer.asked) == 1


async def test_a_caller_that_leaves_does_not_stop_the_request_for_others(issuer: Issuer, access: Access) -> None:
    issuer.held = asyncio.Event()
    leaving, staying = asyncio.create_task(takes(access)), asyncio.create_task(takes(access))
    await issuer.asked_once.wait()
    leaving.cancel()
    issuer.held.set()

    assert await staying
    assert len(issuer.asked) == 1


async def test_a_provider_that_hangs_holds_up_nobody_whose_key_is_known(
    issuer: Issuer, access: Access, clock: Clock
) -> None:
    assert await takes(access)
    clock.now += 300
    issuer.held = asyncio.Event()

    async with asyncio.timeout(3):
        assert await takes(access)
    issuer.held.set()


DOWN = httpx.ConnectError("https://issuer.example is down")


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        (500, b""),
        (302, b""),
        (200, b"<html>"),
        (200, b'{"keys": {}}'),
        (200, b"[" * 200_000),
        (200, b'{"keys": []}' + b" " * 300_000),
    ],
)
async def test_while_the_provider_fails_old_keys_do_for_an_hour(
    issuer: Issuer, access: Access, clock: Clock, answer: Any
) -> None:
    assert await takes(access)
    issuer.answer = answer
    clock.now += 3599
    assert await takes(access)
    assert access.trouble() is None
    assert len(issuer.asked) == 2

    clock.now += 31
    assert not await takes(access)
    assert access.trouble() == f"The keys at {URL}/.well-known/jwks.json cannot be had."

    issuer.answer = None
    clock.now += 31
    assert await takes(access)
    assert access.trouble() is None


async def test_a_good_token_that_cannot_be_checked_is_told_to_come_back(
    sim: Simulator, issuer: Issuer, clock: Clock
) -> None:
    issuer.answer = DOWN
    async with open_http(sim, issuer, clock=clock) as served:
        answer = await served.calls("buy_phone_number", minted(scope="numbers:buy"))

        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "www-authenticate" not in answer.headers
        assert (await served.calls("buy_phone_number", None)).status_code == 401
        assert await served.nothing_happened()

        issuer.answer = None
        clock.now += int(answer.headers["retry-after"])
        assert (await served.calls("buy_phone_number", minted())).status_code == 403


def test_jwt_callers_have_the_limits_that_the_settings_give_each_principal(issuer: Issuer, clock: Clock) -> None:
    access = access_to(issuer, clock, principal_daily_budget_cents=700, principal_monthly_commitment_cents=900)

    assert access.own_limits(f"{URL}|user-1") == Limits(daily_budget_cents=700, monthly_commitment_cents=900)
    assert access.own_limits(f"{URL}/|user-1") is None
    assert access.own_limits("tokens|user-1") is None
    assert access.own_limits("local") is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "KROS_TOKENS_FILE"),
        ({"oauth_issuer": URL}, "KROS_PUBLIC_URL"),
        ({"oauth_issuer": URL, "oauth_audience": "authenticated"}, "KROS_PUBLIC_URL"),
        ({"oauth_issuer": f"{URL}/a|b", "public_url": PUBLIC_URL}, "KROS_OAUTH_ISSUER"),
    ],
)
def test_what_would_let_in_the_wrong_ones_stops_the_start(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        build_access(Settings(**settings))
