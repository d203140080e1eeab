import gzip

import httpx
import pytest
from krosai_doubles import (
    BASE,
    CERTAINLY_NOT_SENT,
    KEY,
    ORDER,
    OWNED,
    Script,
    StoppedError,
    described,
    every_httpx_error,
    speaking_to,
)

from kros_mcp.errors import (
    ApiError,
    InsufficientBalanceError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitError,
)
from kros_mcp.krosai import Order, Routing, Written, overheard

pytestmark = pytest.mark.anyio


async def buy(answer: object) -> Written:
    async with speaking_to(Script(answer)) as client:
        return await client.purchase(ORDER, idempotency_key="op_1")


@pytest.mark.parametrize("failure", every_httpx_error(), ids=lambda failure: type(failure).__name__)
async def test_no_foreign_error_of_a_write_escapes_or_is_quoted(failure: Exception) -> None:
    expected = NotSentError if type(failure) in CERTAINLY_NOT_SENT else OutcomeUnknownError
    with pytest.raises(expected) as caught:
        await buy(failure)
    assert KEY not in described(caught.value)


async def test_even_a_defect_below_us_leaves_the_outcome_unknown() -> None:
    with pytest.raises(OutcomeUnknownError):
        await buy(RuntimeError(KEY))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429])
async def test_a_refusal_by_status_is_certain(status: int) -> None:
    with pytest.raises(ApiError) as caught:
        await buy(httpx.Response(status, json={"error": "no"}))
    assert caught.value.status == status
    assert caught.value.charged == "no"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 405, 408, 410, 418, 500, 502, 503, 504])
async def test_any_other_status_leaves_the_outcome_unknown(status: int) -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await buy(httpx.Response(status, json={"error": "no"}, headers={"location": BASE}))
    assert caught.value.charged == "unknown"


@pytest.mark.parametrize("status", [200, 400, 405, 409, 410, 451])
async def test_a_documented_code_is_a_refusal_where_the_status_is_none_of_an_outage(status: int) -> None:
    with pytest.raises(InsufficientBalanceError):
        await buy(httpx.Response(status, json={"error": "x", "code": "INSUFFICENT_BALANCE"}))


@pytest.mark.parametrize("status", [302, 408, 500, 503, 599])
async def test_an_outage_or_a_redirect_settles_nothing_whatever_its_body_says(status: int) -> None:
    with pytest.raises(OutcomeUnknownError):
        await buy(httpx.Response(status, json={"error": "x", "code": "NUMBER_NOT_AVAILABLE"}))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"success": False}, "KROSAI_ERROR"),
        ({"error": "odd"}, "KROSAI_ERROR"),
        ({"error": {"message": "odd"}}, "KROSAI_ERROR"),
        ({"error": "ODD_CODE"}, "KROSAI_ERROR"),
        ({"error": "ENDPOINT_NOT_FOUND"}, "ENDPOINT_NOT_FOUND"),
        ({"errors": ["odd"]}, "KROSAI_ERROR"),
        ({"errors": {"balance": "odd"}, "data": None}, "KROSAI_ERROR"),
        ({"errors": "odd", "items": []}, "KROSAI_ERROR"),
        ({"errors": [{"code": "INSUFFICIENT_BALANCE"}]}, "INSUFFICIENT_BALANCE"),
        ({"errors": ["KYC_PENDING"]}, "KYC_PENDING"),
        ({"errors": {"code": "NUMBER_NOT_AVAILABLE"}}, "NUMBER_NOT_AVAILABLE"),
        ({"data": {"errors": ["odd"]}}, "KROSAI_ERROR"),
        ({"code": -404}, "KROSAI_ERROR"),
        ({"code": 422, "message": "odd"}, "KROSAI_ERROR"),
        ({"code": "409"}, "KROSAI_ERROR"),
        ({"statusCode": 400}, "KROSAI_ERROR"),
        ({"status": "failed"}, "KROSAI_ERROR"),
        ({"status": "Error", "data": {}}, "KROSAI_ERROR"),
        ({"status": "failure", "reasons": ["odd"]}, "KROSAI_ERROR"),
        ({"id": "ord_1", "status": "rejected"}, "KROSAI_ERROR"),
        ({"data": {"id": "ord_1", "status": "Cancelled"}}, "KROSAI_ERROR"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
async def test_an_error_inside_a_success_that_names_no_number_is_a_refusal(
    body: object, code: str, status: int
) -> None:
    with pytest.raises(ApiError) as caught:
        await buy(httpx.Response(status, json=body))
    assert (caught.value.code, caught.value.charged, caught.value.status) == (code, "no", status)


@pytest.mark.parametrize(
    "body",
    [{"errors": []}, {"errors": None}, {"errors": {}}, {"error": None}, {"code": 0}, {"code": 200}, {"status": 201}],
)
async def test_nothing_under_the_name_of_an_error_is_no_error(body: dict[str, object]) -> None:
    assert (await buy(OWNED | body)).e164 == OWNED["e164"]
    assert not (await buy(body)).contradicted


@pytest.mark.parametrize(
    "trouble",
    [{"error": {"message": "odd"}}, {"code": "KYC_PENDING"}, {"success": False}, {"errors": ["odd"]}, {"code": -404}],
)
async def test_a_success_that_names_the_number_and_an_error_is_neither_believed_nor_refused(trouble: object) -> None:
    written = await buy(OWNED | trouble)  # type: ignore[operator]
    assert (written.contradicted, written.number, written.e164) == (True, None, None)


@pytest.mark.parametrize(
    "body",
    [
        {"errors": ["odd"], "phone_numbers": [OWNED]},
        {"success": False, "data": {"order": {"numbers": [{"phone_number": "+2348035550123"}]}}},
        {"errors": [{"code": "NUMBER_NOT_AVAILABLE", "number": "+2348035550123"}]},
    ],
)
async def test_a_number_anywhere_in_the_answer_keeps_an_error_from_being_a_refusal(body: object) -> None:
    assert (await buy(body)).contradicted


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (OWNED | {"status": "Ported Out"}, "ported_out"),
        (OWNED | {"status": "failed"}, "failed"),
        ({"status": "success", "data": OWNED | {"status": "pending"}}, "pending"),
        ({"status": "failed", "data": OWNED}, "failed"),
        ({"data": {"id": "ord_1", "status": "inProgress"}}, "in_progress"),
        ({"status": "processing"}, "processing"),
        (OWNED, None),
        ([], None),
    ],
)
async def test_the_status_of_the_record_in_a_success_is_told(body: object, status: str | None) -> None:
    written = await buy(body)
    assert (written.record_status, written.contradicted) == (status, False)


