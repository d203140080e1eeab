"""Every move of an operation is written down once, and the moves come to the row."""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import anyio
import pytest
from bench import open_bench, simulator
from test_journal_contract import Opener, claim, clock, draft, journal, opener, settle

from kros_mcp.errors import OperationError
from kros_mcp.journals.rows import COLUMNS, encode
from kros_mcp.operations import events, execution, moves
from kros_mcp.operations.events import BOOKKEEPING, PERSON, By, MoveName, fold, without_bookkeeping
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Channel, Item, Operation, Seen, Settlement, Snapshot, State, StoredNumber
from kros_mcp.operations.policy import Books
from tests.support.clock import Clock
from tests.support.older_journals import SINCE_EVENTS, make_older

pytestmark = pytest.mark.anyio
__all__ = ["clock", "journal", "opener"]

ANA = By("ana", "terminal")
AGENT = By("local", "tool")
Kinds = list[tuple[str, str, str]]


async def told(journal: Journal, operation: Operation) -> Kinds:
    return [(event.move, event.who, event.channel) for event in await journal.events(operation.id)]


async def agree(journal: Journal, operation: Operation) -> None:
    """The events of an operation come to its row."""
    stored = await journal.get(operation.id)
    assert stored is not None
    assert without_bookkeeping(fold(await journal.events(operation.id))) == without_bookkeeping(stored)


async def test_an_act_is_told_move_by_move(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock), by=AGENT)
    clock.now += 1
    await journal.change(operation.id, lambda row, now: replace(row, channel=Channel.PROMPT, asked_at=now))
    clock.now += 1

    def agreed(row: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        del books
        return moves.claim(row, now, reserved_cents=700, by="prompt"), ()

    claimed, _ = await journal.claim(operation.id, agreed, committed_since=0, by=PERSON)
    snapshot = Snapshot((Seen("pn_1", "released"),), ("pn_2",))
    await journal.change(
        operation.id, lambda row, now: replace(moves.mark_sent(row, now, token=claimed.token), snapshot=snapshot)
    )
    clock.now += 1
    await journal.change(
        operation.id,
        lambda row, now: moves.settle(
            row, now, Settlement(State.DONE, number=StoredNumber(id="pn_3"), note="Dearer."), token=1
        ),
    )
    assert await told(journal, operation) == [
        ("proposed", "local", "tool"),
        ("asked", "server", "prompt"),
        ("confirmed", "person", "prompt"),
        ("claimed", "server", ""),
        ("sent", "server", ""),
        ("done", "server", ""),
    ]
    story = await journal.events(operation.id)
    assert [event.at - story[0].at for event in story] == [0, 1, 2, 2, 2, 3]
    assert (story[-1].words, story[-1].changes["number"], story[-1].changes["charged"]) == (
        "Dearer.",
        asdict(StoredNumber(id="pn_3")),
        "yes",
    )
    await agree(journal, operation)


async def test_what_tells_no_story_is_no_event(journal: Journal, clock: Clock) -> None:
    claimed = await claim(journal, await journal.propose(draft(clock)))
    before = await told(journal, claimed)
    clock.now += 5
    await journal.change(claimed.id, lambda row, now: moves.renew(row, now, token=1))
    await journal.change(claimed.id, lambda row, now: replace(row, checked_at=now, look_at=now, looks=3))
    assert await told(journal, claimed) == before
    await agree(journal, claimed)


async def test_what_is_answered_without_a_move_is_no_event(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock))
    await journal.propose(draft(clock))
    await journal.change(first.id, lambda row, _: row)
    assert await told(journal, first) == [("proposed", "server", "")]


async def test_of_a_move_that_is_refused_no_event_is_kept(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))
    with pytest.raises(OperationError):
        await journal.change(operation.id, lambda row, now: moves.settle(row, now, Settlement(State.DONE), token=9))
    assert len(await journal.events(operation.id)) == 1


