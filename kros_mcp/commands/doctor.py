"""`kros-mcp doctor`: settings, journal, key, reachability and guard, and what to do about each.

It prints all that it finds, changes nothing at KrosAI, and shows no secret.
"""

import os
import platform
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import click

from kros_mcp import __version__
from kros_mcp.commands.console import say, working
from kros_mcp.commands.findings import Finding, fail, failed, ok, report, warn
from kros_mcp.commands.journal_check import check_journal
from kros_mcp.commands.rehearsal_record import default_record_path, left_by_earlier_runs
from kros_mcp.commands.requests_sent import keep_count
from kros_mcp.errors import (
    AuthenticationError,
    ConnectionLostError,
    KrosError,
    NotFoundError,
    NotSentError,
    OtherOrganizationError,
    PathError,
    PermissionDeniedError,
    ProtocolError,
    RecordError,
    SettingsError,
    TooSlowError,
)
from kros_mcp.http.tokens import read_tokens, require_own_organization, without_effect
from kros_mcp.journals.backends import place
from kros_mcp.krosai import clean, within
from kros_mcp.krosai.transport import certificates, certificates_source, find_proxy, named_proxy
from kros_mcp.money import show_cents
from kros_mcp.operations.account import open_krosai
from kros_mcp.settings import PREFIX, Confirmation, Settings, for_organization, load_settings

NETWORK_SECONDS = 10.0
_SHORTEST_SETTLE_SECONDS = 45.0  # a request that takes its full 30 seconds, and a lease
_JWT_PARTS = 3
_LONGEST_VALUE = 200
_PROBE = ok("Whether KrosAI's answers are as this program expects them, kros-mcp probe tells; it only reads.")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
_CODES = "a sentence and a one-time code; a model could use the code unasked, so the caps below are the guard."
_PAGE = "a page in the browser of whoever is at this machine"
_MODES = {
    Confirmation.AUTO: f"the client's prompt where it has one, else over stdio {_PAGE}; where none opens, {_CODES}",
    Confirmation.CONVERSATION: f"the client's prompt where it has one, else {_CODES}",
    Confirmation.PERSON: f"the client's prompt where it has one, else over stdio {_PAGE}; else it is refused.",
    Confirmation.BROWSER: f"over stdio {_PAGE}; where none opens, it is refused.",
    Confirmation.PROMPT: "only the client's own prompt; a client that cannot show one is refused.",
    Confirmation.APPROVER: (
        "nothing happens before `kros-mcp approve ID` at a terminal, or a yes on the page /approvals of "
        "`kros-mcp http`; a running server then acts within 2 seconds."
    ),
}


_INSTEAD = {
    Confirmation.AUTO: "a client without prompts of its own gets a code in the chat",
    Confirmation.PERSON: "without a prompt of the client nothing is bought or released",
    Confirmation.BROWSER: "nothing is bought or released",
}
"""What follows where no page opens."""


@click.command(help="Check settings, journal, key and reachability, and say what to do.")
@click.option(
    "--browser/--no-browser",
    "opens",
    default=None,
    help="open a test page in the browser, or do not (by default: at a terminal)",
)
def doctor(*, opens: bool | None) -> int:
    """Check everything and print every finding; the exit code is the gravest one's."""
    say(f"kros-mcp {__version__}, Python {platform.python_version()} on {sys.platform}")
    say("These are the settings of this terminal; a client's own configuration may set others.")
    try:
        settings = load_settings()
    except SettingsError as exc:
        unchecked = warn("Journal, key and reachability are not checked.", "Correct the setting, then run this again.")
        return report([failed(exc), unchecked])
    with working("looking at the journal and at KrosAI"):
        findings = anyio.run(_examine, settings, opens)
    return report(findings)


async def _examine(settings: Settings, opens: bool | None) -> list[Finding]:
    return [
        *_settings(settings),
        *_callers(settings),
        *await check_journal(settings),
        *_rehearsals(settings),
        *await _check_krosai(settings),
        _confirmation(settings),
        *await _page(settings, opens),
        *_caps(settings),
    ]


def _settings(settings: Settings) -> list[Finding]:
    chosen = [
        f"{PREFIX}{name.upper()} is {place(value) if name == 'journal_url' else _shown(value)}."
        for name, field in Settings.model_fields.items()
        if name not in {"api_key", "simulator"} and (value := getattr(settings, name)) != field.default
    ]
    others = "The other settings have" if chosen else "Every other setting has"
    return [check_key(settings), *map(ok, chosen), ok(f"{others} the default value.")]


