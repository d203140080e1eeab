"""What every backend of the journal keeps."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import anyio
import pytest
from bench import open_journal

from kros_mcp.errors import OperationError
from kros_mcp.operations import model, moves
from kros_mcp.operations.journal import Filter, Identity, Journal, Move, every
from kros_mcp.operations.model import (
    LEASE_SECONDS,
    Action,
    Channel,
    Limits,
    Operation,
    Quote,
    Request,
    Settlement,
    State,
)
from kros_mcp.operations.policy import Books
from kros_mcp.settings import Confirmation
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

Opener = Callable[[], AbstractAsyncContextManager[Journal]]
E164 = "+2348035550101"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opener(journal_url: str, clock: Clock) -> Opener:
    """Open the same journal again and again, as several processes would."""
    return lambda: open_journal(journal_url, clock)


@pytest.fixture
async def journal(opener: Opener) -> AsyncIterator[Journal]:
    async with opener() as opened:
        yield opened


def draft(clock: Clock, e164: str = E164, **changes: Any) -> Operation:
    wanted = {name: changes.pop(name) for name in ("endpoint_id", "inventory_id", "number_id") if name in changes}
    cents = changes.pop("cents", 700)
    quote = Quote(e164=e164, country="NG", environment="test", setup_cents=0, monthly_cents=cents, due_now_cents=cents)
    defaults = {
        "id": model.new_operation_id(),
        "account": "a",
        "principal": "local",
        "action": Action.BUY,
        "created_at": clock.now,
        "expires_at": clock.now + 600,
    }
    return Operation(**{**defaults, **changes}, e164=e164, request=Request(**wanted), quote=quote)


def take(operation: Operation, now: float, books: Books) -> tuple[Operation, tuple[Operation, ...]]:
    del books
    return moves.claim(operation, now, reserved_cents=operation.quote.due_now_cents or 0), ()


async def claim(journal: Journal, operation: Operation) -> Operation:
    claimed, items = await journal.claim(operation.id, take, committed_since=0)
    assert items == ()
    return claimed


async def send(journal: Journal, operation: Operation) -> Operation:
    claimed = await claim(journal, operation)
    return await journal.change(claimed.id, lambda current, now: moves.mark_sent(current, now, token=claimed.token))


async def settle(journal: Journal, operation: Operation, state: Any, **changes: Any) -> Operation:
    sent = await send(journal, operation)
    return await journal.change(
        sent.id, lambda current, now: moves.settle(current, now, Settlement(state, **changes), token=sent.token)
    )


async def test_what_is_proposed_is_read_back_whole(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock, endpoint_id="ep_1"))
    assert await journal.get(operation.id) == operation


async def test_the_same_proposal_is_answered_with_the_open_operation(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock))
    assert (await journal.propose(draft(clock))).id == first.id


async def test_other_settings_supersede_what_is_only_proposed(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock))
    second = await journal.propose(draft(clock, endpoint_id="ep_1"))
    assert second.id != first.id
    superseded = await journal.get(first.id)
    assert superseded is not None
    assert superseded.state is State.CANCELLED


@pytest.mark.parametrize("state", [State.CONFIRMED, State.SENDING, State.UNKNOWN])
async def test_other_settings_do_not_supersede_what_is_confirmed(journal: Journal, clock: Clock, state: State) -> None:
    first = await journal.propose(draft(clock))
    if state is State.CONFIRMED:
        await journal.change(first.id, lambda current, now: moves.confirm(current, now, by="x"))
    elif state is State.SENDING:
        await claim(journal, first)
    else:
        await settle(journal, first, State.UNKNOWN)
    again = await journal.propose(draft(clock, endpoint_id="ep_1"))
    assert (again.id, again.state) == (first.id, state)


async def test_an_ended_operation_makes_room_for_a_new_one(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock))
    await settle(journal, first, State.FAILED)
    assert (await journal.propose(draft(clock))).id != first.id


async def test_an_expired_proposal_makes_room_for_a_new_one(journal: Journal, clock: Clock) -> None:
    first = await journal.propose(draft(clock))
    clock.now += 600
    assert (await journal.propose(draft(clock))).id != first.id
    expired = await journal.get(first.id)
    assert expired is not None
    assert (expired.state, expired.settled_at) == (State.EXPIRED, clock.now)


async def test_an_expired_operation_can_no_longer_be_claimed_or_confirmed(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))
    clock.now += 600
    assert (await claim(journal, operation)).state is State.EXPIRED
    confirmed = await journal.change(operation.id, lambda current, now: moves.confirm(current, now, by="x"))
    assert (confirmed.state, confirmed.message) == (State.EXPIRED, "Nobody confirmed it in time.")


async def test_what_was_approved_and_not_begun_in_time_does_not_say_that_nobody_did(
    journal: Journal, clock: Clock
) -> None:
    operation = await journal.propose(draft(clock))
    await journal.change(operation.id, lambda current, now: moves.confirm(current, now, by="ada"))
    clock.now += 600
    late = await journal.get(operation.id)
    assert late is not None
    assert (late.state, late.message) == (State.EXPIRED, "It was approved, and no server began it in time.")


@pytest.mark.parametrize("unknown", [True, False])
async def test_a_number_that_is_acted_on_is_busy_for_everybody_else(
    journal: Journal, clock: Clock, *, unknown: bool
) -> None:
    mine, theirs = draft(clock), draft(clock, principal="other")
    await journal.propose(mine)
    await journal.propose(theirs)
    if unknown:
        await settle(journal, mine, State.UNKNOWN)
    else:
        await claim(journal, mine)
    lost = await claim(journal, theirs)
    assert (lost.state, lost.error_code, lost.charged) == (State.FAILED, "NUMBER_BUSY", "no")
    with pytest.raises(OperationError) as caught:
        await journal.propose(draft(clock, principal="third"))
    assert caught.value.code == "NUMBER_BUSY"


async def test_another_account_is_not_busy(journal: Journal, clock: Clock) -> None:
    await claim(journal, await journal.propose(draft(clock)))
    theirs = await journal.propose(draft(clock, account="b"))
    assert (await claim(journal, theirs)).state is State.SENDING


async def test_a_number_is_busy_for_another_kind_of_act(journal: Journal, clock: Clock) -> None:
    release = await journal.propose(draft(clock, action=Action.RELEASE))
    await claim(journal, await journal.propose(draft(clock)))
    assert (await claim(journal, release)).error_code == "NUMBER_BUSY"


async def test_a_claim_is_given_once(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))
    claimed = await claim(journal, operation)
    assert (claimed.token, claimed.lease_until) == (1, clock.now + LEASE_SECONDS)
    with pytest.raises(OperationError):
        await claim(journal, operation)


async def test_a_move_that_raises_stores_nothing(journal: Journal, clock: Clock) -> None:
    operation = await journal.propose(draft(clock))
    with pytest.raises(OperationError):
        await journal.change(
            operation.id, lambda current, now: moves.settle(current, now, Settlement(State.DONE), token=9)
        )
    assert await journal.get(operation.id) == operation
    with pytest.raises(OperationError):
        await journal.change("op_none", moves.expire)


async def test_a_token_that_was_fenced_off_can_neither_send_nor_settle(journal: Journal, clock: Clock) -> None:
    claimed = await claim(journal, await journal.propose(draft(clock)))
    clock.now += LEASE_SECONDS
    for move in (moves.renew, moves.mark_sent):
        with pytest.raises(OperationError):
            await journal.change(claimed.id, lambda current, now, move=move: move(current, now, token=1))
    recovered = await journal.change(claimed.id, moves.recover)
    assert (recovered.state, recovered.token) == (State.FAILED, 2)
    with pytest.raises(OperationError):
        await journal.change(
            claimed.id, lambda current, now: moves.settle(current, now, Settlement(State.DONE), token=1)
        )


async def test_an_operation_is_found_by_each_of_its_names(journal: Journal, clock: Clock) -> None:
    buy = await journal.propose(draft(clock, inventory_id="inv_1"))
    release = await journal.propose(draft(clock, number_id="pn_1", action=Action.RELEASE))
    mine = Identity("a", "local", Action.BUY)
    assert await journal.find(mine, e164=E164) == buy
    assert await journal.find(mine, inventory_id="inv_1") == buy
    assert await journal.find(mine, number_id="pn_1") is None
    assert await journal.find(Identity("a", "local", Action.RELEASE), number_id="pn_1") == release
    for stranger in (Identity("a", "other", Action.BUY), Identity("b", "local", Action.BUY)):
        assert await journal.find(stranger, e164=E164, inventory_id="inv_1") is None


async def test_the_newest_operation_is_found(journal: Journal, clock: Clock) -> None:
    await settle(journal, await journal.propose(draft(clock)), State.FAILED)
    newer = await journal.propose(draft(clock))
    assert await journal.find(Identity("a", "local", Action.BUY), e164=E164) == newer
    assert (await journal.list_operations())[0] == newer


async def test_the_books_count_what_is_sending_unknown_and_done_but_nothing_else(
    journal: Journal, clock: Clock
) -> None:
    numbers = [f"+23480355501{end:02d}" for end in range(6)]
    drafts = [await journal.propose(draft(clock, e164, cents=10**at)) for at, e164 in enumerate(numbers)]
    await claim(journal, drafts[0])
    await settle(journal, drafts[1], State.UNKNOWN)
    await settle(journal, drafts[2], State.DONE)
    await settle(journal, drafts[3], State.FAILED)
    await settle(journal, await journal.propose(draft(clock, "+2348035550188", action=Action.RELEASE)), State.DONE)
    await settle(journal, await journal.propose(draft(clock, "+2348035550189", account="b")), State.DONE)
    books = await journal.books("a", "local", committed_since=clock.now + 1)
    assert (books.spent_cents, books.bought) == (111, frozenset())
    assert books.committed == {numbers[0]: 1, numbers[1]: 10}
    newer = await journal.books("a", "local", committed_since=clock.now)
    assert newer.committed == {numbers[0]: 1, numbers[1]: 10, numbers[2]: 100}
    assert newer.bought == {numbers[2]}
    clock.now += 86_400
    assert (await journal.books("a", "local", committed_since=clock.now)).spent_cents == 0


async def test_the_books_tell_what_is_one_principals_own(journal: Journal, clock: Clock) -> None:
    numbers = [f"+23480355501{end:02d}" for end in range(4)]
    for at, (e164, principal) in enumerate(zip(numbers, ("p", "p", "q", "q"), strict=True)):
        operation = await journal.propose(draft(clock, e164, principal=principal, cents=10**at))
        await settle(journal, operation, State.DONE if at % 2 else State.UNKNOWN)
    books = await journal.books("a", "p", committed_since=clock.now)
    assert (books.spent_cents, books.own_spent_cents) == (1_111, 11)
    assert (set(books.committed), books.own) == (set(numbers), {numbers[0], numbers[1]})
    assert (await journal.books("a", "nobody", committed_since=0)).own_spent_cents == 0
    seen: list[Books] = []

    def look(operation: Operation, now: float, within: Books) -> tuple[Operation, tuple[Operation, ...]]:
        seen.append(within)
        return take(operation, now, within)

    claimed = await journal.propose(draft(clock, "+2348035550188", principal="q"))
    await journal.claim(claimed.id, look, committed_since=clock.now)
    assert seen == [replace(books, own=frozenset(numbers[2:]), own_spent_cents=1_100)]


async def test_the_last_buyer_of_a_number_is_known(journal: Journal, clock: Clock) -> None:
    for principal in ("p", "q"):
        await settle(journal, await journal.propose(draft(clock, principal=principal)), State.DONE)
        clock.now += 1
    await settle(journal, await journal.propose(draft(clock, "+2348035550102", principal="p")), State.FAILED)
    await settle(journal, await journal.propose(draft(clock, "+2348035550103", account="b")), State.DONE)
    many = [E164, "+2348035550102", "+2348035550103", *(f"+23480355{end}" for end in range(10_000, 10_600))]
    assert await journal.buyers("a", many) == {E164: "q"}
    assert await journal.buyers("a", []) == {}


async def test_what_needs_attention_is_due(journal: Journal, clock: Clock) -> None:
    confirmed, sending, unknown, pending, done, waiting = [
        await journal.propose(draft(clock, f"+23480355501{end:02d}")) for end in range(6)
    ]
    await journal.change(confirmed.id, lambda current, now: moves.confirm(current, now, by="x"))
    await claim(journal, sending)
    await settle(journal, unknown, State.UNKNOWN)
    await settle(journal, pending, State.DONE, settings_pending=True)
    await settle(journal, done, State.DONE)
    assert {each.id for each in await journal.due("a")} == {confirmed.id, sending.id, unknown.id, pending.id}
    assert waiting.state is State.PROPOSED
    assert await journal.due("b") == ()


async def test_a_newer_choice_of_a_setting_is_noted_on_what_is_pending_and_on_its_way(
    journal: Journal, clock: Clock
) -> None:
    pending, unknown = await journal.propose(draft(clock)), await journal.propose(draft(clock, "+2348035550102"))
    await settle(journal, pending, State.DONE, settings_pending=True)
    sent = await settle(journal, unknown, State.UNKNOWN)
    for e164 in (pending.e164, unknown.e164):
        await journal.routing_changed("a", e164, ("endpoint_id",))
        await journal.routing_changed("a", e164, ("allow_inbound",))
    for operation in (pending, sent):
        noted = await journal.get(operation.id)
        assert noted is not None
        assert noted.settings_superseded == ("allow_inbound", "endpoint_id")


async def test_a_newer_choice_of_settings_leaves_other_numbers_and_accounts_alone(
    journal: Journal, clock: Clock
) -> None:
    operation = await journal.propose(draft(clock))
    await settle(journal, operation, State.DONE, settings_pending=True)
    await journal.routing_changed("b", E164, ("endpoint_id",))
    await journal.routing_changed("a", "+2348035550199", ("endpoint_id",))
    assert len(await journal.due("a")) == 1


async def turn_down(journal: Journal, clock: Clock, channel: Channel) -> None:
    operation = await journal.propose(draft(clock, channel=channel))
    await journal.change(operation.id, lambda current, now: moves.end(current, now, State.DECLINED, reason="no"))


async def test_a_number_turned_down_three_times_is_not_asked_about_again_for_ten_minutes(
    journal: Journal, clock: Clock
) -> None:
    for _ in range(3):
        await turn_down(journal, clock, Channel.PROMPT)
    with pytest.raises(OperationError) as caught:
        await journal.propose(draft(clock))
    assert caught.value.code == "ASKED_TOO_OFTEN"
    await journal.propose(draft(clock, "+2348035550102"))
    clock.now += 601
    await journal.propose(draft(clock))


async def test_changing_the_settings_three_times_is_not_turning_down(journal: Journal, clock: Clock) -> None:
    for wanted in ("ep_1", "ep_2", "ep_3", "ep_4", "ep_5"):
        await journal.propose(draft(clock, endpoint_id=wanted, channel=Channel.PROMPT))


async def test_operations_are_listed_by_account_and_state(journal: Journal, clock: Clock) -> None:
    for at in range(3):
        clock.now += 1
        await journal.propose(draft(clock, f"+23480355501{at:02d}", account="ab"[at % 2]))
    assert [each.account for each in await journal.list_operations()] == ["a", "b", "a"]
    assert len(await journal.list_operations(Filter(account="a"))) == 2
    assert len(await journal.list_operations(limit=1)) == 1
    assert await journal.list_operations(Filter(states=(State.DONE, State.UNKNOWN))) == ()


async def test_operations_are_listed_by_principal_and_by_the_time_they_were_asked_for(
    journal: Journal, clock: Clock
) -> None:
    for at in range(4):
        await journal.propose(draft(clock, f"+23480355501{at:02d}", principal=f"p{at % 2}"))
        clock.now += 10
    begin = clock.now - 40
    assert [each.e164[-1] for each in await journal.list_operations(Filter(principal="p1"))] == ["3", "1"]
    within = Filter(since=begin + 10, until=begin + 30)
    assert [each.e164[-1] for each in await journal.list_operations(within, oldest_first=True)] == ["1", "2"]
    assert (await journal.count(within), await journal.count()) == (2, 4)


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_of_the_list_join_without_gap_or_repetition(
    journal: Journal, clock: Clock, *, oldest_first: bool
) -> None:
    ids = [(await journal.propose(draft(clock, f"+23480355501{at:02d}"))).id for at in range(5)]
    listed, after = [], ""
    while page := await journal.list_operations(limit=2, after=after, oldest_first=oldest_first):
        listed += [each.id for each in page]
        after = listed[-1]
    assert listed == (ids if oldest_first else ids[::-1])


async def test_what_waited_too_long_is_listed_as_expired_before_anybody_wrote_it_down(
    journal: Journal, clock: Clock
) -> None:
    operation = await journal.propose(draft(clock))
    assert await journal.count(Filter(states=(State.PROPOSED,))) == 1
    clock.now += 600
    assert await journal.list_operations(Filter(states=(State.PROPOSED,))) == ()
    [listed] = await journal.list_operations(Filter(states=(State.EXPIRED,)))
    assert (listed.id, listed.state) == (operation.id, State.EXPIRED)
    assert await journal.count(Filter(states=(State.EXPIRED, State.DONE))) == 1


async def test_a_journal_opened_again_holds_the_same_rows_and_the_same_secret(opener: Opener, clock: Clock) -> None:
    async with opener() as first:
        operation, secret = await first.propose(draft(clock)), first.secret
    async with opener() as second:
        assert (await second.get(operation.id), second.secret) == (operation, secret)
        await second.check_writable()


async def test_of_many_claims_on_many_connections_exactly_one_wins(opener: Opener, clock: Clock) -> None:
    won, lost = [], []

    async def compete(journal: Journal, operation: Operation) -> None:
        try:
            won.append(await claim(journal, operation))
        except OperationError:
            lost.append(operation)

    async with AsyncExitStack() as stack:
        journals = [await stack.enter_async_context(opener()) for _ in range(6)]
        operation = await journals[0].propose(draft(clock))
        async with anyio.create_task_group() as tasks:
            for journal in journals * 3:
                tasks.start_soon(compete, journal, operation)
    assert (len(won), len(lost)) == (1, 17)


async def test_of_a_no_and_a_claim_at_once_exactly_one_holds(opener: Opener, clock: Clock) -> None:
    """Twenty times, as on a server that is mistaken both win only when they overlap."""
    async with opener() as one, opener() as other:
        for at in range(20):
            operation = await one.propose(draft(clock, f"+23480355502{at:02d}"))
            won: list[str] = []

            async def decide(journal: Journal, name: str, move: Move, *, id_: str = operation.id) -> None:
                with suppress(OperationError):
                    await journal.change(id_, move)
                    won.append(name)  # noqa: B023 - the tasks end before the next round

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(decide, one, "no", lambda row, now: moves.end(row, now, State.DECLINED, reason="no"))
                tasks.start_soon(decide, other, "yes", lambda row, now: moves.claim(row, now, reserved_cents=1))
            stored = await one.get(operation.id)
            assert stored is not None
            assert {"no": State.DECLINED, "yes": State.SENDING}[won[0]] is stored.state
            assert len(won) == 1


async def test_of_many_principals_who_claim_one_number_exactly_one_wins(opener: Opener, clock: Clock) -> None:
    states = []

    async def compete(journal: Journal, operation: Operation) -> None:
        states.append((await claim(journal, operation)).state)

    async with AsyncExitStack() as stack:
        journals = [await stack.enter_async_context(opener()) for _ in range(4)]
        proposed = [await each.propose(draft(clock, principal=f"p{at}")) for at, each in enumerate(journals)]
        async with anyio.create_task_group() as tasks:
            for journal, operation in zip(journals, proposed, strict=True):
                tasks.start_soon(compete, journal, operation)
    assert sorted(states) == [State.FAILED] * 3 + [State.SENDING]


@pytest.mark.parametrize("held", [3, 4, 5])
async def test_every_operation_of_a_long_journal_is_read_once(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr("kros_mcp.operations.journal._PAGE", 2)
    ids = [(await journal.propose(draft(clock, f"+23480355501{at:02d}"))).id for at in range(held)]
    assert [each.id async for each in every(journal, Filter())] == ids


async def test_the_same_is_counted_over_a_day_by_account_principal_act_and_number(
    journal: Journal, clock: Clock
) -> None:
    async def asked(again: int = 0, **changes: Any) -> Operation:
        operation = await journal.propose(draft(clock, **changes))
        for _ in range(again):
            await journal.change(operation.id, moves.ask_again)
        return operation

    async def cancelled(again: int = 0) -> None:
        await journal.change((await asked(again)).id, partial(moves.end, state=State.CANCELLED, reason=""))

    await cancelled(again=5)  # too long ago
    clock.now += 86_401
    await cancelled()
    await cancelled(again=2)
    for other in ({"principal": "ben"}, {"account": "b"}, {"e164": "+2348035550102"}, {"action": Action.RELEASE}):
        await asked(again=1, **other)
    waiting = await asked(again=3)
    alone = await asked(principal="cara")
    assert await journal.times_asked([waiting, alone]) == {waiting.id: 8, alone.id: 1}
    assert await journal.times_asked([]) == {}


async def test_of_what_waits_longer_than_a_day_every_call_counts(journal: Journal, clock: Clock) -> None:
    old = await journal.propose(draft(clock, expires_at=clock.now + 200_000))
    clock.now += 100_000
    waiting = await journal.change(old.id, moves.ask_again)
    assert await journal.times_asked([waiting]) == {waiting.id: 2}


async def test_repeats_are_counted_up_to_a_bound_and_only_while_it_waits(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "MOST_REPEATS", 2)
    operation = await journal.propose(draft(clock))
    for _ in range(4):
        counted = await journal.change(operation.id, moves.ask_again)
    assert counted.asked_again == 2
    assert len(await journal.events(operation.id)) == 1
    ended = await journal.change(operation.id, partial(moves.end, state=State.CANCELLED, reason=""))
    assert await journal.change(operation.id, moves.ask_again) == ended
    assert ended.asked_again == 2


async def test_how_a_person_was_to_agree_is_kept_and_an_older_row_says_nothing_of_it(
    journal: Journal, clock: Clock
) -> None:
    limits = Limits(1, 2, 3, ("NG",), Confirmation.APPROVER, 4)
    operation = await journal.propose(draft(clock, limits=limits))
    found = await journal.get(operation.id)
    assert found == operation
    older = asdict(limits)
    del older["confirmation"], older["approval_above_cents"]
    row = {**model.as_row(operation), "limits": older, "request": {"country": "NG"}}
    assert model.from_row(row).limits == Limits(1, 2, 3, ("NG",))
    assert model.from_row(row).request.reason == ""


async def test_operations_are_summed_by_state_channel_and_act(journal: Journal, clock: Clock) -> None:
    await settle(journal, await journal.propose(draft(clock, "+2348035550111")), State.DONE)
    await settle(journal, await journal.propose(draft(clock, "+2348035550112", cents=300)), State.UNKNOWN)
    await journal.propose(draft(clock, "+2348035550113"))
    await settle(journal, await journal.propose(draft(clock, "+2348035550114", principal="other")), State.DONE)
    clock.now += 600
    await journal.propose(draft(clock, "+2348035550115"))

    totals = {total.state: total for total in await journal.totals(Filter(account="a", principal="local"))}
    assert {state: total.count for state, total in totals.items()} == dict.fromkeys(
        (State.DONE, State.UNKNOWN, State.EXPIRED, State.PROPOSED), 1
    )
    assert (totals[State.DONE].charged_cents, totals[State.DONE].unknown_cents) == (700, 0)
    assert (totals[State.UNKNOWN].charged_cents, totals[State.UNKNOWN].unknown_cents) == (0, 300)
    assert await journal.totals(Filter(account="b")) == ()


async def test_what_is_asked_for_is_what_waits_and_has_not_expired(journal: Journal, clock: Clock) -> None:
    await journal.propose(draft(clock, "+2348035550111", cents=100))
    clock.now += 600
    await journal.propose(draft(clock, "+2348035550112", cents=300))
    await journal.propose(draft(clock, "+2348035550113", cents=None, principal="other"))
    await journal.propose(draft(clock, "+2348035550114", action=Action.RELEASE))
    await settle(journal, await journal.propose(draft(clock, "+2348035550115")), State.DONE)
    assert sorted(await journal.asked("a"), key=str) == [300, None]
    assert (await journal.asked("a", "other"), await journal.asked("b")) == ((None,), ())


async def test_the_newest_refusal_of_a_purchase_is_found_until_one_is_done(journal: Journal, clock: Clock) -> None:
    async def refused() -> str | None:
        found = await journal.refused("a", ["INSUFFICIENT_BALANCE", "KYC_PENDING"], since=clock.now - 1_000)
        return found.error_code if found else None

    assert await refused() is None
    await settle(journal, await journal.propose(draft(clock)), State.FAILED, code="NUMBER_NOT_AVAILABLE")
    await settle(journal, await journal.propose(draft(clock, account="b")), State.FAILED, code="KYC_PENDING")
    assert await refused() is None
    for code in ("KYC_PENDING", "INSUFFICIENT_BALANCE"):
        clock.now += 1
        await settle(journal, await journal.propose(draft(clock)), State.FAILED, code=code)
        assert await refused() == code
    clock.now += 1
    await settle(journal, await journal.propose(draft(clock, "+2348035550112")), State.DONE)
    assert await refused() is None
    clock.now += 1
    await settle(journal, await journal.propose(draft(clock)), State.FAILED, code="KYC_PENDING")
    clock.now += 1_001
    assert await refused() is None
