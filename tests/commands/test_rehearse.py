"""What a rehearsal finds out, what it may cost, and that nothing of it is left: at a simulator in memory."""

import builtins
import json
import os
import signal
import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from commands_doubles import Command, an_operation, settled
from rehearsal_bench import CANARY, Bench, KilledError, seen_of

from kros_mcp.commands import person
from kros_mcp.commands.contact_report import ContactReport, markdown, show
from kros_mcp.commands.rehearsal_record import left_by_earlier_runs
from kros_mcp.commands.rehearsal_sender import Sender, Waits
from kros_mcp.errors import RefusedError, RequestsUsedUpError
from kros_mcp.journals.backends import open_journal
from kros_mcp.operations.journal import Move
from kros_mcp.operations.model import Operation, Outcome, State
from kros_mcp.simulator import Simulator, open_server, read_shapes
from kros_mcp.simulator.profiles import ProfileName

pytestmark = pytest.mark.usefixtures("no_waits")
BOTH = pytest.mark.parametrize("profile", ["reference", "guide"])
Faults = dict[str, dict[str, Any]]
SHAPES = Path(__file__).parent.parent / "shapes"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def either_journal(request: pytest.FixtureRequest, journal_url: str) -> str:
    return journal_url if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def require_sound(bench: Bench, made: ContactReport | None, at_most: int = 2_000) -> None:
    """Raise unless at most the agreed sum was charged, the rest is untouched, and what is left is said."""
    assert bench.charged <= at_most
    bench.require_rest_untouched()
    assert not bench.left or (made is not None and made.exit_code == 1)
    unknown: set[str] = set()
    for seen in bench.sim.requests:
        if seen.method == "GET":
            unknown.clear()
        else:
            assert seen.method not in unknown, "it was sent again before a look"
            unknown |= {seen.method} if seen.status is None or seen.status >= 500 else set()


@BOTH
def test_every_question_is_answered_and_nothing_is_left(tmp_path: Path, profile: ProfileName) -> None:
    bench = Bench(tmp_path, profile, settings={"allow_permanent_delete": True})

    made = bench.rehearse(permanent=True)

    seen = seen_of(made)
    buys_back = profile == "guide"  # there a released number is for sale again, and no record is left to be deleted
    unanswered = {topic for topic, (verdict, _) in seen.items() if verdict == "not seen"}
    assert unanswered == {"a permanent delete" if buys_back else "bought again after its release"}
    assert {verdict for verdict, _ in seen.values()} <= {"as assumed", "not seen"}
    assert seen["flags after an order without any"][1] == (
        "inbound on, outbound on, not routed" if buys_back else "inbound on, outbound off, not routed"
    )
    assert seen["what a release leaves"][1].startswith("no record" if buys_back else "its record, inactive")
    assert "word for word" in seen["same order, same idempotency key"][1]
    assert (made.exit_code, bench.asked) == (0, 1)
    assert bench.left == []
    assert bench.charged == (1_000 if buys_back else 500)
    require_sound(bench, made)


@pytest.mark.parametrize("dialect", ["camel", "digits", "envelope"])
def test_a_dialect_unlike_both_documents_is_rehearsed_in(tmp_path: Path, dialect: str) -> None:
    bench = Bench(tmp_path, options={"shapes": read_shapes(SHAPES / f"{dialect}.json")})

    made = bench.rehearse()

    seen = seen_of(made)
    assert seen["same order, same idempotency key"][1].endswith("owned by 1 record, word for word the first answer")
    assert "heeded" in seen["changes in snake_case"][1]
    assert (made.exit_code, bench.left, bench.charged > 0) == (0, [], True)
    require_sound(bench, made)


