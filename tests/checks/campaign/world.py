"""What a campaign is to do, and what it works on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator.profiles import ProfileName
from tests.support.receiver import Receiver

from .books import Books, Limits, holdings_of, writes_of
from .chaos import Pace
from .clients import KINDS, Connection, Kind
from .deeds import COUNTRIES
from .desks import Desk
from .events import Events
from .people import Book
from .reach import Transport, over_stdio
from .watched import WatchedKrosai, WatchedOrganization

MOST_OPERATIONS = 1_000_000


@dataclass(frozen=True)
class Plan:
    """What is to be done; times in seconds."""

    seconds: float
    seed: int
    folder: Path
    """Takes the diary, the servers' stderr, and the journal unless another is named."""
    profile: ProfileName | Literal["by seed"] = "by seed"
    journal_url: str = ""
    kinds: tuple[Kind, ...] = KINDS
    agents: int = 3
    """How many share one client."""
    pace: Pace = field(default_factory=Pace)
    faults: bool = True
    without: frozenset[str] = frozenset()
    """Faults that are left out."""
    transport: Transport = over_stdio
    organizations: int = 1
    """How many there are under the one key; each principal is of one."""
    limits: tuple[int, int] = (6_000, 50_000_000)
    """KROS_MAX_PURCHASE_CENTS and KROS_DAILY_BUDGET_CENTS."""

    @property
    def profile_name(self) -> ProfileName:
        named: tuple[ProfileName, ProfileName] = ("guide", "reference")
        return named[self.seed % 2] if self.profile == "by seed" else self.profile

    def place_of(self, kind: Kind) -> int:
        """Tell of which organization a client is."""
        principals = list(dict.fromkeys(each.principal for each in self.kinds))
        return principals.index(kind.principal) % self.organizations

    @property
    def url(self) -> str:
        return self.journal_url or f"sqlite:///{self.folder.absolute()}/journal.sqlite3"


@dataclass
class World:
    """What a campaign works on, open."""

    plan: Plan
    sim: WatchedKrosai
    journal: Journal
    events: Events
    book: Book
    connections: tuple[Connection, ...]
    receiver: Receiver
    accounts: Mapping[str, WatchedOrganization] = field(default_factory=dict)
    """By account in the journal, whose it is; empty where there is one organization alone."""
    desks: tuple[Desk, ...] = ()
    struck: Counter[str] = field(default_factory=Counter)

    def krosai_of(self, operation: Operation) -> WatchedOrganization:
        """Return the organization that an operation was asked for."""
        return self.accounts.get(operation.account, self.sim)

    async def books(self) -> list[Books]:
        """Close the books of each organization: everything as it stands now.

        What arrived at KrosAI or was told to somebody stands in the books of the organization for which it was,
        whatever operation it names: one of another organization is none there.
        """
        listed = await self.journal.list_operations(limit=MOST_OPERATIONS)
        begun = [await self.journal.get(each) for each in {each.batch for each in listed} - {""}]
        operations = [*listed, *(each for each in begun if each is not None)]
        return [self._books_of(each, operations) for each in self.sim.all]

    def _books_of(self, organization: WatchedOrganization, operations: Sequence[Operation]) -> Books:
        own = [each for each in operations if self.krosai_of(each) is organization]
        theirs = {each.id for each in operations} - {each.id for each in own}
        named = organization.organization_id
        requests = [
            seen
            for seen in self.sim.requests
            if seen.headers.get("x-organization-id", self.sim.organization_id) == named
        ]
        orders = {seen.headers.get("idempotency-key", "") for seen in requests}
        return Books(
            limits=limits_of(self.plan, self.sim),
            confirmations=[each for each in self.book.confirmations if each.operation_id not in theirs],
            operations=own,
            charges=list(organization.charges),
            acts=list(organization.acts),
            price_moves=list(self.sim.price_moves),
            owned_orders=[each for each in self.sim.owned_orders if each.key in orders],
            struck={key: frozenset(faults) for key, faults in self.sim.struck.items()},
            writes=writes_of(requests),
            answers=[
                answer
                for each in self.connections
                if self.sim.all[self.plan.place_of(each.kind)] is organization
                for answer in each.answers
            ],
            holdings=holdings_of(organization),
        )


def limits_of(plan: Plan, sim: WatchedKrosai) -> Limits:
    most, day = plan.limits
    protected = frozenset(number for each in sim.all for number in each.protected)
    return Limits(most, day, frozenset(COUNTRIES[:-1]), protected)
