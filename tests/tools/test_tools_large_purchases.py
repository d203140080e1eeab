"""Purchases over KROS_APPROVAL_ABOVE_CENTS wait for an approver, whatever the client could show or say."""

import anyio
import pytest

from kros_mcp.operations import moves
from kros_mcp.operations.journal import Journal
from kros_mcp.operations.model import Channel, State
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.person import Person, accept
from tests.support.receiver import open_receiver
from tests.support.talk import open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio
WAITING = "nothing is charged or changed yet. With a test key, buying"
PRICE = 500


async def approve(journal: Journal, operation_id: str) -> None:
    await journal.change(operation_id, lambda operation, now: moves.confirm(operation, now, by="approver: night-desk"))


@pytest.mark.promise(2)
async def test_a_purchase_over_the_line_waits_for_an_approver_and_is_then_carried_out(
    reference: Simulator, journal: Journal, era: str
) -> None:
    item, person = item_of(reference), Person(accept("buy"))
    async with open_talk(reference, era, person, journal=journal, approval_above_cents=PRICE - 1) as talk:
        asked = await talk.buy(item)
        assert (asked.outcome, asked["confirmation_code"]) == ("awaiting_approval", None)
        assert asked["summary"].startswith(f"It waits for an approver; {WAITING}")
        assert (person.prompts, wrote(reference)) == ([], [])
        await approve(journal, asked["operation_id"])
        with anyio.fail_after(10):
            while (await talk.call("get_operation", operation_id=asked["operation_id"])).outcome != "done":
                await anyio.lowlevel.checkpoint()
    assert [charge.e164 for charge in reference.charges] == [item.e164]


async def test_who_waits_for_an_approver_is_told_whether_that_one_knows_and_where_to_decide(
    reference: Simulator, journal: Journal, era: str
) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, journal=journal, confirmation="approver") as talk:
        asked = await talk.buy(item)
        assert asked["summary"].startswith(f"It waits for an approver; {WAITING}")
        decide = f"kros-mcp approve {asked['operation_id']}"
        assert f"by {decide} at a terminal; nobody tells the approver" in asked["next_step"]
    async with open_receiver() as receiver:
        told = receiver.settings | {"public_url": "https://numbers.example.com"}
        async with open_talk(reference, era, journal=journal, confirmation="approver", **told) as talk:
            again = await talk.buy(item)
    assert again["operation_id"] == asked["operation_id"]
    assert again["summary"].startswith(f"An approver has been asked; {WAITING}")
    assert "on the page /approvals of this service. Look" in again["next_step"]
    assert receiver.url not in f"{again.data} {again.text}"


