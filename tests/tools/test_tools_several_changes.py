"""Several numbers that are not protected, changed in one call: all are checked first, and each is told."""

import anyio
import anyio.lowlevel
import pytest

from kros_mcp.numbering import spoken
from kros_mcp.simulator import Simulator
from kros_mcp.simulator.records import SimNumber
from tests.support.talk import open_talk
from tests.support.upstream import item_of, wrote

pytestmark = pytest.mark.anyio


@pytest.fixture
def numbers(sim: Simulator) -> list[SimNumber]:
    """Four numbers that live; the first two go to the support agent and to the order line."""
    first, second, *_ = sim.endpoints
    owned = [sim.own(item_of(sim, kind="mobile", nth=nth), "active") for nth in range(4)]
    for number in owned:
        number.allow_outbound = True
    owned[0].endpoint_id, owned[1].endpoint_id = first, second
    return owned


async def test_a_swap_is_one_call_and_is_put_back_by_what_stood_before(
    sim: Simulator, numbers: list[SimNumber], era: str
) -> None:
    one, other, *_ = numbers
    before = [one.endpoint_id, other.endpoint_id]
    async with open_talk(sim, era) as talk:
        swapped = await talk.call(
            "configure_phone_number",
            number_id=f"{one.e164}, {other.e164}",
            endpoint_id="Order line, Support agent",
        )
        assert (swapped.outcome, swapped["changed"], swapped["charged"]) == ("done", "yes", "no")
        assert [one.endpoint_id, other.endpoint_id] == before[::-1]
        assert swapped["summary"].startswith("2 numbers are changed: ")
        assert [item["e164"] for item in swapped["items"]] == [one.e164, other.e164]
        back = await talk.call(
            "configure_phone_number",
            number_id=",".join(item["number_id"] for item in swapped["items"]),
            endpoint_id=",".join(item["before"]["endpoint_id"] for item in swapped["items"]),
        )
    assert back.outcome == "done"
    assert [one.endpoint_id, other.endpoint_id] == before
    assert wrote(sim) == ["PATCH"] * 4


async def test_calls_are_kept_out_and_let_in_again(sim: Simulator, numbers: list[SimNumber]) -> None:
    named = "; ".join(number.e164 for number in numbers)
    async with open_talk(sim) as talk:
        off = await talk.call("configure_phone_number", number_id=named, allow_inbound="off", endpoint_id="unrouted")
        assert all((number.allow_inbound, number.endpoint_id) == (False, None) for number in numbers)
        assert [item["before"]["allow_inbound"] for item in off["items"]] == [True] * 4
        assert off["summary"] == "4 numbers are changed."
        assert all(number.e164 in off.text for number in numbers)
        for item in off["items"]:
            await talk.call(
                "configure_phone_number",
                number_id=item["e164"],
                endpoint_id=item["before"]["endpoint_id"] or "unrouted",
                allow_inbound="on",
            )
    assert all(number.allow_inbound for number in numbers)
    assert [number.endpoint_id for number in numbers] == [*list(sim.endpoints)[:2], None, None]


async def test_what_was_so_already_is_not_counted_as_changed(sim: Simulator, numbers: list[SimNumber]) -> None:
    named = ",".join(number.e164 for number in numbers)
    async with open_talk(sim) as talk:
        told = await talk.call("configure_phone_number", number_id=named, endpoint_id="Support agent")
        two = await talk.call("configure_phone_number", number_id=named[: named.index(",", 20)], allow_outbound="on")
    assert told["summary"] == "3 numbers are changed, 1 was so already."
    assert [item["changed"] for item in told["items"]] == ["no", "yes", "yes", "yes"]
    assert (two["changed"], two["summary"].partition(":")[0]) == ("no", "No numbers are changed")


async def test_a_number_that_has_ended_is_not_said_to_take_calls(sim: Simulator, numbers: list[SimNumber]) -> None:
    numbers[1].status = "inactive"
    gone = f" But {spoken(numbers[1].e164)} has ended, so no call arrives there."
    async with open_talk(sim) as talk:
        alone = await talk.call("configure_phone_number", number_id=numbers[1].id, endpoint_id="Support agent")
        both = await talk.call(
            "configure_phone_number", number_id=f"{numbers[0].id},{numbers[1].id}", endpoint_id="Order line"
        )
    assert alone["summary"].endswith(gone)
    assert both["summary"].endswith(gone)


