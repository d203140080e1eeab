"""What the simulated KrosAI has for sale: number ranges, prices and the items made of them.

The ranges, prices and area codes are those of docs/krosai.md, section 10. Prices, area codes and the
shape of an item are INVENTED there. The numbers are valid, not fictional: never dial them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

NumberType = Literal["local", "mobile", "toll_free"]

NUMBERS_PER_RANGE = 100


@dataclass(frozen=True)
class NumberRange:
    """One hundred numbers: a prefix to which 00 to 99 is appended, with its price in cents."""

    country: str
    type: NumberType
    prefix: str
    area_code: str | None
    monthly_cost_cents: int
    setup_cost_cents: int


@dataclass
class InventoryItem:
    """A number for sale; its costs are integer cents of no stated currency."""

    id: str
    e164: str
    country: str
    type: NumberType
    area_code: str | None
    setup_cost_cents: int
    monthly_cost_cents: int
    capabilities: dict[str, bool] = field(default_factory=dict)

    @property
    def due_now_cents(self) -> int:
        """Setup and first month."""
        return self.setup_cost_cents + self.monthly_cost_cents


RANGES: tuple[NumberRange, ...] = (
    NumberRange("NG", "local", "+23420155501", "201", 500, 0),
    NumberRange("NG", "local", "+23420955501", "209", 500, 0),
    NumberRange("NG", "mobile", "+23480355501", None, 700, 0),
    NumberRange("NG", "toll_free", "+23480055501", None, 2500, 1000),
    NumberRange("GH", "local", "+2333025501", "302", 600, 0),
    NumberRange("GH", "local", "+2333220501", "322", 600, 0),
    NumberRange("GH", "mobile", "+2332455501", None, 800, 0),
    NumberRange("GH", "toll_free", "+233800501", None, 2500, 1000),
    NumberRange("KE", "local", "+2542055501", "20", 600, 0),
    NumberRange("KE", "local", "+2544155501", "41", 600, 0),
    NumberRange("KE", "mobile", "+2547225501", None, 800, 0),
    NumberRange("KE", "toll_free", "+2548005501", None, 3000, 1000),
    NumberRange("RW", "local", "+2502525501", "252", 800, 500),
    NumberRange("RW", "mobile", "+2507855501", None, 900, 500),
    NumberRange("EG", "local", "+202255501", "2", 900, 500),
    NumberRange("EG", "local", "+20355501", "3", 900, 500),
    NumberRange("EG", "mobile", "+2010555501", None, 1100, 500),
    NumberRange("EG", "toll_free", "+2080055501", None, 3500, 1500),
    NumberRange("AE", "local", "+971455501", "4", 1500, 1000),
    NumberRange("AE", "local", "+971255501", "2", 1500, 1000),
    NumberRange("AE", "mobile", "+9715055501", None, 2000, 1000),
    NumberRange("AE", "toll_free", "+9718005501", None, 5000, 2000),
)

OWNED_RANGE = RANGES[2]
"""The Nigerian mobile range; the seeded numbers of the account are its last ones."""

# Mobile prefixes that no range above uses, and how many digits follow: room for numbers by the thousand.
_EXTRA_PREFIXES: Mapping[str, tuple[str, int]] = {
    "NG": ("+234806", 7),
    "GH": ("+23320", 7),
    "KE": ("+254711", 6),
    "RW": ("+25073", 7),
    "EG": ("+2012", 8),
    "AE": ("+97152", 7),
}


def stock(
    make_id: Callable[[], str],
    *,
    per_range: int,
    extra: Mapping[str, int],
    except_for: Collection[str],
) -> Iterator[InventoryItem]:
    """Yield the numbers for sale, always in the same order: the ranges first, then the extra ones.

    Args:
        make_id: Makes the id of each item.
        per_range: How many numbers of each range, 0 to 100.
        extra: How many further mobile numbers for each country.
        except_for: E.164 numbers that are not for sale.

    Raises:
        ValueError: `per_range` is out of bounds, or `extra` names a country without ranges.
    """
    if not 0 <= per_range <= NUMBERS_PER_RANGE:
        raise ValueError(f"stock_per_range must be 0 to {NUMBERS_PER_RANGE}, not {per_range}.")
    for numbers in RANGES:
        for end in range(per_range):
            e164 = f"{numbers.prefix}{end:02d}"
            if e164 not in except_for:
                yield item_of(numbers, e164, make_id())
    for country, count in extra.items():
        yield from _extra_stock(make_id, country, count)


def _extra_stock(make_id: Callable[[], str], country: str, count: int) -> Iterator[InventoryItem]:
    if country not in _EXTRA_PREFIXES:
        raise ValueError(f"No numbers to invent for {country}; only for {', '.join(_EXTRA_PREFIXES)}.")
    prefix, digits = _EXTRA_PREFIXES[country]
    mobile = next(each for each in RANGES if each.country == country and each.type == "mobile")
    for end in range(count):
        yield item_of(mobile, f"{prefix}{end:0{digits}d}", make_id())


def item_of(numbers: NumberRange, e164: str, item_id: str) -> InventoryItem:
    """Return the item for sale for one number of a range."""
    return InventoryItem(
        id=item_id,
        e164=e164,
        country=numbers.country,
        type=numbers.type,
        area_code=numbers.area_code,
        setup_cost_cents=numbers.setup_cost_cents,
        monthly_cost_cents=numbers.monthly_cost_cents,
        capabilities=capabilities_of(numbers.type),
    )


def capabilities_of(number_type: NumberType) -> dict[str, bool]:
    """Return what a number of this type can do; that only mobile numbers take SMS is INVENTED."""
    return {"voice": True, "sms": number_type == "mobile", "fax": False}
