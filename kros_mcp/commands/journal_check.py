"""What the doctor checks of the journal: where it is, who can read it, and what in it is unsettled."""

import os
import stat
from pathlib import Path

from kros_mcp.commands.findings import Finding, fail, failed, ok, warn
from kros_mcp.commands.history import RECENT_SECONDS, is_named_but_not_listed, was_corrected_recently
from kros_mcp.commands.notices_told import notices_told
from kros_mcp.commands.requests_sent import requests_told
from kros_mcp.commands.selection import account_of, is_foreign, short
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.journals.backends import open_journal, place
from kros_mcp.journals.journal_errors import REMEDIES, restored
from kros_mcp.journals.sqlite_file import is_there, journal_path, network_file_system
from kros_mcp.operations.journal import Filter, Journal, every
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.settings import Settings, is_postgres

PRIVATE_MODE = 0o600
_MOST_LISTED = 100
_SHOWN = 5
_LOOKED_BACK_SECONDS = RECENT_SECONDS + 33 * 86_400.0
"""An approver may take 30 days, and what is sent then is watched for a day or two."""


async def check_journal(settings: Settings) -> list[Finding]:
    """Open the journal as the server would, and check what is in it."""
    url = settings.journal_url
    path = None if is_postgres(url) else journal_path(url)
    mode_before = _mode(path)
    try:
        is_new = settings.read_only and path is not None and not is_there(path)
        async with open_journal(url, read_only=settings.read_only) as journal:
            only_reads = journal.only_reads
            if not only_reads:
                await journal.check_writable()
            account = await account_of(settings, journal)
            rows = [*await _restored(journal, account), *await _rows(journal, account)]
            rows += await requests_told(settings, journal)
            rows += await notices_told(settings, journal)
    except KrosError as exc:
        if isinstance(exc, SettingsError):
            return [failed(exc)]
        where = "" if place(url) in exc.message else f" ({place(url)})"
        to_do = REMEDIES.get(exc.code) or (
            "Check KROS_JOURNAL_URL, and that the database runs and accepts this user. Another one knows nothing "
            "of what was spent."
            if is_postgres(url)
            else "Make room, or make the file writable. Another file would know nothing of what was spent."
        )
        return [fail(f"{exc.message}{where}", to_do, exc.exit_code)]
    if is_new:
        return [
            ok(f"There is no journal {place(url)} yet, and this server only reads: it begins with an empty one."),
            *rows,
        ]
    beside = _database(settings) if is_postgres(url) else _file(path, mode_before)
    can = "can be read, and this server only reads" if only_reads else "can be written"
    return [ok(f"The journal {place(url)} {can}."), *beside, *rows]


async def _restored(journal: Journal, account: str | None) -> list[Finding]:
    if account is None or await journal.lacks_since(account) is None:
        return []
    error = restored()
    return [fail(error.message, REMEDIES[error.code], error.exit_code)]


def _database(settings: Settings) -> list[Finding]:
    found = []
    # It has been opened, so the extra is there.
    from kros_mcp.journals.postgres_address import Address  # noqa: PLC0415

    if Address.of(settings.journal_url or "").is_unverified:
        found.append(
            warn(
                "The journal's database is on another machine, and its certificate is not verified.",
                "Add sslmode=verify-full to KROS_JOURNAL_URL, and sslrootcert if its authority is your own.",
            )
        )
    if settings.tokens_file is not None or settings.oauth_issuer is not None:
        return found  # of the HTTP service, whose callers each act in their own name
    try:
        settings.require_principal()
    except SettingsError as exc:
        found.append(failed(exc))
    return found


def _file(path: Path | None, mode_before: int | None) -> list[Finding]:
    if path is None:
        return []
    found = []
    mode = _mode(path)
    if mode is not None and mode != PRIVATE_MODE:
        found.append(
            warn(f"The journal's mode is {mode:04o}, not 0600, and could not be set.", f"Run: chmod 600 {path}")
        )
    elif mode_before not in {None, mode}:
        found.append(
            warn(
                f"The journal's mode was {mode_before:04o} and is 0600 now; others could read it until now.",
                "Find out what had opened it up, such as a restored backup.",
            )
        )
    elif mode is not None:
        found.append(ok("The journal is private to its owner (mode 0600)."))
    if kind := network_file_system(path):
        found.append(
            warn(
                f"The journal is on a network file system ({kind}), where SQLite cannot keep processes apart.",
                "Name a file on a local disk in KROS_JOURNAL_URL.",
            )
        )
    return found


