"""Differences that somebody knows of: an event of the operation that they name keeps them from failing again.

It holds for that very difference, of the same kind and subject, until the operation moves on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from kros_mcp.commands.differences import Acknowledged, Difference
from kros_mcp.commands.findings import ok
from kros_mcp.errors import KrosError
from kros_mcp.krosai import clean
from kros_mcp.operations.events import By, Event, MoveName
from kros_mcp.operations.journal import Journal
from kros_mcp.times import day_of

_MOVED_ON: Final = frozenset({"state", "corrected_at", "note"})
"""What an operation is found anew by; an acknowledgement from before one of these changed has had its day."""


async def acknowledge(journal: Journal, differences: Iterable[Difference], wanted: str, *, by: By, reason: str) -> None:
    """Write down that what names `wanted` is known: what fails, or the warnings where nothing fails.

    Args:
        journal: Where the operations stand.
        differences: As they were found just now; what is known already is left as it is.
        wanted: The id of an operation, or an E.164.
        by: Who knows.
        reason: Why it may stay so.

    Raises:
        KrosError: `NOTHING_FOUND`, or `NO_OPERATION`: what was found has no operation that could keep it.
    """
    named = [one for one in differences if wanted in {one.operation_id, one.e164} and one.finding.mark != "ok"]
    if not named:
        raise KrosError(
            f"Nothing was found of {clean(wanted)} that needs a person; nothing was written down.",
            code="NOTHING_FOUND",
            next_step="Name an operation or a number as a finding of kros-mcp reconcile does.",
        )
    named = [one for one in named if one.finding.mark == "FAIL"] or named
    kept = [one for one in named if one.operation_id]
    if not kept:
        raise KrosError(
            f"What was found of {clean(wanted)} belongs to no operation of this journal, so that it cannot be written "
            "down as known.",
            code="NO_OPERATION",
            next_step="Mend it at KrosAI." if named[0].finding.mark == "FAIL" else "It fails nothing as it is.",
        )
    for one in kept:
        await journal.acknowledge(one.operation_id, by=by, words=f"{_key(one)}: {reason}")


async def with_known(journal: Journal, differences: Sequence[Difference]) -> list[Difference]:
    """Let what somebody knows of fail and warn no more, and say who knows and why."""
    doubtful = {one.operation_id for one in differences if one.operation_id and one.finding.mark != "ok"}
    events = {operation_id: await journal.events(operation_id) for operation_id in sorted(doubtful)}
    return [_as_known(one, events.get(one.operation_id, ())) for one in differences]


def _as_known(difference: Difference, events: Sequence[Event]) -> Difference:
    if difference.finding.mark == "ok":
        return difference
    beginning = f"{_key(difference)}: "
    for event in reversed(events):
        if event.move == MoveName.ACKNOWLEDGED and event.words.startswith(beginning):
            known = Acknowledged(clean(event.words.removeprefix(beginning), 200), clean(event.who, 100), event.at)
            told = f"{difference.finding.what} Known: {known.reason.rstrip('.')} ({known.by}, {day_of(known.at)})."
            return replace(difference, finding=ok(told), acknowledged=known)
        if _MOVED_ON & event.changes.keys():
            break
    return difference


def _key(difference: Difference) -> str:
    """Name a difference so that only the same one is known by it."""
    return f"{difference.kind}({difference.subject})" if difference.subject else difference.kind