FAULTS: dict[str, tuple[Faults, dict[str, str]]] = {
    "a lost answer to the order": (
        {"lost_reply": {"on": ["purchase"]}},
        {"an order is answered": "no usable answer, OUTCOME_UNKNOWN; the account then showed it as bought"},
    ),
    "a failure after each order": (
        {"error_after": {"on": ["purchase"], "times": None}},
        {"same order, same idempotency key": "500, OUTCOME_UNKNOWN, owned by 1 record"},
    ),
    "a 429 before the order": ({"rate_limited": {"on": ["purchase"]}}, {}),
    "a 429 after the order": (
        {"commits_then_429": {}},
        {"an order is answered": "429, RATE_LIMIT_EXCEEDED; the account then showed it as bought"},
    ),
    "a pending order": (
        {"pending_order": {}},
        {"an order is answered": "202, JSON, names the number, status pending; the account then showed it as bought"},
    ),
    "a number that stays for sale": (
        {"stays_for_sale": {}},
        {
            "when offers show it no more": "still for sale after 45 s",
            "same number, another key": "201, JSON, names the number, status active, the same record",
        },
    ),
    "snake_case unheeded": (
        {"ignore_snake_case": {"times": None}},
        {"changes in snake_case": "endpoint ignored, flag ignored"},
    ),
    "camelCase unheeded": (
        {"ignore_camel_case": {"times": None}},
        {"changes in camelCase": "endpoint ignored, flag ignored"},
    ),
    "no price of what is owned": (
        {"missing_prices": {"on": ["get"], "times": None}},
        {"price of the bought number": "not stated"},
    ),
    "another word of a release": ({"ended_word": {}}, {}),
    "a failed release": (
        {"error_before": {"on": ["release"]}},
        {"a soft release is answered": "500, OUTCOME_UNKNOWN; then 200, JSON"},
    ),
    "a web page in place of the answer": (
        {"html_page": {"on": ["purchase"]}},
        {"an order is answered": "200, not JSON; the account then showed it as bought"},
    ),
    "old records of what is for sale": ({"old_records": {"times": None}, "old_id_again": {"times": None}}, {}),
    "numbers of its own for sale": ({"owned_for_sale": {"times": None}}, {}),
    "ids that change": ({"changing_ids": {"times": None}, "twice_for_sale": {}}, {}),
    "late changes": ({"late_change": {"times": None}}, {}),
    "a number that is listed late": ({"never_listed": {"seconds": 20.0}}, {}),
}


@BOTH
@pytest.mark.parametrize("what", FAULTS)
def test_what_differs_is_named_and_nothing_is_left(tmp_path: Path, profile: ProfileName, what: str) -> None:
    bench = Bench(tmp_path, profile)
    faults, expected = FAULTS[what]
    for name, switch in faults.items():
        bench.sim.faults.switch_on(name, **switch)

    made = bench.rehearse()

    seen = seen_of(made)
    assert set(faults) <= set(bench.sim.faults.counts) | {"old_id_again"}
    for topic, words in expected.items():
        assert seen[topic] == ("differs", seen[topic][1])
        assert seen[topic][1].startswith(words)
    assert (made.exit_code, bench.left) == (0, [])
    assert bench.recorded("settled") >= 1
    require_sound(bench, made)


def test_keys_that_are_not_honoured_are_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, options={"honours_idempotency": False})

    made = bench.rehearse()

    assert seen_of(made)["same order, same idempotency key"] == (
        "differs",
        "400, NUMBER_NOT_AVAILABLE, owned by 1 record",
    )
    assert "repeated under its idempotency key" in " ".join(one.what for one in made.conclusions)
    require_sound(bench, made)


@pytest.mark.parametrize(
    ("fault", "switch", "says"),
    [
        ("never_listed", {}, "UNKNOWN"),
        ("pending_order", {"ends": "never"}, "LEFT OWNED"),
        ("refuse", {"on": ["release"], "times": None, "status": 403}, "LEFT OWNED"),
        ("commits_then_refuses", {}, "LEFT OWNED"),
    ],
)
def test_what_cannot_be_released_is_said_and_looked_for_by_the_next_run(
    bench: Bench, capsys: pytest.CaptureFixture[str], fault: str, switch: dict[str, Any], says: str
) -> None:
    bench.sim.faults.switch_on(fault, **switch)

    made = bench.rehearse()

    (left,) = bench.left
    out = capsys.readouterr().out
    assert made.exit_code == 1
    assert made.conclusions[0].what.startswith(says)
    assert (says in out, left in out) == (True, True)
    assert "Run kros-mcp rehearse again" in out
    require_sound(bench, made)
    bench.sim.faults.clear()
    bench.sim.hidden_until.clear()
    for number in bench.sim.owned.values():
        number.status = "active" if number.status == "pending" else number.status

    again = bench.rehearse()

    assert (again.exit_code, bench.left, bench.asked) == (0, [], 3)
    bench.require_rest_untouched()


