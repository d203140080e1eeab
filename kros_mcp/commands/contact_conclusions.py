"""What follows from a first contact with KrosAI, for the person who runs this server: each begins with that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from kros_mcp.commands.contact_answers import Enquiry, limits
from kros_mcp.commands.findings import Finding, fail, ok, warn
from kros_mcp.commands.seen_shapes import SeenAnswer, SeenField, names_and_forms
from kros_mcp.errors import (
    AuthenticationError,
    NotFoundError,
    PathError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from kros_mcp.krosai import RecordKind
from kros_mcp.krosai.wire import NumberForSale, PhoneNumber
from kros_mcp.times import spoken_duration

MOST_CLOCK_SECONDS: Final = 30.0
SLOW_MILLISECONDS: Final = 2_000
_SEND_ON: Final = "Attach the report (--report FILE) to a bug report."
LISTS: Final[Mapping[RecordKind, str]] = {
    "owned": "owned numbers",
    "available": "numbers for sale",
    "endpoint": "endpoints",
}
_WITHOUT: Final[Mapping[RecordKind, str]] = {
    "owned": "No number can be listed, bought or released",
    "available": "No number can be found or bought",
    "endpoint": "Numbers cannot be routed",
}
_SCOPES: Final[Mapping[RecordKind, str]] = {
    "owned": "numbers:read",
    "available": "numbers:read",
    "endpoint": "endpoints:read",
}
STATUSES: Final = frozenset({"active", "inactive", "suspended", "pending", "porting"})
"""The statuses of numbers in the two documents."""
_PRICE_LIKE: Final = ("price", "cost", "fee", "amount", "monthly", "setup", "rate")
_DIALECTS: Final = {
    ("", "e164"): "the reference's",
    ("phone_numbers", "number"): "the guide's",
}


@dataclass(frozen=True)
class Contact:
    """All that was asked and seen.

    Args:
        asked: Each question with its answer, by a name of ours.
        lists: The three lists that could be read.
        single: A number, and an endpoint, read by itself.
        numbers: The owned numbers that could be read.
        offers: The numbers for sale that could be read.
        number: The number read by itself.
        heeds: Whether each parameter of a list is heeded; None where it did not show.
        country: Where numbers for sale were looked for.
        currency: The label of amounts that is set; empty without one.
        allows_unpriced: Whether numbers without a price may be bought.
        caps_monthly: Whether a cap on the monthly cost is set.
    """

    asked: Mapping[str, Enquiry]
    lists: Mapping[RecordKind, SeenAnswer] = field(default_factory=dict)
    single: Mapping[RecordKind, SeenAnswer] = field(default_factory=dict)
    numbers: tuple[PhoneNumber, ...] = ()
    offers: tuple[NumberForSale, ...] = ()
    number: PhoneNumber | None = None
    heeds: Mapping[RecordKind, Mapping[str, bool | None]] = field(default_factory=dict)
    country: str = "NG"
    currency: str = ""
    allows_unpriced: bool = False
    caps_monthly: bool = False


def dialect(contact: Contact) -> str:
    """Return whose dialect the owned numbers are in; empty if they do not show it."""
    seen = contact.lists.get("owned")
    if seen is None or not seen.records.count:
        return ""
    return _DIALECTS.get((seen.path, seen.records.read_by("e164") or ""), "of neither document")


def conclusions(contact: Contact) -> list[Finding]:
    """Return what follows, the gravest first."""
    found = [*_way(contact)]
    if not found:
        found = [
            *_lists(contact),
            *_records(contact),
            *_prices(contact),
            *_routing(contact),
            *_unknown_id(contact),
            *_wrong_key(contact),
            *_paging(contact),
            *_pace(contact),
            *_clock(contact),
            *_dialect(contact),
        ]
    gravity = {"FAIL": 0, "warn": 1, "ok": 2}
    return sorted(found, key=lambda finding: gravity[finding.mark])


def _way(contact: Contact) -> Iterator[Finding]:
    """Yield what stands in the way of every answer."""
    first = contact.asked["owned"]
    if isinstance(first.error, PathError):
        yield fail(f"Nothing can be asked of KrosAI: {first.error.message}", first.error.next_step, 4)
    elif first.is_unanswered and first.error is not None:
        to_do = (
            "Check the network, the proxy if there is one, and KROS_BASE_URL with kros-mcp doctor; then run this again."
        )
        yield fail(f"Nothing is known of KrosAI: {first.error.message}", to_do, 4)
    elif first.is_page or (first.reply is not None and first.reply.form != "json" and first.status == HTTPStatus.OK):
        what = "pointed to another address" if first.is_redirect else "answered with something that is not JSON"
        yield fail(
            f"Nothing of KrosAI can be used here: what is at KROS_BASE_URL {what}, as a login page or a proxy does.",
            "Check that KROS_BASE_URL names the API, with its /v1, and open that address in a browser on this machine.",
        )
    elif isinstance(first.error, AuthenticationError):
        yield fail(
            f"Nothing can be done with this key: KrosAI refuses it ({first.error.code}).",
            "Check that KROS_API_KEY is whole, current and meant for this KROS_BASE_URL; KROS_AUTH_HEADER chooses how "
            "it is sent.",
        )


def _lists(contact: Contact) -> Iterator[Finding]:
    for kind in LISTS:
        seen = contact.lists.get(kind)
        if seen is None:
            yield _unread_list(kind, contact.asked[kind])
        elif seen.records.count:
            continue
        elif kind == "owned":
            yield warn(
                "What an owned number looks like was not seen: the account shows none.",
                "Run this again with a key of an account that owns a number, or after the first purchase.",
            )
        elif kind == "available":
            yield warn(
                f"What a number for sale looks like was not seen: KrosAI shows none in {contact.country}.",
                "Run this again with another --country.",
            )
        else:
            yield warn(f"{_WITHOUT[kind]} yet: the account shows no endpoint.", "Create one in the KrosAI dashboard.")


def _unread_list(kind: RecordKind, asked: Enquiry) -> Finding:
    """Return what follows from a list that was not read."""
    them, without, error, code = LISTS[kind], _WITHOUT[kind], asked.error, 1
    match error:
        case None:
            what, to_do = f"{without}: {them} came in a form that is not read.", _SEND_ON
        case PermissionDeniedError() | AuthenticationError():
            what = f"{without}: the key may not read {them} ({error.code})."
            to_do = (
                f"Give it the scope {_SCOPES[kind]} in the KrosAI dashboard; check KROS_ORGANIZATION_ID if it is set."
            )
        case RateLimitError():
            wait = error.retry_after_seconds
            what = f"{without} at present: KrosAI wants fewer requests."
            to_do = f"Run this again {'later' if wait is None else f'in {spoken_duration(wait)}'}."
        case ServerError():
            what = f"{without} at present: KrosAI fails on its own side on {them}."
            to_do = "Run this again later."
        case NotFoundError():
            what = f"{without}: KrosAI answers the request for {them} as not found."
            to_do = "Check KROS_BASE_URL: it ends in the API's version, as in .../v1."
            if kind == "available":
                to_do = "Run this again with another --country: this one may not be served."
        case _ if asked.is_unanswered:
            what, to_do, code = f"{without} at present: {error.message}", "Run this again later.", 4
        case _:
            instead = "a web page or a redirect came in place of" if asked.is_page else "nothing usable came for"
            what = f"{without}: {instead} {them}."
            to_do = "Check KROS_BASE_URL, and whether a proxy or a login page stands between."
    return fail(what, to_do, code)


def _records(contact: Contact) -> Iterator[Finding]:
    for kind, seen in contact.lists.items():
        records = seen.records
        unreadable, why = sum(records.faults.values()), "; ".join(records.faults)
        if unreadable and unreadable == records.count:
            yield fail(f"{_WITHOUT[kind]}: of none of the {LISTS[kind]} the identity can be read: {why}.", _SEND_ON)
        elif unreadable:
            these = f"{unreadable} of {records.count} {LISTS[kind]}"
            yield warn(f"{these} cannot be read, and are named as unreadable: {why}.", _SEND_ON)
        for each in records.fields:
            if each.unread and not each.is_read:
                yield warn(
                    f"{each.role} of {LISTS[kind]} is not known: {each.name} comes as {', '.join(each.unread)}.",
                    _SEND_ON,
                )
    yield from _statuses(contact)


def _statuses(contact: Contact) -> Iterator[Finding]:
    owned = contact.lists.get("owned")
    if owned is None or not owned.records.count:
        return
    if "status" in owned.records.missing:
        yield warn("A released number cannot be told from one in service: the list states no status.", _SEND_ON)
    words = {
        word: taken for each in owned.records.fields for word, taken in each.words.items() if each.role == "status"
    }
    strange = [word for word, taken in words.items() if taken == "living" and word.lower() not in STATUSES]
    if strange:
        yield warn(
            f"Numbers of a status that no document names count as in service: {', '.join(strange)}.",
            "Look in the KrosAI dashboard what it means; report it if such a number is no longer yours.",
        )


def _prices(contact: Contact) -> Iterator[Finding]:
    offers = contact.lists.get("available")
    priced = [offer for offer in contact.offers if None not in (offer.due_now_cents, offer.monthly_cents)]
    if offers is not None and contact.offers:
        if not priced:
            yield _unpriced(contact, offers)
        elif len(priced) < len(contact.offers):
            yield warn(
                "Some numbers for sale will be refused: they do not state both the amount now and the amount a month.",
                "KROS_ALLOW_UNPRICED lets them be bought, and counts the most that a purchase may cost.",
            )
        else:
            yield ok("Purchases can be priced: every number for sale states what is due now and every month.")
    yield from _run_rate(contact)
    yield from _currency(contact)


def _unpriced(contact: Contact, offers: SeenAnswer) -> Finding:
    lacking = "no price" if all(offer.monthly_cents is None for offer in contact.offers) else "no amount due now"
    like = _like(offers, _PRICE_LIKE)
    hint = f" Not read, and perhaps a price: {names_and_forms(like)}." if like else ""
    if contact.allows_unpriced:
        what = f"Purchases are counted as the most that one may cost: {lacking} was found in offers."
        return warn(what + hint, "KROS_ALLOW_UNPRICED lets them be bought.")
    return fail(
        f"Purchases will be refused until KROS_ALLOW_UNPRICED is set: {lacking} was found in offers.{hint}", _SEND_ON
    )


def _run_rate(contact: Contact) -> Iterator[Finding]:
    if not contact.numbers:
        return
    if all(number.monthly_cents is not None for number in contact.numbers):
        yield ok("The run rate is read from the list: every owned number states its price there.")
    elif contact.number is not None and contact.number.monthly_cents is not None:
        yield ok(
            "Each owned number will be read by itself for its price, one request each: the list of owned numbers does "
            "not state all prices."
        )
    elif contact.number is not None:
        refuses = "every purchase is refused while KROS_MONTHLY_COMMITMENT_CENTS is set"
        what = f"The run rate is not known, and {refuses}: no price was found of an owned number."
        yield (fail if contact.caps_monthly else warn)(what, _SEND_ON)


def _currency(contact: Contact) -> Iterator[Finding]:
    currencies = [*(one.currency for one in contact.numbers), *(one.currency for one in contact.offers)]
    stated = {currency for currency in currencies if currency is not None}
    named = " and ".join(sorted(stated))
    if not stated:
        return
    if not contact.currency:
        yield warn(f"Amounts are shown without a currency, although KrosAI states {named}.", "Set KROS_CURRENCY.")
    elif stated != {contact.currency.upper()}:
        yield fail(f"Purchases will be refused: KrosAI states {named}, and KROS_CURRENCY another one.", "Correct it.")


def _routing(contact: Contact) -> Iterator[Finding]:
    owned, number = contact.lists.get("owned"), contact.single.get("number")
    shown = [each.records for each in (owned, number) if each is not None and each.records.count]
    if shown:
        for role, what in (
            ("allow_outbound", "Whether a number may call out is not known, and a change of it not confirmed"),
            ("allow_inbound", "Whether a number takes calls is not known, and a change of it not confirmed"),
            ("endpoint_id", "Where calls go is not known, and a change of it not confirmed"),
        ):
            if all(records.read_by(role) is None for records in shown) and not _is_only_null(shown[-1].fields, role):
                yield warn(f"{what}: {role} is never stated.", _SEND_ON)
    asked = contact.asked.get("number")
    if asked is not None and asked.error is not None:
        yield warn(
            f"A single number cannot be looked at: KrosAI answers {asked.status or 'nothing'}.",
            "What a purchase or a change came to is then read from the list alone.",
        )
    elif asked is not None and contact.number is None:
        what = "its answer is in a form that is not read, or is another number's"
        yield warn(f"A single number cannot be looked at: {what}.", _SEND_ON)
    single = contact.asked.get("single_endpoint")
    if single is not None and isinstance(single.error, NotFoundError):
        yield ok("Endpoints are looked up in their list: KrosAI has no path for a single one.")


def _is_only_null(fields: tuple[SeenField, ...], role: str) -> bool:
    """Whether something is stated as null and as nothing else, as the endpoint of a number without one is."""
    return any(each.role == role and each.forms == ("null",) for each in fields)


def _unknown_id(contact: Contact) -> Iterator[Finding]:
    asked = contact.asked.get("unknown_id")
    if asked is None or asked.is_unanswered:
        return
    if isinstance(asked.error, NotFoundError):
        yield ok("A number that is gone is told from an error: an id that does not exist is answered as not found.")
    elif not isinstance(asked.error, RateLimitError | ServerError):
        what = "A number that is gone cannot be told from an error"
        answer = f"an id that does not exist is answered {asked.status}"
        yield warn(f"{what}: {answer}. A release then stays unknown until the list shows it.", _SEND_ON)


def _wrong_key(contact: Contact) -> Iterator[Finding]:
    asked = contact.asked.get("wrong_key")
    if asked is None or asked.is_unanswered:
        return
    if asked.error is None:
        yield fail(
            "Whose numbers these are is not certain: a made-up key is let in as well.",
            "Check KROS_BASE_URL: does a proxy there put its own key in place of yours?",
        )
    elif not isinstance(asked.error, AuthenticationError | RateLimitError | ServerError):
        what = f"A wrong key will not be called wrong: a made-up one is answered {asked.status}, not 401."
        yield warn(what, _SEND_ON)


def _paging(contact: Contact) -> Iterator[Finding]:
    for kind, seen in contact.lists.items():
        heeds, them = contact.heeds.get(kind, {}), LISTS[kind]
        if heeds.get("offset") is False and heeds.get("limit") is False:
            yield ok(f"The list of {them} is taken to come whole: KrosAI heeds neither limit nor offset.")
        elif heeds.get("offset") is False:
            yield warn(
                f"Of {them} only the first page can be read: offset is not heeded. A longer list is called incomplete.",
                _SEND_ON,
            )
        if seen.stated is not None and seen.stated < seen.records.count:
            yield warn(f"The total of {them} is not used: it is smaller than what came.", _SEND_ON)
    silent = [LISTS[kind] for kind, seen in contact.lists.items() if seen.total is None and seen.records.count]
    if silent:
        yield ok(f"How many there are in all is not said, and the end of a list is looked for: {', '.join(silent)}.")
    ignored = [
        f"{name} of {LISTS[kind]}"
        for kind, heeds in contact.heeds.items()
        for name, heeded in heeds.items()
        if heeded is False and name not in {"limit", "offset"}
    ]
    if ignored:
        yield ok(f"Filters are applied here, since KrosAI does not heed them: {', '.join(ignored)}.")


def _pace(contact: Contact) -> Iterator[Finding]:
    stated = limits(contact.asked["owned"])
    if stated.get("limit", "").isdigit():
        yield ok(f"X-RateLimit-Limit is {stated['limit']}: by KrosAI's documents, requests a second.")
    else:
        yield warn("How many requests a second KrosAI allows is not known: no X-RateLimit-Limit came.", _SEND_ON)
    limited = [one.what for one in contact.asked.values() if one.waited or isinstance(one.error, RateLimitError)]
    if limited:
        to_do = "Let nothing else use this key meanwhile; a larger plan allows more."
        yield warn(f"KrosAI wanted fewer requests while this ran: {', '.join(limited)}.", to_do)
    slow = [one.what for one in contact.asked.values() if one.reply and one.milliseconds >= SLOW_MILLISECONDS]
    if slow:
        what = f"Tools may answer TOO_SLOW: over {SLOW_MILLISECONDS / 1000:g} seconds took {', '.join(slow)}."
        yield warn(what, "KROS_ANSWER_WITHIN_SECONDS may be larger where the client waits so long.")


def _clock(contact: Contact) -> Iterator[Finding]:
    ahead = [one.ahead_seconds for one in contact.asked.values() if one.ahead_seconds is not None]
    if ahead and abs(worst := max(ahead, key=abs)) > MOST_CLOCK_SECONDS:
        direction = "behind" if worst > 0 else "ahead of"
        yield warn(
            f"Times here and at KrosAI do not agree: this clock is {spoken_duration(abs(worst))} {direction} KrosAI's.",
            "Set the clock of this machine; budgets count the hours by it.",
        )


def _dialect(contact: Contact) -> Iterator[Finding]:
    whose = dialect(contact)
    if whose.startswith("the "):
        yield ok(f"Answers are read as documented: the dialect is {whose}.")
    elif whose:
        yield ok("Answers are read although their dialect is of neither document.")
    number = contact.single.get("number")
    if number is not None and not any(each.role == "sip" for each in number.records.fields):
        yield ok("kros-mcp sip will show nothing with this key: the answer for one number has no SIP credentials.")


def _like(seen: SeenAnswer, parts: tuple[str, ...]) -> list[SeenField]:
    """Return the fields that nobody reads and whose name has one of these parts."""
    return [
        each for each in seen.records.fields if not each.is_read and any(part in each.name.lower() for part in parts)
    ]
