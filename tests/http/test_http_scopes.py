import asyncio
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

from kros_mcp.http.rate_limit import RateLimiter
from kros_mcp.operations.model import Action, State
from kros_mcp.runtime import open_runtime
from kros_mcp.server import build_server
from kros_mcp.settings import Settings
from kros_mcp.simulator import InventoryItem, Simulator, transport
from kros_mcp.tools.caller import caller_token
from kros_mcp.tools.registry import build_tools
from kros_mcp.tools.specs import TOOL_SPECS, Scope
from tests.support.clock import Clock
from tests.support.issuer import (
    AUDIENCE,
    CHALLENGED,
    EC_KEY,
    METADATA,
    RSA_KEY,
    URL,
    Issuer,
    entry,
    minted,
    open_http,
    tokens_file,
)
from tests.support.web import open_session_at

pytestmark = pytest.mark.anyio

READING = {"list_phone_numbers", "get_phone_number", "search_phone_numbers", "list_endpoints", "get_spending"}
FOLLOWING = {"list_operations", "get_operation", "cancel_operation"}


def signed_with_the_public_key() -> str:
    """Make the token that a careless verifier takes: HS256, with the published key as the secret."""
    claims = jwt.decode(minted(), options={"verify_signature": False})
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "rsa-1"}, claims)]
    signed = b".".join(map(base64url_encode, parts))
    return b".".join([signed, base64url_encode(hmac.digest(pem, signed, "sha256"))]).decode()


def not_signed() -> str:
    claims = jwt.decode(minted(), options={"verify_signature": False})
    return jwt.encode(claims, "", "none", headers={"kid": "rsa-1"})


def place_of(item: InventoryItem) -> dict[str, str]:
    return {"e164": item.e164, "country": item.country, "type": item.type}


NOT_LET_IN = {
    "of another audience": lambda: minted(aud="https://else.example/mcp"),
    "of no audience": lambda: minted(aud=None),
    "of another issuer": lambda: minted(iss="https://else.example"),
    "of an issuer that looks alike": lambda: minted(iss=f"{URL}/"),
    "of no issuer": lambda: minted(iss=None),
    "expired": lambda: minted(exp=1_700_000_000),
    "without an end": lambda: minted(exp=None),
    "not yet valid": lambda: minted(nbf=4_000_000_000),
    "issued in the future": lambda: minted(iat=4_000_000_000),
    "signed with HS256": signed_with_the_public_key,
    "not signed": not_signed,
    "signed with an algorithm that is not allowed": lambda: minted(algorithm="RS512"),
    "signed with an algorithm that is not the key's": lambda: minted(EC_KEY, "ES256", "rsa-1"),
    "signed by somebody else": lambda: minted(EC_KEY, "ES256", "ec-1")[:-8] + "AAAAAAAA",
    "of an unknown key": lambda: minted(kid="rsa-2"),
    "of no key, where there are several": lambda: minted(kid=None),
    "without a subject": lambda: minted(sub=None),
    "of an empty subject": lambda: minted(sub=""),
    "of a blank subject": lambda: minted(sub="  "),
    "of a subject with a blank before it": lambda: minted(sub=" user-1"),
    "of a subject with a blank after it": lambda: minted(sub="user-1\u00a0"),
    "of a subject with two blanks": lambda: minted(sub="user  1"),
    "of a subject with what is not seen": lambda: minted(sub="user-1\ufe0f"),
    "of a subject with a blank that is a symbol": lambda: minted(sub="user-1\u2800"),
    "of a subject with a line break": lambda: minted(sub="user-1\nuser-2"),
    "of a subject that is not text": lambda: minted(sub=1),
    "of a subject without end": lambda: minted(sub="u" * 256),
    "of an approver who could also buy": lambda: minted(scope="numbers:approve numbers:buy"),
    "of no kind": lambda: "krosmcp_" + secrets.token_urlsafe(32),
    "in pieces": lambda: "a.b.c",
    "of brackets": lambda: f"{'W1tb' * 3000}.e30.AAAA",
}


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.mark.parametrize("kind", NOT_LET_IN)
async def test_a_token_that_is_not_good_is_told_so_and_nothing_else_happens(
    sim: Simulator, issuer: Issuer, kind: str
) -> None:
    async with open_http(sim, issuer) as served:
        answer = await served.calls("buy_phone_number", NOT_LET_IN[kind]())

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            f'Bearer error="invalid_token", scope="{CHALLENGED}", resource_metadata="{METADATA}"'
        )
        assert await served.nothing_happened()


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic dXNlcjpwYXNz"}, {"authorization": "Bearer"}])
async def test_without_a_token_a_caller_learns_where_to_get_one(
    sim: Simulator, issuer: Issuer, headers: dict[str, str]
) -> None:
    async with open_http(sim, issuer) as served:
        answer = await served.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, **headers)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == f'Bearer scope="{CHALLENGED}", resource_metadata="{METADATA}"'
        assert await served.nothing_happened()


