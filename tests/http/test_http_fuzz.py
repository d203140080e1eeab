"""Malformed bodies, seeded: each is answered, none crashes anything, none is told how we are made."""

import json
import logging
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

from kros_mcp.http.app import open_service
from kros_mcp.operations.journal import EVERYTHING
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.registry import build_tools
from tests.support.talk import settings_for
from tests.support.upstream import state_of, wrote
from tests.support.web import MODERN, access_for, modern

pytestmark = pytest.mark.anyio

FEW, MANY = 500, 5_000  # with sessions, and as many without
AT_ONCE = 8
TELLS = re.compile(r"Traceback|File \"|\.py\b|site-packages|kros_mcp|pydantic|Error\(|at 0x[0-9a-f]+", re.IGNORECASE)
LEGACY = {"jsonrpc": "2.0", "id": 1}
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**400, 1e308, -0.0, "", " ", "\x00", "\ud800", "\u202e", "a" * 5_000,
    [], [[]], {}, {"": {}}, [None] * 50, "NG", "+2342015550100", "op_aaaaaaaaaaaaaaaa", "../../etc/passwd", "${jndi:x}",
    "' OR 1=1 --", {"$ref": "#"}, {"__proto__": {}}, "NaN", float("inf"), float("nan"),
)  # fmt: skip
METHODS = (
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "prompts/get", "rpc.x",
    "server/discover", "completion/complete", "logging/setLevel", "notifications/initialized", "tools",
)  # fmt: skip
TOOLS = tuple(tool.name for tool in build_tools() if tool.name != "buy_phone_number")
VERSIONS = (MODERN, "2025-11-25", "2025-03-26", "1999-01-01", "", "x" * 200, "2026-07-28, 2025-11-25")


def seed_body(chance: random.Random) -> dict[str, Any]:
    """A request that is right, or nearly."""
    method = chance.choice(METHODS)
    params: dict[str, Any] = {}
    if method == "tools/call":
        arguments = {name: chance.choice(VALUES) for name in chance.sample(ARGUMENTS, chance.randrange(4))}
        params = {"name": chance.choice((*TOOLS, "no_such_tool", "")), "arguments": arguments}
    if chance.random() < 0.5:
        return {**json.loads(modern(method, params)["content"]), "id": chance.choice((1, "a", None, 1.5))}
    return {**LEGACY, "method": method, "params": params}


ARGUMENTS = sorted({name for tool in build_tools() for name in tool.parameters["properties"]} | {"extra"})


def spoil_a_value(body: Any, chance: random.Random) -> Any:
    """Put something else in one place of the document."""
    if isinstance(body, dict) and body and chance.random() < 0.8:
        name = chance.choice(sorted(body))
        return {**body, name: spoil_a_value(body[name], chance)}
    return chance.choice(VALUES)


def spoil_a_name(body: Any, chance: random.Random) -> Any:
    if not isinstance(body, dict) or not body:
        return chance.choice(VALUES)
    name = chance.choice(sorted(body))
    return {(key.upper() + "\u0000" if key == name else key): value for key, value in body.items()}


def as_batch(body: Any, chance: random.Random) -> Any:
    return [body] * chance.randrange(3)


def bytes_of(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


def cut(body: Any, chance: random.Random) -> bytes:
    raw = bytes_of(body)
    return raw[: chance.randrange(len(raw))]


def flip(body: Any, chance: random.Random) -> bytes:
    raw = bytearray(bytes_of(body))
    for _ in range(chance.randrange(1, 8)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


def nest(body: Any, chance: random.Random) -> bytes:
    depth = chance.choice((50, 1_000, 30_000))
    return bytes_of(body)[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"


def noise(_body: Any, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(200))


def twice(body: Any, _chance: random.Random) -> bytes:
    return bytes_of(body) * 2


SPOILS: tuple[Callable[[Any, random.Random], Any], ...] = (
    spoil_a_value, spoil_a_name, as_batch, cut, flip, nest, noise, twice,
)  # fmt: skip


def requests(seed: int, count: int) -> Iterator[httpx.Request]:
    chance = random.Random(seed)  # noqa: S311 - a fuzz run that can be repeated
    for _ in range(count):
        body = seed_body(chance)
        spoiled = chance.choice(SPOILS)(body, chance)
        content = spoiled if isinstance(spoiled, bytes) else bytes_of(spoiled)
        if chance.random() < 0.5:  # all is right but what stands in the arguments
            call = {"name": chance.choice(TOOLS), "arguments": spoil_a_value(dict.fromkeys(ARGUMENTS, "NG"), chance)}
            right = modern("tools/call", call, authorization="Bearer agent")
            yield httpx.Request("POST", "http://localhost/mcp", **right)
            continue
        headers = {
            "authorization": "Bearer agent",
            "content-type": chance.choice(("application/json", "application/json", "text/plain", "")),
            "accept": chance.choice(("application/json, text/event-stream", "application/json", "*/*", "")),
            "mcp-protocol-version": chance.choice(VERSIONS),
            "mcp-method": str(body["method"]),
            "mcp-name": str(chance.choice((*TOOLS, "no_such_tool"))),
        }
        if chance.random() < 0.2:
            headers["mcp-session-id"] = chance.choice(("0" * 32, "x", "\x7f"))
        method = chance.choice(("POST",) * 30 + ("DELETE", "PUT", "PATCH", "HEAD"))
        yield httpx.Request(method, "http://localhost/mcp", headers=headers, content=content)


@pytest.mark.parametrize("bodies", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("stateless", [False, True])
async def test_no_malformed_body_crashes_it_spends_anything_or_is_told_how_it_is_made(
    caplog: pytest.LogCaptureFixture, stateless: bool, bodies: int
) -> None:
    caplog.set_level(logging.WARNING)
    sim = Simulator("reference")
    before = state_of(sim)
    statuses: dict[int, int] = {}
    settings = settings_for(sim, requests_per_second=0)
    async with open_service(settings, access_for("agent"), stateless=stateless, transport=transport(sim)) as service:
        way = httpx.ASGITransport(service.app)  # what the app raises is raised here
        async with httpx.AsyncClient(transport=way, base_url="http://localhost") as client:
            coming = requests(20_260_728 + stateless, bodies)

            async def send() -> None:
                for request in coming:
                    answer = await client.send(request)
                    statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                    assert answer.status_code != 500, request.content[:400]
                    assert not TELLS.search(answer.text), (request.content[:400], answer.text[:400])

            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(send)
            alive = await client.post("/mcp", **modern("tools/list", authorization="Bearer agent"))
            assert len(alive.json()["result"]["tools"]) == len(build_tools())
        operations = await service.runtime.account.journal.list_operations(EVERYTHING, limit=100, after="")
    assert sum(statuses.values()) == bodies
    assert {200, 400, 405} <= set(statuses), statuses  # they came far enough to be refused in different ways
    assert (wrote(sim), state_of(sim)) == ([], before)
    assert {operation.state for operation in operations} <= {"proposed"}
