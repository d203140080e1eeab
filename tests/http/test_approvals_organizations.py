"""An approver sees and decides what is their organization's, and learns of nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from approvals_bench import HERE, KEY, Browser, hidden, text_of

from kros_mcp.http.access import build_access
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.journal import Journal
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator
from tests.support.issuer import entry, tokens_file
from tests.support.tenants import open_tenants, other_of, two_organizations, until
from tests.support.upstream import item_of
from tests.support.web import Web

pytestmark = pytest.mark.anyio


@pytest.fixture
def sim() -> Simulator:
    return two_organizations()


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    async with open_sqlite("sqlite://:memory:") as opened:
        yield opened


@pytest.fixture
async def web(sim: Simulator, journal: Journal) -> AsyncIterator[Web]:
    async with open_tenants(sim, journal, confirmation="approver", state_keys=(KEY,)) as opened:
        yield opened


def browser(web: Web) -> Browser:
    way = httpx.ASGITransport(app=web.service.app, client=("127.0.0.1", 50_000))
    return Browser(httpx.AsyncClient(transport=way, base_url=HERE, follow_redirects=True))


@asynccontextmanager
async def signed_in(web: Web, credential: str) -> AsyncIterator[Browser]:
    opened = browser(web)
    assert "Signed in as" in (await opened.sign_in(credential)).text
    yield opened


async def asked(web: Web, name: str, nth: int = 0) -> str:
    async with web.talk(name) as talk:
        told = await talk.buy(item_of(web.sim, nth=nth))
        assert told.outcome == "awaiting_approval"
        return str(told["operation_id"])


@pytest.mark.promise(6)
async def test_an_approver_sees_and_decides_what_is_their_organizations_alone(web: Web, journal: Journal) -> None:
    sim = web.sim
    mine, theirs = await asked(web, "one"), await asked(web, "other", nth=1)
    async with signed_in(web, "one-approves") as one, signed_in(web, "other-approves") as other:
        for approver, own, foreign in ((one, mine, theirs), (other, theirs, mine)):
            listed = (await approver.get()).text
            assert own in listed
            assert foreign not in listed
            assert "1 waits" in text_of(await approver.get())
            absent, nobodys = (
                await approver.get(f"/approvals/{foreign}"),
                await approver.get("/approvals/op_" + "a" * 16),
            )
            assert (absent.status_code, text_of(absent)) == (nobodys.status_code, text_of(nobodys))
            assert absent.status_code == 404
        # With the form of the other's page, and with one's own token in it.
        form = hidden((await other.get(f"/approvals/{theirs}")).text)
        own_form = hidden((await one.get(f"/approvals/{mine}")).text)
        for filled in (form, {**form, "form_token": own_form["form_token"]}):
            refused = await one.post(f"/approvals/{theirs}", {**filled, "decision": "approve", "reason": ""})
            assert refused.status_code in {403, 404}
        waiting = await journal.get(theirs)
        assert waiting is not None
        assert waiting.state == "proposed"
        approved = await other.post(f"/approvals/{theirs}", {**form, "decision": "approve", "reason": ""})
        assert approved.status_code == 200
    assert (await until(journal, theirs, "done")).confirmed_by.startswith("tokens|approver")
    assert [len(each.charges) for each in sim.organizations.values()] == [0, 1]


async def test_the_page_says_for_which_organization_it_is(web: Web) -> None:
    async with signed_in(web, "one-approves") as one, signed_in(web, "other-approves") as other:
        named = other_of(web.sim).organization_id
        assert named in text_of(await other.get())
        assert named not in text_of(await one.get())


async def test_money_on_the_page_is_the_organizations(web: Web) -> None:
    theirs = await asked(web, "other")
    async with signed_in(web, "one-approves") as one, signed_in(web, "other-approves") as other:
        form = hidden((await other.get(f"/approvals/{theirs}")).text)
        await other.post(f"/approvals/{theirs}", {**form, "decision": "approve", "reason": ""})
        await until(web.service.runtime.account.journal, theirs, "done")
        assert "Spent in 24 hours 5.00" in text_of(await other.get())
        assert "Spent in 24 hours 0.00" in text_of(await one.get())
        assert "Nothing yet." in text_of(await one.get())


async def test_each_sees_the_spending_of_its_organization_alone(web: Web) -> None:
    mine, theirs = await asked(web, "one"), await asked(web, "other", nth=1)
    async with signed_in(web, "one-approves") as one, signed_in(web, "other-approves") as other:
        for reader, own, foreign in ((one, mine, theirs), (other, theirs, mine)):
            for path in ("/spending", "/spending/operations.csv", f"/spending/{own}"):
                page = await reader.get(path)
                assert own in page.text
                assert foreign not in page.text
            assert (await reader.get(f"/spending/{foreign}")).status_code == 404


async def test_a_session_ends_where_its_token_is_given_another_organization(
    sim: Simulator, journal: Journal, tmp_path: Path
) -> None:
    organization = other_of(sim).organization_id
    token, path = "krosmcp_night", tmp_path / "tokens.toml"
    agent = entry("ada", "krosmcp_ada", "read", "buy", organization_id=organization)
    seconds = 0.0

    def clock() -> float:
        return seconds

    tokens_file(path, agent, entry("night", token, "approve", organization_id=organization))
    access = build_access(Settings(tokens_file=path, organization_id=sim.organization_id), clock=clock)
    chosen = {"access": access, "confirmation": "approver", "state_keys": (KEY,)}
    async with open_tenants(sim, journal, **chosen) as web:
        waiting = await asked(web, "krosmcp_ada")
        async with signed_in(web, token) as night:
            assert waiting in (await night.get()).text
            tokens_file(path, agent, entry("night", token, "approve"))
            seconds += 2
            answer = await night.get()
            assert waiting not in answer.text
            assert "Signed in as" not in answer.text
            await night.sign_in(token)
            assert waiting not in (await night.get()).text
