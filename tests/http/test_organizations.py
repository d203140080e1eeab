"""Two organizations under one key through one service: neither sees, spends or learns of what is the other's."""

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from kros_mcp import organizations, telemetry
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.numbering import spoken
from kros_mcp.operations import gauges, recovery
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import EVERYTHING, Filter, Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Simulator
from kros_mcp.tools.caller import authenticated
from kros_mcp.tools.stream import current_stream
from tests.support.ears import Ears, open_ears
from tests.support.person import Person, accept
from tests.support.receiver import open_receiver
from tests.support.talk import Talk, Told
from tests.support.tenants import open_tenants, other_of, runtime_of, two_organizations
from tests.support.upstream import item_of, wrote
from tests.support.web import ACCEPT, modern, open_session, opening

pytestmark = pytest.mark.anyio
NOWHERE = "op_aaaaaaaaaaaaaaaa"
NUMBERS, SPENDING = "kros://numbers", "kros://spending"


@pytest.fixture
def sim() -> Simulator:
    return two_organizations()


@pytest.fixture(params=["reference", "guide"])
def each_sim(request: pytest.FixtureRequest) -> Simulator:
    return two_organizations(request.param)


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    async with open_sqlite("sqlite://:memory:") as opened:
        yield opened


@pytest.fixture
async def each_journal(journal_url: str) -> AsyncIterator[Journal]:
    async with open_journal(journal_url) as opened:
        yield opened


def blurred(told: Told, *names: str) -> str:
    text = f"{told.data} {told.text}"
    for name in names:
        text = text.replace(name, "…").replace(spoken(name), "…")
    return re.sub(r"op_[a-z2-7]{16}", "…", text)


async def bought(talk: Talk, **where: Any) -> Told:
    item = item_of(talk.sim, **where)
    asked = await talk.buy(item)
    return await talk.buy(item, confirmation_code=asked["confirmation_code"])


async def test_each_reads_its_own_numbers_endpoints_and_money(
    each_sim: Simulator, era: str, each_journal: Journal
) -> None:
    other = other_of(each_sim)
    async with open_tenants(each_sim, each_journal) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        assert (await bought(b)).outcome == "done"
        for talk, account in ((a, each_sim), (b, other)):
            told = await talk.call("list_phone_numbers", status="any")
            assert {each["number_id"] for each in told["numbers"]} == set(account.owned)
            told = await talk.call("list_endpoints")
            assert {each["endpoint_id"] for each in told["endpoints"]} == set(account.endpoints)
            text = (await talk.client.read_resource(NUMBERS)).contents[0]
            living = [number.e164 for number in account.owned.values() if number.status != "inactive"]
            assert all(e164 in str(text) for e164 in living)
        told_one, told_other = await a.call("get_spending"), await b.call("get_spending")
        assert (told_one["spent_24h_cents"], told_other["spent_24h_cents"]) == (0, other.charges[0].cents)
        assert told_one["daily_room_cents"] == told_one["daily_budget_cents"]
    assert (each_sim.charges, len(other.charges)) == ([], 1)


async def test_they_are_apart_where_no_sessions_are_kept(sim: Simulator, era: str) -> None:
    async with open_tenants(sim, stateless=True) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        for talk, account in ((b, other_of(sim)), (a, sim), (b, other_of(sim))):
            told = await talk.call("list_phone_numbers", status="any")
            assert {each["number_id"] for each in told["numbers"]} == set(account.owned)
        asked = await b.buy(item_of(sim))
        assert (await a.call("get_operation", operation_id=asked["operation_id"])).outcome == "OPERATION_NOT_FOUND"


async def test_every_request_to_krosai_is_made_for_the_callers_organization(each_sim: Simulator) -> None:
    async with open_tenants(each_sim) as web, web.talk("one") as a, web.talk("other") as b:
        for talk, account in ((a, each_sim), (b, other_of(each_sim))):
            before = len(each_sim.requests)
            await bought(talk)
            await talk.call("get_spending")
            sent = {seen.headers["x-organization-id"] for seen in each_sim.requests[before:]}
            assert sent == {account.organization_id}
    assert {charge.cents for each in each_sim.organizations.values() for charge in each.charges} != set()


