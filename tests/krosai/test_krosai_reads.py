import asyncio
import logging
import time
from email.utils import formatdate

import anyio
import httpx
import pytest
from krosai_doubles import (
    BASE,
    FOR_SALE,
    KEY,
    OWNED,
    Script,
    TcpServer,
    read_request,
    speaking_to,
    tcp_server,
)
from test_krosai_writes import CERTAINLY_NOT_SENT, described, every_httpx_error

from kros_mcp.errors import (
    ApiError,
    AuthenticationError,
    ConnectionLostError,
    KrosaiError,
    NotSentError,
    ProtocolError,
    RateLimitError,
    ServerError,
    SettingsError,
    TooSlowError,
)
from kros_mcp.krosai import open_client, within

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("failure", every_httpx_error(), ids=lambda failure: type(failure).__name__)
async def test_no_foreign_error_of_a_read_escapes_or_is_quoted(failure: Exception) -> None:
    async with speaking_to(Script(failure)) as client:
        with pytest.raises((NotSentError, TooSlowError, ConnectionLostError, ProtocolError)) as caught:
            await client.list_owned()
    assert isinstance(caught.value, NotSentError) == (type(failure) in CERTAINLY_NOT_SENT)
    assert caught.value.charged == "no"
    assert KEY not in described(caught.value)


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429),
        httpx.Response(500, text="oops"),
        httpx.Response(503),
        httpx.ReadTimeout(""),
        httpx.ReadError(""),
        httpx.ConnectError(""),
    ],
)
async def test_a_read_gets_over_passing_trouble(trouble: object) -> None:
    script = Script(trouble, trouble, OWNED)
    async with speaking_to(script) as client:
        assert (await client.get_number("pn_1")).id == "pn_1"
    assert len({request.headers["x-request-id"] for request in script.requests}) == 3


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 422])
async def test_a_read_that_is_refused_is_not_repeated(status: int) -> None:
    script = Script(httpx.Response(status, headers={"location": BASE}))
    async with speaking_to(script) as client:
        with pytest.raises(KrosaiError) as caught:
            await client.get_number("pn_1")
    assert len(script.requests) == 1
    assert isinstance(caught.value, ProtocolError if status == 301 else ApiError)


@pytest.mark.usefixtures("no_waits")
async def test_lasting_trouble_ends_in_the_last_failure() -> None:
    script = Script(httpx.Response(500))
    async with speaking_to(script) as client:
        with pytest.raises(ServerError):
            await client.get_number("pn_1")
    assert len(script.requests) == 5


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(204),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json=None),
        httpx.Response(200, content=b"x" * (4 * 1024 * 1024 + 1)),
        httpx.Response(200, stream=httpx.ByteStream(b"no"), headers={"content-encoding": "gzip"}),
    ],
)
async def test_an_answer_of_no_known_shape_concludes_nothing(answer: httpx.Response) -> None:
    async with speaking_to(Script(answer)) as client:
        with pytest.raises(ProtocolError):
            await client.get_number("pn_1")


async def test_a_success_that_says_error_is_an_error() -> None:
    async with speaking_to(Script({"success": False, "data": []})) as client:
        with pytest.raises(ApiError):
            await client.list_owned()
    async with speaking_to(Script({"error": {"code": "INVALID_API_KEY"}, "data": []})) as client:
        with pytest.raises(AuthenticationError):
            await client.list_owned()


@pytest.mark.parametrize(
    "limited",
    [
        httpx.Response(429, headers={"retry-after": "30.5"}),
        httpx.Response(429, json={"error": "slow down", "retry_after": 30.5}),
    ],
)
async def test_a_wait_beyond_the_time_left_is_told_at_once(limited: httpx.Response) -> None:
    async with speaking_to(Script(limited)) as client:
        with within(4), pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert caught.value.retry_after_seconds == 30.5


async def test_a_short_fractional_retry_after_is_waited_for() -> None:
    script = Script(httpx.Response(429, headers={"retry-after": "0.25"}), [])
    began = time.monotonic()
    async with speaking_to(script) as client:
        await client.list_owned()
    assert time.monotonic() - began >= 0.25


async def test_a_retry_after_may_be_a_date() -> None:
    date = formatdate(time.time() + 1000, usegmt=True)
    async with speaking_to(Script(httpx.Response(429, headers={"retry-after": date}))) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert 990 < (caught.value.retry_after_seconds or 0) <= 1000


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("nonsense", ["soon", "-1", "nan", "inf", "1e999", "Mon, 99 Foo 2026"])
async def test_a_senseless_retry_after_is_none(nonsense: str) -> None:
    async with speaking_to(Script(httpx.Response(429, headers={"retry-after": nonsense}))) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert caught.value.retry_after_seconds is None


