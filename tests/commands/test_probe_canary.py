"""No value of an account in any form of the report of a first contact, whatever KrosAI answers."""

import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from kros_mcp.commands import contact_answers
from kros_mcp.commands.contact_report import markdown, show
from kros_mcp.commands.probe import first_contact
from kros_mcp.simulator import Simulator, read_shapes, transport
from kros_mcp.simulator.faults import KINDS, READS
from tests.support.talk import settings_for

SHAPES = Path(__file__).parent.parent / "shapes"
PROFILES = ("reference", "guide")
DIALECTS = ("camel", "digits", "envelope")
OF_READS = sorted(name for name, kind in KINDS.items() if kind.strikes & READS and name not in {"hold", "slow"})
# Statuses, types, codes and currencies are plain words, and are told.
WORDS = {"active", "inactive", "suspended", "porting", "pending", "error", "agent", "webhook", "elevenlabs", "livekit"}
WORDS |= {"local", "mobile", "toll_free", "INVALID_API_KEY", "RATE_LIMIT_EXCEEDED", "voice", "application/json", "NGN"}
WORDS |= {
    "released",
    "deleted",
    "cancelled",
    "ported_out",
    "failed",
    "expired",
    "in_service",
    "Released",
    "toll-free",
    "Active",
}
WORDS |= {"ACTIVE", "INACTIVE", "MOBILE", "LOCAL", "TOLL_FREE"}
SHORTEST = 5
"""What is shorter says nothing of an account by itself."""
NUMBERS = itertools.count(1)
KEPT = re.compile(r"\+?[0-9]+|[0-9a-f-]{36}|[a-z]+_[0-9a-f]{12,}|\d{4}-\d\d-\d\dT\S+")
"""Values that must keep their form for the records to be read; they are canaries by themselves."""


class Planting(httpx.AsyncBaseTransport):
    """Lets canaries grow wherever an answer has room for one, and keeps every value that was answered."""

    def __init__(self, sim: Simulator, plant: Callable[[Any], Any], headers: dict[str, str]) -> None:
        self._way, self._plant, self._headers = transport(sim), plant, headers
        self.values: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._way.handle_async_request(request)
        content, headers = await answer.aread(), dict(answer.headers) | self._headers
        try:
            body = self._plant(json.loads(content))
        except ValueError:
            self.values.add(content.decode())
        else:
            content = json.dumps(body).encode()
            self.values |= set(leaves(body))
        self.values |= set(headers.values()) | set(request.url.path.split("/")[3:])
        headers.pop("content-length", None)
        return httpx.Response(answer.status_code, headers=headers, content=content)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from [name] if "canary" in name or KEPT.fullmatch(name) else []
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def a_canary() -> str:
    return f"canary{next(NUMBERS):012x}"


def as_it_is(value: Any) -> Any:
    return value


def planted(value: Any) -> Any:
    """A canary in place of every text that need not keep its form, in further fields, and in names of fields."""
    if isinstance(value, dict):
        found = {key: planted(one) for key, one in value.items()}
        return found | {
            "internal_note": a_canary(),
            f"+23480{next(NUMBERS):08d}": a_canary(),
            a_canary(): {"owner": a_canary()},
            "metadata": {"acmecorp": a_canary()},
            "contacts": [{"mail": f"{a_canary()}@example.com"}],
            "dashboard": f"https://{a_canary()}.example.com/",
        }
    if isinstance(value, list):
        return [planted(one) for one in value]
    if isinstance(value, str) and not KEPT.fullmatch(value) and value not in WORDS and len(value) > 2:
        return a_canary()
    return value


def everywhere(value: Any) -> Any:
    """The same, also in place of what is a word, a country, an amount or a flag."""
    return planted(_overgrown(value))


def _overgrown(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _overgrown(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_overgrown(one, name) for one in value]
    return value if value is None or name in {"id", "e164", "number"} else a_canary()


STRANGE_HEADERS = {
    "x-ratelimit-limit": "canaryaaaaaaaaaaaa",
    "x-ratelimit-reset": "canarybbbbbbbbbbbb",
    "retry-after": "canarycccccccccccc",
    "x-request-id": "canarydddddddddddd",
    "date": "canaryeeeeeeeeeeee",
    "content-type": "application/canaryffffffffffff+json",
    "x-organization": "acmecorp",
}


PLANTS: tuple[tuple[Callable[[Any], Any], dict[str, str]], ...] = (
    (as_it_is, {}),
    (planted, STRANGE_HEADERS),
    (everywhere, STRANGE_HEADERS),
)


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(_seconds: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(contact_answers, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(contact_answers.anyio, "sleep", no_wait)


def told(
    sim: Simulator, plant: Callable[[Any], Any], headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> tuple[str, set[str]]:
    """Everything that is shown or written, and every value that it could have shown."""
    ways: list[Planting] = []

    def way() -> Planting:
        ways.append(Planting(sim, plant, headers))
        return ways[-1]

    async def probe() -> Any:
        return await first_contact(settings_for(sim, organization_id=sim.organization_id), "NG", way)

    made = anyio.run(probe)
    capsys.readouterr()
    show(made, as_json=False)
    show(made, as_json=True)
    printed = capsys.readouterr()
    values = set().union(*(one.values for one in ways)) | {sim.api_key, sim.organization_id, "acmecorp"}
    values |= {str(value) for number in sim.owned.values() for value in number.sip.values()}
    values |= {number.e164[1:] for number in sim.owned.values()}
    return "\n".join([printed.out, printed.err, markdown(made)]), values


def a_simulator(name: str) -> Simulator:
    password = "canary-sip-password"  # noqa: S105 - looked for below
    if name == "reference" or name == "guide":  # noqa: PLR1714 - so that mypy knows them
        return Simulator(name, sip_password=password)
    return Simulator(shapes=read_shapes(SHAPES / f"{name}.json"), sip_password=password)


@pytest.mark.promise(11)
@pytest.mark.parametrize(
    ("profile", "fault"), [*itertools.product(PROFILES, ["", *OF_READS]), *((dialect, "") for dialect in DIALECTS)]
)
def test_no_value_of_an_answer_is_told(
    profile: str, fault: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "httpx")  # it names addresses, with the ids in them, where its level lets it
    for plant, headers in PLANTS if not fault else PLANTS[1:2]:
        sim = a_simulator(profile)
        if fault:
            sim.faults.switch_on(fault, times=None)
        text, values = told(sim, plant, headers, capsys)
        ours = [record.getMessage() for record in caplog.records if record.name.startswith("kros_mcp")]
        text += "\n".join(ours)
        assert "What follows" in text
        assert [value for value in values if len(value) >= SHORTEST and value not in WORDS and value in text] == []
        assert "canary" not in text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
