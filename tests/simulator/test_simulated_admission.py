import httpx
import pytest

from kros_mcp.simulator import Simulator, transport

pytestmark = pytest.mark.anyio

JWT = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"


def anonymous(sim: Simulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="https://simulator.invalid/v1", transport=transport(sim))


async def test_a_key_is_taken_from_either_header(sim: Simulator) -> None:
    async with anonymous(sim) as client:
        for headers in ({"Authorization": f"bearer {sim.api_key}"}, {"x-api-key": sim.api_key}):
            assert (await client.get("/phone-numbers", headers=headers)).status_code == 200


async def test_each_bad_key_has_its_code(sim: Simulator) -> None:
    async with anonymous(sim) as client:
        answers = [
            await client.get("/phone-numbers", headers=headers)
            for headers in (
                {},
                {"Authorization": "Bearer "},
                {"x-api-key": "kros_test_nobody"},
                {"x-api-key": sim.expired_key},
            )
        ]
    assert {answer.status_code for answer in answers} == {401}
    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["MISSING_API_KEY", "MISSING_API_KEY", "INVALID_API_KEY", "KEY_EXPIRED"]


async def test_further_keys_and_jwts_have_the_scopes_they_were_given() -> None:
    sim = Simulator(extra_keys={"kros_live_mine": ["numbers:read"], JWT: ["endpoints:read"]})
    async with anonymous(sim) as client:
        live, jwt = {"x-api-key": "kros_live_mine"}, {"Authorization": f"Bearer {JWT}"}
        assert (await client.get("/phone-numbers", headers=live)).status_code == 200
        assert (await client.get("/endpoints", headers=live)).json()["code"] == "INSUFFICIENT_SCOPE"
        assert (await client.get("/endpoints", headers=jwt)).status_code == 200
        assert (await client.get("/phone-numbers", headers=jwt)).status_code == 403


async def test_only_the_own_organization_may_be_named(sim: Simulator, client: httpx.AsyncClient) -> None:
    own = {"x-organization-id": sim.organization_id}
    assert (await client.get("/phone-numbers", headers=own)).status_code == 200
    other = await client.get("/phone-numbers", headers={"x-organization-id": "someone-else"})
    assert other.status_code == 403
    assert "code" not in other.json()


@pytest.mark.usefixtures("sim")
async def test_every_answer_carries_rate_limit_and_request_id(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.get("/phone-numbers"),
        await client.get("/nowhere"),
        await client.put("/phone-numbers"),
        await client.get("/endpoints", headers={"Authorization": "Bearer x"}),
    ):
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(answer.headers)
        assert answer.headers["x-request-id"]
    named = await client.get("/phone-numbers", headers={"x-request-id": "mine"})
    assert named.headers["x-request-id"] == "mine"


async def test_a_rate_is_kept_over_a_sliding_second() -> None:
    clock = [1_000.0]
    sim = Simulator(rate_per_second=2, now=lambda: clock[0])
    headers = {"x-api-key": sim.api_key}
    async with anonymous(sim) as client:
        first = await client.get("/endpoints", headers=headers)
        clock[0] += 0.25
        second = await client.get("/endpoints", headers=headers)
        third = await client.get("/endpoints", headers=headers)
        clock[0] += 0.75
        fourth = await client.get("/endpoints", headers=headers)
    assert [first.headers["x-ratelimit-remaining"], second.headers["x-ratelimit-remaining"]] == ["1", "0"]
    assert (third.status_code, third.headers["retry-after"]) == (429, "0.75")
    assert third.json() == {
        "error": "Rate limit exceeded",
        "code": "RATE_LIMIT_EXCEEDED",
        "retry_after": 0.75,
    }
    assert fourth.status_code == 200


async def test_requests_are_recorded_without_their_keys(sim: Simulator, client: httpx.AsyncClient) -> None:
    await client.post("/phone-numbers?x=1", json={"inventory_id": "gone"}, headers={"x-api-key": sim.api_key})
    (seen,) = sim.requests
    assert (seen.method, seen.path, seen.query) == ("POST", "/v1/phone-numbers", {"x": "1"})
    assert seen.body == {"inventory_id": "gone"}
    assert seen.status == {"reference": 400, "guide": 404}[sim.profile.name]
    assert sim.api_key not in repr(seen)
