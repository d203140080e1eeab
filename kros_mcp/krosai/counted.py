"""How many requests a piece of work costs KrosAI, retries among them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Cost:
    """The requests that were sent so far."""

    requests: int = 0


_costs: ContextVar[tuple[Cost, ...]] = ContextVar("_costs", default=())


@contextmanager
def counted() -> Iterator[Cost]:
    """Count the requests that the block sends, in tasks that it starts too."""
    cost = Cost()
    token = _costs.set((*_costs.get(), cost))
    try:
        yield cost
    finally:
        _costs.reset(token)


def count_request() -> None:
    """Count one request for all who are counting."""
    for cost in _costs.get():
        cost.requests += 1
