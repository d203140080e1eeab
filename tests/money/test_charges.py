"""What KrosAI reports of a charge after the purchase, in the answer to the order and in the records since."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from batches import THREE, charged, ended, items, propose
from bench import OTHER_MOBILES, Bench, open_bench

from kros_mcp.errors import KrosError
from kros_mcp.operations import recovery
from kros_mcp.operations.acts.base import Wish
from kros_mcp.operations.acts.purchase import PURCHASE
from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE, Several
from kros_mcp.operations.batch import read_batch
from kros_mcp.operations.events import MoveName
from kros_mcp.operations.journal import EVERYTHING
from kros_mcp.operations.model import Operation, Request, State
from kros_mcp.operations.notice_words import line
from kros_mcp.operations.notices import notice_of
from kros_mcp.operations.run_rate import read_run_rate
from kros_mcp.simulator import Simulator, transport
from tests.support.upstream import Send, Tampered, list_is_empty

pytestmark = pytest.mark.anyio
SHOWN = OTHER_MOBILES[4]
DAY = 86_400.0


def saying(sim: Simulator, order: Mapping[str, Any] | None = None, record: Mapping[str, Any] | None = None) -> Tampered:
    """Write fields into the answer to an order, and into the record that is read by itself; None takes one out."""

    async def bought(request: httpx.Request, send: Send) -> httpx.Response:
        return written(await send(request), order or {})

    async def read(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        return written(answer, record or {}) if request.url.path.count("/") > 2 else answer

    return Tampered(sim, "POST", bought, Tampered(sim, "GET", read))


def written(answer: httpx.Response, fields: Mapping[str, Any]) -> httpx.Response:
    body = json.loads(answer.read())
    if not isinstance(body, dict) or not answer.is_success:
        return answer
    for wrapper in ("data", "phone_number"):
        if isinstance(inner := body.get(wrapper), dict):
            inner.update(fields)
            break
    else:
        body.update(fields)
    return httpx.Response(answer.status_code, json=body)


async def counted(bench: Bench) -> tuple[int, int, list[int]]:
    """Return what the caps count as spent, what stands in the books, and what is committed a month."""
    books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
    [total] = await bench.account.journal.totals(EVERYTHING)
    return books.spent_cents, total.charged_cents, [cents or 0 for cents in books.committed.values()]


@pytest.mark.usefixtures("every_backend")
@pytest.mark.parametrize("later", [{"setup_cost_cents": None}, {"setup_cost_cents": 0}])
async def test_a_setup_that_the_order_was_charged_stays_when_the_record_states_it_no_more(
    sim: Simulator, later: dict[str, Any]
) -> None:
    record = {"monthly_cost_cents": 700} | later
    way = saying(sim, {"setupCostCents": 20_000, "setup_cost_cents": None}, record)
    async with open_bench(sim, way=way) as bench:
        bought = await bench.buy(SHOWN)
        assert bought.note == "KrosAI now reports 200.00 for setup, not the 0.00 shown."
        assert (bought.charged_cents, bought.reserved_cents, bought.settings_pending) == (20_700, 20_700, False)
        assert await counted(bench) == (20_700, 20_700, [700])


async def test_a_price_a_month_that_no_record_repeats_counts_as_it_was_reported(sim: Simulator) -> None:
    way = saying(sim, {"monthlyCostCents": 50_000, "setupCostCents": 0}, {"monthly_cost_cents": None})
    async with open_bench(sim, way=way) as bench:
        bought = await bench.buy(SHOWN)
        assert bought.note == "KrosAI now reports 500.00 a month, not the 7.00 shown."
        assert await counted(bench) == (50_000, 50_000, [50_000])


@pytest.mark.usefixtures("every_backend")
@pytest.mark.parametrize("order", [{"totalCostCents": 900_000}, {}])
@pytest.mark.parametrize("record", [{"total_cost_cents": 900_000, "setup_cost_cents": 0}, {}])
async def test_a_total_that_krosai_states_is_what_was_charged(
    sim: Simulator, order: dict[str, Any], record: dict[str, Any]
) -> None:
    async with open_bench(sim, way=saying(sim, order, record)) as bench:
        bought = await bench.buy(SHOWN)
        if not order and not record:
            assert (bought.note, bought.charged_cents) == ("", 700)
            return
        assert bought.note == "KrosAI now reports 9,000.00 charged in all, not the 7.00 shown."
        assert await counted(bench) == (900_000, 900_000, [700])


@pytest.mark.usefixtures("every_backend")
@pytest.mark.parametrize("reported", [0, 300])
async def test_a_price_a_month_less_than_shown_frees_nothing_of_the_cap(sim: Simulator, reported: int) -> None:
    way = saying(sim, {"monthlyCostCents": reported, "monthly_cost_cents": reported}, {"monthly_cost_cents": None})
    async with open_bench(sim, way=way) as bench:
        bought = await bench.buy(SHOWN)
        assert bought.note == f"KrosAI now reports {reported / 100:.2f} a month, not the 7.00 shown."
        books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
        assert books.committed == {SHOWN: 700}


@pytest.mark.usefixtures("every_backend")
async def test_what_was_bought_in_another_currency_is_in_no_sum_with_the_rest(sim: Simulator) -> None:
    way = saying(sim, {"currency": "NGN"})
    async with open_bench(sim, way=way, currency="USD", monthly_commitment_cents=1_000_000) as bench:
        await bench.buy(SHOWN)
        books = await bench.account.journal.books(bench.account.id, "local", committed_since=0)
        assert books.currencies == {"NGN"}
        with pytest.raises(KrosError) as caught:
            await bench.buy(OTHER_MOBILES[5])
        assert (caught.value.code, caught.value.charged) == ("COMMITMENT_UNKNOWN", "no")
        assert charged(sim) == [SHOWN]


async def test_a_total_less_than_shown_is_told_and_frees_no_budget(sim: Simulator) -> None:
    async with open_bench(sim, way=saying(sim, {"total_cost_cents": 0})) as bench:
        bought = await bench.buy(SHOWN)
        assert bought.note == "KrosAI now reports 0.00 charged in all, not the 7.00 shown."
        assert await counted(bench) == (700, 0, [700])


@pytest.mark.parametrize("wrapper", ["data", "phone_number"])
async def test_a_price_beside_the_record_in_the_answer_to_an_order_is_read(sim: Simulator, wrapper: str) -> None:
    async def bought(request: httpx.Request, send: Send) -> httpx.Response:
        body = json.loads((await send(request)).read())
        record = body.get("data") or body.get("phone_number") or body
        return httpx.Response(201, json={wrapper: record, "totalCostCents": 900_000, "currency": "USD", "id": "order"})

    async with open_bench(sim, way=Tampered(sim, "POST", bought), currency="NGN") as bench:
        operation = await bench.buy(SHOWN)
        assert operation.charged_cents == 900_000
        assert operation.number is not None
        assert (operation.number.id in sim.owned, operation.number.currency) == (True, "USD")


@pytest.mark.parametrize(
    ("chosen", "offered", "reported", "told"),
    [
        ({}, {"currency": "NGN"}, {"currency": "USD"}, "a price in USD, not in the NGN shown"),
        ({"currency": "NGN"}, {}, {"currency": "USD"}, "a price in USD, not in the NGN shown"),
        ({"currency": "NGN"}, {"currency": "NGN"}, {"currency": "USD"}, "a price in USD, not in the NGN shown"),
        (
            {"currency": "NGN"},
            {},
            {"currency": "USD", "currencyCode": "NGN"},
            "a price in NGN/USD, not in the NGN shown",
        ),
        (
            {"currency": "NGN"},
            {},
            {"currency": "USD", "monthly_cost_cents": 900},
            "a price in USD, not in the NGN shown, and 9.00 USD a month, not the 7.00 NGN shown",
        ),
        ({}, {}, {"currency": "USD"}, ""),
        ({"currency": "NGN"}, {}, {"currency": "NGN"}, ""),
        ({}, {"currency": "NGN"}, {}, ""),
    ],
)
async def test_another_currency_than_was_shown_is_told(
    sim: Simulator, chosen: dict[str, str], offered: dict[str, str], reported: dict[str, Any], told: str
) -> None:
    async with open_bench(sim, way=offering(sim, offered, saying(sim, record=reported)), **chosen) as bench:
        bought = await bench.buy(SHOWN)
        assert bought.note == (f"KrosAI now reports {told}." if told else "")


def offering(sim: Simulator, fields: Mapping[str, str | None], way: httpx.AsyncBaseTransport) -> Tampered:
    """Write these fields into every number for sale."""

    async def tamper(request: httpx.Request, send: Send) -> httpx.Response:
        answer = await send(request)
        if request.url.params.get("action") != "available":
            return answer
        body = json.loads(answer.read())
        for item in body if isinstance(body, list) else next(each for each in body.values() if isinstance(each, list)):
            item.update(fields)
        return httpx.Response(200, json=body)

    return Tampered(sim, "GET", tamper, way)


@pytest.mark.parametrize(
    ("reported", "why"),
    [
        ({"currency": "USD"}, "KrosAI reports another currency than was shown for"),
        ({"total_cost_cents": 900_000}, "KrosAI charged more than was shown for"),
        ({"setup_cost_cents": 0, "monthly_cost_cents": 701, "total_cost_cents": 700}, "KrosAI charged more than was"),
    ],
)
async def test_a_batch_stops_where_krosai_goes_beyond_the_yes(
    sim: Simulator, reported: dict[str, Any], why: str
) -> None:
    async with open_bench(sim, way=saying(sim, record=reported), currency="NGN") as bench:
        batch = await propose(bench)
        await bench.execute(batch)
        assert [state for state, _ in await ended(bench, batch)] == ["done", "failed", "failed"]
        assert charged(sim) == THREE[:1]
        assert all(why in item.message for item in (await items(bench, batch))[1:])


@pytest.mark.parametrize(("act", "wanted"), [(SEVERAL_RELEASE, {}), (SEVERAL_CHANGE, {"allow_inbound": False})])
async def test_what_owned_numbers_cost_by_now_stops_no_batch_that_charges_nothing(
    sim: Simulator, act: Several, wanted: dict[str, Any]
) -> None:
    record: dict[str, Any] = {}
    async with open_bench(sim, way=saying(sim, record=record)) as bench:
        await bench.buy(SHOWN)
        await read_run_rate(bench.account)
        owned = [number for number in sim.owned.values() if number.status == "active"]
        batch = await act.propose(bench.account, "local", [Wish(Request(number_id=one.id, **wanted)) for one in owned])
        assert all(item.quote.monthly_cents == 700 for item in batch.items)
        record["monthly_cost_cents"] = 1_500
        await bench.execute(batch)
        assert await ended(bench, batch) == [("done", "")] * len(owned)


async def test_what_the_order_reported_outlives_the_id_of_an_order(sim: Simulator) -> None:
    """The answer names an order's id, and the list shows the number only after its settings were given up on."""
    hidden = True

    async def late(request: httpx.Request, send: Send) -> httpx.Response:
        return await list_is_empty(request, send) if hidden else await send(request)

    way = Tampered(sim, "GET", late, saying(sim, {"id": "order_1", "totalCostCents": 900_000}))
    async with open_bench(sim, way=way) as bench:
        bought = await bench.buy(SHOWN)
        assert (bought.charged_cents, bought.look_at is not None) == (900_000, True)
        hidden = False
        bench.clock.now += DAY / 2
        seen = await watched(bench, bought)
        assert seen.number is not None
        assert (seen.number.id in sim.owned, seen.look_at) == (True, None)
        assert (seen.charged_cents, seen.note) == (900_000, bought.note)


