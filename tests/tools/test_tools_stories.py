"""The same story on both profiles, and what is told when something else fails."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations import moves
from kros_mcp.operations.model import Operation, Settlement, State
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.simulator import Simulator, read_shapes
from tests.support.clock import Clock
from tests.support.person import Person, accept
from tests.support.talk import Talk, Told, open_talk, settings_for, told
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

PROFILES_DIFFER: dict[str, set[str]] = {
    # The guide states how many there are in all; the reference answers with a bare list.
    "total": {"search_phone_numbers", "list_endpoints"},
    # The guide calls every endpoint that is no webhook an agent.
    "type": {"list_endpoints"},
    # The reference adds an address to the SIP credentials.
    "sip_fields": {"get_phone_number"},
    # The reference keeps a released number's record, inactive; on the guide it is gone.
    "number": {"release_phone_number"},
}


def plain(results: list[tuple[str, Told]], ids: dict[str, str], differ: dict[str, set[str]]) -> list[Any]:
    """What was told, with ids and times made equal and without what the profiles state differently."""

    def same(value: Any, tool: str) -> Any:
        if isinstance(value, dict):
            return {name: same(one, tool) for name, one in value.items() if tool not in differ.get(name, set())}
        if isinstance(value, list):
            return [same(one, tool) for one in value]
        if isinstance(value, str):
            for own, common in ids.items():
                value = value.replace(own, common)
            value = re.sub(r"op_[a-z2-7]{16}", "op", value)
            value = re.sub(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b", "code", value)
            value = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "time", value)
            for word, usual in STATUSES.items():
                value = re.sub(rf'"?\b{word}\b"?', usual, value)
            return re.sub(r" \(id ….{1,4}\)", " (its id)", value)
        return value

    return [(tool, result.failed, same(result.data, tool)) for tool, result in results]


SHAPES = Path(__file__).parent.parent / "shapes"
DIALECTS: dict[str, dict[str, set[str]]] = {
    # It states how many are for sale, so that it is known when all were read.
    "camel": {"complete": {"search_phone_numbers"}, "summary": {"search_phone_numbers"}},
    # Its list states prices, and it does not heed `type`, so that more is read and a search begins anew further on.
    "digits": {
        "monthly_cents": {"list_phone_numbers"},
        **{name: {"search_phone_numbers"} for name in ("next_offset", "read", "complete", "summary")},
    },
    "envelope": {},
}
"""The invented dialects of tests/shapes, with what they state otherwise than the reference."""
STATUSES = {"in_service": "active", "in service": "active"}
"""What a dialect calls what the reference calls active, and how such a word is spoken of."""


def in_dialect(dialect: str) -> Simulator:
    return Simulator(shapes=read_shapes(SHAPES / f"{dialect}.json"))


async def story(sim: Simulator, era: str, dialect: str = "camel") -> list[Any]:
    for ended in [number.id for number in sim.owned.values() if number.status != "active"]:
        del sim.owned[ended]  # the profiles begin with different ones
    for number in sim.owned.values():
        number.allow_outbound = False  # what a number begins with is INVENTED, and differs
    told_so_far: list[tuple[str, Told]] = []

    async with open_talk(sim, era, currency="USD") as talk:

        async def call(name: str, **arguments: Any) -> Told:
            told_so_far.append((name, await talk.call(name, **arguments)))
            return told_so_far[-1][1]

        async def agreed(name: str, **arguments: Any) -> Told:
            asked = await call(name, **arguments)
            return await call(name, **arguments, confirmation_code=asked["confirmation_code"])

        await call("list_phone_numbers")
        found = await call("search_phone_numbers", country="KE", type="mobile", limit=2)
        endpoints = await call("list_endpoints")
        support, orders, _ = [one["endpoint_id"] for one in endpoints["endpoints"]]
        wanted = found["numbers"][1]
        settings = {"endpoint_id": orders, "allow_outbound": False}
        bought = await agreed("buy_phone_number", inventory_id=wanted["inventory_id"], **settings)
        await call("buy_phone_number", inventory_id=wanted["inventory_id"], **settings)
        await call("get_operation", operation_id=bought["operation_id"])
        await call("get_phone_number", number_id=wanted["e164"])
        await call("get_spending")
        await call("configure_phone_number", number_id=wanted["e164"], endpoint_id=support, allow_outbound="on")
        await call("configure_phone_number", number_id=wanted["e164"], endpoint_id="ep_none")
        await agreed("release_phone_number", number_id=bought["number"]["number_id"])
        await call("get_operation", operation_id="op_none")
        await call("search_phone_numbers", country="UK")
    names = [*sim.inventory, *sim.endpoints, *sim.owned, wanted["inventory_id"], bought["number"]["number_id"]]
    places = {name: f"id {place}" for place, name in enumerate([support, orders, wanted["inventory_id"]])}
    places |= {bought["number"]["number_id"]: "the number bought"}
    for name in names:
        places.setdefault(name, "an id")
    return plain(told_so_far, places, PROFILES_DIFFER | DIALECTS[dialect])


async def test_both_profiles_tell_the_same_story(reference: Simulator, guide: Simulator, era: str) -> None:
    told_by_reference, told_by_guide = await story(reference, era), await story(guide, era)
    for one, other in zip(told_by_reference, told_by_guide, strict=True):
        assert one == other
    assert len(reference.charges) == len(guide.charges) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_dialect_that_was_seen_tells_the_same_story(reference: Simulator, dialect: str) -> None:
    """Invented, unlike both documents; each could be what a user's probe has seen."""
    seen = in_dialect(dialect)
    told_by_reference, told_by_dialect = await story(reference, "auto", dialect), await story(seen, "auto", dialect)
    for one, other in zip(told_by_reference, told_by_dialect, strict=True):
        assert one == other
    assert [charge.cents for charge in seen.charges] == [charge.cents for charge in reference.charges]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_in_a_dialect_a_lost_reply_is_found_out_and_buys_no_second_number(dialect: str) -> None:
    sim = in_dialect(dialect)
    item = item_of(sim)
    sim.faults.switch_on("lost_reply", on=["purchase"])
    async with open_talk(sim) as talk:
        asked = await talk.buy(item)
        bought = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
        again = await talk.buy(item)
    assert (bought.outcome, looked.outcome, again.outcome) == ("done", "done", "done")
    assert len(sim.charges) == 1