async def test_the_metadata_names_service_and_issuer_letter_by_letter(sim: Simulator, issuer: Issuer) -> None:
    async with open_http(sim, issuer) as served:
        answer = await served.get("/.well-known/oauth-protected-resource/mcp")

    assert answer.json() == {
        "resource": AUDIENCE,
        "authorization_servers": [URL],
        "scopes_supported": CHALLENGED.split(),
        "bearer_methods_supported": ["header"],
        "resource_name": "KrosAI phone numbers",
    }


async def test_with_a_tokens_file_alone_no_metadata_is_promised(sim: Simulator, tmp_path: Path) -> None:
    file = tokens_file(tmp_path / "tokens.toml", entry("a", "krosmcp_a", "read"))
    async with open_http(sim, tokens_file=file) as served:
        answer = await served.calls("get_spending", "krosmcp_b")
        metadata = await served.get("/.well-known/oauth-protected-resource/mcp")

    assert answer.headers["www-authenticate"] == f'Bearer error="invalid_token", scope="{CHALLENGED}"'
    assert metadata.status_code == 404


@pytest.mark.parametrize(
    ("scope", "tool", "needed"),
    [
        ("numbers:read", "buy_phone_number", "numbers:buy"),
        ("numbers:read", "release_phone_number", "numbers:release"),
        ("numbers:read numbers:buy", "configure_phone_number", "numbers:configure"),
        ("numbers:buy", "list_phone_numbers", "numbers:read"),
        ("numbers:read", "cancel_operation", "numbers:configure"),
        ("numbers:approve", "buy_phone_number", "numbers:read"),
        ("openid email", "get_spending", "numbers:read"),
    ],
)
async def test_a_tool_beyond_a_tokens_scopes_is_refused_by_its_status(
    sim: Simulator, issuer: Issuer, scope: str, tool: str, needed: str
) -> None:
    async with open_http(sim, issuer) as served:
        answer = await served.calls(tool, minted(scope=scope))

        assert answer.status_code == 403
        # The form in which a client of the SDK hands the sentence on.
        assert answer.json()["error"]["message"] in answer.headers["www-authenticate"]
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith(f'Bearer error="insufficient_scope", scope="{needed}", error_description="')
        assert challenge.endswith(f'", resource_metadata="{METADATA}"')
        assert await served.nothing_happened()


@pytest.mark.parametrize(
    ("scope", "tools"),
    [
        ("numbers:read", READING | {"list_operations", "get_operation"}),
        ("numbers:buy", FOLLOWING | {"buy_phone_number"}),
        ("numbers:configure", FOLLOWING | {"configure_phone_number"}),
        ("numbers:release", FOLLOWING | {"release_phone_number"}),
        ("numbers:read numbers:buy numbers:configure numbers:release", set(TOOL_SPECS)),
    ],
)
async def test_a_caller_sees_only_the_tools_it_may_call(
    sim: Simulator, issuer: Issuer, era: str, scope: str, tools: set[str]
) -> None:
    async with open_http(sim, issuer, tcp=True) as served, served.talks(minted(scope=scope), era) as client:
        listed = await client.list_tools()

    assert {tool.name for tool in listed.tools} == tools


def test_every_tool_has_a_scope() -> None:
    assert {tool.name for tool in build_tools()} == set(TOOL_SPECS)


def test_every_act_has_the_scope_of_its_tool() -> None:
    for action in Action:
        [tool] = [tool for tool in TOOL_SPECS if tool.startswith(f"{action.one}_phone_number")]
        assert TOOL_SPECS[tool].scopes == {action.scope}


async def test_the_server_itself_refuses_what_a_gate_would_have_let_through(sim: Simulator) -> None:
    settings = Settings(api_key=sim.api_key, base_url="https://simulator.invalid/v1", journal_url="sqlite://:memory:")
    server = build_server(settings, lambda given: open_runtime(given, transport=transport(sim)))
    [item, *_] = sim.inventory.values()
    reader = AuthenticatedUser(caller_token("tokens", "reader", frozenset({Scope.READ})))
    before = auth_context_var.set(reader)
    try:
        async with Client(server) as client:
            result = await client.call_tool("buy_phone_number", {"e164": item.e164, "country": item.country})
    finally:
        auth_context_var.reset(before)

    assert result.is_error
    assert result.structured_content is not None
    assert result.structured_content["code"] == "NOT_PERMITTED"
    assert result.structured_content["charged"] == "no"
    assert not sim.requests


