"""The KrosAI API, one method per operation (docs/krosai.md, section 2).

Reads are retried while the caller's time lasts. Writes are sent once and never retried here. Each failure is
a KrosaiError that says whether the request left; cancellation passes through untouched.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import anyio

from kros_mcp.errors import (
    ApiError,
    InvalidArgumentError,
    KrosaiError,
    NotFoundError,
    NumberNotAvailableError,
    OtherOrganizationError,
    OutcomeUnknownError,
    ProtocolError,
)
from kros_mcp.krosai.connections import AuthHeader, Connections, headers
from kros_mcp.krosai.envelope import ListKind, read_list, read_object, stated_organizations
from kros_mcp.krosai.exchange import (
    BeforeSending,
    Flight,
    Reply,
    exchange,
    judge_reading,
    reading_errors,
)
from kros_mcp.krosai.pace import Pace
from kros_mcp.krosai.paging import LastReading, Page, find_endpoint
from kros_mcp.krosai.refusals import judge_answer, require_readable
from kros_mcp.krosai.retry import retry_read, seconds_left
from kros_mcp.krosai.tally import Kind, Tally
from kros_mcp.krosai.text import Mask
from kros_mcp.krosai.traffic import Reach
from kros_mcp.krosai.wire import (
    CallEndpoint,
    NumberForSale,
    PhoneNumber,
    read_available,
    read_endpoint,
    read_phone_number,
)
from kros_mcp.krosai.writes import Order, Routing, Spelling, Written
from kros_mcp.numbering import in_country, matches_area_code, may_lie_in

if TYPE_CHECKING:
    import httpx

_LONGEST_WRITE_SECONDS: Final = 30.0
_LONGEST_ATTEMPT_SECONDS: Final = 10.0
_WRITES: Final = {"POST": Kind.ORDER, "PATCH": Kind.CHANGE, "DELETE": Kind.RELEASE}
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
OTHER_ORGANIZATION: Final = OtherOrganizationError.code
_NO_SUCH_ROUTE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What all clients of one key share, as KrosAI limits the key: the pace, and a day's count of requests."""

    pace: Pace
    tally: Tally


