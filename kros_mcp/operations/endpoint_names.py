"""How an endpoint is called in sentences: by its name where that is plain, else by its type; pure.

A name is upstream text: somebody may have written an order into it. So it stands in quotation marks, and where a person
decides, the end of its id stands beside it, since two endpoints may have one name.
"""

import re
from collections.abc import Iterable
from typing import Final

from kros_mcp.krosai import CallEndpoint, plain_name, quoted, same_name

_END: Final = 4
_ID: Final = re.compile(r" \(id …[!-~]{1,4}\)")
"""What `told` adds; no plain name holds "…"."""


def said(name: str | None, kind: str = "") -> str:
    """Return an endpoint as it is said aloud, as in `"Support agent"` or `a livekit endpoint`.

    Args:
        name: Its name, as KrosAI has it.
        kind: Its type, as `kind_of` returns it; empty if it is not known.
    """
    if plain := plain_name(name):
        return quoted(plain)
    article = "an" if kind[:1] in tuple("aeiou") else "a"
    return f"{article} {kind} endpoint" if kind else "an endpoint"


def told(endpoint_id: str, name: str | None, kind: str = "") -> str:
    """Return an endpoint so that no other is meant, as in `"Support agent" (id …8f2c)`."""
    return f"{said(name, kind)} (id …{endpoint_id[-_END:]})"


def without_ids(text: str) -> str:
    """Return what `told` has written, or a sentence with it, without the ends of ids."""
    return _ID.sub("", text)


def kind_of(endpoint: CallEndpoint | None) -> str:
    """Return the type of an endpoint where it is a plain word; else empty."""
    return plain_kind(endpoint.type if endpoint else None)


def plain_kind(name: str | None) -> str:
    """Return a type where it is a plain word; else empty."""
    return name if name and name.replace("_", "").isalnum() and name.isascii() else ""


def of(endpoint_id: str, endpoint: CallEndpoint | None, *, spoken: bool = False) -> str:
    """Return an endpoint as it is told, or said aloud; None for one of which nothing was read."""
    name, kind = (endpoint.name, kind_of(endpoint)) if endpoint else (None, "")
    return said(name, kind) if spoken else told(endpoint_id, name, kind)


def called(text: str, endpoints: Iterable[CallEndpoint]) -> list[CallEndpoint]:
    """Return the endpoints that have a name, in capitals or not."""
    return [endpoint for endpoint in endpoints if same_name(text, endpoint.name)]


def unplain(endpoint_id: str, kind: str = "") -> str:
    """Warn of an endpoint whose name is not plain, so that it is called otherwise."""
    what = told(endpoint_id, None, kind)
    return f"{what[0].upper()}{what[1:]} has no name that can be read aloud; list_endpoints shows it as it is."
