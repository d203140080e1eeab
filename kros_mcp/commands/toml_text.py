"""TOML changed in one place: whatever else stands in the text stays as it is, its comments too."""

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from kros_mcp.errors import SettingsError


@dataclass(frozen=True)
class TomlText:
    """How a program writes its TOML; tables by name, and no lists of them."""

    called = "TOML"
    empty = ""

    def parse(self, text: str) -> Any:  # noqa: ANN401 - as for JSON
        """Return what a text says.

        Raises:
            SettingsError: It is not valid; it says where, and quotes nothing.
        """
        import tomlkit  # noqa: PLC0415 - one client of several needs it
        from tomlkit.exceptions import ParseError, TOMLKitError  # noqa: PLC0415 - as above

        where = ""
        try:
            return tomlkit.parse(text).unwrap()
        except ParseError as exc:
            where = f" (line {exc.line}, column {exc.col})"
        except (TOMLKitError, ValueError, RecursionError):
            pass
        raise SettingsError(f"not valid TOML{where}")

    def put(self, text: str, path: tuple[str, ...], value: object) -> str:
        """Return a text with a value at a path, in place of the old one; a new table stands at the end.

        Args:
            text: Valid.
            path: Names of tables, each in the one before. All but the last are there, or the value is a table.
            value: What shall stand there.

        Raises:
            ValueError: The text is written in a way that does not take it.
        """
        import tomlkit  # noqa: PLC0415 - one client of several needs it
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - as above

        document = tomlkit.parse(text)
        inner: Any = document
        for name in path[:-1]:
            inner = inner.get(name, {})
        if path[-1] not in inner and isinstance(value, dict):
            table: dict[str, object] = value
            for name in reversed(path):
                table = {name: table}
            before = f"{text.rstrip()}\n\n" if text.strip() else ""
            return _ended_alike(before + self.written(table), text)
        header = re.search(rf"^{_header(path[:-1])}\s*\][^\n]*\n", text, re.MULTILINE)
        if path[-1] not in inner and header is not None:
            # Not at its end, where comments may belong to the table that follows.
            return _ended_alike(text[: header.end()] + self.written({path[-1]: value}) + text[header.end() :], text)
        try:
            inner[path[-1]] = value
        except TOMLKitError:
            raise ValueError("it cannot be put in") from None
        return _ended_alike(document.as_string(), text)

    def drop(self, text: str, path: tuple[str, ...]) -> str:
        """Return a text without a table and those in it; comments right above what follows stay.

        Args:
            text: Valid.
            path: As for `put`; all of it is there.
        """
        import tomlkit  # noqa: PLC0415 - one client of several needs it

        ours = re.compile(rf"{_header(path)}\s*(\..*)?\]")
        kept: list[str] = []
        table: list[str] = []
        for line in text.splitlines(keepends=True):
            if ours.match(line) or (table and not line.lstrip().startswith("[")):
                table.append(line)
            else:
                kept += [*_end(table), line]
                table = []
        without = "".join(kept + _end(table))
        document = tomlkit.parse(text)
        inner: Any = document
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        content = document.unwrap()
        emptied = {name: value for name, value in content.items() if value or name != path[0]}
        # A table that is written on one line, or within a text of several, is left to tomlkit.
        readable = self._says(without, content) or self._says(without, emptied)
        return without if readable else _ended_alike(document.as_string(), text)

    def comments_in(self, text: str) -> list[str]:
        """Return the comments of a text, and maybe a few ends of lines that look like one."""
        return re.findall(r"#[^\r\n]*", text)

    def written(self, content: object) -> str:
        """Return content as a text of its own."""
        import tomlkit  # noqa: PLC0415 - one client of several needs it

        document = tomlkit.document()
        for name, value in dict(content).items():  # type: ignore[call-overload] # a table, as TOML is
            document.add(name, _table(value))
        return document.as_string()

    def _says(self, text: str, content: object) -> bool:
        try:
            return bool(self.parse(text) == content)
        except SettingsError:
            return False


def _table(value: object) -> Any:  # noqa: ANN401 - what tomlkit takes
    """Return a table whose name is not written where it holds nothing but tables."""
    import tomlkit  # noqa: PLC0415 - one client of several needs it

    if not isinstance(value, dict):
        return value
    table = tomlkit.table(is_super_table=bool(value) and all(isinstance(inner, dict) for inner in value.values()))
    for name, inner in value.items():
        table.append(name, _table(inner))
    return table


def _header(path: tuple[str, ...]) -> str:
    """Return a pattern for how the line begins that names a table, up to its end."""
    names = r"\s*\.\s*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in path)
    return rf"[ \t]*\[\s*{names}"


def _end(table: list[str]) -> list[str]:
    """Return the comments and blank lines at the end of a table, if there are comments: they belong to what follows."""
    lines = list(takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), reversed(table)))
    return lines[::-1] if any(line.strip() for line in lines) else []


def _ended_alike(text: str, like: str) -> str:
    return re.sub(r"(?<!\r)\n", "\r\n", text) if "\r\n" in like else text
