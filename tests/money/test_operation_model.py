"""The state machine of an operation: only the drawn moves happen, and no claim exceeds what is known."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kros_mcp.errors import OperationError
from kros_mcp.journals.rows import decode, encode
from kros_mcp.operations import model, moves, schedule
from kros_mcp.operations.model import (
    ANSWER_SECONDS,
    IN_FLIGHT,
    LEASE_SECONDS,
    WAITING,
    Action,
    Channel,
    Operation,
    Quote,
    Request,
    Settlement,
    State,
    StoredNumber,
)

ENDED = frozenset(State) - WAITING - IN_FLIGHT
OUTCOMES = (State.DONE, State.FAILED, State.UNKNOWN)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
CENTS = st.none() | st.integers(0, 2**53 - 1)
TIMES = st.none() | st.floats(0, 4e9)


def draft(action: Action = Action.BUY) -> Operation:
    return Operation(
        id="op_1",
        account="a",
        principal="local",
        action=action,
        e164="+2348035550101",
        request=Request(),
        quote=Quote(e164="+2348035550101", country="NG", environment="test", due_now_cents=700),
        created_at=0.0,
        expires_at=ANSWER_SECONDS,
    )


class Life(RuleBasedStateMachine):
    """An operation that anything may happen to, beside what an onlooker knows to have happened."""

    def __init__(self) -> None:
        super().__init__()
        self.operation = draft()
        self.now = 0.0
        self.tokens: set[int] = set()
        self.evidence = "no"
        self.trail = [State.PROPOSED]

    def move(self, move: Any, *args: Any, **kwargs: Any) -> bool:
        before, refusal = self.operation, None
        try:
            self.operation = move(before, self.now, *args, **kwargs)
        except OperationError as exc:
            refusal = exc
        if refusal is not None:
            on_its_way = before.state is State.SENDING and before.action is Action.BUY
            assert refusal.charged == ("unknown" if on_its_way else before.charged)
            assert self.operation is before
            return False
        if self.operation.state is not before.state:
            assert self.operation.state in model.MOVES[before.state]
            self.trail.append(self.operation.state)
        return True

    @rule(action=st.sampled_from(Action))
    @precondition(lambda self: self.trail == [State.PROPOSED] and not self.operation.wrong_codes)
    def is_of_a_kind(self, action: Action) -> None:
        self.operation = model.replace(self.operation, action=action)

    @rule(seconds=st.sampled_from([0.0, 1.0, LEASE_SECONDS - 1, LEASE_SECONDS, ANSWER_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expires(self) -> None:
        assert self.move(moves.expire)

    @rule()
    def is_confirmed(self) -> None:
        proposed = self.operation.state is State.PROPOSED
        assert self.move(moves.confirm, by="x") is proposed

    @rule(state=st.sampled_from([State.DECLINED, State.CANCELLED, State.FAILED]))
    def is_ended(self, state: Any) -> None:
        waiting = self.operation.state in WAITING
        assert self.move(moves.end, state, reason="r") is waiting

    @rule()
    def gets_a_wrong_code(self) -> None:
        self.move(moves.wrong_code)

    @rule()
    def is_claimed(self) -> None:
        waiting = self.operation.state in WAITING
        waiting = waiting and not self.operation.action.is_several  # its numbers are claimed, each by itself
        assert self.move(moves.claim, reserved_cents=700) is waiting
        if waiting:
            assert self.operation.token not in self.tokens
            self.tokens.add(self.operation.token)

    @rule(token=st.integers(0, 4))
    def is_renewed(self, token: int) -> None:
        held = self.holds(token)
        assert self.move(moves.renew, token=token) is held

    @rule(token=st.integers(0, 4))
    def is_sent(self, token: int) -> None:
        held = self.holds(token)
        assert self.move(moves.mark_sent, token=token) is held
        if held:
            self.evidence = "unknown"

    @rule(token=st.integers(0, 4), state=st.sampled_from(OUTCOMES))
    @precondition(lambda self: self.operation.state in IN_FLIGHT and self.operation.sent_at is not None)
    def is_settled(self, token: int, state: Any) -> None:
        stale, again = token != self.operation.token, (self.operation.state, state) == (State.UNKNOWN, State.UNKNOWN)
        assert self.move(moves.settle, Settlement(state), token=token) is not (stale or again)
        if not stale and not again:
            self.evidence = {State.DONE: "yes", State.FAILED: "no", State.UNKNOWN: "unknown"}[state]

    @rule(state=st.sampled_from([State.DONE, State.FAILED]))
    def is_settled_by_hand(self, state: Any) -> None:
        unknown = self.operation.state is State.UNKNOWN
        assert self.move(moves.settle_by_hand, state=state, by="p", reason="seen", settle_seconds=0) is unknown
        if unknown:
            self.evidence = {State.DONE: "yes", State.FAILED: "no"}[state]

    @rule()
    def is_recovered(self) -> None:
        before = self.operation
        assert self.move(moves.recover)
        expired = before.state is State.SENDING and self.now >= (before.lease_until or 0.0)
        assert (self.operation != before) is expired
        if expired:
            assert self.operation.state is (State.FAILED if before.sent_at is None else State.UNKNOWN)
            assert self.operation.token == before.token + 1

    def holds(self, token: int) -> bool:
        operation = self.operation
        return (
            operation.state is State.SENDING and operation.token == token and self.now < (operation.lease_until or 0.0)
        )

    @invariant()
    def claims_no_more_than_is_known(self) -> None:
        operation = self.operation
        assert operation.changed == self.evidence
        assert operation.charged == (self.evidence if operation.action.charges else "no")
        assert operation.state not in WAITING or operation.charged == "no"

    @invariant()
    def ended_once(self) -> None:
        assert all(state not in ENDED for state in self.trail[:-1])
        assert (self.operation.settled_at is not None) is (self.operation.state in ENDED)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("to", State)
def test_only_the_drawn_moves_happen(state: State, to: State) -> None:
    operation = model.replace(draft(), state=state)
    if to in model.MOVES.get(state, ()):
        assert operation.to(to).state is to
        return
    with pytest.raises(OperationError):
        operation.to(to)


def test_a_renewed_lease_holds_from_its_renewal_on() -> None:
    renewed = moves.renew(moves.claim(draft(), 0.0, reserved_cents=7), 10.0, token=1)
    assert moves.mark_sent(renewed, 10.0 + LEASE_SECONDS - 1, token=1).sent_at is not None
    with pytest.raises(OperationError):
        moves.mark_sent(renewed, 10.0 + LEASE_SECONDS, token=1)


def test_settling_with_a_stale_token_changes_nothing() -> None:
    sent = moves.mark_sent(moves.claim(draft(), 0.0, reserved_cents=7), 0.0, token=1)
    taken = moves.recover(sent, LEASE_SECONDS)
    with pytest.raises(OperationError) as caught:
        moves.settle(taken, LEASE_SECONDS, Settlement(State.FAILED), token=1)
    assert caught.value.charged == "unknown"


def test_who_agreed_and_when_stands_once_it_is_carried_out() -> None:
    approved = moves.claim(moves.confirm(draft(), 1.0, by="boss"), 2.0, reserved_cents=700)
    assert (approved.confirmed_by, approved.confirmed_at) == ("boss", 1.0)
    by_code = moves.claim(draft(), 2.0, reserved_cents=700, by="code")
    assert (by_code.confirmed_by, by_code.confirmed_at) == ("code", 2.0)


def test_an_outcome_that_has_cost_its_requests_is_looked_for_again_when_its_first_day_ends() -> None:
    spent = replace(draft(), looks=schedule.MOST_REQUESTS)
    assert schedule.look_after_unknown(spent, 3_600.0, 1) == schedule.WATCHED_SECONDS - 3_600


def test_the_fifth_wrong_code_declines() -> None:
    operation = draft()
    for _ in range(4):
        operation = moves.wrong_code(operation, 0.0)
    assert operation.state is State.PROPOSED
    assert moves.wrong_code(operation, 0.0).state is State.DECLINED


def test_an_act_that_may_be_on_its_way_is_never_called_free() -> None:
    claimed = moves.claim(draft(), 0.0, reserved_cents=700)
    assert model.past(claimed).charged == "unknown"
    assert model.past(moves.mark_sent(claimed, 0.0, token=1)).charged == "unknown"
    release = moves.claim(draft(Action.RELEASE), 0.0, reserved_cents=0)
    assert (model.past(release).charged, model.past(release).changed) == ("no", "unknown")


def test_a_purchase_settled_by_hand_still_gets_its_settings() -> None:
    sent = moves.mark_sent(moves.claim(draft(), 0.0, reserved_cents=7), 0.0, token=1)
    lost = moves.settle(sent, 0.0, Settlement(State.UNKNOWN), token=1)
    assert moves.settle_by_hand(lost, 1.0, state=State.DONE, by="ops", reason="seen", settle_seconds=0).settings_pending
    assert not moves.settle_by_hand(
        lost, 1.0, state=State.FAILED, by="ops", reason="seen", settle_seconds=0
    ).settings_pending


requests = st.builds(
    Request,
    number_id=TEXT,
    inventory_id=TEXT,
    country=TEXT,
    type=TEXT,
    area_code=TEXT,
    position=st.none() | st.integers(0, 10**6),
    endpoint_id=TEXT,
    allow_inbound=st.none() | st.booleans(),
    allow_outbound=st.none() | st.booleans(),
    permanent=st.booleans(),
    status=TEXT,
)
quotes = st.builds(
    Quote,
    e164=TEXT,
    country=st.none() | TEXT,
    environment=st.sampled_from(["live", "test", "simulator"]),
    setup_cents=CENTS,
    monthly_cents=CENTS,
    due_now_cents=CENTS,
)
operations = st.builds(
    Operation,
    id=TEXT,
    account=TEXT,
    principal=TEXT,
    action=st.sampled_from(Action),
    e164=TEXT,
    request=requests,
    quote=quotes,
    created_at=st.floats(0, 4e9),
    expires_at=st.floats(0, 4e9),
    state=st.sampled_from(State),
    channel=st.none() | st.sampled_from(Channel),
    asked_at=TIMES,
    wrong_codes=st.integers(0, 5),
    reserved_cents=st.integers(0, 2**53 - 1),
    lease_until=TIMES,
    token=st.integers(0, 9),
    charged=st.sampled_from(["no", "yes", "unknown"]),
    message=TEXT,
    number=st.none()
    | st.builds(
        StoredNumber,
        id=TEXT.filter(bool),
        status=st.none() | TEXT,
        monthly_cents=CENTS,
        allow_inbound=st.none() | st.booleans(),
    ),
    settings_pending=st.booleans(),
    settings_superseded=st.lists(TEXT, max_size=3).map(tuple),
    accepted=st.booleans(),
    not_applied=st.lists(TEXT, max_size=3).map(tuple),
    seen_unsold_at=TIMES,
)


@given(operations)
def test_a_row_holds_everything_of_an_operation(operation: Operation) -> None:
    assert decode(encode(operation)) == operation
    assert model.from_row(json.loads(json.dumps(model.as_row(operation)))) == operation


NUMBER = {"id": "n1", "e164": "+2348035550101", "country": "NG", "status": "active", "monthly_cents": 700}


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (None, None),
        (NUMBER, StoredNumber(id="n1", e164="+2348035550101", country="NG", status="active", monthly_cents=700)),
        (
            {"id": "n1", "setup_cents": "10", "monthly_cents": 700.0},
            StoredNumber(id="n1", setup_cents=10, monthly_cents=700),
        ),
        ({"id": "n1", "sip": {"password": "x"}, "e164": None}, StoredNumber(id="n1")),
        ({"e164": "+2348035550101"}, None),
        ({"id": None}, None),
        ({"id": ""}, None),
        ([], None),
        (5, None),
    ],
)
def test_a_number_is_read_from_any_row_and_one_without_an_id_is_none(stored: object, read: StoredNumber | None) -> None:
    row = model.as_row(draft())
    operation = model.from_row(row | {"number": stored})
    assert operation.number == read
    assert read is None or type(operation.number.monthly_cents) in {int, type(None)}  # type: ignore[union-attr]


def test_what_was_not_applied_is_forgotten_once_its_act_is_open_again() -> None:
    """Finishing finds it out anew; until then nobody is told of a setting that may have come about since."""
    sent = replace(draft(), state=State.DONE, sent_at=0.0, not_applied=("allow_outbound",))
    assert moves.correct(sent, 1.0, Settlement(State.UNKNOWN), note="Ended.").not_applied == ()
