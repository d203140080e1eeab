"""One operation as `operations --json` and `export` show it: plain values under stable names.

Cents are integers, times ISO 8601 in UTC; None where there is none.
`charged_cents` falls back to `reserved_cents` where a charge is certain and its amount is not. `reason` is that of
whoever decided; `agent_reason` is what the agent wrote of its own, and nobody checked. `asked_times` counts the calls
for it until it was decided, up to a hundred.
"""

from typing import Any

from kros_mcp.krosai import clean
from kros_mcp.operations.acts import charge
from kros_mcp.operations.decisions import decided
from kros_mcp.operations.model import Operation
from kros_mcp.operations.status import status
from kros_mcp.times import day_of, utc

_LONGEST = 500


def record(operation: Operation, currency: str) -> dict[str, Any]:
    """Return an operation as plain values under stable names.

    Args:
        operation: As it stands in the journal.
        currency: The operator's label, or empty.
    """
    quote, request = operation.quote, operation.request
    decision = decided(operation)
    return {
        "operation_id": operation.id,
        "account": operation.account,
        "environment": quote.environment,
        "principal": _text(operation.principal),
        "action": str(operation.action),
        "e164": _text(operation.e164),
        "country": _text(quote.country or ""),
        "asked_at": _time(operation.created_at),
        "asked_through": _word(operation.channel),
        "expires_at": _time(operation.expires_at),
        "confirmed_at": _time(operation.confirmed_at),
        "confirmed_by": _text(operation.confirmed_by),
        "confirmed_through": _word(operation.channel) if operation.confirmed_at is not None else None,
        "decided_by": _text(decision.who) if decision else None,
        "decided_through": _text(decision.channel) if decision else None,
        "claimed_at": _time(operation.claimed_at),
        "sent_at": _time(operation.sent_at),
        "settled_at": _time(operation.settled_at),
        "corrected_at": _time(operation.corrected_at),
        "state": str(operation.state),
        "status": status(operation),
        "charged": operation.charged,
        "changed": operation.changed,
        "currency": charge.currency_of(operation, currency) or None,
        "setup_cents": quote.setup_cents,
        "monthly_cents": quote.monthly_cents,
        "due_now_cents": quote.due_now_cents,
        "reserved_cents": operation.reserved_cents,
        "charged_cents": operation.charged_cents,
        "charged_on": charged_on(operation),
        "reason": _text(operation.reason),
        "agent_reason": _text(request.reason),
        "asked_times": 1 + operation.asked_again,
        "message": _text(operation.message),
        "note": _text(operation.note),
        "error_code": _text(operation.error_code),
        "number_id": _text((operation.number.id if operation.number else "") or request.number_id),
        "endpoint_id": _text(request.endpoint_id),
        "allow_inbound": request.allow_inbound,
        "allow_outbound": request.allow_outbound,
        "permanent": request.permanent,
        "not_applied": [clean(name, _LONGEST) for name in operation.not_applied],
        "settings_pending": operation.settings_pending,
        "batch": operation.batch or None,
    }


def charged_on(operation: Operation) -> str | None:
    """Return the day in UTC on which a purchase was, or may have been, charged: the one it was sent on."""
    charges = operation.action.charges and operation.charged != "no"
    return day_of(operation.sent_at) if charges and operation.sent_at is not None else None


def why(operation: Operation) -> str:
    """Return in one line why an operation is in its state; empty if nobody said."""
    texts = [operation.reason, operation.message, operation.note]
    if operation.not_applied:
        texts.append(f"Not applied: {', '.join(operation.not_applied)}.")
    if operation.settings_pending:
        texts.append("Its settings are not finished yet.")
    kept: list[str] = []
    for text in texts:
        shown = clean(text, _LONGEST)
        kept = [one for one in kept if one not in shown]  # a message may quote the reason
        if shown:
            kept.append(shown)
    return " / ".join(kept)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else utc(seconds)


def _text(text: str) -> str | None:
    return (clean(text, _LONGEST) or None) if text else None


def _word(word: str | None) -> str | None:
    return None if word is None else str(word)
