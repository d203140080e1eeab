"""What KrosAI's records may look like, and what a caller is told of them."""

from dataclasses import replace
from typing import Any

import pytest

from kros_mcp.simulator import InventoryItem, Simulator
from kros_mcp.simulator.records import SimNumber
from tests.support.talk import Talk, open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio

LONG_ID = 1293384261075731499  # beyond what a float holds exactly
SHORT_ID = 1234567


def owned(sim: Simulator) -> SimNumber:
    return next(iter(sim.owned.values()))


def unnumbered(sim: Simulator, **fields: Any) -> SimNumber:
    """An owned record that has no E.164 yet."""
    record = replace(owned(sim), id="pn_77", status="pending", **{"e164": None, **fields})
    sim.owned[record.id] = record
    return record


def renamed(records: dict[str, Any], old: str, new: str) -> None:
    """Give a record another id, where it stands."""
    every = [(new, replace(record, id=new)) if key == old else (key, record) for key, record in records.items()]
    records.clear()
    records.update(every)


async def test_a_record_without_a_number_is_named_and_hides_no_other(sim: Simulator, era: str) -> None:
    readable = len(sim.owned)
    unnumbered(sim)
    async with open_talk(sim, era) as talk:
        listed = await talk.call("list_phone_numbers", status="any")
        assert (len(listed["numbers"]), listed["unreadable"]) == (readable, 1)
        assert listed["warnings"] == ['One more record, "pn_77", could not be read.']
        number = owned(sim)
        shown = await talk.call("get_phone_number", number_id=number.e164)
        assert shown["number_id"] == number.id
        changed = await talk.call("configure_phone_number", number_id=number.e164, allow_outbound="off")
        assert changed.outcome == "done"
        asked = await talk.call("release_phone_number", number_id=number.e164)
        assert asked.outcome == "confirmation_required"


async def test_a_record_without_number_and_id_is_named_by_its_place(reference: Simulator) -> None:
    place = len(reference.owned) + 1
    unnumbered(reference).id = ""
    async with open_talk(reference) as talk:
        listed = await talk.call("list_phone_numbers")
    assert listed["warnings"] == [f"One more record, entry {place}, could not be read."]


async def test_no_number_is_called_not_owned_while_a_record_cannot_be_read(reference: Simulator) -> None:
    unnumbered(reference)
    async with open_talk(reference) as talk:
        told = await talk.call("get_phone_number", number_id="+2348035550000")
    assert told.outcome == "NUMBER_NOT_FOUND"


