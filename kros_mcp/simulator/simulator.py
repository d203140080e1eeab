"""The simulator whole: an account, its faults, its keys and its ASGI application."""

import random
import time
from collections.abc import Callable, Iterable, Mapping

from kros_mcp.simulator.app import Seen, Service, build_app
from kros_mcp.simulator.control import control_routes
from kros_mcp.simulator.faults import Faults
from kros_mcp.simulator.gate import ALL_SCOPES, READ_SCOPES, Gate
from kros_mcp.simulator.profiles import PROFILES, ProfileName
from kros_mcp.simulator.state import Account


class Simulator(Account):
    """A KrosAI account that can be called over HTTP; its state may be read and changed at any time.

    Args:
        profile: The document that it follows where the two disagree.
        seed: Decides ids, keys and all that is left to chance.
        balance_cents: The credit to begin with.
        stock_per_range: How many numbers of each range are for sale, 0 to 100.
        extra_inventory: How many further mobile numbers are for sale, by country.
        rate_per_second: How many requests a second are answered. Defaults to all.
        honours_idempotency: Answer a repeated write from memory; only [B] promises that.
        extra_keys: Further keys or JWTs, with their scopes.
        sip_password: The SIP password of every number. Defaults to one for each.
        now: Tells the time, in Unix seconds.

    Raises:
        ValueError: There is no such profile or no such inventory.
    """

    def __init__(
        self,
        profile: ProfileName = "reference",
        *,
        seed: int = 0,
        balance_cents: int = 10_000,
        stock_per_range: int = 20,
        extra_inventory: Mapping[str, int] | None = None,
        rate_per_second: int | None = None,
        honours_idempotency: bool = True,
        extra_keys: Mapping[str, Iterable[str]] | None = None,
        sip_password: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"There is no profile {profile}; there are {', '.join(PROFILES)}.")
        super().__init__(
            PROFILES[profile],
            seed=seed,
            balance_cents=balance_cents,
            stock_per_range=stock_per_range,
            extra_inventory=extra_inventory or {},
            sip_password=sip_password,
            now=now,
        )
        self.api_key, self.read_only_key, self.expired_key = (f"kros_test_{self.ids.hex(32)}" for _ in range(3))
        self.requests: list[Seen] = []
        self.faults = Faults(random.Random(f"{seed}/faults"))  # noqa: S311 - must repeat, guards nothing
        keys = {key: frozenset(scopes) for key, scopes in (extra_keys or {}).items()}
        gate = Gate(
            keys={**keys, self.api_key: ALL_SCOPES, self.read_only_key: READ_SCOPES},
            expired=frozenset({self.expired_key}),
            organization_id=self.organization_id,
            per_second=rate_per_second,
            now=now,
        )
        self._service = Service(self, self.faults, gate, self.requests, honours_idempotency)
        shown = {"full": self.api_key, "read-only": self.read_only_key, "expired": self.expired_key}
        self.app = build_app(self._service, control_routes(self._service, shown))

    async def settled(self) -> None:
        """Wait until no API request is in course, not even one whose client has gone."""
        await self._service.settled()
