"""The list of what a caller did: its own alone, whole, with sums, in few words."""

import pytest

from kros_mcp.operations.journal import Journal
from kros_mcp.operations.pruning import Pruning
from kros_mcp.simulator import Simulator
from tests.support.clock import Clock
from tests.support.person import Person, accept
from tests.support.talk import Talk, open_talk
from tests.support.upstream import item_of

pytestmark = pytest.mark.anyio


async def bought(talk: Talk, sim: Simulator, nth: int = 0) -> str:
    asked = await talk.buy(item_of(sim, nth=nth))
    done = await talk.buy(item_of(sim, nth=nth), confirmation_code=asked["confirmation_code"])
    assert done.outcome == "done"
    return str(done["operation_id"])


async def test_what_was_done_today_is_told_in_a_sentence_with_its_sum(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    async with open_talk(reference, journal=journal, currency="USD") as talk:
        before = await bought(talk, reference)
        clock.now += 86_400
        first, second = await bought(talk, reference, 1), await bought(talk, reference, 2)
        clock.now += 300
        await talk.buy(item_of(reference, nth=3))
        today = await talk.call("list_operations", since="today")
        everything = await talk.call("list_operations")
    assert today["summary"] == "Today you bought 2 numbers for 10.00 USD; one waits for a yes."
    assert [row["operation_id"] for row in today["operations"]][1:] == [second, first]
    assert (today["total"], today["charged_cents"], today["unknown_cents"]) == (3, 1_000, 0)
    assert today["by_status"] == {"confirmation_required": 1, "done": 2}
    assert everything["operations"][-1]["operation_id"] == before
    assert everything["charged_cents"] == 1_500
    row = today["operations"][1]
    assert (row["what"], row["status"], row["due_now_cents"], row["monthly_cents"]) == ("buy", "done", 500, 500)
    assert (row["decided_by"], row["decided_through"], row["batch"]) == ("local", "code", None)
    lines = today.text.splitlines()
    assert "Each of these 3: in Nigeria." in lines
    line = f"buy {row['e164']}: done, 5 minutes ago, 5.00 now, 5.00 a month, yes in the conversation; {second}"
    assert line in lines


async def test_a_release_tells_what_the_number_costs_and_since_when_is_said_with_its_year(guide: Simulator) -> None:
    number = next(each for each in guide.owned.values() if each.status == "active")
    async with open_talk(guide) as talk:
        await talk.call("release_phone_number", number_id=number.id)
        told = await talk.call("list_operations", since="2020-01-01")
    assert told["summary"].startswith("Since 1 January 2020 you ")
    assert f"release {number.e164}: confirmation_required, just now, 7.00 a month" in told.text


async def test_what_all_rows_share_is_said_once_above_them(reference: Simulator) -> None:
    async with open_talk(reference) as talk:
        for nth in range(2):
            item = item_of(reference, nth=nth)
            asked = await talk.buy(item)
            await talk.buy(item, confirmation_code=asked["confirmation_code"])
        told = await talk.call("list_operations")
    assert "Each of these 2: in Nigeria; yes in the conversation." in told.text.splitlines()


async def test_who_said_yes_in_a_prompt_is_told(reference: Simulator) -> None:
    async with open_talk(reference, person=Person(accept("buy"))) as talk:
        await talk.buy(item_of(reference))
        [row] = (await talk.call("list_operations"))["operations"]
    assert (row["decided_by"], row["decided_through"]) == ("person", "prompt")


async def test_anothers_acts_never_show(reference: Simulator, journal: Journal) -> None:
    async with open_talk(reference, journal=journal, principal="ana") as talk:
        await bought(talk, reference)
    async with open_talk(reference, journal=journal, principal="ben") as talk:
        shown = await talk.call("list_operations")
    assert (shown["operations"], shown["total"], shown["charged_cents"], shown["by_status"]) == ([], 0, 0, {})
    assert shown["summary"] == "In all you bought, released and changed nothing."


async def test_pages_join_and_sums_are_of_all(reference: Simulator, journal: Journal) -> None:
    async with open_talk(reference, journal=journal) as talk:
        done = [await bought(talk, reference, nth) for nth in range(3)]
        first = await talk.call("list_operations", state="done", limit=2)
        second = await talk.call("list_operations", state="done", limit=2, offset=first["next_offset"])
    assert [row["operation_id"] for page in (first, second) for row in page["operations"]] == done[::-1]
    assert (first["total"], second["total"], second["next_offset"]) == (3, 3, None)
    assert first["charged_cents"] == second["charged_cents"] == 1_500
    assert "1 more: next_offset 2" in first.text


async def test_twenty_rows_fit_in_2600_characters(reference: Simulator, journal: Journal) -> None:
    async with open_talk(reference, journal=journal, principal="a-principal-with-a-long-name-of-its-own") as talk:
        for nth in range(12):
            await talk.buy(item_of(reference, nth=nth))
        for nth in range(10):
            await talk.buy(item_of(reference, "KE", nth=nth))
        asked = (await talk.call("list_operations", limit=1))["operations"][0]
        await talk.call("cancel_operation", operation_id=asked["operation_id"])
        shown = await talk.call("list_operations")
    assert (len(shown["operations"]), shown["next_offset"]) == (20, 20)
    assert len(shown.text) <= 2_600


@pytest.mark.parametrize(
    ("since", "seconds_ago", "shows"),
    [
        ("24h", 86_399, True),
        ("24h", 86_401, False),
        ("7d", 6 * 86_400, True),
        ("TODAY", 8 * 3_600 - 1, True),
        ("today", 8 * 3_600 + 1, False),
        ("2027-01-15", 8 * 3_600 - 1, True),
        ("2027-01-15", 8 * 3_600 + 1, False),
        ("2027-01-15T09:00:00+02:00", 3_599, True),
        ("2027-01-15T07:00Z", 3_601, False),
    ],
)
async def test_days_and_times_are_those_of_utc(
    reference: Simulator, journal: Journal, clock: Clock, since: str, seconds_ago: int, shows: bool
) -> None:
    now = clock.now  # 15 January 2027, 08:00
    async with open_talk(reference, journal=journal) as talk:
        clock.now = now - seconds_ago
        await talk.buy(item_of(reference))
        clock.now = now
        shown = await talk.call("list_operations", since=since)
    assert shown["total"] == shows
    assert "days are those of UTC" in shown.text


@pytest.mark.parametrize("since", ["yesterday", "2027-13-01", "0001-01-01", "0d", "-1d", "1w", "20270115", "24 h"])
async def test_a_time_that_cannot_be_used_is_refused_in_one_sentence(reference: Simulator, since: str) -> None:
    async with open_talk(reference) as talk:
        refused = await talk.call("list_operations", since=since)
    assert refused["summary"] == "since is not usable: must be today, 24h, 7d, or a date or time such as 2026-05-03."


async def test_acts_that_were_deleted_are_said_to_be_missing_where_they_would_be_told(
    reference: Simulator, journal: Journal, clock: Clock
) -> None:
    async with open_talk(reference, journal=journal) as talk:
        waited = await talk.buy(item_of(reference))
        clock.now += 7_200
        await journal.expire()
        [account] = await journal.accounts()
        run = Pruning("prune_1", "", clock.now + 86_400, clock.now, "ana")
        ids, before = [str(waited["operation_id"])], clock.now + 1
        assert len(await journal.prune(ids, [account], before=before, run=run)) == 1
        everything, later = await talk.call("list_operations"), await talk.call("list_operations", since="1h")
    missing = "What ended before 16 January 2027 may have been deleted from the books, and is not counted then."
    assert everything["summary"] == f"In all you bought, released and changed nothing. {missing}"
    assert missing in everything.text
    assert missing not in later["summary"]