def check_key(settings: Settings) -> Finding:
    """Return of which kind the key is; none of its characters but a public prefix is shown."""
    try:
        key = settings.require_api_key()
    except SettingsError as exc:
        return failed(exc)
    if key.startswith("kros_test_"):
        return ok("KROS_API_KEY is a test key (kros_test_...); kros-mcp rehearse tries everything with it.")
    if key.startswith("kros_live_"):
        return ok("KROS_API_KEY is a live key (kros_live_...): purchases cost real money.")
    if key.count(".") == _JWT_PARTS - 1:
        return ok("KROS_API_KEY is a JWT, treated as live; it expires, so a key suits a server better.")
    return warn(
        "KROS_API_KEY is of no known kind (kros_live_..., kros_test_... or a JWT), and treated as live.",
        "Make sure that it was copied whole.",
    )


def _rehearsals(settings: Settings) -> list[Finding]:
    """Return what rehearsals of this account have left owned, by the record that they usually write."""
    if settings.api_key is None or settings.environment != "test":
        return []
    path = default_record_path()
    try:
        left = left_by_earlier_runs(settings, path)
    except RecordError as exc:
        return [warn(exc.message, exc.next_step)]
    numbers = ", ".join(number.e164 for number in left)
    what = f"By {path} a rehearsal has ordered {numbers}, and not released it for certain."
    return [warn(what, "Run kros-mcp rehearse: it looks first, and offers to release it.")] if left else []


def _callers(settings: Settings) -> list[Finding]:
    """Return whom the HTTP service would let in; with a tokens file that it cannot read, nobody."""
    if settings.tokens_file is None:
        return []
    try:
        names = read_tokens(settings.tokens_file)
        require_own_organization(names, settings.tokens_file, settings.organization_id)
    except SettingsError as exc:
        return [failed(exc)]
    found = [ok(f"The tokens file names {len(names)} {'caller' if len(names) == 1 else 'callers'}.")]
    if others := _other_organizations(settings):
        found.append(ok(f"Some of them call for {len(others)} other organization{'' if len(others) == 1 else 's'}."))
    stricter = sum(entry.confirmation is not None or entry.approval_above_cents is not None for entry in names.values())
    if stricter:
        found.append(ok(f"{stricter} of them {'has' if stricter == 1 else 'have'} a way of confirming of their own."))
    service = (settings.confirmation, settings.approval_above_cents)
    idle = [sentence for name, entry in names.items() for sentence in without_effect(name, entry, *service)]
    to_do = "Take it out of the tokens file, or make the service's own setting laxer."
    return [*found, *(warn(f"In the tokens file, {sentence}", to_do) for sentence in idle)]


def _other_organizations(settings: Settings) -> list[str]:
    """Return the organizations that the tokens file names, beside the service's own; none where it is not usable."""
    if settings.tokens_file is None:
        return []
    try:
        entries = read_tokens(settings.tokens_file)
    except SettingsError:
        return []
    return sorted({entry.organization_id for entry in entries.values()} - {"", settings.organization_id or ""})


async def _organizations(settings: Settings) -> list[Finding]:
    """Ask KrosAI for each organization that the tokens file names."""
    return [await _organization(for_organization(settings, named)) for named in _other_organizations(settings)]


async def _organization(settings: Settings) -> Finding:
    shown = clean(settings.organization_id or "", _LONGEST_VALUE)
    try:
        async with open_krosai(settings) as client:
            try:
                with within(NETWORK_SECONDS):
                    await client.list_owned(limit=1)
            finally:
                await keep_count(settings, client.tally)
    except PermissionDeniedError as exc:
        return fail(
            f"KrosAI does not let this key act for the organization {shown} of the tokens file ({exc.code}).",
            "Give the key access to it in the KrosAI dashboard, or correct organization_id in the tokens file.",
            exc.exit_code,
        )
    except KrosError as exc:
        what = f"The organization {shown} of the tokens file: {exc.message} ({exc.code})"
        return fail(what, exc.next_step, exc.exit_code)
    return ok(f"KrosAI answers for the organization {shown} of the tokens file.")


async def _check_krosai(settings: Settings) -> list[Finding]:
    """Check proxy and certificates, then ask KrosAI if they are usable."""
    found = _path(settings)
    if any(finding.mark == "FAIL" for finding in found):
        return [*found, warn("KrosAI was not asked, since the way there is not usable.", "Correct that first.")]
    return [*found, *await _krosai(settings)]


def _path(settings: Settings) -> list[Finding]:
    """Return which proxy and which certificates requests use; KrosAI is not asked."""
    return [_proxy(settings.base_url), *_certificates()]