def test_a_number_that_others_buy_at_the_same_moment_is_not_released(bench: Bench) -> None:
    """KrosAI says "not available", and the account has it: bought by a colleague, whose number it is."""

    async def buys_it_first(request: httpx.Request) -> None:
        if request.method == "POST":
            wanted = json.loads(request.content)["inventory_id"]
            bench.sim.buy(bench.sim.inventory[wanted], None)
            bench.on_write = None

    bench.on_write = buys_it_first

    made = bench.rehearse()

    assert bench.writes == ["POST"]
    assert len(bench.left) == 1
    assert "somebody else may have bought it" in made.conclusions[0].what
    bench.answers = [False]
    assert bench.run() is None
    assert bench.writes == ["POST"]


def test_another_number_in_the_answer_is_named_and_not_touched(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bought: list[str] = []

    async def sells_another(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "POST":
            return response
        (number,) = (each for each in bench.sim.owned.values() if each.e164 == bench.sim.charges[0].e164)
        other = next(item for item in bench.sim.inventory.values() if item.e164 != number.e164)
        number.e164 = other.e164
        bought.append(other.e164)
        return httpx.Response(201, json={**json.loads(await response.aread()), "e164": other.e164})

    bench.on_answer = sells_another

    made = bench.rehearse()

    assert bench.left == bought
    assert bench.writes == ["POST"]
    assert f"another number, {bought[0]}, which it may have charged" in capsys.readouterr().out
    assert seen_of(made)["an order is answered"][1].startswith("201, JSON, names another number")
    assert made.exit_code == 1


def test_a_terminal_that_is_gone_keeps_nothing_from_being_cleared_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    def goes() -> None:
        monkeypatch.setattr("kros_mcp.commands.rehearse.say", gone)
        monkeypatch.setattr("kros_mcp.commands.rehearsal_telling.say", gone)

    bench.on_question = goes

    assert bench.rehearse(at_most_cents=500).exit_code == 0
    assert bench.left == []


def test_an_order_that_ends_rejected_leaves_nothing_and_fails(bench: Bench) -> None:
    bench.sim.faults.switch_on("pending_order", ends="rejected")

    made = bench.rehearse()

    assert (made.exit_code, bench.left, bench.charged) == (1, [], 0)
    assert made.conclusions[0].mark == "ok"


@pytest.mark.parametrize(("kyc", "balance_cents", "code"), [("pending", 9_000, "KYC_PENDING"), ("approved", 0, "402")])
def test_a_refused_order_says_why_and_leaves_every_other_question_open(
    tmp_path: Path, kyc: Any, balance_cents: int, code: str
) -> None:
    bench = Bench(tmp_path, options={"balance_cents": balance_cents})
    bench.sim.kyc = kyc

    made = bench.rehearse()

    seen = seen_of(made)
    assert code in seen["an order is answered"][1]
    assert {
        verdict for topic, (verdict, _) in seen.items() if topic not in {"an order is answered", "headers of a write"}
    } == {"not seen"}
    assert (made.exit_code, bench.writes, bench.left) == (1, ["POST"], [])


@pytest.mark.parametrize(("profile", "delivered"), [("reference", False), ("guide", True)])
def test_a_run_killed_at_any_write_is_cleared_by_the_next_one(
    tmp_path: Path, profile: ProfileName, *, delivered: bool
) -> None:
    at = 0
    while True:
        at += 1
        bench = Bench(tmp_path / str(at), profile)
        bench.folder.mkdir()
        if not bench.killed(at, delivered=delivered):
            break
        left, charged = bench.left, bench.charged

        made = bench.rehearse()

        assert (made.exit_code, bench.left) == (0, [])
        assert bench.asked == (3 if left else 2)  # the earlier run's question, that about what it left, and this run's
        assert charged <= 2_000
        assert bench.charged - charged <= 2_000
        assert not delivered or left_by_earlier_runs(bench.in_force, bench.record) == []
        bench.require_rest_untouched()
    assert at == {"reference": 12, "guide": 14}[profile]


def test_no_release_bears_the_key_of_another(bench: Bench) -> None:
    keys: list[str] = []

    async def keep(request: httpx.Request) -> None:
        if request.method == "DELETE":
            keys.append(request.headers["idempotency-key"])

    for _ in range(2):
        assert bench.killed(2, delivered=True)
        bench.on_write, bench.answers = keep, [True, False]
        assert bench.run() is None
        bench.on_write = None
    assert (bench.left, len(keys), len(set(keys))) == ([], 2, 2)
    assert all(key.startswith("rh_") for key in keys)


def test_what_a_killed_run_left_is_not_released_without_a_yes(bench: Bench) -> None:
    assert bench.killed(5, delivered=True)
    writes = list(bench.writes)
    bench.answers = [False]

    assert bench.run() is None

    assert bench.writes == writes
    assert len(bench.left) == 1


def test_what_a_killed_run_left_is_kept_once_it_is_protected(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.killed(5, delivered=True)
    (left,) = bench.left
    bench.settings = {"protected_numbers": left}

    made = bench.rehearse()

    assert f"{left} is protected" in capsys.readouterr().out
    assert (bench.left, made.exit_code) == ([left], 0)
    assert left_by_earlier_runs(bench.in_force, bench.record) == []


def test_an_order_without_an_answer_is_looked_for_for_a_day(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.sim.faults.switch_on("never_listed")
    bench.rehearse()
    (hidden,) = bench.left

    bench.rehearse()
    assert "Later runs look again" in capsys.readouterr().out
    bench.clock.now += 86_400
    bench.rehearse()
    assert "looked for no more" in capsys.readouterr().out
    bench.rehearse()

    assert hidden not in capsys.readouterr().out
    assert bench.left == [hidden]


def test_another_account_s_leftovers_are_named_and_not_touched(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.killed(5, delivered=True)
    (left,) = bench.left
    bench.settings = {"organization_id": bench.sim.organization_id}

    made = bench.rehearse()

    assert f"This record also names {left}" in capsys.readouterr().out
    assert (bench.left, made.exit_code) == ([left], 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": f"kros_live_{CANARY}"},
        {"api_key": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2ln"},
        {"api_key": f"KROS_TEST_{CANARY}"},
        {"read_only": True},
    ],
)
@pytest.mark.parametrize("words", [(), ("--yes",), ("--permanent",)])
def test_a_live_key_or_read_only_sends_not_one_request(
    command: Command,
    pointed: Simulator,
    environment: pytest.MonkeyPatch,
    settings: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    for name, value in settings.items():
        environment.setenv(f"KROS_{name.upper()}", str(value))

    ran = command("rehearse", "--at-most-cents", "2000", *words)

    assert ran.code == 1
    assert "nothing was" in ran.err
    assert pointed.requests == []


def test_a_test_key_needs_a_terminal_and_takes_no_yes_from_the_command_line(
    command: Command, pointed: Simulator, tmp_path: Path
) -> None:
    record = str(tmp_path / "rehearsals.jsonl")

    with_yes = command("rehearse", "--at-most-cents", "2000", "--yes", "--record", record)
    without = command("rehearse", "--at-most-cents", "2000", "--record", record)

    assert (with_yes.code, without.code) == (2, 1)
    assert "no terminal" in without.err
    assert "Take these sums for real money." in without.out
    assert {seen.method for seen in pointed.requests} == {"GET"}


def test_a_no_sends_no_write(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answers = [False]

    assert bench.run() is None

    assert bench.writes == []
    said = capsys.readouterr().out
    assert "Up to 4 times" in said
    assert "At most     20.00" in said


@pytest.mark.parametrize(("at_most", "orders"), [(500, 1), (999, 1), (1_000, 2), (1_500, 3)])
def test_only_so_many_orders_are_sent_as_fit_the_sum(tmp_path: Path, at_most: int, orders: int) -> None:
    bench = Bench(tmp_path, "guide", options={"honours_idempotency": False})
    bench.sim.faults.switch_on("stays_for_sale", times=None)

    made = bench.rehearse(at_most_cents=at_most)

    assert bench.writes.count("POST") == orders
    assert "not tried, since --at-most-cents" in str(made.comparisons)
    require_sound(bench, made, at_most)


def test_a_429_does_not_let_one_more_order_through_than_was_agreed_to(bench: Bench) -> None:
    bench.sim.faults.switch_on("rate_limited", times=None, on=["purchase"])

    made = bench.rehearse(at_most_cents=500)

    assert bench.writes == ["POST"]
    assert made.exit_code == 1


def test_what_was_bought_behind_a_429_and_listed_late_is_released(bench: Bench) -> None:
    bench.sim.faults.switch_on("commits_then_429")
    bench.sim.faults.switch_on("never_listed", seconds=20.0)

    made = bench.rehearse(at_most_cents=500)

    bench.clock.now += 60.0
    assert (made.exit_code, bench.charged, bench.left) == (1, 500, [])
    assert bench.writes == ["POST", "DELETE"]
    assert "KrosAI had carried out an order after all" in str(made.conclusions)


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_an_answer_that_names_the_order_keeps_nothing_from_being_released(bench: Bench, status: int) -> None:
    """What is answered for that id, an error of its own say, tells nothing of the number that the list shows."""

    async def names_the_order(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/ord_1"):
            return httpx.Response(status, json={"error": "No such number"} if status != 200 else {})
        if request.method != "POST" or not response.is_success:
            return response
        await response.aread()
        return httpx.Response(response.status_code, json=response.json() | {"id": "ord_1"})

    bench.on_answer = names_the_order

    made = bench.rehearse()

    assert bench.left == []
    assert made.exit_code == (0 if status == 404 else 1)
    assert bench.recorded("settled") == (1 if status == 404 else 0)


def test_a_status_that_is_a_sentence_is_not_told(bench: Bench) -> None:
    async def sentence(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        await response.aread()
        if "/phone-numbers/" not in request.url.path and request.method == "GET":
            return response
        body = response.json()
        told = {"DELETE": "released by Jane", "POST": "ordered for Jane"}.get(request.method, body.get("status"))
        return httpx.Response(response.status_code, json=body | {"status": told})

    bench.on_answer = sentence

    made = bench.rehearse()

    assert "jane" not in markdown(made).lower() + json.dumps(made.document()).lower()
    assert bench.left == []


def test_what_was_refused_is_called_not_owned_by_the_answer_and_one_look(bench: Bench) -> None:
    bench.sim.faults.switch_on("refuse", code="NUMBER_NOT_AVAILABLE", status=404, on=["purchase"])

    made = bench.rehearse()

    assert "by what KrosAI answered and by a look at its list then" in made.conclusions[0].what
    assert (made.exit_code, bench.left) == (1, [])


def test_what_is_ordered_again_costs_what_was_agreed_to(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "guide")

    async def cheaper_now(request: httpx.Request) -> None:
        if request.method == "DELETE":
            for item in bench.sim.inventory.values():
                item.setup_cost_cents += 100
                item.monthly_cost_cents -= 100

    bench.on_write = cheaper_now

    made = bench.rehearse()

    assert bench.writes.count("POST") == 3
    assert seen_of(made)["bought again after its release"] == (
        "not seen",
        "not tried, since the price is another than offered",
    )


def test_a_limit_of_the_settings_is_named_with_what_it_takes(bench: Bench) -> None:
    bench.settings = {"max_purchase_cents": 499}

    with pytest.raises(RefusedError) as refused:
        bench.run(at_most_cents=400)

    assert "more than KROS_MAX_PURCHASE_CENTS allows" in refused.value.message
    assert "raise KROS_MAX_PURCHASE_CENTS to 500" in refused.value.next_step


@pytest.mark.parametrize(
    ("options", "settings", "fault", "code"),
    [
        ({"at_most_cents": 499}, {}, "", "OVER_AT_MOST"),
        ({}, {"max_purchase_cents": 499}, "", "OVER_AT_MOST"),
        ({}, {}, "missing_prices", "UNPRICED"),
        ({}, {}, "total_only", "UNPRICED"),
        ({}, {"currency": "USD"}, "states_currency", "UNPRICED"),
        ({"country": "RW", "type": "toll_free"}, {}, "", "NOT_SEEN"),
        ({}, {"allowed_countries": "KE"}, "", "COUNTRY_NOT_ALLOWED"),
    ],
)
def test_what_costs_too_much_or_is_not_priced_is_not_ordered(
    bench: Bench, options: dict[str, Any], settings: dict[str, Any], fault: str, code: str
) -> None:
    bench.settings = settings
    if fault:
        bench.sim.faults.switch_on(fault, times=None)

    with pytest.raises(RefusedError) as refused:
        bench.run(**options)

    assert refused.value.code == code
    assert (bench.writes, bench.asked) == ([], 0)


def test_a_price_that_moves_after_the_yes_is_not_paid(bench: Bench) -> None:
    def moves() -> None:
        for item in bench.sim.inventory.values():
            item.monthly_cost_cents += 1

    bench.on_question = moves

    made = bench.rehearse()

    assert (bench.writes, made.exit_code) == ([], 1)
    assert "PRICE_CHANGED" in made.conclusions[1].what


def test_another_price_than_stated_ends_the_ordering(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "guide")
    bench.sim.faults.switch_on("price_moves")

    made = bench.rehearse()

    assert bench.writes.count("POST") == 1
    assert seen_of(made)["price of the bought number"] == ("differs", "another than offered")
    assert (made.exit_code, bench.left) == (1, [])


def test_an_open_operation_of_the_journal_is_not_rehearsed_beside(bench: Bench, either_journal: str) -> None:
    put_for(bench, either_journal, State.UNKNOWN)

    with pytest.raises(RefusedError) as refused:
        bench.run()

    assert refused.value.code == "OPERATIONS_OPEN"
    assert bench.sim.requests == []


def test_a_number_that_the_journal_knows_is_not_ordered(bench: Bench, either_journal: str) -> None:
    """What it called failed is watched for a day: a rehearsal that bought it would look like that purchase."""
    cheapest = min(bench.sim.inventory.values(), key=lambda item: item.due_now_cents)
    put_for(bench, either_journal, State.FAILED, e164=cheapest.e164)

    made = bench.rehearse()

    assert made.exit_code == 0
    assert cheapest.e164 not in {charge.e164 for charge in bench.sim.charges}
    assert bench.charged > 0


def test_a_number_that_an_operation_takes_up_meanwhile_is_not_touched_any_more(
    bench: Bench, either_journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.settings = {"journal_url": either_journal}
    bench.clock.now = time.time()

    async def takes_it_up(request: httpx.Request) -> None:
        if request.method == "PATCH":
            await enter(bench, either_journal, an_operation(e164=bench.left[0]))
            bench.on_write = None

    bench.on_write = takes_it_up

    made = bench.rehearse()

    (left,) = bench.left
    assert bench.writes[-1] == "PATCH"
    assert made.exit_code == 1
    assert f"The journal has an operation on {left} now" in capsys.readouterr().out
    bench.clock.now = time.time()
    again = bench.rehearse()
    assert "It stays as it is, and on the record." in capsys.readouterr().out
    assert (bench.left, again.exit_code) == ([left], 0)


def test_its_requests_count_and_none_is_begun_once_a_day_is_used_up(bench: Bench, journal_url: str) -> None:
    bench.settings = {"journal_url": journal_url, "requests_per_day": 50}

    assert bench.rehearse().exit_code == 0
    sent = len(bench.sim.requests)
    with pytest.raises(RequestsUsedUpError):
        bench.run()

    assert sent >= 50
    assert len(bench.sim.requests) == sent
    assert anyio.run(counted_by, bench, journal_url) == sent


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_first_ctrl_c_ends_the_steps_and_clears_up(bench: Bench, method: str) -> None:
    bench.listens = True

    async def interrupt(request: httpx.Request) -> None:
        if request.method == method:
            bench.on_write = None
            os.kill(os.getpid(), signal.SIGINT)

    bench.on_write = interrupt

    made = bench.rehearse()

    assert "ended before by Ctrl-C" in str(made.comparisons)
    assert (made.exit_code, bench.left) == (1, [])
    assert bench.recorded("settled") == 1


def test_a_ctrl_c_while_an_earlier_run_is_cleared_says_what_may_be_owned(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.killed(2, delivered=True)
    bench.listens = True

    async def interrupt(request: httpx.Request) -> None:
        if request.method == "DELETE":
            bench.on_write = None
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep(0.1)

    bench.on_write = interrupt

    assert bench.run() is None

    assert "UNKNOWN: +" in capsys.readouterr().out
    assert bench.writes[-1] == "DELETE"
    bench.answers = [False]
    assert bench.run() is None
    assert left_by_earlier_runs(bench.in_force, bench.record) == []


def test_what_may_be_owned_is_said_where_the_clearing_is_torn_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def torn_away(_: Sender) -> None:
        raise KilledError

    monkeypatch.setattr(Sender, "clear", torn_away)
    bench.sim.faults.switch_on("never_listed")

    with pytest.raises(KilledError):
        bench.run()

    assert "UNKNOWN: +" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "never_listed", "pending_order", "hostile_names", "digit_ids"])
@BOTH
def test_nothing_of_the_account_stands_in_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: ProfileName, name: str
) -> None:
    bench = Bench(tmp_path, profile)
    if name:
        bench.sim.faults.switch_on(name, times=None)
    offered = list(bench.sim.inventory.values())

    made = bench.rehearse()

    capsys.readouterr()
    show(made, as_json=False)
    text = capsys.readouterr().out
    show(made, as_json=True)
    document = capsys.readouterr().out
    secrets = {CANARY, bench.sim.organization_id, "Support agent", "Order line", "Ignore previous"}
    secrets |= {part for item in offered for part in (item.id, item.e164, item.e164[1:])}
    secrets |= {
        part for number in bench.sim.owned.values() for part in (number.id, number.e164, *map(str, number.sip.values()))
    }
    secrets |= {part for endpoint in bench.sim.endpoints.values() for part in (endpoint.id, endpoint.secret or CANARY)}
    secrets |= {
        part
        for sent in bench.sim.requests
        for part in (sent.headers["x-request-id"], sent.headers.get("idempotency-key", CANARY))
    }
    for output in (text, document, markdown(made)):
        assert not {secret for secret in secrets - {"udp", "5060"} if secret in output}
        assert "as assumed" in output


def test_the_simulator_needs_no_key_and_no_terminal(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setattr("kros_mcp.commands.rehearse.Waits", partial(Waits, sleep=_at_once, now=count(2e9, 5).__next__))
    report = tmp_path / "report.md"

    ran = command("rehearse", "--simulator", "--yes", "--json", "--at-most-cents", "2000", "--report", str(report))

    assert ran.code == 0
    document = json.loads(ran.out)
    assert (document["kind"], document["exit_code"]) == ("rehearse", 0)
    assert "Ordering +2342015550100." in ran.err
    assert report.read_text().startswith("# What KrosAI answered in a rehearsal")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_a_person_at_a_terminal_says_yes_to_it_over_the_network(
    command: Command, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setattr("kros_mcp.commands.rehearse.Waits", partial(Waits, sleep=_at_once, now=count(2e9, 5).__next__))
    environment.setattr(person, "sits_at_a_terminal", lambda: True)
    environment.setattr(builtins, "input", lambda question: asked.append(question) or "yes")
    asked: list[str] = []
    simulated, record = Simulator("guide"), tmp_path / "rehearsals.jsonl"
    before = dict(simulated.owned)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_server(simulated)) as base_url:
        environment.setenv("KROS_BASE_URL", base_url)
        environment.setenv("KROS_API_KEY", simulated.api_key)

        ran = command("rehearse", "--at-most-cents", "1000", "--record", str(record))

    assert ran.code == 0
    assert asked == ["Type the word yes to go on, anything else to send nothing: "]
    assert [charge.cents for charge in simulated.charges] == [500]
    assert simulated.owned == before
    assert simulated.api_key not in ran.out + ran.err + record.read_text()


async def _at_once(_seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


async def counted_by(bench: Bench, journal_url: str) -> int:
    async with open_journal(journal_url) as journal:
        return (await journal.requests(bench.in_force.request_key(journal.secret))).total


async def enter(bench: Bench, journal_url: str, operation: Operation, *then: Move) -> None:
    """Put an operation of the bench's account into the journal."""
    async with open_journal(journal_url) as journal:
        stored = await journal.propose(replace(operation, account=bench.in_force.account(journal.secret)))
        for move in then:
            await journal.change(stored.id, move)


def put_for(bench: Bench, journal_url: str, state: Outcome, **changes: Any) -> None:
    """Put a purchase that has ended so into the journal that the bench has in force."""
    bench.settings = {"journal_url": journal_url}
    anyio.run(partial(enter, bench, journal_url, an_operation(**changes), *settled(state)))
