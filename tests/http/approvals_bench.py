"""An approvals page at a simulator: who may sign in, what waits, and a browser without a screen."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any

import anyio
import httpx
from mcp.server.auth.provider import AccessToken
from starlette.applications import Starlette

from kros_mcp.http.access import Access
from kros_mcp.http.persons_routes import persons_routes
from kros_mcp.journals.sqlite import open_sqlite
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.release import RELEASE
from kros_mcp.operations.acts.several import SEVERAL_PURCHASE
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Channel, Limits, Operation, Quote, Request, new_operation_id
from kros_mcp.runtime import open_runtime
from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, transport
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.caller import caller_token, principal_of
from kros_mcp.tools.specs import Scope
from tests.support.clock import Clock

HERE = "http://127.0.0.1:8000"
COOKIE = "kros-approvals"
FOREIGN = {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}
KEY, OTHER_KEY = "k" * 32, "o" * 32
NIGHT, DAY, BOTH, AGENT, AUDITOR = (f"canary{digit * 12}" for digit in "12345")
AGENT_SCOPES = frozenset({Scope.READ, Scope.BUY, Scope.RELEASE, Scope.CONFIGURE})
SUPPORT = principal_of("tokens", "support-agent")
NIGHT_DESK, DAY_DESK = principal_of("tokens", "night-desk"), principal_of("tokens", "day-desk")
HOLDERS = {
    NIGHT: ("night-desk", frozenset({Scope.APPROVE})),
    DAY: ("day-desk", frozenset({Scope.APPROVE})),
    BOTH: ("both", frozenset({Scope.APPROVE, Scope.READ})),
    AGENT: ("support-agent", AGENT_SCOPES),
    AUDITOR: ("controller", frozenset({Scope.AUDIT})),
}


class Tokens:
    """Knows the tokens above."""

    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in HOLDERS:
            return None
        name, scopes = HOLDERS[token]
        return caller_token("tokens", name, scopes)


def access(**more: Any) -> Access:
    return Access(Tokens(), own_limits=lambda _: Limits(), **more)


def settings_for(sim: Simulator, **chosen: Any) -> Settings:
    given = {"confirmation": "approver", "currency": "USD", "state_keys": KEY, "public_url": None, **chosen}
    return Settings(
        api_key=sim.api_key, base_url="https://simulator.invalid/v1", journal_url="sqlite://:memory:", **given
    )


@dataclass
class Browser:
    """Keeps cookies, follows redirects, and says where its forms come from, as browsers do."""

    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=lambda: {"origin": HERE, "sec-fetch-site": "same-origin"})

    async def get(self, path: str = "/approvals") -> httpx.Response:
        return await self.http.get(path)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return await self.http.post(path, data=form, headers={**self.headers, **headers})

    async def sign_in(self, credential: str = NIGHT, **more: str) -> httpx.Response:
        return await self.post("/approvals", {"credential": credential, **more})

    async def form(self, operation: Operation) -> dict[str, str]:
        """Read the hidden fields of the form that decides."""
        return hidden((await self.get(f"/approvals/{operation.id}")).text)

    async def decide(self, operation: Operation, decision: str, reason: str = "") -> httpx.Response:
        filled = {**await self.form(operation), "decision": decision, "reason": reason}
        return await self.post(f"/approvals/{operation.id}", filled)


def hidden(html: str) -> dict[str, str]:
    """Read the hidden fields of the last form of a page."""
    form = html.rsplit("<form", 1)[-1]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}


def text_of(response: httpx.Response) -> str:
    """Read a page as people do."""
    inline = re.sub(r"</?(?:span|b|a|code|wbr)\b[^>]*>", "", response.text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inline)).split())


@dataclass
class Bench:
    """A service's runtime and its page."""

    sim: Simulator
    runtime: Runtime
    clock: Clock
    pace: Clock
    app: Starlette

    def browser(self, address: str = "127.0.0.1", base_url: str = HERE) -> Browser:
        way = httpx.ASGITransport(app=self.app, client=(address, 50_000))
        return Browser(httpx.AsyncClient(transport=way, base_url=base_url, follow_redirects=True))

    async def signed_in(self, credential: str = NIGHT) -> Browser:
        browser = self.browser()
        answer = await browser.sign_in(credential)
        assert "Signed in as" in answer.text
        return browser

    async def sealed(self, credential: str = NIGHT) -> str:
        """Sign in without looking at anything; the cookie."""
        browser = self.browser()
        browser.http.follow_redirects = False
        await browser.sign_in(credential)
        return browser.http.cookies[COOKIE]

    async def purchase(self, principal: str = SUPPORT, at: int = 0, **wanted: Any) -> Operation:
        """Let somebody ask to buy one of the numbers for sale."""
        account = self.runtime.account
        page = await account.inventory.search(country="NG", type="mobile")
        return await PURCHASE.propose(
            account, principal, Request(country="NG", type="mobile", **wanted), page.items[at].e164
        )

    async def purchases(self, count: int = 3, principal: str = SUPPORT, *, at: int = 0) -> Operation:
        """Let somebody ask to buy several of the numbers for sale under one yes."""
        account = self.runtime.account
        page = await account.inventory.search(country="NG", type="mobile", limit=50)
        request = Request(country="NG", type="mobile")
        wishes = [Wish(request, item.e164) for item in page.items[at : at + count]]
        return await SEVERAL_PURCHASE.propose(account, principal, wishes)

    async def release(self, principal: str = SUPPORT) -> Operation:
        number = next(iter(self.sim.owned.values()))
        return await RELEASE.propose(self.runtime.account, principal, Request(number_id=number.id), "")

    async def stored(self, operation: Operation) -> Operation:
        found = await self.runtime.account.journal.get(operation.id)
        assert found is not None
        return found

    async def until_told(self, batch: Operation) -> tuple[Operation, ...]:
        """Wait until the running server has brought every number of a batch to its end."""
        with anyio.fail_after(10):
            while not (items := await self.runtime.account.journal.items(batch.id)) or any(
                item.state == "sending" for item in items
            ):
                pass
        return items

    async def until(self, operation: Operation, state: str) -> Operation:
        """Wait until the running server has brought an operation there."""
        with anyio.fail_after(10):
            while (found := await self.stored(operation)).state != state:
                pass
        return found


