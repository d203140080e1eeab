"""What one caller may hold open, and whose word on addresses is taken."""

import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from approvals_bench import AGENT, KEY, NIGHT, Tokens

from kros_mcp.http import rate_limit
from kros_mcp.http.access import Access, build_access
from kros_mcp.http.app import open_service
from kros_mcp.http.uvicorn_server import ListenAddress, bind
from kros_mcp.operations.model import Limits
from kros_mcp.simulator import Simulator, transport
from tests.support.issuer import entry, tokens_file
from tests.support.person import Person, accept
from tests.support.talk import settings_for
from tests.support.upstream import item_of
from tests.support.web import ACCEPT, access_for, modern, open_listening, open_web

pytestmark = pytest.mark.anyio


async def test_one_callers_open_prompts_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MOST_AT_ONCE", 3)
    sim, people = Simulator("reference"), [Person(accept("buy")) for _ in range(2)]
    async with open_web(sim, access_for("a", "b")) as web, anyio.create_task_group() as tasks:
        for nth, person in enumerate(people):
            person.thinking = anyio.Event()
            tasks.start_soon(buy, web, person, nth)
        for person in people:
            await person.asked.wait()
        async with web.client(authorization="Bearer a", **ACCEPT) as a, web.client(authorization="Bearer b") as b:
            # Two prompts are open; the third place goes from one short call to the next, and a fourth there is not.
            assert (await a.post("/mcp", **modern("tools/list"))).status_code == 200
            monkeypatch.setattr(rate_limit, "MOST_AT_ONCE", 2)
            refused = await a.post("/mcp", **modern("tools/list"))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert (await b.post("/mcp", **modern("tools/list"))).status_code == 200
            monkeypatch.setattr(rate_limit, "MOST_AT_ONCE", 100)
        for person in people:
            assert person.thinking is not None
            person.thinking.set()
    assert len(sim.charges) == len(people)


async def buy(web: Any, person: Person, nth: int) -> None:
    async with web.talk("a", "legacy", person) as talk:
        assert (await talk.buy(item_of(web.sim, nth=nth))).outcome == "done"


async def test_a_caller_that_is_no_longer_known_proposes_nothing() -> None:
    """Nobody could say what it may spend: not even an approver's yes should carry it out."""
    sim = Simulator("reference")
    known: dict[str, Limits] = {"tokens|a": Limits()}
    access = Access(access_for("a").verifier, own_limits=known.get)
    async with open_web(sim, access) as web, web.talk("a") as talk:
        assert (await talk.buy(item_of(sim))).outcome == "confirmation_required"
        known.clear()
        refused = await talk.buy(item_of(sim, nth=1))
        assert (refused.outcome, refused["charged"]) == ("NOT_PERMITTED", "no")
        operations = await web.service.runtime.account.journal.list_operations(limit=9)
    assert len(operations) == 1


async def test_an_approvers_session_ends_with_the_token_that_it_began_with(tmp_path: Path) -> None:
    sim, path = Simulator("reference"), tmp_path / "tokens.toml"
    now = [1000.0]
    tokens_file(path, entry("night", "first", "approve"))
    settings = settings_for(sim, state_keys=KEY, tokens_file=path)
    access = build_access(settings, clock=lambda: now[0])
    async with open_service(settings, access, transport=transport(sim)) as service:
        way = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=way, base_url="http://localhost") as browser:
            signing = {"data": {"credential": "first"}, "headers": {"origin": "http://localhost"}}
            assert (await browser.post("/approvals", **signing)).status_code == 303
            assert "Signed in as" in (await browser.get("/approvals")).text
            tokens_file(path, entry("night", "second", "approve"))
            now[0] += 2
            assert "Signed in as" not in (await browser.get("/approvals")).text


@pytest.mark.parametrize(("trusted", "limited"), [((), True), (("127.0.0.1/32",), False)])
async def test_an_address_that_a_request_claims_counts_only_if_a_trusted_proxy_says_so(
    trusted: tuple[str, ...], limited: bool
) -> None:
    sim = Simulator("reference")
    settings = settings_for(sim, state_keys=KEY, trusted_proxies=",".join(trusted))
    access = Access(Tokens(), own_limits=lambda _: Limits())
    async with (
        open_service(settings, access, transport=transport(sim)) as service,
        open_listening(service.app, settings) as url,
        httpx.AsyncClient(base_url=url, headers={"origin": url}) as client,
    ):
        answers = [
            await client.post("/approvals", data={"credential": AGENT}, headers={"x-forwarded-for": f"10.0.0.{nth}"})
            for nth in range(6)
        ]
        assert {answer.status_code for answer in answers[:5]} == {403}
        assert answers[5].status_code == (429 if limited else 403)
        approver = await client.post("/approvals", data={"credential": NIGHT}, headers={"x-forwarded-for": "10.0.0.99"})
        assert approver.status_code == (429 if limited else 303)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("127.evil.example", False),
        ("0.0.0.0", False),  # noqa: S104 - that it is seen for what it is
        ("::", False),
        ("numbers.example.com", False),
    ],
)
def test_only_what_is_loopback_counts_as_such(host: str, is_loopback: bool) -> None:
    assert ListenAddress(host, 8000).is_loopback is is_loopback


def test_a_machine_that_has_vanished_is_not_waited_for_long() -> None:
    """The system itself keeps the time; a packet that is lost for good cannot be had on one machine."""
    with bind(ListenAddress("127.0.0.1", 0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
