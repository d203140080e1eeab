"""What an organization's callers left is looked after by the next service, although none of them has come to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from kros_mcp import organizations
from kros_mcp.errors import SettingsError
from kros_mcp.http.access import build_access
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import moves
from kros_mcp.operations.journal import Journal, NamedOrganization
from kros_mcp.operations.model import Operation
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator
from kros_mcp.tools.call import Runtime
from tests.support.issuer import PUBLIC_URL, URL, Issuer, entry, minted, tokens_file
from tests.support.talk import Talk
from tests.support.tenants import open_tenants, other_of, two_organizations, until
from tests.support.upstream import item_of, wrote
from tests.support.web import Web

pytestmark = pytest.mark.anyio
ADA, BOLA = "krosmcp_ada", "krosmcp_bola"


@pytest.fixture(autouse=True)
def _the_service_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organizations, "LOOK_EVERY_SECONDS", 0.05)


@pytest.fixture
def sim() -> Simulator:
    return two_organizations()


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    async with open_journal(journal_url) as opened:
        yield opened


class ByFile:
    """Callers of a tokens file, of which `ada` is the other organization's."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim, self.path = sim, folder / "tokens.toml"
        self.ada = entry("ada", ADA, "read", "buy", organization_id=other_of(sim).organization_id)
        self.bola = entry("bola", BOLA, "read", "buy")
        tokens_file(self.path, self.ada, self.bola)

    @asynccontextmanager
    async def service(self, journal: Journal, **chosen: Any) -> AsyncIterator[Web]:
        access = build_access(Settings(tokens_file=self.path, organization_id=self.sim.organization_id))
        async with open_tenants(self.sim, journal, access=access, settle_seconds=0, **chosen) as web:
            yield web

    @asynccontextmanager
    async def talk(self, web: Web) -> AsyncIterator[Talk]:
        async with web.talk(ADA) as talk:
            yield talk


class ByJwt(ByFile):
    """Callers by JWT, of which each names its organization."""

    @asynccontextmanager
    async def service(self, journal: Journal, **chosen: Any) -> AsyncIterator[Web]:
        own = self.sim.organization_id
        claim = {"oauth_organization_claim": "org_id", **{k: chosen.pop(k) for k in list(chosen) if "oauth" in k}}
        settings = Settings(oauth_issuer=URL, public_url=PUBLIC_URL, organization_id=own, **claim)
        access = build_access(settings, transport=Issuer())
        async with open_tenants(self.sim, journal, access=access, settle_seconds=0, **chosen) as web:
            yield web

    @asynccontextmanager
    async def talk(self, web: Web) -> AsyncIterator[Talk]:
        scope = "numbers:read numbers:buy"
        async with web.talk(minted(scope=scope, org_id=other_of(self.sim).organization_id)) as talk:
            yield talk


@pytest.fixture(params=[ByFile, ByJwt])
def callers(request: pytest.FixtureRequest, sim: Simulator, tmp_path: Path) -> ByFile:
    found: ByFile = request.param(sim, tmp_path)
    return found


