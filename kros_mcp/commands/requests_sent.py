"""The requests that KrosAI was sent: what the doctor tells of them, and how those of a command are counted too."""

from collections import Counter
from contextlib import suppress

from kros_mcp.commands.findings import Finding, ok, warn
from kros_mcp.errors import KrosError
from kros_mcp.journals.backends import open_journal
from kros_mcp.journals.sqlite_file import is_there, journal_path
from kros_mcp.krosai import Kind, Purpose, Tally, Window, clean
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.tally_keeper import TallyKeeper
from kros_mcp.settings import MEMORY, Settings, is_postgres

FEW = 100
"""Fewer requests a day are no use: a single purchase takes about twenty."""
_KINDS: dict[str, str] = {
    Kind.OWNED: "lists of owned numbers",
    Kind.AVAILABLE: "lists of numbers for sale",
    Kind.NUMBER: "single numbers",
    Kind.ENDPOINTS: "endpoints",
    Kind.ORDER: "orders",
    Kind.CHANGE: "changes",
    Kind.RELEASE: "releases",
}
_PURPOSES: dict[str, str] = {
    Purpose.READ: "to read",
    Purpose.ACT: "for acts",
    Purpose.BACKGROUND: "in the background",
}


async def requests_told(settings: Settings, journal: Journal) -> list[Finding]:
    """Return what KrosAI was sent in the last 24 hours with this key, by all who share the journal."""
    if settings.api_key is None:
        return []
    try:
        window = await journal.requests(settings.request_key(journal.secret))
    except KrosError as exc:
        to_do = "Let this user read and write the journal's table request_counts as it does the others."
        return [warn(f"The count of requests to KrosAI cannot be read ({exc.code}).", to_do)]
    per_day, tally = settings.requests_per_day, Tally(settings.requests_per_day)
    tally.learned({}, window)
    allowed = "" if per_day is None else f" of the {per_day:,} that KROS_REQUESTS_PER_DAY allows"
    what = f"Requests to KrosAI with this key in the last 24 hours: {window.total:,}{allowed}{_by_kind(window)}."
    if settings.read_only:
        what += " A server that only reads counts its own in memory alone; they are not among these."
    found = [ok(what)]
    if tally.is_sparing:
        refused = "reading is refused" if tally.refuses_reading else "the background rests"
        found = [warn(f"{what} So {refused}.", "Wait, or raise KROS_REQUESTS_PER_DAY if KrosAI's plan allows more.")]
    if per_day is not None and per_day < FEW:
        found.append(
            warn(
                f"KROS_REQUESTS_PER_DAY is {per_day}: a single purchase takes about 20 requests.",
                f"Set it to {FEW} or more, by KrosAI's plan.",
            )
        )
    return found


async def keep_count(settings: Settings, tally: Tally) -> None:
    """Count what a command has sent in the journal, if there is one that can be written; never fails."""
    url = settings.journal_url
    path = None if is_postgres(url) else journal_path(url)
    if settings.read_only or url == MEMORY or not tally.counted():
        return
    with suppress(KrosError):
        if path is None or is_there(path):
            async with open_journal(url) as journal:
                await TallyKeeper(tally, journal, settings).finish()


def _by_kind(window: Window) -> str:
    kinds: Counter[str] = Counter()
    purposes: Counter[str] = Counter()
    for count in window.counts:
        kinds[count.kind] += count.requests
        purposes[count.purpose] += count.requests
    listed = [
        ", ".join(f"{some:,} {names.get(name, clean(name))}" for name, some in counted.most_common())
        for counted, names in ((kinds, _KINDS), (purposes, _PURPOSES))
    ]
    return f": {'; '.join(listed)}" if window.counts else ""
