"""Changes to the tokens file, in which the comments, the order and the spelling of its people survive.

Every change is locked, read back before it is written, and written whole. It needs the extra `http`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import tomlkit
from filelock import FileLock
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Table

from kros_mcp.commands.atomic_file import write_whole
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.http.tokens import Entry, parse_tokens


class TokensText:
    """A tokens file that is being changed, while no other command changes it.

    Args:
        path: The file itself, not a link to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_text(path)
        self.entries = parse_tokens(self._text, path)

    def add(self, name: str, digest: str, values: Mapping[str, object]) -> Entry:
        """Add a caller at the end of the file, with the hash of a token; return the entry as it is read back.

        Raises:
            SettingsError: The file is written in a way that cannot be added to, or would not be read back.
        """
        refusal = self._refusal("added to; edit it")
        document = _parsed(f"{self._text.rstrip()}\n" if self._text.strip() else "", refusal)
        if "tokens" not in document:
            document["tokens"] = tomlkit.table(is_super_table=True)
        tokens = document["tokens"]
        if not isinstance(tokens, Table):
            raise refusal
        entry = tomlkit.table()
        entry.add("sha256", digest)
        for key, value in values.items():
            entry.add(key, value)
        if self._text.strip():
            entry.trivia.indent = "\n"  # a blank line before it
        tokens.append(name, entry)
        return self._write(document, name, digest, refusal)[name]

    def give_hash(self, name: str, digest: str) -> Entry:
        """Replace the hash of a caller's token; return the entry as it is read back.

        Raises:
            SettingsError: The file would not be read back so.
        """
        refusal = self._refusal("added to; edit it")
        document = _parsed(self._text, refusal)
        document["tokens"][name]["sha256"] = digest
        return self._write(document, name, digest, refusal)[name]

    def remove(self, name: str) -> None:
        """Remove a caller with the comments inside its table; those right above the next one belong to that.

        Raises:
            SettingsError: The caller has no table of its own.
        """
        refusal = self._refusal(f"taken from; delete {name}")
        document = _parsed(self._text, refusal)
        tokens = document["tokens"]
        if not isinstance(tokens, Table) or not isinstance(tokens[name], Table):
            raise refusal
        # For tomlkit, the comments right above the next table are the last lines of this one.
        lines = [item for _, item in tokens[name].value.body]
        comments = [line.as_string() for line in takewhile(lambda item: isinstance(item, Comment), reversed(lines))]
        names = list(tokens)
        following = next(iter(names[names.index(name) + 1 :]), None)
        if following is not None and isinstance(tokens[following], Table):
            tokens[following].trivia.indent = "".join(reversed(comments)) + tokens[following].trivia.indent
        tokens.remove(name)
        self._write(document, name, None, refusal)

    def _write(
        self, document: tomlkit.TOMLDocument, name: str, digest: str | None, refusal: KrosError
    ) -> dict[str, Entry]:
        """Write the file if `name` is read back with this hash, or not at all, and everybody else as before."""
        text = document.as_string()
        entries = parse_tokens(text, self._path)
        found = entries[name].sha256 if name in entries else None
        if found != digest or {**entries, name: None} != {**self.entries, name: None}:
            raise refusal
        try:
            write_whole(self._path, text.encode(), mode=0o600)
        except OSError:
            raise _unwritable(self._path) from None
        return entries

    def _refusal(self, what: str) -> KrosError:
        return SettingsError(f"{self._path} is written in a way that cannot be {what} by hand.", next_step="")


@contextmanager
def changing(path: Path) -> Iterator[TokensText]:
    """Open the file for a change, one command at a time; the lock ends with the process.

    The lock's own file stays beside it: to delete it would let two commands hold the lock at once.
    """
    if not path.parent.is_dir():  # which would be made otherwise
        raise _unwritable(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
    try:
        lock.acquire()
    except OSError:
        raise _unwritable(path) from None
    try:
        yield TokensText(path)
    finally:
        lock.release()


def read_text(path: Path) -> str:
    """Return what stands in a tokens file, its line ends as they are; empty if it is not there.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read as a tokens file.", next_step="Name another --file.") from None


def _parsed(text: str, refusal: KrosError) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError:
        raise refusal from None


def _unwritable(path: Path) -> KrosError:
    return SettingsError(f"{path} cannot be written; nothing was changed.", next_step="Name another --file.")