Arrange = Callable[[Simulator], None]


def no_credit(sim: Simulator) -> None:
    sim.balance_cents = 100


def no_kyc(sim: Simulator) -> None:
    sim.kyc = "pending"


def stolen(sim: Simulator) -> None:
    sim.faults.switch_on("stolen_number")


@pytest.mark.parametrize(
    ("arrange", "code"),
    [(no_credit, "INSUFFICIENT_BALANCE"), (no_kyc, "KYC_PENDING"), (stolen, "NUMBER_NOT_AVAILABLE")],
)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_in_a_dialect_a_refusal_has_its_code(dialect: str, arrange: Arrange, code: str) -> None:
    sim = in_dialect(dialect)
    item = item_of(sim)
    async with open_talk(sim) as talk:
        asked = await talk.buy(item)
        arrange(sim)
        refused = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert (refused.failed, refused.outcome, refused["charged"]) == (True, code, "no")
    assert sim.charges == []


@pytest.mark.parametrize(
    ("arrange", "code"),
    [(no_credit, "INSUFFICIENT_BALANCE"), (no_kyc, "KYC_PENDING"), (stolen, "NUMBER_NOT_AVAILABLE")],
)
async def test_what_krosai_refuses_is_told_with_a_next_step(
    sim: Simulator, era: str, arrange: Arrange, code: str
) -> None:
    item = item_of(sim)
    async with open_talk(sim, era) as talk:
        asked = await talk.buy(item)
        arrange(sim)
        refused = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        again = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        looked = await talk.call("get_operation", operation_id=asked["operation_id"])
    assert (refused.failed, refused.outcome, refused["charged"]) == (True, code, "no")
    assert refused["operation_id"] == asked["operation_id"]
    assert refused["next_step"]
    assert again.data == refused.data
    assert (looked.outcome, looked["charged"]) == ("failed", "no")
    assert sim.charges == []


async def test_a_yes_that_could_not_be_carried_out_yet_keeps_its_code(reference: Simulator, era: str) -> None:
    """KrosAI's list of numbers, which the cap on monthly cost needs, refuses the key for a while."""
    item = item_of(reference)
    async with open_talk(reference, era, monthly_commitment_cents=100_000) as talk:
        asked = await talk.buy(item)
        reference.faults.switch_on("refuse", times=None, on=["list_owned"], status=403, code="FORBIDDEN")
        failed = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        assert (failed.failed, failed["charged"], failed["operation_id"]) == (True, "no", asked["operation_id"])
        assert wrote(reference) == []
        reference.faults.clear()
        done = await talk.buy(item, confirmation_code=asked["confirmation_code"])
    assert (done.outcome, done["operation_id"]) == ("done", asked["operation_id"])
    assert len(reference.charges) == 1


