"""What crosses from one organization to another is seen when their books are compared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Operation
from kros_mcp.simulator import Charge, ReceivedRequest
from tests.support.receiver import Receiver

from .books import Answer
from .compare import compare
from .events import Events
from .fleet import HTTP_KINDS
from .people import Book
from .test_comparison import BUY, good_books
from .watched import WatchedKrosai
from .world import Plan, World

pytestmark = pytest.mark.anyio
OWN, OTHER = "account of the first", "account of the second"


class Kept:
    """A journal that holds these operations."""

    def __init__(self, *operations: Operation) -> None:
        self._operations = operations

    async def list_operations(self, **_: object) -> tuple[Operation, ...]:
        return self._operations


class Told:
    """A client of one kind, and what it was told."""

    def __init__(self, place: int, *answers: Answer) -> None:
        self.kind, self.answers = HTTP_KINDS[2 * place], answers


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    plan = Plan(seconds=1, seed=1, folder=tmp_path, kinds=HTTP_KINDS, organizations=2)
    sim, events = WatchedKrosai("reference", 1, organizations=2), Events(tmp_path / "events.jsonl")
    accounts = {OWN: sim.all[0], OTHER: sim.all[1]}
    [bought] = [each for each in good_books().operations if each.id == BUY]
    bought = Operation(**{**vars(bought), "account": OTHER})
    yield World(plan, sim, cast("Journal", Kept(bought)), events, Book(events), (), Receiver(), accounts)
    events.close()


async def rules(world: World) -> list[list[str]]:
    return [[each.rule for each in compare(books)] for books in await world.books()]


async def test_what_was_charged_to_the_organization_that_asked_is_its_own(world: World) -> None:
    [yes] = [each for each in good_books().confirmations if each.operation_id == BUY]
    world.book.confirmations.append(yes)
    world.sim.all[1].charges.append(Charge(yes.e164, 700, 22.0, BUY))
    assert (await rules(world))[0] == []
    assert "charge without a confirmation" not in (await rules(world))[1]


async def test_what_was_charged_to_another_is_found_out(world: World) -> None:
    world.sim.charges.append(Charge("+2348035550101", 700, 22.0, BUY))
    first, second = await rules(world)
    assert "charge without an operation" in first
    assert "done without a charge" in second


async def test_what_was_sent_for_another_is_found_out(world: World) -> None:
    [yes] = [each for each in good_books().confirmations if each.operation_id == BUY]
    world.book.confirmations.append(yes)
    sent: dict[str, Any] = {"method": "POST", "path": "/v1/phone-numbers", "query": {}, "body": {}, "at": 22.0}
    for organization, found in ((world.sim.all[1], False), (world.sim.all[0], True)):
        headers = {"x-organization-id": organization.organization_id, "idempotency-key": BUY}
        world.sim.requests[:] = [ReceivedRequest(**sent, headers=headers, status=201)]
        assert ("sent without a confirmation" in (await rules(world))[0]) is found


async def test_what_was_told_to_another_is_found_out(world: World) -> None:
    told = Answer(BUY, "get_operation", "done", failed=False, charged="yes", changed="yes", asked_at=30.0, answered_at=31.0, by="x")  # fmt: skip  # noqa: E501
    for place, found in ((1, False), (0, True)):
        world.connections = cast("Any", (Told(place, told),))
        assert ("told of an operation that is none" in (await rules(world))[0]) is found
