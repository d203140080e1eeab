"""How an endpoint is called in sentences: by its name where that is plain, else by its type; pure.

A name is upstream text: somebody may have written an order into it. So it stands in quotation marks, and where a person
decides, the end of its id stands beside it, since two endpoints may have one name.
"""

from typing import Final

from kros_mcp.krosai import plain_name, quoted

_END: Final = 4


def said(name: str | None, kind: str = "") -> str:
    """Return an endpoint as it is said aloud, as in `"Support agent"` or `a livekit endpoint`.

    Args:
        name: Its name, as KrosAI has it.
        kind: Its type, as `acts.proposal.kind` returns it; empty if it is not known.
    """
    if plain := plain_name(name):
        return quoted(plain)
    article = "an" if kind[:1] in tuple("aeiou") else "a"
    return f"{article} {kind} endpoint" if kind else "an endpoint"


def told(endpoint_id: str, name: str | None, kind: str = "") -> str:
    """Return an endpoint so that no other is meant, as in `"Support agent" (id …8f2c)`."""
    return with_end(said(name, kind), endpoint_id)


def with_end(called: str, endpoint_id: str) -> str:
    """Return what an endpoint is called, with the end of its id."""
    return f"{called} (id …{endpoint_id[-_END:]})"
