"""Acknowledgements of differences: once somebody has written down that one is known, it fails no more.

An acknowledgement is an event of the operation, and holds for a difference of the same kind and subject until the
operation changes.
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
"""Fields of an operation whose change ends the acknowledgements from before it."""


async def acknowledge(journal: Journal, differences: Iterable[Difference], wanted: str, *, by: By, reason: str) -> None:
    """Acknowledge what was found of `wanted`: what fails, or the warnings where nothing fails.

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


async def with_acknowledgements(journal: Journal, differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences, those that are acknowledged as ok, with who knows of them and why."""
    doubtful = {one.operation_id for one in differences if one.operation_id and one.finding.mark != "ok"}
    events = {operation_id: await journal.events(operation_id) for operation_id in sorted(doubtful)}
    return [_acknowledged(one, events.get(one.operation_id, ())) for one in differences]


def _acknowledged(difference: Difference, events: Sequence[Event]) -> Difference:
    if difference.finding.mark == "ok":
        return difference
    beginning = f"{_key(difference)}: "
    for event in reversed(events):
        if event.move == MoveName.ACKNOWLEDGED and event.words.startswith(beginning):
            known = Acknowledged(clean(event.words.removeprefix(beginning), 200), clean(event.who, 100), event.at)
            sentence = f"{difference.finding.what} Known: {known.reason.rstrip('.')} ({known.by}, {day_of(known.at)})."
            return replace(difference, finding=ok(sentence), acknowledged=known)
        if _MOVED_ON & event.changes.keys():
            break
    return difference


def _key(difference: Difference) -> str:
    """Return what an acknowledgement names the difference by."""
    return f"{difference.kind}({difference.subject})" if difference.subject else difference.kind
