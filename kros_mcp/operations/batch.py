"""A batch as it stands: one question about several numbers, and what has become of each after the yes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kros_mcp.errors import Known
from kros_mcp.money import common_label
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Item, Operation, Request, State, effects
from kros_mcp.operations.status import Status, status

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """A batch, with the operations of its numbers in their order; none of those exists before the yes."""

    operation: Operation
    items: tuple[Operation, ...]

    @property
    def status(self) -> Status:
        """Where it stands, by its numbers: it goes on while one of them does, and one that is unknown leaves all so."""
        if self.operation.state is not State.DONE:
            return status(self.operation)
        if self._is_unread:
            return "unknown"
        found = {status(item) for item in self.items}
        for first in ("pending", "unknown"):
            if first in found:
                return first
        return "partly_done" if len(found) > 1 else "done" if found == {"done"} else "failed"

    @property
    def charged(self) -> Known:
        """Whether money moved: not known if that is so of any number, else yes if any was charged."""
        if self._is_unread:
            return effects(self.operation, "unknown")[0]
        return joint(known(each, each.charged) for each in self._told if each.action.charges)

    @property
    def changed(self) -> Known:
        """Whether the account has changed, likewise."""
        if self._is_unread:
            return "unknown"
        return joint(known(each, each.changed) for each in self._told)

    @property
    def _is_unread(self) -> bool:
        """Whether it was agreed to, and what became of its numbers is not at hand."""
        return self.operation.state is State.DONE and not self.items

    @property
    def _told(self) -> tuple[Operation, ...]:
        """What tells: its numbers, and before they are written down the batch itself, which may be under way."""
        return self.items or (self.operation,)


async def read_batch(journal: Journal, operation: Operation) -> Batch:
    """Read what has become of the numbers of a batch."""
    return Batch(operation, await journal.items(operation.id))


def joined(items: Sequence[Item]) -> Item:
    """Return what the row of a batch says of its numbers together; where they differ, it says nothing.

    Numbers and ids stand in it in one order, whatever the order of the items, so that the same numbers are found again.
    Amounts are sums, null where any is, or where they are in several currencies.
    """
    requests, quotes = [item.request for item in items], [item.quote for item in items]
    e164 = ",".join(sorted(item.e164 for item in items))
    request = Request(
        number_id=_ids(request.number_id for request in requests),
        inventory_id=_ids(request.inventory_id for request in requests),
        country=_common((request.country for request in requests), ""),
        type=_common((request.type for request in requests), ""),
        endpoint_id=_common((request.endpoint_id for request in requests), ""),
        allow_inbound=_common((request.allow_inbound for request in requests), None),
        allow_outbound=_common((request.allow_outbound for request in requests), None),
        permanent=any(request.permanent for request in requests),
        reason=requests[0].reason,
    )
    currencies = {quote.currency for quote in quotes}
    can_add = common_label(currencies, "") is not None
    quote = replace(
        quotes[0],
        e164=e164,
        country=_common((quote.country for quote in quotes), None),
        setup_cents=total(quote.setup_cents for quote in quotes) if can_add else None,
        monthly_cents=total(quote.monthly_cents for quote in quotes) if can_add else None,
        due_now_cents=total(quote.due_now_cents for quote in quotes) if can_add else None,
        endpoint_id=_common((quote.endpoint_id for quote in quotes), ""),
        endpoint_name=_common((quote.endpoint_name for quote in quotes), ""),
        endpoint_type=_common((quote.endpoint_type for quote in quotes), ""),
        endpoint_trouble=_common((quote.endpoint_trouble for quote in quotes), ""),
        routed_to=_common((quote.routed_to for quote in quotes), ""),
        currency=_common(currencies, ""),
    )
    return Item(e164, request, quote)


def _ids(each: Iterable[str]) -> str:
    ids = sorted(each)
    return ",".join(ids) if all(ids) else ""


def _common(each: Iterable[T], otherwise: T) -> T:
    found = set(each)
    return found.pop() if len(found) == 1 else otherwise


def total(each: Iterable[int | None]) -> int | None:
    """Return the sum of amounts in cents; None if any is not known."""
    amounts = list(each)
    return None if None in amounts else sum(cents or 0 for cents in amounts)


def known(item: Operation, settled: Known) -> Known:
    """Return whether one was charged, or changed: from its claim to its outcome nobody knows."""
    return "unknown" if item.state is State.SENDING else settled


def joint(each: Iterable[Known]) -> Known:
    """Return what is known of several together: unknown if that is so of any, else yes if any is."""
    found = set(each)
    return "unknown" if "unknown" in found else "yes" if "yes" in found else "no"
