"""The simulated KrosAI with a notebook: what was truly done, by which request, whatever was answered.

The simulator's own `charges` and `requests` stay the book of what was charged and what arrived. Noted beside
them is what neither tells: releases and changes with the request that caused them, moves of prices, orders of
numbers that were owned already, and which faults struck whose writes.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from kros_mcp.simulator import InventoryItem, ReceivedRequest, SimNumber, Simulator
from kros_mcp.simulator.faults import WRITES, Params
from kros_mcp.simulator.profiles import ProfileName
from kros_mcp.simulator.sales import selected
from kros_mcp.simulator.search import leave_record
from kros_mcp.simulator.state import SimulatedAccount

KEY = "kros_test_campaign"
NO_RECORD = ("no record",)
"""What is left of a number that was deleted: no status, not even one that reads `deleted`."""
BALANCE = 1_000_000_000
SCOPES = ("numbers:read", "numbers:write", "endpoints:read")
ONCE_OWNED_IN = ("NG", "KE", "GH")
ONCE_OWNED_EACH = 20
"""One in so many of the numbers for sale there was owned a year ago, and released."""
PROTECTED = 6
"""How many numbers the account owns from the start that are protected."""
ABROAD = 92
"""How many it owns in a country where nobody buys, so that its list soon has a second page."""
MOST_OLD_RECORDS = 120
SHIFT_REST_SECONDS = 4.0
"""How long after a page shifted no other does; two readings that leave out the same record look like the truth."""


@dataclass(frozen=True)
class Act:
    """Something that KrosAI did to a number, by the idempotency key of the request that asked for it."""

    kind: str
    """`release` for a number given up, `change` for settings set, `order` for those of an order still pending.

    An order may come to nothing, and its settings with it.
    """
    key: str
    e164: str
    number_id: str
    at: float
    before: tuple[object, ...]
    after: tuple[object, ...]

    @property
    def had_effect(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class PriceMove:
    """A move of prices: of one number just before its purchase `key`, or of all numbers of a search."""

    at: float
    key: str
    country: str
    type: str


@dataclass(frozen=True)
class OwnedOrder:
    """A purchase that was asked for although the account owned the number, by the key of its request."""

    key: str
    e164: str
    at: float


@dataclass(frozen=True)
class _Request:
    key: str
    query: dict[str, list[str]]

    def asked(self, name: str) -> str:
        return self.query.get(name, [""])[0]


_current: ContextVar[_Request] = ContextVar("_current")
_OUTSIDE = _Request("", {})


class WatchedOrganization(SimulatedAccount):
    """An organization that also notes its acts."""

    protected: tuple[str, ...] = ()
    once_owned: tuple[dict[str, Any], ...] = ()

    @cached_property
    def acts(self) -> list[Act]:
        """What was done to its numbers, in its order."""
        return []

    def begin(self, place: int) -> None:
        """Own some numbers from the start, and have owned others; those of another place are others."""
        self.protected = tuple(self._own_more(self.for_sale("GH")[:PROTECTED]))
        tuple(self._own_more(self.for_sale("EG")[:ABROAD]))
        wanted = [item for country in ONCE_OWNED_IN for item in self.for_sale(country)[place::ONCE_OWNED_EACH]]
        for item in wanted:
            leave_record(self, item, "released")
        self.once_owned = tuple(
            {"inventory_id": item.id, "e164": item.e164, "country": item.country, "type": item.type} for item in wanted
        )

    def release(self, number: SimNumber, status: str = "inactive") -> None:
        before = (number.status,)
        super().release(number, status)
        self._note("release", number, before, (number.status,))

    def delete(self, number: SimNumber) -> None:
        super().delete(number)
        self._note("release", number, (number.status,), NO_RECORD)

    def change(self, number: SimNumber, settings: Mapping[str, Any]) -> None:
        before = settings_of(number)
        super().change(number, settings)
        kind = "order" if number.status == "pending" else "change"
        self._note(kind, number, before, settings_of(number))

    def for_sale(self, country: str) -> list[InventoryItem]:
        return [item for item in self.inventory.values() if item.country == country]

    def hidden_for_ever(self, e164: str) -> bool:
        """Whether it owns the number, and KrosAI never shows it."""
        return any(each.e164 == e164 and math.isinf(self.hidden_until.get(each.id, 0)) for each in self.owned.values())

    def shows(self, e164: str) -> bool:
        """Whether KrosAI shows what became of a number, now or later."""
        known = {number.e164 for number in self.owned.values()} | {item.e164 for item in self.inventory.values()}
        return e164 in known and not self.hidden_for_ever(e164)

    def _note(self, kind: str, number: SimNumber, before: tuple[object, ...], after: tuple[object, ...]) -> None:
        key = _current.get(_OUTSIDE).key
        self.acts.append(Act(kind, key, number.e164, number.id, time.time(), before, after))

    def _own_more(self, items: Iterable[InventoryItem]) -> Iterator[str]:
        """Own numbers from the start; yields them."""
        first = next(iter(self.owned.values()))
        for item in items:
            del self.inventory[item.id]
            number = replace(first, id=self.ids.make("pn"), e164=item.e164, country=item.country, type=item.type)
            self.owned[number.id] = number
            yield number.e164


class WatchedKrosai(WatchedOrganization, Simulator):
    """A simulator that also notes acts and price moves, and tells when it begins to hold a write."""

    def __init__(self, profile: ProfileName, seed: int, organizations: int = 1) -> None:
        super().__init__(
            profile,
            seed=seed,
            balance_cents=BALANCE,
            stock_per_range=100,
            extra_inventory={"NG": 200, "KE": 200},
            honours_idempotency=False,  # only one source promises it, and it would hide what is sent twice
            extra_keys={KEY: SCOPES},
        )
        self.price_moves: list[PriceMove] = []
        self.owned_orders: list[OwnedOrder] = []
        self.struck: defaultdict[str, set[str]] = defaultdict(set)
        """The faults that struck writes, by the operation whose writes they were."""
        self._shifted_at = 0.0
        self.on_hold: Callable[[str], None] = lambda _: None
        self.app = _noting_requests(self.app)  # type: ignore[assignment]  # it is called, and nothing else
        self._striking = self.faults.strike
        self.faults.strike = self._strike  # type: ignore[method-assign]
        self._pipeline.on_request = self._arrived
        others = (self.add_organization(WatchedOrganization, BALANCE) for _ in range(organizations - 1))
        self.all: tuple[WatchedOrganization, ...] = (self, *others)
        """Every organization; all but the first are there so that nothing crosses between them."""
        for place, each in enumerate(self.all):
            each.begin(place)

    def _arrived(self, seen: ReceivedRequest) -> None:
        if seen.method != "POST" or not isinstance(seen.body, dict):
            return
        self.catch_up()
        item = selected(self, seen.body)
        buyer = self.organizations.get(seen.headers.get("x-organization-id", self.organization_id), self)
        if item is not None and item.id in self.offers.relisted and buyer.may_buy(item):
            self.owned_orders.append(OwnedOrder(seen.headers.get("idempotency-key", ""), item.e164, time.time()))

    def _strike(self, name: str, operation: str, **when: object) -> Params | None:
        if name == "shifting_pages" and time.monotonic() < self._shifted_at + SHIFT_REST_SECONDS:
            return None
        if name == "old_records" and self.faults.counts[name] >= MOST_OLD_RECORDS:
            return None
        struck = self._striking(name, operation, **when)
        request = _current.get(_OUTSIDE)
        if struck is not None and name == "shifting_pages":
            self._shifted_at = time.monotonic()
        if struck is not None and operation in WRITES:
            self.struck[operation_id_of(request.key)].add(name)
        if struck is not None and name == "price_moves":
            moved = PriceMove(time.time(), request.key, request.asked("country"), request.asked("type"))
            self.price_moves.append(moved)
        if struck is not None and name == "hold" and operation in WRITES:
            self.on_hold(request.key)
        return struck


def operation_id_of(key: str) -> str:
    """The operation behind a request's key: a PATCH derives its own from it."""
    return key.split("-", 1)[0]


def settings_of(number: SimNumber) -> tuple[object, ...]:
    """The settings of a number, in the order endpoint, inbound, outbound."""
    return (number.endpoint_id, number.allow_inbound, number.allow_outbound)


def _noting_requests(app: ASGIApp) -> ASGIApp:
    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            key = dict(scope["headers"]).get(b"idempotency-key", b"").decode()
            _current.set(_Request(key, parse_qs(scope["query_string"].decode())))
        await app(scope, receive, send)

    return noting
