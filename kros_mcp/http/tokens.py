"""The tokens file: who may call with a token of this service's own, and what they may spend.

    [tokens.support-agent]
    sha256 = "SHA-256 of the token, 64 hex digits"
    scopes = ["numbers:read", "numbers:buy"]
    max_purchase_cents = 500            # this and the rest may be left out
    daily_budget_cents = 2000
    monthly_commitment_cents = 5000
    allowed_countries = ["NG", "KE"]
    confirmation = "approver"           # or "prompt": how a person says yes, where that is stricter than the service's
    approval_above_cents = 2000         # purchases over this wait for an approver
    organization_id = "3f9c…"           # whose numbers and books it works with; the service's own if left out

It holds no token, so reading it lets nobody in; writing to it does.
"""

import hashlib
import logging
import os
import re
import stat
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kros_mcp import numbering
from kros_mcp.errors import SettingsError
from kros_mcp.operations.model import TOKENS, Limits
from kros_mcp.settings import Confirmation, is_laxer, organization_named
from kros_mcp.tools.caller import CallerToken, caller_token
from kros_mcp.tools.specs import Scope, in_company

logger = logging.getLogger(__name__)

ISSUER = TOKENS
CHECK_SECONDS = 1.0
"""How long a change to the file may go unseen."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_CENTS = 2**53 - 1
WAYS = tuple(way for way in Confirmation if way is not Confirmation.BROWSER)
"""How a person may say yes to what comes over HTTP, where there is no browser of theirs to open a page in."""
_LONGEST_FILE = 1024 * 1024
_MARK = 16
_RULES = {
    "sha256": "must be the 64 hex digits of the token's SHA-256",
    "scopes": f"must list at least one of {', '.join(Scope)}",
    "allowed_countries": 'must list at least one country code, such as "NG"',
    "confirmation": f"must be one of {', '.join(WAYS)}",
    "organization_id": "must be an organization's id as KrosAI writes it: letters, digits and ._:@+-, a UUID in lower "
    "case",
}


def _scopes(value: object) -> object:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError
    return frozenset(Scope(name) for name in value)


def _countries(value: object) -> object:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError
    return tuple(numbering.parse_country(name) for name in value)


def _way(value: object) -> object:
    if value not in WAYS:
        raise ValueError
    return Confirmation(str(value))


def _organization(value: object) -> object:
    return organization_named(value, None)


_Cents = Annotated[int | None, Field(ge=0, le=MOST_CENTS)]


class Entry(BaseModel):
    """What the file says of one caller; amounts in cents, None where it sets no limit.

    What it says of how a person agrees makes the service's own rule stricter, and never laxer.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    scopes: Annotated[frozenset[Scope], BeforeValidator(_scopes)]
    max_purchase_cents: _Cents = None
    daily_budget_cents: _Cents = None
    monthly_commitment_cents: _Cents = None
    allowed_countries: Annotated[tuple[str, ...], BeforeValidator(_countries)] = ()
    confirmation: Annotated[Confirmation | None, BeforeValidator(_way)] = None
    approval_above_cents: _Cents = None
    organization_id: Annotated[str, BeforeValidator(_organization)] = ""

    @property
    def mark(self) -> str:
        """What tells this token from the one that replaces it."""
        return self.sha256[:_MARK].lower()


