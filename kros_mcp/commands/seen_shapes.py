"""What answers hold: where a list and its total are, which fields its records have, and which of them are read.

The reading's own table says what is read (`krosai.FIELDS`). What is kept here are names, forms of values and plain
words; it is also what `kros-mcp simulator --shapes FILE` takes, see `as_json`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kros_mcp.commands.masking import field_name, form, is_field_name, plain_words
from kros_mcp.errors import ProtocolError
from kros_mcp.krosai import (
    FIELDS,
    RecordKind,
    find_list,
    find_object,
    find_total,
    has_ended,
    is_pending,
    read_code,
    value_at,
)
from kros_mcp.krosai.wire import read_available, read_endpoint, read_phone_number

LIST_KINDS: Final[tuple[RecordKind, ...]] = ("owned", "available", "endpoint")
_READ: Final = {
    "owned": read_phone_number,
    "number": read_phone_number,
    "available": read_available,
    "endpoint": read_endpoint,
}
_DEEPEST: Final = 3
_MOST_FIELDS: Final = 60
_WORDS: Final = frozenset({"status", "type"})
"""What is read as a word of an open set, so that the words may be told."""
_WHOLE: Final = frozenset({"capabilities", "country"})
_SECRET: Final = re.compile(r"sip|secret|password|token|credential|auth|key", re.IGNORECASE)
"""Fields of which not even the form of a text is told."""
_ID: Final = re.compile(r"(?:^|[._])[iI]ds?$|I[dD]s?$")
"""Fields that hold ids, by their names."""
_FREE: Final = re.compile(
    r"meta_?data|custom_?(fields)?|tags?|labels?|attributes|properties|extra|variables|headers|params|members|users",
    re.IGNORECASE,
)
"""Objects whose names may be anybody's own words."""


@dataclass(frozen=True)
class SeenField:
    """One field of records.

    Args:
        name: Its name; inside an object with dots.
        forms: The forms of its values, in the order in which they came.
        role: What is read under this name, as in `krosai.FIELDS`, or "sip"; empty for what nobody reads.
        unread: The forms among them that are not read, although the name is known.
        words: For a status or type, each word that came and how it is taken; empty if it is no word.
    """

    name: str
    forms: tuple[str, ...]
    role: str = ""
    unread: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether at least one value is read."""
        return bool(self.role) and any(each != "null" and each not in self.unread for each in self.forms)


@dataclass(frozen=True)
class SeenRecords:
    """What some records of one kind have.

    Args:
        kind: Which kind.
        count: How many there were.
        fields: Their fields.
        faults: Why some cannot be read, with how many of them.
        odd_names: Whether there are names that are not plain, which are not told.
    """

    kind: RecordKind
    count: int
    fields: tuple[SeenField, ...] = ()
    faults: Mapping[str, int] = field(default_factory=dict)
    odd_names: bool = False

    def read_by(self, role: str) -> str | None:
        """Return the name by which something is read: of several the one that counts first."""
        names = [each.name for each in self.fields if each.role == role and each.is_read]
        known = FIELDS[self.kind][role].names if role in FIELDS[self.kind] else tuple(names)
        return min(names, key=known.index, default=None)

    @property
    def missing(self) -> list[str]:
        """What is wanted of such a record, and was not read of any."""
        return [role for role in FIELDS[self.kind] if self.read_by(role) is None] if self.count else []


@dataclass(frozen=True)
class SeenAnswer:
    """The wrapper of an answer that was read.

    Args:
        path: Where its list or object is; empty for a bare one.
        total: Where the total is; None without one.
        stated: That total.
        beside: The other fields around the list or object.
        records: What the records have.
        raw: The records themselves, which no report may see.
    """

    path: str
    total: str | None
    stated: int | None
    beside: tuple[SeenField, ...]
    records: SeenRecords
    raw: tuple[object, ...] = field(repr=False)


def seen_list(body: object, kind: RecordKind) -> SeenAnswer | None:
    """Return what an answer with a list holds; None if it has none in a known place."""
    found = find_list(body, "endpoints" if kind == "endpoint" else "available" if kind == "available" else "owned")
    if found is None:
        return None
    path, raw = found
    total = find_total(body)
    return SeenAnswer(
        path=path,
        total=total[0] if total else None,
        stated=total[1] if total else None,
        beside=_beside(body, path),
        records=seen_records(raw, kind),
        raw=tuple(raw),
    )


def seen_object(body: object, kind: RecordKind) -> SeenAnswer | None:
    """Return what an answer with a single record holds; None if it is no object."""
    if not isinstance(body, dict):
        return None
    path, record = find_object(body, "endpoint" if kind == "endpoint" else "number")
    return SeenAnswer(path, None, None, _beside(body, path) if path else (), seen_records([record], kind), (record,))


def seen_records(raw: Sequence[object], kind: RecordKind) -> SeenRecords:
    """Return what records have."""
    records = [record for record in raw if isinstance(record, dict)]
    values, odd = _values(records, kind)
    faults: dict[str, int] = {}
    for record in raw:
        if fault := _fault(record, kind):
            faults[fault] = faults.get(fault, 0) + 1
    fields = tuple(_seen(name, found, kind) for name, found in values.items())
    return SeenRecords(kind, len(raw), fields, faults, odd)


def error_fields(body: object) -> tuple[SeenField, ...]:
    """Return the fields of an error; the one with its code has the role "code"."""
    code = read_code(body)
    found = _beside(body, None)
    coded = (
        {name for name, value in _leaves_but(body, None) if value == code} if isinstance(body, dict) and code else ()
    )
    return tuple(replace(each, role="code") if each.name in coded else each for each in found)


def names_and_forms(fields: Iterable[SeenField]) -> str:
    """Return fields for a sentence, each with its forms."""
    return ", ".join(f"{each.name} ({' or '.join(each.forms)})" for each in fields)


def as_json(answer: SeenAnswer) -> dict[str, Any]:
    """Return an answer's shape, as the simulator takes it."""
    return {
        "path": answer.path,
        "total": answer.total,
        "beside": _fields_json([each for each in answer.beside if each.name != answer.total]),
        "fields": _fields_json(answer.records.fields),
    }