@pytest.mark.parametrize("status", ["released", "inactive", "deleted", "cancelled"])
async def test_a_record_that_has_ended_is_what_a_release_was_to_come_to(status: str) -> None:
    async with speaking_to(Script({"id": "pn_1", "status": status}, {"status": status})) as client:
        for _ in range(2):
            written = await client.release_number("pn_1", permanent=False, idempotency_key="a")
            assert written.record_status == status


async def test_a_release_that_failed_inside_a_success_is_a_refusal() -> None:
    async with speaking_to(Script({"status": "failed"})) as client:
        with pytest.raises(ApiError):
            await client.release_number("pn_1", permanent=False, idempotency_key="a")


@pytest.mark.parametrize(
    ("response", "form"),
    [
        (httpx.Response(204), "empty"),
        (httpx.Response(200, content=b" \n"), "empty"),
        (httpx.Response(201, text="<html>ok</html>"), "other"),
        (httpx.Response(200, content=b"[" * 100_000), "other"),
        (httpx.Response(200, content=b"\xff\xfe"), "other"),
        (httpx.Response(200, json=[]), "json"),
        (httpx.Response(200, json={"ok": True}), "json"),
        (httpx.Response(200, content=b"null"), "json"),
    ],
)
async def test_a_success_that_names_no_number_is_still_a_success(response: httpx.Response, form: str) -> None:
    written = await buy(response)
    assert (written.body, written.number, written.e164) == (form, None, None)


async def test_a_success_names_the_number_even_without_an_id() -> None:
    written = await buy(httpx.Response(201, json={"data": {"phone_number": {"number": "+234 803 555 0123"}}}))
    assert (written.status, written.number, written.e164) == (201, None, "+2348035550123")
    assert (await buy({"error": None} | OWNED)).number is not None


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b"x" * (4 * 1024 * 1024 + 1)),
        httpx.Response(200, stream=httpx.ByteStream(b"not gzip"), headers={"content-encoding": "gzip"}),
        httpx.Response(
            200,
            stream=httpx.ByteStream(gzip.compress(b"0" * 9_000_000)),
            headers={"content-encoding": "gzip"},
        ),
    ],
    ids=["too long", "bad gzip", "gzip bomb"],
)
async def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(response: httpx.Response) -> None:
    with pytest.raises(OutcomeUnknownError):
        await buy(response)


async def test_a_write_is_sent_once_whatever_comes_back() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "1.5"}))
    async with speaking_to(script) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.purchase(ORDER, idempotency_key="op_1")
    assert len(script.requests) == 1
    assert caught.value.retry_after_seconds == 1.5