def parse_tokens(text: str, path: Path) -> dict[str, Entry]:
    """Read the text of a tokens file, which may be empty.

    Raises:
        SettingsError: It holds a mistake. The sentence names file and entry, and quotes no value.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        where = re.search(r"at line \d+", str(exc))
        raise SettingsError(f"{path} is not valid TOML{f' {where[0]}' if where else ''}.") from None
    tables = content.pop("tokens", {})
    if content or not isinstance(tables, dict):
        raise SettingsError(f"{path} must hold nothing but tables [tokens.NAME].")
    entries = {name: _entry(name, table, path) for name, table in tables.items()}
    first: dict[str, str] = {}
    for name, entry in entries.items():
        other = first.setdefault(entry.sha256.lower(), name)
        if other != name:
            raise SettingsError(f"{path}: {other} and {name} have one token; give each a token of its own.")
    return entries


def read_tokens(path: Path) -> dict[str, Entry]:
    """Read a tokens file by which callers are to be known.

    Raises:
        SettingsError: It cannot be read, others may write to it, it holds a mistake, or it names nobody.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LONGEST_FILE:
            raise SettingsError(f"{path} is no tokens file: it must be a file of at most {_LONGEST_FILE} bytes.")
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"The tokens file {path} cannot be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not valid TOML: it is not in UTF-8.") from None
    if sys.platform != "win32" and found.st_mode & 0o022:
        raise SettingsError(f"Others may write to {path} and so let anybody in; take that from them: chmod go-w.")
    if sys.platform != "win32" and found.st_uid not in {0, os.geteuid()}:
        raise SettingsError(f"{path} is another user's, who may so let anybody in; make it yours: chown.")
    entries = parse_tokens(text, path)
    if not entries:
        raise SettingsError(f"{path} names nobody; make a token with kros-mcp token.")
    return entries


class TokensFile:
    """Verifies tokens by the tokens file, and follows its changes: whoever is removed is out within a second.

    While the file cannot be used no caller is known: its mistake may be where somebody was being removed.

    Args:
        path: The file.
        fallback: Limits where an entry sets none.
        clock: Seconds that only go forward.
        own_organization: The service's own; without it no entry may name one.

    Raises:
        SettingsError: The file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        fallback: Limits,
        clock: Callable[[], float] = time.monotonic,
        own_organization: str | None = None,
    ) -> None:
        self._path = path
        self._fallback = fallback
        self._clock = clock
        self._own_organization = own_organization
        self._checked_at = clock()
        self._file_seen = _file_state(path)
        # Each is replaced as a whole: threads of the journal read them while the file is read anew.
        self._entries: Mapping[str, Entry] | None = None
        self._holders: Mapping[str, tuple[str, Entry]] = {}
        self._trouble: str | None = None
        self._set(self._read())
        if sys.platform != "win32" and path.stat().st_mode & 0o044:
            logger.warning("%s can be read by others; it holds hashes only, yet they see who may do what", path)

    def trouble(self) -> str | None:
        """Return why no caller is known at present; None if the file can be used."""
        self._reload_if_changed()
        return self._trouble

    async def verify_token(self, token: str) -> CallerToken | None:
        """Return who bears a token; None if nobody does."""
        self._reload_if_changed()
        holder = self._holders.get(hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest())
        if holder is None:
            return None
        name, entry = holder
        return caller_token(
            ISSUER, name, entry.scopes, mark=entry.mark, organization=self._other_than_own(entry.organization_id)
        )

    def names(self, organization: str) -> bool:
        """Whether the file gives an organization other than the service's own to anybody; no while it is unusable."""
        self._reload_if_changed()
        return any(entry.organization_id == organization for entry in (self._entries or {}).values())

    def limits_of(self, principal: str, organization: str = "") -> Limits | None:
        """Return what a principal may spend by itself in its organization; None if the file names no such one."""
        entry = self._entry_of(principal, organization)
        if entry is None:
            return None
        daily, monthly = entry.daily_budget_cents, entry.monthly_commitment_cents
        return Limits(
            max_purchase_cents=entry.max_purchase_cents,
            daily_budget_cents=self._fallback.daily_budget_cents if daily is None else daily,
            monthly_commitment_cents=self._fallback.monthly_commitment_cents if monthly is None else monthly,
            allowed_countries=entry.allowed_countries,
            confirmation=entry.confirmation,
            approval_above_cents=entry.approval_above_cents,
        )

    def scopes_of(self, principal: str, organization: str = "") -> frozenset[Scope] | None:
        """Return what a principal may do; nothing if the file names no such one, None while the file is unusable."""
        self._reload_if_changed()
        entries = self._entries
        if entries is None:
            return None
        entry = self._named(entries, principal, organization)
        return entry.scopes if entry else frozenset()

    def still_has(self, principal: str, mark: str, scope: Scope, organization: str = "") -> bool:
        """Whether the file gives a principal of its organization a scope, with the token that it signed in with."""
        entry = self._entry_of(principal, organization)
        return entry is not None and scope in entry.scopes and entry.mark == mark

    def _entry_of(self, principal: str, organization: str) -> Entry | None:
        self._reload_if_changed()
        return self._named(self._entries or {}, principal, organization)

    def _named(self, entries: Mapping[str, Entry], principal: str, organization: str) -> Entry | None:
        """Return the entry of a principal, if it is of that organization; a name in two of them is two principals."""
        issuer, _, name = principal.partition("|")
        entry = entries.get(name) if issuer == ISSUER else None
        return entry if entry and self._other_than_own(entry.organization_id) == organization else None

    def _other_than_own(self, organization: str) -> str:
        return "" if organization == self._own_organization else organization

    def _read(self) -> dict[str, Entry]:
        entries = read_tokens(self._path)
        require_own_organization(entries, self._path, self._own_organization)
        return entries

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        state = _file_state(self._path)
        if state == self._file_seen:
            return
        self._file_seen = state
        try:
            entries = self._read()
        except SettingsError as exc:
            if self._trouble != exc.message:
                logger.error("nobody is let in by token until this is mended: %s", exc.message)  # noqa: TRY400
            self._trouble = exc.message
            self._set(None)
            return
        self._trouble = None
        self._set(entries)
        logger.warning("%s has changed; callers named in it now: %d", self._path, len(entries))

    def _set(self, entries: Mapping[str, Entry] | None) -> None:
        self._entries = entries
        self._holders = {entry.sha256.lower(): (name, entry) for name, entry in (entries or {}).items()}


