"""`kros-mcp token`: makes a token for a caller of the HTTP service and prints it once; lists and revokes tokens."""

import argparse
import fcntl
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kros_mcp import numbering
from kros_mcp.commands.atomic_file import write_whole
from kros_mcp.commands.console import Column, drawn, terminal_columns
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.http.tokens import ISSUER, MOST_CENTS, NAME, Entry, parse_tokens
from kros_mcp.settings import load_tokens_file
from kros_mcp.tools.caller import Scope

PREFIX = "krosmcp_"
"""How every token begins, so that scanners for secrets know one where it does not belong."""
_HELP = "See kros-mcp token --help."
_LONGEST_QUOTED = 40
_LIMITS = ("max_purchase_cents", "daily_budget_cents", "monthly_commitment_cents")
_FAMILY = "numbers:"


def run(arguments: argparse.Namespace) -> int:
    """Add a caller to the tokens file, or give one a new token; or list the callers, or take a token back.

    A new token alone goes to standard output.

    Raises:
        KrosError: The file cannot be used, the name is taken or not there, or what was asked for is not allowed.
    """
    path = _path(arguments)
    if arguments.list or arguments.revoke is not None:
        _require_alone(arguments)
        return _list(path) if arguments.list else _revoke(path, arguments.revoke)
    if arguments.name is None:
        raise SettingsError("NAME is missing; say whom the token is for.", next_step=_HELP)
    token = PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    with _locked(path):
        text = _text(path)
        entries = parse_tokens(text, path)
        changed = (_replaced if arguments.replace else _added)(text, entries, arguments, digest)
        expected = parse_tokens(changed, path)  # whatever the file would not be read back with is refused here
        if expected.keys() != entries.keys() | {arguments.name} or expected[arguments.name].sha256 != digest:
            raise SettingsError(f"{path} is written in a way that cannot be added to; edit it by hand.", next_step="")
        _write(path, changed)
    print(token, flush=True)
    print(
        f"kros-mcp: {arguments.name} may use {', '.join(sorted(expected[arguments.name].scopes))}.\n"
        f"The token above is kept nowhere, so it is not shown again: {path} holds its SHA-256 alone.",
        file=sys.stderr,
    )
    return 0


def _require_alone(arguments: argparse.Namespace) -> None:
    options = ("name", "scopes", "allowed_countries", *_LIMITS)
    given = [arguments.replace, arguments.list and arguments.revoke is not None]
    if any(given) or any(getattr(arguments, name) is not None for name in options):
        raise SettingsError("--list and --revoke NAME go with --file alone.", next_step=_HELP)


def _list(path: Path) -> int:
    """Print one line for each caller, without anything of their tokens."""
    entries = parse_tokens(_text(path), path)
    columns = (Column("name"), Column("scopes"), Column("limits in cents", least=24, leaves=True, below="limits "))
    rows = [(name, ",".join(_short(entry)), _limits(entry)) for name, entry in sorted(entries.items())]
    if rows:
        for line in drawn(columns, rows, terminal_columns()):
            print(line)
        print()
    count = f"{len(rows) or 'No'} {'caller' if len(rows) == 1 else 'callers'}"
    print(f"{count} in {path}. In the books each is {ISSUER}|NAME.")
    return 0


def _short(entry: Entry) -> list[str]:
    return sorted(scope.removeprefix(_FAMILY) for scope in entry.scopes)


def _limits(entry: Entry) -> str:
    cents = {limit.removesuffix("_cents"): getattr(entry, limit) for limit in _LIMITS}
    told = [f"{limit} {amount}" for limit, amount in cents.items() if amount is not None]
    countries = [f"countries {','.join(entry.allowed_countries)}"] if entry.allowed_countries else []
    return ", ".join([*told, *countries])


def _revoke(path: Path, name: str) -> int:
    """Take a caller out of the file; all else in it stays as it is written."""
    with _locked(path):
        text = _text(path)
        entries = parse_tokens(text, path)
        if name not in entries:
            raise KrosError(
                f"Nobody of the name {_told(name)} is in {path}; nothing was changed.",
                code="NO_SUCH_NAME",
                next_step="kros-mcp token --list names them.",
            )
        changed = _without(text, name)
        others = {other: entry for other, entry in entries.items() if other != name}
        if changed is None or _read_back(changed, path) != others:
            raise SettingsError(
                f"{path} is written in a way that cannot be taken from; delete {name} by hand.", next_step=""
            )
        _write(path, changed)
    print(f"{name} is out; a running service refuses the token within a second.")
    if len(entries) == 1:
        print("Nobody is named in the file now, so that a service lets nobody in by token and does not start.")
    return 0


