"""Operations as they stand at their end, put into a journal of either backend as they are."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request, State, StoredNumber, new_operation_id

ACCOUNT = "account"
MAY_3 = datetime(2026, 5, 3, tzinfo=UTC).timestamp()
DAY = 86_400.0


def ended(at: int, sent_at: float | None = MAY_3, **changes: Any) -> Operation:
    """A purchase of 5.00 that is done, of its own number; other fields as wished."""
    e164 = f"+2348035550{at:03d}"
    operation = Operation(
        id=new_operation_id(),
        account=ACCOUNT,
        principal="local",
        action=Action.BUY,
        e164=e164,
        request=Request(),
        quote=Quote(e164, "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500),
        created_at=MAY_3 - 60 if sent_at is None else sent_at - 60,
        expires_at=MAY_3 + 600,
        state=State.DONE,
        channel=Channel.CODE,
        claimed_at=sent_at,
        reserved_cents=500,
        sent_at=sent_at,
        settled_at=None if sent_at is None else sent_at + 1,
        charged="yes",
        changed="yes",
    )
    return replace(operation, **changes)


def released(at: int, sent_at: float, **changes: Any) -> Operation:
    """The release of a number, of which KrosAI has not said what it costs."""
    asked = {"action": Action.RELEASE, "reserved_cents": 0, "charged": "no", "request": Request(number_id=f"id_{at}")}
    bought = ended(at, sent_at)
    quote = replace(bought.quote, setup_cents=None, due_now_cents=None, monthly_cents=None)
    return replace(bought, **{**asked, "quote": quote, **changes})  # type: ignore[arg-type]  # fields of Operation


def reported(operation: Operation, number_id: str = "id", **stated: int | str) -> Operation:
    """The same, with a record that KrosAI has shown since."""
    return replace(operation, number=StoredNumber(number_id, operation.e164, **stated))  # type: ignore[arg-type]


def quoted(operation: Operation, **stated: Any) -> Operation:
    return replace(operation, quote=replace(operation.quote, **stated))


async def enter(journal: Journal, *operations: Operation) -> None:
    for operation in operations:
        await journal._transact(lambda row=operation: journal._insert(row))  # type: ignore[attr-defined]  # noqa: SLF001 - as it ended
