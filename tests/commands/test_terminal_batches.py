"""A batch at the terminal: shown whole before a decision, in the list and in its own story; never one number alone."""

import json
import time
from dataclasses import replace

import anyio
import pytest
from commands_doubles import Command, an_operation, put, read

from kros_mcp.journals.backends import open_journal
from kros_mcp.numbering import spoken
from kros_mcp.operations import moves
from kros_mcp.operations.batch import joined
from kros_mcp.operations.model import Action, Item, Operation, Quote, Request, Settlement, State
from kros_mcp.operations.policy import Books

NUMBERS = ["+2342015550100", "+254205550101", "+2342015550102"]


def a_batch(action: Action = Action.BUY_SEVERAL) -> Operation:
    items = tuple(
        Item(e164, Request(number_id=f"n{at}"), Quote(e164, country, "live", 100 * at, 500, 500 + 100 * at))
        for at, (e164, country) in enumerate(zip(NUMBERS, ("NG", "KE", "NG"), strict=True))
    )
    whole = joined(items)
    return an_operation(action=action, e164=whole.e164, request=whole.request, quote=whole.quote, items=items)


def agree(journal_url: str, batch: Operation) -> tuple[Operation, ...]:
    """Let the numbers of a batch be agreed to, and all be done but the last, of which it is not known."""

    def claim(current: Operation, now: float, _: Books) -> tuple[Operation, tuple[Operation, ...]]:
        return moves.agree(current, now, reserved_cents=[part.quote.due_now_cents or 0 for part in current.parts])

    async def work() -> tuple[Operation, ...]:
        async with open_journal(journal_url) as journal:
            _, items = await journal.claim(batch.id, claim, committed_since=time.time())
            for item, state in zip(items, (State.DONE, State.DONE, State.UNKNOWN), strict=True):
                await journal.change(item.id, lambda one, now: moves.mark_sent(one, now, token=1))
                await journal.change(
                    item.id, lambda one, now, to=state: moves.settle(one, now, Settlement(to), token=1)
                )
            return await journal.items(batch.id)

    return anyio.run(work)


@pytest.mark.parametrize("action", [Action.BUY_SEVERAL, Action.RELEASE_SEVERAL])
def test_whoever_approves_is_shown_every_number_and_the_totals(
    command: Command, journal_url: str, action: Action
) -> None:
    batch = put(journal_url, a_batch(action))

    told = command("approve", batch.id, "--yes", "--reason", "agreed")

    assert told.code == 0
    for e164, country in zip(NUMBERS, ("Nigeria", "Kenya", "Nigeria"), strict=True):
        [row] = [line for line in told.out.splitlines() if line.startswith(spoken(e164))]
        assert country in row
        assert e164 in told.out
    totals = [line.split() for line in told.out.splitlines() if line.startswith("all 3")]
    assert totals == ([["all", "3", "18.00", "15.00"]] if action is Action.BUY_SEVERAL else [])
    assert read(journal_url, batch.id).state is State.CONFIRMED


def test_a_batch_that_waits_is_listed_with_all_its_numbers(command: Command, journal_url: str) -> None:
    batch = put(journal_url, a_batch())

    told = command("operations")

    [row] = [line for line in told.out.splitlines() if batch.id in line]
    assert f"buy {', '.join(NUMBERS)}" in row


def test_the_story_of_a_batch_tells_what_became_of_each_number(command: Command, journal_url: str) -> None:
    batch = put(journal_url, replace(a_batch()))
    items = agree(journal_url, batch)

    told = command("operations", batch.id)

    assert told.code == 0
    assert "It is unknown; charged: unknown, changed: unknown." in told.out
    for item in items:
        [row] = [line for line in told.out.splitlines() if item.id in line]
        assert row.split()[-1] == item.state
        assert spoken(item.e164) in row
    assert command("operations").out.count(f"One of several: {batch.id}.") == len(items)
    assert f"under the yes of {batch.id}" in command("operations", items[0].id).out
    written = json.loads(command("operations", batch.id, "--json").out)
    assert [item["operation_id"] for item in written["items"]] == [item.id for item in items]
