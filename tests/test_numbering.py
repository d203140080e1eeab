import subprocess
import sys

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kros_mcp import numbering
from kros_mcp.numbering import (
    PartOfNumber,
    country_name,
    country_of,
    find_country,
    in_country,
    last_four,
    matches_area_code,
    may_lie_in,
    own_country,
    parse_contains,
    parse_country,
    parse_e164,
    plan_countries,
    read_country,
    spoken,
)


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
        ("+254205550100", "+254 20 555 0100"),
        ("+20225550100", "+20 2 2555 0100"),
        ("+9991234567", "+999 123 456 7"),
    ],
)
def test_a_number_is_grouped_to_be_said(e164: str, aloud: str) -> None:
    assert spoken(e164) == aloud


MOBILE, NAIROBI, NEW_YORK, UNPLANNED = "+2348035550123", "+254205550100", "+12125550123", "+9997770123"


@pytest.mark.parametrize(
    ("text", "having", "lacking"),
    [
        ("555", [MOBILE, NAIROBI, NEW_YORK], [UNPLANNED]),
        ("*0123", [MOBILE, NEW_YORK, UNPLANNED], [NAIROBI]),
        ("0803*", [MOBILE], [NAIROBI, UNPLANNED]),
        ("803*", [MOBILE], [NAIROBI]),
        ("+234 803*", [MOBILE], [NAIROBI]),
        ("0803", [MOBILE], [NAIROBI]),
        ("803-555.0123", [MOBILE], [NAIROBI]),
        ("(020) 555*", [NAIROBI], [MOBILE]),
        ("\u2014555 01\u201100 ", [NAIROBI], [MOBILE]),
        ("*555*", [MOBILE, NAIROBI], [UNPLANNED]),
        ("999*", [UNPLANNED], [MOBILE]),
        ("212*", [NEW_YORK], [MOBILE]),
        ("0212*", [], [NEW_YORK]),
        ("12348035550123", [], [MOBILE]),
    ],
)
def test_digits_are_found_in_every_form_of_a_number(text: str, having: list[str], lacking: list[str]) -> None:
    part = parse_contains(text)
    assert part is not None
    assert [e164 for e164 in having + lacking if part.is_in(e164)] == having


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([MOBILE, NAIROBI, NEW_YORK, UNPLANNED]), st.data())
def test_any_part_of_the_spoken_form_is_found_in_a_number(e164: str, data: st.DataObject) -> None:
    said = spoken(e164)
    start = data.draw(st.integers(0, len(said) - 1))
    end = data.draw(st.integers(start + 1, len(said)))
    part = parse_contains(said[start:end])
    assert part is None or part.is_in(e164)


@pytest.mark.parametrize("text", ["", " ", "*", "**", "+", "( ) -"])
def test_no_digits_ask_for_nothing(text: str) -> None:
    assert parse_contains(text) is None


@pytest.mark.parametrize(
    "text", ["abc", "0803x", "08*77", "**7", "777?", "%777%", "\u0667\u0667", "\uff17\uff17", "7;7", "[7]", "1/2"]
)
def test_anything_but_digits_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be digits of a number: .*"):
        parse_contains(text)


@pytest.mark.parametrize(
    ("part", "aloud"),
    [
        (PartOfNumber("777"), "containing 777"),
        (PartOfNumber("0803", first=True), "beginning with 0803"),
        (PartOfNumber("7957", last=True), "ending in 7957"),
    ],
)
def test_digits_that_are_looked_for_can_be_said(part: PartOfNumber, aloud: str) -> None:
    assert part.aloud == aloud


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ke", "KE"),
        ("Kenya", "KE"),
        ("UK", "GB"),
        (" united  kingdom ", "GB"),
        ("the United Arab Emirates", "AE"),
        ("Cote d'Ivoire", "CI"),
        ("C\u00f4te d\u2019Ivoire", "CI"),
        ("St Lucia", "LC"),
        ("Saint Lucia", "LC"),
        ("Trinidad and Tobago", "TT"),
        ("guinea", "GN"),
        ("Guinea-Bissau", "GW"),
        ("T\u00fcrkiye", "TR"),
        ("Turkey", "TR"),
    ],
)
def test_a_country_is_understood_by_its_name(text: str, code: str) -> None:
    assert find_country(text) == code


@pytest.mark.parametrize("text", ["Congo", "Korea", "Virgin Islands", "Keny", "Africa", "XX", "EU", "", "7", "NG, KE"])
def test_a_country_that_is_not_certain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two-letter"):
        find_country(text)