def _proxy(base_url: str) -> Finding:
    try:
        proxy = find_proxy(base_url)
    except SettingsError as exc:
        return failed(exc)
    if proxy is not None:
        return ok(f"KrosAI is reached through the proxy in {proxy.source}: {clean(proxy.place, _LONGEST_VALUE)}.")
    if named := named_proxy(base_url):
        return ok(f"KrosAI is reached directly: its host is exempt from the proxy in {named[0]}.")
    return ok("KrosAI is reached directly: no proxy is set for it.")


def _certificates() -> list[Finding]:
    source = certificates_source()
    try:
        certificates()
    except SettingsError as exc:
        return [failed(exc)]
    if source is None:
        return [
            ok("Certificates are checked by the list that comes with httpx: SSL_CERT_FILE and SSL_CERT_DIR are unset.")
        ]
    named = os.environ[source]
    what = f"Certificates are checked by the authorities in {source} alone: {clean(named, _LONGEST_VALUE)}."
    if source == "SSL_CERT_DIR" and not any(map(_is_rehashed, named.split(os.pathsep))):
        return [
            warn(f"{what} None can be found there.", "Name the files there by their hashes: openssl rehash FOLDER.")
        ]
    beside = (
        " SSL_CERT_DIR is not read beside it." if source == "SSL_CERT_FILE" and "SSL_CERT_DIR" in os.environ else ""
    )
    return [ok(f"{what}{beside}")]


def _is_rehashed(folder: str) -> bool:
    """Whether a folder holds certificates under the names by which OpenSSL looks for them."""
    path = Path(folder)
    return path.is_dir() and any(_HASHED.fullmatch(file.name) for file in path.iterdir())


async def _krosai(settings: Settings) -> list[Finding]:
    if settings.api_key is None:
        return [warn("KrosAI was not asked, since there is no key.", "Set KROS_API_KEY.")]
    found: dict[str, Finding | KrosError] = {}
    try:
        async with open_krosai(settings) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_ask, found, "numbers:read", lambda: client.list_owned(limit=1))
                tasks.start_soon(_ask, found, "endpoints:read", lambda: client.list_endpoints(limit=1))
            await keep_count(settings, client.tally)
    except KrosError as exc:
        return [failed(exc)]
    answers = [_judged(settings, scope, found[scope]) for scope in ("numbers:read", "endpoints:read")]
    further = [_PROBE] if any(finding.mark == "ok" for finding in answers) else []
    return [*dict.fromkeys(answers), *await _organizations(settings), *further]


async def _ask(found: dict[str, Finding | KrosError], scope: str, read: Callable[[], Awaitable[Any]]) -> None:
    try:
        with within(NETWORK_SECONDS):
            await read()
    except KrosError as exc:
        found[scope] = exc
    else:
        beside = " (numbers:write shows only in use)" if scope == "numbers:read" else ""
        found[scope] = ok(f"KrosAI answers, and the key may read: {scope}{beside}.")


def _judged(settings: Settings, scope: str, answer: Finding | KrosError) -> Finding:
    """Return what an answer means; two that mean the same become one line."""
    if isinstance(answer, Finding):
        return answer
    host, code = settings.base_url, answer.code
    match answer:
        case PathError():
            what, to_do = f"{answer.message} ({code})", answer.next_step
        case NotSentError() | TooSlowError() | ConnectionLostError():
            what = f"KrosAI could not be reached at {host} ({code})."
            to_do = "Check the network, the proxy if there is one, and KROS_BASE_URL."
        case AuthenticationError():
            what = f"KrosAI refuses the key ({code})."
            to_do = (
                "Check that KROS_API_KEY is whole, current and meant for this KROS_BASE_URL; KROS_AUTH_HEADER "
                "chooses how it is sent."
            )
        case PermissionDeniedError():
            what = f"KrosAI answers, and the key may not read: {scope} ({code})."
            to_do = "Give the key that scope in the KrosAI dashboard; check KROS_ORGANIZATION_ID if it is set."
        case NotFoundError():
            what = f"Nothing answers {scope} at {host} ({code})."
            return fail(what, "Check KROS_BASE_URL: it ends in the API's version, as in .../v1.", answer.exit_code)
        case OtherOrganizationError():
            what = f"{answer.message} Asked was for {scope} ({code})."
            to_do = (
                "Compare KROS_ORGANIZATION_ID with the id in the KrosAI dashboard; if it is right, KrosAI does not "
                "heed it for this key."
            )
        case ProtocolError():
            what = f"The answer of {host} to {scope} is not one of KrosAI's ({code})."
            to_do = (
                "Check that KROS_BASE_URL names the API, with its /v1, and that no login page stands between; "
                "kros-mcp probe tells what came."
            )
            return fail(what, to_do)
        case _:
            what, to_do = f"KrosAI was asked for {scope}: {answer.message} ({code})", answer.next_step
    return fail(what, to_do, answer.exit_code)


