"""What agents, people and approvers do, through a proxy that ends TLS; KrosAI's books tell whether it worked."""

import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.session import ElicitationFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

from kros_mcp.simulator import Simulator
from tests.checks.packaging.checks import require
from tests.support.callers import Era
from tests.support.person import accept
from tests.support.replicas import token_of

CALLER, WAITER, APPROVER = "support-agent", "trainee", "lead"
"""Who confirms by prompt or code, whose purchases wait for an approver, and who approves."""
_PRESENT_SECONDS = 4
"""Within which a prompt has to be on the screen; a proxy that holds a stream back shows it never."""
_JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_SIGN_INS = 5
"""Wrong ones within a minute after which an address has to wait."""


class Walk:
    """Goes through one proxy.

    Args:
        port: Where the proxy listens on localhost.
        authority: Whose certificate it shows, in PEM form.
        sim: The KrosAI behind the service.
        thinks_seconds: How long a person takes to answer a prompt.
    """

    def __init__(self, port: int, authority: Path, sim: Simulator, thinks_seconds: float) -> None:
        self._here = f"https://localhost:{port}"
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._sim, self._thinks = sim, thinks_seconds
        self._bought = 0

    async def by_code(self, era: Era) -> None:
        """Buy by a code, as where a client shows no prompt."""
        async with self._client(CALLER, era) as client:
            asked = await self._buy(client)
            require(asked["status"] == "confirmation_required", f"asked for a purchase it answered {asked}")
            done = await self._buy(client, confirmation_code=asked["confirmation_code"])
        self._require_bought(done)

    async def by_prompt(self, era: Era) -> float:
        """Buy by a prompt on the stream of the call; the seconds until it was on the screen."""
        began, seen = time.perf_counter(), 0.0

        async def yes(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001 - by name
            nonlocal seen
            seen = time.perf_counter() - began
            require("5.00" in params.message, "the prompt does not say the amount")
            await anyio.sleep(self._thinks)
            return accept("buy")

        async with self._client(CALLER, era, yes) as client:
            began = time.perf_counter()
            done = await self._buy(client)
        self._require_bought(done)
        require(0 < seen < _PRESENT_SECONDS, f"the prompt was shown after {seen:.1f} s")
        return seen

    async def by_approver(self) -> None:
        """Ask for a number, and have the approver say yes on the page; a page from elsewhere may not."""
        async with self._client(WAITER, "auto") as client, self._http() as browser:
            waits = await self._buy(client)
            require(waits["status"] == "awaiting_approval", f"asked for a purchase it answered {waits}")
            page = f"/approvals/{waits['operation_id']}"
            signed_in = await self._post(browser, "/approvals", {"credential": token_of(APPROVER)})
            require(signed_in.is_redirect, f"signing in was answered {signed_in.status_code}")
            form = _hidden((await browser.get(page)).text) | {"decision": "approve", "reason": ""}
            foreign = await self._post(browser, page, form, origin="https://elsewhere.example")
            require(foreign.status_code == httpx2.codes.FORBIDDEN, f"another page's yes: {foreign.status_code}")
            decided = await self._post(browser, page, form)
            require(decided.is_redirect, f"the yes was answered {decided.status_code}")
            done: dict[str, Any] = {}
            with anyio.fail_after(15):
                while done.get("status") not in {"done", "failed"}:
                    looked = await client.call_tool("get_operation", {"operation_id": waits["operation_id"]})
                    done = looked.structured_content or {}
                    await anyio.sleep(0.2)
        self._require_bought(done)

    async def is_guarded(self) -> None:
        """See that another Host and a body that is too long do not get through."""
        async with self._http(authorization=f"Bearer {token_of(CALLER)}") as client:
            other = await client.get("/mcp", headers={"host": "elsewhere.example"})
            # nginx hands it on to the service, as it has no other name; Caddy has nothing to say under it.
            require(other.status_code == httpx2.codes.MISDIRECTED_REQUEST or not other.content, f"Host: {other}")
            long = await client.post("/mcp", content=b"x" * (256 * 1024 + 1))
            require(
                long.status_code == httpx2.codes.REQUEST_ENTITY_TOO_LARGE, f"256 KiB and a byte: {long.status_code}"
            )

    async def tells_the_address(self) -> None:
        """Sign in wrongly under addresses of one's own making: one address must have to wait. The last thing to do."""
        async with self._http() as client:
            answers = [
                await self._post(client, "/approvals", {"credential": "wrong"}, **{"x-forwarded-for": f"192.0.2.{n}"})
                for n in range(_SIGN_INS + 1)
            ]
        codes = [answer.status_code for answer in answers]
        require(codes == [403] * _SIGN_INS + [429], f"wrong sign-ins were answered {codes}")

    async def _buy(self, client: Client, **wanted: str) -> dict[str, Any]:
        found = await client.call_tool("search_phone_numbers", {"country": "NG", "limit": 1})
        require(found.structured_content, f"a search was answered {found}")
        offer = (found.structured_content or {})["numbers"][0]
        arguments = {"inventory_id": offer["inventory_id"], **wanted}
        answer = await client.call_tool("buy_phone_number", arguments)
        return answer.structured_content or {}

    def _require_bought(self, done: dict[str, Any]) -> None:
        self._bought += 1
        require(done.get("status") == "done", f"the purchase ended as {done}")
        require(len(self._sim.charges) == self._bought, f"{len(self._sim.charges)} charges, {self._bought} purchases")

    @asynccontextmanager
    async def _client(self, caller: str, era: Era, answers: ElicitationFnT | None = None) -> AsyncIterator[Client]:
        async with self._http(authorization=f"Bearer {token_of(caller)}") as http:
            way = streamable_http_client(f"{self._here}/mcp", http_client=http)
            async with Client(way, mode=era, elicitation_callback=answers) as client:
                yield client

    def _http(self, **headers: str) -> httpx2.AsyncClient:
        # Nothing of what is set for this machine's way into the internet.
        return httpx2.AsyncClient(
            base_url=self._here, headers=headers, verify=self._tls, timeout=self._thinks + 60, trust_env=False
        )

    async def _post(
        self, client: httpx2.AsyncClient, path: str, form: dict[str, str], **headers: str
    ) -> httpx2.Response:
        return await client.post(path, data=form, headers={"origin": self._here} | headers)


def _hidden(html: str) -> dict[str, str]:
    form = html.rsplit("<form", 1)[-1]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}
