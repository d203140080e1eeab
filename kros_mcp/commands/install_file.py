"""A client's configuration file: read, changed in one place, written whole, and put back.

It holds other servers and settings too, so that whatever is not ours stays as it is and in its order, and a file that
cannot be understood is not touched.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kros_mcp.commands.atomic_file import write_whole
from kros_mcp.commands.install_clients import InstallClient
from kros_mcp.errors import KrosError, SettingsError

_OWNERS_ALONE = 0o600
_ELSEWHERE = "Name another file with --config."
_INPUT = re.compile(r"\$\{input:([^}]*)\}")


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as it was read."""

    client: InstallClient
    path: Path
    """The file itself, not a link to it."""
    text: str | None
    """What stands in it; None if it is not there."""
    content: dict[str, Any]

    @property
    def servers(self) -> dict[str, Any]:
        """The servers that it names."""
        found: dict[str, Any] = self.content.get(self.client.servers, {})
        return found

    @property
    def inputs(self) -> dict[str, Any]:
        """What the client asks its person for, by its id."""
        listed = self.content.get(self.client.inputs, []) if self.client.inputs else []
        return {one["id"]: one for one in listed}

    def backup(self, name: str) -> Path:
        """Where the file is kept as it was before the server `name` came in; empty where there was none."""
        return self.path.with_name(f"{self.path.name}.before-{name}")


def read(client: InstallClient, path: Path) -> ConfigFile:
    """Read a configuration file; one that is not there or empty names nothing.

    Raises:
        SettingsError: It is not what the client reads, or cannot be read.
    """
    real = Path(os.path.realpath(path))
    try:
        text = real.read_bytes().decode("utf-8-sig") if real.exists() else None  # its line ends as they are
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read, so it was left as it is.", next_step=_ELSEWHERE) from None
    try:
        content = client.text.parse(text) if text and text.strip() else {}
    except SettingsError as exc:
        raise SettingsError(
            f"{path} is {exc.message}, so it was left as it is.", next_step=f"Mend it first. {_ELSEWHERE}"
        ) from None
    if (
        not isinstance(content, dict)
        or not isinstance(content.get(client.servers, {}), dict)
        or (client.inputs and not _are_inputs(content.get(client.inputs, [])))
    ):
        inputs = f" and {client.inputs} by id" if client.inputs else ""
        raise SettingsError(
            f"{path} does not hold servers by name{inputs}, so it was left as it is.", next_step=_ELSEWHERE
        )
    return ConfigFile(client, real, text, content)


def _are_inputs(found: object) -> bool:
    """Whether a list names what the client asks for, each once."""
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        return False
    ids = [one.get("id") for one in found]
    return all(isinstance(each, str) for each in ids) and len(set(ids)) == len(ids)


def put_in(
    config: ConfigFile, name: str, entry: dict[str, Any], inputs: Iterable[dict[str, Any]], *, keep_backup: bool
) -> None:
    """Write the server `name` into the file, and keep the file as it was.

    Args:
        config: As it was read.
        name: The server's name.
        entry: How the client starts it.
        inputs: What the client asks its person for, if it does so.
        keep_backup: The backup that is there, if there is one, is of before we came, and stays.

    Raises:
        SettingsError: The file or its backup cannot be written, or the text does not take the entry; the file is as
            it was.
    """
    edit = _Edit(config)
    backup = config.backup(name)
    try:
        for one in inputs:
            edit.put_input(one)
        edit.put_server(name, entry)
        edit.drop_needless_inputs(name, _asked_for(config.servers.get(name)))
        data = edit.data()
        config.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_unchanged(config)
        if not (keep_backup and backup.exists()):
            backup.unlink(missing_ok=True)  # so that the new one is its owner's alone, whatever the old one was
            write_whole(backup, b"" if config.text is None else config.path.read_bytes(), mode=_OWNERS_ALONE)
        write_whole(config.path, data, mode=_OWNERS_ALONE)
    except (OSError, ValueError):
        raise _unwritable(config.path) from None


def take_out(config: ConfigFile, name: str) -> str:
    """Take the server `name` out of the file, and put back what stood in its place; the backup goes.

    Returns:
        What was done, as a sentence.

    Raises:
        SettingsError: The file cannot be written, or its backup is damaged; the file is as it was.
    """
    backup = config.backup(name)
    before = read(config.client, backup) if backup.is_file() else None
    edit = _Edit(config)
    if before is not None and name in before.servers:
        edit.put_server(name, before.servers[name])
    else:
        edit.drop_server(name)
    theirs = before.inputs if before else {}
    edit.drop_needless_inputs(name, _asked_for(config.servers[name]) - theirs.keys())
    for one in sorted(_asked_for(before.servers.get(name)) & theirs.keys()) if before else ():
        edit.put_input(theirs[one])
    edit.drop_empty(before)
    try:
        _require_unchanged(config)
        if edit.is_empty and not (before and before.text):
            config.path.unlink()
            done = f"{config.path} held nothing else and is gone."
        elif before and edit.says_no_more_than(before):
            write_whole(config.path, backup.read_bytes(), mode=_OWNERS_ALONE)
            done = f"{config.path} is again as it was."
        else:
            write_whole(config.path, edit.data(), mode=_OWNERS_ALONE)
            done = f"{name} is out of {config.path}; what else stands there stayed."
        backup.unlink(missing_ok=True)
    except (OSError, ValueError):
        raise _unwritable(config.path) from None
    if before and name in before.servers:
        done += f" The {name} that stood there before is back; run this again to take it out too."
    return done