def without_effect(name: str, entry: Entry, service: Confirmation | None, above_cents: int | None) -> list[str]:
    """Say what of an entry is laxer than the service, whose own rule then holds.

    Args:
        name: The caller's.
        entry: What the file says of it.
        service: KROS_CONFIRMATION; None where it is not known.
        above_cents: KROS_APPROVAL_ABOVE_CENTS; None where it is off, or not known.
    """
    told, way, own = [], entry.confirmation, entry.approval_above_cents
    if service is not None and way is not None and is_laxer(way, service):
        told.append(f"{way} for {name} is laxer than KROS_CONFIRMATION={service} of the service, so it has no effect.")
    if above_cents is not None and own is not None and own > above_cents:
        told.append(
            f"approval_above_cents of {name} is higher than KROS_APPROVAL_ABOVE_CENTS={above_cents} of the service, so "
            "it has no effect."
        )
    return told


def require_own_organization(entries: Mapping[str, Entry], path: Path, own: str | None) -> None:
    """Raise if an entry names an organization and the service's own is not named, or two could be taken for one.

    Raises:
        SettingsError: Which of both it is, and where.
    """
    spelt = {own.lower(): own} if own else {}
    for name, entry in entries.items():
        if not entry.organization_id:
            continue
        if own is None:
            raise SettingsError(
                f"{path}: {name} names an organization, so KROS_ORGANIZATION_ID has to name the service's own: "
                "callers without one would else act for whichever KrosAI takes for the first."
            )
        if spelt.setdefault(entry.organization_id.lower(), entry.organization_id) != entry.organization_id:
            raise SettingsError(
                f"{path}: {name} spells an organization otherwise than another entry or KROS_ORGANIZATION_ID does; "
                "each has one spelling, as KrosAI writes it."
            )


def _entry(name: str, table: object, path: Path) -> Entry:
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: {name[:64]!r} is no name; use up to 64 letters, digits, dots, hyphens and underscores."
        )
    try:
        entry = Entry.model_validate(table)
    except ValidationError as exc:
        sentence = _problem(exc)
    else:
        lonely = in_company(entry.scopes)
        if lonely is None:
            return entry
        sentence = f"may not have {lonely} together with another scope; give that person a token of their own"
    raise SettingsError(f"{path}: {name} {sentence}.")


def _problem(exc: ValidationError) -> str:
    problem = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    if not problem["loc"]:
        return "must be a table [tokens.NAME]"
    key = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"lacks {key}"
    if problem["type"] == "extra_forbidden":
        return f"has the key {key[:40]!r}, which is unknown; known are {', '.join(Entry.model_fields)}"
    return f"has an unusable {key}: it {_RULES.get(key, 'must be whole cents, 0 or more')}"


def _file_state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode
