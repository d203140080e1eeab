"""What stands in the simulated KrosAI's books before and after a conversation, and what differs."""

from collections.abc import Mapping
from dataclasses import dataclass

from kros_mcp.simulator import Simulator
from kros_mcp.simulator.state import LIVING

NOWHERE = "nowhere"


@dataclass(frozen=True)
class Number:
    """An owned number; its endpoint by name."""

    e164: str
    country: str
    type: str
    area_code: str | None
    status: str
    endpoint: str
    allow_inbound: bool
    allow_outbound: bool
    monthly_cents: int

    @property
    def is_living(self) -> bool:
        """Whether the account owns it still."""
        return self.status in LIVING

    @property
    def routing(self) -> tuple[str, bool, bool]:
        """Where its calls go, and which it takes and makes."""
        return self.endpoint, self.allow_inbound, self.allow_outbound


@dataclass(frozen=True)
class Books:
    """Every number by its E.164, and every charge."""

    numbers: Mapping[str, Number]
    charges: tuple[tuple[str, int], ...]


NO_BOOKS = Books({}, ())


@dataclass(frozen=True)
class Difference:
    """What a conversation has brought about."""

    bought: tuple[Number, ...]
    charged: tuple[tuple[str, int], ...]
    """E.164 and cents of each charge."""
    ended: tuple[str, ...]
    deleted: tuple[str, ...]
    """Of those ended, whose record is gone."""
    rerouted: tuple[Number, ...]
    """As they are now."""

    @property
    def is_nothing(self) -> bool:
        """Whether the books are as they were."""
        return not (self.bought or self.charged or self.ended or self.deleted or self.rerouted)


def read_books(sim: Simulator) -> Books:
    """Read the account; of several records of one number a living one."""
    numbers: dict[str, Number] = {}
    for number in sim.owned.values():
        endpoint = sim.endpoints.get(number.endpoint_id or "")
        read = Number(
            number.e164,
            number.country,
            number.type,
            number.area_code,
            number.status,
            endpoint.name if endpoint else NOWHERE,
            number.allow_inbound,
            number.allow_outbound,
            number.monthly_cost_cents,
        )
        if read.is_living or number.e164 not in numbers:
            numbers[number.e164] = read
    return Books(numbers, tuple((charge.e164, charge.cents) for charge in sim.charges))


def compare(before: Books, after: Books) -> Difference:
    """Tell what differs."""
    living = {e164 for e164, number in before.numbers.items() if number.is_living}
    now = {e164 for e164, number in after.numbers.items() if number.is_living}
    kept = living & now
    return Difference(
        bought=tuple(after.numbers[e164] for e164 in sorted(now - living)),
        charged=after.charges[len(before.charges) :],
        ended=tuple(sorted(living - now)),
        deleted=tuple(sorted(set(before.numbers) - set(after.numbers))),
        rerouted=tuple(
            after.numbers[e164] for e164 in sorted(kept) if after.numbers[e164].routing != before.numbers[e164].routing
        ),
    )
