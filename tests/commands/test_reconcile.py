import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from commands_doubles import Command, Ran, an_operation, put, read, sent, settled

from kros_mcp.commands import reconcile
from kros_mcp.commands.differences import AccountReading, compare
from kros_mcp.commands.history import History, NumberHistory
from kros_mcp.journals.backends import open_journal
from kros_mcp.krosai.wire import PhoneNumber
from kros_mcp.operations import moves
from kros_mcp.operations.acts.purchase import NEVER_LISTED
from kros_mcp.operations.events import By
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import (
    Action,
    Operation,
    Quote,
    Request,
    Seen,
    Settlement,
    Snapshot,
    State,
    StoredNumber,
)
from kros_mcp.operations.policy import RunRate
from kros_mcp.settings import Settings
from kros_mcp.simulator import SimNumber, Simulator
from tests.support.unstated import leave_out_routes

DAY = 86_400.0


def own(sim: Simulator) -> SimNumber:
    """Buy a number past this server, as in the dashboard."""
    item = next(iter(sim.inventory.values()))
    return sim.buy(item, None)


def record(journal_url: str, number: SimNumber, *then: Move, **changes: Any) -> Operation:
    """Write the purchase of a number into the journal of this account."""
    operation = an_operation(e164=number.e164, request=Request(inventory_id="inv", country="NG"))
    return put(journal_url, replace(operation, **changes), *then, own=True)


def done(**changes: Any) -> tuple[Move, ...]:
    return settled(State.DONE, ago=DAY, **changes)


def marks(ran: Ran) -> dict[str, str]:
    """The kinds of what was found beside the plain facts, and how grave each is."""
    found = json.loads(ran.out)["findings"]
    return {one["kind"]: one["mark"] for one in found if one["kind"] not in {"read", "agree", "run_rate"}}