def test_every_country_is_understood_by_the_name_that_it_is_called() -> None:
    for code in numbering._COUNTRIES:  # noqa: SLF001 - all of them
        assert find_country(country_name(code)) == code


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


SHARED = "+18665551234"
GUERNSEY = "+441481960194"
CANADIAN = "+16135550123"
UNKNOWN_TO_ITS_PLAN = "+2341234567"
INTERNATIONAL = ["+979123456789", "+882345123456", "+883510012345678", "+80012345678", "+8811234567890"]


@pytest.mark.parametrize(
    ("e164", "country"),
    [
        ("+14155551234", "US"),
        (CANADIAN, "CA"),
        ("+18005551234", None),
        (SHARED, None),
        (GUERNSEY, "GG"),
        ("+442079460958", "GB"),
        ("+212528812345", None),
        (UNKNOWN_TO_ITS_PLAN, "NG"),
        *((e164, None) for e164 in INTERNATIONAL),
    ],
)
def test_the_plan_names_a_country_only_where_it_is_exactly_one(e164: str, country: str | None) -> None:
    assert country_of(e164) == country


def test_a_shared_number_may_belong_to_every_country_of_its_plan() -> None:
    assert {"US", "CA", "JM"} <= plan_countries(SHARED)
    assert plan_countries(CANADIAN) == {"CA"}
    assert plan_countries("+441000000") == {"GB", "GG", "IM", "JE"}  # the plan does not know it
    assert not any(plan_countries(e164) for e164 in [*INTERNATIONAL, "nonsense"])


@pytest.mark.parametrize(
    ("stated", "e164", "country"),
    [
        (None, "+2348035550123", "NG"),
        ("NG", "+2348035550123", "NG"),
        ("KE", "+2348035550123", None),
        ("NG", UNKNOWN_TO_ITS_PLAN, "NG"),
        ("KE", UNKNOWN_TO_ITS_PLAN, None),
        ("CA", SHARED, "CA"),
        ("NG", SHARED, None),
        (None, SHARED, None),
        ("US", CANADIAN, None),
        ("GB", GUERNSEY, None),
        (None, GUERNSEY, "GG"),
        *(("NG", e164, None) for e164 in INTERNATIONAL),
        *((None, e164, None) for e164 in INTERNATIONAL),
        ("NG", "+9991234567", None),
    ],
)
def test_a_stated_country_counts_unless_the_plan_contradicts_it(
    stated: str | None, e164: str, country: str | None
) -> None:
    assert own_country(stated, e164) == country


@pytest.mark.parametrize(
    ("e164", "country", "may"),
    [
        (SHARED, "CA", True),
        (SHARED, "NG", False),
        (GUERNSEY, "GB", True),
        (GUERNSEY, "GG", True),
        (GUERNSEY, "JE", False),
        ("+442079460958", "GG", False),
        (CANADIAN, "US", False),
        ("+17875551234", "US", True),
        ("+254722555001", "NG", False),
        ("+979123456789", "NG", True),
    ],
)
def test_a_number_may_be_offered_where_its_plan_does_not_rule_it_out(e164: str, country: str, may: bool) -> None:
    assert may_lie_in(e164, country) is may


@pytest.mark.parametrize(
    ("code", "country"), [("ng", "NG"), ("UK", "GB"), ("uk", "GB"), ("EU", None), ("XX", None), ("NGA", None)]
)
def test_a_record_s_country_is_an_iso_code_or_says_nothing(code: str, country: str | None) -> None:
    assert read_country(code) == country


def test_importing_these_rooms_loads_nothing_heavy() -> None:
    program = "import sys, kros_mcp.krosai, kros_mcp.numbering; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"httpx", "phonenumbers"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "name", "inside"),
    [
        ("NG", "Nigeria", "in Nigeria"),
        ("GB", "United Kingdom", "in the United Kingdom"),
        ("TZ", "Tanzania", "in Tanzania"),
        ("VG", "British Virgin Islands", "in the British Virgin Islands"),
        ("ZZ", "ZZ", "in ZZ"),
    ],
)
def test_a_country_has_a_name_that_can_be_said(code: str, name: str, inside: str) -> None:
    assert (country_name(code), in_country(code)) == (name, inside)


def test_every_country_that_a_number_may_lie_in_has_a_name() -> None:
    assert not [code for code in numbering._COUNTRIES if country_name(code) == code]  # noqa: SLF001 - all of them