async def test_a_record_that_cannot_be_read_is_a_number_without_a_price(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        before = await talk.call("get_spending")
    unnumbered(reference)
    async with open_talk(reference) as talk:
        after = await talk.call("get_spending")
    assert after["unpriced_numbers"] == before["unpriced_numbers"] + 1


async def test_a_number_for_sale_that_cannot_be_read_hides_no_other(reference: Simulator) -> None:
    unreadable = item_of(reference)
    unreadable.e164 = ""
    async with open_talk(reference) as talk:
        found = await talk.call("search_phone_numbers", country="NG", type="local", limit=100)
    assert (found["read"], len(found["numbers"])) == (40, 39)
    assert unreadable.id not in found.text


@pytest.mark.parametrize("digits", [LONG_ID, SHORT_ID])
@pytest.mark.parametrize("kind", [str, int])
async def test_ids_of_digits_alone_are_taken_by_every_tool(sim: Simulator, digits: int, kind: type) -> None:
    number, endpoint, item = owned(sim), next(iter(sim.endpoints)), item_of(sim)
    for one in sim.owned.values():
        one.endpoint_id = None
    renamed(sim.owned, number.id, str(digits))
    renamed(sim.endpoints, endpoint, str(digits + 1))
    renamed(sim.inventory, item.id, str(digits + 2))
    async with open_talk(sim) as talk:
        assert str(digits) in {one["number_id"] for one in (await talk.call("list_phone_numbers"))["numbers"]}
        shown = await talk.call("get_phone_number", number_id=kind(digits))
        assert (shown["number_id"], shown["e164"]) == (str(digits), number.e164)
        changed = await talk.call("configure_phone_number", number_id=kind(digits), endpoint_id=kind(digits + 1))
        assert changed.outcome == "done"
        asked = await talk.call("buy_phone_number", inventory_id=kind(digits + 2), country="NG")
        bought = await talk.call(
            "buy_phone_number", inventory_id=kind(digits + 2), confirmation_code=asked["confirmation_code"]
        )
        assert (bought.outcome, bought["number"]["e164"]) == ("done", item.e164)
        asked = await talk.call("release_phone_number", number_id=kind(digits))
        released = await talk.call(
            "release_phone_number", number_id=kind(digits), confirmation_code=asked["confirmation_code"]
        )
        assert released.outcome == "done"
    assert sim.owned.get(str(digits)) is None or sim.owned[str(digits)].status == "inactive"


async def test_digits_that_are_no_id_are_told_of_the_plus_sign(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        told = await talk.call("release_phone_number", number_id=owned(reference).e164.removeprefix("+"))
    assert told.outcome == "NUMBER_NOT_OWNED"
    assert "plus sign" in told["message"]
    assert wrote(reference) == []


def twice_for_sale(sim: Simulator) -> tuple[InventoryItem, InventoryItem]:
    """One number for sale under two ids, the second dearer."""
    cheap = item_of(sim)
    dear = replace(cheap, id="inv_dear", monthly_cost_cents=cheap.monthly_cost_cents + 400)
    sim.inventory[dear.id] = dear
    return cheap, dear


@pytest.mark.parametrize("which", [0, 1])
async def test_the_item_that_was_asked_for_is_bought_at_its_price(sim: Simulator, which: int) -> None:
    wanted = twice_for_sale(sim)[which]
    async with open_talk(sim) as talk:
        await talk.call("search_phone_numbers", country="NG", type="local", limit=100)
        asked = await talk.call("buy_phone_number", inventory_id=wanted.id)
        assert asked["quote"]["monthly_cents"] == wanted.monthly_cost_cents
        done = await talk.call("buy_phone_number", inventory_id=wanted.id, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert [charge.cents for charge in sim.charges] == [wanted.monthly_cost_cents + wanted.setup_cost_cents]


def give_new_ids(sim: Simulator) -> None:
    every = [replace(item, id=sim.ids.make("inv")) for item in sim.inventory.values()]
    sim.inventory.clear()
    sim.inventory.update({item.id: item for item in every})


@pytest.mark.parametrize("which", [0, 1])
async def test_ids_that_change_from_search_to_search_lead_to_the_number_at_the_price_that_was_shown(
    sim: Simulator, which: int
) -> None:
    wanted = twice_for_sale(sim)[which]
    async with open_talk(sim) as talk:
        await talk.call("search_phone_numbers", country="NG", type="local", limit=100)
        give_new_ids(sim)
        asked = await talk.call("buy_phone_number", inventory_id=wanted.id)
        assert (asked["quote"]["e164"], asked["quote"]["monthly_cents"]) == (wanted.e164, wanted.monthly_cost_cents)
        give_new_ids(sim)
        done = await talk.call("buy_phone_number", inventory_id=wanted.id, confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    assert [charge.cents for charge in sim.charges] == [wanted.monthly_cost_cents + wanted.setup_cost_cents]


async def test_a_search_where_krosai_sells_nothing_says_so(sim: Simulator) -> None:
    sim.faults.switch_on("refuse", on=["search"], status=404, times=None)
    async with open_talk(sim) as talk:
        told = await talk.call("search_phone_numbers", country="FR", type="toll_free")
    assert told.outcome == "NOT_SERVED"
    assert "toll-free numbers in France" in told["message"]
    assert "id" not in told["next_step"].split()


@pytest.mark.parametrize(("retry_after", "words"), [("120", "2 minutes"), ("3600", "an hour"), ("61", "61 seconds")])
async def test_how_long_krosai_wants_to_be_left_alone_is_said(sim: Simulator, retry_after: str, words: str) -> None:
    sim.faults.switch_on("rate_limited", on=["list_owned"], times=None, retry_after=retry_after)
    async with open_talk(sim) as talk:
        told = await talk.call("list_phone_numbers")
    assert told["next_step"] == "Tell the person, and try again after that."
    assert words in told["message"]
    assert len(sim.requests) == 1


async def test_a_number_is_routed_where_no_single_endpoint_is_served(sim: Simulator) -> None:
    sim.faults.switch_on("refuse", on=["get_endpoint"], status=404, times=None)
    number, endpoint = owned(sim), list(sim.endpoints)[-1]

    async def route(talk: Talk, endpoint_id: str) -> str:
        told = await talk.call("configure_phone_number", number_id=number.id, endpoint_id=endpoint_id)
        return told.outcome

    async with open_talk(sim) as talk:
        assert await route(talk, endpoint) == "done"
        assert await route(talk, "ep_none") == "ENDPOINT_NOT_FOUND"
    assert sim.owned[number.id].endpoint_id == endpoint


@pytest.mark.parametrize("status", ["Ported Out", "released", "CANCELLED", "expired", "failed"])
async def test_a_number_that_has_ended_costs_nothing_any_more(reference: Simulator, status: str) -> None:
    async with open_talk(reference) as talk:
        before = await talk.call("get_spending")
    number = owned(reference)
    number.status = status
    async with open_talk(reference) as talk:
        after = await talk.call("get_spending")
    assert after["monthly_run_rate_cents"] == before["monthly_run_rate_cents"] - number.monthly_cost_cents
