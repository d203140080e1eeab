"""The doctor's look at the journal: where it stands, who can read it, and what in it is unsettled."""

import os
import stat
from collections import Counter
from pathlib import Path

from kros_mcp.commands.choosing import account_of
from kros_mcp.commands.findings import Finding, fail, ok, warn
from kros_mcp.errors import KrosError
from kros_mcp.operations import moves
from kros_mcp.operations.backends import open_journal
from kros_mcp.operations.model import Channel, Operation, State
from kros_mcp.operations.sqlite_file import journal_path, network_file_system
from kros_mcp.settings import Settings

PRIVATE_MODE = 0o600
_MOST_OPERATIONS = 100_000
_SHOWN = 5


async def check_journal(settings: Settings) -> list[Finding]:
    """Open the journal as the server would, and look at what stands in it."""
    url = settings.journal_url
    path = journal_path(url)
    mode_before = _mode(path)
    try:
        async with open_journal(url) as journal:
            await journal.check_writable()
            rows = await journal.list_operations(limit=_MOST_OPERATIONS)
            now = await journal.now()
            operations = [moves.expire(operation, now) for operation in rows]
            account = account_of(settings, journal)
    except KrosError as exc:
        where = f" ({path})" if path is not None and str(path) not in exc.message else ""
        return [
            fail(
                f"{exc.message}{where}",
                "Name a file that can be written, on a local disk with room, in KROS_JOURNAL_URL.",
                exc.exit_code,
            )
        ]
    return [ok(f"The journal {path or 'is'} can be written."), *_file(path, mode_before), *_rows(operations, account)]


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


def _rows(operations: list[Operation], account: str | None) -> list[Finding]:
    mine = [operation for operation in operations if account in {None, operation.account}]
    counts = Counter(operation.state for operation in mine)
    counted = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    whose = "Operations" if account is None else "Operations of this account"
    found = [ok(f"{whose}: {counted or 'none yet'}.")]
    found += [_unknown(one) for one in mine if one.state is State.UNKNOWN]
    waiting = [one for one in mine if one.state is State.PROPOSED and one.channel is Channel.APPROVER]
    if waiting:
        found.append(
            warn(
                f"Waiting for an approver: {_listed(waiting)}.",
                "Decide with kros-mcp approve ID, or kros-mcp deny ID.",
            )
        )
    unsettled = {State.UNKNOWN, State.SENDING, State.CONFIRMED}
    others = [one for one in operations if account not in {None, one.account} and one.state in unsettled]
    if others:
        found.append(
            warn(
                f"Not settled, of other accounts (another key, organization or address): {_listed(others)}.",
                "Only a server with that account's settings looks after them. Where the outcome is unknown and the key "
                "is gone, look in the dashboard and run kros-mcp settle ID done|failed --reason ...",
            )
        )
    return found


def _unknown(operation: Operation) -> Finding:
    return warn(
        f"The outcome of {operation.id} ({operation.action} {operation.e164}) is unknown; its amount stays reserved.",
        "A running server keeps asking KrosAI. To end it yourself, look in the dashboard and run "
        f"kros-mcp settle {operation.id} done|failed --reason ...",
    )


def _listed(operations: list[Operation]) -> str:
    ids = [f"{operation.id} ({operation.state})" for operation in operations[:_SHOWN]]
    return ", ".join(ids) + (f" and {len(operations) - _SHOWN} more" if len(operations) > _SHOWN else "")


def _mode(path: Path | None) -> int | None:
    """Read the permission bits, where the system has them and the file is there."""
    if path is None or os.name == "nt":
        return None
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
