"""What a search says: sentences that can be spoken, then short lines; what all rows share stands once above them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kros_mcp.characters import joined
from kros_mcp.krosai import LARGEST_PAGE, CheapestFirst, NumberForSale
from kros_mcp.money import common_label, label_of, show_again
from kros_mcp.numbering import PartOfNumber, in_country, spoken
from kros_mcp.tools.results import AvailableNumber, AvailableNumbers, CountryOnSale

_MOST_AREAS = 8
_MOST_NAMED = 6
_WHOLE_NUMBER_DIGITS = 9
"""So many digits are those of one number, so that no wider search is of use."""
_LONGEST_CAPABILITY = 20
_MOST_CAPABILITIES = 4


@dataclass(frozen=True)
class Looked:
    """What was looked for."""

    country: str
    type: str
    area_code: str
    part: PartOfNumber | None
    most_monthly_cents: int

    @property
    def chooses(self) -> bool:
        """Whether it asks for something that KrosAI cannot look for."""
        return self.part is not None or self.most_monthly_cents > 0

    def affords(self, monthly_cents: int | None) -> bool:
        """Whether a price a month is within what is asked for; one that is not stated is in no limit."""
        if not self.most_monthly_cents:
            return True
        return monthly_cents is not None and monthly_cents <= self.most_monthly_cents

    def said(self, noun: str = "number") -> str:
        """Name it, as in "mobile number containing 777"."""
        kind = f"{self.type.replace('_', '-')} " if self.type else ""
        area = f" with area code {self.area_code}" if self.area_code else ""
        part = f" {self.part.aloud}" if self.part else ""
        most = f" at {show_again(self.most_monthly_cents)} a month or less" if self.most_monthly_cents else ""
        return f"{kind}{noun}{area}{part}{most}"


def first_sentences(
    looked: Looked, page: CheapestFirst, currency: str, *, allowed: bool, elsewhere: Sequence[str]
) -> str:
    """Say the cheapest number of a page with its price, or that there is none; and whether it may be bought here.

    Args:
        looked: What was looked for.
        page: What was found.
        currency: How amounts are labelled; empty for the account's currency.
        allowed: Whether the caller may buy in that country.
        elsewhere: Countries where something is known to be for sale, for a page without numbers.
    """
    where = in_country(looked.country)
    first = _cheapest(looked, page, currency, where) if page.items else _none(looked, page, elsewhere, where)
    if page.items and _common_label(page.fitting, currency) is None:
        first += " Prices are in several currencies, which cannot be compared."
    return first if allowed else f"{first} Buying {where} is not allowed here."


def page_text(result: AvailableNumbers, page: CheapestFirst, looked: Looked, currency: str, *, unpriced: int) -> str:
    """Write a page of numbers for sale; `currency` as in `first_sentences`."""
    lines = [result.summary, _counted(page, looked)]
    if unpriced:
        lines.append(f"{unpriced:,} more state no price a month and were left out.")
    numbers = result.numbers
    columns = [column for column in _columns(numbers) if any(column)]
    if _common_label(page.fitting, currency) is None:
        labels = [label_of(item.currency or "", currency) if _is_priced(item) else "" for item in page.items]
        columns.append([f"in {label}" if label else "" for label in labels])
    shared = [column[0] for column in columns if len(set(column)) == 1]
    if shared:
        lines.append(f"{'all' if len(numbers) > 1 else 'it'}: {'; '.join(shared)}")
    if result.area_codes:
        named = [f"{one.area_code} {one.city or ''}".strip() + f" ({one.count})" for one in result.area_codes]
        more = f", and {len(named) - _MOST_AREAS} more" if len(named) > _MOST_AREAS else ""
        lines.append(f"area codes, and how many: {', '.join(named[:_MOST_AREAS])}{more}")
    if numbers:
        lines.append("numbers, each with its inventory_id:")
    lines += _rows(numbers, [column for column in columns if len(set(column)) > 1])
    if result.next_offset is not None:
        lines.append(f"next_offset: {result.next_offset}")
    return "\n".join(filter(None, lines))


def countries_sentences(looked: Looked, countries: Sequence[CountryOnSale], labels: Mapping[str, str]) -> str:
    """Say where something is for sale and from which price, the cheapest first; and what could not be read.

    Args:
        looked: What was looked for.
        countries: Those that were asked about, the cheapest first.
        labels: How the amount of each country is labelled; empty for the account's currency.
    """
    selling = [one for one in countries if one.read and looked.affords(one.monthly_cents)]
    unread = [one for one in countries if one.types is None]
    what = looked.said("numbers")
    differ = len({labels[one.country] for one in selling if one.monthly_cents is not None}) > 1
    told = [
        _from(one, labels[one.country], labelled=differ or not place) for place, one in enumerate(selling[:_MOST_NAMED])
    ]
    if len(selling) > _MOST_NAMED:
        told.append(f"in {len(selling) - _MOST_NAMED} more countries")
    said = f"{what[0].upper()}{what[1:]} are for sale {joined(told)}." if told else f"No {what} were seen for sale."
    if unread:
        said += f" {joined([_named(one.country) for one in unread])} could not be read just now."
    return said


def countries_text(result: AvailableNumbers, labels: Mapping[str, str], *, left_out: int) -> str:
    """Write what is for sale country by country.

    Args:
        result: What was found.
        labels: As in `countries_sentences`.
        left_out: How many allowed countries were not looked at.
    """
    lines = [result.summary]
    differ = len(set(labels.values())) > 1
    lines += [
        f"{one.country} {one.name}: {_market(one, labels[one.country] if differ else '')}"
        for one in result.countries
        if one.types is not None
    ]
    if any(one.read for one in result.countries):
        lines.append("Prices are of the first that KrosAI lists for each; search with country to see them and read on.")
    if refused := [_named(one.country) for one in result.countries if not one.allowed]:
        lines.append(f"Buying is not allowed here in {joined(refused)}.")
    if left_out > 0:
        lines.append(f"{left_out:,} more countries are allowed and were not looked at; search with country.")
    return "\n".join(lines)


def _cheapest(looked: Looked, page: CheapestFirst, currency: str, where: str) -> str:
    first = page.items[0]
    is_priced = first.monthly_cents is not None and first.due_now_cents is not None
    if page.earlier:
        which = "next"
    elif len(page.fitting) == 1:
        which = "only"
    else:
        which = "cheapest" if is_priced and _common_label(page.fitting, currency) is not None else "first"
    among = "" if page.complete or page.earlier else f", among the {_read(page, looked)},"
    label = label_of(first.currency or "", currency)
    price = _price(first.setup_cents, first.monthly_cents, first.due_now_cents, label)
    return f"The {which} {looked.said()} for sale {where}{among} is {spoken(first.e164)}{price}."


def _common_label(items: Iterable[NumberForSale], currency: str) -> str | None:
    """Return what all prices are labelled with; None where they are in several currencies."""
    return common_label((item.currency or "" for item in items if _is_priced(item)), currency)


def _is_priced(item: NumberForSale) -> bool:
    return item.monthly_cents is not None or item.due_now_cents is not None


def _none(looked: Looked, page: CheapestFirst, elsewhere: Sequence[str], where: str) -> str:
    if page.earlier or (page.start and not page.received):
        return f"No more {looked.said('numbers')} for sale {where} follow."
    if not page.complete and page.received:
        said = f"No {looked.said()} for sale {where} is among the {_read(page, looked)}."
        return f"{said} More may follow." if page.next_offset is not None else said
    said = f"KrosAI shows no {looked.said()} for sale {where}."
    if looked.part is not None and len(looked.part.digits) >= _WHOLE_NUMBER_DIGITS:
        return said
    if looked.chooses or looked.area_code:
        return f"{said} A wider search may find some."
    if elsewhere:
        return f"{said} Some are for sale in {joined([_named(one) for one in elsewhere[:_MOST_NAMED]])}."
    return f"{said} A search without a country tells where there are some."


def _read(page: CheapestFirst, looked: Looked) -> str:
    """Say what a page is chosen from, as in "1,000 looked at out of 5,000"; of an area the numbers in it, if any."""
    if looked.area_code and not looked.chooses and page.fitting:
        return f"{len(page.fitting):,} looked at"
    further = f" from number {page.start + 1:,} on" if page.start else ""
    out_of = f" out of {page.total:,}" if page.total is not None and page.total > page.received else ""
    return f"{page.received:,} looked at{further}{out_of}"


def _price(setup: int | None, monthly: int | None, due: int | None, currency: str) -> str:
    if due is None and monthly is None:
        return "; KrosAI does not state its price"
    if due is None:
        return f", {show_again(monthly, currency)} a month{_label(currency)}; what is due at once is not stated"
    now = f", {show_again(due, currency)} now"
    if monthly is None:
        return f"{now}{_label(currency)}; the price a month is not stated"
    fee = f", {show_again(setup)} of it for setup," if setup else ""
    return f"{now}{fee} and {show_again(monthly)} a month{_label(currency)}"


def _label(currency: str) -> str:
    return "" if currency else " in the account currency"


def _counted(page: CheapestFirst, looked: Looked) -> str:
    """Say how many are shown, and what is left."""
    if not page.items:
        return ""
    shown = len(page.items)
    left = len(page.fitting) - page.earlier - shown
    if page.complete:
        return f"{shown} shown, {left:,} more." if left else f"{shown} shown, no more."
    if page.total is not None and not looked.chooses:
        return f"{shown} shown, {max(0, page.total - page.start - page.earlier - shown):,} more."
    told = f"{shown} shown, {left:,} more looked at" if left else f"{shown} shown"
    is_full = page.received >= LARGEST_PAGE and page.next_offset is not None
    return f"{told}; more may be for sale." if is_full else f"{told}."


def _rows(numbers: Sequence[AvailableNumber], differing: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a row for each number; what differs stands above those that share it, or in the rows if few do."""
    said = ["; ".join(filter(None, cells)) for cells in zip(*differing, strict=True)] or [""] * len(numbers)
    begins = [place == 0 or said[place] != said[place - 1] for place in range(len(numbers))]
    above = 1 < sum(begins) <= len(numbers) / 2
    for place, number in enumerate(numbers):
        if above and begins[place]:
            yield f"{said[place] or 'without more'}:"
        cells = [number.e164, number.inventory_id, "" if above else said[place]]
        yield f"{place + 1}. {'; '.join(filter(None, cells))}"


