"""agent-security-harness, a suite of attacks on MCP servers: what is started for it, and how its report is read.

Its own tests run against the service and stdio in both eras of the protocol, and what it asks of approvals and of
hidden instructions is tried on this server's tools, with a simulated KrosAI as witness. Every test that does not pass
is a finding, the inconclusive ones too.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kros_mcp.simulator import Simulator, open_server
from tests.support.processes import KROS_MCP
from tests.support.replicas import EVERYTHING, open_service, token_of, write_tokens

from .findings import Finding, Scan
from .running import NothingScannedError, read_json, run_alone

NAME = "agent-security-harness"
PRINCIPALS = "owner", "other", "revoked", "buyer-by-code", "buyer-by-prompt"
_AUDIENCE = "https://numbers.example/mcp"
_SCRIPT = Path(__file__).with_name("harness_suite.py")
_WAYS = tuple(f"{way} {era}" for way in ("http", "stdio") for era in ("2026-07-28", "2025-11-25"))
_ADAPTED = {
    "approval-binding": ("APB-001", "APB-002", "APB-003"),
    "hidden-instruction": ("HI-001", "HI-002", "HI-003", "HI-004"),
}


async def agent_security_harness(_url: str, _token: str) -> Scan:
    """agent-security-harness: its attacks over HTTP and stdio in both eras, and its adapters on the guarded tools."""
    began = time.perf_counter()
    async with open_targets() as targets:
        report = read_json(await run_alone(NAME, "python", _SCRIPT, json.dumps(targets)))
    return scan_of(report, time.perf_counter() - began)


def scan_of(report: dict[str, Any], seconds: float) -> Scan:
    """Read the report of `harness_suite.py`.

    Raises:
        NothingScannedError: A test was not run, broke off, or sees no longer what is bad.
    """
    rows: dict[str, list[dict[str, str]]] = report["rows"]
    if report["unseen"]:
        raise NothingScannedError(f"{NAME} finds nothing in targets that are bad: {', '.join(report['unseen'])}.")
    for place in (*_WAYS, *_ADAPTED):
        wanted = _ADAPTED.get(place, report["tests"])
        of_place = [(name, run) for name, run in rows.items() if name.partition(",")[0] == place]
        if not wanted or not of_place:
            raise NothingScannedError(f"{NAME} did not run on {place}.")
        for name, run in of_place:
            if missing := set(wanted) - {row["test"] for row in run}:
                raise NothingScannedError(f"{NAME} did not run {', '.join(sorted(missing))} on {name}.")
    known = {"passed", "failed", "inconclusive"}
    every = [(place, row) for place, run in rows.items() for row in run]
    if broken := [f"{row['test']} on {place}: {row['details']}" for place, row in every if row["verdict"] not in known]:
        raise NothingScannedError(f"{NAME} broke off: {'; '.join(broken)[:2000]}")
    counted = Counter(row["verdict"] for _, row in every)
    what = ", ".join(f"{counted[verdict]} {verdict}" for verdict in ("passed", "failed", "inconclusive"))
    found = tuple(_finding(place, row) for place, row in every if row["verdict"] != "passed")
    return Scan(NAME, report["version"], f"{len(every)} tests: {what}", found, seconds)


def _finding(place: str, row: dict[str, str]) -> Finding:
    """Name what did not pass; its answer belongs to the place, so that a reason holds for that answer alone."""
    where = ", ".join(part for part in (place, row["variant"], row["answer"]) if part)
    return Finding(NAME, f"{row['test']} {row['verdict']}", where)


@asynccontextmanager
async def open_targets() -> AsyncIterator[dict[str, Any]]:
    """Start a service that knows callers by tokens and by JWTs; yields what the suite has to know of it."""
    ours, theirs = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    sim = Simulator("guide", balance_cents=10_000_000, stock_per_range=40)
    sim.app.router.routes.extend(_switches(sim))
    protected = [sim.own(item, "active").e164 for item in list(sim.inventory.values())[-3:]]
    with tempfile.TemporaryDirectory(prefix="kros-mcp-harness-") as name:
        tokens = write_tokens(Path(name) / "tokens.toml", PRINCIPALS)
        async with open_server(sim) as krosai, _open_keys(ours) as issuer:
            account = {
                "KROS_BASE_URL": krosai,
                "KROS_API_KEY": sim.api_key,
                "KROS_CONFIRMATION": "conversation",
                "KROS_DAILY_BUDGET_CENTS": "1000000",
                "KROS_ANSWER_WITHIN_SECONDS": "20",
                "KROS_PROTECTED_NUMBERS": ",".join(protected),
            }
            books = {**account, "KROS_JOURNAL_URL": f"sqlite:///{name}/service.db"}
            settings = {
                **books,
                "KROS_TOKENS_FILE": str(tokens),
                "KROS_PUBLIC_URL": "https://numbers.example",
                "KROS_OAUTH_ISSUER": issuer,
                # To be refused for being too fast would pass for being refused.
                "KROS_REQUESTS_PER_SECOND": "0",
            }
            async with open_service([], settings, Path(name) / "service.log") as service:
                await service.served()
                yield {
                    "url": service.url,
                    "stdio": [str(KROS_MCP)],
                    "environment": account,
                    "books": books,
                    "folder": name,
                    "krosai": krosai,
                    "protected": protected,
                    "tokens_file": str(tokens),
                    "tokens": {each: token_of(each) for each in PRINCIPALS},
                    "jwts": {
                        "own": _minted(ours, issuer),
                        "other audience": _minted(ours, issuer, aud="https://elsewhere.example/mcp"),
                        "other issuer": _minted(theirs, "https://other.example"),
                        "other issuer, same keys": _minted(ours, "https://other.example"),
                    },
                }


def _switches(sim: Simulator) -> list[Route]:
    """Make what only a dashboard could do: let a number be owned or for sale, and name all endpoints."""

    async def number(request: Request) -> JSONResponse:
        wanted = await request.json()
        owned = sim.owned_by_e164(wanted["e164"])
        if owned is not None and not wanted["owned"]:
            sim.delete(owned)
        if owned is None and wanted["owned"]:
            item = next(each for each in sim.inventory.values() if each.e164 == wanted["e164"])
            del sim.inventory[item.id]
            owned = sim.own(item, "active")
        if owned is not None:
            settings = {"endpoint_id": next(iter(sim.endpoints)), "allow_inbound": True, "allow_outbound": True}
            sim.change(owned, settings)
        return JSONResponse({})

    async def endpoints(request: Request) -> JSONResponse:
        name = (await request.json())["name"]
        for endpoint in sim.endpoints.values():
            endpoint.name = name
        return JSONResponse({})

    return [
        Route("/_tests/number", number, methods=["POST"]),
        Route("/_tests/endpoints", endpoints, methods=["POST"]),
    ]


def _minted(key: rsa.RSAPrivateKey, issuer: str, *, aud: str = _AUDIENCE) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "aud": aud, "sub": "owner", "iat": now, "exp": now + 600, "scope": " ".join(EVERYTHING)}
    return jwt.encode(claims, key, "RS256", headers={"kid": "1"})


@asynccontextmanager
async def _open_keys(key: rsa.RSAPrivateKey) -> AsyncIterator[str]:
    """Publish the public half of a key as an identity provider does; yields the issuer."""
    jwk = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "alg": "RS256", "use": "sig"}
    body = json.dumps({"keys": [jwk]}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
