"""What `kros-mcp probe` finds out about a KrosAI, and what it says that follows."""

import json
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from commands_doubles import Command, an_operation, put
from mcp import Client

from kros_mcp.commands import contact_answers, contact_conclusions, stdio_server
from kros_mcp.commands.contact_report import ContactReport, markdown
from kros_mcp.commands.probe import first_contact
from kros_mcp.settings import load_settings
from kros_mcp.simulator import Simulator, parse_shapes, read_shapes, transport
from tests.support.talk import settings_for

SHAPES = Path(__file__).parent.parent / "shapes"
DIALECTS = ("camel", "digits", "envelope")


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_answers, "PACE_SECONDS", 0.0)


@pytest.fixture(params=["reference", "guide"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    """KrosAI as either of its two documents has it."""
    return Simulator(request.param)


def probed(
    sim: Simulator, country: str = "NG", way: httpx.AsyncBaseTransport | None = None, **settings: Any
) -> ContactReport:
    async def probe() -> ContactReport:
        return await first_contact(settings_for(sim, **settings), country, lambda: way or transport(sim))

    return anyio.run(probe)


def followed(made: ContactReport, mark: str = "") -> str:
    return "\n".join(f"{one.what} {one.to_do}" for one in made.conclusions if mark in {"", one.mark})


def seen(made: ContactReport, topic: str) -> tuple[str, str]:
    [found] = [one for one in made.comparisons if one.topic == topic]
    return found.verdict, found.seen


def test_a_documented_dialect_is_read_and_only_read(sim: Simulator) -> None:
    made = probed(sim)
    assert (made.exit_code, followed(made, "FAIL")) == (0, "")
    assert f"the dialect is the {sim.profile.name}'s" in followed(made)
    assert {one.method for one in sim.requests} == {"GET"}
    assert len(sim.requests) == len(made.facts) <= 16
    assert {one.verdict for one in made.comparisons if "fields" in one.topic} == {"as assumed", "not seen"}


def test_each_field_is_told_with_the_name_by_which_it_was_read() -> None:
    reference, guide = probed(Simulator("reference")), probed(Simulator("guide"))
    assert "e164 by number" in seen(guide, "owned numbers in the list, fields read")[1]
    assert "e164," in seen(reference, "owned numbers in the list, fields read")[1]
    for made in (reference, guide):
        assert "monthly_cents by monthly_cost_cents" in seen(made, "numbers for sale, fields read")[1]
        assert "monthly_cents" in seen(made, "owned numbers in the list, fields not found")[1]
    assert "secret (text)" in seen(guide, "endpoints, fields that nobody reads")[1]
    assert seen(guide, "list of owned numbers")[1].startswith("under phone_numbers, total in total (as many as came)")
    assert seen(reference, "list of owned numbers, parameters")[1].endswith("status not heeded")
    assert "not heeded" not in seen(guide, "list of owned numbers, parameters")[1]


def test_a_made_up_key_is_sent_once_and_never_with_the_real_one(sim: Simulator) -> None:
    sent: list[dict[str, str]] = []

    class Watching(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(dict(request.headers))
            return await transport(sim).handle_async_request(request)

    made = probed(sim, way=Watching(), organization_id=sim.organization_id)
    made_up = sent[-1]
    assert [headers["authorization"] for headers in sent[:-1]] == [f"Bearer {sim.api_key}"] * (len(sent) - 1)
    assert made_up["authorization"].startswith("Bearer kros_test_")
    assert sim.api_key not in str(made_up)
    assert "x-organization-id" not in made_up
    assert seen(made, "a made-up key") == ("as assumed", "401, INVALID_API_KEY, fields error (text), code (text)")


FAULTS = [
    (
        "missing_prices",
        {"on": ["search"]},
        "FAIL",
        "Purchases will be refused until KROS_ALLOW_UNPRICED is set: no price",
    ),
    ("missing_prices", {"on": ["get"]}, "warn", "The run rate is not known"),
    ("total_only", {}, "FAIL", "Purchases will be refused until KROS_ALLOW_UNPRICED is set: no price"),
    ("states_currency", {}, "warn", "KrosAI states NGN. Set KROS_CURRENCY."),
    ("unready_record", {}, "warn", "no e164 under e164, number, phone_number, phoneNumber"),
    ("no_single_endpoint", {}, "ok", "KrosAI has no path for a single one"),
    ("not_served", {}, "FAIL", "this one may not be served"),
    ("unknown_shape", {"on": ["list_owned"]}, "FAIL", "owned numbers came in a form that is not read"),
    ("unknown_shape", {"on": ["list_endpoints"]}, "FAIL", "Numbers cannot be routed: endpoints came in a form"),
    ("html_page", {"on": ["list_owned"]}, "FAIL", "as a login page or a proxy does"),
    ("html_page", {"on": ["search"]}, "FAIL", "No number can be found or bought: a web page or a redirect came"),
    ("html_page", {"on": ["get"]}, "warn", "A single number cannot be looked at: KrosAI answers 200"),
    ("malformed_body", {"on": ["list_endpoints"]}, "FAIL", "Numbers cannot be routed: nothing usable came"),
    ("errors_in_list", {"on": ["search"]}, "FAIL", "No number can be found or bought"),
    ("error_before", {"on": ["list_owned"]}, "FAIL", "KrosAI fails on its own side on owned numbers"),
    ("unavailable", {"on": ["search"]}, "FAIL", "KrosAI fails on its own side on numbers for sale"),
    ("refuse", {"status": 403, "on": ["list_endpoints"]}, "FAIL", "the key may not read endpoints (FORBIDDEN)"),
    ("rate_limited", {"retry_after": "3600"}, "FAIL", "Run this again in an hour"),
    ("refuse", {"status": 400, "on": ["get"]}, "warn", "an id that does not exist is answered 400"),
]


@pytest.mark.parametrize(
    ("fault", "how", "mark", "words"), FAULTS, ids=[f"{each[0]}-{each[3][:30]}" for each in FAULTS]
)
def test_what_is_wrong_is_said_with_what_follows(fault: str, how: dict[str, Any], mark: str, words: str) -> None:
    sim = Simulator()
    sim.faults.switch_on(fault, times=None, **how)
    made = probed(sim)
    assert words in followed(made, mark)
    assert made.exit_code == (1 if mark == "FAIL" else 0)


def test_a_number_that_is_answered_under_another_id_is_not_taken_for_it() -> None:
    sim = Simulator()
    for number in sim.owned.values():
        number.status = "active"
    sim.faults.switch_on("other_record", times=None)
    assert "A single number cannot be looked at" in followed(probed(sim), "warn")


def test_a_short_wait_is_waited_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(contact_answers.anyio, "sleep", wait)
    sim = Simulator()
    sim.faults.switch_on("rate_limited", on=["search"])
    made = probed(sim)
    assert 1.5 in waits
    assert "KrosAI wanted fewer requests while this ran: numbers for sale in NG" in followed(made, "warn")
    assert made.exit_code == 0


def test_a_slow_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_conclusions, "SLOW_MILLISECONDS", 0)
    assert "Tools may answer TOO_SLOW" in followed(probed(Simulator()), "warn")


def test_a_clock_that_is_off_is_told() -> None:
    made = probed(Simulator(now=lambda: time.time() + 3600))
    assert "this clock is an hour behind KrosAI's" in followed(made, "warn")
    assert seen(made, "KrosAI's clock")[0] == "differs"


def emptied(sim: Simulator) -> None:
    sim.owned.clear()


def sold_out(sim: Simulator) -> None:
    sim.inventory.clear()


def endless(sim: Simulator) -> None:
    sim.endpoints.clear()
    for number in sim.owned.values():
        number.endpoint_id = None


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (emptied, "What an owned number looks like was not seen"),
        (sold_out, "KrosAI shows none in NG"),
        (endless, "the account shows no endpoint"),
    ],
)
def test_what_is_empty_is_said_not_to_have_been_seen(
    sim: Simulator, arrange: Callable[[Simulator], None], words: str
) -> None:
    arrange(sim)
    made = probed(sim)
    assert words in followed(made, "warn")
    assert made.exit_code == 0


