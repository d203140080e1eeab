"""The table of clients and steps, for people and for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from tests.support.columns import in_columns

from .journey import STEPS
from .trying import Tried

_DASH = "\N{EN DASH}"
_SIGNS = {"ok": "ok", "none": _DASH, "failed": "FAILED"}


def lines(rows: Sequence[Tried], seconds: float) -> list[str]:
    """Write the table, the notes under it, and what it comes to.

    Args:
        rows: One for each client and transport, in the order to be shown.
        seconds: How long all of it took.
    """
    heads = ["client", "over", "protocol", "model sees", *STEPS, "seconds"]
    cells = [
        [row.client or row.name, row.transport, row.protocol or "?", row.sees or "?"]
        + [_SIGNS[row.cells[step].verdict] for step in STEPS]
        + [f"{row.seconds:.1f}"]
        for row in rows
    ]
    return [*in_columns([heads, *cells]), "", *_notes(rows), _sum(rows, seconds)]


def as_json(rows: Iterable[Tried]) -> str:
    """Write the rows as one JSON list."""
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)


def _notes(rows: Sequence[Tried]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for cell in row.cells.values():
            if cell.verdict == "none" and row.name not in reasons.setdefault(cell.reason, []):
                reasons[cell.reason].append(row.name)
    notes = [f"{_DASH}  {reason}: {', '.join(names)}" for reason, names in reasons.items()]
    for row in rows:
        notes += [f"FAILED  {row.name} over {row.transport}, {step}: {why}" for step, why in row.failed.items()]
    return [*notes, ""] if notes else []


def _sum(rows: Sequence[Tried], seconds: float) -> str:
    verdicts = [cell.verdict for row in rows for cell in row.cells.values()]
    failed = verdicts.count("failed")
    clients = len({row.name for row in rows})
    return (
        f"{clients} client{'s' * (clients != 1)}, {len(verdicts) - verdicts.count('none')} steps, "
        f"{f'{failed} FAILED' if failed else 'none failed'}, in {seconds:.0f} seconds"
    )
