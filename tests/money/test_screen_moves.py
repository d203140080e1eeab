"""What the journal keeps of questions on a person's screen, in both backends."""

from dataclasses import replace
from functools import partial

import pytest

from kros_mcp.errors import OperationError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations import moves
from kros_mcp.operations.events import AT_SCREEN
from kros_mcp.operations.execution import Yes
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Channel, Operation, Quote, Request, State, new_operation_id

pytestmark = pytest.mark.anyio
E164 = "+2348035550100"


def draft(now: float) -> Operation:
    return Operation(
        id=new_operation_id(),
        account="account",
        principal="local",
        action=Action.BUY,
        e164=E164,
        request=Request(),
        quote=Quote(E164, "NG", "test", due_now_cents=500, monthly_cents=500),
        created_at=now,
        expires_at=now + 600,
    )


async def on_screen(journal: Journal) -> Operation:
    """Propose something, and put it to the screen."""
    operation = await journal.propose(draft(await journal.now()))
    return await journal.change(
        operation.id, lambda row, at: replace(row, channel=Channel.SCREEN, asked_at=row.asked_at or at)
    )


async def test_a_page_that_was_fetched_stays_on_the_screen_and_its_story_says_when(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        operation = await on_screen(journal)
        await journal.change(operation.id, moves.shown, by=AT_SCREEN)
        kept = await journal.change(operation.id, partial(moves.unopened, takes_codes=True))
        assert (kept.channel, kept.state, kept.shown_at is not None) == (Channel.SCREEN, State.PROPOSED, True)
        told = [(event.move, event.who, event.channel) for event in await journal.events(operation.id)]
    assert told[1:] == [("asked", "server", "screen"), ("shown", "person", "screen")]


async def test_a_page_that_nobody_fetched_gives_way_to_a_code_and_is_fetched_no_more(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        operation = await on_screen(journal)
        asked = await journal.change(operation.id, partial(moves.unopened, takes_codes=True))
        assert (asked.channel, asked.state) == (Channel.CODE, State.PROPOSED)
        with pytest.raises(OperationError):
            await journal.change(operation.id, moves.shown, by=AT_SCREEN)
        assert (await journal.get(operation.id)) == asked


async def test_only_what_somebody_turned_down_counts_as_asked_too_often(journal_url: str) -> None:
    async with open_journal(journal_url) as journal:
        for _ in range(4):
            operation = await on_screen(journal)
            await journal.change(operation.id, partial(moves.unopened, takes_codes=False))
        for _ in range(4):
            operation = await on_screen(journal)
            shown = await journal.change(operation.id, moves.shown, by=AT_SCREEN)
            await journal.change(operation.id, partial(moves.closed, shown_at=shown.shown_at))
        for _ in range(3):
            operation = await on_screen(journal)
            await journal.change(operation.id, moves.shown, by=AT_SCREEN)
            no = partial(moves.end, state=State.DECLINED, reason="no")
            await journal.change(operation.id, no, by=AT_SCREEN)
        with pytest.raises(OperationError, match="three times"):
            await on_screen(journal)


def test_a_process_that_ends_cancels_only_what_it_showed_last() -> None:
    operation = replace(draft(0.0), channel=Channel.SCREEN)
    shown = moves.shown(operation, 1.0)
    again = moves.shown(shown, 2.0)

    assert moves.closed(again, 3.0, shown_at=1.0) == again
    assert moves.closed(again, 3.0, shown_at=2.0).state is State.CANCELLED
    assert moves.closed(operation, 3.0, shown_at=None).state is State.CANCELLED
    assert moves.closed(shown, 3.0, shown_at=None) == shown


def test_a_yes_on_the_page_needs_its_fetch_and_no_code_counts_after_it() -> None:
    operation = replace(draft(0.0), channel=Channel.SCREEN)
    shown = moves.shown(operation, 1.0)

    assert not Yes(Channel.SCREEN).confirms(operation)
    assert Yes(Channel.SCREEN).confirms(shown)
    for channel in (Channel.SCREEN, Channel.CODE):
        assert not Yes(Channel.CODE).confirms(replace(shown, channel=channel))
    for through in (Channel.PROMPT, Channel.SCREEN, Channel.CODE):
        assert not Yes(through).confirms(replace(shown, channel=Channel.APPROVER))
