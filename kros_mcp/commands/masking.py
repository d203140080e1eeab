"""What a report that anybody may read can say of an answer: names, kinds and forms, never values.

`form` tells of one value what kind it is of. `field_name` and `plain_word` let through what is a plain name or word,
and nothing else. `masked` is the net below them: whatever ends in a report goes through it once more.
"""

import re
from collections.abc import Iterable
from typing import Final

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_FORMS: Final = (
    ("uuid", _UUID),
    ("E.164", re.compile(r"\+[1-9][0-9]{6,14}")),
    ("E.164, spaced", re.compile(r"\+[1-9][0-9 ().\-]{6,24}[0-9]")),
    ("time", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S{0,20}")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("decimal", re.compile(r"-?\d{1,12}\.\d{1,6}")),
    ("boolean", re.compile(r"(?i:true|false|yes|no|on|off)")),
    ("SIP address", re.compile(r"(?i:sips?:.+)", re.DOTALL)),
    ("address", re.compile(r"(?i:[a-z][a-z0-9+.-]{1,20}://.+)", re.DOTALL)),
)
_DIGITS: Final = re.compile(r"[0-9]+")
_PREFIXED: Final = re.compile(r"([a-zA-Z]{1,8}_)[A-Za-z0-9]*[0-9][A-Za-z0-9]*")
_LARGEST_EXACT: Final = 2**53
"""Beyond this many, JSON readers that know only floating-point numbers change an integer."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_MOST_DIGITS: Final = 200
_OF_AN_ID: Final = re.compile(r"[0-9]{4}|[0-9][A-Za-z]+[0-9]|^[0-9A-Fa-f]{8,}$")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_-]{1,31}")
_MOST_WORDS: Final = 8
_NO_NAME: Final = "(a name that is not plain)"
_NET: Final = (
    (re.compile(r"(?i:kros_(?:live|test)_)[A-Za-z0-9]+"), "kros_…"),
    (re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]+)*"), "(token)"),
    (_UUID, "uuid"),
    (re.compile(r"(?i:[a-z][a-z0-9+.-]*://)\S+"), "(address)"),
    (re.compile(r"(?i:\bsips?:)\S+"), "(SIP address)"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "(address)"),
    (re.compile(r"\b([a-zA-Z]{1,8}_)(?=[A-Za-z]*[0-9])[A-Za-z0-9]{6,}"), r"\1…"),
)
_LONG_NUMBER: Final = re.compile(r"\+?[0-9](?:[ ().-]?[0-9]){6,}")
_LONG_TOKEN: Final = re.compile(r"(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?")


def form(value: object, *, is_id: bool = False) -> str:
    """Return the kind of a JSON value and, of a text, its form: "integer", "text: uuid"; of an id also "text: pn_…".

    What stands before the underscore of another text may be a name.
    """
    if isinstance(value, str):
        return f"text: {found}" if (found := _form_of(value, is_id=is_id)) else "text"
    if isinstance(value, list):
        kinds = {"objects" if isinstance(one, dict) else "texts" if isinstance(one, str) else "" for one in value}
        return f"list of {kinds.pop()}" if len(kinds) == 1 and "" not in kinds else "list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_EXACT:
        return "integer over 2^53"
    kinds_of = {type(None): "null", bool: "boolean", int: "integer", float: "number with a point"}
    return kinds_of.get(type(value), "object")


def _form_of(text: str, *, is_id: bool) -> str:
    if not text:
        return "empty"
    if _DIGITS.fullmatch(text):
        return f"{len(text)} digits" if len(text) <= _MOST_DIGITS else ""
    if is_id and (prefixed := _PREFIXED.fullmatch(text)):
        return f"{prefixed[1]}…"
    return next((name for name, pattern in _FORMS if pattern.fullmatch(text)), "")


def field_name(name: object) -> str:
    """Return the name of a field; a fixed phrase for what could be a value in the place of a name."""
    return name if is_field_name(name) and isinstance(name, str) else _NO_NAME


def is_field_name(name: object) -> bool:
    """Whether a text looks like the name of a field: short, of letters, with few digits, and like no id."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and not _OF_AN_ID.search(name) and masked(name) == name


def plain_word(value: object) -> str | None:
    """Return a status, type or code if it is one word of letters; None for anything else."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def short_word(spelt: str | None) -> str | None:
    """Return a status in one spelling, as `krosai.text.word` gives it, if it is of two words at most: no sentence."""
    return plain_word(spelt) if spelt is not None and spelt.strip("_").count("_") <= 1 else None


def plain_words(values: Iterable[object]) -> list[str]:
    """Return the different words among values; none if one is no plain word, or if they are too many for a status."""
    words = [plain_word(value) for value in dict.fromkeys(map(str, values))]
    return [word for word in words if word is not None] if None not in words and len(words) <= _MOST_WORDS else []


def masked(text: str) -> str:
    """Return a text in which whatever could be a number, an id, an address or a secret is replaced by its form."""
    for pattern, instead in _NET:
        text = pattern.sub(instead, text)
    return _LONG_TOKEN.sub(lambda found: f"({len(found[0])} characters)", _LONG_NUMBER.sub(_masked_number, text))


def _masked_number(found: re.Match[str]) -> str:
    if _TIME.fullmatch(found[0]):
        return found[0]
    digits = sum(character.isdigit() for character in found[0])
    return f"{'+' if found[0].startswith('+') else ''}…({digits} digits)"
