"""What people read on a page that asks, and that no code may follow upon it."""

import random
import time
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.types import CallToolResult

from kros_mcp.operations.acts.several import SEVERAL_CHANGE, SEVERAL_PURCHASE, SEVERAL_RELEASE, Several
from kros_mcp.operations.confirmation import yes_to
from kros_mcp.operations.model import Item, Operation, Quote, Request

from .clients import KINDS, Connection
from .events import Events
from .people import Book, Person, Prompt, read_page, read_prompt, typed

PAGE = (
    "kros-mcp asks test 9 minutes left Buy +234 803 555 0101 ? Now, first month included 1,007.50 Every month 7.00 "
    "Asked for by efua Number +2348035550101, Nigeria Open until 10:00 UTC Operation op_abc234 No, do not buy"
)


def test_a_page_is_read_as_people_read_it() -> None:
    assert read_page(PAGE) == Prompt("op_abc234", "buy", "+2348035550101", 100_750, "yes", "no", "0101")
    assert read_page(PAGE.replace("Buy", "Release")).cents is None
    with pytest.raises(ValueError, match="Budget"):
        read_page(PAGE.replace("Operation", "Budget"))


SEVERAL_ON_PAGE = (
    "kros-mcp asks test Buy 2 numbers? Now, first month included 14.00 Every month 14.00 Number Now Every month "
    "+234 803 555 0102 Nigeria 7.00 7.00 +234 803 555 0101 Nigeria 7.00 7.00 All 2 14.00 14.00 Asked for by efua "
    "Operation op_abc234 To release them, type the last four digits of +234 803 555 0102 And how many numbers these are"
)


def test_a_page_about_several_numbers_is_read_whole() -> None:
    both = "+2348035550101,+2348035550102"
    assert read_page(SEVERAL_ON_PAGE) == Prompt("op_abc234", "buy_several", both, 1400, "yes", "no", "0102")
    with pytest.raises(ValueError, match="3 numbers"):
        read_page(SEVERAL_ON_PAGE.replace("2 numbers", "3 numbers"))


@pytest.mark.parametrize("act", [SEVERAL_PURCHASE, SEVERAL_RELEASE, SEVERAL_CHANGE])
def test_a_prompt_about_several_numbers_is_read_whole(act: Several) -> None:
    """As the server itself writes it."""
    e164s = ["+2348035550101", "+2348035550102"]
    quotes = [Quote(e164, "NG", "test", setup_cents=0, monthly_cents=700, due_now_cents=700) for e164 in e164s]
    items = tuple(Item(quote.e164, Request(endpoint_id="ep_1"), quote) for quote in quotes)
    total = Quote(",".join(e164s), "NG", "test", setup_cents=0, monthly_cents=1400, due_now_cents=1400)
    row = Operation("op_abc234", "a", "efua", act.action, total.e164, Request(), total, 0.0, 600.0, items=items)
    read = read_prompt(act.wording.question(row, ""))
    assert (read.operation_id, read.action, read.e164, read.count) == (row.id, act.action, row.e164, 2)
    assert read.cents == (1400 if act is SEVERAL_PURCHASE else None)
    assert yes_to(act.action, typed(read, "yes"), str(read.count)).is_yes(row)


@pytest.mark.parametrize("since", [-1, 1])
def test_a_code_that_is_given_out_after_the_page_was_read_is_seen(since: float, tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl")
    book, asked_at = Book(events), time.time()
    chance = random.Random(1)  # noqa: S311 - guards nothing
    person = Person("efua", chance, book, events)
    client = Connection(KINDS[-1], cast("Any", None), {}, person, chance=chance, events=events, log=tmp_path / "log")
    book.pages["op_abc234"] = asked_at + since
    told = {"status": "confirmation_required", "operation_id": "op_abc234", "confirmation_code": "AAAA-AAAA"}
    client._kept("buy_phone_number", CallToolResult(content=[], structured_content=told), asked_at)  # noqa: SLF001
    assert bool(events.troubles) is (since < 0)
    events.close()
