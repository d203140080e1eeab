"""Two callers of one service: neither sees, confirms nor learns of what the other asked for."""

import re
from collections.abc import AsyncIterator

import pytest

from kros_mcp.http.access import Access
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.journal import EVERYTHING, Journal
from kros_mcp.operations.model import Limits
from kros_mcp.simulator import Simulator
from kros_mcp.tools.specs import Scope
from tests.support.person import Person, accept
from tests.support.talk import Talk, Told
from tests.support.upstream import item_of, wrote
from tests.support.web import ACCEPT, Known, Web, access_for, modern, open_web, opening

pytestmark = pytest.mark.anyio
NOWHERE = "op_aaaaaaaaaaaaaaaa"


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    async with open_sqlite("sqlite://:memory:") as opened:
        yield opened


@pytest.fixture
async def web(journal: Journal) -> AsyncIterator[Web]:
    async with open_web(Simulator("reference"), access_for("a", "b"), journal=journal) as opened:
        yield opened


def blurred(result: Told, *names: str) -> str:
    """What was told, without the names that were given in the question."""
    text = f"{result.data} {result.text}"
    for name in names:
        text = text.replace(name, "…")
    return re.sub(r"op_[a-z2-7]{16}", "…", text)


@pytest.mark.promise(6)
@pytest.mark.parametrize("tool", ["get_operation", "cancel_operation"])
async def test_anothers_operation_looks_like_one_that_does_not_exist(web: Web, era: str, tool: str) -> None:
    async with web.talk("a", era) as a, web.talk("b", era) as b:
        asked = await a.buy(item_of(web.sim))
        theirs = await b.call(tool, operation_id=asked["operation_id"])
        nobodys = await b.call(tool, operation_id=NOWHERE)
        assert (theirs.outcome, blurred(theirs)) == ("OPERATION_NOT_FOUND", blurred(nobodys))
        assert (await a.call("get_operation", operation_id=asked["operation_id"])).outcome == "confirmation_required"


@pytest.mark.promise(6)
async def test_anothers_code_is_worth_nothing_and_costs_its_owner_no_try(web: Web, era: str) -> None:
    item = item_of(web.sim)
    async with web.talk("a", era) as a, web.talk("b", era) as b:
        asked = await a.buy(item)
        for _ in range(6):
            stolen = await b.buy(item, confirmation_code=asked["confirmation_code"])
            assert (stolen.outcome, stolen["charged"]) == ("NO_CODE_ISSUED", "no")
        own = await b.buy(item)
        assert own["operation_id"] != asked["operation_id"]
        assert own["confirmation_code"] != asked["confirmation_code"]
        wrong = await b.buy(item, confirmation_code=asked["confirmation_code"])
        assert wrong.outcome == "WRONG_CODE"
        assert wrote(web.sim) == []
        done = await a.buy(item, confirmation_code=asked["confirmation_code"])
        assert (done.outcome, done["charged"]) == ("done", "yes")
        late = await b.buy(item, confirmation_code=own["confirmation_code"])
        assert (late.failed, late["charged"]) == (True, "no")
    assert [charge.idempotency_key for charge in web.sim.charges] == [asked["operation_id"]]


@pytest.mark.promise(6)
async def test_a_prompt_of_one_caller_answered_by_another_spends_nothing(web: Web, journal: Journal) -> None:
    """The modern protocol hands a sealed state to the client; another caller who sends it gets nowhere."""
    item = item_of(web.sim)
    call = {
        "name": "buy_phone_number",
        "arguments": {"e164": item.e164, "country": item.country, "type": item.type},
    }
    async with web.client(authorization="Bearer a") as a, web.client(authorization="Bearer b") as b:
        question = (await a.post("/mcp", **modern("tools/call", call, elicits=True))).json()["result"]
        assert question["resultType"] == "input_required"
        [name] = question["inputRequests"]
        yes = {name: {"action": "accept", "content": {"decision": "buy"}}}
        answer = {**call, "inputResponses": yes, "requestState": question["requestState"]}
        stolen = (await b.post("/mcp", **modern("tools/call", answer, elicits=True))).json()
        assert stolen["result"]["structuredContent"]["code"] == "ANSWER_UNREADABLE"
        assert wrote(web.sim) == []
        assert {operation.principal for operation in await journal.list_operations(EVERYTHING, limit=9, after="")} == {
            "tokens|a"
        }
        done = (await a.post("/mcp", **modern("tools/call", answer, elicits=True))).json()["result"][
            "structuredContent"
        ]
        assert (done["status"], done["charged"]) == ("done", "yes")


