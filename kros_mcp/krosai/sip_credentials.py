"""SIP credentials, which no model and no log may see (docs/krosai.md, section 4)."""

import re
from typing import Final, NoReturn

from kros_mcp.characters import how_many

_NAME: Final = re.compile(r"[a-z](?:[a-z]|[_.-](?=[a-z])){0,39}")
_NO_LETTER: Final = re.compile(r"[^a-z]")
_KNOWN: Final = frozenset(
    {"address", "authuser", "authusername", "credentials", "domain", "host", "ip", "ipaddress", "password", "port"}
    | {"protocol", "proxy", "realm", "registrar", "server", "transport", "uri", "user", "username"}
)
"""How a field of SIP credentials may be called, without "sip" before it; none of them is documented for certain."""


class SipCredentials:
    """What a SIP client needs to register; only the names of the fields are shown, never the values (section 4).

    The shape is not documented, so the values stay as KrosAI sent them. `repr`, `str`, copies, `asdict` and pickling
    reveal nothing; `reveal` is for the person at the terminal.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, object]) -> None:
        self._values = dict(values)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that KrosAI sent, in its order; those that are not known are counted at the end.

        A secret may stand where a name should.
        """
        known = [name for name in self._values if _is_known(name)]
        others = len(self._values) - len(known)
        return (*known, *([how_many(others, "other")] if others else []))

    def reveal(self) -> dict[str, object]:
        """Return the values themselves. Never call this where a model or a log can see the result."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"SipCredentials(fields={self.fields!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SipCredentials) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __deepcopy__(self, memo: object) -> "SipCredentials":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("SIP credentials are not written down.")


def _is_known(name: str) -> bool:
    lower = name.lower()
    return _NAME.fullmatch(lower) is not None and _NO_LETTER.sub("", lower).removeprefix("sip") in _KNOWN


def read_sip(record: dict[str, object]) -> SipCredentials | None:
    """Return all fields of a record whose name begins with "sip", and the content of those that are objects."""
    values: dict[str, object] = {}
    for name, value in record.items():
        if not name.lower().startswith("sip") or value is None:
            continue
        values.update(value if isinstance(value, dict) else {name: value})
    return SipCredentials(values) if values else None