def _columns(numbers: Sequence[AvailableNumber]) -> list[list[str]]:
    """Return what is said of each number beside its id, by what it is about; empty where nothing is."""
    by_parts = all(
        None not in (one.setup_cents, one.monthly_cents)
        and one.due_now_cents == (one.setup_cents or 0) + (one.monthly_cents or 0)
        for one in numbers
    )
    varies = len({one.due_now_cents for one in numbers}) > 1
    due = [_amount(one.due_now_cents, "now") for one in numbers]
    setup = ["no setup fee" if one.setup_cents == 0 else _amount(one.setup_cents, "setup") for one in numbers]
    if any(one.setup_cents is None and one.due_now_cents is not None for one in numbers):
        setup = ["" if one.setup_cents is None else said for one, said in zip(numbers, setup, strict=True)]
    return [
        [one.country or "" for one in numbers],
        [one.type or "" for one in numbers],
        [_capabilities(one.capabilities) for one in numbers],
        [_amount(one.monthly_cents, "a month") for one in numbers],
        setup,
        ["now: setup and the first month"] * len(numbers) if by_parts and varies else due,
    ]


def _amount(amount_cents: int | None, what: str) -> str:
    return f"{what} not stated" if amount_cents is None else f"{show_again(amount_cents)} {what}"