async def test_both_keep_to_one_pace_and_to_one_count(sim: Simulator) -> None:
    async with open_tenants(sim) as web, web.talk("other") as talk:
        await talk.call("list_phone_numbers")
        assert runtime_of(web, sim).account.client.limits is web.service.runtime.account.client.limits


@pytest.mark.parametrize("tool", ["get_phone_number", "configure_phone_number", "release_phone_number"])
async def test_the_others_number_looks_like_one_that_does_not_exist(sim: Simulator, era: str, tool: str) -> None:
    theirs = next(iter(other_of(sim).owned.values()))
    more = {"allow_inbound": "off"} if tool == "configure_phone_number" else {}
    async with open_tenants(sim) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        await b.call("list_phone_numbers")
        for name, nobodys in ((theirs.id, theirs.id[:-4] + "0000"), (theirs.e164, "+2348035550150")):
            found = await a.call(tool, number_id=name, **more)
            absent = await a.call(tool, number_id=nobodys, **more)
            assert found.failed
            assert blurred(found, name) == blurred(absent, nobodys)
    assert wrote(sim) == []


async def test_nothing_is_routed_to_the_others_endpoint(sim: Simulator, era: str) -> None:
    theirs, own = next(iter(other_of(sim).endpoints)), next(iter(sim.owned))
    async with open_tenants(sim) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        await b.call("list_endpoints")
        assert (await a.buy(item_of(sim), endpoint_id=theirs)).failed
        assert (await a.call("configure_phone_number", number_id=own, endpoint_id=theirs)).failed
    assert wrote(sim) == []


@pytest.mark.promise(6)
@pytest.mark.parametrize("tool", ["get_operation", "cancel_operation"])
async def test_the_same_subjects_operation_in_the_other_looks_like_one_that_does_not_exist(
    sim: Simulator, era: str, tool: str, journal: Journal
) -> None:
    async with open_tenants(sim, journal) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        asked = await b.buy(item_of(sim))
        theirs = await a.call(tool, operation_id=asked["operation_id"])
        nobodys = await a.call(tool, operation_id=NOWHERE)
        assert (theirs.outcome, blurred(theirs)) == ("OPERATION_NOT_FOUND", blurred(nobodys))
        for operation_id in (asked["operation_id"], NOWHERE):
            with pytest.raises(MCPError, match="There is no resource"):
                await a.client.read_resource(f"kros://operations/{operation_id}")
        assert (await b.call("get_operation", operation_id=asked["operation_id"])).outcome == "confirmation_required"
        assert {one.principal for one in await journal.list_operations(EVERYTHING)} == {"tokens|same"}


async def test_what_is_offered_while_typing_is_the_callers_own(sim: Simulator, era: str) -> None:
    async with open_tenants(sim) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        asked = await b.buy(item_of(sim))
        [keep] = [
            PromptReference(name=prompt.name)
            for prompt in (await a.client.list_prompts()).prompts
            if any(argument.name == "keep" for argument in prompt.arguments or [])
        ]
        operation = ResourceTemplateReference(uri="kros://operations/{operation_id}")
        for talk, account, operations in ((b, other_of(sim), [asked["operation_id"]]), (a, sim, [])):
            numbers = await talk.client.complete(keep, {"name": "keep", "value": ""})
            assert set(numbers.completion.values) == {number.e164 for number in account.owned.values()}
            own = await talk.client.complete(operation, {"name": "operation_id", "value": "op_"})
            assert own.completion.values == operations


