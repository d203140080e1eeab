"""Where the payload stands in an answer of KrosAI (krosai-api.md, section 9, rules 1, 2, 6 and 7).

The two documents wrap lists and objects differently, so every wrapper known from any source is tried. What
fits none is a ProtocolError and never an empty list: from "no numbers" the server would conclude something.
"""

import re
from typing import Final, Literal

from kros_mcp.errors import ProtocolError

ListKind = Literal["owned", "available", "endpoints"]
ObjectKind = Literal["number", "endpoint"]

NUMBER_NAMES: Final = ("e164", "number", "phone_number", "phoneNumber")

_ARRAYS: Final = ("phone_numbers", "numbers", "available", "inventory", "data", "items", "results", "list")
_ARRAYS_OF: Final[dict[ListKind, tuple[str, ...]]] = {
    "owned": _ARRAYS,
    "available": _ARRAYS,
    "endpoints": ("endpoints", "data", "items", "results", "list"),
}
_OBJECTS: Final[dict[ObjectKind, tuple[str, ...]]] = {
    "number": ("data", "phone_number", "number", "phoneNumber"),
    "endpoint": ("data", "endpoint"),
}
_TOTALS: Final = ("total", "totalCount", "total_count")
_DEEPEST_WRAPPER: Final = 3
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,40}")


def read_list(body: object, kind: ListKind) -> tuple[list[object], int | None]:
    """Find the list in an answer, and the total that KrosAI states, or None.

    Raises:
        ProtocolError: No list stands where one is known to stand.
    """
    found = _array(body, _ARRAYS_OF[kind])
    if found is None and isinstance(body, dict):
        found = _array(body.get("data"), _ARRAYS_OF[kind])
    if found is None:
        raise ProtocolError("KrosAI answered with something that is not a list in any known form.")
    return found, _total(body)


def read_object(body: object, kind: ObjectKind) -> dict[str, object]:
    """Find the object in an answer.

    A number that carries its `endpoint` as an object is the number: only wrappers of the kind asked for are
    opened, and only while the object at hand is not one itself.

    Raises:
        ProtocolError: The answer is not an object.
    """
    if not isinstance(body, dict):
        raise ProtocolError("KrosAI answered with something that is not an object.")
    record: dict[str, object] = body
    for _ in range(_DEEPEST_WRAPPER):
        inside = (record.get(name) for name in _OBJECTS[kind])
        inner = next((value for value in inside if isinstance(value, dict)), None)
        if inner is None or (kind == "number" and names_number(record)):
            break
        record = inner
    return record


def names_number(record: dict[str, object]) -> bool:
    """Tell whether a record itself states a phone number, under any known name."""
    return any(isinstance(record.get(name), str) for name in NUMBER_NAMES)


def read_code(body: object) -> str | None:
    """Find KrosAI's error code: in `code`, in `error.code`, or an `error` in capitals.

    Only what looks like a code is given; other text of an error is never passed on, as it may carry secrets.
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    inner = error.get("code") if isinstance(error, dict) else error
    for candidate in (body.get("code"), inner):
        if isinstance(candidate, str) and _CODE.fullmatch(candidate):
            return candidate
    return None


def is_error(body: object) -> bool:
    """Tell whether an answer says that it is an error, whatever its HTTP status."""
    if not isinstance(body, dict):
        return False
    return body.get("success") is False or bool(body.get("error"))


def read_retry_after(body: object) -> float | None:
    """Find `retry_after` in an error's body, in seconds."""
    value = body.get("retry_after") if isinstance(body, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _array(body: object, names: tuple[str, ...]) -> list[object] | None:
    """Take a bare array, or the first array under one of the names."""
    if isinstance(body, list):
        return body
    if not isinstance(body, dict):
        return None
    return next((body[name] for name in names if isinstance(body.get(name), list)), None)


def _total(body: object) -> int | None:
    """Find the stated total at the top or one level inside `data`."""
    if not isinstance(body, dict):
        return None
    for place in (body, body.get("data")):
        if not isinstance(place, dict):
            continue
        for name in _TOTALS:
            value = place.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
    return None