def _confirmation(settings: Settings) -> Finding:
    return ok(f"A person says yes by {settings.confirmation}: {_MODES[settings.confirmation]}")


async def _page(settings: Settings, opens: bool | None) -> list[Finding]:
    """Return whether a page that asks opens here, where that is a way to say yes.

    Args:
        settings: What the environment decides.
        opens: Whether to try; None tries where a person sits at a terminal.
    """
    if not settings.confirmation.opens_pages:
        return []
    if not (sys.stdin.isatty() and sys.stdout.isatty() if opens is None else opens):
        return [ok("Whether a page that asks the person opens here, kros-mcp doctor --browser tells: it opens one.")]
    from kros_mcp.browser.launch import may_open  # noqa: PLC0415 - only to try it
    from kros_mcp.browser.trial_page import is_page_fetched  # noqa: PLC0415 - the same

    instead = _INSTEAD[settings.confirmation]
    if not may_open(os.environ, sys.platform):
        what = f"No page that asks can open: DISPLAY, WAYLAND_DISPLAY and BROWSER are not set here, so {instead}."
        return [warn(what, "Run this at the screen of the person who is to be asked.")]
    try:
        is_fetched = await is_page_fetched()
    except OSError:
        is_fetched = False
    if is_fetched:
        return [
            ok("A test page opened in the browser, so the person can be asked there (if the client hands on as much).")
        ]
    what = f"No browser fetched a test page within 5 seconds, so {instead}."
    return [warn(what, "Open a browser, run this again, or name one in BROWSER.")]


def _caps(settings: Settings) -> list[Finding]:
    def show(cents: int) -> str:
        return show_cents(cents, settings.currency)

    if settings.read_only:
        return [ok("Read-only: nothing is bought, changed or released.")]
    month = settings.monthly_commitment_cents
    monthly = "no cap on the monthly cost" if month is None else f"{show(month)} a month for all numbers"
    caps = ok(
        f"Caps: {show(settings.max_purchase_cents)} for one purchase, {show(settings.daily_budget_cents)} in any "
        f"24 hours, {monthly}."
    )
    countries = ", ".join(settings.allowed_countries) or "any country"
    deletes = "may delete the record" if settings.allow_permanent_delete else "keeps the record"
    unpriced = "may be bought" if settings.allow_unpriced else "are refused"
    rules = ok(f"Numbers of {countries}; those without a stated price {unpriced}; a release {deletes}.")
    found = [caps, *_total(settings, show), *_approver(settings, show), *_own_caps(settings, show), rules]
    if settings.protected_numbers:
        found.append(ok(f"Protected from release: {', '.join(settings.protected_numbers)}."))
    if settings.settle_seconds < _SHORTEST_SETTLE_SECONDS:
        found.append(
            warn(
                f"KROS_SETTLE_SECONDS is {settings.settle_seconds:g}: a purchase that KrosAI carries out slowly could "
                "be called failed.",
                f"Set it to {_SHORTEST_SETTLE_SECONDS:g} or more, unless KrosAI is the simulator.",
            )
        )
    if settings.max_purchase_cents > settings.daily_budget_cents:
        found.append(
            warn(
                "One purchase may cost more than a whole day.",
                "Raise KROS_DAILY_BUDGET_CENTS or lower KROS_MAX_PURCHASE_CENTS.",
            )
        )
    return found


def _total(settings: Settings, show: Callable[[int], str]) -> list[Finding]:
    total = settings.total_daily_budget_cents
    return [] if total is None else [ok(f"All accounts of the journal together: {show(total)} in any 24 hours.")]


def _approver(settings: Settings, show: Callable[[int], str]) -> list[Finding]:
    above = settings.approval_above_cents
    if above is None or settings.confirmation is Confirmation.APPROVER:
        return []
    return [ok(f"A purchase over {show(above)} waits for an approver, as under KROS_CONFIRMATION=approver.")]


def _own_caps(settings: Settings, show: Callable[[int], str]) -> list[Finding]:
    day, month = settings.principal_daily_budget_cents, settings.principal_monthly_commitment_cents
    parts = [f"{show(day)} in any 24 hours"] if day is not None else []
    parts += [f"{show(month)} a month for what it bought"] if month is not None else []
    return [ok(f"Of that, for {clean(settings.principal)} alone: {', '.join(parts)}.")] if parts else []


def _shown(value: object) -> str:
    """Return a setting's value, without a password in an address."""
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return clean(re.sub(r"//[^/@]*@", "//***@", text), _LONGEST_VALUE)
