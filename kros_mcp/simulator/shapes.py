"""A profile of its own: field names and wrappers as `kros-mcp probe --json` saw them, read from its JSON and checked.

The account behind it stays the same; what it answers is written anew, answer by answer. What the probe cannot see is as
in the profile `reference`: what a purchase, a change and a release answer has the wrapper of a single number.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kros_mcp.simulator.calls import Answer
from kros_mcp.simulator.profiles import Profile

Json = dict[str, Any]
Kind = Literal["owned", "available", "endpoint"]

Role = Literal[
    "id", "inventory_id", "e164", "country", "type", "status", "endpoint_id", "allow_inbound", "allow_outbound",
    "area_code", "capabilities", "setup_cents", "monthly_cents", "total_cents", "currency", "created_at", "updated_at",
    "name", "sip",
]  # fmt: skip
"""What a field means, by the names of the probe."""
_CANONICAL = {"inventory_id": "id", "setup_cents": "setup_cost_cents", "monthly_cents": "monthly_cost_cents"}
_FORMAT = 1
_MOST_BYTES = 1_000_000
_LISTS: Mapping[str, Kind] = {"list_owned": "owned", "search": "available", "list_endpoints": "endpoint"}
_BY_PREFIX: Mapping[str, Kind] = {"pn": "owned", "inv": "available", "ep": "endpoint"}
_WRITES = frozenset({"purchase", "update", "release"})
_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,39}(\.[A-Za-z_][A-Za-z0-9_-]{0,39}){0,4}"
_CLASSES = {"active": "living", "inactive": "ended", "pending": "pending"}
_ENDPOINT_TYPES = ("elevenlabs", "webhook", "livekit")
_FILLERS: Mapping[str, object] = {
    "null": None,
    "boolean": True,
    "integer": 1,
    "integer over 2^53": 2**53 + 1,
    "number with a point": 1.5,
    "text": "text",
    "text: empty": "",
    "text: uuid": "00000000-0000-4000-8000-000000000001",
    "text: E.164": "+2348035550100",
    "text: E.164, spaced": "+234 803 555 0100",
    "text: time": "2026-01-01T00:00:00.000Z",
    "text: date": "2026-01-01",
    "text: decimal": "1.50",
    "text: boolean": "true",
    "text: SIP address": "sip:simulated@sip.krosai.invalid",
    "text: address": "https://simulated.invalid/",
    "list": [],
    "list of texts": ["text"],
    "list of objects": [{}],
    "object": {},
}
_DIGITS = re.compile(r"text: ([1-9]\d{0,2}) digits")
_PREFIX = re.compile(r"text: ([A-Za-z]{1,8}_)…")
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


def _known_form(form: str) -> str:
    if form not in _FILLERS and _DIGITS.fullmatch(form) is None and _PREFIX.fullmatch(form) is None:
        raise ValueError("is not a form that is known")
    return form


_Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]
_Path = Annotated[str, Field(pattern=rf"^({_NAME})?$")]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z_-]{1,31}$")]
_Form = Annotated[str, AfterValidator(_known_form)]
_Parameter = Literal["limit", "offset", "status", "country", "type", "area_code"]


class ShapedField(BaseModel):
    """One field: where it is, in which forms it comes, and what it means."""

    model_config = _STRICT
    name: _Name
    forms: list[_Form] = Field(min_length=1)
    role: Role | Literal["code", ""] = ""
    unread: list[_Form] = []
    words: dict[_Word, str] = {}


def _separate(fields: list[ShapedField]) -> list[ShapedField]:
    """Check that no field is there twice, and that one with others inside it is otherwise only null or empty."""
    names = [each.name for each in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"has {twice} twice")
    for each in fields:
        if _inside(each.name, fields) and not set(each.forms) <= {"null", "object"}:
            raise ValueError(f"has {each.name} both as a field and as an object")
    return fields


def _inside(name: str, fields: Iterable[ShapedField]) -> list[ShapedField]:
    return [each for each in fields if each.name.startswith(f"{name}.")]


_Fields = Annotated[list[ShapedField], Field(max_length=100), AfterValidator(_separate)]


class ShapedAnswer(BaseModel):
    """The wrapper and the fields of one kind of answer."""

    model_config = _STRICT
    path: _Path = ""
    total: _Name | None = None
    beside: _Fields = []
    fields: _Fields = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.path and (self.total or self.beside):
            raise ValueError("has fields beside what is bare")
        _separate([ShapedField(name=name, forms=["list"]) for name in (self.path, self.total) if name] + self.beside)
        if self.fields and not {"id", "inventory_id"} & {each.role for each in self.fields}:
            raise ValueError("has no field with the role of an id")
        return self


class ShapedError(BaseModel):
    """The status and the fields of an error."""

    model_config = _STRICT
    status: int = Field(ge=200, lt=600)
    fields: _Fields = []

    @property
    def has_code(self) -> bool:
        """Whether one field holds a code."""
        return any(each.role == "code" for each in self.fields)


class Shapes(BaseModel):
    """What a KrosAI answers in."""

    model_config = _STRICT
    lists: dict[Literal["owned", "available", "endpoint"], ShapedAnswer] = {}
    single: dict[Literal["number", "endpoint"], ShapedAnswer | None] = {}
    errors: dict[Literal["unknown_id", "wrong_key"], ShapedError] = {}
    heeds: dict[Literal["owned", "available", "endpoint"], dict[_Parameter, bool | None]] = {}

    def heeded(self, kind: Kind, parameter: _Parameter) -> bool | None:
        """Return whether a parameter of a list was seen to be heeded; None if it did not show."""
        return self.heeds.get(kind, {}).get(parameter)

    def profile(self, base: Profile) -> Profile:
        """Return a profile that heeds what was seen to be heeded."""
        return replace(
            base,
            filters_by_status=self.heeded("owned", "status") is True,
            filters_by_area_code=self.heeded("available", "area_code") is True,
            filters_endpoints=True in {self.heeded("endpoint", "limit"), self.heeded("endpoint", "offset")},
        )

    @property
    def has_numbers(self) -> bool:
        """Whether it was seen what an owned number in the list has."""
        return bool(self.lists.get("owned", ShapedAnswer()).fields)

    def id_form(self, prefix: str) -> str:
        """Return the form of ids of numbers, of offers or of endpoints: "pn", "inv", "ep"."""
        shaped = self.lists.get(_BY_PREFIX.get(prefix, "endpoint"), ShapedAnswer())
        ids = (each for each in shaped.fields if each.role in {"id", "inventory_id"})
        return next((each.forms[0] for each in ids), "text: uuid")

    def page(self, operation: str, limit: int, offset: int) -> tuple[int, int]:
        """Return limit and offset as they are heeded."""
        kind = _LISTS[operation]
        limited = sys.maxsize if self.heeded(kind, "limit") is False else limit
        return limited, 0 if self.heeded(kind, "offset") is False else offset

    def ignores(self, operation: str, parameter: _Parameter) -> bool:
        """Whether a filter of a list is not heeded."""
        return self.heeded(_LISTS[operation], parameter) is False

    @property
    def further_statuses(self) -> list[str]:
        """The statuses that were seen beside those which every profile has."""
        return [word for word in ("suspended", "porting", "pending") if word in self._statuses]

    def status(self, canonical: str) -> str:
        """Return the word of this dialect for a status of a number."""
        return _status(canonical, self._statuses)

    @property
    def _statuses(self) -> Mapping[str, str]:
        fields = self.lists.get("owned", ShapedAnswer()).fields
        return next((each.words for each in fields if each.role == "status"), {})

    def written(self, operation: str, answer: Answer) -> Answer:
        """Return an answer of the profile `reference` as this dialect writes it."""
        if answer.body is None:
            return answer
        if operation in _LISTS and isinstance(answer.body, list):
            shaped = self.lists.get(_LISTS[operation])
            return answer if shaped is None else replace(answer, body=_list(shaped, answer.body, answer.total))
        if operation in _LISTS or not isinstance(answer.body, dict) or "id" not in answer.body:
            return answer  # an error in a success
        kind: Literal["number", "endpoint"] = "endpoint" if operation == "get_endpoint" else "number"
        around = self.single.get(kind)
        if kind == "endpoint" and kind in self.single and around is None:
            return self.refused(404, {"error": "Resource not found"})
        listed = self.lists.get("endpoint" if kind == "endpoint" else "owned")
        inside = listed if operation in _WRITES or around is None else _with_words(around, listed)
        record = _record(inside, answer.body, 0) if inside is not None and inside.fields else answer.body
        return replace(answer, body=_wrapped(around or ShapedAnswer(), record, None, 0))

    def refused(self, status: int, fields: Mapping[str, object]) -> Answer:
        """Return an error of the profile `reference` as this dialect writes it."""
        code = fields.get("code")
        seen = {404: "unknown_id", 401: "wrong_key"}.get(status, "")
        if seen in self.errors and (code in {None, "INVALID_API_KEY"}):
            status = self.errors[seen].status
        shaped = next((each for each in self.errors.values() if each.has_code is (code is not None)), None)
        if shaped is None:
            return Answer(status, dict(fields))
        body: Json = {}
        for each in shaped.fields:
            if each.role == "code":
                _put(body, each.name, code)
            else:
                _put(body, each.name, _of_error(each.forms[0], status, str(fields["error"])))
        return Answer(status, body | {name: fields[name] for name in ("retry_after",) if name in fields})


def parse_shapes(document: object) -> Shapes:
    """Check what `kros-mcp probe --json` wrote.

    Raises:
        ValueError: It is not that. The message is a sentence.
    """
    if not isinstance(document, dict) or document.get("format") != _FORMAT or document.get("shapes") is None:
        raise ValueError(f"That is not what kros-mcp probe --json writes, in format {_FORMAT}.")
    try:
        return Shapes.model_validate(document["shapes"])
    except ValidationError as exc:
        [first, *_] = exc.errors(include_url=False, include_input=False)
    place = ".".join(map(str, ("shapes", *first["loc"])))
    raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ').rstrip('.')}.")


def read_shapes(path: Path) -> Shapes:
    """Read a file that `kros-mcp probe --json` wrote.

    Raises:
        ValueError: It cannot be read, or is not that. The message is a sentence.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"It is too large, over {_MOST_BYTES} bytes.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError("It cannot be read.") from None
    except (UnicodeError, json.JSONDecodeError, RecursionError):
        raise ValueError("It is not JSON.") from None
    return parse_shapes(document)