async def _rows(journal: Journal, account: str | None) -> list[Finding]:
    counts = {state: await journal.count(Filter(account=account, states=(state,))) for state in State}
    counted = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    whose = "Operations" if account is None else "Operations of this account"
    found = [ok(f"{whose}: {counted or 'none yet'}.")]
    unknown = await journal.list_operations(Filter(account=account, states=(State.UNKNOWN,)), limit=_MOST_LISTED)
    found += [_unknown(one) for one in unknown]
    found += await _corrections(journal, account)
    proposed = await journal.list_operations(Filter(account=account, states=(State.PROPOSED,)), limit=_MOST_LISTED)
    waiting = [one for one in proposed if one.channel is Channel.APPROVER]
    if waiting:
        found.append(
            warn(
                f"Waiting for an approver: {_listed(waiting)}.",
                "Decide with kros-mcp approve ID, or kros-mcp deny ID.",
            )
        )
    unsettled = Filter(states=(State.UNKNOWN, State.SENDING, State.CONFIRMED))
    of_all = await journal.list_operations(unsettled, limit=_MOST_LISTED)
    named = {each.account for each in await journal.organizations()}
    theirs = [one for one in of_all if is_foreign(one, account) and one.account in named]
    if theirs:
        found.append(
            warn(
                f"Not settled, of other organizations that callers name: {_listed(theirs)}.",
                "A running kros-mcp http with their address looks after them; kros-mcp reconcile --organization ID "
                "compares one with KrosAI.",
            )
        )
    others = [one for one in of_all if is_foreign(one, account) and one.account not in named]
    if others:
        found.append(
            warn(
                f"Not settled, of other accounts (another key, organization or address): {_listed(others)}.",
                "Only a server with that account's settings looks after them. If this key has replaced theirs, run "
                f"kros-mcp adopt {' or '.join(sorted({short(one.account) for one in others}))}; else look in the "
                "dashboard and run kros-mcp settle ID done|failed --reason ...",
            )
        )
    return found


async def _corrections(journal: Journal, account: str | None) -> list[Finding]:
    """Return the outcomes of the last days that were corrected, or that KrosAI has not shown yet."""
    now = await journal.now()
    sent = (State.DONE, State.FAILED, State.UNKNOWN)
    corrected, not_listed = [], []
    async for operation in every(journal, Filter(account=account, states=sent, since=now - _LOOKED_BACK_SECONDS)):
        if was_corrected_recently(operation, now):
            corrected.append(operation)
        if is_named_but_not_listed(operation) and now - (operation.settled_at or now) < RECENT_SECONDS:
            not_listed.append(operation)
    found = []
    if corrected:
        what = f"Corrected within 7 days, since KrosAI showed otherwise than was told: {_counted(corrected)}."
        found.append(warn(what, "kros-mcp reconcile tells what was said, and what is so."))
    if not_listed:
        what = (
            f"Bought within 7 days, and not listed by KrosAI since, as far as anybody looked: {_counted(not_listed)}."
        )
        found.append(warn(what, "kros-mcp reconcile looks whether KrosAI lists it now."))
    return found


def _unknown(operation: Operation) -> Finding:
    return warn(
        f"The outcome of {operation.id} ({operation.action} {operation.e164}) is unknown"
        f"{'; its amount stays reserved' * operation.action.charges}.",
        "A running server keeps asking KrosAI. To end it yourself, look in the dashboard and run "
        f"kros-mcp settle {operation.id} done|failed --reason ...",
    )


def _counted(operations: list[Operation]) -> str:
    return f"{len(operations)} operation{'' if len(operations) == 1 else 's'}, {_listed(operations)}"


def _listed(operations: list[Operation]) -> str:
    ids = [f"{operation.id} ({operation.state})" for operation in operations[:_SHOWN]]
    return ", ".join(ids) + (f" and {len(operations) - _SHOWN} more" if len(operations) > _SHOWN else "")


def _mode(path: Path | None) -> int | None:
    """Return the permission bits, where the system has them and the file is there."""
    if path is None or os.name == "nt":
        return None
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
