"""An identity provider, and a service over HTTP that believes it; both watched."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kros_mcp.http.access import build_access
from kros_mcp.http.app import open_service
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.journal import EVERYTHING, Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Simulator, transport
from tests.support.talk import settings_for
from tests.support.web import open_listening, opening

URL = "https://issuer.example"
PUBLIC_URL = "https://numbers.example"
AUDIENCE = f"{PUBLIC_URL}/mcp"
CHALLENGED = "numbers:buy numbers:configure numbers:read numbers:release"
METADATA = f"{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"
SESSION = "mcp-session-id"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), **members}


class Issuer(httpx.AsyncBaseTransport):
    """Publishes keys and makes tokens; `answer` replaces what it publishes."""

    def __init__(self) -> None:
        self.keys = [public_jwk(RSA_KEY, kid="rsa-1", use="sig", alg="RS256"), public_jwk(EC_KEY, kid="ec-1")]
        self.asked: list[httpx.Request] = []
        self.answer: tuple[int, bytes] | httpx.TransportError | None = None
        self.asked_once = asyncio.Event()
        self.held: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.asked_once.set()
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.answer, httpx.TransportError):
            raise self.answer
        status, body = self.answer or (200, json.dumps({"keys": self.keys}).encode())
        headers = {"location": "http://169.254.169.254/"} if status == 302 else {}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def minted(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "rsa-1", **claims: Any) -> str:
    """Make a token that is good unless a claim says otherwise; a claim of None is left out."""
    now = int(time.time())
    good = {"iss": URL, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 300, "scope": "numbers:read"}
    kept = {name: value for name, value in (good | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={} if kid is None else {"kid": kid})


def entry(name: str, token: str, *scopes: str, **limits: Any) -> str:
    """Write an entry of the tokens file."""
    lines = [f"[tokens.{name}]", f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"']
    lines += [f"scopes = {json.dumps([f'numbers:{scope}' for scope in scopes])}"]
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in limits.items()), "", ""])


def tokens_file(path: Path, *entries: str) -> Path:
    path.write_text("".join(entries))
    path.chmod(0o600)
    return path


class Watched(httpx.AsyncBaseTransport):
    """The way to the simulated KrosAI, with every byte of every head that goes there."""

    def __init__(self, sim: Simulator) -> None:
        self._inner = transport(sim)
        self.heads: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        heads = [str(request.url).encode(), *(part for header in request.headers.raw for part in header)]
        self.heads.append(b"\n".join([*heads, await request.aread()]))
        return await self._inner.handle_async_request(request)


@dataclass
class Served:
    """A service over TCP, or one in this process, for answers that do not come in pieces."""

    url: str
    sim: Simulator
    journal: Journal
    upstream: Watched
    app: Any = None

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app) if self.app else None)

    async def post(self, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
        """Send a body, which is written as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"accept": "application/json, text/event-stream", "content-type": "application/json"} | headers
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        async with self._client() as client:
            return await client.post(self.url, content=content, headers=sent)

    async def get(self, path: str) -> httpx.Response:
        async with self._client() as client:
            return await client.get(self.url.removesuffix("/mcp") + path)

    async def calls(self, tool: str, token: str | None, **arguments: Any) -> httpx.Response:
        """Call a tool as the plainest of clients; only what is refused before the protocol matters is answered."""
        params = {"name": tool, "arguments": arguments}
        return await self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, token)

    @asynccontextmanager
    async def talks(
        self, token: str, era: str, answers: Any = None, refused: asyncio.Event | None = None
    ) -> AsyncIterator[Client]:
        """Talk as an agent; `answers` stands for the person, and `refused` is set once a token is not taken."""

        async def watch(response: httpx2.Response) -> None:
            if response.status_code == 401 and refused is not None:
                refused.set()

        headers, hooks = {"authorization": f"Bearer {token}"}, {"response": [watch]}
        async with (
            httpx2.AsyncClient(headers=headers, event_hooks=hooks) as http,
            Client(
                streamable_http_client(self.url, http_client=http), mode=era, elicitation_callback=answers
            ) as client,
        ):
            yield client

    async def opens_session(self, token: str) -> str:
        """Begin a session of the legacy era, by hand."""
        opened = await self.post(opening(), token)
        session = str(opened.headers["mcp-session-id"])
        await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, token, **{SESSION: session})
        return session

    async def lists_tools(self, session: str, token: str) -> httpx.Response:
        return await self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, token, **{SESSION: session})

    async def tools_in(self, session: str, token: str) -> set[str]:
        answer = await self.lists_tools(session, token)
        [data] = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        return {tool["name"] for tool in json.loads(data)["result"]["tools"]}

    async def operations(self) -> tuple[Operation, ...]:
        return tuple(await self.journal.list_operations(EVERYTHING))

    async def nothing_happened(self) -> bool:
        """Whether KrosAI was asked nothing, and nothing stands in the journal."""
        return not self.sim.requests and not await self.operations()


@asynccontextmanager
async def open_http(
    sim: Simulator,
    issuer: Issuer | None = None,
    *,
    tcp: bool = False,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve in this event loop, in front of a simulated KrosAI."""
    if issuer is not None:
        settings = {"oauth_issuer": URL, "public_url": PUBLIC_URL} | settings
    given = settings_for(sim, **settings)
    access = build_access(given, transport=issuer, clock=clock)
    upstream = Watched(sim)
    async with (
        open_sqlite("sqlite://:memory:") as journal,
        open_service(given, access, transport=upstream, journal=journal) as service,
    ):
        if not tcp:
            yield Served("http://127.0.0.1/mcp", sim, journal, upstream, service.app)
            return
        async with open_listening(service.app) as url:
            yield Served(f"{url}/mcp", sim, journal, upstream)
