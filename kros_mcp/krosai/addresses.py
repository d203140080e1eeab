"""How the parts of an address are written."""

from urllib.parse import quote

from kros_mcp.errors import InvalidArgumentError


def given(**query: str | int) -> dict[str, str]:
    """Keep the query parameters that are given; 0 is given, an empty text is not."""
    return {name: str(value) for name, value in query.items() if value != ""}


def route(path: str) -> str:
    """Write a path without its id, which is its second segment if it has one."""
    collection, _, opaque_id = path[1:].partition("/")
    return f"/{collection}/{{id}}" if opaque_id else path


def segment(opaque_id: str) -> str:
    """Encode an id as one segment of a path, whatever it holds (section 2, "IDs").

    Raises:
        InvalidArgumentError: The segment would name another resource.
    """
    encoded = quote(opaque_id, safe="", errors="replace")
    if encoded in {"", ".", ".."}:
        raise InvalidArgumentError("That is not an id.")
    return encoded
