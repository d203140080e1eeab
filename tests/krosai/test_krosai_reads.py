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
    NotFoundError,
    NotSentError,
    ProtocolError,
    RateLimitError,
    ServerError,
    SettingsError,
    TooSlowError,
)
from kros_mcp.krosai import Purpose, asked_for, open_client, within

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


@pytest.mark.usefixtures("no_waits")
async def test_an_act_outlasts_six_failures_in_a_row() -> None:
    script = Script(*[httpx.Response(500)] * 6, OWNED)
    async with speaking_to(script) as client:
        with asked_for(Purpose.ACT):
            await client.get_number("pn_1")
    assert len(script.requests) == 7


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


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, text="<html>")])
async def test_an_answer_that_is_not_json_is_told_as_such(answer: httpx.Response) -> None:
    async with speaking_to(Script(answer)) as client:
        with pytest.raises(ProtocolError, match="not JSON"):
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


@pytest.mark.parametrize("absurd", ["1e308", "9" * 300, formatdate(10**11, usegmt=True)])
async def test_a_retry_after_beyond_a_year_is_said_in_a_few_words(absurd: str) -> None:
    async with speaking_to(Script(httpx.Response(429, headers={"retry-after": absurd}))) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert caught.value.retry_after_seconds == 365 * 86_400
    assert "365 days" in caught.value.message


async def test_a_retry_after_may_be_a_date() -> None:
    date = formatdate(time.time() + 1000, usegmt=True)
    async with speaking_to(Script(httpx.Response(429, headers={"retry-after": date}))) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert 990 < (caught.value.retry_after_seconds or 0) <= 1000


async def test_a_date_counts_against_the_clock_of_krosai() -> None:
    skewed = time.time() - 86_400
    headers = {"date": formatdate(skewed, usegmt=True), "retry-after": formatdate(skewed + 120, usegmt=True)}
    async with speaking_to(Script(httpx.Response(503, headers=headers))) as client:
        with within(4), pytest.raises(ServerError) as caught:
            await client.list_owned()
    assert caught.value.retry_after_seconds == 120


@pytest.mark.parametrize("stated", [90.5, "90.5"])
async def test_an_unreadable_header_leaves_the_word_to_the_body(stated: object) -> None:
    limited = httpx.Response(429, headers={"retry-after": "soon"}, json={"error": "x", "retry_after": stated})
    async with speaking_to(Script(limited)) as client:
        with within(4), pytest.raises(RateLimitError) as caught:
            await client.list_owned()
    assert caught.value.retry_after_seconds == 90.5


@pytest.mark.parametrize("status", [429, 500, 503, 599])
async def test_krosai_is_left_alone_for_as_long_as_it_asks_and_the_figure_is_told(status: int) -> None:
    script = Script(httpx.Response(status, headers={"retry-after": "120"}))
    async with speaking_to(script) as client:
        with within(4), pytest.raises((RateLimitError, ServerError)) as caught:
            await client.list_owned()
    assert len(script.requests) == 1
    assert caught.value.message.endswith(" It wants to be left alone for 2 minutes.")
    assert caught.value.next_step == "Tell the person, and try again after that."


async def test_a_short_wait_of_an_outage_is_waited_for() -> None:
    script = Script(httpx.Response(503, headers={"retry-after": "0.25"}), [])
    began = time.monotonic()
    async with speaking_to(script) as client:
        await client.list_owned()
    assert time.monotonic() - began >= 0.25


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


@pytest.mark.parametrize("bad", [{"id": "x"}, {"e164": "+2348035550123"}, None, {"id": "x", "e164": "2348035550123"}])
async def test_an_unreadable_entry_spoils_no_list(bad: object) -> None:
    async with speaking_to(Script([FOR_SALE, bad])) as client:
        for page in (await client.list_owned(), await client.list_available(country="NG")):
            assert ([number.e164 for number in page.items], page.received) == (["+2348035550123"], 2)
            assert len(page.unreadable) == 1
    async with speaking_to(Script([{"id": "ep"}, {"name": "no id"}])) as client:
        endpoints = await client.list_endpoints()
    assert ([endpoint.id for endpoint in endpoints.items], len(endpoints.unreadable)) == (["ep"], 1)


async def test_one_number_that_cannot_be_read_is_told() -> None:
    async with speaking_to(Script({"id": "pn_1", "e164": None, "status": "pending"})) as client:
        with pytest.raises(ProtocolError):
            await client.get_number("pn_1")


