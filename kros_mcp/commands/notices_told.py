"""What the doctor tells of notices: where people are told, when the last one came through, and what never did."""

from kros_mcp.commands.findings import Finding, failed, ok, warn
from kros_mcp.errors import KrosError, SettingsError
from kros_mcp.notifying.destinations import destination_id, open_destinations
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.notices import OutboxCounts
from kros_mcp.settings import Settings
from kros_mcp.times import utc

_TRY = "Look at the receiver, then run kros-mcp notify --test; kros-mcp notify --acknowledge drops what is too old."


async def notices_told(settings: Settings, journal: Journal) -> list[Finding]:
    """Return what there is to say of notices in this journal."""
    try:
        destinations = open_destinations(settings)
        own = [
            (each.name, await journal.outbox_counts(destination=destination_id(each, journal.secret)))
            for each in destinations
        ]
        of_all = await journal.outbox_counts()
    except SettingsError as exc:
        return [failed(exc)]
    except KrosError as exc:
        to_do = "Let this user read and write the journal's tables outbox and listeners as it does the others."
        return [warn(f"The notices to people cannot be read ({exc.code}).", to_do)]
    found = [finding for name, counts in own for finding in _destination(name, counts)]
    if not destinations:
        found.append(ok("Nobody is told of what waits or has ended: neither KROS_WEBHOOK_URL nor KROS_NOTIFY_URLS."))
    elif settings.read_only:
        found.append(ok("A server that only reads tells nobody; another one with these settings does."))
    elsewhere = of_all.undelivered - sum(counts.undelivered for _, counts in own)
    if elsewhere > 0:
        what = f"{_some(elsewhere)} could not be delivered within a day to destinations that are not set here."
        found.append(warn(what, _TRY))
    return found


def _destination(name: str, counts: OutboxCounts) -> list[Finding]:
    last = f"the last notice came through at {utc(counts.delivered_at)}" if counts.delivered_at else "none came yet"
    waiting = f", {counts.waiting} wait{'s' if counts.waiting == 1 else ''}" if counts.waiting else ""
    found = [ok(f"People are told by {name}: {last}{waiting}.")]
    if counts.undelivered:
        since = utc(counts.undelivered_since or 0.0)
        what = f"{_some(counts.undelivered)} could not be delivered within a day by {name}, the oldest of {since}."
        found.append(warn(what, _TRY))
    return found


def _some(count: int) -> str:
    return "1 notice" if count == 1 else f"{count:,} notices"
