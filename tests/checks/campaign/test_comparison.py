"""Each kind of difference is seen, in books that are made up by hand."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kros_mcp.notifying.webhook import signature
from kros_mcp.operations.events import Event
from kros_mcp.operations.model import Action, Item, Operation, Quote, Request, State, StoredNumber
from kros_mcp.operations.notices import encoded
from kros_mcp.settings import webhook_key
from kros_mcp.simulator import Charge
from tests.support.receiver import SECRET, Arrived

from .books import Answer, Books, Confirmation, Holding, Limits, Write
from .compare import compare
from .notices import compare_notices
from .report import moved_prices
from .watched import Act, OwnedOrder, PriceMove

BUY, RELEASE, CHANGE = "op_buy", "op_release", "op_change"
BOUGHT, GIVEN_UP, PROTECTED = "+2348035550101", "+2348035550102", "+2348035550103"
SHOWN = Quote(BOUGHT, "NG", "test", setup_cents=0, monthly_cents=700, due_now_cents=700)
SETTINGS = ("ep_1", True, False)
Spoil = Callable[[Books], Any]


def operation(operation_id: str, action: Action, e164: str, **fields: Any) -> Operation:
    given: dict[str, Any] = {
        "request": Request(country="NG", type="mobile", endpoint_id="ep_1", allow_inbound=True, allow_outbound=False),
        "quote": Quote(e164=e164, country="NG", environment="test", setup_cents=0, monthly_cents=700),
        "state": State.DONE,
        "created_at": 10.0,
        "expires_at": 610.0,
        "claimed_at": 20.0,
        "sent_at": 21.0,
        "settled_at": 23.0,
        "changed": "yes",
    }
    return Operation(operation_id, "account", "ada", action, e164, **(given | fields))


def good_books() -> Books:
    """One purchase, one release and one change of a protected number, each as it should be."""
    number = StoredNumber(monthly_cents=700)
    bought = operation(BUY, Action.BUY, BOUGHT, quote=SHOWN, charged="yes", reserved_cents=700, number=number)
    return Books(
        limits=Limits(6000, 100_000, frozenset({"NG"}), frozenset({PROTECTED})),
        confirmations=[
            Confirmation(BUY, "buy", BOUGHT, 700, "prompt", "ada", 19.0),
            Confirmation(RELEASE, "release", GIVEN_UP, None, "code", "ada", 19.0),
            Confirmation(CHANGE, "configure", PROTECTED, None, "prompt", "ada", 19.0),
        ],
        operations=[
            bought,
            operation(RELEASE, Action.RELEASE, GIVEN_UP),
            operation(CHANGE, Action.CONFIGURE, PROTECTED),
        ],
        charges=[Charge(BOUGHT, 700, 22.0, BUY)],
        acts=[
            Act("change", f"{BUY}-settings-snake", BOUGHT, "pn_1", 22.5, (None, True, True), SETTINGS),
            Act("release", RELEASE, GIVEN_UP, "pn_2", 22.0, ("active",), ("inactive",)),
            Act("change", CHANGE, PROTECTED, "pn_3", 22.0, (None, True, False), SETTINGS),
        ],
        writes=[Write("POST", BUY, 21.5, 429), Write("POST", BUY, 22.0, 201), Write("DELETE", RELEASE, 22.0, None)],
        answers=[
            answer(BUY, "confirmation_required", charged="no", changed="no", asked_at=11.0),
            answer(BUY, "pending", charged="unknown", changed="unknown"),
            answer(BUY, "done", charged="yes", changed="yes"),
            answer(RELEASE, "done", charged="no", changed="yes"),
            answer(CHANGE, "done", charged="no", changed="yes"),
        ],
        holdings=[Holding(BOUGHT, "active", SETTINGS), Holding(PROTECTED, "active", SETTINGS)],
    )


def answer(about: str, outcome: str, *, charged: str, changed: str, asked_at: float = 30.0) -> Answer:
    return Answer(about, "a tool", outcome, outcome.isupper(), charged, changed, asked_at, asked_at + 1, "a client")


def rewrite(place: int, **fields: Any) -> Spoil:
    def spoil(books: Books) -> None:
        books.operations[place] = replace(books.operations[place], **fields)

    return spoil


def add(shelf: str, *more: Any) -> Spoil:
    return lambda books: getattr(books, shelf).extend(more)


def take(shelf: str, place: int) -> Spoil:
    return lambda books: getattr(books, shelf).pop(place)


def put(shelf: str, place: int, **fields: Any) -> Spoil:
    def spoil(books: Books) -> None:
        rows = getattr(books, shelf)
        rows[place] = replace(rows[place], **fields)

    return spoil


def limit(**fields: Any) -> Spoil:
    def spoil(books: Books) -> None:
        books.limits = replace(books.limits, **fields)

    return spoil


def all_of(*spoils: Spoil) -> Spoil:
    return lambda books: [spoil(books) for spoil in spoils]


moved = PriceMove(22.0, BUY, "", "")
dearer = put("charges", 0, cents=800)
told_dearer = rewrite(
    0,
    note="KrosAI now reports 8.00 in the account currency a month.",
    number=StoredNumber(monthly_cents=800),
    reserved_cents=800,
)

told_no = add("answers", answer(BUY, "failed", charged="no", changed="no", asked_at=30.0))
rejected = all_of(take("charges", 0), take("acts", 0), rewrite(0, state=State.FAILED, charged="no", changed="no"))
given_back = Act("release", "op_back", BOUGHT, "pn_1", 26.0, ("active",), ("inactive",))


again = [
    operation("op_again", Action.BUY, BOUGHT, quote=SHOWN, charged="yes", reserved_cents=700),
    operation("op_back", Action.RELEASE, BOUGHT),
]
agreed = [
    Confirmation("op_again", "buy", BOUGHT, 700, "prompt", "ada", 24.5),
    Confirmation("op_back", "release", BOUGHT, None, "code", "ada", 23.5),
]


def struck(*faults: str, operation_id: str = BUY) -> Spoil:
    def spoil(books: Books) -> None:
        books.struck = {operation_id: frozenset(faults)}

    return spoil


def with_batch(*spoils: Spoil, held: int = 2, **fields: Any) -> Spoil:
    """Add a purchase of two numbers under one yes, of which `held` stand in the journal; the last one has `fields`."""
    e164s = ["+2348035550104", "+2348035550105"]
    quotes = [replace(SHOWN, e164=e164) for e164 in e164s]
    items = tuple(Item(e164, Request(), quote) for e164, quote in zip(e164s, quotes, strict=True))
    total = Quote(",".join(e164s), "NG", "test", setup_cents=0, monthly_cents=1400, due_now_cents=1400)
    done: dict[str, Any] = {"charged": "yes", "reserved_cents": 700, "batch": "op_both"}
    numbers = [
        operation(f"op_{e164[-1]}", Action.BUY, e164, quote=quote, **done)
        for e164, quote in zip(e164s, quotes, strict=True)
    ]
    numbers[-1] = replace(numbers[-1], **fields)
    return all_of(
        add("operations", operation("op_both", Action.BUY_SEVERAL, total.e164, quote=total, items=items)),
        add("operations", *numbers[:held]),
        add("confirmations", Confirmation("op_both", "buy_several", total.e164, 1400, "code", "ada", 19.0)),
        add("charges", *(Charge(each.e164, 700, 22.0, each.id) for each in numbers)),
        add("writes", *(Write("POST", each.id, 21.5, 201) for each in numbers)),
        add("answers", answer("op_both", "done", charged="yes", changed="yes")),
        *spoils,
    )


DIFFERENCES: list[tuple[str, Spoil]] = [
    ("batch other than shown", with_batch(held=1)),
    ("batch other than shown", with_batch(quote=replace(SHOWN, e164="+2348035550105", due_now_cents=600))),
    ("batch of several principals", with_batch(principal="bola")),
    ("called not begun, and sent", with_batch(error_code="NOT_BEGUN")),
    ("charge without a confirmation", with_batch(take("confirmations", -1))),
    ("charged twice", with_batch(add("charges", Charge("+2348035550105", 700, 25.0, "op_5")))),
    ("told no, and it happened", with_batch(add("answers", answer("op_both", "failed", charged="no", changed="no")))),
    ("charge without an operation", add("charges", Charge(BOUGHT, 700, 25.0, None))),
    ("charge without an operation", put("charges", 0, idempotency_key=RELEASE)),
    ("charge without a confirmation", take("confirmations", 0)),
    ("charged twice", add("charges", Charge(BOUGHT, 700, 25.0, BUY))),
    ("another number charged", put("charges", 0, e164=GIVEN_UP)),
    ("charge that the journal denies", rewrite(0, state=State.FAILED, charged="no")),
    ("charge that the journal denies", rewrite(0, state=State.DECLINED, charged="no")),
    ("charge that the journal denies", rewrite(0, charged="unknown")),
    ("done without a charge", take("charges", 0)),
    ("other cents than shown", dearer),
    ("other cents than shown", all_of(dearer, told_dearer, add("price_moves", PriceMove(25.0, "", "NG", "")))),
    ("other cents than shown", all_of(dearer, told_dearer, add("price_moves", PriceMove(21.0, "", "KE", "")))),
    ("price difference not told", all_of(dearer, told_dearer, add("price_moves", moved), rewrite(0, note=""))),
    ("budget counts too little", all_of(dearer, told_dearer, add("price_moves", moved), rewrite(0, reserved_cents=7))),
    ("difference told that is none", rewrite(0, note="KrosAI now reports 8.00.")),
    ("bought though owned", add("owned_orders", OwnedOrder(BUY, BOUGHT, 22.0))),
    ("bought though owned", add("charges", Charge(BOUGHT, 700, 25.0, "op_other"))),
    ("bought though owned", all_of(add("charges", Charge(BOUGHT, 700, 25.0, "op_other")), add("acts", given_back))),
    ("corrected without a reason", rewrite(0, corrected_at=40.0)),
    ("corrected without a reason", all_of(rewrite(0, corrected_at=40.0), struck("lost_reply", "late_change"))),
    ("ordered again and again", all_of(*(add("writes", Write("POST", BUY, at, 429)) for at in (20.0, 21.0)))),
    ("not settled", rewrite(0, state=State.UNKNOWN)),
    ("not settled", rewrite(1, state=State.SENDING)),
    ("settings never finished", rewrite(0, settings_pending=True)),
    ("settings other than confirmed", put("holdings", 0, settings=(None, True, False))),
    ("confirmed and not in the journal", take("operations", 1)),
    ("another thing shown than stored", put("confirmations", 0, cents=600)),
    ("another thing shown than stored", put("confirmations", 1, e164=BOUGHT)),
    ("confirmed another way than told", rewrite(0, confirmed_at=19.5, decided_through="screen")),
    ("sent without a confirmation", add("writes", Write("POST", "op_other", 40.0, 400))),
    ("sent twice", add("writes", Write("POST", BUY, 40.0, 400))),
    ("daily budget exceeded", limit(daily_budget_cents=699)),
    ("purchase maximum exceeded", limit(max_purchase_cents=699)),
    ("country not allowed", limit(countries=frozenset({"KE"}))),
    ("release without an operation", put("acts", 1, key="")),
    ("release without a confirmation", take("confirmations", 1)),
    ("released twice", add("acts", Act("release", RELEASE, GIVEN_UP, "pn_2", 25.0, ("inactive",), ("deleted",)))),
    ("wrong number released", put("acts", 1, e164=BOUGHT)),
    ("wrong number released", limit(protected=frozenset({PROTECTED, GIVEN_UP}))),
    ("release that the journal denies", rewrite(1, state=State.FAILED, changed="no")),
    ("done without a release", take("acts", 1)),
    ("wrong number changed", put("acts", 0, e164=GIVEN_UP)),
    ("change without a confirmation", take("confirmations", 2)),
    ("change without a confirmation", put("acts", 2, key="op_of_nobody-snake")),
    ("change that the journal denies", rewrite(2, state=State.FAILED, changed="no")),
    (
        "change that the journal denies",
        all_of(rewrite(2, state=State.FAILED, changed="no"), struck("late_change", operation_id=CHANGE)),
    ),
    ("done without the change", put("acts", 2, after=(None, True, True))),
    ("told no, and it happened", all_of(told_no, struck("commits_then_refuses"))),
    ("told no, and it happened", all_of(told_no, rewrite(0, corrected_at=40.0))),
    ("told no, and it happened", all_of(told_no, struck("commits_then_429"), rewrite(0, corrected_at=29.0))),
    ("told yes, and it never happened", all_of(rejected, struck("pending_order"))),
    ("told yes, and it never happened", all_of(rejected, rewrite(0, corrected_at=40.0))),
    ("told of an operation that is none", add("answers", answer("op_none", "done", charged="no", changed="no"))),
    ("told no, and it happened", add("answers", answer(BUY, "failed", charged="no", changed="no", asked_at=11.0))),
    ("told no, and it happened", add("answers", answer(BUY, "PRICE_CHANGED", charged="no", changed="no"))),
    ("told no, and it happened", add("answers", answer(BUY, "confirmation_required", charged="no", changed="no"))),
    ("told no, and it happened", add("answers", answer(RELEASE, "expired", charged="no", changed="no", asked_at=11.0))),
    ("told yes, and it never happened", add("answers", answer(RELEASE, "done", charged="yes", changed="yes"))),
    ("told yes, and it never happened", all_of(take("charges", 0), take("acts", 0))),
]


def test_books_that_agree_show_no_difference() -> None:
    assert compare(good_books()) == []


@pytest.mark.parametrize(
    ("rule", "spoil"), DIFFERENCES, ids=[f"{at}: {rule}" for at, (rule, _) in enumerate(DIFFERENCES)]
)
def test_each_difference_is_seen(rule: str, spoil: Spoil) -> None:
    books = good_books()
    spoil(books)
    assert rule in {difference.rule for difference in compare(books)}


@pytest.mark.parametrize(
    "allow",
    [
        with_batch(),
        all_of(dearer, told_dearer, add("price_moves", moved)),
        all_of(dearer, told_dearer, add("price_moves", PriceMove(21.5, "", "NG", "mobile"))),
        all_of(dearer, rewrite(0, number=None), add("price_moves", moved)),
        add("answers", answer(BUY, "WRONG_CODE", charged="no", changed="no")),
        add("answers", answer(BUY, "JOURNAL_UNUSABLE", charged="no", changed="no", asked_at=12.0)),
        add("confirmations", Confirmation(BUY, "buy", BOUGHT, 700, "code", "ada", 24.0)),
        all_of(rewrite(0, not_applied=("endpoint_id",)), put("holdings", 0, settings=(None, True, False))),
        all_of(
            rewrite(0, settings_pending=True),
            add("acts", Act("release", RELEASE, BOUGHT, "pn_1", 22.9, ("active",), ("active",))),
        ),
        all_of(
            put("holdings", 0, settings=(None, False, True)),
            add("acts", Act("order", "op_other-snake", BOUGHT, "pn_1", 22.8, SETTINGS, (None, False, True))),
        ),
        all_of(put("holdings", 0, settings=(None, True, False)), rewrite(0, settings_superseded=("endpoint_id",))),
        all_of(
            rewrite(2, state=State.FAILED, changed="no"),
            take("answers", 4),
            add("answers", answer(CHANGE, "failed", charged="no", changed="no")),
            struck("late_change", operation_id=CHANGE),
            add("acts", Act("change", "op_later", PROTECTED, "pn_3", 23.0, SETTINGS, SETTINGS)),
            add("operations", operation("op_later", Action.CONFIGURE, PROTECTED)),
            add("confirmations", Confirmation("op_later", "configure", PROTECTED, None, "prompt", "ada", 19.0)),
        ),
        all_of(told_no, struck("commits_then_refuses"), rewrite(0, corrected_at=40.0)),
        all_of(rejected, struck("pending_order"), rewrite(0, corrected_at=40.0)),
        all_of(rewrite(0, settings_pending=True), put("holdings", 0, shown=False)),
        all_of(add("holdings", Holding(BOUGHT, "released", (None, True, False)))),
        all_of(
            add("charges", Charge(BOUGHT, 700, 25.0, "op_again")),
            add("acts", Act("release", "op_back", BOUGHT, "pn_1", 24.0, ("active",), ("inactive",))),
            add("operations", *again),
            add("confirmations", *agreed),
        ),
    ],
    ids=[
        "two numbers under one yes",
        "a price that moved in the purchase, and told",
        "a price that moved after the last reading, and told",
        "a price that moved and that KrosAI never reports",
        "a failure about the call alone",
        "a no that spoke of an earlier moment",
        "a second yes to the same operation",
        "a setting told as not applied",
        "settings of a number that was given up meanwhile",
        "settings of an order that somebody has chosen anew",
        "a setting that somebody has chosen anew, and that the number had already",
        "a change that showed late and was overwritten",
        "a no that KrosAI itself had said, corrected since",
        "a yes to an order that KrosAI rejected later, corrected since",
        "settings of a number that KrosAI never lists",
        "settings that stand in an old record",
        "a number given up and bought again",
    ],
)
def test_what_may_differ_is_no_difference(allow: Spoil) -> None:
    books = good_books()
    allow(books)
    assert compare(books) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (rewrite(0), ""),
        (put("charges", 0, cents=600), "1.00 more for 1 of them, whose price KrosAI lowered"),
        (dearer, "1.00 less for 1 of them, whose price KrosAI raised"),
        (all_of(dearer, told_dearer), ""),
    ],
    ids=["nothing", "a price that fell", "a price that rose and was not reported", "a price that rose, reported"],
)
def test_totals_that_differ_without_a_difference_are_explained(spoil: Spoil, says: str) -> None:
    books = good_books()
    spoil(books)
    told = moved_prices(books)
    assert says in told
    assert bool(told) == bool(says)


def notice(operation_id: str, sequence: int, kind: str, *, status: int = 200, id_: str = "evt_1") -> Arrived:
    body = encoded({"type": kind, "data": {"operation_id": operation_id, "sequence": sequence}}).encode()
    at = int(time.time())
    signed = signature(webhook_key(SECRET), id_, at, body)
    headers = {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signed}
    return Arrived("/", headers, body, status)


def test_a_move_that_nobody_was_told_of_is_seen() -> None:
    moves = [
        Event(1.0, "proposed", "local", "tool", "", {}),
        Event(2.0, "asked", "server", "approver", "", {"channel": "approver"}),
        Event(3.0, "expired", "server", "", "", {"state": "expired"}),
    ]
    waiting = notice("op_1", 2, "operation.waiting")
    expired = notice("op_1", 3, "operation.expired", id_="evt_2")

    def seen(*arrived: Arrived) -> list[str]:
        return [each.rule for each in compare_notices({"op_1": moves}, arrived)]

    assert seen(waiting, expired, waiting) == []
    assert seen(waiting, notice("op_1", 3, "operation.expired", status=500)) == ["move that nobody was told of"]
    assert seen(waiting, expired, notice("op_1", 1, "operation.done")) == ["notice of no move"]
    assert seen(waiting, expired, notice("op_1", 3, "operation.expired", id_="evt_3")) == ["notice with two ids"]
    forged = replace(expired, headers=waiting.headers)
    assert seen(waiting, expired, forged)[0] == "notice with a wrong signature"