def _without(text: str, name: str) -> str | None:
    """Leave the table of one caller out, with the comments inside it; None where it has no table of its own."""
    lines = text.splitlines(keepends=True)
    spellings = "|".join(re.escape(quote + name + quote) for quote in ("", '"', "'"))
    header = re.compile(rf"\s*\[\s*tokens\s*\.\s*(?:{spellings})\s*\]\s*(?:#.*)?")
    starts = [at for at, line in enumerate(lines) if header.fullmatch(line.rstrip("\r\n"))]
    if len(starts) != 1:
        return None
    start = starts[0]
    end = next((at for at in range(start + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
    kept = end
    while end < len(lines) and kept > start + 1 and lines[kept - 1].lstrip().startswith("#"):
        kept -= 1  # what stands right above the next table belongs to that
    return "".join([*lines[:start], *lines[kept:]])


def _read_back(text: str, path: Path) -> dict[str, Entry] | None:
    try:
        return parse_tokens(text, path)
    except SettingsError:
        return None


def _path(arguments: argparse.Namespace) -> Path:
    named = Path(arguments.file) if arguments.file else load_tokens_file()
    if named is None:
        raise SettingsError("There is no tokens file: name one with --file or KROS_TOKENS_FILE.", next_step="")
    return Path(os.path.realpath(named))  # a link stays one, and the file that it names is changed


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read as a tokens file.", next_step="Name another --file.") from None


def _added(text: str, entries: dict[str, Entry], arguments: argparse.Namespace, digest: str) -> str:
    name = arguments.name
    if not NAME.fullmatch(name):
        raise SettingsError(
            "A name is made of up to 64 letters, digits, dots, hyphens and underscores.", next_step="Choose another."
        )
    if name in entries:
        raise KrosError(
            f"{name} has a token already, which was left as it is.",
            code="NAME_TAKEN",
            next_step="Add --replace to give it a new one.",
        )
    if not arguments.scopes:
        raise SettingsError("--scopes is missing; say what the token permits.", next_step=_HELP)
    lines = [f"[tokens.{_quoted(name)}]", f'sha256 = "{digest}"', f"scopes = {_listed(_scopes(arguments.scopes))}"]
    lines += [
        f"{limit} = {_cents(limit, cents)}" for limit in _LIMITS if (cents := getattr(arguments, limit)) is not None
    ]
    if arguments.allowed_countries is not None:
        lines.append(f"allowed_countries = {_listed(_countries(arguments.allowed_countries))}")
    return "\n".join([*([text.rstrip("\n"), ""] if text.strip() else []), *lines, ""])


def _replaced(text: str, entries: dict[str, Entry], arguments: argparse.Namespace, digest: str) -> str:
    given = (arguments.scopes, arguments.allowed_countries, *(getattr(arguments, limit) for limit in _LIMITS))
    if any(value is not None for value in given):
        raise SettingsError(
            "--replace changes the token alone; what it permits is changed in the file.",
            next_step="Leave the other options out.",
        )
    if arguments.name not in entries:
        raise KrosError(
            "Nobody of that name is in the tokens file.", code="NO_SUCH_NAME", next_step="Leave out --replace."
        )
    # No other entry has this hash; in a comment it may stand as well, and is as old there.
    return re.sub(re.escape(entries[arguments.name].sha256), digest, text)


def _quoted(name: str) -> str:
    return json.dumps(name) if "." in name else name


def _listed(values: list[str]) -> str:
    return json.dumps(values)  # of strings, TOML writes lists as JSON does


def _scopes(text: str) -> list[str]:
    """Read the scopes that were asked for, by their short names or their whole ones."""
    known = {scope.removeprefix(_FAMILY): scope for scope in Scope}
    names = [part.removeprefix(_FAMILY) for part in _parts(text)]
    if not names:
        raise _misused("--scopes", f"name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise _misused("--scopes", f"{_told(name)} is none of {', '.join(known)}")
    if "approve" in names and len(set(names)) > 1:
        raise _misused("--scopes", "approve goes with no other scope; give the approver a token of their own")
    return [known[name] for name in names]


def _countries(text: str) -> list[str]:
    parts = _parts(text)
    if not parts:
        raise _misused("--allowed-countries", "name at least one, by two-letter codes such as NG,KE")
    return [_country(part) for part in parts]


def _country(part: str) -> str:
    try:
        return numbering.parse_country(part)
    except ValueError:
        sentence = f"{_told(part)} is no country's code; use two-letter codes such as NG,KE"
        raise _misused("--allowed-countries", sentence) from None


def _cents(limit: str, cents: int) -> int:
    if not 0 <= cents <= MOST_CENTS:
        raise _misused(f"--{limit.replace('_', '-')}", f"{_told(str(cents))} is no amount; use whole cents, 0 or more")
    return cents


def _misused(option: str, sentence: str) -> SettingsError:
    return SettingsError(f"{option}: {sentence}.", next_step=_HELP)


def _told(value: str) -> str:
    return ascii(value[:_LONGEST_QUOTED])


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one command at a time change files in a folder; the lock ends with the process."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        raise _unwritable(path) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode(), mode=0o600)
    except OSError:
        raise _unwritable(path) from None


def _unwritable(path: Path) -> KrosError:
    return SettingsError(f"{path} cannot be written; nothing was changed.", next_step="Name another --file.")
