"""The records of KrosAI, read leniently: aliases are accepted, extras ignored, and missing values are None.

The names of their fields are in `fields.py`. A record without its identity (an id, and for a number its E.164) is a
ProtocolError. A list still shows the others, and names the unreadable record: it may be the one that is looked for.
"""

import re
from dataclasses import dataclass
from typing import Final

from kros_mcp.errors import ProtocolError
from kros_mcp.krosai import fields
from kros_mcp.krosai.fields import Record
from kros_mcp.krosai.sip_credentials import SipCredentials, read_sip
from kros_mcp.money import Price, named_together

NOT_STATED: Final = ""
"""In place of a number's endpoint: its record does not state where its calls go. No id is empty."""
_NO_LETTER: Final = re.compile(r"[^a-z]")
_ENDED: Final = frozenset(
    {"inactive", "released", "expired", "cancelled", "canceled", "deleted", "failed", "rejected", "portedout"}
)
"""Statuses of a number that the account no longer has, or never got; any other status is of a living record."""
_NEVER_OWNED: Final = frozenset({"failed", "rejected"})
"""Statuses that only a rejected order has."""
_HAD: Final = frozenset({"released", "portedout"})
"""Statuses that only a number has which the account once owned."""
_TURNED_DOWN: Final = frozenset({"rejected", "failed", "cancelled", "canceled", "expired"})
"""Statuses that an order may have which came to nothing."""
_PENDING: Final = frozenset(
    {
        "pending",
        "processing",
        "provisioning",
        "inprogress",
        "submitted",
        "ordered",
        "queued",
        "reserved",
        "requested",
        "initiated",
    }
)
"""Statuses of an order that is not decided yet and may still be rejected."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number that the account owns, or owned (sections 2.1 and 2.3).

    `endpoint_id` is None if its calls go nowhere, and `NOT_STATED` if that is not known.
    """

    id: str
    e164: str
    country: str | None = None
    type: str | None = None
    status: str | None = None
    endpoint_id: str | None = None
    allow_inbound: bool | None = None
    allow_outbound: bool | None = None
    setup_cents: int | None = None
    monthly_cents: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    sip: SipCredentials | None = None
    currency: str | None = None
    total_cents: int | None = None
    """What was charged at its purchase, as far as the record states it; kept in no list."""

    @property
    def has_ended(self) -> bool:
        """Whether this record says that the account no longer has the number, or never got it."""
        return has_ended(self.status)


@dataclass(frozen=True, slots=True)
class NumberForSale:
    """A number for sale (section 3); `due_now_cents` is setup plus the first month."""

    inventory_id: str
    e164: str
    country: str | None = None
    type: str | None = None
    area_code: str | None = None
    capabilities: dict[str, bool] | None = None
    setup_cents: int | None = None
    monthly_cents: int | None = None
    due_now_cents: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class CallEndpoint:
    """An endpoint, to which calls can be routed (section 6); its url, config and secret are not read."""

    id: str
    name: str | None = None
    type: str | None = None
    status: str | None = None


def has_ended(status: str | None) -> bool:
    """Whether a status, in any spelling, is of a number that the account no longer has, or never got."""
    return _letters(status) in _ENDED


def was_never_owned(status: str | None) -> bool:
    """Whether a status, in any spelling, is that of a rejected order."""
    return _letters(status) in _NEVER_OWNED


def was_had(status: str | None) -> bool:
    """Whether a status, in any spelling, is of a number that the account owned and gave up."""
    return _letters(status) in _HAD


def was_turned_down(status: str | None) -> bool:
    """Whether a status, in any spelling, may be of an order that came to nothing."""
    return _letters(status) in _TURNED_DOWN


def is_pending(status: str | None) -> bool:
    """Whether a status, in any spelling, is of an order that may still be rejected."""
    return _letters(status) in _PENDING


