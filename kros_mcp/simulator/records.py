"""The records of the simulated account: charges, owned numbers, endpoints; and their ids.

The fields are those of docs/krosai.md sections 2.1, 2.3 and 6; the SIP credentials are INVENTED.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kros_mcp.simulator.catalogue import NumberType


@dataclass(frozen=True)
class Charge:
    """Money that was charged: setup and first month of one number, in cents, at Unix seconds."""

    e164: str
    cents: int
    at: float
    idempotency_key: str | None


@dataclass
class SimNumber:
    """A number of the account; a released one stays, inactive, if the profile keeps records."""

    id: str
    e164: str
    country: str
    type: NumberType
    status: str
    endpoint_id: str | None
    allow_inbound: bool
    allow_outbound: bool
    monthly_cost_cents: int
    setup_cost_cents: int
    sip: dict[str, Any]
    created_at: str
    updated_at: str
    area_code: str | None = None


OwnedNumber = SimNumber
"""Its name until it was renamed: desks that others wrote for this simulator still set their accounts up by it."""


@dataclass
class SimEndpoint:
    """Where calls are routed to; `secret` signs a webhook's calls."""

    id: str
    name: str
    type: str
    status: str
    created_at: str
    updated_at: str
    url: str | None = None
    secret: str | None = None
    provider_config: dict[str, Any] = field(default_factory=dict)


class Ids:
    """A maker of ids, the same for the same seed: UUIDs, prefixed ids like `pn_…`, or of the forms that were seen."""

    def __init__(self, seed: int, *, prefixed: bool, form_of: Callable[[str], str] | None = None) -> None:
        self._bits = random.Random(f"{seed}/ids")  # noqa: S311 - must repeat, guards nothing
        self._prefixed = prefixed
        self._form_of = form_of
        self._integers: set[str] = set()

    def make(self, prefix: str) -> str:
        """Make the next id; the reference does not use `prefix`."""
        if self._form_of is not None:
            return self._formed(self._form_of(prefix))
        return f"{prefix}_{self.hex(12)}" if self._prefixed else self.uuid()

    def _formed(self, form: str) -> str:
        """Make an id of a form that was seen, as "text: pn_…"; an integer is written as one by whoever shows it."""
        if form == "text: uuid":
            return self.uuid()
        if form == "integer over 2^53":
            return self.digits(integer=False)
        if form == "integer":
            return str(10**6 + self._bits.getrandbits(40))
        if form.endswith("…"):
            return f"{form.removeprefix('text: ')[:-1]}{self.hex(12)}"
        if form.endswith(" digits"):
            count = int(form.split()[1])
            return str(10 ** (count - 1) + self._bits.randrange(9 * 10 ** (count - 1)))
        return f"x{self.hex(20)}"

    def uuid(self) -> str:
        """Make a UUID in either profile."""
        return str(uuid.UUID(int=self._bits.getrandbits(128), version=4))

    def digits(self, *, integer: bool) -> str:
        """Make an id of 19 digits, above 2^53; `shown` writes it as text or as an integer."""
        made = str(10**18 + self._bits.getrandbits(62))
        if integer:
            self._integers.add(made)
        return made

    def shown(self, made: str) -> str | int:
        """Return an id as an answer states it."""
        return int(made) if made in self._integers else made

    def hex(self, digits: int) -> str:
        """Make that many hexadecimal digits."""
        return f"{self._bits.getrandbits(4 * digits):0{digits}x}"


def first_endpoints(ids: Ids, at: str) -> Iterator[SimEndpoint]:
    """Yield the endpoints that an account has from the start, created at this time."""
    for name, kind, status, config in (
        ("Support agent", "elevenlabs", "active", {"elevenlabs_agent_id": "agent_sim_support"}),
        ("Order line", "webhook", "active", {}),
        (
            "Night desk",
            "livekit",
            "error",
            {"livekit_sip_trunk_id": "ST_sim_night", "livekit_sip_uri": "sip:night.livekit.invalid"},
        ),
    ):
        endpoint = SimEndpoint(ids.make("ep"), name, kind, status, at, at, provider_config=config)
        if kind == "webhook":
            endpoint.url = "https://orders.example.com/krosai"
            endpoint.secret = f"whsec_{ids.hex(24)}"
        yield endpoint
