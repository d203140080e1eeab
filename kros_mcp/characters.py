"""Which characters a person sees as they are, and what is done with the others; pure.

A character can be invisible, turn the text around it, lie over its neighbours, or command a terminal. `visible` drops
such characters from a text; `Harmless` writes to a terminal and escapes them, whoever they came from.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any, Final, TextIO

_IGNORABLE: Final = (
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0),
    *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
)
"""Unicode's Default_Ignorable_Code_Point, but for what is of category C: fillers, joiners, variation selectors."""
_BLANK: Final = (0x2800, 0xFFFC, 0x13441, 0x13442, 0x16FE4, 0x1D159)
"""Symbols and letters that are drawn as nothing, as the braille pattern without dots."""
_INVISIBLE: Final = frozenset(map(chr, (*_IGNORABLE, *_BLANK)))
_MOST_MARKS: Final = 4
"""Marks over one letter; no script of people's needs more, and a stack of them covers the lines around it."""
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")
_NOT_PLAIN_BUT_LINE_ENDS: Final = re.compile(r"\r\n|[^\n -~]")
_NOT_PLAIN_BUT_COLOURS: Final = re.compile(r"\x1b\[(?:0|1|2|3[1-6])m|\r\n|[^\n -~]")
"""Leaves the colours that `commands.console` sets, and the line ends of CSV."""


@lru_cache(maxsize=4096)
def is_seen(character: str) -> bool:
    """Whether a character is drawn, and does nothing else: no control, format, filler or unassigned character."""
    return character.isprintable() and character not in _INVISIBLE


def visible(text: str) -> str:
    """Return a text on one line, with single blanks, and without every character that is not seen."""
    if text.isascii() and text.isprintable():  # nothing in it to drop, as in nearly every field
        return " ".join(text.split())
    kept: list[str] = []
    marks = _MOST_MARKS  # there is nothing yet that a mark could stand on
    for character in text:
        if character.isspace():
            kept.append(" ")
            marks = _MOST_MARKS
        elif is_seen(character):
            marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
            if marks <= _MOST_MARKS:
                kept.append(character)
    return " ".join("".join(kept).split())


class Harmless:
    """A text stream that passes on what is seen, and line ends; all else becomes an escape of JSON's, as for U+202E.

    So a document of JSON stays what it is. Everything but writing is the inner stream's.

    Args:
        inner: Where it writes.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._not_plain = _NOT_PLAIN_BUT_COLOURS if inner.isatty() else _NOT_PLAIN_BUT_LINE_ENDS

    def write(self, text: str) -> int:
        """Write a text; returns how many characters it had."""
        self._inner.write(self._not_plain.sub(_passed, text))
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 - as TextIO has it
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._inner, name)


def escaped(text: str) -> str:
    """Return a text with an escape in place of every character that is not seen; line ends are escaped, too."""
    return _NOT_PLAIN.sub(_passed, text).replace("\n", "\\n")


def _passed(found: re.Match[str]) -> str:
    text = found.group()
    if len(text) > 1 or is_seen(text):
        return text
    code = ord(text)
    if code <= 0xFFFF:  # noqa: PLR2004 - the last character that UTF-16 writes as one
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
