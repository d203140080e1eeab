"""The records of KrosAI, read leniently: aliases are accepted, extras ignored, and missing values are None.

Field names and their aliases are those of docs/krosai.md, sections 2, 3, 4, 6 and 9. A record without its identity (an
id, and for a number its E.164) is a ProtocolError. A list still shows the others, and names the unreadable record:
it may be the one that is looked for.
"""

import re
from dataclasses import dataclass
from typing import Final

from kros_mcp.errors import ProtocolError
from kros_mcp.krosai import text as shown
from kros_mcp.krosai.envelope import NUMBER_NAMES
from kros_mcp.krosai.sip_credentials import SipCredentials, read_sip
from kros_mcp.krosai.text import clean, is_id
from kros_mcp.money import Price, cents
from kros_mcp.numbering import parse_e164, read_country

_Record = dict[str, object]
_LONGEST_INTEGER: Final = 10**200
_MOST_CAPABILITIES: Final = 20
_NO_LETTER: Final = re.compile(r"[^a-z]")
_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
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
    """A number that the account owns, or owned (sections 2.1 and 2.3)."""

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
    number_id, e164 = _identifier(record.get("id")), read_e164(record)
    if number_id is None or e164 is None:
        raise ProtocolError("KrosAI sent a phone number without a usable id and E.164 number.")
    price = _price(record)
    return PhoneNumber(
        id=number_id,
        e164=e164,
        country=_country(record.get("country")),
        type=_word(record.get("type")),
        status=_word(record.get("status")),
        endpoint_id=_endpoint_id(record),
        allow_inbound=_flag(record, "allow_inbound", "allowInbound"),
        allow_outbound=_flag(record, "allow_outbound", "allowOutbound"),
        setup_cents=price.setup_cents,
        monthly_cents=price.monthly_cents,
        created_at=_text(record.get("created_at", record.get("createdAt"))),
        updated_at=_text(record.get("updated_at", record.get("updatedAt"))),
        sip=read_sip(record),
        currency=_currency(record),
    )


def read_available(raw: object) -> NumberForSale:
    """Read a number for sale; raise ProtocolError without an inventory id and an E.164."""
    record = _record(raw)
    inventory_id = _first_id(record, "inventory_id", "inventoryId", "id")
    e164 = read_e164(record)
    if inventory_id is None or e164 is None:
        raise ProtocolError("KrosAI sent a number for sale without a usable inventory id and E.164 number.")
    price = _price(record)
    return NumberForSale(
        inventory_id=inventory_id,
        e164=e164,
        country=_country(record.get("country")),
        type=_word(record.get("type")),
        area_code=_area(record.get("area_code", record.get("areaCode"))),
        capabilities=_capabilities(record.get("capabilities")),
        setup_cents=price.setup_cents,
        monthly_cents=price.monthly_cents,
        due_now_cents=price.due_now_cents,
        currency=_currency(record),
    )


def read_endpoint(raw: object) -> CallEndpoint:
    """Read an endpoint; raise ProtocolError without an id."""
    record = _record(raw)
    endpoint_id = _identifier(record.get("id"))
    if endpoint_id is None:
        raise ProtocolError("KrosAI sent an endpoint without a usable id.")
    return CallEndpoint(
        id=endpoint_id,
        name=_name(record.get("name")),
        type=_word(record.get("type")),
        status=_word(record.get("status")),
    )


def read_e164(record: _Record) -> str | None:
    """Return the E.164 of a record under any of its names (section 9, rule 3); None if there is none."""
    for name in NUMBER_NAMES:
        value = record.get(name)
        if isinstance(value, str):
            try:
                return parse_e164(value)
            except ValueError:
                continue
    return None


def _letters(status: str | None) -> str:
    """Return the letters of a status, which all its spellings share."""
    return _NO_LETTER.sub("", (status or "").lower())


def _record(raw: object) -> _Record:
    if not isinstance(raw, dict):
        raise ProtocolError("KrosAI sent an entry that is not an object.")
    return raw


def read_id(raw: object) -> str | None:
    """Return the id of a record of any kind; None if it has no usable one."""
    return _first_id(raw, "id", "inventory_id", "inventoryId") if isinstance(raw, dict) else None


def read_status(record: _Record) -> str | None:
    """Return the status of a record, as one word; None if it states none."""
    return _word(record.get("status"))


def _first_id(record: _Record, *names: str) -> str | None:
    return next((found for name in names if (found := _identifier(record.get(name)))), None)


def _identifier(value: object) -> str | None:
    """Return an opaque id exactly as it is: printable ASCII without blanks, or an integer of any size as text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_INTEGER:
        value = str(value)
    return value if isinstance(value, str) and is_id(value) else None


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(cents(value)) if cents(value) is not None else None
    return (clean(value) or None) if isinstance(value, str) else None


def _name(value: object) -> str | None:
    return shown.name(value) if isinstance(value, str) else _text(value)


def _area(value: object) -> str | None:
    text = _text(value)
    return None if text is None else shown.digits(text)


def _word(value: object) -> str | None:
    """Return a word of an open set (types, statuses) in one spelling."""
    text = value if isinstance(value, str) else _text(value)
    return None if text is None else shown.word(text)


def _country(value: object) -> str | None:
    """Return an ISO country code; None for anything else, which would otherwise appear in what a person is asked."""
    text = _text(value)
    return read_country(text) if text is not None else None


def _currency(record: _Record) -> str | None:
    """Return the currency, three letters in capitals, or None; two that differ are joined, as in "NGN/USD"."""
    stated = (record.get(name) for name in ("currency", "currency_code", "currencyCode"))
    texts = (text.strip() for text in stated if isinstance(text, str))
    return "/".join(sorted({text.upper() for text in texts if _CURRENCY.fullmatch(text)})) or None


def _flag(record: _Record, *names: str) -> bool | None:
    values = (record.get(name) for name in names)
    return next((value for value in values if isinstance(value, bool)), None)


def _endpoint_id(record: _Record) -> str | None:
    endpoint = record.get("endpoint")
    nested = endpoint.get("id") if isinstance(endpoint, dict) else None
    candidates = (record.get("endpoint_id"), record.get("endpointId"), nested)
    return next((found for value in candidates if (found := _identifier(value))), None)


def _price(record: _Record) -> Price:
    return Price(
        setup_cents=_agreed_cents(record, "setup_cost_cents", "setupCostCents", "setup_cents", "setupCents"),
        monthly_cents=_agreed_cents(record, "monthly_cost_cents", "monthlyCostCents", "monthly_cents", "monthlyCents"),
        total_cents=_agreed_cents(record, "total_cost_cents", "totalCostCents", "total_cents", "totalCents"),
    )


def _agreed_cents(record: _Record, *names: str) -> int | None:
    """Return the price on which all spellings present agree; None if they contradict each other."""
    stated = [cents(record[name]) for name in names if record.get(name) is not None]
    return stated[0] if stated and all(amount == stated[0] for amount in stated) else None


def _capabilities(value: object) -> dict[str, bool] | None:
    """Return a map of booleans; a list of names means that all are true."""
    if isinstance(value, list):
        value = {name: True for name in value if isinstance(name, str)}
    if not isinstance(value, dict):
        return None
    named = ((_word(name), has) for name, has in value.items() if isinstance(has, bool))
    return dict([(name, has) for name, has in named if name is not None][:_MOST_CAPABILITIES])
