"""A decision whose answer the journal loses: the person hears what the journal has, or that nobody knows."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from commands_doubles import Command, an_operation, put, read, settled

from kros_mcp.commands import approve, person, settle
from kros_mcp.errors import JournalError
from kros_mcp.journals import backends
from kros_mcp.operations import moves
from kros_mcp.operations.events import SERVER, By
from kros_mcp.operations.journal import Journal, Move
from kros_mcp.operations.model import Operation, State

ANSWER = ("--yes", "--reason=x")
LOST = "The journal's database did not answer in time; nothing can be spent."


class LoseAnswer:
    """Commit the decision, then drop the answer."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.changes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        self.changes += 1
        if self.changes > 1:
            return await self.journal.change(operation_id, move, by=by)
        await self.decide(operation_id, move, by)
        raise JournalError(LOST)

    async def decide(self, operation_id: str, move: Move, by: By) -> None:
        await self.journal.change(operation_id, move, by=by)


class RollBack(LoseAnswer):
    """Run the decision, store nothing, and drop the answer."""

    async def decide(self, operation_id: str, move: Move, by: By) -> None:
        del by
        operation = await self.journal.get(operation_id)
        assert operation is not None
        self.decided = move(operation, await self.journal.now())


class CommitLate(RollBack):
    """Drop the answer while the decision is still being committed; whoever waits for the row sees it."""

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        if self.changes:
            await self.journal.change(operation_id, lambda _, __: self.decided)
        return await super().change(operation_id, move, by=by)


class GoAway(LoseAnswer):
    """Commit the decision, then answer nothing any more."""

    async def get(self, operation_id: str) -> Operation | None:
        if self.changes:
            raise JournalError(LOST)
        return await self.journal.get(operation_id)


class StayLocked(RollBack):
    """Drop the answer, and let nobody wait for the row to its end."""

    async def change(self, operation_id: str, move: Move, *, by: By = SERVER) -> Operation:
        if self.changes:
            raise JournalError(LOST)
        return await super().change(operation_id, move, by=by)


class Execute(LoseAnswer):
    """Commit the decision, drop the answer, and let a server claim the operation at once."""

    async def decide(self, operation_id: str, move: Move, by: By) -> None:
        await super().decide(operation_id, move, by)
        await self.journal.change(operation_id, lambda found, now: moves.claim(found, now, reserved_cents=500))


class BreakBefore(LoseAnswer):
    """Fail before the decision has run."""

    async def decide(self, operation_id: str, move: Move, by: By) -> None:
        del operation_id, move, by

    async def get(self, operation_id: str) -> Operation | None:
        assert not self.changes, "nothing of it can be stored, so that nothing is to be read"
        return await self.journal.get(operation_id)


Suffer = Callable[[type[LoseAnswer]], None]


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.sqlite3"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def suffer(monkeypatch: pytest.MonkeyPatch) -> Suffer:
    """Let the commands meet a fault of the journal."""

    def install(fault: type[LoseAnswer]) -> None:
        def opened(url: str | None) -> AbstractAsyncContextManager[LoseAnswer]:
            @asynccontextmanager
            async def open_faulty() -> AsyncIterator[LoseAnswer]:
                async with backends.open_journal(url) as journal:
                    yield fault(journal)

            return open_faulty()

        for module in (approve, person, settle):
            monkeypatch.setattr(module, "open_journal", opened)

    return install


@pytest.mark.parametrize("fault", [LoseAnswer, CommitLate])
@pytest.mark.parametrize(
    ("word", "state", "said"), [("approve", State.CONFIRMED, "Approved."), ("deny", State.DECLINED, "Denied.")]
)
def test_a_decision_that_is_committed_is_told_as_decided_though_its_answer_is_lost(
    command: Command, journal_url: str, suffer: Suffer, fault: type[LoseAnswer], word: str, state: State, said: str
) -> None:
    waiting = put(journal_url, an_operation())
    suffer(fault)

    ran = command(word, waiting.id, *ANSWER)

    assert (ran.code, ran.err) == (0, "")
    assert said in ran.out
    assert read(journal_url, waiting.id).state is state


def test_an_outcome_settled_by_hand_is_told_though_its_answer_is_lost(
    command: Command, journal_url: str, suffer: Suffer
) -> None:
    unknown = put(journal_url, an_operation(), *settled(State.UNKNOWN, ago=3_600))
    suffer(LoseAnswer)

    ran = command("settle", unknown.id, "failed", *ANSWER)

    assert (ran.code, ran.err) == (0, "")
    assert "is failed now" in ran.out


def test_an_approval_that_a_server_acts_on_already_is_told_with_its_state(
    command: Command, journal_url: str, suffer: Suffer
) -> None:
    waiting = put(journal_url, an_operation())
    suffer(Execute)

    ran = command("approve", waiting.id, *ANSWER)

    assert ran.code == 0
    assert "Approved. The operation is sending now" in ran.out


@pytest.mark.parametrize("fault", [RollBack, BreakBefore])
@pytest.mark.parametrize("word", ["approve", "deny"])
def test_a_decision_that_was_certainly_not_made_is_an_error_of_the_journal(
    command: Command, journal_url: str, suffer: Suffer, fault: type[LoseAnswer], word: str
) -> None:
    waiting = put(journal_url, an_operation())
    suffer(fault)

    ran = command(word, waiting.id, *ANSWER)

    assert ran.code == 3
    assert LOST in ran.err
    assert "not known" not in ran.err
    assert read(journal_url, waiting.id).state is State.PROPOSED


@pytest.mark.parametrize("fault", [GoAway, StayLocked])
@pytest.mark.parametrize("word", ["approve", "deny"])
def test_where_the_journal_cannot_be_read_the_person_hears_that_it_is_not_known(
    command: Command, journal_url: str, suffer: Suffer, fault: type[LoseAnswer], word: str
) -> None:
    waiting = put(journal_url, an_operation())
    suffer(fault)

    ran = command(word, waiting.id, *ANSWER)

    assert ran.code == 3
    assert f"Whether {waiting.id} was decided is not known; see kros-mcp operations." in ran.err
    assert "Approved." not in ran.out
    assert "Denied." not in ran.out
