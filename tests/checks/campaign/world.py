"""What a campaign is to do, and what it works on."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kros_mcp.operations.journal import Journal
from kros_mcp.simulator.profiles import ProfileName

from .books import Books, Limits, holdings_of, writes_of
from .chaos import Pace
from .clients import KINDS, Connection, Kind
from .deeds import COUNTRIES
from .events import Events
from .people import Book
from .reach import Transport, over_stdio
from .watched import WatchedKrosai

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
    limits: tuple[int, int] = (6_000, 50_000_000)
    """KROS_MAX_PURCHASE_CENTS and KROS_DAILY_BUDGET_CENTS."""

    @property
    def profile_name(self) -> ProfileName:
        named: tuple[ProfileName, ProfileName] = ("guide", "reference")
        return named[self.seed % 2] if self.profile == "by seed" else self.profile

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
    struck: Counter[str] = field(default_factory=Counter)

    async def books(self) -> Books:
        """Close the books: everything as it stands now."""
        return Books(
            limits=limits_of(self.plan, self.sim),
            confirmations=list(self.book.confirmations),
            operations=list(await self.journal.list_operations(limit=MOST_OPERATIONS)),
            charges=list(self.sim.charges),
            acts=list(self.sim.acts),
            price_moves=list(self.sim.price_moves),
            owned_orders=list(self.sim.owned_orders),
            struck={key: frozenset(faults) for key, faults in self.sim.struck.items()},
            writes=writes_of(self.sim.requests),
            answers=[answer for each in self.connections for answer in each.answers],
            holdings=holdings_of(self.sim),
        )


def limits_of(plan: Plan, sim: WatchedKrosai) -> Limits:
    most, day = plan.limits
    return Limits(most, day, frozenset(COUNTRIES[:-1]), frozenset(sim.protected))