def _with_words(single: ShapedAnswer, listed: ShapedAnswer | None) -> ShapedAnswer:
    """Return the shape of a single record with the statuses and types that the list has, too: one record has few."""
    words = {each.role: each.words for each in listed.fields} if listed is not None else {}
    fields = [
        each.model_copy(update={"words": words.get(each.role, {}) | each.words}) if each.words else each
        for each in single.fields
    ]
    return single.model_copy(update={"fields": fields})


def _list(shaped: ShapedAnswer, bodies: Sequence[Json], total: int | None) -> object:
    records = [_record(shaped, body, at) if shaped.fields else body for at, body in enumerate(bodies)]
    return _wrapped(shaped, records, total, len(bodies))


def _wrapped(shaped: ShapedAnswer, inside: object, total: int | None, count: int) -> object:
    """Return a list or an object in its wrapper."""
    if not shaped.path:
        return inside
    body: Json = {}
    for each in shaped.beside:
        _put(body, each.name, _filler(each.forms[0]))
    if shaped.total is not None:
        _put(body, shaped.total, count if total is None else total)
    _put(body, shaped.path, inside)
    return body


def _record(shaped: ShapedAnswer, body: Json, at: int) -> Json:
    """Return a record of the profile `reference` in the fields that were seen; `at` is its place in the list."""
    outer = {each.name: inside for each in shaped.fields if (inside := _inside(each.name, shaped.fields))}
    empty = {name for name, inside in outer.items() if not _is_object(inside, body, at)}
    written: Json = {}
    for each in shaped.fields:
        if any(each.name.startswith(f"{name}.") for name in empty) or each.name in outer.keys() - empty:
            continue
        for value in _values(each, body) if each.role else (_filler(each.forms[at % len(each.forms)]),):
            _put(written, each.name, value)
    if "currency" in body and not any(each.role == "currency" for each in shaped.fields):
        written["currency"] = body["currency"]
    return written


