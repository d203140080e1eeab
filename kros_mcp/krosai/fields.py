"""The names under which KrosAI may state each value of a record, and how each value is read.

The names are those of docs/krosai.md, sections 2, 3, 4, 6 and 9. They stand here alone: the reading (`wire.py`) and the
report of what an answer holds (`kros-mcp probe`) both use them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from kros_mcp.krosai import text as shown
from kros_mcp.krosai.envelope import NUMBER_NAMES
from kros_mcp.krosai.text import clean, is_id
from kros_mcp.money import cents
from kros_mcp.numbering import parse_e164, read_country

T = TypeVar("T")
Record = dict[str, object]
RecordKind = Literal["owned", "number", "available", "endpoint"]
"""An owned number as in a list, the same by itself, a number for sale, an endpoint."""

_LONGEST_INTEGER: Final = 10**200
_MOST_CAPABILITIES: Final = 20
_CURRENCY_CODE: Final = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """One value of a record.

    Args:
        names: Under which it may stand, in the order in which they count; "endpoint.id" is `id` inside `endpoint`.
        read: Returns the value, or None if it is none that can be used.
    """

    names: tuple[str, ...]
    read: Callable[[object], T | None]

    def of(self, record: Record) -> T | None:
        """Return the first usable value; None if there is none."""
        for name in self.names:
            if (stated := value_at(record, name)) is not None and (value := self.read(stated)) is not None:
                return value
        return None

    def each_of(self, record: Record) -> list[T | None]:
        """Return every value that is stated, None for one that cannot be used."""
        return [self.read(stated) for name in self.names if (stated := value_at(record, name)) is not None]

    def agreed(self, record: Record) -> T | None:
        """Return the value on which all names present agree; None if they contradict each other."""
        values = self.each_of(record)
        return values[0] if values and all(value == values[0] for value in values) else None

    def is_stated_empty(self, record: Record) -> bool:
        """Whether a record states that there is none: null or an empty text, and nothing else under any name."""
        stated = [value for name in self.names for value in _present(record, name)]
        return bool(stated) and all(value is None or value == "" for value in stated)


def value_at(record: Record, name: str) -> object:
    """Return what stands under a name, also one with dots; None if nothing does."""
    value: object = record.get(name)
    if value is not None or "." not in name:
        return value
    value = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _present(record: Record, name: str) -> list[object]:
    """Return what stands under a name, also one with dots, be it null; empty if the record does not have it."""
    if name in record:
        return [record[name]]
    value: object = record
    for part in name.split("."):
        if not isinstance(value, dict):
            break
        if part not in value:
            return [] if value is record else [value]
        value = value[part]
    return [value]


def _identifier(value: object) -> str | None:
    """Return an opaque id exactly as it is: printable ASCII without blanks, or an integer of any size as text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_INTEGER:
        value = str(value)
    return value if isinstance(value, str) and is_id(value) else None


def _e164(value: object) -> str | None:
    try:
        return parse_e164(value) if isinstance(value, str) else None
    except ValueError:
        return None


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


def _currency(value: object) -> str | None:
    """Return a currency as three letters in capitals."""
    text = value.strip() if isinstance(value, str) else ""
    return text.upper() if _CURRENCY_CODE.fullmatch(text) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _capabilities(value: object) -> dict[str, bool] | None:
    """Return a map of booleans; a list of names means that all are true."""
    if isinstance(value, list):
        value = {name: True for name in value if isinstance(name, str)}
    if not isinstance(value, dict):
        return None
    named = ((_word(name), has) for name, has in value.items() if isinstance(has, bool))
    return dict([(name, has) for name, has in named if name is not None][:_MOST_CAPABILITIES])


ID: Final = Field(("id",), _identifier)
INVENTORY_ID: Final = Field(("inventory_id", "inventoryId", "id"), _identifier)
ANY_ID: Final = Field(("id", "inventory_id", "inventoryId"), _identifier)
E164: Final = Field(NUMBER_NAMES, _e164)
COUNTRY: Final = Field(("country",), _country)
TYPE: Final = Field(("type",), _word)
STATUS: Final = Field(("status",), _word)
AREA_CODE: Final = Field(("area_code", "areaCode"), _area)
CAPABILITIES: Final = Field(("capabilities",), _capabilities)
ENDPOINT_ID: Final = Field(("endpoint_id", "endpointId", "endpoint.id"), _identifier)
ALLOW_INBOUND: Final = Field(("allow_inbound", "allowInbound"), _flag)
ALLOW_OUTBOUND: Final = Field(("allow_outbound", "allowOutbound"), _flag)
SETUP_CENTS: Final = Field(("setup_cost_cents", "setupCostCents", "setup_cents", "setupCents"), cents)
MONTHLY_CENTS: Final = Field(("monthly_cost_cents", "monthlyCostCents", "monthly_cents", "monthlyCents"), cents)
TOTAL_CENTS: Final = Field(("total_cost_cents", "totalCostCents", "total_cents", "totalCents"), cents)
CURRENCY: Final = Field(("currency", "currency_code", "currencyCode"), _currency)
CREATED_AT: Final = Field(("created_at", "createdAt"), _text)
UPDATED_AT: Final = Field(("updated_at", "updatedAt"), _text)
NAME: Final = Field(("name",), _name)

_PRICES: Final[Mapping[str, Field[Any]]] = {
    "setup_cents": SETUP_CENTS,
    "monthly_cents": MONTHLY_CENTS,
    "total_cents": TOTAL_CENTS,
    "currency": CURRENCY,
}
PRICE_NAMES: Final = tuple(name for field in _PRICES.values() for name in field.names)
"""The names under which a price may stand, in a record or, in an answer to an order, around it."""
_NUMBER: Final[Mapping[str, Field[Any]]] = {
    "id": ID,
    "e164": E164,
    "country": COUNTRY,
    "type": TYPE,
    "status": STATUS,
    "endpoint_id": ENDPOINT_ID,
    "allow_inbound": ALLOW_INBOUND,
    "allow_outbound": ALLOW_OUTBOUND,
    **_PRICES,
    "created_at": CREATED_AT,
    "updated_at": UPDATED_AT,
}
FIELDS: Final[Mapping[RecordKind, Mapping[str, Field[Any]]]] = {
    "owned": _NUMBER,
    "number": _NUMBER,
    "available": {
        "inventory_id": INVENTORY_ID,
        "e164": E164,
        "country": COUNTRY,
        "type": TYPE,
        "area_code": AREA_CODE,
        "capabilities": CAPABILITIES,
        **_PRICES,
    },
    "endpoint": {"id": ID, "name": NAME, "type": TYPE, "status": STATUS},
}
"""What is read of a record of each kind, by our own names; of a number also every field that begins with "sip"."""
