"""What was spent, as the journal sums it; in both backends."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from bench import open_journal
from expenditure_bench import ACCOUNT, DAY, MAY_3, ended, enter, quoted, released, reported

from kros_mcp.journals import sql
from kros_mcp.krosai import OwnedList, PhoneNumber
from kros_mcp.operations.expenditure import CostPart, Expenditure, Grouping, Sums, by_month, regrouped, total
from kros_mcp.operations.expenditure_reader import read_expenditure, read_owned_cost
from kros_mcp.operations.journal import EVERYTHING, Filter, Journal, every
from kros_mcp.operations.kept import Listing
from kros_mcp.operations.model import Action, Channel, Item, Operation, Request, State
from kros_mcp.operations.pruning import Pruning
from kros_mcp.settings import Settings
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio
OURS = Filter(account=ACCOUNT, by_sent=True)
UNKNOWN = {"state": State.UNKNOWN, "charged": "unknown", "settled_at": None}
FAILED = {"state": State.FAILED, "charged": "no", "changed": "no"}


@pytest.fixture
def clock() -> Clock:
    return Clock(MAY_3 + 10 * DAY)


@pytest.fixture
async def journal(journal_url: str, clock: Clock) -> AsyncIterator[Journal]:
    async with open_journal(journal_url, clock) as opened:
        yield opened


def batch_of(*parts: Operation, state: State) -> Operation:
    items = tuple(Item(part.e164, part.request, part.quote) for part in parts)
    asked = {"action": Action.BUY_SEVERAL, "e164": ",".join(part.e164 for part in parts), "items": items}
    return replace(parts[0], id="op_batch", state=state, sent_at=None, charged="no", **asked)


ODD = (
    ended(0),
    quoted(ended(1, reserved_cents=5000), setup_cents=None, due_now_cents=None),
    quoted(ended(2, reserved_cents=5000), monthly_cents=None),
    reported(ended(3), setup_cents=100, monthly_cents=450),
    reported(ended(4), monthly_cents=500),
    reported(ended(5), number_id="", monthly_cents=1),
    reported(quoted(ended(6, reserved_cents=5000), setup_cents=None, monthly_cents=None), monthly_cents=700),
    reported(quoted(ended(7), setup_cents=200, due_now_cents=700), setup_cents=200),
    quoted(ended(8), currency="NGN", country=None),
    reported(ended(9, reserved_cents=9000), setup_cents=0, monthly_cents=500, total_cents=9000),
    reported(ended(10), total_cents=0),
    reported(ended(11), number_id="", total_cents=1),
)
"""Purchases whose price KrosAI stated by half, or another time otherwise."""


async def test_what_was_charged_is_what_each_operation_says_it_was_whatever_krosai_stated(journal: Journal) -> None:
    await enter(journal, *ODD, ended(20, **FAILED), ended(21, None, charged="no", state=State.EXPIRED))

    [group] = await journal.spending(OURS, Grouping.DAY)
    totals = await journal.totals(replace(OURS, states=(State.DONE,)))

    said = [operation.charged_cents async for operation in every(journal, EVERYTHING)]
    assert group.sums.charged_cents == sum(cents or 0 for cents in said) == 500 * 5 + 5000 * 3 + 550 + 700 + 9000
    assert [each.charged_cents for each in totals] == [group.sums.charged_cents]
    assert [each.currencies for each in totals] == [{"NGN", ""}]
    assert (group.key, group.sums.purchases, group.sums.unknown) == ("2026-05-03", len(ODD), 0)
    assert (group.sums.added_cents, group.sums.added_unstated) == (500 * 9 + 450 + 700, 1)
    assert group.sums.currencies == {"NGN", ""}


async def test_a_purchase_is_in_the_currency_that_krosai_has_reported_since(journal: Journal) -> None:
    await enter(journal, reported(quoted(ended(0), currency="NGN"), currency="USD"), quoted(ended(1), currency="NGN"))

    [group] = await journal.spending(OURS, Grouping.DAY)
    [total] = await journal.totals(replace(OURS, states=(State.DONE,)))

    assert group.sums.currencies == total.currencies == {"NGN", "USD"}


async def test_money_of_which_it_is_not_known_whether_it_moved_is_counted_beside_what_is_known(
    journal: Journal,
) -> None:
    sending = {**UNKNOWN, "state": State.SENDING}
    await enter(journal, ended(0), ended(1, **UNKNOWN), ended(2, **sending), ended(3, None, **sending))

    [group] = await journal.spending(OURS, Grouping.DAY)

    sums = Sums(purchases=1, charged_cents=500, unknown=2, unknown_cents=1000, added_cents=500)
    assert group.sums == replace(sums, currencies=frozenset({""}))
    assert not group.sums.is_growth_certain


async def test_days_and_months_are_those_of_the_sending_in_utc(journal: Journal) -> None:
    late = ended(3, MAY_3 + DAY, created_at=MAY_3 - 29 * DAY)  # an approver took weeks
    await enter(
        journal, ended(0, MAY_3 - 1), ended(1, MAY_3), ended(2, MAY_3 + DAY - 1), late, ended(4, MAY_3 - 3 * DAY)
    )
    only = replace(OURS, since=MAY_3, until=MAY_3 + 2 * DAY)

    days = {group.key: group.sums.purchases for group in await journal.spending(OURS, Grouping.DAY)}
    months = {group.key: group.sums.purchases for group in await journal.spending(OURS, Grouping.MONTH)}
    some = {group.key: group.sums.purchases for group in await journal.spending(only, Grouping.DAY)}
    asked = await journal.spending(replace(only, by_sent=False, since=MAY_3 - 29 * DAY), Grouping.DAY)

    assert days == {"2026-04-30": 1, "2026-05-02": 1, "2026-05-03": 2, "2026-05-04": 1}
    assert months == {"2026-04": 1, "2026-05": 4}
    assert some == {"2026-05-03": 2, "2026-05-04": 1}
    assert asked[0].key == "2026-04-04"


async def test_principals_and_countries_are_told_apart_and_filtered_by(journal: Journal) -> None:
    other = ended(1, principal="tokens|night-desk")
    await enter(journal, ended(0), other, quoted(ended(2), country="de"), quoted(ended(3), country=None))

    async def keys(grouping: Grouping, **narrowed: object) -> dict[str, int]:
        wanted = replace(OURS, **narrowed)  # type: ignore[arg-type]  # fields of Filter
        return {group.key: group.sums.purchases for group in await journal.spending(wanted, grouping)}

    assert await keys(Grouping.PRINCIPAL) == {"local": 3, "tokens|night-desk": 1}
    assert await keys(Grouping.COUNTRY) == {"": 1, "DE": 1, "NG": 2}
    assert await keys(Grouping.COUNTRY, principal="tokens|night-desk") == {"NG": 1}
    assert await keys(Grouping.PRINCIPAL, country="DE") == {"local": 1}
    assert await keys(Grouping.COUNTRY, country="") == {"": 1}
    assert await journal.count(replace(OURS, country="NG", actions=(Action.BUY,))) == 2
    assert await journal.count(replace(OURS, actions=(Action.RELEASE,))) == 0


async def test_many_rows_are_summed_some_at_a_time_and_each_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [MAY_3 + 60 * at for at in range(7)] + [MAY_3 + 600] * 5  # more at one time than are read at once
    await enter(journal, *(ended(at, sent_at) for at, sent_at in enumerate(times)), ended(20, MAY_3 + 900, **UNKNOWN))
    whole = await journal.spending(OURS, Grouping.DAY)
    totals = await journal.totals(OURS)
    monkeypatch.setattr(sql, "ROWS_AT_ONCE", 3)

    assert await journal.spending(OURS, Grouping.DAY) == whole
    assert set(await journal.totals(OURS)) == set(totals)
    narrowed = replace(OURS, since=MAY_3 + 60, until=MAY_3 + 240)
    assert [group.sums.purchases for group in await journal.spending(narrowed, Grouping.DAY)] == [3]
    assert (whole[0].sums.purchases, whole[0].sums.unknown) == (12, 1)


async def test_another_account_counts_for_nothing(journal: Journal) -> None:
    await enter(journal, ended(0, account="another"))

    assert await journal.spending(OURS, Grouping.DAY) == ()


async def test_a_batch_counts_nothing_and_its_numbers_do(journal: Journal) -> None:
    parts = (ended(0, batch="op_batch"), ended(1, batch="op_batch", **FAILED), ended(2, batch="op_batch", **UNKNOWN))
    await enter(journal, batch_of(*parts, state=State.DONE), *parts)

    [group] = await journal.spending(Filter(account=ACCOUNT), Grouping.DAY)

    assert (group.sums.purchases, group.sums.charged_cents, group.sums.unknown) == (1, 500, 1)


async def test_a_release_ends_what_the_number_cost_then_or_when_it_was_bought(journal: Journal) -> None:
    await enter(
        journal,
        quoted(ended(0), monthly_cents=450, due_now_cents=450),
        released(0, MAY_3 + DAY),
        quoted(released(1, MAY_3 + DAY), monthly_cents=800),
        released(2, MAY_3 + DAY),
        released(3, MAY_3 + DAY, state=State.UNKNOWN, changed="unknown"),
        released(5, MAY_3 + DAY, state=State.SENDING, changed="unknown"),
        released(6, MAY_3 + DAY, state=State.FAILED, changed="no"),
        released(0, MAY_3 + DAY + 9, request=Request(number_id="id_0", permanent=True, status="Released")),
        quoted(released(4, MAY_3 + DAY, request=Request(permanent=True, status="active")), monthly_cents=50),
    )

    bought, gave_up = await journal.spending(OURS, Grouping.DAY)

    assert bought.sums.grown_cents == 450
    assert gave_up.sums == Sums(releases=4, ended_cents=450 + 800 + 50, ended_unstated=1, releases_unknown=2)


def record(at: int, monthly_cents: int | None = 500, **changes: object) -> PhoneNumber:
    shown = PhoneNumber(f"id_{at}", f"+2348035550{at:03d}", "NG", status="active", monthly_cents=monthly_cents)
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of PhoneNumber


async def kept_list(journal: Journal, *numbers: PhoneNumber, complete: bool = True) -> None:
    await journal.keep(ACCOUNT, [], Listing(OwnedList(numbers, complete), await journal.now()))


async def test_what_numbers_cost_is_the_last_list_with_what_was_bought_and_released_since(
    journal: Journal, clock: Clock
) -> None:
    await enter(journal, ended(0, principal="ana"), ended(5, clock() - 600), released(5, clock() - 300))
    late = ended(6, clock() - 60)  # KrosAI does not list it yet
    await enter(journal, late)
    ended_one = record(3, status="released")
    await kept_list(journal, record(0), record(1), record(1, id="twice"), record(2, None, country="de"), ended_one)
    assert await read_owned_cost(journal, "another") is None

    before = await read_owned_cost(journal, ACCOUNT)
    clock.now += 120
    await enter(journal, released(1, clock() - 60), ended(7, clock() - 30, principal="ana"))
    cost = await read_owned_cost(journal, ACCOUNT)

    assert before is not None
    assert cost is not None
    assert (before.monthly_cents, len(before.numbers), before.unpriced) == (2000, 5, 1)
    assert (cost.monthly_cents, len(cost.numbers), cost.is_certain) == (2000, 5, False)
    parts = {part.key: (part.numbers, part.monthly_cents, part.unpriced) for part in cost.by_principal()}
    assert parts == {"ana": (2, 1000, 0), "local": (1, 500, 0), "": (2, 500, 1)}
    assert cost.by_country() == (CostPart("NG", 4, 2000, 0), CostPart("DE", 1, 0, 1))
    assert cost.of("ana", "NG").monthly_cents == 1000


async def test_the_deletion_of_an_earlier_record_gives_a_new_purchase_not_up(journal: Journal, clock: Clock) -> None:
    await kept_list(journal)
    await enter(journal, reported(ended(1, clock() + 1), "new", monthly_cents=500))
    earlier = Request(number_id="earlier", permanent=True, status="inactive")
    await enter(journal, released(1, clock() + 2, request=earlier))
    clock.now += 60

    still = await read_owned_cost(journal, ACCOUNT)
    await enter(journal, released(1, clock() - 1, request=Request(number_id="new")))
    gone = await read_owned_cost(journal, ACCOUNT)

    assert still is not None
    assert gone is not None
    assert (still.monthly_cents, gone.monthly_cents) == (500, 0)


async def test_the_cost_of_a_month_is_told_as_it_was_when_the_period_began_and_ended(
    journal: Journal, journal_url: str, clock: Clock
) -> None:
    await enter(journal, ended(0, MAY_3 - DAY), ended(1), released(0, MAY_3 + DAY), ended(2, MAY_3 + 5 * DAY))
    clock.now += DAY
    await kept_list(journal, record(1), record(2), record(9, 1000))

    wanted = Filter(account=ACCOUNT, since=MAY_3, until=MAY_3 + 2 * DAY)
    read = await read_expenditure(journal, wanted, Grouping.DAY)

    assert read.cost is not None
    assert (read.cost_at_beginning_cents, read.cost_at_end_cents, read.cost.monthly_cents) == (1500, 1500, 2000)
    assert [(group.key, cents) for group, cents in read.costs(read.groups)] == [
        ("2026-05-03", 2000),
        ("2026-05-04", 1500),
    ]
    assert read.is_growth_certain
    assert read.total == total(read.groups)

    await journal.mark_restored()  # of a copy: purchases after it may be missing
    async with open_journal(journal_url, clock) as restored:
        await kept_list(restored, record(1), record(2), record(9, 1000))
        assert not (await read_expenditure(restored, wanted, Grouping.DAY)).is_growth_certain


@pytest.mark.parametrize(
    ("owned", "began", "certain"),
    [
        ([record(0), record(1), record(9, 1000)], 1000, True),
        ([], None, False),  # both were given up elsewhere: less than nothing would be left of the past
        ([record(1), record(9, 300)], None, False),
        ([record(1), record(9, 1000)], 500, False),
        ([record(0), record(1, 900), record(9, 1000)], 1400, False),
        ([record(0), record(1), record(2), record(9, 1000)], 1500, False),
    ],
    ids=["all there", "all gone", "one gone", "one gone beside a dear one", "dearer", "released, and still there"],
)
async def test_a_past_that_the_list_contradicts_is_never_certain_and_never_less_than_nothing(
    journal: Journal, clock: Clock, owned: list[PhoneNumber], began: int | None, *, certain: bool
) -> None:
    await enter(journal, ended(0), ended(1, MAY_3 + DAY), ended(2, MAY_3 - DAY), released(2, MAY_3 - DAY / 2))
    clock.now += DAY
    await kept_list(journal, *owned)

    now = await read_expenditure(journal, Filter(account=ACCOUNT, since=MAY_3 - 2 * DAY), Grouping.DAY)
    past = await read_expenditure(
        journal, Filter(account=ACCOUNT, since=MAY_3 - 2 * DAY, until=MAY_3 + 5 * DAY), Grouping.MONTH
    )

    assert now.cost is not None
    assert (now.cost_at_beginning_cents, now.cost_at_end_cents) == (began, now.cost.monthly_cents)
    assert past.cost_at_end_cents == (None if began is None else now.cost.monthly_cents)
    assert (now.is_growth_certain, now.is_contradicted) == (certain, not certain)
    assert all((cents is None) is (began is None) for _, cents in now.costs(now.groups))


async def test_what_was_pruned_of_a_period_is_told_and_leaves_nothing_certain(journal: Journal, clock: Clock) -> None:
    gone = [ended(0, MAY_3 - DAY), released(0, MAY_3 + DAY)]
    await enter(journal, *gone, ended(1))
    clock.now += DAY
    await kept_list(journal, record(1))
    run = Pruning("prune_1", "", clock.now, clock.now, "ana")
    assert await journal.prune([each.id for each in gone], {ACCOUNT}, before=clock.now, run=run)

    async def read(since: float) -> Expenditure:
        wanted = Filter(account=ACCOUNT, since=since, until=MAY_3 + 3 * DAY)
        return await read_expenditure(journal, wanted, Grouping.DAY)

    lacking, whole = await read(MAY_3 + 30 * DAY), await read(MAY_3 + 33 * DAY)  # an approver may have taken weeks
    assert [each.operations for each in lacking.pruned] == [2]
    assert not lacking.is_growth_certain
    assert whole.pruned == ()
    assert whole.is_growth_certain


@pytest.mark.parametrize(
    ("bought", "listed", "label", "charged", "cost", "known"),
    [
        ("", "", "NGN", "NGN", "NGN", True),
        ("USD", "USD", "usd", "usd", "usd", True),
        ("USD", "USD", "", "USD", "USD", True),
        ("", "USD", "NGN", "NGN", None, False),
        ("NGN", "USD", "", "NGN", None, False),
    ],
)
async def test_no_sum_is_told_of_several_currencies_and_none_is_called_by_the_label_of_another(
    journal: Journal, bought: str, listed: str, label: str, charged: str, cost: str | None, *, known: bool
) -> None:
    await enter(journal, quoted(ended(0), currency=bought))
    await kept_list(journal, record(0, currency=bought or None), record(9, 600, currency=listed or None))
    settings = Settings(api_key="kros_test_x", monthly_commitment_cents=2000)

    wanted = Filter(account=ACCOUNT, since=MAY_3)
    read = await read_expenditure(journal, wanted, Grouping.DAY, settings=settings, label=label)

    assert read.cost is not None
    assert read.caps is not None
    assert (read.label, read.cost.label) == (charged, cost)
    assert read.cost_at_end_cents == (1100 if known else None)
    assert read.caps.monthly_left_cents(read.cost) == (900 if known else None)


async def test_what_waits_and_what_is_unknown_now_stands_beside_a_period_that_is_over(journal: Journal) -> None:
    waits = {"state": State.PROPOSED, "charged": "no", "expires_at": MAY_3 + 99 * DAY, "channel": Channel.APPROVER}
    parts = [ended(at, None, **waits) for at in (4, 5)]
    await enter(
        journal,
        ended(0),
        ended(1, MAY_3 - 99 * DAY, **UNKNOWN),
        ended(2, None, **waits),
        quoted(ended(3, None, **{**waits, "channel": Channel.CODE}), due_now_cents=None),
        ended(6, None, **{**waits, "expires_at": MAY_3}),
        batch_of(*parts, state=State.PROPOSED),
    )
    settings = Settings(api_key="kros_test_x", daily_budget_cents=900, monthly_commitment_cents=700)

    wanted = Filter(account=ACCOUNT, since=MAY_3, until=MAY_3 + DAY)
    read = await read_expenditure(journal, wanted, Grouping.COUNTRY, settings=settings)

    assert (read.total.unknown, read.unsettled.operations, read.unsettled.cents) == (0, 1, 500)
    waiting = read.waiting
    assert (waiting.operations, waiting.for_an_approver, waiting.cents, waiting.unpriced) == (3, 2, 1500, 1)
    assert waiting.since == MAY_3 - 60

    abroad = quoted(ended(7, None, **waits), country="GB")
    both = batch_of(ended(8, None, **waits), abroad, state=State.PROPOSED)
    await enter(journal, quoted(replace(both, id="op_both"), country=None))
    in_gb = (await read_expenditure(journal, replace(wanted, country="GB"), Grouping.DAY)).waiting
    assert (in_gb.operations, in_gb.for_an_approver, in_gb.cents) == (1, 1, 500)
    assert read.caps is not None
    assert (read.caps.left_cents, read.caps.monthly_left_cents(read.cost)) == (900, None)
    assert read.environment == "test"


async def test_how_a_cost_grew_is_not_told_while_the_price_of_what_was_bought_is_missing(
    journal: Journal, clock: Clock
) -> None:
    await enter(journal, ended(0))
    await kept_list(journal, record(0, None), record(9, 600))
    read = await read_expenditure(journal, Filter(account=ACCOUNT, since=MAY_3), Grouping.DAY)
    assert (read.cost_at_beginning_cents, read.cost_at_end_cents) == (None, None)
    clock.now += 60
    await kept_list(journal, record(0), record(8, None))  # one of elsewhere was as dear before
    read = await read_expenditure(journal, Filter(account=ACCOUNT, since=MAY_3), Grouping.DAY)
    assert (read.cost_at_beginning_cents, read.cost_at_end_cents) == (0, 500)


async def test_what_is_left_of_a_month_counts_what_is_unknown_as_the_guard_does_and_whatever_is_filtered(
    journal: Journal,
) -> None:
    settings = Settings(api_key="kros_test_x", monthly_commitment_cents=2000)
    await enter(journal, ended(0), ended(1, **UNKNOWN))
    await kept_list(journal, record(0), record(9, 600, country="DE"))

    async def left(**narrowed: object) -> int | None:
        wanted = Filter(account=ACCOUNT, **narrowed)  # type: ignore[arg-type]  # fields of Filter
        read = await read_expenditure(journal, wanted, Grouping.DAY, settings=settings)
        assert read.caps is not None
        assert read.whole_cost is not None
        assert read.caps.monthly_beside_cents(read.whole_cost) == 500
        return read.caps.monthly_left_cents(read.whole_cost)

    assert await left() == 2000 - 500 - 600 - 500
    assert await left(country="DE") == 400
    await enter(journal, quoted(ended(2, **UNKNOWN), monthly_cents=None))
    assert await left() is None


async def test_what_is_spent_of_a_day_is_told_with_the_caps_until_24_hours_have_passed(
    journal: Journal, clock: Clock
) -> None:
    await enter(journal, ended(0, clock() - 60), ended(1, clock() - 60, **UNKNOWN), ended(2, clock() - DAY - 60))
    settings = Settings(api_key="kros_test_x", daily_budget_cents=900, total_daily_budget_cents=2000)

    read = await read_expenditure(journal, Filter(account=ACCOUNT), Grouping.DAY, settings=settings)

    assert read.caps is not None
    assert (read.caps.spent_cents, read.caps.left_cents, read.caps.total_left_cents) == (1000, 0, 1000)


async def test_what_is_read_at_once_says_the_same_in_every_grouping(journal: Journal) -> None:
    odd = quoted(ended(1, MAY_3 + DAY, principal="a\x1fb|c"), country="KE")
    await enter(journal, *ODD, odd, ended(30, **UNKNOWN), released(31, MAY_3 + 2 * DAY), ended(32, **FAILED))

    parts = await journal.spending_parts(OURS)

    for grouping in (Grouping.DAY, Grouping.PRINCIPAL, Grouping.COUNTRY):
        assert regrouped(parts, grouping) == await journal.spending(OURS, grouping)
    assert regrouped(parts, Grouping.MONTH) == by_month(await journal.spending(OURS, Grouping.DAY))
