"""The books sorted by operation, and the shape of a difference."""

import math
from collections import defaultdict
from dataclasses import dataclass

from kros_mcp.operations.model import Action, Operation
from kros_mcp.simulator import Charge

from .books import Books, Confirmation
from .watched import operation_id_of

DENYING = frozenset(
    {
        "commits_then_429",
        "commits_then_refuses",
        "ended_in_answer",
        "error_in_success",
        "never_listed",
        "pending_order",
    }
)
"""Faults after which even a server that looks may say what it must correct."""


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
        self.batches: defaultdict[str, list[Operation]] = defaultdict(list)
        """By batch, the operations of its numbers; a yes to it is one to each of them."""
        for each in books.operations:
            if each.batch:
                self.batches[each.batch].append(each)
                self.confirmed[each.id] += self.confirmed[each.batch]
        self.charges: defaultdict[str, list[Charge]] = defaultdict(list)
        for charge in books.charges:
            self.charges[charge.idempotency_key or ""].append(charge)

        self.never_shown = {each.e164 for each in books.holdings if not each.shown}

    def was_denied(self, operation: Operation) -> bool:
        """Whether KrosAI's answer to a write of the operation did not say what became of it, or shows it late."""
        struck = self.books.struck.get(operation.id, frozenset())
        return not DENYING.isdisjoint(struck) or (operation.action is Action.CONFIGURE and "late_change" in struck)

    def was_overwritten(self, operation: Operation) -> bool:
        """Whether another change followed upon one that KrosAI showed late, so that nobody can see it any more."""
        if operation.action is not Action.CONFIGURE or not self.was_denied(operation):
            return False
        acts = [act for act in self.books.acts if act.kind == "change" and act.e164 == operation.e164]
        return bool(acts) and operation_id_of(acts[-1].key) != operation.id

    def was_given_up(self, e164: str, since: float, until: float = math.inf) -> bool:
        return any(act.kind == "release" and act.e164 == e164 and since <= act.at <= until for act in self.books.acts)
