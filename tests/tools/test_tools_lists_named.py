"""Arguments that name several things: what may stand between them, and what is refused."""

import pytest

from kros_mcp.numbering import parse_e164
from kros_mcp.tools.parameters import listed


@pytest.mark.parametrize("text", ["a,b,c", "a, b, c", "a;b ; c,", " a b c ", "a\nb\r\nc", "a,,b,\n c"])
def test_commas_semicolons_blanks_and_lines_stand_between(text: str) -> None:
    assert listed(text, 3) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ["+234 201 555 0100, +1 (202) 5550101", "+234 201 555 0100 +1 202 555 0101", "+2342015550100\n+12025550101"]
)
def test_numbers_may_have_blanks_within(text: str) -> None:
    assert listed(text, 2, parse_e164) == ["+2342015550100", "+12025550101"]


def test_ids_and_numbers_may_stand_together() -> None:
    assert listed("num_1 +234 201 555 0100, num_2", 3) == ["num_1", "+234 201 555 0100", "num_2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b,a", "names 'a' twice"),
        ("a,b,c,d", "names 4, and one call takes at most 3"),
        (",;", "must name something"),
    ],
)
def test_doubles_too_many_and_nothing_are_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        listed(text, 3)


def test_the_same_number_written_otherwise_is_a_double() -> None:
    with pytest.raises(ValueError, match="twice"):
        listed("+1 202 555 0100, +12025550100", 3, parse_e164)


def test_places_may_be_named_again() -> None:
    assert listed("day night day", 3, once=False) == ["day", "night", "day"]