@pytest.mark.parametrize(
    "body",
    [
        {"items": [], "errors": [{"message": "odd"}]},
        {"items": [], "status": "error"},
        {"items": [], "code": 503},
        {"data": {"items": [], "errors": "odd"}},
        {"items": [FOR_SALE], "errors": ["half of it"]},
    ],
)
async def test_a_search_answered_with_an_error_inside_is_told_and_not_called_empty(body: object) -> None:
    async with speaking_to(Script(body)) as client:
        with pytest.raises(ApiError):
            await client.list_available(country="NG")


async def test_an_endpoint_in_trouble_is_no_error_of_the_answer() -> None:
    async with speaking_to(Script({"id": "ep_1", "name": "x", "status": "error", "errors": []})) as client:
        assert (await client.get_endpoint("ep_1")).status == "error"


@pytest.mark.parametrize("body", [{"error": "no"}, {"code": "NUMBER_NOT_AVAILABLE"}])
@pytest.mark.parametrize(("kind", "said"), [("toll_free", "toll-free numbers in Kenya"), ("", "numbers in Kenya")])
async def test_a_search_answered_as_not_found_names_the_country_and_the_type(
    body: object, kind: str, said: str
) -> None:
    async with speaking_to(Script(httpx.Response(404, json=body))) as client:
        with pytest.raises(NotFoundError, match=f"no such country or type: {said}") as caught:
            await client.list_available(country="KE", type=kind)
    assert caught.value.next_step.startswith("Search")


async def test_a_number_of_a_shared_plan_is_shown_wherever_it_may_lie() -> None:
    stated: dict[str, object] = {"id": "eu", "country": "EU"}
    shelf = [
        {"id": "shared", "e164": "+18665551234"},
        {"id": "guernsey", "e164": "+441481960194"},
        {"id": "uk", "e164": "+442079460958", "country": "UK"},
        stated | {"e164": "+442079460959"},
        {"id": "nigerian", "e164": "+2348035550123"},
        {"id": "american", "e164": "+14155551234"},
    ]
    async with speaking_to(Script(shelf)) as client:
        canadian = await client.list_available(country="CA")
        british = await client.list_available(country="GB")
    assert [(item.inventory_id, item.country) for item in canadian.items] == [("shared", None)]
    assert [(item.inventory_id, item.country) for item in british.items] == [
        ("guernsey", None),
        ("uk", "GB"),
        ("eu", None),
    ]


ENDPOINTS = [{"id": f"ep_{n}", "name": f"agent {n}"} for n in range(250)]


class WithoutSingleEndpoints:
    """A KrosAI that serves endpoints as a list alone."""

    def __init__(self, *, status: int = 404, heeds_offset: bool = True) -> None:
        self.status = status
        self.heeds_offset = heeds_offset
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path.removeprefix("/v1"))
        if request.url.path != "/v1/endpoints":
            return httpx.Response(self.status, json={"error": "Not found"})
        offset = int(request.url.params["offset"]) if self.heeds_offset else 0
        return httpx.Response(200, json=ENDPOINTS[offset : offset + int(request.url.params["limit"])])


@pytest.mark.parametrize("status", [404, 405])
async def test_where_no_single_endpoint_is_served_the_list_decides(status: int) -> None:
    krosai = WithoutSingleEndpoints(status=status)
    async with speaking_to(krosai) as client:
        with pytest.raises(NotFoundError):
            await client.get_endpoint("ep_none")
        assert (await client.get_endpoint("ep_170")).name == "agent 170"
        assert krosai.asked == ["/endpoints/ep_none", *["/endpoints"] * 4, "/endpoints/ep_170", *["/endpoints"] * 2]
        krosai.asked.clear()
        assert (await client.get_endpoint("ep_1")).name == "agent 1"
        assert krosai.asked == ["/endpoints"]
        with pytest.raises(NotFoundError):
            await client.get_endpoint("ep_none")


async def test_a_list_of_endpoints_that_is_cut_short_proves_no_absence() -> None:
    async with speaking_to(WithoutSingleEndpoints(heeds_offset=False)) as client:
        with pytest.raises(ProtocolError):
            await client.get_endpoint("ep_170")
    async with speaking_to(Script(httpx.Response(404))) as client:
        with pytest.raises(ProtocolError):
            await client.get_endpoint("ep_170")


async def test_an_endpoint_with_another_id_than_asked_for_is_refused() -> None:
    async with speaking_to(Script({"id": "ep_2"})) as client:
        with pytest.raises(ProtocolError, match="another record"):
            await client.get_endpoint("ep_1")


async def test_the_key_appears_in_no_repr_no_log_and_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script(httpx.Response(429, json={"error": KEY, "retry_after": 0}), [OWNED])
    async with speaking_to(script) as client:
        await client.list_owned()
        assert KEY not in repr(client)
    assert KEY not in caplog.text
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
