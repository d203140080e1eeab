"""The simulated KrosAI as an ASGI application: one pipeline that every API request goes through.

The steps are admission, faults before acting, the act or its cached answer, and faults after acting. The API is under
/v1, the control for people and tests under /_simulator.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kros_mcp.simulator.admission import Admission, TooManyRequestsError, number_or_text
from kros_mcp.simulator.api import perform
from kros_mcp.simulator.calls import Answer, ApiCall, RefusalError
from kros_mcp.simulator.faults import WRITES, Faults, Params
from kros_mcp.simulator.state import SimulatedAccount

_HTML = "<!doctype html><html><head><title>KrosAI</title></head><body><h1>We'll be right back</h1></body></html>"
_SECRET_HEADERS = frozenset({"authorization", "x-api-key"})


@dataclass
class ReceivedRequest:
    """A request that arrived; `status` is None while it is being answered, and if its answer was lost."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: float
    status: int | None = None


class DroppedResponse(Response):
    """An answer that breaks off, so that the server drops the connection."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send only the start: without one, uvicorn would answer with its own 500."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


@dataclass
class Pipeline:
    """The steps of every API request, and what they work on."""

    account: SimulatedAccount
    faults: Faults
    admission: Admission
    requests: list[ReceivedRequest]
    honours_idempotency: bool
    on_request: Callable[[ReceivedRequest], None] = lambda _: None
    """Called with each API request as it arrives."""
    _answered: dict[tuple[object, ...], Answer] = field(default_factory=dict)
    _in_progress: int = 0
    _watchers: list[anyio.Event] = field(default_factory=list)

    async def serve(self, request: Request, operation: str) -> Response:
        """Answer one API request."""
        raw = await request.body()
        seen = ReceivedRequest(
            method=request.method,
            path=request.url.path,
            query=dict(request.query_params),
            headers={name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS},
            body=_decoded(raw),
            at=self.account.now(),
        )
        self.requests.append(seen)
        self.on_request(seen)
        with self._counted():
            response = self.stamped(request, await self._respond(request, operation, seen.body, raw))
        seen.status = None if isinstance(response, DroppedResponse) else response.status_code
        return response

    async def settled(self) -> None:
        """Wait until every API request is answered, even those whose client has gone."""
        if self._in_progress:
            watcher = anyio.Event()
            self._watchers.append(watcher)
            await watcher.wait()

    def stamped(self, request: Request, response: Response) -> Response:
        """Add the headers that every answer carries."""
        response.headers["x-request-id"] = request.headers.get("x-request-id") or str(uuid.uuid4())
        response.headers.update(self.admission.headers())
        response.headers.setdefault("Date", _http_date(self.account.now()))
        return response

    async def _respond(self, request: Request, operation: str, body: object, raw: bytes) -> Response:
        try:
            self.admission.admit(operation, request.headers)
            await self._delay(operation, after=False)
            self._refuse(operation)
            answer = self._act(request, operation, body, raw)
        except RefusalError as refusal:
            return self._refused(refusal)
        await self._delay(operation, after=True)
        return self._spoilt(operation, _written(answer))

    async def _delay(self, operation: str, *, after: bool) -> None:
        if slow := self.faults.strike("slow", operation, after=after):
            await anyio.sleep(slow["seconds"])
        if self.faults.strike("hold", operation, after=after) is not None:
            await self.faults.hold()

    def _refuse(self, operation: str) -> None:
        if limited := self.faults.strike("rate_limited", operation):
            raise self._asking_to_wait(RefusalError(429, "Rate limit exceeded", "RATE_LIMIT_EXCEEDED"), limited)
        if away := self.faults.strike("unavailable", operation):
            raise self._asking_to_wait(RefusalError(503, "Service unavailable"), away)
        if refused := self.faults.strike("refuse", operation):
            raise RefusalError(refused["status"], refused["error"], refused["code"])
        if self.faults.strikes("error_before", operation):
            raise RefusalError(500, "Internal server error")

    def _asking_to_wait(self, refusal: RefusalError, wish: Params) -> RefusalError:
        if wish["retry_after"] is not None:
            refusal.headers["Retry-After"] = str(wish["retry_after"])
        in_body = wish["retry_after"] if wish["in_body"] is None else wish["in_body"]
        if in_body not in {None, ""}:
            refusal.fields["retry_after"] = number_or_text(str(in_body))
        refusal.headers["Date"] = _http_date(self.account.now() + wish["clock_seconds"])
        return refusal

    def _act(self, request: Request, operation: str, body: object, raw: bytes) -> Answer:
        if wrong := self.faults.strike("error_in_success", operation, commits=False):
            return Answer(200, wrong["body"])
        key = request.headers.get("idempotency-key")
        account = self._account_of(request)
        call = ApiCall(operation, request.path_params.get("id", ""), request.query_params, body, key)
        if key is None or operation not in WRITES or not self.honours_idempotency:
            return perform(account, self.faults, call)
        # Only what was done is remembered: a refusal may be overcome, say with more credit, and tried again.
        fingerprint = (account.organization_id, key, request.method, request.url.path, request.url.query, raw)
        if fingerprint not in self._answered:
            self._answered[fingerprint] = perform(account, self.faults, call)
        return self._answered[fingerprint]

    def _account_of(self, request: Request) -> SimulatedAccount:
        return self.account.organizations[request.headers.get("x-organization-id", self.account.organization_id)]

    def _spoilt(self, operation: str, response: Response) -> Response:
        if self.faults.strikes("lost_reply", operation):
            return DroppedResponse()
        if denied := self._denied(operation):
            return denied
        if self.faults.strikes("html_page", operation):
            return HTMLResponse(_HTML, 200)
        status = response.status_code if response.body else 200
        if self.faults.strikes("unknown_shape", operation):
            return JSONResponse({"ok": 1}, status)
        if self.faults.strikes("malformed_body", operation):
            half = bytes(response.body)[: max(len(response.body) // 2, 1)] or b'{"success'
            return Response(half, status, media_type="application/json")
        return response

    def _denied(self, operation: str) -> Response | None:
        """Return the error, if any, that answers what was done in spite of it."""
        if self.faults.strikes("error_after", operation):
            return self._refused(RefusalError(500, "Internal server error"))
        if limited := self.faults.strike("commits_then_429", operation):
            return self._refused(TooManyRequestsError(str(limited["retry_after"])))
        if refused := self.faults.strike("commits_then_refuses", operation):
            return self._refused(RefusalError(refused["status"], refused["error"], refused["code"]))
        if wrong := self.faults.strike("error_in_success", operation, commits=True):
            return JSONResponse(wrong["body"], 200)
        return None

    def _refused(self, refusal: RefusalError) -> Response:
        plain, shapes = Answer(refusal.status, refusal.fields), self.account.shapes
        answer = plain if shapes is None else shapes.refused(refusal.status, refusal.fields)
        return JSONResponse(answer.body, answer.status, headers=refusal.headers)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                for watcher in self._watchers:
                    watcher.set()
                self._watchers.clear()


def build_app(pipeline: Pipeline, control: list[Route]) -> Starlette:
    """Return the ASGI application: the API under /v1, the control under /_simulator."""

    def api(operation: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await pipeline.serve(request, operation)

        return endpoint

    async def numbers(request: Request) -> Response:
        searching = request.query_params.get("action", "assigned") == "available"
        return await pipeline.serve(request, "search" if searching else "list_owned")

    async def unrouted(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        return pipeline.stamped(request, JSONResponse({"error": "Resource not found"}, status))

    numbers_path, endpoints_path = "/v1/phone-numbers", "/v1/endpoints"
    routes = [
        Route(numbers_path, numbers, methods=["GET"]),
        Route(numbers_path, api("purchase"), methods=["POST"]),
        Route(f"{numbers_path}/{{id}}", api("get"), methods=["GET"]),
        Route(f"{numbers_path}/{{id}}", api("update"), methods=["PATCH"]),
        Route(f"{numbers_path}/{{id}}", api("release"), methods=["DELETE"]),
        Route(endpoints_path, api("list_endpoints"), methods=["GET"]),
        Route(f"{endpoints_path}/{{id}}", api("get_endpoint"), methods=["GET"]),
    ]
    app = Starlette(routes=[*routes, *control], exception_handlers={HTTPException: unrouted})
    # A path with a slash too many is unknown to an API, not a reason to redirect a purchase.
    app.router.redirect_slashes = False
    return app


def _decoded(raw: bytes) -> object:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _written(answer: Answer) -> Response:
    return Response(status_code=answer.status) if answer.body is None else JSONResponse(answer.body, answer.status)


def _http_date(at: float) -> str:
    return formatdate(at, usegmt=True)