async def watched(bench: Bench, operation: Operation) -> Operation:
    operation = await recovery.watch(bench.account, await bench.stored(operation))
    assert operation.state is State.DONE
    return operation


@pytest.mark.parametrize(
    ("label", "before", "after", "told"),
    [
        ("", "NGN", "USD", "It was 7.00 NGN now, first month included, then 7.00 a month; it is 7.00 USD now,"),
        ("NGN", "NGN", "USD", "It was 7.00 NGN now, first month included, then 7.00 a month; it is 7.00 USD now,"),
        ("NGN", None, "USD", "It was 7.00 NGN now, first month included, then 7.00 a month; it is 7.00 USD now,"),
        ("", None, "USD", "a month in the account currency; it is 7.00 USD now,"),
        ("NGN", None, "NGN", "It is 7.00 NGN now, first month included, then 7.00 a month still, and KrosAI states it"),
    ],
)
async def test_a_currency_that_alone_has_moved_is_named(
    sim: Simulator, label: str, before: str | None, after: str, told: str
) -> None:
    fields = {"currency": before}
    async with open_bench(sim, way=offering(sim, fields, transport(sim)), currency=label) as bench:
        operation = await bench.propose(SHOWN)
        fields["currency"] = after
        failed = await bench.execute(operation)
        assert (failed.state, failed.error_code, bench.posts()) == (State.FAILED, "PRICE_CHANGED", [])
        assert told in failed.message