@pytest.mark.promise(6)
async def test_a_code_of_the_other_is_worth_nothing(sim: Simulator, era: str, journal: Journal) -> None:
    item = item_of(sim)
    async with open_tenants(sim, journal) as web, web.talk("one", era) as a, web.talk("other", era) as b:
        asked = await b.buy(item)
        for _ in range(6):
            assert (await a.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "NO_CODE_ISSUED"
        own = await a.buy(item)
        assert own["operation_id"] != asked["operation_id"]
        assert (await a.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "WRONG_CODE"
        assert wrote(sim) == []
        assert (await b.buy(item, confirmation_code=asked["confirmation_code"])).outcome == "done"
        late = await a.buy(item, confirmation_code=own["confirmation_code"])
        assert (late.failed, late["charged"]) == (True, "no")
    assert (sim.charges, len(other_of(sim).charges)) == ([], 1)


@pytest.mark.promise(6)
async def test_a_sealed_prompt_of_the_other_is_not_opened(sim: Simulator) -> None:
    item = item_of(sim)
    call = {"name": "buy_phone_number", "arguments": {"e164": item.e164, "country": item.country, "type": item.type}}
    async with (
        open_tenants(sim) as web,
        web.client(authorization="Bearer one") as a,
        web.client(authorization="Bearer other") as b,
    ):
        question = (await b.post("/mcp", **modern("tools/call", call, elicits=True))).json()["result"]
        [name] = question["inputRequests"]
        yes = {name: {"action": "accept", "content": {"decision": "buy"}}}
        answer = {**call, "inputResponses": yes, "requestState": question["requestState"]}
        stolen = (await a.post("/mcp", **modern("tools/call", answer, elicits=True))).json()["result"]
        assert stolen["structuredContent"]["code"] == "ANSWER_UNREADABLE"
        assert wrote(sim) == []
        done = (await b.post("/mcp", **modern("tools/call", answer, elicits=True))).json()["result"]
        assert done["structuredContent"]["status"] == "done"
    assert (sim.charges, len(other_of(sim).charges)) == ([], 1)


@pytest.mark.promise(6)
async def test_a_session_of_the_other_is_not_there(sim: Simulator) -> None:
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    async with (
        open_tenants(sim, max_sessions_per_caller=1) as web,
        web.client(authorization="Bearer one", **ACCEPT) as a,
        web.client(authorization="Bearer other", **ACCEPT) as b,
    ):
        session = {"mcp-session-id": (await b.post("/mcp", json=opening())).headers["mcp-session-id"]}
        nobodys = {"mcp-session-id": "0" * 32}
        for method in ("POST", "DELETE"):
            body = {"json": listing} if method == "POST" else {}
            theirs = await a.request(method, "/mcp", headers=session, **body)
            absent = await a.request(method, "/mcp", headers=nobodys, **body)
            assert (theirs.status_code, theirs.text) == (absent.status_code, absent.text)
            assert theirs.status_code == 404
        await a.post("/mcp", json=opening())  # which takes no session away from the other
        assert (await b.post("/mcp", json=listing, headers=session)).status_code == 200


async def test_a_prompt_in_a_session_is_answered_by_its_organization_alone(sim: Simulator) -> None:
    async with (
        open_tenants(sim) as web,
        open_session(web, "other") as b,
        open_session(web, "one") as a,
        b.buying(item_of(sim)) as stream,
    ):
        prompt = await stream.message()
        a.headers["mcp-session-id"] = b.headers["mcp-session-id"]
        assert (await a.answer(prompt)).status_code == 404
        assert wrote(sim) == []
        assert (await b.answer(prompt)).status_code == 202
        assert (await stream.message())["result"]["structuredContent"]["status"] == "done"
    assert (sim.charges, len(other_of(sim).charges)) == ([], 1)


async def test_prompts_at_once_each_reach_their_own_person(sim: Simulator, era: str) -> None:
    mine, yours = Person(accept("buy")), Person(accept("do not buy"))
    async with open_tenants(sim) as web, web.talk("one", era, mine) as a, web.talk("other", era, yours) as b:
        assert ((await a.buy(item_of(sim))).outcome, (await b.buy(item_of(sim, nth=1))).outcome) == ("done", "declined")
    assert (len(mine.prompts), len(yours.prompts)) == (1, 1)
    assert (len(sim.charges), other_of(sim).charges) == (1, [])


@pytest.mark.promise(6)
async def test_nobody_hears_what_changes_at_the_other(sim: Simulator) -> None:
    ears, own = Ears(), Ears()
    async with open_tenants(sim) as web, web.talk("one", hear=ears.hear) as a, web.talk("other", hear=own.hear) as b:
        asked = await b.buy(item_of(sim))
        theirs = f"kros://operations/{asked['operation_id']}"
        async with open_ears(a.client, NUMBERS, SPENDING, theirs), open_ears(b.client, NUMBERS, SPENDING, theirs):
            await b.buy(item_of(sim), confirmation_code=asked["confirmation_code"])
            await own.until(NUMBERS, SPENDING, theirs)
            for runtime in (web.service.runtime, runtime_of(web, sim)):
                await runtime.account.changes.look_round(runtime.account.journal)
    assert ears.heard == []


async def test_a_number_that_the_other_saw_for_sale_is_not_known_from_there(sim: Simulator) -> None:
    async with open_tenants(sim) as web, web.talk("one") as a, web.talk("other") as b:
        found = await b.call("search_phone_numbers", country="NG")
        inventory_id = found["numbers"][0]["inventory_id"]
        assert (await a.call("buy_phone_number", inventory_id=inventory_id)).outcome == "NOT_SEEN"
        assert (await b.call("buy_phone_number", inventory_id=inventory_id)).outcome == "confirmation_required"


async def test_each_has_every_cap_to_itself(sim: Simulator, each_journal: Journal) -> None:
    async with (
        open_tenants(sim, each_journal, daily_budget_cents=500) as web,
        web.talk("one") as a,
        web.talk("other") as b,
    ):
        assert (await bought(a)).outcome == "done"
        assert (await a.buy(item_of(sim))).outcome == "OVER_DAILY_BUDGET"
        assert (await bought(b)).outcome == "done"
    assert [len(each.charges) for each in sim.organizations.values()] == [1, 1]


async def test_the_budget_for_all_is_told_as_no_figure(sim: Simulator, journal: Journal) -> None:
    async with open_tenants(sim, journal, total_daily_budget_cents=900) as web, web.talk("one") as a:
        async with web.talk("other") as b:
            assert (await bought(b)).outcome == "done"
        refused = await a.buy(item_of(sim))
        assert (refused.outcome, refused["charged"]) == ("OVER_TOTAL_DAILY_BUDGET", "no")
        spending = await a.call("get_spending")
        assert (spending["spent_24h_cents"], spending["daily_room_cents"]) == (0, 20_000)
        for told in (refused, spending):
            assert not re.search(r"\b(4(\.00|00)|5(\.00|00)|9(\.00|00))\b", told.text.replace(item_of(sim).e164, ""))


async def test_what_krosai_shows_of_another_organization_is_refused_in_plain_words(each_sim: Simulator) -> None:
    theirs = {number.e164 for number in other_of(each_sim).owned.values()}
    each_sim.faults.switch_on("other_organization", times=None)
    async with open_tenants(each_sim) as web, web.talk("one") as a:
        told = [
            await a.call("list_phone_numbers"),
            await a.call("list_endpoints"),
            await a.call("get_phone_number", number_id=next(iter(each_sim.owned))),
            await a.call("release_phone_number", number_id=next(iter(each_sim.owned))),
            await a.buy(item_of(each_sim)),
        ]
        assert {each.outcome for each in told} == {"OTHER_ORGANIZATION"}
        assert all("another organization" in each.text and each["charged"] == "no" for each in told)
        spending = await a.call("get_spending")
        assert (spending["monthly_run_rate_cents"], spending["run_rate_complete"]) == (None, False)
        assert not any(e164 in each.text for each in [*told, spending] for e164 in theirs)
    assert wrote(each_sim) == []


async def test_an_organization_that_krosai_does_not_know_spends_nothing(sim: Simulator) -> None:
    async with open_tenants(sim) as web, web.talk("org_nobodys") as nobody:
        for told in (await nobody.call("list_phone_numbers"), await nobody.buy(item_of(sim))):
            assert told.failed
            assert told["charged"] == "no"
    assert wrote(sim) == []


async def test_a_probe_tells_no_organization_what_the_service_asks_for_itself(sim: Simulator) -> None:
    async with (
        open_tenants(sim) as web,
        web.client(authorization="Bearer one") as own,
        web.client(authorization="Bearer other") as other,
    ):
        assert "krosai" in (await own.get("/readyz")).json()
        assert "krosai" not in (await other.get("/readyz")).json()


async def test_gauges_are_of_all_organizations_together_under_the_services_own_name(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label for each would be as many as callers name, and stay when one is closed."""
    shown: list[telemetry.GaugeValues] = []
    monkeypatch.setattr(telemetry, "is_counting", lambda: True)
    monkeypatch.setattr(telemetry, "set_gauges", shown.append)
    monkeypatch.setattr(gauges, "LOOK_EVERY_SECONDS", 0.0)
    async with open_tenants(sim) as web, web.talk("one") as a, web.talk("other") as b:
        await bought(b)
        await a.buy(item_of(sim))
        await b.buy(item_of(sim))
        with anyio.fail_after(20):
            while not shown or shown[-1].waiting < 2:
                await anyio.lowlevel.checkpoint()
        own = web.service.runtime.account
    assert {values.account for values in shown} == {own.id[:8]}
    assert shown[-1].budget_left_cents == 2 * own.settings.daily_budget_cents - other_of(sim).charges[0].cents


async def test_a_notice_says_of_which_organization_it_is(sim: Simulator, each_journal: Journal) -> None:
    async with (
        open_receiver() as receiver,
        open_tenants(sim, each_journal, **receiver.settings) as web,
        web.talk("one") as a,
        web.talk("other") as b,
    ):
        ids = [(await bought(each))["operation_id"] for each in (a, b)]
        await receiver.until(lambda here: len(here.taken) == 2)
    told = {each.json["data"]["operation_id"]: each.json["data"]["organization"] for each in receiver.taken}
    assert told == dict(zip(ids, (sim.organization_id, other_of(sim).organization_id), strict=True))


async def test_what_is_looked_after_in_the_background_is_no_callers_request(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens an organization is not who all later work for it is done, logged and counted for."""
    seen: list[tuple[object, ...]] = []

    async def recover(account: Account) -> tuple[Operation, ...]:
        seen.append((account.id, authenticated(), telemetry.current_request.get(), current_stream.get()))
        return ()

    monkeypatch.setattr(recovery, "recover", recover)
    async with open_tenants(sim) as web, web.talk("other") as b:
        await b.call("list_endpoints")
        theirs = runtime_of(web, sim).account.id
        with anyio.fail_after(20):
            while not [each for each in seen if theirs in each]:
                await anyio.lowlevel.checkpoint()
    assert {each for each in seen if theirs in each} == {(theirs, None, None, None)}


async def test_organizations_are_closed_when_nobody_asks_and_opened_again(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, each_journal: Journal
) -> None:
    monkeypatch.setattr(organizations, "LOOK_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(organizations, "IDLE_SECONDS", 0.1)
    async with open_tenants(sim, each_journal) as web, web.talk("other") as b:
        done = await bought(b)
        others = web.service.runtime.others
        assert others is not None
        with anyio.fail_after(20):
            while others.accounts:
                await anyio.lowlevel.checkpoint()
        again = await b.call("get_operation", operation_id=done["operation_id"])
        assert again.outcome == "done"
        assert len(others.accounts) == 1


async def test_as_many_are_open_as_may_be_and_nobody_else_is_served_meanwhile(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizations, "MOST_OPEN", 1)
    async with open_tenants(sim) as web, web.talk("other") as b:
        await b.call("list_endpoints")
        async with web.client(authorization="Bearer org_third", **ACCEPT) as third:
            refused = await third.post("/mcp", json=opening())
        assert refused.status_code == 503
        assert "nothing was done" in refused.text
        assert other_of(sim).organization_id not in refused.text
        monkeypatch.setattr(organizations, "IDLE_SECONDS", 0.0)
        async with web.client(authorization="Bearer org_third", **ACCEPT) as third:
            with anyio.fail_after(20):
                while (await third.post("/mcp", json=opening())).status_code != 200:
                    await anyio.lowlevel.checkpoint()


async def test_a_caller_of_an_organization_is_nobody_where_there_is_one_alone(sim: Simulator) -> None:
    """A verifier that is wrong lets nobody act for the service's own."""
    async with (
        open_tenants(sim, organization_id=None) as web,
        web.client(authorization="Bearer other", **ACCEPT) as other,
    ):
        assert (await other.post("/mcp", json=opening())).status_code == 500
    assert sim.requests == []


def only(operations: Any) -> Any:
    [one] = operations
    return one


async def test_the_journal_keeps_each_under_an_account_of_its_own(sim: Simulator, each_journal: Journal) -> None:
    async with open_tenants(sim, each_journal) as web, web.talk("one") as a, web.talk("other") as b:
        for talk in (a, b):
            await bought(talk)
        accounts = {web.service.runtime.account.id, runtime_of(web, sim).account.id}
        assert len(accounts) == 2
        assert await each_journal.accounts() == dict.fromkeys(accounts, 1)
        named = only(await each_journal.organizations())
        assert (named.organization, named.issuer) == (other_of(sim).organization_id, "tokens")
        own = Filter(account=web.service.runtime.account.id)
        assert only(await each_journal.list_operations(own)).e164 == sim.charges[0].e164