def test_a_key_without_a_scope_and_a_key_that_is_refused_are_told() -> None:
    narrow = Simulator(extra_keys={"kros_test_narrow": ("numbers:read",)})
    made = probed(narrow, api_key="kros_test_narrow")
    assert "Numbers cannot be routed: the key may not read endpoints (INSUFFICIENT_SCOPE)" in followed(made, "FAIL")
    made = probed(narrow, api_key=narrow.expired_key)
    assert "Nothing can be done with this key: KrosAI refuses it (KEY_EXPIRED)" in followed(made, "FAIL")
    assert made.exit_code == 1


class Answering(httpx.AsyncBaseTransport):
    """Answers everything alike."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def elsewhere(_: httpx.Request) -> httpx.Response:
    return httpx.Response(302, headers={"location": "https://sso.acme.example.com/login?next=canary"})


def login_page(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/html"}, text="<form>canary</form>")


def nowhere(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("canary.example.com refused", request=request)


def untrusted(request: httpx.Request) -> httpx.Response:
    cause = ssl.SSLCertVerificationError(1, "canary")
    cause.verify_code = 20
    raise httpx.ConnectError("canary", request=request) from cause


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("canary", request=request)


@pytest.mark.parametrize(
    ("answer", "code", "words", "fact"),
    [
        (elsewhere, 1, "what is at KROS_BASE_URL pointed to another address", "a redirect to another host"),
        (login_page, 1, "answered with something that is not JSON", "a web page"),
        (nowhere, 4, "Nothing is known of KrosAI: KrosAI could not be reached", ""),
        (untrusted, 4, "Nothing can be asked of KrosAI: KrosAI's certificate is not trusted here", ""),
        (silent, 4, "Nothing is known of KrosAI: KrosAI did not answer in time", ""),
    ],
)
def test_what_is_no_krosai_is_told_and_asked_nothing_more(
    answer: Callable[[httpx.Request], httpx.Response], code: int, words: str, fact: str
) -> None:
    made = probed(Simulator(), way=Answering(answer))
    assert made.exit_code == code
    assert words in followed(made, "FAIL")
    assert made.facts[0].came == fact
    assert len(made.facts) <= 2
    assert "canary" not in markdown(made) + json.dumps(made.document())


@pytest.mark.parametrize("location", ["http://[x", "//[", "http://a]b/", "http://u[a@canary", "http://u\u2100@canary/"])
def test_a_redirect_to_what_is_no_address_is_told(location: str) -> None:
    made = probed(Simulator(), way=Answering(lambda _: httpx.Response(302, headers={b"location": location.encode()})))
    assert made.facts[0].came == "a redirect to what is no address"
    assert "canary" not in markdown(made) + json.dumps(made.document())


@pytest.mark.parametrize(
    ("content", "media", "came"),
    [
        (b"[]", "text/plain", "JSON, sent as plain text"),
        (b"[]", "", "JSON, sent as content of no stated type"),
        (b"[", "application/json", "said to be JSON, and cannot be read"),
    ],
)
def test_what_is_sent_under_another_type_is_told(content: bytes, media: str, came: str) -> None:
    headers = {"content-type": media} if media else {}
    made = probed(Simulator(), way=Answering(lambda _: httpx.Response(200, headers=headers, content=content)))
    assert made.facts[0].came == came


def test_an_answer_that_cannot_be_unpacked_did_not_break_off() -> None:
    def torn(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    assert probed(Simulator(), way=Answering(torn)).facts[0].status == "not readable"


class OfTwoKinds(httpx.AsyncBaseTransport):
    """States the endpoint of every other number as a text, and of the rest as an object."""

    def __init__(self) -> None:
        self._way = transport(Simulator())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._way.handle_async_request(request)
        body = json.loads(await answer.aread())
        if isinstance(body, list):
            for at, record in enumerate(body):
                record["place"] = {"floor": 1} if at % 2 else "Lagos"
                record["digits"] = "1" * 1_500
        return httpx.Response(answer.status_code, json=body)


def test_the_simulator_takes_the_shapes_of_a_field_of_two_kinds() -> None:
    shapes = probed(Simulator(), way=OfTwoKinds()).document()
    assert "place.floor" in json.dumps(shapes["shapes"])
    assert parse_shapes(shapes).has_numbers


def test_values_that_no_address_can_carry_break_nothing() -> None:
    record = {"id": "..", "e164": "+2348035550100", "status": "a\ud800", "country": "NG"}
    records = [record, record | {"id": "x", "status": "b\ud800"}]
    made = probed(Simulator(), way=Answering(lambda _: httpx.Response(200, content=json.dumps(records))))
    assert "A single number cannot be looked at" in followed(made, "warn")


def test_a_server_that_has_failed_behind_a_page_is_called_so() -> None:
    page = httpx.Response(502, headers={"content-type": "text/html"}, text="<h1>Bad Gateway</h1>")
    made = probed(Simulator(), way=Answering(lambda _: page))
    assert "KrosAI fails on its own side on owned numbers" in followed(made, "FAIL")


def test_after_two_questions_without_an_answer_no_more_are_put() -> None:
    sim = Simulator()
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(str(request.url))
        return httpx.Response(200, json=[]) if len(calls) == 1 else silent(request)

    made = probed(sim, way=Answering(answer))
    assert len(calls) == 3
    assert {one.status for one in made.facts[3:]} == {"not asked"}
    assert made.exit_code == 4
    assert "No number can be found or bought at present" in followed(made, "FAIL")


def test_a_key_that_anybody_may_make_up_is_a_failure() -> None:
    sim = Simulator()

    class Open(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["authorization"] = f"Bearer {sim.api_key}"
            return await transport(sim).handle_async_request(request)

    made = probed(sim, way=Open())
    assert "a made-up key is let in as well" in followed(made, "FAIL")


def shaped(**changes: list[dict[str, Any]]) -> Simulator:
    """A KrosAI whose offers have other fields than documented in place of some."""
    document = json.loads((SHAPES / "camel.json").read_text())
    for kind, fields in changes.items():
        there = document["shapes"]["lists"][kind]["fields"]
        names = {each["name"] for each in fields} | {each.get("role") for each in fields}
        there[:] = [each for each in there if each["name"] not in names and each.get("role") not in names] + fields
    return Simulator(shapes=parse_shapes(document))


def test_a_price_in_a_form_that_is_not_read_is_named() -> None:
    price = {"name": "monthlyCostCents", "forms": ["text: decimal"], "role": "monthly_cents"}
    made = probed(shaped(available=[price]))
    assert "Not read, and perhaps a price: monthlyCostCents (text: decimal)" in followed(made, "FAIL")
    assert "monthlyCostCents (text: decimal)" in seen(made, "numbers for sale, fields of a form that is not read")[1]


def test_a_number_without_its_plus_is_named() -> None:
    number = {"name": "phoneNumber", "forms": ["text: 13 digits"], "role": "e164"}
    made = probed(shaped(available=[number]))
    words = "of none of the numbers for sale the identity can be read: no usable e164: phoneNumber is text: 13 digits"
    assert words in followed(made, "FAIL")


def test_a_field_that_is_never_stated_is_said_with_what_it_costs() -> None:
    document = json.loads((SHAPES / "camel.json").read_text())
    for answer in (document["shapes"]["lists"]["owned"], document["shapes"]["single"]["number"]):
        answer["fields"] = [each for each in answer["fields"] if each["name"] not in {"allowOutbound", "status"}]
    made = probed(Simulator(shapes=parse_shapes(document)))
    assert "Whether a number may call out is not known" in followed(made, "warn")
    assert "A released number cannot be told from one in service" in followed(made, "warn")


def flat(shapes: Any) -> Any:
    """Shapes without the order of their fields and forms."""
    if isinstance(shapes, dict):
        return {name: flat(value) for name, value in shapes.items()}
    if isinstance(shapes, list):
        return sorted(map(flat, shapes), key=lambda value: json.dumps(value, sort_keys=True))
    return shapes


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_seen_as_the_file_has_it(dialect: str) -> None:
    file = SHAPES / f"{dialect}.json"
    made = probed(Simulator(shapes=read_shapes(file)))
    assert flat(made.document()["shapes"]) == flat(json.loads(file.read_text())["shapes"])
    assert "their dialect is of neither document" in followed(made)
    assert made.exit_code == 0


def test_what_was_seen_of_a_profile_is_seen_again_of_its_shapes(sim: Simulator) -> None:
    document = probed(sim).document()
    again = probed(Simulator(shapes=parse_shapes(document))).document()
    assert flat(again["shapes"]) == flat(document["shapes"])


def test_the_command_prints_text_or_json_and_writes_a_report(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "krosai.md"
    text = command("probe", "--simulator", "--report", str(file))
    as_json = command("--simulator", "probe", "--json", "--country", "gh")
    assert (text.code, text.err, as_json.code, as_json.err) == (0, "", 0, "")
    assert text.out.splitlines()[0] == "First contact with KrosAI"
    assert text.out.rstrip().endswith("No check fails, no warnings.")
    document = json.loads(as_json.out)
    assert (document["format"], document["kind"], document["exit_code"]) == (1, "probe", 0)
    assert "Numbers for sale were looked for in GH." in document["circumstances"]
    assert file.read_text().startswith("# First contact with KrosAI")
    again = command("probe", "--simulator", "--report", str(file))
    assert (again.code, again.out) == (1, "")
    assert "is there already" in again.err


def test_what_it_sends_with_the_key_is_counted(
    command: Command, environment: pytest.MonkeyPatch, pointed: Simulator, journal_url: str
) -> None:
    environment.setenv("KROS_REQUESTS_PER_DAY", "5")
    put(journal_url, an_operation())
    assert command("probe").code == 0
    told = command("doctor").out
    with_made_up_key = 1
    of_doctor = 2
    counted = len(pointed.requests) - with_made_up_key - of_doctor
    assert f"in the last 24 hours: {counted} of the 5" in " ".join(told.split())


def test_shapes_go_with_the_simulator_and_are_checked(command: Command, tmp_path: Path) -> None:
    shapes = str(SHAPES / "envelope.json")
    ran = command("probe", "--simulator", "--shapes", shapes, "--json")
    assert json.loads(ran.out)["shapes"]["lists"]["owned"]["path"] == "data"
    assert command("probe", "--shapes", shapes).code == 2
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"format": 1, "shapes": {"lists": {"owned": {"path": "a b"}}}}')
    ran = command("probe", "--simulator", "--shapes", str(wrong))
    assert (ran.code, ran.out) == (2, "")
    assert "shapes.lists.owned.path" in ran.err


def test_the_server_itself_takes_shapes() -> None:
    file = str(SHAPES / "envelope.json")

    async def listed() -> Any:
        settings = load_settings(simulator=True)
        async with Client(stdio_server.build_stdio_server(settings, file)) as client:
            return (await client.call_tool("list_phone_numbers", {})).structured_content

    assert anyio.run(listed)["numbers"][0]["status"] == "in_service"


@pytest.mark.parametrize("words", [("--simulator", "--shapes"), ("--shapes", "{}", "--simulator"), ("--shapes", "{}")])
def test_the_server_refuses_shapes_that_it_cannot_use(
    command: Command, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio_server, "leave", sys.exit)
    assert command(*(word.replace("{}", str(tmp_path / "none.json")) for word in words)).code == 2


@pytest.mark.parametrize("arguments", [("--country", "Narnia"), ("--report", "/nowhere/at/all.md"), ("--json", "x")])
def test_a_wrong_option_is_told_before_anything_is_asked(command: Command, arguments: tuple[str, ...]) -> None:
    assert command("probe", "--simulator", *arguments).code == 2


def test_without_a_key_it_says_so(command: Command) -> None:
    ran = command("probe")
    assert ran.code == 2
    assert "KROS_API_KEY is missing" in ran.err
