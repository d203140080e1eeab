import subprocess
import sys

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kros_mcp import numbering
from kros_mcp.numbering import country_of, last_four, matches_area_code, parse_country, parse_e164, spoken


@pytest.mark.parametrize("text", ["+2348035550123", " +234 803-555-0123 ", "+234 (803) 555\u20110123"])
def test_a_number_is_read_with_the_usual_separators(text: str) -> None:
    assert parse_e164(text) == "+2348035550123"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2348035550123",
        "002348035550123",
        "+0348035550123",
        "+123456",
        "+1234567890123456",
        "+44 (0)20 7946 0000",
        "+234803555012x",
        "++2348035550123",
        "+٢٣٤٨٠٣٥٥٥٠١٢٣",
        "+234.803.555.0123",
        "pn_abc",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        parse_e164(text)


def test_a_number_outside_every_plan_is_still_read() -> None:
    assert parse_e164("+9991234567") == "+9991234567"


@pytest.mark.parametrize(
    ("e164", "aloud"),
    [
        ("+2348035550123", "+234 803 555 0123"),
        ("+14155551234", "+1 415 555 1234"),
        ("+9991234567", "+999 123 456 7"),
    ],
)
def test_a_number_is_grouped_to_be_said(e164: str, aloud: str) -> None:
    assert spoken(e164) == aloud


# Hypothesis builds its table of characters during the first example of a fresh checkout.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_grouping_never_raises_and_never_changes_a_number(text: str) -> None:
    said = spoken(text)
    try:
        e164 = parse_e164(text)
    except ValueError:
        return
    assert parse_e164(said) == e164


@pytest.mark.parametrize(("text", "code"), [("NG", "NG"), (" ke ", "KE"), ("gb", "GB")])
def test_a_country_code_is_read_in_either_case(text: str, code: str) -> None:
    assert parse_country(text) == code


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("UK", "'UK' is not an ISO country code; say GB"),
        ("nigeria", "say NG"),
        ("ARE", "say AE"),
        ("Ivory  Coast", "say CI"),
        ("XX", "two-letter"),
        ("", "two-letter"),
        ("NGA\n", "say NG"),
        ("Ñ", "two-letter"),
    ],
)
def test_another_name_of_a_country_is_answered_with_its_code(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse_country(text)


def test_every_country_with_numbers_is_known() -> None:
    without_iso_code = {"AC", "TA", "XK"}
    known = numbering._COUNTRIES  # noqa: SLF001  # the table itself
    assert set(phonenumbers.SUPPORTED_REGIONS) - without_iso_code <= known


@pytest.mark.parametrize(
    ("e164", "country", "area_code", "matches"),
    [
        ("+2342015550101", "NG", "201", True),
        ("+2342015550101", "NG", "0201", True),
        ("+2342015550101", "NG", "209", False),
        ("+20255501001", "EG", "2", True),
        ("+2542015550101", "NG", "201", False),
        ("+2342015550101", "NG", "", False),
        ("+2342015550101", "NG", "0", False),
        ("nonsense", "NG", "201", False),
    ],
)
def test_an_area_code_is_the_beginning_of_the_national_number(
    e164: str, country: str, area_code: str, matches: bool
) -> None:
    assert matches_area_code(e164, country, area_code) is matches


def test_a_number_tells_its_country_and_its_last_digits() -> None:
    assert country_of("+2348035550123") == "NG"
    assert country_of("+9991234567") is None
    assert country_of("nonsense") is None
    assert last_four("+2348035550123") == "0123"


def test_importing_these_rooms_loads_nothing_heavy() -> None:
    program = "import sys, kros_mcp.krosai, kros_mcp.numbering; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"httpx", "stamina", "phonenumbers"} & set(done.stdout.split())
