"""Which organization a caller's token names: in the tokens file and in a JWT."""

from pathlib import Path
from typing import Any

import pytest

from kros_mcp.errors import SettingsError
from kros_mcp.http.access import Access, build_access
from kros_mcp.operations.model import Limits
from kros_mcp.settings import Settings
from kros_mcp.tools.caller import CallerToken
from tests.support.clock import Clock
from tests.support.issuer import PUBLIC_URL, URL, Issuer, entry, minted, tokens_file

pytestmark = pytest.mark.anyio
OWN = "3f9c2a52-0000-4000-8000-00000000000a"
OTHER = "3f9c2a52-0000-4000-8000-00000000000b"
REFUSED: list[object] = [
    None,
    "",
    " ",
    f" {OTHER}",
    f"{OTHER} ",
    f"{OTHER}\n",
    OTHER.upper(),
    OWN.upper(),
    "null",
    "None",
    "undefined",
    "true",
    0,
    7,
    True,
    [],
    [OTHER],
    [OTHER, OWN],
    {"id": OTHER},
    "or\u0261_1",
    "org_1\u200b",
    "org|1",
    "org/1",
    "x" * 129,
]


def access_by_claim(claim: str = "org_id", **settings: Any) -> Access:
    given = {"oauth_issuer": URL, "public_url": PUBLIC_URL, "organization_id": OWN, "oauth_organization_claim": claim}
    return build_access(Settings(**given | settings), transport=Issuer())


async def organization(access: Access, **claims: Any) -> str | None:
    token = await access.verifier.verify_token(minted(**claims))
    assert token is None or isinstance(token, CallerToken)
    return None if token is None else token.caller.organization


async def test_a_jwt_names_its_organization_and_without_one_it_is_the_services_own() -> None:
    access = access_by_claim()
    assert await organization(access, org_id=OTHER) == OTHER
    assert await organization(access, org_id="org_2.b:c@d+e-f") == "org_2.b:c@d+e-f"
    assert await organization(access, org_id=OWN) == ""
    assert await organization(access) == ""
    assert await organization(access, Org_id=OTHER, organization_id=OTHER, orgs=[OTHER]) == ""
    assert await organization(access_by_claim("", oauth_organization_claim=None), org_id=OTHER) == ""


@pytest.mark.parametrize("stated", [each for each in REFUSED if each is not None], ids=repr)
async def test_a_jwt_whose_claim_names_no_organization_is_refused(stated: object) -> None:
    """It is nobody's, rather than the service's own."""
    assert await organization(access_by_claim(), org_id=stated) is None


async def test_a_jwt_that_says_null_is_refused() -> None:
    assert await organization(access_by_claim("of.id"), of={"id": None}) is None


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"app": {"org": {"id": OTHER}}}, OTHER),
        ({"app.org.id": OTHER}, OTHER),
        ({"app.org.id": OTHER, "app": {"org": {"id": OTHER}}}, OTHER),
        ({"app.org.id": OTHER, "app": "mobile"}, OTHER),
        ({"app.org.id": OTHER, "app": {"org": {"id": OWN}}}, None),
        ({"app": {"org": OTHER}}, None),
        ({"app": [{"org": {"id": OTHER}}]}, None),
        ({"app": {"org": {"ID": OTHER}}}, ""),
        ({"app": {}}, ""),
    ],
)
async def test_dots_lead_to_a_claim_inside_another(claims: dict[str, Any], named: str | None) -> None:
    assert await organization(access_by_claim("app.org.id"), **claims) == named


async def test_one_subject_of_two_organizations_is_two_callers() -> None:
    access = access_by_claim()
    tokens = [await access.verifier.verify_token(minted(**more)) for more in ({}, {"org_id": OTHER})]
    one, other = (token for token in tokens if isinstance(token, CallerToken))
    assert one.caller.principal == other.caller.principal
    assert one.caller.whole_name != other.caller.whole_name
    # By these the SDK keeps sessions and answers to prompts apart.
    assert (one.client_id, one.claims, one.subject) != (other.client_id, other.claims, other.subject)