def _fields_json(fields: Sequence[SeenField]) -> list[dict[str, Any]]:
    """Return fields; what is an object in some records and a text or number in others is an object, or null, there."""
    told = []
    for each in fields:
        forms = each.forms
        if any(other.name.startswith(f"{each.name}.") for other in fields):
            forms = tuple(one for one in forms if one in {"null", "object"})
        if forms:
            told.append(field_json(replace(each, forms=forms)))
    return told


def field_json(seen: SeenField) -> dict[str, Any]:
    """Return one field, as the simulator takes it."""
    return {
        "name": seen.name,
        "forms": list(seen.forms),
        **({"role": seen.role} if seen.role else {}),
        **({"unread": list(seen.unread)} if seen.unread else {}),
        **({"words": dict(seen.words)} if seen.words else {}),
    }


def _values(records: Sequence[Mapping[str, object]], kind: RecordKind) -> tuple[dict[str, list[object]], bool]:
    """Return every value by its plain name, and whether there are names that are not plain."""
    values: dict[str, list[object]] = {}
    odd = False
    for record in records:
        for name, value in _leaves(record, kind):
            odd = odd or not name
            if name and (name in values or len(values) < _MOST_FIELDS):
                values.setdefault(name, []).append(value)
    return values, odd


def _leaves(
    record: Mapping[str, object], kind: RecordKind | None, prefix: str = "", depth: int = _DEEPEST
) -> Iterator[tuple[str, object]]:
    """Yield each field with its name, also those inside objects; an empty name for one that is not plain."""
    for name, value in record.items():
        path = f"{prefix}{name}"
        if not is_field_name(name):
            yield "", None
        elif isinstance(value, dict) and value and depth > 1 and not _is_whole(path, kind):
            yield from _leaves(value, kind, f"{path}.", depth - 1)
        else:
            yield path, value


def _is_whole(path: str, kind: RecordKind | None) -> bool:
    """Whether an object is told as one field: what is read whole, or whose names may be somebody's own words."""
    read = kind is not None and any(path in each.names for role, each in FIELDS[kind].items() if role in _WHOLE)
    return read or _FREE.fullmatch(path.rpartition(".")[2]) is not None


def _seen(name: str, values: Sequence[object], kind: RecordKind) -> SeenField:
    role = next((role for role, each in FIELDS[kind].items() if name in each.names), "")
    if not role and kind in {"owned", "number"} and name.lower().startswith("sip"):
        role = "sip"
    read = FIELDS[kind][role].read if role in FIELDS[kind] else (lambda value: value)
    forms = dict.fromkeys(_form(name, value) for value in values)
    readable = {_form(name, value) for value in values if value is not None and read(value) is not None}
    unread = tuple(each for each in forms if each not in readable and each != "null") if role else ()
    words = _words(role, [value for value in values if value is not None], read) if role in _WORDS else {}
    return SeenField(name, tuple(forms), role, unread, words)


def _form(name: str, value: object) -> str:
    told = form(value, is_id=_ID.search(name) is not None)
    return "text" if told.startswith("text") and _SECRET.search(name) else told


def _words(role: str, values: Sequence[object], read: Any) -> dict[str, str]:  # noqa: ANN401 - of any field
    return {word: _taken(role, read(word)) for word in plain_words(values)}


def _taken(role: str, word: str | None) -> str:
    """Return how a status is taken, or how a type is read."""
    if role == "type":
        return word or "unread"
    return "ended" if has_ended(word) else "pending" if is_pending(word) else "living"


def _fault(record: object, kind: RecordKind) -> str:
    """Return why a record cannot be read; empty if it can."""
    try:
        _READ[kind](record)
    except ProtocolError:
        pass
    else:
        return ""
    if not isinstance(record, dict):
        return f"is no object but of the form {form(record)}"
    identity = "inventory_id" if kind == "available" else "id"
    lacking = [role for role in (identity, "e164") if role in FIELDS[kind] and FIELDS[kind][role].of(record) is None]
    return " and ".join(_lack(record, kind, role) for role in lacking)


def _lack(record: Mapping[str, object], kind: RecordKind, role: str) -> str:
    names = FIELDS[kind][role].names
    stated = {name: form(value) for name in names if (value := value_at(dict(record), name)) is not None}
    if stated:
        return "no usable " + role + ": " + ", ".join(f"{name} is {told}" for name, told in stated.items())
    return f"no {role} under {', '.join(names)}"


def _beside(body: object, path: str | None) -> tuple[SeenField, ...]:
    """Return the fields around what stands at a path: of every object on the way to it."""
    if not isinstance(body, dict):
        return ()
    found: dict[str, SeenField] = {}
    for name, value in _leaves_but(body, path):
        if is_field_name(name.rpartition(".")[2]):
            found[name] = SeenField(name, (_form(name, value),))
    return tuple(found.values())[:_MOST_FIELDS]


def _leaves_but(body: Mapping[str, object], path: str | None) -> Iterator[tuple[str, object]]:
    head, _, rest = (path or "").partition(".")
    for name, value in body.items():
        if path and name == head:
            if rest and isinstance(value, dict):
                yield from ((f"{field_name(name)}.{inner}", one) for inner, one in _leaves_but(value, rest))
        elif is_field_name(name):
            yield from _leaves({name: value}, None)
