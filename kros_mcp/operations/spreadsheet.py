"""Operations and sums as the cells of CSV files, for people who open them in a spreadsheet.

Whoever writes them does so as RFC 4180 wants it, in UTF-8. A cell that a spreadsheet would take for a formula begins
with an apostrophe instead; the E.164 alone keeps its plus sign. So does what stands behind a semicolon, where many
countries' spreadsheets begin the next cell.
"""

import re
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
_NEXT_FORMULA = re.compile(rf"(;[\s\"]*)(?=[{re.escape(''.join(_FORMULA))}])")


def cells(operation: Operation, currency: str) -> list[str]:
    """Return an operation as the cells of one line, below `COLUMNS`.

    Args:
        operation: As it stands in the journal.
        currency: The operator's label, or empty.
    """
    values: dict[str, Any] = record(operation, currency)
    values["charged_amount"] = decimal(values["charged_cents"])
    values["monthly_amount"] = decimal(values["monthly_cents"])
    values["not_applied"] = " ".join(values["not_applied"])
    return [cell(name, values[name]) for name in COLUMNS]


def cell(name: str, value: object) -> str:
    """Return a value as a cell of the column of that name; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if not isinstance(value, str) or name == "e164":
        return text
    text = _NEXT_FORMULA.sub(r"\1'", text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def decimal(cents: int | None) -> str | None:
    """Return an amount with two decimals, as in "5.00"; None where it is not known."""
    if cents is None:
        return None
    whole, hundredths = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{hundredths:02d}"
