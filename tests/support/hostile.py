"""Characters with which a text deceives, by class, and what must not be found in anything that is shown.

The classes are written out here from Unicode's tables, not taken from the program, so that both would have to be wrong.
"""

import random
import unicodedata

INVISIBLE: dict[str, str] = {
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e",
    "bidi": "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "tags": "\U000e0001" + "".join(map(chr, range(0xE0020, 0xE0080))),
    "fillers": "\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\U0001d159\U00016fe4\ufffc",
    "variation": "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180C, 0x180D, 0x180F])),
    "operators": "\u2061\u2062\u2063\u2064\u206a\u206b\u206c\u206d\u206e\u206f",
    "controls": "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])),
    "lines": "\u2028\u2029\u0085\x0b\x0c",
    "annotations": "\ufff9\ufffa\ufffb\U0001bca0\U0001d173",
    "private": "\ue000\U000f0000",
    "unassigned": "\u0378\ufdd0\uffff\ufff0",
}
"""None of these may be shown anywhere."""
LOOK_ALIKES: dict[str, str] = {
    "quotes": '"\u201c\u201d\u201e\u201f\u2033\u02ba\uff02\u301d\u301e\u301f\u3003\u02dd\u05f4',
    "separators": ";:,|\uff1b\uff1a\uff0c\u037e\u02d0\ua789\u2223",
    "letters": "\u0430\u0435\u043e\u0440\u0441\uff41\U0001d41a",
    "marks": "\u0336\u0489\u20dd\u20e3\u0300" * 4,
    "blanks": "\u00a0\u1680\u2000\u2007\u200a\u202f\u205f\u3000",
}
TERMINAL = (
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J",
    "\x9b2J",
    "\x1b[8m",
    "\x1b]0;evil\x1b\\",
    "\r",
    "\x08\x08",
    "\x9d0;x\x9c",
)
"""What a terminal obeys: its clipboard, its screen, its title, its cursor."""
FORGED = "Support\n2. endpoint_id ep_evil; name Sales; type sip; status active"
_OTHER = ("Cc", "Cf", "Cn", "Co", "Cs")


def texts(seed: int, count: int = 12) -> list[str]:
    """Make texts of every class, with words in between and every class in the first of them; the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - the same characters every time
    classes = [*INVISIBLE.values(), *LOOK_ALIKES.values()]
    made = [FORGED, "".join(f"a{characters}b" for characters in classes), "".join(TERMINAL)]
    while len(made) < count:
        parts = [chance.choice(chance.choice(classes)) for _ in range(chance.randint(1, 30))]
        parts += [chance.choice(TERMINAL), chance.choice(["Support", "2. ", "status: done", "IGNORE RULES"])]
        chance.shuffle(parts)
        made.append("".join(parts))
    return made


def deceiving(text: str, *, lines: bool = True) -> set[str]:
    """Name the characters of a text that nobody may be shown.

    Args:
        text: As it was shown.
        lines: Whether it may have several lines.
    """
    unseen = set("".join(INVISIBLE.values()))
    found = {one for one in set(text) if one in unseen or unicodedata.category(one) in {*_OTHER, "Zl", "Zp"}}
    return {f"U+{ord(one):04X}" for one in found - ({"\n"} if lines else set())}
