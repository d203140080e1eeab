"""Which text of KrosAI may be shown, in which form and where. No other text of KrosAI is shown anywhere.

- Ids: exact, 1 to 200 printable ASCII characters without blanks (`is_id`), else the record is unreadable. In results;
  in sentences and prompts quoted, a long one by its end (`quoted_id`).
- Names of endpoints: visible characters, at most 40, the cut marked (`name`). In results, quoted in their text; in a
  sentence, a prompt or a page only where they are plain (`plain_name`), quoted; never in a log or a notice.
- Types, statuses, capabilities: lower-case letters, digits and `_`, at most 40 (`word`). Anywhere.
- Area codes: at most 12 digits (`digits`). In results.
- Error codes: those of the documented list (`refusals`), else the code of our own error. Anywhere.
- Names of SIP fields: those that are known (`sip_credentials`), the others counted. In results.
- Values of SIP fields: as they are. Only on a terminal, with escapes for invisible characters.
- Numbers, countries, currencies, cents: in their own strict forms (`numbering`, `money`). Anywhere.
- Messages, headers, bodies and everything else: never.
- The API key, wherever it is echoed in any of these: never. An answer is read without it (`Mask`).

Anyone with access to the dashboard can write names in KrosAI. They may try to reorder, hide or break the lines around
them, or to pass for our own words.
"""

import re
import unicodedata
from typing import Final

from kros_mcp.characters import visible

LONGEST_NAME: Final = 40
_LONGEST_WORD: Final = 40
_ID: Final = re.compile(r"[!-~]{1,200}")
_CUT: Final = "…"
_PLAIN: Final = re.compile(r"[^\W_](?:[^\W_]|[ \-_.&'()#+/])*")
_LEFT_TO_RIGHT: Final = frozenset({"L", "EN", "ES", "CS", "ET", "ON", "WS"})
_AREA: Final = re.compile(r"[0-9]{1,12}")
_BREAK: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NOT_OF_A_WORD: Final = re.compile(r"[^a-z0-9_]")
_MASKED: Final = "***"
_SHORTEST_SECRET: Final = 8
_LOWER: Final = bytes(range(256)).lower()
_NEITHER_LETTER_NOR_DIGIT: Final = bytes(each for each in range(256) if not bytes((each,)).isalnum())
_QUOTES: Final = str.maketrans(
    dict.fromkeys('"\u02ba\u02dd\u02ee\u02f5\u02f6\u05f4\u1cd3\u201c\u201d\u201e\u201f\u2033\u2036\u275d\u275e', "'")
    | dict.fromkeys("\u3003\u301d\u301e\u301f\uff02", "'")
)
"""Quotation marks and what looks like one: they would seem to end the quotation that they are in."""
_MARKUP: Final = str.maketrans("<>[]`*_~", "()()'·--")
"""What marks up a text that stands in a line of ours, in Markdown or HTML, and what is shown in its place."""


def is_id(text: str) -> bool:
    """Whether a text can be an opaque id: 1 to 200 printable ASCII characters, no blanks."""
    return _ID.fullmatch(text) is not None


def clean(text: str, limit: int = 60) -> str:
    """Return a text on one line, without invisible characters, cut at `limit`."""
    return visible(text)[:limit].strip()


def name(text: str) -> str | None:
    """Return a name as it may be shown: visible, at most 40 characters, the cut marked; None if nothing is left."""
    return shortened(text.translate(_QUOTES), LONGEST_NAME) or None


def same_name(one: str, other: str | None) -> bool:
    """Whether two texts are one name as it may be shown, in capitals or not."""
    mine, theirs = name(one), name(other or "")
    return mine is not None and theirs is not None and mine.casefold() == theirs.casefold()


def shortened(text: str, limit: int) -> str:
    """Return a text on one line, without characters that are not seen, of at most `limit`, the cut marked."""
    seen = visible(text)
    return seen if len(seen) <= limit else seen[: limit - 1].rstrip() + _CUT


def unmarked(text: str) -> str:
    """Return a text without quotation marks, and without what Markdown or HTML would take for markup."""
    return text.translate(_QUOTES).translate(_MARKUP)


def quoted(text: str) -> str:
    """Return a text in quotation marks, without any character that could seem to end the quotation."""
    return f'"{text.translate(_QUOTES)}"'


def plain_name(text: str | None) -> str:
    """Return a name that can be read aloud in a sentence: letters, digits and few signs, at most 40; else empty."""
    if not text or len(text) > LONGEST_NAME or not _PLAIN.fullmatch(text):
        return ""
    return text if all(unicodedata.bidirectional(each) in _LEFT_TO_RIGHT for each in text) else ""


def quoted_id(opaque_id: str) -> str:
    """Return an id in quotation marks, for a sentence; of one over 40 characters only the end, after "…"."""
    return quoted(opaque_id if len(opaque_id) <= LONGEST_NAME else _CUT + opaque_id[1 - LONGEST_NAME :])


def word(text: str) -> str | None:
    """Return a word of an open set in one spelling, "toll_free" for "Toll-Free" and "tollFree"; None for no word."""
    spelt = _BREAK.sub("_", visible(text)).lower().replace("-", "_").replace(" ", "_")
    return _NOT_OF_A_WORD.sub("", spelt)[:_LONGEST_WORD] or None


def digits(text: str) -> str | None:
    """Return an area code; None for anything but digits."""
    bare = text.strip()
    return bare if _AREA.fullmatch(bare) else None


class Mask:
    """Takes a secret out of an answer before anything of it is read, in whichever letters and between whichever signs.

    What is left of an id stays one, so that its record is seen, and no request that names it finds anything.

    Args:
        secret: The API key. One of fewer than eight letters and digits is no secret, and nothing is taken out.
    """

    def __init__(self, secret: str) -> None:
        self._bare = _bare(secret)
        self._whole = re.compile(re.escape(secret), re.IGNORECASE)

    def over(self, content: bytes, body: object) -> object:
        """Return the body of an answer without the secret.

        Args:
            content: The answer as it came, in which the secret is looked for first.
            body: What was parsed from it.
        """
        if len(self._bare) < _SHORTEST_SECRET:
            return body
        if b"\\" not in content and self._bare.encode() not in content.translate(_LOWER, _NEITHER_LETTER_NOR_DIGIT):
            return body
        return self._masked(body)

    def _masked(self, value: object) -> object:
        if isinstance(value, str):
            if self._bare not in _bare(value):
                return value
            masked = self._whole.sub(_MASKED, value)
            return _MASKED if self._bare in _bare(masked) else masked
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        if isinstance(value, dict):
            return {self._masked(name): self._masked(each) for name, each in value.items()}
        return value


def _bare(text: str) -> str:
    """Return the letters and digits of ASCII in a text, in small letters."""
    return text.encode("ascii", "ignore").translate(_LOWER, _NEITHER_LETTER_NOR_DIGIT).decode()
