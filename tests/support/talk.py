"""How the tests talk to the server: one client, one person, and every result looked at twice."""

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from mcp import Client, StdioServerParameters
from mcp.client.session import MessageHandlerFnT
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult

from kros_mcp.krosai.wire import has_ended
from kros_mcp.numbering import country_name, spoken
from kros_mcp.operations.journal import Journal
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Settings
from kros_mcp.simulator import InventoryItem, Simulator, transport
from kros_mcp.tools.registry import build_tools
from kros_mcp.tools.results import Failure
from tests.support.canaries import SECRET
from tests.support.no_browser import loud_browser
from tests.support.person import Person
from tests.support.screen import ScriptedScreen

ERAS = ("legacy", "auto")
QUICK_PEOPLE = (
    "from kros_mcp.operations import channels; channels.READING_SECONDS = 0.0; from kros_mcp.cli import main; main()"
)
"""A program that takes a prompt turned down at once, as tests do, for one that a person turned down."""


@dataclass(frozen=True)
class Told:
    """One result: what it says as data, what it says as text, and whether it is a failure."""

    data: dict[str, Any]
    text: str
    failed: bool

    def __getitem__(self, name: str) -> Any:
        return self.data.get(name) if self.failed and name == "operation_id" else self.data[name]

    @property
    def outcome(self) -> str:
        """The status, or the code of a failure."""
        return str(self.data["code"] if self.failed else self.data["status"])


OUTPUT_SCHEMAS = {tool.name: tool.output_schema for tool in build_tools()}
_VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in OUTPUT_SCHEMAS.items() if schema}


UNSPEAKABLE = re.compile(r"KROS_|\bop_[a-z2-7]|[0-9a-f]{8}-[0-9a-f]{4}|UTC|\d\d:\d\d|\+\d{6}")
"""No setting's name, operation, UUID, time of day or number without pauses stands in what is said."""
_SPEAKS_OF_IDS = {"get_phone_number", "configure_phone_number", "list_phone_numbers"}
"""Tools whose first sentence names an endpoint or a record by its id still."""


def told(name: str, result: CallToolResult) -> Told:
    """Take a result apart, and check that text alone and data alone each tell everything."""
    data = result.structured_content
    assert data is not None
    [block] = result.content
    assert block.type == "text"
    text = block.text
    assert text.split("\n", 1)[0] == data["summary"]
    assert not SECRET.search(f"{text} {data}")
    if name not in _SPEAKS_OF_IDS and data.get("code") not in {"INVALID_ARGUMENT", "UNKNOWN_TOOL"}:
        assert not UNSPEAKABLE.search(data["summary"]), f"{name} cannot be said aloud: {data['summary']}"
    for missing in unsaid(data, text, failed=bool(result.is_error)):
        raise AssertionError(f"{name}: {missing} stands in the data and not in the text:\n{text}")
    if result.is_error:
        Failure.model_validate(data)
    # Some clients hold failures against the output schema as well.
    if (validator := _VALIDATORS.get(name)) is not None:
        validator.validate(data)
    return Told(data, text, bool(result.is_error))


def unsaid(data: dict[str, Any], text: str, *, failed: bool) -> Iterator[str]:
    """Name the leaves of structured content that the text does not tell, whether by name or in a sentence."""
    rows = [{name: one for name, one in row.items() if name not in _ROWS_IDS} for row in data.get("items") or ()]
    sentences = ["quote"] if data.get("number") else []  # which tell what was quoted
    data = {**data, "items": rows}
    for name, value in leaves({key: _told(key, value) for key, value in data.items() if key not in sentences}):
        # A failure's message is its summary, and is not said twice.
        if name == "summary" or (failed and name == "message" and value == data["summary"]):
            continue
        if name == "number_id" or (name in _COUNTS and value == 0):  # any tool takes an E.164 in place of the id
            continue
        # A search says "10 shown, 70 more looked at" instead, and by what price now follows from the others.
        if "area_codes" in data and (name in _COUNTED or (name == "due_now_cents" and _BY_PARTS in text)):
            continue
        if value not in (None, "") and not _is_said(name.removesuffix("[]"), value, text):
            yield f"{name}={value}"


def _told(key: str, value: Any) -> Any:
    if isinstance(value, dict) and key in _BESIDE:
        goes_nowhere = has_ended(value.get("status")) or (key == "number" and value["endpoint_id"] == "unrouted")
        left_out = _BESIDE[key] | ({"endpoint_id", "endpoint_name"} if goes_nowhere else set())
        return {name: each for name, each in value.items() if name not in left_out}
    return value


def _is_said(name: str, value: Any, text: str) -> bool:
    if name in _IN_OTHER_WORDS:
        return _IN_OTHER_WORDS[name](value, text)
    words = name.removesuffix("_cents").removeprefix("allow_").replace("_", " ")
    if isinstance(value, bool):  # calls that are on, and what is as usual, need no word
        return value is not _NOTEWORTHY.get(name, True) or name in text or words in text
    if isinstance(value, int):
        forms = [str(value), f"{value:,}", *([f"{value / 100:,.2f}"] if name.endswith("_cents") else [])]
    elif name in {"e164", "spoken"}:  # one stands for the other
        forms = [value, spoken(value) if name == "e164" else f"+{''.join(filter(str.isdigit, value))}"]
    else:
        forms = [value, value.replace("_", "-"), value.replace("_", " "), country_name(value)]
    return any(form in text for form in forms)