def file_of(path: Path, **organizations: object) -> Path:
    entries = [
        entry(name, f"krosmcp_{name}", "read", **({} if stated is None else {"organization_id": stated}))
        for name, stated in organizations.items()
    ]
    return tokens_file(path / "tokens.toml", *entries)


def access_by_file(path: Path, own: str | None = OWN, clock: Clock | None = None, **organizations: object) -> Access:
    settings = Settings(tokens_file=file_of(path, **organizations), organization_id=own, principal_daily_budget_cents=7)
    return build_access(settings, clock=clock or Clock())


async def of_file(access: Access, name: str) -> str | None:
    token = await access.verifier.verify_token(f"krosmcp_{name}")
    assert token is None or isinstance(token, CallerToken)
    return None if token is None else token.caller.organization


async def test_an_entry_of_the_tokens_file_names_its_organization(tmp_path: Path) -> None:
    access = access_by_file(tmp_path, ada=OTHER, bola=OWN, chidi=None)
    assert [await of_file(access, name) for name in ("ada", "bola", "chidi")] == [OTHER, "", ""]


@pytest.mark.parametrize("stated", [each for each in REFUSED if isinstance(each, str | int | list)], ids=repr)
def test_an_entry_that_names_no_organization_stops_the_start(tmp_path: Path, stated: object) -> None:
    with pytest.raises(SettingsError, match=r"ada (has an unusable organization_id|spells an organization)"):
        access_by_file(tmp_path, ada=stated)


def test_two_spellings_of_one_organization_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="bola spells an organization otherwise"):
        access_by_file(tmp_path, ada="org_b", bola="org_B")


def test_the_services_own_organization_has_to_be_named_once_a_caller_names_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ada names an organization, so KROS_ORGANIZATION_ID has to name"):
        access_by_file(tmp_path, own=None, ada=OTHER)
    with pytest.raises(SettingsError, match=r"KROS_OAUTH_ORGANIZATION_CLAIM .* KROS_ORGANIZATION_ID has to name"):
        access_by_claim(organization_id=None)
    by_file = {"tokens_file": file_of(tmp_path, ada=None), "oauth_issuer": None}
    with pytest.raises(SettingsError, match="KROS_OAUTH_ORGANIZATION_CLAIM"):
        access_by_claim(organization_id=None, **by_file)
    access_by_file(tmp_path, own=None, ada=None)


async def test_a_file_that_begins_to_name_one_while_the_service_runs_lets_nobody_in(tmp_path: Path) -> None:
    clock = Clock()
    access = access_by_file(tmp_path, own=None, clock=clock, ada=None)
    assert await of_file(access, "ada") == ""
    file_of(tmp_path, ada=None, bola=OTHER)
    clock.now += 2
    assert [await of_file(access, name) for name in ("ada", "bola")] == [None, None]
    assert "KROS_ORGANIZATION_ID" in (access.trouble() or "")


async def test_rights_are_those_of_a_name_in_its_organization_alone(tmp_path: Path) -> None:
    clock = Clock()
    access = access_by_file(tmp_path, clock=clock, ada=OTHER, chidi=None)
    assert access.own_scopes is not None
    assert access.own_limits("tokens|ada", organization=OTHER) == Limits(daily_budget_cents=7)
    assert access.own_scopes("tokens|ada", organization=OTHER) == {"numbers:read"}
    for name, elsewhere in (("ada", {}), ("ada", {"organization": "org_3"}), ("chidi", {"organization": OTHER})):
        assert access.own_limits(f"tokens|{name}", **elsewhere) is None
        assert access.own_scopes(f"tokens|{name}", **elsewhere) == frozenset()
    assert (access.knows(OTHER, ()), access.knows("org_3", ())) == (True, False)
    file_of(tmp_path, ada="org_3", chidi=None)
    clock.now += 2
    assert access.own_scopes("tokens|ada", organization=OTHER) == frozenset()
    assert (access.knows(OTHER, ()), access.knows("org_3", ())) == (False, True)


def test_an_issuer_is_known_to_have_vouched_only_while_its_claim_is_read() -> None:
    assert access_by_claim().knows(OTHER, (URL,))
    assert not access_by_claim().knows(OTHER, ("https://else.example", "tokens"))
    assert not access_by_claim(oauth_organization_claim=None).knows(OTHER, (URL,))
