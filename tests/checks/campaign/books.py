"""The three books, and what else is needed to compare them; plain data, so that the comparison is pure.

What people confirmed stands in `confirmations`, what the journal says in `operations`, what KrosAI did in
`charges`, `acts` and `writes`. `answers` is what the clients were told.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Charge, ReceivedRequest

from .watched import Act, OwnedOrder, PriceMove, WatchedOrganization, settings_of


@dataclass(frozen=True)
class Confirmation:
    """A yes, written down before it was delivered; `cents` is the amount now as the person was shown it.

    To several numbers at once it is one yes: `e164` has all of them, sorted, and `cents` is the total.
    """

    operation_id: str
    action: str
    e164: str
    cents: int | None
    how: str
    by: str
    at: float


@dataclass(frozen=True)
class Answer:
    """What one call of a tool was told about one operation.

    `outcome` is the status, or the code of a failure. The call began at `asked_at`.
    """

    operation_id: str
    tool: str
    outcome: str
    failed: bool
    charged: str
    changed: str
    asked_at: float
    answered_at: float
    by: str


@dataclass(frozen=True)
class Write:
    """A POST or DELETE that arrived at KrosAI; no `status` where its answer was lost."""

    method: str
    key: str
    at: float
    status: int | None


@dataclass(frozen=True)
class Limits:
    """The caps that were in force in every server, in cents."""

    max_purchase_cents: int
    daily_budget_cents: int
    countries: frozenset[str]
    protected: frozenset[str]


@dataclass(frozen=True)
class Holding:
    """A number as KrosAI has it in the end; `settings` are endpoint, inbound and outbound."""

    e164: str
    status: str
    settings: tuple[object, ...]
    shown: bool = True
    """Whether KrosAI will ever show it."""


@dataclass
class Books:
    """Everything that is compared."""

    limits: Limits
    confirmations: list[Confirmation] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    price_moves: list[PriceMove] = field(default_factory=list)
    owned_orders: list[OwnedOrder] = field(default_factory=list)
    struck: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The faults that struck the writes of each operation."""
    writes: list[Write] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)


def writes_of(requests: Iterable[ReceivedRequest]) -> list[Write]:
    """Pick the requests that buy or release; a PATCH may be sent twice, in two spellings."""
    return [
        Write(seen.method, seen.headers.get("idempotency-key", ""), seen.at, seen.status)
        for seen in requests
        if seen.method in {"POST", "DELETE"}
    ]


def holdings_of(sim: WatchedOrganization) -> list[Holding]:
    return [
        Holding(each.e164, each.status, settings_of(each), shown=not sim.hidden_for_ever(each.e164))
        for each in sim.owned.values()
    ]


def together(books: Sequence[Books]) -> Books:
    """Put the books of several organizations into one, to be counted and told of."""
    names = [field.name for field in fields(Books) if field.name not in {"limits", "struck"}]
    joined = {name: [each for one in books for each in getattr(one, name)] for name in names}
    return Books(limits=books[0].limits, struck=books[0].struck, **joined)


def totals(books: Books) -> Mapping[str, tuple[int, int]]:
    """How many purchases each book holds, and their cents; a yes that came to nothing counts in the first alone."""
    buying = {each.operation_id: each for each in books.confirmations if each.action in {"buy", "buy_several"}}
    done = [each for each in books.operations if each.action == "buy" and each.state == "done"]
    return {
        "confirmed by people": (
            sum(len(each.e164.split(",")) for each in buying.values()),
            sum(each.cents or 0 for each in buying.values()),
        ),
        "done in the journal": (len(done), sum(each.reserved_cents for each in done)),
        "charged by KrosAI": (len(books.charges), sum(each.cents for each in books.charges)),
    }
