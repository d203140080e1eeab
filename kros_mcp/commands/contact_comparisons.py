"""What was assumed of KrosAI's answers and what was seen: by which name each field is read, and which are not."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from kros_mcp.commands.contact_answers import Enquiry, limits
from kros_mcp.commands.contact_conclusions import LISTS, MOST_CLOCK_SECONDS, STATUSES, Contact
from kros_mcp.commands.contact_report import Comparison, Verdict
from kros_mcp.commands.masking import plain_word
from kros_mcp.commands.seen_shapes import SeenAnswer, SeenRecords, error_fields, names_and_forms
from kros_mcp.errors import ApiError
from kros_mcp.krosai import FIELDS, RecordKind, read_code

_RECORDS: Final[Mapping[RecordKind, str]] = {
    "owned": "owned numbers in the list",
    "number": "one number by itself",
    "available": "numbers for sale",
    "endpoint": "endpoints",
}
_WRAPPERS: Final[Mapping[RecordKind, str]] = {
    "owned": "phone_numbers",
    "available": "available",
    "endpoint": "endpoints",
}
_KNOWN_UNREAD: Final = frozenset(
    {"organization_id", "url", "secret", "created_at", "updated_at", "provider_config", "limit", "offset"}
)
"""Documented fields that nothing here needs."""
_OTHERS_DOCUMENTED: Final = frozenset({"number", "id"})
"""Names in one of the two documents that are not the first of their field."""
_KNOWN_INSIDE: Final = ("provider_config.", "endpoint.")


def comparisons(contact: Contact) -> list[Comparison]:
    """Return every topic with what was assumed and what was seen."""
    found: list[Comparison] = []
    for kind in ("owned", "number", "available", "endpoint"):
        seen = contact.single.get(kind) if kind == "number" else contact.lists.get(kind)
        if kind in LISTS:
            found += _list(contact, kind, seen)
        found += _fields(kind, seen.records if seen is not None else None)
    return [*found, *_errors(contact), *_headers(contact)]


def _list(contact: Contact, kind: RecordKind, seen: SeenAnswer | None) -> Iterator[Comparison]:
    topic, documented = f"list of {LISTS[kind]}", _WRAPPERS[kind]
    assumed = f"bare, or under {documented} with or without total"
    if seen is None:
        yield Comparison(topic, assumed, "not read", "not seen")
        return
    where = f"under {seen.path}" if seen.path else "bare"
    total = f"total in {seen.total}{_agreement(seen)}" if seen.total else "no total"
    beside = names_and_forms(each for each in seen.beside if each.name != seen.total)
    told = ", ".join([where, total, *([f"beside it {beside}"] if beside else [])])
    yield Comparison(topic, assumed, told, _as(seen.path in {"", documented} and seen.total in {None, "total"}))
    heeds = contact.heeds.get(kind, {})
    said = {True: "heeded", False: "not heeded", None: "did not show"}
    told = "; ".join(
        f"{', '.join(names)} {said[how]}"
        for how in (True, False, None)
        if (names := [name for name, heeded in heeds.items() if heeded is how])
    )
    verdict: Verdict = "not seen" if set(heeds.values()) == {None} else _as(False not in heeds.values())
    yield Comparison(f"list of {LISTS[kind]}, parameters", "all heeded", told, verdict)


def _agreement(seen: SeenAnswer) -> str:
    """Return how a total fits what came."""
    if seen.stated == seen.records.count:
        return " (as many as came)"
    return " (more than came)" if (seen.stated or 0) > seen.records.count else " (fewer than came)"


def _fields(kind: RecordKind, records: SeenRecords | None) -> Iterator[Comparison]:
    whose, wanted = _RECORDS[kind], ", ".join(FIELDS[kind])
    if records is None or not records.count:
        yield Comparison(f"{whose}, fields", wanted, "none came", "not seen")
        return
    read = {role: name for role in FIELDS[kind] if (name := records.read_by(role))}
    told = ", ".join(role if role == name else f"{role} by {name}" for role, name in read.items()) or "none"
    documented = all(name == FIELDS[kind][role].names[0] or name in _OTHERS_DOCUMENTED for role, name in read.items())
    yield Comparison(f"{whose}, fields read", f"any of {wanted}", told, _as(documented and not records.faults))
    if records.missing:
        empty = {each.role for each in records.fields if each.forms == ("null",)}
        told = ", ".join(f"{role} (null)" if role in empty else role for role in records.missing)
        yield Comparison(f"{whose}, fields not found", "not all of them are documented", told, "not seen")
    unread = [replace(each, forms=each.unread) for each in records.fields if each.unread]
    if unread:
        yield Comparison(f"{whose}, fields of a form that is not read", "none", names_and_forms(unread), "differs")
    others = [each for each in records.fields if not each.role and not _holds_what_is_read(each.name, kind)]
    if others or records.odd_names:
        told = ", ".join(
            filter(None, (names_and_forms(others), "and names that are not plain" if records.odd_names else ""))
        )
        known = all(each.name in _KNOWN_UNREAD or each.name.startswith(_KNOWN_INSIDE) for each in others)
        topic = f"{whose}, fields that nobody reads"
        yield Comparison(topic, "documented ones alone", told, _as(known and not records.odd_names))
    words = {word: taken for each in records.fields if each.role == "status" for word, taken in each.words.items()}
    if words and kind != "number":
        shown = (f"{word} ({'in service' if how == 'living' else how})" for word, how in words.items())
        told = ", ".join(words if kind == "endpoint" else shown)
        yield Comparison(f"{whose}, statuses", "those documented", told, _as(words.keys() <= STATUSES | {"error"}))
    for fault, count in records.faults.items():
        yield Comparison(f"{whose}, unreadable", "none", f"{count} of {records.count}: {fault}", "differs")


def _holds_what_is_read(name: str, kind: RecordKind) -> bool:
    """Whether something is read inside the object of this name, which is null where it is told by itself."""
    return any(known.startswith(f"{name}.") for each in FIELDS[kind].values() for known in each.names)


def _errors(contact: Contact) -> Iterator[Comparison]:
    for name, topic, status in (
        ("unknown_id", "an id that does not exist", HTTPStatus.NOT_FOUND),
        ("wrong_key", "a made-up key", HTTPStatus.UNAUTHORIZED),
    ):
        asked = contact.asked.get(name)
        if asked is None or asked.reply is None:
            yield Comparison(topic, f"{status.value}", "no answer" if asked else "not asked", "not seen")
            continue
        yield Comparison(topic, f"{status.value}", _error(asked), _as(asked.status == status))


def _error(asked: Enquiry) -> str:
    if asked.reply is None:
        return "no answer"
    code = plain_word(read_code(asked.reply.body)) if isinstance(asked.error, ApiError) else None
    names = names_and_forms(error_fields(asked.reply.body))
    return ", ".join([str(asked.status), *([code] if code else []), *([f"fields {names}"] if names else [])])


def _headers(contact: Contact) -> Iterator[Comparison]:
    first = contact.asked["owned"]
    if first.reply is None:
        return
    stated = limits(first)
    told = ", ".join(f"{name} {value}" for name, value in stated.items()) or "none"
    yield Comparison("X-RateLimit headers", "limit, remaining, reset", told, _as(len(stated) == 3))  # noqa: PLR2004 - those
    echoed = "there" if first.header("x-request-id") else "not there"
    yield Comparison("x-request-id", "there", echoed, _as(echoed == "there"))
    ahead = first.ahead_seconds
    if ahead is None:
        yield Comparison("KrosAI's clock", "as ours", "no Date came", "not seen")
    else:
        off = round(ahead)
        told = "within 2 seconds" if abs(off) <= 2 else f"{abs(off)} seconds {'ahead of' if off > 0 else 'behind'} ours"  # noqa: PLR2004 - Date has whole seconds
        yield Comparison("KrosAI's clock", "as ours", told, _as(abs(ahead) <= MOST_CLOCK_SECONDS))


def _as(assumed: bool) -> Verdict:
    return "as assumed" if assumed else "differs"