def _is_object(inside: Sequence[ShapedField], body: Json, at: int) -> bool:
    """Whether an object that is null or empty in some records is filled in this one."""
    stated = [body.get(each.role) for each in inside if each.role]
    return any(value is not None for value in stated) if stated else at % 2 == 0


def _values(shaped: ShapedField, body: Json) -> Iterator[object]:
    """Yield what a field with a role holds; nothing if the record states nothing of it."""
    name = _CANONICAL.get(shaped.role, shaped.role)
    if shaped.role == "sip":
        last = shaped.name.rpartition(".")[2]
        yield body.get("sip_credentials", {}).get(last, body.get(shaped.name, "sip.krosai.invalid"))
    elif shaped.role == "total_cents":
        if "monthly_cost_cents" in body:
            yield _formed(body["monthly_cost_cents"] + body["setup_cost_cents"], shaped)
    elif shaped.role == "currency":
        yield body.get("currency", "USD")
    elif name in body:
        yield _formed(body[name], shaped)


def _formed(value: object, shaped: ShapedField) -> object:
    """Return a value in the form in which it was seen."""
    form = next((each for each in shaped.forms if each != "null"), "")
    if shaped.role == "status":
        return _status(str(value), shaped.words)
    if shaped.role == "type":
        return _type(str(value), shaped.words)
    if isinstance(value, dict):
        return [name for name, has in value.items() if has] if form.startswith("list") else value
    if isinstance(value, bool):
        return {"text: boolean": str(value).lower(), "integer": int(value)}.get(form, value)
    if isinstance(value, int):
        cents = {"text: decimal": f"{value / 100:.2f}", "number with a point": float(value)}
        return str(value) if _DIGITS.fullmatch(form) else cents.get(form, value)
    return _formed_text(value, form) if isinstance(value, str) else value