async def test_of_a_transaction_that_fails_after_its_event_was_written_nothing_is_kept(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await journal.propose(draft(clock))

    def fail(*_: object) -> Any:
        yield from ()
        raise OperationError("The transaction fails at its end.")

    tell = type(journal)._tell  # type: ignore[attr-defined]  # noqa: SLF001 - the last statement of a transaction

    def tell_and_fail(*given: Any) -> Any:
        yield from tell(journal, *given)
        yield from fail()

    monkeypatch.setattr(journal, "_tell", tell_and_fail)
    with pytest.raises(OperationError, match="at its end"):
        await journal.change(operation.id, partial(moves.confirm, by="ana"), by=ANA)
    with pytest.raises(OperationError, match="at its end"):
        await journal.propose(draft(clock, "+2348035550102"))
    monkeypatch.undo()
    assert await told(journal, operation) == [("proposed", "server", "")]
    stored = await journal.get(operation.id)
    assert stored is not None
    assert stored.state is State.PROPOSED
    assert await journal.count() == 1


async def test_a_proposal_that_replaces_another_says_so_of_it(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock), by=AGENT)
    second = await journal.propose(draft(clock, endpoint_id="ep_1"), by=AGENT)
    assert await told(journal, first) == [("proposed", "local", "tool"), ("superseded", "local", "tool")]
    assert (await journal.events(first.id))[-1].words.startswith("Replaced by one")
    for operation in (first, second):
        await agree(journal, operation)


async def test_what_nobody_confirmed_in_time_expires_by_the_servers_hand_whoever_comes_too_late(
    journal: Journal, clock: Clock
) -> None:
    operation = await journal.propose(draft(clock), by=AGENT)
    clock.now += 600
    await journal.change(operation.id, partial(moves.confirm, by="ana"), by=ANA)
    assert (await told(journal, operation))[1:] == [("expired", "server", "")]
    await agree(journal, operation)


async def test_a_yes_that_the_claim_refuses_is_told_as_given(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))

    def refuse(row: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
        del books
        return moves.end(row, now, State.FAILED, reason="Over the cap.", code="OVER"), ()

    await journal.claim(operation.id, refuse, committed_since=0, by=By("local", "code"))
    assert (await told(journal, operation))[1:] == [("confirmed", "local", "code"), ("failed", "server", "")]
    assert (await journal.events(operation.id))[-1].words == "Over the cap."
    await agree(journal, operation)


async def test_wrong_codes_are_told_and_the_fifth_declines(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))
    for _ in range(5):
        await journal.change(operation.id, moves.wrong_code, by=By("local", "code"))
    assert (await told(journal, operation))[1:] == [("wrong_code", "local", "code")] * 4 + [
        ("declined", "local", "code")
    ]
    await agree(journal, operation)


async def test_a_denial_and_a_settling_by_hand_keep_who_and_why(journal: Journal, clock: Clock) -> None:
    denied = await journal.propose(draft(clock))
    await journal.change(denied.id, lambda row, now: moves.end(row, now, State.DECLINED, reason="Too dear."), by=ANA)
    unknown = await settle(
        journal, await journal.propose(draft(clock, "+2348035550102")), State.UNKNOWN, message="No answer."
    )
    move = partial(moves.settle_by_hand, state=State.DONE, by="ana", reason="the invoice", settle_seconds=0)
    await journal.change(unknown.id, move, by=ANA)
    story = (*await journal.events(denied.id), *await journal.events(unknown.id))
    assert [(event.move, event.words) for event in story if event.who == "ana"] == [
        ("declined", "Too dear."),
        ("settled_by_hand", "Settled by ana: the invoice"),
    ]
    assert "No answer." in [event.words for event in story]  # though its row has forgotten it
    for operation in (denied, unknown):
        await agree(journal, operation)


async def test_what_somebody_knows_of_is_an_event_that_changes_no_row(journal: Journal, clock: Clock) -> None:
    failed = await settle(journal, await journal.propose(draft(clock)), State.FAILED)
    before = await told(journal, failed)
    clock.now += 5

    await journal.acknowledge(failed.id, by=ANA, words="owned_though_failed: bought in the dashboard")

    assert await journal.get(failed.id) == failed
    assert await told(journal, failed) == [*before, ("acknowledged", "ana", "terminal")]
    event = (await journal.events(failed.id))[-1]
    assert (event.at, event.words, event.changes) == (clock.now, "owned_though_failed: bought in the dashboard", {})
    await agree(journal, failed)