@pytest.mark.promise(6)
async def test_a_session_is_of_the_caller_who_opened_it(web: Web) -> None:
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    async with (
        web.client(authorization="Bearer a", **ACCEPT) as a,
        web.client(authorization="Bearer b", **ACCEPT) as b,
    ):
        session = {"mcp-session-id": (await a.post("/mcp", json=opening())).headers["mcp-session-id"]}
        nobodys = {"mcp-session-id": "0" * 32}
        for method in ("POST", "GET", "DELETE"):
            body = {"json": listing} if method == "POST" else {}
            theirs = await b.request(method, "/mcp", headers=session, **body)
            absent = await b.request(method, "/mcp", headers=nobodys, **body)
            assert (theirs.status_code, theirs.text) == (absent.status_code, absent.text)
            assert theirs.status_code == (405 if method == "GET" else 404)  # nobody has a stream
        assert (await a.post("/mcp", json=listing, headers=session)).status_code == 200


async def test_what_comes_next_names_no_tool_that_the_caller_may_not_use(era: str) -> None:
    sim = Simulator("reference")
    known = Known(buyer=frozenset({Scope.READ, Scope.BUY}), router=frozenset({Scope.READ, Scope.BUY, Scope.CONFIGURE}))
    async with open_web(sim, Access(known, lambda _: Limits())) as web:
        steps = []
        for name in ("buyer", "router"):
            async with web.talk(name, era) as talk:
                done = await buy(talk)
                assert done.outcome == "done"
                assert done["next_step"] in done.text
                steps.append(done["next_step"])
                assert "release_phone_number" not in done.text
                assert ("configure_phone_number" in done.text) is (name == "router")
    assert steps == ["", "Offer to route its calls: configure_phone_number."]


async def test_each_caller_has_a_budget_of_its_own_beside_everybodys(journal: Journal, era: str) -> None:
    sim = Simulator("reference")
    access = access_for("a", "b", a=Limits(daily_budget_cents=700, allowed_countries=("NG",)))
    async with open_web(sim, access, journal=journal) as web:
        first, second = item_of(sim), item_of(sim, nth=1)
        async with web.talk("a", era) as a, web.talk("b", era) as b:
            assert (await buy(a)).outcome == "done"
            assert (await a.buy(second)).outcome == "OVER_OWN_DAILY_BUDGET"
            assert (await a.buy(item_of(sim, "GH"))).outcome == "COUNTRY_NOT_ALLOWED"
            told = await a.call("get_spending")
            assert (told["own"]["daily_budget_cents"], told["own"]["spent_24h_cents"]) == (700, 500)
            assert (told["allowed_countries"], told["daily_room_cents"]) == (["NG"], 200)
            assert (await buy(b)).outcome == "done"
            assert (await b.call("get_spending"))["spent_24h_cents"] == 1000
    assert [charge.e164 for charge in sim.charges] == [first.e164, second.e164]


async def test_two_prompts_at_once_each_reach_their_own_person(web: Web, era: str) -> None:
    mine, yours = Person(accept("buy")), Person(accept("do not buy"))
    async with web.talk("a", era, mine) as a, web.talk("b", era, yours) as b:
        bought = await a.buy(item_of(web.sim))
        declined = await b.buy(item_of(web.sim, nth=1))
    assert (bought.outcome, declined.outcome) == ("done", "declined")
    assert (len(mine.prompts), len(yours.prompts)) == (1, 1)
    assert [charge.e164 for charge in web.sim.charges] == [bought["quote"]["e164"]]


async def buy(talk: Talk) -> Told:
    """Buy the first number for sale, by code."""
    item = item_of(talk.sim)
    asked = await talk.buy(item)
    return await talk.buy(item, confirmation_code=asked["confirmation_code"])