async def test_a_cap_is_told_with_its_setting(reference: Simulator, era: str) -> None:
    person = Person(accept("buy"))
    async with open_talk(reference, era, person, daily_budget_cents=900) as talk:
        assert (await talk.buy(item_of(reference))).outcome == "done"
        refused = await talk.buy(item_of(reference, nth=1))
    assert refused.outcome == "OVER_DAILY_BUDGET"
    assert "(KROS_DAILY_BUDGET_CENTS)" in refused["next_step"]
    assert len(person.prompts) == len(reference.charges) == 1


async def test_a_principals_own_limits_are_shown_beside_everybodys(reference: Simulator, era: str) -> None:
    owned = {"principal_daily_budget_cents": 900, "principal_monthly_commitment_cents": 500}
    async with open_talk(reference, era, Person(accept("buy")), **owned) as talk:
        assert (await talk.buy(item_of(reference))).outcome == "done"
        spending = await talk.call("get_spending")
        refused = await talk.buy(item_of(reference, nth=1))
    assert spending["own"] == {
        "daily_budget_cents": 900,
        "spent_24h_cents": 500,
        "monthly_commitment_cents": 500,
        "monthly_run_rate_cents": 500,
    }
    assert (spending["daily_room_cents"], spending["daily_budget_cents"]) == (400, 20_000)
    assert refused.outcome == "OVER_OWN_DAILY_BUDGET"
    async with open_talk(reference, era, Person()) as talk:
        assert (await talk.call("get_spending"))["own"] is None


async def test_a_read_only_server_reads_and_refuses_the_rest(reference: Simulator, era: str) -> None:
    number, person = next(iter(reference.owned.values())), Person()
    async with open_talk(reference, era, person, read_only=True) as talk:
        assert (await talk.call("get_spending"))["read_only"] is True
        for result in (
            await talk.buy(item_of(reference)),
            await talk.call("release_phone_number", number_id=number.id),
            await talk.call("configure_phone_number", number_id=number.id, allow_inbound="off"),
        ):
            assert (result.outcome, result["charged"], result["changed"]) == ("READ_ONLY", "no", "no")
    assert wrote(reference) == []


