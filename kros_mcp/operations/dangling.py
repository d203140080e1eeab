"""Which numbers are routed to an endpoint that takes no calls: it is gone, reports an error, or is inactive."""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import anyio

from kros_mcp.errors import KrosError
from kros_mcp.krosai import CallEndpoint, EndpointList, KrosClient, PhoneNumber, quoted_id, read_endpoints

_READ_AGAIN_SECONDS: Final = 60.0
_WORKING_SECONDS: Final = 1_800.0
"""How long an endpoint that worked is not looked at again, where numbers are only shown."""
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


def warnings(numbers: Iterable[PhoneNumber], wrong: Mapping[str, str]) -> list[str]:
    """Name the numbers whose calls may go nowhere, endpoint by endpoint."""
    return [warning(group, one, wrong[one]) for one, group in routed(numbers).items() if one in wrong]


def warning(numbers: list[PhoneNumber], endpoint_id: str, what: str) -> str:
    """Say what is wrong with the endpoint of some numbers, and what follows."""
    them = "it" if len(numbers) == 1 else "them"
    return f"{_named(numbers)} to endpoint {quoted_id(endpoint_id)}, which {what}: calls to {them} may go nowhere."


def _named(numbers: list[PhoneNumber]) -> str:
    named = ", ".join(number.e164 for number in numbers[:_NAMED])
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"{named}{more} {'goes' if len(numbers) == 1 else 'go'}"


class EndpointStates:
    """Looks at endpoints for whoever shows numbers, at most once a minute, and more rarely while all of them work."""

    def __init__(self) -> None:
        self._seen = EndpointList({}, whole=False)
        self._sought: AbstractSet[str] = frozenset()
        """What it was read for: of an endpoint that nobody asked for then, absence says nothing, as it may be newer."""
        self._read_at: float | None = None
        self._lock = anyio.Lock()

    async def troubles(self, client: KrosClient, wanted: AbstractSet[str], *, seconds: float) -> dict[str, str]:
        """Return what is wrong with endpoints, by their id, as far as KrosAI tells in that time."""
        if not wanted:
            return {}
        with anyio.move_on_after(seconds):
            async with self._lock:
                wrong = troubles(self._seen, wanted)
                works = not wrong and wanted <= self._seen.found.keys()
                age = float("inf") if self._read_at is None else anyio.current_time() - self._read_at
                if age >= (_WORKING_SECONDS if works else _READ_AGAIN_SECONDS):
                    await self._read(client, wanted)
                return troubles(self._seen, wanted & (self._sought | self._seen.found.keys()))
        return {}

    async def _read(self, client: KrosClient, wanted: AbstractSet[str]) -> None:
        self._read_at, self._seen, self._sought = anyio.current_time(), EndpointList({}, whole=False), wanted
        try:
            self._seen = await read_endpoints(client.list_endpoints, wanted)
        except KrosError:  # nothing is said of endpoints then
            return