async def test_endpoints_may_be_a_list_as_json(sim: Simulator, numbers: list[SimNumber]) -> None:
    one, other, *_ = numbers
    before = [one.endpoint_id, other.endpoint_id]
    async with open_talk(sim) as talk:
        await talk.call(
            "configure_phone_number",
            number_id=f'["{one.e164}", "{other.e164}"]',
            endpoint_id='["Order line", "Support agent"]',
        )
        assert [one.endpoint_id, other.endpoint_id] == before[::-1]
        await talk.call("configure_phone_number", number_id=f'["{one.e164}"]', endpoint_id='["Support agent"]')
    assert one.endpoint_id == before[0]


@pytest.mark.parametrize(
    ("numbered", "endpoints", "code"),
    [
        ("{0},{1},+2348035550000", "Order line", "NUMBER_NOT_OWNED"),
        ("{0},{1}", "Order line,Night desk,Support agent", "INVALID_ARGUMENT"),
        ("{0},{1}", "Order line,no such line", "ENDPOINT_NOT_FOUND"),
        ("{0},{0}", "Order line", "INVALID_ARGUMENT"),
        ("{0},{id0}", "Order line", "SAME_NUMBER_TWICE"),
        (",".join(["{0}", *(f"pn_{nth}" for nth in range(20))]), "Order line", "INVALID_ARGUMENT"),
        ("{0},{1}", "", "INVALID_ARGUMENT"),
    ],
)
async def test_nothing_is_changed_unless_all_can_be(
    sim: Simulator, numbers: list[SimNumber], numbered: str, endpoints: str, code: str
) -> None:
    named = numbered.format(*(number.e164 for number in numbers), id0=numbers[0].id)
    async with open_talk(sim) as talk:
        refused = await talk.call("configure_phone_number", number_id=named, endpoint_id=endpoints)
    assert (refused.outcome, refused["changed"]) == (code, "no")
    assert wrote(sim) == []


async def test_one_that_fails_is_told_and_stops_no_other(sim: Simulator, numbers: list[SimNumber]) -> None:
    sim.faults.switch_on("refuse", on=["update"], status=403, code="FORBIDDEN")
    named = ",".join(number.e164 for number in numbers)
    async with open_talk(sim) as talk:
        told = await talk.call("configure_phone_number", number_id=named, allow_inbound="off")
    assert (told.outcome, told["changed"]) == ("partly_done", "yes")
    [failed] = [item for item in told["items"] if item["message"]]
    assert (failed["after"], failed["changed"]) == (None, "no")
    assert {number.e164 for number in numbers if number.allow_inbound} == {failed["e164"]}
    assert "3 numbers are changed, 1 could not be changed" in told["summary"]
    assert failed["message"] in told.text


async def test_one_whose_answer_is_lost_is_not_called_unchanged(sim: Simulator, numbers: list[SimNumber]) -> None:
    sim.faults.switch_on("lost_reply", on=["update"])
    async with open_talk(sim) as talk:
        told = await talk.call(
            "configure_phone_number", number_id=f"{numbers[0].e164},{numbers[1].e164}", allow_inbound="off"
        )
    assert (told.outcome, told["changed"]) == ("partly_done", "unknown")
    assert told["summary"].startswith("1 number is changed, 1 may have been changed: ")
    assert "could not" not in told["summary"]
    assert "not known, OUTCOME_UNKNOWN" in told.text
    assert "get_phone_number" in told["next_step"]


async def test_where_none_is_known_to_be_changed_the_next_step_can_be_taken(
    sim: Simulator, numbers: list[SimNumber]
) -> None:
    sim.faults.switch_on("error_before", times=None, on=["update"])
    async with open_talk(sim) as talk:
        one = await talk.call("configure_phone_number", number_id=numbers[0].e164, allow_inbound="off")
        two = await talk.call(
            "configure_phone_number", number_id=f"{numbers[0].e164},{numbers[1].e164}", allow_inbound="off"
        )
    both = " and ".join(spoken(number.e164) for number in numbers[:2])
    assert two["summary"].startswith(f"It is not known whether {both} were changed. ")
    for told in (one, two):
        assert (told.failed, told["changed"], told["operation_id"]) == (True, "unknown", None)
        assert "get_operation" not in told["next_step"]  # a change without a yes is no operation
        assert "get_phone_number" in told["next_step"]


async def test_where_all_fail_it_is_a_failure(sim: Simulator, numbers: list[SimNumber]) -> None:
    sim.faults.switch_on("refuse", times=None, on=["update"], status=403, code="FORBIDDEN")
    async with open_talk(sim) as talk:
        told = await talk.call(
            "configure_phone_number", number_id=f"{numbers[0].e164},{numbers[1].e164}", allow_inbound="off"
        )
    assert (told.failed, told["changed"]) == (True, "no")
    assert all(spoken(number.e164) in told["summary"] for number in numbers[:2])