def read_phone_number(raw: object) -> PhoneNumber:
    """Read an owned number; raise ProtocolError without an id and an E.164."""
    record = _record(raw)
    number_id, e164 = fields.ID.of(record), read_e164(record)
    if number_id is None or e164 is None:
        raise ProtocolError("KrosAI sent a phone number without a usable id and E.164 number.")
    price = _price(record)
    return PhoneNumber(
        id=number_id,
        e164=e164,
        country=fields.COUNTRY.of(record),
        type=fields.TYPE.of(record),
        status=fields.STATUS.of(record),
        endpoint_id=_routed_to(record),
        allow_inbound=fields.ALLOW_INBOUND.of(record),
        allow_outbound=fields.ALLOW_OUTBOUND.of(record),
        setup_cents=price.setup_cents,
        monthly_cents=price.monthly_cents,
        created_at=fields.CREATED_AT.of(record),
        updated_at=fields.UPDATED_AT.of(record),
        sip=read_sip(record),
        currency=_currency(record),
        total_cents=price.total_cents,
    )


def read_available(raw: object) -> NumberForSale:
    """Read a number for sale; raise ProtocolError without an inventory id and an E.164."""
    record = _record(raw)
    inventory_id, e164 = fields.INVENTORY_ID.of(record), read_e164(record)
    if inventory_id is None or e164 is None:
        raise ProtocolError("KrosAI sent a number for sale without a usable inventory id and E.164 number.")
    price = _price(record)
    return NumberForSale(
        inventory_id=inventory_id,
        e164=e164,
        country=fields.COUNTRY.of(record),
        type=fields.TYPE.of(record),
        area_code=fields.AREA_CODE.of(record),
        capabilities=fields.CAPABILITIES.of(record),
        setup_cents=price.setup_cents,
        monthly_cents=price.monthly_cents,
        due_now_cents=price.due_now_cents,
        currency=_currency(record),
    )


def read_endpoint(raw: object) -> CallEndpoint:
    """Read an endpoint; raise ProtocolError without an id."""
    record = _record(raw)
    endpoint_id = fields.ID.of(record)
    if endpoint_id is None:
        raise ProtocolError("KrosAI sent an endpoint without a usable id.")
    return CallEndpoint(
        id=endpoint_id,
        name=fields.NAME.of(record),
        type=fields.TYPE.of(record),
        status=fields.STATUS.of(record),
    )


def read_e164(record: Record) -> str | None:
    """Return the E.164 of a record under any of its names (section 9, rule 3); None if there is none."""
    return fields.E164.of(record)


def read_id(raw: object) -> str | None:
    """Return the id of a record of any kind; None if it has no usable one."""
    return fields.ANY_ID.of(raw) if isinstance(raw, dict) else None


def read_status(record: Record) -> str | None:
    """Return the status of a record, as one word; None if it states none."""
    return fields.STATUS.of(record)


def _letters(status: str | None) -> str:
    """Return the letters of a status, which all its spellings share."""
    return _NO_LETTER.sub("", (status or "").lower())


def _record(raw: object) -> Record:
    if not isinstance(raw, dict):
        raise ProtocolError("KrosAI sent an entry that is not an object.")
    return raw


def _price(record: Record) -> Price:
    return Price(
        setup_cents=fields.SETUP_CENTS.agreed(record),
        monthly_cents=fields.MONTHLY_CENTS.agreed(record),
        total_cents=fields.TOTAL_CENTS.agreed(record),
    )


def _routed_to(record: Record) -> str | None:
    """Return the endpoint of a number; None only if the record states that there is none."""
    found = fields.ENDPOINT_ID.of(record)
    return found if found or fields.ENDPOINT_ID.is_stated_empty(record) else NOT_STATED


def _currency(record: Record) -> str | None:
    """Return the currency; two that differ are joined, as in "NGN/USD"."""
    return named_together(stated for stated in fields.CURRENCY.each_of(record) if stated is not None) or None