async def never_answer(server: TcpServer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await read_request(server, reader)
    await reader.read()


async def test_a_read_ends_with_the_time_of_its_caller() -> None:
    async with tcp_server(never_answer) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with pytest.raises(TooSlowError) as caught, within(30), within(0.05):
            await client.list_owned()
        assert "127.0.0.1" not in described(caught.value)
        with pytest.raises(TooSlowError), within(0.05), within(30):
            await client.list_owned()


async def test_a_cancelled_read_is_cancelled_and_nothing_else() -> None:
    async with tcp_server(never_answer) as server, open_client(base_url=server.url, api_key=KEY) as client:
        with anyio.move_on_after(0.05) as scope:
            await client.list_owned()
        assert scope.cancelled_caught
        task = asyncio.create_task(client.list_owned())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_within_lets_other_timeouts_through() -> None:
    with pytest.raises(TimeoutError), within(5):
        raise TimeoutError


async def test_listing_always_says_action_limit_and_offset() -> None:
    script = Script([])
    async with speaking_to(script) as client:
        await client.list_owned()
        await client.list_owned(status="active", country="NG", limit=5, offset=10)
        await client.list_available(country="NG", type="local", area_code="201")
        await client.list_endpoints()
    assert [str(request.url).removeprefix(BASE) for request in script.requests] == [
        "/phone-numbers?action=assigned&limit=20&offset=0",
        "/phone-numbers?action=assigned&status=active&country=NG&limit=5&offset=10",
        "/phone-numbers?action=available&country=NG&type=local&area_code=201&limit=20&offset=0",
        "/endpoints?limit=50&offset=0",
    ]


async def test_filters_that_krosai_ignores_are_applied_here() -> None:
    numbers = [
        {"id": 1, "e164": "+2348035550101", "country": "NG", "status": "active"},
        {"id": 2, "e164": "+2348035550102", "country": "NG", "status": "suspended"},
        {"id": 3, "e164": "+254722555001", "status": "ACTIVE"},
        {"id": 4, "e164": "+2348035550104"},
        {"id": 5, "e164": "+9991234567"},
    ]
    async with speaking_to(Script({"phone_numbers": numbers, "total": 9})) as client:
        page = await client.list_owned(status="active", country="NG", offset=2)
    assert [number.id for number in page.items] == ["1", "4", "5"]
    assert (page.total, page.received, page.positions) == (9, 5, (2, 5, 6))


async def test_an_area_code_is_matched_by_field_or_by_number() -> None:
    numbers = [
        FOR_SALE | {"id": "a", "e164": "+2342015550101", "type": "local"},
        FOR_SALE | {"id": "b", "e164": "+2342095550101", "type": "local"},
        FOR_SALE | {"id": "c", "e164": "+2342095550102", "type": "local", "area_code": "201"},
        FOR_SALE | {"id": "d", "e164": "+2342015550103", "type": "Toll-Free"},
        FOR_SALE | {"id": "e", "e164": "+2542015550103", "country": None, "type": "local"},
    ]
    async with speaking_to(Script(numbers)) as client:
        page = await client.list_available(country="NG", type="local", area_code="201")
    assert [number.inventory_id for number in page.items] == ["a", "c"]


async def test_one_unreadable_entry_spoils_the_list() -> None:
    for bad in ({"id": "x"}, {"e164": "+2348035550123"}, None, {"id": "x", "e164": "2348035550123"}):
        async with speaking_to(Script([OWNED, bad])) as client:
            with pytest.raises(ProtocolError):
                await client.list_owned()


async def test_the_key_appears_in_no_repr_no_log_and_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(httpx.Response(429, json={"error": KEY, "retry_after": 0}), [OWNED])
    async with speaking_to(script) as client:
        await client.list_owned()
        assert KEY not in repr(client)
    assert KEY not in caplog.text
    assert "stamina" not in caplog.text
    with pytest.raises(SettingsError) as caught:
        async with open_client(base_url=BASE, api_key=KEY + "\n"):
            pass
    assert KEY not in described(caught.value)


async def test_an_address_that_is_none_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://user:secret@host")
    with pytest.raises(SettingsError) as caught:
        async with open_client(base_url=BASE, api_key=KEY) as client:
            client.warm_up()
    assert "secret" not in described(caught.value)
