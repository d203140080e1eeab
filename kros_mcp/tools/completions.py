"""What a person may mean while they type an argument: countries, numbers, endpoints, operations.

Only ids and codes are offered, never a name from upstream; a name only helps to find its id.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import anyio

from kros_mcp import numbering
from kros_mcp.krosai import CallEndpoint, PhoneNumber, within
from kros_mcp.operations import policy
from kros_mcp.operations.account import Account
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import Limits
from kros_mcp.tools.caller import may_use

MOST: Final = 100
"""Values that one answer may hold, by the protocol."""
_KEPT_SECONDS: Final = 10.0
_LONGEST: Final = 100
_RECENT: Final = 50
_RECENT_SECONDS: Final = 7 * 86_400.0
"""How far back operations are offered; without an end, who has few would have the whole journal read."""

T = TypeVar("T")


class KeptValues(Generic[T]):
    """A reading of KrosAI that serves every keystroke of some seconds; one at a time.

    Args:
        read: Reads it.
        clock: Seconds that only go forward.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = anyio.Lock()
        self._until = 0.0
        self._value: T | None = None

    async def value(self) -> T:
        """Return the reading, a new one if it is ten seconds old."""
        async with self._lock:
            if self._value is None or self._clock() >= self._until:
                self._value = await self._read()
                self._until = self._clock() + _KEPT_SECONDS
            return self._value


class Completer:
    """Completes the arguments of the prompts and of the operations' resource.

    Args:
        account: The account's resources.
        seconds: How long an answer may take.
    """

    def __init__(self, account: Account, seconds: float) -> None:
        self._account = account
        self._seconds = seconds
        self._numbers: KeptValues[tuple[PhoneNumber, ...]] = KeptValues(self._read_numbers)
        self._endpoints: KeptValues[tuple[CallEndpoint, ...]] = KeptValues(self._read_endpoints)
        self._by_argument: dict[str, tuple[str, Callable[[str, str], Awaitable[list[str]]]]] = {
            "country": ("", self._countries),
            "endpoint_id": ("list_endpoints", self._endpoint_ids),
            "keep": ("list_phone_numbers", self._e164s),
            "operation_id": ("get_operation", self._operation_ids),
        }

    async def complete(self, argument: str, begun: str, principal: str) -> list[str]:
        """Offer values for an argument; none for one that this does not know or the caller may not read.

        Args:
            argument: Its name.
            begun: What was typed so far.
            principal: Who types.

        Raises:
            KrosError: KrosAI or the journal could not be read.
        """
        tool, offer = self._by_argument.get(argument, ("", None))
        if offer is None or not may_use(tool):
            return []
        with within(self._seconds):
            return await offer(begun.strip()[:_LONGEST].lower(), principal)

    async def _countries(self, begun: str, principal: str) -> list[str]:
        limits = self._account.limits_of(principal) or Limits()
        allowed = policy.allowed_countries(self._account.settings, limits)
        return [country for country in numbering.countries_like(begun) if allowed is None or country in allowed]

    async def _e164s(self, begun: str, _principal: str) -> list[str]:
        digits = "".join(character for character in begun if character.isdigit())
        return [number.e164 for number in await self._numbers.value() if digits in number.e164]

    async def _endpoint_ids(self, begun: str, _principal: str) -> list[str]:
        endpoints = await self._endpoints.value()
        return [one.id for one in endpoints if begun in one.id.lower() or begun in (one.name or "").lower()]

    async def _operation_ids(self, begun: str, principal: str) -> list[str]:
        since = await self._account.journal.now() - _RECENT_SECONDS
        wanted = Filter(account=self._account.id, principal=principal, since=since)
        recent = await self._account.journal.list_operations(wanted, limit=_RECENT)
        return [operation.id for operation in recent if begun in operation.id]

    async def _read_numbers(self) -> tuple[PhoneNumber, ...]:
        return (await self._account.client.list_owned(limit=MOST)).items

    async def _read_endpoints(self) -> tuple[CallEndpoint, ...]:
        return (await self._account.client.list_endpoints(limit=MOST)).items