def _formed_text(value: str, form: str) -> object:
    if value.startswith("+"):
        spaced = f"{value[:4]} {value[4:7]} {value[7:]}"
        return value[1:] if _DIGITS.fullmatch(form) else spaced if form == "text: E.164, spaced" else value
    if form.startswith("integer") and value.isdigit():
        return int(value)
    return value[:10] if form == "text: date" else value


def _status(canonical: str, words: Mapping[str, str]) -> str:
    if canonical in words or canonical not in _CLASSES:
        return canonical
    return next((word for word, taken in words.items() if taken == _CLASSES[canonical]), canonical)


def _type(canonical: str, words: Mapping[str, str]) -> str:
    """Return the word of a dialect for a type of a number or of an endpoint."""
    same = next((word for word, read in words.items() if read == canonical), None)
    if same is not None or canonical not in _ENDPOINT_TYPES or not words:
        return same or canonical
    return list(words)[_ENDPOINT_TYPES.index(canonical) % len(words)]


def _of_error(form: str, status: int, text: str) -> object:
    if form == "boolean":
        return False
    if form == "integer":
        return status
    return text if form == "text" else _filler(form)


def _filler(form: str) -> object:
    """Return a made-up value of a form."""
    if digits := _DIGITS.fullmatch(form):
        return "1" * int(digits[1])
    if prefixed := _PREFIX.fullmatch(form):
        return f"{prefixed[1]}0a1b2c3d4e5f"
    return _FILLERS[form]


def _put(body: Json, name: str, value: object) -> None:
    """Put a value at a path."""
    *parents, last = name.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value
