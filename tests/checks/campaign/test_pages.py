"""What people read on a page that asks, and that no code may follow upon it."""

import random
import time
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.types import CallToolResult

from .clients import KINDS, Connection
from .events import Events
from .people import Book, Person, Prompt, read_page

PAGE = (
    "kros-mcp asks test 9 minutes left Buy +234 803 555 0101 ? Now, first month included 1,007.50 Every month 7.00 "
    "Asked for by efua Number +2348035550101, Nigeria Open until 10:00 UTC Operation op_abc234 No, do not buy"
)


def test_a_page_is_read_as_people_read_it() -> None:
    assert read_page(PAGE) == Prompt("op_abc234", "buy", "+2348035550101", 100_750, "yes", "no")
    assert read_page(PAGE.replace("Buy", "Release")).cents is None
    with pytest.raises(ValueError, match="Budget"):
        read_page(PAGE.replace("Operation", "Budget"))


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