async def test_what_takes_longer_than_the_answer_may_is_pending_and_goes_on(
    sim: Simulator, numbers: list[SimNumber]
) -> None:
    sim.faults.switch_on("hold", on=["update"], times=1)
    named = ",".join(number.e164 for number in numbers)
    async with open_talk(sim, answer_within_seconds=1.5) as talk:
        told = await talk.call("configure_phone_number", number_id=named, allow_inbound="off")
        assert (told.outcome, told["changed"]) == ("pending", "unknown")
        assert sum(item["after"] is None for item in told["items"]) == 1
        assert "1 is under way" in told["summary"]
        sim.faults.let_go()
        with anyio.fail_after(5):
            while any(number.allow_inbound for number in numbers):
                await sim.settled()
                await anyio.lowlevel.checkpoint()
    assert not any(number.allow_inbound for number in numbers)


async def test_with_a_protected_number_nothing_is_changed_without_a_yes(
    sim: Simulator, numbers: list[SimNumber]
) -> None:
    async with open_talk(sim, protected_numbers=numbers[1].e164) as talk:
        told = await talk.call(
            "configure_phone_number", number_id=f"{numbers[0].e164},{numbers[1].e164}", allow_inbound="off"
        )
    assert told.outcome != "done"
    assert wrote(sim) == []
    assert all(number.allow_inbound for number in numbers)


async def test_a_name_with_a_comma_is_one_name_for_one_number(sim: Simulator, numbers: list[SimNumber]) -> None:
    wanted = list(sim.endpoints.values())[2]
    wanted.name = "Night, and day"
    async with open_talk(sim) as talk:
        done = await talk.call("configure_phone_number", number_id=numbers[0].id, endpoint_id="Night, and day")
    assert (done.outcome, numbers[0].endpoint_id) == ("done", wanted.id)


async def test_the_list_is_read_once_for_all(sim: Simulator, numbers: list[SimNumber]) -> None:
    named = ",".join(number.e164 for number in numbers)
    async with open_talk(sim) as talk:
        await talk.call("configure_phone_number", number_id=named, endpoint_id="Order line")
    reads = [seen for seen in sim.requests if seen.method == "GET"]
    lists = sum(seen.path.endswith("/phone-numbers") for seen in reads)
    alone = sum("/phone-numbers/" in seen.path for seen in reads)
    assert lists <= 2
    assert alone == 2 * 4 - 1  # before and after each; one went to the order line already


async def test_under_one_yes_endpoints_are_named_too(sim: Simulator, numbers: list[SimNumber]) -> None:
    one, other, *_ = numbers
    before = [one.endpoint_id, other.endpoint_id]
    wish = {"number_id": f"{one.e164},{other.e164}", "endpoint_id": "order line, unrouted"}
    async with open_talk(sim, protected_numbers=one.e164) as talk:
        asked = await talk.call("configure_phone_number", **wish)
        assert asked.outcome == "confirmation_required"
        code = asked["confirmation_code"]
        swapped = await talk.call(
            "configure_phone_number", **{**wish, "endpoint_id": "unrouted, order line"}, confirmation_code=code
        )
        assert (swapped.outcome, [one.endpoint_id, other.endpoint_id]) == ("SETTINGS_DIFFER", before)
        done = await talk.call("configure_phone_number", **wish, confirmation_code=code)
    assert done.outcome == "done"
    assert [one.endpoint_id, other.endpoint_id] == [before[1], None]


async def test_several_are_bought_to_an_endpoint_by_its_name(sim: Simulator) -> None:
    items = [item_of(sim, nth=nth) for nth in range(2)]
    wanted = list(sim.endpoints)[1]
    wish = {"e164": ",".join(item.e164 for item in items), "country": "NG", "type": "local"}
    async with open_talk(sim) as talk:
        asked = await talk.call("buy_phone_number", **wish, endpoint_id="Order line")
        code = asked["confirmation_code"]
        other = await talk.call("buy_phone_number", **wish, endpoint_id="unrouted", confirmation_code=code)
        done = await talk.call("buy_phone_number", **wish, endpoint_id="Order line", confirmation_code=code)
    assert (other.outcome, done.outcome) == ("SETTINGS_DIFFER", "done")
    bought = [number for number in sim.owned.values() if number.e164 in {item.e164 for item in items}]
    assert [number.endpoint_id for number in bought] == [wanted, wanted]