class _Edit:
    """A text that is being changed, and what it has to say in the end."""

    def __init__(self, config: ConfigFile) -> None:
        self._path, self._client = config.path, config.client
        self._text = config.text if config.text and config.text.strip() else config.client.text.empty
        self.content = dict(config.content)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, no comment either."""
        return not self.content and "".join(self._text.split()) == self._client.text.empty.strip()

    def says_no_more_than(self, before: ConfigFile) -> bool:
        """Whether a text of before says the same, and has every comment that stands here."""
        comments = self._client.text.comments_in
        return self.content == before.content and set(comments(self._text)) <= set(comments(before.text or ""))

    def put_server(self, name: str, entry: dict[str, Any]) -> None:
        servers = self._opened(self._client.servers, {})
        self._put((self._client.servers, name), servers.get(name), entry)
        self.content[self._client.servers] = {**servers, name: entry}

    def drop_server(self, name: str) -> None:
        self._text = self._client.text.drop(self._text, (self._client.servers, name))
        servers = self.content[self._client.servers]
        self.content[self._client.servers] = {other: entry for other, entry in servers.items() if other != name}

    def put_input(self, wanted: dict[str, Any]) -> None:
        listed = self._opened(str(self._client.inputs), [])
        if any(one["id"] == wanted["id"] for one in listed):
            return  # it is there, maybe in its person's own words
        self._text = self._client.text.put(self._text, (str(self._client.inputs), wanted["id"]), wanted)
        self.content[str(self._client.inputs)] = [*listed, wanted]

    def drop_needless_inputs(self, name: str, ids: set[str]) -> None:
        """Drop those of the inputs that we made for a server and that no server asks for any more."""
        ours = {one for one in ids if one.startswith(f"{name}-")}
        needless = ours - _asked_for(self.content.get(self._client.servers))
        listed = self.content.get(self._client.inputs, []) if self._client.inputs else []
        for one in listed:
            if one["id"] in needless:
                self._text = self._client.text.drop(self._text, (str(self._client.inputs), one["id"]))
        if listed:
            self.content[str(self._client.inputs)] = [one for one in listed if one["id"] not in needless]

    def drop_empty(self, before: ConfigFile | None) -> None:
        """Drop what holds servers and inputs if it is empty and was not there before."""
        for name in (self._client.inputs, self._client.servers):
            if not name or self.content.get(name) not in ({}, []):
                continue
            is_written = name in self._client.text.parse(self._text)  # in TOML it may stand in names of tables alone
            if is_written and before is not None and name in before.content:
                continue
            del self.content[name]
            if is_written:
                self._text = self._client.text.drop(self._text, (name,))

    def data(self) -> bytes:
        """Return the text, if it says what it has to.

        Raises:
            SettingsError: It does not, since the file is written in a way that was not foreseen.
        """
        try:
            says = self._client.text.parse(self._text)
        except SettingsError:
            says = None
        if says != self.content:
            raise SettingsError(
                f"{self._path} is written in a way that cannot be changed here; it is as it was.",
                next_step="Change it by hand: --print shows what goes in.",
            )
        return self._text.encode()

    def _opened(self, container: str, empty: Any) -> Any:  # noqa: ANN401 - a table or a list
        if container not in self.content:
            if self._client.text.called == "JSON":
                self._text = self._client.text.put(self._text, (container,), empty)
            self.content[container] = empty
        return self.content[container]

    def _put(self, path: tuple[str, ...], there: object, wanted: object) -> None:
        """Put a value in, and touch nothing of what stands there already."""
        if isinstance(there, dict) and isinstance(wanted, dict):
            for name in there.keys() - wanted.keys():
                self._text = self._client.text.drop(self._text, (*path, name))
            for name, value in wanted.items():
                self._put((*path, name), there.get(name, _NOTHING), value)
        elif there != wanted:
            self._text = self._client.text.put(self._text, path, wanted)


_NOTHING = object()


def _asked_for(found: object) -> set[str]:
    """Return the ids of what the client asks for, wherever they stand in an entry."""
    return set(_INPUT.findall(str(found)))


def _require_unchanged(config: ConfigFile) -> None:
    """Raise if another program has written the file since it was read: what that wrote would get lost.

    Raises:
        SettingsError: It has.
    """
    now = config.path.read_bytes().decode("utf-8-sig", "replace") if config.path.exists() else None
    if now != config.text:
        raise SettingsError(
            f"Another program has changed {config.path} meanwhile, so it was left as it is.",
            next_step="Run this again.",
        )


def _unwritable(path: Path) -> KrosError:
    return SettingsError(f"{path} cannot be written; it is as it was.", next_step=_ELSEWHERE)