async def test_a_purchase_says_the_order_its_key_and_the_shown_price() -> None:
    script = Script(OWNED)
    order = Order(inventory_id="inv_1", endpoint_id="ep_1", allow_outbound=False, total_cents=700, setup_cents=200)
    async with speaking_to(script, organization_id="org_1") as client:
        await client.purchase(order, idempotency_key="op_1")
    request = script.requests[0]
    assert (request.method, request.url.path) == ("POST", "/v1/phone-numbers")
    assert request.read() == (
        b'{"inventory_id":"inv_1","endpoint_id":"ep_1","allow_outbound":false,'
        b'"totalCostCents":700,"setupCostCents":200}'
    )
    assert request.headers["idempotency-key"] == "op_1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-organization-id"] == "org_1"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("kros-mcp/")
    assert len(request.headers["x-request-id"]) == 36


async def test_without_an_inventory_id_the_whole_number_is_named() -> None:
    order = Order(e164="+2348035550123", country="NG", type="mobile")
    assert order.body() == {"e164": "+2348035550123", "country": "NG", "type": "mobile"}
    with pytest.raises(InvalidArgumentError):
        Order(e164="+2348035550123", country="NG")


async def test_changes_are_spelt_as_asked() -> None:
    script = Script(OWNED)
    async with speaking_to(script, auth_header="x-api-key") as client:
        changes = Routing(endpoint_id="ep_1", allow_inbound=True)
        await client.update_number("pn_1", changes, idempotency_key="a")
        await client.update_number("pn_1", changes, spelling="camel", idempotency_key="b")
    assert [request.read() for request in script.requests] == [
        b'{"endpoint_id":"ep_1","allow_inbound":true}',
        b'{"endpointId":"ep_1","allowInbound":true}',
    ]
    assert script.requests[0].method == "PATCH"
    assert script.requests[0].headers["x-api-key"] == KEY
    assert "authorization" not in script.requests[0].headers


async def test_a_release_is_soft_unless_it_is_said_to_be_permanent() -> None:
    script = Script(httpx.Response(204))
    async with speaking_to(script) as client:
        await client.release_number("pn_1", permanent=False, idempotency_key="a")
        await client.release_number("pn_1", permanent=True, idempotency_key="b")
    assert [str(request.url) for request in script.requests] == [
        f"{BASE}/phone-numbers/pn_1?action=release",
        f"{BASE}/phone-numbers/pn_1",
    ]


@pytest.mark.parametrize("opaque", ["a/b?c#d", "../x", "%2e%2e", "ä\ud800", "a b"])
async def test_an_id_stays_one_segment_of_the_path(opaque: str) -> None:
    script = Script(OWNED)
    async with speaking_to(script) as client:
        await client.release_number(opaque, permanent=False, idempotency_key="a")
    segments = script.requests[0].url.raw_path.split(b"?")[0].split(b"/")
    assert segments[:3] == [b"", b"v1", b"phone-numbers"]
    assert len(segments) == 4


@pytest.mark.parametrize("opaque", ["", ".", ".."])
async def test_an_id_that_would_name_another_resource_is_never_sent(opaque: str) -> None:
    script = Script(OWNED)
    async with speaking_to(script) as client:
        with pytest.raises(InvalidArgumentError):
            await client.release_number(opaque, permanent=True, idempotency_key="a")
    assert script.requests == []


async def test_a_failed_check_keeps_the_request_here() -> None:
    script = Script(OWNED)

    def shut() -> None:
        raise StoppedError

    async with speaking_to(script) as client:
        with pytest.raises(StoppedError):
            await client.purchase(ORDER, idempotency_key="a", before_sending=shut)
    assert script.requests == []


async def test_a_check_that_raises_our_own_error_is_not_taken_for_the_network() -> None:
    def shut() -> None:
        raise httpx.ReadTimeout("not the network's")

    async with speaking_to(Script(OWNED)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.purchase(ORDER, idempotency_key="a", before_sending=shut)


async def test_an_answer_can_be_heard_whole_a_refusal_too() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"error": "no"}, headers={"x-request-id": request.headers["x-request-id"]})

    async with speaking_to(handler) as client:
        with overheard() as heard, pytest.raises(ApiError):
            await client.purchase(ORDER, idempotency_key="op_1")
        with pytest.raises(ApiError):
            await client.purchase(ORDER, idempotency_key="op_2")

    (one,) = heard
    assert (one.reply.status, one.reply.body) == (404, {"error": "no"})
    assert one.reply.headers["x-request-id"] == one.request_id
