"""`kros-mcp token`: makes a token for a caller of the HTTP service and prints it once; lists and revokes tokens."""

import hashlib
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kros_mcp import numbering
from kros_mcp.commands.console import Column, show_table
from kros_mcp.commands.http_extra import require_http_extra
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.http.tokens import ISSUER, MOST_CENTS, NAME, WAYS, Entry, parse_tokens, without_effect
from kros_mcp.settings import load_approval, load_tokens_file, organization_named
from kros_mcp.tools.specs import Scope, in_company

if TYPE_CHECKING:
    from kros_mcp.commands.tokens_file import TokensText

_HELP = """\
Make, list or revoke tokens of callers of the HTTP service.

Makes a token, prints it once, and adds its SHA-256 with what its holder may do to the tokens file, which a running
service reads again by itself. --revoke takes a token back: within a second it is refused. --list shows who may what.

NAME is who it is for; with tokens| before it, the principal in the books.
"""
_EPILOG = """\
\b
scopes:
  read, configure, buy, release
            what voice agents may do; they see no tool that is not theirs
  approve   for a person at /approvals, and together with no other
  audit     for a person who only reads the books at /spending, likewise

\b
examples:
  kros-mcp token support-agent --scopes read,buy --daily-budget-cents 2000 \\
    --allowed-countries NG,KE
  kros-mcp token trainee --scopes read,buy --confirmation approver
  kros-mcp token finance --scopes approve --file /etc/kros-mcp/tokens.toml
  kros-mcp token lagos-desk --scopes read,buy \\
    --organization 3f9c2a52-0000-4000-8000-00000000000b
  kros-mcp token --list
  kros-mcp token --revoke support-agent
  kros-mcp token support-agent --replace |
    vault kv put secret/support-agent token=-

\b
exit codes:
  0 made, listed or revoked   1 the name is taken, or not there
  2 usage or settings
"""
PREFIX = "krosmcp_"
"""How every token begins, so that scanners for secrets know one where it does not belong."""
_SEE_HELP = "See kros-mcp token --help."
_LONGEST_QUOTED = 40
_FAMILY = "numbers:"


@dataclass(frozen=True)
class Rights:
    """What a new token is to permit, as it was typed; None where an option was left out."""

    scopes: str | None = None
    max_purchase_cents: int | None = None
    daily_budget_cents: int | None = None
    monthly_commitment_cents: int | None = None
    allowed_countries: str | None = None
    confirmation: str | None = None
    approval_above_cents: int | None = None
    organization: str | None = None

    @property
    def limits(self) -> dict[str, int]:
        """The limits in cents that were typed, by their names in the tokens file."""
        typed = {
            "max_purchase_cents": self.max_purchase_cents,
            "daily_budget_cents": self.daily_budget_cents,
            "monthly_commitment_cents": self.monthly_commitment_cents,
            "approval_above_cents": self.approval_above_cents,
        }
        return {name: cents for name, cents in typed.items() if cents is not None}


