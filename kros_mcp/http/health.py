"""Whether the service is alive and may be sent requests, for load balancers that ask every few seconds.

Whoever reaches the port may ask, under any name, so strangers get the state alone; a caller with a token, and the log,
get the reasons too. However many ask, the journal is checked once in two seconds and KrosAI never: the answer has what
the last request to it saw.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from kros_mcp.errors import KrosError
from kros_mcp.http.access import Access
from kros_mcp.http.bearer_auth import bearer_token
from kros_mcp.service_settings import LOOPBACK
from kros_mcp.times import utc
from kros_mcp.tools.call import Runtime
from kros_mcp.tools.caller import Caller, CallerToken

FRESH_SECONDS = 2.0
WAIT_SECONDS = 1.0
WRITABLE = "writable"
READABLE = "readable"
"""Of a read-only server, which may not write to its journal."""
SLOW = "JOURNAL_SLOW"
_HEADERS = {"cache-control": "no-store"}

logger = logging.getLogger(__name__)


class Health:
    """Answers the probes `/healthz` and `/readyz`.

    Args:
        runtime: What is open.
        access: How callers are known; None where everybody is let in.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, runtime: Runtime, access: Access | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runtime = runtime
        self._access = access
        self._clock = clock
        self._journal = SLOW
        self._fresh_until: float | None = None
        self._one_at_a_time = anyio.Lock()
        self._is_checking = False
        self._last = ""

    def routes(self) -> list[BaseRoute]:
        """Return the routes of both probes."""
        return [Route("/healthz", self._alive), Route("/readyz", self._ready)]

    async def _alive(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"}, headers=_HEADERS)

    async def _ready(self, request: Request) -> JSONResponse:
        found = await self.check()
        if found["status"] != self._last:
            self._last = found["status"]
            level = logging.INFO if self._last == "ready" else logging.WARNING
            logger.log(level, "the service is %s; its journal: %s", self._last, found["journal"])
        caller = await self._caller(request)
        shown = {"status": found["status"]} if caller is None else found
        if caller and caller.organization:  # what the service's own asks KrosAI, and when, is not theirs to know
            shown = {name: value for name, value in found.items() if name != "krosai"}
        return JSONResponse(shown, status_code=200 if found["status"] == "ready" else 503, headers=_HEADERS)

    async def _caller(self, request: Request) -> Caller | None:
        """Return who asks; where everybody is let in, somebody if the service is asked by a name of this machine."""
        if self._access is None:
            return Caller("", frozenset()) if request.url.hostname in LOOPBACK else None
        given = bearer_token(request.scope["headers"])
        token = await self._access.verifier.verify_token(given) if given else None
        return token.caller if isinstance(token, CallerToken) else None

    async def check(self) -> dict[str, Any]:
        """Return whether requests should come to this replica.

        Callers and KrosAI are shown beside it and do not decide it, for every other replica sees the same of them.
        """
        is_ready = self._runtime.runner.is_ready
        journal = await self._check_journal() if is_ready else "not looked at"
        reach = self._runtime.account.client.reach
        return {
            "status": "ready" if is_ready and journal in {WRITABLE, READABLE} else "not_ready",
            "journal": journal,
            "recovery": "done" if is_ready else "not_done",
            "callers": "unknown" if self._access and self._access.trouble() else "known",
            "krosai": {
                "state": reach.state,
                "since": utc(reach.since) if reach.since else None,
                "seen_at": utc(reach.seen_at) if reach.seen_at else None,
            },
        }

    async def _check_journal(self) -> str:
        async with self._one_at_a_time:
            if self._fresh_until is None or self._clock() >= self._fresh_until:
                self._journal = await self._check_once()
                self._fresh_until = self._clock() + FRESH_SECONDS
            return self._journal

    async def _check_once(self) -> str:
        """Write to the journal, unless an earlier write has not ended yet."""
        if self._is_checking:
            return SLOW
        self._is_checking = True
        try:
            # In a task of the server's: one that waits for a locked file cannot be cancelled.
            return await self._runtime.runner.shelter(self._use_journal, WAIT_SECONDS) or SLOW
        except KrosError as exc:
            return exc.code

    async def _use_journal(self) -> str:
        try:
            account = self._runtime.account
            if account.journal.only_reads:
                await account.journal.lacks_since(account.id)
                return READABLE
            await account.journal.check_writable()
        finally:
            self._is_checking = False
        return WRITABLE
