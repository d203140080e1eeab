"""The records of KrosAI, read leniently: aliases accepted, extras ignored, what is missing is None.

Field names and their aliases are those of krosai-api.md, sections 2, 3, 4, 6 and 9. A record without its
identity (an id, and for a number its E.164) is a ProtocolError, also inside a list: a list with a hole in it
would make an owned number look as if it were not owned.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, TypeVar

from kros_mcp.errors import ProtocolError
from kros_mcp.krosai.envelope import NUMBER_NAMES
from kros_mcp.krosai.text import clean
from kros_mcp.money import Price, cents
from kros_mcp.numbering import parse_e164

_Record = dict[str, object]
_LONGEST_ID: Final = 200
_COUNTRY_LETTERS: Final = 2
_MOST_CAPABILITIES: Final = 20
_ENDED: Final = frozenset(
    {"inactive", "released", "expired", "cancelled", "canceled", "deleted", "failed", "rejected", "ported_out"}
)
"""Statuses of a record of a number that the account has no more, or never got; every other word is living."""

_PENDING: Final = frozenset(
    {
        "pending",
        "processing",
        "provisioning",
        "in_progress",
        "submitted",
        "ordered",
        "queued",
        "reserved",
        "requested",
        "initiated",
    }
)


class SipCredentials:
    """What a SIP client needs to register; shown by name only, never by value (section 4).

    The shape is not documented, so the values stay as KrosAI sent them. `repr`, `str`, copies, `asdict`
    and pickling give nothing away; `reveal` is for the person at the terminal.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, object]) -> None:
        self._values = dict(values)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what KrosAI sent, in its order."""
        return tuple(clean(name) for name in self._values)

    def reveal(self) -> dict[str, object]:
        """Give the values themselves. Never call this where a model or a log can see the result."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"SipCredentials(fields={self.fields!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SipCredentials) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __deepcopy__(self, memo: object) -> "SipCredentials":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("SIP credentials are not written down.")


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
        """Whether the account has the number no more by this record, or never got it."""
        return has_ended(self.status)


@dataclass(frozen=True, slots=True)
class AvailableNumber:
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
class Endpoint:
    """A place where calls can be routed (section 6); its url, config and secret are not read."""

    id: str
    name: str | None = None
    type: str | None = None
    status: str | None = None


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    Args:
        items: What is left after filtering here.
        total: How many there are in all, if KrosAI says so.
        received: How many items KrosAI sent, before filtering here. The next offset is this much further.
        positions: KrosAI's offset of each item in `items`.
    """

    items: tuple[T, ...]
    total: int | None
    received: int
    positions: tuple[int, ...]

    @classmethod
    def of(cls, items: Iterable[T], *, total: int | None, offset: int) -> "Page[T]":
        """Make a page of all that KrosAI sent from `offset` on.

        A total below what is already on the table is not a total, and is dropped.
        """
        every = tuple(items)
        end = offset + len(every)
        stated = None if total is None or (every and total < end) else total
        return cls(every, stated, len(every), tuple(range(offset, end)))

    def where(self, fits: Callable[[T], bool]) -> "Page[T]":
        """Keep the items that fit; `total` and `received` stay KrosAI's."""
        kept = [(item, at) for item, at in zip(self.items, self.positions, strict=True) if fits(item)]
        return Page(tuple(item for item, _ in kept), self.total, self.received, tuple(at for _, at in kept))


def has_ended(status: str | None) -> bool:
    """Whether a record with this status stands for a number that the account has no more, or never got."""
    return status in _ENDED


def is_pending(status: str | None) -> bool:
    """Whether a record with this status stands for an order that is still to be carried out."""
    return status in _PENDING


def read_phone_number(raw: object) -> PhoneNumber:
    """Read an owned number; ProtocolError without an id and an E.164."""
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
        sip=_sip(record),
    )


def read_available(raw: object) -> AvailableNumber:
    """Read a number for sale; ProtocolError without an inventory id and an E.164."""
    record = _record(raw)
    names = ("inventory_id", "inventoryId", "id")
    inventory_id = next((found for name in names if (found := _identifier(record.get(name)))), None)
    e164 = read_e164(record)
    if inventory_id is None or e164 is None:
        raise ProtocolError("KrosAI sent a number for sale without a usable inventory id and E.164 number.")
    price = _price(record)
    return AvailableNumber(
        inventory_id=inventory_id,
        e164=e164,
        country=_country(record.get("country")),
        type=_word(record.get("type")),
        area_code=_text(record.get("area_code", record.get("areaCode"))),
        capabilities=_capabilities(record.get("capabilities")),
        setup_cents=price.setup_cents,
        monthly_cents=price.monthly_cents,
        due_now_cents=price.due_now_cents,
    )


def read_endpoint(raw: object) -> Endpoint:
    """Read an endpoint; ProtocolError without an id."""
    record = _record(raw)
    endpoint_id = _identifier(record.get("id"))
    if endpoint_id is None:
        raise ProtocolError("KrosAI sent an endpoint without a usable id.")
    return Endpoint(
        id=endpoint_id,
        name=_text(record.get("name")),
        type=_word(record.get("type")),
        status=_word(record.get("status")),
    )


def read_e164(record: _Record) -> str | None:
    """Find the E.164 of a record under any of its names (section 9, rule 3); None if there is none."""
    for name in NUMBER_NAMES:
        value = record.get(name)
        if isinstance(value, str):
            try:
                return parse_e164(value)
            except ValueError:
                continue
    return None


def _record(raw: object) -> _Record:
    if not isinstance(raw, dict):
        raise ProtocolError("KrosAI sent an entry that is not an object.")
    return raw


def _identifier(value: object) -> str | None:
    """Take an opaque id (text or integer); one that cannot stand in a URL or a sentence is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(cents(value)) if cents(value) is not None else None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
        return None
    return value if value == clean(value, _LONGEST_ID) and " " not in value else None


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(cents(value)) if cents(value) is not None else None
    return (clean(value) or None) if isinstance(value, str) else None


def _word(value: object) -> str | None:
    """Take a word of an open set (types, statuses) in one spelling: "Toll-Free" is "toll_free"."""
    text = _text(value)
    return None if text is None else text.lower().replace("-", "_").replace(" ", "_")


def _country(value: object) -> str | None:
    """Take a two-letter country code; anything else says nothing, and would stand in what a person is asked."""
    text = _text(value)
    return (
        text.upper()
        if text is not None and len(text) == _COUNTRY_LETTERS and text.isascii() and text.isalpha()
        else None
    )


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
    """Take a price that every spelling present agrees on; a contradiction is an unknown price."""
    stated = [cents(record[name]) for name in names if record.get(name) is not None]
    return stated[0] if stated and all(amount == stated[0] for amount in stated) else None


def _capabilities(value: object) -> dict[str, bool] | None:
    """Take a map of booleans, or a list of names that are all true."""
    if isinstance(value, list):
        value = {name: True for name in value if isinstance(name, str)}
    if not isinstance(value, dict):
        return None
    named = ((_word(name), has) for name, has in value.items() if isinstance(has, bool))
    return dict([(name, has) for name, has in named if name is not None][:_MOST_CAPABILITIES])


def _sip(record: _Record) -> SipCredentials | None:
    """Collect everything whose name begins with "sip"; a `sip_credentials` object is laid open."""
    values: _Record = {}
    for name, value in record.items():
        if not name.lower().startswith("sip") or value is None:
            continue
        values.update(value if isinstance(value, dict) else {name: value})
    return SipCredentials(values) if values else None