async def test_a_name_given_twice_does_not_slip_past(sim: Simulator, issuer: Issuer) -> None:
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{},'
        b'"name":"buy_phone_number","name":"get_spending"},"params":{"name":"buy_phone_number","arguments":{}}}'
    )
    async with open_http(sim, issuer) as served:
        answer = await served.post(body, minted())

        assert answer.status_code == 403
        assert await served.nothing_happened()


async def test_two_tokens_of_one_principal_have_each_their_own_rights_in_one_session(
    sim: Simulator, issuer: Issuer
) -> None:
    reads, buys = minted(), minted(scope="numbers:buy")
    async with open_http(sim, issuer, tcp=True) as served:
        session = await served.opens_session(reads)

        assert await served.tools_in(session, reads) == READING | {"list_operations", "get_operation"}
        assert await served.tools_in(session, buys) == FOLLOWING | {"buy_phone_number"}
        assert await served.tools_in(session, reads) == READING | {"list_operations", "get_operation"}


async def test_two_tokens_of_one_principal_have_each_their_own_rights_at_once(
    sim: Simulator, issuer: Issuer, era: str
) -> None:
    async with (
        open_http(sim, issuer, tcp=True) as served,
        served.talks(minted(), era) as reader,
        served.talks(minted(scope="numbers:buy"), era) as buyer,
    ):
        seen = [await client.list_tools() for client in (reader, buyer, reader)]

    read, bought, read_again = ({tool.name for tool in listed.tools} for listed in seen)
    assert read == read_again == READING | {"list_operations", "get_operation"}
    assert bought == FOLLOWING | {"buy_phone_number"}


@pytest.mark.parametrize("left", [("read",), ("read", "release", "configure")])
async def test_a_yes_to_a_prompt_buys_nothing_once_the_right_to_buy_is_taken_away(
    sim: Simulator, tmp_path: Path, left: tuple[str, ...]
) -> None:
    path, clock, refused = tmp_path / "tokens.toml", Clock(), asyncio.Event()
    before, after = (entry("desk", "krosmcp_desk", *scopes) for scopes in (("read", "buy"), left))
    late = next(iter(sim.inventory.values()))

    async def watch(response: httpx2.Response) -> None:
        if response.status_code == 403:
            refused.set()

    async def says_yes(*_: object) -> ElicitResult:
        tokens_file(path, after)
        clock.now += 1
        return ElicitResult(action="accept", content={"decision": "buy"})

    headers, hooks = {"authorization": "Bearer krosmcp_desk"}, {"response": [watch]}
    async with (
        open_http(sim, tcp=True, tokens_file=tokens_file(path, before), clock=clock) as served,
        httpx2.AsyncClient(headers=headers, event_hooks=hooks) as http,
        Client(
            streamable_http_client(served.url, http_client=http), mode="legacy", elicitation_callback=says_yes
        ) as client,
    ):
        call = asyncio.create_task(client.call_tool("buy_phone_number", place_of(late)))
        await asyncio.wait_for(refused.wait(), 10)
        states = [operation.state for operation in await served.operations()]
        call.cancel()
        with pytest.raises((asyncio.CancelledError, MCPError)):
            await call

    assert (states, sim.charges) == ([State.PROPOSED], [])


async def test_a_prompt_is_answered_by_a_token_that_may_call_its_tool(sim: Simulator, issuer: Issuer) -> None:
    buys, others = minted(scope="numbers:read numbers:buy"), minted(scope="numbers:read numbers:release")
    [item, *_] = sim.inventory.values()
    async with open_http(sim, issuer, tcp=True) as served:
        base = served.url.removesuffix("/mcp")
        async with open_session_at(base, buys) as session, session.buying(item) as stream:
            prompt = await stream.message()
            buying, session.http.headers["authorization"] = session.http.headers["authorization"], f"Bearer {others}"
            refused = [await session.answer(prompt, decision) for decision in ("buy", "decline")]
            assert [answer.status_code for answer in refused] == [403, 403]
            assert 'scope="numbers:buy"' in refused[0].headers["www-authenticate"]
            assert [operation.state for operation in await served.operations()] == [State.PROPOSED]
            session.http.headers["authorization"] = buying
            assert (await session.answer(prompt)).status_code == 202
            assert (await stream.message())["result"]["structuredContent"]["status"] == "done"
    assert len(sim.charges) == 1


async def test_no_stream_is_opened_by_a_get(sim: Simulator, tmp_path: Path) -> None:
    path = tokens_file(tmp_path / "tokens.toml", entry("desk", "krosmcp_desk", "read"))
    async with open_http(sim, tokens_file=path) as served:
        headers = {"authorization": "Bearer krosmcp_desk"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=served.app), headers=headers) as http:
            streamed = await http.get(served.url, headers={"accept": "text/event-stream"})

    assert streamed.status_code == 405