async def left_unknown(callers: ByFile, journal: Journal) -> str:
    """Let a caller buy, lose KrosAI's answer, and end the service; then KrosAI shows what it has done."""
    sim, item = callers.sim, item_of(callers.sim)
    async with callers.service(journal) as web, callers.talk(web) as talk:
        asked = await talk.buy(item)
        sim.faults.switch_on("lost_reply", on=["purchase"])
        sim.faults.switch_on("never_listed", on=["purchase"], seconds=3600.0)
        assert (await talk.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "unknown"
    other_of(sim).hidden_until.clear()
    operation_id = str(asked["operation_id"])
    # The time for the next look has come.
    await journal.change(operation_id, lambda current, _: replace(current, look_at=None))
    return operation_id


async def test_an_unknown_purchase_is_settled_although_nobody_calls(callers: ByFile, journal: Journal) -> None:
    operation_id = await left_unknown(callers, journal)
    async with callers.service(journal):
        done = await until(journal, operation_id, "done")
    assert (done.charged, [len(each.charges) for each in callers.sim.organizations.values()]) == ("yes", [0, 1])


async def approved_while_nothing_ran(callers: ByFile, journal: Journal) -> Operation:
    async with callers.service(journal, confirmation="approver") as web, callers.talk(web) as talk:
        asked = await talk.buy(item_of(callers.sim))
        assert asked.outcome == "awaiting_approval"
    operation_id = str(asked["operation_id"])
    return await journal.change(operation_id, partial(moves.confirm, by="ana"))


async def test_what_was_approved_meanwhile_is_carried_out_although_nobody_calls(
    callers: ByFile, journal: Journal
) -> None:
    approved = await approved_while_nothing_ran(callers, journal)
    async with callers.service(journal, confirmation="approver"):
        await until(journal, approved.id, "done")
    assert [len(each.charges) for each in callers.sim.organizations.values()] == [0, 1]


async def looked_round(web: Web) -> None:
    """Wait until the service has looked into the journal a few times."""
    others = web.service.runtime.others
    assert isinstance(others, organizations.Organizations)
    with anyio.fail_after(20):
        while not others.accounts or not others.of(web.sim.other.organization_id).runner.looked_round.is_set():  # type: ignore[union-attr]
            await anyio.lowlevel.checkpoint()
        for _ in range(5):
            await anyio.sleep(0.06)


async def test_what_a_caller_asked_for_whose_organization_was_taken_away_is_not_carried_out(
    sim: Simulator, tmp_path: Path, journal: Journal
) -> None:
    callers = ByFile(sim, tmp_path)
    approved = await approved_while_nothing_ran(callers, journal)
    moved = entry("ada", ADA, "read", "buy")  # she calls for the service's own now
    for entries in ((callers.bola,), (moved, callers.bola)):
        tokens_file(callers.path, *entries)
        async with callers.service(journal, confirmation="approver") as web:
            await looked_round(web)
        waiting = await journal.get(approved.id)
        assert waiting is not None
        assert waiting.state == "confirmed", "another service may know her"
    still = entry("chidi", "krosmcp_chidi", "read", organization_id=other_of(sim).organization_id)
    tokens_file(callers.path, still, callers.bola)
    async with callers.service(journal, confirmation="approver"):
        failed = await until(journal, approved.id, "failed")
    assert (failed.error_code, failed.charged) == ("NOT_PERMITTED", "no")
    assert wrote(sim) == []


async def test_what_was_sent_for_an_organization_that_was_taken_away_is_still_looked_after(
    sim: Simulator, tmp_path: Path, journal: Journal
) -> None:
    callers = ByFile(sim, tmp_path)
    operation_id = await left_unknown(callers, journal)
    tokens_file(callers.path, callers.bola)
    async with callers.service(journal):
        assert (await until(journal, operation_id, "done")).charged == "yes"


async def test_an_issuer_whose_claim_is_not_read_any_more_lets_nothing_be_carried_out(
    sim: Simulator, tmp_path: Path, journal: Journal
) -> None:
    callers = ByJwt(sim, tmp_path)
    approved = await approved_while_nothing_ran(callers, journal)
    async with callers.service(journal, confirmation="approver", oauth_organization_claim=None) as web:
        await looked_round(web)
    waiting = await journal.get(approved.id)
    assert waiting is not None
    assert waiting.state == "confirmed"
    assert wrote(sim) == []


async def test_an_organization_of_another_address_is_left_alone(
    sim: Simulator, tmp_path: Path, journal: Journal
) -> None:
    callers = ByFile(sim, tmp_path)
    approved = await approved_while_nothing_ran(callers, journal)
    async with callers.service(journal, base_url="https://elsewhere.invalid/v1", confirmation="approver") as web:
        for _ in range(5):
            await anyio.sleep(0.06)
        assert web.service.runtime.others is not None
        assert web.service.runtime.others.accounts == ()
    waiting = await journal.get(approved.id)
    assert waiting is not None
    assert waiting.state == "confirmed"


async def test_an_organization_of_another_key_that_no_token_names_is_left_to_the_service_of_that_key(
    sim: Simulator, tmp_path: Path, journal: Journal
) -> None:
    callers = ByFile(sim, tmp_path)
    operation_id = await left_unknown(callers, journal)
    tokens_file(callers.path, callers.bola)
    before = len(sim.requests)
    async with callers.service(journal, api_key=sim.read_only_key) as web:
        for _ in range(5):
            await anyio.sleep(0.06)
        assert web.service.runtime.others is not None
        assert web.service.runtime.others.accounts == ()
    asked = {seen.headers["x-organization-id"] for seen in sim.requests[before:]}
    assert other_of(sim).organization_id not in asked
    tokens_file(callers.path, callers.ada)
    async with callers.service(journal, api_key=sim.read_only_key):  # a key that may read will do
        await until(journal, operation_id, "done")


async def test_what_cannot_be_opened_is_not_tried_at_every_look(
    sim: Simulator, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = ByFile(sim, tmp_path)
    await left_unknown(callers, journal)
    tries: list[str | None] = []
    looks = asyncio.Semaphore(0)
    named = journal.restless_organizations

    def fail(settings: Settings, _is_known: Callable[[], bool]) -> AbstractAsyncContextManager[Runtime]:
        tries.append(settings.organization_id)
        raise SettingsError("It cannot be opened.")

    async def counted() -> tuple[NamedOrganization, ...]:
        looks.release()
        return await named()

    monkeypatch.setattr(journal, "restless_organizations", counted)
    monkeypatch.setattr(organizations, "LOOK_EVERY_SECONDS", 0.0)
    tokens_file(callers.path, callers.bola)  # the service that is to fail is the only one that looks
    async with callers.service(journal) as web:
        own = replace(web.service.runtime, others=None)
        async with organizations.open_organizations(own, fail, lambda *_: True):
            for _ in range(20):
                await looks.acquire()
    assert tries == [other_of(sim).organization_id]
