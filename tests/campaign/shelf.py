"""The books sorted by operation, and the shape of a difference."""

from collections import defaultdict
from dataclasses import dataclass

from kros_mcp.simulator import Charge

from .books import Books, Confirmation


@dataclass(frozen=True)
class Difference:
    """One thing that does not fit; `operation_id` is empty where none can be named."""

    rule: str
    operation_id: str
    says: str


class Shelf:
    """The books, sorted by operation."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.operations = {each.id: each for each in books.operations}
        self.confirmed: defaultdict[str, list[Confirmation]] = defaultdict(list)
        for yes in books.confirmations:
            self.confirmed[yes.operation_id].append(yes)
        self.charges: defaultdict[str, list[Charge]] = defaultdict(list)
        for charge in books.charges:
            self.charges[charge.idempotency_key or ""].append(charge)

    def was_given_up(self, e164: str, since: float) -> bool:
        return any(act.kind == "release" and act.e164 == e164 and act.at >= since for act in self.books.acts)