def _environment(value: str, text: str) -> bool:
    """Whether it is said where somebody decides."""
    return "status: confirmation_required" not in text or {"live": "real money"}.get(value, value) in text.lower()


def _asked_at(_value: str, text: str) -> bool:
    return re.search(r"(minutes?|hours?) ago|just now|\d [A-Z][a-z]+", text) is not None


def _expires_at(_value: str, text: str) -> bool:
    return re.search(r"(\d (seconds|minutes|hours|days)|an hour|a day)( at most|\.)", text) is not None


def _warnings(value: str, text: str) -> bool:
    """Whether it is said; of one number the summary says it."""
    return value in text or any(said in value and said in text for said in _SAID_OF_ONE)


_DECIDED = {
    "code": "in the conversation",
    "prompt": "in a prompt",
    "screen": "on the screen",
    "page": "on the approvals page",
    "terminal": "at a terminal",
    "command": "by a command",
}
_SAID_OF_ONE = ("may go nowhere", "ended, so no call")
_IN_OTHER_WORDS: dict[str, Callable[[Any, str], bool]] = {
    "environment": _environment,
    "endpoint_id": lambda value, text: value in text or (value == "unrouted" and "nowhere" in text),
    "asked_at": _asked_at,
    "expires_at": _expires_at,
    "warnings": _warnings,
    # A long name is cut; who agreed in the conversation is whoever spoke in it.
    "decided_by": lambda value, text: value[:20] in text or _DECIDED["code"] in text,
    "decided_through": lambda value, text: value in text or _DECIDED[value] in text,
    # From an hour after it was read, in words.
    "prices_as_of": lambda _value, _text: True,
}
_BESIDE = {
    "number": {"type", "country", "setup_cents", "monthly_cents"},
    "quote": {"country", "setup_cents", "endpoint_name"},
    "before": {"type", "country", "setup_cents", "monthly_cents"},
    "after": {"type", "country", "setup_cents", "monthly_cents"},
}
"""What the text of an act need not repeat of its number."""
_ROWS_IDS = {"operation_id", "number_id"}
"""What the text leaves out of the numbers of a batch: the batch has an operation, and a number its E.164."""
_COUNTED = {"total", "read", "complete", "allowed"}
_BY_PARTS = "now: setup and the first month"
_COUNTS = {"total", "unpriced", "hidden", "unreadable"}
"""What there may be none of, which needs no word."""
_NOTEWORTHY = {"allow_inbound": False, "allow_outbound": False, "complete": False, "run_rate_complete": False}
"""Which value of a field has to be said; of all others, that they are true."""


def leaves(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from leaves(value, f"{name}[]")
    else:
        yield name, data


@dataclass
class Talk:
    """A client in conversation with the server, in front of a simulated KrosAI."""

    client: Client
    sim: Simulator
    server: MCPServer | None = None
    journal: Journal | None = None
    results: list[Told] = field(default_factory=list)

    async def call(self, name: str, /, **arguments: Any) -> Told:
        result = told(name, await self.client.call_tool(name, arguments))
        self.results.append(result)
        return result

    async def buy(self, item: InventoryItem, **arguments: Any) -> Told:
        """Buy a number as an agent does that knows where it stands."""
        return await self.call("buy_phone_number", e164=item.e164, country=item.country, type=item.type, **arguments)


def settings_for(sim: Simulator, **settings: Any) -> Settings:
    defaults: dict[str, Any] = {
        "api_key": sim.api_key,
        "base_url": "https://simulator.invalid/v1",
        "journal_url": "sqlite://:memory:",
        "answer_within_seconds": 20,
        "confirmation": "auto",
    }
    return Settings(**(defaults | settings))


@asynccontextmanager
async def open_talk(
    sim: Simulator,
    era: str = "auto",
    person: Person | None = None,
    *,
    journal: Journal | None = None,
    hear: MessageHandlerFnT | None = None,
    screen: ScriptedScreen | None = None,
    **settings: Any,
) -> AsyncIterator[Talk]:
    """Talk to a server in this process; its KrosAI is the simulator, in this process too."""
    server = build_server(
        settings_for(sim, **settings),
        lambda given: open_runtime(
            given, transport=transport(sim), journal=journal, open_screen=screen.open if screen else None
        ),
    )
    answers = None if person is None else person.answer
    async with Client(server, mode=era, elicitation_callback=answers, message_handler=hear) as client:
        yield Talk(client, sim, server, journal)


@asynccontextmanager
async def open_stdio_talk(
    sim: Simulator,
    base_url: str,
    era: str,
    person: Person | None = None,
    *,
    hear: MessageHandlerFnT | None = None,
    **environment: str,
) -> AsyncIterator[Talk]:
    """Talk to a server in a process of its own, over stdio; its KrosAI is the simulator, over TCP."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-c", QUICK_PEOPLE],
        env={
            "PATH": os.environ["PATH"],
            "KROS_API_KEY": sim.api_key,
            "KROS_BASE_URL": base_url,
            "KROS_JOURNAL_URL": "sqlite://:memory:",
            "KROS_CONFIRMATION": "conversation",
            **loud_browser(),
            **environment,
        },
    )
    answers = None if person is None else person.answer
    async with Client(parameters, mode=era, elicitation_callback=answers, message_handler=hear) as client:
        yield Talk(client, sim)
