"""The faults by which the simulated KrosAI behaves as other telephony APIs are reported to."""

from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from market import SEARCH, buy, first_item, listed

from kros_mcp.simulator import SimNumber, Simulator
from kros_mcp.simulator.faults import KIND_GROUPS, KINDS
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio
OWNED = "/phone-numbers"
ALL = {"limit": 100}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest, clock: Clock) -> Simulator:
    return Simulator(request.param, now=clock, honours_idempotency=False)


def active(sim: Simulator) -> SimNumber:
    return next(number for number in sim.owned.values() if number.status == "active")


def e164_of(record: dict[str, Any]) -> Any:
    return record.get("e164", record.get("number"))


def written(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    return body.get("phone_number", body)


async def owned(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return listed(await client.get(OWNED, params={**ALL, **query}))


async def search(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return listed(await client.get(OWNED, params={**SEARCH, **ALL, **query}))


@pytest.mark.parametrize("charges", [True, False])
async def test_an_owned_number_for_sale_is_sold_again_as_its_old_record(
    sim: Simulator, client: httpx.AsyncClient, *, charges: bool
) -> None:
    number = active(sim)
    sim.faults.switch_on("owned_for_sale", charges=charges)
    offer = (await search(client, offset=3))[0]
    assert e164_of(offer) == number.e164
    assert [each["id"] for each in await search(client) if e164_of(each) == number.e164] == [offer["id"]]
    answer = await client.post(OWNED, json={"inventory_id": offer["id"], "allow_inbound": False})
    assert (answer.status_code, written(answer)["id"], number.allow_inbound) == (201, number.id, True)
    assert [charge.e164 for charge in sim.charges] == [number.e164] * charges
    assert [each.id for each in sim.owned.values() if each.e164 == number.e164] == [number.id]


async def test_an_owned_number_is_for_sale_until_it_is_given_up(sim: Simulator, client: httpx.AsyncClient) -> None:
    number = active(sim)
    sim.faults.switch_on("owned_for_sale")
    offer = (await search(client))[0]
    await client.delete(f"{OWNED}/{number.id}", params={"action": "release"})
    refused = await client.post(OWNED, json={"inventory_id": offer["id"]})
    assert (refused.json()["code"], sim.charges) == ("NUMBER_NOT_AVAILABLE", [])


async def test_a_number_just_bought_stays_for_sale_for_a_while(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock
) -> None:
    sim.faults.switch_on("stays_for_sale", seconds=60)
    item = first_item(sim)
    before = [each["id"] for each in await search(client)]
    bought = written(await buy(client, item))
    assert [each["id"] for each in await search(client)] == before
    assert written(await buy(client, item))["id"] == bought["id"]
    assert [charge.e164 for charge in sim.charges] == [item.e164] * 2
    clock.now += 60
    assert [each["id"] for each in await search(client)] == before[1:]
    assert (await buy(client, item)).json()["code"] == "NUMBER_NOT_AVAILABLE"


async def test_a_purchase_goes_through_and_is_answered_429_and_its_repeat_not_available(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    sim.faults.switch_on("commits_then_429", retry_after="2")
    item = first_item(sim)
    answer, again = await buy(client, item), await buy(client, item)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert again.json()["code"] == "NUMBER_NOT_AVAILABLE"
    assert [charge.e164 for charge in sim.charges] == [item.e164]


@pytest.mark.parametrize(("status", "code"), [(404, "NUMBER_NOT_AVAILABLE"), (400, None), (409, None)])
async def test_a_purchase_goes_through_and_is_answered_by_a_refusal(
    sim: Simulator, client: httpx.AsyncClient, status: int, code: str | None
) -> None:
    sim.faults.switch_on("commits_then_refuses", status=status, code=code)
    answer = await buy(client, first_item(sim))
    assert (answer.status_code, answer.json().get("code"), len(sim.charges)) == (status, code, 1)


async def test_a_release_goes_through_and_is_answered_by_a_refusal(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("commits_then_refuses", on=["release"], code=None)
    number = active(sim)
    assert (await client.delete(f"{OWNED}/{number.id}", params={"action": "release"})).status_code == 404
    assert sim.owned.get(number.id, number).status == "inactive" or number.id not in sim.owned


@pytest.mark.parametrize("ends", ["active", "rejected", "cancelled", "failed", "never"])
@pytest.mark.parametrize("shown", [True, False], ids=["listed", "unlisted"])
async def test_a_pending_order_ends_later(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock, ends: str, *, shown: bool
) -> None:
    sim.faults.switch_on("pending_order", ends=ends, seconds=30, listed=shown)
    item = first_item(sim)
    answer = await buy(client, item)
    record = written(answer)
    assert (answer.status_code, e164_of(record), record["status"], sim.charges) == (202, item.e164, "pending", [])

    async def statuses() -> list[str]:
        return [each["status"] for each in await owned(client) if each["id"] == record["id"]]

    assert await statuses() == ["pending"] * shown
    assert (await client.get(f"{OWNED}/{record['id']}")).status_code == (200 if shown else 404)
    assert (await buy(client, item)).json()["code"] == "NUMBER_NOT_AVAILABLE"
    clock.now += 30
    expected = {"active": ["active"], "never": ["pending"] * shown}.get(ends, [ends] * shown)
    assert await statuses() == expected
    assert [charge.idempotency_key for charge in sim.charges] == [item.id] * (ends == "active")
    assert (item.id in sim.inventory) == (ends not in {"active", "never"})


async def test_a_pending_number_cannot_be_released_yet(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("pending_order", status_code=201)
    record = written(await buy(client, first_item(sim)))
    assert (await client.delete(f"{OWNED}/{record['id']}", params={"action": "release"})).status_code == 409


@pytest.mark.parametrize("commits", [False, True])
async def test_a_purchase_is_answered_with_a_record_that_has_ended(
    sim: Simulator, client: httpx.AsyncClient, *, commits: bool
) -> None:
    sim.faults.switch_on("ended_in_answer", status="cancelled", commits=commits)
    item = first_item(sim)
    answer = await buy(client, item)
    record = written(answer)
    assert (answer.status_code, e164_of(record), record["status"]) == (201, item.e164, "cancelled")
    assert (len(sim.charges), item.id in sim.inventory) == (commits, not commits)
    assert [each["status"] for each in await owned(client) if each["id"] == record["id"]] == ["active"] * commits


@pytest.mark.parametrize("commits", [False, True])
@pytest.mark.parametrize("body", [{"errors": ["Refused"]}, {"code": -404}, {"status": "failed"}])
async def test_a_success_is_an_error(
    sim: Simulator, client: httpx.AsyncClient, body: dict[str, object], *, commits: bool
) -> None:
    sim.faults.switch_on("error_in_success", body=body, commits=commits)
    answer = await buy(client, first_item(sim))
    assert (answer.status_code, answer.json(), len(sim.charges)) == (200, body, commits)


async def test_a_number_is_answered_under_the_id_of_another(sim: Simulator, client: httpx.AsyncClient) -> None:
    bought = written(await buy(client, first_item(sim)))
    sim.faults.switch_on("other_record")
    record = written(await client.get(f"{OWNED}/{bought['id']}"))
    assert (record["id"], e164_of(record)) == (active(sim).id, e164_of(bought))
    assert sim.owned[bought["id"]].e164 == e164_of(bought)


async def test_old_records_of_numbers_for_sale_stand_among_the_owned_ones(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    await search(client, limit=1)
    sim.faults.switch_on("old_records", numbers=6)
    shown = await search(client)
    records = [each for each in await owned(client) if e164_of(each) in {e164_of(offer) for offer in shown}]
    assert [e164_of(each) for each in records] == [e164_of(offer) for offer in shown[:6]]
    assert {each["status"] for each in records} == {
        "released",
        "deleted",
        "cancelled",
        "ported_out",
        "failed",
        "expired",
    }
    assert all(each["created_at"].startswith("2026") for each in records)
    sim.faults.switch_on("old_records", numbers=1, status="released", only_new=True)
    await search(client)
    assert sim.faults.counts["old_records"] == 1
    bought = written(await buy(client, first_item(sim)))
    assert bought["id"] not in {each["id"] for each in records}


async def test_a_number_comes_back_under_its_old_id(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("old_records", numbers=1)
    sim.faults.switch_on("old_id_again")
    other = list(sim.inventory.values())[1]
    await search(client)
    await buy(client, other)
    old = next(number for number in sim.owned.values() if number.e164 == first_item(sim).e164)
    bought = written(await buy(client, first_item(sim)))
    assert (bought["id"], sim.owned[old.id].status, len(sim.charges)) == (old.id, "active", 2)
    assert sim.faults.counts["old_id_again"] == 1


async def test_offers_state_a_total_and_no_other_price(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("total_only")
    offer = (await search(client))[0]
    assert {name: value for name, value in offer.items() if "cost" in name} == {"total_cost_cents": 0}
    await buy(client, first_item(sim))
    assert sim.charges[0].cents == 500


@pytest.mark.parametrize("country", ["UK", "EU", None])
async def test_records_state_an_odd_country_or_none(
    sim: Simulator, client: httpx.AsyncClient, country: str | None
) -> None:
    sim.faults.switch_on("odd_country", times=3, country=country)
    single = written(await client.get(f"{OWNED}/{active(sim).id}"))
    for record in (*await owned(client), *await search(client), single):
        assert record.get("country", "left out") == (country or "left out")


async def test_records_state_a_currency(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("states_currency", times=2)
    assert {each["currency"] for each in (*await owned(client), *await search(client))} == {"NGN"}


async def test_the_owned_list_ends_with_a_record_without_a_number(sim: Simulator, client: httpx.AsyncClient) -> None:
    before = await owned(client)
    sim.faults.switch_on("unready_record", times=2)
    first, second = await owned(client), await owned(client)
    assert (first[:-1], first[-1]["status"], e164_of(first[-1])) == (before, "pending", None)
    assert second == first
    assert first[-1]["id"] not in sim.owned


@pytest.mark.parametrize("integers", [False, True])
async def test_ids_are_digits_only(sim: Simulator, client: httpx.AsyncClient, *, integers: bool) -> None:
    sim.faults.switch_on("digit_ids", times=3, integers=integers)
    offers, same = await search(client), await search(client)
    assert [each["id"] for each in offers] == [each["id"] for each in same]
    offer = offers[2]
    record = written(await client.post(OWNED, json={"inventory_id": offer["id"]}))
    assert [charge.e164 for charge in sim.charges] == [e164_of(offer)]
    for made in (offer["id"], record["id"]):
        assert isinstance(made, int if integers else str)
        assert int(made) > 2**53
    again = written(await client.get(f"{OWNED}/{record['id']}"))
    assert (again["id"], str(again["id"]) in sim.owned) == (record["id"], True)


async def test_a_record_is_gone_between_two_pages(sim: Simulator, client: httpx.AsyncClient) -> None:
    for item in list(sim.inventory.values())[:4]:
        await buy(client, item)
    sim.faults.switch_on("shifting_pages")
    whole = await owned(client)
    pages = [*await owned(client, limit=3), *await owned(client, limit=3, offset=3)]
    assert [each["id"] for each in pages] == [each["id"] for each in (*whole[:3], *whole[4:7])]
    assert sim.faults.counts["shifting_pages"] == 1


async def test_a_number_stands_twice_for_sale_at_two_prices(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("twice_for_sale", numbers=2, cents=150)
    first, dearer, *_ = await search(client)
    assert [each["id"] for each in await search(client)][:2] == [first["id"], dearer["id"]]
    assert e164_of(first) == e164_of(dearer)
    assert dearer["monthly_cost_cents"] == first["monthly_cost_cents"] + 150
    await client.post(OWNED, json={"inventory_id": dearer["id"]})
    assert [(charge.e164, charge.cents) for charge in sim.charges] == [(e164_of(first), 650)]
    assert not {first["id"], dearer["id"]} & {each["id"] for each in await search(client)}


async def test_inventory_ids_change_from_search_to_search(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("changing_ids", times=2)
    first, second = await search(client), await search(client)
    assert [e164_of(each) for each in first] == [e164_of(each) for each in second]
    assert not {each["id"] for each in first} & {each["id"] for each in second}
    for offer in (first[0], second[1]):
        assert (await client.post(OWNED, json={"inventory_id": offer["id"]})).status_code == 201
    assert [charge.e164 for charge in sim.charges] == [e164_of(each) for each in first[:2]]


async def test_a_list_is_empty_and_carries_errors(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("errors_in_list", times=3)
    for answer in (
        await client.get(OWNED, params=SEARCH),
        await client.get(OWNED),
        await client.get("/endpoints"),
    ):
        assert (answer.status_code, listed(answer), len(answer.json()["errors"])) == (200, [], 1)


async def test_a_search_is_not_served(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("not_served")
    answer = await client.get(OWNED, params=SEARCH)
    assert (answer.status_code, "code" in answer.json()) == (404, False)


@pytest.mark.parametrize("seconds", [None, 60])
async def test_a_number_bought_is_not_listed(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock, seconds: float | None
) -> None:
    sim.faults.switch_on("never_listed", seconds=seconds)
    record = written(await buy(client, first_item(sim)))
    assert (record["status"], len(sim.charges)) == ("active", 1)

    async def is_shown() -> bool:
        found = (await client.get(f"{OWNED}/{record['id']}")).status_code == 200
        assert found == (record["id"] in {each["id"] for each in await owned(client)})
        return found

    assert not await is_shown()
    clock.now += 60
    assert await is_shown() == (seconds is not None)


async def test_a_change_shows_late_and_not_over_a_newer_one(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock
) -> None:
    number = active(sim)
    path = f"{OWNED}/{number.id}"
    sim.faults.switch_on("late_change", seconds=3)
    answer = await client.patch(path, json={"allow_inbound": False})
    assert (answer.status_code, written(answer)["allow_inbound"]) == (200, True)
    assert written(await client.get(path))["allow_inbound"] is True
    clock.now += 3
    assert written(await client.get(path))["allow_inbound"] is False
    sim.faults.switch_on("late_change", seconds=3)
    await client.patch(path, json={"allow_inbound": True, "endpoint_id": None})
    await client.patch(path, json={"endpoint_id": list(sim.endpoints)[1]})
    clock.now += 3
    assert written(await client.get(path))["endpoint_id"] == list(sim.endpoints)[1]
    assert number.allow_inbound is True


@pytest.mark.parametrize(("fault", "status"), [("unavailable", 503), ("rate_limited", 429)])
async def test_an_answer_asks_to_wait_by_header_body_and_a_clock_of_its_own(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock, fault: str, status: int
) -> None:
    sim.faults.switch_on(fault, retry_after="soon", in_body="120", clock_seconds=-3600)
    answer = await buy(client, first_item(sim))
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["retry_after"]) == (status, "soon", 120)
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == clock.now - 3600
    sim.faults.switch_on(fault, retry_after="120", in_body="")
    answer = await client.get("/endpoints")
    assert (answer.headers["Retry-After"], "retry_after" in answer.json()) == ("120", False)
    sim.faults.switch_on(fault, retry_after=None)
    answer = await client.get("/endpoints")
    assert ("Retry-After" in answer.headers, "retry_after" in answer.json()) == (False, False)
    assert sim.charges == []


async def test_every_answer_tells_the_time_of_the_simulator_once(sim: Simulator, wired: httpx.AsyncClient) -> None:
    answer = await wired.get("/endpoints")
    assert len(answer.headers.get_list("Date")) == 1
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == sim.now()


@pytest.mark.parametrize("status", ["released", "Ported Out"])
async def test_a_release_leaves_another_word(sim: Simulator, client: httpx.AsyncClient, status: str) -> None:
    sim.faults.switch_on("ended_word", status=status)
    number = active(sim)
    assert (await client.delete(f"{OWNED}/{number.id}", params={"action": "release"})).status_code == 200
    assert [each["status"] for each in await owned(client) if each["id"] == number.id] == [status]
    for_sale = [each for each in sim.inventory.values() if each.e164 == number.e164]
    assert len(for_sale) == sim.profile.returns_to_pool


async def test_there_is_no_path_for_one_endpoint(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.faults.switch_on("no_single_endpoint")
    assert (await client.get(f"/endpoints/{next(iter(sim.endpoints))}")).status_code == 404
    assert len(listed(await client.get("/endpoints"))) == 3


def test_every_fault_is_in_one_group() -> None:
    assert sum(map(len, KIND_GROUPS.values())) == len(KINDS)