@click.command(help=_HELP, epilog=_EPILOG)
@click.argument("name", required=False)
@click.option("--scopes", metavar="SCOPES", help="what it permits, separated by commas")
@click.option("--daily-budget-cents", type=int, metavar="N", help="its own limit in any 24 hours")
@click.option(
    "--monthly-commitment-cents", type=int, metavar="N", help="its own limit a month for all numbers it has bought"
)
@click.option(
    "--max-purchase-cents", type=int, metavar="N", help="its own limit for one number: setup plus first month"
)
@click.option("--allowed-countries", metavar="COUNTRIES", help="where it may buy, such as NG,KE")
@click.option(
    "--confirmation",
    type=click.Choice([str(way) for way in WAYS]),
    help="how a person says yes to what it asks for, where that is stricter than the service's own KROS_CONFIRMATION",
)
@click.option("--approval-above-cents", type=int, metavar="N", help="its purchases over this wait for an approver")
@click.option("--organization", metavar="ID", help="whose numbers and books it works with; else the service's own")
@click.option("--file", metavar="FILE", help="the tokens file; KROS_TOKENS_FILE if left out")
@click.option("--replace", is_flag=True, help="give NAME a new token in place of its old one; its rights stay")
@click.option("--list", "lists", is_flag=True, help="show every caller, what they may do, and their limits")
@click.option("--revoke", metavar="NAME", help="take the token of NAME back")
def token(
    name: str | None,
    scopes: str | None,
    max_purchase_cents: int | None,
    daily_budget_cents: int | None,
    monthly_commitment_cents: int | None,
    allowed_countries: str | None,
    confirmation: str | None,
    approval_above_cents: int | None,
    organization: str | None,
    file: str | None,
    revoke: str | None,
    *,
    replace: bool,
    lists: bool,
) -> int:
    """Add a caller to the tokens file, or give one a new token; or list the callers, or take a token back.

    A new token alone goes to standard output.

    Raises:
        KrosError: The file cannot be used, the name is taken or not there, or what was asked for is not allowed.
    """
    require_http_extra("Tokens need")
    from kros_mcp.commands.tokens_file import changing, read_text  # noqa: PLC0415 - it needs the extra

    path = _path(file)
    rights = Rights(
        scopes,
        max_purchase_cents,
        daily_budget_cents,
        monthly_commitment_cents,
        allowed_countries,
        confirmation,
        approval_above_cents,
        organization,
    )
    if lists or revoke is not None:
        if name is not None or replace or rights != Rights() or (lists and revoke is not None):
            raise SettingsError("--list and --revoke NAME go with --file alone.", next_step=_SEE_HELP)
        if revoke is None:
            return _list(path, parse_tokens(read_text(path), path))
        with changing(path) as text:
            return _revoke(path, text, revoke)
    if name is None:
        raise SettingsError("NAME is missing; say whom the token is for.", next_step=_SEE_HELP)
    made = PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(made.encode()).hexdigest()
    with changing(path) as text:
        entry = _replace(text, name, rights, digest) if replace else _add(text, name, rights, digest)
    print(made, flush=True)
    if entry.organization_id:
        print(
            f"kros-mcp: it works for the organization {entry.organization_id} alone. Once any token names one, the "
            "service starts only with KROS_ORGANIZATION_ID, which names its own.",
            file=sys.stderr,
        )
    for sentence in without_effect(name, entry, *load_approval()):
        print(f"kros-mcp: {sentence}", file=sys.stderr)
    print(
        f"kros-mcp: {name} may use {', '.join(sorted(entry.scopes))}.\n"
        f"The token above is kept nowhere, so it is not shown again: {path} holds its SHA-256 alone.",
        file=sys.stderr,
    )
    return 0


def _add(text: "TokensText", name: str, rights: Rights, digest: str) -> Entry:
    if not NAME.fullmatch(name):
        raise SettingsError(
            "A name is made of up to 64 letters, digits, dots, hyphens and underscores.", next_step="Choose another."
        )
    if name in text.entries:
        raise KrosError(
            f"{name} has a token already, which was left as it is.",
            code="NAME_TAKEN",
            next_step="Add --replace to give it a new one.",
        )
    if not rights.scopes:
        raise SettingsError("--scopes is missing; say what the token permits.", next_step=_SEE_HELP)
    values: dict[str, object] = {"scopes": _scopes(rights.scopes)}
    values |= {limit: _cents(limit, cents) for limit, cents in rights.limits.items()}
    if rights.allowed_countries is not None:
        values["allowed_countries"] = _countries(rights.allowed_countries)
    if rights.confirmation is not None:
        values["confirmation"] = rights.confirmation
    if rights.organization is not None:
        values["organization_id"] = _organization(rights.organization)
    return text.add(name, digest, values)


def _replace(text: "TokensText", name: str, rights: Rights, digest: str) -> Entry:
    if rights != Rights():
        raise SettingsError(
            "--replace changes the token alone; what it permits is changed in the file.",
            next_step="Leave the other options out.",
        )
    if name not in text.entries:
        raise KrosError(
            "Nobody of that name is in the tokens file.", code="NO_SUCH_NAME", next_step="Leave out --replace."
        )
    return text.give_hash(name, digest)


