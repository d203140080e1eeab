"""What is said of owned numbers, of endpoints, and of changes that need no yes: sentences, and the lines below them.

The first sentence can be spoken as it stands. Below it stands one short line a fact: what all rows share once above
them, each endpoint once above its numbers, and nothing of what is null.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kros_mcp.characters import how_many, joined
from kros_mcp.errors import KrosError
from kros_mcp.krosai import UNROUTED, is_id, quoted, quoted_id, wire
from kros_mcp.money import show_again, show_cents
from kros_mcp.numbering import PartOfNumber, country_name, in_country, spoken
from kros_mcp.operations import endpoint_names
from kros_mcp.operations.status import Status
from kros_mcp.times import span, spoken_duration
from kros_mcp.tools import results

_NAMED: Final = 5
_OLD_PRICE_SECONDS: Final = 3_600.0
"""Prices that were read longer ago are said to be of then."""
_SAID: Final = 3
"""Numbers or endpoints that are named in a spoken sentence."""
_STATUSES: Final = frozenset(
    {"active", "suspended", "pending", "porting", "inactive", "released", "expired", "cancelled"}
)
"""Statuses that are said as they are; others are quoted."""
_ENDED: Final = {
    "cancelled": "was cancelled",
    "canceled": "was cancelled",
    "expired": "has expired",
    "failed": "was never obtained",
    "rejected": "was never obtained",
    "ported_out": "was moved to another provider",
}
"""What has become of a number that has ended; any other such status is called released."""


@dataclass(frozen=True)
class AskedFor:
    """What a list was asked for, and what is known beside its rows.

    Args:
        status: As it was given.
        country: As it was given.
        part: The digits that were asked for.
        goes: Where calls go, as a part of a sentence: "nowhere", or `to "Support agent"`; empty for anywhere.
        found: How many of the numbers that were read are asked for.
        ended: How many of them have ended.
        read: How many were read.
        rest: How many of those that are asked for come after the page.
        unstated: How many are left out because KrosAI does not state where their calls go.
        stated: KrosAI's own total of the account's records, where that is more than it shows; else None.
        currency: The operator's label, or empty.
        mixed: Whether prices are in several currencies, so that they have no sum.
        in_trouble: Whether calls to some of those on the page may go nowhere.
        wait_seconds: In how long the prices that are missing will have been read; None if nobody reads them.
        price_age_seconds: How long ago the oldest of the prices was read.
    """

    status: str = ""
    country: str = ""
    part: PartOfNumber | None = None
    goes: str = ""
    found: int = 0
    ended: int = 0
    read: int = 0
    rest: int = 0
    unstated: int = 0
    stated: int | None = None
    currency: str = ""
    mixed: bool = False
    in_trouble: bool = False
    wait_seconds: float | None = None
    price_age_seconds: float = 0.0


def list_summary(page: results.OwnedNumbers, asked: AskedFor) -> str:
    """Say how many numbers there are and what they cost together.

    Args:
        page: The result, of which only the summary is missing.
        asked: What was asked for.
    """
    found = asked.found
    is_one = found == 1
    status = "" if asked.status in {"", "any"} else f"{_word(asked.status)} "
    place = f" {in_country(asked.country)}" if asked.country else ""
    digits = f" {asked.part.aloud}" if asked.part else ""
    what = f"{status}number{'' if is_one else 's'}{place}{digits}"
    among = "" if page.complete else f" among the first {asked.read:,} that were read"
    if asked.stated is not None:
        among = f" among the {asked.read:,} that KrosAI shows, of {asked.stated:,} that it states"
    if not found:
        goes = f" that goes {asked.goes}" if asked.goes else ""
        hidden = f"; {page.hidden} that {'has' if page.hidden == 1 else 'have'} ended" if page.hidden else ""
        what = what.replace("numbers", "number", 1)
        other = " Ended numbers may have other statuses." if wire.has_ended(asked.status or None) else ""
        none = f"The account has no {what}{goes}{among}{f'{hidden} left out' if hidden else ''}.{other}"
        return f"{none}{_unstated(asked)}"
    if asked.goes:
        begun = f"{found:,} {what} {'goes' if is_one else 'go'} {asked.goes}{among}"
    else:
        begun = f"The account has {found:,} {what}{among}"
    if asked.status == "any" and asked.ended:
        begun += f", {'' if is_one else f'{asked.ended:,} of '}which {'has' if asked.ended == 1 else 'have'} ended"
    which = f": {page.numbers[0].spoken}" if is_one and page.numbers else ""
    trouble = f" Calls to {'it' if is_one else 'some of them'} may go nowhere." if asked.in_trouble else ""
    return f"{begun}{which}{_cost(page, asked)}.{trouble}{_unstated(asked)}"


def _unstated(asked: AskedFor) -> str:
    """Say of how many others it is not known whether they go where was asked for."""
    if not asked.unstated:
        return ""
    others = how_many(asked.unstated, "other number" if asked.found else "number")
    return f" Where calls to {others} go is not stated."


def _cost(page: results.OwnedNumbers, asked: AskedFor) -> str:
    found = asked.found
    it, costs, its = ("it", "costs", "its") if found == 1 else ("together they", "cost", "their")
    if asked.mixed:
        return f"; {its} prices are in several currencies, so there is no sum"
    total = None if page.monthly_total_cents is None else _monthly(page.monthly_total_cents, asked.currency)
    if not page.unpriced:
        return f"; {it} {costs} {total}" if total and page.prices_as_of else ""
    if total is None:
        yet = " yet" if asked.wait_seconds else ""
        return f"; {'its price is' if found == 1 else 'their prices are'} not known{yet}"
    return f"; {it} {costs} at least {total}, as {page.unpriced:,} of their prices are not known"


def _monthly(cents: int, currency: str) -> str:
    """Return an amount with its label once, as in "287.00 a month in the account currency"."""
    labelled, bare = show_cents(cents, currency), show_again(cents, currency)
    return f"{bare} a month{labelled.removeprefix(bare)}"


def listed(page: results.OwnedNumbers, asked: AskedFor) -> str:
    """Write a page of owned numbers as text."""
    lines = [page.summary]
    shared = _shared(page.numbers)
    priced = any(number.monthly_cents is not None for number in page.numbers)
    amounts = " Amounts are a month's." if priced and "price" not in shared and len(page.numbers) > 1 else ""
    if shared or amounts:
        all_of_them = (
            f"Each of these {len(page.numbers)}: {', '.join(shared.values())}{' a month' * ('price' in shared)}."
            if shared
            else ""
        )
        lines.append(f"{all_of_them}{amounts}".strip())
    twice = {one.e164 for one in page.numbers if sum(each.e164 == one.e164 for each in page.numbers) > 1}
    groups: dict[str, list[results.OwnedNumber]] = {}
    for number in page.numbers:
        groups.setdefault(_heading(number), []).append(number)
    for heading, numbers in groups.items():
        lines.append(heading)
        lines += [_row(number, shared, with_id=number.e164 in twice) for number in numbers]
    lines += _after_rows(page, asked)
    return "\n".join(lines)


def _heading(number: results.OwnedNumber) -> str:
    name = quoted(number.endpoint_name) if number.endpoint_name else "an endpoint"
    is_routed = number.endpoint_id not in {None, UNROUTED}
    where = f"{name} (id {number.endpoint_id})" if is_routed else ""
    if wire.has_ended(number.status):
        return f"No longer owned{f', once routed to {where}' if where else ''}:"
    if number.endpoint_id is None:
        return "Where calls go is not stated:"
    return f"Calls go to {where}:" if where else "Calls go nowhere:"


def _row(number: results.OwnedNumber, shared: dict[str, str], *, with_id: bool) -> str:
    facts = [fact for name, fact in _facts(number).items() if name not in shared]
    own_id = [f"id {number.number_id}"] if with_id else []
    return f"{number.e164} {', '.join([*facts, *own_id])}".strip()


def _facts(number: results.OwnedNumber) -> dict[str, str]:
    """Return what is known of a number beside its endpoint, in few words."""
    price = None if number.monthly_cents is None else show_again(number.monthly_cents, "")
    return {
        name: fact
        for name, fact in {
            "country": country_name(number.country) if number.country else None,
            "type": number.type and number.type.replace("_", "-"),
            "status": number.status,
            "calls": _flags(number),
            "price": price,
        }.items()
        if fact
    }


def _flags(number: results.OwnedNumber) -> str:
    flags = (("inbound", number.allow_inbound), ("outbound", number.allow_outbound))
    return " ".join(f"{name} {_on(flag)}" for name, flag in flags if flag is not None)


def _shared(numbers: Sequence[results.OwnedNumber]) -> dict[str, str]:
    """Return the facts that are the same of all numbers."""
    if len(numbers) <= 1:
        return {}
    first, *others = [_facts(number) for number in numbers]
    return {name: fact for name, fact in first.items() if all(each.get(name) == fact for each in others)}


def _after_rows(page: results.OwnedNumbers, asked: AskedFor) -> list[str]:
    lines = []
    if page.next_offset is not None:
        shown = len(page.numbers)
        more = f"{asked.rest:,} more" if page.complete or asked.stated is not None else "there may be more"
        lines.append(f"{shown} shown, {more}: next_offset {page.next_offset}.")
    if asked.stated is not None:
        more = f"KrosAI states {asked.stated:,} records in all and shows {asked.read:,}"
        lines.append(f"Perhaps not complete: {more}; the sums are of those.")
    elif not page.complete:
        lines.append(f"Not complete: only {asked.read:,} numbers were read in time, and the sums are of those.")
    if page.hidden:
        are = "1 that has ended is" if page.hidden == 1 else f"{page.hidden:,} that have ended are"
        lines.append(f"{are} not shown; status any shows them.")
    if page.unpriced:
        known = f"Prices of {asked.found - page.unpriced:,} of {asked.found:,} are known."
        again = f" Ask again in about {spoken_duration(asked.wait_seconds)}." if asked.wait_seconds else ""
        lines.append(known + again)
    if asked.price_age_seconds >= _OLD_PRICE_SECONDS:
        lines.append(f"The oldest of these prices was read {span(asked.price_age_seconds)} ago.")
    return lines + page.warnings


def unreadable(records: Sequence[str]) -> list[str]:
    """Name the records that could not be read, by their id or by their place in the list."""
    if not records:
        return []
    named = ", ".join(quoted_id(record) if is_id(record) else record for record in records[:_NAMED])
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    which = f"One more record, {named}," if len(records) == 1 else f"{len(records)} more records, {named}{more},"
    return [f"{which} could not be read."]


def in_currencies(labels: Mapping[str, str]) -> list[str]:
    """Say of which numbers a price is in which currency.

    Args:
        labels: The label of the price of each number; empty where it has none, or no price is known.
    """
    told = []
    for label in dict.fromkeys(filter(None, labels.values())):
        of = [spoken(e164) for e164, each in labels.items() if each == label]
        more = f" and {len(of) - _NAMED} more" if len(of) > _NAMED else ""
        told.append(f"In {label}: the price of {', '.join(of[:_NAMED])}{more}.")
    return told


def details_summary(number: results.OwnedNumber, where: str, currency: str, *, taken: str, trouble: str) -> str:
    """Say how one number stands.

    Args:
        number: The number.
        where: Its endpoint, as it is said aloud; empty if its calls go nowhere, or that is not known.
        currency: The operator's label, or empty.
        taken: The digits by which it was found, if it was not named whole.
        trouble: What is wrong with its endpoint; empty if nothing is known to be.
    """
    only = f"One owned number has the digits {taken}: " if taken else ""
    if wire.has_ended(number.status):
        return f"{only}{number.spoken} {_ENDED.get(number.status or '', 'is released')}; it costs nothing any more."
    cost = "its monthly price is not stated"
    if number.monthly_cents is not None:
        cost = f"it costs {_monthly(number.monthly_cents, currency)}"
    if number.endpoint_id is None:
        begun = f"{number.spoken} is {_word(number.status)}, where its calls go" if number.status else ""
        return f"{only}{begun or f'Where calls to {number.spoken} go'} is not stated, and {cost}."
    goes = f"go to {where}{f', which {trouble}' if trouble else ''}" if where else "go nowhere"
    begun = f"{number.spoken} is {_word(number.status)}, its calls" if number.status else f"Calls to {number.spoken}"
    return f"{only}{begun} {goes}, and {cost}."


def details(number: results.NumberDetails) -> str:
    """Write one number as text."""
    endpoint = f"id {number.endpoint_id}"
    if number.endpoint_id in {None, UNROUTED}:
        endpoint = "none, calls go nowhere" if number.endpoint_id else "not stated by KrosAI"
    name = f"{quoted(number.endpoint_name)}, " if number.endpoint_name else ""
    lines = [number.summary, _identity(number, flags=True), f"Endpoint: {name}{endpoint}."]
    if number.setup_cents is not None:
        lines.append(f"Setup: {show_again(number.setup_cents, '')}.")
    if number.sip_fields:
        fields = ", ".join(number.sip_fields)
        lines.append(f"SIP credentials exist ({fields}); the person sees them with kros-mcp sip at a terminal.")
    if number.prices_as_of:
        lines.append(f"Price read: {number.prices_as_of}.")
    return "\n".join(lines + number.warnings)


def _price_lines(number: results.OwnedNumber) -> list[str]:
    return [
        f"{label}: {show_again(cents, '')}."
        for label, cents in (("Monthly price", number.monthly_cents), ("Setup", number.setup_cents))
        if cents is not None
    ]


def _identity(number: results.OwnedNumber, *, flags: bool) -> str:
    """Write which number it is, with its id."""
    left_out = {"price"} if flags else {"price", "calls"}
    facts = [fact for label, fact in _facts(number).items() if label not in left_out]
    return f"{number.e164}, id {number.number_id}: {', '.join(facts) or 'nothing more is known'}."


def endpoints_summary(endpoints: Sequence[results.Endpoint], total: int | None, offset: int) -> str:
    """Say which endpoints there are, and which of them take no calls."""
    count = len(endpoints)
    if not endpoints and offset:
        return f"No more endpoints follow{'' if total is None else f'; there are {total:,} in all'}."
    if not endpoints:
        return "The account has no endpoint that calls could go to."
    of = f" of {total:,}" if total is not None and total > count else ""
    begun = f"{count:,}{of} endpoint{'' if count == 1 and not of else 's'}"
    if count <= _NAMED:
        return f"{begun}: {joined([_named_endpoint(each) for each in endpoints])}."
    broken = [each for each in endpoints if _trouble(each)]
    return f"{begun}{f', {len(broken)} of which take no calls now' if broken else ''}."


def endpoints_listed(page: results.Endpoints) -> str:
    """Write a page of endpoints as text."""
    lines = [page.summary]
    for place, each in enumerate(page.endpoints, start=1):
        facts = [each.type, _trouble(each) or each.status, f"id {each.endpoint_id}"]
        name = quoted(each.name) if each.name else "without a name"
        lines.append(f"{place}. {name}: {', '.join(fact for fact in facts if fact)}")
    if page.next_offset is not None:
        more = "there may be more" if page.total is None else f"{page.total - page.next_offset:,} more"
        lines.append(f"{len(page.endpoints)} shown, {more}: next_offset {page.next_offset}.")
    return "\n".join(lines)


def _named_endpoint(endpoint: results.Endpoint) -> str:
    trouble = _trouble(endpoint)
    where = endpoint_names.said(endpoint.name, endpoint_names.plain_kind(endpoint.type))
    return f"{where}, which {trouble}" if trouble else where


def _trouble(endpoint: results.Endpoint) -> str:
    return {"error": "reports an error", "inactive": "is inactive"}.get(endpoint.status or "", "")


def changed_summary(
    items: Sequence[results.ChangedItem], wrong: Mapping[str, str], ended: Iterable[wire.PhoneNumber] = ()
) -> str:
    """Say what changes came to.

    Args:
        items: Each number.
        wrong: What is wrong with endpoints, by their id.
        ended: Those numbers that the account no longer has.
    """
    said = _changed_alone(items[0]) if len(items) == 1 else _changed_together(items)
    if gone := [spoken(number.e164) for number in ended]:
        said += f" But {joined(gone)} {'has' if len(gone) == 1 else 'have'} ended, so no call arrives there."
    endpoints = {item.after.endpoint_id or "" for item in items if item.after is not None}
    troubles = dict.fromkeys(wrong[one] for one in sorted(endpoints) if one in wrong)
    if not troubles:
        return said
    which = "that endpoint" if len(items) == 1 else "an endpoint among these"
    return f"{said} But {which} {joined(list(troubles))}, so calls may go nowhere."


def _changed_together(items: Sequence[results.ChangedItem]) -> str:
    done = [item for item in items if item.after is not None]
    fully = [item for item in done if not item.not_applied and item.changed != "no"]
    already = [item for item in done if not item.not_applied and item.changed == "no"]
    running = [item for item in items if item.after is None and item.message is None]
    failed = [item for item in items if item.message is not None and item.changed != "unknown"]
    lost = [item for item in items if item.message is not None and item.changed == "unknown"]
    unseen = [item for item in done if _is_unseen(item)]
    partly = [item for item in done if item.not_applied and not _is_unseen(item)]
    parts = [
        f"{len(fully) or 'No'} number{_s(fully)} {_are(fully)} changed" if fully or not (running or unseen) else "",
        f"{len(already)} {'was' if len(already) == 1 else 'were'} so already" if already and len(items) > _SAID else "",
        f"{len(partly)} not as asked" if partly else "",
        f"{len(running)} {_are(running)} under way" if running else "",
        f"{len(failed)} could not be changed" if failed else "",
        f"{len(lost) + len(unseen)} may have been changed" if lost or unseen else "",
    ]
    told = ", ".join(part for part in parts if part)
    if len(items) <= _SAID:
        each = "; ".join(f"{spoken(item.e164)} {_now(item)}" for item in items)
        return f"{told}: {each}."
    alike = {_now(item) for item in items}
    return f"{told}: {alike.pop()}." if len(fully) == len(items) and len(alike) == 1 else f"{told}."


def _changed_alone(item: results.ChangedItem) -> str:
    number = spoken(item.e164)
    if item.after is None:
        return f"Changing {number} is under way; KrosAI has not answered yet."
    if _is_unseen(item):
        return f"{number} may have been changed: {_lacking(item)}."
    if item.not_applied:
        return f"{number} is not changed as asked: {_lacking(item)}."
    goes = _goes(item.after)
    flags = [
        f"{name} calls {_on(flag)}"
        for name, flag in (("inbound", item.after.allow_inbound), ("outbound", item.after.allow_outbound))
        if flag is not None
    ]
    verb = "was so already" if item.changed == "no" else "is changed"
    return f"{number} {verb}: {', '.join([goes, *flags])}."


def _now(item: results.ChangedItem) -> str:
    if item.message is not None:
        return "could not be changed" if item.changed != "unknown" else "may have been changed"
    if item.after is None:
        return "is under way"
    if _is_unseen(item):
        return f"may have been changed, as {_lacking(item)}"
    if item.not_applied:
        return f"is not as asked, as {_lacking(item)}"
    if item.before.endpoint_id != item.after.endpoint_id and item.after.endpoint_id is not None:
        return "goes nowhere now" if item.after.endpoint_id == UNROUTED else f"goes {_to(item.after)} now"
    flags = [
        f"{name} calls {_on(after)}"
        for name, before, after in (
            ("inbound", item.before.allow_inbound, item.after.allow_inbound),
            ("outbound", item.before.allow_outbound, item.after.allow_outbound),
        )
        if before != after and after is not None
    ]
    return f"has {' and '.join(flags)} now" if flags else "was so already"


def changed(result: results.Configured) -> str:
    """Write changes of settings as text, with what they were before: so they can be put back."""
    lines = [result.summary]
    if result.items is not None:
        rows = (item for item in result.items if isinstance(item, results.ChangedItem))
        lines += [_item_line(item, result.changed) for item in rows]
    elif result.before is not None:
        lines.append(f"before: {_routing(result.before)}")
        if result.after is not None:
            lines.append(f"after: {_routing(result.after)}")
        if result.number is not None:
            lines.append(_identity(result.number, flags=False))
            lines += _price_lines(result.number)
    lines.append(f"status: {result.status}; changed: {result.changed}; charged: {result.charged}")
    return "\n".join([*lines, *_unsaid(result), *filter(None, [result.next_step])])


def _unsaid(result: results.Configured) -> list[str]:
    """Return the warnings but for those of a number that is changed alone, whose summary says them."""
    number = result.number
    return [said for said in result.warnings if number is None or not said.startswith(number.e164)]


def _item_line(item: results.ChangedItem, together: str) -> str:
    known = "" if item.changed == together else f"; changed: {item.changed}"
    if item.message is not None:
        ended = "not known" if item.changed == "unknown" else "failed"
        return f"{item.e164} before: {_routing(item.before)}; {ended}, {item.code}: {item.message}{known}"
    after = _routing(item.after) if item.after else "not known yet"
    ignored = _ignored(item)
    lacking = f"; KrosAI did not apply {', '.join(ignored)}" if ignored else ""
    lacking += "" if ignored == item.not_applied else "; KrosAI does not state endpoint_id"
    return f"{item.e164} before: {_routing(item.before)}; after: {after}{lacking}{known}"


def _routing(shown: results.ShownRouting) -> str:
    """Write settings as a call gives them, so that they can be asked for again."""
    name = f" {quoted(shown.endpoint_name)}" if shown.endpoint_name else ""
    parts = [f"endpoint_id {shown.endpoint_id or 'not stated'}{name}"]
    flags = (("allow_inbound", shown.allow_inbound), ("allow_outbound", shown.allow_outbound))
    return ", ".join(parts + [f"{label} {_on(flag)}" for label, flag in flags if flag is not None])


def no_longer_owned(numbers: Iterable[wire.PhoneNumber]) -> list[str]:
    """Warn of numbers that were changed though the account no longer has them."""
    return [f"{number.e164} has ended, so no call to it arrives." for number in numbers if number.has_ended]


def after_change(items: Sequence[results.ChangedItem], status: Status) -> str:
    """Say what is to be done after changes."""
    if status == "pending":
        return "Call get_phone_number in a few seconds to see the settings."
    if any(item.changed == "unknown" and item.message for item in items):
        return "Tell the person; call get_phone_number later for each that may have been changed."
    if any(item.not_applied and not _is_unseen(item) for item in items):
        return "Tell the person which setting was not applied."
    if any(_is_unseen(item) for item in items):
        return "Tell the person that where the calls go can be looked up in the KrosAI dashboard."
    if status == "partly_done":
        return "Tell the person which numbers are not changed, and why."
    return "To put it back, call this again with what stood before." if _have_changed(items) else ""


def _have_changed(items: Iterable[results.ChangedItem]) -> bool:
    return any(item.changed == "yes" for item in items)


def none_changed(errors: Sequence[tuple[str, KrosError]]) -> str:
    """Say that none of several numbers was changed, and why."""
    why = dict.fromkeys(error.message for _, error in errors)
    named = [spoken(e164) for e164, _ in errors[:_NAMED]]
    numbers = joined([*named, f"{len(errors) - _NAMED} more"] if len(errors) > _NAMED else named)
    unknown = any(error.changed != "no" for _, error in errors)
    begun = "It is not known whether" if unknown else "None of"
    tail = " were changed" if unknown else " was changed"
    return f"{begun} {numbers}{tail}. {' '.join(why)}"


def _ignored(item: results.ChangedItem) -> list[str]:
    """Return which settings KrosAI did not apply; an endpoint that it does not state may be applied."""
    is_stated = item.after is None or item.after.endpoint_id is not None
    return [name for name in item.not_applied if name != "endpoint_id" or is_stated]


def _is_unseen(item: results.ChangedItem) -> bool:
    """Whether a change may have been applied all the same, as far as KrosAI states it."""
    return bool(item.not_applied) and not _ignored(item)


def _lacking(item: results.ChangedItem) -> str:
    """Say what of a change was not applied, and that an endpoint is not stated."""
    ignored = _ignored(item)
    if ignored == item.not_applied:
        return f"KrosAI did not apply {_settings(ignored)}"
    also = f"did not apply {_settings(ignored)}, and " if ignored else ""
    return f"KrosAI {also}does not state where its calls go"


def _goes(routing: results.ShownRouting) -> str:
    if routing.endpoint_id is None:
        return "where its calls go is not stated"
    return "calls go nowhere" if routing.endpoint_id == UNROUTED else f"calls go {_to(routing)}"


def _to(routing: results.ShownRouting) -> str:
    return f"to {endpoint_names.said(routing.endpoint_name)}"


def _settings(names: Sequence[str]) -> str:
    words = {"endpoint_id": "the endpoint", "allow_inbound": "inbound calls", "allow_outbound": "outbound calls"}
    return joined([words.get(name, name) for name in names])


def _word(status: str | None) -> str:
    """Return a status as it is said: in quotation marks where it is none of those that are known."""
    word = (status or "").replace("_", " ")
    return word if status in _STATUSES else quoted(word)


def _on(flag: bool | None) -> str:
    return "on" if flag else "off"


def _s(items: Sequence[object]) -> str:
    return "" if len(items) == 1 else "s"


def _are(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"
