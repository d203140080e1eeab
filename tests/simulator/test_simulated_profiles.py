import uuid
from typing import Any

import httpx
import pytest

from kros_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

CANARY = "canary"
SEARCH = {"action": "available", "country": "NG"}


async def bought(client: httpx.AsyncClient, sim: Simulator, **fields: Any) -> httpx.Response:
    return await client.post("/phone-numbers", json={"inventory_id": next(iter(sim.inventory)), **fields})


async def test_the_reference_answers_bare_lists_of_uuids_and_e164(
    reference: Simulator, client: httpx.AsyncClient
) -> None:
    owned = (await client.get("/phone-numbers")).json()
    available = (await client.get("/phone-numbers", params=SEARCH)).json()
    endpoints = (await client.get("/endpoints")).json()
    assert [each["status"] for each in owned] == ["active", "inactive"]
    assert len(available) == 20
    assert {each["type"] for each in endpoints} == {"elevenlabs", "webhook", "livekit"}
    for each in [*owned, *available, *endpoints]:
        uuid.UUID(each["id"])
    assert owned[0]["e164"] == "+2348035550199"
    assert owned[0]["organization_id"] == reference.organization_id
    assert all("secret" not in each for each in endpoints)


async def test_the_guide_wraps_its_lists_and_counts_them(guide: Simulator, client: httpx.AsyncClient) -> None:
    owned = (await client.get("/phone-numbers")).json()
    available = (await client.get("/phone-numbers", params=SEARCH)).json()
    endpoints = (await client.get("/endpoints")).json()
    assert (owned["total"], owned["limit"], owned["offset"]) == (4, 50, 0)
    assert {each["status"] for each in owned["phone_numbers"]} == {
        "active",
        "inactive",
        "suspended",
        "porting",
    }
    assert set(available) == {"available"}
    assert endpoints["total"] == len(guide.endpoints)
    assert owned["phone_numbers"][0]["id"].startswith("pn_")
    assert available["available"][0]["id"].startswith("inv_")
    assert available["available"][0]["number"].startswith("+234")
    assert [each.get("secret", "")[:6] for each in endpoints["endpoints"]] == ["", "whsec_", ""]


async def test_price_and_sip_credentials_stand_in_the_answer_for_one_number_only(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    number_id = next(iter(sim.owned))
    details = (await client.get(f"/phone-numbers/{number_id}")).json()
    assert details["monthly_cost_cents"] == 700
    assert CANARY in details["sip_credentials"].values()
    for answer in (
        await client.get("/phone-numbers"),
        await client.patch(f"/phone-numbers/{number_id}", json={"allow_inbound": False}),
        await bought(client, sim),
    ):
        assert CANARY not in answer.text
        assert "monthly_cost_cents" not in answer.text


async def test_the_reference_names_no_endpoint_of_a_number(reference: Simulator, client: httpx.AsyncClient) -> None:
    details = (await client.get(f"/phone-numbers/{next(iter(reference.owned))}")).json()
    assert "endpoint" not in details
    assert details["endpoint_id"] in reference.endpoints


async def test_the_guide_names_the_endpoint_of_one_number(guide: Simulator, client: httpx.AsyncClient) -> None:
    number_id, other_id = list(guide.owned)[:2]
    endpoint = (await client.get(f"/phone-numbers/{number_id}")).json()["endpoint"]
    assert endpoint.pop("id") in guide.endpoints
    assert endpoint == {"name": "Support agent", "type": "agent", "provider": "elevenlabs"}
    assert (await client.get(f"/phone-numbers/{other_id}")).json()["endpoint"] is None


async def test_the_reference_ignores_the_filters_it_does_not_document(
    reference: Simulator, client: httpx.AsyncClient
) -> None:
    assert len((await client.get("/phone-numbers", params={"status": "suspended"})).json()) == 2
    assert (await client.get("/phone-numbers", params={"country": "KE"})).json() == []
    found = (await client.get("/phone-numbers", params=SEARCH | {"area_code": "209"})).json()
    assert {each["area_code"] for each in found} == {"201"}
    assert len((await client.get("/endpoints", params={"status": "error"})).json()) == len(reference.endpoints)


@pytest.mark.usefixtures("guide")
async def test_the_guide_heeds_its_filters(client: httpx.AsyncClient) -> None:
    owned = (await client.get("/phone-numbers", params={"status": "suspended"})).json()
    assert owned["total"] == 1
    found = (await client.get("/phone-numbers", params=SEARCH | {"area_code": "209"})).json()["available"]
    assert {each["area_code"] for each in found} == {"209"}
    broken = (await client.get("/endpoints", params={"status": "error"})).json()
    assert [each["name"] for each in broken["endpoints"]] == ["Night desk"]


@pytest.mark.usefixtures("sim")
async def test_paging_walks_through_all_that_is_for_sale(client: httpx.AsyncClient) -> None:
    seen = []
    for offset in range(0, 100, 30):
        page = (await client.get("/phone-numbers", params=SEARCH | {"limit": 30, "offset": offset})).json()
        seen += [each["id"] for each in (page["available"] if isinstance(page, dict) else page)]
    assert len(seen) == len(set(seen)) == 80


async def test_thousands_of_numbers_can_be_for_sale_in_one_country() -> None:
    sim = Simulator(extra_inventory={"NG": 5000})
    numbers = [item.e164 for item in sim.inventory.values() if item.country == "NG"]
    assert len(numbers) == len(set(numbers)) == 5080
    assert list(sim.inventory) == list(Simulator(extra_inventory={"NG": 5000}).inventory)


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize(
    "params", [{"limit": "101"}, {"limit": "0"}, {"offset": "-1"}, {"limit": "x"}, {"action": "available"}]
)
async def test_parameters_out_of_bounds_are_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get("/phone-numbers", params=params)
    assert answer.status_code == 400
    assert "code" not in answer.json()


async def test_the_reference_takes_no_flags_at_purchase(reference: Simulator, client: httpx.AsyncClient) -> None:
    endpoint_id = next(iter(reference.endpoints))
    answer = await bought(client, reference, endpointId=endpoint_id, allow_inbound=False, allow_outbound=True)
    assert answer.status_code == 201
    assert answer.json()["endpoint_id"] == endpoint_id
    assert (answer.json()["allow_inbound"], answer.json()["allow_outbound"]) == (True, False)


async def test_the_guide_takes_flags_at_purchase(guide: Simulator, client: httpx.AsyncClient) -> None:
    number = (await bought(client, guide, allow_inbound=False)).json()["phone_number"]
    assert (number["allow_inbound"], number["allow_outbound"]) == (False, True)


async def test_only_the_reference_sells_by_e164(sim: Simulator, client: httpx.AsyncClient) -> None:
    item = next(iter(sim.inventory.values()))
    body = {"e164": item.e164, "country": item.country, "type": item.type}
    answer = await client.post("/phone-numbers", json=body)
    if sim.profile.name == "reference":
        assert answer.json()["e164"] == item.e164
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "MISSING_FIELDS")