def _list(path: Path, entries: Mapping[str, Entry]) -> int:
    """Print one line for each caller, without anything of their tokens."""
    columns = (
        Column("name"),
        Column("scopes"),
        Column("limits in cents, confirmation, organization", least=24, leaves=True, below="limits "),
    )
    rows = [
        (name, ",".join(sorted(scope.removeprefix(_FAMILY) for scope in entry.scopes)), _limits(entry))
        for name, entry in sorted(entries.items())
    ]
    if rows:
        show_table(columns, rows)
        print()
    count = f"{len(rows) or 'No'} {'caller' if len(rows) == 1 else 'callers'}"
    print(f"{count} in {path}. In the books each is {ISSUER}|NAME.")
    return 0


def _limits(entry: Entry) -> str:
    cents = {
        "max_purchase": entry.max_purchase_cents,
        "daily_budget": entry.daily_budget_cents,
        "monthly_commitment": entry.monthly_commitment_cents,
        "approval_above": entry.approval_above_cents,
    }
    shown = [f"{limit} {amount}" for limit, amount in cents.items() if amount is not None]
    countries = [f"countries {','.join(entry.allowed_countries)}"] if entry.allowed_countries else []
    way = [f"confirmation {entry.confirmation}"] if entry.confirmation else []
    organization = [f"organization {entry.organization_id}"] if entry.organization_id else []
    return ", ".join([*shown, *countries, *way, *organization])


def _revoke(path: Path, text: "TokensText", name: str) -> int:
    """Remove a caller from the file; all else in it stays as it is written."""
    if name not in text.entries:
        raise KrosError(
            f"Nobody of the name {_quoted(name)} is in {path}; nothing was changed.",
            code="NO_SUCH_NAME",
            next_step="kros-mcp token --list names them.",
        )
    text.remove(name)
    print(f"{name} is out; a running service refuses the token within a second.")
    if len(text.entries) == 1:
        print("Nobody is named in the file now, so that a service lets nobody in by token and does not start.")
    return 0


def _path(file: str | None) -> Path:
    named = Path(file) if file else load_tokens_file()
    if named is None:
        raise SettingsError("There is no tokens file: name one with --file or KROS_TOKENS_FILE.", next_step="")
    return Path(os.path.realpath(named))  # a link stays one, and the file that it names is changed


def _scopes(text: str) -> list[str]:
    """Read the scopes that were asked for, by their short names or their whole ones."""
    known = {scope.removeprefix(_FAMILY): str(scope) for scope in Scope}
    names = [part.removeprefix(_FAMILY) for part in _parts(text)]
    if not names:
        raise _misused("--scopes", f"name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise _misused("--scopes", f"{_quoted(name)} is none of {', '.join(known)}")
    lonely = in_company(frozenset(Scope(known[name]) for name in names))
    if lonely is not None:
        alone = lonely.removeprefix(_FAMILY)
        raise _misused("--scopes", f"{alone} goes with no other scope; give that person a token of their own")
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
        sentence = f"{_quoted(part)} is no country's code; use two-letter codes such as NG,KE"
        raise _misused("--allowed-countries", sentence) from None


def _organization(text: str) -> str:
    try:
        return organization_named(text, None)
    except ValueError as exc:
        raise _misused("--organization", f"it {exc}") from None


def _cents(limit: str, cents: int) -> int:
    if not 0 <= cents <= MOST_CENTS:
        raise _misused(
            f"--{limit.replace('_', '-')}", f"{_quoted(str(cents))} is no amount; use whole cents, 0 or more"
        )
    return cents


def _misused(option: str, sentence: str) -> SettingsError:
    return SettingsError(f"{option}: {sentence}.", next_step=_SEE_HELP)


def _quoted(value: str) -> str:
    return ascii(value[:_LONGEST_QUOTED])


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