@pytest.mark.parametrize(("label", "said"), [("", "NGN"), ("ngn", "ngn"), ("Naira NGN", "Naira NGN")])
async def test_a_question_names_the_currency_that_krosai_states(sim: Simulator, label: str, said: str) -> None:
    async with open_bench(sim, way=offering(sim, {"currency": "NGN"}, transport(sim)), currency=label) as bench:
        one, several = await bench.propose(SHOWN), await propose(bench)
        for operation, cost in ((one, "7.00"), (several, "21.00")):
            wording = (PURCHASE if operation is one else SEVERAL_PURCHASE).wording
            for words in (wording.sentence, wording.question, wording.consequence):
                asked = words(operation, label)
                assert f"{cost} {said}" in asked
                assert "account currency" not in asked


async def test_amounts_of_a_batch_in_two_currencies_are_not_added(sim: Simulator) -> None:
    order: dict[str, Any] = {"currency": "NGN"}

    async def bought(request: httpx.Request, send: Send) -> httpx.Response:
        answer = written(await send(request), order)
        order["currency"] = "USD"
        return answer

    async with open_bench(sim, way=Tampered(sim, "POST", bought), currency="NGN") as bench:
        batch = await propose(bench)
        await bench.execute(batch)
        told, _ = SEVERAL_PURCHASE.wording.outcome(await read_batch(bench.account.journal, batch), "NGN")
    assert told.startswith("2 of 3 numbers are bought for amounts in several currencies; their calls go")
    assert "14.00" not in told


async def test_people_elsewhere_are_told_what_krosai_reported(sim: Simulator) -> None:
    reported = {"currency": "USD", "monthlyCostCents": 50_000}
    async with open_bench(sim, way=saying(sim, reported), currency="NGN") as bench:
        bought = await bench.buy(SHOWN)
        [done] = [each for each in await bench.account.journal.events(bought.id) if each.move == MoveName.DONE]
        notice = notice_of(bought, done, 1)
    assert notice is not None
    assert (notice.data["charged_cents"], notice.data["monthly_cents"]) == (50_000, 50_000)
    assert "Charged: 500.00 USD; it costs 500.00 USD every month." in line(notice.type, notice.data, "NGN", None)
