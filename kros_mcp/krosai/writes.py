"""What a write sends to KrosAI, and what KrosAI answers (docs/krosai.md, sections 2.4 to 2.6)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from kros_mcp.errors import InvalidArgumentError
from kros_mcp.krosai.wire import PhoneNumber, has_ended, is_pending

Spelling = Literal["snake", "camel"]
UNROUTED: Final = "unrouted"
"""In place of an endpoint's id: none, so that calls go nowhere. KrosAI is sent null, which no document describes."""

_CAMEL: Final = {
    "endpoint_id": "endpointId",
    "allow_inbound": "allowInbound",
    "allow_outbound": "allowOutbound",
}


@dataclass(frozen=True, slots=True)
class Routing:
    """A number's endpoint and its two flags, as a PATCH sets them; None leaves one as it is, `UNROUTED` detaches."""

    endpoint_id: str | None = None
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None

    def body(self, spelling: Spelling = "snake") -> dict[str, object]:
        """Return the body of the PATCH, spelt as in the guide, or in camelCase for a KrosAI that ignores that."""
        values = {name: getattr(self, name) for name in _CAMEL}
        return {
            _CAMEL[name] if spelling == "camel" else name: None if value == UNROUTED else value
            for name, value in values.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class Order:
    """A number to buy, by its inventory id, or else by E.164, country and type.

    The costs are those shown to the person, in cents, so that KrosAI can object if its price differs.
    """

    inventory_id: str = ""
    e164: str = ""
    country: str = ""
    type: str = ""
    endpoint_id: str | None = None
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None
    total_cents: int | None = None
    setup_cents: int | None = None
    monthly_cents: int | None = None

    def __post_init__(self) -> None:
        if not self.inventory_id and not (self.e164 and self.country and self.type):
            raise InvalidArgumentError("An order needs an inventory_id, or else e164, country and type.")

    def body(self) -> dict[str, object]:
        """Return the body of the POST: routing in snake_case, costs in the camelCase of the reference."""
        if self.inventory_id:
            number: dict[str, object] = {"inventory_id": self.inventory_id}
        else:
            number = {"e164": self.e164, "country": self.country, "type": self.type}
        routing = Routing(self.endpoint_id, self.allow_inbound, self.allow_outbound).body()
        costs = {
            "totalCostCents": self.total_cents,
            "setupCostCents": self.setup_cents,
            "monthlyCostCents": self.monthly_cents,
        }
        return number | routing | {name: amount for name, amount in costs.items() if amount is not None}


@dataclass(frozen=True, slots=True)
class Written:
    """KrosAI's 2xx answer to a write.

    Args:
        status: The HTTP status.
        body: Whether the answer was JSON, empty, or something else.
        number: The number in the answer, if it states its id and E.164.
        e164: The E.164 in the answer, that of `number` or one without an id.
        contradicted: Whether the answer names both the number and an error, so that nothing follows from it.
        record_status: The status of the record in the answer, as one word. One that is pending or has ended
            (`wire.is_pending`, `wire.has_ended`) means that the order is not carried out, or not yet.
        plain: Whether nothing in the answer contradicts that the order was carried out. If false, the account has to
            show it.
    """

    status: int
    body: Literal["json", "empty", "other"]
    number: PhoneNumber | None = None
    e164: str | None = None
    contradicted: bool = False
    record_status: str | None = None
    plain: bool = True

    def says_bought(self, e164: str) -> bool:
        """Whether the answer to an order says plainly that this number is bought: named, and not still to come."""
        return (
            self.e164 == e164
            and self.plain
            and not self.contradicted
            and self.status != HTTPStatus.ACCEPTED
            and not is_pending(self.record_status)
            and not has_ended(self.record_status)
        )
