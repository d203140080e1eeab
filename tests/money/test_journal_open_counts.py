"""What the journal counts for the gauges, and writes down of what waited too long; in both backends."""

from dataclasses import replace

import pytest

from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import moves, status
from kros_mcp.operations.journal import Filter
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request, Settlement, State, new_operation_id

pytestmark = pytest.mark.anyio
ACCOUNT = "account"


def draft(at: int, now: float, **changes: object) -> Operation:
    e164 = f"+2348035550{at:03d}"
    operation = Operation(
        id=new_operation_id(),
        account=ACCOUNT,
        principal="local",
        action=Action.BUY,
        e164=e164,
        request=Request(inventory_id=f"inv_{at}"),
        quote=Quote(e164, "NG", "test", due_now_cents=500, monthly_cents=500),
        created_at=now - 100,
        expires_at=now + 600,
        channel=Channel.APPROVER,
    )
    return replace(operation, **changes)  # type: ignore[arg-type]  # fields of Operation


async def test_what_waits_and_what_is_unknown_is_counted_with_the_oldest_of_each(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        now = await journal.now()
        await journal.propose(draft(0, now, created_at=now - 300))
        await journal.propose(draft(1, now))
        await journal.propose(draft(2, now, created_at=now - 900, expires_at=now - 1))
        await journal.propose(draft(3, now, account="another"))
        lost = await journal.propose(draft(4, now))
        await journal.change(lost.id, lambda row, at: moves.claim(row, at, reserved_cents=500, by="x"))
        await journal.change(lost.id, lambda row, at: moves.mark_sent(row, at, token=1))
        lost = await journal.change(lost.id, lambda row, at: moves.settle(row, at, Settlement(State.UNKNOWN), token=1))
        found = await journal.open_counts(ACCOUNT)
    assert (found.waiting, found.unknown) == (2, 1)
    assert found.waiting_since == pytest.approx(now - 300)
    assert found.unknown_since == lost.sent_at


async def test_what_waited_too_long_is_written_down_once_and_nothing_else(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        now = await journal.now()
        late = await journal.propose(draft(0, now, expires_at=now - 1))
        waiting = await journal.propose(draft(1, now))
        assert [await journal.expire() for _ in range(2)] == [1, 0]
        assert [event.move for event in await journal.events(late.id)] == ["proposed", "expired"]
        assert [event.move for event in await journal.events(waiting.id)] == ["proposed"]
        assert (await journal.open_counts("nobody")).waiting_since is None


async def test_whom_something_waits_for_can_be_asked_of_the_journal(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        now = await journal.now()
        approver = await journal.propose(draft(0, now))
        person = await journal.propose(draft(1, now, channel=Channel.CODE))
        nobody_yet = await journal.propose(draft(2, now, channel=None))
        screen = await journal.propose(draft(3, now, channel=Channel.SCREEN))

        async def found(word: str) -> set[str]:
            states, asked = status.read([word])
            wanted = Filter(states=states, asked=asked)
            return {operation.id for operation in await journal.list_operations(wanted)}

        assert await found("awaiting_approval") == {approver.id, screen.id}
        assert await found("confirmation_required") == {person.id, nobody_yet.id}
        assert await found("proposed") == {approver.id, screen.id, person.id, nobody_yet.id}
