"""One operation as a line of CSV: the columns, and what stands in their cells.

Cells that a spreadsheet would take for a formula begin with an apostrophe instead; the E.164 alone keeps its plus sign.
"""

from typing import Any

from kros_mcp.operations.model import Operation
from kros_mcp.operations.record import record

COLUMNS = (
    "operation_id",
    "account",
    "environment",
    "principal",
    "action",
    "e164",
    "country",
    "asked_at",
    "asked_through",
    "confirmed_at",
    "confirmed_by",
    "confirmed_through",
    "decided_by",
    "decided_through",
    "claimed_at",
    "sent_at",
    "settled_at",
    "corrected_at",
    "state",
    "status",
    "charged",
    "changed",
    "currency",
    "setup_cents",
    "monthly_cents",
    "due_now_cents",
    "reserved_cents",
    "charged_cents",
    "charged_amount",
    "monthly_amount",
    "charged_on",
    "reason",
    "message",
    "note",
    "error_code",
    "not_applied",
    "agent_reason",
    "asked_times",
    "batch",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last are full-width


def cells(operation: Operation, currency: str) -> list[str]:
    """Return an operation as the cells of one line."""
    values: dict[str, Any] = record(operation, currency)
    values["charged_amount"] = _decimal(values["charged_cents"])
    values["monthly_amount"] = _decimal(values["monthly_cents"])
    values["not_applied"] = " ".join(values["not_applied"])
    return [_cell(name, values[name]) for name in COLUMNS]


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    guarded = isinstance(value, str) and name != "e164" and text.startswith(_FORMULA)
    return f"'{text}" if guarded else text


def _decimal(cents: int | None) -> str | None:
    return None if cents is None else f"{cents // 100}.{cents % 100:02d}"
