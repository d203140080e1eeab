"""The account that the simulator keeps: its money, its numbers, its endpoints, its inventory.

Pure Python and synchronous, so that every act is one indivisible step. No HTTP and no faults: those
are in `app.py` and `faults.py`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from kros_mcp.simulator.catalogue import (
    OWNED_RANGE,
    InventoryItem,
    capabilities_of,
    item_of,
    stock,
)
from kros_mcp.simulator.profiles import Kyc, Profile
from kros_mcp.simulator.records import Charge, Ids, OwnedNumber, SimEndpoint

_T = TypeVar("_T")


class RefusalError(Exception):
    """KrosAI answers with an error; nothing was done."""

    def __init__(self, status: int, error: str, code: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.code = code


class Account:
    """One organization with its money and its numbers, as section 10 of krosai-api.md seeds it.

    Args:
        profile: The document that decides where the two disagree.
        seed: Decides every id and secret.
        balance_cents: The credit to begin with.
        stock_per_range: How many numbers of each range are for sale, 0 to 100.
        extra_inventory: How many further mobile numbers are for sale, by country.
        sip_password: The SIP password of every number. Defaults to one for each.
        now: Tells the time, in Unix seconds.
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
        now: Callable[[], float],
    ) -> None:
        self.profile = profile
        self.balance_cents = balance_cents
        self.kyc: Kyc = "approved"
        self.now = now
        self.ids = Ids(seed, prefixed=profile.prefixed_ids)
        self.organization_id = self.ids.uuid()
        self.charges: list[Charge] = []
        self.owned: dict[str, OwnedNumber] = {}
        self.endpoints: dict[str, SimEndpoint] = {}
        self._sip_password = sip_password
        self._seed_endpoints()
        self._seed_owned()
        reserved = {number.e164 for number in self.owned.values()}
        items = stock(
            lambda: self.ids.make("inv"),
            per_range=stock_per_range,
            extra=extra_inventory,
            except_for=reserved,
        )
        self.inventory: dict[str, InventoryItem] = {item.id: item for item in items}

    def owned_by_e164(self, e164: str) -> OwnedNumber | None:
        """Find an owned number by its E.164, an active one before a released one."""
        found = [number for number in self.owned.values() if number.e164 == e164]
        return min(found, key=lambda number: number.status != "active", default=None)

    def number(self, number_id: str) -> OwnedNumber:
        """Find an owned number by its id.

        Raises:
            RefusalError: 404 without a code, which neither document gives.
        """
        return _found(self.owned, number_id)

    def endpoint(self, endpoint_id: str) -> SimEndpoint:
        """Find an endpoint by its id.

        Raises:
            RefusalError: 404 without a code, which neither document gives.
        """
        return _found(self.endpoints, endpoint_id)

    def require_endpoint(self, endpoint_id: str | None) -> None:
        """Check that an endpoint that a write names is there.

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
        """Make the refusal for a number that is not for sale."""
        status = self.profile.not_available_status
        return RefusalError(status, "The requested number is no longer available", "NUMBER_NOT_AVAILABLE")

    def buy(self, item: InventoryItem, idempotency_key: str | None) -> OwnedNumber:
        """Charge setup and first month of an item, and own it.

        Raises:
            RefusalError: INSUFFICIENT_BALANCE.
        """
        cents = item.setup_cost_cents + item.monthly_cost_cents
        if self.balance_cents < cents:
            status = self.profile.insufficient_balance_status
            raise RefusalError(status, "Insufficient balance", "INSUFFICIENT_BALANCE")
        self.balance_cents -= cents
        self.charges.append(Charge(item.e164, cents, self.now(), idempotency_key))
        del self.inventory[item.id]
        return self._own(item, "active")

    def change(self, number: OwnedNumber, settings: Mapping[str, Any]) -> None:
        """Set `endpoint_id`, `allow_inbound` and `allow_outbound`, as far as they are given."""
        for name, value in settings.items():
            setattr(number, name, value)
        number.updated_at = self.timestamp()

    def release(self, number: OwnedNumber) -> None:
        """Release softly: the record stays, inactive."""
        number.status = "inactive"
        number.updated_at = self.timestamp()

    def delete(self, number: OwnedNumber) -> None:
        """Remove the record; the number is for sale again where the profile says so."""
        del self.owned[number.id]
        if self.profile.returns_to_pool:
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

    def timestamp(self) -> str:
        """Tell the time as KrosAI writes it."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _own(self, item: InventoryItem, status: str) -> OwnedNumber:
        at = self.timestamp()
        number = OwnedNumber(
            id=self.ids.make("pn"),
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
        self.owned[number.id] = number
        return number

    def _sip(self, e164: str) -> dict[str, Any]:
        """Make SIP credentials; their shape is INVENTED, see krosai-api.md section 4."""
        return {
            "username": e164.removeprefix("+"),
            "password": self._sip_password or f"sip-secret-{self.ids.hex(16)}",
            "domain": "sip.krosai.invalid",
            "ip": "192.0.2.10",
            "port": 5060,
            "transport": "udp",
        }

    def _seed_endpoints(self) -> None:
        at = self.timestamp()
        for name, kind, status, config in (
            ("Support agent", "elevenlabs", "active", {"elevenlabs_agent_id": "agent_sim_support"}),
            ("Order line", "webhook", "active", {}),
            (
                "Night desk",
                "livekit",
                "error",
                {"livekit_sip_trunk_id": "ST_sim_night", "livekit_sip_uri": "sip:night.livekit.invalid"},
            ),
        ):
            endpoint = SimEndpoint(self.ids.make("ep"), name, kind, status, at, at, provider_config=config)
            if kind == "webhook":
                endpoint.url = "https://orders.example.com/krosai"
                endpoint.secret = f"whsec_{self.ids.hex(24)}"
            self.endpoints[endpoint.id] = endpoint

    def _seed_owned(self) -> None:
        statuses = ["active", "inactive"]
        if self.profile.name == "guide":
            statuses += ["suspended", "porting"]
        for end, status in zip(range(99, 0, -1), statuses, strict=False):
            self._own(item_of(OWNED_RANGE, f"{OWNED_RANGE.prefix}{end:02d}", ""), status)
        first = next(iter(self.owned.values()))
        first.endpoint_id = next(iter(self.endpoints))


def _found(things: Mapping[str, _T], thing_id: str) -> _T:
    if thing_id not in things:
        raise RefusalError(404, "Resource not found")
    return things[thing_id]