async def test_without_a_journal_nothing_is_bought_and_reading_goes_on(reference: Simulator, era: str) -> None:
    item = item_of(reference)
    async with open_sqlite("sqlite://:memory:") as journal:
        pass  # closed: from here on every use of it fails
    async with open_talk(reference, era, journal=journal) as talk:
        bought = await talk.buy(item)
        found = await talk.call("search_phone_numbers", country="NG")
        of_earlier = [
            await talk.buy(item, confirmation_code="AAAA-AAAA"),
            await talk.call("get_operation", operation_id="op_1"),
            await talk.call("cancel_operation", operation_id="op_1"),
        ]
    assert (bought.outcome, bought["charged"]) == ("JOURNAL_UNUSABLE", "no")
    assert not found.failed
    for result in of_earlier:  # something may have been done under them that only the journal knows of
        assert (result.outcome, result["charged"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert [result["operation_id"] for result in of_earlier] == [None, "op_1", "op_1"]
    assert wrote(reference) == []


async def test_a_purchase_that_is_no_longer_certain_is_said_to_have_been_called_bought(
    reference: Simulator, era: str
) -> None:
    item = item_of(reference)
    note = "KrosAI called it bought, and has ended its record since: whether it was charged is not known."

    def corrected(operation: Operation, now: float) -> Operation:
        return moves.correct(operation, now, Settlement(State.UNKNOWN, look_after=3_600), note=note)

    async with open_sqlite("sqlite://:memory:") as journal, open_talk(reference, era, journal=journal) as talk:
        asked = await talk.buy(item)
        bought = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        reference.owned.clear()
        await journal.change(bought["operation_id"], corrected)
        told = await talk.call("get_operation", operation_id=bought["operation_id"])

    assert (bought["status"], told["status"], told["charged"]) == ("done", "unknown", "unknown")
    assert "was called bought at first, and it is not known now whether it is" in told["summary"]
    assert note in told["summary"]
    assert "usable answer" not in told["summary"]


class Broken(httpx.AsyncBaseTransport):
    """Fails in a way that nobody foresaw, with a secret in its words."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise RuntimeError(f"canary {request.url}")


async def test_an_unforeseen_failure_is_a_result_without_its_words(reference: Simulator, era: str) -> None:
    server = build_server(settings_for(reference), lambda given: open_runtime(given, transport=Broken()))
    async with Client(server, mode=era) as client:
        talk = Talk(client, reference, server)
        read = await talk.call("list_phone_numbers")
        bought = await talk.buy(item_of(reference))
    assert (read.outcome, read["charged"]) == ("INTERNAL", "no")
    assert (bought.outcome, bought["charged"]) == ("INTERNAL", "unknown")
    for result in (read, bought):
        assert "canary" not in result.text
        assert "simulator.invalid" not in result.text


class StoppedClock(Clock):
    """A clock that can fail, in a way that nobody foresaw."""

    broken = False

    def __call__(self) -> float:
        if self.broken:
            raise RuntimeError("canary")
        return super().__call__()


async def test_an_unforeseen_failure_after_the_yes_names_the_operation(reference: Simulator) -> None:
    item, clock, person = item_of(reference), StoppedClock(), Person(accept("buy"))
    person.thinking = anyio.Event()
    async with (
        open_sqlite("sqlite://:memory:", clock=clock) as journal,
        open_talk(reference, "legacy", person, journal=journal) as talk,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.buy, item)
            await person.asked.wait()
            clock.broken = True
            person.thinking.set()
        [failed] = talk.results
        clock.broken = False
        looked = await talk.call("get_operation", operation_id=failed["operation_id"])
    assert (failed.outcome, failed["charged"], failed["changed"]) == ("INTERNAL", "unknown", "unknown")
    assert "canary" not in failed.text
    assert (looked.outcome, looked["charged"]) == ("confirmation_required", "no")
    assert reference.charges == []


@pytest.mark.parametrize("channel", ["prompt", "code"])
async def test_a_result_that_cannot_be_shown_is_not_called_unspent(
    reference: Simulator, era: str, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of this program in shaping the answer, after the number was bought."""
    item, person = item_of(reference), Person(accept("buy")) if channel == "prompt" else None
    async with open_talk(reference, era, person) as talk:
        code = "" if person else (await talk.buy(item))["confirmation_code"]
        with monkeypatch.context() as patched:
            patched.setattr("kros_mcp.tools.outcomes.status", lambda _: 1 / 0)
            failed = await talk.buy(item, confirmation_code=code)
            patched.setattr("kros_mcp.tools.outcomes.status", lambda _: "no status of ours")
            misshapen = await talk.buy(item)
        looked = await talk.call("get_operation", operation_id=failed["operation_id"])
    for result in (failed, misshapen):
        assert (result.outcome, result["charged"], result["changed"]) == ("INTERNAL", "unknown", "unknown")
    assert (looked.outcome, looked["charged"]) == ("done", "yes")
    assert len(reference.charges) == 1


@pytest.mark.promise(11)
async def test_sip_secrets_and_the_key_stay_out_of_every_result(era: str) -> None:
    sim = Simulator("guide", sip_password="canary-sip")  # noqa: S106 - looked for below
    number, item = next(iter(sim.owned.values())), item_of(sim)
    async with open_talk(sim, era) as talk:
        shown = await talk.call("get_phone_number", number_id=number.id)
        asked = await talk.buy(item)
        await talk.buy(item, confirmation_code=asked["confirmation_code"])
        await talk.call("configure_phone_number", number_id=number.id, allow_inbound="off")
        await talk.call("list_endpoints")
        await talk.call("get_operation", operation_id=asked["operation_id"])
        await talk.call("list_phone_numbers")
    assert "password" in shown["sip_fields"]
    for result in talk.results:
        for secret in ("canary-sip", sim.api_key, "whsec_"):
            assert secret not in result.text
            assert secret not in str(result.data)


async def test_a_page_says_where_to_read_on(sim: Simulator) -> None:
    async with open_talk(sim) as talk:
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await talk.call("search_phone_numbers", country="RW", limit=7, offset=offset)
            seen += [number["e164"] for number in page["numbers"]]
            offset = page["next_offset"]
        filtered = await talk.call("list_phone_numbers", status="inactive")
    assert len(seen) == len(set(seen)) == 40
    assert [number["status"] for number in filtered["numbers"]] == ["inactive"]


@pytest.mark.promise(4)
async def test_purchases_side_by_side_have_one_outcome(sim: Simulator, era: str) -> None:
    item = item_of(sim)
    async with open_talk(sim, era) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        results: list[Told] = []

        async def buy() -> None:
            arguments = {"e164": item.e164, "country": item.country, "type": item.type, "confirmation_code": code}
            results.append(told("buy_phone_number", await talk.client.call_tool("buy_phone_number", arguments)))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(buy)
    assert {result.outcome for result in results} == {"done"}
    assert len({result["operation_id"] for result in results}) == 1
    assert len(sim.charges) == 1
