"""Text that came from KrosAI, made safe to show."""

import re
import unicodedata
from typing import Final

_ID: Final = re.compile(r"[!-~]{1,200}")


def is_id(text: str) -> bool:
    """Whether a text can be an opaque id: 1 to 200 printable ASCII characters, no blanks."""
    return _ID.fullmatch(text) is not None


def clean(text: str, limit: int = 60) -> str:
    """Drop control, bidi, format and other invisible characters, collapse whitespace, cut at `limit`.

    Names in KrosAI are written by anyone who can reach the dashboard, so they may try to reorder,
    hide or break the lines around them (design.md, "How a person says yes").
    """
    if text.isascii() and text.isprintable():  # nothing in it to drop, as in nearly every field
        return " ".join(text.split())[:limit].strip()
    kept = (
        " " if character.isspace() else character
        for character in text
        if character.isspace() or not unicodedata.category(character).startswith("C")
    )
    return " ".join("".join(kept).split())[:limit].strip()
