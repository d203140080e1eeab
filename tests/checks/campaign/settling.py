"""After the storm: everything calms down, and the campaign waits until nothing is open any more."""

import time
from collections.abc import Container, Iterable
from functools import partial
from typing import Literal

import anyio

from kros_mcp.errors import KrosError, OperationError
from kros_mcp.krosai import OTHER_ORGANIZATION
from kros_mcp.operations import moves
from kros_mcp.operations.model import Action, Operation, State
from kros_mcp.simulator.state import LIVING

from .watched import Act, WatchedOrganization, operation_id_of
from .world import MOST_OPERATIONS, World

LONGEST_WAIT_SECONDS = 150.0
LOOKED_UP_AT_ONCE = 8
DROPPED_SECONDS = 30.0
"""After this an order that was accepted is not carried out any more: longer than any that a fault keeps waiting."""
OPEN = frozenset({State.CONFIRMED, State.SENDING, State.UNKNOWN})


async def settle(world: World) -> float:
    """End the faults, thaw what is frozen, and wait until nothing is open, at most so long.

    Returns:
        How many seconds that took.
    """
    await _calm(world)
    began = time.monotonic()
    with anyio.move_on_after(LONGEST_WAIT_SECONDS):
        while open_now := await _still_open(world):
            world.events.note("waiting", operations=[(each.id, each.state) for each in open_now])
            async with anyio.create_task_group() as tasks:
                for operation in open_now[:LOOKED_UP_AT_ONCE]:
                    tasks.start_soon(_look_up, world, operation)
            await anyio.sleep(1)
    return time.monotonic() - began


async def _calm(world: World) -> None:
    world.sim.faults.clear()
    world.book.on_yes = lambda _yes: None
    world.sim.on_hold = lambda _: None
    for place, connection in enumerate(world.connections):
        if connection.server is not None:
            connection.server.thaw()
        if place % 2:  # one of the two servers of each principal begins anew, the other goes on as it is
            await connection.stop()


async def _still_open(world: World) -> list[Operation]:
    try:
        operations = await world.journal.list_operations(limit=MOST_OPERATIONS)
    except KrosError as exc:
        world.events.note("journal not read", code=exc.code)
        return await _still_open(world)
    world.sim.catch_up()
    return [
        each
        for krosai in world.sim.all
        for each in _open_at(krosai, [each for each in operations if world.krosai_of(each) is krosai])
    ]


def _open_at(krosai: WatchedOrganization, operations: Iterable[Operation]) -> Iterable[Operation]:
    # Settings of a number that was given up meanwhile stay pending for as long as KrosAI may only list it late.
    given_up = {act.e164 for act in krosai.acts if act.kind == "release"}
    happened = {charge.idempotency_key for charge in krosai.charges}
    happened |= {operation_id_of(act.key) for act in _last_changes(krosai)}
    return [
        each
        for each in operations
        if each.state in OPEN
        or _is_to_be_corrected(each, happened)
        or (each.settings_pending and each.e164 not in given_up and not krosai.hidden_for_ever(each.e164))
    ]


def _last_changes(krosai: WatchedOrganization) -> Iterable[Act]:
    """Return the last change of each number that had an effect: what came before it cannot be seen any more."""
    return {act.e164: act for act in krosai.acts if act.kind == "change" and act.had_effect}.values()


def _is_to_be_corrected(operation: Operation, happened: Container[str | None]) -> bool:
    """Whether the journal says of a purchase or change what KrosAI made other, or has not made true yet."""
    if operation.action is Action.CONFIGURE:
        return operation.state is State.FAILED and operation.id in happened
    ended = operation.action.charges and operation.state in {State.DONE, State.FAILED}
    return ended and (operation.state is State.DONE) != (operation.id in happened)


async def _look_up(world: World, operation: Operation) -> None:
    """Ask as its own client would; asking makes a server ask KrosAI at once."""
    if _is_beyond_evidence(world, operation):
        await _settle_by_hand(world, operation)
        return
    mine = [each for each in world.connections if each.kind.principal == operation.principal]
    await mine[0].call("get_operation", operation_id=operation.id)


def _is_beyond_evidence(world: World, operation: Operation) -> bool:
    """Tell whether KrosAI can never show how a purchase ended.

    The number is neither owned nor for sale: somebody else took it, and the server died before it heard so. Or it
    is owned and never listed. Or the order was accepted, and nothing came of it: a server waits nearly a day for that.
    Or finding it out has cost what it may cost in a day.
    """
    if operation.state is not State.UNKNOWN or not operation.action.charges:
        return False
    krosai = world.krosai_of(operation)
    owned = any(each.e164 == operation.e164 and each.status in LIVING for each in krosai.owned.values())
    elsewhere = operation.error_code == OTHER_ORGANIZATION  # which only a person can look into
    late = time.time() - (operation.sent_at or 0) > DROPPED_SECONDS
    dropped = (operation.accepted or elsewhere) and not owned and late
    spent = (operation.look_at or 0.0) - time.time() > LONGEST_WAIT_SECONDS  # its requests of the day are used up
    return dropped or spent or not krosai.shows(operation.e164)


async def _settle_by_hand(world: World, operation: Operation) -> None:
    """Do what docs/books.md tells a person to do then: look at KrosAI's invoices, and write down what they show."""
    charged = any(charge.idempotency_key == operation.id for charge in world.krosai_of(operation).charges)
    state: Literal[State.DONE, State.FAILED] = State.DONE if charged else State.FAILED
    move = partial(
        moves.settle_by_hand, state=state, by="the campaign", reason="the invoices show it", settle_seconds=0
    )
    try:
        await world.journal.change(operation.id, move)
        world.events.note("settled by hand", operation_id=operation.id, state=state)
    except OperationError as exc:
        world.events.note("not settled by hand", operation_id=operation.id, code=exc.code)
