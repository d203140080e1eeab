"""Where the payload is in an answer of KrosAI (docs/krosai.md, section 9, rules 1, 2, 6 and 7).

The two documents wrap lists and objects differently, so every wrapper known from any source is tried. An answer that
fits none is a ProtocolError, never an empty list: from "no numbers" the server would draw conclusions.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from kros_mcp.errors import ProtocolError
from kros_mcp.money import cents, show_again

ListKind = Literal["owned", "available", "endpoints"]
ObjectKind = Literal["number", "endpoint"]

NUMBER_NAMES: Final = ("e164", "number", "phone_number", "phoneNumber")

_ARRAYS: Final = ("phone_numbers", "numbers", "available", "inventory", "data", "items", "results", "list")
_ARRAYS_OF: Final[dict[ListKind, tuple[str, ...]]] = {
    "owned": _ARRAYS,
    "available": _ARRAYS,
    "endpoints": ("endpoints", "data", "items", "results", "list"),
}
_LISTS: Final = ("endpoints", *_ARRAYS)
_OBJECTS: Final[dict[ObjectKind, tuple[str, ...]]] = {
    "number": ("data", "phone_number", "number", "phoneNumber"),
    "endpoint": ("data", "endpoint"),
}
_TOTALS: Final = ("total", "totalCount", "total_count")
_BESIDE: Final = ("meta", "pagination")
"""Objects beside a list in which its total may stand."""
_DEEPEST_WRAPPER: Final = 3
_DEEPEST_NAME: Final = 6
_INTEGER: Final = re.compile(r"-?[0-9]{1,9}")
_HTTP_ERRORS: Final = range(400, 600)
_FAILURES: Final = frozenset(
    {"error", "fail", "failed", "failure", "rejected", "declined", "denied", "refused", "invalid", "unsuccessful"}
)
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,40}")
_ORDERS: Final = (*_OBJECTS["number"], "order", "purchase", "result")
"""Where an answer to an order may say how it went: in its wrappers, and beside the number."""
_FLAGS: Final = frozenset({"ok", "success"})
_VERDICTS: Final = frozenset(
    {"status", "state", "result", "outcome", "code"}
    | {f"{of}{what}" for of in ("order", "purchase", "status") for what in ("status", "state", "code")}
)
_TROUBLE: Final = re.compile(r"error|failure|failed|reject|decline")
_NO_LETTER: Final = re.compile(r"[^a-z]")
_PLAIN: Final = frozenset(
    {"active", "activated", "assigned", "bought", "completed", "complete", "created", "done", "enabled"}
    | {"fulfilled", "inuse", "live", "ok", "okay", "owned", "provisioned", "purchased", "ready"}
    | {"success", "succeeded", "successful", "true"}
)
"""Words that say that an order was carried out, or that its number is in use."""
_HTTP_SUCCESSES: Final = range(200, 300)
_AMOUNTS: Final = {
    "{} is needed": ("required_cents", "requiredCents", "needed_cents", "neededCents"),
    "{} is there": ("balance_cents", "balanceCents", "available_cents", "availableCents"),
    "{} is lacking": ("shortfall_cents", "shortfallCents", "missing_cents", "missingCents"),
}
"""What an error for lack of credit may state."""
_ORGANIZATIONS: Final = ("organization_id", "organizationId")
_HOLDING_RECORDS: Final = tuple(dict.fromkeys((*_LISTS, *_ORDERS, "endpoint")))


def read_list(body: object, kind: ListKind) -> tuple[list[object], int | None]:
    """Return the list in an answer, and the total that KrosAI states, or None.

    Raises:
        ProtocolError: There is no list in any known place.
    """
    found = find_list(body, kind)
    if found is None:
        raise ProtocolError("KrosAI answered with something that is not a list in any known form.")
    stated = find_total(body)
    return found[1], stated[1] if stated else None


def find_list(body: object, kind: ListKind) -> tuple[str, list[object]] | None:
    """Return the list in an answer, and where it is, as "data.items" or empty for a bare one; None without a list."""
    if isinstance(body, list):
        return "", body
    for prefix, place in _objects(body, "data"):
        for name in _ARRAYS_OF[kind]:
            if isinstance(found := place.get(name), list):
                return prefix + name, found
    return None


def find_total(body: object) -> tuple[str, int] | None:
    """Return the total in an answer, and where it is, as "meta.total"; None if none is stated."""
    within = _objects(body, "data")
    beside = [each for prefix, place in within for each in _objects(place, *_BESIDE, prefix=prefix)[1:]]
    for prefix, place in (*within, *beside):
        for name in _TOTALS:
            value = place.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return prefix + name, value
    return None


def _objects(body: object, *names: str, prefix: str = "") -> list[tuple[str, dict[str, object]]]:
    """Return an object and those directly inside it under these names, each with what stands before its names."""
    if not isinstance(body, dict):
        return []
    inside = ((f"{prefix}{name}.", body.get(name)) for name in names)
    return [(prefix, body), *((at, place) for at, place in inside if isinstance(place, dict))]


def read_object(body: object, kind: ObjectKind) -> dict[str, object]:
    """Return the object in an answer.

    Raises:
        ProtocolError: The answer is not an object.
    """
    if not isinstance(body, dict):
        raise ProtocolError("KrosAI answered with something that is not an object.")
    return find_object(body, kind)[1]


def find_object(body: dict[str, object], kind: ObjectKind) -> tuple[str, dict[str, object]]:
    """Return the object in an answer, and where it is, as "data.phone_number" or empty for a bare one.

    Only wrappers of the wanted kind are opened, and only until an object is itself of that kind: a number may hold its
    `endpoint` as an object.
    """
    path: list[str] = []
    record = body
    for _ in range(_DEEPEST_WRAPPER):
        inside = ((name, record.get(name)) for name in _OBJECTS[kind])
        inner = next(((name, value) for name, value in inside if isinstance(value, dict)), None)
        if inner is None or (kind == "number" and names_number(record)):
            break
        path.append(inner[0])
        record = inner[1]
    return ".".join(path), record


def read_amounts(body: object) -> str:
    """Return how much credit is needed and how much is there, as far as the details of an error state it in cents.

    No documented answer shows these fields; only names that leave no doubt about what they mean are read.
    """
    places = [place for _, place in _objects(body, "error", "details", "data")]
    places += [place for _, inner in _objects(body, "error") for _, place in _objects(inner, "details")]
    told = []
    for what, names in _AMOUNTS.items():
        stated = (cents(place.get(name)) for place in places for name in names)
        if (amount := next((each for each in stated if each is not None), None)) is not None:
            told.append(what.format(show_again(amount)))
    return ", ".join(told)


def names_number(record: dict[str, object]) -> bool:
    """Whether a record itself states a phone number, under any known name."""
    return any(isinstance(record.get(name), str) for name in NUMBER_NAMES)


def names_number_anywhere(body: object, depth: int = _DEEPEST_NAME) -> bool:
    """Whether an answer states a phone number in any of its objects and lists."""
    if depth == 0:
        return False
    if isinstance(body, dict):
        return names_number(body) or any(names_number_anywhere(value, depth - 1) for value in body.values())
    return isinstance(body, list) and any(names_number_anywhere(value, depth - 1) for value in body)


def read_code(body: object) -> str | None:
    """Return KrosAI's error code: from `code`, `error.code`, an `error` in capitals, or the same in `errors`.

    Only what looks like a code is returned; other text of an error is never passed on, as it may hold secrets.
    """
    if not isinstance(body, dict):
        return None
    several = body.get("errors")
    errors = [body.get("error"), *(several if isinstance(several, list) else [several])]
    candidates = [body.get("code"), *(error.get("code") if isinstance(error, dict) else error for error in errors)]
    return next((code for code in candidates if isinstance(code, str) and _CODE.fullmatch(code)), None)


def is_error(body: object, depth: int = _DEEPEST_WRAPPER) -> bool:
    """Whether an answer says that it is an error, whatever its HTTP status.

    A word or number that a record may have as well, such as the status of an endpoint, counts only in an answer
    without a record and without a filled list.
    """
    if not isinstance(body, dict):
        return False
    if body.get("success") is False or body.get("error") or _is_filled(body.get("errors")):
        return True
    if _is_failure(body.get("code")) and not isinstance(body.get("code"), str):
        return True
    inner = body.get("data")
    if depth and isinstance(inner, dict) and not inner.get("id") and is_error(inner, depth - 1):
        return True
    words = (body.get(name) for name in ("status", "code", "statusCode", "status_code"))
    return any(_is_failure(word) for word in words) and _is_bare(body)


def stated_organizations(body: object, depth: int = _DEEPEST_NAME) -> Iterator[object]:
    """Yield the organizations that an answer's records state, wherever they are; null states none.

    Only wrappers, lists and a number's endpoint are looked into: what else holds an organization's id, such as a
    provider's settings, is not KrosAI's.
    """
    if isinstance(body, list) and depth:
        for record in body:
            yield from stated_organizations(record, depth - 1)
    if isinstance(body, dict) and depth:
        yield from (body[name] for name in _ORGANIZATIONS if body.get(name) is not None and body[name] != "")
        for name in _HOLDING_RECORDS:
            if isinstance(body.get(name), dict | list):
                yield from stated_organizations(body[name], depth - 1)


def says_plainly_done(body: object, depth: int = _DEEPEST_WRAPPER) -> bool:
    """Whether nothing in an answer to an order contradicts that it was carried out.

    A word that is not known to say so counts as a contradiction: the account then has to show it.
    """
    if not isinstance(body, dict):
        return True
    for name, value in body.items():
        plain_name = _NO_LETTER.sub("", str(name).lower())
        if plain_name in _FLAGS and value in (0, "0"):  # False as well
            return False
        if plain_name in _FLAGS | _VERDICTS and not isinstance(value, dict | list) and not _is_plain(value):
            return False
        if value and _TROUBLE.search(plain_name):
            return False
    return not depth or all(says_plainly_done(body.get(name), depth - 1) for name in _ORDERS)


def _is_plain(value: object) -> bool:
    """Whether a status, code or flag says that something was done, or says nothing."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or value is None:
        return value is not False
    if isinstance(value, str):
        return _NO_LETTER.sub("", value.lower()) in _PLAIN | {""}
    return value in _HTTP_SUCCESSES or value in {0, 1}


def read_retry_after(body: object) -> float | str | None:
    """Return `retry_after` of an error's body: seconds, or a text that holds them."""
    value = body.get("retry_after") if isinstance(body, dict) else None
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _is_filled(errors: object) -> bool:
    return isinstance(errors, list | dict | str) and bool(errors)


def _is_failure(value: object) -> bool:
    """Whether a status or code means a failure: a negative number, an HTTP error, or a word for it."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            return value.strip().lower() in _FAILURES
        value = int(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and (value < 0 or value in _HTTP_ERRORS)


def _is_bare(body: dict[str, object]) -> bool:
    """Whether an answer holds no record and no filled list."""
    inner = body.get("data")
    for place in (body, inner) if isinstance(inner, dict) else (body,):
        if place.get("id") or any(isinstance(place.get(name), list) and place[name] for name in _LISTS):
            return False
    return not names_number_anywhere(body)
