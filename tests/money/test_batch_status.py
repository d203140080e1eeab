"""What a batch has come to, by its numbers."""

from dataclasses import replace

import pytest

from kros_mcp.operations.batch import Batch
from kros_mcp.operations.model import Action, Operation, Quote, Request, State


def one(state: State, **fields: object) -> Operation:
    quote = Quote("+2342015550100", "NG", "simulator", 0, 500, 500)
    row = Operation("op_1", "acc", "local", Action.BUY, quote.e164, Request(), quote, 0.0, 600.0)
    return replace(row, state=state, **fields)  # type: ignore[arg-type]


def batch(*items: Operation, state: State = State.DONE) -> Batch:
    return Batch(replace(one(state), action=Action.BUY_SEVERAL), items)


DONE = one(State.DONE, charged="yes", changed="yes")
FAILED = one(State.FAILED)
UNKNOWN = one(State.UNKNOWN, charged="unknown", changed="unknown")


@pytest.mark.parametrize(
    ("items", "status", "charged"),
    [
        ((DONE, DONE), "done", "yes"),
        ((DONE, FAILED), "partly_done", "yes"),
        ((FAILED, FAILED), "failed", "no"),
        ((DONE, UNKNOWN, FAILED), "unknown", "unknown"),
        ((DONE, one(State.SENDING)), "pending", "unknown"),
        ((), "unknown", "unknown"),  # agreed to, and its numbers could not be read
    ],
)
def test_a_batch_is_what_its_numbers_are(items: tuple[Operation, ...], status: str, charged: str) -> None:
    found = batch(*items)
    assert (found.status, found.charged, found.changed) == (status, charged, charged)


def test_before_its_yes_a_batch_is_a_question_and_nothing_is_charged() -> None:
    found = batch(state=State.PROPOSED)
    assert (found.status, found.charged) == ("confirmation_required", "no")


@pytest.mark.parametrize("action", [Action.BUY, Action.RELEASE, Action.CONFIGURE])
def test_a_batch_needs_the_same_right_as_one(action: Action) -> None:
    assert action.several.is_several
    assert not action.is_several
    assert (action.several.one, action.several.scope, action.several.charges) == (action, action.scope, action.charges)