async def test_the_line_itself_is_still_the_conversations(reference: Simulator, era: str) -> None:
    async with open_talk(reference, era, approval_above_cents=PRICE) as talk:
        asked = await talk.buy(item_of(reference))
        assert asked.outcome == "confirmation_required"
        done = await talk.buy(item_of(reference), confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"


async def test_an_approver_has_as_long_as_the_operator_gives_them(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    async with open_talk(reference, journal=journal, approval_above_cents=0, approval_hours=2) as talk:
        asked = await talk.buy(item_of(reference))
        operation = await journal.get(asked["operation_id"])
        assert operation is not None
        assert (operation.channel, operation.expires_at - clock()) == (Channel.APPROVER, 2 * 3600)
        clock.now += 2 * 3600
        assert (await talk.call("get_operation", operation_id=operation.id)).outcome == "expired"


@pytest.mark.promise(2)
async def test_a_code_given_out_before_the_line_was_drawn_buys_nothing_over_it(
    reference: Simulator, journal: Journal, era: str
) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, journal=journal) as talk:
        code = (await talk.buy(item))["confirmation_code"]
    async with open_talk(reference, era, journal=journal, approval_above_cents=PRICE - 1) as talk:
        refused = await talk.buy(item, confirmation_code=code)
        assert (refused.outcome, refused["charged"], wrote(reference)) == ("APPROVAL_NEEDED", "no", [])
        assert (await talk.buy(item)).outcome == "awaiting_approval"


@pytest.mark.promise(2)
async def test_a_price_that_rises_over_the_line_asks_an_approver_and_gives_no_code(
    reference: Simulator, journal: Journal, era: str
) -> None:
    item = item_of(reference)
    async with open_talk(reference, era, journal=journal, approval_above_cents=PRICE) as talk:
        code = (await talk.buy(item))["confirmation_code"]
        item.monthly_cost_cents += 1
        anew = await talk.buy(item, confirmation_code=code)
        assert (anew.outcome, anew["confirmation_code"]) == ("awaiting_approval", None)
    assert wrote(reference) == []


async def test_an_unstated_price_counts_as_the_most_that_it_may_be(reference: Simulator, journal: Journal) -> None:
    item = item_of(reference)
    reference.faults.switch_on("missing_prices", times=None)
    given = {"allow_unpriced": True, "max_purchase_cents": 900, "approval_above_cents": 899}
    async with open_talk(reference, journal=journal, **given) as talk:
        assert (await talk.buy(item)).outcome == "awaiting_approval"


async def test_releases_and_changes_stay_with_the_conversation(reference: Simulator, journal: Journal) -> None:
    async with open_talk(reference, journal=journal, approval_above_cents=0) as talk:
        owned = next(iter(reference.owned.values()))
        asked = await talk.call("release_phone_number", number_id=owned.id)
    assert asked.outcome == "confirmation_required"
    operation = await journal.get(asked["operation_id"])
    assert operation is not None
    assert operation.state is State.PROPOSED


async def test_get_spending_tells_where_the_line_is(reference: Simulator) -> None:
    async with open_talk(reference, approval_above_cents=300) as talk:
        assert (await talk.call("get_spending"))["approval_above_cents"] == 300


@pytest.mark.promise(2)
async def test_what_is_put_to_somebody_else_lasts_as_long_as_theirs_do(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    """Another server, or this one with other settings, asks an approver in place of the person, or the reverse."""
    item, line = item_of(reference), {"approval_above_cents": PRICE - 1, "approval_hours": 720}
    async with open_talk(reference, journal=journal, **line) as talk:
        assert (await talk.buy(item)).outcome == "awaiting_approval"
    async with open_talk(reference, journal=journal) as talk:
        asked = await talk.buy(item)
        clock.now += 601
        late = await talk.buy(item, confirmation_code=asked["confirmation_code"])
        assert (late.outcome, wrote(reference)) == ("CODE_EXPIRED", [])
        assert (await talk.buy(item)).outcome == "confirmation_required"
        clock.now += 599
    async with open_talk(reference, journal=journal, **line) as talk:
        assert (await talk.buy(item)).outcome == "awaiting_approval"
        clock.now += 700
        assert (await talk.buy(item)).outcome == "awaiting_approval"


@pytest.mark.parametrize(("mode", "code"), [("prompt", "PROMPT_UNAVAILABLE"), ("person", "SCREEN_UNAVAILABLE")])
async def test_a_client_without_prompts_may_ask_an_approver_for_what_costs_more_and_nobody_for_the_rest(
    reference: Simulator, journal: Journal, mode: str, code: str
) -> None:
    item, strict = item_of(reference), {"confirmation": mode}
    async with open_talk(reference, journal=journal, approval_above_cents=PRICE - 1, **strict) as talk:
        waiting = await talk.buy(item)
        assert (waiting.outcome, waiting["waits_for"]) == ("awaiting_approval", "approver")
        await talk.call("cancel_operation", operation_id=waiting["operation_id"])
    async with open_talk(reference, journal=journal, approval_above_cents=PRICE, **strict) as talk:
        refused = await talk.buy(item)
        assert (refused.outcome, refused["charged"]) == (code, "no")
    assert [each.state for each in await journal.list_operations()] == [State.CANCELLED] * 2
    assert wrote(reference) == []