class KrosClient:
    """A client of KrosAI, over the connections that it is given.

    `reach` tells whether KrosAI answers, `tally` how many requests it was sent, `pace` how fast it may be asked in the
    background (clients of one key share it), `last_owned` which numbers the last whole reading of the list showed.
    Where an organization is named, an answer with a number or an endpoint that states another one is refused as a
    whole: it is not known then what it leaves out.
    """

    def __init__(
        self, connections: Connections, organization_id: str | None = None, limits: KeyLimits | None = None
    ) -> None:
        self._connections = connections
        self._organization_id = organization_id
        self.reach = Reach()
        self.limits = limits or KeyLimits(Pace(), Tally())
        self.tally, self.pace = self.limits.tally, self.limits.pace
        self.last_owned = LastReading()
        self._serves_single_endpoints = True

    def warm_up(self) -> None:
        """Load what the first request needs, so that it starts at once."""
        self._connections.warm_up()

    async def list_owned(
        self, *, status: str = "", country: str = "", limit: int = 20, offset: int = 0
    ) -> Page[PhoneNumber]:
        """Read one page of the account's numbers (section 2.1).

        Only the guide documents the filters, so records that contradict them are dropped here as well.
        """
        query = _query(action="assigned", status=status, country=country, limit=limit, offset=offset)
        raw, total = await self._list("/phone-numbers", query, "owned")
        page = Page.read(raw, read_phone_number, total=total, offset=offset)
        return page.where(
            lambda number: _agrees(number.status, status) and _lies_in(number.country, number.e164, country)
        )

    async def list_available(
        self,
        *,
        country: str,
        type: str = "",  # noqa: A002  # KrosAI's own name
        area_code: str = "",
        limit: int = 20,
        offset: int = 0,
    ) -> Page[NumberForSale]:
        """Read one page of the numbers for sale (section 2.2).

        Only the guide documents `area_code`, so records that contradict a filter are dropped here as well.
        """
        query = _query(action="available", country=country, type=type, area_code=area_code, limit=limit, offset=offset)
        try:
            raw, total = await self._list("/phone-numbers", query, "available")
        except (NotFoundError, NumberNotAvailableError) as exc:
            if exc.status != HTTPStatus.NOT_FOUND:
                raise
            raise _not_served(country, type) from exc
        page = Page.read(raw, read_available, total=total, offset=offset)
        return page.where(
            lambda number: (
                _agrees(number.type, type)
                and _lies_in(number.country, number.e164, country)
                and _in_area(number, country, area_code)
            )
        )

    async def get_number(self, number_id: str) -> PhoneNumber:
        """Read one number with all its details (section 2.3).

        Raises:
            ProtocolError: The answer cannot be read, or it is a record with another id.
        """
        reply = await self._read(f"/phone-numbers/{_segment(number_id)}", Kind.NUMBER)
        self._require_own(reply.body)
        number = read_phone_number(read_object(reply.body, "number"))
        _require_same(number.id, number_id)
        return number

    async def list_endpoints(self, *, limit: int = 50, offset: int = 0) -> Page[CallEndpoint]:
        """Read one page of the endpoints, to which calls can be routed (section 6)."""
        raw, total = await self._list("/endpoints", _query(limit=limit, offset=offset), "endpoints")
        return Page.read(raw, read_endpoint, total=total, offset=offset)

    async def get_endpoint(self, endpoint_id: str) -> CallEndpoint:
        """Read one endpoint (section 6); from the list if KrosAI has no path for a single one.

        Raises:
            NotFoundError: The whole list was read and does not hold it.
        """
        if self._serves_single_endpoints:
            try:
                reply = await self._read(f"/endpoints/{_segment(endpoint_id)}", Kind.ENDPOINTS)
            except ApiError as exc:
                if exc.status not in _NO_SUCH_ROUTE:
                    raise
            else:
                self._require_own(reply.body)
                endpoint = read_endpoint(read_object(reply.body, "endpoint"))
                _require_same(endpoint.id, endpoint_id)
                return endpoint
        endpoint = await find_endpoint(self.list_endpoints, endpoint_id)
        self._serves_single_endpoints = False
        return endpoint

    async def purchase(
        self, order: Order, *, idempotency_key: str, before_sending: BeforeSending | None = None
    ) -> Written:
        """Buy a number (section 2.4). Spends money.

        Args:
            order: The number, its first settings, and the costs that were shown.
            idempotency_key: Sent as a header; KrosAI may ignore it (section 1).
            before_sending: Called just before the request leaves, and possibly earlier as well. If it raises, the
                request is not sent and the exception is passed on unchanged.

        Raises:
            NotSentError: The request never left.
            ApiError: KrosAI refused, and did nothing.
            OutcomeUnknownError: Anything else.
        """
        return await self._write("POST", "/phone-numbers", idempotency_key, before_sending, body=order.body())

    async def update_number(
        self,
        number_id: str,
        changes: Routing,
        *,
        spelling: Spelling = "snake",
        idempotency_key: str,
        before_sending: BeforeSending | None = None,
    ) -> Written:
        """Set a number's endpoint and flags (section 2.5); errors and `before_sending` as in `purchase`."""
        path = f"/phone-numbers/{_segment(number_id)}"
        return await self._write("PATCH", path, idempotency_key, before_sending, body=changes.body(spelling))

    async def release_number(
        self, number_id: str, *, permanent: bool, idempotency_key: str, before_sending: BeforeSending | None = None
    ) -> Written:
        """Release a number (section 2.6), softly unless `permanent`; errors and `before_sending` as in `purchase`."""
        path = f"/phone-numbers/{_segment(number_id)}"
        query = {} if permanent else {"action": "release"}
        return await self._write("DELETE", path, idempotency_key, before_sending, query=query)

    async def _list(self, path: str, query: Mapping[str, str], kind: ListKind) -> tuple[list[object], int | None]:
        reply = await self._read(path, Kind(kind), query)
        if kind != "available":  # what is for sale is nobody's yet
            self._require_own(reply.body)
        return read_list(reply.body, kind)

    def _require_own(self, body: object) -> None:
        if self._is_of_another(body):
            raise OtherOrganizationError(
                "KrosAI answered with a record of another organization than was asked for, so the answer is not used; "
                "nothing was charged or changed."
            )

    def _is_of_another(self, body: object) -> bool:
        own = self._organization_id
        return own is not None and any(not _is_same(str(each), own) for each in stated_organizations(body))

    async def _read(self, path: str, kind: Kind, query: Mapping[str, str] | None = None) -> Reply:
        async def read_once() -> Reply:
            return require_readable(await self.ask(path, kind, query))

        return await retry_read(read_once)

    async def ask(self, path: str, kind: Kind, query: Mapping[str, str] | None = None, *, opaque_id: str = "") -> Reply:
        """Send one GET and return its answer as it is, an error too; nothing is retried, and nothing is judged.

        Args:
            path: Below the base URL.
            kind: What it asks, for the count of requests.
            query: The query parameters.
            opaque_id: The last segment of the path, if that is an id.

        Raises:
            KrosaiError: No answer came, or none that could be read to its end.
            RequestsUsedUpError: What is left of the day's requests is kept for something else.
        """
        path = f"{path}/{_segment(opaque_id)}" if opaque_id else path
        # Slightly longer than the time left, so that the caller's limit ends the read, not httpx's.
        timeout = min(_LONGEST_ATTEMPT_SECONDS, max(0.0, seconds_left()) + 0.25)
        failure: KrosaiError | None = None
        async with self._connections.reading() as reading:
            url = self._connections.url(path, query or {})
            flight = Flight(None)
            extensions = {"trace": flight.trace}
            request = reading.build_request("GET", url, headers=_request_id(), timeout=timeout, extensions=extensions)
            try:
                with self.tally.leaving(kind, flight.never_left), self.reach.watched():
                    reply = await exchange(reading, request, _route(path), self._connections.mask)
            except reading_errors() as exc:
                failure = judge_reading(exc, self._connections.proxy)
        if failure is not None:
            raise failure
        self.pace.heard(reply)
        return reply

    async def _write(
        self,
        method: str,
        path: str,
        idempotency_key: str,
        before_sending: BeforeSending | None,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Written:
        writing = self._connections.writing()
        flight = Flight(before_sending, has_body=body is not None, proxy=self._connections.proxy)
        request = writing.build_request(
            method,
            path,
            params=query,
            json=body,
            headers=_request_id() | {"idempotency-key": idempotency_key},
            extensions={"trace": flight.trace},
        )
        flight.check()
        failure: KrosaiError | None = None
        reply: Reply | None = None
        with anyio.move_on_after(_LONGEST_WRITE_SECONDS):
            try:
                with self.tally.leaving(_WRITES[method], flight.never_left), self.reach.watched():
                    reply = await exchange(writing, request, _route(path), self._connections.mask)
            except Exception as exc:  # once sent, no failure may be taken for "nothing happened"
                if flight.was_stopped_by(exc):
                    raise
                failure = flight.judge(exc)
        if reply is None:
            raise failure or flight.judge(None)
        self.pace.heard(reply)
        written = judge_answer(reply, method)
        if self._is_of_another(reply.body):
            raise OutcomeUnknownError(
                "KrosAI answered with a record of another organization than was asked for; whether it acted, and for "
                "whom, is not known.",
                code=OTHER_ORGANIZATION,
                next_step="Look in KrosAI's dashboard what was done, and for which organization; nothing else can "
                "tell.",
            )
        return written


@asynccontextmanager
async def open_client(
    *,
    base_url: str,
    api_key: str,
    auth_header: AuthHeader = "bearer",
    organization_id: str | None = None,
    requests_per_day: int | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    limits: KeyLimits | None = None,
) -> AsyncIterator[KrosClient]:
    """Open a client of KrosAI; its connections are closed at the end.

    Args:
        base_url: The address of the API, as in "https://api.krosai.com/v1".
        api_key: The secret; sent in the header that `auth_header` names.
        auth_header: `Authorization: Bearer`, or `x-api-key`.
        organization_id: Sent as `x-organization-id` if given.
        requests_per_day: How many requests KrosAI is to be sent in 24 hours; any number if None.
        transport: Replaces the network, for the simulator and for faults; closed at the end.
        limits: Those of another client with this key. Defaults to some of its own.

    Raises:
        SettingsError: The key or the organization holds characters that no header can carry.
    """
    connections = Connections(base_url, headers(api_key, auth_header, organization_id), transport, mask=Mask(api_key))
    try:
        yield KrosClient(connections, organization_id, limits or KeyLimits(Pace(), Tally(requests_per_day)))
    finally:
        await connections.aclose()


def _is_same(one: str, other: str) -> bool:
    """Whether two ids are one; only a UUID may be written in either case."""
    if _UUID.fullmatch(one) and _UUID.fullmatch(other):
        return one.lower() == other.lower()
    return one == other


def _not_served(country: str, kind: str) -> NotFoundError:
    """Return the error for a search that KrosAI answered as not found."""
    what = f"{kind.replace('_', '-')} numbers" if kind else "numbers"
    return NotFoundError(
        f"KrosAI serves no such country or type: {what} {in_country(country.upper())}.",
        status=HTTPStatus.NOT_FOUND,
        code="NOT_SERVED",
        next_step="Search without a country to see what is for sale where, or for another type.",
    )


def _require_same(answered: str, asked: str) -> None:
    if answered != asked:
        raise ProtocolError("KrosAI answered with another record than the one asked for; nothing was changed.")


def _request_id() -> dict[str, str]:
    return {"x-request-id": str(uuid.uuid4())}


def _query(**query: str | int) -> dict[str, str]:
    """Return the query parameters without empty texts; 0 stays."""
    return {name: str(value) for name, value in query.items() if value != ""}


def _route(path: str) -> str:
    """Return a path with `{id}` in place of its second segment, for telemetry."""
    collection, _, opaque_id = path[1:].partition("/")
    return f"/{collection}/{{id}}" if opaque_id else path


def _segment(opaque_id: str) -> str:
    """Return an id encoded as one segment of a path, whatever it holds (section 2, "IDs").

    Raises:
        InvalidArgumentError: The segment would name another resource.
    """
    encoded = quote(opaque_id, safe="", errors="replace")
    if encoded in {"", ".", ".."}:
        raise InvalidArgumentError("That is not an id.")
    return encoded


def _agrees(stated: str | None, wanted: str) -> bool:
    """Whether a record fits a filter, by what it states.

    KrosAI may ignore filters, so they are applied again here (section 2, "Conflicts"). Only a contradiction counts: a
    record that states nothing was searched for with the filter, so it stays.
    """
    return not wanted or stated is None or stated == wanted.lower()


def _lies_in(stated: str | None, e164: str, country: str) -> bool:
    """Whether a number fits a country, by the country it states or else by its numbering plan."""
    if not country:
        return True
    return stated == country.upper() if stated else may_lie_in(e164, country.upper())


def _in_area(number: NumberForSale, country: str, area_code: str) -> bool:
    """Whether a number lies in an area, by the area code it states or by its national prefix."""
    return not area_code or number.area_code == area_code or matches_area_code(number.e164, country.upper(), area_code)