async def test_what_is_known_of_an_operation_that_is_older_than_events_begins_with_its_row(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(journal, "_tell", lambda *_: iter(()))
        done = await settle(journal, await journal.propose(draft(clock)), State.DONE)

    await journal.acknowledge(done.id, by=ANA, words="missing: ported out")

    assert [kind[0] for kind in await told(journal, done)] == ["carried_over", "acknowledged"]
    await agree(journal, done)


async def test_nothing_is_known_of_an_operation_that_is_not_there(journal: Journal) -> None:
    with pytest.raises(OperationError) as refusal:
        await journal.acknowledge("op_none", by=ANA, words="missing: x")
    assert refusal.value.code == "OPERATION_NOT_FOUND"


async def test_an_outcome_that_turns_out_another_is_a_correction(journal: Journal, clock: Clock) -> None:
    failed = await settle(journal, await journal.propose(draft(clock)), State.FAILED)

    await journal.change(failed.id, lambda row, _: replace(row, note="Dearer."))
    await journal.change(
        failed.id, partial(moves.correct, settlement=Settlement(State.DONE), note="KrosAI shows it now.")
    )
    assert (await told(journal, failed))[-1] == ("corrected", "server", "")
    assert [event.words for event in await journal.events(failed.id)][-2:] == ["Dearer.", "KrosAI shows it now."]
    await agree(journal, failed)


async def test_settings_that_somebody_chose_anew_are_told_of_the_purchase(journal: Journal, clock: Clock) -> None:
    bought = await settle(journal, await journal.propose(draft(clock)), State.DONE, settings_pending=True)
    await journal.routing_changed("a", bought.e164, ("endpoint_id",), by=By("other", "tool"))
    await journal.routing_changed("a", bought.e164, ("endpoint_id",), by=By("other", "tool"))
    await journal.change(bought.id, lambda row, _: replace(row, settings_pending=False, not_applied=("endpoint_id",)))
    assert (await told(journal, bought))[-2:] == [("settings", "other", "tool"), ("settings", "server", "")]
    await agree(journal, bought)


async def test_the_row_of_an_operation_that_is_older_than_its_events_comes_first(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a journal of today holds it."""
    with monkeypatch.context() as without:
        without.setattr(events, "between", lambda *_: ())
        without.setattr(type(journal), "_tell", lambda *_: iter(()))
        old = await settle(journal, await journal.propose(draft(clock)), State.UNKNOWN, message="No answer.")
        waiting = await journal.propose(draft(clock, "+2348035550102"))
    assert await journal.events(old.id) == ()
    for _ in range(2):
        await journal.change(old.id, lambda row, now: replace(row, checked_at=now))
    assert await journal.events(old.id) == ()

    await journal.change(old.id, lambda row, now: moves.settle(row, now, Settlement(State.DONE), token=1))
    await journal.claim(
        waiting.id,
        lambda row, now, _: (moves.claim(row, now, reserved_cents=1, by="code"), ()),
        committed_since=0,
        by=By("local", "code"),
    )

    assert [kind for kind, *_ in await told(journal, old)] == ["carried_over", "done"]
    assert [kind for kind, *_ in await told(journal, waiting)] == ["carried_over", "confirmed", "claimed"]
    assert without_bookkeeping(fold((await journal.events(old.id))[:1])) == without_bookkeeping(old)
    for operation in (old, waiting):
        await agree(journal, operation)


async def test_a_journal_of_a_version_without_events_is_opened_and_tells_its_operations_from_then_on(
    opener: Opener, journal_url: str, clock: Clock
) -> None:
    row = dict(zip(COLUMNS, encode(replace(draft(clock), state=State.UNKNOWN, token=1)), strict=True))
    for name in SINCE_EVENTS:
        del row[name]
    make_older(journal_url, row, version=2)
    async with opener() as journal:
        [old] = await journal.list_operations()
        await journal.change(old.id, lambda row, now: moves.settle(row, now, Settlement(State.DONE), token=1))
        assert [kind for kind, *_ in await told(journal, old)] == ["carried_over", "done"]
        await agree(journal, old)


def some_move(chance: random.Random) -> Callable[[Operation, float], Operation]:
    """A move of those that an operation may make, allowed now or not."""
    token = chance.randint(0, 2)
    return chance.choice(
        [
            lambda row, now: replace(row, channel=chance.choice(list(Channel)), asked_at=now, expires_at=now + 900),
            partial(moves.confirm, by="ana", reason="opens in May"),
            moves.wrong_code,
            moves.ask_again,
            lambda row, now: moves.claim(row, now, reserved_cents=chance.randint(0, 900), by="prompt"),
            lambda row, now: moves.claim(row, now, reserved_cents=chance.randint(0, 900)),
            lambda row, now: moves.agree(row, now, reserved_cents=[1] * len(row.parts), by="prompt")[0],
            lambda row, now: moves.mark_sent(row, now, token=row.token),
            lambda row, now: moves.renew(row, now, token=token),
            moves.recover,
            moves.expire,
            lambda row, now: moves.settle(row, now, Settlement(State.UNKNOWN, message="No answer."), token=token),
            lambda row, now: moves.settle(row, now, Settlement(State.DONE, settings_pending=True), token=row.token),
            lambda row, now: moves.settle(row, now, Settlement(State.FAILED, code="NO"), token=row.token),
            partial(moves.settle_by_hand, state=State.DONE, by="ana", reason="invoice", settle_seconds=0),
            lambda row, now: moves.end(row, now, State.CANCELLED, reason="withdrawn"),
            lambda row, now: replace(row, checked_at=now, seen_unsold_at=now),
            lambda row, _: replace(row, number=StoredNumber(id="pn_ü\u2028"), settings_pending=False),
            lambda row, now: replace(row, corrected_at=now, state=State.DONE, not_applied=("permanent",)),
        ]
    )


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_the_events_come_to_the_row(journal: Journal, clock: Clock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - must repeat
    whose = [events.SERVER, PERSON, ANA, AGENT, By("local", "code")]
    for at in range(12):
        wanted = draft(clock, f"+23480355501{at:02d}", action=chance.choice(list(Action)), endpoint_id="ep_1")
        if wanted.action.is_several:
            items = [Item(f"{wanted.e164}{end}", wanted.request, wanted.quote) for end in "12"]
            wanted = replace(wanted, items=tuple(items))
        operation = await journal.propose(wanted, by=AGENT)
        for _ in range(12):
            clock.now += chance.choice([0, 0.25, 5, 20, 20, 300])
            with suppress(OperationError):
                await journal.change(operation.id, some_move(chance), by=chance.choice(whose))
            await agree(journal, operation)
    seen = {event.move for row in await journal.list_operations() for event in await journal.events(row.id)}
    assert seen <= set(MoveName)


async def test_moves_of_several_processes_on_one_operation_stand_in_one_order(opener: Opener, clock: Clock) -> None:
    async def write(journal: Journal, operation: Operation, who: str) -> None:
        for at in range(10):
            note = f"{who} {at}"
            await journal.change(operation.id, lambda row, _, note=note: replace(row, note=note), by=By(who, "page"))

    async with AsyncExitStack() as stack:
        journals = [await stack.enter_async_context(opener()) for _ in range(4)]
        operation = await journals[0].propose(draft(clock))
        async with anyio.create_task_group() as tasks:
            for at, each in enumerate(journals):
                tasks.start_soon(write, each, operation, f"p{at}")
        story = await journals[0].events(operation.id)
        await agree(journals[0], operation)
    words = [event.words for event in story[1:]]
    assert sorted(words) == sorted(f"p{who} {at}" for who in range(4) for at in range(10))
    for who in range(4):
        assert [each for each in words if each.startswith(f"p{who}")] == [f"p{who} {at}" for at in range(10)]


def test_an_event_names_only_what_the_row_has() -> None:
    assert set(Operation.__dataclass_fields__) >= BOOKKEEPING


@pytest.mark.usefixtures("every_backend")
async def test_a_purchase_is_told_from_end_to_end() -> None:
    async with open_bench(simulator()) as bench:
        operation = await bench.propose(allow_inbound=False)
        await execution.execute(bench.account, operation.id, execution.Yes(Channel.PROMPT))
        story = await bench.account.journal.events(operation.id)
        assert [(event.move, event.who, event.channel) for event in story] == [
            ("proposed", "local", "tool"),
            ("confirmed", "person", "prompt"),
            ("claimed", "server", ""),
            ("sent", "server", ""),
            ("done", "server", ""),
            ("settings", "server", ""),
        ]
        await agree(bench.account.journal, operation)