async def test_a_slash_too_many_never_leads_to_plain_http(sim: Simulator, tmp_path: Path) -> None:
    path = tokens_file(tmp_path / "tokens.toml", entry("desk", "krosmcp_desk", "read"))
    async with (
        open_http(sim, tokens_file=path, public_url="https://numbers.example") as served,
        httpx.AsyncClient(transport=httpx.ASGITransport(app=served.app)) as http,
    ):
        urls = [f"http://numbers.example{path}" for path in ("/mcp/", "/healthz/", "/readyz/")]
        statuses = [(await http.post(url, content=b"{}")).status_code for url in urls]

    assert statuses == [401, 404, 404]


@pytest.mark.parametrize("claims", [{"sub": "user-2"}, {"client_id": "another-app"}])
async def test_a_session_is_not_there_for_anybody_else(sim: Simulator, issuer: Issuer, claims: dict[str, Any]) -> None:
    async with open_http(sim, issuer) as served:
        session = await served.opens_session(minted())
        answer = await served.lists_tools(session, minted(**claims))

    assert answer.status_code == 404


async def test_a_session_ends_with_its_token(sim: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    both = [entry("desk", "krosmcp_desk", "read"), entry("other", "krosmcp_other", "read")]
    async with open_http(sim, tokens_file=tokens_file(path, *both), clock=(clock := Clock())) as served:
        session = await served.opens_session("krosmcp_desk")
        tokens_file(path, both[1])
        clock.now += 1
        answer = await served.lists_tools(session, "krosmcp_desk")

    assert answer.status_code == 401


async def test_a_yes_that_comes_with_a_token_taken_back_buys_nothing(sim: Simulator, tmp_path: Path, era: str) -> None:
    path, clock, refused = tmp_path / "tokens.toml", Clock(), asyncio.Event()
    both = [entry("desk", "krosmcp_desk", "buy"), entry("other", "krosmcp_other", "read")]
    good, late = list(sim.inventory.values())[:2]
    prompts: list[object] = []

    async def says_yes(*prompt: object) -> ElicitResult:
        prompts.append(prompt)
        if len(prompts) == 2:
            tokens_file(path, both[1])
            clock.now += 1
        return ElicitResult(action="accept", content={"decision": "buy"})

    async with (
        open_http(sim, tcp=True, tokens_file=tokens_file(path, *both), clock=clock) as served,
        served.talks("krosmcp_desk", era, says_yes, refused) as client,
    ):
        await client.call_tool("buy_phone_number", place_of(good))
        call = asyncio.create_task(client.call_tool("buy_phone_number", place_of(late)))
        await refused.wait()
        states = {operation.e164: operation.state for operation in await served.operations()}
        tokens_file(path, *both)  # so that the client can take its leave
        clock.now += 1
        call.cancel()
        with pytest.raises((asyncio.CancelledError, MCPError)):
            await call

    assert states == {good.e164: State.DONE, late.e164: State.PROPOSED}
    assert [charge.e164 for charge in sim.charges] == [good.e164]


async def test_the_callers_token_never_reaches_krosai(sim: Simulator, issuer: Issuer, era: str) -> None:
    token = minted(scope="numbers:read numbers:buy")
    [item, *_] = sim.inventory.values()
    async with open_http(sim, issuer, tcp=True) as served, served.talks(token, era) as client:
        place = place_of(item)
        asked = await client.call_tool("buy_phone_number", place)
        assert asked.structured_content is not None
        code = asked.structured_content["confirmation_code"]
        bought = await client.call_tool("buy_phone_number", place | {"confirmation_code": code})

        assert bought.structured_content is not None
        assert bought.structured_content["status"] == "done"
        [operation] = await served.operations()

    assert operation.principal == f"{URL}|user-1"
    assert len(sim.charges) == 1
    assert len(served.upstream.heads) > 2
    for head in served.upstream.heads:
        assert sim.api_key.encode() in head
        assert not any(part.encode() in head for part in token.split(".")[1:])


async def test_who_asks_too_fast_is_told_when_to_come_back_and_others_are_not_held_up(
    sim: Simulator, issuer: Issuer
) -> None:
    async with open_http(sim, issuer, requests_per_second=0.001) as served:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        first, second = await served.post(ping, minted()), await served.post(ping, minted())
        other = await served.post(ping, minted(sub="user-2"))

    assert first.status_code != 429
    assert second.status_code == 429
    assert 990 < int(second.headers["retry-after"]) <= 1000
    assert other.status_code == first.status_code


def test_a_callers_allowance_comes_back_with_time() -> None:
    clock = Clock()
    pace = RateLimiter(2, clock)

    assert [pace.wait_seconds("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    assert pace.wait_seconds("b") == 0
    clock.now += 0.5
    assert [pace.wait_seconds("a") for _ in range(2)] == [0, 1]
    clock.now += 3600
    assert [pace.wait_seconds("a") for _ in range(5)] == [0, 0, 0, 0, 1]
