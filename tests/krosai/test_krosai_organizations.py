"""An answer that states another organization than was asked for is refused, and nothing follows from it."""

from typing import Any

import httpx
import pytest
from krosai_doubles import FOR_SALE, ORDER, OWNED, Script, speaking_to

from kros_mcp.errors import ApiError, KrosError, OtherOrganizationError, OutcomeUnknownError
from kros_mcp.krosai import KrosClient, Routing, find_owned, read_all_owned, read_owned_in_time

pytestmark = pytest.mark.anyio
OWN = "3f9c2a52-0000-4000-8000-00000000000a"
OTHER = "3f9c2a52-0000-4000-8000-00000000000b"
ENDPOINT = {"id": "ep_1", "name": "Support", "status": "active"}
FOREIGN: list[dict[str, Any]] = [
    {"organization_id": OTHER},
    {"organizationId": OTHER},
    {"organization_id": OWN, "organizationId": OTHER},
    {"organization_id": OWN + " "},
    {"organization_id": 7},
    {"organization_id": {"id": OWN}},
    {"organization_id": ["a", OWN]},
]
OURS: list[dict[str, Any]] = [
    {},
    {"organization_id": OWN},
    {"organizationId": OWN.upper()},
    {"organization_id": None, "organizationId": ""},
    {"provider_config": {"organization_id": OTHER}, "sip_credentials": {"organization_id": OTHER}},
]


def for_us(*answers: object) -> Any:
    return speaking_to(Script(*answers), organization_id=OWN)


async def reads(client: KrosClient) -> list[object]:
    """What each way of reading numbers and endpoints comes to."""
    found: list[object] = []
    for read in (
        client.list_owned,
        lambda: client.get_number("pn_1"),
        lambda: find_owned(client, number_id="pn_1"),
        lambda: find_owned(client, e164=OWNED["e164"]),
        lambda: read_all_owned(client),
    ):
        try:
            found.append(await read())
        except KrosError as exc:
            found.append(exc)
    return found


@pytest.mark.parametrize("stated", FOREIGN, ids=str)
async def test_no_reading_shows_a_number_of_another_organization(stated: dict[str, Any]) -> None:
    for body in (OWNED | stated, {"data": OWNED | stated}, [OWNED, OWNED | {"id": "pn_2"} | stated]):
        async with for_us(body) as client:
            found = await reads(client)
            wrong_form = {ApiError.code, "UNEXPECTED_ANSWER"}
            assert {each.code for each in found if isinstance(each, KrosError)} <= {"OTHER_ORGANIZATION", *wrong_form}
            assert all(isinstance(each, KrosError) for each in found)
            assert any(isinstance(each, OtherOrganizationError) for each in found)
            in_time = await read_owned_in_time(client, seconds=1)
            assert (in_time.numbers, in_time.complete) == ((), False)


@pytest.mark.parametrize("stated", FOREIGN[:2], ids=str)
@pytest.mark.parametrize("wrapper", ["", "endpoints", "items"])
async def test_no_reading_shows_an_endpoint_of_another_organization(stated: dict[str, Any], wrapper: str) -> None:
    records = [ENDPOINT | stated]
    async with for_us({wrapper: records} if wrapper else records) as client:
        with pytest.raises(OtherOrganizationError):
            await client.list_endpoints()
    async with for_us(ENDPOINT | stated) as client:
        with pytest.raises(OtherOrganizationError):
            await client.get_endpoint("ep_1")


async def test_a_number_at_an_endpoint_of_another_organization_is_refused() -> None:
    async with for_us(OWNED | {"endpoint": ENDPOINT | {"organization_id": OTHER}}) as client:
        with pytest.raises(OtherOrganizationError, match="another organization"):
            await client.get_number("pn_1")


@pytest.mark.parametrize("stated", OURS, ids=str)
async def test_what_states_ours_or_none_is_read(stated: dict[str, Any]) -> None:
    async with for_us(OWNED | stated) as client:
        assert (await client.get_number("pn_1")).id == "pn_1"
    async with for_us({"phone_numbers": [OWNED | stated], "organization_id": OWN}) as client:
        assert (await client.list_owned()).received == 1


async def test_ids_that_are_no_uuids_are_compared_letter_by_letter() -> None:
    for stated, is_ours in (("org_B", True), ("org_b", False), ("org_B ", False)):
        async with speaking_to(Script(OWNED | {"organization_id": stated}), organization_id="org_B") as client:
            found = await reads(client)
        assert any(isinstance(each, OtherOrganizationError) for each in found) is not is_ours


async def test_what_is_for_sale_is_nobodys_yet() -> None:
    async with for_us([FOR_SALE | {"organization_id": OTHER}]) as client:
        assert (await client.list_available(country="NG")).received == 1


async def test_where_no_organization_is_named_none_is_another() -> None:
    async with speaking_to(Script(OWNED | {"organization_id": OTHER})) as client:
        assert (await client.get_number("pn_1")).id == "pn_1"


async def test_whom_a_write_was_done_for_is_unknown_if_the_answer_states_another() -> None:
    foreign = OWNED | {"organization_id": OTHER}
    for body in (foreign, {"data": {"phone_number": foreign}}):
        async with for_us(body) as client:
            for write in (
                lambda: client.purchase(ORDER, idempotency_key="op_1"),
                lambda: client.update_number("pn_1", Routing(allow_inbound=True), idempotency_key="op_1"),
                lambda: client.release_number("pn_1", permanent=False, idempotency_key="op_1"),
            ):
                with pytest.raises(OutcomeUnknownError) as caught:
                    await write()
                assert (caught.value.code, caught.value.charged) == ("OTHER_ORGANIZATION", "unknown")


async def test_a_refusal_stays_a_refusal_whomever_it_names() -> None:
    refused = httpx.Response(402, json={"code": "INSUFFICIENT_BALANCE", "error": "no", "organization_id": OTHER})
    async with for_us(refused) as client:
        with pytest.raises(ApiError) as caught:
            await client.purchase(ORDER, idempotency_key="op_1")
    assert caught.value.code == "INSUFFICIENT_BALANCE"
