"""The endpoints that numbers are routed to: what they are called, and which of them take no calls.

One takes none if it is gone, reports an error, or is inactive.
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.krosai import CallEndpoint, EndpointList, KrosClient, PhoneNumber, plain_name, quoted_id, read_endpoints
from kros_mcp.operations import endpoint_names

NOTHING: Final = EndpointList({}, whole=False)
"""What is known where nothing was read."""
_KEPT_SECONDS: Final = 60.0
IN_LISTS_SECONDS: Final = 6_000.0
"""How long an endpoint that worked is not looked at again, where many numbers are listed."""
_NAMED: Final = 5


def trouble(endpoint: CallEndpoint | None) -> str:
    """Return a status in which an endpoint takes no calls; only in words of ours."""
    status = endpoint.status if endpoint else None
    return {"error": "reports an error", "inactive": "is inactive"}.get(status or "", "")


def troubles(endpoints: EndpointList, wanted: Collection[str]) -> dict[str, str]:
    """Return what is wrong with endpoints, by their id; of one that may only not have been seen, nothing."""
    found = endpoints.found
    shown = {one: trouble(found[one]) if one in found else "is gone" * endpoints.whole for one in wanted}
    return {endpoint_id: what for endpoint_id, what in shown.items() if what}


def routed(numbers: Iterable[PhoneNumber]) -> dict[str, list[PhoneNumber]]:
    """Group the numbers that have not ended by the endpoint that their calls go to."""
    grouped: dict[str, list[PhoneNumber]] = {}
    for number in numbers:
        if number.endpoint_id and not number.has_ended:
            grouped.setdefault(number.endpoint_id, []).append(number)
    return grouped


def warnings(numbers: Iterable[PhoneNumber], endpoints: EndpointList) -> list[str]:
    """Name the numbers whose calls may go nowhere, endpoint by endpoint, and the endpoints without a plain name."""
    groups = routed(numbers)
    wrong = troubles(endpoints, groups)
    found = [warning(group, one, wrong[one], endpoints.found.get(one)) for one, group in groups.items() if one in wrong]
    return found + unplain(endpoints, groups)


def unplain(endpoints: EndpointList, wanted: Iterable[str]) -> list[str]:
    """Warn of the endpoints that were read and have no plain name."""
    seen = [endpoints.found[one] for one in wanted if one in endpoints.found]
    return [endpoint_names.unplain(one.id, endpoint_names.kind_of(one)) for one in seen if not plain_name(one.name)]


def warning(numbers: list[PhoneNumber], endpoint_id: str, what: str, endpoint: CallEndpoint | None = None) -> str:
    """Say what is wrong with the endpoint of some numbers, and what follows."""
    them = "it" if len(numbers) == 1 else "them"
    where = f"endpoint {quoted_id(endpoint_id)}" if endpoint is None else endpoint_names.of(endpoint_id, endpoint)
    return f"{_named(numbers)} to {where}, which {what}: calls to {them} may go nowhere."


def _named(numbers: list[PhoneNumber]) -> str:
    named = ", ".join(number.e164 for number in numbers[:_NAMED])
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"{named}{more} {'goes' if len(numbers) == 1 else 'go'}"


class EndpointStates:
    """The endpoints as KrosAI listed them lately, for whoever shows numbers: names, and which of them take no calls.

    It is read at most once a minute, and more rarely while all of them work.
    """

    def __init__(self) -> None:
        self._seen = NOTHING
        self._sought: AbstractSet[str] = frozenset()
        """What it was read for: of an endpoint that nobody asked for then, absence says nothing, as it may be newer."""
        self._read_at: float | None = None
        self._lock = anyio.Lock()

    async def seen(
        self, client: KrosClient, wanted: AbstractSet[str], *, seconds: float, working_seconds: float = _KEPT_SECONDS
    ) -> EndpointList:
        """Return what is known of endpoints, as far as KrosAI tells in that time.

        An endpoint of which nobody knew before is looked for, however lately the list was read.

        Args:
            client: KrosAI.
            wanted: Their ids.
            seconds: How long reading the list may take.
            working_seconds: How old the list may be if all of them worked.
        """
        if not wanted:
            return NOTHING
        with anyio.move_on_after(seconds):
            async with self._lock:
                works = wanted <= self._seen.found.keys() and not troubles(self._seen, wanted)
                if self._age() >= (working_seconds if works else _KEPT_SECONDS):
                    self._keep(NOTHING, frozenset())
                if not wanted <= self._seen.found.keys() | self._sought:
                    await self._look(client, self._sought | wanted)
                return self._seen
        return NOTHING

    async def read(self, client: KrosClient) -> EndpointList:
        """Read all endpoints now, as whoever acts does.

        Raises:
            KrosaiError: KrosAI could not be read.
        """
        async with self._lock:
            endpoints = await read_endpoints(client.list_endpoints)
            self._keep(endpoints, self._sought)
            return endpoints

    async def _look(self, client: KrosClient, wanted: AbstractSet[str]) -> None:
        self._keep(NOTHING, wanted)
        try:
            self._keep(await read_endpoints(client.list_endpoints, wanted), wanted)
        except KrosError:  # nothing is said of endpoints then
            return

    def _keep(self, endpoints: EndpointList, sought: AbstractSet[str]) -> None:
        self._read_at, self._seen, self._sought = anyio.current_time(), endpoints, sought

    def _age(self) -> float:
        return float("inf") if self._read_at is None else anyio.current_time() - self._read_at
