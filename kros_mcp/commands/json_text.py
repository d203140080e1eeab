"""JSON, with or without comments, changed in one place: whatever else stands in the text stays as it is."""

import json
import re
from dataclasses import dataclass
from typing import Any

from kros_mcp.errors import SettingsError

_STRING = r'"(?:[^"\\]|\\.)*+"'
_COMMENT = r"//[^\n\r]*+|/\*(?:[^*]|\*(?!/))*+\*/"
_STRING_OR_COMMENT = re.compile(rf"{_STRING}|{_COMMENT}", re.DOTALL)
_OR_LAST_COMMA = re.compile(rf"{_STRING}|{_COMMENT}|,(?=(?:\s|{_COMMENT})*+[}}\]])", re.DOTALL)
_BLANK = re.compile(r"[ \t\r\n]*")
_INDENT = re.compile(r"\n([ \t]+)\S")
_LINE_START = re.compile(r"(?:^|\n)([ \t]*)\Z")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class _Item:
    """One member of an object, or one element of a list, whose name is its `id`."""

    name: str
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class JsonText:
    """How a program writes its JSON.

    Args:
        comments: Comments are allowed, and commas after the last item.
    """

    comments: bool = False
    called = "JSON"
    empty = "{}\n"

    def parse(self, text: str) -> Any:  # noqa: ANN401 - JSON
        """Return what a text says.

        Raises:
            SettingsError: It is not valid, or names something twice; it says where, and quotes nothing.
        """
        where = ""
        try:
            return json.loads(self._plain(text), object_pairs_hook=_once, parse_constant=_no_constant)
        except json.JSONDecodeError as exc:
            where = f" (line {exc.lineno}, column {exc.colno})"
        except (ValueError, RecursionError):
            pass
        # Raised out here, since the decoder's own error holds the whole text, keys included.
        raise SettingsError(f"not valid JSON{where}")

    def put(self, text: str, path: tuple[str, ...], value: object) -> str:
        """Return a text with a value at a path, in place of the old one or after the last item beside it.

        Args:
            text: Valid, and an object.
            path: Names of members, each in the one before; in a list the `id` of an element. All but the last are
                there.
            value: What shall stand there.
        """
        at = self._find(text, path[:-1])
        items, close = _items(self._plain(text), at)
        there = next((item for item in items if item.name == path[-1]), None)
        line = "\r\n" if "\r\n" in text else "\n"
        unit = found[1] if (found := _INDENT.search(text)) else "  "
        if there is not None:
            return text[: there.value] + _written(value, _indent_at(text, there.start), unit, line) + text[there.end :]
        outer = _indent_at(text, at)
        starts_line = bool(items) and _LINE_START.search(text[: items[0].start]) is not None
        inner = _indent_at(text, items[0].start) if starts_line else outer + unit
        written = _written(value, inner, unit, line)
        item = written if text[at] == "[" else f"{json.dumps(path[-1], ensure_ascii=False)}: {written}"
        end = items[-1].end if items else at + 1
        comma = "," if items and "," not in self._without_comments(text)[end:close] else ""
        between = text[end:close]
        kept = between.rstrip()
        closing = between[len(kept) :] if "\n" in between[len(kept) :] else line + outer
        return text[:end] + comma + kept + line + inner + item + closing + text[close:]

    def drop(self, text: str, path: tuple[str, ...]) -> str:
        """Return a text without what stands at a path, its comma and the line that it leaves empty.

        Args:
            text: Valid, and an object.
            path: As for `put`; all of it is there.
        """
        items, close = _items(self._plain(text), self._find(text, path[:-1]))
        number = next(number for number, item in enumerate(items) if item.name == path[-1])
        item = items[number]
        following = items[number + 1].start if number + 1 < len(items) else close
        bare = self._without_comments(text)
        cuts = [(_line_before(text, item.start), item.end)]
        if (comma := bare.find(",", item.end, following)) >= 0:
            cuts.append((comma, comma + 1))
        elif number:
            comma = bare.rfind(",", items[number - 1].end, item.start)
            cuts.append((comma, comma + 1))
        for start, end in sorted(cuts, reverse=True):
            text = text[:start] + text[end:]
        return text

    def comments_in(self, text: str) -> list[str]:
        """Return the comments of a text that may hold some."""
        found = _STRING_OR_COMMENT.findall(text) if self.comments else []
        return [each for each in found if not each.startswith('"')]

    def written(self, content: object) -> str:
        """Return content as a text of its own."""
        return json.dumps(content, indent=2, ensure_ascii=False)

    def _find(self, text: str, path: tuple[str, ...]) -> int:
        """Return where the object or the list at a path begins."""
        plain = self._plain(text)
        at = _past_blanks(plain, 0)
        for name in path:
            at = next(item.value for item in _items(plain, at)[0] if item.name == name)
        return at

    def _plain(self, text: str) -> str:
        """Return a text as JSON without comments and last commas, everything at its place."""
        return _OR_LAST_COMMA.sub(_blanked, text) if self.comments else text

    def _without_comments(self, text: str) -> str:
        return _STRING_OR_COMMENT.sub(lambda found: re.sub(r"[^\r\n]", " ", found[0]), text)


def _items(plain: str, at: int) -> tuple[list[_Item], int]:
    """Return the items of the object or list that begins at a place, and where it ends."""
    items = []
    here = _past_blanks(plain, at + 1)
    while plain[here] not in "]}":
        start = value_at = here
        name: Any = None
        if plain[at] == "{":
            name, here = _DECODER.raw_decode(plain, here)
            value_at = _past_blanks(plain, _past_blanks(plain, here) + 1)  # past the colon
        value, end = _DECODER.raw_decode(plain, value_at)
        if plain[at] == "[" and isinstance(value, dict):
            name = value.get("id")
        items.append(_Item(str(name), start, value_at, end))
        here = _past_blanks(plain, end)
        if plain[here] == ",":
            here = _past_blanks(plain, here + 1)
    return items, here


def _past_blanks(plain: str, at: int) -> int:
    found = _BLANK.match(plain, at)
    return found.end() if found else at


def _indent_at(text: str, at: int) -> str:
    """Return the blanks that the line of a place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line_before(text: str, at: int) -> int:
    """Return where the line of a place begins, its line break included, if only blanks stand before the place."""
    found = _LINE_START.search(text[:at])
    if found is None:
        return at
    return found.start() - 1 if text[: found.start()].endswith("\r") else found.start()


def _written(value: object, indent: str, unit: str, line: str) -> str:
    text = json.dumps(value, indent=unit, ensure_ascii=False, allow_nan=False)
    return text.replace("\n", line + indent)


def _blanked(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else re.sub(r"[^\r\n]", " ", found[0])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: one of the two would be lost."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice")
    return content


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")
