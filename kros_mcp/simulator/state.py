"""An account that the simulator keeps: its money, its numbers, its endpoints; and the inventory that all share.

Synchronous, so that every act is one indivisible step. HTTP and faults are in `pipeline.py` and `faults.py`; what
happens after the answer waits in `agenda.py`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from kros_mcp.simulator.agenda import Agenda
from kros_mcp.simulator.calls import ApiCall, RefusalError, read_page
from kros_mcp.simulator.catalogue import (
    OWNED_RANGE,
    InventoryItem,
    capabilities_of,
    item_of,
    stock,
)
from kros_mcp.simulator.offers import Offers
from kros_mcp.simulator.profiles import Kyc, Profile
from kros_mcp.simulator.records import Charge, Ids, SimEndpoint, SimNumber, first_endpoints
from kros_mcp.simulator.shapes import Shapes

_T = TypeVar("_T")
LIVING = frozenset({"active", "suspended", "porting", "pending"})
"""Statuses of a number that the account owns; every other status is of a record that has ended."""


class SimulatedAccount:
    """One organization with its money and its numbers, as section 10 of docs/krosai.md seeds it.

    Args:
        profile: The document that counts where the two disagree.
        seed: Decides every id and secret.
        balance_cents: The credit to begin with.
        stock_per_range: How many numbers of each range are for sale, 0 to 100.
        extra_inventory: How many further mobile numbers are for sale, by country.
        sip_password: The SIP password of every number. Defaults to one for each.
        shapes: What it answers in, other than the profile; None for the profile's own.
        now: Returns the time in Unix seconds.
        beside: Another organization, from whose stock this one buys as well.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        seed: int,
        balance_cents: int,
        stock_per_range: int,
        extra_inventory: Mapping[str, int],
        sip_password: str | None,
        shapes: Shapes | None,
        now: Callable[[], float],
        beside: "SimulatedAccount | None" = None,
    ) -> None:
        self.profile = profile
        self.shapes = shapes
        self.balance_cents = balance_cents
        self.kyc: Kyc = "approved"
        self.now = now
        form = None if shapes is None else shapes.id_form
        self.ids: Ids = beside.ids if beside else Ids(seed, prefixed=profile.prefixed_ids, form_of=form)
        self.organization_id = self.ids.uuid()
        self.organizations: dict[str, SimulatedAccount] = beside.organizations if beside else {}
        """Every organization that buys from this stock, by its id; the first is that of a request that names none."""
        self.charges: list[Charge] = []
        self.owned: dict[str, SimNumber] = {}
        self._sip_password = sip_password
        self.endpoints = {each.id: each for each in first_endpoints(self.ids, self.timestamp())}
        self._seed_owned()
        self.organizations[self.organization_id] = self
        self.hidden_until: dict[str, float] = {}
        """Until when owned numbers are neither listed nor found, in Unix seconds by id."""
        self.inventory: dict[str, InventoryItem] = beside.inventory if beside else {}
        self.offers: Offers = beside.offers if beside else Offers()
        self.agenda: Agenda = beside.agenda if beside else Agenda(now)
        reserved = {number.e164 for number in self.owned.values()}
        for item in [item for item in self.inventory.values() if item.e164 in reserved]:
            del self.inventory[item.id]
        new = stock(lambda: self.ids.make("inv"), per_range=stock_per_range, extra=extra_inventory, except_for=reserved)
        self.inventory |= {item.id: item for item in new}

    @cached_property
    def unready_id(self) -> str:
        """The id of the record that has no number yet."""
        return self.ids.make("pn")

    def catch_up(self) -> None:
        """Do what is due, and take owned numbers off sale that are no longer owned or no longer to be offered."""
        self.agenda.catch_up()
        for item_id, relisted in tuple(self.offers.relisted.items()):
            number = relisted.owner.get(relisted.number_id)
            if number is None or number.status not in LIVING or relisted.until <= self.now():
                del self.offers.relisted[item_id]
                self.inventory.pop(item_id, None)

    def may_buy(self, item: InventoryItem) -> bool:
        """Whether an item is not another organization's already, which stays for sale to that one alone."""
        relisted = self.offers.relisted.get(item.id)
        return relisted is None or relisted.owner is self.owned

    @property
    def other(self) -> "SimulatedAccount | None":
        """Another organization; None if there is no other."""
        return next((each for each in self.organizations.values() if each is not self), None)

    def listed(self) -> list[SimNumber]:
        """Return the records that KrosAI shows."""
        return [number for number in self.owned.values() if self.is_shown(number)]

    def is_shown(self, number: SimNumber) -> bool:
        """Whether KrosAI shows a record."""
        return self.hidden_until.get(number.id, 0.0) <= self.now()

    def status_word(self, number: SimNumber) -> str:
        """Return the status of a number as KrosAI words it."""
        return number.status if self.shapes is None else self.shapes.status(number.status)

    def page(self, call: ApiCall, default_limit: int) -> tuple[int, int]:
        """Read `limit` and `offset` of a list, as far as they are heeded.

        Raises:
            RefusalError: They are malformed or out of bounds.
        """
        limit, offset = read_page(call, default_limit)
        return (limit, offset) if self.shapes is None else self.shapes.page(call.operation, limit, offset)

    def owned_by_e164(self, e164: str) -> SimNumber | None:
        """Return an owned number by its E.164, an active one before a released one; None if there is none."""
        found = [number for number in self.owned.values() if number.e164 == e164]
        return min(found, key=lambda number: number.status != "active", default=None)

    def number(self, number_id: str) -> SimNumber:
        """Return an owned number by its id.

        Raises:
            RefusalError: 404 without a code, which neither document mentions.
        """
        number = _found(self.owned, number_id)
        if not self.is_shown(number):
            raise missing()
        return number

    def endpoint(self, endpoint_id: str) -> SimEndpoint:
        """Return an endpoint by its id.

        Raises:
            RefusalError: 404 without a code, which neither document mentions.
        """
        return _found(self.endpoints, endpoint_id)

    def require_endpoint(self, endpoint_id: str | None) -> None:
        """Check that the endpoint that a write names exists.

        Raises:
            RefusalError: ENDPOINT_NOT_FOUND; its status, 404, is INVENTED.
        """
        if endpoint_id is not None and endpoint_id not in self.endpoints:
            raise RefusalError(404, "Endpoint not found", "ENDPOINT_NOT_FOUND")

    def require_kyc(self) -> None:
        """Check that the organization may buy.

        Raises:
            RefusalError: 400 with the profile's code.
        """
        if self.kyc != "approved":
            raise RefusalError(400, "KYC verification is not completed", self.profile.kyc_codes[self.kyc])

    def not_available(self) -> RefusalError:
        """Return the refusal for a number that is not for sale."""
        status = self.profile.not_available_status
        return RefusalError(status, "The requested number is no longer available", "NUMBER_NOT_AVAILABLE")

    def require_credit(self, cents: int) -> None:
        """Check that the credit is enough.

        Raises:
            RefusalError: INSUFFICIENT_BALANCE.
        """
        if self.balance_cents < cents:
            status = self.profile.insufficient_balance_status
            raise RefusalError(status, "Insufficient balance", "INSUFFICIENT_BALANCE")

    def charge(self, item: InventoryItem, idempotency_key: str | None) -> None:
        """Charge setup and first month of an item.

        Raises:
            RefusalError: INSUFFICIENT_BALANCE.
        """
        self.require_credit(item.due_now_cents)
        self.balance_cents -= item.due_now_cents
        self.charges.append(Charge(item.e164, item.due_now_cents, self.now(), idempotency_key))

    def buy(self, item: InventoryItem, idempotency_key: str | None, *, number_id: str = "") -> SimNumber:
        """Charge setup and first month of an item, and own it; `number_id` is the id of its record, if not a new one.

        Raises:
            RefusalError: INSUFFICIENT_BALANCE.
        """
        self.charge(item, idempotency_key)
        del self.inventory[item.id]
        return self.own(item, "active", number_id=number_id)

    def change(self, number: SimNumber, settings: Mapping[str, Any]) -> None:
        """Set those of `endpoint_id`, `allow_inbound` and `allow_outbound` that are given."""
        for name, value in settings.items():
            setattr(number, name, value)
        number.updated_at = self.timestamp()

    def release(self, number: SimNumber, status: str = "inactive") -> None:
        """Release softly: the record stays, with a status that says so."""
        number.status = status
        number.updated_at = self.timestamp()

    def delete(self, number: SimNumber) -> None:
        """Remove the record; the number is for sale again if the profile says so."""
        del self.owned[number.id]
        if self.profile.returns_to_pool:
            self.offer_again(number)

    def offer_again(self, number: SimNumber) -> InventoryItem:
        """Put a number up for sale, under a new id."""
        item = InventoryItem(
            id=self.ids.make("inv"),
            e164=number.e164,
            country=number.country,
            type=number.type,
            area_code=number.area_code,
            setup_cost_cents=number.setup_cost_cents,
            monthly_cost_cents=number.monthly_cost_cents,
            capabilities=capabilities_of(number.type),
        )
        self.inventory[item.id] = item
        return item

    def timestamp(self) -> str:
        """Return the time as KrosAI writes it."""
        return written_time(self.now())

    def own(self, item: InventoryItem, status: str, *, number_id: str = "") -> SimNumber:
        """Add a record of a number, without a charge."""
        number = self.record(item, status, number_id=number_id)
        self.owned[number.id] = number
        return number

    def record(self, item: InventoryItem, status: str, *, number_id: str = "") -> SimNumber:
        """Return the record of a number as if bought now, without adding it; `number_id` if its id is not new."""
        at = self.timestamp()
        return SimNumber(
            id=number_id or self.ids.make("pn"),
            e164=item.e164,
            country=item.country,
            type=item.type,
            status=status,
            endpoint_id=None,
            allow_inbound=True,
            allow_outbound=self.profile.outbound_by_default,
            monthly_cost_cents=item.monthly_cost_cents,
            setup_cost_cents=item.setup_cost_cents,
            sip=self._sip(item.e164),
            created_at=at,
            updated_at=at,
            area_code=item.area_code,
        )

    def _sip(self, e164: str) -> dict[str, Any]:
        """Return SIP credentials; their shape is INVENTED, see docs/krosai.md section 4."""
        return {
            "username": e164.removeprefix("+"),
            "password": self._sip_password or f"sip-secret-{self.ids.hex(16)}",
            "domain": "sip.krosai.invalid",
            "ip": "192.0.2.10",
            "port": 5060,
            "transport": "udp",
        }

    def _seed_owned(self) -> None:
        statuses = ["active", "inactive"]
        if self.profile.name == "guide":
            statuses += ["suspended", "porting"]
        if self.shapes is not None:
            statuses += self.shapes.further_statuses
        last = 99 - 10 * len(self.organizations)
        for end, status in zip(range(last, 0, -1), statuses, strict=False):
            self.own(item_of(OWNED_RANGE, f"{OWNED_RANGE.prefix}{end:02d}", ""), status)
        first = next(iter(self.owned.values()))
        first.endpoint_id = next(iter(self.endpoints))


def missing() -> RefusalError:
    """Return the 404 without a code, which neither document mentions."""
    return RefusalError(404, "Resource not found")


def _found(things: Mapping[str, _T], thing_id: str) -> _T:
    if thing_id not in things:
        raise missing()
    return things[thing_id]


def written_time(at: float) -> str:
    """Return Unix seconds as KrosAI writes a time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