@asynccontextmanager
async def open_bench(
    sim: Simulator | None = None,
    *,
    clock: Clock | None = None,
    journal: Journal | None = None,
    loopback: bool = True,
    who: Access | None = None,
    way: httpx.AsyncBaseTransport | None = None,
    **chosen: Any,
) -> AsyncIterator[Bench]:
    """Open one replica; give several the same journal, simulator and clock."""
    sim, clock, pace = sim or Simulator(), clock or Clock(), Clock()
    async with open_sqlite("sqlite://:memory:", clock=clock) as own:
        settings = settings_for(sim, **chosen)
        who = who or access()
        async with open_runtime(
            settings,
            transport=way or transport(sim),
            journal=journal or own,
            own_limits=who.own_limits,
            own_scopes=who.own_scopes,
        ) as runtime:
            routes = persons_routes(runtime, who, loopback=loopback, clock=clock, limiter_clock=pace)
            yield Bench(sim, runtime, clock, pace, Starlette(routes=routes))


def wanted_headers(answer: httpx.Response) -> None:
    policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    for name, value in {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cache-control": "no-store",
    }.items():
        assert answer.headers.get(name) == value, (answer.request.url, answer.status_code)


async def a_browser_with(bench: Bench, cookie: str, name: str = COOKIE) -> Browser:
    browser = bench.browser()
    browser.http.cookies.set(name, cookie)
    return browser


def an_operation(bench: Bench, **changes: Any) -> Operation:
    now = bench.clock()
    return replace(
        Operation(
            id=new_operation_id(),
            account=bench.runtime.account.id,
            principal=SUPPORT,
            action=Action.BUY,
            e164="+2348035550111",
            request=Request(inventory_id="inv_1", country="NG"),
            quote=Quote("+2348035550111", "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500),
            created_at=now,
            expires_at=now + 3600,
            channel=Channel.APPROVER,
        ),
        **changes,
    )
