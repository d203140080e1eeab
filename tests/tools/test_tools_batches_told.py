"""What a batch says of numbers that are done by half, or that KrosAI does not show yet: what a single act says."""

import pytest

from kros_mcp.numbering import spoken
from kros_mcp.operations.journal import Journal
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.talk import Talk, Told, open_talk
from tests.support.unstated import leave_out_routes
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


async def agreed(talk: Talk, tool: str, **arguments: object) -> Told:
    asked = await talk.call(tool, **arguments)
    return await talk.call(tool, **arguments, confirmation_code=asked["confirmation_code"])


async def two_routed(sim: Simulator, journal: Journal) -> list[SimNumber]:
    """Let the account own two numbers whose calls go to an endpoint."""
    item, endpoint_id = item_of(sim), next(iter(sim.endpoints))
    async with open_talk(sim, journal=journal) as talk:
        where = {"e164": item.e164, "country": item.country, "type": item.type, "endpoint_id": endpoint_id}
        await agreed(talk, "buy_phone_number", **where)
    return [number for number in sim.owned.values() if number.status == "active"]


async def test_of_none_it_is_said_that_it_is_changed_if_nothing_was_applied(
    reference: Simulator, journal: Journal
) -> None:
    numbers = await two_routed(reference, journal)
    first, second = (spoken(number.e164) for number in numbers)
    reference.faults.switch_on("keeps_endpoint", times=None)
    wish = {"number_id": ",".join(number.e164 for number in numbers), "endpoint_id": "unrouted"}
    async with open_talk(reference, journal=journal, protected_numbers=numbers[0].e164) as talk:
        told = await agreed(talk, "configure_phone_number", **wish)
    assert (told.outcome, told["changed"]) == ("done", "no")
    said = f"None of 2 numbers is changed as asked. Of {first} and {second}: KrosAI did not apply the endpoint."
    assert told["summary"] == said
    assert told["next_step"] == "Tell the person what was not applied."


async def test_only_those_are_called_changed_to_which_all_was_applied(reference: Simulator, journal: Journal) -> None:
    numbers = await two_routed(reference, journal)
    _, second = (spoken(number.e164) for number in numbers)
    numbers[0].endpoint_id = None
    reference.faults.switch_on("keeps_endpoint", times=None)
    wish = {"number_id": ",".join(number.e164 for number in numbers), "endpoint_id": "unrouted"}
    async with open_talk(reference, journal=journal, protected_numbers=numbers[0].e164) as talk:
        told = await agreed(talk, "configure_phone_number", **wish)
    said = f"1 of 2 numbers is changed as asked: calls go nowhere. Of {second}: KrosAI did not apply the endpoint."
    assert told["summary"] == said


async def test_of_none_it_is_certain_that_it_is_changed_if_krosai_does_not_state_it(
    reference: Simulator, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = await two_routed(reference, journal)
    leave_out_routes(monkeypatch)
    wish = {"number_id": ",".join(number.e164 for number in numbers), "endpoint_id": "unrouted"}
    async with open_talk(reference, journal=journal, protected_numbers=numbers[0].e164) as talk:
        told = await agreed(talk, "configure_phone_number", **wish)
    assert told["changed"] == "unknown"
    assert told["summary"].startswith("None of 2 numbers is certainly changed as asked. Of ")
    assert " KrosAI does not state where its calls go, so " in told["summary"]
    assert [number.endpoint_id for number in numbers] == [None, None]


async def test_bought_numbers_that_are_not_listed_yet_are_named(reference: Simulator, journal: Journal) -> None:
    items = [item_of(reference, nth=nth) for nth in range(3)]
    reference.faults.switch_on("never_listed", times=2)
    async with open_talk(reference, journal=journal) as talk:
        await talk.call("search_phone_numbers", country="NG", type="local", limit=100)
        told = await agreed(
            talk,
            "buy_phone_number",
            inventory_id=",".join(item.id for item in items),
            endpoint_id=next(iter(reference.endpoints)),
        )
    which = f"{spoken(items[0].e164)} and {spoken(items[1].e164)}"
    assert told.outcome == "done"
    assert f" KrosAI does not list {which} among the owned numbers yet." in told["summary"]
    assert f" The settings of {which} are still being applied." in told["summary"]
