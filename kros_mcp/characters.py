"""Which characters a person sees as they are, and what is done with the others; no I/O but that of `EscapingStream`.

A character can be invisible, reverse the text around it, cover its neighbours, or control a terminal. `visible` drops
such characters from a text; `EscapingStream` writes to a terminal and escapes them.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TextIO

_IGNORABLE: Final = (
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, *range(0xFE00, 0xFE10), 0xFFA0),
    *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
)
"""Unicode's Default_Ignorable_Code_Point without category C: fillers, joiners, variation selectors."""
_BLANK: Final = (0x2800, 0xFFFC, 0x13441, 0x13442, 0x16FE4, 0x1D159)
"""Symbols and letters that are drawn as nothing, such as the braille pattern without dots."""
_INVISIBLE: Final = frozenset(map(chr, (*_IGNORABLE, *_BLANK)))
_MOST_MARKS: Final = 4
"""Marks on one letter; no human script needs more, and a stack of them covers the lines around it."""
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")
_NOT_PLAIN_BUT_LINE_ENDS: Final = re.compile(r"\r\n|[^\n -~]")
_NOT_PLAIN_BUT_COLOURS: Final = re.compile(r"\x1b\[(?:0|1|2|3[1-6])m|\r\n|[^\n -~]")
"""Spares the colours of our own commands, and the line ends of CSV."""


@lru_cache(maxsize=4096)
def is_seen(character: str) -> bool:
    """Whether a character is drawn and does nothing else: no control, format, filler or unassigned character."""
    return character.isprintable() and character not in _INVISIBLE


def visible(text: str) -> str:
    """Return a text on one line, with single blanks and without characters that are not seen."""
    if text.isascii() and text.isprintable():  # nothing to drop, as in nearly every field
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


class EscapingStream:
    """A text stream that passes on visible characters and line ends, and writes the others as JSON escapes.

    So a JSON document keeps its meaning. Everything but writing is done by the inner stream.

    Args:
        inner: The stream to write to.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._not_plain = _NOT_PLAIN_BUT_COLOURS if inner.isatty() else _NOT_PLAIN_BUT_LINE_ENDS

    def write(self, text: str) -> int:
        """Write a text, and return how many characters it had."""
        self._inner.write(self._not_plain.sub(_seen_or_escaped, text))
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 - as TextIO has it
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._inner, name)


def escaped(text: str) -> str:
    """Return a text with an escape for every character that is not seen, line ends included."""
    return _NOT_PLAIN.sub(_seen_or_escaped, text).replace("\n", "\\n")


def _seen_or_escaped(found: re.Match[str]) -> str:
    text = found.group()
    if len(text) > 1 or is_seen(text):
        return text
    code = ord(text)
    if code <= 0xFFFF:  # noqa: PLR2004 - the last character that UTF-16 writes as one
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def joined(words: Iterable[str]) -> str:
    """Return words as a sentence lists them, as in "in Kenya, in Ghana and in Egypt"."""
    each = list(words)
    return " and ".join(filter(None, [", ".join(each[:-1]), *each[-1:]]))


def how_many(count: int, noun: str) -> str:
    """Return how many there are of something, as in "1 number" or "1,200 numbers"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