def _capabilities(names: Iterable[str] | None) -> str:
    said = [name for name in names or () if len(name) <= _LONGEST_CAPABILITY]
    return "+".join(said[:_MOST_CAPABILITIES])


def _from(one: CountryOnSale, currency: str, *, labelled: bool) -> str:
    where = in_country(one.country)
    if one.monthly_cents is None:
        return f"{where} at a price that is not stated"
    setup = f" plus {show_again(one.setup_cents)} for setup" if one.setup_cents else ""
    if not labelled:
        return f"{where} from {show_again(one.monthly_cents)}{setup}"
    return f"{where} from {show_again(one.monthly_cents, currency)} a month{_label(currency)}{setup}"


def _market(one: CountryOnSale, label: str) -> str:
    if not one.read:
        return "nothing for sale"
    price = "price not stated" if one.monthly_cents is None else f"from {show_again(one.monthly_cents, label)} a month"
    setup = f", setup {show_again(one.setup_cents)}" if one.setup_cents else ""
    count = f"{one.total:,} in all" if one.total is not None else f"{one.read:,}{'' if one.complete else ' read'}"
    kinds = ", ".join(each.replace("_", "-") for each in (one.types or ())[:_MOST_NAMED])
    return "; ".join(filter(None, [kinds, price + setup, count]))


def _named(country: str) -> str:
    """Name a country within a sentence, with its article."""
    return in_country(country).removeprefix("in ")