def test_where_all_agrees_nothing_needs_a_person_and_only_get_was_sent(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    record(journal_url, own(sim), *done())
    charges = list(sim.charges)

    ran = command("reconcile")

    assert ran.code == 0
    assert "KrosAI shows 1 number in service." in ran.out
    assert "1 of them was bought by this journal" in ran.out
    assert "No check fails, no warnings." in ran.out
    assert sim.requests
    assert sim.charges == charges


@pytest.fixture
def endpoints_exist(sim: Simulator) -> None:
    """Let the endpoints be there that tests of a number's settings name."""
    working = next(iter(sim.endpoints.values()))
    for endpoint_id in ("ep_support", "ep_night", "ep_other"):
        sim.endpoints[endpoint_id] = replace(working, id=endpoint_id)


def own_again(sim: Simulator, number: SimNumber, **changes: Any) -> SimNumber:
    """Let KrosAI show a second record of the same number, as after an order that was sent twice."""
    second = replace(number, id=f"{number.id[:-1]}z", **changes)
    sim.owned[second.id] = second
    return second


@pytest.mark.parametrize("status", ["active", "pending"])
def test_a_number_owned_twice_fails_and_both_records_are_named(
    command: Command, journal_url: str, sim: Simulator, status: str
) -> None:
    number = own(sim)
    second = own_again(sim, number, status=status)
    bought = record(journal_url, number, *done(number=StoredNumber(id=number.id)))

    ran = command("reconcile")

    text = " ".join(ran.out.split())
    assert ran.code == 1
    assert f"{number.e164} is owned twice: KrosAI shows {number.id} and {second.id} in service" in text
    assert "It may be charged twice" in text
    assert f"{bought.id} (done)" in text
    assert "KrosAI shows 2 numbers in service." in text
    assert "nothing has changed" not in text
    found = json.loads(command("reconcile", "--json").out)
    assert (found["numbers_in_service"], found["numbers_inactive"]) == (2, 0)
    [twice] = [one for one in found["findings"] if one["kind"] == "owned_twice"]
    assert (twice["mark"], twice["e164"], twice["operation_id"]) == ("fail", number.e164, bought.id)


def test_the_purchase_in_doubt_is_named_beside_the_one_that_is_done(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    own_again(sim, number)
    record(journal_url, number, *done(number=StoredNumber(id=number.id)))
    failed = record(journal_url, number, *settled(State.FAILED, ago=60))

    assert f"{failed.id} (failed)" in command("reconcile").out


@pytest.mark.usefixtures("endpoints_exist")
def test_only_the_record_that_the_journal_bought_is_held_against_its_settings(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    own_again(sim, number, endpoint_id="ep_other", monthly_cost_cents=900)
    number.endpoint_id = "ep_support"
    wanted = Request(inventory_id="inv", endpoint_id="ep_support")
    record(journal_url, number, *done(number=StoredNumber(id=number.id)), request=wanted)

    assert marks(command("reconcile", "--json")) == {"owned_twice": "fail"}


def test_a_number_owned_twice_and_not_by_this_journal_fails_too(command: Command, sim: Simulator) -> None:
    own_again(sim, own(sim))

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (1, {"owned_twice": "fail", "bought_outside": "warn"})
    assert ran.out.count('"bought_outside"') == 1


def test_a_record_given_up_beside_the_living_one_is_no_second_purchase(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    own_again(sim, number, status="inactive")
    record(journal_url, number, *done())

    ran = command("reconcile")

    assert ran.code == 0
    assert "KrosAI shows 1 number in service, and 1 ended." in ran.out
    assert "as far as it knows nothing has changed" in ran.out


@pytest.mark.parametrize("status", ["suspended", "pending", "porting"])
def test_a_number_in_service_that_is_not_active_is_warned_of_with_its_status(
    command: Command, journal_url: str, sim: Simulator, status: str
) -> None:
    number = own(sim)
    number.status = status
    record(journal_url, number, *done())

    ran = command("reconcile")

    text = " ".join(ran.out.split())
    assert ran.code == 0
    assert f"{number.e164} ({number.id}) is not active: KrosAI calls it {status}." in text
    assert "nothing has changed" not in text
    assert marks(command("reconcile", "--json")) == {"not_active": "warn"}


def test_numbers_bought_outside_are_told_in_one_line_and_fail_nothing(command: Command, sim: Simulator) -> None:
    numbers = [own(sim) for _ in range(3)]

    ran = command("reconcile")

    assert ran.code == 0
    [line] = [line for line in ran.out.splitlines() if "3 numbers are owned" in line]
    assert line.startswith("warn")
    told = "They were bought in the dashboard, before this server, or through another journal. Nothing to do if you"
    assert f"{told} know them." in " ".join(ran.out.split())
    for number in numbers:
        assert number.e164 in ran.out
    told = json.loads(command("reconcile", "--json").out)
    assert [one["e164"] for one in told["findings"] if one["kind"] == "bought_outside"] == [n.e164 for n in numbers]


def test_an_owned_number_whose_purchase_is_unknown_is_grave_and_names_it(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    lost = record(journal_url, own(sim), *settled(State.UNKNOWN))

    ran = command("reconcile")

    assert ran.code == 1
    assert ran.out.count("FAIL") == 1
    assert f"kros-mcp settle {lost.id} done|failed" in " ".join(ran.out.split())
    assert marks(command("reconcile", "--json")) == {"owned_though_unknown": "fail"}


def test_an_owned_number_whose_purchase_counts_as_failed_is_grave_unless_it_was_bought_well_after(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    failed = record(journal_url, number, *settled(State.FAILED, ago=DAY, error_code="NOT_DONE"))
    then = read_time(failed)

    number.created_at = datetime.fromtimestamp(then + 5, UTC).isoformat()
    grave = command("reconcile", "--json")
    number.created_at = datetime.fromtimestamp(then + 7200, UTC).isoformat()
    later = command("reconcile", "--json")

    assert (grave.code, marks(grave)) == (1, {"owned_though_failed": "fail"})
    assert failed.id in grave.out
    assert (later.code, marks(later)) == (0, {"bought_outside": "warn"})


def test_a_purchase_settled_as_failed_by_hand_tells_who_said_so_and_why(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    by_hand = partial(
        moves.settle_by_hand, state=State.FAILED, by="ana", reason="not in the\x1b[2J dashboard", settle_seconds=0
    )
    failed = record(journal_url, own(sim), *settled(State.UNKNOWN), by_hand)

    ran = command("reconcile", "--json")

    assert f"{failed.id} counts as failed (Settled by ana: not in the[2J dashboard)." in ran.out
    assert "no code" not in ran.out


@pytest.mark.parametrize("zone", ["America/New_York", "Africa/Lagos"])
@pytest.mark.parametrize("written", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ"])
def test_a_date_of_krosai_without_a_zone_is_in_utc_wherever_this_runs(
    monkeypatch: pytest.MonkeyPatch, zone: str, written: str
) -> None:
    then = 1_777_800_000.0
    failed = replace(an_operation(), state=State.FAILED, sent_at=then, settled_at=then, error_code="NOT_DONE")
    history = History(numbers={failed.e164: NumberHistory(doubtful=failed)})

    def kind(after_seconds: float) -> str:
        created = datetime.fromtimestamp(then + after_seconds, UTC).strftime(written)
        number = PhoneNumber(id="pn_1", e164=failed.e164, status="active", created_at=created)
        [found] = compare(history, AccountReading((number,), complete=True, now=then + DAY))
        return found.kind

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        kinds = (kind(5), kind(3_700))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert kinds == ("owned_though_failed", "bought_outside")


def read_time(operation: Operation) -> float:
    assert operation.settled_at is not None
    return operation.settled_at


def test_a_purchase_that_was_never_sent_explains_no_owned_number(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    refused = partial(moves.end, state=State.FAILED, reason="Over a cap.", code="OVER_DAILY_BUDGET")
    record(journal_url, own(sim), refused)

    assert marks(command("reconcile", "--json")) == {"bought_outside": "warn"}


def test_a_bought_number_that_krosai_does_not_show_is_missing_unless_it_is_young(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    sim.owned.clear()
    old = record(journal_url, number, *done())

    ran = command("reconcile")
    assert ran.code == 1
    assert f"{number.e164} was bought by {old.id}" in " ".join(ran.out.split())

    young = own(sim)
    sim.owned.clear()
    record(journal_url, young, *settled(State.DONE, ago=60))
    found = json.loads(command("reconcile", "--json").out)["findings"]
    assert {one["e164"]: one["mark"] for one in found if one["kind"] == "missing"} == {
        number.e164: "fail",
        young.e164: "warn",
    }


def test_a_bought_number_that_is_inactive_is_missing_and_said_to_be_inactive(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    number.status = "inactive"
    record(journal_url, number, *settled(State.DONE, ago=60))

    ran = command("reconcile")

    assert ran.code == 1
    assert "KrosAI shows it as inactive" in " ".join(ran.out.split())


@pytest.mark.parametrize("status", ["Released", "ported_out", "cancelled"])
def test_a_bought_number_that_has_ended_by_any_word_is_missing(
    command: Command, journal_url: str, sim: Simulator, status: str
) -> None:
    number = own(sim)
    number.status = status
    record(journal_url, number, *settled(State.DONE, ago=60))

    ran = command("reconcile")

    assert ran.code == 1
    assert f"KrosAI shows it as {status.lower()}" in " ".join(ran.out.split())


def test_no_number_is_missing_while_a_record_cannot_be_read(command: Command, journal_url: str, sim: Simulator) -> None:
    number = own(sim)
    record(journal_url, number, *done())
    number.e164 = ""

    ran = command("reconcile")

    assert f"cannot be read: {number.id}." in " ".join(ran.out.split())
    assert marks(command("reconcile", "--json")) == {"unreadable": "warn", "unpriced": "warn"}


def test_a_number_that_was_released_is_not_missing_and_may_not_live_on(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    record(journal_url, number, *settled(State.DONE, ago=2 * DAY))
    record(journal_url, number, *done(), action=Action.RELEASE)
    number.created_at = "2026-01-01T00:00:00Z"

    living = command("reconcile", "--json")
    number.status = "inactive"
    gone = command("reconcile", "--json")

    assert (living.code, marks(living)) == (1, {"living_though_released": "fail"})
    assert (gone.code, marks(gone)) == (0, {})


def test_a_number_bought_again_after_its_release_is_held(command: Command, journal_url: str, sim: Simulator) -> None:
    number = own(sim)
    record(journal_url, number, *settled(State.DONE, ago=3 * DAY))
    record(journal_url, number, *settled(State.DONE, ago=2 * DAY), action=Action.RELEASE)
    record(journal_url, number, *done())

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (0, {})


def test_a_purchase_under_another_key_of_the_journal_explains_a_number(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    other = put(journal_url, an_operation(e164=number.e164), *done())

    ran = command("reconcile")

    assert ran.code == 0
    assert f"{number.e164} was bought under another key of this journal ({other.id})." in ran.out


def test_settings_that_differ_from_what_was_set_are_told_with_who_may_have_changed_them(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    wanted = Request(inventory_id="inv", endpoint_id="ep_support", allow_inbound=True, allow_outbound=True)
    bought = record(journal_url, number, *done(), request=wanted)
    number.endpoint_id, number.allow_inbound, number.allow_outbound = "ep_night", False, True

    ran = command("reconcile")

    text = " ".join(ran.out.split())
    assert ran.code == 0
    assert f"the endpoint differs from what {bought.id} (buy) set, ep_support; it is ep_night now" in text
    assert f"inbound differs from what {bought.id} (buy) set, on; it is off now" in text
    assert "outbound differs" not in text
    assert "It may have been changed since through this server" in text


@pytest.mark.usefixtures("endpoints_exist")
@pytest.mark.parametrize("lacking", [(), ("endpoint_id",)])
def test_an_endpoint_that_krosai_does_not_state_is_not_called_another(
    command: Command, journal_url: str, sim: Simulator, monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...]
) -> None:
    record(journal_url, own(sim), *done(not_applied=lacking), request=Request(endpoint_id="ep_support"))
    leave_out_routes(monkeypatch)

    ran = command("reconcile")

    text = " ".join(ran.out.split())
    assert "differs" not in text
    assert "empty now" not in text
    assert ("which KrosAI did not apply; KrosAI does not say." in text) is bool(lacking)


@pytest.mark.usefixtures("endpoints_exist")
def test_a_later_confirmed_change_is_what_counts(command: Command, journal_url: str, sim: Simulator) -> None:
    number = own(sim)
    record(journal_url, number, *done(), request=Request(endpoint_id="ep_support"))
    changed = Request(number_id=number.id, endpoint_id="ep_night")
    record(journal_url, number, *done(), action=Action.CONFIGURE, request=changed)
    number.endpoint_id = "ep_night"

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (0, {})


def test_a_protected_number_that_differs_needs_a_person(
    command: Command, journal_url: str, sim: Simulator, environment: pytest.MonkeyPatch
) -> None:
    number = own(sim)
    environment.setenv("KROS_PROTECTED_NUMBERS", number.e164)
    record(journal_url, number, *done(), request=Request(endpoint_id="ep_support"))

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (1, {"settings_differ": "fail"})


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"not_applied": ("allow_outbound",)}, "not_applied"),
        ({"settings_pending": True}, "settings_pending"),
        ({"number": {"id": "n", "monthly_cents": 500}}, ""),
    ],
)
def test_settings_that_were_never_applied_are_told_as_such(
    command: Command, journal_url: str, sim: Simulator, changes: dict[str, Any], kind: str
) -> None:
    number = own(sim)
    number.allow_outbound = False
    wanted = Request(inventory_id="inv", allow_inbound=True, allow_outbound=True if kind else None)
    record(journal_url, number, *done(**changes), request=wanted)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (0, {kind: "warn"} if kind else {})


def test_what_somebody_chose_anew_through_this_server_is_no_difference(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    request = Request(inventory_id="inv", endpoint_id="ep_support")
    record(journal_url, number, *done(settings_superseded=("endpoint_id",)), request=request)

    assert marks(command("reconcile", "--json")) == {}


def test_a_price_that_was_raised_since_is_told_where_the_number_is_read(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    record(journal_url, number, *done(), request=Request(endpoint_id="ep_support"))
    number.monthly_cost_cents = 900

    assert marks(command("reconcile", "--json")) == {"settings_differ": "warn", "price_differs": "warn"}


SHOWN = Quote("", "NG", "test", setup_cents=0, monthly_cents=500, due_now_cents=500)


@pytest.mark.parametrize(
    ("reported", "label", "mark", "told"),
    [
        ({"monthly_cents": 50_000}, "", "fail", "500.00 a month, not the 5.00 shown"),
        ({"setup_cents": 20_000}, "", "fail", "200.00 for setup, not the 0.00 shown"),
        ({"total_cents": 900_000}, "", "fail", "9,000.00 charged in all, not the 5.00 shown"),
        ({"currency": "USD"}, "NGN", "fail", "a price in USD, not in the NGN shown"),
        ({"monthly_cents": 600, "setup_cents": 0, "total_cents": 500}, "", "fail", "6.00 a month, not the 5.00 shown"),
        ({"monthly_cents": 400}, "", "warn", "4.00 a month, not the 5.00 shown"),
        ({"monthly_cents": 500, "setup_cents": 0, "total_cents": 500, "currency": "NGN"}, "NGN", "", ""),
    ],
)
@pytest.mark.parametrize("given_up", [False, True])
def test_a_charge_that_is_not_what_was_shown_is_found_and_may_be_written_down_as_known(
    command: Command,
    journal_url: str,
    sim: Simulator,
    environment: pytest.MonkeyPatch,
    reported: dict[str, Any],
    label: str,
    mark: str,
    told: str,
    *,
    given_up: bool,
) -> None:
    environment.setenv("KROS_CURRENCY", label)
    number = own(sim)
    bought = record(journal_url, number, *done(number=StoredNumber(id=number.id, **reported)), quote=SHOWN)
    if given_up:
        record(journal_url, number, *settled(State.DONE, ago=60, charged="no"), action=Action.RELEASE)
        number.status = "inactive"

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (int(mark == "fail"), {"charged_otherwise": mark} if mark else {})
    agrees = "nothing has changed" in ran.out
    assert agrees is (not mark and not given_up)
    if not mark:
        return
    assert f"{number.e164}: for its purchase {bought.id} KrosAI reported {told}" in ran.out
    known = command("reconcile", "--known", bought.id, "--reason", "KrosAI takes it back")
    assert (known.code, "KrosAI takes it back" in known.out) == (0, True)


def test_a_charge_that_is_not_what_was_shown_is_told_for_a_month_of_a_number_that_was_given_up(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    reported = StoredNumber(id=number.id, monthly_cents=50_000)
    record(journal_url, number, *settled(State.DONE, ago=31 * DAY, number=reported), quote=SHOWN)

    assert marks(command("reconcile", "--json")) == {"charged_otherwise": "fail"}

    record(journal_url, number, *settled(State.DONE, ago=60, charged="no"), action=Action.RELEASE)
    number.status = "inactive"

    assert marks(command("reconcile", "--json")) == {}


def test_a_number_without_a_price_shown_is_not_charged_otherwise(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    unpriced = replace(SHOWN, setup_cents=None, monthly_cents=None, due_now_cents=None)
    record(journal_url, number, *done(number=StoredNumber(id=number.id, monthly_cents=500)), quote=unpriced)

    assert marks(command("reconcile", "--json")) == {}


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"currency": "USD", "monthly_cents": 500}, "costs 5.00 USD a month now; 5.00 NGN when"),
        ({"currency": "USD", "monthly_cents": 700}, "costs 7.00 USD a month now; 5.00 NGN when"),
        ({"currency": "USD"}, "has its price in USD now; in NGN when"),
        ({"currency": "NGN", "monthly_cents": 500}, ""),
        ({"monthly_cents": 500}, ""),
    ],
)
@pytest.mark.parametrize(("quoted", "label"), [("NGN", ""), ("", "NGN"), ("NGN", "NGN")])
def test_a_currency_that_differs_since_the_purchase_is_told(
    stated: dict[str, Any], told: str, quoted: str, label: str
) -> None:
    bought = replace(an_operation(quote=replace(SHOWN, currency=quoted)), state=State.DONE, settled_at=DAY)
    history = History(numbers={bought.e164: NumberHistory(bought=bought)})
    number = PhoneNumber(id="pn_1", e164=bought.e164, status="active", **stated)

    found = compare(history, AccountReading((number,), complete=True, now=2 * DAY, currency=label))

    assert [(one.kind, one.finding.mark, told in one.finding.what) for one in found] == (
        [("price_differs", "warn", True)] if told else []
    )


def approved_ago(seconds: float) -> tuple[Move, ...]:
    return (
        partial(moves.confirm, by="ana"),
        lambda operation, now: replace(operation, confirmed_at=now - seconds),
    )


def frozen(operation: Operation, now: float) -> Operation:
    return replace(operation, lease_until=now - 1)


@pytest.mark.parametrize(
    ("then", "kind", "mark"),
    [
        (settled(State.UNKNOWN), "unknown", "fail"),
        ((*sent(), frozen), "abandoned", "fail"),
        (sent(), "under_way", "ok"),
        (approved_ago(60), "approved_not_executed", "fail"),
        (approved_ago(1), "approved_not_executed", "warn"),
    ],
)
def test_what_is_still_open_is_told_and_needs_a_person_where_no_server_looks_after_it(
    command: Command, journal_url: str, sim: Simulator, then: tuple[Move, ...], kind: str, mark: str
) -> None:
    assert sim.owned == {}
    opened = put(journal_url, an_operation(), *then, own=True)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (int(mark == "fail"), {kind: mark})
    assert opened.id in ran.out


def test_a_purchase_just_being_carried_out_is_no_grave_matter(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    record(journal_url, own(sim), *sent())

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (0, {"under_way": "warn"})


@pytest.mark.parametrize(("cap", "code", "kind"), [("", 0, "run_rate"), ("500", 1, "over_commitment")])
def test_the_monthly_cost_of_all_numbers_is_held_against_the_cap(
    command: Command, sim: Simulator, environment: pytest.MonkeyPatch, cap: str, code: int, kind: str
) -> None:
    numbers = [own(sim), own(sim)]
    environment.setenv("KROS_MONTHLY_COMMITMENT_CENTS", cap)

    ran = command("reconcile", "--json")

    told = json.loads(ran.out)
    assert ran.code == told["exit_code"] == code
    assert told["monthly_run_rate_cents"] == sum(number.monthly_cost_cents for number in numbers)
    assert kind in {one["kind"] for one in told["findings"]}


def test_a_total_that_is_more_than_is_shown_is_told(
    command: Command, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(sim)
    monkeypatch.setattr("kros_mcp.krosai.envelope.find_total", lambda _: ("total", 50))

    assert "warn  KrosAI shows 1 number in service, and states 50 records in all." in command("reconcile").out


@pytest.mark.parametrize(
    ("label", "currencies", "cap", "mark", "what"),
    [
        ("usd", ["USD", "USD"], "5000", "ok", "cost 10.00 usd, every month"),
        ("", ["USD", "USD"], "", "ok", "cost 10.00 USD, every month; no cap"),
        ("NGN", ["USD", "USD"], "", "ok", "cost 10.00 USD, every month; no cap"),
        ("NGN", ["USD", "USD"], "5000", "warn", "10.00 USD, every month, which cannot be held against the 50.00 NGN"),
        ("NGN", ["USD", ""], "", "warn", "has no sum: their prices are in NGN and USD."),
        ("", ["USD", "NGN"], "5000", "warn", "has no sum: their prices are in NGN and USD."),
    ],
)
def test_the_monthly_cost_is_no_sum_of_several_currencies_and_has_its_own_label(
    label: str, currencies: list[str], cap: str, mark: str, what: str
) -> None:
    rate = RunRate(
        tuple((f"+23480355501{at:02d}", 500) for at, _ in enumerate(currencies)),
        complete=True,
        read_at=0.0,
        currencies=frozenset(currencies),
    )
    settings = Settings(currency=label, monthly_commitment_cents=int(cap) if cap else None)

    [found] = reconcile._monthly(rate, settings)  # noqa: SLF001 - an account of two currencies takes a whole KrosAI

    assert (found.finding.mark.lower(), what in found.finding.what) == (mark, True), found.finding


@pytest.mark.parametrize(
    ("status", "what"), [("error", "reports an error"), ("inactive", "is inactive"), (None, "is gone")]
)
def test_numbers_whose_endpoint_takes_no_calls_are_named(
    command: Command, sim: Simulator, status: str | None, what: str
) -> None:
    endpoint_id, working, *_ = sim.endpoints
    numbers = [own(sim), own(sim), own(sim)]
    numbers[0].endpoint_id = numbers[1].endpoint_id = endpoint_id
    numbers[2].endpoint_id = working
    if status is None:
        del sim.endpoints[endpoint_id]
    else:
        sim.endpoints[endpoint_id].status = status

    ran = command("reconcile", "--json")

    found = [one for one in json.loads(ran.out)["findings"] if one["kind"] == "dangling"]
    assert ran.code == 0
    assert {one["e164"] for one in found} == {number.e164 for number in numbers[:2]}
    assert all(f"which {what}: calls to it may go nowhere." in one["what"] for one in found)


def test_what_reconcile_has_read_of_prices_is_kept(command: Command, sim: Simulator) -> None:
    own(sim)
    command("reconcile")
    read = [seen.path for seen in sim.requests]
    told = json.loads(command("reconcile", "--json").out)
    assert told["monthly_run_rate_cents"] > 0
    assert not [seen for seen in sim.requests[len(read) :] if "/phone-numbers/" in seen.path]


def test_a_number_without_a_price_is_told(command: Command, sim: Simulator) -> None:
    own(sim)
    sim.faults.switch_on("missing_prices", on=("get",), times=None)

    ran = command("reconcile")

    assert ran.code == 0
    assert "1 number without a price" in ran.out
    assert "cost at least 0.00" in ran.out


def test_from_a_list_not_read_to_its_end_nothing_is_called_missing() -> None:
    bought = replace(an_operation(), state=State.DONE, settled_at=1.0)
    history = History(numbers={bought.e164: NumberHistory(bought=bought)})

    assert compare(history, AccountReading((), complete=False, now=DAY)) == []
    [missing] = compare(history, AccountReading((), complete=True, now=DAY))
    assert (missing.kind, missing.finding.mark) == ("missing", "FAIL")


def looking(seconds: float, **changes: Any) -> Move:
    """Look again in that many seconds; a negative number is that long ago."""
    return lambda operation, now: replace(operation, look_at=now + seconds, **changes)


def then_change(journal_url: str, operation: Operation, *then: Move) -> Operation:
    async def change() -> Operation:
        async with open_journal(journal_url) as journal:
            changed = operation
            for move in then:
                changed = await journal.change(operation.id, move)
            return changed

    return anyio.run(change)


@pytest.mark.parametrize(
    ("then", "mark", "to_do"),
    [
        ((looking(600),), "warn", "A running server looks at it again"),
        ((looking(-60),), "warn", "A running server looks at it again"),
        ((looking(-DAY),), "fail", "No server of this account seems to run."),
        ((), "fail", "it was charged and stands in no budget"),
    ],
)
def test_an_owned_number_whose_purchase_counts_as_failed_warns_while_a_server_watches_it(
    command: Command, journal_url: str, sim: Simulator, then: tuple[Move, ...], mark: str, to_do: str
) -> None:
    record(journal_url, own(sim), *settled(State.FAILED, ago=60, error_code="NOT_DONE"), *then)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (int(mark == "fail"), {"owned_though_failed": mark})
    assert to_do in ran.out


@pytest.mark.parametrize("state", [State.FAILED, State.UNKNOWN])
@pytest.mark.parametrize(("seen", "grave"), [("active", False), ("released", True), (None, True)])
def test_a_record_that_was_there_before_proves_no_purchase(
    command: Command, journal_url: str, sim: Simulator, state: Any, seen: str | None, *, grave: bool
) -> None:
    number = own(sim)
    records = (Seen(number.id, seen, living=seen == "active"),) if seen else ()
    record(journal_url, number, *settled(state), lambda one, _: replace(one, snapshot=Snapshot(records)))

    found = marks(command("reconcile", "--json"))

    if grave:
        assert found == {f"owned_though_{state}": "fail"}
    else:
        unknown = {"unknown": "fail"} if state is State.UNKNOWN else {}
        assert found == {"bought_outside": "warn"} | unknown


@pytest.mark.parametrize(
    ("then", "mark", "to_do"),
    [
        ((looking(600),), "warn", "A running server looks for it until a day after its sending"),
        ((looking(-DAY),), "fail", "No server of this account seems to run."),
        ((lambda one, _: replace(one, note=NEVER_LISTED),), "fail", "ask KrosAI for the number or the money"),
    ],
)
def test_a_purchase_that_krosai_named_and_never_listed_is_told_as_such(
    command: Command, journal_url: str, sim: Simulator, then: tuple[Move, ...], mark: str, to_do: str
) -> None:
    number = own(sim)
    sim.owned.clear()
    bought = record(journal_url, number, *done(), *then)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (int(mark == "fail"), {"named_but_not_listed": mark})
    assert f"{number.e164} counts as bought by {bought.id} since" in ran.out
    assert to_do in ran.out


@pytest.mark.parametrize(("before", "kind"), [(True, "named_but_not_listed"), (False, "missing")])
def test_an_ended_record_from_before_a_purchase_says_nothing_of_it(
    command: Command, journal_url: str, sim: Simulator, kind: str, *, before: bool
) -> None:
    number = own(sim)
    number.status = "released"
    records = (Seen(number.id, "released"),) if before else ()
    record(journal_url, number, *settled(State.DONE), looking(600, snapshot=Snapshot(records)))

    assert marks(command("reconcile", "--json")) == {kind: "warn" if before else "fail"}


@pytest.mark.parametrize(("then", "mark"), [((looking(600),), "warn"), ((looking(-DAY),), "fail"), ((), "fail")])
def test_a_number_that_is_gone_names_its_release_that_counts_as_failed(
    command: Command, journal_url: str, sim: Simulator, then: tuple[Move, ...], mark: str
) -> None:
    number = own(sim)
    sim.owned.clear()
    record(journal_url, number, *done())
    refused = record(journal_url, number, *settled(State.FAILED, ago=60), *then, action=Action.RELEASE)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (int(mark == "fail"), {"missing": mark})
    assert f"Its release {refused.id} counts as failed." in ran.out


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (State.FAILED, State.DONE, "was told as failed, and corrected at {at}: it is done now; charged: yes"),
        (State.DONE, State.UNKNOWN, "was told as done, and corrected at {at}: it is unknown now; charged: unknown"),
    ],
)
def test_a_correction_of_the_last_days_is_told_once(
    command: Command, journal_url: str, sim: Simulator, first: Any, then: Any, said: str
) -> None:
    number = own(sim)
    correct = partial(moves.correct, settlement=Settlement(then), note="KrosAI shows otherwise.")
    bought = record(journal_url, number, *settled(first, ago=60), correct)
    assert bought.corrected_at is not None
    at = datetime.fromtimestamp(int(bought.corrected_at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    ran = command("reconcile", "--json")

    assert marks(ran)["corrected"] == "warn"
    told = f"{bought.id} (buy {number.e164}) {said.format(at=at)}"
    assert ran.out.count(told) == 1
    if then is State.DONE:
        assert (ran.code, marks(ran)) == (0, {"corrected": "warn"})
        assert "1 of them was bought by this journal" in command("reconcile").out
    week = 7 * DAY
    then_change(journal_url, bought, lambda one, now: replace(one, corrected_at=now - week, settled_at=now - week))
    assert "corrected" not in marks(command("reconcile", "--json"))


def test_what_is_known_fails_no_more_and_says_who_knows_and_why(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    failed = record(journal_url, number, *settled(State.FAILED, ago=60, error_code="NOT_DONE"))

    first = command("reconcile", "--known", failed.id, "--reason", "bought in the dashboard.")
    ran = command("reconcile", "--json")

    assert (first.code, ran.code, marks(ran)) == (0, 0, {"owned_though_failed": "ok"})
    assert "Known: bought in the dashboard (" in " ".join(first.out.split())
    [found] = [one for one in json.loads(ran.out)["findings"] if one["kind"] == "owned_though_failed"]
    assert (found["known"]["reason"], found["operation_id"]) == ("bought in the dashboard.", failed.id)
    assert read(journal_url, failed.id) == failed
    [event] = [
        one for one in json.loads(command("operations", failed.id, "--json").out)["events"] if one["changes"] == {}
    ]
    assert (event["move"], event["through"]) == ("acknowledged", "command")
    assert event["words"] == "owned_though_failed: bought in the dashboard."


def test_what_is_known_may_be_named_by_its_number(command: Command, journal_url: str, sim: Simulator) -> None:
    number = own(sim)
    second = own_again(sim, number)
    record(journal_url, number, *settled(State.FAILED, ago=60))

    assert command("reconcile", "--known", number.e164, "--reason", "KrosAI takes one back").code == 0
    assert marks(command("reconcile", "--json")) == {"owned_twice": "ok", "owned_though_failed": "ok"}

    own_again(sim, replace(second, id=f"{second.id}x"))  # a third record is not what was known
    assert marks(command("reconcile", "--json"))["owned_twice"] == "fail"


def test_a_warning_is_known_only_where_nothing_fails(command: Command, journal_url: str, sim: Simulator) -> None:
    number = own(sim)
    bought = record(journal_url, number, *settled(State.FAILED, ago=60))
    then_change(
        journal_url, bought, partial(moves.correct, settlement=Settlement(State.DONE), note="It was bought after all.")
    )
    own_again(sim, number)

    command("reconcile", "--known", bought.id, "--reason", "one goes back")
    assert marks(command("reconcile", "--json")) == {"owned_twice": "ok", "corrected": "warn"}

    command("reconcile", "--known", bought.id, "--reason", "told to the customer")
    assert marks(command("reconcile", "--json")) == {"owned_twice": "ok", "corrected": "ok"}


def test_what_was_known_of_an_operation_fails_again_once_it_has_moved_on(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    sim.owned.clear()
    bought = record(journal_url, number, *done(), looking(-DAY))
    command("reconcile", "--known", bought.id, "--reason", "KrosAI lists it next week")
    known = marks(command("reconcile", "--json"))
    then_change(journal_url, bought, lambda one, _: replace(one, look_at=None, note=NEVER_LISTED))

    assert known == {"named_but_not_listed": "ok"}
    assert marks(command("reconcile", "--json")) == {"named_but_not_listed": "fail"}


@pytest.mark.usefixtures("endpoints_exist")
def test_what_was_known_of_a_setting_holds_for_that_value_alone(
    command: Command, journal_url: str, sim: Simulator, environment: pytest.MonkeyPatch
) -> None:
    number = own(sim)
    environment.setenv("KROS_PROTECTED_NUMBERS", number.e164)
    record(journal_url, number, *done(), request=Request(endpoint_id="ep_support"))
    number.endpoint_id = "ep_night"

    assert command("reconcile", "--known", number.e164, "--reason", "moved for the night").code == 0
    assert command("reconcile").code == 0
    number.endpoint_id = "ep_other"
    assert (command("reconcile").code, marks(command("reconcile", "--json"))) == (1, {"settings_differ": "fail"})


def test_what_belongs_to_no_operation_cannot_be_known_and_says_so(command: Command, sim: Simulator) -> None:
    number = own(sim)
    own_again(sim, number)

    ran = command("reconcile", "--known", number.e164, "--reason", "on purpose")

    assert (ran.code, ran.out) == (1, "")
    assert "belongs to no operation of this journal" in ran.err


@pytest.mark.parametrize("wanted", ["op_abcdefghijklmnop", "+2342015550199", "nonsense\x1b[2J"])
def test_only_what_was_found_can_be_known(command: Command, journal_url: str, sim: Simulator, wanted: str) -> None:
    record(journal_url, own(sim), *settled(State.FAILED, ago=60))

    ran = command("reconcile", "--known", wanted, "--reason", "x")

    assert (ran.code, ran.out) == (1, "")
    assert "nothing was written down" in ran.err
    assert "\x1b" not in ran.err
    assert marks(command("reconcile", "--json")) == {"owned_though_failed": "fail"}


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize(
    "words", [("--known", "op_abcdefghijklmnop"), ("--known", "op_a", "--reason", "  "), ("--reason", "x")]
)
def test_what_is_known_and_why_go_together(command: Command, words: tuple[str, ...]) -> None:
    ran = command("reconcile", *words)

    assert (ran.code, ran.out) == (2, "")
    assert "--known and --reason go together" in ran.err


def test_what_somebody_else_wrote_as_known_cannot_deceive_the_terminal(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    failed = record(journal_url, own(sim), *settled(State.FAILED, ago=60))

    async def write() -> None:
        async with open_journal(journal_url) as journal:
            words = "owned_though_failed: fine\x1b[2J\u202e"
            await journal.acknowledge(failed.id, by=By("ana\x1b[2J", "command"), words=words)

    anyio.run(write)

    for words in ((), ("--json",)):
        out = command("reconcile", *words).out
        assert "fine" in out
        assert not {"\x1b", "\u202e"} & set(out)


@pytest.mark.usefixtures("no_waits")
def test_without_krosai_the_journals_part_is_still_told_and_the_exit_is_four(
    command: Command, journal_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KROS_BASE_URL", "http://127.0.0.1:9/v1")
    environment.setenv("KROS_API_KEY", "kros_test_reconcile")
    put(journal_url, an_operation(), *settled(State.UNKNOWN), own=True)
    put(journal_url, an_operation(e164="+2342015550101"), *done(), own=True)

    ran = command("reconcile", "--json")

    assert ran.code == 4
    assert marks(ran) == {"unread": "fail", "unknown": "fail"}


@pytest.mark.usefixtures("no_waits")
def test_a_reading_that_breaks_off_is_said_and_nothing_is_concluded_from_it(
    command: Command, journal_url: str, sim: Simulator
) -> None:
    number = own(sim)
    sim.owned.clear()
    record(journal_url, number, *done())
    sim.faults.switch_on("html_page", on=("list_owned",), times=None)

    ran = command("reconcile", "--json")

    assert (ran.code, marks(ran)) == (4, {"unread": "fail"})


def test_without_a_key_there_is_no_account_to_reconcile(command: Command) -> None:
    ran = command("reconcile")

    assert (ran.code, ran.out) == (2, "")
    assert "KROS_API_KEY" in ran.err


def test_a_journal_that_cannot_be_used_ends_with_three(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    environment.setenv("KROS_API_KEY", "kros_test_reconcile")
    environment.setenv("KROS_JOURNAL_URL", f"sqlite:///{tmp_path}/file/journal.sqlite3")

    assert command("reconcile").code == 3
