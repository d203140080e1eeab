"""Who watches an operation is told once of each change that shows, whichever process brought it about."""

from dataclasses import replace
from typing import Any, cast

import pytest

from kros_mcp.operations.change_feed import Change, ChangeFeed
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Action, Operation, Quote, Request, State

OPERATION = Operation(
    id="op_1",
    account="a",
    principal="local",
    action=Action.BUY,
    e164="+2348035550101",
    request=Request(),
    quote=Quote(e164="+2348035550101", country="NG", environment="test", due_now_cents=700),
    created_at=0.0,
    expires_at=600.0,
)


class Shelf:
    """A journal with one operation in it, which another process may change."""

    def __init__(self) -> None:
        self.operation = OPERATION

    async def get(self, _operation_id: str) -> Operation:
        return self.operation


@pytest.mark.parametrize("state", State)
def test_money_and_numbers_are_told_of_where_they_may_have_moved_alone(state: State) -> None:
    changes, heard = ChangeFeed(), list[Change]()
    with changes.heard_by(heard.append):
        changes.of(replace(OPERATION, state=state))
    [told] = heard
    assert told.numbers is (state is State.DONE)
    assert told.spending is (state in {State.SENDING, State.UNKNOWN, State.DONE, State.FAILED})


@pytest.mark.parametrize(
    "shown",
    [
        {"state": State.DECLINED},
        {"changed": "yes"},
        {"charged": "yes"},
        {"number": {"id": "n_1"}},
        {"not_applied": ("endpoint_id",)},
    ],
)
def test_what_a_reader_sees_is_told_once_and_the_rest_never(shown: dict[str, Any]) -> None:
    changes, heard = ChangeFeed(), list[Change]()
    with changes.watching([OPERATION]), changes.heard_by(heard.append):
        changes.of(OPERATION)
        changes.of(replace(OPERATION, checked_at=1.0, note="looked at"))
        assert heard == []
        for _ in range(2):
            changes.of(replace(OPERATION, **shown))
    assert len(heard) == 1


@pytest.mark.anyio
async def test_what_another_process_did_is_told_at_the_next_look_as_long_as_anybody_watches() -> None:
    changes, shelf, heard = ChangeFeed(), Shelf(), list[Change]()

    async def look() -> int:
        await changes.look_round(cast("Journal", shelf))
        return len(heard)

    with changes.heard_by(heard.append):
        with changes.watching([OPERATION]):
            assert await look() == 0
            shelf.operation = replace(OPERATION, state=State.CANCELLED)
            with changes.watching([OPERATION]):
                pass  # one of the two who watch it has left
            assert await look() == 1
        shelf.operation = replace(OPERATION, state=State.DECLINED)
        assert await look() == 1, "nobody watches it any more"
        with changes.watching([shelf.operation]):
            assert await look() == 1, "what was told before nobody watched is forgotten"