@pytest.mark.parametrize(
    "body",
    [{"endpoint_id": None, "allow_outbound": True}, {"endpointId": None, "allowOutbound": True}],
)
async def test_an_update_takes_either_spelling(sim: Simulator, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    number = next(iter(sim.owned.values()))
    number.allow_outbound = False
    answer = await client.patch(f"/phone-numbers/{number.id}", json=body)
    assert answer.status_code == 200
    assert (number.endpoint_id, number.allow_inbound, number.allow_outbound) == (None, True, True)


async def test_the_reference_keeps_what_is_softly_released_and_forgets_what_is_deleted(
    reference: Simulator, client: httpx.AsyncClient
) -> None:
    number = next(iter(reference.owned.values()))
    stock = len(reference.inventory)
    released = await client.delete(f"/phone-numbers/{number.id}", params={"action": "release"})
    assert (released.status_code, released.json()["status"]) == (200, "inactive")
    assert number.id in [each["id"] for each in (await client.get("/phone-numbers")).json()]
    deleted = await client.delete(f"/phone-numbers/{number.id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await client.get(f"/phone-numbers/{number.id}")).status_code == 404
    assert len(reference.inventory) == stock


@pytest.mark.parametrize("params", [{}, {"action": "release"}])
async def test_the_guide_puts_a_released_number_up_for_sale_again(
    guide: Simulator, client: httpx.AsyncClient, params: dict[str, str]
) -> None:
    number = next(iter(guide.owned.values()))
    released = await client.delete(f"/phone-numbers/{number.id}", params=params)
    assert (released.status_code, released.json()) == (200, {"success": True})
    assert guide.owned_by_e164(number.e164) is None
    assert number.e164 in [item.e164 for item in guide.inventory.values()]


async def test_an_active_number_is_found_before_its_released_record(
    reference: Simulator, client: httpx.AsyncClient
) -> None:
    item = next(iter(reference.inventory.values()))
    await bought(client, reference)
    released = reference.owned_by_e164(item.e164)
    assert released is not None
    released.status = "inactive"
    reference.inventory[item.id] = item
    again = await client.post("/phone-numbers", json={"inventory_id": item.id})
    found = reference.owned_by_e164(item.e164)
    assert found is not None
    assert (found.status, released.status) == ("active", "inactive")
    assert again.status_code == 201


async def test_a_path_with_a_slash_too_many_is_not_redirected(sim: Simulator, client: httpx.AsyncClient) -> None:
    answer = await client.post("/phone-numbers/", json={"inventory_id": next(iter(sim.inventory))})
    assert (answer.status_code, sim.charges) == (404, [])


async def test_unknown_ids_get_a_404_without_a_code(sim: Simulator, client: httpx.AsyncClient) -> None:
    for path in ("/phone-numbers/nobody", "/endpoints/nobody", "/nowhere"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "Resource not found"})
    number_id = next(iter(sim.owned))
    answer = await client.patch(f"/phone-numbers/{number_id}", json={"endpoint_id": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"allow_inbound": "yes"}', b'{"endpoint_id": 7}'])
async def test_a_malformed_update_is_refused_and_changes_nothing(
    sim: Simulator, client: httpx.AsyncClient, body: bytes
) -> None:
    number = next(iter(sim.owned.values()))
    before = vars(number).copy()
    assert (await client.patch(f"/phone-numbers/{number.id}", content=body)).status_code == 400
    assert vars(number) == before
